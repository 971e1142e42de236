"""Running cells on all cores: one thread each, so that their number changes no result."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

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
    wanted = {group: {cell.wanted: cell for cell in cells} for group, cells in groups.items()}
    todo = [
        (group, own[each])
        for group, own in wanted.items()
        for each in missing(group, list(own), predicted)
    ]
    workers = 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))
    with tqdm(desc=desc, total=len(todo), disable=None) as bar:
        if min(workers, len(todo)) > 1:
            _share(todo, min(workers, len(todo)), bar)
        else:
            torch.set_num_threads(1)
            for group, cell in todo:
                run_cell(group, cell)
                bar.update()
    gather({group: list(own) for group, own in wanted.items()}, predicted)


def _share(todo: Sequence[tuple[str, Cell]], workers: int, bar: tqdm[Any]) -> None:
    """Share the cells out among processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start) as executor:
        futures = [executor.submit(run_cell, group, cell) for group, cell in todo]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.kill()  # else leaving the block waits for the cells in work
            raise


def _start() -> None:
    """A worker's start: one thread, and no life of its own after the stage's."""
    die_with_parent()
    torch.set_num_threads(1)
