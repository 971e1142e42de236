"""Copies and pickles of models: they compute the same, and by themselves."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_validate

import fishpal
from benchmarks.toy.encoder import save_tokenizer, tiny_folder
from fishpal.encoders.encoder import fingerprint
from fishpal.exports.merge import merge_lora
from fishpal.models.batching import collate
from fishpal.params.module_options import PrefixOptions
from tests.api.conftest import FAST, plan_of, texts_of

KINDS = ["prefix", "adapter", "lora", "bias", "ia3", None, "full"]
MLP = PrefixOptions(length=3, reparameterize=True, mid=8)
QUICK = fishpal.TrainOptions(epochs=1, evaluations_per_epoch=1)


def model_of(encoder, task, kind, gates=True):
    """A trained model, by default with gates where its modules have them."""
    plan = vars(plan_of(encoder, None if kind == "full" else kind)) | {"full": kind == "full"}
    plan["modules"] = fishpal.ModuleOptions(gates=gates)
    return fishpal.fit(encoder, task, fishpal.Plan(**plan), options=QUICK)


def shaken(module):
    """Every parameter that is trained moves, by other numbers than it has."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.3, generator=generator))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", [True, False], ids=["model", "module"])
def test_a_deep_copy_computes_the_same_and_by_itself(encoder, task, kind, whole):
    model = model_of(encoder, task, kind)
    batch = collate(task.examples(encoder)[:9], model.task.pad_id)
    del batch["labels"]
    logits = model.module(**batch).detach()
    copied = copy.deepcopy(model).module if whole else copy.deepcopy(model.module)
    assert torch.equal(copied(**batch), logits)
    grads = [[p.requires_grad for p in each.parameters()] for each in (model.module, copied)]
    assert grads[0] == grads[1] and copied.training is model.module.training
    shaken(model.module)
    assert not torch.equal(model.module(**batch), logits)
    assert torch.equal(copied(**batch), logits)
    now = model.module(**batch).detach()
    shaken(copied)
    copied.detach()
    assert torch.equal(model.module(**batch), now)
    again = copy.deepcopy(copied)
    assert torch.equal(again(**batch), copied(**batch))


def test_a_deep_copy_of_a_model_shares_the_frozen_weights_alone(encoder, task):
    model = model_of(encoder, task, "lora")
    model.scores.append("noted")
    shared = dict(encoder.model.named_parameters())
    copied = copy.deepcopy(model)
    own = dict(copied.module.encoder.named_parameters())
    assert all(p.data_ptr() == shared[n].data_ptr() and p is not shared[n] for n, p in own.items())
    assert copied.encoder is encoder and copied.training == model.training
    assert copied.scores == model.scores and copied.scores is not model.scores
    module = copy.deepcopy(model.module)
    assert not any(p is shared[n] for n, p in module.encoder.named_parameters())
    assert copy.copy(model).module is model.module


def test_a_copy_of_changed_weights_owns_them(encoder, task):
    """As with the original: another model of the copy's encoder would compute with them."""
    texts = ["w1 w2", "w30"]
    for kind in ("full", "lora"):
        model = model_of(encoder, task, kind, gates=False)
        if kind == "lora":
            merge_lora(model.module)
        copied = copy.deepcopy(model.module)
        with pytest.raises(fishpal.FishpalError, match="weights are those of a copied model"):
            fishpal.start_head(copied.source, task.tokenised(encoder), fishpal.HeadOptions("probe"))
        model.module = copied
        assert model.predict(texts)
    lora = copy.deepcopy(model_of(encoder, task, "lora").module)
    lora.detach()
    fishpal.start_head(lora.source, task.tokenised(encoder), fishpal.HeadOptions("probe"))


@pytest.mark.parametrize("kind", ["lora", "ia3", "bias"])
def test_merging_leaves_other_models_of_the_encoder_as_they_were(encoder, task, kind):
    model, twin = (model_of(encoder, task, kind, gates=False) for _ in range(2))
    shaken(model.module)
    texts = ["w1 w2", "w30"]
    expected, own = twin.logits(texts), model.logits(texts)
    before = fingerprint(encoder.model)
    merge_lora(model.module)
    assert not list(model.module.candidates())
    np.testing.assert_allclose(model.logits(texts), own, rtol=1e-4, atol=1e-5)
    assert np.array_equal(twin.logits(texts), expected)
    assert fingerprint(encoder.model) == before
    assert not any(p.requires_grad for p in model.module.encoder.parameters())


def test_no_copy_of_an_encoder_that_another_has_taken(encoder, task):
    model = model_of(encoder, task, "lora")
    model.module.detach()
    head = fishpal.start_head(encoder, task.tokenised(encoder), fishpal.HeadOptions())
    other = fishpal.plan_model(model.module.source, head, plan_of(encoder), 0)
    with pytest.raises(fishpal.FishpalError, match="another model has taken the encoder"):
        copy.deepcopy(model.module)
    copied = copy.deepcopy(next(other.candidates()))
    copied.detach()
    assert next(other.candidates()).hooks() and not copied.hooks()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_holds_what_saving_does(encoder, task, kind):
    model = model_of(encoder, task, kind)
    texts, labels = texts_of(20, seed=2)
    model.evaluate(fishpal.Task.from_lists(texts, [("bad", "good")[y] for y in labels]))
    model.max_length = 7
    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    with pytest.warns(fishpal.FishpalWarning, match="cut at max_length 7"):
        assert np.array_equal(again.logits(texts), model.logits(texts))
    assert again.plan == model.plan and again.scores == model.scores
    assert again.training == model.training and again.seed == model.seed
    assert again.encoder.folder == encoder.folder


def test_a_pickle_without_its_encoder_or_of_a_module_is_refused(task, tmp_path):
    from benchmarks.toy.project import write_encoder

    write_encoder(tmp_path / "encoder")
    encoder = fishpal.load_encoder(tmp_path / "encoder")
    model = model_of(encoder, task, "lora", gates=False)
    with pytest.raises(fishpal.FishpalError, match="modules are hooks, which no pickle holds; all"):
        pickle.dumps(model.module)
    written = pickle.dumps(model)
    (tmp_path / "encoder").rename(tmp_path / "away")
    with pytest.raises(fishpal.FishpalError, match="which is not here; allowed: with `encoder`"):
        pickle.loads(written)  # noqa: S301
    merge_lora(model.module)
    with pytest.raises(fishpal.FishpalError, match="merged or detached model cannot be saved"):
        pickle.dumps(model)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "deberta-v2"])
def test_an_encoder_is_pickled_as_where_it_lies(kind, tmp_path):
    folder = tiny_folder(kind, tmp_path / "encoder")
    save_tokenizer(folder)
    encoder = fishpal.load_encoder(folder, "cls")
    written = pickle.dumps(encoder)
    assert len(written) < 1000, "no weights"
    again = pickle.loads(written)  # noqa: S301
    assert (again.pooling, again.name, again.revision) == ("cls", str(folder), None)
    same = zip(again.model.parameters(), encoder.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    assert again.tokenizer("w1 w2").input_ids == encoder.tokenizer("w1 w2").input_ids


def test_the_estimator_is_pickled_and_sent_between_processes(encoder, encoder_folder, tmp_path):
    texts, labels = texts_of(60)
    for given in (encoder, str(encoder_folder)):
        estimator = fishpal.Classifier(given, plan_of(encoder), FAST)
        estimator.fit(texts, labels)
        joblib.dump(estimator, tmp_path / "estimator.joblib")
        for again in (joblib.load(tmp_path / "estimator.joblib"), copy.deepcopy(estimator)):
            assert np.array_equal(again.predict_proba(texts), estimator.predict_proba(texts))
    sent = cross_validate(
        estimator, texts, labels, cv=2, n_jobs=2, return_estimator=True, return_indices=True
    )
    folds = zip(sent["estimator"], sent["indices"]["test"], sent["test_score"], strict=True)
    for each, rows, score in folds:
        found = each.predict([texts[row] for row in rows])
        assert np.mean(found == np.array(labels)[rows]) == score


def test_tasks_are_compared_by_identity(task):
    assert task == task and task != replace(task) and len({task, replace(task)}) == 2


def test_a_copy_made_in_inference_mode_can_be_trained(encoder, task):
    model = model_of(encoder, task, "lora", gates=False)
    with torch.inference_mode():
        copied = model.copy()
    assert not any(tensor.is_inference() for tensor in copied.module.parameters())
    assert np.array_equal(copied.logits(texts_of(4)[0]), model.logits(texts_of(4)[0]))


def test_a_callers_autocast_rounds_no_copy(encoder, task):
    """A prefix's MLP is folded away by products."""
    plan = replace(plan_of(encoder, "prefix"), modules=fishpal.ModuleOptions(prefix=MLP))
    model = fishpal.fit(encoder, task, plan, options=QUICK)
    with torch.autocast("cpu", torch.bfloat16):
        copied = model.copy()
    assert {parameter.dtype for parameter in copied.module.parameters()} == {torch.float32}
    assert np.array_equal(copied.logits(texts_of(4)[0]), model.copy().logits(texts_of(4)[0]))
