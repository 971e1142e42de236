"""Running cells on all cores: one thread each, so that their number changes no result."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch
from tqdm import tqdm

from stages.runner import die_with_parent
from studies.criteria.trainings.cells import Cell, run_cell
from studies.criteria.trainings.store import gather, missing


def run_cells(groups: Mapping[str, Sequence[Cell]], desc: str, predicted: bool = False) -> None:
    """Train what the groups' files lack, and write them with the cells that are asked for.

    Args:
        predicted: the cells leave predictions, too.
    """
    wanted = {group: [cell.wanted for cell in cells] for group, cells in groups.items()}
    todo = list[tuple[str, Cell]]()
    for group, cells in groups.items():
        lacking = {id(each) for each in missing(group, wanted[group], predicted)}
        pairs = zip(cells, wanted[group], strict=True)
        todo += [(group, cell) for cell, each in pairs if id(each) in lacking]
    if todo:
        _run(todo, desc)
    gather(wanted, predicted)


def _run(todo: Sequence[tuple[str, Cell]], desc: str) -> None:
    workers = 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), context, _start) as executor:
        futures = [executor.submit(run_cell, group, cell) for group, cell in todo]
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
