"""What the study makes of reports/race.md and reports/thesis_table.md."""

from pathlib import Path

from studies.draws.compressed import COMPRESSED
from studies.draws.compressed_table import compressed_table
from studies.draws.races import (
    always_table,
    decisions_table,
    scores_table,
    tasks_of,
)
from studies.draws.schedules import schedules_table
from studies.draws.settings import Settings
from studies.draws.thesis import lost_table, thesis_tables
from studies.marked_part import write_part

RACE, THESIS = Path("reports/race.md"), Path("reports/thesis_table.md")
ROOM = "studies/draws"
TITLES = {
    "race": "all-MiniLM-L6-v2",
    "race_ungrouped": "Movies cut without regard to film",
    "race_base": "all-mpnet-base-v2",
}


def write_reports(settings: Settings) -> None:
    """Replace what stands between the marks in both, of grids that have two draws or a table."""
    averaged = settings.grid("race_averaged")
    parts: list[str] = []
    for name, title in TITLES.items():
        grid = settings.grid(name)
        made = (scores_table, decisions_table, always_table)
        parts += [f"{title}:", *(each(grid) for each in made)] if tasks_of(grid) else []
        if name == averaged.pilot_of and tasks_of(averaged):
            parts += [
                "`train.schedule: averaged` less `linear`, each kind on the same draws:",
                schedules_table(grid, averaged),
            ]
    if COMPRESSED.lines():
        parts += ["Trained whole, then compressed:", compressed_table(settings.compressed)]
    mixes = settings.grid("race_of_mixes")
    if tasks_of(mixes):
        parts += ["With three mixes in the race:", decisions_table(mixes)]
    write_part(RACE, ROOM, "\n\n".join(parts))
    grids = [settings.grid(name) for name in ("thesis_125", "thesis_1000")]
    tables = [part for grid in grids for part in thesis_tables(grid)]
    if tables:
        former = lost_table([settings.grid(name) for name in ("former", "former_recover")])
        write_part(THESIS, ROOM, "\n\n".join([*tables, "Former rates:", former]))
