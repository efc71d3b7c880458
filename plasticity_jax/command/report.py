"""RESULTS.md, written from the records: the claims first, paper by paper, and no number typed by hand."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from plasticity_jax.command import tables
from plasticity_jax.command.errors import CliError, one_line
from plasticity_jax.command.tables import changed, main_names, number

STATES = ("reproduced at paper scale", "reproduced at reduced scale", "does not hold", "not run")


class Record(NamedTuple):
    """A run's folder and the contents of its JSON files."""

    folder: Path
    summary: Mapping[str, Any]
    meta: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def paper(self) -> str:
        """The paper's citekey, from an id such as ``author2020_figure``; otherwise the experiment's id."""
        name = self.folder.parent.name
        return name.partition("_")[0] if re.match(r"[a-z]+\d{4}[a-z]?_", name) else name

    @property
    def claims(self) -> Sequence[Mapping[str, Any]]:
        """The claims' rows."""
        return self.summary["claims"]

    @property
    def at_paper_scale(self) -> bool:
        """Returns whether it is the preset ``paper``, with no change except the seeds and the selection of parts."""
        changed = self.meta.get("overrides", {}).keys() - {"seeds", *self.meta.get("selects", ())}
        return self.meta.get("preset", self.folder.name) == "paper" and not changed

    @property
    def label(self) -> str:
        """Id and preset."""
        return f"{self.folder.parent.name}, {self.folder.name}"

    @property
    def anchor(self) -> str:
        """Anchor of its heading on the page of results."""
        return re.sub(r"[^a-z0-9_ -]", "", self.label.lower()).replace(" ", "-")


def report(records: Path, home: Path, command: str) -> str:
    """The text of RESULTS.md.

    Args:
      records: the folder that holds ``ID/PRESET/{summary,meta,config}.json``.
      home: the folder of RESULTS.md.
      command: the command that writes it, for its first lines.

    Returns:
      Markdown, the same for the same records.

    Raises:
      CliError: if a record cannot be read.
    """
    listed = [read_record(path.parent) for path in sorted(records.glob("*/*/summary.json"))]
    try:
        return _text(listed, home, command)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise CliError(f"a record in {records} lacks what a run writes ({one_line(error)}): run it again") from error


def _text(records: Sequence[Record], home: Path, command: str) -> str:
    claims = [claim for own in (False, True) for _, claim in once(records, own)]
    lines = [
        "# Results",
        "",
        f"Written by `{command}`; do not edit by hand.",
        f"{len(records)} records; of {len(claims)} claims {_tally(claims)}. A claim in several records counts once, in "
        "the one nearest to the original's scale.",
        "",
        f"| claims | {' | '.join(STATES)} |",
        f"|---|{'---|' * len(STATES)}",
    ]
    papers = sorted({record.paper for record in records})
    for paper in papers:
        for own, whose in ((False, paper), (True, f"{paper}, our own")):
            rows = once([record for record in records if record.paper == paper], own)
            if rows:
                counted = [sum(_standing(*row) == state for row in rows) for state in STATES]
                lines.append(f"| {whose} | {' | '.join(map(str, counted))} |")
    lines += ["", *_standings(records)]
    for paper in papers:
        lines += ["", f"## {paper}"]
        for record in [record for record in records if record.paper == paper]:
            lines += ["", *_section(record, home)]
    return "\n".join(lines) + "\n"


def _standings(records: Sequence[Record]) -> list[str]:
    """A table with a row for each record: the figure, the scale, and the counts of claims that hold."""
    lines = [
        "| record | reproduces | scale | seeds | the paper's claims | our own |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        words = [word for word in (record.meta.get("scale"), changed(record.meta)) if word]
        cells = [
            f"[{record.label}](#{record.anchor})",
            str(record.meta.get("title", "")).partition(":")[0],
            "; ".join(words),
            str(record.meta.get("seeds")),
            *(held(claims_of(record, own)) for own in (False, True)),
        ]
        lines.append(f"| {' | '.join(map(cell, cells))} |")
    return lines


def held(claims: Sequence[Mapping[str, Any]]) -> str:
    """Numbers of claims that hold, that were run and that were not run, in words; "-" if there is no claim."""
    if not claims:
        return "-"
    missing = sum(claim["holds"] is None for claim in claims)
    held = sum(claim["holds"] is True for claim in claims)
    counts = f"{held} of {len(claims) - missing}" if missing < len(claims) else "none run"
    return counts + (f", {missing} not run" if 0 < missing < len(claims) else "")


def read_record(folder: Path) -> Record:
    """The record in a folder.

    Raises:
      CliError: if one of its files is missing, or no JSON.
    """
    record = {}
    for name in ("summary", "meta", "config"):
        path = folder / f"{name}.json"
        try:
            record[name] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CliError(f"cannot read {path} ({one_line(error)}): run the experiment again with --record") from error
    return Record(folder, **record)


def claims_of(record: Record, own: bool) -> Sequence[Mapping[str, Any]]:
    """The rows of our own claims, or of the paper's."""
    return [claim for claim in record.claims if claim.get("own", False) == own]


def once(records: Iterable[Record], own: bool) -> list[tuple[Record, Mapping[str, Any]]]:
    """Our own claims or the paper's, each once: from the record nearest to the paper's scale of those that ran it."""
    chosen: dict[tuple[str, str], tuple[Record, Mapping[str, Any]]] = {}
    for record in sorted(records, key=_nearness):
        for claim in claims_of(record, own):
            place = record.folder.parent.name, claim["id"]
            if place not in chosen or claim["holds"] is not None:
                chosen[place] = record, claim
    return list(chosen.values())


def _nearness(record: Record) -> tuple[bool, bool, bool]:
    preset = record.meta.get("preset", record.folder.name)
    return record.at_paper_scale, preset == "paper", preset not in ("smoke", "default")


def _standing(record: Record, claim: Mapping[str, Any]) -> str:
    """One of `STATES`."""
    if claim["holds"] is None:
        return STATES[3]
    if not claim["holds"]:
        return STATES[2]
    return STATES[0] if record.at_paper_scale else STATES[1]


def _tally(claims: Sequence[Mapping[str, Any]]) -> str:
    held, failed = (sum(claim["holds"] is state for claim in claims) for state in (True, False))
    trivial = sum(bool(claim["holds"] and claim.get("trivial")) for claim in claims)
    words = [f"{held} hold", f"{failed} do not", f"{len(claims) - held - failed} were not run"]
    return ", ".join(words) + (f"; {trivial} of those that hold, a trivial baseline meets too" if trivial else "")


def _section(record: Record, home: Path) -> list[str]:
    lines = [f"### {record.label}", "", str(record.meta.get("title", "")), "", provenance(record)]
    if record.claims:
        lines += ["", "| claim | paper | ours | holds |", "|---|---|---|---|"]
        for claim in record.claims:
            whose = ", ours" if claim.get("own") else ""
            words = f"{cell(claim['statement'])} (`{claim['id']}`{whose})"
            lines.append(
                f"| {words} | {cell(number(claim['paper']))} | {number(claim['measured'])} | {verdict(claim)} |"
            )
    for table in sorted(record.folder.glob("*.md")):
        lines += ["", table.read_text(encoding="utf-8").strip()]
    for picture in sorted(path for path in record.folder.iterdir() if path.suffix in (".png", ".gif")):
        lines += ["", f"![{picture.stem}]({picture.relative_to(home).as_posix()})"]
    return lines + _fold(record)


def verdict(claim: Mapping[str, Any]) -> str:
    """Verdict on a claim, and the reason if it does not hold, in Markdown."""
    if claim["holds"] is None:
        return "not run"
    if not claim["holds"]:
        return f"**no**: {cell(claim['why'])}" if claim.get("why") else "**no**"
    return f"yes, {tables.TRIVIAL}" if claim.get("trivial") else "yes"


def _fold(record: Record) -> list[str]:
    """All numbers of the summary, in a block that the reader can unfold."""
    names = main_names(record.summary["summary"])
    if not names:
        return []
    lines = ["", f"<details><summary>{len(names)} numbers, over {record.meta.get('seeds')} seeds</summary>", ""]
    lines += ["| measured | mean ± standard error |", "|---|---|"]
    lines += [f"| {cell(name)} | {mean_and_error(record, name)} |" for name in names]
    return [*lines, "", "</details>"]


def mean_and_error(record: Record, key: str) -> str:
    """A number of a record's summary with its standard error, and the number of its seeds if some of them diverged."""
    return tables.mean_and_error(record.summary["summary"], key, record.meta.get("seeds"))


def provenance(record: Record) -> str:
    """Seeds, device, time, versions, scale and tuning of a record, in sentences."""
    meta = record.meta
    words = [
        f"{meta.get('seeds')} seeds",
        f"{meta.get('device_count')} x {meta.get('device')}",
        f"{number(meta.get('wall_seconds'))} s",
        f"{number(meta.get('steps_per_second'))} steps/s",
        f"jax {meta.get('versions', {}).get('jax')}",
        f"commit {(meta.get('commit') or 'unknown')}",
    ]
    lines = ["; ".join(words) + "."]
    stated = {"Scale": meta.get("scale"), "Tuned": meta.get("tuned")}
    lines += [f"{word}: {_sentence(text)}" for word, text in stated.items() if text]
    if other := changed(meta):
        lines.append(_sentence(other[0].upper() + other[1:]))
    return " ".join(lines)


def _sentence(text: str) -> str:
    return text.rstrip(". ") + "."


def cell(text: str) -> str:
    """A text that can stand in a cell of a table in Markdown."""
    return " ".join(text.split()).replace("|", "\\|")
