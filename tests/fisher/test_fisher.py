"""The engine against the loop oracle, for every encoder type × kind × estimator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression, Ridge

from fishpal.common.errors import DataError, FishpalWarning, PlanError
from fishpal.common.kinds import Estimator, FisherMode, HeadInit, ModuleKind
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.estimators import exact_terms
from fishpal.fisher.sample import draw_sample
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.precision import NATIVE
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from fishpal.params.options import FisherOptions, HeadOptions
from fishpal.records.facts import TaskFacts
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams, contrasts
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from tests.conftest import (
    DECODERS,
    HIDDEN,
    LAYERS,
    TYPES,
    kinds_of,
    random_examples,
    task_facts,
    tiny_folder,
)
from tests.modules.test_modules import SMALL, fresh
from tests.oracles import double_copy, example_gradient, fisher_by_loop, single

K = ModuleKind
ALL = (K.PREFIX, K.ADAPTER, K.LORA)


def setup(tiny_encoder, kind="bert", classes=3, count=7):
    encoder = tiny_encoder(kind, double=True)
    task = TokenisedTask(task_facts(classes), random_examples(count, classes))
    head = double_copy(start_head(tiny_encoder(kind), task, HeadOptions()))
    with torch.no_grad():
        head.weight *= 20  # far from uniform, so that the estimators differ
    return encoder, head, task


def drawn_labels(model, sample, classes):
    """The labels that `sampled` draws, from the sample's numbers by inverse transform."""
    draws = []
    for example, u in zip(sample.examples, sample.uniform.tolist(), strict=True):
        logits = model(**single(example))[0].detach()
        if classes == 1:
            draws.append(float(logits[0]) + float(norm.ppf(u)))
        else:
            draws.append(int(np.searchsorted(logits.softmax(0).cumsum(0).numpy(), u)))
    return draws


@pytest.mark.parametrize("gram", [False, True], ids=["plain", "gram"])
@pytest.mark.parametrize("estimator", list(Estimator))
@pytest.mark.parametrize("kind", TYPES)
def test_table_equals_the_loop(tiny_encoder, kind, estimator, gram):
    check_against_loop(tiny_encoder, kind, estimator, gram, classes=3)


def test_150_classes_take_one_backward_pass_a_batch(tiny_encoder, monkeypatch):
    """Two with the one for projections; `exact` takes 149, and none of them has kernels."""
    encoder = tiny_encoder()
    facts = TaskFacts("toy", tuple(map(str, range(150))), pad_id=0)
    task = TokenisedTask(facts, random_examples(64, 150))
    head = start_head(encoder, task, HeadOptions())
    grad, passes = torch.autograd.grad, []
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or grad(*a, **k))
    for estimator, expected in ((Estimator.EMPIRICAL, 1), (Estimator.EXACT, 149)):
        passes.clear()
        options = FisherOptions(kinds=(K.LORA,), examples=64, estimator=estimator, batch_size=32)
        with pytest.warns(FishpalWarning, match="64 examples and 150 classes would take 1.0 GiB"):
            table, grams = measure_fisher(encoder, head, task, SMALL, options, progress=False)
        assert len(passes) == 2 * (expected + 1)
        assert not table.gram and not grams.kernels and grams.projections


@pytest.mark.parametrize("scale", [1, 30, 2000])
def test_exact_terms_factor_the_covariance(scale):
    """Σ w v vᵀ = diag(p) − ppᵀ for even, sharp and one-hot p, the observed class's score first."""
    logits = scale * torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([0, 6, 3, 3, 1])
    labels[4] = logits[4].argmax()
    terms = exact_terms(logits, labels)
    assert len(terms) == 6
    p = softmax(logits.numpy(), axis=1)
    np.testing.assert_allclose(terms[0][0].numpy(), np.eye(7)[labels] - p, atol=1e-15)
    vectors, weights = np.stack([v.numpy() for v, _ in terms]), np.stack([w for _, w in terms])
    found = np.einsum("jb,jbc,jbd->bcd", weights, vectors, vectors)
    expected = np.einsum("bc,cd->bcd", p, np.eye(7)) - np.einsum("bc,bd->bcd", p, p)
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_equal_the_loop(tiny_encoder, kind):
    check_against_loop(tiny_encoder, kind, Estimator.EMPIRICAL, gram=False, classes=3)
    check_against_loop(tiny_encoder, kind, Estimator.EXACT, gram=True, classes=2)


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("estimator", list(Estimator))
def test_two_classes_and_regression_equal_the_loop(tiny_encoder, estimator, classes):
    for gram in (False, True):
        check_against_loop(tiny_encoder, "bert", estimator, gram, classes)


def check_against_loop(tiny_encoder, kind, estimator, gram, classes):
    encoder, head, task = setup(tiny_encoder, kind, classes)
    kinds = kinds_of(kind)
    options = FisherOptions(kinds=kinds, examples=7, estimator=estimator, gram=gram, batch_size=3)
    table, _ = measure_fisher(encoder, head, task, SMALL, options, progress=False)
    sample = draw_sample(task, options)
    for candidate in kinds:
        model = Classifier(encoder, head)
        modules = fresh(encoder.model, [candidate] * LAYERS, seed=options.seed)
        model.attach(modules)
        draws = drawn_labels(model, sample, classes)
        for module in modules:
            row = table.row(module.layer, candidate)
            diagonal = fisher_by_loop(model, module, task.fit, estimator, draws)
            for name, expected in diagonal.items():
                assert row.tensor_traces[name] == pytest.approx(expected.sum().item(), rel=1e-5)
            trace = sum(d.sum().item() for d in diagonal.values())
            assert row.trace == pytest.approx(trace, rel=1e-5)
            assert row.mean == pytest.approx(trace / row.parameters, rel=1e-5)
            gradients = [example_gradient(model, module, e, e.label) for e in task.fit]
            means = [torch.stack([g[n] for g in gradients]).mean(0) for n in diagonal]
            l1 = sum(m.abs().sum().item() for m in means)
            assert row.gradient_l1 == pytest.approx(l1, rel=1e-5)
            l2 = sum(m.square().sum().item() for m in means)
            assert row.gradient_sq_l2 == pytest.approx(l2, rel=1e-5)
        model.detach()


def test_all_lora_sites_equal_the_loop(tiny_encoder):
    """One linear makes query, key and value in ModernBERT; DeBERTa's positions share them."""
    modules = ModuleOptions(lora=LoraOptions(rank=2, sites="all", rslora=True))
    for kind in ("modernbert", "deberta-v2"):
        encoder, head, task = setup(tiny_encoder, kind)
        options = FisherOptions(kinds=(K.LORA,), gram=False, batch_size=3)
        table, _ = measure_fisher(encoder, head, task, modules, options, progress=False)
        model = Classifier(encoder, head)
        model.attach(fresh(encoder.model, [K.LORA] * LAYERS, modules, options.seed))
        for module in model.candidates():
            diagonal = fisher_by_loop(model, module, task.fit, Estimator.EMPIRICAL)
            assert len(diagonal) == 2 * 6
            for name, expected in diagonal.items():
                trace = table.row(module.layer, K.LORA).tensor_traces[name]
                assert trace == pytest.approx(expected.sum().item(), rel=1e-5)


@pytest.mark.parametrize("kind", [*TYPES, *DECODERS])
def test_prefixes_that_start_from_text_equal_the_loop(tiny_encoder, kind):
    """From the text that training with the same seed starts from, dropout in measuring or not."""
    encoder, head, task = setup(tiny_encoder, kind)
    modules = ModuleOptions(prefix=PrefixOptions(length=3, start="text"))
    options = FisherOptions(kinds=(K.PREFIX,), gram=False, batch_size=3, seed=4)
    table, _ = measure_fisher(encoder, head, task, modules, options, progress=False)
    plan = Plan("toy", "m", encoder.facts, (K.PREFIX,) * LAYERS, Reason("x"), modules=modules)
    model = plan_model(encoder, head, plan, 4, task=task).double()
    for module in model.candidates():
        diagonal = fisher_by_loop(model, module, task.fit, Estimator.EMPIRICAL)
        row, found = table.row(module.layer, K.PREFIX), {n: d.sum() for n, d in diagonal.items()}
        assert row.tensor_traces == pytest.approx({n: t.item() for n, t in found.items()}, rel=1e-4)
    model.detach()
    options = replace(options, dropout=True)
    measure_fisher(encoder, head, task, modules, options, progress=False)
    assert encoder.model.training, "as it was measured"


@pytest.mark.parametrize("mode", list(FisherMode))
@pytest.mark.parametrize("gram", [False, True])
def test_the_modules_own_dropout_is_off_too(tiny_encoder, mode, gram):
    """The one that they are trained with: a table is that of the modules without it."""
    encoder, head, task = setup(tiny_encoder)

    def measured(rate, **options):
        modules = ModuleOptions(
            prefix=SMALL.prefix,
            lora=LoraOptions(rank=2, alpha=6.0, dropout=rate),
            adapter=AdapterOptions(bottleneck=5, dropout=rate),
        )
        given = FisherOptions(kinds=ALL, batch_size=4, gram=gram, mode=mode, **options)
        return measure_fisher(encoder, head, task, modules, given, progress=False)

    (table, grams), (expected, plain) = measured(0.4), measured(0.0)
    assert table.rows == expected.rows
    assert np.array_equal(grams.logits, plain.logits)
    for key, projection in plain.projections.items():
        np.testing.assert_array_equal(grams.projections[key], projection)
    kernels = zip(grams.kernels.values(), plain.kernels.values(), strict=True)
    assert all(np.array_equal(one, other) for one, other in kernels)
    assert measured(0.4, dropout=True)[0].rows != measured(0.0, dropout=True)[0].rows


def test_dropout_is_off_unless_asked_for_and_then_repeatable(tiny_encoder):
    encoder, head, task = setup(tiny_encoder)

    def traces(**options):
        given = FisherOptions(batch_size=4, **options)
        table, _ = measure_fisher(encoder, head, task, SMALL, given, progress=False)
        return [row.trace for row in table.rows]

    dropped = traces(dropout=True)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert traces(dropout=True) == dropped, "whatever the caller drew before"
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers stay"
    assert traces() == traces() != dropped


def test_joint_mode_attaches_all_kinds(tiny_encoder):
    encoder, head, task = setup(tiny_encoder)
    options = FisherOptions(mode=FisherMode.JOINT, batch_size=4)
    table, _ = measure_fisher(encoder, head, task, SMALL, options, progress=False)
    model = Classifier(encoder, head)
    modules = [m for kind in ALL for m in fresh(encoder.model, [kind] * LAYERS, seed=0)]
    model.attach(modules)
    for module in modules:
        diagonal = fisher_by_loop(model, module, task.fit, Estimator.EMPIRICAL)
        expected = sum(d.sum().item() for d in diagonal.values())
        assert table.row(module.layer, module.kind).trace == pytest.approx(expected, rel=1e-5)
    model.detach()
    isolated, _ = measure_fisher(encoder, head, task, SMALL, FisherOptions(), progress=False)
    assert isolated.row(0, K.LORA).trace != pytest.approx(table.row(0, K.LORA).trace, rel=1e-4)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_kernels_equal_inner_products(tiny_encoder, classes):
    encoder, head, task = setup(tiny_encoder, "distilbert", classes)
    options = FisherOptions(batch_size=3)
    _, grams = measure_fisher(encoder, head, task, SMALL, options, progress=False)
    basis = torch.from_numpy(contrasts(classes))
    for kind in ALL:
        model = Classifier(encoder, head)
        modules = fresh(encoder.model, [kind] * LAYERS, seed=0)
        model.attach(modules)
        for module in modules:
            rows = []
            for example in task.fit:
                logits = model(**single(example))[0]
                for column in basis.T:
                    g = torch.autograd.grad(
                        logits @ column, list(module.kept().values()), retain_graph=True
                    )
                    rows.append(torch.cat([t.flatten() for t in g]))
            j = torch.stack(rows)
            found = grams.kernels[module.layer, kind]
            np.testing.assert_allclose(found, (j @ j.T).numpy(), rtol=1e-4, atol=1e-6)
        model.detach()


def test_contrasts_are_orthonormal_and_sum_to_zero():
    for outputs in (2, 3, 5):
        q = contrasts(outputs)
        np.testing.assert_allclose(q.T @ q, np.eye(outputs - 1), atol=1e-12)
        np.testing.assert_allclose(q.sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("gram", [False, True])
def test_batch_size_changes_no_row(tiny_encoder, gram):
    encoder = tiny_encoder("roberta", pooling="cls")
    task = TokenisedTask(task_facts(), random_examples(20))
    head = start_head(encoder, task, HeadOptions())
    tables = [
        measure_fisher(
            encoder, head, task, SMALL, FisherOptions(batch_size=size, gram=gram),
            progress=False,
        )[0]
        for size in (1, 3, 20)
    ]  # fmt: skip
    for other in tables[1:]:
        for row, same in zip(tables[0].rows, other.rows, strict=True):
            for key in ("trace", "mean", "gradient_l1", "gradient_sq_l2"):
                # float32 passes; values of rows that nearly cancel carry their noise
                assert getattr(row, key) == pytest.approx(getattr(same, key), rel=1e-5, abs=1e-9)


def test_perturbing_a_layer_changes_only_its_row(tiny_encoder, monkeypatch):
    """LoRA's A and the adapter's D do nothing at the start, so only their own row can see them."""
    import fishpal.fisher.engine as engine

    encoder, head, task = setup(tiny_encoder)
    options = FisherOptions(kinds=(K.ADAPTER, K.LORA), gram=False)

    def measure() -> FisherTable:
        return measure_fisher(encoder, head, task, SMALL, options, progress=False)[0]

    before = measure()
    original = engine.build_module

    def perturbed(kind, layer, *rest):
        module = original(kind, layer, *rest)
        if layer == 1:
            with torch.no_grad():
                (module.query_a if kind == K.LORA else module.down).mul_(3.0)
        return module

    monkeypatch.setattr(engine, "build_module", perturbed)
    after = measure()
    changed = {
        (row.layer, row.kind)
        for row, other in zip(before.rows, after.rows, strict=True)
        if row.trace != other.trace
    }
    assert changed == {(1, K.ADAPTER), (1, K.LORA)}


def test_measuring_leaves_the_encoder_as_it_was(tiny_encoder):
    encoder, head, task = setup(tiny_encoder)
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    logits = encoder.model(**single(task.fit[0])).last_hidden_state
    measure_fisher(encoder, head, task, SMALL, FisherOptions(), progress=False)
    assert torch.equal(encoder.model(**single(task.fit[0])).last_hidden_state, logits)
    assert all(torch.equal(before[name], t) for name, t in encoder.model.state_dict().items())
    assert not any(p.requires_grad for p in encoder.model.parameters())


def test_same_seed_same_bytes_and_round_trip(tiny_encoder, tmp_path):
    encoder, task = tiny_encoder(), TokenisedTask(task_facts(), random_examples(30))
    head = start_head(encoder, task, HeadOptions())
    options = FisherOptions(examples=12)
    for name in ("a", "b"):
        table, grams = measure_fisher(encoder, head, task, SMALL, options, progress=False)
        table.save(tmp_path / f"{name}.json")
        grams.save(tmp_path / f"{name}.safetensors")
    for suffix in ("json", "safetensors"):
        first, second = (tmp_path / f"{n}.{suffix}" for n in "ab")
        assert first.read_bytes() == second.read_bytes()
    assert FisherTable.load(tmp_path / "a.json") == table
    loaded = Grams.load(tmp_path / "a.safetensors")
    assert table.examples == len(loaded.logits) == 12
    assert all(np.array_equal(loaded.kernels[k], gram) for k, gram in grams.kernels.items())


@pytest.mark.parametrize(
    ("estimator", "count", "tolerance"),
    [
        (Estimator.EMPIRICAL, 128, 0.02),
        (Estimator.EXACT, 128, 0.05),
        (Estimator.SAMPLED, 24, 0.1),  # of more, one has another label drawn
    ],
)
def test_bfloat16_is_close(tiny_encoder, estimator, count, tolerance):
    encoder, task = tiny_encoder(), TokenisedTask(task_facts(), random_examples(count))
    head = start_head(encoder, task, HeadOptions())
    traces = [
        [
            row.trace
            for row in measure_fisher(
                encoder, head, task, SMALL,
                FisherOptions(precision=precision, estimator=estimator, examples=count, gram=False),
                progress=False,
            )[0].rows
        ]
        for precision in ("float32", "bfloat16")
    ]  # fmt: skip
    # bfloat16 keeps 8 bits: a few per cent a gradient, less in the mean over examples
    np.testing.assert_allclose(traces[1], traces[0], rtol=tolerance)
    best = [np.reshape(each, (3, -1)).argmax(axis=1).tolist() for each in traces]
    assert best[0] == best[1], "the best kind of every layer is the same"


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_the_precision_that_the_cpu_multiplies(tiny_encoder, monkeypatch, tmp_path, native):
    own = torch.cpu.get_capabilities
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: own() | {NATIVE[0]: native})
    encoder, task = tiny_encoder(), TokenisedTask(task_facts(), random_examples(20))
    head = start_head(encoder, task, HeadOptions())

    def table(precision):
        options = FisherOptions(precision=precision, examples=20)
        return measure_fisher(encoder, head, task, SMALL, options, progress=False)[0]

    found, low, high = map(table, ("auto", "bfloat16", "float32"))
    assert (found == low) == native and (found == high) == (not native)
    found.save(tmp_path / "table.json")
    data = json.loads((tmp_path / "table.json").read_text())
    assert data.get("precision") == ("bfloat16" if native else None)
    assert FisherTable.load(tmp_path / "table.json") == found


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_probe_head_equals_scikit_learn_on_pooled_features(tiny_encoder, classes):
    encoder, examples = tiny_encoder(), random_examples(60, classes)
    task = TokenisedTask(task_facts(classes), examples)
    head = start_head(encoder, task, HeadOptions(init=HeadInit.PROBE))
    with torch.no_grad():
        states = [encoder.model(**single(e)).last_hidden_state[0] for e in examples]
        features = np.array([state.mean(dim=0).double().numpy() for state in states])
        logits = head(torch.tensor(features).float()).double()
    labels = [example.label for example in examples]
    if classes == 1:
        expected = Ridge().fit(features, labels).predict(features)
        np.testing.assert_allclose(logits[:, 0], expected, rtol=1e-3, atol=1e-5)
    else:
        probe = LogisticRegression(max_iter=1000).fit(features, labels)
        expected = probe.predict_proba(features)
        np.testing.assert_allclose(logits.softmax(dim=1), expected, rtol=1e-3, atol=1e-5)


def test_too_little_data_and_wrong_kinds_are_errors(tiny_encoder):
    encoder, head, task = setup(tiny_encoder)
    with pytest.raises(DataError, match="fit has 1 examples; allowed: 2"):
        measure_fisher(
            encoder, head, TokenisedTask(task.facts, task.fit[:1]), SMALL, FisherOptions()
        )


def test_reparameterised_prefix_is_measured_at_keys_and_values(tiny_encoder):
    encoder, head, task = setup(tiny_encoder)
    modules = ModuleOptions(prefix=PrefixOptions(3, reparameterize=True, mid=5))
    options = FisherOptions(kinds=(K.PREFIX,), gram=False)
    table, _ = measure_fisher(encoder, head, task, modules, options, progress=False)
    assert {row.parameters for row in table.rows} == {2 * 3 * HIDDEN}
    assert set(table.rows[0].tensor_traces) == {"key", "value"}


def test_two_processes_measure_the_same_table(tmp_path, tiny_encoder):
    folder = tiny_folder("bert", tmp_path / "bert")
    script = Path(__file__).with_name("distributed_fisher.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for count in ("1", "2"):
        command = [*launch, "--nproc-per-node", count, str(script), str(folder)]
        command.append(str(tmp_path / count))
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (FisherTable.load(tmp_path / n / "table.json") for n in "12")
    assert json.loads((tmp_path / "2" / "world.json").read_text()) == 2
    for row, same in zip(one.rows, two.rows, strict=True):
        mine, other = (pd.json_normalize(asdict(r)).iloc[0].to_dict() for r in (row, same))
        for key in ("kind", "size"):
            assert mine.pop(key) == other.pop(key)
        assert mine == pytest.approx(other, rel=1e-6, abs=1e-12)
    first, second = (Grams.load(tmp_path / n / "grams.safetensors") for n in "12")
    for key, gram in first.kernels.items():
        np.testing.assert_allclose(second.kernels[key], gram, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(second.full, first.full, rtol=1e-3)


def test_broken_tables_are_errors(tiny_encoder, tmp_path):
    encoder, head, task = setup(tiny_encoder)
    table, _ = measure_fisher(encoder, head, task, SMALL, FisherOptions(gram=False), progress=False)
    path = tmp_path / "table.json"
    table.save(path)
    good = json.loads(path.read_text())
    for change, message in [
        ({"version": 9}, "version is 9"),
        ({"rows": good["rows"][1:]}, "rows hold 8 candidates"),
        ({"estimator": "empiric"}, "estimator is 'empiric' .did you mean 'empirical'"),
        ({"surplus": 1}, "surplus is unknown"),
        ({"examples": "7"}, "examples is '7'; allowed: an integer"),
    ]:
        path.write_text(json.dumps(good | change))
        with pytest.raises(PlanError, match=f"{path.name}.*{message}"):
            FisherTable.load(path)
    path.write_text("{")
    with pytest.raises(PlanError, match="not JSON"):
        FisherTable.load(path)
