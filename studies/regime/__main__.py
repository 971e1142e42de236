"""Train what is missing of a task, then write the report: `python -m studies.regime [TASK]`."""

import argparse

import torch

from fishpal.params.options import LearningRates
from studies.regime.report import write_report
from studies.regime.settings import load_settings
from studies.regime.signals import measured
from studies.regime.trainings import run_plans, sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings = load_settings()
    parser.add_argument("task", nargs="?", choices=settings.tasks, help="none: the report alone")
    task = parser.parse_args().task
    torch.set_num_threads(1)  # so that the number of cores changes no digit
    if task:
        rates = LearningRates(**sweep(settings, task))
        measured(settings, task, rates)
        for seed in settings.seeds:
            run_plans(settings, task, seed, rates)
    write_report(settings)


if __name__ == "__main__":
    main()
