"""Bad inputs as a user meets them: what is spoilt, the stage that reads it, what it has to say."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.clone import YAML12

Spoil = Callable[[Path], None]
SOURCE = ["catalog", "toy", "source"]
TRAIN, TEST = "data/toy/train.jsonl", "data/toy/test.jsonl"
TOKENS, TABLE = "artifacts/tokens/toy", "artifacts/fisher/toy.json"
KERNELS, CARD = "artifacts/fisher/toy.safetensors", "artifacts/raw/toy/card.json"
METRICS, SIZES = "artifacts/metrics/toy/lora/0.json", ("catalog", "toy", "sizes")
PLAN, TRAINED = "artifacts/plans/toy/lora.json", "artifacts/trained/toy/lora/0"
TCARD, TPLAN = f"{TRAINED}/card.json", f"{TRAINED}/plan.json"
LABEL = ("catalog", "toy", "columns", "label")


def param(*keys: str, value: Any) -> Spoil:
    """Set a key of params.yaml, or delete it (value `...`)."""

    def spoil(root: Path) -> None:
        path = root / "params.yaml"
        params = YAML12.load(path.read_text())
        inner = params
        for key in keys[:-1]:
            inner = inner[key]
        if value is ...:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value
        with path.open("w") as file:
            YAML12.dump(params, file)

    return spoil


def write(name: str, content: bytes | str) -> Spoil:
    def spoil(root: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (root / name).write_bytes(data)

    return spoil


def remove(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def folder(name: str) -> Spoil:
    """A folder where a file should be."""

    def spoil(root: Path) -> None:
        remove(name)(root)
        (root / name).mkdir()

    return spoil


def cut(name: str, keep: float = 0.5) -> Spoil:
    def spoil(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: int(len(content) * keep)])

    return spoil


def edit(name: str, change: Callable[[Any], Any]) -> Spoil:
    """Change a JSON file: `change` returns the new value, or None where it changed it in place."""

    def spoil(root: Path) -> None:
        data = json.loads((root / name).read_text())
        new = change(data)
        (root / name).write_text(json.dumps(data if new is None else new))

    return spoil


def key(name: str, *keys: Any, value: Any) -> Spoil:
    """Set or delete (`...`) one key of a JSON file."""

    def change(data: Any) -> None:
        for one in keys[:-1]:
            data = data[one]
        if value is ...:
            del data[keys[-1]]
        else:
            data[keys[-1]] = value

    return edit(name, change)


def row(name: str, text: str) -> Spoil:
    """One more line."""

    def spoil(root: Path) -> None:
        with (root / name).open("a") as file:
            file.write(text + "\n")

    return spoil


def pickled(name: str) -> Spoil:
    return write(name, pickle.dumps({"weight": [1.0]}))


def files(name: str, content: bytes | str) -> Spoil:
    """Another file as the task's train split."""

    def spoil(root: Path) -> None:
        write(name, content)(root)
        param(*SOURCE, "files", "train", value=name)(root)

    return spoil


DEEP = "[" * 100_000
CSV = "sentence,label\n"
CHECK, ENCODER, DOWNLOAD = "check_params", "prepare_encoder", "download_task toy"
TOKENIZE, FISHER, SELECT = "tokenize_task toy", "measure_fisher toy", "select_plan toy fishpal"
FIT, EVALUATE, REPORT = "train_plan toy lora 0", "evaluate_plan toy lora 0", "write_report"

# name, stage, what is spoilt, what the message has to hold
CASES: list[tuple[str, str, Spoil, str]] = [
    ("params missing", CHECK, remove("params.yaml"), "params.yaml: cannot be read"),
    ("params a folder", CHECK, folder("params.yaml"), "params.yaml: cannot be read"),
    ("params no YAML", CHECK, write("params.yaml", "a: [1"), "params.yaml: not YAML in line"),
    ("params no UTF-8", CHECK, write("params.yaml", b"a: \xff"), "byte 3 is not UTF-8"),
    ("params empty", CHECK, write("params.yaml", ""), "params.yaml holds None"),
    ("params a list", CHECK, write("params.yaml", "- 1"), "allowed: a mapping of sections"),
    ("params deep", CHECK, write("params.yaml", DEEP), "params.yaml: not YAML"),
    ("section misspelt", CHECK, param("trian", value={}), "trian is unknown (did you mean 'train'"),
    ("key misspelt", CHECK, param("train", "epoch", value=1), "train.epoch is unknown"),
    ("key missing", CHECK, param("grid", "seeds", value=...), "grid.seeds is missing"),
    ("wrong type", CHECK, param("train", "epochs", value="4"), "train.epochs is '4'"),
    ("a list for a number", CHECK, param("head", "seed", value=[1]), "head.seed is [1]"),
    ("out of range", CHECK, param("select", "budget", value=2), "select.budget is 2"),
    ("negative rate", CHECK, param("train", "learning_rate", "lora", value=-1), "lora is -1"),
    ("infinite rate", CHECK, param("train", "learning_rate", "lora", value=float("inf")), "is inf"),
    ("unknown kind", CHECK, param("fisher", "kinds", value=["loar"]), "kinds.0 is 'loar'"),
    ("no kind", CHECK, param("fisher", "kinds", value=[]), "fisher.kinds is []"),
    ("unknown criterion", CHECK, param("select", "criterion", value="kernl"), "'kernl'"),
    ("unknown estimator", CHECK, param("fisher", "estimator", value="x"), "estimator is 'x'"),
    ("unknown source", CHECK, param(*SOURCE, "type", value="web"), "type is 'web'"),
    ("unknown encoder source", CHECK, param("encoder", "source", "type", value="x"), "is 'x'"),
    ("unknown pooling", CHECK, param("encoder", "pooling", value="max"), "pooling is 'max'"),
    ("task not in catalog", CHECK, param("grid", "tasks", value=["tyo"]), "grid.tasks is 'tyo'"),
    ("method not listed", CHECK, param("grid", "methods", value=["lroa"]), "methods is 'lroa'"),
    ("task name a path", CHECK, param("catalog", "../x", value={}), "catalog"),
    ("method name a command", CHECK, param("methods", "a;b", value={"rule": "none"}), "'a;b'"),
    ("huge integer", CHECK, param("head", "seed", value=10**30), "head.seed is too large"),
    ("task unknown", "download_task nope", write("x", ""), "task is 'nope'; allowed: toy"),
    ("task a path", "download_task ../x", write("x", ""), "task is '../x'; allowed: toy"),
    ("method unknown", "select_plan toy loar", write("x", ""), "did you mean 'lora'?"),
    ("seed negative", "train_plan toy lora -1", write("x", ""), "seed is '-1'"),
    ("seed a text", "train_plan toy lora one", write("x", ""), "seed is 'one'"),
    ("argument missing", "train_plan toy lora", write("x", ""), "allowed: <task> <method> <seed>"),
    ("encoder missing", ENCODER, remove("data/encoder"), "data/encoder: is no folder"),
    ("no config", ENCODER, remove("data/encoder/config.json"), "no config.json"),
    ("config broken", ENCODER, write("data/encoder/config.json", "{"), "config.json"),
    ("albert", ENCODER, key("data/encoder/config.json", "model_type", value="albert"), "'albert'"),
    ("gpt2", ENCODER, key("data/encoder/config.json", "model_type", value="gpt2"), "'gpt2'"),
    ("no weights", ENCODER, remove("data/encoder/model.safetensors"), "no model.safetensors"),
    ("weights cut", ENCODER, cut("data/encoder/model.safetensors"), "cannot be loaded"),
    ("weights pickled", ENCODER, pickled("data/encoder/model.safetensors"), "cannot be loaded"),
    ("no tokenizer", TOKENIZE, remove("artifacts/encoder/tokenizer.json"), "tokenizer"),
    ("tokenizer broken", TOKENIZE, write("artifacts/encoder/tokenizer.json", "{"), "tokenizer"),
    ("data missing", DOWNLOAD, remove(TRAIN), "train.jsonl: cannot be read"),
    ("data a folder", DOWNLOAD, folder(TRAIN), "train.jsonl: cannot be read"),
    ("data empty", DOWNLOAD, write(TRAIN, ""), "train.jsonl: is empty"),
    ("data no UTF-8", DOWNLOAD, write(TRAIN, b'{"sentence": "\xff"}'), "is not UTF-8"),
    ("line no JSON", DOWNLOAD, row(TRAIN, "{"), "train.jsonl: line 81 is not JSON"),
    ("line a list", DOWNLOAD, row(TRAIN, "[1]"), "line 81 is [1]; allowed: one JSON object"),
    ("column missing", DOWNLOAD, row(TRAIN, '{"sentence": "a"}'), "line 81: no column 'label'"),
    ("text null", DOWNLOAD, row(TRAIN, '{"sentence": null, "label": 0}'), "row 81 is no text"),
    ("text NaN", DOWNLOAD, row(TRAIN, '{"sentence": NaN, "label": 0}'), "row 81 is no text"),
    ("text empty", DOWNLOAD, row(TRAIN, '{"sentence": " ", "label": 0}'), "row 81 is empty text"),
    ("text a list", DOWNLOAD, row(TRAIN, '{"sentence": [1], "label": 0}'), "row 81 is list [1]"),
    ("label outside", DOWNLOAD, row(TRAIN, '{"sentence": "a", "label": 2}'), "row 81 is '2'"),
    ("label null", DOWNLOAD, row(TEST, '{"sentence": "a", "label": null}'), "'None'"),
    ("one class", DOWNLOAD, write(TRAIN, '{"sentence": "a", "label": 0}\n' * 3), "label is 0"),
    ("column unknown", DOWNLOAD, param(*LABEL, value="lable"), "'lable'"),
    ("ending unknown", DOWNLOAD, files("data/a.xlsx", "x"), "ending is '.xlsx'"),
    ("header alone", DOWNLOAD, files("data/a.csv", CSV), "a.csv: holds no rows"),
    ("ragged row", DOWNLOAD, files("data/a.csv", CSV + "a,1,2"), "line 2 has 3 cells"),
    ("open quote", DOWNLOAD, files("data/a.csv", CSV + '"a,1\n'), "a.csv: line 2"),
    ("column twice", DOWNLOAD, files("data/a.csv", "sentence,label,label\na,1,1"), "each column"),
    ("gzip broken", DOWNLOAD, files("data/a.csv.gz", b"\x1f\x8bno"), "not readable as .gz"),
    ("parquet broken", DOWNLOAD, files("data/a.parquet", b"PAR1"), "not readable as Parquet"),
    ("fit too large", TOKENIZE, param(*SIZES, "fit", value=90), "sizes.fit is 90"),
    ("selection too large", TOKENIZE, param(*SIZES, "selection", value=79), "79"),
    ("length too small", TOKENIZE, param("tokenize", "max_length", value=3), "max_length is 3"),
    ("card broken", TOKENIZE, cut(CARD), "card.json: not JSON"),
    ("card without splits", TOKENIZE, key(CARD, "splits", value=...), "splits"),
    ("raw split cut", TOKENIZE, cut("artifacts/raw/toy/train.parquet"), "train.parquet"),
    ("raw split missing", TOKENIZE, remove("artifacts/raw/toy/test.parquet"), "test.parquet"),
    ("facts missing", FISHER, remove(f"{TOKENS}/task.json"), "task.json: cannot be read"),
    ("facts deep", FISHER, write(f"{TOKENS}/task.json", DEEP), "task.json: not JSON"),
    ("tokens cut", FISHER, cut(f"{TOKENS}/fit.arrow"), "fit.arrow: not a tokenised split"),
    ("tokens missing", FISHER, remove(f"{TOKENS}/fit.arrow"), "fit.arrow: not a tokenised split"),
    ("tokens a text", FIT, write(f"{TOKENS}/selection.arrow", "x"), "selection.arrow"),
    ("table missing", SELECT, remove(TABLE), "fisher/toy.json: cannot be read"),
    ("table cut", SELECT, cut(TABLE), "fisher/toy.json: not JSON"),
    ("table a list", SELECT, write(TABLE, "[]"), "fisher/toy.json is []; allowed: a mapping"),
    ("table version", SELECT, key(TABLE, "version", value=9), "version is 9; allowed: 1"),
    ("table NaN", SELECT, key(TABLE, "rows", 0, "trace", value=float("nan")), "rows.0.trace is"),
    ("table kind", SELECT, key(TABLE, "rows", 0, "kind", value="loar"), "rows.0.kind is 'loar'"),
    ("table key", SELECT, key(TABLE, "rows", 0, "extra", value=1), "'extra'"),
    ("table row missing", SELECT, key(TABLE, "rows", 0, value=...), "rows hold"),
    ("kernels missing", SELECT, remove(KERNELS), "toy.safetensors: not a file of kernels"),
    ("kernels cut", SELECT, cut(KERNELS), "toy.safetensors: not a file of kernels"),
    ("kernels pickled", SELECT, pickled(KERNELS), "toy.safetensors: not a file of kernels"),
    ("plan missing", FIT, remove(PLAN), "lora.json: cannot be read"),
    ("plan cut", FIT, cut(PLAN), "lora.json: not JSON"),
    ("plan deep", FIT, write(PLAN, DEEP), "lora.json: not JSON"),
    ("plan version", FIT, key(PLAN, "version", value=0), "version is 0"),
    ("plan kind", FIT, key(PLAN, "layers", 0, value="loar"), "layers.0 is 'loar'"),
    ("plan too long", FIT, edit(PLAN, lambda p: p["layers"].append(None)), "layers has 4 entries"),
    ("plan of another encoder", FIT, key(PLAN, "encoder", "hidden", value=99), "hidden 99"),
    ("plan rank", FIT, key(PLAN, "modules", "lora", "rank", value=0), "rank is 0"),
    ("plan rank a text", FIT, key(PLAN, "modules", "lora", "rank", value="8"), "rank is '8'"),
    ("rate too high", FIT, key(PLAN, "learning_rate", "lora", value=1e38), "lora is 1e+38"),
    ("encoder not there", FIT, remove("artifacts/encoder"), "artifacts/encoder"),
    ("card missing", EVALUATE, remove(f"{TRAINED}/card.json"), "card.json: cannot be read"),
    ("card of another task", EVALUATE, key(TCARD, "task", "name", value="x"), "'x'"),
    ("another encoder", EVALUATE, key(TCARD, "encoder_sha256", value="0" * 64), "000000"),
    ("head missing", EVALUATE, remove(f"{TRAINED}/head.safetensors"), "head.safetensors: c"),
    ("head pickled", EVALUATE, pickled(f"{TRAINED}/head.safetensors"), "head.safetensors: c"),
    ("modules cut", EVALUATE, cut(f"{TRAINED}/modules.safetensors"), "modules.safetensors: c"),
    ("another plan", EVALUATE, key(TPLAN, "modules", "lora", "rank", value=3), "by the plan"),
    ("metrics missing", REPORT, remove(METRICS), "0.json: cannot be read"),
    ("metrics broken", REPORT, write(METRICS, "[]"), "0.json is []"),
    ("curve broken", REPORT, write("artifacts/curves/toy/lora/0.csv", "a\n1\n"), "0.csv: allowed"),
    ("predictions cut", REPORT, cut("artifacts/predictions/toy/lora/0.parquet"), "0.parquet"),
    ("counts a list", REPORT, write(f"{TOKENS}/counts.json", "[]"), "counts.json is list"),
]  # fmt: skip
