"""fishpal: choose a parameter-efficient module for each layer before training.

    import fishpal
    encoder = fishpal.load_encoder("artifacts/encoder")
    model = fishpal.load(encoder, "artifacts/trained/movies/fishpal/0")

Names load on first use, so that importing the package needs neither torch nor pydantic.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "FishpalError": "common.errors",
    "FishpalWarning": "common.errors",
    "CriterionName": "common.kinds",
    "Estimator": "common.kinds",
    "FisherMode": "common.kinds",
    "HeadInit": "common.kinds",
    "MetricName": "common.kinds",
    "ModuleKind": "common.kinds",
    "FisherOptions": "params.options",
    "HeadOptions": "params.options",
    "LearningRates": "params.options",
    "ModuleOptions": "params.options",
    "SelectOptions": "params.options",
    "TrainOptions": "params.options",
    "ByCriterion": "params.methods",
    "Full": "params.methods",
    "HeadOnly": "params.methods",
    "Random": "params.methods",
    "Thesis": "params.methods",
    "Uniform": "params.methods",
    "Params": "params.load",
    "load_params": "params.load",
    "ArrowSplit": "records.arrow",
    "Example": "records.examples",
    "Scale": "records.facts",
    "TaskFacts": "records.facts",
    "TokenisedTask": "records.task",
    "FisherTable": "records.fisher_table",
    "Plan": "records.plan",
    "Encoder": "encoders.encoder",
    "load_encoder": "encoders.encoder",
    "load_tokenizer": "encoders.tokenizer",
    "tokenize_task": "tokens.tokenization",
    "Classifier": "models.classifier",
    "start_head": "models.head",
    "plan_model": "models.planned",
    "label_texts": "models.predict",
    "predict": "models.predict",
    "load": "models.trained",
    "save": "models.trained",
    "measure_fisher": "fisher.engine",
    "select_plan": "selection.methods",
    "train": "training.train",
    "evaluate": "evaluation.evaluate",
    "export_peft": "export",
    "merge_lora": "export",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fishpal' has no attribute '{name}'")
    return getattr(import_module(f"fishpal.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
