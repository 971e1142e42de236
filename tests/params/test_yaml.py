"""params.yaml is read as DVC reads it: scalar by scalar."""

from __future__ import annotations

from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml as dvc_parses

from fishpal.common.errors import ParamsError
from fishpal.params.yaml import parse_yaml

SCALARS = """
1 -1 +1 0 00 012 0o14 0b101 0x1F 1_000 1e3 1e-3 1.0e-3 1.5 .5 5. -.5 1E5 +1.5e+3 .inf -.inf
true True TRUE false yes no on off Yes y n null Null NULL ~ 'yes' "1" 1:30 190:20:30
2001-12-14 0.1.0 1.2.3 abc 1a _1 1_ 0_7 0o 08 09 1e 1e+ 1.e3 1_0.5 0x_1 12e03 -- _ a:b #c
""".split()  # noqa: SIM905 - a list of these would be read less easily
STRUCTURES = [
    "a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n",
    "[1, [2, {a: b}]]",
    "a:\n- 1\n- {b: c}\n",
    "a: >\n  x\n  y\n",
    "a: |\n  x\n",
    "a: {yes: no, 1: 2, 1.5: x}",
    "a: !!str 1",
    "a: !!float 1",
    "a: 'it''s'",
    'a: "\\u00e9\\n"',
    "a: é",
    "# nothing but a comment and a value\na: 1",
]
REFUSED = ["a: 1\na: 2\n", "a: {b: 1, b: 2}", "--- 1\n--- 2\n", "a: !foo b", "a: [1", "a: *b",
           "a: !!python/object:os.system x", "a: !!python/name:os.system x", "a: 2001-99-99",
           "\ta: 1", "a: -"]  # fmt: skip


def typed(value: Any) -> Any:
    """Values with their types, since 1 == 1.0 == True."""
    if isinstance(value, dict):
        return {(type(k), k): typed(v) for k, v in value.items()}
    return [typed(v) for v in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.parametrize("text", [*(f"a: {scalar}\n" for scalar in SCALARS), *STRUCTURES])
def test_the_same_as_dvc(text):
    assert typed(parse_yaml(text, "x")) == typed(dvc_parses(text, "x"))


@pytest.mark.parametrize("text", REFUSED)
def test_what_dvc_refuses_is_refused_in_one_line(text):
    with pytest.raises(Exception):  # noqa: B017 - whatever DVC raises
        dvc_parses(text, "x")
    with pytest.raises(ParamsError, match="^x: not YAML") as raised:
        parse_yaml(text, "x")
    assert "\n" not in str(raised.value)


def test_a_key_given_twice_is_named_with_its_line():
    with pytest.raises(ParamsError, match="x: not YAML in line 3: key 'b' stands twice"):
        parse_yaml("a:\n  b: 1\n  b: 2\n", "x")
