"""A matrix: every neuron receives all activities of the layer before it."""

import functools

from plasticity_jax.layers.layer import Init, Layer, Phi, he_normal
from plasticity_jax.ops.activations import check_activation
from plasticity_jax.ops.checks import whole
from plasticity_jax.typing import Array, Key


def dense(n: int, phi: Phi = "identity") -> Layer:
    """A dense layer, v = h W^T + b.

    Args:
      n: neurons.
      phi: a nonlinearity by name, or any function of a batch.

    Returns:
      A `Layer` with W (n, n_in) ~ N(0, 2 / n_in), which takes activity (B, n_in).

    Raises:
      ValueError: if n is not a whole number of at least 1, or phi is not known.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> net = pj.layers.chain((3,), [dense(5, "tanh"), dense(2)])
      >>> params = pj.layers.init_params(jax.random.key(0), net)
      >>> [w.shape for w in params["forward"]["w"]]
      [(5, 3), (2, 5)]
    """
    whole("n", n, 1, "neuron")
    check_activation(phi)
    return Layer(f"dense({n})", _linear, _init(n), phi, _credit, _gradient, True)


def is_dense(layer: Layer) -> bool:
    """Returns whether a layer's weights are a matrix (n, n_in)."""
    return layer.linear is _linear


@functools.cache  # one function for all layers of n neurons: networks built alike compare equal
def _init(n: int) -> Init:
    def init(key: Key, shape: tuple[int, ...], dtype: object) -> Array:
        if len(shape) != 1:
            raise ValueError(
                f"dense({n}) takes activity (B, n_in), not (B, {', '.join(map(str, shape))}): put flatten() before it"
            )
        return he_normal(key, (n, *shape), shape[0], dtype)  # pyright: ignore[reportArgumentType]

    return init


def _linear(w: Array, h: Array) -> Array:
    return h @ w.T


def _credit(b: Array, h: Array, error: Array) -> Array:
    return error @ b


def _gradient(w: Array, h: Array, error: Array) -> Array:
    return error.T @ h
