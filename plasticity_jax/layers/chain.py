r"""A chain: layers in sequence, and the loss of their output.

    h^0 = x,   v^i = linear_i(W^i, between_i(h^{i-1})) + b^i,   h^i = phi_i(v^i),   i = 1..L;   yhat = h^L

L counts the layers with weights. Layers without weights, such as `pool` and `flatten`, stand between them and belong to
the input of the next layer, or to the output. The loss of an example is 1/2 sum (yhat - y)^2 ("squared"), -sum y log
softmax(yhat) ("softmax"), or a function of yhat and y.

Weights are ``{"forward": {"w": (W^1, ..., W^L), "bias": (b^1, ..., b^L)}, "feedback": {"w_fb": (B^2, ..., B^L)}}``.
w_fb[i-1] carries an error back to the activity of hidden layer i: through layer i + 1 on the pathway "chain", where
B^{i+1} has the form of W^{i+1}, or straight from the output on the pathway "direct", where it is a matrix (n_L, n_i),
n_L counting the entries of v^L and n_i those of h^i.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.layers.dense import is_dense
from plasticity_jax.layers.flax_adapters import from_flax, is_flax_module
from plasticity_jax.layers.layer import Layer
from plasticity_jax.layers.pool import is_flatten
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.checks import one_of, whole
from plasticity_jax.ops.losses import Loss, check_loss
from plasticity_jax.ops.noise import normal_like
from plasticity_jax.typing import PyTree

Pathway = Literal["chain", "direct"]
"""The path of an error to a hidden layer: through the layers above it, or by a matrix straight from the output."""


class Chain(NamedTuple):
    """A network's layers, shapes and loss; build it with `chain`.

    Attributes:
      layers: the L layers with weights.
      between: L + 1 tuples of layers without weights, in front of each layer and behind the last.
      h_shapes: L + 1 shapes, without B, of the activity from h^0 = x to the output h^L.
      v_shapes: L shapes, without B, of v^i, whose last axis has a bias.
      w_forms: L weights as ``(structure, shapes of the leaves)``.
      loss: "squared", "softmax" or ``(yhat, y) -> ()``.
    """

    layers: tuple[Layer, ...]
    between: tuple[tuple[Layer, ...], ...]
    h_shapes: tuple[tuple[int, ...], ...]
    v_shapes: tuple[tuple[int, ...], ...]
    w_forms: tuple[tuple[Any, tuple[tuple[int, ...], ...]], ...]
    loss: Loss

    @property
    def bias_sizes(self) -> tuple[int, ...]:
        """L numbers, the sizes of the biases."""
        return tuple(shape[-1] for shape in self.v_shapes)

    @property
    def w_shapes(self) -> tuple[PyTree, ...]:
        """L trees of the form of the weights, of float32 shapes."""
        leaves = [[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes] for _, shapes in self.w_forms]
        return tuple(jax.tree.unflatten(form[0], each) for form, each in zip(self.w_forms, leaves, strict=True))

    def __repr__(self) -> str:
        """Names the layers in order, in one line."""
        names = [str(self.h_shapes[0])]
        for i, each in enumerate(self.layers):
            names += map(repr, (*self.between[i], each))
        names += map(repr, self.between[-1])
        return f"Chain({' - '.join(names)}, loss={getattr(self.loss, '__name__', self.loss)!r})"


def chain(in_shape: Sequence[int], layers: Sequence[Layer | Any], loss: Loss = "squared") -> Chain:
    """Joins layers into a network, and checks that they fit.

    Args:
      in_shape: shape of one input, (n,) or (height, width, channels).
      layers: `dense`, `conv`, `pool`, `flatten`, a `layer` of your own, or a flax.linen module without bias, whose
        nonlinearity is then the identity (`from_flax` gives it another). The last one's activity is the output.
      loss: "squared"; "softmax", which includes the softmax, so that the last nonlinearity is then "identity", and
        which takes integer labels too; or a function ``(yhat, y) -> ()`` of one example. The named losses take an
        output (n,).

    Returns:
      A `Chain`. Its weights are ``{"forward": {"w", "bias"}, "feedback": {"w_fb"}}``, one entry for each layer with
      weights, and one w_fb for each hidden one: of the form of the next layer's w on the pathway "chain", a matrix
      (n_L, n_i) on the pathway "direct"; `init_params` draws them.

    Raises:
      TypeError: if one of them is not a layer.
      ValueError: if in_shape is not a shape, the shapes do not chain, a layer of your own is not linear, no layer has
        weights, the loss is not known or does not fit the output.

    Example:
      >>> import jax, optax, plasticity_jax as pj
      >>> from plasticity_jax.layers import chain, conv, dense, flatten, pool
      >>> net = chain((8, 8, 1), [conv(4, 3), pool(2), flatten(), dense(2)], loss="softmax")
      >>> net
      Chain((8, 8, 1) - conv(4, 3) relu - pool(2) - flatten() - dense(2), loss='softmax')
      >>> learn = pj.learner(pj.rules.feedback_alignment(net), optax.sgd(0.1))
      >>> images = jax.random.normal(jax.random.key(0), (64, 8, 8, 1))
      >>> batch = pj.Example(images, (images[:, :4].sum((1, 2, 3)) > images[:, 4:].sum((1, 2, 3))).astype(int))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.2 * info.loss[0])
      True
    """
    check_loss(loss)
    shape = _checked(in_shape)
    with_weights: list[Layer] = []
    between: list[tuple[Layer, ...]] = [()]
    h_shapes, v_shapes, w_forms = [shape], [], []
    for i, given in enumerate(layers):
        each = from_flax(given) if is_flax_module(given) else given
        if not isinstance(each, Layer):
            kind = getattr(given, "__name__", type(given).__name__)
            hint = "; flax.nnx is not supported" if type(given).__module__.startswith("flax.nnx") else ""
            raise TypeError(
                f"layers[{i}] is {kind}, not a layer: call dense, conv, pool, flatten, layer or a flax.linen module"
                f"{hint}; a nonlinearity is the phi of the layer before it"
            )
        w, v_shape, h_shape = _shapes(f"layers[{i}]={each.name}", each, shape)
        if not each.trusted:
            _check_linear(f"layers[{i}]={each.name}", each, w, shape)
        shape = h_shape
        if each.init is None:
            between[-1] += (each,)
            continue
        with_weights.append(each)
        between.append(())
        h_shapes.append(shape)
        v_shapes.append(v_shape)
        w_forms.append((jax.tree.structure(w), tuple(leaf.shape for leaf in jax.tree.leaves(w))))
    if not with_weights:
        raise ValueError("layers holds none with weights: give at least one dense or conv")
    h_shapes[-1] = shape
    if loss == "softmax" and shape == (1,):
        raise ValueError("loss='softmax' of one output is constant: give it two, or use loss='squared'")
    if loss == "softmax" and with_weights[-1].phi != "identity":
        raise ValueError(f"loss='softmax' takes the last phi 'identity', not {with_weights[-1].phi!r}")
    if not callable(loss) and len(shape) != 1:
        raise ValueError(f"loss={loss!r} takes an output (n,), and the last layer's is {shape}: put flatten() after it")
    return Chain(tuple(with_weights), tuple(between), tuple(h_shapes), tuple(v_shapes), tuple(w_forms), loss)


def check_chain(net: Chain) -> None:
    """Refuses a network that is not a chain.

    Raises:
      TypeError: naming its type.
    """
    if not isinstance(net, Chain):
        raise TypeError(
            f"net is {type(net).__name__}, not a network of layers: make one by layers.chain or networks.mlp"
        )


def others_than_dense(net: Chain) -> list[str]:
    """Names of the layers that break the chain of matrices from the first layer's activity to the output."""
    layers = [layer.name for layer in net.layers[1:] if not is_dense(layer)]
    return layers + [layer.name for group in net.between[1:-1] for layer in group if not is_flatten(layer)]


def check_pathway(pathway: str) -> None:
    """Refuses a pathway that is not known.

    Raises:
      ValueError: if it is neither "chain" nor "direct".
    """
    one_of("pathway", pathway, ("chain", "direct"))


def _checked(in_shape: Sequence[int] | int) -> tuple[int, ...]:
    sizes = (in_shape,) if isinstance(in_shape, int | np.integer) else in_shape
    if not isinstance(sizes, Sequence | np.ndarray) or isinstance(sizes, str) or len(sizes) == 0:
        raise ValueError(f"in_shape={in_shape!r} must be the shape of one input, as in (3,) or (28, 28, 1)")
    for n in sizes:
        whole("in_shape", n, 1, "entry")
    return tuple(map(int, sizes))


def _shapes(place: str, each: Layer, shape: tuple[int, ...]) -> tuple[PyTree, tuple[int, ...], tuple[int, ...]]:
    """Shapes of a layer's weights, its v and its activity, from that of the activity before it."""
    h = jax.ShapeDtypeStruct((2, *shape), jnp.float32)  # no array: importing a network starts no backend
    key = jax.eval_shape(jax.random.key, 0)
    try:
        init = each.init
        w = () if init is None else jax.eval_shape(lambda key: init(key, shape, h.dtype), key)
        v = jax.eval_shape(each.linear, w, h)
        after = jax.eval_shape(activation_of(each.phi).phi, v)
    except Exception as error:
        axes = ", ".join(map(str, shape))
        why = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(f"{place} does not take activity (B, {axes}): {why}") from error
    for what, out in (("linear", v), ("phi", after)):
        if not hasattr(out, "shape") or len(out.shape) < 2 or out.shape[0] != 2:
            raise ValueError(
                f"{place}: {what} returns {jax.tree.map(jnp.shape, out)} for a batch of 2: keep the batch's axis first"
            )
        if 0 in out.shape:
            raise ValueError(f"{place}: nothing is left after {what}, {out.shape[1:]}: its window is too large")
    if init is not None and not jax.tree.leaves(w):
        raise ValueError(f"{place} draws no weights: give init=None to a layer without")
    return w, v.shape[1:], after.shape[1:]


def _check_linear(place: str, each: Layer, w: PyTree, shape: tuple[int, ...]) -> None:
    """Refuses a layer that is not additive for two random activities or two random weights.

    A layer that depends on a traced coefficient is not validated.
    """
    with jax.ensure_compile_time_eval():
        keys = jax.random.split(jax.random.key(0), 4)
        h, more_h = (jax.random.normal(key, (2, *shape), jnp.float32) for key in keys[:2])
        weights, more_w = (normal_like(key, w) for key in keys[2:])
        v = each.linear(weights, h)
        if isinstance(v, Tracer):
            return
        faults = {
            "mixes the examples of a batch: v of one may read its activity alone": each.linear(weights, h[:1]) - v[:1],
            "is not linear in its activity: leave out its bias (use_bias=False), which the chain adds, and put a "
            "nonlinearity into phi": each.linear(weights, h + more_h) - each.linear(weights, more_h) - v,
        }
        if each.init is not None:
            total = each.linear(jax.tree.map(jnp.add, weights, more_w), h)
            faults[
                "is not linear in its weights: leave out its bias (use_bias=False), which the chain adds; a product of "
                "weights is two layers, and a path without any, as in a skip, cannot be part of one"
            ] = total - each.linear(more_w, h) - v
        eps = float(jnp.finfo(v.dtype).eps)
        rounding = min(64 * eps, eps**0.5) * float(jnp.sqrt(jnp.mean(v.astype(jnp.float32) ** 2)))
        for fault, difference in faults.items():
            if not float(jnp.max(jnp.abs(difference))) <= max(rounding, float(jnp.finfo(jnp.float32).tiny)) * 8:
                raise ValueError(f"{place} {fault}")
