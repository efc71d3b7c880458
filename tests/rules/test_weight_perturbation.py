"""Weight and node perturbation: their means by z-tests, their biases in closed form, weights of any form, images."""

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.layers import chain, conv, dense, flatten, init_params, pool
from plasticity_jax.rules import node_perturbation, weight_perturbation
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import chains

CRITICAL = NormalDist().inv_cdf(1 - 1e-4 / 2 / 100)
"""The critical |z|: a false alarm of 1e-4 in a hundred entries."""


def equal_on_average(samples, expected, power=8):
    """Asserts z-tests of all entries; a change of the expected values by a tenth is `power` standard errors."""
    samples, expected = (np.asarray(each).reshape(len(each), -1) for each in (samples, expected[None]))
    error = samples.std(0) / math.sqrt(len(samples))
    assert np.abs((samples.mean(0) - expected[0]) / error).max() < CRITICAL
    along = samples @ expected[0] / np.linalg.norm(expected)
    assert 0.1 * np.linalg.norm(expected) > power * along.std() / math.sqrt(len(samples)), (
        "a change by a tenth would not show"
    )


def draws(rule, params, batch, count):
    """Independent updates."""
    keys = jax.random.split(jax.random.key(9), count)
    return compiled(jax.vmap(lambda key: rule.update(params, (), key, batch)[0]))(keys)


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
def test_a_quadratic_loss_has_its_gradient_on_average(noise, antithetic):
    """The mean holds for a large sigma; one-sided, the curvature adds variance but no bias."""
    rng = np.random.default_rng(0)
    a, b, w = rng.standard_normal((6, 4)), rng.standard_normal(6), rng.standard_normal(4)
    rule = weight_perturbation(
        lambda params, batch: jnp.sum((batch @ params["w"] + params["offset"] - b) ** 2) / 2,
        sigma=0.4,
        noise=noise,
        antithetic=antithetic,
    )
    updates = draws(rule, {"w": jnp.asarray(w), "offset": jnp.float64(0.7)}, jnp.asarray(a), 40_000)
    error = a @ w + 0.7 - b
    equal_on_average(np.concatenate([updates["w"], updates["offset"][:, None]], 1), np.append(a.T @ error, error.sum()))


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_the_bias_on_a_cubic_is_of_second_order(sigma):
    """L = w^3: with signs every draw gives L' + sigma^2 L''' / 6, with normals the mean L' + sigma^2 L''' / 2.

    One-sided draws add (sigma xi / 2) L'', which cancels between the two signs.
    """
    w, slope, curvature = jnp.float64(0.8), 3 * 0.8**2, 6 * 0.8

    def cubic(w, batch):
        return w**3

    signs = weight_perturbation(cubic, sigma=sigma, noise="rademacher", antithetic=True)
    np.testing.assert_allclose(draws(signs, w, (), 8), np.full(8, slope + sigma**2), rtol=1e-9)
    one_sided = np.unique(np.round(draws(weight_perturbation(cubic, sigma=sigma, noise="rademacher"), w, (), 64), 9))
    np.testing.assert_allclose(
        one_sided, slope + sigma**2 + sigma * curvature / 2 * np.array([-1, 1]), rtol=0, atol=1e-8
    )
    normal = draws(weight_perturbation(cubic, sigma=sigma, antithetic=True), w, (), 40_000)
    equal_on_average(np.asarray(normal)[:, None], np.array([slope + 3 * sigma**2]))
    if sigma == 0.5:  # where the bias exceeds the error
        assert 8 * float(jnp.std(normal)) / math.sqrt(len(normal)) < 3 * sigma**2


def test_params_may_have_any_form_and_dtype():
    """Each leaf has its own dtype and noise, and one number reaches all."""
    params = {
        "list": [jnp.ones((2, 3), jnp.float32), jnp.full((), 0.5, jnp.float64)],
        "tuple": (jnp.ones(4, jnp.bfloat16), {"deep": jnp.ones((1, 2), jnp.float32)}),
    }

    def loss(params, batch):
        total = sum(jnp.sum(jnp.sin(leaf.astype(jnp.float64)) * batch) for leaf in jax.tree.leaves(params))
        return total**2

    rule = weight_perturbation(loss, sigma=0.1, noise="rademacher")
    updates, traces, info = compiled(lambda: rule.update(params, (), jax.random.key(0), 0.3))()
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert [leaf.dtype for leaf in jax.tree.leaves(updates)] == [leaf.dtype for leaf in jax.tree.leaves(params)]
    assert traces == ()
    np.testing.assert_allclose(info.loss, loss(params, 0.3), rtol=1e-14)
    sizes = np.concatenate([np.abs(np.asarray(leaf, float)).ravel() for leaf in jax.tree.leaves(updates)])
    np.testing.assert_allclose(sizes, sizes[0], rtol=0.005)  # signs, times one number; bfloat16 has 8 bits
    assert {float(jnp.sign(u)) for leaf in jax.tree.leaves(updates) for u in jnp.ravel(leaf)} == {-1.0, 1.0}
    bare = weight_perturbation(lambda w, batch: jnp.sum((w - batch) ** 2))
    learn = learner(bare, optax.sgd(0.02))
    state = learn.init(jnp.zeros(3), jax.random.key(0), jnp.ones(3))
    end, _ = compiled(lambda s: jax.lax.scan(lambda s, _: learn.step(s, jnp.ones(3)), s, length=400))(state)
    np.testing.assert_allclose(end.params, jnp.ones(3), atol=0.05)


def test_only_weights_and_biases_of_a_chain_learn():
    net = chain((4, 4, 1), [conv(2, 3, "tanh"), pool(2), flatten(), dense(2)])
    params = init_params(jax.random.key(0), net)
    params["forward"]["gain"], params["other"] = jnp.ones(3), [jnp.ones(2)]
    batch = Example(jax.random.normal(jax.random.key(1), (3, 4, 4, 1)), jnp.ones((3, 2)))
    updates, _, info = compiled(lambda: weight_perturbation(net).update(params, (), jax.random.key(0), batch))()
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    moved = {jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(updates) if np.any(leaf)}
    assert moved == {f"['forward']['{name}'][{i}]" for name in ("w", "bias") for i in range(2)}
    oracle = [chains.Conv("tanh"), chains.Pool(2), chains.Flatten(), chains.Dense()]
    outputs = [chains.run(oracle, params["forward"], x).h[-1] for x in np.asarray(batch.x)]
    np.testing.assert_allclose(info.aux["output"], outputs, atol=1e-13)


# Node perturbation on images.


@pytest.mark.parametrize("antithetic", [False, True])
def test_effects_of_noise_on_pixels_are_the_gradient_on_average(antithetic):
    """The output is linear in the noise, so that the loss is quadratic in it, and no sigma causes a bias.

    With direct feedback B = 0 the update of B is -e lam^T, which gives lam.
    """
    net = chain((4, 4, 1), [conv(2, 3, "tanh"), pool(2), conv(3, 2, "identity"), flatten(), dense(2)])
    oracle = [chains.Conv("tanh"), chains.Pool(2), chains.Conv(), chains.Flatten(), chains.Dense()]
    params = init_params(jax.random.key(0), net, pathway="direct")
    params["feedback"] = jax.tree.map(jnp.zeros_like, params["feedback"])
    x, y = jax.random.normal(jax.random.key(1), (1, 4, 4, 1)), jnp.array([[1.0, -2.0]])
    rule = node_perturbation(net, sigma=0.3, noise="rademacher", antithetic=antithetic, pathway="direct")
    traces = rule.init(params, jax.random.key(0), Example(x, y))

    def updates(key):
        return rule.update(params, traces, key, Example(x, y))[0]["feedback"]["w_fb"]

    samples = compiled(jax.vmap(updates))(jax.random.split(jax.random.key(9), 100_000))
    activity = chains.run(oracle, params["forward"], np.asarray(x[0]))
    e = activity.h[-1] - np.asarray(y[0])
    _, credit = chains.errors(oracle, activity, params["forward"]["w"][1:], e)
    for i, exact in enumerate(credit):
        lam = -np.einsum("o,tok->tk", e, samples[i]) / (e @ e)
        equal_on_average(lam, exact.ravel(), power=5)


def test_feedback_kernels_become_the_weights_of_a_linear_network():
    net = chain((3, 3, 1), [conv(2, 2, "identity"), conv(2, 2, "identity"), flatten(), dense(6)])
    params = init_params(jax.random.key(2), net)
    rates = {"forward": optax.set_to_zero(), "feedback": optax.sgd(0.01)}
    learn = learner(
        node_perturbation(net, noise="rademacher"),
        optax.partition(rates, {"forward": "forward", "feedback": "feedback"}),
    )

    def body(state, key):
        x, y = (jax.random.normal(k, (64, *n)) for k, n in zip(jax.random.split(key), ((3, 3, 1), (6,)), strict=True))
        return learn.step(state, Example(x, y))[0], None

    def life():
        batch = Example(jnp.zeros((64, 3, 3, 1)), jnp.zeros((64, 6)))
        state = learn.init(params, jax.random.key(3), batch)
        return jax.lax.scan(body, state, jax.random.split(jax.random.key(4), 600))[0].params["feedback"]["w_fb"]

    w_fb = compiled(life)()
    for w, b, drawn in zip(params["forward"]["w"][1:], w_fb, params["feedback"]["w_fb"], strict=True):
        cosines = [float(jnp.vdot(w, a) / jnp.linalg.norm(w) / jnp.linalg.norm(a)) for a in (drawn, b)]
        assert abs(cosines[0]) < 0.6
        assert cosines[1] > 0.9
        assert np.linalg.norm(w - b) < 0.4 * np.linalg.norm(w)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, r"sigma=0 is outside \(0, inf\): it is the standard deviation"),
        ({"noise": "uniform"}, "noise='uniform' is not known; use one of rademacher, gaussian"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        weight_perturbation(lambda params, batch: 0.0, **options)
    assert "\n" not in str(refusal.value)
