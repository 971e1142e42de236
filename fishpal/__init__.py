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
    "FishpalError": "errors",
    "ModuleKind": "kinds",
    "Estimator": "kinds",
    "FisherMode": "kinds",
    "HeadInit": "kinds",
    "ModuleOptions": "options",
    "FisherOptions": "options",
    "HeadOptions": "options",
    "TrainOptions": "options",
    "SelectOptions": "options",
    "LearningRates": "options",
    "Params": "config",
    "load_params": "config",
    "FisherTable": "table",
    "Plan": "plan",
    "CRITERIA": "criteria",
    "select_plan": "selection",
    "Example": "tokens",
    "TaskFacts": "tokens",
    "ArrowSplit": "tokens",
    "load_encoder": "encoder",
    "Classifier": "model",
    "measure_fisher": "fisher",
    "train": "training",
    "predict": "evaluation",
    "save": "checkpoints",
    "load": "checkpoints",
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
