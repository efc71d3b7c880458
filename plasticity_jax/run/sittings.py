"""Sittings of a run, one for each time that it was started or resumed: chunks, code, devices, lanes at a time."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from plasticity_jax.run.record import NOT_CODE, commit, versions

Sitting = Mapping[str, Any]


def sitting(chunks_before: int, lanes_at_a_time: int, devices: Sequence[Any]) -> dict[str, Any]:
    """The record of a sitting that begins now.

    Args:
      chunks_before: number of chunks that were done before.
      lanes_at_a_time: width of the vmap, on which rounding depends.
      devices: the devices that it may use.
    """
    return {
        "chunks_before": chunks_before,
        "commit": _commit(),
        "versions": versions(),
        "lanes_at_a_time": lanes_at_a_time,
        "device": devices[0].device_kind,
        "device_count": len(devices),
    }


def change(before: Sitting, now: Sitting) -> str:
    """Differences between two sittings that may change numbers, in words; empty if there are none."""
    then, here = (
        {
            "commit": _short(each["commit"]),
            **each["versions"],
            "lanes at a time": each["lanes_at_a_time"],
            "device": each["device"],
        }
        for each in (before, now)
    )
    return ", ".join(f"{name} was {then.get(name)}, now {here[name]}" for name in here if then.get(name) != here[name])


def merged(sittings: Mapping[str, Sequence[Sitting]]) -> list[dict[str, Any]]:
    """The sittings of several runs as one list; sittings that differ only in their chunks share an entry.

    Args:
      sittings: the sittings of each run, by its name.

    Returns:
      The sittings, with "chunks_before" as a mapping by run.
    """
    entries: list[dict[str, Any]] = []
    for name, of_run in sittings.items():
        for each in of_run:
            rest = {key: value for key, value in each.items() if key != "chunks_before"}
            same = [entry for entry in entries if rest == {key: entry[key] for key in rest}]
            entry = next((entry for entry in same if name not in entry["chunks_before"]), None)
            if entry is None:
                entry = {"chunks_before": {}, **rest}
                entries.append(entry)
            entry["chunks_before"][name] = each["chunks_before"]
    return entries


@functools.cache  # a process keeps running the code that it has imported
def _commit() -> str | None:
    return commit(NOT_CODE)


def _short(commit: str | None) -> str | None:
    return commit and commit[:12] + commit[40:]
