r"""The multilayer perceptron of Lansdell, Prakash & Kording (2020), for a batch of examples.

    h^0 = x,   v^i = h^{i-1} W^i^T + b^i,   h^i = phi_i(v^i),   i = 1..L;   yhat = h^L

A row is an example: h^i is (B, n_i), W^i is (n_i, n_{i-1}). The loss of an example is 1/2 sum (yhat - y)^2 ("squared"),
or -sum y log softmax(yhat) ("softmax"). The error of the output is e^L = dL/dv^L.

Weights are ``{"forward": {"w": (W^1, ..., W^L), "bias": (b^1, ..., b^L)}, "feedback": {"w_fb": (B^2, ..., B^L)}}``.
w_fb[i-1] carries an error back to the activity of hidden layer i, as error @ w_fb[i-1]: from layer i + 1 in a chain,
where B^{i+1} has the shape of W^{i+1}, or directly from the output, where it is (n_out, n_i).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.ops.activations import ACTIVATIONS, check_activation
from plasticity_jax.typing import Array, Example, Key, Params, PyTree

LOSSES = ("squared", "softmax")

Form = Literal["chain", "direct"]
"""How feedback reaches a hidden layer: through the layers above it, or straight from the output."""


class MLP(NamedTuple):
    """What is fixed about the network; build it with `mlp`.

    Attributes:
      activations: a key of `ACTIVATIONS` for each layer, the output's last.
      loss: a member of `LOSSES`.
    """

    activations: tuple[str, ...]
    loss: str


class Pass(NamedTuple):
    """One forward pass.

    Attributes:
      h: L + 1 arrays (B, n_i), activity from h^0 = x to the output h^L.
      slope: L arrays (B, n_i), phi_i'(v^i) from i = 1.
    """

    h: tuple[Array, ...]
    slope: tuple[Array, ...]


def mlp(activations: Sequence[str], loss: str = "squared") -> MLP:
    """Checks and names a network's fixed properties.

    Args:
      activations: one of `ACTIVATIONS` for each layer, the output's last.
      loss: "squared" or "softmax"; the softmax is in the loss, so the last activation is then "identity".

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
    for name in activations:
        check_activation(name)
    if loss not in LOSSES:
        raise ValueError(f"loss={loss!r} is not known; use one of {', '.join(LOSSES)}")
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
    dtype = jnp.zeros(()).dtype if dtype is None else dtype
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


def check_shapes(net: MLP, params: Params, batch: Example) -> tuple[int, ...]:
    """The widths n_0, ..., n_L, after asserting that network, forward weights and batch fit together.

    Args:
      net: fixed properties.
      params: its weights; only "forward" is read.
      batch: one step's example.

    Raises:
      AssertionError: (chex) naming the array and the shape that it should have.
      ValueError: if the number of layers is not that of the activations.
    """
    w, bias = params["forward"]["w"], params["forward"]["bias"]
    layers = len(net.activations)
    if not len(w) == len(bias) == layers:
        raise ValueError(f"{layers} activations, {len(w)} matrices w, {len(bias)} biases: give each layer one of each")
    chex.assert_rank(
        [*w, batch.x, batch.y], 2, custom_message="w^i are (n_i, n_{i-1}), the batch (B, n_in), (B, n_out)"
    )
    widths = (w[0].shape[1], *(matrix.shape[0] for matrix in w))
    chain = f"widths {' - '.join(map(str, widths))} do not chain: w[i] must be (n_{{i+1}}, n_i)"
    for i in range(layers):
        chex.assert_shape(w[i], (widths[i + 1], widths[i]), custom_message=chain)
        chex.assert_shape(bias[i], (widths[i + 1],), custom_message=f"bias[{i}] must be ({widths[i + 1]},)")
    examples = batch.x.shape[0]
    chex.assert_shape(batch.x, (examples, widths[0]), custom_message=f"batch.x must be (B, {widths[0]})")
    chex.assert_shape(batch.y, (examples, widths[-1]), custom_message=f"batch.y must be (B, {widths[-1]})")
    return widths


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
        v = h[-1] @ w.T + bias
        h.append(ACTIVATIONS[name].phi(v))
        slope.append(ACTIVATIONS[name].slope(v, h[-1]))
    return Pass(tuple(h), tuple(slope))


def perturbed_output(net: MLP, weights: PyTree, h_1: Array, noise: Sequence[Array]) -> Array:
    """The output when noise is added to the activity of every hidden layer, and the layers above hear it.

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
        h = ACTIVATIONS[net.activations[i]].phi(h @ weights["w"][i].T + weights["bias"][i])
        h = h + noise[i] if i < len(noise) else h
    return h


def loss_and_error(net: MLP, output: Array, slope: Array, y: Array) -> tuple[Array, Array]:
    """The loss of each example and the error of the output, e^L = dL/dv^L.

    Args:
      net: fixed properties.
      output: (B, n_L), h^L.
      slope: (B, n_L), phi_L'(v^L).
      y: (B, n_L), the target; for the softmax it sums to one.

    Returns:
      ``(loss, error)`` of shapes (B,) and (B, n_L).
    """
    if net.loss == "softmax":
        log_p = jax.nn.log_softmax(output)
        return -jnp.sum(y * log_p, -1), jnp.exp(log_p) - y
    difference = output - y
    return 0.5 * jnp.sum(difference * difference, -1), difference * slope
