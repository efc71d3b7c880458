"""Rules inferred from recordings, after Mehta et al. (2024): simulation, misfit, gradient, models by hand."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.mehta2024 import inference
from experiments.mehta2024.inference_summary import MODELS, family, right_terms, terms_of
from experiments.mehta2024.recordings import RULES, Stimuli, predictions, record
from plasticity_jax.meta import meta_gradient, outcome
from plasticity_jax.typing import Episode

SMALL = inference.PRESETS["smoke"]
KEY = jax.random.key(0)
N, N_IN, RATE = 3, 2, 0.1


@functools.cache
def some(rule, **changed):
    """Initial weights, and recordings of three neurons, two of which are observed."""
    w = 0.5 * jax.random.normal(jax.random.key(1), (N, N_IN))
    options = {"trajectories": 2, "steps": 7, "noise": 0.1, "observed": jnp.asarray([1.0, 1.0, 0.0])}
    terms = {term: RATE * value for term, value in RULES[rule].items()}
    return w, record(KEY, w, terms, **{"stimuli": Stimuli(), **options, **changed})


def by_hand(w, x, reward, change):
    """Activity and weights of one trajectory: a plain loop."""
    w, activity, weights = np.array(w), [], []
    for x_t, r_t in zip(np.asarray(x)[:, 0], np.asarray(reward)[:, 0], strict=True):
        y = np.tanh(w @ x_t)
        activity.append(y)
        weights.append(w)
        w = w + RATE * change(x_t, y, w, r_t)
    return np.array(activity), np.array(weights)


def oja(x, y, w, r):
    return np.outer(y, x) - (y**2)[:, None] * w


def modulated(x, y, w, r):
    return (r - 0.5) * np.outer(y, x)


@pytest.mark.parametrize(("rule", "change"), [("oja", oja), ("reward", modulated)])
def test_recordings_by_hand(rule, change):
    w, recorded = some(rule)
    assert set(np.unique(recorded.trials.reward)) == {0.0, 1.0}
    for k in range(2):
        activity, weights = by_hand(w, recorded.trials.x[k], recorded.trials.reward[k], change)
        np.testing.assert_allclose(recorded.activity[k], activity, rtol=1e-10)
        np.testing.assert_allclose(recorded.weights[k], weights, rtol=1e-10)
        assert np.abs(weights[-1] - weights[0]).max() > 1e-3
    terms = {term: RATE * value for term, value in RULES[rule].items()}
    predicted = predictions(w, terms, recorded.trials)
    np.testing.assert_allclose(predicted[0], recorded.activity, rtol=1e-10)
    np.testing.assert_allclose(predicted[1], recorded.weights, rtol=1e-10)
    other = predictions(w, {**terms, (0, 0, 0, 1): 0.05}, recorded.trials)[0]
    assert np.abs(other - recorded.activity).max() > 1e-3


def test_noise_and_neurons_that_are_observed():
    _, recorded = some("oja", trajectories=20, steps=50)
    errors = recorded.trials.activity[:, :, 0] - recorded.activity
    assert errors.std() == pytest.approx(0.1, rel=0.05)
    assert abs(float(errors.mean())) < 4 * 0.1 / math.sqrt(errors.size)
    np.testing.assert_array_equal(recorded.trials.observed, np.broadcast_to([1.0, 1.0, 0.0], (20, 50, 1, N)))


def test_reward_is_for_activity_at_one_stimulus_and_for_silence_at_the_other():
    _, recorded = some("reward", trajectories=6, steps=30, stimuli=Stimuli(jitter=0.0, gain=1e6))
    for x, reward, activity in zip(
        recorded.trials.x[:, :, 0], recorded.trials.reward[:, :, 0], recorded.activity, strict=True
    ):
        stimuli, stimulus_of_step = np.unique(np.asarray(x), axis=0, return_inverse=True)
        assert len(stimuli) == 2
        agrees = (np.asarray(activity).mean(1) > 0) == np.asarray(reward)
        assert {len({*agrees[stimulus_of_step == k]}) for k in (0, 1)} == {1}
        assert agrees[stimulus_of_step == 0][0] != agrees[stimulus_of_step == 1][0]


def of_three(**changed):
    return dataclasses.replace(SMALL, inputs=N_IN, neurons=N, penalty=0.01, **changed)


def test_the_misfit_of_a_life_by_hand():
    config = of_three()
    terms = terms_of(config.powers, "fitted")
    values = 0.3 * jax.random.normal(jax.random.key(2), (len(terms),))
    w, recorded = some("oja")
    theta = {"w": w + 0.1, "rule": values}
    episode = jax.tree.map(lambda leaf: leaf[0], Episode(recorded.trials, ()))

    def polynomial(x, y, w, r):
        powers = zip(values, terms, strict=True)
        return sum(value * w**c * r**d * np.outer(y**b, x**a) for value, (a, b, c, d) in powers)

    activity, _ = by_hand(theta["w"], recorded.trials.x[0], recorded.trials.reward[0], polynomial)
    missed = np.mean((activity - np.asarray(recorded.trials.activity)[0, :, 0])[:, :2] ** 2)
    penalty = 0.01 * np.abs(values).sum()
    loss, _ = outcome(inference.life_of(config, "oja", "fitted"), theta, KEY, episode)
    np.testing.assert_allclose(loss, missed + penalty, rtol=1e-9)
    for model in MODELS:
        alone, _ = inference.life_of(config, "oja", model).loss(theta, {}, ())
        assert float(alone) == pytest.approx(penalty if model in ("fitted", "blind") else 0.0), model


def test_the_fit_descends_the_gradient_of_finite_differences():
    config = of_three()
    w, recorded = some("oja")
    values = 0.3 * jax.random.normal(jax.random.key(3), (len(family(config.powers)),))
    theta, life = {"w": w, "rule": values}, inference.life_of(config, "oja", "fitted")
    rule = meta_gradient(life, remat=False)
    step = jax.jit(lambda theta: rule.update(theta, (), KEY, Episode(recorded.trials, ())))
    updates, _, _ = step(theta)
    way = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(4), leaf.shape), theta)

    def loss(size):
        return float(step(jax.tree.map(lambda leaf, by: leaf + size * by, theta, way))[2].loss)

    slope = sum(float(jnp.sum(a * b)) for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(way), strict=True))
    assert slope == pytest.approx((loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-6)
    assert abs(slope) > 1e-3
    np.testing.assert_array_equal(updates["w"][2], 0.0)  # not observed
    assert np.abs(updates["w"][:2]).min() > 0


def test_models_and_what_they_fit():
    terms = family((1, 2, 1, 1))
    assert len(terms) == len({*terms}) == 24
    assert max(terms) == (1, 2, 1, 1)
    assert terms_of((1, 2, 1, 1), "blind") == [term for term in terms if not term[3]]
    config, w = of_three(rate=0.2), jnp.ones((N, N_IN))
    for model in MODELS:
        theta = inference.birth(config, model, w)
        terms_of_model = inference.coefficients(config, "reward", model, theta)
        start = 1.0 if model == "true" else 0.0
        np.testing.assert_array_equal(theta["w"], np.full((N, N_IN), start))
        want = {"none": [], "true": [*RULES["reward"]], "drift": [(0, 0, 0, 0)]}
        assert list(terms_of_model) == want.get(model, terms_of(config.powers, model)), model
        sizes = {"true": [0.2, -0.1]}.get(model, [0.0] * len(terms_of_model))
        assert [float(jnp.max(value)) for value in terms_of_model.values()] == pytest.approx(sizes)
    drift = inference.coefficients(config, "oja", "drift", {"drift": w})[0, 0, 0, 0]
    np.testing.assert_allclose(drift, np.full((N, N_IN), 0.2))


def test_settings_share_networks_and_inputs():
    config = of_three(noise=(0.1, 0.4), shares=(1.0, 0.67, 0.1))
    settings = inference.settings(config)
    np.testing.assert_allclose(settings["noise"], [0.1] * 3 + [0.4] * 3)
    np.testing.assert_array_equal(settings["observed"][:3], [[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    first, last = (jax.tree.map(lambda leaf, k=k: leaf[k], settings) for k in (0, -1))
    recordings = jax.jit(lambda setting: inference.recordings(config, "oja", KEY, setting))
    one, other = recordings(first), recordings(last)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[2].activity, other[2].activity)
    errors = [each[1].trials.activity[:, :, 0] - each[1].activity for each in (one, other)]
    np.testing.assert_allclose(4 * errors[0], errors[1], rtol=1e-6, atol=1e-9)
    assert np.abs(one[1].trials.x - one[2].trials.x).min() > 0, "what is held out is new"


def test_explained_variance_by_hand():
    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=(2, 3, 5, 4))
    observed = np.array([1.0, 0.0, 1.0, 1.0])
    rows = [0, 2, 3]
    missed = sum(((predicted - true)[..., k] ** 2).sum() for k in rows)
    about = sum(((true[..., k] - true[..., k].mean()) ** 2).sum() for k in rows)
    value = inference.explained_variance(jnp.asarray(predicted), jnp.asarray(true), jnp.asarray(observed))
    assert float(value) == pytest.approx(1 - missed / about)
    assert float(inference.explained_variance(jnp.asarray(true), jnp.asarray(true), jnp.asarray(observed))) == 1.0


def test_the_fit_finds_a_rule():
    config = of_three(trajectories=4, steps=20, noise=(0.01,), shares=(1.0,), powers=(1, 2, 0, 1), rules=("reward",),
                      meta_steps=200, meta_rate=0.1)  # fmt: skip
    config = dataclasses.replace(config, penalty=1e-4)
    metrics = jax.jit(inference.make_program(config, "reward", "fitted").train)(KEY)
    assert right_terms(np.asarray(metrics["coefficients"]), np.asarray(metrics["true"]))[-1, 0] == 1
    assert metrics["r2"][-1, 0] > 0.99
    assert metrics["loss"][-1, 0] < metrics["loss"][0, 0]


def test_settings_that_cannot_be():
    for change, words in (
        ({"rules": ("a",)}, "not known"),
        ({"noise": (0.2, 0.1)}, "must increase"),
        ({"shares": (0.5, 1.0)}, "decrease"),
        ({"neurons": 8, "shares": (1.0, 0.5, 0.45)}, r"are \[8, 4, 4\] neurons"),
        ({"neurons": 2, "shares": (0.5, 0.1)}, "give each its own"),  # at least one
        ({"points": 3}, "must divide"),
        ({"powers": (1, 1, 1, 1)}, "admit every term"),
    ):
        with pytest.raises(ValueError, match=words):
            inference.Config(**change)
