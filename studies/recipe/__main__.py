"""Train what is missing, then write reports/recipe.md: `python -m studies.recipe [--report]`."""

import argparse

import torch

from fishpal.common.progress import tqdm
from studies.recipe.report import write_report
from studies.recipe.settings import load_settings
from studies.recipe.trainings import run_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="write the report alone")
    settings = load_settings()
    if not parser.parse_args().report:
        torch.set_num_threads(1)  # so that the number of cores changes no digit
        for cell in tqdm(settings.cells, desc="cells", disable=None):
            for kind in settings.rates:
                run_training(settings, cell, kind)
    write_report()


if __name__ == "__main__":
    main()
