"""Progress bars: on a terminal and in a notebook, and none in logs."""

import os
import sys
from typing import Any

import tqdm as bars


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process: its output is no terminal, yet is looked at."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class tqdm(bars.tqdm):  # type: ignore[misc]  # noqa: N801 - by the name that it goes by
    """tqdm's bar, where `disable` None means: unless somebody looks at it; of several processes
    that torchrun started, the first one's."""

    def __init__(self, *given: Any, disable: bool | None = None, **named: Any) -> None:
        if disable is None and in_notebook():
            disable = False
        if os.environ.get("RANK", "0") != "0":
            disable = True
        super().__init__(*given, disable=disable, **named)
