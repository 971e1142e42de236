"""params.yaml: what is accepted, and the one line that names key, value and what is allowed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishpal.common.errors import ParamsError
from fishpal.common.kinds import ModuleKind
from fishpal.params.load import Params, load_params, parse_params
from tests.tasks.data_helpers import PARAMS, changed, default_params

SOURCE = "catalog.movies.source"
FILES = {"type": "files", "files": {"train": "a.csv", "test": "b.csv"}}
HUB = {"type": "hub", "path": "nyu-mll/glue", "splits": {"train": "train", "test": "validation"}}
PART = {"package": "a", "version": "1", "sha256": "0" * 64, "file": "a.zip.001"}
PARTS = {"type": "packages", "folder": "a", "parts": [PART, PART | {"file": "a.zip.002"}]}
LOOP: list[Any] = []
LOOP.append(LOOP)

# key, value (...: deleted), what the message has to say
BAD: list[tuple[str, Any, str]] = [
    ("trian", {}, "trian is unknown (did you mean 'train'?); allowed: catalog, encoder"),
    ("train.epoch", 3, "train.epoch is unknown (did you mean 'epochs'?); allowed: batch_size"),
    ("train.epochs", "4", "train.epochs is '4'; allowed: an integer"),
    ("train.epochs", True, "train.epochs is True; allowed: an integer"),
    ("train.epochs", 0, "train.epochs is 0; allowed: an integer from 1"),
    ("train.epochs", 10**5000, "train.epochs is too large; allowed: integers of 64 bits"),
    ("train.warmup", 1, "train.warmup is 1.0; allowed: 0 up to, not including, 1"),
    ("train.learning_rate.lora", float("nan"), "lora is nan; allowed: finite numbers"),
    ("train.schedule", "lin", "train.schedule is 'lin' (did you mean 'linear'?); allowed: ave"),
    ("train", None, "train is None; allowed: a mapping"),
    ("train", ..., "train is missing"),
    (
        "fisher.kinds",
        ["lora", "loar"],
        "kinds.1 is 'loar' (did you mean 'lora'?); allowed: adapter",
    ),
    (
        "fisher.kinds",
        ["lora", "lora"],
        "kinds is lora, lora; allowed: one kind or more, each",
    ),
    ("modules.lora.sites", [], "modules.lora.sites is empty; allowed: all, or one or more, each"),
    ("modules.lora.sites", ["key", "key"], "modules.lora.sites is key, key; allowed: all, or one"),
    ("modules.lora.sites", ["kye"], "modules.lora.sites.0 is 'kye'; allowed: 'query', 'key'"),
    ("modules.lora.sites", "al", "modules.lora.sites is 'al'; allowed: a list or 'all'"),
    ("select.budget", 2.0, "select.budget is 2.0; allowed: above 0 up to 1"),
    ("grid.tasks", ["muvies"], "grid.tasks is 'muvies' (did you mean 'movies'?); allowed: movies"),
    ("grid.tasks", "movies", "grid.tasks is 'movies'; allowed: a list"),
    ("grid.methods", ["fishpla"], "grid.methods is 'fishpla' (did you mean 'fishpal'?)"),
    ("grid.seeds", [-1], "grid.seeds is -1; allowed: integers from 0 below 2**32"),
    ("grid.seeds", [1, 1], "grid.seeds is [1, 1]; allowed: each entry once"),
    ("methods.a-b", {"rule": "none"}, "methods is 'a-b'; allowed: letters a-z, digits and _"),
    ("methods.full", {"rule": "ful"}, "methods.full.rule is 'ful' (did you mean 'full'?)"),
    ("methods.lora", {"rule": "uniform"}, "methods.lora.kind is missing; allowed: prefix"),
    ("methods.head.compress", 0.5, "methods.head.compress is unknown; allowed: learning_rate"),
    ("methods.prefix.compress", 0.5, "methods.prefix.compress is 0.5; allowed: null: prefix ca"),
    ("methods.prefix.margin", 0.5, "methods.prefix.margin is 0.5; allowed: null: prefix cannot"),
    ("methods.lora.compress", 1.0, "methods.lora.compress is 1.0; allowed: a number between 0"),
    ("methods.lora.compress", "a", "methods.lora.compress is 'a'; allowed: a number"),
    ("methods.lora.margin", 0, "methods.lora.margin is 0"),
    (
        "methods.fishpal",
        {"rule": "race", "compress": 0.5, "margin": 0.1},
        "methods.fishpal.margin is 0.1; allowed: null where compress is set",
    ),
    ("methods.head.kind", "lora", "methods.head.kind is unknown; allowed: learning_rate, rule"),
    (f"{SOURCE}.fil", "x", f"{SOURCE}.fil is unknown (did you mean 'file'?); allowed: drop_dup"),
    (f"{SOURCE}.type", "pkg", f"{SOURCE}.type is 'pkg'"),
    (f"{SOURCE}.type", ["a"], "; allowed: files, hub, package"),
    (f"{SOURCE}.type", ..., f"{SOURCE}.type is missing; allowed: files, hub, package"),
    (f"{SOURCE}.file", ..., f"{SOURCE}.file is missing"),
    (f"{SOURCE}.sha256", "abc", f"{SOURCE}.sha256 is 'abc'; allowed: 64 hex digits"),
    (f"{SOURCE}.version", 1.0, f"{SOURCE}.version is 1.0; allowed: a text"),
    (f"{SOURCE}.package", "-r x", f"{SOURCE}.package is '-r x'; allowed: a name of the package"),
    (f"{SOURCE}.split", None, f"{SOURCE}.split is null; allowed: a split"),
    (f"{SOURCE}.split.shares", {"train": 0.5, "test": 0.4}, "shares is in sum 0.9; allowed: a sum"),
    (f"{SOURCE}.split.shares", {"train": 0.5, "fit": 0.5}, "is 'fit'; allowed: other names than"),
    (f"{SOURCE}.drop_labels", ["fresh"], "source.drop_labels is fresh; allowed: what `labels`"),
    (SOURCE, HUB, f"{SOURCE}.revision is missing"),
    (SOURCE, HUB | {"revision": "main"}, "revision is 'main'; allowed: a commit of 40 hex digits"),
    (SOURCE, FILES | {"files": {"test": "a"}}, "files is ['test']; allowed: train and one more"),
    ("encoder.source", PARTS | {"parts": []}, "encoder.source.parts is empty; allowed: one part"),
    ("encoder.source", PARTS | {"parts": [PART, PART]}, "encoder.source.parts is ['a.zip.001', 'a"),
    (
        "encoder.source",
        PARTS | {"parts": [PART | {"sha256": "x"}]},
        "parts.0.sha256 is 'x'",
    ),
    ("encoder.source", PARTS | {"parts": [PART | {"fil": "x"}]}, "parts.0.fil is unknown (did you"),
    (
        "encoder.source",
        PARTS | {"sha256": "x"},
        "source.sha256 is unknown; allowed: folder",
    ),
    ("catalog.movies.labels", ["a"], "labels is ['a']; allowed: two labels or more, or null"),
    ("catalog.movies.labels", [1.5, "a"], "labels.0 is 1.5; allowed: a text or an integer"),
    ("catalog.movies.labels", [1, "1"], "labels is ['1', '1']; allowed: each label once"),
    ("catalog.movies.labels", None, "metrics is accuracy; allowed: those of a regression"),
    (
        "catalog.movies.metrics",
        ["acuracy"],
        "movies.metrics.0 is 'acuracy' (did you mean 'accuracy'?)",
    ),
    ("catalog.movies.headline", ["tset"], "headline is 'tset' (did you mean 'test'?)"),
    ("catalog.movies.sizes.fit", 1, "sizes.fit is 1; allowed: an integer from 2, or null"),
    ("catalog.movies.sizes.selection", 1.0, "sizes.selection is 1.0; allowed: an integer from 2"),
    ("catalog.movies.columns.text", ["a", "b", "c"], "columns.text is ['a', 'b', 'c']; allowed"),
    ("catalog.movies.columns.label", "text", "allowed: each column once"),
    ("catalog.movies.columns", {"x": "y" * 5000}, "columns.x is unknown; allowed: group, label"),
    ("catalog.movies.columns.group", "author", "group is author; allowed: source.split.by, which"),
    ("catalog.movies.headline", ["test", "test"], "['test', 'test']; allowed: each split once"),
    ("modules.lora.rate_ratio", 1e45, "rate_ratio is 1e+45; allowed: above 0 up to 1e+06"),
    ("head", datetime.date(2020, 1, 1), "head is datetime.date(2020, 1, 1); allowed: text, num"),
    ("head", {1: 2}, "head: key is 1; allowed: a text"),
    ("head.seed", "\0", "head.seed is '\\x00'; allowed: text without NUL"),
    ("head", LOOP, "is too large or refers to itself; allowed: 100000 values in 20 levels"),
    ("fisher", ["x" * 9000], "...; allowed: a mapping"),
]


@pytest.mark.parametrize(("key", "value", "expected"), BAD, ids=[row[0] for row in BAD])
def test_bad_value_is_named(key: str, value: Any, expected: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(changed(key, value))
    message = str(caught.value)
    assert expected in message
    assert len(message) < 400 and message.isprintable()


def test_wrong_tag_lists_the_tags() -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(changed(f"{SOURCE}.type", "pkg"))
    near = " (did you mean 'package'?)"
    assert str(caught.value) == (
        f"params: {SOURCE}.type is 'pkg'{near}; allowed: files, hub, package"
    )


def test_unknown_key_lists_the_keys_of_its_own_type() -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(changed(SOURCE, FILES | {"sha256": "0"}))
    allowed = str(caught.value).split("allowed: ")[1]
    own = "drop_duplicates, drop_labels, files, format, header, licence, quoting, split, type"
    assert allowed == own


def test_values_get_their_types() -> None:
    params = load_params(PARAMS)
    assert params.grid.seeds == tuple(default_params()["grid"]["seeds"])
    assert params.fisher.kinds == (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
    assert (params.train.learning_rate.lora, params.train.learning_rate.head) == ("auto", 1e-2)
    assert list(params.task("movies").source.split.shares) == ["train", "validation", "test"]
    with pytest.raises(ParamsError, match=r"task is 'movie' \(did you mean 'movies'\?\)"):
        params.task("movie")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "holds None; allowed: a mapping of sections"),
        (b"- a\n", "holds ['a']; allowed: a mapping of sections"),
        (b"grid: \xff\n", "byte 6 is not UTF-8"),
        (b"grid: 1\ngrid: 2\n", "not YAML in line 2: key 'grid' stands twice"),
        (b"a: [1\n", "not YAML in line 2"),
        (b"a: !!python/object:os.system x\n", "not YAML in line 1"),
        (b"a: !!timestamp x\n", "not YAML"),
        (b"a: 2020-99-99\n", "not YAML"),
        (b"a: \x00\n", "not YAML"),
        (b"[" * 5000, "not YAML"),
        (b"a: &a [*a]\n", "refers to itself"),
        (b"{1: 2}", "key is 1; allowed: a text"),
    ],
)
def test_bad_file_is_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and expected in message and message.isprintable()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="none.yaml: cannot be read: No such file"):
        load_params(tmp_path / "none.yaml")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.dates(),
    st.binary(max_size=3),
    st.sampled_from(["movies", "lora", "package", "type", 0, 0.5, 10**400, "\ud800"]),
)
KEYS = st.one_of(st.text(max_size=3), st.integers(), st.none(), st.sampled_from(["type", "rule"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3), st.tuples(inner)
    ),
    max_leaves=8,
)


def all_keys(data: Any, prefix: str = "") -> list[str]:
    found = []
    for key, value in data.items():
        found.append(prefix + key)
        if isinstance(value, dict):
            found += all_keys(value, f"{prefix}{key}.")
    return found


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@given(key=st.sampled_from(all_keys(default_params())), value=VALUES)
def test_any_value_gives_params_or_one_line(key: str, value: Any) -> None:
    try:
        assert isinstance(parse_params(changed(key, value)), Params)
    except ParamsError as error:
        assert str(error).isprintable() and len(str(error)) < 500


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(VALUES)
def test_anything_else_is_one_line(data: Any) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(data)
    assert str(caught.value).isprintable()
