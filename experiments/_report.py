"""RESULTS.md out of the committed records: nothing in it is typed in by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments._catalog import CliError, one_line


def report(records: Path) -> str:
    """The text of RESULTS.md.

    Args:
      records: the folder that holds ``ID/PRESET/{summary,meta,config}.json``; the text is meant to lie beside it.

    Returns:
      Markdown, the same for the same records.

    Raises:
      CliError: if a record cannot be read.
    """
    read = [_read(path.parent) for path in sorted(records.glob("*/*/summary.json"))]
    claims = [claim for _, record in read for claim in record["summary"]["claims"]]
    holding = sum(claim["holds"] for claim in claims)
    lines = [
        "# Results",
        "",
        "Written by `python -m experiments report` from `experiments/records/`; do not edit by hand.",
        f"{len(read)} records, {holding} of {len(claims)} claims hold.",
    ]
    for folder, record in read:
        lines += ["", *_section(folder, record, records)]
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> tuple[Path, dict[str, Any]]:
    record = {}
    for name in ("summary", "meta", "config"):
        path = folder / f"{name}.json"
        try:
            record[name] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CliError(f"cannot read {path} ({one_line(error)}): run the experiment again with --record") from error
    return folder, record


def _section(folder: Path, record: Mapping[str, Any], records: Path) -> list[str]:
    summary, meta = record["summary"], record["meta"]
    name, preset = folder.parent.name, folder.name
    lines = [f"## {name}, {preset}", "", str(meta.get("title", "")), "", _provenance(record, meta)]
    if summary["claims"]:
        lines += ["", "| claim | paper | ours | holds |", "|---|---|---|---|"]
        for claim in summary["claims"]:
            holds = "yes" if claim["holds"] else "**no**"
            words = f"{_cell(claim['statement'])} (`{claim['id']}`)"
            lines.append(f"| {words} | {_number(claim['paper'])} | {_number(claim['measured'])} | {holds} |")
    values = summary["summary"]
    shown = [key for key in values if not (key.endswith("_sem") and key.removesuffix("_sem") in values)]
    if shown:
        lines += ["", f"| measured over {meta.get('seeds')} seeds | value |", "|---|---|"]
        for key in shown:
            error = f" ± {_number(values[f'{key}_sem'])}" if f"{key}_sem" in values else ""
            lines.append(f"| {_cell(key)} | {_number(values[key])}{error} |")
    for table in sorted(folder.glob("*.md")):
        lines += ["", table.read_text().strip()]
    for picture in sorted(path for path in folder.iterdir() if path.suffix in (".png", ".gif")):
        lines += ["", f"![{picture.stem}]({picture.relative_to(records.parent).as_posix()})"]
    return lines


def _provenance(record: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    words = [
        f"{meta.get('seeds')} seeds",
        f"{meta.get('device_count')} x {meta.get('device')}",
        f"{_number(meta.get('wall_seconds'))} s",
        f"{_number(meta.get('steps_per_second'))} steps/s",
        f"jax {meta.get('versions', {}).get('jax')}",
        f"commit {(meta.get('commit') or 'unknown')}",
    ]
    changed = ", ".join(f"{key}={value}" for key, value in sorted(meta.get("overrides", {}).items()))
    return "; ".join(words) + (f". Changed from the preset: {changed}." if changed else ".")


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, int | float) and not isinstance(value, bool) else _cell(str(value))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
