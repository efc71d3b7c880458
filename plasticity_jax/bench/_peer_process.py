"""Processes of the bench of peers: a peer's script in its own environment and ours, which take turns on one core."""

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
"""Least processor seconds of a round."""

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTHONWARNINGS": "ignore",
}


class PeerError(RuntimeError):
    """An error of a peer, as one line."""


class Side(NamedTuple):
    """One side of a comparison: this library or a peer.

    Attributes:
      name: its name in messages.
      python: the Python of its environment.
      script: the script that it runs.
    """

    name: str
    python: Path
    script: Path


class Pairs(NamedTuple):
    """Times, memory and results of both sides on a work.

    Attributes:
      ratio: ratio of the medians, theirs over ours.
      ours_s: our median processor seconds of a call.
      theirs_s: their median processor seconds of a call.
      spread: largest over smallest ratio of a pair.
      ours_mb: peak memory of our process.
      theirs_mb: peak memory of their process.
      ours: our arrays.
      theirs: their arrays.
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
    """A running script that answers each line with a line; a context manager that ends it."""

    def __init__(self, side: Side, *arguments: str):
        """Starts the script; see `_peer_scripts.serve`."""
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
        """The next line from the script, after a line is sent to it if one is given.

        Raises:
          PeerError: if the process ends instead, or the line is not a JSON object.
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
            messages = [text.strip() for text in self.errors if text.strip()]
            reason = messages[-1] if messages else "no message"
            raise PeerError(f"{self.name}: its script ended with {code}: {reason}")
        try:
            value = json.loads(answer)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise PeerError(f"{self.name}: its script wrote {answer.strip()[:80]!r}, which is not a JSON object")
        return value


def ours() -> Side:
    """This library's side, in this Python."""
    return Side("plasticity_jax", Path(sys.executable), SCRIPTS / "ours.py")


def probe(side: Side) -> dict[str, Any]:
    """Versions, rules and cells of a peer.

    Raises:
      PeerError: if its script fails, or writes something else.
    """
    with Worker(side, "probe") as worker:
        answer = worker.ask()
    if missing := [key for key in ("versions", "rules", "cells") if not isinstance(answer.get(key), dict)]:
        raise PeerError(f"{side.name}: its script wrote no {', '.join(missing)}")
    return answer


def in_pairs(ours: Side, theirs: Side, what: Mapping[str, Any], arrays: Mapping[str, Any], pairs: int) -> Pairs:
    """Runs a work on both sides in turns, on the first core that this process may use.

    Args:
      ours: the library's side; its arrays with names that begin with "given/" are passed to the other side.
      theirs: the peer's side.
      what: the work, JSON-able.
      arrays: its parameters and inputs.
      pairs: number of pairs of rounds; each round has as many calls as take `ROUND_S`.

    Returns:
      Medians, memory and results.

    Raises:
      PeerError: if a side fails.
    """
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers, results = [], []
        for number, side in enumerate((ours, theirs)):
            inputs, outputs = (str(Path(folder) / f"{kind}{number}.npz") for kind in ("given", "out"))
            passed = {key[6:]: value for result in results for key, value in result.items() if key.startswith("given/")}
            np.savez(inputs, what=json.dumps(dict(what)), **arrays, **passed)
            workers.append(stack.enter_context(Worker(side, "work", inputs, outputs, str(core))))
            workers[-1].ask()
            results.append(_arrays(side, outputs))
        one_call = [_number(worker, worker.ask("1"), "seconds") for worker in workers]
        calls = [max(1, round(ROUND_S / max(each, 1e-6))) for each in one_call]
        seconds, memory = [], [0.0, 0.0]
        for pair in range(pairs):
            taken = {}
            for i in (0, 1) if pair % 2 == 0 else (1, 0):
                answer = workers[i].ask(str(calls[i]))
                taken[i] = _number(workers[i], answer, "seconds") / calls[i]
                memory[i] = _number(workers[i], answer, "mb")
            seconds.append((taken[0], taken[1]))
    ours_s, theirs_s = (statistics.median(each) for each in zip(*seconds, strict=True))
    ratios = [b / a for a, b in seconds]
    return Pairs(
        theirs_s / ours_s, ours_s, theirs_s, max(ratios) / min(ratios), memory[0], memory[1], results[0], results[1]
    )


def _arrays(side: Side, path: str) -> dict[str, Any]:
    """The arrays that a script has written."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise PeerError(f"{side.name}: its script left no arrays that can be read: {error}") from None


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], start: Mapping[str, Any], kind: str) -> float:
    """The largest difference between both sides' arrays, relative to the largest entry.

    Differences of learned weights are relative to the largest change of a weight.

    Raises:
      PeerError: if the sides have different arrays, or numbers that are not finite.
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
        raise PeerError(f"{worker.name}: its script wrote {key}={value!r}, which is not a positive number")
    return float(value)
