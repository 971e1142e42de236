"""Compute the grid's cells on several workers; `dvc repro` then takes all of them from the cache.

python -m stages.run_grid [--workers 2] [--scheduler tcp://host:port] [--gpus] [--dry]
"""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from pathlib import Path

from fishpal.common.errors import FishpalError
from fishpal.params.load import load_params
from stages.checks.__main__ import main as check
from stages.grid.arguments import cell_command, options_of, parse
from stages.grid.cells import Grid
from stages.grid.cluster import connect
from stages.grid.compute import compute
from stages.grid.seed import alone, write_seed
from stages.runner import terminate


def main(given: Namespace) -> None:
    params, options, grid = load_params(), options_of(given), Grid.read()
    if given.dry:
        shared, cells = grid.left()
        sys.stdout.writelines(f"here: dvc repro {stage}\n" for stage in shared)
        sys.stdout.writelines(f"on a worker: dvc repro {stage}\n" for stage in cells)
        return
    if options.scheduler:
        with connect(options):  # fails before what all cells share has taken its time
            pass
    with alone(given.shared):
        check(params)
        grid.run_shared()
        failed: list[str] = []
        _, cells = grid.left()
        if cells:
            write_seed(Path.cwd(), given.shared / "seed")
            commands = {cell: cell_command(given, cell) for cell in cells}
            with connect(options) as client:
                failed = compute(client, commands, given.shared, options.gpus)
    if failed:
        raise FishpalError(f"{len(failed)} of {len(cells)} cells failed, as said above")
    sys.stderr.write(f"{len(grid.cells)} cells are done; `dvc repro` writes the report\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)  # not with its parent: a shell may leave it behind
    try:
        main(parse(sys.argv[1:]))
    except FishpalError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
