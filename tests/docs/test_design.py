"""The page on design has the laws and the floors of the code."""

import re
import tomllib
from pathlib import Path

from plasticity_jax.testing.report import STATEMENTS

ROOT = Path(__file__).resolve().parents[2]
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


def rows(heading):
    """First and last cells of the first table below a heading."""
    table = DESIGN.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [(row[0].strip(), row[-1].strip()) for row in cells[2:]]


def test_every_law_is_listed():
    laws = [law for law, _ in rows("Laws")]
    assert laws == [f"L{number}" for number in range(1, len(laws) + 1)]
    assert set(laws) - set(STATEMENTS) == {"L10", "L12"}  # laws that need more than a case
    assert set(STATEMENTS) <= set(laws)


def test_the_floors_are_those_of_the_import_linter():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    floors = next(contract for contract in contracts if contract["containers"] == ["plasticity_jax"])["layers"]
    wanted = [room.strip() for floor in floors for room in floor.split("|")]
    named = [room for _, rooms in rows("Floors") for room in re.findall(r"`(\w+)`", rooms)]
    assert set(named) == set(wanted)
    order = [next(i for i, floor in enumerate(floors) if room in floor.replace(" ", "").split("|")) for room in named]
    assert order == sorted(order), "the floors are out of order"
