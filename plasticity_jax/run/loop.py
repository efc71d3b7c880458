"""The host loop: runs the chunks of a compiled `Program`, and between them collects metrics and saves checkpoints."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.run.checkpoint import Checkpoints, Saved, fingerprint_of
from plasticity_jax.run.divergence import divergence_message, divergences
from plasticity_jax.run.lock import locked
from plasticity_jax.run.memory import available, check_memory, size
from plasticity_jax.run.program import Program
from plasticity_jax.run.progress import bar, interrupt_at_edges, say
from plasticity_jax.run.sittings import Sitting, change, sitting
from plasticity_jax.run.sweep import check_keys, lane_count, sweep, width_on
from plasticity_jax.typing import PyTree

_BLOCK_BYTES = 1 << 26
"""Bytes of the states that are initialised at once."""


class Outcome(NamedTuple):
    """A finished run.

    Attributes:
      metrics: arrays by name, shape (lanes, chunks * points, ...).
      state: the program's state at the end, leading lane axis; the weights of `online_training` are in
        ``state.learner.params``.
      seconds: wall time of the chunks, compilation included, over all sittings.
      seed_steps: learner steps times lanes.
      sittings: a mapping for each sitting of the run: "chunks_before" it, "commit", "versions", "lanes_at_a_time",
        "device" and "device_count"; empty for a run that saves nothing.
    """

    metrics: dict[str, np.ndarray]
    state: PyTree
    seconds: float
    seed_steps: int
    sittings: Sequence[Sitting] = ()


class Cost(NamedTuple):
    """Measured costs of a run.

    Attributes:
      lanes: number of lanes.
      lanes_at_a_time: lanes that run at a time on each device.
      devices: number of devices in use.
      memory: bytes of the state and of the compiled program; None if unknown.
      compile_seconds: time to compile.
      chunk_seconds: time of the first chunk.
      chunks: number of chunks to run in this sitting.
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
    A kill loses at most `save_every_s` and the current chunk. The first Ctrl-C, SIGTERM or SIGHUP waits for the end of
    the chunk and saves it; the second acts at once. A run that is resumed by the same code, on devices of the same
    kind, gives the same numbers, bit for bit, as an uninterrupted one: it runs as many lanes at a time as before,
    however many devices there are now. Another commit, version or `sub_batch` causes a warning on stderr.

    Args:
      program: one lane's training.
      lanes: a key, or a pytree that holds one, for each lane; leading axis (lanes,).
      name: names the run in messages, and its folder under `out`.
      out: folder of the checkpoints (``out/name/``); None saves nothing.
      resume: continue from the newest whole checkpoint, if there is one; a finished run is only loaded. Otherwise the
        run starts over, and its first save replaces the earlier checkpoints.
      progress: show a bar, rate in steps times lanes per second, on stderr.
      keep: number of checkpoints to keep.
      save_every_s: save after the first chunk that ends so many seconds after the last save, and after the last chunk;
        0 saves after every chunk.
      config: JSON-able settings; a checkpoint of other settings is refused.
      sub_batch: see `sweep`; by default, a resumed run keeps its earlier value.
      devices: see `sweep`.
      report: called with the `Cost` when the first chunk of this sitting is done.

    Returns:
      An `Outcome`, with the metrics and the trained state.

    Raises:
      RunError: if the folder cannot be written or another process runs in it, no checkpoint fits, or the memory does
        not suffice; the message states a remedy.
      KeyboardInterrupt: after Ctrl-C, once the chunk is saved.
      SystemExit: after SIGTERM or SIGHUP, once the chunk is saved; its code is 128 + signal.
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
        earlier = list(saved.sittings) if saved else []
        done, state, metrics, seconds, _ = saved or Saved(0, None, {}, 0.0)
        pieces = [metrics] if metrics else []
        chunk_steps = program.steps * count
        warned = _warn(name, state, set(), program, store)
        chunk_end = saved_at = time.perf_counter()
        sittings, advance, cost, stop = earlier, None, None, False
        with (
            interrupt_at_edges() as interrupted,
            bar(name, program.chunks * chunk_steps, done * chunk_steps, shown=progress) as tick,
        ):
            if done < program.chunks:
                width = sub_batch or (int(earlier[-1]["lanes_at_a_time"]) if earlier else None)
                advance, cost = _compiled(name, program, template, width, chosen)
                cost = cost._replace(chunks=program.chunks - done)
                if store is not None:
                    sittings = [*earlier, sitting(done, cost.lanes_at_a_time, chosen)]
                    _warn_of_change(name, sittings[-2:], count)
            if saved is None:
                state = _start(program, lanes, template)
            while done < program.chunks and not stop:
                assert advance is not None
                chunk_start = time.perf_counter()
                state, piece = advance(state)
                jax.block_until_ready(piece)  # while this waits Python handles signals, but not in a copy to the host
                pieces.append({key: np.asarray(values) for key, values in piece.items()})
                if report is not None and cost is not None:
                    report(cost._replace(chunk_seconds=time.perf_counter() - chunk_start))
                    cost = None
                done += 1
                tick(chunk_steps)
                warned |= _warn(name, state, warned, program, store)
                last_end, chunk_end = chunk_end, time.perf_counter()
                seconds += chunk_end - last_end
                stop = interrupted()
                must_save = done == program.chunks or stop or chunk_end - saved_at >= save_every_s
                if store is not None and must_save:
                    pieces = [_join(pieces)]
                    store.save(Saved(done, state, pieces[0], seconds, sittings))
                    saved_at = time.perf_counter()
        return Outcome(_join(pieces), state, seconds, program.chunks * chunk_steps, sittings)


def _start(program: Program, lanes: PyTree, template: PyTree) -> PyTree:
    """The initial state of all lanes; a large one is made in blocks, since each operation allocates as much again."""
    # Not jitted: single operations reuse what earlier programs have compiled.
    # Copied: the chunks take over the memory of their state, and init may pass on arrays of the caller.
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
    """The compiled chunk of all lanes, and its cost; without `sub_batch`, it is as wide as the memory allows."""
    start = time.perf_counter()
    count = lane_count(template)
    width = min(sub_batch or width_on(devices, template), count)
    while True:
        mapped: Any = sweep(program.chunk, sub_batch=width, devices=devices, donate=True)
        call, used = mapped.compiled(template)
        free = available(devices)
        needed = None if used is None else max(used, 2 * size(template))  # twice: it is copied to the devices
        fits = needed is None or free is None or needed <= free
        if fits or width == 1 or sub_batch is not None:
            break
        width = width // 2
    if not fits:
        check_memory(f"{name}: {count} lanes, {width} at a time,", needed or 0, devices)
    in_use = min(len(devices), math.ceil(count / width))
    return call, Cost(count, width, in_use, needed, time.perf_counter() - start, math.nan, program.chunks)


def _warn_of_change(name: str, sittings: Sequence[Sitting], lanes: int) -> None:
    """Warns of differences between the last sitting and this one that may change numbers or cost time."""
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


def _warn(name: str, state: PyTree, warned: set[int], program: Program, store: Checkpoints | None) -> set[int]:
    """Warns of the lanes that diverged and are not yet in `warned`, one line each, and returns their seeds.

    The last checkpoint before a divergence is held.
    """
    if program.may_diverge:
        return set()
    new = [divergence for divergence in divergences(state, name) if divergence.seed not in warned]
    for divergence in new:
        # The step before the first bad one may have spoiled the weights: its loss is that of the weights before it.
        chunks = (divergence.step - 1) // program.steps
        held = None if divergence.recovered or store is None else store.hold(chunks)
        place = f"; the last checkpoint before it is kept in {held}" if held else ""
        say(f"warning: {name}: seed {divergence.seed}: {divergence_message(divergence)}{place}")
    return {divergence.seed for divergence in new}


def _join(pieces: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(pieces) == 1:
        return dict(pieces[0])
    return {key: np.concatenate([piece[key] for piece in pieces], axis=1) for key in pieces[0]}
