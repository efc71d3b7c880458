"""Adversarial learning at work: a linear-Gaussian posterior that it must find, and critics that diverge."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.networks.autoencoder import autoencoder, init_params
from plasticity_jax.networks.hierarchy import FREE, Judgement, Phases
from plasticity_jax.ops.leaves import leaf_names
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.run import divergences, online_training, run
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Example
from tests.laws.common import compiled, seed

NOISE = 0.7
TURN = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
LOADS = TURN @ np.diag([1.3, 0.3]) @ np.array([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5
"""Loadings of x = LOADS z + NOISE xi; the neurons of z are dependent given x."""

COVARIANCE = np.linalg.inv(np.eye(2) + LOADS.T @ LOADS / NOISE**2)
MAP = COVARIANCE @ LOADS.T / NOISE**2
"""The posterior: z | x ~ N(MAP x, COVARIANCE)."""

BATCH, PAIRS = 256, np.triu_indices(4)


class LinearGaussian(NamedTuple):
    """a = W x + s xi, z = (a + R a + t xi') / 2 or, without recurrence, a; a critic of all products of x and z."""

    recurrent: bool
    sites: tuple[tuple[int, ...], ...] = ((0, 1),)

    def phases(self, params, x, key, parents=FREE, oscillate=True):
        p, xi = params["inference"], jax.random.normal(key, (4, *x.shape))
        z = x @ p["w"].T + p["s"] * xi[0]
        if self.recurrent:
            z = (z + z @ p["r"].T + p["t"] * xi[1]) / 2
        return Phases((x, z), (xi[2] @ LOADS.T + NOISE * xi[3], xi[2]), ())

    def judge(self, params, site, activity):
        h = jnp.concatenate(activity, -1)
        products = h[:, PAIRS[0]] * h[:, PAIRS[1]]
        return Judgement(products @ params, products)

    def check(self, params, x):
        pass


def stimuli(key, count=BATCH):
    z, noise = jax.random.normal(key, (2, count, 2))
    return z @ LOADS.T + NOISE * noise


def inferred(weights):
    """The posterior map and covariance that the weights represent."""
    w, s = np.asarray(weights["w"]), np.diag(np.asarray(weights["s"]) ** 2)
    if "r" not in weights:
        return w, s
    half = (np.eye(2) + np.asarray(weights["r"])) / 2
    return half @ w, half @ s @ half.T + np.diag(np.asarray(weights["t"]) ** 2) / 4


def learned(recurrent, steps=3000):
    """Critics decay at rate 1: the game is then a descent on |difference of second moments|^2 / 2, and converges."""
    weights = {"w": jnp.zeros((2, 2)), "s": jnp.array([0.5, 0.6])}
    if recurrent:
        weights |= {"r": 0.1 * jnp.eye(2), "t": jnp.array([0.5, 0.6])}
    params = {"inference": weights, "generation": (), "discriminator": (jnp.zeros(10),)}
    tx = optax.partition(
        {
            "model": optax.sgd(optax.cosine_decay_schedule(0.1, steps)),
            "critic": optax.chain(optax.add_decayed_weights(1.0), optax.sgd(0.5)),
        },
        {"inference": "model", "generation": "model", "discriminator": "critic"},
    )
    learn = learner(adversarial(LinearGaussian(recurrent), 1.0, penalty=0.0), tx)
    start = learn.init(params, seed(200), Example(stimuli(seed(201)), ()))

    def step(state, t):
        return learn.step(state, Example(stimuli(jax.random.fold_in(seed(202), t)), ()))[0], None

    return inferred(compiled(lambda: jax.lax.scan(step, start, jnp.arange(steps))[0])().params["inference"])


def test_wake_sleep_finds_the_posterior_with_its_covariance():
    """Rates fall to zero and the last half of the steps counts: moments of 250,000 samples, to 0.003.

    The least eigenvalue of cov x is 0.6: by it the map, and by a factor of two the variances, are less certain than the
    moments; 0.04 is five times that. The covariance has an entry of -0.31 off its diagonal.
    """
    inferred_map, inferred_covariance = learned(recurrent=True)
    np.testing.assert_allclose(inferred_map, MAP, rtol=0, atol=0.04)
    np.testing.assert_allclose(inferred_covariance, COVARIANCE, rtol=0, atol=0.04)
    assert COVARIANCE[0, 1] < -0.3


def test_without_recurrence_no_correlation_can_be_found():
    """The map compensates as far as it can: the variances of z fit, but its neurons stay correlated."""
    found_map, found_covariance = learned(recurrent=False)
    assert found_covariance[0, 1] == found_covariance[1, 0] == 0
    second = found_map @ (LOADS @ LOADS.T + NOISE**2 * np.eye(2)) @ found_map.T + found_covariance
    np.testing.assert_allclose(np.diag(second), 1, rtol=0, atol=0.04)
    assert abs(second[0, 1]) > 0.1
    assert np.abs(found_map - MAP).max() > 0.1


@pytest.mark.parametrize("off", [0.0, 0.3])
def test_critics_find_no_difference_only_at_the_posterior(off):
    """The gradient of each of ten products' weights is zero on average: 800 batches of 64, five standard errors.

    Ten tests, a false alarm of 6e-6. Where a weight is off the gap is twenty standard errors.
    """
    t = 0.4
    half = np.linalg.cholesky(COVARIANCE - t**2 / 4 * np.eye(2))
    weights = {"w": np.linalg.solve(half, MAP) + off, "s": np.ones(2), "r": 2 * half - np.eye(2), "t": np.full(2, t)}
    params = {"inference": jax.tree.map(jnp.asarray, weights), "generation": (), "discriminator": (jnp.ones(10),)}
    rule = adversarial(LinearGaussian(True), 1.0, penalty=0.0)

    def slope(key):
        x = stimuli(jax.random.fold_in(key, 1), 64)
        return rule.update(params, (), key, Example(x, ()))[0]["discriminator"][0]

    slopes = np.asarray(compiled(jax.vmap(slope))(jax.random.split(seed(203), 800)))
    z = np.abs(slopes.mean(0)) / np.maximum(slopes.std(0) / 800**0.5, 1e-12)
    assert (z.max() < 5) == (off == 0)
    assert off == 0 or z.max() > 20


def diverging(model_rate, steps=24):
    """A critic that learns too fast; images of four pixels."""
    net = autoencoder((4, 2), 3, 3)
    params = init_params(seed(204), net)
    tx = optax.partition(
        {"model": optax.sgd(model_rate), "critic": optax.sgd(1e3)},
        {"inference": "model", "generation": "model", "discriminator": "critic"},
    )
    learn = learner(adversarial(net, reduction="mean"), tx)

    def take(step, count):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(seed(205), step + jnp.arange(count))
        x = jax.vmap(lambda key: jax.random.uniform(key, (5, 4)))(keys)
        return step + count, Example(x, x)

    stream = Stream(lambda key: jnp.zeros((), jnp.int32), take)

    def init(lane, learn, stream):
        return learn.init(params, lane, jax.tree.map(lambda leaf: leaf[0], take(0, 1)[1])), stream.init(lane)

    program = online_training(lambda lane: (learn, stream), init, steps=steps, every=1, chunks=6)
    return program, learn, take, leaf_names(params)


@pytest.mark.parametrize("model_rate", [0.0, 0.01])
def test_a_diverging_critic_is_named_with_its_step(model_rate, capsys):
    """A loop that inspects every weight before and after the step names the same step and weight.

    A critic alone is the largest itself; a network that learns from it grows beyond it before the loss overflows.
    """
    program, learn, take, names = diverging(model_rate)
    lanes = jax.vmap(jax.random.key)(jnp.arange(1))
    state, step = program.init(lanes[0]).learner, compiled(learn.step)
    sizes = []
    for t in range(24):
        sizes.append([np.abs(leaf).max() for leaf in jax.tree.leaves(state.params)])
        state, info = step(state, jax.tree.map(lambda leaf: leaf[0], take(t, 1)[1]))
        if not (np.isfinite(info.loss) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))):
            break
    not_finite = [
        name for name, leaf in zip(names, jax.tree.leaves(state.params), strict=True) if not np.isfinite(leaf).all()
    ]
    largest = names[int(np.argmax(sizes[-1]))]
    assert 1 < t < 23
    assert largest.startswith("inference/" if model_rate else "discriminator/")
    outcome = run(program, lanes, name="digits", progress=False)
    (divergence,) = divergences(outcome.state)
    assert (divergence.step, divergence.loss) == (t, not np.isfinite(info.loss))
    assert divergence.weights == tuple(not_finite)
    assert divergence.largest is not None
    assert divergence.largest[0] == largest
    np.testing.assert_allclose(divergence.largest[1], np.max(sizes[-1]), rtol=1e-3)
    message = capsys.readouterr().err
    assert "digits: seed 0: " in message
    assert f"not finite from step {t} on" in message
    assert f" in {largest})" in message
