"""The estimators against autodiff of the densities, and their closed forms against exact integrals.

A squared estimator is a polynomial of degree four or less in each eta_t, which Gauss-Hermite quadrature of three nodes
integrates exactly, and lambda is enumerated: no sampling is left.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from experiments.bredenberg2021 import toy
from experiments.bredenberg2021 import appendix_c as experiment
from plasticity_jax.run import evaluate
from tests.laws.common import compiled

MU_Q, GAP, SIGMA = 0.3, 0.8, 0.7
S2 = SIGMA**2


def sample(n=5):
    key_eta, key_lam = jax.random.split(jax.random.key(0))
    lam = jax.random.bernoulli(key_lam, 0.5, (n,)).astype(float).at[:2].set(jnp.array([1.0, 0.0]))
    return SIGMA * jax.random.normal(key_eta, (n,)), lam


def log_density(mu):
    return lambda r: norm.logpdf(r, mu, SIGMA)


def test_bp_and_il_are_derivatives_of_the_densities():
    eta, lam = sample()
    r = eta + MU_Q + (1 - lam) * GAP

    def loss(mu_q):
        moved = eta + lam * mu_q + (1 - lam) * (MU_Q + GAP)
        return jnp.sum((2 * lam - 1) * (log_density(mu_q)(moved) - log_density(MU_Q + GAP)(moved)))

    def scores(mu_q, r, weight):
        return jnp.sum(weight * log_density(mu_q)(r))

    np.testing.assert_allclose(toy.bp(eta, lam, S2, GAP), -jax.grad(loss)(MU_Q), rtol=1e-12)
    online = jax.grad(scores)(MU_Q, r, 2 * (1 - lam))
    np.testing.assert_allclose(toy.il_online(eta, lam, S2, GAP), online, rtol=1e-12)
    marginal = jax.grad(scores)(MU_Q, eta + MU_Q + GAP, 1.0)
    np.testing.assert_allclose(toy.il_marginal(eta, S2, GAP), marginal, rtol=1e-12)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_nvi_is_equation_6(full, baseline):
    eta, lam = sample()
    r = eta + MU_Q + (1 - lam) * GAP

    def hybrids(mu_q):
        """log p~_t and log q~_t of the sample held."""
        log_q, log_p = log_density(mu_q)(r), log_density(MU_Q + GAP)(r)
        return lam * log_p + (1 - lam) * log_q, lam * log_q + (1 - lam) * log_p

    log_p, log_q = hybrids(MU_Q)
    grad_p, grad_q = jax.jacfwd(hybrids)(MU_Q)
    mean_loss = -(GAP**2) / (2 * S2) if baseline else 0.0
    want = np.sum(grad_p)
    for t in range(len(eta)):
        if full or lam[t] == 1:
            want += (log_p[t] - log_q[t] - mean_loss) * np.sum(grad_q[: t + 1])
    got = toy.nvi(eta, lam, S2, GAP, 1.0, full=full, baseline=baseline)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_closed_forms_are_the_integrals(n):
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    grid = np.array(list(itertools.product(range(3), repeat=n)))
    normal, chance = nodes[grid], np.prod(weights[grid] / weights.sum(), 1)
    coins = np.array(list(itertools.product((0.0, 1.0), repeat=n)))

    def all_methods(normal, iid, sigma, gap):
        turns = jnp.arange(n) % 2 == 0
        lam = {"iid": iid, "global": jnp.full(n, iid[0]), "alternating": turns.astype(float)}
        return {name: one.draw(sigma * normal, lam, sigma**2, gap) for name, one in toy.methods(n).items()}

    over = jax.vmap(jax.vmap(all_methods, (0, None, None, None)), (None, 0, None, None))
    for sigma, gap in ((0.7, 0.8), (1.5, -2.0)):
        drawn = compiled(over)(normal, coins, sigma, gap)
        s2 = sigma**2
        for name, method in toy.methods(n).items():
            values = np.asarray(drawn[name])
            m = np.mean(values @ chance)
            v = np.mean((values - m) ** 2 @ chance)
            np.testing.assert_allclose(method.mean(n, s2, gap), m, rtol=1e-11, err_msg=name)
            np.testing.assert_allclose(method.variance(n, s2, gap), v, rtol=1e-11, err_msg=name)
        squares = (np.asarray(drawn["nvi_global_c2"]) - toy.gradient(n, s2, gap)) ** 2
        mse = np.mean(squares @ chance)
        np.testing.assert_allclose(toy.mse_printed(n, s2, gap), mse, rtol=1e-11)
        np.testing.assert_allclose(toy.printed_18(n, s2, gap), mse + n * gap**2 / (8 * s2**2), rtol=1e-11)
    assert len(toy.methods(n)) == (14 if n == 1 else 21)


def test_claims_judge_what_was_measured():
    """On measurements that are the closed forms themselves, and on others that are one moment off by ten errors."""
    config = experiment.Config(seeds=3)
    shape, metrics = (3, 1, len(config.settings)), {}
    for n in config.lengths:
        sigmas, gaps = np.array(config.settings, np.float32).T
        metrics |= {f"n={n}/sigma": np.broadcast_to(sigmas, shape), f"n={n}/gap": np.broadcast_to(gaps, shape)}
        for name, moments in experiment.theory(config.settings, n).items():
            for moment, value in zip(("mean", "variance"), moments, strict=True):
                metrics[f"n={n}/{name}/{moment}"] = np.broadcast_to(value, shape)
                metrics[f"n={n}/{name}/{moment}_error"] = np.full(shape, 1e-3)

    def judged(metrics):
        return {row["id"]: row for row in evaluate(experiment.CLAIMS, experiment.summarise(metrics))}

    rows = judged(metrics)
    wrong = {"eq17-count", "eq17-online", "eq27", "eq26", "eq18", "eq18-count", "eq18-printed", "eq32"}
    expected = wrong | {"il-below-nvi-global", "bound-printed"}
    assert {name for name, row in rows.items() if not row["holds"]} == expected
    assert rows["bound-printed"]["measured"] == 4  # (n, D / sigma) = (1, .8), (2, .8), (8, .5), (32, .25)
    assert rows["eq27"]["measured"] == pytest.approx(0.75)
    assert rows["nvi-grows"]["measured"] == pytest.approx(0.86, abs=0.01)
    for name, moment, claim in (("bp", "mean", "unbiased"), ("nvi_iid_full_c4", "variance", "nvi")):
        off = metrics[f"n=4/{name}/{moment}"] + np.eye(len(config.settings))[3] * 1e-2 / 3**0.5
        other = {**metrics, f"n=4/{name}/{moment}": off}
        assert {key for key, row in judged(other).items() if not row["holds"]} == expected | {claim}
        summary = experiment.summarise(other)
        assert summary[f"{claim}/z_max"] == pytest.approx(10)
        chance = math.erfc(summary[f"{claim}/z_limit"] / 2**0.5)  # of one comparison, on both sides
        assert chance * summary[f"{claim}/comparisons"] == pytest.approx(1e-3)
