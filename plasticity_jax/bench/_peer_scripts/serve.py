"""Protocol between a script in a peer's environment and the bench: lines of JSON. It needs only NumPy.

    python SCRIPT probe                    one line: {"versions": {...}, "rules": {...}, "cells": {...}}
    python SCRIPT work IN.npz OUT.npz CORE  {"mb": ...} when it is compiled and OUT.npz is written, and then for each
                                           line with a number on stdin so many rounds: {"seconds": ..., "mb": ...}

IN.npz holds the arrays of the work, and its other settings as JSON under "what"; OUT.npz holds the results, on which
both sides must agree. Seconds are processor seconds of the process; mb is its peak memory so far, imports included.
Output that packages print goes to stderr.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, Any]
Build: TypeAlias = Callable[[Mapping[str, Any], Arrays], tuple[Arrays, Callable[[], Any]]]
"""``(what, arrays) -> (results, round)``; the round has been called once, and returns only when it is finished."""


def serve(build: Build, packages: Mapping[str, Any]) -> None:
    """Runs the command line.

    Args:
      build: makes the work.
      packages: "versions", names of distributions; "rules" and "cells", for each of our names the peer's own, as
        ``package.module:name``, or as text if it is not to be looked up.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def write(**line: Any) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    if sys.argv[1] == "probe":
        write(**probe(packages))
        return
    inputs, outputs, core = sys.argv[2:]
    one_thread(int(core))
    with np.load(inputs) as file:
        arrays = {name: file[name] for name in file.files}
    results, once = build(json.loads(str(arrays.pop("what"))), arrays)
    host_arrays: Arrays = {name: np.asarray(value) for name, value in results.items()}
    np.savez(outputs, **host_arrays)
    write(mb=megabytes())
    for line in sys.stdin:
        start = time.process_time()
        for _ in range(int(line)):
            once()
        write(seconds=time.process_time() - start, mb=megabytes())


def probe(packages: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, and the rules and cells that can be imported."""
    versions = {name: importlib.metadata.version(name) for name in packages["versions"]}
    has = {
        kind: {ours: theirs.partition(":")[2] or theirs for ours, theirs in packages[kind].items() if is_there(theirs)}
        for kind in ("rules", "cells")
    }
    return {"versions": {**versions, "python": platform.python_version()}, **has}


def is_there(name: str) -> bool:
    """Returns whether ``package.module:name`` can be imported, as a member or as a module; true without a colon."""
    module, colon, path = name.partition(":")
    if not colon:
        return True
    try:
        member = importlib.import_module(module)
        for part in path.split("."):
            member = getattr(member, part, None) or importlib.import_module(f"{module}.{part}")
    except ImportError:
        return False
    return True


def one_thread(core: int) -> None:
    """Keeps the process on one core; called before a package counts the cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def megabytes() -> float:
    """Peak memory of the process; Linux's getrusage is not used, as it includes that of the parent process."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as file:
            peak = [line for line in file if line.startswith("VmHWM:")]
        if peak:
            return int(peak[0].split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
