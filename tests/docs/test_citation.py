"""CITATION.cff has the version of the package."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def version(file, pattern):
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]


def test_the_citation_has_this_version():
    assert version("CITATION.cff", r"^version: (\S+)$") == version("pyproject.toml", r'^version = "([^"]+)"')
