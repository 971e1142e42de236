"""Tables from files: formats, headers, quoting, encodings, and every way in which they break."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishpal.common.errors import DataError, FishpalWarning, ParamsError
from fishpal.params.catalog import Columns, FilesTask
from fishpal.params.load import parse_params
from fishpal.tasks import frames
from fishpal.tasks.clean import build_splits
from fishpal.tasks.frames import read_frame
from fishpal.tasks.rows import load_frames
from tests.tasks.data_helpers import changed, write_lines

COLUMNS = ("text", "label")
ROWS = [["NA", "1"], ["two\nlines", "0"], ['say "é"', "null"]]
CSV = 'text,other,label\nNA,x,1\n"two\nlines",,0\n"say ""é""",x,null\n'


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


@pytest.mark.parametrize(("ending", "pack"), [(".bz2", bz2.compress), (".xz", lzma.compress)])
def test_every_stream_of_a_file_counts(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As parallel compressors write them; a damaged one is no end of the file."""
    path = tmp_path / f"t.csv{ending}"
    parts = [pack(b"text,label\n"), *(pack(b"%d,x\n" % n * 300) for n in range(3))]
    for chunk in (7, 1 << 20):
        monkeypatch.setattr(frames, "CHUNK", chunk)
        path.write_bytes(b"".join(parts))
        assert [text for text, _ in cells(read_frame(path, COLUMNS))] == [*"0" * 300, *"1" * 300,
                                                                           *"2" * 300]  # fmt: skip
        if ending == ".xz":
            path.write_bytes((b"\0" * 8).join(parts) + b"\0" * 4)
            assert len(read_frame(path, COLUMNS)) == 900
        for bad in (parts[2][:-9], parts[2][:9] + b"?" + parts[2][10:], b"junk"):
            path.write_bytes(b"".join([*parts[:2], bad]))
            with pytest.raises(DataError, match=f"t.csv{ending}: (not readable|cannot be read)"):
                read_frame(path, COLUMNS)


def test_a_date_that_python_has_not_is_no_traceback(tmp_path: Path) -> None:
    far = pa.array([10**12], pa.int64()).cast(pa.timestamp("s"))  # the year 33658
    pq.write_table(pa.table({"text": ["a"], "label": far}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: not readable as Parquet"):
        read_frame(tmp_path / "t.parquet", COLUMNS)


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
    (
        "t.csv",
        b"text,labels\na,1\n",
        "'label' (did you mean 'labels'?); allowed: text, labels",
    ),
    ("t.csv", b"text,label,text\na,1,b\n", "allowed: each column once"),
    ("t.csv", b"text,label\na\xff,1\n", "t.csv: byte 12 in line 2 is not UTF-8"),
    ("t.jsonl", b'{"text": "a", "label": 1}\n{"text": \n', "t.jsonl: line 2 is not JSON"),
    ("t.jsonl", b"[1, 2]\n", "t.jsonl: line 1 is [1, 2]; allowed: one JSON object a line"),
    ("t.jsonl", b'{"text": "a"}\n', "t.jsonl: line 1: no column 'label'; allowed: text"),
    ("t.jsonl", b"[" * 100_000, "t.jsonl: line 1 is not JSON"),
    ("t.json", b'[\n{"text": "a"}]', "t.json: line 1 is not JSON"),
    ("t.parquet", b"PAR1 no", "t.parquet: not readable as Parquet"),
    ("t.csv", b"text;label\n", "allowed: text;label (cells between ','; header: true)"),
    ("t.tsv", b"a\t1\n", "no column 'text'; allowed: a, 1 (cells between '\\t'; header: true)"),
    (
        "t.csv",
        b"text, label\n",
        "'label' (did you mean ' label'?); allowed: text,  label",
    ),
    ("t.csv", gzip.compress(b"text,label\n"), "t.csv: byte 1 in line 1 is not UTF-8 but gzip"),
    ("t.csv", b"PK\x03\x04\xff", "t.csv: byte 4 in line 1 is not UTF-8 but zip"),
    ("t.csv", "text,label\n".encode("utf-16"), "byte 0 in line 1 is not UTF-8 but UTF-16"),
    (
        "t.jsonl",
        b'{"text": "a", "label": 1}\n{"text": "a", "label": 1, "text": "b"}',
        "t.jsonl: line 2: key 'text' stands twice; allowed: each key once",
    ),
    ("t.txt", b"text,label\n", "ending is '.txt'; allowed: .csv, .tsv, .jsonl, .json, .parquet"),
    ("t.txt", b"text,label\n", "or format: csv, tsv, jsonl, parquet"),
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


COLA = "gj04\t1\t\tThe \"more\ngj04\t0\t*\tHe's gone.\n"
COLA_ROWS = [['The "more', "1"], ["He's gone.", "0"]]


def test_a_table_without_a_header_has_columns_by_number(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(COLA)
    frame = read_frame(tmp_path / "t.tsv", [3, 1], header=False)
    assert list(frame.columns) == ["3", "1"] and frame.to_numpy().tolist() == COLA_ROWS
    for columns, header, allowed in (
        (["text"], False, r"'text'; allowed: 0, 1, 2, 3 \(cells between '\\t'; header: false\)"),
        ([4], False, "'4'; allowed: 0, 1, 2, 3"),
        ([-1], False, "'-1' .*; allowed: 0, 1, 2, 3"),
        ([3], True, r"'3'; allowed: gj04, 1, , The \"more \(.*header: true\)"),
    ):
        with pytest.raises(DataError, match=f"no column {allowed}"):
            read_frame(tmp_path / "t.tsv", columns, header=header)
    (tmp_path / "t.csv").write_text("a,1\nb\n")
    with pytest.raises(DataError, match="line 2 has 1 cells; allowed: 2"):
        read_frame(tmp_path / "t.csv", [0], header=False)


@pytest.mark.parametrize(
    ("format", "quoting", "expected"),
    [
        ("csv", None, [["a, b", "0"], ['"', "1"]]),
        ("csv", "minimal", [["a, b", "0"], ['"', "1"]]),
        ("tsv", None, [['"a, b"', "0"], ['""""', "1"]]),
        ("tsv", "none", [['"a, b"', "0"], ['""""', "1"]]),
        ("tsv", "minimal", [["a, b", "0"], ['"', "1"]]),
    ],
)
def test_format_and_quoting_by_option(
    tmp_path: Path, format: str, quoting: str | None, expected: list[list[str]]
) -> None:
    d = {"csv": ",", "tsv": "\t"}[format]
    path = tmp_path / "t.txt.gz"
    path.write_bytes(gzip.compress(f'text{d}label\n"a, b"{d}0\n""""{d}1\n'.encode()))
    assert cells(read_frame(path, COLUMNS, format=format, quoting=quoting)) == expected


def test_unquoted_csv(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text,label\n"a,0\nb",1\n')
    assert cells(read_frame(tmp_path / "t.csv", COLUMNS, quoting="none")) == [
        ['"a', "0"],
        ['b"', "1"],
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"format": "txt"}, "format is txt; allowed: .*or format: csv, tsv, jsonl, parquet"),
        ({"format": "csv", "quoting": "all"}, "quoting is 'all'; allowed: minimal, none"),
        ({"format": "jsonl", "header": False}, "is jsonl; allowed with header and quoting: csv"),
        ({"format": "parquet", "quoting": "none"}, "is parquet; allowed with header and quoting"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    (tmp_path / "t.txt").write_text("text,label\na,1\n")
    with pytest.raises(DataError, match=f"t.txt: {expected}"):
        read_frame(tmp_path / "t.txt", COLUMNS, **options)


def test_spreadsheet_leftovers_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\r\n,text,label,,\r\n0,a,1,,\r\n")
    assert cells(read_frame(tmp_path / "t.csv", COLUMNS)) == [["a", "1"]]


@pytest.mark.parametrize("path", ["~/t.csv", "data/*.csv", "t[0-9].parquet"])
def test_paths_are_taken_as_they_stand(path: str) -> None:
    with pytest.raises(DataError, match="No such file.*its path without ~ and patterns"):
        read_frame(path, COLUMNS)


def test_dictionary_columns_of_parquet(tmp_path: Path) -> None:
    columns = {"text": pa.array(["a", "b", "a"]), "label": pa.array([1, 0, 1])}
    coded = {key: values.dictionary_encode() for key, values in columns.items()}
    pq.write_table(pa.table(coded), tmp_path / "t.parquet")
    expected = [["a", 1], ["b", 0], ["a", 1]]
    assert cells(read_frame(tmp_path / "t.parquet", COLUMNS)) == expected


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


def test_the_group_is_read_of_train_alone(tmp_path: Path) -> None:
    rows = [{"text": f"w{n}", "label": n % 2, "author": n // 2} for n in range(4)]
    write_lines(tmp_path / "train.jsonl", rows)
    write_lines(tmp_path / "test.jsonl", [{k: row[k] for k in COLUMNS} for row in rows])
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "test")}
    source = {"type": "files", "files": files, "licence": "MIT"}
    columns = {"text": ["text"], "label": "label", "group": "author"}
    entry = changed("grid", ...)["catalog"]["movies"]
    entry |= {"source": source, "labels": [0, 1], "columns": columns}
    task = parse_params(changed("catalog.movies", entry)).catalog["movies"]
    splits = build_splits(task, load_frames(task.source, task.columns), "demo").splits
    assert splits["train"]["group"].tolist() == ["0", "0", "1", "1"]
    assert list(splits["test"].columns) == ["text", "label"]


def test_params_say_how_files_are_written(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(COLA)
    entry = changed("grid", ...)["catalog"]["movies"]
    source = {"type": "files", "files": {"train": str(tmp_path / "a.txt")}}
    source["files"]["test"] = str(tmp_path / "b.txt")
    source |= {"format": "tsv", "header": False}
    entry |= {"source": source, "labels": [0, 1], "columns": {"text": [3], "label": 1}}
    task = parse_params(changed("catalog.movies", entry)).catalog["movies"]
    built = build_splits(task, load_frames(task.source, task.columns), "cola")
    assert built.splits["test"].to_numpy().tolist() == [['The "more', 1], ["He's gone.", 0]]
    assert built.card.columns == {"text": ("3",), "label": "1"}
    said = {key: built.card.source[key] for key in ("format", "header")}
    assert said == {"format": "tsv", "header": False} and "quoting" not in built.card.source
    for key, value in (("format", "txt"), ("header", "no"), ("quoting", "all")):
        wrong = entry | {"source": source | {key: value}}
        with pytest.raises(ParamsError, match=f"catalog.movies.source.{key} is '{value}'"):
            parse_params(changed("catalog.movies", wrong))
    with pytest.raises(ParamsError, match="columns.label is 1.5; allowed: a text"):
        parse_params(changed("catalog.movies.columns.label", 1.5))


def test_a_tsv_that_was_written_with_quotes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    pd.DataFrame({"text": ['say "hi", ok', "plain"]}).to_csv(path, sep="\t", index=False)
    with pytest.warns(FishpalWarning, match="column 'text' has 1 cells as .*quoting: minimal"):
        assert read_frame(path, ["text"])["text"][0] == '"say ""hi"", ok"'
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_frame(path, ["text"], quoting="minimal")["text"][0] == 'say "hi", ok'
        read_frame(path, ["text"], quoting="none")
        path.write_text('text\n"a title" and more\n"quoted"\n')
        read_frame(path, ["text"])
