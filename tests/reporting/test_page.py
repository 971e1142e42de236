"""The page, as text and in a real Chromium."""

from __future__ import annotations

import html
from dataclasses import asdict
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishpal.reporting.html import as_html, sort_value
from fishpal.reporting.markdown import escape, flat, plain
from fishpal.reporting.page import page_html
from fishpal.reporting.recipe import rate_reasons
from tests.reporting.artifact_tree import EVIL, FIVE, edit, keep_start, reports_of, share_plan

EXECUTED = ("script", "iframe", "object", "embed", "form", "base", "link", "meta", "style", "img")


class Reader(HTMLParser):
    """Tags, attributes and text of a page; `own` are scripts that would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text.append(data)


def page_of(run):
    return page_html(run[0], reports_of(run))


def test_bold_italics_are_nested_tags():
    html = as_html("***0.7*** and **b**, *i*")
    assert html == "<strong><em>0.7</em></strong> and <strong>b</strong>, <em>i</em>"


@given(st.text())
def test_any_text_of_a_user_is_shown_as_it_is(text):
    shown = as_html(f"**x{escape(text)}** `code` and {escape(text)}.")
    read = Reader(shown)
    assert "".join(read.text) == f"x{plain(text)} code and {plain(text)}."
    assert set(read.tags) <= {"strong", "code"}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("46.9 K (0.21 %)", 46_900),
        ("22.7 M (100.21 %)", 22_700_000),
        ("770 (< 0.01 %)", 770),
        ("0.7714 ± 0.0056 (2 seeds)", 0.7714),
        ("**-0.0370 [-0.0532, -0.0201]**", -0.037),
        ("+0.0000 [-0.0124, +0.0129], no difference shown", 0),
        ("*0.5* †", 0.5),
        ("1,234.5", 1234.5),
        ("1 Mark", 1),
        ("—", None),
        ("`lora2`", None),
    ],
)
def test_what_a_cell_sorts_by(cell, value):
    assert sort_value(cell) == value


def test_records_are_shown_whatever_they_hold():
    record = {"a": {"b": 1.5, "c": [{"d": None}, {"d": True}]}, "e": [1, 2], "f": {}, "g": []}
    assert list(flat(record)) == [
        ("a.b", "1.5"), ("a.c.0.d", "none"), ("a.c.1.d", "yes"), ("e", "1, 2"), ("f", "none"),
        ("g", "none"),
    ]  # fmt: skip


class Recorded:
    """A method whose plan's record holds reasons of rates, of whatever fields."""

    def __init__(self, name, rates):
        self.name, self.rates, self.plan = name, rates, self

    def to_json(self):
        return {"reason": {"rule": "uniform", "rates": self.rates}}


def test_measured_rates_are_given_with_their_reasons():
    lora = {"rate": 0.004, "usual": 0.005, "by_step": 0.8}
    methods = [
        Recorded("one", {"lora": lora}), Recorded("two", {"lora": dict(lora), "adapter": {"z": 1}}),
        Recorded("three", {"lora": lora | {"rate": 0.003}}), Recorded("four", None),
    ]  # fmt: skip
    header, _, *rows = rate_reasons(SimpleNamespace(methods=methods)).splitlines()
    assert header == "| kind | rate | usual | by\\_step | z | methods |"
    assert rows[0] == "| `lora` | 0.004 | 0.005 | 0.8 | — | `one`, `two` |"
    assert rows[2] == "| `lora` | 0.003 | 0.005 | 0.8 | — | `three` |"
    assert rate_reasons(SimpleNamespace(methods=methods[3:])) == ""


def test_nothing_that_users_write_becomes_a_tag(run):
    for task, key in (("pairs", "one|two"), ("closeness", EVIL)):
        edit(
            run[1] / f"raw/{task}/card.json",
            lambda card, key=key: card.update(overlap={f"train/{key}": 3}),
        )
    text = page_of(run)
    read = Reader(text)
    count = {tag: read.tags.count(tag) for tag in EXECUTED}
    scripts = 1 + 3  # the page's own, and the data of three scatters, which do not run
    assert count == dict.fromkeys(EXECUTED, 0) | {
        "script": scripts, "link": 1, "meta": 4, "style": 1 + 2 * 2,
    }  # fmt: skip
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    links = [value for name, value in read.attributes if name.endswith(("href", "src"))]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert plain(EVIL) in " ".join("".join(read.text).split())
    assert "/some/where" not in text
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_page_says_what_the_plans_and_the_params_are(run):
    path = run[1] / "plans/pairs/lora.json"
    edit(path, lambda plan: plan["learning_rate"].update(lora=0.0375))
    reports, text = reports_of(run), page_of(run)
    read = "\n".join(Reader(text).text)
    assert "0.0375" in read
    assert "reason.criterion\nkernel" in read and "reason.total\n1.5" in read
    for section in ("train", "fisher", "select", "report", "tokenize"):
        for key, value in flat(asdict(getattr(run[0], section))):
            assert f"\n{key}\n{value}\n" in read
    assert "\nsource.type\nfiles\n" in read and "\nsource.drop_duplicates\n" in read
    assert "\nsource.files" not in read  # paths of the machine
    assert html.unescape(str(as_html("`pairs`"))) in text
    assert text == page_html(run[0], reports)


@pytest.fixture
def opened(chromium, five, tmp_path):
    """`opened(**context)`: the page, which must neither complain nor ask for anything."""
    keep_start(five, "closeness", ["head"])
    share_plan(five, "fishpal", "adapter")
    path = tmp_path / "results.html"
    path.write_text(page_of(five))
    complaints, asked, contexts = [], [], []

    def open_page(**options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()] * len(contexts)


def column(page, table, number):
    cells = page.locator(f"{table} tbody td:nth-child({number})")
    return [text.split("\n")[0] for text in cells.all_inner_texts()]


def test_a_click_sorts(opened, five):
    page = opened()
    table = "#task-closeness h3 + p + div > .wide table"
    names = column(page, table, 1)
    assert names == [*FIVE, "mean prediction"]
    scores = [float(cell.split()[0]) for cell in column(page, table, 2)]
    page.locator(f"{table} th:nth-child(2) button").click()
    order = np.argsort(scores, kind="stable")[::-1]
    assert column(page, table, 1) == [names[i] for i in order]
    page.locator(f"{table} th:nth-child(2) button").click()
    assert column(page, table, 1) == [names[i] for i in order[::-1]]
    page.locator(f"{table} th:nth-child(5) button").click()  # kept
    kept = [method.parameters.kept for method in reports_of(five)[1].results.methods]
    assert column(page, table, 1) == [FIVE[i] for i in np.argsort(kept)[::-1]] + ["mean prediction"]
    page.locator(f"{table} th:nth-child(1) button").click()
    assert column(page, table, 1) == sorted(names)
    assert page.locator(f"{table} th:nth-child(1)").get_attribute("aria-sort") == "ascending"


def circles(page):
    """Name → (x, y) of the scatter of the regression."""
    found = {}
    for point in page.locator("#task-closeness .point").all():
        circle, name = point.locator("circle"), point.locator("text").text_content()
        found[name] = tuple(float(circle.get_attribute(key)) for key in ("cx", "cy"))
    return found


def test_axes_are_chosen(opened, five):
    page = opened()
    methods = {method.name: method for method in reports_of(five)[1].results.methods}
    names = [*FIVE[:-1], "head (untrained)"]
    before = circles(page)
    assert list(before) == names

    def ranks(values):
        return np.argsort(np.argsort(values, kind="stable"), kind="stable").tolist()

    kept = [methods[name].parameters.kept for name in FIVE]
    scores = [methods[name].scores("test", "pearson").mean() for name in FIVE]
    assert ranks([x for x, _ in before.values()]) == ranks(kept)
    assert ranks([-y for _, y in before.values()]) == ranks(scores)
    options = page.locator("#task-closeness .x option").all()
    keys = [option.get_attribute("value") for option in options]
    assert keys == ["kept", "score", "loss", "trainable", "training", "selection"]
    page.select_option("#task-closeness .x", "selection")
    seconds = [methods[name].selection_seconds for name in FIVE]
    after = [x for x, _ in circles(page).values()]
    assert np.corrcoef(after, seconds)[0, 1] == pytest.approx(1)
    page.select_option("#task-closeness .x", "score")
    after = [x for x, _ in circles(page).values()]
    assert np.corrcoef(after, scores)[0, 1] == pytest.approx(1)
    page.select_option("#task-closeness .y", "loss")
    assert "loss on test" in page.locator("#task-closeness .plot text").all_text_contents()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(opened, scheme):
    page = opened(color_scheme=scheme)

    def lightness(selector, key):
        colour = page.locator(selector).first.evaluate(f"e => getComputedStyle(e).{key}")
        return sum(float(part) for part in colour.strip("rgba()").split(",")[:3]) / (3 * 255)

    paper = lightness("body", "backgroundColor")
    assert (paper > 0.9) == (scheme == "light") and (paper < 0.15) == (scheme == "dark")
    for selector in ("h1", "td", ".plot text", "figure.wide svg text:has-text('update')"):
        key = "fill" if "text" in selector else "color"
        assert abs(lightness(selector, key) - paper) > 0.6, selector


def test_a_telephone_need_not_scroll_sideways(opened):
    page = opened(viewport={"width": 360, "height": 740}, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    sizes = page.locator(".plot text").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().height)"
    )
    assert min(sizes) > 9
