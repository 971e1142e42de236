"""`dvc plots show` without a network: its page carries Vega itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_plots_are_drawn_without_a_network(chromium, tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/plots_template", tmp_path / ".ci")
    (tmp_path / "curves.csv").write_text("update,loss\n0,0.7\n20,0.5\n")
    dvc = [sys.executable, "-m", "dvc"]
    (tmp_path / ".dvc").mkdir()
    for command in (
        [*dvc, "init", "--no-scm", "--quiet", "--force"],
        [sys.executable, ".ci/plots_template"],
        ["cp", ROOT / ".dvc/config", ".dvc/config"],
        [*dvc, "plots", "show", "--quiet", "curves.csv"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    page, asked, errors = chromium.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    place = (tmp_path / "dvc_plots/index.html").as_uri()
    page.goto(place)
    page.wait_for_selector("#curves_csv canvas, #curves_csv svg.marks")
    page.close()
    assert errors == [] and [url for url in asked if not url.startswith("data:")] == [place]
