r"""The BCM rule: Hebb's rule, but weights shrink where the response is below a threshold that follows the responses.

    W^i     <- W^i + alpha^i 1/B sum_b phi(h^i_b, theta^i) h^{i-1}_b^T,   phi(y, theta) = y (y - theta)
    theta^i <- theta^i + rate^i (1/B sum_b (h^i_b)^2 - theta^i),          theta^i = 0 at first

neuron by neuron, over the examples b of the batch (a weighted example counts by its weight in both lines). All layers
change at once, from one forward pass and with the thresholds of the step before. A linear neuron that receives K
orthogonal patterns equally often has its stable fixed points where its response is K to one of them and 0 to all
others, with theta = E y^2 = K: it is selective. In general so are the maxima of E y^3 / 3 - (E y^2)^2 / 4, which the
rule climbs where theta is E y^2.

Source: Bienenstock, Cooper & Munro (1982), with the threshold theta = E y^2 and phi of Intrator & Cooper (1992).
Kind: local. Memory: a number for each neuron. Time: two products a layer, one of them the forward pass. Each synapse
reads its presynaptic and its postsynaptic activity, and its neuron's threshold.
Departures: Intrator & Cooper's factor phi_i'(v^i) is left out; it is 1 wherever a linear or a rectified neuron learns.
Activity should not be negative (use relu), because phi is positive below zero, too. The threshold has to move faster
than the weights grow, or responses oscillate: keep alpha |h^{i-1}|^2 well below the rate, at responses of order one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.ops import groups
from plasticity_jax.ops.checks import in_range, one_of
from plasticity_jax.ops.hebbian import weighed
from plasticity_jax.rules.hebbian.common import (
    Layers,
    Reduction,
    activity_of,
    checked_batch,
    each_layer,
    plastic_layers,
    share_of_one,
    weight_updates,
)
from plasticity_jax.typing import Array, Example, Key, Params, Scalar, Updates


class BCMTraces(NamedTuple):
    """Attributes: threshold: theta, (n_i,) for each plastic layer."""

    threshold: tuple[Array, ...]


def bcm(
    net: Chain,
    *,
    alpha: Layers = 1e-3,
    threshold_rate: Layers = 0.1,
    plastic: Sequence[int] | None = None,
    reduction: Reduction = "mean",
) -> LearningRule:
    """Plasticity with a sliding threshold, by which neurons become selective.

    Args:
      net: a chain of layers; the dense ones can learn.
      alpha: plasticity; in each layer a number, or (n_i,) for each neuron, or (n_i, n_{i-1}) for each weight.
      threshold_rate: the share of the way to the batch's mean square that a threshold moves at each step, in (0, 1];
        in each layer a number or (n_i,).
      plastic: indices of the layers that learn, from the end if negative; None for all dense layers.
      reduction: "mean" or "sum" of the weights' change over the batch; thresholds take means.

    Returns:
      A rule over ``{"forward": {"w", "bias"}}`` that changes only w. A target is read only for the reported loss,
      which is 0 if the batch's y is None.

    Raises:
      ValueError: if the reduction is not known, a layer does not exist, there is not one coefficient for each, or a
        threshold's rate is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((4, 2), ("identity",))
      >>> x = jnp.eye(4)[:2]  # two patterns, equally often
      >>> batch = pj.Example(x, None)  # a target would be read only for the loss
      >>> w = jnp.array([[0.5, 0.4, 0.0, 0.0], [0.3, 0.6, 0.0, 0.0]])  # each neuron responds to both
      >>> learn = pj.learner(bcm(net, alpha=0.05), optax.sgd(1.0))
      >>> state = learn.init({"forward": {"w": (w,), "bias": (jnp.zeros(2),)}}, jax.random.key(0), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=1000)
      >>> info.aux["output"][-1].round(2).tolist(), state.traces.threshold[0].round(2).tolist()  # to one, with 2
      ([[2.0, 0.0], [0.0, 2.0]], [2.0, 2.0])

    Reference:
      Bienenstock, Cooper & Munro, "Theory for the development of neuron selectivity: orientation specificity and
      binocular interaction in visual cortex", Journal of Neuroscience 1982. Intrator & Cooper, "Objective function
      formulation of the BCM theory of visual cortical plasticity", Neural Networks 1992.
    """
    one_of("reduction", reduction, ("sum", "mean"))
    layers = plastic_layers(net, plastic)
    rates = dict(zip(layers, each_layer("alpha", alpha, len(layers)), strict=True))
    threshold_rates = each_layer("threshold_rate", threshold_rate, len(layers))
    for each in threshold_rates:
        in_range("threshold_rate", each, 0, 1, open_low=True, why="the share by which a threshold moves at each step")

    def init(params: Params, key: Key, batch: Example) -> BCMTraces:
        checked_batch(net, params, batch, reads_feedback=False, target=False)
        w = params["forward"]["w"]
        return BCMTraces(tuple(jnp.zeros(jnp.shape(w[i])[:1], w[i].dtype) for i in layers))

    def update(params: Params, traces: BCMTraces, key: Key, batch: Example) -> tuple[Updates, BCMTraces, Info]:
        act, loss = activity_of(net, params, batch, target=False)
        changes, thresholds = {}, []
        for i, rate, theta in zip(layers, threshold_rates, traces.threshold, strict=True):
            y = act.h[i + 1]
            changes[i] = weighed(y * (y - theta[None]), act.weight).T @ act.seen[i]
            excess = jnp.mean(weighed(y * y - theta[None], act.weight), 0)
            thresholds.append(theta + _of_neurons(rate, theta) * excess)
        updates = {"forward": weight_updates(params, rates, changes, share_of_one(reduction, len(act.error)))}
        return groups.filled(params, updates), BCMTraces(tuple(thresholds)), Info(loss, READY, {"output": act.h[-1]})

    return LearningRule(init, update)


def _of_neurons(rate: Scalar, theta: Array) -> Array:
    """A rate of shape () or that of the thresholds, in their dtype."""
    rate = jnp.asarray(rate, theta.dtype)
    message = f"threshold_rate of {len(theta)} neurons is () or {theta.shape}, not {rate.shape}"
    chex.assert_shape(rate, theta.shape[: rate.ndim], custom_message=message)
    return rate
