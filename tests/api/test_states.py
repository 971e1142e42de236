"""What a process has set, and other threads do, changes no training; folders that do not fit."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import fishpal
from fishpal.common.errors import DataError, EncoderError, FishpalError, PlanError
from fishpal.encoders.specs import load_config, spec_of
from fishpal.records.facts import TaskFacts
from tests.api.conftest import plan_of, texts_of

SHORT = fishpal.TrainOptions(epochs=2, batch_size=8, evaluations_per_epoch=1, encoder_dropout=True)


def logits_of(encoder, task, seed):
    model = fishpal.fit(encoder, task, plan_of(encoder), seed, SHORT)
    return model.logits(texts_of(8)[0])


def test_trainings_of_two_threads_are_those_of_one(encoder, task):
    alone = [logits_of(encoder, task, seed) for seed in (0, 1)]
    found = {}

    def train(seed):
        found[seed] = logits_of(encoder, task, seed)

    threads = [threading.Thread(target=train, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, expected in enumerate(alone):
        assert np.array_equal(found[seed], expected)


STATES = {
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "NumPy's errors raised": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_callers_modes_change_no_training(encoder, task, state):
    expected = logits_of(encoder, task, 0)
    with state():
        model = fishpal.fit(encoder, task, plan_of(encoder), 0, SHORT)
    assert np.array_equal(model.logits(texts_of(8)[0]), expected)


def test_processes_are_the_pipelines(encoder, task):
    with pytest.warns(fishpal.FishpalWarning, match="2 processes, which the pipeline starts"):
        fishpal.fit(encoder, task, plan_of(encoder), 0, replace(SHORT, processes=2))


def test_a_folder_with_modules_that_its_plan_lacks_is_refused(encoder, task, tmp_path):
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    path = tmp_path / "model" / "modules.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"9.lora.query.a": torch.zeros(2)}, path)
    with pytest.raises(PlanError, match=r"modules.safetensors: holds 9.lora.query.a; allowed"):
        fishpal.load_model(tmp_path / "model")


def test_a_folder_with_a_length_that_is_none_is_refused(encoder, task, tmp_path):
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    path = tmp_path / "model" / "origin.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_length": -1}))
    with pytest.raises(FishpalError, match="max_length is -1"):
        fishpal.load_model(tmp_path / "model")


def test_classes_have_names_of_their_own():
    with pytest.raises(FishpalError, match="each once"):
        TaskFacts("toy", ("a", "b", "a"), 0)


def test_tasks_are_compared_by_identity(task):
    assert task == task and task != replace(task) and len({task, replace(task)}) == 2


@pytest.mark.parametrize("texts", [("w1",), ([None],), (["w1"], ["w2", "w3"]), (["w1", 3],)])
def test_what_is_no_list_of_texts_is_named(encoder, task, texts):
    model = fishpal.start(encoder, task, plan_of(encoder))
    with pytest.raises(DataError, match="texts: allowed: one list of texts"):
        fishpal.label_texts(model.module, encoder.tokenizer, *texts)


def write_config(folder, **changed):
    config = {"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2} | changed
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_positions_that_follow_the_longest_text_are_refused(tmp_path, kind):
    factors = {"short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0]} if kind == "longrope" else {}
    rope = {"rope_type": kind, "factor": 2.0, "rope_theta": 1e4} | factors
    with pytest.raises(EncoderError, match=f"rope_type is '{kind}', by which the longest text"):
        spec_of(load_config(write_config(tmp_path, rope_parameters=rope)))
    assert spec_of(load_config(write_config(tmp_path))).causal


def test_chunks_of_the_feed_forward_block_are_left_out(tmp_path):
    config = load_config(write_config(tmp_path, model_type="bert", chunk_size_feed_forward=3))
    assert config.chunk_size_feed_forward == 0


@pytest.mark.parametrize("changed", ["vocabulary", "special tokens"])
def test_a_model_knows_its_tokenizer(encoder_folder, task, tmp_path, changed):
    """Weights are the same, and so every token id would mean another word, without a word."""
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    encoder = fishpal.load_encoder(folder)
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    assert fishpal.load_model(tmp_path / "model").predict(["w1"])
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    if changed == "vocabulary":
        vocabulary = data["model"]["vocab"]
        vocabulary["w1"], vocabulary["w30"] = vocabulary["w30"], vocabulary["w1"]
    else:
        data["post_processor"] = None
    path.write_text(json.dumps(data))
    with pytest.raises(PlanError, match="model: was trained with another tokenizer"):
        fishpal.load_model(tmp_path / "model")
