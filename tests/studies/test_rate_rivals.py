"""The rates study's rivals, against results worked out by hand."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from torch.nn.functional import cross_entropy

from fishpal.api.steps import start
from fishpal.common.errors import PlanError
from fishpal.common.kinds import HeadInit, ModuleKind
from fishpal.models.batching import collate
from fishpal.selection.rates import LAWS
from studies.rates import cells, recovered
from studies.rates.critical import EXAMPLES, FIRST, LAST, critical_rate
from studies.rates.prodigy import optimizers
from studies.rates.rivals import FEW, RIVALS, between, findings, halved, halving_cost
from studies.rates.settings import load_settings
from tests.api import conftest as api

encoder_folder, encoder, task = api.encoder_folder, api.encoder, api.task


def line(rate, *losses):
    curve = [[update, loss] for update, loss in zip((0, 32, 64, 128), losses, strict=True)]
    return {"rate": rate, "curve": curve, "loss": losses[-1], "score": 1 - losses[-1]}


def test_halving_stops_what_is_behind_at_a_quarter_and_at_a_half():
    late = line(1e-3, 0.7, 0.69, 0.3, 0.1)  # the best in the end, the last at a quarter
    early = line(1e-1, 0.7, 0.4, 0.5, 0.6)
    steady = line(1e-2, 0.7, 0.5, 0.35, 0.2)
    assert halved([late, early, steady]) is steady
    assert halving_cost(5) == 5 * 0.25 + 2 * 0.25 + 0.5


def test_between_is_linear_in_the_logarithm():
    swept = [line(1e-3, 0.7, 0.7, 0.7, 0.6), line(1e-1, 0.7, 0.7, 0.7, 0.2)]
    assert between(swept, 1e-2)["loss"] == pytest.approx(0.4)
    assert between(swept, 1.0)["score"] == pytest.approx(0.8)


@pytest.mark.parametrize(("part", "rivals"), [("cases", RIVALS), ("further", FEW)])
def test_every_stored_case_has_every_rival(part, rivals):
    settings = load_settings()
    found = list(findings(settings, getattr(settings, part)))
    assert found
    for case, kind in {(each.case, each.kind) for each in found}:
        own = [each.rival for each in found if (each.case, each.kind) == (case, kind)]
        assert tuple(own) == rivals


@pytest.mark.parametrize(
    ("best", "tried"), [(2, [1, 2, 3]), (1, [1, 2, 3, 0]), (3, [1, 2, 3, 4]), (0, [1, 2, 3, 0])]
)
def test_a_sweep_goes_outwards_while_an_edge_is_the_best(best, tried, tmp_path, monkeypatch):
    """Losses rise away from the best of five rates; as many are trained as it takes to see that."""
    settings, kind = load_settings(), ModuleKind.LORA
    monkeypatch.setattr(cells, "TRAINED", cells.CaseStore(tmp_path / "trained.jsonl"))
    case, rates = settings.further[0], [LAWS[kind].usual * f for f in settings.factors]
    found = []
    for rate in cells.swept(settings, case, kind):
        found.append(int(np.argmin(np.abs(np.log(rates) - np.log(rate)))))
        loss = abs(found[-1] - best) / 10
        named = {"kind": kind.value, "rate": rate, "selection_loss": loss}
        cells.TRAINED.add(case.columns() | named)
    assert found == tried
    assert len(list(cells.swept(settings, settings.cases[0], kind))) == len(settings.factors)


def test_auto_knows_the_encoder_of_a_case():
    settings, noise = load_settings(), {"reasons": {"lora": {"step": 0.1, "signal": 0.0}}}
    case = next(case for case in settings.further if case.encoder == "base")
    usual = LAWS["lora"].usual
    assert cells.auto_rate(settings, noise, case, "lora") == pytest.approx(usual / 2)
    smaller = replace(case, encoder="lower_half")
    assert cells.auto_rate(settings, noise, smaller, "lora") == pytest.approx(usual)


def test_cases_of_other_kinds_own_lines_of_their_own():
    cases = [case for case in load_settings().further if case.vectors or case.full]
    assert {case.kinds for case in cases} == {("bias", "ia3"), ("full",)}
    for case in cases:
        assert not case.plain.owns(case.columns()) and case.owns(case.columns())
        assert case.plain.kinds == ("prefix", "adapter", "lora")


def test_prodigy_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "prodigyopt", None)
    with pytest.raises(PlanError, match="not installed; allowed: pip install prodigyopt"):
        optimizers([])


def test_the_critical_rate_is_where_the_first_step_stops_helping(encoder, task):
    plan = replace(api.plan_of(encoder, "adapter"), task=task.name)
    tokens = task.tokenised(encoder)
    batch = collate(list(tokens.fit)[:EXAMPLES], tokens.facts.pad_id)
    labels = batch.pop("labels")

    def loss_after(rate):
        """Of one sign step, by hand."""
        module = start(encoder, task, plan).module.eval()
        loss = cross_entropy(module(**batch), labels)
        if rate:
            loss.backward()
            for each in module.candidates():
                for p in each.parameters():
                    p.data -= rate * p.grad.sign()
            loss = cross_entropy(module(**batch), labels)
        return loss.item()

    found = critical_rate(encoder, task, plan, passes=16)
    assert FIRST < found < LAST
    assert loss_after(found / 1.01) <= loss_after(0) <= loss_after(found * 1.01)


def test_a_stored_cell_is_not_trained_again():
    """Nor are rows or an encoder looked for; a case's lines are not those of another head."""
    settings, before = load_settings(), cells.TRAINED.lines()
    case, line = settings.cases[0], before[0]
    own = next(line for line in before if case.owns(line))
    cells.run_training(settings, case, ModuleKind(own["kind"]), own["rate"])
    assert cells.TRAINED.lines() == before
    assert not replace(case, head=HeadInit.PROBE).owns(line)
    assert not case.owns(own | {"head": "probe"})


def test_what_was_lost_stands_beside_what_was_led_back(tmp_path, monkeypatch):
    """Lost is what had learnt nothing above the usual rate; slow learners at low ones are not."""
    settings, kind = load_settings(), "lora"
    case, usual = settings.cases[0], LAWS[kind].usual
    monkeypatch.setattr(recovered, "TRAINED", cells.CaseStore(tmp_path / "trained.jsonl"))
    monkeypatch.setattr(cells, "TRAINED", recovered.TRAINED)
    monkeypatch.setattr(recovered, "RECOVERED", cells.CaseStore(tmp_path / "recovered.jsonl"))
    monkeypatch.setattr(cells, "RECOVERED", recovered.RECOVERED)
    for factor, losses in ((0.1, (0.7, 0.69)), (1, (0.7, 0.4)), (10, (0.7, 0.69)), (3, (0.7, 0.6))):
        own = {"kind": kind, "rate": usual * factor, "seed": 0, "selection_loss": losses[1]}
        curve = [[0, losses[0]], [125, losses[1]]]
        trained = {"curve": curve, "loss": losses[1], "score": 1 - losses[1]}
        recovered.TRAINED.add(case.columns() | own | trained)
    (found,) = recovered.lost()
    assert found["rate"] == usual * 10 and recovered.case_of(found) == case
    assert len(recovered.recovered_table().splitlines()) == 2, "not trained again yet"
    again = {"loss": 0.45, "score": 0.55, "collapsed": [16, 47]}
    recovered.RECOVERED.add(
        case.columns() | {k: found[k] for k in ("kind", "rate", "seed")} | again
    )
    row = recovered.recovered_table().splitlines()[-1]
    assert "0.690 (0.310) | 0.450 (0.550) | 16, 47 | 0.004: 0.400 (0.600)" in row
    before = recovered.RECOVERED.lines()
    cells.run_training(settings, case, kind, found["rate"], recover=True)
    assert recovered.RECOVERED.lines() == before
