r"""The multilayer perceptron of Lansdell, Prakash & Kording (2020), for a batch of examples.

    h^0 = x,   v^i = h^{i-1} W^i^T + b^i,   h^i = phi_i(v^i),   i = 1..L;   yhat = h^L

A row is an example: h^i is (B, n_i), W^i is (n_i, n_{i-1}). The loss of an example is 1/2 sum (yhat - y)^2 ("squared"),
-sum y log softmax(yhat) ("softmax"), or a function of yhat and y. The error of the output is e^L = dL/dv^L. Where the
batch has weights, each example's loss and error are multiplied by its own.

Weights are ``{"forward": {"w": (W^1, ..., W^L), "bias": (b^1, ..., b^L)}, "feedback": {"w_fb": (B^2, ..., B^L)}}``.
w_fb[i-1] carries an error back to the activity of hidden layer i, as error @ w_fb[i-1]: from layer i + 1 in a chain,
where B^{i+1} has the shape of W^{i+1}, or directly from the output, where it is (n_out, n_i).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.ops import groups, losses
from plasticity_jax.ops.activations import activation_of, check_activation
from plasticity_jax.ops.checks import cast_floats, default_float, not_empty
from plasticity_jax.ops.losses import Loss, check_loss, one_hot_labels
from plasticity_jax.typing import Array, Example, Key, Params, PyTree

Phi: TypeAlias = str | Callable[[Array], Array]
"""A nonlinearity: a key of `plasticity_jax.ops.activations.ACTIVATIONS`, or any elementwise function."""

Form = Literal["chain", "direct"]
"""How feedback reaches a hidden layer: through the layers above it, or straight from the output."""


class MLP(NamedTuple):
    """What is fixed about the network; build it with `mlp`.

    Attributes:
      activations: phi_i for each layer, the output's last.
      loss: "squared", "softmax" or ``(yhat (n_L,), y) -> ()``.
    """

    activations: tuple[Phi, ...]
    loss: Loss


class Pass(NamedTuple):
    """One forward pass.

    Attributes:
      h: L + 1 arrays (B, n_i), activity from h^0 = x to the output h^L.
      slope: L arrays (B, n_i), phi_i'(v^i) from i = 1.
    """

    h: tuple[Array, ...]
    slope: tuple[Array, ...]


def mlp(activations: Sequence[Phi], loss: Loss = "squared") -> MLP:
    """Checks and names a network's fixed properties.

    Args:
      activations: for each layer, the output's last, a key of `plasticity_jax.ops.activations.ACTIVATIONS` or any
        elementwise function of an array.
      loss: "squared"; "softmax", which is in the loss, so that the last activation is then "identity", and which takes
        integer labels too; or a function ``(yhat (n_out,), y) -> ()`` of one example.

    Returns:
      An `MLP`.

    Raises:
      ValueError: if a name is not known, there is no layer, or the softmax follows a nonlinearity.

    Example:
      >>> mlp(["sigmoid", "sigmoid", "identity"])
      MLP(activations=('sigmoid', 'sigmoid', 'identity'), loss='squared')
    """
    if isinstance(activations, str) or not activations:
        raise ValueError(f"activations={activations!r} must name one activation for each layer, as in ['tanh', 'tanh']")
    for phi in activations:
        check_activation(phi)
    check_loss(loss)
    if loss == "softmax" and activations[-1] != "identity":
        raise ValueError(f"loss='softmax' takes the last activation 'identity', not {activations[-1]!r}")
    return MLP(tuple(activations), loss)


def init_params(key: Key, sizes: Sequence[int], feedback: Form = "chain", dtype: jnp.dtype | None = None) -> Params:
    """Weights as in the paper's experiments: W^i ~ N(0, 2/n_{i-1}), w_fb[i-1] ~ N(0, 2/n_i), biases 0.

    Args:
      key: split, one part for each matrix.
      sizes: n_0, ..., n_L.
      feedback: "chain" or "direct", which decides on the shapes of w_fb.
      dtype: of the weights; JAX's default float if None.

    Returns:
      ``{"forward": {"w", "bias"}, "feedback": {"w_fb"}}``, shapes as in the module's docstring.

    Raises:
      ValueError: if there are fewer than two sizes, or the feedback is not known.
    """
    check_form(feedback)
    if len(sizes) < 2:
        raise ValueError(f"sizes={tuple(sizes)} must name the input's and every layer's width")
    dtype = default_float() if dtype is None else dtype
    layers = len(sizes) - 1
    keys = jax.random.split(key, 2 * layers)

    def matrix(key: Key, n_out: int, n_in: int) -> Array:
        return jax.random.normal(key, (n_out, n_in), dtype) * (2 / n_in) ** 0.5

    senders = sizes[2:] if feedback == "chain" else (sizes[-1],) * (layers - 1)
    return {
        "forward": {
            "w": tuple(matrix(keys[i], sizes[i + 1], sizes[i]) for i in range(layers)),
            "bias": tuple(jnp.zeros((n,), dtype) for n in sizes[1:]),
        },
        "feedback": {"w_fb": tuple(matrix(keys[layers + i], n, sizes[i + 1]) for i, n in enumerate(senders))},
    }


def check_form(feedback: str) -> None:
    """Refuses a form of feedback that is not known.

    Raises:
      ValueError: if it is neither "chain" nor "direct".
    """
    if feedback not in ("chain", "direct"):
        raise ValueError(
            f"feedback={feedback!r} is not known; use 'chain' (layer by layer) or 'direct' (from the output)"
        )


def check_shapes(net: MLP, params: Params, batch: Example, name: str = "batch") -> tuple[int, ...]:
    """The widths n_0, ..., n_L, after asserting that network, forward weights and batch fit together.

    Args:
      net: fixed properties.
      params: its weights; only "forward" is read.
      batch: one step's example.
      name: of the batch in messages.

    Raises:
      AssertionError: (chex) naming the array and the shape that it should have.
      TypeError: if the batch is not an `Example`.
      ValueError: if weights are missing, the number of layers is not that of the activations, or there is no example.
    """
    if not isinstance(batch, Example):
        raise TypeError(f"{name} is a {type(batch).__name__}: give an Example, as in Example(x, y)")
    w, bias = groups.read(params, "forward", "w"), groups.read(params, "forward", "bias")
    layers = len(net.activations)
    if not len(w) == len(bias) == layers:
        raise ValueError(f"{layers} activations, {len(w)} matrices w, {len(bias)} biases: give each layer one of each")
    chex.assert_rank(list(w), 2, custom_message="w^i are (n_i, n_{i-1})")
    widths = (w[0].shape[1], *(matrix.shape[0] for matrix in w))
    chain = f"widths {' - '.join(map(str, widths))} do not chain: w[i] must be (n_{{i+1}}, n_i)"
    for i in range(layers):
        chex.assert_shape(w[i], (widths[i + 1], widths[i]), custom_message=chain)
        chex.assert_shape(bias[i], (widths[i + 1],), custom_message=f"bias[{i}] must be ({widths[i + 1]},)")
    chex.assert_shape(batch.x, (None, widths[0]), custom_message=f"{name}.x must be (B, {widths[0]})")
    examples = batch.x.shape[0]
    not_empty(f"{name}.x", examples)
    wanted, told = (examples, widths[-1]), f"{name}.y must be (B, {widths[-1]}), with B = {examples} as in {name}.x"
    if callable(net.loss):
        wanted, told = (examples, ...), f"{name}.y must lead with B = {examples}, as {name}.x does"
    elif _are_labels(net, batch.y):
        wanted, told = (examples,), f"{name}.y holds labels, which must be (B,), with B = {examples} as in {name}.x"
    chex.assert_shape(batch.y, wanted, custom_message=told)
    if batch.weight is not None:
        chex.assert_shape(batch.weight, (examples,), custom_message=f"{name}.weight must be (B,), B = {examples}")
    return widths


def fitted(net: MLP, params: Params, batch: Example, name: str = "batch") -> Example:
    """The batch in the dtype of the weights, labels as targets (B, n_L); takes and refuses what `check_shapes` does."""
    n_out = check_shapes(net, params, batch, name)[-1]
    dtype = params["forward"]["w"][0].dtype
    y = one_hot_labels(batch.y, n_out, dtype, f"{name}.y") if _are_labels(net, batch.y) else batch.y
    y = cast_floats(y, dtype) if callable(net.loss) else jnp.asarray(y, dtype)
    weight = None if batch.weight is None else jnp.asarray(batch.weight, dtype)
    return Example(jnp.asarray(batch.x, dtype), y, batch.start, weight)


def forward(net: MLP, weights: PyTree, x: Array) -> Pass:
    """The activity of every layer.

    Args:
      net: fixed properties.
      weights: ``params["forward"]``.
      x: (B, n_0).

    Returns:
      The `Pass`.
    """
    h, slope = [x], []
    for name, w, bias in zip(net.activations, weights["w"], weights["bias"], strict=True):
        f, v = activation_of(name), h[-1] @ w.T + bias[None, :]
        h.append(f.phi(v))
        slope.append(f.slope(v, h[-1]))
    return Pass(tuple(h), tuple(slope))


def perturbed_output(net: MLP, weights: PyTree, h_1: Array, noise: Sequence[Array]) -> Array:
    """The output when noise is added to the activity of every hidden layer, and passes through the layers above.

    The first layer's activity is that of the clean pass, to which its noise is added.

    Args:
      net: fixed properties.
      weights: ``params["forward"]``.
      h_1: (B, n_1), the clean activity of the first hidden layer.
      noise: L - 1 arrays (B, n_i), added after the nonlinearity.

    Returns:
      Shape (B, n_L).
    """
    h = h_1 + noise[0]
    for i in range(1, len(net.activations)):
        h = activation_of(net.activations[i]).phi(h @ weights["w"][i].T + weights["bias"][i][None, :])
        h = h + noise[i] if i < len(noise) else h
    return h


def loss_and_error(net: MLP, output: Array, slope: Array, y: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The loss of each example and the error of the output, e^L = dL/dv^L.

    Args:
      net: fixed properties.
      output: (B, n_L), h^L.
      slope: (B, n_L), phi_L'(v^L).
      y: (B, n_L), the target; for a loss of one's own anything that leads with (B,).
      weight: (B,), factors of loss and error; None is 1 for all.

    Returns:
      ``(loss, error)`` of shapes (B,) and (B, n_L), in the output's dtype.
    """
    of_examples = functools.partial(losses.loss_and_error, net.loss)
    loss, error = (jax.vmap(of_examples) if callable(net.loss) else of_examples)(output, y)
    loss, error = loss.astype(output.dtype), error * slope
    return (loss, error) if weight is None else (loss * weight, error * weight[:, None])


def _are_labels(net: MLP, y: Array) -> bool:
    return net.loss == "softmax" and y.ndim == 1 and jnp.issubdtype(y.dtype, jnp.integer)
