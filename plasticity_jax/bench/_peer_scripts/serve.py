"""Talk between a script in a peer's environment and the bench: lines of JSON. NumPy and the standard library, no more.

    python SCRIPT probe                    one line: {"versions": {...}, "rules": {...}, "cells": {...}}
    python SCRIPT work IN.npz OUT.npz CORE  {"mb": ...} when it is compiled and OUT.npz is written, and then for each
                                           line with a number on stdin so many rounds: {"seconds": ..., "mb": ...}

IN.npz holds arrays, and as JSON under "what" the rest; OUT.npz what both sides must agree on. Seconds are the process's
own on the processor; mb is the most memory that it has held so far, its imports included. What a package prints goes to
stderr.
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
"""``(what, arrays) -> (results, round)``; it has called the round once, and the round waits for its own end."""


def serve(build: Build, packages: Mapping[str, Any]) -> None:
    """Does what the command line asks for.

    Args:
      build: makes the work.
      packages: "versions", names of distributions; "rules" and "cells", for each of ours where the peer has its own, as
        ``package.module:name`` or, where nothing is to be looked up, any text.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(**line: Any) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    if sys.argv[1] == "probe":
        tell(**probe(packages))
        return
    given, results, core = sys.argv[2:]
    one_thread(int(core))
    with np.load(given) as file:
        arrays = {name: file[name] for name in file.files}
    found, once = build(json.loads(str(arrays.pop("what"))), arrays)
    kept: Arrays = {name: np.asarray(value) for name, value in found.items()}
    np.savez(results, **kept)
    tell(mb=megabytes())
    for line in sys.stdin:
        begun = time.process_time()
        for _ in range(int(line)):
            once()
        tell(seconds=time.process_time() - begun, mb=megabytes())


def probe(packages: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, and which of the names are there."""
    versions = {name: importlib.metadata.version(name) for name in packages["versions"]}
    has = {
        kind: {ours: theirs.partition(":")[2] or theirs for ours, theirs in packages[kind].items() if is_there(theirs)}
        for kind in ("rules", "cells")
    }
    return {"versions": {**versions, "python": platform.python_version()}, **has}


def is_there(name: str) -> bool:
    """Returns whether ``package.module:name`` is to be had, be it a module of its own; text without a colon is."""
    module, colon, path = name.partition(":")
    if not colon:
        return True
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part, None) or importlib.import_module(f"{module}.{part}")
    except ImportError:
        return False
    return True


def one_thread(core: int) -> None:
    """Keeps the process on a core, before anything counts how many there are."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def megabytes() -> float:
    """The most memory that the process has held; Linux's getrusage has that of the process that started it, too."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as file:
            peak = [line for line in file if line.startswith("VmHWM:")]
        if peak:
            return int(peak[0].split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
