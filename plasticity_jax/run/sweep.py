"""Many lanes at once: a vmap in sub-batches that fit the cache, distributed over the devices."""

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from plasticity_jax.run.grid import Grid
from plasticity_jax.run.matrices import matrix_by_matrix
from plasticity_jax.typing import PyTree

# Measured on cores with 1 MiB of second-level cache: a step reads and writes several times the state.
_CACHE_BYTES = 1 << 18
_MOST_PADDING = 1.15


class Compiled(NamedTuple):
    """A sweep compiled for arguments of some shapes.

    Attributes:
      call: the mapped function for them.
      memory: bytes that it uses on all devices together, arguments included; None if unknown.
    """

    call: Callable[..., Any]
    memory: int | None


def sweep(
    f: Callable[..., PyTree],
    *,
    sub_batch: int | None = None,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    donate: bool = False,
) -> Callable[..., Any]:
    """Maps a pure function over the leading axis of its arguments, inside one jit.

    Every device runs an equal share of the lanes without communication, so a lane's numbers do not depend on the other
    lanes. The number of lanes that run at a time affects their rounding; the number of devices does not.
    If the lanes do not divide evenly, copies of the last lane fill up the rest, and their results are dropped.
    With several hosts, each runs its own share of the lanes (see `plasticity_jax.run.hosts`).
    On a CPU every factorisation in f is of one matrix at a time, because batches of factorisations can wait for each
    other for ever (see `plasticity_jax.run.matrices`).

    Args:
      f: pure function of one lane, ``(*args) -> pytree``. On a CPU, do not call the mapped function under another jit.
      sub_batch: lanes that a device runs at a time, by `jax.lax.map` over whole calls of f; no more devices are used
        than there are sub-batches. By default, on an accelerator, the device's whole share. On a CPU, as many lanes as
        fit into 256 KiB of cache with what they carry from step to step (the arguments, or the largest carry of a scan
        in f: mostly weights and traces), because a wider vmap is bound by memory. If lanes run one at a time (1), only
        one branch of a `jax.lax.cond` is computed, not both.
      devices: devices to use; by default all of `jax.local_devices()`.
      donate: give the arguments' memory to the results, for state -> state functions; the arguments are then deleted.

    Returns:
      The mapped function; the leaves of its arguments and results have shape (lanes, ...). Its attribute ``compiled``
      takes the arguments, or their shapes, and returns the `Compiled` program for them.

    Raises:
      ValueError: if `sub_batch` is not positive, or (when called) the leaves have different numbers of lanes, or a key
        is not of JAX's default kind, threefry; other kinds give numbers that depend on how many lanes run at a time.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> keys = jax.vmap(jax.random.key)(jnp.arange(3))
      >>> sweep(lambda key: jax.random.normal(key, (2,)))(keys).shape
      (3, 2)
    """
    if sub_batch is not None and sub_batch < 1:
        raise ValueError(f"sub_batch={sub_batch} must be at least 1")

    @functools.cache
    def jitted_for(lanes: int, width: int, mesh: Mesh) -> tuple[Callable[..., PyTree], NamedSharding]:
        even = lanes % mesh.size == 0
        sharding = NamedSharding(mesh, P("seed") if even else P())
        body = functools.partial(in_sub_batches, f, width)
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        if on_cpu:
            body = matrix_by_matrix(body)
        # A shard_map, because the partitioner would reduce the predicate of a batched while_loop over all devices at
        # each iteration.
        share = jax.shard_map(body, mesh=mesh, in_specs=P("seed"), out_specs=P("seed"), check_vma=False)

        def call(args: tuple[PyTree, ...]) -> PyTree:
            return _first(share(*_fill(args, mesh.size)), lanes)

        # XLA's default O3 on CPU fully unrolls inner loops shorter than about 40 and then fails to vectorise them:
        # O2 measured twice as fast.
        tune = on_cpu and "optimization_level" not in os.environ.get("XLA_FLAGS", "")
        options = {"xla_backend_optimization_level": "2"} if tune else None
        jitted = jax.jit(
            call,
            in_shardings=sharding,
            out_shardings=sharding,
            donate_argnums=(0,) if donate and even else (),
            compiler_options=options,
        )
        return jitted, sharding

    def chosen_for(args: tuple[PyTree, ...]) -> tuple[Callable[..., PyTree], NamedSharding]:
        if any(isinstance(arg, Grid) for arg in args):
            raise ValueError("a sweep takes lanes: give it the grid's .lanes")
        lanes = lane_count(args)
        check_keys(args)
        chosen = list(jax.local_devices() if devices is None else devices)
        width = min(sub_batch or width_on(chosen, args, f), lanes)
        mesh = Mesh(np.asarray(chosen[: math.ceil(lanes / width)]), ("seed",), axis_types=(AxisType.Auto,))
        return jitted_for(lanes, width, mesh)

    @functools.wraps(f)
    def mapped(*args: PyTree) -> PyTree:
        jitted, sharding = chosen_for(args)
        return jitted(jax.device_put(args, sharding))

    def compiled(*args: PyTree) -> Compiled:
        jitted, sharding = chosen_for(args)
        program: Any = jitted.lower(args).compile()  # pyright: ignore[reportFunctionMemberAccess]
        used = program.memory_analysis()
        memory = None
        if used is not None:
            taken = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
            memory = (taken + used.temp_size_in_bytes) * sharding.mesh.size
        return Compiled(lambda *args: program(jax.device_put(args, sharding)), memory)

    function: Any = mapped
    function.compiled = compiled
    return function


def lane_count(tree: PyTree) -> int:
    """Length of the leading axis that all leaves share.

    Raises:
      ValueError: if there is no leaf, a leaf is a scalar, or the lengths differ.
    """
    counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    if len(counts) != 1 or counts == {()} or counts == {(0,)}:
        raise ValueError(f"lanes: every leaf needs the same leading axis, of at least 1; found {sorted(counts)}")
    return counts.pop()[0]


def width_on(
    devices: Sequence[jax.Device],  # pyright: ignore[reportInvalidTypeForm]
    args: PyTree,
    f: Callable[..., PyTree] | None = None,
) -> int:
    """Default number of lanes that a device runs at a time.

    Args:
      devices: the devices.
      args: the lanes, or their shapes and dtypes.
      f: function of one lane, ``(*args) -> pytree``; its scans may carry more than the arguments.
    """
    lanes = lane_count(args)
    share = math.ceil(lanes / len(devices))
    if devices[0].platform != "cpu" or share == 1:
        return share
    lane_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in map(_typeof, jax.tree.leaves(args))) / lanes
    if f is not None:
        lane = jax.tree.map(lambda leaf: jax.eval_shape(lambda leaf: leaf[0], leaf), args)
        lane_bytes = max(lane_bytes, _largest_carry(jax.make_jaxpr(f)(*lane).jaxpr))
    return _fitting(lane_bytes, share)


def _largest_carry(jaxpr: Any) -> int:
    """Bytes of the largest carry of all scans in a program."""
    most = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            first, count = eqn.params["num_consts"], eqn.params["num_carry"]
            carried = [atom.aval for atom in eqn.invars[first : first + count]]
            most = max(most, sum(aval.size * aval.dtype.itemsize for aval in carried))
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda part: hasattr(part, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            most = max(most, _largest_carry(inner) if hasattr(inner, "eqns") else 0)
    return most


def check_keys(args: PyTree) -> None:
    """Refuses kinds of keys that give a lane numbers that depend on the other lanes.

    Raises:
      ValueError: for any kind but threefry.
    """
    for leaf in jax.tree.leaves(args):
        leaf = _typeof(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) and str(leaf.dtype) != "key<fry>":
            raise ValueError(
                f"a {leaf.dtype} gives a lane numbers that depend on its neighbours: make the keys by "
                'jax.random.key(seed, impl="threefry2x32")'
            )


def _fitting(lane_bytes: float, share: int) -> int:
    """The widest sub-batch that fits the cache and needs little padding."""
    most = max(1, min(share, int(_CACHE_BYTES // max(lane_bytes, 1))))
    return next(width for width in range(most, 0, -1) if math.ceil(share / width) * width <= _MOST_PADDING * share)


def fitting_the_cache(f: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Maps f over the leading axis of its arguments, under the caller's jit, in sub-batches that fit a CPU's cache."""
    return lambda *args: in_sub_batches(f, width_on(jax.devices()[:1], args), *args)


def in_sub_batches(f: Callable[..., PyTree], width: int, *args: PyTree) -> PyTree:
    """The results of f over the leading axis of its arguments, `width` at a time."""
    if width == 1:  # without vmap, which would compute both branches of a `jax.lax.cond`
        return jax.lax.map(lambda lane: f(*lane), args)
    full = _fill(args, width)
    if lane_count(full) == width:
        results = jax.vmap(f)(*full)
    else:
        batches = jax.tree.map(lambda leaf: leaf.reshape(-1, width, *leaf.shape[1:]), full)
        results = jax.lax.map(lambda batch: jax.vmap(f)(*batch), batches)
        results = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)
    return _first(results, lane_count(args))


def _fill(tree: PyTree, multiple: int) -> PyTree:
    lanes = lane_count(tree)
    total = math.ceil(lanes / multiple) * multiple
    if total == lanes:
        return tree
    index = jnp.minimum(jnp.arange(total), lanes - 1)
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _first(tree: PyTree, lanes: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf if leaf.shape[0] == lanes else leaf[:lanes], tree)


def _typeof(leaf: Any) -> Any:
    """Shape and dtype of an array, or of a placeholder for one."""
    return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jax.typeof(leaf)
