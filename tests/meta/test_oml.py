"""The gradient-based life against NumPy: to second order by its derivative, to first order in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import plasticity_jax as pj
from plasticity_jax.layers import forward, init_params
from plasticity_jax.meta import first_order, gradient_life, meta_gradient
from plasticity_jax.networks.mlp import mlp
from tests.laws.common import compiled
from tests.meta.lives import first, host
from tests.oracles.meta import activities, derivative, gradient_of, live, loss_of

SIZES = (3, 5, 4, 4, 2)
NAMES = ("relu", "tanh", "tanh", "identity")
"""Four layers; the first two do not learn in a life."""
FROZEN = 2
FRONT, NET, WHOLE = (
    mlp(SIZES[: FROZEN + 1], NAMES[:FROZEN]),
    mlp(SIZES[FROZEN:], NAMES[FROZEN:]),
    mlp(SIZES, NAMES),
)


def prefix(weights, x):
    return forward(FRONT, weights, x).h[-1]


def problem(rates, steps=3, episodes=1):
    """theta and a batch of episodes in float64; `rates` is "one", "group" or "parameter"."""
    keys = jax.random.split(jax.random.key(20), 4)
    whole = init_params(keys[0], WHOLE, dtype=jnp.float64)["forward"]
    whole["bias"] = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n)) for n in SIZES[1:])
    split = [{name: leaves[part] for name, leaves in whole.items()} for part in (slice(FROZEN), slice(FROZEN, None))]
    rate = {
        "one": jnp.float64(0.2),
        "group": {"w": jnp.float64(0.2), "bias": jnp.float64(0.1)},
        "parameter": jax.tree.map(lambda leaf: 0.1 + 0.2 * jnp.abs(jnp.sin(3.0 * leaf)), split[1]),
    }[rates]

    def examples(key, *shape):
        key_x, key_y = jax.random.split(key)
        x = jax.random.normal(key_x, (episodes, *shape, SIZES[0]))
        return pj.Example(x, jax.random.normal(key_y, (episodes, *shape, SIZES[-1])))

    theta = {"prefix": split[0], "forward": split[1], "rate": rate}
    return theta, pj.Episode(examples(keys[1], steps, 4), examples(keys[2], 6))


def spread(rate, weights):
    """A rate for each parameter."""
    return jax.tree.map(lambda r, w: r * np.ones(w.shape), jax.tree.broadcast(rate, weights), weights)


def lived(theta, episode):
    """Features of the query, weights at the end, the sum of the gradients, and the losses."""
    h = [activities(theta["prefix"], x, NAMES[:FROZEN])[-1] for x in (*episode.support.x, episode.query.x)]
    batches = list(zip(h[:-1], episode.support.y, strict=True))
    weights, total, losses = live(theta["forward"], spread(theta["rate"], theta["forward"]), batches, NAMES[FROZEN:])
    return h[-1], weights, total, losses


def loss(theta, episode):
    h, weights, _, _ = lived(theta, episode)
    return loss_of(weights, h, episode.query.y, NAMES[FROZEN:])


def library(rule, theta, episodes):
    return compiled(rule.update)(theta, (), jax.random.key(0), episodes)


@pytest.mark.parametrize("remat", [True, False])
@pytest.mark.parametrize("rates", ["one", "group", "parameter"])
def test_second_order_is_the_derivative_of_the_life(rates, remat):
    theta, episodes = problem(rates)
    episode = host(first(episodes))
    life = gradient_life(NET, prefix=prefix, blockwise=remat)
    gradient, _, info = library(meta_gradient(life, remat=remat), theta, episodes)
    expected = derivative(lambda th: loss(th, episode), host(theta))
    np.testing.assert_allclose(info.loss, loss(host(theta), episode), rtol=1e-12)
    np.testing.assert_allclose(info.aux["inner_loss"], np.mean(lived(host(theta), episode)[3]), rtol=1e-12)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max()), gradient, expected
    )


@pytest.mark.parametrize("rates", ["one", "parameter"])
def test_first_order_is_the_gradient_at_the_end(rates):
    """theta_0 gets the gradient itself, the rates get -sum_t g_t times it, and the prefix its part in the query."""
    theta, episodes = problem(rates, episodes=2)
    gradient, _, info = library(first_order(NET, prefix=prefix), theta, episodes)
    theta, each = host(theta), []
    for b in range(2):
        episode = jax.tree.map(lambda leaf, b=b: np.asarray(leaf[b]), episodes)
        h, weights, total, _ = lived(theta, episode)
        at_end = gradient_of(weights, h, episode.query.y, NAMES[FROZEN:])
        products = jax.tree.map(lambda g, total: -g * total, at_end, total)
        rate = products if rates == "parameter" else sum(np.sum(leaf) for leaf in jax.tree.leaves(products))

        def of_query(before, weights=weights, episode=episode):
            h = activities(before, episode.query.x, NAMES[:FROZEN])[-1]
            return loss_of(weights, h, episode.query.y, NAMES[FROZEN:])

        each.append({"prefix": derivative(of_query, theta["prefix"]), "forward": at_end, "rate": rate})
    expected = jax.tree.map(lambda a, b: (a + b) / 2, *each)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max()), gradient, expected
    )
    second, _, same = library(meta_gradient(gradient_life(NET, prefix=prefix)), *problem(rates, episodes=2))
    np.testing.assert_allclose(info.loss, same.loss, rtol=1e-12)
    assert float(info.aux["inner_loss"]) == pytest.approx(float(same.aux["inner_loss"]), rel=1e-12)
    assert np.abs(second["forward"]["w"][0] - expected["forward"]["w"][0]).max() > 1e-2, (
        "the two orders agree: no curvature"
    )


def test_the_prefix_equals_first_layers_with_a_rate_of_zero():
    """The loss, and the frozen layers' gradient, are the same outside of the life and in it at a rate of zero."""
    theta, episodes = problem("parameter")
    whole = {name: theta["prefix"][name] + theta["forward"][name] for name in ("w", "bias")}
    none = jax.tree.map(jnp.zeros_like, theta["prefix"])
    rate = {name: none[name] + theta["rate"][name] for name in ("w", "bias")}
    hoisted = library(meta_gradient(gradient_life(NET, prefix=prefix)), theta, episodes)
    inside = library(meta_gradient(gradient_life(WHOLE)), {"forward": whole, "rate": rate}, episodes)
    np.testing.assert_allclose(hoisted[2].loss, inside[2].loss, rtol=1e-12)
    for name in ("w", "bias"):
        for a, b in zip(
            hoisted[0]["prefix"][name] + hoisted[0]["forward"][name], inside[0]["forward"][name], strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * np.abs(b).max())


def test_the_loss_of_a_life_is_half_the_squared_error():
    """The authors' mean squared error over one output is twice as large, so their rate is half of ours."""
    net = mlp((1, 1), ["identity"])
    x, y, w = np.array([[2.0], [1.0]]), np.array([[1.0], [3.0]]), 0.5
    theta = {"forward": {"w": (jnp.full((1, 1), w),), "bias": (jnp.zeros(1),)}, "rate": jnp.float64(2 * 0.01)}
    batch = pj.Episode(pj.Example(x[None, None], y[None, None]), pj.Example(x[None], y[None]))
    _, _, info = library(meta_gradient(gradient_life(net)), theta, batch)
    slope_w, slope_b = np.mean(2 * (w * x - y) * x), np.mean(2 * (w * x - y))
    mse = np.mean(((w - 0.01 * slope_w) * x - 0.01 * slope_b - y) ** 2)
    np.testing.assert_allclose(2 * info.loss, mse, rtol=1e-12)


def test_a_life_of_labels_equals_that_of_their_targets():
    """Weights are in float32 and data in NumPy's float64; a weighted query counts by its weights."""
    net = mlp((3, 4, 2), ["tanh", "identity"], "softmax")
    theta = {"forward": init_params(jax.random.key(1), net, dtype=jnp.float32)["forward"], "rate": jnp.float32(0.3)}
    rng = np.random.default_rng(2)
    x, x_q, labels = rng.standard_normal((2, 3, 5, 3)), rng.standard_normal((2, 6, 3)), rng.integers(0, 2, (2, 3, 5))
    query_labels = rng.integers(0, 2, (2, 6))
    of_labels = pj.Episode(pj.Example(x, labels), pj.Example(x_q, query_labels))
    of_targets = pj.Episode(pj.Example(x, np.eye(2)[labels]), pj.Example(x_q, np.eye(2)[query_labels]))
    for rule in (meta_gradient(gradient_life(net)), first_order(net)):
        (gradient, _, info), (expected, _, expected_info) = (
            compiled(rule.update)(theta, (), jax.random.key(0), batch) for batch in (of_labels, of_targets)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), gradient, expected)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.float32)}
        np.testing.assert_allclose(info.aux["error"], expected_info.aux["error"])
        padding = of_labels.query._replace(weight=np.array([[1.0] * 3 + [0.0] * 3] * 2))
        half, _, _ = compiled(rule.update)(theta, (), jax.random.key(0), of_labels._replace(query=padding))
        short = of_labels._replace(query=pj.Example(x_q[:, :3], query_labels[:, :3]))
        whole, _, _ = compiled(rule.update)(theta, (), jax.random.key(0), short)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=0, atol=1e-6), half, whole)


def test_unusable_episodes_are_named_in_one_line():
    theta, batch = problem("one")
    none = jax.tree.map(lambda leaf: leaf[:0], batch)
    nothing = batch._replace(query=jax.tree.map(lambda leaf: leaf[:, :0], batch.query))
    idle = batch._replace(support=jax.tree.map(lambda leaf: leaf[:, :, :0], batch.support))
    for make in (lambda life: meta_gradient(life), lambda life: first_order(NET, prefix=prefix)):
        rule = make(gradient_life(NET, prefix=prefix))
        for given, error, message in (
            (none, ValueError, "batch has no examples"),
            (nothing, ValueError, r"batch\.query\.x has no examples"),
            (idle, ValueError, r"batch\.x has no examples"),
            (tuple(batch), TypeError, "batch is a tuple: give an Episode"),
        ):
            with pytest.raises(error, match=message) as refusal:
                rule.update(theta, (), jax.random.key(0), given)
            assert "\n" not in str(refusal.value)
