"""Weight mirrors: B learns W, by Stein's lemma and in time; without learning it is feedback alignment."""

import math
from statistics import NormalDist

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.layers import chain, conv, dense, flatten, init_params, layer, pool
from plasticity_jax.rules import feedback_alignment, weight_mirror
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import chains

CRITICAL = NormalDist().inv_cdf(1 - 1e-4 / 2 / 100)
"""The critical |z|: a false alarm of 1e-4 in a hundred entries."""


def rows(phi, hidden="tanh"):
    """One mirrored layer, dense."""
    return chain((2,), [dense(4, hidden), dense(3, phi)])


def images(phi, hidden="tanh"):
    """One mirrored layer, a kernel of 2 x 3 that meets the edge of images of 3 x 4."""
    return chain((6, 8, 1), [conv(2, 1, hidden), pool(2), conv(3, (2, 3), phi), flatten()])


NETS = {"dense": rows, "conv": images}


def given(net, examples=1, seed=0):
    """Weights, biases off zero, and a batch."""
    params = init_params(jax.random.key(seed), net)
    params["forward"]["bias"] = tuple(0.6 * jnp.cos(1.0 + 2 * jnp.arange(n)) for n in net.bias_sizes)
    x = jax.random.normal(jax.random.key(seed + 1), (examples, *net.h_shapes[0]))
    return params, Example(x, jnp.zeros((examples, *net.h_shapes[-1])))


def updates_of(rule, params, batch, draws):
    """Independent updates of B, the last of the mirrored layers."""

    def one(key):
        return rule.update(params, (), key, batch)[0]["feedback"]["w_fb"][-1]

    return np.asarray(compiled(jax.vmap(one))(jax.random.split(jax.random.key(9), draws)))


def mean_slope(phi, bias, deviation):
    """E phi'(v) for v ~ N(bias, deviation^2): in closed form, or by Gauss and Hermite."""
    if phi == "relu":
        return NormalDist().cdf(bias / deviation)
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    return weights @ chains.PHI[phi][1](bias + deviation * points) / math.sqrt(2 * math.pi)


def by_stein(phi, w, bias, sigma, shape):
    """E y xi^T = E phi'(v) W for a matrix; for a kernel the mean over the windows with a pixel at each tap."""
    w, bias = np.asarray(w), np.asarray(bias)
    if w.ndim == 2:
        slopes = [mean_slope(phi, b, sigma * np.linalg.norm(row)) for b, row in zip(bias, w, strict=True)]
        return np.array(slopes)[:, None] * w
    taps, sizes = chains.Conv().taps(shape, w.shape)
    variance, total, windows = np.zeros((*sizes, w.shape[-1])), np.zeros_like(w), np.zeros(w.shape[:2])
    for place, tap, _ in taps:
        variance[place] += sigma**2 * np.sum(w[tap] ** 2, 0)
    for place, tap, _ in taps:
        slope = [mean_slope(phi, b, math.sqrt(s)) for b, s in zip(bias, variance[place], strict=True)]
        total[tap] += np.array(slope) * w[tap]
        windows[tap] += 1
    assert windows.min() < windows.max() == math.prod(sizes)  # zeros at the edge hide some
    return total / windows[:, :, None, None]


def equal_on_average(samples, expected, part):
    """Asserts z-tests of all entries; along `part`, a change by a tenth is eight standard errors."""
    error = samples.std(0) / math.sqrt(len(samples))
    assert np.abs((samples.mean(0) - expected) / error).max() < CRITICAL
    along = samples.reshape(len(samples), -1) @ part.ravel() / np.linalg.norm(part)
    assert 0.1 * np.linalg.norm(part) > 8 * along.std() / math.sqrt(len(samples)), "a change by a tenth would not show"


@pytest.mark.parametrize("phi", ["tanh", "relu", "sigmoid", "identity"])
@pytest.mark.parametrize("form", NETS)
def test_the_mean_update_is_steins(form, phi):
    net, sigma, decay = NETS[form](phi), 0.8, 0.3
    params, batch = given(net, examples=128)
    w, bias = params["forward"]["w"][1], params["forward"]["bias"][1]
    mirrored = by_stein(phi, w, bias, sigma, (3, 4, 2))
    updates = updates_of(weight_mirror(net, sigma=sigma, decay=decay), params, batch, 500)
    equal_on_average(updates, decay * np.asarray(params["feedback"]["w_fb"][0]) - mirrored, mirrored)
    at_rest = by_stein(phi, w, bias, 1e-6, (3, 4, 2))  # the slope of the mean, not the mean of slopes
    apart = np.linalg.norm(mirrored - at_rest) / np.linalg.norm(mirrored)
    assert apart < 1e-9 if phi == "identity" else apart > 0.02


@pytest.mark.parametrize(("phi", "sigma"), [("identity", 0.8), ("tanh", 0.05)])
@pytest.mark.parametrize("form", NETS)
def test_the_mean_update_with_signs_is_the_slope_at_rest_times_w(form, phi, sigma):
    """The equality is of first order in sigma; the bias of second order is far below the standard error."""
    net = NETS[form](phi)
    params, batch = given(net, examples=128)
    mirrored = by_stein(phi, params["forward"]["w"][1], params["forward"]["bias"][1], 1e-6, (3, 4, 2))
    updates = updates_of(weight_mirror(net, sigma=sigma, decay=0.0, noise="rademacher"), params, batch, 500)
    equal_on_average(updates, -mirrored, mirrored)


def cosine(a, b):
    return float(jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b)))


def mirrored_for(net, params, batch, steps, rate, **options):
    """B after that many steps in which nothing else learns."""
    rates = {"forward": optax.set_to_zero(), "feedback": optax.sgd(rate)}
    learn = learner(
        weight_mirror(net, **options), optax.partition(rates, {"forward": "forward", "feedback": "feedback"})
    )
    state = learn.init(params, jax.random.key(5), batch)
    end = compiled(lambda s: jax.lax.scan(lambda s, _: learn.step(s, batch), s, length=steps)[0])(state)
    jax.tree.map(np.testing.assert_array_equal, end.params["forward"], params["forward"])
    return end.params["feedback"]["w_fb"]


@pytest.mark.parametrize("start", ["zero", "drawn"])
@pytest.mark.parametrize("form", NETS)
def test_feedback_aligns_with_the_weights(form, start):
    net = NETS[form]("identity")
    params, batch = given(net, examples=16)
    if start == "zero":
        params["feedback"] = jax.tree.map(jnp.zeros_like, params["feedback"])
    else:
        assert abs(cosine(params["feedback"]["w_fb"][0], params["forward"]["w"][1])) < 0.7
    (b,) = mirrored_for(net, params, batch, steps=200, rate=0.03)
    assert cosine(b, params["forward"]["w"][1]) > 0.9


def test_every_layer_is_mirrored_through_its_own_nonlinearity():
    net = chain((3,), [dense(5, "tanh"), dense(6, "tanh"), dense(4, "sigmoid"), dense(2)])
    params, batch = given(net, examples=32)
    before = [cosine(b, w) for b, w in zip(params["feedback"]["w_fb"], params["forward"]["w"][1:], strict=True)]
    w_fb = mirrored_for(net, params, batch, steps=300, rate=0.03, sigma=0.5)
    after = [cosine(b, w) for b, w in zip(w_fb, params["forward"]["w"][1:], strict=True)]
    assert max(map(abs, before)) < 0.7
    assert min(after) > 0.9


def test_the_fixed_point_is_the_weights_over_the_decay():
    """Neurons are linear; a kernel's zeros at the edge do not reduce a tap."""
    for form, net in ((form, make("identity", "identity")) for form, make in NETS.items()):
        params, batch = given(net, examples=128)
        w = params["forward"]["w"][1]
        (b,) = mirrored_for(net, params, batch, steps=300, rate=0.05, decay=0.5)
        assert np.linalg.norm(b - w / 0.5) < 0.05 * np.linalg.norm(w / 0.5), form


def test_weights_that_few_connections_share_are_divided_by_their_number():
    """Windows do not share weights, or six neurons on a ring share two."""

    def ring(w, h):
        return w[0] * h + w[1] * jnp.roll(h, 1, 1)

    def two(key, shape, dtype):
        return jax.random.normal(key, (2,), dtype)

    shared = chain((6,), [dense(6, "tanh"), layer(ring, two)])
    alone = chain((4, 4, 1), [conv(1, 1, "tanh"), nn.ConvLocal(2, (3, 3), padding="VALID", use_bias=False), flatten()])
    for net in (shared, alone):
        params, batch = given(net, examples=128)
        (b,) = mirrored_for(net, params, batch, steps=300, rate=0.05, decay=0.5)
        (actual,), (weights,) = jax.tree.leaves(b), jax.tree.leaves(params["forward"]["w"][1])
        assert np.linalg.norm(actual - weights / 0.5) < 0.05 * np.linalg.norm(weights / 0.5)


def test_without_learning_of_feedback_it_is_feedback_alignment():
    net = chain((4, 4, 1), [conv(2, 3, "tanh"), pool(2), conv(3, 2, "tanh"), flatten(), dense(2)])
    params, batch = given(net, examples=3)
    rates = {"forward": optax.sgd(0.3), "feedback": optax.sgd(0.0)}
    tx = optax.partition(rates, {"forward": "forward", "feedback": "feedback"})
    ends = []
    for rule in (weight_mirror(net), feedback_alignment(net)):
        learn = learner(rule, tx)
        state = learn.init(params, jax.random.key(0), batch)
        ends.append(compiled(lambda s, step=learn.step: jax.lax.scan(lambda s, _: step(s, batch), s, length=4))(state))
    (mirror, mirror_info), (fixed, info) = ends
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), mirror.params, fixed.params)
    np.testing.assert_allclose(mirror_info.loss, info.loss, rtol=1e-13)
    assert all(
        np.abs(a - b).max() > 1e-3 for a, b in zip(fixed.params["forward"]["w"], params["forward"]["w"], strict=True)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, r"sigma=0 is outside \(0, inf\): it is the standard deviation"),
        ({"decay": -0.1}, r"decay=-0\.1 is outside \[0, inf\)"),
        ({"noise": "uniform"}, "noise='uniform' is not known; use one of rademacher, gaussian"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        weight_mirror(rows("tanh"), **options)
    assert "\n" not in str(refusal.value)
