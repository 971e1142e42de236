"""fishpal: find parameter-efficient modules, their rates and how long to train by measuring.

    import fishpal
    encoder = fishpal.load_encoder("artifacts/encoder")
    task = fishpal.Task.from_frame(frame, text="review", label="stars")
    model = fishpal.fit(encoder, task)
    model.predict(["a warm, funny and moving film"])

Names load on first use, so that importing the package needs neither torch nor pydantic.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "common.errors": "FishpalError FishpalWarning",
    "common.kinds": "CriterionName Estimator FisherMode HeadInit MetricName ModuleKind",
    "params.module_options": "AdapterOptions LoraOptions ModuleOptions PrefixOptions",
    "params.race_options": "RaceOptions",
    "params.options": "FisherOptions HeadOptions LearningRates RateOptions"
    " SelectOptions TrainOptions",
    "params.methods": "ByCriterion Full HeadOnly Mam Race Random Thesis Unipelt Uniform",
    "params.load": "Params load_params",
    "records.arrow": "ArrowSplit",
    "records.examples": "Example",
    "records.facts": "Scale TaskFacts",
    "records.task": "TokenisedTask",
    "records.fisher_table": "FisherTable",
    "records.pilot": "Pilot",
    "records.plan": "Plan",
    "encoders.encoder": "Encoder",
    "encoders.tokenizer": "load_tokenizer",
    "tokens.tokenization": "tokenize_task",
    "models.head": "start_head",
    "models.planned": "plan_model",
    "models.predict": "label_texts predict",
    "models.trained": "load save",
    "fisher.engine": "measure_fisher",
    "selection.methods": "select_plan",
    "training.train": "train",
    "evaluation.evaluate": "evaluate",
    "exports.merge": "merge_lora",
    "exports.transformers_folder": "export_sentence_transformers export_transformers",
    "exports.peft_folder": "export_peft",
    "exports.onnx_file": "export_onnx",
    "exports.hub": "push_to_hub",
    "api.task": "Task",
    "api.encoder": "TextEncoder load_encoder",
    "api.steps": "Measurement fit measure select start",
    "api.model": "Model load_model",
    "api.compress": "compress",
    "api.estimator": "Classifier",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fishpal' has no attribute '{name}'")
    return getattr(import_module(f"fishpal.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
