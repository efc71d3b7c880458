"""Checks of a cell of neurons when it is built: its connections, and that its functions do not mix neurons."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def connections(name: str, receives: Sequence[Any], mask: Any, n: int, n_in: int) -> np.ndarray | None:
    """The mask (G, n, m) of the connections that exist, by gate and by the given mask; None if all exist.

    Raises:
      ValueError: if the mask's shape does not fit, or it is traced.
    """
    m = n + n_in + 1
    full = np.repeat(np.asarray(receives, bool), [n, n_in, 1], axis=1)[:, None, :].repeat(n, 1)
    if mask is not None:
        if isinstance(mask, Tracer):
            raise ValueError(f"{name}: the mask is traced; it decides on what is computed, so give it as a NumPy array")
        given = np.asarray(mask) != 0
        if given.shape == (n, n):
            full[:, :, :n] &= given
        elif given.shape in (full.shape, full.shape[1:]):
            full &= given
        else:
            raise ValueError(
                f"{name}: mask has shape {given.shape}; give (n, n) = {(n, n)} for the connections between neurons, "
                f"(n, m) = {full.shape[1:]} for all of them, or (gates, n, m) = {full.shape} gate by gate"
            )
    assert full.shape[2] == m
    return None if full.all() else full


def check_functions(cell: Any) -> None:
    """Runs a neuron's functions on numbers, and again with some neurons changed: the others must not change."""
    rows, sums, n = len(cell.variables), len(cell.gates), cell.n
    dtype = jnp.result_type(float)  # JAX warns of NumPy's where double precision is off
    own = {
        name: value if isinstance(value, Tracer) else np.array(np.broadcast_to(np.asarray(value, dtype), (n,)))
        for name, value in _own_values(cell).items()
    }
    shapes = jax.eval_shape(
        cell.update,
        {name: jax.ShapeDtypeStruct((n,), jnp.float32) for name in own},
        jax.ShapeDtypeStruct((rows, n), jnp.float32),
        jax.ShapeDtypeStruct((sums, n), jnp.float32),
    )
    if getattr(shapes, "shape", None) != (rows, n):
        raise ValueError(
            f"{cell.name}: update returns {getattr(shapes, 'shape', type(shapes).__name__)} for s of shape {(rows, n)} "
            f"({', '.join(cell.variables)}) and v of shape {(sums, n)} ({', '.join(cell.gates)}); it must return s"
        )
    for what in ("output", "read"):
        shape = getattr(
            jax.eval_shape(getattr(cell, what), jax.ShapeDtypeStruct((rows, n), jnp.float32)), "shape", None
        )
        if shape != (n,):
            raise ValueError(f"{cell.name}: {what} returns shape {shape} for s of shape {(rows, n)}; it must be ({n},)")
    if any(isinstance(value, Tracer) for value in own.values()):
        return
    s, v, s_other, v_other = (
        np.sin(1 + k + np.square(np.arange(count * n))).reshape(count, n).astype(dtype)
        for k, count in enumerate((rows, sums, rows, sums))
    )
    if _reads_beyond(lambda: cell.update(own, s, v)):
        raise ValueError(
            f"{cell.name}: update reads more than the {rows} variables ({', '.join(cell.variables)}) and {sums} gates "
            f"({', '.join(cell.gates)}) that there are: name one more in variables= or gates="
        )
    changed = np.sin(13 * np.arange(n)) > 0
    changed[:1], changed[1:2] = True, False

    def mixes(f: Callable[..., Any], *arguments: tuple[np.ndarray, np.ndarray]) -> bool:
        with jax.ensure_compile_time_eval():
            before = f(*(jnp.asarray(a) for a, _ in arguments))
            after = f(*(jnp.asarray(np.where(changed, b, a)) for a, b in arguments))
            if isinstance(before, Tracer) or isinstance(after, Tracer):
                return False  # a traced coefficient: the same cell with numbers was, or will be, checked
            before, after = np.asarray(before), np.asarray(after)
        return not np.array_equal(before[..., ~changed], after[..., ~changed], equal_nan=True)

    functions = {
        "update": lambda: mixes(lambda s, v: cell.update(own, s, v), (s, s_other), (v, v_other)),  # pyright: ignore
        "output": lambda: mixes(cell.output, (s, s_other)),
        "read": lambda: mixes(cell.read, (s, s_other)),
    }
    for what, mixes_neurons in functions.items():
        if n > 1 and mixes_neurons():
            raise ValueError(
                f"{cell.name}: {what} mixes neurons: entry i of its result must read entry i of its arguments alone; "
                "neurons reach each other through the weights (or use pj.cells.Cell, whose step may be anything)"
            )


def _reads_beyond(call: Callable[[], Any]) -> bool:
    """Returns whether an index is out of range, for which NumPy raises an error, while JAX reads the last row."""
    try:
        with jax.ensure_compile_time_eval():
            call()
    except IndexError:
        return True
    except Exception:  # a function that takes only JAX arrays
        return False
    return False


def _own_values(cell: Any) -> dict[str, Any]:
    for name, value in cell.own.items():
        if np.shape(value) not in ((), (cell.n,)):
            raise ValueError(f"{cell.name}: own[{name!r}] has shape {np.shape(value)}; give a number or ({cell.n},)")
    return dict(cell.own)
