"""The key of a line: the hash of all that decides it, the code apart.

Everything is named here, so that the library may gain options, fields and kinds, or write its
plans otherwise, and no line is made again for it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

FIRST = {
    "PrefixOptions": "length reparameterize mid std",
    "AdapterOptions": "bottleneck placement activation dropout",
    "LoraOptions": "rank alpha dropout",
    "HeadOptions": "init seed",
    "LearningRates": "prefix adapter lora head full",
    "FisherOptions": "kinds examples estimator mode gram dropout batch_size seed device precision",
    "SelectOptions": "criterion allow_none budget top_layers",
    "TrainOptions": "learning_rate epochs batch_size weight_decay warmup schedule max_grad_norm"
    " evaluations_per_epoch patience train_head device precision deterministic",
}
"""The options that there were when the first lines were made."""
BEFORE: dict[str, dict[str, Any]] = {
    "HeadOptions": {"pairs": "joint"},
    "TrainOptions": {"pick": "loss", "encoder_dropout": True, "recover": False},
}
"""What the first lines' code did where an option that came later has another default."""


def given(options: Any) -> dict[str, Any]:
    """A dataclass of the library's options as JSON values.

    Those that came after `FIRST` count where they are not at their default, or `BEFORE`.
    """
    name = type(options).__name__
    values, usual = asdict(options), asdict(type(options)()) | BEFORE.get(name, {})
    names = FIRST[name].split()
    return {k: v for k, v in values.items() if k in names or v != usual[k]}


def key_of(parts: Any) -> str:
    """Hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
