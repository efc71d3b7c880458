"""Checks of arguments, and conversions of data and updates to the form of the weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.typing import Example, PyTree, Scalar


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Refuses an option that is not known.

    Raises:
      ValueError: naming those that are known.
    """
    if value not in known:
        raise ValueError(f"{name}={value!r} is not known; use one of {', '.join(known)}")


def in_range(name: str, value: Scalar, low: float, high: float = np.inf, *, open_low: bool = False, why: str) -> None:
    """Refuses a coefficient outside its range; not validated when traced.

    Args:
      name: the argument's name.
      value: a number, or an array, with every entry checked.
      low: least value.
      high: largest value.
      open_low: whether `low` itself is outside.
      why: what the coefficient is.

    Raises:
      ValueError: naming the argument, the value and the range.

    Example:
      >>> in_range("leak", 3.0, 0, 1, open_low=True, why="the share that a trace forgets at each step")
      Traceback (most recent call last):
      ValueError: leak=3 is outside (0, 1]: it is the share that a trace forgets at each step
    """
    if isinstance(value, Tracer):
        return
    try:
        values = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={value!r} is not a number: it is {why}") from None
    bad = ~((values > low if open_low else values >= low) & (values <= high))
    if bad.any():
        interval = f"{low:g}, {high:g}]" if np.isfinite(high) else f"{low:g}, inf)"
        raise ValueError(f"{name}={values[bad].flat[0]:g} is outside {'(' if open_low else '['}{interval}: it is {why}")


def number(name: str, value: Scalar, low: float, high: float = np.inf, *, open_low: bool = False, why: str) -> None:
    """Refuses a coefficient that is not one number, or is outside its range; when traced only its shape is validated.

    Args:
      name: the argument's name.
      value: a number, or an array of shape ().
      low: least value.
      high: largest value.
      open_low: whether `low` itself is outside.
      why: what the coefficient is.

    Raises:
      ValueError: naming the argument, what it is and what it should be.

    Example:
      >>> number("sigma", [0.1, 0.2], 0, why="the standard deviation of the noise")
      Traceback (most recent call last):
      ValueError: sigma has shape (2,); give one number: it is the standard deviation of the noise
    """
    if np.shape(value) != ():
        raise ValueError(f"{name} has shape {np.shape(value)}; give one number: it is {why}")
    in_range(name, value, low, high, open_low=open_low, why=why)


def check_scales(**scales: Scalar | None) -> None:
    """Refuses scales, of the two factors of an estimate, that are not positive; not validated when traced."""
    for name, value in scales.items():
        if value is not None:
            in_range(name, value, 0, open_low=True, why="the scale of one factor of the estimate over the other")


def whole(name: str, value: Any, least: int, unit: str) -> None:
    """Refuses what is not a whole number of at least `least`.

    Raises:
      ValueError: naming the argument and the value.
    """
    if not _is_whole(value) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least} {unit}")


def check_counts(**counts: int) -> None:
    """Refuses counts that are below 1 or not whole.

    Raises:
      ValueError: naming the first of them.
    """
    for name, count in counts.items():
        if not _is_whole(count):
            raise ValueError(f"{name}={count!r} must be a whole number, at least 1")
        if count < 1:
            raise ValueError(f"{name}={count} must be at least 1")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def of_each_neuron(name: str, value: Any, n: int) -> Any:
    """A coefficient as a number or an array (n,), lists as arrays.

    Raises:
      ValueError: if it has another shape.
    """
    value = np.asarray(value) if isinstance(value, list | tuple) else value
    if np.shape(value) not in ((), (n,)):
        raise ValueError(f"{name} has shape {np.shape(value)}; give one number, or one for each neuron, ({n},)")
    return value


def default_float() -> jnp.dtype:
    """JAX's default floating dtype: float32, or float64 where x64 is enabled."""
    return jnp.result_type(float)


def cast_floats(tree: PyTree, dtype: Any) -> PyTree:
    """Floating leaves, NumPy's too, as arrays of one dtype; labels, counts, keys and Nones stay."""

    def cast(leaf: Any) -> Any:
        leaf = leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)


def finite_padding(leaf: jax.Array, weight: jax.Array) -> jax.Array:
    """Data with 0 for non-finite entries of weight 0: padding may hold anything."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    padding = (weight == 0).reshape(*weight.shape, *(1,) * (leaf.ndim - weight.ndim))
    return jnp.where(padding & ~jnp.isfinite(leaf), 0, leaf)


def like(updates: PyTree, params: PyTree) -> PyTree:
    """Updates with the containers and dtypes of the params: lists for lists, FrozenDicts for FrozenDicts.

    Named entries are matched by name, because containers differ in order: JAX sorts a dict, but not an OrderedDict.
    """
    below, level = jax.tree_util.tree_flatten_with_path(params, is_leaf=lambda node: node is not params)
    if len(below) == 1 and not below[0][0]:
        return updates.astype(params.dtype)
    if isinstance(updates, Mapping):
        each = [updates[key_name(path[0])] for path, _ in below]
    else:
        each = jax.tree.leaves(updates, is_leaf=lambda node: node is not updates)
    return jax.tree.unflatten(level, [like(new, old) for new, (_, old) in zip(each, below, strict=True)])


def key_name(key: Any) -> Any:
    """The name or index that an entry of a path stands for, whatever its container."""
    return next((getattr(key, name) for name in ("key", "name", "idx") if hasattr(key, name)), None)


def check_real(batch: Example, name: str = "batch") -> None:
    """Refuses complex data, whose imaginary part a cast would drop.

    Raises:
      ValueError: naming the field.
    """
    for field, value in zip(batch._fields, batch, strict=True):
        if value is not None and jnp.iscomplexobj(value):
            raise ValueError(f"{name}.{field} is complex; give real numbers")


def not_empty(name: str, size: int) -> None:
    """Refuses a batch without examples, because its mean is not a number.

    Raises:
      ValueError: if the size is 0.
    """
    if size == 0:
        raise ValueError(
            f"{name} has no examples (its leading axis is 0): leave the step out, or give it a weight of 0"
        )
