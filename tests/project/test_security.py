"""Nothing that fishpal reads can run code or leave its place."""

from __future__ import annotations

import ast
import json
import pickle
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.integrations import hub_kernels

from benchmarks.toy.encoder import save_tokenizer
from fishpal.common.errors import FishpalError
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import load_encoder
from fishpal.encoders.tokenizer import load_tokenizer
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.trained import load, save
from fishpal.params.load import parse_params
from fishpal.params.options import HeadOptions
from fishpal.params.sections import FolderEncoder
from fishpal.records.grams import Grams
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.sources.encoder_files import fetch_encoder
from fishpal.training.checkpoint import Checkpoint
from tests.conftest import random_examples, task_facts, tiny_folder
from tests.params.test_params import changed
from tests.project.closure import ROOT

SOURCES = sorted(
    path
    for folder in ("fishpal", "stages", "studies", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if "artifacts" not in path.parts
)
MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
CALLS = {"eval", "exec", "torch.load", "torch.save", "os.system", "os.popen", "pd.read_pickle",
         "np.load", "np.save", "__import__"}  # fmt: skip
TRUE_KEYWORDS = {"shell", "trust_remote_code", "allow_pickle"}


def findings(source: str) -> list[str]:
    """What a source file imports or calls that could run what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if name in CALLS or name.endswith(".to_pickle") else []
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", True)
                if keyword.arg in TRUE_KEYWORDS and value is not False:
                    found.append(f"{name}({keyword.arg})")
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "torch.load(p)", "run(c, shell=True)",
     "load(p, trust_remote_code=flag)", "frame.to_pickle(p)", "eval(x)"],
)  # fmt: skip
def test_the_scan_finds(source):
    assert len(findings(source)) == 1


def test_no_source_file_pickles_or_runs_text():
    assert len(SOURCES) > 80
    found = {str(path): findings(path.read_text()) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


class Trap:
    """Touches a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.touch, (self.path,)


@pytest.fixture
def trap(tmp_path):
    """Content that springs when it is unpickled, and the file that shows it."""
    sprung = tmp_path / "sprung"
    content = pickle.dumps(Trap(sprung))
    pickle.loads(content)  # noqa: S301
    assert sprung.exists(), "the trap does not work"
    sprung.unlink()
    return content, sprung


def trained_folder(encoder, folder):
    plan = Plan("toy", "test", encoder.facts, (ModuleKind.LORA,) * 3, Reason("uniform"))
    head = start_head(encoder, TokenisedTask(task_facts(), random_examples(4)), HeadOptions())
    save(plan_model(encoder, head, plan, 0), plan, folder, task=task_facts(), seed=0, best=0)


@pytest.mark.parametrize("name", ["head.safetensors", "modules.safetensors", "card.json"])
def test_a_trapped_trained_folder(tiny_encoder, tmp_path, trap, name):
    content, sprung = trap
    trained_folder(tiny_encoder(), tmp_path / "trained")
    (tmp_path / "trained" / name).write_bytes(content)
    with pytest.raises(FishpalError, match=name):
        load(tiny_encoder(), tmp_path / "trained")
    assert not sprung.exists()


def test_trapped_kernels_and_states(tmp_path, trap):
    content, sprung = trap
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FishpalError):
        Grams.load(tmp_path / "file")
    assert Checkpoint(tmp_path / "file", "key").load() is None
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_trapped_encoder(tmp_path, trap, name):
    content, sprung = trap
    folder = tiny_folder("bert", tmp_path / "encoder")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    save_tokenizer(folder)
    with pytest.raises(FishpalError):
        fetch_encoder(FolderEncoder(type="folder", folder=str(folder)), tmp_path / "fetched")
        load_encoder(tmp_path / "fetched")
    with pytest.raises(FishpalError):
        load_encoder(folder)
    assert not sprung.exists()


def test_code_beside_a_model_is_neither_copied_nor_run(tmp_path):
    folder, sprung = tiny_folder("bert", tmp_path / "encoder"), tmp_path / "sprung"
    code = f"from pathlib import Path\nPath({str(sprung)!r}).touch()\n"
    code += "from transformers import BertModel as Trap, BertConfig as TrapConfig\n"
    (folder / "trap.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "trap.Trap", "AutoConfig": "trap.TrapConfig"}
    (folder / "config.json").write_text(json.dumps(config))
    save_tokenizer(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["auto_map"] = {"AutoTokenizer": ["trap.Trap", "trap.Trap"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    fetch_encoder(FolderEncoder(type="folder", folder=str(folder)), tmp_path / "fetched")
    assert [p.name for p in (tmp_path / "fetched").iterdir() if p.suffix == ".py"] == []
    for place in (folder, tmp_path / "fetched"):
        encoder = load_encoder(place).model
        assert isinstance(encoder, torch.nn.Module)
        assert type(encoder).__module__.startswith("transformers.models.bert")
        assert type(load_tokenizer(place)).__module__.startswith("transformers.")
    assert not sprung.exists()


@pytest.mark.parametrize("outside", [False, True])
def test_an_index_of_shards_that_names_pickles(tmp_path, outside):
    folder = tiny_folder("bert", tmp_path / "encoder")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    place = tmp_path if outside else folder
    torch.save(weights, place / "x.bin")
    save_file(weights, place / "x.safetensors")
    index = folder / "model.safetensors.index.json"
    for ending in ("bin", "safetensors"):
        name = f"../x.{ending}" if outside else f"x.{ending}"
        index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, name)}))
        if ending == "safetensors" and not outside:
            assert load_encoder(folder).facts.layers == 3
            continue
        with pytest.raises(FishpalError, match="allowed: names of .safetensors files beside it"):
            load_encoder(folder)
    for broken in ("[]", "{}", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}'):
        index.write_text(broken)
        with pytest.raises(FishpalError, match="index.json"):
            load_encoder(folder)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("key", ["_attn_implementation_internal", "_attn_implementation"])
def test_a_config_that_names_foreign_kernels_fetches_none(tmp_path, monkeypatch, kind, key):
    """As in CVE-2026-4372; with the package `kernels`, the second key is still followed."""
    asked = []
    monkeypatch.setattr(hub_kernels, "is_kernels_available", lambda: asked.append("kernels"))
    monkeypatch.setattr(socket.socket, "connect", lambda *given: asked.append(given))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **named: asked.append(given))
    folder = tiny_folder(kind, tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text())
    config[key] = "attacker/kernels"
    (folder / "config.json").write_text(json.dumps(config))
    implementation = load_encoder(folder).model.config._attn_implementation
    assert asked == [] and implementation in ("fishpal", "eager")


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "a;b", "$(x)", "a-b", "A", "", "a\nb", "é"])
@pytest.mark.parametrize("section", ["catalog", "methods"])
def test_names_that_become_paths_or_commands(section, name):
    params = changed("head.seed", 0)
    params[section][name] = next(iter(params[section].values()))
    with pytest.raises(FishpalError, match="letters a-z, digits and _"):
        parse_params(params)
