"""The page of results is what the committed records say, and so are the claims in them."""

import json
import math
from pathlib import Path

import pytest

from plasticity_jax.command.catalog import entries, load
from plasticity_jax.command.report import report
from plasticity_jax.run import checked

HOME = Path(__file__).resolve().parents[2] / "experiments"
ENTRIES = {entry.id: entry for entry in entries(HOME)}
RECORDS = sorted(path.parent for path in (HOME / "records").glob("*/*/summary.json"))


def test_the_page_is_made_of_the_records():
    assert (HOME / "RESULTS.md").read_text(encoding="utf-8") == report(
        HOME / "records", HOME, "python -m experiments report"
    ), "run python -m experiments report"


def told(row):
    return [row[name] for name in ("id", "statement", "own", "holds", "trivial", "why")]


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_recorded_claims_are_those_of_the_code(folder):
    """Whether each holds, measured anew on the recorded summary, and the reasons."""
    record = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    summary = {name: math.nan if value is None else value for name, value in record["summary"].items()}
    found = checked(load(ENTRIES[folder.parent.name]).claims, summary, folder.name)
    assert [told(row) for row in found] == [told(row) for row in record["claims"]]


def standing(claims):
    """In words, as in README's table."""
    run = [claim["holds"] for claim in claims if claim["holds"] is not None]
    missing = len(claims) - len(run)
    return f"{sum(run)} of {len(run)}" + (f", {missing} not run" if missing else "") if claims else "-"


def test_the_table_of_the_readme_has_every_record_as_it_is():
    rows = {}
    for line in (HOME.parent / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0].strip("`") in ENTRIES:
            rows[cells[0].strip("`"), cells[1]] = cells[3:6]
    wanted = {}
    for folder in RECORDS:
        claims = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["claims"]
        seeds = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["seeds"]
        parts = (standing([claim for claim in claims if claim["own"] == own]) for own in (False, True))
        wanted[folder.parent.name, folder.name] = [str(seeds), *parts]
    assert rows == wanted
