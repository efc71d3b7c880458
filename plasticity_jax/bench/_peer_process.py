"""Processes of the bench of peers: a script in a peer's environment, ours beside it, and both in turns on one core."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SCRIPTS = Path(__file__).parent / "_peer_scripts"
ROUND_S = 0.3
"""Processor seconds of a round, at least."""

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTHONWARNINGS": "ignore",
}


class PeerError(RuntimeError):
    """One line that says what went wrong with a peer."""


class Side(NamedTuple):
    """Who does the work.

    Attributes:
      name: what messages call it.
      python: of its environment.
      script: that it runs.
    """

    name: str
    python: Path
    script: Path


class Pairs(NamedTuple):
    """Times, memory and results of a work.

    Attributes:
      ratio: of the medians, theirs over ours.
      ours_s: median processor seconds of a round.
      theirs_s: likewise.
      spread: largest over smallest ratio of a pair.
      ours_mb: the most memory that the process held.
      theirs_mb: likewise.
      ours: arrays that it left.
      theirs: likewise.
    """

    ratio: float
    ours_s: float
    theirs_s: float
    spread: float
    ours_mb: float
    theirs_mb: float
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]


class Worker:
    """A script at work, which answers a line with a line; a context that ends it."""

    def __init__(self, side: Side, *arguments: str):
        """Starts it; see `_peer_scripts.serve`."""
        self.name, self.errors = side.name, tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        try:
            self.process = subprocess.Popen(
                [str(side.python), str(side.script), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                errors="replace",
                env={**os.environ, **ENVIRONMENT},
            )
        except OSError as error:
            self.errors.close()
            raise PeerError(f"{side.name}: {side.python} does not start: {error.strerror}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_: object):
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def ask(self, line: str | None = None) -> dict[str, Any]:
        """The next answer, to a line if there is one.

        Raises:
          PeerError: if the process ends instead, or answers what is not an object of JSON.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            if line is not None:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self.process.wait()
            self.errors.seek(0)
            said = [text.strip() for text in self.errors if text.strip()]
            raise PeerError(f"{self.name}: its script ended with {code}: {said[-1] if said else 'and said nothing'}")
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise PeerError(f"{self.name}: its script answered {answer.strip()[:80]!r}, which is not an object of JSON")
        return found


def ours() -> Side:
    """This library's side, in this Python."""
    return Side("plasticity_jax", Path(sys.executable), SCRIPTS / "ours.py")


def probe(side: Side) -> dict[str, Any]:
    """Versions of a peer, and what it has.

    Raises:
      PeerError: if its script fails, or answers something else.
    """
    with Worker(side, "probe") as worker:
        found = worker.ask()
    if missing := [key for key in ("versions", "rules", "cells") if not isinstance(found.get(key), dict)]:
        raise PeerError(f"{side.name}: its script answered without {', '.join(missing)}")
    return found


def in_pairs(ours: Side, theirs: Side, what: Mapping[str, Any], arrays: Mapping[str, Any], pairs: int) -> Pairs:
    """Has both sides do a work, in turns, on the first core that this process may use.

    Args:
      ours: the library's side; its arrays that begin with "given/" go to the other.
      theirs: the peer's.
      what: the work, JSON-able.
      arrays: its parameters and inputs.
      pairs: of rounds, each as many calls as take `ROUND_S`.

    Returns:
      Medians, memory and results.

    Raises:
      PeerError: if a side fails.
    """
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers, results = [], []
        for number, side in enumerate((ours, theirs)):
            given, out = (str(Path(folder) / f"{kind}{number}.npz") for kind in ("given", "out"))
            passed = {key[6:]: value for found in results for key, value in found.items() if key.startswith("given/")}
            np.savez(given, what=json.dumps(dict(what)), **arrays, **passed)
            workers.append(stack.enter_context(Worker(side, "work", given, out, str(core))))
            workers[-1].ask()
            results.append(_found(side, out))
        once = [_number(worker, worker.ask("1"), "seconds") for worker in workers]
        calls = [max(1, round(ROUND_S / max(each, 1e-6))) for each in once]
        seconds, memory = [], [0.0, 0.0]
        for pair in range(pairs):
            taken = {}
            for i in (0, 1) if pair % 2 == 0 else (1, 0):
                answer = workers[i].ask(str(calls[i]))
                taken[i] = _number(workers[i], answer, "seconds") / calls[i]
                memory[i] = _number(workers[i], answer, "mb")
            seconds.append((taken[0], taken[1]))
    mine, other = (statistics.median(each) for each in zip(*seconds, strict=True))
    ratios = [b / a for a, b in seconds]
    return Pairs(other / mine, mine, other, max(ratios) / min(ratios), memory[0], memory[1], results[0], results[1])


def _found(side: Side, out: str) -> dict[str, Any]:
    try:
        with np.load(out) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise PeerError(f"{side.name}: its script left no arrays that can be read: {error}") from None


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], start: Mapping[str, Any], kind: str) -> float:
    """The largest difference of what both found, over the largest number; of learned weights, over the largest change.

    Raises:
      PeerError: if they found different things, or something that is not finite.
    """
    worst, names = 0.0, [name for name in ours if name.startswith(f"{kind}/") and name in theirs]
    if kind == "gradient" and not names:
        raise PeerError("the two sides left no gradient that both have")
    for name in names:
        try:
            a, b = np.asarray(ours[name], np.float64), np.asarray(theirs[name], np.float64)
        except ValueError as error:
            raise PeerError(f"{name} is not of numbers: {error}") from None
        if not a.size or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise PeerError(f"{name} is {a.shape} here and {b.shape} there, or not finite")
        scale = np.abs(a - start[name.partition("/")[2]] if kind == "learned" else a).max()
        worst = max(worst, float(np.abs(a - b).max() / scale))
    return worst if names else float("nan")


def _number(worker: Worker, answer: Mapping[str, Any], key: str) -> float:
    value = answer.get(key)
    if not isinstance(value, int | float) or not value > 0:
        raise PeerError(f"{worker.name}: its script answered {key}={value!r}, which is not a positive number")
    return float(value)
