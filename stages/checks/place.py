"""Look at the folder that the pipeline runs in: can it be written, is it under git?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from fishpal.common.errors import FishpalError
from fishpal.params.load import Params
from stages.runner import ARTIFACTS, run


def main(params: Params) -> None:
    for folder in (ARTIFACTS.root, Path("reports")):
        try:
            folder.mkdir(exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            said = f"{folder}: cannot be written: {error.strerror}"
            raise FishpalError(f"{said}; allowed: a folder that can be written") from error
    _tell_dvc_of_git()


def _tell_dvc_of_git() -> None:
    """DVC does without git, as in a source archive, once its own settings say so."""
    from dvc.config import Config  # here: slow to import

    here = Path.cwd()
    without = not any((folder / ".git").exists() for folder in (here, *here.parents))
    config = Config.from_cwd()
    if config["core"].get("no_scm", False) != without:
        with config.edit("local") as local:
            local.setdefault("core", {})["no_scm"] = without


if __name__ == "__main__":
    run(main)
