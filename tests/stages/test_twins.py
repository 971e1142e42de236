"""Equal plans share one training and one evaluation: the second cell takes over the first's."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from benchmarks.toy.project import edit_yaml
from fishpal.common.files import sha256_of
from tests.stages.toy_project import run_stage

LORA, TWIN = "artifacts/trained/toy/lora/0", "artifacts/trained/toy/fishpal/0"
CURVE = "artifacts/curves/toy/{}/0.csv"
EVALUATED = "artifacts/evaluated/toy/{}/0"


@pytest.fixture
def twins(project, tmp_path):
    """The toy project, `fishpal`'s plan made equal to `lora`'s, and nothing trained yet."""
    root = shutil.copytree(project, tmp_path / "project")
    plan = json.loads((root / "artifacts/plans/toy/lora.json").read_text())
    plan |= {"method": "fishpal", "reason": plan["reason"] | {"rule": "criterion"}}
    (root / "artifacts/plans/toy/fishpal.json").write_text(json.dumps(plan))
    for folder in ("trained", "evaluated", "curves", "seconds/train", "checkpoints"):
        shutil.rmtree(root / "artifacts" / folder, ignore_errors=True)
    return root


def train(root, method, seed=0):
    run(root, f"train_plan toy {method} {seed}")


def run(root, command):
    log = root.parent / "log"
    assert run_stage(root, command, log) == 0, log.read_text()


def notes_of(root, folder):
    """Those of what lies below artifacts/<folder>."""
    notes = (root / "artifacts/checkpoints/finished").iterdir()
    found = [json.loads(note.read_text())["folder"] for note in notes]
    return sorted(each for each in found if each.startswith(f"artifacts/{folder}/"))


def weights(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "plan.json"}


def test_an_equal_plan_is_not_trained_again(twins):
    train(twins, "lora")
    note = next((twins / "artifacts/checkpoints/finished").iterdir())
    train(twins, "fishpal")
    assert weights(twins / TWIN) == weights(twins / LORA)
    seconds = [twins / f"artifacts/seconds/train/toy/{m}/0.json" for m in ("lora", "fishpal")]
    assert seconds[0].read_bytes() == seconds[1].read_bytes(), "copied, not trained"
    curves = [(twins / CURVE.format(m)).read_bytes() for m in ("lora", "fishpal")]
    assert curves[0] == curves[1]
    assert json.loads((twins / TWIN / "plan.json").read_text())["method"] == "fishpal"
    assert [note] == list((twins / "artifacts/checkpoints/finished").iterdir())
    assert json.loads(note.read_text())["folder"] == LORA


@pytest.mark.parametrize("damage", ["weights", "gone", "note", "rate", "seed"])
def test_what_is_not_the_same_is_trained(twins, damage):
    train(twins, "lora")
    expected, spoilt = weights(twins / LORA), twins / LORA / "modules.safetensors"
    if damage == "weights":
        spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"x")
    elif damage == "gone":
        shutil.rmtree(twins / LORA)
    elif damage == "note":
        next((twins / "artifacts/checkpoints/finished").iterdir()).write_text("{")
    elif damage == "rate":
        path = twins / "artifacts/plans/toy/fishpal.json"
        plan = json.loads(path.read_text())
        plan["learning_rate"]["lora"] *= 2
        path.write_text(json.dumps(plan))
    train(twins, "fishpal", seed=1 if damage == "seed" else 0)
    found = twins / (TWIN if damage != "seed" else TWIN[:-1] + "1")
    notes = (twins / "artifacts/checkpoints/finished").iterdir()
    trained = [json.loads(note.read_text())["folder"] for note in notes]
    assert str(found.relative_to(twins)) in trained, "a copy would leave the first one's note"
    same = {name: found.joinpath(name).read_bytes() == data for name, data in expected.items()}
    assert same["modules.safetensors"] == (damage not in ("rate", "seed"))


def test_an_equal_cell_is_not_evaluated_again(twins):
    for method in ("lora", "fishpal"):
        train(twins, method)
        run(twins, f"evaluate_plan toy {method} 0")
    found = [weights(twins / EVALUATED.format(method)) for method in ("lora", "fishpal")]
    assert found[0] == found[1] and set(found[0]) == {"metrics.json", "predictions.parquet"}
    assert notes_of(twins, "evaluated") == [EVALUATED.format("lora")], "copied, not evaluated"


@pytest.mark.parametrize("damage", ["scores", "alpha", "weights", "params"])
def test_what_is_not_the_same_is_evaluated(twins, damage):
    """`alpha` stands in the plan alone: with it, the same weights are another model."""
    train(twins, "lora")
    train(twins, "fishpal")
    run(twins, "evaluate_plan toy lora 0")
    first, twin = twins / EVALUATED.format("lora"), twins / EVALUATED.format("fishpal")
    expected = weights(first)
    if damage == "scores":
        text = (first / "metrics.json").read_text()
        (first / "metrics.json").write_text(text.replace('"loss": ', '"loss": 1'))
    elif damage == "alpha":
        path = twins / TWIN / "plan.json"
        plan = json.loads(path.read_text())
        plan["modules"]["lora"]["alpha"] *= 50
        path.write_text(json.dumps(plan))
    elif damage == "weights":
        head = twins / TWIN / "head.safetensors"
        tensors = {name: -tensor for name, tensor in load_file(head).items()}
        save_file(tensors, head)
    else:
        edit_yaml(twins / "params.yaml", lambda params: params["evaluate"].update(batch_size=3))
    run(twins, "evaluate_plan toy fishpal 0")
    assert EVALUATED.format("fishpal") in notes_of(twins, "evaluated"), "evaluated, not copied"
    same = weights(twin)["metrics.json"] == expected["metrics.json"]
    assert same == (damage in ("scores", "params"))


def compressing(root, method="fishpal"):
    """That method's plan, to be made smaller once trained; the folder of its cell."""
    path = root / f"artifacts/plans/toy/{method}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"compress": 0.25}))
    return root / f"artifacts/trained/toy/{method}/0"


def test_a_compressed_cell_goes_on_from_the_whole_one(twins):
    """To the bytes that training it from its start gives, in the seconds of both."""
    small = compressing(twins)
    train(twins, "fishpal")
    alone, curve = weights(small), (twins / CURVE.format("fishpal")).read_bytes()
    plan = (small / "plan.json").read_bytes()
    shutil.rmtree(twins / "artifacts/checkpoints")
    train(twins, "lora")
    seconds = [twins / f"artifacts/seconds/train/toy/{m}/0.json" for m in ("lora", "fishpal")]
    seconds[0].write_text(json.dumps(json.loads(seconds[0].read_text()) | {"seconds": 1000.0}))
    note = next((twins / "artifacts/checkpoints/finished").iterdir())
    found = json.loads(note.read_text())
    found["hashes"][str(seconds[0].relative_to(twins))] = sha256_of(seconds[0])
    note.write_text(json.dumps(found))
    train(twins, "fishpal")
    assert weights(small) == alone and (small / "plan.json").read_bytes() == plan
    assert (twins / CURVE.format("fishpal")).read_bytes() == curve
    assert 1000 < json.loads(seconds[1].read_text())["seconds"] < 1200
    assert sorted(notes_of(twins, "trained")) == [TWIN, LORA]
    first, second = (
        json.loads((folder / "card.json").read_text()) for folder in (twins / LORA, small)
    )
    assert second["parameters"]["kept"] < first["parameters"]["kept"]
    assert second["parameters"]["trainable"] == first["parameters"]["trainable"]


def test_an_equal_compressed_cell_has_the_smaller_plan(twins):
    small = compressing(twins, "lora")
    compressing(twins)
    train(twins, "lora")
    train(twins, "fishpal")
    plans = [json.loads((twins / each / "plan.json").read_text()) for each in (LORA, TWIN)]
    assert [plan.pop("method") for plan in plans] == ["lora", "fishpal"]
    assert [plan.pop("reason")["rule"] for plan in plans] == ["uniform", "criterion"]
    assert plans[0] == plans[1] and "compress" not in plans[0]
    assert plans[0]["modules"]["lora"]["rank"] < 4 and weights(small) == weights(twins / TWIN)
    run(twins, "evaluate_plan toy fishpal 0")
