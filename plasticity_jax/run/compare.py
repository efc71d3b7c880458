"""Comparison of all rules that a network takes, on one trajectory of a task, at points of training."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax import cells, tasks
from plasticity_jax.base import LearningRule
from plasticity_jax.layers import Chain
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.ops.checks import in_range, whole
from plasticity_jax.run.applicable import Net, chosen_rules, guess, name_of
from plasticity_jax.run.compare_report import (
    ComparedRules,
    comparison_picture,
    comparison_summary,
    comparison_table,
)
from plasticity_jax.run.compare_seed import seed_functions
from plasticity_jax.run.progress import bar
from plasticity_jax.run.record import atomic, write_figures, write_json, write_npz
from plasticity_jax.run.sweep import sweep
from plasticity_jax.tasks import Stream
from plasticity_jax.typing import Example, PyTree

CELLS = ("alif", "gru", "leaky", "lif", "lstm")
"""Names of the cells that the command makes."""

GROUPS = 10
"""Number of groups of the noise's draws; the spread over groups gives the error of the mean."""

_CHUNK = 500  # most steps of training between two moves of the progress bar


class _Task(NamedTuple):
    """A task of the command.

    Attributes:
      sizes: numbers of inputs and outputs; () if they are those of the network.
      loss: the network's loss.
      make: ``(net, batch) -> stream``.
    """

    sizes: tuple[int, ...]
    loss: Any
    make: Callable[[Any, int], Stream]


CELL_TASKS = {
    "add": _Task((2, 2), "softmax", lambda cell, batch: tasks.add(batch=batch)),
    "delayed_xor": _Task((2, 1), "squared", lambda cell, batch: tasks.delayed_xor(batch=batch)),
    "mimic": _Task((8, 8), "squared", lambda cell, batch: tasks.mimic(cell, batch=batch)),
}
CHAIN_TASKS = {
    "ou_mixture": _Task((), "squared", lambda net, batch: _mixture(net, batch)),
    "ou_largest": _Task((), "softmax", lambda net, batch: _largest(_mixture(net, batch))),
}
"""The targets are the latents of a mixture, or the class of the largest latent."""


def compare_rules(
    net: Net,
    stream: Stream,
    chosen: Sequence[str] | Mapping[str, LearningRule] | None = None,
    *,
    reference: str | None = None,
    points: Sequence[int] = (0,),
    steps: int = 100,
    burn_in: int = 20,
    seeds: int = 5,
    samples: int = 100,
    rate: float = 1e-3,
    task: str = "a task",
    progress: bool = True,
) -> ComparedRules:
    """Compares rules on a task, at points of training by the exact rule.

    The exact rule trains the network with Adam. The other rules look on: their updates of the weights are not applied,
    but they learn their own feedback, synthetic gradients or kernels. At each point the weights are held, and
    `comparison` runs from rest on a trajectory that is the same at all points.

    Args:
      net: a cell or a chain.
      stream: the task, a stream of single steps.
      chosen: names of rules, or your own rules by name; None takes all that apply.
      reference: name of the exact rule; None is "rtrl" for a cell and "backprop" for a chain. It is added to the chosen
        rules.
      points: numbers of training steps before each comparison, in rising order; 0 is the start.
      steps: steps of the trajectory on which updates are compared.
      burn_in: steps before them, in which the traces build up.
      seeds: number of seeds; each has its own weights, data and noise.
      samples: draws of a stochastic rule's noise, a multiple of 10.
      rate: learning rate of Adam.
      task: name of the task in tables and pictures.
      progress: whether to show a bar.

    Returns:
      The `ComparedRules`; rules that do not apply are listed only if `chosen` is None.

    Raises:
      TypeError: if the network is neither cell nor chain.
      ValueError: if a rule is not known or does not apply, or a number is out of range.

    Example:
      >>> import plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=6, n_out=2)
      >>> result = compare_rules(cell, pj.tasks.add(), ["rflo"], steps=20, burn_in=5, seeds=2, progress=False)
      >>> result.names, result.found.alignment.shape
      (('rtrl', 'rflo'), (1, 2, 2, 2))
    """
    for name, value, least in (("steps", steps, 1), ("burn_in", burn_in, 0), ("seeds", seeds, 1)):
        whole(name, value, least, "steps" if name != "seeds" else "seed")
    whole("samples", samples, GROUPS, "draws")
    if samples % GROUPS:
        raise ValueError(f"samples={samples} must be a multiple of {GROUPS}, because the draws form {GROUPS} groups")
    in_range("rate", rate, 0, open_low=True, why="the learning rate of the exact rule")
    for point in points:
        whole("points", point, 0, "steps of training")
    if not points or sorted(set(points)) != list(points):
        raise ValueError(f"points={tuple(points)} must be steps of training in rising order, as in 0,300,1000")
    exact = ("backprop" if isinstance(net, Chain) else "rtrl") if reference is None else reference
    rules, refused = chosen_rules(net, chosen, exact)
    length = burn_in + steps + max(rule.lag for rule in rules.values())
    start, train, probe = seed_functions(
        net, stream, rules, exact, rate=rate, length=length, burn_in=burn_in, samples=(GROUPS, samples // GROUPS)
    )
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    state, loss, trained_steps = sweep(start)(keys), np.full(seeds, np.nan), 0
    interval = math.gcd(*points)  # chunks of one length share one compiled program
    chunk = next(count for count in range(min(interval, _CHUNK), 0, -1) if interval % count == 0) if interval else 0
    train_all, probe_all = sweep(functools.partial(train, chunk)), sweep(probe)
    comparisons, losses = [], []
    with bar("compare", seeds * (points[-1] + len(points) * length), shown=progress) as advance:
        for point in points:
            while trained_steps < point:
                state, loss = train_all(state)
                jax.block_until_ready(loss)
                trained_steps += chunk
                advance(seeds * chunk)
            comparisons.append(jax.tree.map(np.asarray, probe_all(state, keys)))
            losses.append(np.asarray(loss))
            advance(seeds * length)
    return ComparedRules(
        net=name_of(net),
        task=task,
        reference=exact,
        points=tuple(points),
        steps=steps,
        burn_in=burn_in,
        seeds=seeds,
        samples=samples,
        found=jax.tree.map(lambda *leaves: np.stack(leaves), *comparisons),
        loss=np.stack(losses),
        refused=refused,
    )


def compare_command(
    net: str,
    chosen: Sequence[str] = (),
    task: str | None = None,
    steps: int = 100,
    points: Sequence[int] = (0, 300, 1000),
    seeds: int = 5,
    out: Path = Path("results/compare"),
    *,
    n: int = 16,
    batch: int | None = None,
    burn_in: int = 20,
    samples: int = 100,
    rate: float = 1e-3,
    progress: bool = True,
) -> str:
    """Runs `compare_rules` on a network and a task given by name, and writes comparison.json, .npz, .md and .png.

    Args:
      net: name of a cell, or the sizes of a chain of dense layers with tanh, as in "20,30,10".
      chosen: names of rules; if empty, all that apply.
      task: name in `CELL_TASKS` or `CHAIN_TASKS`; None is the first of them.
      steps: see `compare_rules`.
      points: see `compare_rules`.
      seeds: see `compare_rules`.
      out: the folder for the files.
      n: number of neurons of a cell.
      batch: number of streams or examples; None is 1 for a cell and 10 for a chain.
      burn_in: see `compare_rules`.
      samples: see `compare_rules`.
      rate: see `compare_rules`.
      progress: whether to show a bar.

    Returns:
      The tables, to be printed.

    Raises:
      ValueError: if an argument is wrong; the message is one line with the cause and the remedy.
      RunError: if the folder cannot be written.
    """
    sizes = _sizes(net)
    known = CELL_TASKS if sizes is None else CHAIN_TASKS
    task = next(iter(known)) if task is None else task
    if task not in known:
        other = CHAIN_TASKS if sizes is None else CELL_TASKS
        kind = "a cell" if sizes is None else "a chain"
        why = f"is for {'chains' if sizes is None else 'cells'}" if task in other else "is not known"
        raise ValueError(f"task {task!r} {why}{guess(task, known)}; {kind} takes {', '.join(known)}")
    batch = (1 if sizes is None else 10) if batch is None else batch
    whole("batch", batch, 1, "stream" if sizes is None else "example")
    if sizes is None:
        whole("n", n, 1, "neuron")
        n_in, n_out = known[task].sizes
        network = getattr(cells, net)(n_in, n, n_out, loss=known[task].loss)
    else:
        network = mlp(sizes, ("tanh",) * (len(sizes) - 2) + ("identity",), known[task].loss)
    result = compare_rules(
        network,
        known[task].make(network, batch),
        list(chosen) or None,
        points=points,
        steps=steps,
        burn_in=burn_in,
        seeds=seeds,
        samples=samples,
        rate=rate,
        task=task,
        progress=progress,
    )
    text = comparison_table(result)
    settings = {"n": n if sizes is None else None, "batch": batch, "rate": rate}
    write_json(out / "comparison.json", {**comparison_summary(result), **settings})
    arrays = {name: leaf for name, leaf in result.found._asdict().items() if name != "names"}
    write_npz(out / "comparison.npz", {"names": np.array(result.names), "loss": result.loss, **arrays})
    with atomic(out / "comparison.md") as file:
        file.write(f"{text}\n".encode())
    write_figures(out, {"comparison": comparison_picture(result)})
    return f"{text}\n\nfiles: {out}"


def _sizes(net: str) -> list[int] | None:
    """Sizes of a chain that a word like "20,30,10" names; None if it names a cell.

    Raises:
      ValueError: if it names neither.
    """
    if net in CELLS:
        return None
    words = net.split(",")
    if len(words) < 2:
        raise ValueError(
            f"net {net!r} is not known{guess(net, CELLS)}; give a cell, {', '.join(CELLS)}, or the sizes of a chain of "
            "dense layers, as in 20,30,10"
        )
    try:
        sizes = [int(word) for word in words]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise ValueError(f"chain {net!r}: sizes are whole numbers of at least 1, as in 20,30,10")
    return sizes


def _mixture(net: Chain, batch: int) -> Stream:
    """Latents from their mixture; the latents change slowly."""
    return tasks.ou_mixture(latents=net.h_shapes[-1][0], stimuli=net.h_shapes[0][0], batch=batch)


def _largest(stream: Stream) -> Stream:
    def take(state: PyTree, steps: int) -> tuple[PyTree, Example]:
        state, example = stream.take(state, steps)
        return state, example._replace(y=jax.nn.one_hot(jnp.argmax(example.y, -1), example.y.shape[-1]))

    return Stream(stream.init, take)
