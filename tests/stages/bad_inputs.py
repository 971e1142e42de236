"""Bad inputs as a user meets them: what is spoilt, the stage that reads it, what it has to say."""

from __future__ import annotations

import pyarrow as pa

from benchmarks.toy.project import task_entry
from tests.stages.spoils import (
    Spoil,
    both,
    cut,
    filled,
    folder,
    key,
    not_numbers,
    param,
    pickled,
    remove,
    row,
    table,
    tensors,
    write,
)

SOURCE = ["catalog", "toy", "source"]
TRAIN, TEST = "data/toy/train.jsonl", "data/toy/test.jsonl"
TOKENS, TABLE = "artifacts/tokens/toy", "artifacts/fisher/toy.json"
KERNELS, CARD = "artifacts/fisher/toy.safetensors", "artifacts/raw/toy/card.json"
METRICS, SIZES = "artifacts/evaluated/toy/lora/0/metrics.json", ("catalog", "toy", "sizes")
PLAN, TRAINED = "artifacts/plans/toy/lora.json", "artifacts/trained/toy/lora/0"
TCARD, TPLAN = f"{TRAINED}/card.json", f"{TRAINED}/plan.json"
LABEL = ("catalog", "toy", "columns", "label")


def files(name: str, content: bytes | str) -> Spoil:
    """Another file as the task's train split."""
    return both(write(name, content), param(*SOURCE, "files", "train", value=name))


def prefix(**options: object) -> Spoil:
    """Some of `modules.prefix`."""
    return both(*(param("modules", "prefix", name, value=v) for name, v in options.items()))


WEIGHTS, BIN = "data/encoder/model.safetensors", "data/encoder/pytorch_model.bin"
CONFIG, AT, RAW = "data/encoder/config.json", "artifacts/encoder", "artifacts/raw/toy/train.parquet"
FACTS = f"{TOKENS}/train/task.json"
FITTED, SELECTION = f"{TOKENS}/train/fit.arrow", f"{TOKENS}/train/selection.arrow"
RAW_TEST = "artifacts/raw/toy/test.parquet"
TESTED = f"{TOKENS}/evaluation/test.arrow"
MODULES, HEAD = f"{TRAINED}/modules.safetensors", f"{TRAINED}/head.safetensors"
CURVE = "artifacts/curves/toy/lora/0.csv"
PREDICTIONS = "artifacts/evaluated/toy/lora/0/predictions.parquet"
CURVED = "update,epoch,fit_loss,selection_loss,pick_loss,kept,collapsed\n"
IDS = pa.list_(pa.int32())
DEEP = "[" * 100_000
CSV = "sentence,label\n"
CHECK, ENCODER, DOWNLOAD = "checks.params", "prepare_encoder", "download_task toy"
TOKENIZE, FISHER, SELECT = "tokenize_task toy", "measure_fisher toy", "select_plan toy fishpal"
CELL, EVALUATE, REPORT = "train_plan toy lora 0", "evaluate_plan toy lora 0", "write_report"

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
    ("no kind", CHECK, param("fisher", "kinds", value=[]), "fisher.kinds is empty"),
    ("unknown criterion", CHECK, param("select", "criterion", value="kernl"), "'kernl'"),
    ("unknown estimator", CHECK, param("fisher", "estimator", value="x"), "estimator is 'x'"),
    ("unknown source", CHECK, param(*SOURCE, "type", value="web"), "type is 'web'"),
    ("unknown encoder source", CHECK, param("encoder", "source", "type", value="x"), "is 'x'"),
    ("unknown pooling", CHECK, param("encoder", "pooling", value="max"), "pooling is 'max'"),
    ("task not in catalog", CHECK, param("grid", "tasks", value=["tyo"]), "grid.tasks is 'tyo'"),
    ("method not listed", CHECK, param("grid", "methods", value=["lroa"]), "methods is 'lroa'"),
    ("task name a path", CHECK, param("catalog", "../x", value=task_entry("x")), "is '../x'"),
    ("method name a command", CHECK, param("methods", "a;b", value={"rule": "none"}), "'a;b'"),
    ("start unknown", CHECK, prefix(start="txet"), "modules.prefix.start is 'txet' (did you mean"),
    ("start of an MLP", CHECK, prefix(start="text", reparameterize=True), "prefix.start is text;"),
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
    ("ernie", ENCODER, key("data/encoder/config.json", "model_type", value="ernie"), "'ernie'"),
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
    ("label null", DOWNLOAD, row(TEST, '{"sentence": "a", "label": null}'), "no label (null)"),
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
    ("text too long", FISHER, prefix(start="text", length=41), "41, and start is text; allowed: 1"),
    ("facts missing", FISHER, remove(FACTS), "task.json: cannot be read"),
    ("facts deep", FISHER, write(FACTS, DEEP), "task.json: not JSON"),
    ("tokens cut", FISHER, cut(FITTED), "fit.arrow: not a tokenised split"),
    ("tokens missing", FISHER, remove(FITTED), "fit.arrow: not a tokenised split"),
    ("tokens a text", CELL, write(SELECTION, "x"), "selection.arrow"),
    ("table missing", SELECT, remove(TABLE), "fisher/toy.json: cannot be read"),
    ("table cut", SELECT, cut(TABLE), "fisher/toy.json: not JSON"),
    ("table a list", SELECT, write(TABLE, "[]"), "toy.json: the file is []; allowed"),
    ("table version", SELECT, key(TABLE, "version", value=9), "version is 9; allowed: 1"),
    ("table NaN", SELECT, key(TABLE, "rows", 0, "trace", value=float("nan")), "rows.0.trace is"),
    ("table kind", SELECT, key(TABLE, "rows", 0, "kind", value="loar"), "rows.0.kind is 'loar'"),
    ("table key", SELECT, key(TABLE, "rows", 0, "extra", value=1), "rows.0.extra is unknown"),
    ("table row missing", SELECT, key(TABLE, "rows", 0, value=...), "rows hold"),
    ("kernels missing", SELECT, remove(KERNELS), "toy.safetensors: not a file of kernels"),
    ("kernels cut", SELECT, cut(KERNELS), "toy.safetensors: not a file of kernels"),
    ("kernels pickled", SELECT, pickled(KERNELS), "toy.safetensors: not a file of kernels"),
    ("plan missing", CELL, remove(PLAN), "lora.json: cannot be read"),
    ("plan cut", CELL, cut(PLAN), "lora.json: not JSON"),
    ("plan deep", CELL, write(PLAN, DEEP), "lora.json: not JSON"),
    ("plan version", CELL, key(PLAN, "version", value=0), "version is 0"),
    ("plan kind", CELL, key(PLAN, "layers", 0, value="loar"), "layers.0: kind is 'loar'"),
    ("plan too long", CELL, key(PLAN, "layers", value=[None] * 4), "layers has 4 entries"),
    ("plan of another encoder", CELL, key(PLAN, "encoder", "hidden", value=99), "hidden 99"),
    ("plan rank", CELL, key(PLAN, "modules", "lora", "rank", value=0), "rank is 0"),
    ("plan rank a text", CELL, key(PLAN, "modules", "lora", "rank", value="8"), "rank is '8'"),
    ("rate too high", CELL, key(PLAN, "learning_rate", "lora", value=1e38), "lora is 1e+38"),
    ("encoder not there", CELL, remove("artifacts/encoder"), "artifacts/encoder"),
    ("card missing", EVALUATE, remove(f"{TRAINED}/card.json"), "card.json: cannot be read"),
    ("card of another task", EVALUATE, key(TCARD, "task", "name", value="x"), "'x'"),
    ("another encoder", EVALUATE, key(TCARD, "encoder_sha256", value="0" * 64), "000000"),
    ("head missing", EVALUATE, remove(f"{TRAINED}/head.safetensors"), "head.safetensors: c"),
    ("head pickled", EVALUATE, pickled(f"{TRAINED}/head.safetensors"), "head.safetensors: c"),
    ("modules cut", EVALUATE, cut(f"{TRAINED}/modules.safetensors"), "modules.safetensors: c"),
    ("another plan", EVALUATE, key(TPLAN, "modules", "lora", "rank", value=3), "by the plan"),
    ("metrics missing", REPORT, remove(METRICS), "metrics.json: cannot be read"),
    ("metrics broken", REPORT, write(METRICS, "[]"), "metrics.json: the file is []"),
    ("curve broken", REPORT, write("artifacts/curves/toy/lora/0.csv", "a\n1\n"), "0.csv: allowed"),
    ("predictions cut", REPORT, cut(PREDICTIONS), "predictions.parquet"),
    ("counts a list", REPORT, write(f"{TOKENS}/counts.json", "[]"), "counts.json is list"),
    ("seed of 5000 digits", f"train_plan toy lora {'9' * 5000}", write("x", ""), "seed is '999"),
    ("seed spelt otherwise", "train_plan toy lora 00", write("x", ""), "seed is '00'"),
    ("pickled weights alone", ENCODER, both(remove(WEIGHTS), pickled(BIN)), "but pickled pytorch"),
    ("config a list", ENCODER, write(CONFIG, "[]"), "encoder.source/config.json: "),
    ("config null", ENCODER, write(CONFIG, "null"), "encoder.source/config.json: "),
    ("config deep", ENCODER, write(CONFIG, DEEP), "encoder.source/config.json: "),
    ("layers a text", ENCODER, key(CONFIG, "num_hidden_layers", value="x"), "num_hidden_layers"),
    ("no layers", ENCODER, key(CONFIG, "num_hidden_layers", value=0), "layers is 0"),
    ("other vocabulary", ENCODER, key(CONFIG, "vocab_size", value=30), "word_embeddings"),
    ("weights renamed", ENCODER, tensors(WEIGHTS, lambda k, v: (f"x.{k}", v)), "lacks"),
    ("weights NaN", FISHER, tensors(f"{AT}/model.safetensors", not_numbers), "trace is nan"),
    ("encoder cut", FISHER, cut(f"{AT}/model.safetensors"), "artifacts/encoder: cannot be loaded"),
    ("pooling broken", CELL, write(f"{AT}/fishpal.json", "{"), "fishpal.json: not JSON"),
    ("raw card missing", TOKENIZE, remove(CARD), "card.json: cannot be read"),
    ("raw columns", TOKENIZE, table(RAW, lambda t: t.drop(["text"])), "train.parquet: columns are"),
    ("one label", FISHER, key(FACTS, "labels", value=["a"]), "labels is ['a']"),
    ("tokens without rows", CELL, table(SELECTION, lambda t: t.slice(0, 0)), "holds no rows"),
    ("tokens of texts", FISHER, table(FITTED, filled("input_ids", "a", None)), "ids is string"),
    ("tokens null", FISHER, table(FITTED, filled("label", None, pa.int64())), "40 nulls"),
    ("tokens lack labels", FISHER, table(FITTED, lambda t: t.drop(["label"])), "'Field \"label\""),
    ("no evaluation", EVALUATE, remove(f"{TOKENS}/evaluation"), "evaluation: holds no splits"),
    ("table of huge depth", SELECT, key(TABLE, "encoder", "layers", value=10**9), "3000000000 (la"),
    ("table kinds", SELECT, both(key(TABLE, "kinds", value=[]), key(TABLE, "rows", value=[])),
     "kinds is []"),
    ("kernels of others", SELECT, key(TABLE, "examples", value=7), "is of 16 examples; allowed"),
    ("kernels NaN", SELECT, tensors(KERNELS, not_numbers), "toy.safetensors: not a file"),
    ("tensor renamed", EVALUATE, tensors(MODULES, lambda k, v: (k.replace("_a", "_x"), v)), "y_x'"),
    ("modules NaN", EVALUATE, tensors(MODULES, not_numbers), "logits of test are not finite"),
    ("head of other shape", EVALUATE, tensors(HEAD, lambda k, v: (k, v[:1].copy())), "the head"),
    ("metrics huge", REPORT, key(METRICS, "splits", "test", "n", value=10**400), "n is too large"),
    ("curve beyond floats", REPORT, write(CURVE, f"{CURVED}{'9' * 400},0,,1,1,1,0\n"), "rising"),
    ("predictions lack", REPORT, table(PREDICTIONS, lambda t: t.drop(["label"])), "'Field"),
    ("rows of lists", REPORT, table(PREDICTIONS, filled("row", [1], None)), "string and list"),
    ("split null", REPORT, table(PREDICTIONS, filled("split", None, pa.string())), "cell is null"),
    ("rank huge", CHECK, param("modules", "lora", "rank", value=10**12), "rank is 1000000000000"),
    ("resamples huge", CHECK, param("report", "resamples", value=10**12), "resamples is 1000000"),
    ("criterion of a method", SELECT, param("methods", "fishpal", "criterion", value="snrr"),
     "methods.fishpal.criterion is 'snrr' (did you mean 'snr'?)"),
    ("one class in test", DOWNLOAD, write(TEST, '{"sentence": "a", "label": 0}\n' * 3),
     "toy/test: every label is 0"),
    ("texts beyond the encoder", TOKENIZE, table(RAW_TEST, filled("text", "w1 " * 97, None)),
     "is 128, and a text of test has 99 tokens; allowed: up to 40 for this encoder"),
    ("vocabulary of another", TOKENIZE, key(f"{AT}/config.json", "vocab_size", value=9),
     "tokenizer and encoder do not fit: "),
    ("raw text null", TOKENIZE, table(RAW, filled("text", None, pa.string())), "80 nulls"),
    ("raw label a text", TOKENIZE, table(RAW, filled("label", "a", None)), "label is string"),
    ("split a path", TOKENIZE, key(CARD, "splits", "a/b", value={"rows": 9}), "splits is 'a/b'"),
    ("split fit", TOKENIZE, key(CARD, "splits", "fit", value={"rows": 9}), "splits is 'fit'"),
    ("train alone", TOKENIZE, key(CARD, "splits", "test", value=...), "train and one more"),
    ("label outside in fit", FISHER, table(FITTED, filled("label", 2, pa.int64())), "from 2 to 2"),
    ("fractions for classes", CELL, table(FITTED, filled("label", 0.5, pa.float64())), "is double"),
    ("ids outside", CELL, table(SELECTION, filled("input_ids", [999], IDS)),
     "input_ids go from 999 to 999"),
    ("too many tokens", EVALUATE, table(TESTED, filled("input_ids", [1] * 99, IDS)),
     "tokens of a row go from 99 to 99 with 0 nulls; allowed: 1 to 40"),
    ("token types outside", CELL, table(FITTED, filled("token_type_ids", [5], pa.list_(pa.int8()))),
     "token_type_ids go from 5 to 5 with 0 nulls; allowed: 0 to 1"),
    ("an id null", CELL, table(FITTED, filled("input_ids", [1, None], IDS)), "with 40 nulls"),
    ("plan of another task", CELL, key(PLAN, "task", value="x"), "task is 'x'; allowed: toy"),
    ("plan of another method", CELL, key(PLAN, "method", value="x"), "is 'x'; allowed: lora"),
    ("plan half a character", CELL, key(PLAN, "reason", "rule", value="\ud800"), "lone surrogates"),
    ("folder without tokenizer", ENCODER, remove("data/encoder/tokenizer.json"),
     "folder data/encoder: no tokenizer.json; allowed: a folder that the tokenizer's"),
    ("tokenizer unusable", ENCODER, write("data/encoder/tokenizer.json", "{"),
     "encoder.source: no usable tokenizer: "),
    ("text with NUL", DOWNLOAD, row(TRAIN, '{"sentence": "\\u0000", "label": 0}'),
     "row 81 is text with"),
    ("key twice", DOWNLOAD, row(TRAIN, '{"label": 1, "sentence": "a", "label": 0}'),
     "train.jsonl: line 81: key 'label' stands twice"),
    ("table without header", DOWNLOAD, files("data/a.csv", "a,1\nb,0\n"),
     "no column 'sentence'; allowed: a, 1 (cells between ','; header: true)"),
    ("plan rank huge", CELL, key(PLAN, "modules", "lora", "rank", value=10**12), "rank is 100000"),
]  # fmt: skip
