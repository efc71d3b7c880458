"""The host loop: chunks of a `Program` under one jit, metrics to the host, a save and a sign of life between them."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.run.checkpoint import Checkpoints, Saved, fingerprint_of
from plasticity_jax.run.program import Program
from plasticity_jax.run.progress import bar, interrupt_at_edges, say
from plasticity_jax.run.sweep import lane_count, sweep
from plasticity_jax.typing import PyTree


class Outcome(NamedTuple):
    """A finished run.

    Attributes:
      metrics: arrays by name, shape (lanes, chunks * points, ...).
      seconds: wall time of the chunks, compilation included, over all sittings.
      seed_steps: learner steps times lanes.
    """

    metrics: dict[str, np.ndarray]
    seconds: float
    seed_steps: int


class Divergence(NamedTuple):
    """A lane whose loss stopped being finite.

    Attributes:
      part: which program of the experiment, "" if there is only one.
      seed: index of the lane.
      step: the first step with such a loss.
      leaf: index of a weight that was not finite then, where the program tells: of a life, say; -1 if all were finite.
      recovered: the last loss is finite again, since the optimiser skipped what was not.
    """

    part: str
    seed: int
    step: int
    leaf: int | None = None
    recovered: bool = False


def run(program: Program, lanes: PyTree, **options: Any) -> dict[str, np.ndarray]:
    """Runs a program over all lanes; see `execute` for the options.

    Returns:
      Metrics by name, shape (lanes, chunks * points, ...).
    """
    return execute(program, lanes, **options).metrics


def execute(
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
) -> Outcome:
    """Runs a program over all lanes, chunk by chunk, and saves between chunks.

    Of a lane whose loss stops being finite the last checkpoint before that is kept, for a look at what happened, if
    `keep` is at least 2.
    Ctrl-C, or a kill, loses at most `save_every_s` and the chunk it meets; the first Ctrl-C waits for the end of the
    chunk and saves it. A run that is resumed gives the same numbers, bit for bit, as one that never stopped.

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
      sub_batch: see `sweep`.
      devices: see `sweep`.

    Returns:
      An `Outcome`.

    Raises:
      RunError: if the folder cannot be written, or no checkpoint fits; the message says what to do.
      KeyboardInterrupt: after the save that Ctrl-C asked for.
    """
    count = lane_count(lanes)
    advance = sweep(program.chunk, sub_batch=sub_batch, devices=devices, donate=True)
    store = saved = None
    if out is not None:
        template = jax.eval_shape(jax.vmap(program.init), lanes)
        shape = {"chunks": program.chunks, "steps per chunk": program.steps, "points per chunk": program.points}
        store = Checkpoints(Path(out) / name, fingerprint_of(lanes, template, config=dict(config or {}), **shape), keep)
        saved = store.load(template) if resume else None
    done, state, metrics, seconds = saved or Saved(0, None, {}, 0.0)
    pieces = [metrics] if metrics else []
    chunk_steps = program.steps * count
    warned = _warn(name, metrics, set(), program, store)
    edge = saved_at = time.perf_counter()
    with (
        interrupt_at_edges() as interrupted,
        bar(name, program.chunks * chunk_steps, done * chunk_steps, shown=progress) as tick,
    ):
        if saved is None:
            # Not jitted: operation by operation it reuses what the programs before it compiled.
            # Copied, for what init passes on untouched is the caller's, and the chunks are given their state's memory.
            state = jax.tree.map(jnp.copy, jax.vmap(program.init)(lanes))
        while done < program.chunks:
            state, piece = advance(state)
            pieces.append({key: np.asarray(values) for key, values in piece.items()})
            done += 1
            tick(chunk_steps)
            warned |= _warn(name, pieces[-1], warned, program, store)
            last_edge, edge = edge, time.perf_counter()
            seconds += edge - last_edge
            must_save = done == program.chunks or interrupted() or edge - saved_at >= save_every_s
            if store is not None and must_save:
                pieces = [_join(pieces)]
                store.save(Saved(done, state, pieces[0], seconds))
                saved_at = time.perf_counter()
            if interrupted():
                raise KeyboardInterrupt
    return Outcome(_join(pieces), seconds, program.chunks * chunk_steps)


def divergences(metrics: Mapping[str, np.ndarray]) -> list[Divergence]:
    """Lanes whose loss was not finite, from "bad_step", "bad_leaf" and "alive", or "part/bad_step" and so on.

    Args:
      metrics: arrays by name, leading lane axis.

    Returns:
      One entry for each such lane, by part and seed.
    """
    found = []
    for key, values in metrics.items():
        part, _, metric = key.rpartition("/")
        if metric == "bad_step":
            last = np.asarray(values)[:, -1].reshape(len(values), -1)
            leaves, alive = (metrics.get(f"{key.removesuffix('bad_step')}{name}") for name in ("bad_leaf", "alive"))
            for seed in np.flatnonzero((last >= 0).any(1)):
                first = np.where(last[seed] >= 0, last[seed], np.iinfo(last.dtype).max).argmin()  # among its settings
                leaf = None if leaves is None else int(np.asarray(leaves)[seed, -1].reshape(-1)[first])
                recovered = alive is not None and bool(np.all(np.asarray(alive)[seed, -1]))
                found.append(Divergence(part, int(seed), int(last[seed, first]), leaf, recovered))
    return found


def _warn(
    name: str, metrics: Mapping[str, np.ndarray], warned: set[int], program: Program, store: Checkpoints | None
) -> set[int]:
    """Names the lanes that went bad and are not yet in `warned`, one line each, and returns them.

    The last checkpoint that has them whole is held.
    """
    fresh = [bad for bad in divergences(metrics) if bad.seed not in warned]
    for bad in fresh:
        where = "/".join(filter(None, (name, bad.part)))
        weight = None if bad.leaf is None else _weight(bad.leaf, program.leaves)
        when = f"from step {bad.step} on" if weight is None else f"at step {bad.step}: {weight}"
        then = "the state before it was kept" if bad.recovered else "the others go on"
        # The step before it may have spoiled the weights that it read: its loss is of the weights before that.
        held = None if bad.recovered or store is None else store.hold((bad.step - 1) // program.steps)
        then += f"; the last checkpoint before it is kept in {held}" if held else ""
        say(f"warning: {where}: seed {bad.seed}: the loss is not finite {when}; {then}")
    return {bad.seed for bad in fresh}


def _weight(leaf: int, names: Sequence[str]) -> str:
    if leaf < 0:
        return "the weights are"
    return f"layer {names[leaf]}" if leaf < len(names) else f"leaf {leaf} of the weights"


def _join(pieces: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(pieces) == 1:
        return dict(pieces[0])
    return {key: np.concatenate([piece[key] for piece in pieces], axis=1) for key in pieces[0]}
