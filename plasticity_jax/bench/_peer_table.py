"""Results of the bench of peers as a page in Markdown: the works side by side, and the rules and cells of each peer."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from plasticity_jax import meta, rules
from plasticity_jax.base import LearningRule

Rows = Mapping[str, Mapping[str, Any]]

CAPTION = """\
Both sides do the same work with the same weights and inputs, in single precision, each in a process of its own on one
core, in turns. Rates are per second of processor time. "Times" is the ratio of the medians of alternated pairs, ours
over theirs; "spread" is the largest ratio of a pair over the smallest. If other programs share the machine,
differences smaller than the spread mean nothing. Memory is the peak of a process, including its imports and its
compiler. Streams share their weights. The difference of gradients, at fixed weights, is the largest difference over
the largest gradient; that of learned weights is the largest difference over the largest change. D_RTRL propagates a
neuron's influence by its own derivative, without recurrent synapses, which is `rflo`; on spiking neurons it is
e-prop, and braintrace's neurons are given the constants that make their equations equal ours. EProp adds the filter
of a leaky readout, which is outside of the neurons there."""

TWICE = """\
On the LSTM braintrace gives the gates of the memory twice the gradient, from the first step on, while ours agrees
with autodiff: braintrace counts the part that reaches the loss through the output both in the memory's credit and in
the output's trace."""


def page(result: Mapping[str, Any]) -> str:
    """The page.

    Args:
      result: the result of ``plasticity bench peers``, as in its JSON.

    Returns:
      Markdown; all its numbers are from the result.

    Raises:
      ValueError: if the result is not of this family.
    """
    rows: Rows | None = result.get("peers")
    if not isinstance(rows, Mapping) or "machine" not in rows:
        raise ValueError("no result of the bench of peers: make one by plasticity bench peers --out FILE")
    machine, library = rows["machine"], result.get("machine", {})
    installed = {name: row for name, row in rows.items() if "versions" in row}
    works = {name: row for name, row in rows.items() if "times_peer" in row}
    missing = {name: row["not_measured"] for name, row in rows.items() if "not_measured" in row}
    mode = ", quick: a few small works, too short to judge by" if result.get("quick") else ""
    versions = {"plasticity_jax": library.get("versions", {}) | {"commit": library.get("commit")}}
    versions |= {name: row["versions"] for name, row in installed.items()}
    parts = [
        "# Peers",
        f"Written by `plasticity bench peers --table FILE` on {machine['date']}, on one core of {machine['processor']}"
        f"{mode}. The same command on an idle machine makes it anew.",
        table(["", "versions"], [[name, _versions(of)] for name, of in versions.items()]),
    ]
    if works:
        twice = any(row["cell"] == "lstm" and row.get("gradients_differ_by", 0) > 0.1 for row in works.values())
        caption = f"{CAPTION} {TWICE}" if twice else CAPTION
        parts += ["## The same work", table(HEAD, [_work(row) for row in works.values()]), caption]
    if installed:
        parts += ["## Who has which rule", _has(installed, "rules", factories()), OWN_NAMES]
        cells = dict.fromkeys(name for row in installed.values() for name in row["cells"])
        parts += ["## Who has which cell or layer", _has(installed, "cells", list(cells))]
    if missing:
        parts += ["## Not measured", table(["", "why"], [[name, why] for name, why in missing.items()])]
    return "\n\n".join(parts) + "\n"


OWN_NAMES = """\
Each entry is the peer's own name, looked up in the installed version; - means that it has none. A rule of braintrace
works with any of its cells, and one of ours with any of our cells of its tier; PyTorch's autograd differentiates any
model built with it."""

HEAD = [
    "peer",
    "rule",
    "theirs",
    "on",
    "unit",
    "ours a second",
    "theirs a second",
    "times",
    "spread",
    "MB, ours",
    "MB, theirs",
    "gradients differ by",
    "learned weights differ by",
]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).replace("|", "/").split()) for cell in row) + " |" for row in rows
    )


def read_table(text: str, heading: str) -> list[dict[str, str]]:
    """The rows of the table under a heading of a page, by column; none if there is no such heading."""
    _, separator, rest = text.partition(f"## {heading}\n")
    lines = [line for line in rest.split("\n## ")[0].splitlines() if line.startswith("| ")] if separator else []
    cells = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def _work(row: Mapping[str, Any]) -> list[str]:
    size = f"n={row['n']}, streams={row['streams']}" if "n" in row else row["size"]
    numbers = (_rate(row["ours_per_s"]), _rate(row["peer_per_s"]), f"{row['times_peer']:.2f}", f"{row['spread']:.2f}")
    agree = row.get("not_compared", "-")
    differ = (f"{row[key]:.1g}" if key in row else agree for key in ("gradients_differ_by", "learned_differ_by"))
    memory = (f"{row[key]:.0f}" for key in ("ours_mb", "peer_mb"))
    return [row["peer"], row["rule"], row["theirs"], f"{row['cell']}, {size}", row["unit"], *numbers, *memory, *differ]


def _rate(value: float) -> str:
    """Three digits of a rate, with k for thousands and M for millions."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _versions(of: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in of.items() if version)


def factories() -> list[str]:
    """Names of all functions that return a rule of a cell, a net or a life."""
    names = {name for room in (rules, meta) for name in room.__all__ if _returns_a_rule(getattr(room, name))}
    return sorted(names - {"online_rule", "feedback_rule", "windowed_rule", "local_rule"})  # which build other rules


def _returns_a_rule(member: Any) -> bool:
    return inspect.isfunction(member) and member.__annotations__.get("return") is LearningRule


def _has(installed: Rows, kind: str, names: Sequence[str]) -> str:
    """A table of our names and each peer's; names that no peer has are listed in a line at the end."""
    lines, alone = [], []
    for name in names:
        theirs = [row[kind].get(name, "-") for row in installed.values()]
        if set(theirs) == {"-"}:
            alone.append(name)
        else:
            lines.append([f"`{name}`", *theirs])
    text = table(["ours", *installed], lines)
    return text + (f"\n\nNo peer here is known to have {', '.join(f'`{name}`' for name in alone)}." if alone else "")
