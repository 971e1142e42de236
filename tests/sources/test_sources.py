"""The hub and local folders: what they give, and what they say when they cannot."""

from __future__ import annotations

import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from datasets.arrow_writer import ArrowWriter

from fishpal.common.errors import DataError, SourceError
from fishpal.params.catalog import Columns, HubTask
from fishpal.params.sections import FolderEncoder, HubEncoder
from fishpal.sources.encoder_files import fetch_encoder
from fishpal.tasks.rows import frames_of_hub, load_frames

COLUMNS = ("text", "label")
COMMIT = "0" * 40


def test_hub_splits_are_mapped() -> None:
    part = datasets.Dataset.from_dict({"text": ["a", None], "label": [0, -1], "idx": [0, 1]})
    found = datasets.DatasetDict(train=part, validation=part.select([0]))
    names = {"train": "train", "test": "validation"}
    needed = {"train": (*COLUMNS, "idx"), "test": COLUMNS}  # train's group is read there alone
    frames = frames_of_hub(found, names, needed, "hub x")
    assert frames["train"].to_numpy().tolist() == [["a", 0, 0], [None, -1, 1]]
    assert frames["test"].to_numpy().tolist() == [["a", 0]]
    with pytest.raises(DataError, match="hub x: split test is 'tset'.*allowed: train, validation"):
        frames_of_hub(found, {"test": "tset"}, {"test": COLUMNS}, "hub x")
    with pytest.raises(DataError, match="hub x: split train: no column 'y'; allowed: text, label"):
        frames_of_hub(found, {"train": "train"}, {"train": ("y",)}, "hub x")


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


def offline(folder: Path, **env: str) -> str:
    """What `OFFLINE` prints, with its hub's cache in `folder`."""
    env |= {"HF_HOME": str(folder / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def silent_hub() -> Iterator[tuple[str, list[object]]]:
    """The address of a server that hangs up on everybody, and its callers so far."""
    callers: list[object] = []

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            callers.append(self.client_address)

    with socketserver.TCPServer(("127.0.0.1", 0), HangUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", callers
        server.shutdown()


def check_refusals(said: str) -> None:
    first, second = said.splitlines()
    assert first.startswith("hub data set no/such: cannot be fetched (")
    assert second.startswith("hub model no/such: cannot be fetched (")
    assert first.endswith("HF_HUB_OFFLINE=1; or source.type files")
    assert second.endswith("HF_HUB_OFFLINE=1; or source.type folder")


def test_offline_hub_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    check_refusals(offline(tmp_path, HF_HUB_OFFLINE="1"))
    assert not (tmp_path / "encoder").exists()


def test_a_silent_hub_is_asked_once_a_source(
    tmp_path: Path, silent_hub: tuple[str, list[object]]
) -> None:
    """The libraries' own six tries of every request take 24 s a source."""
    address, callers = silent_hub
    check_refusals(offline(tmp_path, HF_ENDPOINT=address))
    assert len(callers) == 2


def test_without_a_network_the_cache_is_used(
    tmp_path: Path, silent_hub: tuple[str, list[object]]
) -> None:
    snapshot = tmp_path / "home/hub/models--no--such/snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (snapshot / name).write_text(name)
    cached_data_set(tmp_path / "home/datasets", COMMIT)
    assert offline(tmp_path, HF_ENDPOINT=silent_hub[0]) == ""
    names = sorted(path.name for path in (tmp_path / "encoder").iterdir())
    assert names == ["config.json", "model.safetensors", "vocab.txt"]


def test_another_cached_revision_is_refused(tmp_path: Path) -> None:
    """Offline, `datasets` takes the latest that it has, whatever was asked for."""
    cached_data_set(tmp_path / "home/datasets", "1" * 40)
    first = offline(tmp_path, HF_HUB_OFFLINE="1").splitlines()[0]
    assert first == (
        f"hub data set no/such: the cache holds revision {'1' * 40}; allowed: {COMMIT},"
        " which needs a network"
    )


def cached_data_set(cache: Path, revision: str) -> None:
    """What `load_dataset("no/such", revision=revision)` leaves in its cache."""
    folder = cache / "no___such/default/0.0.0" / revision
    folder.mkdir(parents=True)
    splits = datasets.SplitDict(dataset_name="such")
    for name in ("train", "test"):
        with ArrowWriter(path=str(folder / f"such-{name}.arrow")) as writer:
            writer.write({"text": "a", "label": 0})
            rows, size = writer.finalize()
        splits.add(datasets.SplitInfo(name, size, rows, dataset_name="such"))
    info = datasets.DatasetInfo(splits=splits, dataset_name="such", config_name="default")
    info.version, info.builder_name = "0.0.0", "such"
    info.features = datasets.Features(text=datasets.Value("string"), label=datasets.Value("int64"))
    info.write_to_directory(str(folder))


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
    (folder / "tokenizer.json").rename(folder / "tokenizer.txt")
    (folder / "model.safetensors").touch()
    with pytest.raises(SourceError, match="folder .*in: no tokenizer.json; allowed: a folder that"):
        fetch_encoder(source, target)
    (folder / "tokenizer.txt").rename(folder / "tokenizer.json")
    (folder / "model.safetensors").unlink()
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
