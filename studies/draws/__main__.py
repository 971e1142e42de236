"""Run what is missing of a grid, then write the reports: `python -m studies.draws [GRID …]`."""

import argparse

import torch

from studies.draws.compressed import run_compressed
from studies.draws.report import write_reports
from studies.draws.settings import load_settings
from studies.draws.trainings import cells, choose, run_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings = load_settings()
    names = [grid.name for grid in settings.grids]
    parser.add_argument(
        "grids", nargs="*", choices=[[], *names, "compressed"], help="none: the reports alone"
    )
    parser.add_argument("--part", type=int, default=0, help="run every n-th draw from this one on")
    parser.add_argument("--parts", type=int, default=1, help="n; each part in a process of its own")
    given = parser.parse_args()
    torch.set_num_threads(1)  # so that the number of cores changes no digit
    if "compressed" in given.grids:
        run_compressed(settings.compressed, given.part, given.parts)
    grids = [settings.grid(name) for name in given.grids if name != "compressed"]
    units = dict.fromkeys(unit for grid in grids for unit in grid.units())
    for task, draw in list(units)[given.part :: given.parts]:
        for grid in grids:
            chosen = choose(grid, task, draw)
            for method, seed in cells(grid, chosen):
                run_training(grid, chosen, method, seed)
    write_reports(settings)


if __name__ == "__main__":
    main()
