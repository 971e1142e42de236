"""Heads that compare the two texts of a pair: what they read, and that all else goes on with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import fishpal
from fishpal.common.errors import DataError, PlanError
from fishpal.common.kinds import Estimator, HeadInit, ModuleKind
from fishpal.encoders.pooling import compare
from fishpal.encoders.tokenizer import encode, examples_of
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.sample import draw_sample
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.predict import predict
from fishpal.params.options import FisherOptions, HeadOptions
from fishpal.records.arrow import ArrowSplit, write_split
from fishpal.records.examples import check_examples
from fishpal.records.task import TokenisedTask
from tests.api.conftest import FAST, encoder, encoder_folder, plan_of  # noqa: F401 - fixtures
from tests.conftest import HIDDEN, kinds_of, random_examples, task_facts
from tests.exports.conftest import make, run_listing, text_encoders  # noqa: F401 - fixtures
from tests.modules.test_modules import SMALL, fresh
from tests.oracles import double_copy, fisher_by_loop

FACTS = replace(task_facts(3), pair=True)
COMPARE = HeadOptions(pairs="compare")


def pairs(count, classes=3):
    """Random examples whose second text starts at 1 to all tokens."""
    examples = random_examples(count, classes)
    return [replace(e, second=1 + i % len(e.input_ids)) for i, e in enumerate(examples)]


def same_or_other(count, seed=0):
    """Pairs of texts of three words, the same three in both or three others; which of these."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    rows = []
    for same in labels:
        words = rng.permutation(36)[:6]
        second = rng.permutation(words[:3]) if same else words[3:]
        rows.append(tuple(" ".join(f"w{i}" for i in each) for each in (words[:3], second)))
    return rows, labels.tolist()


def test_features_equal_plain_loops():
    hidden = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]])
    second = torch.tensor([2, 1, 1, 2])  # of the row's own tokens; the last one has no second text
    found = compare(hidden, mask, second, "mean").numpy()
    for row in range(4):
        tokens = hidden[row][mask[row] == 1].numpy()
        u, v = tokens[: second[row]].mean(axis=0), tokens[second[row] :]
        v = v.mean(axis=0) if len(v) else np.zeros(3)
        np.testing.assert_allclose(found[row], [*tokens.mean(axis=0), *abs(u - v), *u * v], 1e-5)
    first = compare(hidden, mask, second, "cls")[:, :3]
    assert torch.equal(first, hidden[range(4), [0, 0, 2, 0]])


def test_a_model_without_it_says_so(tiny_encoder):
    own, examples = tiny_encoder(), pairs(3)
    model = Classifier(own, start_head(own, TokenisedTask(FACTS, examples), COMPARE))
    batch = collate([replace(each, second=None) for each in examples], 0)
    with pytest.raises(DataError, match="compares the texts of pairs; allowed: pairs, with `sec"):
        model(**batch)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_second_is_where_the_tokenizer_puts_the_second_text(text_encoders, kind):  # noqa: F811
    own = text_encoders(kind, None)
    texts = [["w1 w2 w3", "w4", "w5 w6"], ["w7", "w8 w9 w10 w11", "w12"]]
    found = examples_of(encode(own.tokenizer, texts, 128, own.limits), [0, 1, 0])
    for example, text in zip(found, texts[1], strict=True):
        ids = own.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert example.input_ids[example.second :][: len(ids)] == ids
        assert len(example.input_ids) - example.second <= len(ids) + 1  # and its end
    alone = examples_of(encode(own.tokenizer, texts[:1], 128, own.limits), [0, 1, 0])
    assert all(example.second is None for example in alone)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("estimator", list(Estimator)[:2])
def test_fisher_equals_the_loop(tiny_encoder, kind, estimator):
    task = TokenisedTask(FACTS, pairs(7))
    head = double_copy(start_head(tiny_encoder(kind), task, COMPARE))
    assert head.in_features == 3 * HIDDEN and head.facts.compares
    options = FisherOptions(kinds=kinds_of(kind), examples=7, estimator=estimator, batch_size=3)
    own = tiny_encoder(kind, double=True)
    table, _ = measure_fisher(own, head, task, SMALL, options, progress=False)
    assert table.head.compares
    sample = draw_sample(task, options)
    model = Classifier(own, head)
    (module,) = fresh(own.model, [None, ModuleKind.LORA, None], seed=options.seed)
    model.attach([module])
    traces = fisher_by_loop(model, module, sample.examples, estimator)
    row = table.row(1, "lora")
    for name, diagonal in traces.items():
        assert row.tensor_traces[name] == pytest.approx(float(diagonal.sum()), rel=1e-6)


def test_padding_and_batch_change_nothing(tiny_encoder):
    own, examples = tiny_encoder(), pairs(9)
    model = Classifier(own, start_head(own, TokenisedTask(FACTS, examples), COMPARE), FACTS)
    whole = predict(model, examples, FACTS)
    for row, example in enumerate(examples):
        np.testing.assert_allclose(predict(model, [example], FACTS)[0], whole[row], atol=1e-6)
    batch = collate(examples, FACTS.pad_id)
    left = {n: t.clone() for n, t in batch.items()}
    for row, example in enumerate(examples):  # padded on the other side
        size = len(example.input_ids)
        for name in ("input_ids", "attention_mask"):
            left[name][row] = batch[name][row].roll(batch[name].shape[1] - size)
    hidden = torch.randn(*batch["input_ids"].shape, 4)
    rolled = torch.stack(
        [h.roll(len(h) - len(e.input_ids), 0) for h, e in zip(hidden, examples, strict=True)]
    )
    right_side = compare(hidden, batch["attention_mask"], batch["second"], "mean")
    left_side = compare(rolled, left["attention_mask"], left["second"], "mean")
    torch.testing.assert_close(right_side, left_side)


def test_a_probe_is_scikit_learns_on_these_features(tiny_encoder):
    own, examples = tiny_encoder(), pairs(40)
    task = TokenisedTask(FACTS, examples)
    head = start_head(own, task, HeadOptions(init=HeadInit.PROBE, pairs="compare"))
    model = Classifier(own, start_head(own, task, COMPARE))
    with torch.no_grad():
        batch = collate(examples, FACTS.pad_id)
        del batch["labels"]
        features = model.features(**batch).double().numpy()
    labels = [example.label for example in examples]
    expected = LogisticRegression(max_iter=1000).fit(features, labels)
    np.testing.assert_allclose(head.weight.detach().numpy(), expected.coef_, atol=2e-3)


def test_a_model_of_pairs_goes_through_files(encoder, tmp_path):  # noqa: F811
    rows, labels = same_or_other(60)
    task = fishpal.Task.from_lists(rows, labels, name="toy")
    model = fishpal.fit(encoder, task, plan_of(encoder), options=FAST, head=COMPARE)
    assert model.module.head.in_features == 3 * encoder.facts.hidden
    model.save(tmp_path / "model")
    again = fishpal.load_model(tmp_path / "model", encoder)
    assert np.array_equal(again.logits(rows), model.logits(rows))
    with pytest.raises(DataError, match="texts are single ones; allowed: pairs, as toy has"):
        again.predict(["w1 w2"])
    joint = fishpal.fit(
        encoder, task, plan_of(encoder), options=FAST, head=HeadOptions(pairs="joint")
    )
    assert joint.module.head.in_features == encoder.facts.hidden
    assert joint.predict(rows[:2])


@pytest.mark.parametrize(("classes", "times"), [(1, 3), (2, 1)])
def test_auto_compares_in_a_regression(tiny_encoder, classes, times):
    facts = replace(task_facts(classes), pair=True)
    head = start_head(tiny_encoder(), TokenisedTask(facts, pairs(4, classes)), HeadOptions())
    assert head.in_features == times * HIDDEN


def test_single_texts_have_the_head_that_they_had(encoder):  # noqa: F811
    rows, labels = same_or_other(60)
    task = fishpal.Task.from_lists([a for a, _ in rows], labels, name="toy")
    model = fishpal.start(encoder, task, plan_of(encoder), head=COMPARE)
    assert model.module.head.in_features == encoder.facts.hidden
    assert "pair" not in model.task.to_json()


def test_a_split_of_pairs_keeps_where_the_second_text_starts(tmp_path):
    examples, limits = pairs(5), fishpal.records.facts.Limits(10**6, 1, None)
    columns = {n: [getattr(e, n) for e in examples] for n in ("input_ids", "label", "second")}
    write_split(tmp_path / "fit.arrow", iter([columns]), floats=False)
    assert list(ArrowSplit(tmp_path / "fit.arrow").check(FACTS, limits)) == examples
    far = columns | {"second": [999] * 5}
    write_split(tmp_path / "far.arrow", iter([far]), floats=False)
    with pytest.raises(DataError, match="far.arrow: tokens from second on go from -"):
        ArrowSplit(tmp_path / "far.arrow").check(FACTS, limits)
    del columns["second"]
    write_split(tmp_path / "none.arrow", iter([columns]), floats=False)
    with pytest.raises(DataError, match="none.arrow: columns are input_ids, label; allowed for pa"):
        ArrowSplit(tmp_path / "none.arrow").check(FACTS, limits)
    with pytest.raises(DataError, match="fit: row 0: second is None; allowed for a pair: 0 to"):
        check_examples([replace(examples[0], second=None)], FACTS, limits, "fit")


@pytest.fixture
def of_pairs(text_encoders):  # noqa: F811
    rows, labels = same_or_other(40)
    own = text_encoders("bert", "cls")
    task = fishpal.Task.from_lists(rows, labels, name="toy")
    model = fishpal.start(own, task, plan_of(own), head=COMPARE)
    with torch.no_grad():
        for parameter in model.module.modules_.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    return model, rows


def test_onnx_takes_where_the_second_text_starts(of_pairs, tmp_path):
    import onnxruntime

    model, rows = of_pairs
    fishpal.export_onnx(model, tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx")
    batch = encode(
        model.encoder.tokenizer, list(map(list, zip(*rows, strict=True))), 128, model.encoder.limits
    )
    inputs = {n: t.numpy() for n, t in collate(examples_of(batch, [0] * len(rows)), 0).items()}
    (found,) = session.run(None, {each.name: inputs[each.name] for each in session.get_inputs()})
    np.testing.assert_allclose(found, model.logits(rows), atol=1e-4)
    assert "session" in run_listing(tmp_path / "out")


def test_what_takes_no_such_head_says_so(of_pairs, tmp_path):
    model, _ = of_pairs
    for name in ("transformers", "sentence_transformers"):
        with pytest.raises(
            PlanError, match="the head compares the texts of pairs; allowed: one of"
        ):
            getattr(fishpal, f"export_{name}")(model, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    fishpal.export_peft(model, tmp_path / "peft")
    assert (tmp_path / "peft/head.safetensors").is_file()
