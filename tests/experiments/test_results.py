"""The page of results matches the committed records, and their claims match the code."""

import collections
import json
import math
import re
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


def stated_fields(row):
    return [row[name] for name in ("id", "statement", "own", "holds", "trivial", "why")]


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_recorded_claims_are_those_of_the_code(folder):
    """Verdicts, measured anew on the recorded summary, and reasons are the recorded ones."""
    record = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    summary = {name: math.nan if value is None else value for name, value in record["summary"].items()}
    rows = checked(load(ENTRIES[folder.parent.name]).claims, summary, folder.name)
    assert [stated_fields(row) for row in rows] == [stated_fields(row) for row in record["claims"]]


def standing(claims):
    """Counts in words, as in README's table."""
    run = [claim["holds"] for claim in claims if claim["holds"] is not None]
    missing = len(claims) - len(run)
    return f"{sum(run)} of {len(run)}" + (f", {missing} not run" if missing else "") if claims else "-"


def test_the_table_of_the_readme_counts_every_record():
    """Counts are by paper: its claims at a reduced scale and at its own, and ours at any, each once."""
    rows = {}
    for line in (HOME.parent / "README.md").read_text(encoding="utf-8").splitlines():
        if page := re.match(r"\| \[[^]]+\]\(docs/papers/(\w+)\.md\) \|", line):
            rows[page[1]] = [cell.strip() for cell in line.strip("|").split("|")[1:]]
    counted = collections.defaultdict(lambda: (set(), {}, {}, {}))
    for folder in sorted(
        RECORDS, key=lambda folder: ("default", "omniglot", "wide", "long", "paper").index(folder.name)
    ):
        claims = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["claims"]
        changed = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["overrides"]
        full = folder.name == "paper" and set(changed) <= {"seeds", "methods", "sigmas"}
        ids, reduced, own_scale, own = counted[folder.parent.name.split("_")[0]]
        ids.add(folder.parent.name)
        for claim in claims:
            group, name = own if claim["own"] else own_scale if full else reduced, (folder.parent.name, claim["id"])
            if claim["holds"] is not None or name not in group:
                group[name] = claim
    assert rows == {
        paper: [str(len(ids)), *(standing(list(group.values())) for group in (reduced, own_scale, own))]
        for paper, (ids, reduced, own_scale, own) in counted.items()
    }
