r"""FLP with plastic feedback: the feedback weights of a layer learn by the same local rule as its forward weights.

    s, f^i, p^i and the change of W^i as in FLP
    B^i <- B^i + alpha_fb^i [ sum_b s_b p^i_b^T - B^i sum_b (p^i_b)^2 ]

over the examples b of the batch; the column of B^i that leads to a neuron changes like the weights of an Oja neuron
with s as its input. Everything changes at once, from one pass with the old B. At alpha_fb = 0 this is FLP; with
beta = 1, c = 0, signals that are not negative and B > 0, feedback learns the signal's first principal component.

Source: Lindsey & Litwin-Kumar (2020), section 8.1, which mentions plastic feedback without a rule for it. Kind: local.
Memory: no traces. Time: that of FLP and a product with n_out rows a layer. Each synapse, forward or feedback, reads its
own weight, the activity that it carries, and its neuron's activity after feedback. Layers that do not learn and a
clamped output do not use feedback, so their feedback weights do not change; nor do the feedback's biases c.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.ops.hebbian import PRODUCTS
from plasticity_jax.rules.hebbian.common import (
    Activity,
    Layers,
    Reduction,
    each_layer,
    local_rule,
    per_weight,
    plastic_layers,
)
from plasticity_jax.rules.hebbian.flp import Signal, feedback_terms, source
from plasticity_jax.typing import Params, PyTree, Scalar


def plastic_feedback(
    net: Chain,
    *,
    alpha: Layers = 1e-3,
    alpha_fb: Layers = 1e-3,
    plastic: Sequence[int] | None = None,
    signal: Signal = "error",
    beta: Layers = 0.5,
    output: Literal["mixed", "clamped"] = "mixed",
    presynaptic: Literal["before", "after"] = "before",
    product: Literal["hebb", "oja"] = "oja",
    reduction: Reduction = "sum",
) -> LearningRule:
    """Feedback and local plasticity, with plastic feedback.

    Args:
      net: a chain of layers; the dense ones can learn.
      alpha: plasticity of the forward weights, as in `flp`.
      alpha_fb: that of the feedback weights; in each layer a number, (n_i,) or (n_i, n_out), the neurons first.
      plastic: indices of the layers that learn, with their feedback; None for all dense layers.
      signal: "error" or "target".
      beta: strength of the feedback, as in `flp`.
      output: "mixed" or "clamped", as in `flp`.
      presynaptic: "before" or "after", as in `flp`.
      product: "hebb" or "oja", for forward and feedback weights alike.
      reduction: "sum" or "mean" over the batch, for both.

    Returns:
      A rule over the params of `flp`; it changes w and w_fb of the plastic layers.

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
      >>> feedback["w_fb"] = (feedback["w_fb"][0], jnp.eye(2))  # the feedback to each output is its own target
      >>> rule = plastic_feedback(net, alpha=1e-3, alpha_fb=1e-3, beta=1.0, plastic=[-1], signal="target")
      >>> learn = pj.learner(rule, optax.sgd(1.0))
      >>> state = learn.init({"forward": forward, "feedback": feedback}, jax.random.key(3), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Lindsey & Litwin-Kumar, "Learning to learn with feedback and local plasticity", NeurIPS 2020, section 8.1.
    """
    parts = feedback_terms(
        net, beta=beta, plastic=plastic, signal=signal, output=output, presynaptic=presynaptic, product=product
    )
    layers = plastic_layers(net, plastic)
    rates = each_layer("alpha_fb", alpha_fb, len(layers))

    def feedback_updates(params: Params, act: Activity, share: Scalar) -> PyTree:
        w_fb: list[PyTree] = [jax.tree.map(jnp.zeros_like, each) for each in params["feedback"]["w_fb"]]
        for i, rate in zip(layers, rates, strict=True):
            if parts.shifts(i):
                incoming = params["feedback"]["w_fb"][i].T
                change = PRODUCTS[product](source(act, signal), parts.post(i, params, act), incoming, act.weight)
                w_fb[i] = -(share * per_weight("alpha_fb", rate, incoming) * change).T
        return {"w_fb": w_fb}

    return local_rule(
        net,
        parts.change,
        alpha=alpha,
        plastic=plastic,
        reduction=reduction,
        reads_feedback=True,
        feedback_updates=feedback_updates,
    )
