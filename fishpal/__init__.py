"""fishpal: choose a parameter-efficient module for each layer before training.

    import fishpal
    encoder = fishpal.load_encoder("artifacts/encoder")
    model = fishpal.load(encoder, "artifacts/trained/movies/fishpal/0")

Names load on first use, so that importing the package needs neither torch nor pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "FishpalError": "common.errors",
    "ModuleKind": "common.kinds",
    "Estimator": "common.kinds",
    "FisherMode": "common.kinds",
    "HeadInit": "common.kinds",
    "ModuleOptions": "params.options",
    "FisherOptions": "params.options",
    "HeadOptions": "params.options",
    "TrainOptions": "params.options",
    "SelectOptions": "params.options",
    "LearningRates": "params.options",
    "Params": "params.load",
    "load_params": "params.load",
    "FisherTable": "records.fisher_table",
    "Plan": "records.plan",
    "CRITERIA": "selection.criteria",
    "select_plan": "selection.methods",
    "Example": "records.examples",
    "TaskFacts": "records.examples",
    "ArrowSplit": "records.examples",
    "load_encoder": "encoders.encoder",
    "Classifier": "models.classifier",
    "measure_fisher": "fisher.engine",
    "train": "training.train",
    "predict": "models.predict",
    "save": "models.trained",
    "load": "models.trained",
    "merge_lora": "export",
    "export_peft": "export",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fishpal' has no attribute '{name}'")
    return getattr(import_module(f"fishpal.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
