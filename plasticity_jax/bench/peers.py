"""Speed, memory and gradients compared with those of other libraries, on the same work in one run.

Each peer has its own environment, in the folder that ``PLASTICITY_PEERS`` names; if one is missing, the bench prints
the command that makes it. A peer's script and one of ours do the same work with the same weights and inputs, in turns
on one core, and their results are compared. A ratio is that of median processor seconds.
"""

import datetime
import itertools
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plasticity_jax.bench._peer_process import SCRIPTS, PeerError, Side, difference, in_pairs, ours, probe
from plasticity_jax.bench._timing import Say

SECONDS = (2, 900)
"""Without any peer, and with all of them; in quick mode each peer adds about twenty."""

HOME = "PLASTICITY_PEERS"
"""Environment variable that names the folder with an environment for each peer."""

N_IN, N_OUT, CHECK, RATE = 2, 2, 10, 1e-3
"""Inputs and outputs of the recurrent works; steps over which gradients are summed; and the learning rate."""
WIDTHS = (784, 512, 200, 10)
GATES = {"leaky": 1, "gru": 4, "lstm": 4, "lif": 1, "alif": 1}
SPIKING = ("lif", "alif")
OPTIONS = {
    "leaky": {"alpha": 1.0},
    "lif": {"decay": 0.9},
    "alif": {"decay": 0.9, "adaptation_decay": 0.98, "strength": 0.1},
}
"""Options of the cells: a vanilla network, and the constants of spiking neurons."""
KAPPA = 0.9
"""Share of its filter that a leaky readout keeps at each step."""


class Peer(NamedTuple):
    """Another library.

    Attributes:
      name: its name.
      script: its script in `_peer_scripts`; None if no work is written for it.
      install: arguments of pip, for one command after another.
    """

    name: str
    script: str | None
    install: tuple[str, ...]


PEERS = (
    Peer("braintrace", "braintrace_peer.py", ("braintrace",)),
    Peer("torch", "torch_peer.py", ("numpy torch",)),
    Peer(
        "biotorch",
        "torch_peer.py",
        ("numpy torch", "--no-deps biotorch"),
    ),
    Peer("evosax", "evosax_peer.py", ("evosax",)),
    Peer("learned_optimization", None, ("learned_optimization",)),
    Peer("vanilla-rtrl", None, ()),
)
"""The peers in the order of the table."""


class Work(NamedTuple):
    """A work that both sides do.

    Attributes:
      peer: name of the other library.
      what: description of the work for the scripts; "rule" is our name of the rule, "theirs" the peer's.
      make: ``rng -> arrays``.
      units: number of units in a round.
      unit: the unit that is counted.
      agree: None if both sides must get the same numbers, or the reason why they cannot.
    """

    peer: str
    what: dict[str, Any]
    make: Callable[[np.random.Generator], dict[str, Any]]
    units: int
    unit: str
    agree: str | None = None

    @property
    def name(self) -> str:
        """Name of the work's row."""
        what = self.what
        size = f"n={what['n']} streams={what['streams']}" if "n" in what else what["size"]
        return f"{self.peer}: {what['rule']} by {what['theirs']}, {what['cell']} {size}"


def of_streams(rng: np.random.Generator, what: Mapping[str, Any], *steps: int) -> dict[str, Any]:
    """Weights of a cell and its readout, with inputs and classes of streams."""
    cell, n, lead = what["cell"].removeprefix("their "), what["n"], (steps[0], what["streams"], *steps[1:])
    w = normal(rng, (GATES[cell], n, n + N_IN + 1), n**-0.5)
    if cell == "gru":  # the candidate has two sums, over its inputs and over recurrent activity
        w[2, :, :n], w[3, :, n:-1] = 0, 0
    if cell in SPIKING:  # weights of inputs that make the neurons fire
        w[:, :, n:-1] *= np.float32(0.3 * n**0.5)
    classes = np.eye(N_OUT, dtype=np.float32)[rng.integers(0, N_OUT, lead)]
    return {"w": w, "w_out": normal(rng, (N_OUT, n + 1), n**-0.5), "x": normal(rng, (*lead, N_IN)), "y": classes}


def normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0) -> Any:
    """Normal numbers in single precision."""
    return np.float32(scale) * rng.standard_normal(shape, np.float32)


def stepwise(rule: str, theirs: str, cell: str, n: int, streams: int, agree: str | None = None) -> Work:
    """A work of an online rule, ours and braintrace's, with learning at each step."""
    name = cell.removeprefix("their ")
    steps = int(np.clip(4e7 / (streams * GATES[name] * n**2), CHECK, 10_000))
    what = {"task": "online", "rule": rule, "theirs": theirs, "cell": cell, "n": n, "streams": streams}
    what |= {"options": OPTIONS.get(name, {}), "check": CHECK, "rate": RATE}
    what |= {"kappa": KAPPA} if theirs == "EProp" else {}
    return Work("braintrace", what, lambda rng: of_streams(rng, what, steps), steps * streams, "stream-steps", agree)


def windowed(cell: str, n: int, streams: int = 20, windows: int = 10, length: int = 50) -> Work:
    """A work of BPTT through windows, against PyTorch's recurrent layer."""
    layer = {"leaky": "nn.RNN", "gru": "nn.GRU"}[cell]
    what = {"task": "windows", "rule": "bptt", "theirs": layer, "cell": cell, "n": n, "streams": streams}
    what |= {"options": OPTIONS.get(cell, {}), "check": 3, "rate": RATE}
    count = windows * streams * length
    return Work("torch", what, lambda rng: of_streams(rng, what, windows, length), count, "stream-steps")


def aligned(peer: str, theirs: str, steps: int = 50, batch: int = 32) -> Work:
    """A work of feedback alignment on layers."""
    size = f"{'-'.join(map(str, WIDTHS))} batch={batch}"
    what = {"task": "layers", "rule": "feedback_alignment", "theirs": theirs, "cell": "dense", "size": size}
    what |= {"widths": WIDTHS, "check": CHECK, "rate": RATE}

    def make(rng: np.random.Generator) -> dict[str, Any]:
        arrays: dict[str, Any] = {"x": normal(rng, (steps, batch, WIDTHS[0])), "y": normal(rng, (steps, batch, 10))}
        for i, (a, b) in enumerate(itertools.pairwise(WIDTHS)):
            arrays |= {f"w{i}": normal(rng, (b, a), a**-0.5), f"bias{i}": normal(rng, (b,), 0.1)}
            arrays |= {f"w_fb{i}": normal(rng, (b, a), b**-0.5)} if i else {}
        return arrays

    return Work(peer, what, make, steps * batch, "examples")


def strategies(rule: str, theirs: str, size: int, pairs: int = 32) -> Work:
    """A work of evolution strategies over the initial weights of a life; the check fixes the perturbations."""
    windows, repeat, length, batch = 4, 5, 10, 8
    what = {"task": "outer", "rule": rule, "theirs": theirs, "cell": "regression", "size": f"D={size} pairs={pairs}"}
    what |= {"pairs": pairs, "sigma": 0.1, "windows": windows, "repeat": repeat, "rate": RATE}
    what |= {"inner_rate": 0.02, "pull": 0.5}

    def make(rng: np.random.Generator) -> dict[str, Any]:
        x = normal(rng, (windows, length, batch, size), size**-0.5)
        return {"theta": normal(rng, (size,)), "x": x, "y": normal(rng, (windows, length, batch))}

    return Work("evosax", what, make, windows * repeat, "generations")


RANDOM = "each draws its own signs"
FILTERED = "its filter acts on the voltage's trace, ours on the spike's, as in Bellec et al. (2020)"
OTHER = "its reset acts before the recurrent product, ours behind it, as in flax and PyTorch"


def works(quick: bool) -> Iterator[Work]:
    """All works, peer by peer."""
    if not quick:
        yield from (stepwise("rflo", "D_RTRL", "leaky", n, streams) for n in (32, 128, 512) for streams in (1, 20))
        for cell in ("gru", "lstm", "lif", "alif"):
            yield from (stepwise("rflo", "D_RTRL", cell, n, streams) for n in (32, 128) for streams in (1, 20))
        for n in (32, 128):
            yield stepwise("rflo", "D_RTRL", "their gru", n, 20, OTHER)
        yield stepwise("eprop", "EProp", "alif", 128, 20, FILTERED)
        yield stepwise("snap", "SnAp", "leaky", 128, 20)
        yield stepwise("uoro", "UORO", "leaky", 32, 20, RANDOM)
        yield from (windowed(cell, n) for cell in ("leaky", "gru") for n in (32, 128))
        yield from (strategies("es", "Open_ES", 1000), strategies("pes", "PersistentES", 1000))
    else:
        yield stepwise("rflo", "D_RTRL", "leaky", 32, 20)
        yield windowed("gru", 32)
        yield strategies("pes", "PersistentES", 100)
    yield aligned("torch", "autograd.Function")
    yield aligned("biotorch", "biotorch.layers.fa")


def measure(work: Work, theirs: Side, quick: bool) -> dict[str, Any]:
    """A row with the ratio of our rate and theirs, and the numbers that it is computed from."""
    arrays = work.make(np.random.default_rng(0))
    pairs = in_pairs(ours(), theirs, work.what, arrays, 3 if quick else 7)
    what = work.what
    row: dict[str, Any] = {
        "times_peer": pairs.ratio,
        "ours_per_s": work.units / pairs.ours_s,
        "peer_per_s": work.units / pairs.theirs_s,
        "spread": pairs.spread,
        "ours_mb": pairs.ours_mb,
        "peer_mb": pairs.theirs_mb,
        "unit": work.unit,
        "peer": work.peer,
        **{key: what[key] for key in ("rule", "theirs", "cell", "n", "streams", "size") if key in what},
    }
    if work.agree is not None:
        return row | {"not_compared": work.agree}
    row["gradients_differ_by"] = difference(pairs.ours, pairs.theirs, arrays, "gradient")
    learned = difference(pairs.ours, pairs.theirs, arrays, "learned")
    return row if np.isnan(learned) else row | {"learned_differ_by": learned}


def side(peer: Peer, home: Path | None) -> Side:
    """A peer's side.

    Raises:
      PeerError: if there is no work for it, or no environment.
    """
    if peer.script is None and not peer.install:
        raise PeerError("no work is written for it, which is code without a package")
    python = (home or Path("DIR")) / peer.name / "bin" / "python"
    if home is None or not python.exists():
        raise PeerError(f"not installed; make it by: {command(peer, home)}")
    if peer.script is None:
        raise PeerError(refusal(home / peer.name) or "no work is written for it")
    return Side(peer.name, python, SCRIPTS / peer.script)


def command(peer: Peer, home: Path | None) -> str:
    """Command that makes a peer's environment, as one line."""
    at = f"{home or 'DIR'}/{peer.name}"
    pips = (f"{at}/bin/pip install --log {at}/pip.log {what}" for what in peer.install)
    return " && ".join((f"python3 -m venv {at}", *pips))


def refusal(environment: Path) -> str:
    """The last error in an environment's log of pip, if nothing was installed after it; otherwise empty."""
    log = environment / "pip.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    installed = max((i for i, line in enumerate(lines) if "Successfully installed" in line), default=-1)
    errors = [line.partition("ERROR: ")[2] for line in lines[installed + 1 :] if "ERROR: " in line]
    return f"pip: {errors[-1]}" if errors else ""


def rows(quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """All rows, each as soon as it is measured: the machine, the peers, and the works of the installed peers."""
    named = os.environ.get(HOME)
    home = Path(named).absolute() if named else None
    yield "machine", {"cores": 1, "processor": processor(), "date": datetime.date.today().isoformat()}
    installed = {}
    for peer in PEERS:
        try:
            installed[peer.name] = side(peer, home)
            yield peer.name, probe(installed[peer.name])
        except PeerError as error:
            installed.pop(peer.name, None)
            reason = (refusal(home / peer.name) if home is not None else "") or str(error)
            yield peer.name, {"not_measured": reason}
    for work in works(quick):
        if work.peer in installed:
            try:
                yield work.name, measure(work, installed[work.peer], quick)
            except PeerError as error:
                yield work.name, {"not_measured": str(error)}


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        lines = ""
    found = re.search(r"model name\s*:\s*(.+)", lines)
    return found[1].strip() if found else platform.processor() or platform.machine()


def bench(quick: bool, say: Say) -> dict[str, dict[str, Any]]:
    """Measures the family.

    Args:
      quick: measure one small work of each peer.
      say: called with a line about each row when it is measured, or with the command that installs a missing peer.

    Returns:
      Rows by name: "machine", each peer with its versions, rules and cells, and each work.
    """
    by_name = {}
    for name, row in rows(quick):
        by_name[name] = row
        if "not_measured" in row:
            say(f"{name}: {row['not_measured']}")
        elif "times_peer" in row:
            agreed = f", gradients differ by {row['gradients_differ_by']:.1g}" if "gradients_differ_by" in row else ""
            say(f"{name}: times peer {row['times_peer']:.3g}{agreed}")
        elif "versions" in row:
            say(f"{name}: {', '.join(f'{of} {version}' for of, version in row['versions'].items())}")
    if not os.environ.get(HOME):
        say(f"make some, and name their folder: {HOME}=DIR")
    return by_name
