r"""Local rules as polynomials, with coefficients that can be meta-learned: a Taylor expansion of all local rules.

    f^i  = relu(s B^i + c^i),   s = y - yhat  or  y
    dW^i = sum over terms (a, b, c, d) of  theta^i_{abcd} (W^i)^c sum_b ((h^i_b)^b (f^i_b)^d) ((h^{i-1}_b)^a)^T

with elementwise powers: a of the presynaptic activity, b of the postsynaptic one, c of the weight, d of the feedback
that reaches the postsynaptic neuron. Members of the family are

    Hebb            theta_1100 = 1
    Oja             theta_1100 = 1,  theta_0210 = -1
    FLP (Hebb's)    theta_1100 = 1 - beta,  theta_1001 = beta
    FLP (Oja's)     and theta_0210 = -(1 - beta)^2,  theta_0111 = -2 beta (1 - beta),  theta_0012 = -beta^2

each times alpha. All layers change at once, from one forward pass, which feedback does not affect.

Source: Lindsey & Litwin-Kumar (2020), section 8.1, which mentions a parametrised family without defining it; the
expansion is that of Gerstner & Kistler (2002), with feedback as a fourth variable. Kind: local. Memory: no traces.
Time: the forward pass, and a product a layer for each term with a > 0. Each synapse reads its own weight, its
presynaptic and its postsynaptic activity, and its postsynaptic neuron's feedback.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.ops.checks import one_of
from plasticity_jax.ops.hebbian import weighed
from plasticity_jax.rules.hebbian.common import (
    Activity,
    Layers,
    Reduction,
    each_layer,
    local_rule,
    per_weight,
    plastic_layers,
)
from plasticity_jax.rules.hebbian.flp import Signal, feedback
from plasticity_jax.typing import Array, Params, Scalar

Term = tuple[int, int, int, int]
"""Powers of the presynaptic activity, the postsynaptic one, the weight and the feedback."""


def taylor(
    net: Chain,
    theta: Mapping[Term, Layers],
    *,
    plastic: Sequence[int] | None = None,
    signal: Signal = "error",
    reduction: Reduction = "sum",
) -> LearningRule:
    """A polynomial in the signals that a synapse can read.

    Args:
      net: a chain of layers; the dense ones can learn.
      theta: the coefficient of each term; in each layer a number, or (n_i,) for each neuron, or (n_i, n_{i-1}) for
        each weight. There is no other rate.
      plastic: indices of the layers that learn, from the end if negative; None for all dense layers.
      signal: the signal that feedback carries, "error" or "target".
      reduction: "sum" or "mean" over the batch.

    Returns:
      A rule over the params of `plasticity_jax.rules.hebbian.flp`; it changes only w of the plastic layers.

    Raises:
      ValueError: if an option is not known, a term is not four whole powers from 0 on, a layer does not exist, or there
        is not one coefficient for each.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 2), ("relu", "identity"), "softmax")
      >>> label = jnp.arange(40) % 2
      >>> x = jax.random.normal(jax.random.key(0), (40, 3)) + jnp.where(label, 2.0, -2.0)[:, None]
      >>> batch = pj.Example(x, label)
      >>> forward = pj.layers.init_params(jax.random.key(1), net)["forward"]
      >>> feedback = pj.rules.flp_feedback(jax.random.key(2), net)
      >>> feedback["w_fb"] = (feedback["w_fb"][0], jnp.eye(2))  # the feedback to each output is its own target
      >>> terms = {(1, 0, 0, 1): 1e-3, (0, 0, 1, 2): -1e-3}  # presynaptic activity times the feedback, and a decay
      >>> rule = taylor(net, terms, plastic=[-1], signal="target")
      >>> learn = pj.learner(rule, optax.sgd(1.0))
      >>> state = learn.init({"forward": forward, "feedback": feedback}, jax.random.key(3), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Gerstner & Kistler, "Mathematical formulations of Hebbian learning", Biological Cybernetics 2002.
    """
    one_of("signal", signal, ("error", "target"))
    for term in theta:
        if len(term) != 4 or any(power < 0 or power != int(power) for power in term):
            raise ValueError(f"theta has a term {term}: name four powers >= 0, of pre, post, weight and feedback")
    layers = plastic_layers(net, plastic)
    coefficients = {
        term: dict(zip(layers, each_layer(f"theta[{term}]", value, len(layers)), strict=True))
        for term, value in theta.items()
    }

    def change(i: int, params: Params, act: Activity) -> Array:
        w, f = params["forward"]["w"][i], feedback(i, params, act, signal)
        total = jnp.zeros_like(w)
        for (a, b, c, d), value in coefficients.items():
            post = weighed(act.h[i + 1] ** b * f**d, act.weight)
            product = post.T @ act.seen[i] ** a if a else jnp.sum(post, 0)[:, None]
            total += per_weight(f"theta[{a, b, c, d}]", value[i], w) * w**c * product
        return total

    return local_rule(net, change, alpha=1.0, plastic=plastic, reduction=reduction, reads_feedback=True)


def flp_terms(alpha: Scalar, beta: Scalar, product: Literal["hebb", "oja"] = "oja") -> dict[Term, Scalar]:
    """The coefficients of `taylor` that make it `plasticity_jax.rules.hebbian.flp`; Hebb's or Oja's rule at beta = 0.

    Args:
      alpha: plasticity.
      beta: strength of the feedback, of shape () or that of alpha.
      product: "hebb" or "oja".
    """
    one_of("product", product, ("hebb", "oja"))
    linear: dict[Term, Scalar] = {(1, 1, 0, 0): alpha * (1 - beta), (1, 0, 0, 1): alpha * beta}
    if product == "hebb":
        return linear
    return {
        **linear,
        (0, 2, 1, 0): -alpha * (1 - beta) ** 2,
        (0, 1, 1, 1): -2 * alpha * beta * (1 - beta),
        (0, 0, 1, 2): -alpha * beta**2,
    }
