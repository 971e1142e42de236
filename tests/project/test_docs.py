"""What README and docs show: listings that run, links that lead somewhere, few words."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.project.closure import ROOT

WRITTEN = [page for room in ("docs", "reports") for page in sorted((ROOT / room).glob("*.md"))]
PAGES = [ROOT / "README.md", *WRITTEN]
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
    if "predict" in code:
        model = names["model"]
        found = model.predict([f"w{i}" for i in range(36)])  # type: ignore[attr-defined]
        assert len(found) == 36 and set(found) <= {"0", "1"}


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
