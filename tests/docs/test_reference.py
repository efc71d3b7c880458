"""API reference: every public name has one entry."""

import re
from collections import Counter

from tests.docs.pages import ROOT

LIST = ROOT / "tests/public_names.txt"
OPENED = re.compile(r"(?m)^\.\. public:: (\S+)\n\n((?:   \S+\n|\n)+)")
ROOMS = re.compile(r"(?m)^\.\. py:module:: (\S+)$")


def documented(text):
    """Names with an entry on a page of the reference."""
    names = [f"{room}.{name}" for room, listed in OPENED.findall(text) for name in listed.split()]
    return names + ROOMS.findall(text)


def test_every_public_name_is_in_the_reference():
    names = Counter()
    for page in (ROOT / "docs/api").rglob("*.rst"):
        names.update(documented(page.read_text(encoding="utf-8")))
    listed = set(LIST.read_text(encoding="utf-8").split())
    new = sorted(listed - set(names))
    assert not new, f"give an entry to {', '.join(new)}: a line below '.. public::' on the room's page in docs/api"
    rooms = {name.rpartition(".")[0] for name in listed} | listed
    gone = sorted(name for name in names if name.rpartition(".")[0] in rooms and name not in rooms)
    assert not gone, f"no longer public, but in docs/api: {', '.join(gone)}"
    assert [name for name, times in names.items() if times > 1] == []


def test_entries_are_read():
    page = """
Cells
=====

.. py:module:: a.b

Text.

.. public:: a.b

   c
   d

More
----

.. public:: e

   f
"""
    assert documented(page) == ["a.b.c", "a.b.d", "e.f", "a.b"]
