"""Runs that the report's tests share."""

from __future__ import annotations

import shutil

import pytest

from tests.reporting.artifact_tree import FIVE, make_run


@pytest.fixture(scope="session")
def five_template(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("five"), methods=FIVE)


@pytest.fixture
def five(five_template, tmp_path):
    """Five methods, the head alone among them, on two tasks."""
    return five_template[0], shutil.copytree(five_template[1], tmp_path / "artifacts")
