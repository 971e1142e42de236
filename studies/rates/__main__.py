"""Train what is missing, then write reports/rates.md: `python -m studies.rates [--report]`."""

import argparse

import torch

from fishpal.common.progress import tqdm
from studies.rates.cells import measured, rates_to_try, run_training
from studies.rates.prodigy import run_prodigy
from studies.rates.recovered import case_of, lost
from studies.rates.report import write_report
from studies.rates.settings import Settings, load_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="write the report alone")
    parser.add_argument("--prodigy", action="store_true", help="train that rival alone")
    parser.add_argument("--recover", action="store_true", help="train what was lost once more")
    parser.add_argument("--part", type=int, default=0, help="run every n-th case from this one on")
    parser.add_argument("--parts", type=int, default=1, help="n; each part in a process of its own")
    given = parser.parse_args()
    settings = load_settings()
    torch.set_num_threads(1)  # so that the number of cores changes no digit
    if given.prodigy:
        for case in settings.cases:
            for kind in case.kinds:
                run_prodigy(settings, case, kind)
    elif given.recover:
        for line in list(lost())[given.part :: given.parts]:
            run_training(settings, case_of(line), line["kind"], line["rate"], recover=True)
    elif not given.report:
        train(settings, given.part, given.parts)
    write_report(settings)


def train(settings: Settings, part: int, parts: int) -> None:
    """What is missing of every `parts`-th case from `part` on."""
    for case in settings.fitted.cases:
        measured(settings, case)
    for case in tqdm((settings.cases + settings.further)[part::parts], desc="cases", disable=None):
        found = measured(settings, case)
        for kind in case.kinds:
            for rate in rates_to_try(settings, case, found, kind):
                run_training(settings, case, kind, rate)


if __name__ == "__main__":
    main()
