"""What the figures show, asked of matplotlib's own objects before they are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from scipy import stats

from fishpal.reporting.figures import draw_curves, draw_parameters, draw_scores, style_of
from tests.reporting.artifact_tree import (
    FIVE,
    edit,
    keep_start,
    make_params,
    make_predictions,
    reports_of,
    share_plan,
)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """`drawn(draw, report)`: the axes of the figure that is saved."""

    def draw_it(draw, report):
        figures = []

        def keep(figure, path, **options):
            figures.append(figure)
            Path(path).write_bytes(b"drawn")

        monkeypatch.setattr(Figure, "savefig", keep)
        draw(tmp_path / "figure.png", report)
        return figures[0].axes

    return draw_it


def bars(axis):
    """Legend's label → the marker's line and the ends of its interval."""
    found = {}
    for container in axis.containers:
        marker, _, (bar,) = container
        ((_, low), (_, high)) = bar.get_segments()[0]
        found[container.get_label()] = (marker, low, high)
    return found


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_scores_have_intervals_with_one_seed_as_with_two(five, drawn, seeds):
    run = make_params(seeds=seeds, methods=FIVE), five[1]
    (axis,) = drawn(draw_parameters, reports_of(run)[1])
    assert set(bars(axis)) == set(FIVE)
    rng = np.random.default_rng(0)
    for method, (marker, low, high) in bars(axis).items():
        cells = [make_predictions("closeness", method, seed, "test") for seed in seeds]
        means = []
        for _ in range(400):
            rows = rng.integers(40, size=40)
            means.append(np.mean([np.corrcoef(y[rows], p[rows])[0, 1] for y, p in cells]))
        expected = np.quantile(means, [0.05, 0.95])  # params ask for 90 %
        if len(seeds) == 2:
            between = np.var([np.corrcoef(y, p)[0, 1] for y, p in cells], ddof=1) / 2
            freedom = (1 + np.var(means) / between) ** 2
            half = stats.t.ppf(0.95, freedom) * np.sqrt(np.var(means) + between)
            expected = np.mean(means) + np.array([-half, min(half, 1 - np.mean(means))])
        assert (low, high) == pytest.approx(tuple(expected), abs=0.05)
        assert high - low > 0.01
        assert low <= marker.get_ydata()[0] <= high


def test_the_constant_answer_is_a_line_in_every_panel(five, drawn):
    for axis, split in zip(drawn(draw_parameters, reports_of(five)[0]), ("matched", "mismatched"),
                           strict=True):  # fmt: skip
        labels = make_predictions("pairs", "lora", 0, split)[0]
        (line,) = (line for line in axis.lines if line.get_label() == "constant answer")
        assert line.get_ydata()[0] == pytest.approx(np.bincount(labels).max() / len(labels))
        low, high = axis.get_ylim()
        values = [value for _, *ends in bars(axis).values() for value in ends]
        assert low <= min(*values, line.get_ydata()[0]) and max(values) <= high


@pytest.mark.parametrize("draw", [draw_parameters, draw_curves])
def test_equal_plans_are_both_seen(five, drawn, draw):
    share_plan(five, "fishpal", "adapter")
    axis = drawn(draw, reports_of(five)[0])[0]
    styles = [style_of(method, FIVE) for method in ("fishpal", "adapter")]
    ring, filled = (
        next(line for line in axis.lines
             if (line.get_color(), line.get_marker()) == (style["color"], style["marker"]))
        for style in styles
    )  # fmt: skip
    assert np.array_equal(ring.get_xydata(), filled.get_xydata())
    assert ring.get_markerfacecolor() == "none" and filled.get_markerfacecolor() != "none"
    assert ring.get_markersize() > 1.5 * filled.get_markersize()
    assert ring.get_zorder() > filled.get_zorder()
    if draw is draw_curves:
        assert ring.is_dashed() and not filled.is_dashed()
    legend = axis.figure.axes[-1].get_legend()
    assert "fishpal (plan of adapter)" in [text.get_text() for text in legend.get_texts()]


def test_untrained_methods_are_named_so_in_the_legend(five, drawn):
    keep_start(five, "closeness", ["lora"])
    (axis,) = drawn(draw_parameters, reports_of(five)[1])
    assert set(bars(axis)) == {*FIVE[:2], "lora (untrained)", *FIVE[3:]}


def test_one_example_does_not_fill_the_height(five, drawn):
    """All methods are right on every example, but for one's last one."""
    for method in FIVE:
        for seed in (0, 1):
            path = five[1] / f"evaluated/pairs/{method}/{seed}/predictions.parquet"
            table = pq.read_table(path)
            split, labels = np.array(table["split"].to_pylist()), table["label"].to_numpy()
            answers = labels.copy()
            if method == "lora":
                answers[-1] = (labels[-1] + 1) % 3
            answers = pa.array(answers)
            pq.write_table(table.set_column(3, "prediction", answers), path)
            change = {s: np.mean((labels == answers.to_numpy())[split == s]) for s in set(split)}

            def update(data, change=change):
                for name, share in change.items():
                    data["splits"][name]["accuracy"] = float(share)

            edit(five[1] / f"evaluated/pairs/{method}/{seed}/metrics.json", update)
    report = reports_of(five)[0]
    without_floor = [replace(c, floor=c.scores["adapter"]) for c in report.comparisons]
    report = replace(report, comparisons=tuple(without_floor))
    axis = drawn(draw_parameters, report)[0]
    low, high = axis.get_ylim()
    assert high - low >= 10 / 60


def test_the_last_digit_of_a_loss_does_not_fill_the_height(five, drawn):
    for method in FIVE:
        for seed in (0, 1):
            loss = 0.6931 + 0.0001 * FIVE.index(method)
            path = five[1] / f"curves/pairs/{method}/{seed}.csv"
            path.write_text(
                "update,epoch,fit_loss,selection_loss,pick_loss,kept,collapsed\n"
                f"0,0,,1,0.6931,1,0\n9,1,1,1,{loss},1,0\n"
            )
    (axis,) = drawn(draw_curves, reports_of(five)[0])
    low, high = axis.get_ylim()
    assert high - low >= 0.05 - 1e-12
    assert low < 0.693 < 0.6936 < high


def test_the_loss_is_named_for_what_it_is(five, drawn):
    labels = [drawn(draw_curves, report)[0].get_ylabel() for report in reports_of(five)]
    assert "cross-entropy in nats" in labels[0]
    assert "half the squared error of the standardised target" in labels[1]


@pytest.mark.parametrize(
    ("methods", "title"),
    [(("adapter", "lora"), "closeness: plans"),
     (FIVE, "closeness: scores of the candidates (coloured by rank) and plans")],
)  # fmt: skip
def test_the_title_says_what_is_drawn(five, drawn, methods, title):
    run = make_params(methods=methods), five[1]
    axes = drawn(draw_scores, reports_of(run)[1])
    assert axes[0].get_figure().get_suptitle() == title
