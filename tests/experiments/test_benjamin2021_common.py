"""Optimiser, digits, judge and distances that the experiments of Benjamin & Kording share, against SciPy and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from experiments.benjamin2021 import common as shared
from experiments.benjamin2021.tables import cell, table
from experiments.shared.claims import all_within, clear
from experiments.shared.images import Images
from plasticity_jax.data.datasets import MissingData
from tests.experiments.benjamin2021_by_hand import are_bounded, put_by_hand
from tests.laws.common import compiled


def test_frechet_equals_the_formula_with_matrix_roots():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1, rng.normal(size=(150, 6)) @ rng.normal(size=(6, 6))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    distance = np.sum((a.mean(0) - b.mean(0)) ** 2)
    expected = distance + np.trace(cov_a + cov_b - 2 * np.real(scipy.linalg.sqrtm(cov_a @ cov_b)))
    np.testing.assert_allclose(compiled(shared.frechet)(a, b), expected, rtol=1e-9)
    np.testing.assert_allclose(shared.frechet(a, a), 0, atol=1e-9)
    np.testing.assert_allclose(shared.frechet(a, a + 2.0), 6 * 2.0**2, rtol=1e-9)


def test_frechet_of_features_that_are_constant_is_that_of_the_means():
    a = jnp.zeros((5, 3)).at[:, 0].set(jnp.arange(5.0))
    np.testing.assert_allclose(shared.frechet(a, a + jnp.array([0, 0, 3.0])), 9, rtol=1e-9)


def test_optimiser_is_adam_on_decayed_weights_at_falling_rates():
    options = {"epoch_steps": 2, "fall": (3, 5), "factor": 0.5, "weight_decay": 0.1, "b1": 0.5, "b2": 0.99}
    tx = shared.optimiser(0.01, 0.04, **options)
    params = {"inference": jnp.array([1.0]), "generation": jnp.array([-2.0]), "discriminator": jnp.array([0.5])}
    rates = {"inference": 0.01, "generation": 0.01, "discriminator": 0.04}
    gradients = np.random.default_rng(0).normal(size=(14, 3))
    state, step = tx.init(params), compiled(tx.update)
    expected = {name: float(value[0]) for name, value in params.items()}
    m, v = dict.fromkeys(params, 0.0), dict.fromkeys(params, 0.0)
    for t, row in enumerate(gradients):
        updates, state = step({name: jnp.array([g]) for name, g in zip(rates, row, strict=True)}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        fallen = 0.5 ** [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2][t]  # by epochs of two steps: none till the fourth
        for name, g in zip(rates, row, strict=True):
            g = g + 0.1 * expected[name]
            m[name], v[name] = 0.5 * m[name] + 0.5 * g, 0.99 * v[name] + 0.01 * g * g
            step_size = rates[name] * fallen * (m[name] / (1 - 0.5 ** (t + 1)))
            expected[name] -= step_size / (np.sqrt(v[name] / (1 - 0.99 ** (t + 1))) + 1e-8)
    for name, value in expected.items():
        np.testing.assert_allclose(params[name][0], value, rtol=1e-9)


def test_digits_are_averaged_over_squares(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    whole = Images(
        jnp.asarray(image.reshape(5, -1)), jnp.arange(5), jnp.asarray(image[:2].reshape(2, -1)), jnp.arange(2)
    )
    monkeypatch.setattr(shared, "images", lambda data, pixels: whole)
    small = shared.digits.__wrapped__("mnist", 7)
    for averaged, original in ((small.train, image), (small.test, image[:2])):
        expected = [
            [[im[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean() for j in range(7)] for i in range(7)] for im in original
        ]
        np.testing.assert_array_equal(averaged, np.round(expected).reshape(len(original), -1))


def test_a_side_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="side=9 must be 28 or a divisor"):
        shared.digits("mnist", 9)


def test_missing_digits_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(MissingData, match="mnist is not in"):
        shared.digits.__wrapped__("mnist", 14)


def test_the_classifier_learns_and_is_the_same_each_time():
    judge, again = (shared.classifier.__wrapped__("prototypes", 7) for _ in range(2))
    assert judge.accuracy > 0.95  # ten prototypes, 5 s.e. apart in 49 pixels
    np.testing.assert_array_equal(judge.weights["w"][0], again.weights["w"][0])
    data = shared.digits("prototypes", 7)
    logits, features = shared.judged(judge.weights, data.test[:4] / 255)
    by_hand = features @ judge.weights["w"][2].T + judge.weights["bias"][2]
    np.testing.assert_allclose(logits, by_hand, rtol=1e-5, atol=1e-5)
    assert features.shape == (4, 64)


def test_verdict_of_even_and_of_single_classes():
    sure = shared.verdict(100.0 * jnp.eye(8))
    np.testing.assert_allclose([sure["entropy"], sure["confidence"]], [3, 1], rtol=1e-9)
    one = shared.verdict(jnp.tile(jnp.log(jnp.array([0.7, 0.2, 0.1])), (4, 1)))
    np.testing.assert_allclose([one["entropy"], one["confidence"]], [0, 0.7], rtol=1e-9, atol=1e-12)


def test_judged_features_are_the_last_hidden_layer_of_digits_looked_up_in_training():
    data = shared.digits("prototypes", 7)
    example = shared.fetching(data)(jnp.array([3, 1]))
    np.testing.assert_allclose(example.x, np.asarray(data.train)[[3, 1]] / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(example.y, np.asarray(data.train_label)[[3, 1]])


def test_what_is_loaded_while_a_sweep_traces_holds_numbers():
    load = shared.digits.__wrapped__
    inside = []
    jax.eval_shape(lambda rate: inside.append(load("prototypes", 7)) or rate, 0.1)
    np.testing.assert_array_equal(inside[0].train, shared.digits("prototypes", 7).train)


def test_a_cell_counts_the_seeds_that_diverged():
    summary = {"a": 1.25, "a_sem": 0.5, "a_n": 3, "b": 2.0, "b_sem": float("nan"), "b_n": 1}
    assert cell(summary, "a", 3) == "1.250 ± 0.500"
    assert cell(summary, "a", 5, 1) == "1.2 ± 0.5 (3 of 5 seeds)"
    assert cell(summary, "b", 1, 2) == "2.00"
    assert cell(summary, "c", 3) == "-"
    assert table(("x", "y"), [("1", "2")]) == "| x | y |\n| --- | --- |\n| 1 | 2 |"


def test_several_numbers_lie_within_the_same_bounds():
    are_bounded([all_within("all", "", None, -1.0, 2.5, "a", "b", "c")], {"all": (-1.0, 2.5, "a", "b", "c")})


def test_a_baseline_is_clear_if_all_its_differences_are():
    met = clear("a", "b")
    assert met(put_by_hand({"a": 0.7, "b": 0.8}))
    assert not met(put_by_hand({"a": 0.6, "b": 0.8}))
    assert not met(put_by_hand({"a": 0.7, "b": 0.6}))
    assert not met(put_by_hand({"a": 0.7, "b": 0.8}, seeds=1))
    with pytest.raises(KeyError):
        met(put_by_hand({"a": 0.7}))
