"""Tables and encoders from files: formats, encodings, and every way in which they are broken."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishpal.common.errors import DataError, SourceError
from fishpal.params.catalog import Columns, FilesTask, HubTask
from fishpal.params.sections import FolderEncoder, HubEncoder
from fishpal.sources.encoder_files import fetch_encoder
from fishpal.tasks.frames import read_frame
from fishpal.tasks.rows import frames_of_hub, load_frames
from tests.tasks.data_helpers import write_lines

COLUMNS = ("text", "label")
ROWS = [["NA", "1"], ["two\nlines", "0"], ['say "é"', "null"]]
CSV = 'text,other,label\nNA,x,1\n"two\nlines",,0\n"say ""é""",x,null\n'
COMMIT = "0" * 40


def cells(frame: pd.DataFrame) -> list[list[object]]:
    return frame[list(COLUMNS)].to_numpy().tolist()


@pytest.mark.parametrize(
    ("ending", "pack"),
    [("", bytes), (".bz2", bz2.compress), (".gz", gzip.compress), (".xz", lzma.compress)],
)
def test_csv_keeps_words_as_they_are(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"t.csv{ending}"
    path.write_bytes(pack(b"\xef\xbb\xbf" + CSV.encode()))  # with a byte order mark
    frame = read_frame(path, COLUMNS)
    assert cells(frame) == ROWS and list(frame.columns) == list(COLUMNS)


def test_other_formats_keep_values_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('label\ttext\n1\tsay "x\n\n0\tb,c\n', encoding="utf-8")
    assert cells(read_frame(tmp_path / "t.tsv", COLUMNS)) == [['say "x', "1"], ["b,c", "0"]]
    rows = [{"text": "a\u2028b", "label": 1}, {"label": 0.5, "text": None}]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "t.jsonl").write_text(lines, encoding="utf-8")
    assert cells(read_frame(tmp_path / "t.jsonl", COLUMNS)) == [["a\u2028b", 1], [None, 0.5]]
    pd.DataFrame({"text": ["a", "b"], "label": [3, 4]}).to_parquet(tmp_path / "t.parquet")
    assert cells(read_frame(tmp_path / "t.parquet", COLUMNS)) == [["a", 3], ["b", 4]]


def test_long_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "x" * 200_000 + ",1\n", encoding="utf-8")
    assert len(read_frame(path, COLUMNS)["text"][0]) == 200_000


BAD: list[tuple[str, bytes, str]] = [
    ("t.csv", b"", "t.csv: is empty; allowed: one row or more"),
    ("t.csv", b"text,label\n", "t.csv: holds no rows"),
    ("t.csv", b"text,label\na,1\nb\n", "t.csv: line 3 has 1 cells; allowed: 2"),
    ("t.csv", b"text,label\na,1,2\n", "t.csv: line 2 has 3 cells; allowed: 2"),
    ("t.csv", b'text,label\n"a,1\n', "t.csv: line 2: unexpected end of data"),
    ("t.csv", b"text,labels\na,1\n", "t.csv: no column 'label'; allowed: text, labels"),
    ("t.csv", b"text,label,text\na,1,b\n", "allowed: each column once"),
    ("t.csv", b"text,label\na\xff,1\n", "t.csv: byte 12 in line 2 is not UTF-8"),
    ("t.jsonl", b'{"text": "a", "label": 1}\n{"text": \n', "t.jsonl: line 2 is not JSON"),
    ("t.jsonl", b"[1, 2]\n", "t.jsonl: line 1 is [1, 2]; allowed: one JSON object a line"),
    ("t.jsonl", b'{"text": "a"}\n', "t.jsonl: line 1: no column 'label'; allowed: text"),
    ("t.jsonl", b"[" * 100_000, "t.jsonl: line 1 is not JSON"),
    ("t.json", b'[\n{"text": "a"}]', "t.json: line 1 is not JSON"),
    ("t.parquet", b"PAR1 no", "t.parquet: not readable as Parquet"),
    ("t.csv.gz", b"text,label\n", "t.csv.gz: not readable as .gz"),
    ("t.csv.gz", gzip.compress(b"text,label\na,1\n")[:-9], "t.csv.gz: not readable as .gz"),
    ("t.csv.xz", b"x", "t.csv.xz: not readable as .xz"),
    ("t.csv.bz2", b"x", "t.csv.bz2: cannot be read: Invalid data stream"),
    ("t.xlsx", b"x", "t.xlsx: ending is '.xlsx'; allowed: .csv, .tsv, .jsonl, .json, .parquet"),
    ("t.parquet.gz", b"x", "t.parquet.gz: ending is '.parquet.gz'"),
]


@pytest.mark.parametrize(("name", "content", "expected"), BAD, ids=[row[2] for row in BAD])
def test_bad_file_is_named(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_frame(tmp_path / name, COLUMNS)
    assert expected in str(caught.value) and str(caught.value).isprintable()


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no.csv: cannot be read: No such file"):
        read_frame(tmp_path / "no.csv", COLUMNS)
    with pytest.raises(DataError, match="no.parquet: cannot be read: No such file"):
        read_frame(tmp_path / "no.parquet", COLUMNS)
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(DataError, match="f.csv: cannot be read: Is a directory"):
        read_frame(tmp_path / "f.csv", COLUMNS)


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ending=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet", ".csv.bz2", ".jsonl.xz"]),
    start=st.sampled_from([b"", b"text,label\n", b"text\tlabel\n", b'{"text": "a", "label": ']),
    rest=st.binary(max_size=40),
)
def test_any_bytes_give_rows_or_one_line(
    tmp_path: Path, ending: str, start: bytes, rest: bytes
) -> None:
    path = tmp_path / f"t{ending}"
    path.write_bytes(start + rest)
    try:
        assert len(read_frame(path, COLUMNS)) > 0
    except DataError as error:
        assert str(path) in str(error) and str(error).isprintable()


def test_files_task_reads_the_columns_of_every_split(tmp_path: Path) -> None:
    train = write_lines(tmp_path / "a.jsonl", [{"s": "x", "label": 1, "rest": 0}])
    test = write_lines(tmp_path / "b.jsonl", [{"s": "y", "label": 0}])
    source = FilesTask(type="files", files={"train": str(train), "test": str(test)})
    frames = load_frames(source, Columns(text=("s",), label="label"))
    assert {name: frame.to_numpy().tolist() for name, frame in frames.items()} == {
        "train": [["x", 1]],
        "test": [["y", 0]],
    }


def test_hub_splits_are_mapped() -> None:
    part = datasets.Dataset.from_dict({"text": ["a", None], "label": [0, -1], "idx": [0, 1]})
    found = datasets.DatasetDict(train=part, validation=part.select([0]))
    frames = frames_of_hub(found, {"train": "train", "test": "validation"}, COLUMNS, "hub x")
    assert cells(frames["train"]) == [["a", 0], [None, -1]] and len(frames["test"]) == 1
    with pytest.raises(DataError, match="hub x: split test is 'tset'.*allowed: train, validation"):
        frames_of_hub(found, {"test": "tset"}, COLUMNS, "hub x")
    with pytest.raises(DataError, match="hub x: split train: no column 'y'; allowed: text, label"):
        frames_of_hub(found, {"train": "train"}, ("y",), "hub x")


OFFLINE = """
from pathlib import Path
from fishpal.params.catalog import Columns, HubTask
from fishpal.common.errors import SourceError
from fishpal.params.sections import HubEncoder
from fishpal.sources.encoder_files import fetch_encoder
from fishpal.tasks.rows import load_frames
splits = {"train": "train", "test": "test"}
task = HubTask(type="hub", path="no/such", revision="0" * 40, splits=splits)
model = HubEncoder(type="hub", name="no/such", revision="0" * 40)
for fetch in (
    lambda: load_frames(task, Columns(text=("text",), label="label")),
    lambda: fetch_encoder(model, Path("encoder")),
):
    try:
        fetch()
    except SourceError as error:
        print(error)
"""


def test_offline_hub_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("hub data set no/such: cannot be fetched (")
    assert second.startswith("hub model no/such: cannot be fetched (")
    assert first.endswith("HF_HUB_OFFLINE=1; or source.type files")
    assert second.endswith("HF_HUB_OFFLINE=1; or source.type folder")
    assert not (tmp_path / "encoder").exists()


def test_hub_name_that_is_a_local_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/sst2").mkdir(parents=True)
    splits = {"train": "train", "test": "test"}
    source = HubTask(type="hub", path="data/sst2", revision=COMMIT, splits=splits)
    with pytest.raises(SourceError, match="data/sst2: a local path has this name"):
        load_frames(source, Columns(text=("text",), label="label"))


def test_folder_encoder_takes_data_only(tmp_path: Path) -> None:
    folder, target = tmp_path / "in", tmp_path / "out"
    with pytest.raises(SourceError, match="in: is no folder; allowed"):
        fetch_encoder(FolderEncoder(type="folder", folder=str(folder)), target)
    folder.mkdir()
    source = FolderEncoder(type="folder", folder=str(folder))
    with pytest.raises(SourceError, match="in: no config.json"):
        fetch_encoder(source, target)
    for name in ("config.json", "pytorch_model.bin", "modeling_evil.py", "tokenizer.json"):
        (folder / name).write_text(name)
    with pytest.raises(SourceError, match="no model.safetensors but pickled pytorch_model.bin"):
        fetch_encoder(source, target)
    assert not target.exists()
    (tmp_path / "blob").write_text("weights")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")  # as in the hub's cache
    target.mkdir()
    fetch_encoder(source, target)
    names = sorted(path.name for path in target.iterdir())
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]
    assert not (target / "model.safetensors").is_symlink()


def test_download_stage_imports_no_heavy_library() -> None:
    code = "import sys, stages.download_task; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "datasets", "transformers", "huggingface_hub"}
    assert not heavy & set(done.stdout.split())


def test_pinned_revision_is_required() -> None:
    with pytest.raises(ValueError, match="revision is 'main'; allowed: a commit of 40 hex digits"):
        HubEncoder(type="hub", name="a/b", revision="main")
