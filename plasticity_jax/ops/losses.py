r"""Losses of one output and one target, with their error e = dL/dz.

    squared   L = 1/2 sum (z - y)^2                e = z - y
    softmax   L = -sum y log softmax(z)            e = softmax(z) sum(y) - y

The softmax's y is a distribution, or anything that weighs classes: with y = 0 there is no target, no loss and no error.
Any other loss is a callable ``(z, y) -> ()``, with its derivative as the error.

Padding may hold values that a loss cannot take, such as a negative z for log(z), and 0 times infinity is NaN. So where
an example of weight 0 has a loss or error that is not finite, both are 0, and their derivatives of any order too.
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
      weight: () or (...), of the example, applied by the caller; where it is 0, values that are not finite become 0.

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
            arguments = f"for one output {z.shape} and one y {jnp.shape(y)}"
            raise ValueError(f"loss returns shape {shape} {arguments}; it must return one number")
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

    Both inputs and outputs of the loss are replaced there, because derivatives pass through both; the inputs include
    the traced coefficients that a callable closes over. Elsewhere the weight's derivative is kept.
    """
    coefficients = []
    if callable(loss):
        converted, coefficients = jax.closure_convert(lambda z, y: loss(z, y), z, y)
        loss_and_gradient = jax.value_and_grad(converted)
    else:
        loss_and_gradient = functools.partial(_named, loss)
    value, error = loss_and_gradient(z, y, *coefficients)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(error), tuple(range(value.ndim, error.ndim)))
    replaced = (weight == 0) & ~finite

    def cleared(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return jnp.where(jnp.expand_dims(replaced, tuple(range(replaced.ndim, leaf.ndim))), 0, leaf)

    value, error = loss_and_gradient(*map(cleared, (z, jnp.asarray(y), *coefficients)))
    return cleared(value), cleared(error)


def check_not_labels(loss: Loss, y: Array, lead: tuple[int, ...], n_out: int, name: str = "batch.y") -> None:
    """Refuses integer labels where the loss is squared.

    Args:
      loss: the network's loss.
      y: its target; labels are integers of the shape `lead`.
      lead: the batch's leading axes.
      n_out: number of outputs.
      name: the array's name in messages.

    Raises:
      ValueError: with the conversion of labels to targets.
    """
    target: Any = y if hasattr(y, "dtype") else np.asarray(y)
    if loss == "squared" and target.shape == lead and jnp.issubdtype(target.dtype, jnp.integer):
        rows = f"{name}[..., None]" if n_out == 1 else f"jax.nn.one_hot({name}, {n_out})"
        other = "" if n_out == 1 else ", or build the network with loss='softmax', which takes labels"
        raise ValueError(
            f"{name} holds {target.dtype} labels of shape {lead}, and loss='squared' takes targets {(*lead, n_out)}: "
            f"give {rows}{other}"
        )


def one_hot_labels(y: Array, n_out: int, dtype: jnp.dtype, name: str = "batch.y", weight: Array | None = None) -> Array:
    """Labels (...) of an integer dtype as targets (..., n_out).

    Args:
      y: integers in [0, n_out).
      n_out: number of classes.
      dtype: dtype of the result.
      name: the array's name in messages.
      weight: (...), of the examples; a label of weight 0 is padding, of any value.

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
