"""What the experiments of Benjamin & Kording (2021) compute themselves, against SciPy, NumPy loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from experiments.benjamin2021 import common as shared
from experiments.benjamin2021 import fig3
from experiments.benjamin2021.digits import Sizes, assessed, baselines, check_sizes, explained, first_of_each, picture
from experiments.benjamin2021.fig3_figures import strip
from experiments.lansdell2019.common import Images
from plasticity_jax.data.datasets import MissingData
from plasticity_jax.networks.hierarchy import FREE, stacked_phases
from tests.laws.common import compiled


def test_frechet_equals_the_formula_with_matrix_roots():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1, rng.normal(size=(150, 6)) @ rng.normal(size=(6, 6))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    apart = np.sum((a.mean(0) - b.mean(0)) ** 2)
    expected = apart + np.trace(cov_a + cov_b - 2 * np.real(scipy.linalg.sqrtm(cov_a @ cov_b)))
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
    for found, true in ((small.train, image), (small.test, image[:2])):
        expected = [
            [[im[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean() for j in range(7)] for i in range(7)] for im in true
        ]
        np.testing.assert_array_equal(found, np.round(expected).reshape(len(true), -1))


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


def test_explained_is_the_share_of_the_input():
    n = 40_000
    of_input, *noise = jax.random.normal(jax.random.key(0), (3, n, 2))
    share = explained(*(of_input + 0.5 * each for each in noise))
    # r = 1 / 1.25 = 0.8; its standard error over 80,000 pairs is (1 - r^2) / 283 = 0.0013. Five of them: one in a
    # million.
    assert abs(share - 0.8) < 0.0065


def test_jumps_are_independent_scatter_and_no_trend():
    t = np.arange(400.0)
    np.testing.assert_allclose(fig3.jumps(np.exp(-0.01 * t)[None]), 0, atol=1e-12)
    noise = np.random.default_rng(0).normal(size=(3, 400))
    # Second differences correlate, so that a variance from 298 of them is worth some 150: 6 % of the root, 4 of these.
    np.testing.assert_allclose(fig3.jumps(np.exp(-0.01 * t + 0.3 * noise)), 0.3, rtol=0.24)


def test_pictures_stand_side_by_side():
    images = np.arange(8).reshape(2, 4)
    np.testing.assert_array_equal(strip(images), [[0, 1, 0, 4, 5, 0], [2, 3, 0, 6, 7, 0]])
    np.testing.assert_array_equal(picture(jnp.array([-1.0, 0.5, 2.0])), [0, 128, 255])
    np.testing.assert_array_equal(
        first_of_each(np.array([9, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])), [2, 1, *range(4, 11), 0]
    )


@pytest.mark.parametrize(("size", "what"), [(Sizes(600, 100), "tested=600"), (Sizes(100, 701), "rows=701")])
def test_more_images_than_there_are_is_refused(size, what):
    with pytest.raises(ValueError, match=what):
        check_sizes(size, shared.digits("prototypes", 7))


class Mirror:
    """A stack of one layer that holds the image, hands it back reversed, and dreams noise."""

    depth, sites = 1, ((0,), (1,))

    def infer(self, params, layer, below, key):
        return below

    def generate(self, params, layer, above, key):
        return above[:, ::-1]

    def prior(self, key, count, dtype):
        return jax.random.uniform(key, (count, 49), dtype)

    def phases(self, params, x, key, parents=FREE, oscillate=True):
        return stacked_phases(self, params, x, key, parents, oscillate)


def test_a_mirror_is_measured_as_what_it_is():
    data, judge = shared.digits("prototypes", 7), shared.classifier("prototypes", 7)
    params = {"inference": (), "generation": ()}
    found = compiled(lambda key: assessed(Sizes(100, 400), Mirror(), params, key, data, judge))(jax.random.key(0))
    x, label = np.asarray(data.test[:100]) / 255, np.asarray(data.test_label[:100])
    noise = np.random.default_rng(0).uniform(size=(100, 49))
    (_, true), (logits, reversed_), (_, other) = (
        shared.judged(judge.weights, images) for images in (x, x[:, ::-1], noise)
    )
    right = np.mean(np.argmax(logits, -1) == label)
    assert right < 0.5
    np.testing.assert_allclose([found["identity"], found["identity_mean"]], right)
    np.testing.assert_allclose([found["mse"], found["mse_mean"]], np.mean((x - x[:, ::-1]) ** 2), rtol=1e-6)
    np.testing.assert_allclose(found["frechet"], shared.frechet(reversed_, true), rtol=1e-5)
    # Of the noise 100 samples are seen: traces of covariances are known to a tenth or so, and the rest is the same.
    np.testing.assert_allclose(found["sleep_frechet"], shared.frechet(other, true), rtol=0.3)
    np.testing.assert_allclose(found["told"], 1, rtol=1e-6)
    shown = np.asarray(data.test)[first_of_each(np.asarray(data.test_label)), ::-1]
    np.testing.assert_array_equal(found["reconstructed"], shown)
    assert found["js_floor"] < found["js_sleep"]  # ten prototypes under noise against noise


def test_baselines_are_those_of_numpy():
    data, judge = shared.digits("prototypes", 7), shared.classifier("prototypes", 7)
    found = compiled(lambda key: baselines(Sizes(100, 400), 8, key, data, judge))(jax.random.key(0))
    train, x = (np.asarray(images) / 255 for images in (data.train, data.test[:100]))
    mean = train.mean(0)
    _, _, axes = np.linalg.svd(train - mean, full_matrices=False)
    of_eight = mean + (x - mean) @ axes[:8].T @ axes[:8]
    expected = [((rival - x) ** 2).mean() for rival in (mean, of_eight, 0 * x)]
    np.testing.assert_allclose([found["mse_mean"], found["mse_pca"], found["mse_blank"]], expected, rtol=1e-9)
    np.testing.assert_allclose(found["mse_pca_64"], 0, atol=1e-12)
