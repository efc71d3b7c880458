"""Every rule that a network takes, on one trajectory of a task, at points of training by the exact rule."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax import cells, layers, tasks
from plasticity_jax.base import LearnerState, LearningRule, learner
from plasticity_jax.diagnostics.comparison import Comparison, comparison
from plasticity_jax.layers import Chain
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.ops.checks import in_range, whole
from plasticity_jax.run.applicable import Net, chosen_rules, feedback_of, guess, name_of
from plasticity_jax.run.compare_report import (
    ComparedRules,
    comparison_picture,
    comparison_summary,
    comparison_table,
)
from plasticity_jax.run.progress import bar
from plasticity_jax.run.record import atomic, write_figures, write_json, write_npz
from plasticity_jax.run.sweep import sweep
from plasticity_jax.tasks import Stream
from plasticity_jax.typing import Array, Example, Key, Params, PyTree

CELLS = ("alif", "gru", "leaky", "lif", "lstm")
"""Cells that are made by name."""

GROUPS = 10
"""Draws of noise come in so many groups, whose spread gives the error of their mean."""

_CHUNK = 500  # steps of training between two moves of the progress bar, at most
_RECENT = 100  # steps over which a loss is averaged


class _Task(NamedTuple):
    """Attributes: sizes: inputs and outputs, () where the net has its own. loss: the net's. make: the stream."""

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
"""Tell the latents from their mixture; or tell which of them is the largest."""


class _Onlooker(NamedTuple):
    """A rule that learns nothing but what is its own.

    Attributes:
      feedback: the group that it reads.
      opt_state: of the optimiser of that group.
      traces: what it carries.
    """

    feedback: PyTree
    opt_state: optax.OptState
    traces: Any


class _Lane(NamedTuple):
    """One seed in training: the exact rule's learner, the rest of its stream, and who looks on."""

    learning: LearnerState
    stream: PyTree
    onlookers: dict[str, _Onlooker]


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

    The exact rule trains with Adam; the others look on, and what they learn beside the weights (feedback, synthetic
    gradients, kernels) they learn from what they see. At each point the weights are held, and `comparison` runs on the
    same trajectory as at the other points, from rest.

    Args:
      net: a cell or a chain.
      stream: the task, of steps that the network takes.
      chosen: names of rules, or rules of one's own by name; None takes all that apply.
      reference: name of the exact rule; None is "rtrl" for a cell and "backprop" for a chain. It joins the others.
      points: steps of training, in rising order; 0 is the start.
      steps: of the trajectory that are compared.
      burn_in: steps before them, while traces grow from nothing.
      seeds: networks, tasks and noise.
      samples: draws of a stochastic rule's noise, a multiple of 10.
      rate: Adam's.
      task: what tables and pictures call the task.
      progress: whether to show a bar.

    Returns:
      The `ComparedRules`.

    Raises:
      TypeError: if the network is neither cell nor chain.
      ValueError: if a rule is not known or does not apply, or a number is out of range.

    Example:
      >>> import plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=6, n_out=2)
      >>> found = compare_rules(cell, pj.tasks.add(), ["rflo"], steps=20, burn_in=5, seeds=2, progress=False)
      >>> found.names, found.found.alignment.shape
      (('rtrl', 'rflo'), (1, 2, 2, 2))
    """
    for name, value, least in (("steps", steps, 1), ("burn_in", burn_in, 0), ("seeds", seeds, 1)):
        whole(name, value, least, "steps" if name != "seeds" else "seed")
    whole("samples", samples, GROUPS, "draws")
    if samples % GROUPS:
        raise ValueError(f"samples={samples} must be a multiple of {GROUPS}: draws come in so many groups")
    in_range("rate", rate, 0, open_low=True, why="the learning rate of the exact rule")
    for point in points:
        whole("points", point, 0, "steps of training")
    if not points or sorted(set(points)) != list(points):
        raise ValueError(f"points={tuple(points)} must be steps of training in rising order, as in 0,300,1000")
    exact = ("backprop" if isinstance(net, Chain) else "rtrl") if reference is None else reference
    on_net, refused = chosen_rules(net, chosen, exact)
    length = burn_in + steps + max(rule.lag for rule in on_net.values())
    start, train, probe = _lane(net, stream, on_net, exact, rate, length, burn_in, (GROUPS, samples // GROUPS))
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    state, loss, done = sweep(start)(keys), np.full(seeds, np.nan), 0
    apart = math.gcd(*points)  # pieces of one length are one programme
    piece = next(count for count in range(min(apart, _CHUNK), 0, -1) if apart % count == 0) if apart else 0
    trained, probed = sweep(functools.partial(train, piece)), sweep(probe)
    found, losses = [], []
    with bar("compare", seeds * (points[-1] + len(points) * length), shown=progress) as advance:
        for point in points:
            while done < point:
                state, loss = trained(state)
                jax.block_until_ready(loss)
                done += piece
                advance(seeds * piece)
            found.append(jax.tree.map(np.asarray, probed(state, keys)))
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
        found=jax.tree.map(lambda *leaves: np.stack(leaves), *found),
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
    """Runs `compare_rules` on what words name, and writes comparison.json, .npz, .md and .png.

    Args:
      net: name of a cell, or the sizes of a chain of dense layers with tanh, as in "20,30,10".
      chosen: names of rules; none takes all that apply.
      task: of `CELL_TASKS` or `CHAIN_TASKS`; None is the first of them.
      steps: see `compare_rules`.
      points: see `compare_rules`.
      seeds: see `compare_rules`.
      out: the folder that the files go to.
      n: neurons of a cell.
      batch: streams, or examples; None is 1 for a cell and 10 for a chain.
      burn_in: see `compare_rules`.
      samples: see `compare_rules`.
      rate: see `compare_rules`.
      progress: whether to show a bar.

    Returns:
      The tables, to be printed.

    Raises:
      ValueError: with one line that names cause and remedy.
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
        made = getattr(cells, net)(n_in, n, n_out, loss=known[task].loss)
    else:
        made = mlp(sizes, ("tanh",) * (len(sizes) - 2) + ("identity",), known[task].loss)
    result = compare_rules(
        made,
        known[task].make(made, batch),
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
    if chosen:  # who names rules does not ask about the others
        result = result._replace(refused={})
    text = comparison_table(result)
    settings = {"n": n if sizes is None else None, "batch": batch, "rate": rate}
    write_json(out / "comparison.json", {**comparison_summary(result), **settings})
    arrays = {name: leaf for name, leaf in result.found._asdict().items() if name != "names"}
    write_npz(out / "comparison.npz", {"names": np.array(result.names), "loss": result.loss, **arrays})
    with atomic(out / "comparison.md") as file:
        file.write(f"{text}\n".encode())
    write_figures(out, {"comparison": comparison_picture(result)})
    return f"{text}\n\nfiles: {out}"


def _lane(
    net: Net,
    stream: Stream,
    on_net: Mapping[str, LearningRule],
    exact: str,
    rate: float,
    length: int,
    burn_in: int,
    samples: tuple[int, int],
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """``key -> lane``, ``(steps, lane) -> (lane, loss)`` and ``(lane, key) -> Comparison`` of one seed."""
    tx = optax.adam(rate)
    learn = learner(on_net[exact], tx)
    others = [name for name in on_net if name != exact]

    def begun(key_x: Key) -> tuple[PyTree, Example]:
        """The stream behind the trajectory on which rules are compared, and that trajectory."""
        return stream.take(stream.init(key_x), length)

    def start(key: Key) -> _Lane:
        key_w, key_fb, key_run, key_look, key_x, _ = _parts(key)
        params = layers.init_params(key_w, net) if isinstance(net, Chain) else cells.init_params(key_w, net)
        rest, batches = begun(key_x)
        batch = jax.tree.map(lambda leaf: leaf[0], batches)
        onlookers = {}
        for i, name in enumerate(others):
            feedback = feedback_of(name, net, params, key_fb)
            traces = on_net[name].init({**params, "feedback": feedback}, jax.random.fold_in(key_look, i), batch)
            onlookers[name] = _Onlooker(feedback, tx.init(feedback), traces)
        return _Lane(learn.init(params, key_run, batch), rest, onlookers)

    def look_on(name: str, onlooker: _Onlooker, params: Params, key: Key, batch: Example) -> _Onlooker:
        feedback, opt_state, traces = onlooker
        updates, traces, _ = on_net[name].update({**params, "feedback": feedback}, traces, key, batch)
        changes, opt_state = tx.update(updates["feedback"], opt_state, feedback)
        return _Onlooker(optax.apply_updates(feedback, changes), opt_state, traces)

    def train(steps: int, lane: _Lane) -> tuple[_Lane, Array]:
        rest, examples = stream.take(lane.stream, steps)

        def step(carry: tuple[LearnerState, dict[str, _Onlooker]], batch: Example) -> Any:
            learning, onlookers = carry
            key = jax.random.fold_in(learning.key, learning.step)
            seen = {
                name: look_on(name, onlookers[name], learning.params, jax.random.fold_in(key, i), batch)
                for i, name in enumerate(others)
            }
            learning, info = learn.step(learning, batch)
            return (learning, seen), info.loss

        (learning, onlookers), losses = jax.lax.scan(step, (lane.learning, lane.onlookers), examples)
        return _Lane(learning, rest, onlookers), jnp.mean(losses[-_RECENT:])

    def probe(lane: _Lane, key: Key) -> Comparison:
        params, traces = lane.learning.params, lane.learning.traces
        own = {exact: _Onlooker(params["feedback"], (), traces), **lane.onlookers}
        found = {name: _with_own(rule, own[name]) for name, rule in on_net.items()}
        *_, key_x, key_noise = _parts(key)
        return comparison(found, params, key_noise, begun(key_x)[1], reference=exact, samples=samples, burn_in=burn_in)

    return start, train, probe


def _parts(key: Key) -> Key:
    """A seed's keys: of weights, feedback, the exact rule, the onlookers, the stream and the comparison's noise."""
    return jax.random.split(key, 6)


def _with_own(rule: LearningRule, onlooker: _Onlooker) -> LearningRule:
    """The rule with its own feedback, from rest but for what it has learned beside the weights."""

    def init(params: Params, key: Key, batch: Example) -> Any:
        traces = rule.init({**params, "feedback": onlooker.feedback}, key, batch)
        learned = getattr(onlooker.traces, "shared", None)
        return traces if learned is None else traces._replace(shared=learned)

    def update(params: Params, traces: Any, key: Key, batch: Example) -> Any:
        return rule.update({**params, "feedback": onlooker.feedback}, traces, key, batch)

    return LearningRule(init, update, rule.lag)


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
    """Latents from their mixture, a tenth of them new with each step."""
    return tasks.ou_mixture(latents=net.h_shapes[-1][0], stimuli=net.h_shapes[0][0], batch=batch)


def _largest(stream: Stream) -> Stream:
    def take(state: PyTree, steps: int) -> tuple[PyTree, Example]:
        state, example = stream.take(state, steps)
        return state, example._replace(y=jax.nn.one_hot(jnp.argmax(example.y, -1), example.y.shape[-1]))

    return Stream(stream.init, take)
