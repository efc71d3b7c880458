"""The estimate of Lansdell, Prakash & Kording (2020) with and without the loss of the clean pass as a baseline.

    lam_with = (L~ - L) xi / sigma,   lam_without = L~ xi / sigma

L does not depend on xi, which has mean 0, so both estimates have the same mean. Their variances are about
|dL/dh|^2 and (L / sigma)^2.
"""

from collections.abc import Sequence

import jax
import numpy as np

from plasticity_jax.layers import Chain, forward, loss_and_credit, perturbed_output
from plasticity_jax.typing import Array, Example, Key, PyTree


def estimates(
    net: Chain, weights: PyTree, batch: Example, sigma: float, draws: int, key: Key, without: bool
) -> Sequence[Array]:
    """Estimates of the credit of each hidden layer, (draws, B, n) each, with or without the loss of the clean pass."""
    clean = forward(net, weights, batch.x)
    baseline = 0.0 if without else loss_and_credit(net, clean.h[-1], batch.y)[0]

    def one(key: Key) -> Sequence[Array]:
        keys = jax.random.split(key, len(clean.h) - 2)
        xi = [jax.random.normal(k, h.shape) for k, h in zip(keys, clean.h[1:-1], strict=True)]
        output = perturbed_output(net, weights, clean.h[1], [sigma * each for each in xi])
        rise = loss_and_credit(net, output, batch.y)[0] - baseline
        return [rise[:, None] * each / sigma for each in xi]

    return jax.vmap(one)(jax.random.split(key, draws))


def comparison(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> dict[str, float]:
    """Means and variances of two independent sets of estimates, (draws, B, n) each.

    Returns:
      "z2": mean over all entries of z^2, with z the difference of the means over its standard error; 1 if the means are
      equal. "variance_ratio": the mean variance of `other` over that of `one`.
    """
    a, b = (np.concatenate([np.asarray(e, np.float64).reshape(len(e), -1) for e in each], 1) for each in (one, other))
    variances = a.var(0, ddof=1), b.var(0, ddof=1)
    z2 = (a.mean(0) - b.mean(0)) ** 2 / (variances[0] / len(a) + variances[1] / len(b))
    return {"z2": float(z2.mean()), "variance_ratio": float(variances[1].mean() / variances[0].mean())}


def with_and_without(
    net: Chain, weights: PyTree, batch: Example, sigma: float, draws: int, seed: int
) -> dict[str, float]:
    """The `comparison` of the two estimates, each with noise of its own."""
    keys = jax.random.split(jax.random.key(seed))
    pair = [
        _compiled(net, weights, batch, sigma, draws, key, off) for key, off in zip(keys, (False, True), strict=True)
    ]
    return comparison(*jax.tree.map(np.asarray, pair))


_compiled = jax.jit(estimates, static_argnums=(0, 3, 4, 6))
