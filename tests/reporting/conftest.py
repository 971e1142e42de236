"""Runs that the report's tests share."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.reporting.artifact_tree import FIVE, make_run

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update")  # fmt: skip
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def five_template(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("five"), methods=FIVE)


@pytest.fixture
def five(five_template, tmp_path):
    """Five methods, the head alone among them, on two tasks."""
    return five_template[0], shutil.copytree(five_template[1], tmp_path / "artifacts")


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
