"""Memory that a run needs, and memory that is available."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax

from plasticity_jax.run.record import RunError
from plasticity_jax.typing import PyTree

GIB = 1 << 30


def available(devices: Sequence[jax.Device]) -> int | None:  # pyright: ignore[reportInvalidTypeForm]
    """Bytes available on all devices together, or on the host if the devices are its cores; None if unknown."""
    if devices[0].platform == "cpu":
        return _of_host()
    limits = [device.memory_stats() or {} for device in devices]
    free = [limit["bytes_limit"] - limit.get("bytes_in_use", 0) for limit in limits if "bytes_limit" in limit]
    return sum(free) if len(free) == len(devices) else None


def size(tree: PyTree) -> int:
    """Bytes of the leaves of a tree of arrays, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def check_memory(what: str, needed: int, devices: Sequence[jax.Device]) -> None:  # pyright: ignore[reportInvalidTypeForm]
    """Refuses a run that does not fit into memory.

    Args:
      what: subject of the message, in the plural.
      needed: bytes.
      devices: the devices that need them.

    Raises:
      RunError: if fewer bytes are available.
    """
    free = available(devices)
    if free is not None and needed > free:
        raise RunError(
            f"{what} need {needed / GIB:.3g} GiB of memory, but {free / GIB:.3g} GiB can be had: "
            "take fewer seeds, smaller sizes or a smaller sub-batch"
        )


def _of_host() -> int | None:
    """Bytes that this process may still allocate: those of the machine, or of its control group if these are fewer."""
    limits = []
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        with_sysconf = getattr(os, "sysconf_names", {})
        if "SC_AVPHYS_PAGES" in with_sysconf:
            limits.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            limits.append(int(limit) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(limits, default=None)
