"""The watched life against the library's own, the hand-over of the control, and the measures of panel C by design."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import fig2
from experiments.lindsey2020.common import flp_theta, gradient_theta, layers
from plasticity_jax.layers import forward
from plasticity_jax.meta import flp_life, gradient_life, outcome
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.rules.hebbian import flp
from tests.laws.common import compiled

CONFIG, SIZES = fig2.PRESETS["smoke"], (3, 8, 8, 1)
KEY = jax.random.key(0)


def episode(order="continual"):
    stream = fig2.sines(CONFIG, order, 1)
    return jax.tree.map(lambda leaf: leaf[0, 0], stream.take(stream.init(KEY), 1)[1])


def scaled_backprop(net, rate):
    exact = backprop(net)

    def update(*args):
        updates, traces, info = exact.update(*args)
        return {**updates, "forward": jax.tree.map(lambda leaf: rate * leaf, updates["forward"])}, traces, info

    return exact._replace(update=update)


@pytest.mark.parametrize("kind", ["flp", "gradient"])
def test_a_watched_life_is_the_librarys(kind):
    cut = layers(SIZES, 2)
    if kind == "flp":
        theta, life = flp_theta(KEY, cut, alpha=1e-3), flp_life(cut.net, prefix=cut.features)
        rule = flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])
    else:
        theta, life = gradient_theta(KEY, cut, 0.02), gradient_life(cut.net, prefix=cut.features)
        rule = scaled_backprop(cut.net, 0.02)
    seen = episode()
    _, aux = compiled(lambda theta: outcome(life, theta, KEY, seen, remat=False))(theta)
    embedded = life.embed(theta, seen)
    answers, reports = compiled(lambda params: fig2.lived(cut.net, rule, params, embedded, 2))(life.params(theta))
    error = np.mean((answers[-1].reshape(-1, 1) - seen.query.y) ** 2)
    np.testing.assert_allclose(error, aux["error"], rtol=1e-10)
    assert reports["norm"].shape == (4, 2)
    if kind == "gradient":  # one rate for all: the very direction of the negative gradient
        np.testing.assert_allclose(reports["cosine"], 1, rtol=1e-10)
    else:
        assert np.all(np.abs(reports["cosine"]) < 0.999)


def test_cosine_and_norm_of_a_first_step():
    cut = layers(SIZES, 2)
    theta = flp_theta(KEY, cut, alpha=1e-3)
    life, seen = flp_life(cut.net, prefix=cut.features), episode()
    embedded, params = life.embed(theta, seen), life.params(theta)
    rule = flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])
    _, reports = fig2.lived(cut.net, rule, params, embedded, 2)
    batch = jax.tree.map(lambda leaf: leaf[0], embedded.support)

    def loss(weights):
        return jnp.mean((forward(cut.net, weights, batch.x).h[-1] - batch.y) ** 2)

    down = [-np.asarray(leaf).ravel() for leaf in jax.grad(loss)(params["forward"])["w"]]
    change = [-np.asarray(leaf).ravel() for leaf in rule.update(params, (), KEY, batch)[0]["forward"]["w"]]
    for k, w in enumerate(params["forward"]["w"]):
        size = np.linalg.norm(change[k])
        want = change[k] @ down[k] / size / np.linalg.norm(down[k])
        np.testing.assert_allclose(reports["cosine"][0, k], want, rtol=1e-9)
        np.testing.assert_allclose(reports["norm"][0, k], size, rtol=1e-10)
        np.testing.assert_allclose(reports["relative"][0, k], size / np.linalg.norm(w), rtol=1e-10)


def test_the_control_starts_as_the_feature_reuse_network():
    """Without plasticity upstream yet, its life is that of the network that it was made of."""
    shallow, deep = layers(SIZES, 1), layers(SIZES, 3)
    old = flp_theta(KEY, shallow, alpha=1e-3, beta=0.3)
    theta = fig2.upstream_of_reuse(old, flp_theta(jax.random.key(1), deep))
    seen = episode("iid")
    found = [
        compiled(lambda theta, life=life: outcome(life, theta, KEY, seen, remat=False)[1]["error"])(given)
        for life, given in ((flp_life(shallow.net, prefix=shallow.features), old), (flp_life(deep.net), theta))
    ]
    np.testing.assert_allclose(*found, rtol=1e-10)


def test_frozen_error_against_lstsq():
    cut = layers(SIZES, 2)
    theta = flp_theta(KEY, cut)
    life, seen = flp_life(cut.net, prefix=cut.features), episode("iid")
    weights = [[np.asarray(leaf) for leaf in theta[group]["w"]] for group in ("prefix", "forward")]

    def features(x):
        for w in (*weights[0], weights[1][0]):
            x = np.maximum(x @ w.T, 0)
        return np.hstack([x, np.ones((len(x), 1))])

    x, y = (np.asarray(leaf).reshape(-1, leaf.shape[-1]) for leaf in seen.support[:2])
    ridge = 0.1
    penalty = np.diag([(len(x) * ridge) ** 0.5] * 8 + [0.0])
    solution = np.linalg.lstsq(np.vstack([features(x), penalty]), np.vstack([y, np.zeros((9, 1))]), rcond=None)[0]
    want = np.mean((features(np.asarray(seen.query.x)) @ solution - np.asarray(seen.query.y)) ** 2)
    got = fig2.frozen_error(cut.net, life.params(theta), life.embed(theta, seen), ridge)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_periodicity_tells_a_period_from_none():
    t = np.arange(60)
    series = np.stack([np.cos(2 * np.pi * t / 12), np.cos(2 * np.pi * t / 7), 0 * t], -1)[None, None]
    metrics = {"continual/flp3/cosine": series, "continual/flp3/interference": np.ones((1, 1, 4))}
    own, other, none = fig2.periodicity(metrics)[0]
    assert own > 1.5
    assert other < 0.5
    assert none == 0
