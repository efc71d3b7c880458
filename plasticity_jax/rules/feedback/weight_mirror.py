r"""Weight mirrors: neurons fire at random, and feedback weights learn from the forward weights' response.

    e~^i = (e~^{i+1} B^{i+1}) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T                                   engaged
    y^i = (phi_i(W^i sigma xi^{i-1} + b^i) - phi_i(b^i)) / sigma                                         mirror
    updates of B^i:  decay B^i - mean over the batch of y^i xi^{i-1}^T,   i >= 2

These are the equations of dense layers. In any other layer, e B stands for linear(B, .)^T e, and y xi^T for
linear(., xi)^T y over the number of connections that share a weight. xi are independent standard normal numbers in
place of layer i's input. By Stein's lemma

    E[y_j xi^T] = E[phi'(v_j)] W_j

so that B_j grows along W_j, for any nonlinearity, and with linear neurons converges to W / decay. Feedback through a
convolution mirrors its kernel.

Source: Akrout, Wilson, Humphreys, Lillicrap & Tweed (2019). Kind: approximate; exact at B = W, the fixed point of
linear neurons with a decay of 1. Memory: B; no traces. Time: that of backpropagation and two products a layer.
Each synapse reads its presynaptic activity and one error signal of its postsynaptic neuron; a feedback synapse reads
the noise of the neuron that it leads to, and the response to it of the neuron that it comes from.
Departures from the paper: both modes in every step, all layers at once; the response is measured relative to rest,
phi(b), which lowers the variance and keeps the mean; 1 / sigma^2 and the number of connections that share a weight are
divided out.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain, check_chain
from plasticity_jax.layers.door import seen_shape
from plasticity_jax.layers.layer import Layer, gradient
from plasticity_jax.layers.passes import Pass
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.checks import like, number
from plasticity_jax.ops.noise import check_noise, noise_of_shapes
from plasticity_jax.rules.feedback.common import feedback_rule
from plasticity_jax.typing import Array, Key, Params, PyTree, Scalar


def weight_mirror(
    net: Chain, *, sigma: Scalar = 0.1, decay: Scalar = 1.0, noise: Literal["gaussian", "rademacher"] = "gaussian"
) -> LearningRule:
    """Feedback that learns the forward weights from their response to noise.

    Args:
      net: a chain of layers, of `plasticity_jax.layers`; nonlinearities above the first layer must keep the shape.
      sigma: standard deviation of the noise, above 0.
      decay: the decay of B, relative to the learning rate, at least 0.
      noise: "gaussian", or "rademacher", for which Stein's lemma holds to first order in sigma.

    Returns:
      A rule over ``w`` and ``bias``, and over ``w_fb`` of the pathway "chain". Give the group "feedback" a learning
      rate of its own: at a rate r, B averages over the last 1 / (r decay) steps.

    Raises:
      ValueError: if an option is not known or out of range, or a nonlinearity changes the shape.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 20, 1), ("tanh", "tanh", "identity"))
      >>> learn = pj.learner(weight_mirror(net), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True
      >>> b, w = state.params["feedback"]["w_fb"][0], state.params["forward"]["w"][1]
      >>> bool(jnp.vdot(b, w) > 0.9 * jnp.linalg.norm(b) * jnp.linalg.norm(w))  # B points along W
      True

    Reference:
      Akrout, Wilson, Humphreys, Lillicrap & Tweed, "Deep learning without weight transport", NeurIPS 2019.
    """
    check_chain(net)
    check_noise(noise)
    number("sigma", sigma, 0, open_low=True, why="the standard deviation of the noise, which divides the response")
    number("decay", decay, 0, why="the share of a feedback weight lost at each step, relative to the learning rate")
    mirrors = range(1, len(net.layers))
    input_shapes = [seen_shape(net, i) for i in mirrors]
    for i in mirrors:
        _check_shape_is_kept(net, i)

    def mirror_update(i: int, params: Params, xi: jax.Array) -> PyTree:
        """Update of B^{i+1}, which mirrors layer i, counted from 0."""
        layer, w, b = net.layers[i], params["forward"]["w"][i], params["feedback"]["w_fb"][i - 1]
        phi, size = activation_of(layer.phi).phi, jnp.asarray(sigma, xi.dtype)
        v = size * layer.linear(w, xi)
        bias = jnp.broadcast_to(jnp.expand_dims(params["forward"]["bias"][i], tuple(range(v.ndim - 1))), v.shape)
        response = (phi(v + bias) - phi(bias)) / size
        total, share = (like(each, b) for each in (gradient(layer, w, xi, response), shared_by(layer, w, xi)))
        return jax.tree.map(lambda b, g, n: decay * b - g / (len(xi) * n), b, total, share)

    def teach(params: Params, gradients: PyTree, activity: Pass, key: Key) -> PyTree:
        h = activity.h[0]
        xi = noise_of_shapes(key, [(len(h), *shape) for shape in input_shapes], h.dtype, noise)
        b = tuple(mirror_update(i + 1, params, each) for i, each in enumerate(xi))
        return {"forward": gradients, "feedback": {"w_fb": b}}

    return feedback_rule(net, teach=teach)


def shared_by(layer: Layer, w: PyTree, h: Array) -> PyTree:
    """Number of connections that share each weight of a layer that reads h (B, ...), at least 1; of the form of w."""
    one = jnp.ones_like(h[:1])
    count = gradient(layer, w, one, jnp.ones_like(layer.linear(w, one)))
    return jax.tree.map(lambda n: jnp.maximum(n, 1), count)


def _check_shape_is_kept(net: Chain, i: int) -> None:
    v = jax.ShapeDtypeStruct((2, *net.v_shapes[i]), jnp.result_type(float))
    if jax.eval_shape(activation_of(net.layers[i].phi).phi, v).shape != v.shape:
        raise ValueError(
            f"layers[{i}]={net.layers[i].name}: its phi changes the shape; use pool after a phi that keeps it"
        )
