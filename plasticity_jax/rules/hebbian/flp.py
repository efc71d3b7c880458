r"""FLP: fixed feedback shifts the activity of every plastic layer, and a local rule then learns from what is active.

    s   = y - yhat  (signal "error"),  or  y  (signal "target")
    f^i = relu(s B^i + c^i)
    p^i = beta^i f^i + (1 - beta^i) h^i                          (output "clamped": p^L = y)
    W^i <- W^i + alpha^i [ sum_b p^i_b h^{i-1}_b^T - sum_b (p^i_b)^2 W^i ]

over the examples b of the batch; all layers change at once, from one forward pass, which the feedback leaves alone.
alpha^i and beta^i are meta-learned, as are the initial W, the biases b, B and c, of which only W changes in a lifetime.

Source: Lindsey & Litwin-Kumar (2020), section 4. Kind: local: no gradient is followed, unless the meta-learner found
that it pays. Memory: none carried. Time: two products a layer, one of them the forward pass. Each synapse reads its own
weight, its presynaptic activity and its postsynaptic activity after feedback, which reaches every layer straight from
the output. Departures from the print, all as in the authors' code, whose tables these are: c enters with a plus sign,
and each layer has its own; feedback is mixed in outside of the rectification; the sum over the batch is not a mean; in
regression the output is a layer like the others, with feedback of its own; biases do not change.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.ops.checks import default_float, one_of
from plasticity_jax.ops.hebbian import PRODUCTS
from plasticity_jax.rules.hebbian.common import (
    Change,
    Heard,
    Layers,
    Reduction,
    each_layer,
    local_rule,
    plastic_layers,
)
from plasticity_jax.typing import Array, Key, Params

Signal = Literal["error", "target"]
"""What is fed back."""


class Fed(NamedTuple):
    """What feedback makes of a layer, counted from 0; each a function of ``(i, params, heard)``.

    Attributes:
      post: (B, n_i), the layer's activity after feedback, p; that of the forward pass if the layer does not learn.
      change: of its weights, at a rate of one.
      shifts: ``i -> bool``, whether the feedback is what shifts it: not in a clamped output.
    """

    post: Callable[[int, Params, Heard], Array]
    change: Change
    shifts: Callable[[int], bool]


def flp(
    net: MLP,
    *,
    alpha: Layers = 1e-3,
    beta: Layers = 0.5,
    plastic: Sequence[int] | None = None,
    signal: Signal = "error",
    output: Literal["mixed", "clamped"] = "mixed",
    presynaptic: Literal["before", "after"] = "before",
    product: Literal["hebb", "oja"] = "oja",
    reduction: Reduction = "sum",
) -> LearningRule:
    """Feedback and local plasticity.

    Args:
      net: the network.
      alpha: plasticity; for a layer of shape (), (n_i,) for each neuron, or (n_i, n_{i-1}) for each weight.
      beta: strength of the feedback; for a layer of shape () or (n_i,).
      plastic: which layers learn, counted from 0, or from the end if negative; all of them if None. Those that do not
        learn get no feedback.
      signal: what is fed back, "error" or "target".
      output: whether the output's activity is "mixed" with feedback as other layers' is, or "clamped" to the target.
      presynaptic: activity "before" the feedback, that of the forward pass, or "after" it.
      product: Hebb's ("hebb"), or Oja's ("oja").
      reduction: over the batch. A mean over B examples needs B times the alpha of a sum.

    Returns:
      A rule over ``{"forward": {"w", "bias"}, "feedback": {"w_fb", "bias"}}``, where w_fb[i] is (n_out, n_i) and its
      bias (n_i,), for each layer, the output's too; see `init_feedback`. It changes w of the plastic layers alone.

    Raises:
      ValueError: if an option is not known, a layer does not exist, or there is not one coefficient for each.

    Example:
      >>> from plasticity_jax.networks.mlp import mlp
      >>> rule = flp(mlp(["relu", "relu", "identity"]), alpha=1e-3, plastic=[-2, -1])

    Reference:
      Lindsey & Litwin-Kumar, "Learning to learn with feedback and local plasticity", NeurIPS 2020.
    """
    parts = fed(net, beta=beta, plastic=plastic, signal=signal, output=output, presynaptic=presynaptic, product=product)
    return local_rule(net, parts.change, alpha=alpha, plastic=plastic, reduction=reduction, fed=True)


def init_feedback(key: Key, sizes: Sequence[int], dtype: jnp.dtype | None = None) -> Params:
    """Feedback weights as the authors drew them: B^i ~ N(0, 2 / n_out), c^i = 0.

    Args:
      key: split, one part for each layer.
      sizes: n_0, ..., n_L of the layers that are to get feedback.
      dtype: JAX's default float if None.

    Returns:
      ``{"w_fb": L arrays (n_L, n_i), "bias": L arrays (n_i,)}``, the group "feedback" of the params.
    """
    dtype = default_float() if dtype is None else dtype
    std = (2 / sizes[-1]) ** 0.5
    keys = jax.random.split(key, len(sizes) - 1)
    return {
        "w_fb": tuple(std * jax.random.normal(k, (sizes[-1], n), dtype) for k, n in zip(keys, sizes[1:], strict=True)),
        "bias": tuple(jnp.zeros((n,), dtype) for n in sizes[1:]),
    }


def fed(
    net: MLP,
    *,
    beta: Layers = 0.5,
    plastic: Sequence[int] | None = None,
    signal: Signal = "error",
    output: Literal["mixed", "clamped"] = "mixed",
    presynaptic: Literal["before", "after"] = "before",
    product: Literal["hebb", "oja"] = "oja",
) -> Fed:
    """The parts of `flp`, whose options these are."""
    one_of("signal", signal, ("error", "target"))
    one_of("output", output, ("mixed", "clamped"))
    one_of("presynaptic", presynaptic, ("before", "after"))
    one_of("product", product, tuple(PRODUCTS))
    layers = plastic_layers(net, plastic)
    strengths = dict(zip(layers, each_layer("beta", beta, len(layers)), strict=True))

    def shifts(i: int) -> bool:
        return i in layers and not (output == "clamped" and i == len(net.activations) - 1)

    def post(i: int, params: Params, heard: Heard) -> Array:
        if not shifts(i):
            return heard.y if i in layers else heard.h[i + 1]
        h = heard.h[i + 1]
        strength = jnp.asarray(strengths[i], h.dtype)
        told = f"beta of {h.shape[1]} neurons is () or {h.shape[1:]}, not {strength.shape}"
        chex.assert_shape(strength, h.shape[1:][: strength.ndim], custom_message=told)
        strength = strength[None, :] if strength.ndim else strength
        return strength * feedback(i, params, heard, signal) + (1 - strength) * h

    def change(i: int, params: Params, heard: Heard) -> Array:
        pre = heard.h[i] if presynaptic == "before" or i == 0 else post(i - 1, params, heard)
        return PRODUCTS[product](pre, post(i, params, heard), params["forward"]["w"][i], heard.weight)

    return Fed(post, change, shifts)


def feedback(i: int, params: Params, heard: Heard, signal: Signal) -> Array:
    """f of layer i, counted from 0: (B, n_i)."""
    group = params["feedback"]
    return jax.nn.relu(source(heard, signal) @ group["w_fb"][i] + group["bias"][i][None, :])


def source(heard: Heard, signal: Signal) -> Array:
    """s, what is fed back: (B, n_L)."""
    return heard.error if signal == "error" else heard.y
