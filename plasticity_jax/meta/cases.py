"""The registry's entries for the rules over theta: lives of two steps, of two tiny networks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import LearningRule, RuleCase, learner
from plasticity_jax.layers.passes import forward
from plasticity_jax.meta.es import es
from plasticity_jax.meta.gradient import meta_gradient
from plasticity_jax.meta.lifetime import Life
from plasticity_jax.meta.oml import first_order, gradient_life
from plasticity_jax.meta.pes import pes
from plasticity_jax.meta.truncated import truncated
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.typing import Array, Episode, Example, Key, Params, PyTree

EPISODES, STEPS, EXAMPLES, QUERIES = 2, 2, 3, 4
N_IN, N = 2, 3

FRONT, NET, LINEAR = (
    mlp((N_IN, N), ["tanh"]),
    mlp((N, N, 1), ["tanh", "identity"]),
    mlp((N_IN, 1), ["identity"]),
)
"""The prefix, fixed within a life; the network behind it; and the linear network of the quadratic life."""

WINDOWS, PAIRS = 2, 2


def prefix(weights: PyTree, x: Array) -> Array:
    """The features of the prefix."""
    return forward(FRONT, weights, x).h[-1]


def quadratic_life(rate: float | Array) -> Life:
    """A linear unit that learns by SGD at a fixed rate, with shifted targets: its losses are quadratic in theta."""

    def shifted(theta: PyTree, batch: Example) -> Example:
        return batch._replace(y=batch.y - jnp.broadcast_to(theta["offset"], batch.y.shape))

    def loss(theta: PyTree, params: Params, query: Example) -> tuple[Array, dict[str, Array]]:
        query = shifted(theta, query)
        return jnp.mean((forward(LINEAR, params["forward"], query.x).h[-1] - query.y) ** 2) / 2, {}

    return Life(
        learner=lambda theta: learner(backprop(LINEAR), optax.sgd(rate)),
        params=lambda theta: {"forward": theta["forward"]},
        loss=loss,
        prepare=shifted,
    )


def _layer(key: Key, n_out: int, n_in: int) -> PyTree:
    key_w, key_bias = jax.random.split(key)
    return {
        "w": (0.5 * jax.random.normal(key_w, (n_out, n_in)),),
        "bias": (0.3 * jax.random.normal(key_bias, (n_out,)),),
    }


def _theta(key: Key) -> PyTree:
    keys = jax.random.split(key, 3)
    hidden, output = _layer(keys[1], N, N), _layer(keys[2], 1, N)
    both = {name: hidden[name] + output[name] for name in hidden}
    rate = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.2), both)
    return {"prefix": _layer(keys[0], N, N_IN), "forward": both, "rate": rate}


def _quadratic_theta(key: Key) -> PyTree:
    return {"forward": _layer(key, 1, N_IN), "offset": jnp.full((1,), 0.5)}


def _episodes(key: Key) -> Episode:
    keys = jax.random.split(key, 3)
    slopes = 0.5 * jax.random.normal(keys[0], (EPISODES, N_IN))

    def examples(key: Key, *shape: int) -> Example:
        x = jax.random.normal(key, (EPISODES, *shape, N_IN))
        return Example(x, jnp.sum(x * slopes.reshape(EPISODES, *(1,) * len(shape), N_IN), -1, keepdims=True))

    return Episode(examples(keys[1], STEPS, EXAMPLES), examples(keys[2], QUERIES))


def _case(make: Callable[..., LearningRule], theta: Callable[[Key], PyTree], kind: str, **coefficients: float):
    stochastic = "sigma" in coefficients
    return RuleCase(lambda **given: make(**{**coefficients, **given}), theta, _episodes, kind, coefficients, stochastic)  # pyright: ignore


CASES = {
    "meta_gradient": _case(lambda: meta_gradient(gradient_life(NET, prefix=prefix)), _theta, "exact"),
    "first_order": _case(lambda: first_order(NET, prefix=prefix), _theta, "approximate"),
    "truncated": _case(lambda: truncated(gradient_life(NET, prefix=prefix), windows=WINDOWS), _theta, "approximate"),
    "es": _case(
        lambda rate, sigma: es(quadratic_life(rate), sigma=sigma, pairs=PAIRS),
        _quadratic_theta,
        "unbiased",
        rate=0.2,
        sigma=0.3,
    ),
    "pes": _case(
        lambda rate, sigma: pes(quadratic_life(rate), sigma=sigma, pairs=PAIRS, windows=WINDOWS),
        _quadratic_theta,
        "unbiased",
        rate=0.2,
        sigma=0.3,
    ),
}
