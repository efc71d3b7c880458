r"""Feedback regressed on the effects of noise at fixed weights: the program, and its theory.

For a layer with the exact errors e = e^{i+1}, the credit lam = e W to its n neurons below, the power
Lam = sum of |lam^l|^2 over all perturbed layers, and T samples, ridge regression of lam^ on e errs by

    E |B^ - W|^2 = tr(A T M A) + ridge^2 |A W|^2,   A = (T V + ridge I)^{-1},   V = E e e^T
    M = E e e^T (n Lam + |lam|^2 + s)               normal noise; signs have - |lam|^2

This holds for squared loss, a linear readout and sigma -> 0, where lam^ = xi (xi . lam). At finite sigma with one
hidden layer, L~ - L also has the term sigma^2 xi H xi^T / 2 with H = W^T W, and

    s = sigma^2 / 4 E |xi|^2 (xi H xi^T)^2 = sigma^2 / 4 ((n + 4) tr(H)^2 + (2 n + 8) tr(H^2))    for normal noise

At the top of two hidden layers noise passes through a nonlinearity and lam^ is also biased: see `second_order_top`.

For isotropic e of m outputs and one hidden layer of n neurons, E |B^ - W|^2 / |W|^2 = (m + 2) (n + 1) / T, or
(m + 2) (n - 1) / T for signs.

Below the top, errors are carried back by a B with some error D: e~ = e + d, d = phi' (e_up D). To first order the
layer's own error is then V^{-1} E e^T (noise of lam^ - d W). D is a mean over samples. With the final B (offline) all
samples have the same weight; online, sample s enters all later errors and has a weight of ln(T / s), whose square has a
mean of 2.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import Learner, LearnerState
from plasticity_jax.layers import Chain, forward, loss_and_credit
from plasticity_jax.rules.feedback.common import carry_back
from plasticity_jax.run import Program, evaluated, online_training
from plasticity_jax.run.program import TrainingState, at_each
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Params, PyTree

HELD = optax.partition(
    {"forward": optax.set_to_zero(), "feedback": optax.sgd(1.0)}, {"forward": "forward", "feedback": "feedback"}
)
"""Keeps W fixed, so that its gradients are not even computed, and sets B to the rule's solution."""


class Layer(NamedTuple):
    """A layer that has a B, and its exact errors on a large sample, in float64.

    Attributes:
      w: (m, n), the target of B.
      error: (N, m), e.
      credit: (N, n), lam.
      power: (N,), Lam.
    """

    w: np.ndarray
    error: np.ndarray
    credit: np.ndarray
    power: np.ndarray


class Inherited(NamedTuple):
    """Terms that the errors of the B above add to |B - W|^2 / |W|^2, times T.

    Attributes:
      cross: twice the product with the layer's own noise.
      square: their square.
    """

    cross: float
    square: float


class Expected(NamedTuple):
    """Errors predicted by theory.

    Attributes:
      error: relative error of B, (samples,).
      angle: degrees between e B and e W, (samples,).
    """

    error: np.ndarray
    angle: np.ndarray


def regression(
    make: Callable[[Array], Learner],
    draw: Callable[[Key], Params],
    stream: Stream,
    evaluate: Callable[[Params], Mapping[str, Array]],
    *,
    sigmas: Sequence[float],
    samples: int,
    batch: int,
    points: int,
    networks: int = 1,
) -> Program:
    """Regressions at several noise levels with the same weights and data, for one or more draws of weights.

    Args:
      make: ``sigma -> learner``, a node perturbation rule with `HELD`.
      draw: ``key -> params``.
      stream: of batches.
      evaluate: ``params -> metrics`` of each point.
      sigmas: noise levels.
      samples: T, a multiple of `batch` times `points`.
      batch: samples in a step, after which B is recomputed.
      points: of each curve, evenly spaced, one for each chunk.
      networks: number of draws of weights and data; metrics list the noise levels of the first, then of the next.

    Returns:
      The program; its metrics are (points, networks * sigmas, ...).

    Raises:
      ValueError: if the samples do not divide.
    """
    if samples < 1 or samples % (batch * points):
        raise ValueError(f"{samples} samples must be a positive multiple of batch={batch} times points={points}")

    def init(lane: PyTree, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key, (_, network) = lane
        key_weights, key_stream, key_noise = jax.random.split(jax.random.fold_in(key, network), 3)
        state = stream.init(key_stream)
        first = jax.tree.map(lambda leaf: leaf[0], stream.take(state, 1)[1])
        return learn.init(draw(key_weights), key_noise, first), state

    def measured(state: TrainingState) -> Mapping[str, Array]:
        return {
            **evaluate(state.learner.params),
            "samples": state.learner.step * batch,
            "sigma": state.lane[1][0],
        }

    every = samples // (batch * points)
    program = online_training(
        lambda lane: (make(lane[1][0]), stream), init, steps=every * points, every=every, chunks=points
    )
    settings = (jnp.tile(jnp.asarray(sigmas), networks), jnp.arange(networks).repeat(len(sigmas)))
    return at_each(evaluated(program, measured), settings)


def drawn_weights(draw: Callable[[Key], Params], seed: int, network: int = 0) -> PyTree:
    """``params["forward"]`` of a seed's `regression`."""
    return draw(jax.random.split(jax.random.fold_in(jax.random.key(seed), network), 3)[0])["forward"]


def layers_of(net: Chain, weights: PyTree, batch: Example) -> list[Layer]:
    """Every layer that has a B, from the second on, with the exact errors of a batch."""
    activity = forward(net, weights, batch.x)
    error = activity.pull[-1](loss_and_credit(net, activity.h[-1], batch.y)[1])
    exact = carry_back(net, activity, error, weights["w"][1:])
    w, source, credit = (
        [np.asarray(a, np.float64) for a in arrays] for arrays in (weights["w"][1:], exact.source, exact.credit)
    )
    power = np.sum([(lam**2).sum(1) for lam in credit], 0)
    return [Layer(*each, power) for each in zip(w, source, credit, strict=True)]


def expected(
    layer: Layer,
    samples: np.ndarray,
    ridge: float = 0.0,
    signs: bool = False,
    extra: np.ndarray | float = 0.0,
    bias: np.ndarray | float = 0.0,
) -> Expected:
    """The errors of a B regressed on exact errors, by the formula above.

    Args:
      layer: the layer.
      samples: T, (points,).
      ridge: added to the diagonal of the sum of e e^T.
      signs: whether the noise is random signs.
      extra: s, also by sample, (N,).
      bias: E e^T (lam^ - lam), (m, n).

    Returns:
      Root mean squares: the angle is the arctangent of the ratio of e (B - W) to e W.
    """
    e, own = layer.error, (layer.credit**2).sum(1)
    n, size = layer.w.shape[1], len(e)
    v = e.T @ e / size
    m = (e * (n * layer.power + (-own if signs else own) + extra)[:, None]).T @ e / size
    errors, angles = [], []
    for count in np.asarray(samples, float):
        a = np.linalg.inv(count * v + ridge * np.eye(len(v)))
        shrunk = a @ (ridge * layer.w - count * bias)
        spread = count * a @ m @ a + shrunk @ shrunk.T
        errors.append(np.sqrt(np.trace(spread) / (layer.w**2).sum()))
        angles.append(np.degrees(np.arctan(np.sqrt(np.trace(v @ spread) / own.mean()))))
    return Expected(np.array(errors), np.array(angles))


def second_order(w: np.ndarray, sigma: float) -> float:
    """The term s that normal noise of finite size adds to M with one hidden layer and a linear readout (m, n)."""
    h = w.T @ w
    n, trace, square = len(h), np.trace(h), (h * h).sum()
    return sigma**2 / 4 * ((n + 4) * trace**2 + (2 * n + 8) * square)


def second_order_top(
    lower: Layer, upper: Layer, slopes: tuple[np.ndarray, np.ndarray, np.ndarray], sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Terms of order sigma^2 at the top of two hidden layers, for normal noise, squared loss and a linear readout.

    With a = xi^1 W^2^T and b = xi^2, the effects of the noise on the top hidden layer are sigma g + sigma^2 r, and

        (L~ - L) / sigma = lam g + sigma (lam r + g K g / 2) + sigma^2 (lam phi''' a^3 / 6 + g K r)
        g = phi' a + b,   r = phi'' a^2 / 2,   K = W^3^T W^3

    Args:
      lower: the layer of W^2.
      upper: the layer of W^3.
      slopes: phi', phi'' and phi''' of the top hidden layer, (N, n) each.
      sigma: standard deviation of the noise.

    Returns:
      s of each sample, (N,), and E e^T (lam^ - lam), (m, n).
    """
    d1, d2, d3 = slopes
    lam, n = upper.credit, upper.w.shape[1]
    k, cov = upper.w.T @ upper.w, lower.w @ lower.w.T  # cov is that of a
    var, trace = np.diag(cov), np.trace(k)
    bent = lam * d2

    even = np.empty(len(lam))
    for chunk in np.array_split(np.arange(len(lam)), -(-len(lam) // 1000)):  # (n, n) matrices of all are large
        # lam r + g K g / 2 is half a form of (a, b), whose matrix is [[Q, phi' K], [K phi', K]]
        k_sloped = k * d1[chunk, None]
        q_cov = (d1[chunk, :, None] * k_sloped + bent[chunk, :, None] * np.eye(n)) @ cov
        across, k2 = (k_sloped @ cov * k_sloped).sum((1, 2)), (k * k).sum()
        whole = np.trace(q_cov, axis1=1, axis2=2) + trace
        square = np.einsum("tij,tji->t", q_cov, q_cov) + 2 * across + k2
        even[chunk] = n * whole**2 + 2 * n * square + 4 * whole * trace + 8 * (across + k2)

    sloped, mean_r = lam * d1, d2 * var / 2
    cubic = (sloped @ cov * (lam * d3 * var)).sum(1) / 2
    passed = (sloped @ cov * (d1 * (d2 * var @ k))).sum(1) / 2 + ((sloped @ cov) * d2 * (d1 @ (cov * k))).sum(1)
    odd = n * (cubic + passed) + (n + 2) * (lam * (mean_r @ k)).sum(1)

    bias = sigma**2 * mean_r @ k
    extra = sigma**2 * (even / 4 + 2 * odd) - 2 * (lam * bias).sum(1)
    return extra, upper.error.T @ bias / len(lam)


def sigmoid_slopes(h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first three derivatives of the sigmoid where its value is h."""
    first = h * (1 - h)
    return first, first * (1 - 2 * h), first * (1 - 6 * first)


def inherited(lower: Layer, upper: Layer, seed: int = 0) -> Inherited:
    """The part of a layer's error that is due to the top layer above it; normal noise, by simulation.

    Args:
      lower: the layer.
      upper: the one above, whose errors are exact.
      seed: of the noise.
    """
    rng, size = np.random.default_rng(seed), len(lower.error)
    xi = [rng.standard_normal(layer.credit.shape) for layer in (lower, upper)]
    rise = sum((noise * layer.credit).sum(1) for noise, layer in zip(xi, (lower, upper), strict=True))
    contributions = []  # of each sample to B^ - W, (N, m, n), if all errors were exact
    for noise, layer in zip(xi, (lower, upper), strict=True):
        inverse = np.linalg.inv(layer.error.T @ layer.error / size)
        residual = noise * np.reshape(rise, (-1, 1)) - layer.credit
        contributions.append(np.einsum("tk,tj->tkj", layer.error @ inverse, residual))
    own, above = contributions
    slope = lower.error / upper.credit
    carried = np.einsum("tk,ta,tj->kaj", lower.error, upper.error, slope, optimize=True) / size
    inverse = np.linalg.inv(lower.error.T @ lower.error / size)
    brought = -inverse @ np.einsum("kaj,taj->tkj", carried, above) @ lower.w
    scale = size * (lower.w**2).sum()
    return Inherited(float(2 * (own * brought).sum() / scale), float((brought**2).sum() / scale))


def lower_error(own: np.ndarray, samples: np.ndarray, dropped: int, name: str, above: Inherited) -> np.ndarray:
    """The relative error of a layer with the part inherited from the final B above, or from all since the sums began.

    Args:
      own: relative error with exact errors after all the samples, (points,).
      samples: T, (points,).
      dropped: samples T0 after which the sums start over.
      name: of the part; "offline" uses the final B.
      above: inherited error, see `inherited`.
    """
    if name.endswith("offline"):
        return np.sqrt(own**2 + (above.cross + above.square) / samples)
    began = np.where(samples > dropped, dropped, 0)
    u = np.maximum(began / samples, 1e-12)
    counted = samples * (1 - u) ** 2
    # means over samples of ln(T / max(s, T0)) and of its square
    once, twice = 1 - u * (1 - np.log(u)), 2 - u * (2 - 2 * np.log(u))
    return np.sqrt(own**2 / (1 - u) + (above.cross * once + above.square * twice) / counted)
