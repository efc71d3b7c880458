r"""What the feedforward rules share: errors carried back, the weights' gradients, the check of shapes.

    chain    e~^L = e^L,   c^i = e~^{i+1} B^{i+1},   e~^i = c^i phi_i'(v^i)
    direct   e~^L = e^L,   c^i = e^L B^i,            e~^i = c^i phi_i'(v^i)

    G^i = mean over the batch of e~^i h^{i-1}^T

c^i stands for dL/dh^i. With B = W the chain is backpropagation, and every e~ and G is exact. The output's error and the
gradient of the last layer are exact whatever B is.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.networks import mlp
from plasticity_jax.networks.mlp import MLP, Form, Pass
from plasticity_jax.ops import groups
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Updates


class Carried(NamedTuple):
    """Errors carried back through a network.

    Attributes:
      error: L arrays (B, n_i), e~^i from i = 1; the last is exact.
      credit: L - 1 arrays (B, n_i), c^i for the activity of the hidden layers.
      source: L - 1 arrays, the error that each credit was made of: e~^{i+1} (chain) or e^L (direct).
    """

    error: tuple[Array, ...]
    credit: tuple[Array, ...]
    source: tuple[Array, ...]


def carry_back(error: Array, back: Sequence[Array], slope: Sequence[Array], form: Form = "chain") -> Carried:
    """The errors of all layers, from that of the output.

    Args:
      error: (B, n_L), e^L.
      back: L - 1 matrices, (n_{i+1}, n_i) in a chain or (n_L, n_i) if direct.
      slope: L arrays (B, n_i), phi'.
      form: "chain" or "direct".

    Returns:
      What is `Carried`.
    """
    errors, credits, sources = [error], [], []
    for i in reversed(range(len(back))):
        source = errors[0] if form == "chain" else error
        credit = source @ back[i]
        errors.insert(0, credit * slope[i])
        credits.insert(0, credit)
        sources.insert(0, source)
    return Carried(tuple(errors), tuple(credits), tuple(sources))


def weight_gradients(activity: Pass, errors: Sequence[Array]) -> PyTree:
    """G^i and the mean of e~^i: updates for ``params["forward"]``."""
    batch = errors[0].shape[0]
    return {
        "w": tuple(error.T @ h / batch for error, h in zip(errors, activity.h[:-1], strict=True)),
        "bias": tuple(jnp.mean(error, 0) for error in errors),
    }


def feedback_rule(
    net: MLP,
    *,
    form: Form = "chain",
    back: Callable[[Params], Sequence[Array]] | None = None,
    teach: Callable[[Params, PyTree], PyTree] | None = None,
) -> LearningRule:
    """Makes a `LearningRule`, without traces, of the matrices that carry errors back.

    Args:
      net: the network.
      form: "chain" or "direct".
      back: ``params -> matrices``; None is ``params["feedback"]["w_fb"]``.
      teach: ``(params, gradients of "forward") -> updates`` of the groups that learn; None leaves the feedback alone.

    Returns:
      The rule; its params are those of `plasticity_jax.networks.mlp.init_params`, its batch an `Example`.
    """

    def init(params: Params, key: Key, batch: Example) -> tuple[()]:
        check(net, params, batch, form if back is None else None)
        return ()

    def update(params: Params, traces: tuple[()], key: Key, batch: Example) -> tuple[Updates, tuple[()], Info]:
        check(net, params, batch, form if back is None else None)
        x, y, _, weight = mlp.fitted(net, params, batch)
        activity = mlp.forward(net, params["forward"], x)
        loss, error = mlp.loss_and_error(net, activity.h[-1], activity.slope[-1], y, weight)
        matrices = params["feedback"]["w_fb"] if back is None else back(params)
        gradients = weight_gradients(activity, carry_back(error, matrices, activity.slope, form).error)
        updates = {"forward": gradients} if teach is None else teach(params, gradients)
        return groups.filled(params, updates), (), Info(jnp.mean(loss), READY, {"output": activity.h[-1]})

    return LearningRule(init, update)


def check(net: MLP, params: Params, batch: Example, form: Form | None) -> tuple[int, ...]:
    """The widths n_0, ..., n_L, after asserting that network, weights and batch fit together.

    Args:
      net: the network.
      params: its weights.
      batch: one step's example.
      form: of the feedback that the rule reads; None if it reads none.

    Raises:
      AssertionError: (chex) naming the array and the shape that it should have.
      TypeError: if the batch is not an `Example`.
      ValueError: if weights are missing, the number of layers is not that of the activations, or there is no example.
    """
    widths = mlp.check_shapes(net, params, batch)
    layers = len(net.activations)
    if form is not None:
        w_fb = groups.read(params, "feedback", "w_fb")
        senders = widths[2:] if form == "chain" else (widths[-1],) * (layers - 1)
        if len(w_fb) != layers - 1:
            raise ValueError(f"{len(w_fb)} feedback matrices for {layers - 1} hidden layers: give each layer one")
        for i, (matrix, sender) in enumerate(zip(w_fb, senders, strict=True)):
            wanted = (sender, widths[i + 1])
            chex.assert_shape(matrix, wanted, custom_message=f"w_fb[{i}] must be {wanted} for {form} feedback")
    return widths
