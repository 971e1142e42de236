"""Running cells on all cores: one thread each, so that their number changes no result."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
from tqdm import tqdm

from stages.runner import die_with_parent
from studies.criteria.trainings.cells import Cell, missing, run_cell


def run_cells(cells: Sequence[Cell], folder: Path, desc: str) -> None:
    """Train what is missing in `folder`, and remove files of cells that are not asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {cell.path(folder) for cell in cells}
    for path in folder.glob("*.json"):
        if path not in wanted:
            path.unlink()
    todo = missing(cells, folder)
    if not todo:
        return
    workers = 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), context, _start) as executor:
        futures = [executor.submit(run_cell, cell, folder) for cell in todo]
        try:
            for future in tqdm(as_completed(futures), desc, len(todo), disable=None):
                future.result()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.kill()  # else leaving the block waits for the cells in work
            raise


def _start() -> None:
    """A worker's start: one thread, and no life of its own after the stage's."""
    die_with_parent()
    torch.set_num_threads(1)
