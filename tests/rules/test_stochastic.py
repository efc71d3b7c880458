"""UORO, KF-RTRL and reverse KF-RTRL at fixed weights: unbiased, as noisy as expected, and balanced.

n = 8, t = 12, thousands of keys. Each z-test fails a right rule with a probability that is stated; the seeds are fixed.
Thresholds are of the normal limit: the means are over 8,000 estimates.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import leaky
from plasticity_jax.ops.noise import unit_noise
from plasticity_jax.rules import online
from tests.rules.helpers import F64, first, hold, problem

N, STEPS, KEYS = 8, 12, 8_000
NAMES = ["uoro", "kf_rtrl", "reverse_kf_rtrl"]
NET = leaky(2, N, 2)
PARAMS, EXAMPLES = problem(11, N, 2, 2, STEPS)


def cut(steps):
    return jax.tree.map(lambda a: a[:steps], EXAMPLES)


@functools.cache
def exact(decay=1.0, steps=STEPS):
    rule = online.rtrl(NET, decay=decay)
    run = jax.jit(lambda: hold(rule, PARAMS, cut(steps), jax.random.key(0))[0][-1])
    return np.asarray(run())


def estimates(name, steps=STEPS, spread=1.0, **options):
    """The last gradient of many runs, each with its own A and B ~ N(0, spread^2) and its own noise."""
    rule, rng = getattr(online, name)(NET, **options), np.random.default_rng(3)
    start = rule.init(PARAMS, jax.random.key(0), first(EXAMPLES))
    own = jax.tree.map(lambda a: spread * rng.standard_normal((KEYS, *a.shape)), start.own)

    def run(own, key):
        return hold(rule, PARAMS, cut(steps), key, start._replace(own=own))[0][-1]

    return np.asarray(jax.jit(jax.vmap(run))(own, jax.random.split(jax.random.key(3), KEYS)))


def z_scores(samples, mean):
    """z of the mean of each entry, and of the projection on the expected gradient: 89 tests."""
    samples, mean = samples.reshape(len(samples), -1), mean.reshape(-1)
    samples = np.concatenate([samples, samples @ mean[:, None]], 1)
    mean = np.append(mean, mean @ mean)
    return (samples.mean(0) - mean) / (samples.std(0) / len(samples) ** 0.5)


GAUSSIAN, FIXED = {"noise": "gaussian"}, {"rho0": 1.1, "rho1": 0.7}


@pytest.mark.parametrize(
    ("name", "steps", "options"),
    [
        *[(name, STEPS, FIXED) for name in NAMES],
        ("uoro", STEPS, GAUSSIAN),
        ("kf_rtrl", 2, GAUSSIAN),  # nu_0^2 multiplies the carried factor at each step: the variance grows like 3^t
        ("reverse_kf_rtrl", STEPS, GAUSSIAN),
    ],
    ids=str,
)
def test_the_estimates_are_unbiased(name, steps, options):
    """False alarm: 89 tests at five sigma, below 89 * 5.8e-7 = 5.2e-5 for each case."""
    z = z_scores(estimates(name, steps, 0.1, **options), exact(steps=steps))
    assert np.abs(z).max() < 5
    assert np.sqrt(np.mean(z**2)) < 2  # entries are correlated, so the value is only near 1


def test_balanced_estimates_are_unbiased_and_as_noisy_as_expected():
    """The same holds with balanced rho and signs, and the RMS error of one sample over |g| is as expected.

    That is 4.4, 1.8 and 4.5 for the authors' code on another network; only the order matters. The test of bias has
    power: a gradient whose carried part is 10 % too small (RTRL with decay 0.9) is further off than five sigma.
    """
    rms = {}
    for name in NAMES:
        samples = estimates(name)
        z = z_scores(samples, exact())
        assert np.abs(z).max() < 5
        assert np.sqrt(np.mean(z**2)) < 2
        assert np.abs(z_scores(samples, exact(0.9))).max() > 5
        rms[name] = np.sqrt(np.mean(np.sum((samples - exact()) ** 2, (1, 2, 3))) / np.sum(exact() ** 2))
    assert 2 < rms["uoro"] < 9
    assert 0.8 < rms["kf_rtrl"] < 3.6
    assert 2 < rms["reverse_kf_rtrl"] < 9
    assert rms["kf_rtrl"] < 0.7 * min(rms["uoro"], rms["reverse_kf_rtrl"])
    assert 0.6 < rms["uoro"] / rms["reverse_kf_rtrl"] < 1.6


def product(name, traces):
    """The influence tensor M_kij, the product of a pair of factors."""
    indices = {"uoro": "k,ij->kij", "kf_rtrl": "j,ki->kij", "reverse_kf_rtrl": "i,kj->kij"}
    return jnp.einsum(indices[name], *factors(name, traces))


def factors(name, traces):
    """A and B of the one stream, without the axes that one variable and one gate leave at length 1."""
    a, b = traces.own
    return {"uoro": lambda: (a[0, 0], b["w"][0, 0]), "kf_rtrl": lambda: (a[0], b[0])}.get(
        name, lambda: (a[0, 0], b[0])
    )()


def derivatives(w, r, x):
    """``(rhat, slope, J)`` of the network, alpha = 1/2, from its equations."""
    rhat = jnp.concatenate([r, x, jnp.ones(1)])
    slope = 1 - jnp.tanh(w @ rhat) ** 2
    return rhat, slope, 0.5 * jnp.eye(N) + 0.5 * slope[:, None] * w[:, :N]


@functools.cache
def one_step(name):
    """Mean squared error of one step's product, over all keys, as a function of (rho0, rho1); None balances."""
    batch = first(EXAMPLES)
    w = PARAMS["forward"]["w"][0]
    start = getattr(online, name)(NET).init(PARAMS, jax.random.key(8), batch)
    rates = 0.5 * jax.random.normal(jax.random.key(9), (1, N), F64)
    scaled = start.own._replace(a=3.0 * start.own.a)  # so that no rho is near 1 by chance
    start = start._replace(state=rates[None], own=scaled)
    rhat, slope, j = derivatives(w, rates[0], batch.x[0])
    immediate = 0.5 * slope
    mean = jnp.einsum("kl,lij->kij", j, product(name, start))
    mean = mean + jnp.einsum("ki,i,j->kij", jnp.eye(N), immediate, rhat)

    def error(rho0, rho1, kind="rademacher"):
        rule = getattr(online, name)(NET, rho0=rho0, rho1=rho1, noise=kind)

        def one(key):
            return jnp.sum((product(name, rule.update(PARAMS, start, key, batch)[1]) - mean) ** 2)

        return jnp.mean(jax.vmap(one)(jax.random.split(jax.random.key(10), 4000)))

    (a, b), norm = factors(name, start), jnp.linalg.norm
    rho0 = jnp.sqrt(norm(b) / norm(j @ a)) if name == "uoro" else jnp.sqrt(norm(j @ b) / norm(a))
    other = 1 / norm(rhat) if name == "kf_rtrl" else norm(rhat) / N**0.5
    rho1 = jnp.sqrt(norm(immediate) * other)
    fixed = jax.jit(jax.vmap(error))
    multiples = np.array(
        [[1, 1], [1.5, 1], [1 / 1.5, 1], [1, 1.5], [1, 1 / 1.5], [3, 1], [1, 3], [1.5, 1.5], [1 / 3, 1 / 3]]
    )
    balanced = jax.jit(lambda: error(None, None))()
    return dict(
        zip(map(tuple, multiples.tolist()), fixed(rho0 * multiples[:, 0], rho1 * multiples[:, 1]), strict=True)
    ), balanced


@pytest.mark.parametrize("name", NAMES)
def test_balanced_rho_has_the_least_variance(name):
    """One step's product from given factors. Its error depends on rho0 / rho1 alone and is least where norms balance.

    In closed form, with f the factor on the balanced ratio, it is c + d (f^2 + 1 / f^2) / 2 for some d > 0.
    """
    errors, balanced = one_step(name)
    least = errors[1, 1]
    np.testing.assert_allclose(balanced, least, rtol=1e-5)  # the guard is 1e-7
    for f in [(1.5, 1), (1 / 1.5, 1), (1, 1.5), (1, 1 / 1.5), (3, 1), (1, 3)]:
        assert errors[f] > 1.02 * least
    np.testing.assert_allclose([errors[1.5, 1.5], errors[1 / 3, 1 / 3]], least, rtol=1e-9)
    if name == "kf_rtrl":  # with two signs the cross terms have no mean to estimate, and the form is exact
        d = (errors[1.5, 1] - least) / ((1.5**2 + 1.5**-2) / 2 - 1)
        np.testing.assert_allclose(errors[3, 1], least + d * ((9 + 1 / 9) / 2 - 1), rtol=1e-9)
        np.testing.assert_allclose(errors[1 / 1.5, 1], errors[1.5, 1], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gaussian_noise_is_gaussian(name):
    """A moves by the noise itself at rho0 = rho1 = 1, which shows the draws of one step."""
    rule = getattr(online, name)(NET, rho0=1.0, rho1=1.0, noise="gaussian")
    batch, key = first(EXAMPLES), jax.random.key(4)
    start = rule.init(PARAMS, key, batch)
    rhat, _, j = derivatives(PARAMS["forward"]["w"][0], jnp.zeros(N), batch.x[0])
    end = rule.update(PARAMS, start, key, batch)[1]
    nu = unit_noise(key, 2 if name == "kf_rtrl" else N, F64, "gaussian")
    a = factors(name, start)[0]
    moved = {
        "uoro": lambda: j @ a + nu,
        "kf_rtrl": lambda: nu[0] * a + nu[1] * rhat,
        "reverse_kf_rtrl": lambda: a + nu,
    }
    np.testing.assert_allclose(factors(name, end)[0], moved[name](), atol=1e-12)
    assert len(np.unique(np.abs(np.asarray(nu)))) == nu.size
