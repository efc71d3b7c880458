"""Recorded lives against the library's own, the hand-over of the control, and evaluations by hand."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import fig2, learners, watched
from experiments.lindsey2020.networks import flp_theta, gradient_theta, layers
from experiments.lindsey2020.sines import sines
from plasticity_jax.diagnostics.interference import interference
from plasticity_jax.layers import forward
from plasticity_jax.meta import Life, flp_life, gradient_life, outcome
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.rules.hebbian import flp
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Episode, Example
from tests.laws.common import compiled

CONFIG, SIZES = fig2.PRESETS["smoke"], (3, 8, 8, 1)
KEY = jax.random.key(0)


def episode(order="continual"):
    stream = sines(CONFIG, order, 1)
    return jax.tree.map(lambda leaf: leaf[0, 0], stream.take(stream.init(KEY), 1)[1])


def scaled_backprop(net, rate):
    exact = backprop(net)

    def update(*args):
        updates, traces, info = exact.update(*args)
        return {**updates, "forward": jax.tree.map(lambda leaf: rate * leaf, updates["forward"])}, traces, info

    return exact._replace(update=update)


@pytest.mark.parametrize("kind", ["flp", "gradient"])
def test_a_recorded_life_is_the_librarys(kind):
    cut = layers(SIZES, 2)
    if kind == "flp":
        theta, life = flp_theta(KEY, cut, alpha=1e-3), flp_life(cut.net, prefix=cut.features)
        rule = flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])
    else:
        theta, life = gradient_theta(KEY, cut, 0.02), gradient_life(cut.net, prefix=cut.features)
        rule = scaled_backprop(cut.net, 0.02)
    one = episode()
    _, aux = compiled(lambda theta: outcome(life, theta, KEY, one, remat=False))(theta)
    embedded = life.embed(theta, one)
    outputs, reports = compiled(lambda params: watched.lived(cut.net, rule, params, embedded, 2))(life.params(theta))
    error = np.mean((outputs[-1].reshape(-1, 1) - one.query.y) ** 2)
    np.testing.assert_allclose(error, aux["error"], rtol=1e-10)
    assert reports["norm"].shape == (4, 2)
    if kind == "gradient":  # one rate for all weights: the direction of the negative gradient
        np.testing.assert_allclose(reports["cosine"], 1, rtol=1e-10)
    else:
        assert np.all(np.abs(reports["cosine"]) < 0.999)


def test_outputs_after_every_step():
    """Changes since a block began, by a loop over steps; at its end, the mean over earlier functions is panel B's."""
    cut = layers(SIZES, 2)
    theta = flp_theta(KEY, cut, alpha=1e-3)
    life, one = flp_life(cut.net, prefix=cut.features), episode()
    embedded, params = life.embed(theta, one), life.params(theta)
    rule = flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])
    outputs, reports = compiled(lambda params: watched.lived(cut.net, rule, params, embedded, 2, every_step=True))(
        params
    )

    def outputs_of(params):
        w, bias = params["forward"]["w"], params["forward"]["bias"]
        hidden = np.maximum(np.asarray(embedded.query.x) @ np.asarray(w[0]).T + np.asarray(bias[0]), 0)
        return (hidden @ np.asarray(w[1]).T + np.asarray(bias[1])).reshape(2, -1, 1)

    step = compiled(lambda params, batch: jax.tree.map(jnp.subtract, params, rule.update(params, (), KEY, batch)[0]))
    before = outputs_of(params)
    for t in range(4):
        before = outputs_of(params) if t == 2 else before
        params = step(params, jax.tree.map(lambda leaf, t=t: leaf[t], embedded.support))
        np.testing.assert_allclose(reports["change"][t], np.mean((outputs_of(params) - before) ** 2, (1, 2)), rtol=1e-9)
        if t in (1, 3):
            np.testing.assert_allclose(outputs[t // 2], outputs_of(params), rtol=1e-9)
    changes = watched.of_earlier(reports["change"])
    np.testing.assert_allclose(changes, reports["change"][2:, 0], rtol=1e-12)
    np.testing.assert_allclose(changes[-1:], interference(outputs), rtol=1e-9)


def test_changes_of_earlier_outputs_by_hand():
    change = jnp.arange(18.0).reshape(6, 3)  # two steps to each of three functions
    expected = [change[2, 0], change[3, 0], (change[4, 0] + change[4, 1]) / 2, (change[5, 0] + change[5, 1]) / 2]
    np.testing.assert_allclose(watched.of_earlier(change), expected, rtol=1e-12)


def test_cosine_and_norm_of_a_first_step():
    cut = layers(SIZES, 2)
    theta = flp_theta(KEY, cut, alpha=1e-3)
    life, one = flp_life(cut.net, prefix=cut.features), episode()
    embedded, params = life.embed(theta, one), life.params(theta)
    rule = flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])
    _, reports = watched.lived(cut.net, rule, params, embedded, 2)
    batch = jax.tree.map(lambda leaf: leaf[0], embedded.support)

    def loss(weights):
        return jnp.mean((forward(cut.net, weights, batch.x).h[-1] - batch.y) ** 2)

    down = [-np.asarray(leaf).ravel() for leaf in jax.grad(loss)(params["forward"])["w"]]
    change = [-np.asarray(leaf).ravel() for leaf in rule.update(params, (), KEY, batch)[0]["forward"]["w"]]
    for k, w in enumerate(params["forward"]["w"]):
        size = np.linalg.norm(change[k])
        expected = change[k] @ down[k] / size / np.linalg.norm(down[k])
        np.testing.assert_allclose(reports["cosine"][0, k], expected, rtol=1e-9)
        np.testing.assert_allclose(reports["norm"][0, k], size, rtol=1e-10)
        np.testing.assert_allclose(reports["relative"][0, k], size / np.linalg.norm(w), rtol=1e-10)


def test_the_control_starts_as_the_feature_reuse_network():
    """Upstream plasticity is still zero: its life is that of the network that it starts from."""
    shallow, deep = layers(SIZES, 1), layers(SIZES, 3)
    old = flp_theta(KEY, shallow, alpha=1e-3, beta=0.3)
    theta = fig2.upstream_of_reuse(old, flp_theta(jax.random.key(1), deep))
    one = episode("iid")
    errors = [
        compiled(lambda theta, life=life: outcome(life, theta, KEY, one, remat=False)[1]["error"])(given)
        for life, given in ((flp_life(shallow.net, prefix=shallow.features), old), (flp_life(deep.net), theta))
    ]
    np.testing.assert_allclose(*errors, rtol=1e-10)
    same = fig2.upstream_of_reuse(old, flp_theta(jax.random.key(1), shallow))  # feature reuse goes on from itself
    assert jax.tree.structure(same) == jax.tree.structure(old)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, same, old)))


def test_frozen_error_against_lstsq():
    cut = layers(SIZES, 2)
    theta = flp_theta(KEY, cut)
    life, one = flp_life(cut.net, prefix=cut.features), episode("iid")
    weights = [[np.asarray(leaf) for leaf in theta[group]["w"]] for group in ("prefix", "forward")]

    def features(x):
        for w in (*weights[0], weights[1][0]):
            x = np.maximum(x @ w.T, 0)
        return np.hstack([x, np.ones((len(x), 1))])

    x, y = (np.asarray(leaf).reshape(-1, leaf.shape[-1]) for leaf in one.support[:2])
    ridge = 0.1
    penalty = np.diag([(len(x) * ridge) ** 0.5] * 8 + [0.0])
    solution = np.linalg.lstsq(np.vstack([features(x), penalty]), np.vstack([y, np.zeros((9, 1))]), rcond=None)[0]
    expected = np.mean((features(np.asarray(one.query.x)) @ solution - np.asarray(one.query.y)) ** 2)
    error = watched.frozen_error(cut.net, life.params(theta), life.embed(theta, one), ridge)
    np.testing.assert_allclose(error, expected, rtol=1e-9)


def test_measures_over_lifetimes_by_loops():
    rng = np.random.default_rng(0)
    metrics = {
        "error": np.array([3.0, np.nan, 1.0]),
        "frozen": np.array([5.0, 2.0, 4.0]),
        "norm": rng.random((3, 5, 2)),
        "cosine": rng.random((3, 5, 2)),
    }
    means = watched.over_lifetimes({name: jnp.asarray(values) for name, values in metrics.items()})
    assert float(means["error"]) == 3.0
    assert float(means["frozen"]) == 4.0
    assert np.isnan(means["error_mean"])
    np.testing.assert_allclose(means["frozen_mean"], 11 / 3, rtol=1e-12)
    for name in ("norm", "cosine"):
        np.testing.assert_allclose(means[name], sum(metrics[name][life] for life in range(3)) / 3, rtol=1e-12)
    for life in range(3):
        for layer in range(2):
            curve = metrics["cosine"][life, :, layer]
            np.testing.assert_allclose(means["cosine_of_lives"][life, layer], curve.mean(), rtol=1e-12)
            rise = 5 * np.polyfit(np.arange(5), curve, 1)[0]
            np.testing.assert_allclose(means["rise_of_lives"][life, layer], rise, rtol=1e-9)
    assert set(watched.over_lifetimes({"error": jnp.ones(3)})) == {"error", "error_mean"}


@pytest.mark.parametrize("order", ["iid", "continual"])
def test_an_evaluation_uses_the_outputs_at_the_end(monkeypatch, order):
    """Outputs are off by 1 after the first block and by 2 after the last, in each lifetime of its stream."""

    def lived(net, rule, params, episode, functions, *, every_step):
        y = episode.query.y.reshape(functions, -1, 1)
        reports = {"cosine": jnp.full((4, 2), 0.5)} | ({"change": jnp.arange(8.0).reshape(4, 2)} if every_step else {})
        return jnp.stack([y + 1, y + 2]), reports

    def frozen(net, params, episode, ridge):
        return ridge * jnp.mean(episode.query.y)

    y = np.random.default_rng(0).random((3, 4, 1))
    episodes = Episode(Example(jnp.zeros(3), jnp.zeros(3)), Example(jnp.zeros(3), jnp.asarray(y)))
    streams_taken = []

    def stream(config, order, episodes_at_a_time):
        streams_taken.append((order, episodes_at_a_time))
        return Stream(lambda key: 0, lambda state, steps: (state, jax.tree.map(lambda leaf: leaf[None], episodes)))

    monkeypatch.setattr(watched, "lived", lived)
    monkeypatch.setattr(watched, "frozen_error", frozen)
    monkeypatch.setattr(watched, "sines", stream)
    life = Life(learner=len, params=lambda theta: None, loss=len)
    config = SimpleNamespace(lifetimes=3, functions=2, rows=0)
    args = config, order, SimpleNamespace(cut=layers(SIZES, 2), life=life, within=lambda theta: None)
    means = [jax.jit(watched.analyses(*args, ridge=3.0, steps=steps))(0, 0.0) for steps in (False, True)]
    assert streams_taken == [(order, 3)] * 2
    for metrics in means:
        np.testing.assert_allclose(metrics["error"], 4.0, rtol=1e-9)
        if order == "iid":
            np.testing.assert_allclose(metrics["frozen"], np.median(3 * y.mean((1, 2))), rtol=1e-9)
        else:
            np.testing.assert_allclose(metrics["interference"], [1.0], rtol=1e-9)
    names = {"error", "error_mean", *(("frozen", "frozen_mean") if order == "iid" else ("interference",))}
    assert set(means[0]) == names
    names |= {"cosine", "cosine_of_lives", "rise_of_lives"}
    assert set(means[1]) == names | (set() if order == "iid" else {"interference_of_steps"})
    if order == "continual":
        assert means[1]["interference_of_steps"].tolist() == [4.0, 6.0]


def test_every_network_has_its_own_rates_and_order(monkeypatch):
    """Arguments of the meta-trainings and of their evaluations."""
    config = fig2.Config(
        seeds=1, episodes=4, points=2, lifetimes=2, lives=3, functions=2, batches=2, batch=4, hidden=(4, 4, 4),
        reuse=(1.0, 2.0), flp2=(3.0, 5.0), flp3=(7.0, 11.0), gradient_second=(13.0, 17.0), gradient_warm=(19.0, 23.0),
        inner_rate=29.0, clip=31.0, backoff=0.5, ridge=37.0, remat=0, rows=0,
    )  # fmt: skip
    monkeypatch.setattr(learners, "sines", lambda config, order, episodes: (order, episodes))
    monkeypatch.setattr(learners, "meta_training", lambda *args, **options: (*args, options))
    monkeypatch.setattr(learners, "first_order", lambda net, prefix: "first")
    monkeypatch.setattr(learners, "meta_gradient", lambda life, remat: "second")
    monkeypatch.setattr(fig2, "continued", lambda *given: given)
    monkeypatch.setattr(fig2, "analyses", lambda *args, **options: (*args, options))
    parts = fig2.make_parts(config)
    assert tuple(parts) == fig2.PARTS

    def flp_rates(rate, alpha, weights=None):
        return {"weights": rate if weights is None else weights, "feedback": rate, "alpha": alpha, "beta": rate}

    reuse = ("second", flp_rates(1.0, 2.0), 1, False)
    flp3 = ("second", flp_rates(7.0, 11.0), 3, True)
    warm = ("first", {"weights": 19.0, "rate": 23.0}, 3, True)
    second = ("second", {"weights": 13.0, "rate": 17.0}, 3, True)
    upstream = fig2.upstream_of_reuse
    expected_parts = {
        "iid/reuse": (reuse, reuse, upstream),
        "iid/control": (reuse, ("second", flp_rates(7.0, 11.0, 0.0), 3, False), upstream),
        "iid/readout": (reuse, ("second", flp_rates(1.0, 2.0, 0.0), 1, False), upstream),
        "iid/flp2": (("second", flp_rates(3.0, 5.0), 2, False),),
        "iid/flp3": (flp3, warm, learners.hand_over),
        "iid/gradient": (second,),
        "continual/flp3": (flp3, warm, learners.hand_over),
        "continual/gradient": (second,),
    }
    for name, expected in expected_parts.items():
        halves = parts[name] if len(expected) > 1 else (parts[name],)
        if len(expected) > 1:
            assert halves[2] is expected[2], name
        for (rule, rates, _, stream, watching, training), (kind, expected_rates, plastic, steps) in zip(
            halves[:2], expected[:2], strict=True
        ):
            order = name.split("/")[0]
            assert (rule, rates, stream) == (kind, expected_rates, (order, 3)), name
            assert watching[1] == order
            assert (watching[2].cut.plastic, watching[3]) == (plastic, {"ridge": 37.0, "steps": steps}), name
            assert training == {"episodes": 4, "points": 2, "clip": 31.0, "backoff": 0.5}
    some = dataclasses.replace(config, networks=("continual/flp3", "iid/flp2"))
    assert list(fig2.make_parts(some)) == ["iid/flp2", "continual/flp3"]
    with pytest.raises(ValueError, match="flp9"):
        dataclasses.replace(config, networks=("iid/flp9",))


def test_a_gradient_based_learner_takes_its_own_rates():
    learner = learners.gradient_learner(CONFIG, (1.0, 1.0), 7.0)
    theta = learner.theta(KEY)
    assert {float(leaf.min()) for leaf in jax.tree.leaves(theta["rate"])} == {7.0}

    @jax.jit
    def updates():
        batch = Example(jnp.ones((2, 3)), jnp.ones((2, 1)))
        rates = {"rate": jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.25), theta["forward"])}
        rules = (learner.within(rates), backprop(learner.cut.net))
        both = (rule.update({"forward": theta["forward"]}, (), KEY, batch)[0] for rule in rules)
        return [each["forward"]["w"][-1] for each in both]

    scaled, plain = updates()
    assert np.abs(plain).max() > 0
    np.testing.assert_allclose(scaled, plain / 4, rtol=1e-12)
