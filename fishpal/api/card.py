"""The model card: a README.md with the hub's metadata, beside every form that a model leaves in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from fishpal.metrics import metric
from fishpal.params.report_options import ReportOptions
from fishpal.records.results import Predictions
from fishpal.reporting.bootstrap import Bootstrap
from fishpal.reporting.markdown import escape, plain, table

if TYPE_CHECKING:
    from fishpal.api.model import Model

FILE = "README.md"
HOW = {
    "fishpal": "import fishpal\n\n"
    "model = fishpal.load_model({folder!r}{encoder})\nmodel.predict([{text!r}])",
    "peft": "from peft import PeftModel\nfrom transformers import {auto}\n\n"
    'base = {auto}.from_pretrained({base!r}, dtype="float32"{number})\n'
    "model = PeftModel.from_pretrained(base, {folder!r}){beside}",
    "transformers": "from transformers import pipeline\n\n"
    'classify = pipeline("text-classification", {folder!r})\n'
    "classify([{named!r}], truncation=True)",
    "sentence-transformers": "from sentence_transformers import SentenceTransformer\n\n"
    "model = SentenceTransformer({folder!r})\nmodel.encode([{text!r}])  # the logits, as {classes}",
    "onnx": "import onnxruntime\nfrom transformers import AutoTokenizer\n\n"
    "tokenizer = AutoTokenizer.from_pretrained({folder!r})\n"
    'session = onnxruntime.InferenceSession({folder!r} + "/model.onnx")\n'
    'inputs = tokenizer([{text!r}], return_tensors="np", padding=True, truncation=True)\n'
    "{second}"
    "names = [each.name for each in session.get_inputs()]\n"
    "session.run(None, {{name: inputs[name] for name in names}})  # the logits, as {classes}",
}

# Of a head that compares the texts of pairs: where the second ones start.
SECOND = 'inputs["second"] = [(each.sequence_ids + [1]).index(1) for each in inputs.encodings]\n'


@dataclass(frozen=True)
class Scores:
    """What a model scored on a task: metric → value, with its interval where there is one."""

    task: str
    values: dict[str, tuple[float, float | None, float | None]]
    confidence: float

    @classmethod
    def of(
        cls, name: str, scores: Mapping[str, Mapping[str, float]], found: Predictions, classes: int
    ) -> Self:
        """With bootstrap intervals over examples (one seed: none of the training's variance)."""
        options, values = ReportOptions(), {}
        for key, value in scores[name].items():
            low = high = None
            if key not in ("n", "loss"):
                bootstrap = Bootstrap(metric(key), found.labels[name], classes, options)
                low, high = bootstrap.score(found.predictions[name][None]).interval()
            values[key] = (value, low, high)
        return cls(name, values, options.confidence)


def write_card(folder: Path, model: "Model", form: str, licence: str | None, **how: Any) -> None:
    """Write README.md into a folder; `form` is the library that loads it, a key of `HOW`."""
    task, plan, base = model.task, model.plan, model.encoder.name
    named_base = base if model.encoder.revision else Path(base).name  # no path of this machine
    text = ("a warm film", "the film moved me") if task.pair else "a warm, funny and moving film"
    # transformers' pipeline takes a tuple for two single texts
    named = dict(zip(("text", "text_pair"), text, strict=True)) if task.pair else text
    listing = HOW[form].format(
        folder="path/or/name", text=text, named=named, base=base,
        encoder="" if model.encoder.revision else f", encoder={f'path/of/{named_base}'!r}",
        second=SECOND * model.module.compares, classes=_in_code(task.labels or ("value",)), **how,
    )  # fmt: skip
    layers = [[str(layer), kind or "none"] for layer, kind in enumerate(plan.layers)]
    about = (
        f"{'A regression' if task.labels is None else 'Classes ' + _listed(task.labels)} on top of"
        f" {escape(named_base, 200)}, {model.encoder.pooling} pooling, trained as task"
        f" {escape(task.name)} by fishpal."
    )
    parts = [
        f"---\n{_metadata(model, form, licence)}---",
        f"# {escape(task.name)}: {escape(plan.method)}",
        about,
        "## Use",
        f"```python\n{listing}\n```",
        "## Scores",
        _scores(model.scores),
        "## What was trained",
        _trained(model),
        table(["layer", "module"], layers),
        "```yaml\n" + yaml.safe_dump(_settings(model), sort_keys=False) + "```",
    ]
    (folder / FILE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _in_code(names: Sequence[str]) -> str:
    """Names in a comment of a listing, which they neither end nor leave."""
    return ", ".join(ascii(name).replace("`", "'") for name in names)


def has_card(folder: Path, form: str) -> bool:
    """Whether a folder's README.md has the metadata that `write_card` gives this form."""
    try:
        before, _, text = (folder / FILE).read_text(encoding="utf-8").partition("---\n")
        found = None if before else yaml.safe_load(text.partition("\n---\n")[0])
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False
    found = found if isinstance(found, dict) else {}
    tags, library = found.get("tags"), found.get("library_name")
    if not isinstance(tags, list) or "fishpal" not in tags:
        return False
    return library == _library(form) and ("onnx" in tags) == (form == "onnx")


def _library(form: str) -> str:
    return "fishpal" if form == "onnx" else form


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(escape, names))


def _metadata(model: "Model", form: str, licence: str | None) -> str:
    """The hub's YAML: base model, licence, library, data, metrics."""
    import huggingface_hub as hub  # here: slow to import

    regression = model.classes is None
    results = [
        hub.EvalResult("text-classification", each.task, each.task, name, round(value, 6))
        for each in model.scores
        for name, (value, _, _) in each.values.items()
        if name not in ("n", "loss")
    ]
    named: dict[str, Any] = {"model_name": plain(model.task.name), "eval_results": results}
    return hub.ModelCardData(
        base_model=model.encoder.name if model.encoder.revision else None,
        license=licence,
        library_name=_library(form),
        pipeline_tag=None if regression else "text-classification",
        tags=["fishpal", *({"onnx"} & {form}), *(["regression"] if regression else [])],
        **(named if results else {}),
    ).to_yaml() + "\n"  # fmt: skip


def _scores(scores: list[Scores]) -> str:
    rows = []
    for each in scores:
        for name, (value, low, high) in each.values.items():
            interval = "" if low is None else f" [{low:.4f}, {high:.4f}]"
            rows.append([escape(each.task), name, f"{value:.6g}{interval}"])
    if not rows:
        return "None was measured: `model.evaluate(task)` before the model is written notes them."
    share = f"{100 * scores[0].confidence:g} % bootstrap intervals over the examples."
    return table(["data", "metric", "value"], rows) + f"\n\n{share}"


def _trained(model: "Model") -> str:
    counts = model.module.parameter_counts(model.plan.full)
    best = f", weights of update {model.training.best_update}" if model.training else ""
    return (
        f"{counts.kept:,} parameters beyond the encoder's {model.encoder.facts.parameters:,}"
        f" (head included); seed {model.seed}{best}; texts are cut at {model.max_length} tokens."
    )


def _settings(model: "Model") -> dict[str, Any]:
    """The plan's sizes, rates and reasons, without the candidates' scores."""
    data = model.plan.to_json()
    reason = {key: value for key, value in data["reason"].items() if key != "scores"}
    rates = data["learning_rate"] | data.get("rates", {})
    return _simple({"modules": data["modules"], "rates": rates, "reason": reason})


def _simple(value: Any) -> Any:
    """What YAML writes without tags."""
    if isinstance(value, Mapping):
        return {str(key): _simple(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(each) for each in value]
    return str(value) if isinstance(value, str) else value
