"""Networks cut where plasticity begins, and the initial theta that is meta-learned for each learner."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.layers import Chain, forward, init_params
from plasticity_jax.meta.supervised import Prefix
from plasticity_jax.networks import mlp
from plasticity_jax.ops.losses import Loss
from plasticity_jax.rules.hebbian import flp_feedback
from plasticity_jax.typing import Array, Key, PyTree, Scalar


class Layers(NamedTuple):
    """A multilayer perceptron, cut where plasticity begins.

    Attributes:
      sizes: n_0, ..., n_L.
      front: the layers that do not learn in a life; None if all do.
      net: the layers that learn in it.
    """

    sizes: tuple[int, ...]
    front: Chain | None
    net: Chain

    @property
    def plastic(self) -> int:
        """Number of layers that learn."""
        return len(self.net.layers)

    def features(self, weights: PyTree, x: Array) -> Array:
        """Output of the layers in front, of x (N, n_0)."""
        return x if self.front is None else forward(self.front, weights, x).h[-1]


def layers(sizes: Sequence[int], plastic: int, loss: Loss = "squared") -> Layers:
    """Rectified layers with an identity output; the last `plastic` learn in a life.

    Raises:
      ValueError: if `plastic` is not from 1 to the number of layers.
    """
    count = len(sizes) - 1
    if not 1 <= plastic <= count:
        raise ValueError(f"{plastic} plastic layers, but the network has {count}")
    rest = count - plastic
    front = mlp(sizes[: rest + 1], ["relu"] * rest) if rest else None
    return Layers(tuple(sizes), front, mlp(sizes[rest:], ["relu"] * (plastic - 1) + ["identity"], loss))


def in_blocks(prefix: Prefix, rows: int) -> Prefix:
    """The same prefix, evaluated on a limited number of inputs at a time, so that hidden activity stays in the cache.

    Args:
      prefix: treats inputs independently.
      rows: limit at a time; blocks have the largest divisor of the number of inputs within it. 0 takes all at once.
    """
    if not rows:
        return prefix

    def features(weights: PyTree, x: Array) -> Array:
        count = max(n for n in range(1, min(rows, len(x)) + 1) if len(x) % n == 0)
        outputs = jax.lax.map(lambda block: prefix(weights, block), x.reshape(-1, count, *x.shape[1:]))
        return outputs.reshape(len(x), *outputs.shape[2:])

    return features


def initial_weights(key: Key, cut: Layers) -> PyTree:
    """``{"prefix", "forward"}``: Kaiming's, the same for every number of plastic layers."""
    count = len(cut.sizes) - 1
    weights = init_params(key, mlp(cut.sizes, ["identity"] * count))["forward"]
    rest = count - cut.plastic
    return {
        "prefix": {name: leaves[:rest] for name, leaves in weights.items()},
        "forward": {name: leaves[rest:] for name, leaves in weights.items()},
    }


def flp_theta(key: Key, cut: Layers, alpha: Scalar | Sequence[Scalar] = 0.0, beta: Scalar = 0.5) -> PyTree:
    """Theta of FLP; alpha is a number, or one for each plastic layer."""
    key_weights, key_feedback = jax.random.split(key)
    weights = initial_weights(key_weights, cut)
    alphas = alpha if isinstance(alpha, Sequence) else [alpha] * cut.plastic
    return {
        **weights,
        "feedback": flp_feedback(key_feedback, cut.net),
        "alpha": tuple(jnp.full_like(w, a) for w, a in zip(weights["forward"]["w"], alphas, strict=True)),
        "beta": (jnp.asarray(beta, jnp.zeros(()).dtype),) * cut.plastic,
    }


def gradient_theta(key: Key, cut: Layers, rate: Scalar) -> PyTree:
    """The weights, and a rate for each parameter of the plastic layers."""
    weights = initial_weights(jax.random.split(key)[0], cut)
    return {**weights, "rate": jax.tree.map(lambda leaf: jnp.full_like(leaf, rate), weights["forward"])}
