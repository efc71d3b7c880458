r"""A layer: a linear map of the activity before it, and the nonlinearity after it.

    v = linear(W, h) + b,   h' = phi(v)

`linear` is linear in W and in h. Feedback through B, of the shape of W, and the gradient of W are therefore its
transposes, for convolutions and matrices alike:

    credit for h   = linear(B, .)^T e         B = W is backpropagation
    gradient of W  = linear(., h)^T e

The bias is the chain's: one number for each entry of the last axis of v.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax

from plasticity_jax.ops.activations import check_activation
from plasticity_jax.typing import Array, Key, PyTree

Phi: TypeAlias = str | Callable[[Array], Array]
"""A nonlinearity: a key of `plasticity_jax.ops.activations.ACTIVATIONS`, elementwise, or any function of a batch."""

Linear: TypeAlias = Callable[[PyTree, Array], Array]
Init: TypeAlias = Callable[[Key, tuple[int, ...], jax.typing.DTypeLike], PyTree]
Transpose: TypeAlias = Callable[[PyTree, Array, Array], PyTree]


class Layer(NamedTuple):
    """One layer of a chain; build it with `dense`, `conv`, `pool`, `flatten`, `from_flax` or `layer`.

    Attributes:
      name: its name in messages.
      linear: ``(w, h) -> v`` of a batch, leading axis B, linear in both; w is () in a layer without weights.
      init: ``(key, shape of h without B, dtype) -> w``; None: no weights, and so neither a bias nor a nonlinearity.
      phi: the nonlinearity.
      credit: ``(b, h, error) -> credit`` of the shape of h, the transpose by h; None takes it by autodiff.
      gradient: ``(w, h, error) -> gradient`` of the form of w, a sum over the batch; None takes it by autodiff.
      trusted: whether `linear` is known to be linear; if not, `chain` checks it once.
    """

    name: str
    linear: Linear
    init: Init | None
    phi: Phi = "identity"
    credit: Transpose | None = None
    gradient: Transpose | None = None
    trusted: bool = False

    def __repr__(self) -> str:
        """Names the layer and its nonlinearity."""
        phi = getattr(self.phi, "__name__", "phi") if callable(self.phi) else self.phi
        return self.name if phi == "identity" else f"{self.name} {phi}"


def layer(linear: Linear, init: Init | None, phi: Phi = "identity", name: str = "layer") -> Layer:
    """Builds a layer of your own from its linear map.

    Args:
      linear: ``(w, h) -> v`` of a batch, leading axis B; linear in w and in h, which `chain` checks.
      init: ``(key, shape of h without B, dtype) -> w``, any pytree; None if there are no weights.
      phi: a nonlinearity by name, or any function of a batch; it may change the shape, as a maximum over a window does.
      name: of the layer in messages.

    Returns:
      A `Layer`.

    Raises:
      ValueError: if phi is not known, or a layer without weights has one.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> def banded(w, h):  # every neuron receives its own activity and its neighbours' on a ring
      ...     return w[0] * h + w[1] * jnp.roll(h, 1, 1) + w[2] * jnp.roll(h, -1, 1)
      >>> ring = layer(banded, lambda key, shape, dtype: jax.random.normal(key, (3, 1, *shape), dtype) / 3, "tanh")
      >>> net = pj.layers.chain((6,), [ring, pj.layers.dense(1)], loss="squared")
      >>> learn = pj.learner(pj.rules.feedback_alignment(net), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 6))
      >>> batch = pj.Example(x, jnp.tanh(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.2 * info.loss[0])
      True
    """
    check_activation(phi)
    if init is None and phi != "identity":
        raise ValueError(f"{name} has no weights, so it takes no nonlinearity: give phi to the layer before it")
    return Layer(name, linear, init, phi)


def credit(layer: Layer, b: PyTree, h: Array, error: Array) -> Array:
    """Credit for h (B, ...) that an error at v carries back through feedback weights b of the form of w."""
    if layer.credit is not None:
        return layer.credit(b, h, error)
    return transposed(lambda h: layer.linear(b, h), h, error)


def gradient(layer: Layer, w: PyTree, h: Array, error: Array) -> PyTree:
    """The gradient of w by an error at v, a sum over the batch."""
    if layer.gradient is not None:
        return layer.gradient(w, h, error)
    return transposed(lambda w: layer.linear(w, h), w, error)


def transposed(linear: Callable[[PyTree], Array], at: PyTree, error: Array) -> PyTree:
    """The transpose of a linear function of `at`, applied to an error, in the dtype of the function."""
    v, pull = jax.vjp(linear, at)  # not linear_transpose, which ignores a layer's custom derivative
    return pull(error.astype(v.dtype))[0]


def he_normal(key: Key, shape: Sequence[int], fan_in: int, dtype: jax.typing.DTypeLike) -> Array:
    """Weights ~ N(0, 2 / fan_in)."""
    return jax.random.normal(key, tuple(shape), dtype) * (2 / fan_in) ** 0.5
