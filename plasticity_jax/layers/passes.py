"""A chain's forward pass, the loss of its output, and credit and gradients through one layer."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.layers.chain import Chain
from plasticity_jax.layers.layer import Layer, credit, gradient, transposed
from plasticity_jax.ops import losses
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.typing import Array, PyTree


class Pass(NamedTuple):
    """One forward pass.

    Attributes:
      h: L + 1 arrays (B, ...), activity from h^0 = x to the output h^L.
      seen: L arrays (B, ...), the activity that the weights of layer i read: h^{i-1} after the layers between.
      pull: L functions from credit for h^i to the error at v^i; for an elementwise phi, products with phi_i'(v^i).
    """

    h: tuple[Array, ...]
    seen: tuple[Array, ...]
    pull: tuple[Callable[[Array], Array], ...]


def forward(net: Chain, weights: PyTree, x: Array) -> Pass:
    """The activity of every layer.

    Args:
      net: the network.
      weights: ``params["forward"]``.
      x: (B, ...), inputs.

    Returns:
      The `Pass`; the output is its ``h[-1]``.

    Raises:
      ValueError: if the weights are not those of a chain, or x has another shape.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> net = pj.layers.chain((3,), [pj.layers.dense(4, "tanh"), pj.layers.dense(2)])
      >>> params = pj.layers.init_params(jax.random.key(0), net)
      >>> [h.shape for h in forward(net, params["forward"], jnp.ones((5, 3))).h]
      [(5, 3), (5, 4), (5, 2)]
    """
    if not isinstance(weights, Mapping) or not {"w", "bias"} <= set(weights):
        raise ValueError('forward takes the weights params["forward"], with the names w and bias')
    if jnp.shape(x)[1:] != net.h_shapes[0]:
        raise ValueError(f"x must be (B, {', '.join(map(str, net.h_shapes[0]))}), not {jnp.shape(x)}")
    h, seen, pulls = [jnp.asarray(x, jax.tree.leaves(weights["w"])[0].dtype)], [], []
    for i, layer in enumerate(net.layers):
        seen.append(between(net, i, h[-1]))
        active, pull = _response(layer, summed(layer, weights, i, seen[-1]))
        h.append(active)
        pulls.append(pull)
    if net.between[-1]:
        h[-1], pulls[-1] = _behind(net, h[-1], pulls[-1])
    return Pass(tuple(h), tuple(seen), tuple(pulls))


def perturbed_output(net: Chain, weights: PyTree, h_1: Array, noise: Sequence[Array]) -> Array:
    """The output when noise is added to the activity of every hidden layer and passes through the layers above.

    The first layer's activity is taken from the clean pass.

    Args:
      net: the network.
      weights: ``params["forward"]``.
      h_1: (B, ...), the clean activity of the first hidden layer.
      noise: L - 1 arrays of the shapes of h^i, added after the nonlinearity.

    Returns:
      The shape of h^L.
    """
    h = h_1 + noise[0]
    for i in range(1, len(net.layers)):
        layer = net.layers[i]
        h = activation_of(layer.phi).phi(summed(layer, weights, i, between(net, i, h)))
        h = h + noise[i] if i < len(noise) else h
    return between(net, len(net.layers), h)


def between(net: Chain, i: int, h: Array) -> Array:
    """Activity after the layers without weights in front of layer i, counted from 0; of the output if i is L."""
    for weightless in net.between[i]:
        h = weightless.linear((), h)
    return h


def summed(layer: Layer, weights: PyTree, i: int, seen: Array) -> Array:
    """v of layer i, counted from 0."""
    v = layer.linear(weights["w"][i], seen)
    return v + jnp.expand_dims(weights["bias"][i], tuple(range(v.ndim - 1)))


def credit_through(net: Chain, i: int, b: PyTree, activity: Pass, error: Array) -> Array:
    """Credit for h^i, which layer i, counted from 0, reads: the error at its v, carried back by b of the form of w."""
    carried = credit(net.layers[i], b, activity.seen[i], error)
    if not net.between[i]:
        return carried
    return transposed(functools.partial(between, net, i), activity.h[i], carried)


def gradients(net: Chain, weights: PyTree, activity: Pass, errors: Sequence[Array]) -> PyTree:
    """Updates for ``params["forward"]``: gradients of each layer's weights and bias by its error, means over the batch.

    Args:
      net: the network.
      weights: ``params["forward"]``.
      activity: of the forward pass.
      errors: L arrays of the shapes of v^i.

    Returns:
      ``{"w": L trees, "bias": L arrays}``.
    """
    batch = errors[0].shape[0]

    def of_layer(i: int) -> PyTree:
        if jnp.finfo(errors[i].dtype).bits < 32:  # sums in float16 would overflow
            return gradient(net.layers[i], weights["w"][i], activity.seen[i], errors[i] / batch)
        total = gradient(net.layers[i], weights["w"][i], activity.seen[i], errors[i])
        return jax.tree.map(lambda g: g / batch, total)

    def of_bias(error: Array) -> Array:
        shared = error if error.ndim == 2 else jnp.sum(error, tuple(range(1, error.ndim - 1)))
        return jnp.mean(shared, 0)

    return {"w": tuple(map(of_layer, range(len(errors)))), "bias": tuple(map(of_bias, errors))}


def loss_and_credit(net: Chain, output: Array, y: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The loss of each example and its derivative by the output, dL/dh^L, both times the example's weight.

    Args:
      net: the network.
      output: h^L, (B, n_L) for a loss by name.
      y: the target, of the output's shape for a loss by name, or anything that leads with (B,).
      weight: (B,), factors of both; None: 1 for all. With 0 both are 0, even where the loss is not finite.

    Returns:
      ``(loss, credit)`` of shapes (B,) and the output's, in its dtype.

    Raises:
      ValueError: if y does not have the output's shape, for a loss by name; `fitted` converts labels.
    """
    loss, back = unweighted(net, output, y, weight)
    if weight is None:
        return loss, back
    return loss * weight, back * jnp.expand_dims(weight, tuple(range(1, back.ndim)))


def unweighted(net: Chain, output: Array, y: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """`loss_and_credit` without the weights; where a weight is 0, values that are not finite are 0 already."""
    if not callable(net.loss) and jnp.shape(y) != jnp.shape(output):
        raise ValueError(
            f"y has shape {jnp.shape(y)}, but loss={net.loss!r} takes that of the output, {jnp.shape(output)}: "
            f"layers.fitted(net, params, batch) brings a batch to that form{', labels too' * (net.loss == 'softmax')}"
        )
    of_examples = functools.partial(losses.loss_and_error, net.loss)
    loss, back = (jax.vmap(of_examples) if callable(net.loss) else of_examples)(output, y, weight)
    return loss.astype(output.dtype), back


def _response(layer: Layer, v: Array) -> tuple[Array, Callable[[Array], Array]]:
    """phi(v), and the function that pulls credit for it back to v."""
    if callable(layer.phi):
        h, pull = jax.vjp(layer.phi, v)
        return h, lambda c: pull(c.astype(h.dtype))[0]
    f = activation_of(layer.phi)
    h = f.phi(v)
    slope = f.slope(v, h)
    return h, lambda c: c * slope


def _behind(net: Chain, h: Array, pull: Callable[[Array], Array]) -> tuple[Array, Callable[[Array], Array]]:
    """The output after the last layers without weights, and the function that pulls credit for it back."""
    read = functools.partial(between, net, len(net.layers))
    return read(h), lambda c: pull(transposed(read, h, c))
