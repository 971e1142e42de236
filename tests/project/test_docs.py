"""What README and docs show: listings that run, links that lead somewhere, few words."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.project.closure import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LISTINGS = [
    pytest.param(listing, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, listing in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S))
]


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_listing_runs(listing, project, tmp_path, monkeypatch):
    """On the toy project: it stands where `make report` has run, with another task's name."""
    root = shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(root)
    names: dict[str, object] = {}
    code = listing.replace("movies", "toy")
    exec(compile(code, "listing", "exec"), names)  # noqa: S102 - the project's own pages
    texts = ["a warm, funny and moving film"]
    if "label_texts" in code and "save" not in code:
        label_texts = names["fishpal"].label_texts  # type: ignore[attr-defined]
        model, tokenizer = names["model"], names["tokenizer"]
        assert label_texts(model, tokenizer, texts)[0] in ("0", "1")
        both = label_texts(model, tokenizer, [f"w{i}" for i in range(36)])
        assert len(both) == 36 and set(both) <= {"0", "1"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
    paths = re.findall(r"`((?:fishpal|stages|tests|studies|benchmarks)/[\w/]+\.(?:py|yaml))`",
                       page.read_text())  # fmt: skip
    assert [path for path in paths if not Path(ROOT, path).is_file()] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 800
