"""Page of supported versions: it has the lowest versions of pyproject.toml."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_lowest_versions_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", line).groups() for line in project["dependencies"])
    wanted["Python"] = project["requires-python"].removeprefix(">=")
    page = (ROOT / "docs" / "supported.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", page, re.MULTILINE)) == wanted
