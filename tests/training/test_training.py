"""Training, trained folders and export."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fishpal.common.errors import AttachError, EncoderError, PlanError, TrainingError
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import Encoder, load_encoder
from fishpal.encoders.pooling import pool
from fishpal.exports.merge import merge_lora
from fishpal.exports.peft_encoder import export_peft
from fishpal.models.batching import by_length, collate, shuffled_by_length
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import decide, mean_loss, predict
from fishpal.models.trained import load, save
from fishpal.modules.attach import build_modules
from fishpal.params.module_options import LoraOptions, ModuleOptions, PrefixOptions
from fishpal.params.options import HeadOptions, LearningRates, TrainOptions
from fishpal.records.examples import Example
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.groups import parameter_groups
from fishpal.training.train import train
from tests.conftest import EVERY_TYPE, HIDDEN, kinds_of, random_examples, task_facts
from tests.modules.test_modules import SMALL, shake

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA
OPTIONS = TrainOptions(epochs=2, batch_size=4, device="cpu", weight_decay=0.1)
RATES = LearningRates(prefix=1e-2, adapter=1e-2, lora=1e-2, head=1e-2, full=1e-3)


def plan_for(encoder: Encoder, *layers: ModuleKind | None, full: bool = False) -> Plan:
    return Plan("toy", "test", encoder.facts, layers, Reason("uniform"), full=full,
                modules=SMALL, learning_rate=RATES)  # fmt: skip


def learnable(count: int, seed: int = 0) -> list[Example]:
    """Examples of two classes that draw their tokens from different halves of four words."""
    words = ((5, 6), (30, 31))
    return [
        replace(e, input_ids=[words[int(e.label)][token % 2] for token in e.input_ids])
        for e in random_examples(count, seed=seed)
    ]


def trained(encoder, plan, classes=2, options=OPTIONS, seed=0, examples=None):
    facts = task_facts(classes)
    fit = examples or random_examples(24, classes)
    task = TokenisedTask(facts, fit, fit[:12])
    head = start_head(encoder, task, HeadOptions())
    model = plan_model(encoder, head, plan, seed, options.train_head)
    result = train(model, plan, task, options, seed, progress=False)
    return model, result


def logits_of(model: Classifier, classes: int = 2) -> np.ndarray:
    return predict(model, random_examples(9, classes, seed=5), task_facts(classes))


@pytest.mark.parametrize("train_head", [True, False])
def test_only_the_plan_moves(tiny_encoder, train_head):
    encoder = tiny_encoder()
    plan = plan_for(encoder, P, None, L)
    before = {name: t.clone() for name, t in encoder.model.state_dict().items()}
    facts, fit = task_facts(), random_examples(24)
    task = TokenisedTask(facts, fit, fit[:12])
    head = start_head(encoder, task, HeadOptions())
    model = plan_model(encoder, head, plan, 0, train_head)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    options = replace(OPTIONS, epochs=1, batch_size=24, train_head=train_head, warmup=0.0)
    result = train(model, plan, task, options, 0, progress=False)
    assert result.best_update == 1, "one step lowered the loss, so its weights were kept"
    assert all(torch.equal(before[name], t) for name, t in encoder.model.state_dict().items())
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, start[n])}
    modules = {n for n, _ in model.named_parameters() if n.startswith("modules_")}
    # LoRA's A cannot move in the first step but by weight decay, which it is under
    assert moved == modules | ({"head.weight", "head.bias"} if train_head else set())


@pytest.mark.parametrize("schedule", ["linear", "cosine", "polynomial", "constant"])
@pytest.mark.parametrize(("updates", "warmup"), [(1, 0.06), (3, 0.99)])
def test_a_training_is_no_warm_up_alone(tiny_encoder, schedule, updates, warmup):
    encoder = tiny_encoder()
    options = replace(OPTIONS, updates=updates, epochs=None, schedule=schedule, warmup=warmup)
    _, result = trained(encoder, plan_for(encoder, A, A, A), options=options)
    start, *rest = [point.selection_loss for point in result.curve]
    assert rest[-1] != start


def test_each_kind_gets_its_rate_and_biases_do_not_decay(tiny_encoder):
    encoder = tiny_encoder()
    rates = LearningRates(prefix=1.0, adapter=2.0, lora=3.0, head=4.0)
    plan = replace(plan_for(encoder, P, A, L), learning_rate=rates)
    model = plan_model(encoder, nn.Linear(HIDDEN, 2), plan, 0, True)
    groups = parameter_groups(model, plan, 0.1)
    rate_of = {id(p): g["lr"] for g in groups for p in g["params"]}
    decay_of = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    for module in model.candidates():
        for name, p in module.named_parameters():
            assert rate_of[id(p)] == getattr(rates, module.kind)
            assert decay_of[id(p)] == (0.0 if "bias" in name else 0.1)
    assert rate_of[id(model.head.weight)] == 4.0
    assert len(rate_of) == sum(1 for p in model.parameters() if p.requires_grad)


def test_lora_plus_trains_b_at_a_rate_of_its_own(tiny_encoder):
    """As plain Adam: its first step moves every parameter by its rate, whatever the gradient."""
    encoder, lora = tiny_encoder(), LoraOptions(rank=2, rate_ratio=16.0)
    plan = replace(plan_for(encoder, L, L, L), modules=ModuleOptions(lora=lora))
    task = TokenisedTask(task_facts(), random_examples(24), random_examples(12))
    model = plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0)
    with torch.no_grad():
        for module in model.candidates():
            module.query_b.fill_(0.01)  # so that A has a gradient, too
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    options = replace(OPTIONS, epochs=1, batch_size=24, warmup=0.0, weight_decay=0.0)
    train(model, replace(plan, learning_rate=replace(RATES, lora=1e-4)), task, options, 0,
          progress=False)  # fmt: skip
    for module in model.candidates():
        for name, rate in (("query_a", 1e-4), ("query_b", 16e-4)):
            key = next(n for n, p in model.named_parameters() if p is module.get_parameter(name))
            step = (module.get_parameter(name) - start[key]).abs()
            assert step.median().item() == pytest.approx(rate, rel=0.05)


@pytest.mark.parametrize("layers", [(L, L, L), (A, A, A), (P, P, P), (None, None, None)])
def test_training_learns(tiny_encoder, layers):
    encoder = tiny_encoder()
    options = replace(OPTIONS, epochs=20, batch_size=8)
    model, result = trained(
        encoder, plan_for(encoder, *layers), options=options, examples=learnable(64)
    )
    assert result.best_loss < 0.9 * result.curve[0].pick_loss
    held_out = learnable(100, seed=9)
    labels = np.array([e.label for e in held_out])
    hits = decide(predict(model, held_out, task_facts()), task_facts()) == labels
    assert hits.mean() > 0.9


@pytest.mark.parametrize("full", [False, True])
def test_same_seed_same_weights_and_other_seed_others(tiny_encoder, full):
    def weights(seed):
        encoder = tiny_encoder()
        layers = (None,) * 3 if full else (P, A, L)
        model, result = trained(encoder, plan_for(encoder, *layers, full=full), seed=seed)
        return [p.detach() for p in model.parameters() if p.requires_grad], result.curve

    (first, curve), (second, again), (third, _) = weights(0), weights(0), weights(1)
    assert curve == again
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, third, strict=True))


@pytest.mark.parametrize("pick", ["refined", "loss"])
def test_best_weights_are_kept_calibrated_and_patience_stops(tiny_encoder, pick):
    encoder = tiny_encoder()
    rates = replace(RATES, lora=3.0, head=3.0)  # far too large: the loss goes up
    plan = replace(plan_for(encoder, L, L, L), learning_rate=rates)
    options = replace(OPTIONS, epochs=10, patience=2, pick=pick, recover=False)
    fit = random_examples(24)
    model, result = trained(encoder, plan, options=options, examples=fit)
    losses = [point.pick_loss for point in result.curve]
    best = next(p for p in reversed(result.curve) if p.kept)
    assert (best.update, best.pick_loss) == (result.best_update, result.best_loss)
    assert pick == "refined" or best.pick_loss == min(losses)
    assert (best.pick_loss < best.selection_loss) == (pick == "refined")
    assert losses.index(min(losses)) == len(losses) - 3, "stopped after two worse ones"
    labels = [example.label for example in fit[:12]]
    assert mean_loss(predict(model, fit[:12], task_facts()), labels) == pytest.approx(
        result.best_loss, rel=1e-5
    )


def test_evaluations_within_an_epoch(tiny_encoder):
    encoder = tiny_encoder()
    options = replace(OPTIONS, evaluations_per_epoch=3)
    _, result = trained(encoder, plan_for(encoder, L, L, L), options=options)
    assert [point.update for point in result.curve] == [0, 2, 4, 6, 8, 10, 12]
    assert result.curve[-1].epoch == 2.0


def test_a_regression_trains(tiny_encoder):
    encoder = tiny_encoder()
    examples = [replace(e, label=float(len(e.input_ids)) / 5) for e in random_examples(40)]
    options = replace(OPTIONS, epochs=10)
    _, result = trained(encoder, plan_for(encoder, A, A, A), 1, options, examples=examples)
    assert result.best_loss < 0.5 * result.curve[0].selection_loss


def test_divergence_is_an_error(tiny_encoder):
    encoder = tiny_encoder()
    plan = replace(plan_for(encoder, L, L, L), learning_rate=replace(RATES, lora=100.0, head=100.0))
    # each step multiplies the weights by 1 - rate × decay
    options = replace(OPTIONS, epochs=4, warmup=0.0, weight_decay=1e30)
    with pytest.raises(TrainingError, match="loss is .* at update .*lower train.learning_rate"):
        trained(encoder, plan, options=options)


def test_nothing_to_train_and_wrong_encoder_are_errors(tiny_encoder):
    encoder, head = tiny_encoder(), nn.Linear(HIDDEN, 2)
    with pytest.raises(AttachError, match="nothing to train"):
        plan_model(encoder, head, plan_for(encoder, None, None, None), 0, False)
    other = tiny_encoder("roberta")
    with pytest.raises(AttachError, match="encoder with type bert; this one has roberta"):
        plan_model(other, head, plan_for(encoder, L, L, L), 0, True)


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_a_trained_folder_gives_bit_equal_logits(tiny_encoder, tmp_path, kind):
    check_trained_folder(tiny_encoder, tmp_path / "t", kind, (A, L, P))
    bias = ModuleKind.BIAS if ModuleKind.BIAS in kinds_of(kind) else None
    check_trained_folder(tiny_encoder, tmp_path / "u", kind, (bias, L, ModuleKind.IA3))


def check_trained_folder(tiny_encoder, folder, kind, layers):
    encoder = tiny_encoder(kind)
    plan = plan_for(encoder, *layers)
    options = replace(SMALL, prefix=PrefixOptions(length=3, reparameterize=True, mid=5, std=0.5))
    model, result = trained(encoder, replace(plan, modules=options))
    save_to(model, replace(plan, modules=options), folder)
    restored = load(tiny_encoder(kind), folder)
    assert np.array_equal(logits_of(restored), logits_of(model))
    names = set(load_file(folder / "modules.safetensors"))
    assert not any(".prefix.mlp" in name or "embedding" in name for name in names), (
        "the MLP is folded"
    )
    assert "1.lora.query_a" in names


def save_to(model, plan, folder, classes=2):
    facts = task_facts(classes)
    save(model, plan, folder, task=facts, seed=0, best=1)


def test_full_and_head_only_folders(tiny_encoder, tmp_path):
    for name, full in (("full", True), ("head", False)):
        encoder = tiny_encoder()
        plan = plan_for(encoder, None, None, None, full=full)
        model, _ = trained(encoder, plan)
        save_to(model, plan, tmp_path / name)
        restored = load(tiny_encoder(), tmp_path / name)
        assert np.array_equal(logits_of(restored), logits_of(model))
        counts = json.loads((tmp_path / name / "card.json").read_text())["parameters"]
        head, body = 2 * HIDDEN + 2, sum(p.numel() for p in encoder.model.parameters())
        assert counts["trainable"] == (head + body if full else head)
        assert counts["total"] == head + body
        assert counts["kept"] == (head + body if full else head)
        assert (tmp_path / name / "encoder.safetensors").exists() == full


def test_several_at_a_layer_train_and_load(tiny_encoder, tmp_path):
    """With sizes and rates of their own."""
    encoder = tiny_encoder()
    plan = plan_for(encoder, "prefix+adapter-3+lora", "lora-4", None)
    plan = replace(plan, rates={"lora-4": 0.03})
    model, _ = trained(encoder, plan)
    assert {group["lr"] for group in parameter_groups(model, plan, 0.0)} == {0.01, 0.03}
    found = {(m.layer, m.kind): m.kept() for m in model.candidates()}
    assert set(found) == {(0, L), (0, P), (0, A), (1, L)}
    assert [len(found[i, L]["query_a"]) for i in (0, 1)] == [SMALL.lora.rank, 4]
    save_to(model, plan, tmp_path / "trained")
    restored = load(tiny_encoder(), tmp_path / "trained")
    assert np.array_equal(logits_of(restored), logits_of(model))


def test_folders_of_something_else_are_errors(tiny_encoder, encoder_folders, tmp_path):
    encoder = tiny_encoder()
    plan = plan_for(encoder, L, A, P)
    model, _ = trained(encoder, plan)
    folder = tmp_path / "trained"
    save_to(model, plan, folder)

    def fails(message, encoder=None):
        with pytest.raises(PlanError, match=message):
            load(encoder or tiny_encoder(), folder)

    fails("trained in another encoder", tiny_encoder("roberta"))
    sibling = tiny_encoder()
    with torch.no_grad():
        next(sibling.model.parameters())[0, 0] += 1
    sibling = Encoder.of(sibling.model)
    fails("trained in another encoder", sibling)
    good = (folder / "plan.json").read_text()
    (folder / "plan.json").write_text(good.replace('"rank": 2', '"rank": 3'))
    fails("0.lora.*allowed by the plan")
    (folder / "plan.json").write_text(good)
    weights = (folder / "modules.safetensors").read_bytes()
    (folder / "modules.safetensors").write_bytes(weights[:-40])
    fails("modules.safetensors: cannot be read")
    (folder / "modules.safetensors").unlink()
    fails("modules.safetensors: cannot be read")
    (folder / "card.json").unlink()
    fails("card.json: cannot be read")


def test_broken_encoder_folders_are_errors(encoder_folders, tmp_path):
    import shutil

    def fails(message, spoil):
        shutil.rmtree(tmp_path / "e", ignore_errors=True)
        shutil.copytree(encoder_folders["bert"], tmp_path / "e")
        spoil(tmp_path / "e")
        with pytest.raises(EncoderError, match=message):
            load_encoder(tmp_path / "e")

    fails("has no config.json", lambda e: (e / "config.json").unlink())
    fails("config.json", lambda e: (e / "config.json").write_text("{"))
    fails("cannot be loaded", lambda e: (e / "model.safetensors").unlink())
    fails("cannot be loaded", lambda e: (e / "model.safetensors").write_bytes(b"x" * 99))

    def drop_weights(folder):
        from safetensors.torch import save_file

        tensors = load_file(folder / "model.safetensors")
        del tensors["encoder.layer.1.output.dense.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    fails("lacks 1 weights, the first 'encoder.layer.1.output.dense.weight'", drop_weights)

    def rename_type(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "ernie"}))

    fails("encoder type is 'ernie'; allowed: bert", rename_type)


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_merged_lora_computes_the_same(tiny_encoder, kind):
    encoder = tiny_encoder(kind, double=True)
    modules = [m.double() for m in build_modules([L, A, L], encoder.shapes, SMALL, seed=0)]
    shake(modules)
    model = Classifier(encoder, nn.Linear(HIDDEN, 2).double()).eval()
    model.attach(modules)
    before = logits_of(model)
    merge_lora(model)
    assert [str(m.kind) for m in model.candidates()] == ["adapter"]
    np.testing.assert_allclose(logits_of(model), before, rtol=1e-5, atol=1e-6)


EXPORTS = {
    "lora": (L, LoraOptions(rank=2)),
    "all sites": (L, LoraOptions(sites="all", rslora=True)),
    "ia3": (ModuleKind.IA3, LoraOptions()),
}


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_export_is_loaded_by_peft(tiny_encoder, tmp_path, kind, export):
    encoder, (candidate, lora) = tiny_encoder(kind), EXPORTS[export]
    layers = [candidate, None, candidate]
    modules = build_modules(layers, encoder.shapes, ModuleOptions(lora=lora), seed=0)
    shake(modules)
    model = Classifier(encoder, nn.Linear(HIDDEN, 2)).eval()
    model.attach(modules)
    expected = logits_of(model)
    export_peft(model, tmp_path / "peft")
    theirs = peft.PeftModel.from_pretrained(tiny_encoder(kind).model, str(tmp_path / "peft")).eval()
    head = load_file(tmp_path / "peft" / "head.safetensors")
    for example, logits in zip(random_examples(9, seed=5), expected, strict=True):
        batch = collate([example], 0)
        del batch["labels"]
        with torch.no_grad():
            hidden = theirs(**batch).last_hidden_state
        found = (
            pool(hidden, batch["attention_mask"], encoder.pooling) @ head["weight"].T + head["bias"]
        )
        np.testing.assert_allclose(found[0], logits, rtol=1e-4, atol=1e-5)
    model.detach()
    model.attach(build_modules([A, None, L], encoder.shapes, SMALL, seed=0))
    with pytest.raises(PlanError, match="kinds are adapter, lora; allowed for peft: lora alone"):
        export_peft(model, tmp_path / "other")


def test_batches_hold_every_example_once_and_are_similar_in_length():
    examples = random_examples(530 + 3)
    sizes = [len(e.input_ids) for e in examples]
    for batches in (by_length(examples, 8), shuffled_by_length(sizes, 8, np.random.default_rng(0))):
        assert sorted(i for batch in batches for i in batch) == list(range(533))
        padded = sum(len(b) * max(sizes[i] for i in b) for b in batches)
        assert padded < 1.15 * sum(sizes)
    assert by_length(examples, 8)[0][0] == sizes.index(max(sizes))


def test_small_parts_meet_new_neighbours_every_epoch():
    """Sorted as a whole, a text would stay with those of its own length."""
    sizes, rng = list(range(64)), np.random.default_rng(0)
    first, second = ([sorted(b) for b in shuffled_by_length(sizes, 8, rng)] for _ in range(2))
    assert not [batch for batch in first if batch in second]


@pytest.mark.parametrize("schedule", ["linear", "averaged"])
def test_a_head_that_stays_is_picked_as_it_answers(tiny_encoder, schedule):
    """It takes no calibration, so that none may flatter its looks."""
    encoder, examples = tiny_encoder(), learnable(48)
    plan = plan_for(encoder, *["lora"] * 3)
    options = replace(OPTIONS, train_head=False, schedule=schedule, epochs=4)
    model, result = trained(encoder, plan, options=options, examples=examples)
    logits = predict(model, examples[:12], task_facts())
    own = mean_loss(logits, [example.label for example in examples[:12]])
    assert options.pick == "refined" and result.best_update > 0
    assert own == pytest.approx(result.best_loss, rel=1e-6)
    assert all(point.pick_loss == point.selection_loss for point in result.curve)
