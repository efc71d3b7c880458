"""Pages on the papers show every committed record as it is, and their pictures exist."""

import re

import pytest

from experiments.shared.pages import PAGES, README, all_records, filled, shown

FILES = {path.stem: path for path in sorted(PAGES.glob("*.md"))}
FILLED = {**FILES, "README": README}
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def records():
    return all_records()


@pytest.mark.parametrize("name", FILLED)
def test_tables_agree_with_the_records(name, records):
    text = FILLED[name].read_text(encoding="utf-8")
    assert text == filled(text, records), "run python -m experiments.shared.pages"


@pytest.mark.parametrize("name", FILES)
def test_pictures_exist_and_are_described(name):
    pictures = PICTURE.findall(FILES[name].read_text(encoding="utf-8"))
    assert pictures
    for words, place in pictures:
        assert (PAGES / place).is_file(), place
        assert len(words.split()) > 4, place


def test_every_record_has_its_place(records):
    """Each record is on the page of its paper, once."""
    for name, path in FILES.items():
        wanted = [(record.folder.parent.name, record.folder.name) for record in records if record.paper == name]
        assert sorted(shown(path.read_text(encoding="utf-8"))) == wanted
    assert {record.paper for record in records} == set(FILES)


def test_only_the_blocks_are_rewritten(records):
    record = records[0]
    name = f"record {record.folder.parent.name} {record.folder.name}"
    page = filled(f"Before.\n\n<!-- {name} -->\nstale\n<!-- end -->\n\nAfter.\n", records)
    assert "stale" not in page
    assert page.startswith("Before.\n\n<!-- record")
    assert page.endswith("<!-- end -->\n\nAfter.\n")
    for claim in record.claims:
        assert f"| {claim['statement']}" in page.replace("\\|", "|")
    with pytest.raises(ValueError, match="no record for the block <!-- record none default -->"):
        filled("<!-- record none default -->\n<!-- end -->\n", records)
    with pytest.raises(ValueError, match="no end"):
        filled(f"<!-- {name} -->\nand nothing more\n", records)


def test_numbers_of_a_record_by_row_and_column(records):
    record = next(record for record in records if record.label == "marschall2019_fig1, paper")
    block = "<!-- numbers marschall2019_fig1 paper: kernl rflo | add/run/* long/exact/* -->"
    page = filled(f"{block}\n<!-- end -->\n", records)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    mean, error = record.summary["summary"]["add/run/kernl"], record.summary["summary"]["add/run/kernl_sem"]
    assert rows[0][1:] == ["add/run", "long/exact"]
    assert rows[2] == ["`kernl`", f"{mean:.4g} ± {error:.4g} (19 of 20 seeds)", "-"]
    with pytest.raises(ValueError, match="has no number for add/none/"):
        filled(f"{block.replace('long/exact', 'add/none')}\n<!-- end -->\n", records)
