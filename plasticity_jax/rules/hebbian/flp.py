r"""FLP: fixed feedback shifts the activity of every plastic layer, and a local rule learns from the shifted activity.

    s   = y - yhat  (signal "error"),  or  y  (signal "target")
    f^i = relu(s B^i + c^i)
    p^i = beta^i f^i + (1 - beta^i) h^i                          (output "clamped": p^L = y)
    W^i <- W^i + alpha^i [ sum_b p^i_b h^{i-1}_b^T - sum_b (p^i_b)^2 W^i ]

over the examples b of the batch. All layers change at once, from one forward pass, which feedback does not affect.
alpha^i and beta^i are meta-learned, as are the initial W, the biases b, B and c; only W changes within a lifetime.

Source: Lindsey & Litwin-Kumar (2020), section 4. Kind: local; it follows a gradient only as far as the meta-learner
found that useful. Memory: no traces. Time: two products a layer, one of them the forward pass. Each synapse reads its
own weight, its presynaptic activity and its postsynaptic activity after feedback, which reaches every layer straight
from the output. Departures from the paper, all as in the authors' code, from which its tables come: c enters with a
plus sign, and each layer has its own; feedback is added outside the rectification; changes are summed over the batch,
not averaged; in regression the output is a layer like the others, with feedback of its own; biases do not change.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.layers.passes import between
from plasticity_jax.ops.checks import default_float, one_of
from plasticity_jax.ops.hebbian import PRODUCTS
from plasticity_jax.rules.hebbian.common import (
    Activity,
    Change,
    Layers,
    Reduction,
    each_layer,
    local_rule,
    plastic_layers,
)
from plasticity_jax.typing import Array, Key, Params

Signal = Literal["error", "target"]
"""The signal that feedback carries."""


class FeedbackTerms(NamedTuple):
    """Activity and change of a layer under feedback; functions of ``(i, params, act)``, with i counted from 0.

    Attributes:
      post: (B, n_i), the layer's activity after feedback, p; that of the forward pass if the layer does not learn.
      change: of its weights, at a rate of one.
      shifts: ``i -> bool``, whether feedback shifts the activity; False for a clamped output.
    """

    post: Callable[[int, Params, Activity], Array]
    change: Change
    shifts: Callable[[int], bool]


def flp(
    net: Chain,
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
      net: a chain of layers; the dense ones can learn.
      alpha: plasticity; in each layer a number, or (n_i,) for each neuron, or (n_i, n_{i-1}) for each weight.
      beta: strength of the feedback; in each layer a number or (n_i,).
      plastic: indices of the layers that learn, from the end if negative; None for all dense layers. The others get no
        feedback.
      signal: the signal that feedback carries, "error" or "target".
      output: the output's activity: "mixed" with feedback as in other layers, or "clamped" to the target.
      presynaptic: activity "before" the feedback, which is that of the forward pass, or "after" it.
      product: "hebb" or "oja".
      reduction: "sum" or "mean" over the batch. A mean over B examples needs B times the alpha of a sum.

    Returns:
      A rule over ``{"forward": {"w", "bias"}, "feedback": {"w_fb", "bias"}}``, where w_fb[i] is (n_out, n_i) and its
      bias (n_i,), for each layer, including the output; see `flp_feedback`. It changes only w of the plastic layers.

    Raises:
      ValueError: if an option is not known, a layer does not exist, or there is not one coefficient for each.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 2), ("relu", "identity"), "softmax")
      >>> label = jnp.arange(40) % 2
      >>> x = jax.random.normal(jax.random.key(0), (40, 3)) + jnp.where(label, 2.0, -2.0)[:, None]
      >>> batch = pj.Example(x, label)
      >>> forward = pj.layers.init_params(jax.random.key(1), net)["forward"]
      >>> feedback = pj.rules.flp_feedback(jax.random.key(2), net)
      >>> rule = flp(net, alpha=1e-3, plastic=[-1], signal="target", output="clamped")
      >>> learn = pj.learner(rule, optax.sgd(1.0))
      >>> state = learn.init({"forward": forward, "feedback": feedback}, jax.random.key(3), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Lindsey & Litwin-Kumar, "Learning to learn with feedback and local plasticity", NeurIPS 2020.
    """
    parts = feedback_terms(
        net, beta=beta, plastic=plastic, signal=signal, output=output, presynaptic=presynaptic, product=product
    )
    return local_rule(net, parts.change, alpha=alpha, plastic=plastic, reduction=reduction, reads_feedback=True)


def flp_feedback(key: Key, net: Chain, *, dtype: jnp.dtype | None = None) -> Params:
    """Initial feedback weights, as in the authors' code: B^i ~ N(0, 2 / n_out), c^i = 0.

    Args:
      key: split, one part for each layer.
      net: the network.
      dtype: the weights' dtype; None for JAX's default float.

    Returns:
      ``{"w_fb": L arrays (n_L, n_i), "bias": L arrays (n_i,)}``, the group "feedback" of the params; a layer that is
      not dense has () for both.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> group = flp_feedback(jax.random.key(0), pj.networks.mlp((3, 5, 2), ("relu", "identity")))
      >>> jax.tree.map(lambda leaf: leaf.shape, group["w_fb"])
      ((2, 5), (2, 2))
    """
    dtype = default_float() if dtype is None else dtype
    n_out = math.prod(net.h_shapes[-1])
    keys, dense = jax.random.split(key, len(net.layers)), plastic_layers(net, None)

    def matrix(i: int) -> Array:
        return (2 / n_out) ** 0.5 * jax.random.normal(keys[i], (n_out, net.bias_sizes[i]), dtype)

    every = range(len(net.layers))
    return {
        "w_fb": tuple(matrix(i) if i in dense else () for i in every),
        "bias": tuple(jnp.zeros((net.bias_sizes[i],), dtype) if i in dense else () for i in every),
    }


def feedback_terms(
    net: Chain,
    *,
    beta: Layers = 0.5,
    plastic: Sequence[int] | None = None,
    signal: Signal = "error",
    output: Literal["mixed", "clamped"] = "mixed",
    presynaptic: Literal["before", "after"] = "before",
    product: Literal["hebb", "oja"] = "oja",
) -> FeedbackTerms:
    """The terms of `flp`, with the options of `flp`."""
    one_of("signal", signal, ("error", "target"))
    one_of("output", output, ("mixed", "clamped"))
    one_of("presynaptic", presynaptic, ("before", "after"))
    one_of("product", product, tuple(PRODUCTS))
    layers = plastic_layers(net, plastic)
    strengths = dict(zip(layers, each_layer("beta", beta, len(layers)), strict=True))

    def shifts(i: int) -> bool:
        return i in layers and not (output == "clamped" and i == len(net.layers) - 1)

    def post(i: int, params: Params, act: Activity) -> Array:
        if not shifts(i):
            return act.y if i in layers else act.h[i + 1]
        h = act.h[i + 1]
        strength = jnp.asarray(strengths[i], h.dtype)
        message = f"beta of {h.shape[1]} neurons is () or {h.shape[1:]}, not {strength.shape}"
        chex.assert_shape(strength, h.shape[1:][: strength.ndim], custom_message=message)
        strength = strength[None, :] if strength.ndim else strength
        return strength * feedback(i, params, act, signal) + (1 - strength) * h

    def change(i: int, params: Params, act: Activity) -> Array:
        pre = act.seen[i]
        if presynaptic == "after" and i > 0:
            pre = between(net, i, post(i - 1, params, act))
        return PRODUCTS[product](pre, post(i, params, act), params["forward"]["w"][i], act.weight)

    return FeedbackTerms(post, change, shifts)


def feedback(i: int, params: Params, act: Activity, signal: Signal) -> Array:
    """f of layer i, counted from 0: (B, n_i)."""
    group = params["feedback"]
    return jax.nn.relu(source(act, signal) @ group["w_fb"][i] + group["bias"][i][None, :])


def source(act: Activity, signal: Signal) -> Array:
    """s, the signal that feedback carries: (B, n_L)."""
    return act.error if signal == "error" else act.y
