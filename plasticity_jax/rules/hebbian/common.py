r"""Shared parts of the rules of this wing: the forward pass, the rates, the check of shapes.

    W^i <- W^i + alpha^i change(i),   for the layers that learn, all at once and from one forward pass

The change of a layer is a sum over the examples of the batch, each times its weight where the batch has weights. Biases
never change.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.layers.chain import Chain, check_chain
from plasticity_jax.layers.dense import is_dense
from plasticity_jax.layers.door import fitted
from plasticity_jax.layers.passes import forward, unweighted
from plasticity_jax.ops import groups
from plasticity_jax.ops.checks import one_of
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates

Layers = Scalar | Sequence[Scalar]
"""One coefficient for all plastic layers, or one for each."""

Reduction = Literal["sum", "mean"]
"""Reduction of a change over the batch."""


class Activity(NamedTuple):
    """One forward pass, and its error.

    Attributes:
      h: L + 1 arrays (B, ...), activity from h^0 = x to the output h^L.
      seen: L arrays (B, ...), the activity that each layer's weights read: h^{i-1} after any pooling or reshaping.
      error: (B, n_L), y - yhat, where yhat is the softmax of the output times the sum of y if the loss is "softmax"; 0
        without a target.
      y: (B, n_L), the target; 0 where the batch has none.
      weight: (B,), of the examples; None is 1 for all.
    """

    h: tuple[Array, ...]
    seen: tuple[Array, ...]
    error: Array
    y: Array
    weight: Array | None = None


Change = Callable[[int, Params, Activity], Array]
"""``(i, params, act) -> (n_i, n_{i-1})``, the change of layer i, counted from 0, at a rate of one."""


def local_rule(
    net: Chain,
    change: Change,
    *,
    alpha: Layers = 1e-3,
    plastic: Sequence[int] | None = None,
    reduction: Reduction = "sum",
    reads_feedback: bool = False,
    target: bool = True,
    feedback_updates: Callable[[Params, Activity, Scalar], PyTree] | None = None,
) -> LearningRule:
    """Makes a `LearningRule` without traces from the change of each layer's weights.

    Args:
      net: a chain of layers; the dense ones can learn.
      change: ``(i, params, act) -> (n_i, n_{i-1})``, the change of layer i, counted from 0, at a rate of 1; a sum over
        the batch. ``act.seen[i]`` (B, n_{i-1}) is the presynaptic and ``act.h[i + 1]`` (B, n_i) the postsynaptic
        activity; ``act.error`` (B, n_L) is the target less the output.
      alpha: the rate; in each layer a number, or (n_i,) for each neuron, or (n_i, n_{i-1}) for each weight.
      plastic: indices of the layers that learn, from the end if negative; None for all dense layers.
      reduction: "sum" or "mean"; the mean is a sum with alpha / B.
      reads_feedback: whether the rule reads ``params["feedback"]``, which is then checked.
      target: whether the batch must have a target. If not, its y may be None; the loss reported is then 0.
      feedback_updates: ``(params, act, share) -> updates`` in "feedback", with share 1 or 1 / B; None changes nothing.

    Returns:
      A rule over ``{"forward": {"w", "bias"}}`` that changes only w; its updates have the sign of a gradient.

    Raises:
      ValueError: if the reduction is not known, a layer does not exist, or there is not one rate for each.

    Example:
      >>> import jax, optax, plasticity_jax as pj
      >>> def delta(net):  # the delta rule, error times presynaptic activity
      ...     return local_rule(net, lambda i, params, act: act.error.T @ act.seen[i], alpha=0.02)
      >>> net, x = pj.networks.mlp((4, 2), ("identity",)), jax.random.normal(jax.random.key(0), (50, 4))
      >>> learn, batch = pj.learner(delta(net), optax.sgd(0.3)), pj.Example(x, x[:, :2])
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> _, info = jax.lax.scan(lambda state, _: learn.step(state, batch), state, length=50)
      >>> bool(info.loss[-1] < 0.01 * info.loss[0])
      True
    """
    one_of("reduction", reduction, ("sum", "mean"))
    layers = plastic_layers(net, plastic)
    rates = dict(zip(layers, each_layer("alpha", alpha, len(layers)), strict=True))

    def init(params: Params, key: Key, batch: Example) -> tuple[()]:
        checked_batch(net, params, batch, reads_feedback, target)
        return ()

    def update(params: Params, traces: tuple[()], key: Key, batch: Example) -> tuple[Updates, tuple[()], Info]:
        act, loss = activity_of(net, params, batch, reads_feedback, target)
        share = share_of_one(reduction, len(act.error))
        updates = {"forward": weight_updates(params, rates, {i: change(i, params, act) for i in layers}, share)}
        updates |= {} if feedback_updates is None else {"feedback": feedback_updates(params, act, share)}
        return groups.filled(params, updates), (), Info(loss, READY, {"output": act.h[-1]})

    return LearningRule(init, update)


def activity_of(
    net: Chain, params: Params, batch: Example, reads_feedback: bool = False, target: bool = True
) -> tuple[Activity, Array]:
    """The forward pass of a checked batch and its mean loss (); arguments are those of `checked_batch`."""
    x, y, _, weight = checked_batch(net, params, batch, reads_feedback, target)
    h, seen, _ = forward(net, params["forward"], x)
    if y is None:
        nothing = jnp.zeros_like(h[-1])
        return Activity(h, seen, nothing, nothing, weight), jnp.zeros((), h[-1].dtype)
    loss, error = unweighted(net, h[-1], y, weight)  # at the output itself: these rules take no derivative of phi
    return Activity(h, seen, -error, y, weight), jnp.mean(loss if weight is None else loss * weight)


def share_of_one(reduction: Reduction, examples: int) -> float:
    """Weight of one example in a change."""
    return 1.0 if reduction == "sum" else 1.0 / examples


def weight_updates(params: Params, rates: Mapping[int, Scalar], changes: Mapping[int, Array], share: float) -> PyTree:
    """Updates of ``params["forward"]["w"]``: minus the changes of layers (from 0) at their rates, zeros elsewhere."""
    w: list[PyTree] = [jax.tree.map(jnp.zeros_like, each) for each in params["forward"]["w"]]
    for i, change in changes.items():
        w[i] = -share * per_weight("alpha", rates[i], w[i]) * change
    return {"w": w}


def plastic_layers(net: Chain, plastic: Sequence[int] | None) -> tuple[int, ...]:
    """Indices from 0, in order, of the layers that learn; all dense ones if None.

    Raises:
      ValueError: if one does not exist, is not dense, is named twice, or they are not in order; if no layer is dense.
    """
    check_chain(net)
    count = len(net.layers)
    dense = [i for i in range(count) if is_dense(net.layers[i]) and net.h_shapes[i + 1] == net.v_shapes[i]]
    if net.between[-1]:
        dense = [i for i in dense if i < count - 1]  # the output is not its neurons' activity
    if not dense:
        names = ", ".join(layer.name for layer in net.layers)
        raise ValueError(
            f"none of the layers ({names}) learns by a local rule: these change pj.layers.dense alone, whose phi keeps "
            "its shape; other layers stay as they are"
        )
    if plastic is not None and np.ndim(plastic) == 0:
        raise ValueError(f"plastic={plastic} must be a list of layers, as in plastic=[{plastic}]")
    chosen = list(dense if plastic is None else plastic)
    if any(not -count <= i < count for i in chosen):
        raise ValueError(f"plastic={chosen}: the network has layers 0 to {count - 1} (or -{count} to -1)")
    layers = [i % count for i in chosen]
    if layers != sorted(set(layers)):
        raise ValueError(f"plastic={chosen}: name each layer once, from the first to the last, as rates are given")
    for i in layers:
        if i not in dense:
            raise ValueError(
                f"plastic={chosen}: layer {i}, {net.layers[i].name}, is not a dense one whose phi keeps its shape, and "
                f"no other learns by a local rule; use some of {dense}"
            )
    return tuple(layers)


def each_layer(name: str, value: Layers, count: int) -> list[Scalar]:
    """One coefficient for each of the layers.

    Raises:
      ValueError: if there is not one for each layer.
    """
    if not isinstance(value, list | tuple):
        return [value] * count  # pyright: ignore[reportReturnType]
    if len(value) != count:
        raise ValueError(f"{len(value)} values of {name} for {count} plastic layers: give one for each, or one for all")
    return list(value)


def per_weight(name: str, rate: Scalar, w: Array) -> Array:
    """A rate of shape (), (n_out,) or (n_out, n_in) as one that multiplies weights (n_out, n_in)."""
    rate = jnp.asarray(rate, w.dtype)
    message = f"{name} of weights {w.shape} is (), {w.shape[:1]} or {w.shape}, not {rate.shape}"
    chex.assert_shape(rate, w.shape[: rate.ndim], custom_message=message)
    return rate[:, None] if rate.ndim == 1 else rate


def checked_batch(net: Chain, params: Params, batch: Example, reads_feedback: bool, target: bool = True) -> Example:
    """Returns the batch in the form that a rule reads, after checks that network, weights, feedback and batch fit.

    The feedback is checked only if the rule reads it. The batch's y may be None unless the rule needs a target.

    Raises:
      AssertionError: (chex) naming the array and the shape that it should have.
      TypeError: if the batch is not an `Example`.
      ValueError: if weights or the target are missing, there is not one weight for each layer, or there is no example.
    """
    batch = fitted(net, params, batch, target=target)
    if not reads_feedback:
        return batch
    n_out = math.prod(net.h_shapes[-1])
    w_fb, bias = groups.read(params, "feedback", "w_fb"), groups.read(params, "feedback", "bias")
    if not len(w_fb) == len(bias) == len(net.layers):
        raise ValueError(
            f"{len(w_fb)} feedback matrices and {len(bias)} biases for {len(net.layers)} layers: "
            "give each layer one of each, the output's too"
        )
    for i in plastic_layers(net, None):
        n = net.bias_sizes[i]
        chex.assert_shape(w_fb[i], (n_out, n), custom_message=f"w_fb[{i}] must be {(n_out, n)}")
        chex.assert_shape(bias[i], (n,), custom_message=f"the feedback's bias[{i}] must be {(n,)}")
    return batch
