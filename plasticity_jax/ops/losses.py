r"""Losses of one output and one target, with their error e = dL/dz.

    squared   L = 1/2 sum (z - y)^2                e = z - y
    softmax   L = -sum y log softmax(z)            e = softmax(z) sum(y) - y

The softmax's y is a distribution, or anything that weighs classes: with y = 0 there is no target, no loss and no error.
Any other loss is a callable ``(z, y) -> ()``, whose error is its derivative.

Padding may hold what a loss cannot take, a negative z of log(z) for instance, and 0 times infinity is NaN. So an
example of weight 0 whose loss or error is not finite has neither, and no derivative of any order.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.typing import Array

Loss: TypeAlias = Literal["softmax", "squared"] | Callable[[Array, Array], Array]
LOSSES = ("softmax", "squared")


def check_loss(loss: Loss) -> None:
    """Refuses a loss that is neither known by name nor callable.

    Raises:
      ValueError: if it is neither.
    """
    if not callable(loss) and loss not in LOSSES:
        raise ValueError(f"loss={loss!r} is not known; use one of {', '.join(LOSSES)}, or a callable (z, y) -> loss")


def loss_and_error(loss: Loss, z: Array, y: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The loss of one output and its derivative e = dL/dz.

    Args:
      loss: a member of `LOSSES`, which sum over the last axis, or a callable of one output.
      z: (n_out,), or (..., n_out) for a loss by name.
      y: the target, for a loss by name of the shape of z.
      weight: () or (...), of the example, which the caller multiplies by; where it is 0, what is not finite becomes 0.

    Returns:
      ``(loss, error)`` of shapes () or (...) and z's.

    Example:
      >>> import jax.numpy as jnp
      >>> value, error = loss_and_error("softmax", jnp.array([1.0, 2.0]), jnp.zeros(2))  # padding
      >>> float(value), error.tolist()
      (0.0, [0.0, 0.0])
      >>> value, error = loss_and_error(lambda z, y: jnp.log(z[y]), jnp.zeros(2), 1, jnp.array(0.0))
      >>> float(value), error.tolist()
      (0.0, [0.0, 0.0])
    """
    check_loss(loss)
    if callable(loss):
        shape = jax.eval_shape(loss, z, y).shape
        if shape != ():
            of = f"for one output {z.shape} and one y {jnp.shape(y)}"
            raise ValueError(f"loss returns shape {shape} {of}; it must return one number")
    if weight is not None:
        return _finite_where_weightless(loss, z, y, weight)
    if callable(loss):
        return jax.value_and_grad(loss)(z, y)
    return _named(loss, z, y)


def _named(loss: str, z: Array, y: Array) -> tuple[Array, Array]:
    """`loss_and_error` of a loss by name."""
    if loss == "softmax":
        log_p = jax.nn.log_softmax(z)
        return -jnp.sum(y * log_p, -1) + 0.0, jnp.exp(log_p) * jnp.sum(y, -1, keepdims=True) - y
    error = z - y
    return 0.5 * jnp.sum(error * error, -1), error


def _finite_where_weightless(loss: Loss, z: Array, y: Array, weight: Array) -> tuple[Array, Array]:
    """Loss and error with zeros, and zeros for derivatives, where the weight is 0 and one of them is not finite.

    Both what goes into the loss and what comes out is replaced there, for a derivative passes through both; what goes
    in includes the traced coefficients that a callable closes over. Elsewhere the weight's own derivative stays.
    """
    coefficients = []
    if callable(loss):
        converted, coefficients = jax.closure_convert(lambda z, y: loss(z, y), z, y)
        of = jax.value_and_grad(converted)
    else:
        of = functools.partial(_named, loss)
    value, error = of(z, y, *coefficients)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(error), tuple(range(value.ndim, error.ndim)))
    lost = (weight == 0) & ~finite

    def without(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return jnp.where(jnp.expand_dims(lost, tuple(range(lost.ndim, leaf.ndim))), 0, leaf)

    inside = [without(leaf) for leaf in (z, jnp.asarray(y), *coefficients)]
    value, error = of(*inside)
    return without(value), without(error)


def check_not_labels(loss: Loss, y: Array, lead: tuple[int, ...], n_out: int, name: str = "batch.y") -> None:
    """Refuses integer labels where the loss is squared.

    Args:
      loss: of the network.
      y: its target; labels are integers of the shape `lead`.
      lead: the batch's leading axes.
      n_out: outputs.
      name: of the array in messages.

    Raises:
      ValueError: saying how labels become targets.
    """
    given: Any = y if hasattr(y, "dtype") else np.asarray(y)
    if loss == "squared" and given.shape == lead and jnp.issubdtype(given.dtype, jnp.integer):
        rows = f"{name}[..., None]" if n_out == 1 else f"jax.nn.one_hot({name}, {n_out})"
        other = "" if n_out == 1 else ", or build the network with loss='softmax', which takes labels"
        raise ValueError(
            f"{name} holds {given.dtype} labels of shape {lead}, and loss='squared' takes targets {(*lead, n_out)}: "
            f"give {rows}{other}"
        )


def one_hot_labels(y: Array, n_out: int, dtype: jnp.dtype, name: str = "batch.y", weight: Array | None = None) -> Array:
    """Labels (...) of an integer dtype as targets (..., n_out).

    Args:
      y: integers in [0, n_out).
      n_out: classes.
      dtype: of the result.
      name: of the array in messages.
      weight: (...), of the examples; a label of weight 0 is padding, and may be anything.

    Raises:
      ValueError: if a label is out of range; not validated when traced, where such a label counts as no target.
    """
    if not isinstance(y, Tracer) and not isinstance(weight, Tracer):
        values = np.asarray(y)  # not jnp.min(y), which a trace around a constant label would stage
        values = values if weight is None else values[np.asarray(weight) != 0]
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        if low < 0 or high >= n_out:
            raise ValueError(
                f"{name} has the label {low if low < 0 else high}; with {n_out} outputs use 0 to {n_out - 1}"
            )
    return jax.nn.one_hot(y, n_out, dtype=dtype)
