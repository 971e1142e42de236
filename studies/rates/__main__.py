"""Train what is missing, then write reports/rates.md: `python -m studies.rates [--report]`."""

import argparse

import torch

from fishpal.common.progress import tqdm
from studies.rates.cells import KINDS, measured, rates_to_try, run_training
from studies.rates.report import write_report
from studies.rates.settings import load_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="write the report alone")
    only_report = parser.parse_args().report
    settings = load_settings()
    if not only_report:
        torch.set_num_threads(1)  # so that the number of cores changes no digit
        for case in settings.fitted.cases:
            measured(settings, case)
        for case in tqdm(settings.cases, desc="cases", disable=None):
            found = measured(settings, case)
            for kind in KINDS:
                for rate in rates_to_try(settings, found, kind):
                    run_training(settings, case, kind, rate)
    write_report(settings)


if __name__ == "__main__":
    main()
