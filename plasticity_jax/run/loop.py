"""The host loop: chunks of a `Program` under one jit, metrics to the host, a save and a sign of life between them."""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.ops.leaves import leaf_names
from plasticity_jax.run.checkpoint import Checkpoints, Saved, fingerprint_of
from plasticity_jax.run.lock import locked
from plasticity_jax.run.memory import available, check_memory, size
from plasticity_jax.run.program import Program, TrainingState
from plasticity_jax.run.progress import bar, interrupt_at_edges, say
from plasticity_jax.run.sittings import Sitting, change, sitting
from plasticity_jax.run.sweep import check_keys, lane_count, sweep, width_on
from plasticity_jax.typing import PyTree

_BLOCK_BYTES = 1 << 26
"""Size of the states that are initialised at once."""


class Outcome(NamedTuple):
    """A finished run.

    Attributes:
      metrics: arrays by name, shape (lanes, chunks * points, ...).
      state: the program's state at the end, leading lane axis; the weights of `online_training` are in
        ``state.learner.params``.
      seconds: wall time of the chunks, compilation included, over all sittings.
      seed_steps: learner steps times lanes.
      sittings: what computed it, a mapping for each sitting: "chunks_before" it, "commit", "versions",
        "lanes_at_a_time", "device" and "device_count"; none for a run that saves nothing.
    """

    metrics: dict[str, np.ndarray]
    state: PyTree
    seconds: float
    seed_steps: int
    sittings: Sequence[Sitting] = ()


class Cost(NamedTuple):
    """Measured costs of a run.

    Attributes:
      lanes: all of them.
      lanes_at_a_time: on each device.
      devices: how many are in use.
      memory: bytes of the state and of the compiled program; None if unknown.
      compile_seconds: spent on compiling.
      chunk_seconds: the first chunk's.
      chunks: how many chunks are to run in this sitting.
    """

    lanes: int
    lanes_at_a_time: int
    devices: int
    memory: int | None
    compile_seconds: float
    chunk_seconds: float
    chunks: int

    @property
    def seconds(self) -> float:
        """Expected time of all chunks of this sitting, compilation included."""
        return self.compile_seconds + self.chunks * self.chunk_seconds


class Divergence(NamedTuple):
    """A lane whose loss, or one of whose weights or updates, stopped being finite.

    Attributes:
      part: the name of the run.
      seed: index of the lane.
      step: the first step with such a loss or update, or the one after which such a weight, or an update that was
        skipped, was found.
      loss: whether it was the loss; otherwise the loss was finite.
      weights: names of the weights that were not finite at the end of the point of metrics of that step.
      largest: name of the weight with the largest entry when all was last well, and that entry's magnitude; None if
        that was before the first look.
      recovered: the last loss, the last update and all weights are finite again, since the optimiser skipped what was
        not.
      updates: names of the weights whose updates were not finite in that step, where the rule reports it (see
        `online_training`). If there are none, nor weights, and the loss was finite, the optimiser skipped an update.
    """

    part: str
    seed: int
    step: int
    loss: bool = True
    weights: tuple[str, ...] = ()
    largest: tuple[str, float] | None = None
    recovered: bool = False
    updates: tuple[str, ...] = ()


def run(
    program: Program,
    lanes: PyTree,
    *,
    name: str,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    keep: int = 2,
    save_every_s: float = 10.0,
    config: Mapping[str, Any] | None = None,
    sub_batch: int | None = None,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    report: Callable[[Cost], None] | None = None,
) -> Outcome:
    """Runs a program over all lanes, chunk by chunk, and saves between chunks.

    A lane whose loss, weights or updates (see `Health`) stop being finite is named on stderr, unless
    `Program.may_diverge`. Its last good checkpoint is kept for inspection, if `keep` is at least 2.
    A kill loses at most `save_every_s` and the chunk it meets. The first Ctrl-C, SIGTERM or SIGHUP waits for the end of
    the chunk and saves it; the second acts at once. A run that is resumed by the same code, on devices of the same
    kind, gives the same numbers, bit for bit, as one that never stopped: it runs as many lanes at a time as before,
    however many devices there are now. Another commit or version, or another `sub_batch`, is a warning on stderr.

    Args:
      program: one lane's training.
      lanes: a key, or a pytree that holds one, for each lane; leading axis (lanes,).
      name: names the run in messages, and its folder under `out`.
      out: where checkpoints go (``out/name/``); None saves nothing.
      resume: continue from the newest whole checkpoint, if there is one; a finished run is only loaded. Otherwise the
        run starts over, and its first save replaces the checkpoints of before.
      progress: show a bar, rate in steps times lanes per second, on stderr.
      keep: checkpoints to keep.
      save_every_s: save at the first edge after so many seconds, and at the last one; 0 saves at every edge.
      config: JSON-able settings; a checkpoint of other settings is refused.
      sub_batch: see `sweep`; by default that of before, if the run is resumed.
      devices: see `sweep`.
      report: given the `Cost` when the first chunk of this sitting is done.

    Returns:
      An `Outcome`, with the metrics and the trained state.

    Raises:
      RunError: if the folder cannot be written or another process runs in it, no checkpoint fits, or the memory does
        not suffice; the message says what to do.
      KeyboardInterrupt: after the save that Ctrl-C asked for.
      SystemExit: after the save that SIGTERM or SIGHUP asked for; its code is 128 + signal.
    """
    count = lane_count(lanes)
    check_keys(lanes)
    chosen = list(jax.local_devices() if devices is None else devices)
    folder = None if out is None else Path(out) / name
    with locked(folder):
        template = jax.eval_shape(jax.vmap(program.init), lanes)
        check_memory(f"{name}: the state of {count} lanes", size(template), chosen)
        store, saved = None, None
        if folder is not None:
            shape = {"chunks": program.chunks, "steps per chunk": program.steps, "points per chunk": program.points}
            store = Checkpoints(folder, fingerprint_of(lanes, template, config=dict(config or {}), **shape), keep)
            saved = store.load(template) if resume else None
        before = list(saved.sittings) if saved else []
        done, state, metrics, seconds, _ = saved or Saved(0, None, {}, 0.0)
        pieces = [metrics] if metrics else []
        chunk_steps = program.steps * count
        warned = _warn(name, state, set(), program, store)
        edge = saved_at = time.perf_counter()
        sittings, advance, cost, stop = before, None, None, False
        with (
            interrupt_at_edges() as interrupted,
            bar(name, program.chunks * chunk_steps, done * chunk_steps, shown=progress) as tick,
        ):
            if done < program.chunks:
                given = sub_batch or (int(before[-1]["lanes_at_a_time"]) if before else None)
                advance, cost = _compiled(name, program, template, given, chosen)
                cost = cost._replace(chunks=program.chunks - done)
                if store is not None:
                    sittings = [*before, sitting(done, cost.lanes_at_a_time, chosen)]
                    _warn_of_change(name, sittings[-2:], count)
            if saved is None:
                state = _start(program, lanes, template)
            while done < program.chunks and not stop:
                assert advance is not None
                begun = time.perf_counter()
                state, piece = advance(state)
                jax.block_until_ready(piece)  # while it waits, signals are heard: copying to the host is deaf
                pieces.append({key: np.asarray(values) for key, values in piece.items()})
                if report is not None and cost is not None:
                    report(cost._replace(chunk_seconds=time.perf_counter() - begun))
                    cost = None
                done += 1
                tick(chunk_steps)
                warned |= _warn(name, state, warned, program, store)
                last_edge, edge = edge, time.perf_counter()
                seconds += edge - last_edge
                stop = interrupted()
                must_save = done == program.chunks or stop or edge - saved_at >= save_every_s
                if store is not None and must_save:
                    pieces = [_join(pieces)]
                    store.save(Saved(done, state, pieces[0], seconds, sittings))
                    saved_at = time.perf_counter()
        return Outcome(_join(pieces), state, seconds, program.chunks * chunk_steps, sittings)


def divergences(state: PyTree, part: str = "") -> list[Divergence]:
    """The lanes that diverged.

    Args:
      state: a program's, leading lane axis; every `TrainingState` in it is looked at. Where it trains at several
        settings, a lane stands for the one that failed first.
      part: the name of the run.

    Returns:
      One entry for each such lane and `TrainingState`, by seed.
    """
    found = []
    for training in _trainings(state):
        step, loss, bad, size, alive, updates = (np.asarray(leaf) for leaf in training.health)
        names = leaf_names(training.learner.params)
        for seed in np.flatnonzero((step >= 0).reshape(len(step), -1).any(1)):
            steps = np.where(step[seed] >= 0, step[seed], np.iinfo(step.dtype).max)
            first = (seed, *np.unravel_index(steps.argmin(), steps.shape))  # among its settings
            largest = (names[size[first].argmax()], float(size[first].max())) if size[first].any() else None
            found.append(
                Divergence(
                    part=part,
                    seed=int(seed),
                    step=int(step[first]),
                    loss=bool(loss[first]),
                    weights=tuple(itertools.compress(names, bad[first])),
                    largest=largest,
                    recovered=bool(alive[seed].all()),
                    updates=tuple(itertools.compress(names, updates[first])),
                )
            )
    return sorted(found, key=lambda bad: bad.seed)


def _start(program: Program, lanes: PyTree, template: PyTree) -> PyTree:
    """The state that all lanes begin in, large ones made block by block, for each operation needs as much again."""
    # Not jitted: operation by operation it reuses what the programs before it compiled.
    # Copied, for what init passes on untouched is the caller's, and the chunks are given their state's memory.
    count = lane_count(lanes)
    block = max(1, _BLOCK_BYTES * count // max(size(template), 1))
    if block >= count:
        return jax.tree.map(jnp.copy, jax.vmap(program.init)(lanes))
    cuts = [jax.tree.map(lambda leaf, at=at: leaf[at : at + block], lanes) for at in range(0, count, block)]
    pieces = [jax.tree.leaves(jax.vmap(program.init)(cut)) for cut in cuts]
    leaves = []
    for i in range(len(pieces[0])):
        leaves.append(jnp.concatenate([piece[i] for piece in pieces]))
        for piece in pieces:
            piece[i] = None
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _compiled(
    name: str,
    program: Program,
    template: PyTree,
    sub_batch: int | None,
    devices: Sequence[jax.Device],  # pyright: ignore[reportInvalidTypeForm]
) -> tuple[Callable[[PyTree], Any], Cost]:
    """The chunk of all lanes, compiled, and what it costs; without `sub_batch`, as wide as the memory allows."""
    begun = time.perf_counter()
    count = lane_count(template)
    width = min(sub_batch or width_on(devices, template), count)
    while True:
        mapped: Any = sweep(program.chunk, sub_batch=width, devices=devices, donate=True)
        call, taken = mapped.compiled(template)
        free = available(devices)
        needed = None if taken is None else max(taken, 2 * size(template))  # twice: it moves to the devices
        fits = needed is None or free is None or needed <= free
        if fits or width == 1 or sub_batch is not None:
            break
        width = width // 2
    if not fits:
        check_memory(f"{name}: {count} lanes, {width} at a time,", needed or 0, devices)
    used = min(len(devices), math.ceil(count / width))
    return call, Cost(count, width, used, needed, time.perf_counter() - begun, math.nan, program.chunks)


def _warn_of_change(name: str, sittings: Sequence[Sitting], lanes: int) -> None:
    """Says what differs between two sittings, the last and this one, that may change numbers or costs time."""
    if len(sittings) < 2:
        return
    before, now = sittings
    if changed := change(before, now):
        since = f"since chunk {now['chunks_before']}"
        say(f"warning: {name}: {changed} {since}: numbers may differ from those of one sitting")
    width, devices = now["lanes_at_a_time"], now["device_count"]
    used = math.ceil(lanes / width)
    if used < min(devices, lanes):
        say(f"{name}: {used} of {devices} devices in use: {width} lanes at a time, as before, keep the numbers")


def _trainings(state: PyTree) -> list[TrainingState]:
    def is_training(node: Any) -> bool:
        return isinstance(node, TrainingState)

    return [node for node in jax.tree.leaves(state, is_leaf=is_training) if is_training(node)]


def _warn(name: str, state: PyTree, warned: set[int], program: Program, store: Checkpoints | None) -> set[int]:
    """Names the lanes that went bad and are not yet in `warned`, one line each, and returns them.

    The last checkpoint that has them whole is held.
    """
    if program.may_diverge:
        return set()
    fresh = [bad for bad in divergences(state, name) if bad.seed not in warned]
    for bad in fresh:
        # The step before it may have spoiled the weights that it read: its loss is of the weights before that.
        held = None if bad.recovered or store is None else store.hold((bad.step - 1) // program.steps)
        kept = f"; the last checkpoint before it is kept in {held}" if held else ""
        say(f"warning: {name}: seed {bad.seed}: {_divergence_message(bad)}{kept}")
    return {bad.seed for bad in fresh}


def _divergence_message(bad: Divergence) -> str:
    """A lane's divergence in words."""
    weights, updates, step = _listed(bad.weights), _listed(bad.updates), bad.step
    well = "; all is finite again, and the lane goes on"
    if not (bad.loss or updates or weights):
        skipped = f"the optimiser skipped an update that was not finite, at step {step} or shortly before"
        return skipped + (well if bad.recovered else " and since, though loss and weights are finite; the others go on")
    what = f"the weights {weights} are"
    if bad.loss or updates:
        what = "the loss is" if bad.loss else f"the updates of {updates} are"
    if bad.recovered:
        return f"{what} not finite at step {step}{well}"
    message = f"{what} not finite from step {step} on"
    if bad.loss or updates:
        message += f", nor are the weights {weights}" if weights else ", but all weights are"
    else:
        message += ", but the loss is"
    if bad.largest:
        message += f" (the largest before: {bad.largest[1]:.2g} in {bad.largest[0]})"
    return f"{message}; the others go on"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def _join(pieces: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(pieces) == 1:
        return dict(pieces[0])
    return {key: np.concatenate([piece[key] for piece in pieces], axis=1) for key in pieces[0]}
