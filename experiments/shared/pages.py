"""Tables of README.md and of the pages on the papers, from the records: ``python -m experiments.shared.pages``.

A page is prose with marked blocks, into which the tables are written:

    <!-- papers -->                  the state of each paper
    <!-- records CITEKEY -->         the state of each record of a paper
    <!-- record ID PRESET -->        the command of a record, its claims, and its own table
    <!-- numbers ID PRESET: ROWS | COLUMNS -->    numbers of its summary: a column is a name with * for the row
    <!-- end -->
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plasticity_jax.command.report import (
    Record,
    cell,
    claims_of,
    held,
    mean_and_error,
    once,
    provenance,
    read_record,
    verdict,
)
from plasticity_jax.command.tables import number

HOME = Path(__file__).resolve().parents[1]
README = HOME.parent / "README.md"
PAGES = HOME.parent / "docs" / "papers"
BLOCK = re.compile(r"(<!-- (papers|numbers [^>]*?|records? [^>]*?) -->\n).*?(?=<!-- end -->)", re.DOTALL)
FIRST = ("benjamin2021", "bredenberg2021", "lansdell2019", "lindsey2020", "marschall2019")
"""Papers that the library began with."""

OPEN_LINES = 30
"""A record's own table is folded if it has more lines than that."""


def filled(text: str, records: Sequence[Record]) -> str:
    """The page with its marked blocks filled from the records.

    Args:
      text: the page.
      records: all records.

    Raises:
      ValueError: if a block names no record, or has no end.
    """
    if len(re.findall(r"<!-- (?:papers|numbers|records?) ", text)) != len(BLOCK.findall(text)):
        raise ValueError("a marked block has no end, <!-- end -->")
    return BLOCK.sub(lambda block: f"{block[1]}\n{_block(block[2], records)}\n\n", text)


def shown(text: str) -> list[tuple[str, str]]:
    """Id and preset of the records that a page shows, one for each of its blocks."""
    words = (name.split() for _, name in BLOCK.findall(text))
    return [(word[1], word[2]) for word in words if word[0] == "record"]


def all_records() -> list[Record]:
    """The committed records."""
    return [read_record(path.parent) for path in sorted((HOME / "records").glob("*/*/summary.json"))]


def _block(name: str, records: Sequence[Record]) -> str:
    name, _, cells = name.partition(":")
    kind, *words = name.split()
    if kind == "papers":
        return "\n".join(_papers(records))
    chosen = [record for record in records if words in ([record.paper], [*_place(record)])]
    if not chosen:
        raise ValueError(f"there is no record for the block <!-- {name} -->")
    if kind == "numbers":
        return "\n".join(_numbers(chosen[0], *(part.split() for part in cells.split("|"))))
    return "\n".join(_standings(chosen) if kind == "records" else _record(chosen[0]))


def _place(record: Record) -> tuple[str, str]:
    return record.folder.parent.name, record.folder.name


def _link(record: Record) -> str:
    return f"../../experiments/RESULTS.md#{record.anchor}"


def _papers(records: Sequence[Record]) -> Iterator[str]:
    yield "| paper | experiments | its claims that hold, reduced scale | its own scale | our own claims that hold |"
    yield "|---|---|---|---|---|"
    for page in sorted(PAGES.glob("*.md"), key=lambda page: (page.stem not in FIRST, page.stem)):
        of_paper = [record for record in records if record.paper == page.stem]
        scales = [[record for record in of_paper if record.at_paper_scale is full] for full in (False, True)]
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        cells = [
            f"[{title}](docs/papers/{page.name})",
            str(len({record.folder.parent.name for record in of_paper})),
            *(held([claim for _, claim in once(chosen, own=False)]) for chosen in scales),
            held([claim for _, claim in once(of_paper, own=True)]),
        ]
        yield f"| {' | '.join(cells)} |"


def _standings(records: Sequence[Record]) -> Iterator[str]:
    yield "| record | reproduces | seeds | the paper's claims that hold | our own |"
    yield "|---|---|---|---|---|"
    for record in records:
        name = record.label.removeprefix(f"{record.paper}_")
        title, scale = str(record.meta.get("title", "")).partition(":")[0], record.meta.get("scale")
        cells = [
            f"[{name}]({_link(record)})",
            f"**{title}**: {scale}" if scale else f"**{title}**",
            str(record.meta.get("seeds")),
            *(held(claims_of(record, own)) for own in (False, True)),
        ]
        yield f"| {' | '.join(map(cell, cells))} |"


def _record(record: Record) -> Iterator[str]:
    standing = "; ".join(
        f"{owner} {held(claims_of(record, own))}"
        for own, owner in ((False, "the paper's"), (True, "our own"))
        if claims_of(record, own)
    )
    yield f"`{_command(record)}`"
    yield ""
    yield provenance(record)
    yield ""
    yield f"Claims that hold: {standing}. [All claims and numbers]({_link(record)})."
    failed = [claim for claim in record.claims if claim["holds"] is False]
    if failed:
        yield from ("", "| does not hold | paper | ours | why |", "|---|---|---|---|")
        for claim in failed:
            cells = [_words(claim), number(claim["paper"]), number(claim["measured"]), claim.get("why") or "not known"]
            yield f"| {' | '.join(map(cell, cells))} |"
    rest = [claim for claim in record.claims if claim["holds"] is not False]
    if rest:
        head = ["| claim | paper | ours | holds |", "|---|---|---|---|"]
        rows = []
        for claim in rest:
            cells = [_words(claim), number(claim["paper"]), number(claim["measured"])]
            rows.append(f"| {' | '.join(map(cell, cells))} | {verdict(claim)} |")
        not_run = any(claim["holds"] is None for claim in rest)
        yield from _folded("What holds, and what was not run" if not_run else "What holds", [*head, *rows])
    for table in sorted(record.folder.glob("*.md")):
        lines = table.read_text(encoding="utf-8").strip().splitlines()
        yield from _folded("The numbers", lines) if len(lines) > OPEN_LINES else ["", *lines]


def _numbers(record: Record, rows: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    summary = record.summary["summary"]
    for part, names in [(row, [column.replace("*", row) for column in columns]) for row in rows] + [
        (column, [column.replace("*", row) for row in rows]) for column in columns
    ]:
        if not any(name in summary for name in names):
            raise ValueError(f"{record.label} has no number for {part}")
    yield f"| {' | '.join(['mean ± standard error', *(re.sub('/[*]|[*]/', '', column) for column in columns)])} |"
    yield f"|---|{'---|' * len(columns)}"
    for row in rows:
        names = [column.replace("*", row) for column in columns]
        cells = [mean_and_error(record, name) if name in summary else "-" for name in names]
        yield f"| `{row}` | {' | '.join(cells)} |"


def _command(record: Record) -> str:
    id, preset = _place(record)
    words = ["python -m experiments run", id, *([] if preset == "default" else ["--preset", preset])]
    for key, value in record.meta.get("overrides", {}).items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{key.replace('_', '-')}", *map(str, values)]
    return " ".join(words)


def _words(claim: Mapping[str, Any]) -> str:
    return f"{claim['statement']}{' (our own)' if claim.get('own') else ''}"


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


if __name__ == "__main__":
    records = all_records()
    for page in (README, *sorted(PAGES.glob("*.md"))):
        old = page.read_text(encoding="utf-8")
        new = filled(old, records)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"wrote {page}")
