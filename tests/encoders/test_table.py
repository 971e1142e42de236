"""docs/encoders.md: which kinds and sites each supported type takes, tried on tiny models."""

from __future__ import annotations

import pytest

from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.specs import SPECS
from fishpal.modules.attach import attach, build_modules, detach
from fishpal.params.module_options import LoraOptions, ModuleOptions
from tests.conftest import EVERY_TYPE, LAYERS
from tests.project.closure import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split("|")]
    for line in (ROOT / "docs" / "encoders.md").read_text().splitlines()
    if line.startswith("|")
]


def takes(encoder, kind, lora=LoraOptions()) -> bool:  # noqa: B008 - frozen
    """Whether every layer takes a module of the kind."""
    try:
        modules = build_modules([kind] * LAYERS, encoder.shapes, ModuleOptions(lora=lora), 0)
    except AttachError:
        return False
    attach(encoder.model, modules)
    detach(modules)
    return True


def test_every_supported_type_has_a_row():
    assert [row[0].strip("`") for row in ROWS[2:]] == list(EVERY_TYPE)
    assert set(EVERY_TYPE) == set(SPECS)
    assert ROWS[0] == ["type", *(f"`{kind}`" for kind in ModuleKind), "LoRA's `gate`"]


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_a_row_says_what_the_type_takes(tiny_encoder, kind):
    encoder = tiny_encoder(kind)
    gate = takes(encoder, ModuleKind.LORA, LoraOptions(sites=(Site.GATE,)))
    found = [*(takes(encoder, candidate) for candidate in ModuleKind), gate]
    row = next(row for row in ROWS if row[0] == f"`{kind}`")
    assert row[1:] == ["yes" if each else "–" for each in found]
