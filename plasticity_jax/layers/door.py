"""Weights of a chain, and the check that network, weights and batch fit together."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from plasticity_jax.layers.chain import Chain, Pathway, check_chain, check_pathway
from plasticity_jax.layers.layer import he_normal
from plasticity_jax.ops import groups
from plasticity_jax.ops.checks import cast_floats, check_real, default_float, finite_padding, not_empty
from plasticity_jax.ops.losses import check_not_labels, one_hot_labels
from plasticity_jax.typing import Array, Example, Key, Params, PyTree


def init_params(key: Key, net: Chain, *, pathway: Pathway = "chain", dtype: jnp.dtype | None = None) -> Params:
    """Weights and feedback weights as each layer draws them, biases 0.

    A matrix or a kernel is ~ N(0, 2 / fan in), as in the experiments of Lansdell, Prakash & Kording (2020).

    Args:
      key: split, one part for each layer and each feedback weight.
      net: the network.
      pathway: "chain", on which B^{i+1} is drawn as W^{i+1} is, or "direct", on which w_fb[i-1] ~ N(0, 2 / n_i) is a
        matrix (n_L, n_i), n_L and n_i being the sizes of v^L and h^i.
      dtype: of the weights; JAX's default float if None.

    Returns:
      ``{"forward": {"w", "bias"}, "feedback": {"w_fb"}}``, as in `plasticity_jax.layers.chain`.

    Raises:
      TypeError: if the network is not a chain.
      ValueError: if the pathway is not known.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> net = pj.layers.chain((3,), [pj.layers.dense(5, "tanh"), pj.layers.dense(2)])
      >>> params = pj.layers.init_params(jax.random.key(0), net)
      >>> jax.tree.map(lambda leaf: leaf.shape, params["feedback"])
      {'w_fb': ((2, 5),)}
    """
    check_chain(net)
    check_pathway(pathway)
    dtype = default_float() if dtype is None else dtype
    count = len(net.layers)
    keys = jax.random.split(key, 2 * count)

    def drawn(key: Key, i: int) -> PyTree:
        init = net.layers[i].init
        assert init is not None  # net.layers holds only layers with weights
        return init(key, seen_shape(net, i), dtype)

    def direct(key: Key, i: int) -> Array:
        size = math.prod(net.h_shapes[i])
        return he_normal(key, (error_size(net), size), size, dtype)

    hidden = range(1, count)
    w_fb = tuple((drawn if pathway == "chain" else direct)(keys[count + i - 1], i) for i in hidden)
    return {
        "forward": {
            "w": tuple(drawn(keys[i], i) for i in range(count)),
            "bias": tuple(jnp.zeros((n,), dtype) for n in net.bias_sizes),
        },
        "feedback": {"w_fb": w_fb},
    }


def fitted(net: Chain, params: Params, batch: Example, name: str = "batch", *, target: bool = True) -> Example:
    """The batch in the dtype of the weights, integer labels as distributions.

    Args:
      net: the network.
      params: its weights; only "forward" is read.
      batch: one step's example.
      name: of the batch in messages.
      target: whether the batch must have a target; if not, y may be None.

    Raises:
      AssertionError: naming the array and the shape that it should have.
      TypeError: if the batch is not an `Example`.
      ValueError: if weights or the target are missing, or there is no example.
    """
    check_shapes(net, params, batch, name, target=target)
    dtype = jax.tree.leaves(params["forward"]["w"])[0].dtype
    x, weight = jnp.asarray(batch.x, dtype), None if batch.weight is None else jnp.asarray(batch.weight, dtype)
    y = None if batch.y is None else _target(net, batch, dtype, name)
    if weight is not None:
        x, y = finite_padding(x, weight), y if y is None else finite_padding(y, weight)
    return Example(x, y, batch.start, weight)


def _target(net: Chain, batch: Example, dtype: jnp.dtype, name: str) -> Array:
    """The batch's y in the dtype of the weights, labels as distributions."""
    y = batch.y
    if are_labels(net, y):
        y = one_hot_labels(y, net.h_shapes[-1][0], dtype, f"{name}.y", batch.weight)
    return cast_floats(y, dtype) if callable(net.loss) else jnp.asarray(y, dtype)


def check_shapes(net: Chain, params: Params, batch: Example, name: str = "batch", *, target: bool = True) -> None:
    """Asserts that network, forward weights and batch fit together; see `fitted` for what it raises."""
    if not isinstance(batch, Example):
        raise TypeError(f"{name} is a {type(batch).__name__}: give an Example, as in Example(x, y)")
    check_real(batch, name)
    w, bias = groups.read(params, "forward", "w"), groups.read(params, "forward", "bias")
    for group, entries in (("w", w), ("bias", bias)):
        if len(entries) != len(net.layers):
            raise ValueError(
                f'params["forward"]["{group}"] has {len(entries)} entries for {len(net.layers)} layers: give each one'
            )
    for i, layer in enumerate(net.layers):
        check_like(f"w[{i}]", w[i], net.w_shapes[i], f" for {layer.name}")
        check_shape(f"bias[{i}]", bias[i], (net.bias_sizes[i],), f"({net.bias_sizes[i]},)")
    hint = ", channels last" if len(net.h_shapes[0]) == 3 else ""
    axes = ", ".join(map(str, net.h_shapes[0]))
    check_shape(f"{name}.x", batch.x, (*jnp.shape(batch.x)[:1], *net.h_shapes[0]), f"(B, {axes}){hint}")
    examples = jnp.shape(batch.x)[0]
    not_empty(f"{name}.x", examples)
    here = f"with B = {examples} as in {name}.x"
    if batch.y is None:
        if target:
            raise ValueError(
                f"{name}.y is None: give a target, Example(x, y); an example without one has a weight of 0"
            )
    elif callable(net.loss):
        check_shape(f"{name}.y", batch.y, (examples, *jnp.shape(batch.y)[1:]), f"(B, ...), {here}")
    elif are_labels(net, batch.y):
        check_shape(f"{name}.y", batch.y, (examples,), f"(B,), labels, {here}")
    else:
        if len(net.h_shapes[-1]) == 1:
            check_not_labels(net.loss, batch.y, (examples,), net.h_shapes[-1][0], f"{name}.y")
        also = ", or integer labels (B,)" if net.loss == "softmax" else ""
        axes = ", ".join(map(str, net.h_shapes[-1]))
        check_shape(f"{name}.y", batch.y, (examples, *net.h_shapes[-1]), f"(B, {axes}){also}, {here}")
    if batch.weight is not None:
        check_shape(f"{name}.weight", batch.weight, (examples,), f"(B,), {here}")


def check_feedback(net: Chain, params: Params, pathway: Pathway) -> None:
    """Asserts that ``params["feedback"]["w_fb"]`` fits the pathway.

    Raises:
      AssertionError: naming the matrix and the shape that it should have.
      ValueError: if feedback weights are missing.
    """
    w_fb = groups.read(params, "feedback", "w_fb")
    hidden = len(net.layers) - 1
    if len(w_fb) != hidden:
        raise ValueError(f"{len(w_fb)} feedback weights w_fb for {hidden} hidden layers: give each layer one")
    remedy = f"on the pathway {pathway!r}, as init_params(key, net, pathway={pathway!r}) draws it"
    for i in range(hidden):
        if pathway == "chain":
            check_like(f"w_fb[{i}]", w_fb[i], net.w_shapes[i + 1], f" {remedy}")
        else:
            wanted = (error_size(net), math.prod(net.h_shapes[i + 1]))
            check_shape(f"w_fb[{i}]", w_fb[i], wanted, f"{wanted} {remedy}")


def check_shape(name: str, given: Any, wanted: tuple[int, ...], message: str) -> None:
    """Asserts that an array has a shape.

    Raises:
      AssertionError: naming the array, the shape that it should have and its own.
    """
    if jnp.shape(given) != wanted:
        raise AssertionError(f"{name} must be {message}, not {jnp.shape(given)}")


def check_like(name: str, given: PyTree, wanted: PyTree, why: str) -> None:
    """Asserts that a weight has the form and the shapes of another.

    Raises:
      AssertionError: naming the weight, the shapes that it should have and its own.
    """
    shapes = jax.tree.map(jnp.shape, wanted)
    message = f"{name} must be {shapes}{why}, not {jax.tree.map(jnp.shape, given)}"

    def by_path(tree: PyTree) -> dict[str, tuple[int, ...]]:
        return {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

    if by_path(given) != by_path(wanted):
        raise AssertionError(message)


def seen_shape(net: Chain, i: int) -> tuple[int, ...]:
    """Shape, without B, of the activity that the weights of layer i, counted from 0, read."""
    h = jax.ShapeDtypeStruct((2, *net.h_shapes[i]), jnp.float32)
    for weightless in net.between[i]:
        h = jax.eval_shape(weightless.linear, (), h)
    return h.shape[1:]


def error_size(net: Chain) -> int:
    """n_L, the size of the error at v^L, which a direct pathway carries back."""
    return math.prod(net.v_shapes[-1])


def are_labels(net: Chain, y: Array) -> bool:
    """Returns whether a target holds integer labels, which a softmax takes."""
    return net.loss == "softmax" and y.ndim == 1 and jnp.issubdtype(y.dtype, jnp.integer)
