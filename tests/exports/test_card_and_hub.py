"""Model cards, and models on a hub on the loopback interface."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

import fishpal
from benchmarks.toy.hub_fetch import hub_environment
from benchmarks.toy.hub_server import COMMIT, Hub
from fishpal.records.plan import Reason
from tests.api.conftest import plan_of, texts_of
from tests.exports.conftest import TEXTS, expected_of, run_listing
from tests.project.closure import ROOT

EVIL = "<script>alert(1)</script>|x\n# not a heading `[a](b)"


def card_of(folder):
    card = ModelCard.load(folder / "README.md")
    return card.data, card.text


def test_a_card_says_what_the_model_is(make, tmp_path):
    model = make(kinds=("lora", None, "lora"), classes=2)
    texts, labels = texts_of(50, seed=3)
    test = fishpal.Task.from_lists(texts, [f"c{y}" for y in labels], name="held_out")
    scores = model.evaluate(test)
    model.save(tmp_path / "model", licence="apache-2.0")
    data, text = card_of(tmp_path / "model")
    assert data.license == "apache-2.0" and data.library_name == "fishpal"
    assert data.pipeline_tag == "text-classification" and "fishpal" in data.tags
    (accuracy, f1) = data.eval_results
    assert (accuracy.metric_type, f1.metric_type) == ("accuracy", "f1")
    assert accuracy.metric_value == pytest.approx(scores["accuracy"], abs=1e-6)
    assert accuracy.dataset_name == "held_out"
    row = re.search(r"\| held\\_out \| accuracy \| ([\d.]+) \[([\d.]+), ([\d.]+)\] \|", text)
    value, low, high = map(float, row.groups())
    assert value == pytest.approx(scores["accuracy"])
    spread = 1.96 * np.sqrt(value * (1 - value) / 50)  # of a share of 50 examples
    assert (low, high) == pytest.approx((value - spread, value + spread), abs=0.04)
    assert "| 0 | lora |\n| 1 | none |\n| 2 | lora |" in text
    settings = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert settings["modules"]["lora"]["rank"] == 8
    assert settings["rates"]["lora"] == pytest.approx(0.02)
    before = (tmp_path / "model/README.md").read_bytes()
    model.save(tmp_path / "model", licence="apache-2.0")
    assert (tmp_path / "model/README.md").read_bytes() == before


@pytest.mark.parametrize(
    ("export", "name"),
    [
        ("export_transformers", "classify"),
        ("export_sentence_transformers", "model"),
        ("export_peft", "model"),
        ("save", "model"),
    ],
)
def test_the_card_s_listing_runs(make, tmp_path, export, name):
    model = make(classes=3)
    if export == "save":
        model.save(tmp_path / "out")
    else:
        getattr(fishpal, export)(model, tmp_path / "out")
    assert name in run_listing(tmp_path / "out")


FIRST, SECOND = "a warm film", "the film moved me"  # as the card has them
RESULTS = {
    "transformers": lambda last: [(each["label"], each["score"]) for each in last],
    "sentence_transformers": np.asarray,
    "onnx": lambda last: last[0],
    "save": lambda last: last,
}


@pytest.mark.parametrize("export", RESULTS)
def test_the_listing_of_pairs_gives_what_the_model_does(make, tmp_path, export):
    model, pairs = make(classes=3, pair=True), [(FIRST, SECOND)]
    if export == "save":
        model.save(tmp_path / "out")
    else:
        getattr(fishpal, f"export_{export}")(model, tmp_path / "out")
    found = RESULTS[export](run_listing(tmp_path / "out")["last"])
    if export == "save":
        assert found == model.predict(pairs)
    elif export == "transformers":
        assert [label for label, _ in found] == model.predict(pairs)
        (score,) = model.predict_proba(pairs).max(axis=1)
        assert found[0][1] == pytest.approx(score, abs=1e-4)
    else:
        np.testing.assert_allclose(found, model.logits(pairs), atol=1e-4)


@pytest.mark.parametrize("export", ["onnx", "sentence_transformers"])
def test_class_names_never_leave_the_listing_s_comment(text_encoders, tmp_path, export):
    encoder, (texts, labels) = text_encoders("bert", "cls"), texts_of(40)
    names = ("good\nprint('HELLO')", "bad\n```\n<script>alert(1)</script>\n# heading")
    task = fishpal.Task.from_lists(texts, [names[y] for y in labels])
    model = fishpal.start(encoder, task, plan_of(encoder, task=task.name))
    getattr(fishpal, f"export_{export}")(model, tmp_path / "out")
    _, text = card_of(tmp_path / "out")
    assert text.count("```python") == 1 and "\n# heading" not in text
    assert not any(line.startswith("print") for line in text.splitlines())
    assert "last" in run_listing(tmp_path / "out")


@pytest.mark.parametrize("export", ["onnx"])
def test_the_listing_takes_a_pair_whose_second_text_was_cut_away(make, tmp_path, export):
    model = make(classes=1, pair=True)
    assert model.module.compares
    getattr(fishpal, f"export_{export}")(model, tmp_path / "out")
    card = tmp_path / "out" / "README.md"
    card.write_text(card.read_text().replace(SECOND, ""))
    pairs = [(FIRST, "")]
    found = run_listing(tmp_path / "out")["last"][0]
    np.testing.assert_allclose(found, expected_of_pairs(model, pairs), atol=1e-3)


def expected_of_pairs(model, pairs):
    return model.logits(pairs) * model.task.scale.sd + model.task.scale.mean


def test_hostile_names_stay_text(text_encoders, tmp_path):
    encoder = text_encoders("bert", "mean")
    texts, labels = texts_of(40)
    task = fishpal.Task.from_lists(texts, [(EVIL, "good")[y] for y in labels])
    plan = fishpal.Plan("task", "head", encoder.facts, (None,) * 3, Reason("none"))
    fishpal.start(encoder, task, plan).save(tmp_path / "model")
    _, text = card_of(tmp_path / "model")
    assert "<script" not in text and "\n# not a heading" not in text
    assert r"&lt;script&gt;alert\(1\)&lt;/script&gt;\|x \# not a heading \`\[a\]\(b\)" in text


@pytest.fixture
def hub():
    with Hub() as server:
        yield server


def run(script, hub, place, *arguments):
    """In an interpreter of its own: huggingface_hub reads where the hub is when it is imported."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT, env=hub_environment(hub.url, place) | {"HF_TOKEN": "hf_test"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


ROUND = """
import json, sys, warnings
import fishpal
folder, encoder, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
commit = fishpal.push_to_hub(folder, "me/model", private=True)
fishpal.push_to_hub(encoder, "me/encoder")
again = fishpal.load_encoder("me/encoder", "cls", commit)
model = fishpal.load_model("me/model", again, commit)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fishpal.load_encoder("me/encoder", "cls")
try:
    fishpal.push_to_hub(folder, "others/model")
except fishpal.FishpalError as error:
    refused = str(error)
try:
    fishpal.load_model("me/model", revision=commit)
except fishpal.FishpalError as error:
    alone = str(error)
warned = [str(each.message) for each in caught if each.category is fishpal.FishpalWarning]
print(json.dumps([commit, again.revision, model.logits(texts).tolist(), warned, refused, alone]))
task = fishpal.Task.from_lists([f"w{i}" for i in range(30)], ["a", "b"] * 15)
fishpal.start(again, task, model.plan).save(folder + "_again")
"""


def test_to_a_hub_and_back(make, hub, tmp_path):
    model = make(classes=3)
    model.save(tmp_path / "model")
    encoder = shutil.copytree(model.encoder.folder, tmp_path / "encoder")
    arguments = (tmp_path / "model", encoder, json.dumps(TEXTS))
    done = run(ROUND, hub, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    commit, revision, logits, warned, refused, alone = json.loads(done.stdout.splitlines()[-1])
    assert commit == revision == COMMIT
    assert np.array_equal(np.float32(logits), expected_of(model))
    assert warned == [f"me/encoder: no revision was given; this is revision='{COMMIT}'"]
    assert re.fullmatch("hub model others/model: cannot be written: .*403.*", refused)
    mine = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    pushed = json.loads(hub.files["me/model"].pop("origin.json"))
    assert pushed == json.loads(mine.pop("origin.json")) | {"encoder": ""}, "no path of ours"
    assert hub.files["me/model"] == mine
    assert not [name for name, content in mine.items() if str(tmp_path.parent).encode() in content]
    assert (
        "encoder is a folder, which is not uploaded: others load it with `encoder`" in done.stderr
    )
    assert re.search(r"encoder's folder is '', which is not here; allowed: with `encoder`", alone)
    assert hub.tokens - {None} == {"Bearer hf_test"}
    origin = json.loads((tmp_path / "model_again/origin.json").read_text())
    first = json.loads((tmp_path / "model/origin.json").read_text())
    place = {"encoder": "me/encoder", "revision": COMMIT, "max_length": 40}
    assert origin == place | {name: first[name] for name in ("tokens", "config")}
    data, _ = card_of(tmp_path / "model_again")
    assert data.base_model == "me/encoder"


def test_a_peft_folder_on_the_hub_names_no_folder_of_ours(make, hub, tmp_path):
    model = make(classes=3)
    fishpal.export_peft(model, tmp_path / "peft")
    push = "import sys, fishpal; fishpal.push_to_hub(sys.argv[1], 'me/model')"
    done = run(push, hub, tmp_path, tmp_path / "peft")
    assert done.returncode == 0 and "others load the base model first" in done.stderr, done.stderr
    mine = {path.name: path.read_bytes() for path in (tmp_path / "peft").iterdir()}
    pushed = json.loads(hub.files["me/model"].pop("adapter_config.json"))
    here = json.loads(mine.pop("adapter_config.json"))
    folder = Path(here["base_model_name_or_path"])
    assert pushed == here | {"base_model_name_or_path": folder.name} and folder.is_dir()
    card = mine["README.md"].replace(bytes(folder), folder.name.encode())
    assert hub.files["me/model"] == mine | {"README.md": card} and card != mine["README.md"]
    found = hub.files["me/model"].items()
    assert not [name for name, content in found if bytes(folder.parent) in content]


def test_what_cannot_be_pushed_is_one_line(tmp_path):
    with pytest.raises(fishpal.FishpalError, match="is no folder; allowed: a model, or a folder"):
        fishpal.push_to_hub(tmp_path / "nothing", "me/model")
    with pytest.raises(fishpal.FishpalError, match="name is 'a b'; allowed: owner/name"):
        fishpal.push_to_hub(tmp_path, "a b")
