"""The Add task: report a weighted sum of two past inputs.

Source: Pitis (2016); Marschall, Cho & Savin (2019). The authors' 2019 code read its lags one symbol too short: their
(3, 5) is (2, 4) here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.ops.checks import check_counts
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key


class AddState(NamedTuple):
    """Attributes: key: of the symbols, never advanced. step: shape (), int32, steps taken."""

    key: Key
    step: Array


def add(lags: tuple[int | Array, int | Array] = (3, 5), tau: int = 2, batch: int = 1) -> Stream:
    """The Add task as a stream.

        x_k ~ Bernoulli(1/2),   p_k = 1/2 + x_{k - t_1} / 2 - x_{k - t_2} / 4

    The network receives [x_k, 1 - x_k] and has to report [p_k, 1 - p_k], a soft label. Each symbol is held for tau
    steps, so that the dependencies lie tau t_1 and tau t_2 steps back; tau = 1 / alpha rescales time to a network's
    time constant.

    Symbol k is a function of the key and k alone, so a stream can be cut anywhere. Symbols before the first exist, so
    that the statistics are the same from the first step on.

    Args:
      lags: (t_1, t_2) in symbols, each at least 0; may be tracers.
      tau: steps for which each symbol is held.
      batch: independent streams, B.

    Returns:
      A `Stream` of `Example` with x and y of shape (steps, B, 2).

    Raises:
      ValueError: if a lag is negative, tau or batch is below 1, or one of them is not whole.

    Example:
      >>> import jax
      >>> stream = add(lags=(3, 5), tau=2)
      >>> _, example = stream.take(stream.init(jax.random.key(0)), 100)
      >>> example.x.shape, example.y.shape
      ((100, 1, 2), (100, 1, 2))

    Reference:
      Pitis, "Recurrent neural networks in TensorFlow I", 2016.
    """
    check_counts(tau=tau, batch=batch)
    for lag in lags:
        if not isinstance(lag, Tracer) and lag != int(lag):
            raise ValueError(f"lags={tuple(lags)} must be whole numbers of symbols")
        if not isinstance(lag, Tracer) and lag < 0:
            raise ValueError(f"lags={tuple(lags)} must not be negative: the label would depend on the future")
    first, second = lags

    def symbols(key: Key, k: Array) -> Array:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, k.astype(jnp.uint32))
        return jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (batch,)))(keys)

    def init(key: Key) -> AddState:
        return AddState(key, jnp.zeros((), jnp.int32))

    def take(state: AddState, steps: int) -> tuple[AddState, Example]:
        dtype = jnp.zeros(()).dtype
        start = state.step // tau
        k = start + jnp.arange((steps + tau - 2) // tau + 1)
        x = symbols(state.key, k).astype(dtype)
        p = (
            0.5
            + 0.5 * symbols(state.key, k - first).astype(dtype)
            - 0.25 * symbols(state.key, k - second).astype(dtype)
        )
        held = (state.step + jnp.arange(steps)) // tau - start
        pair = Example(jnp.stack([x, 1 - x], -1)[held], jnp.stack([p, 1 - p], -1)[held])
        return AddState(state.key, state.step + steps), pair

    return Stream(init, take)


def check_lags(lags: tuple[int, int], tau: int, steps: int) -> None:
    """Refuses a stream too short for its own dependencies.

    Args:
      lags: in symbols.
      tau: steps per symbol.
      steps: length of the stream.

    Raises:
      ValueError: if a lag is negative or reaches back beyond the whole stream.
    """
    if min(lags) < 0 or max(lags) * tau >= steps:
        raise ValueError(
            f"lags={tuple(lags)} at tau={tau} reach back {max(lags) * tau} steps, but the stream has {steps}: "
            "use lags from 0 on, shorter lags, or more steps"
        )


def add_entropy_floors() -> dict[str, float]:
    """Least cross-entropy, in nats, for a readout of part of the past, the same for soft and for sampled labels.

    Returns:
      "nothing", "second" (x_{t_2} only), "first" (x_{t_1} only), "linear" (both, but the logit linear in them) and
      "both". The last needs an infinite logit, since the label is certain at (1, 0).

    Example:
      >>> {name: round(floor, 4) for name, floor in add_entropy_floors().items()}
      {'nothing': 0.6616, 'second': 0.6277, 'first': 0.5192, 'linear': 0.4719, 'both': 0.4545}
    """
    x = np.array([(a, b) for a in (0, 1) for b in (0, 1)], float)
    p = 0.5 + 0.5 * x[:, 0] - 0.25 * x[:, 1]

    def entropy(p: np.ndarray) -> float:
        inner = (p > 0) & (p < 1)
        q = np.where(inner, p, 0.5)
        return float(np.mean(np.where(inner, -q * np.log(q) - (1 - q) * np.log(1 - q), 0)))

    def given(column: int) -> float:
        return entropy(np.array([p[x[:, column] == value].mean() for value in (0, 1)]))

    design = np.column_stack([np.ones(4), x])
    weights = np.zeros(3)
    for _ in range(50):  # Newton's method on a convex function of three weights
        guess = 1 / (1 + np.exp(-design @ weights))
        hessian = design.T @ (design * (guess * (1 - guess))[:, None])
        weights -= np.linalg.solve(hessian, design.T @ (guess - p))
    guess = 1 / (1 + np.exp(-design @ weights))
    linear = float(np.mean(-p * np.log(guess) - (1 - p) * np.log(1 - guess)))
    return {
        "nothing": entropy(p.mean(keepdims=True)),
        "second": given(1),
        "first": given(0),
        "linear": linear,
        "both": entropy(p),
    }
