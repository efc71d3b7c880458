"""Maths of its own: AUROC, images of the same ink, silenced networks, and the polarity of plasticity."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021.scores import Silenced, auroc, inked, polarity, spreads
from experiments.benjamin2021.predictions import PARTS, PRESETS, chosen, masks
from plasticity_jax.networks.autoencoder import autoencoder, init_params
from plasticity_jax.networks.hierarchy import Phases
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.typing import Example
from tests.laws.common import compiled

NET = autoencoder((9, 4), hidden=5, critic_hidden=6)
PARAMS = init_params(jax.random.key(0), NET)
X = jax.random.uniform(jax.random.key(1), (30, 9))
KEY = jax.random.key(2)
ONES = (jnp.ones(9), jnp.ones(4))
FIRST_TWO = jnp.array([0.0, 0.0, 1.0, 1.0])


def test_auroc_counts_pairs_and_half_of_the_ties():
    rng = np.random.default_rng(0)
    negative, positive = rng.integers(0, 6, 40).astype(float), rng.integers(2, 8, 25).astype(float)
    pairs = np.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative])
    np.testing.assert_allclose(compiled(auroc)(jnp.asarray(negative), jnp.asarray(positive)), pairs, rtol=1e-6)


def test_inked_images_have_the_sum_of_others_or_are_white_where_they_can_be():
    rng = np.random.default_rng(0)
    images = (rng.integers(1, 256, (20, 50)) * (rng.random((20, 50)) < 0.6)).astype(np.uint8)
    like = rng.integers(0, 120, (20, 50)).astype(np.uint8)
    images[-1], like[-1] = 0, 255
    images[-1, 7] = 3
    bright = inked(images, like)
    # Each pixel is rounded, by at most one half.
    np.testing.assert_allclose(bright[:-1].sum(1, dtype=int), like[:-1].sum(1, dtype=int), atol=25)
    assert ((bright > 0) <= (images > 0)).all()
    for before, after in zip(images.astype(float), bright.astype(float), strict=True):
        open_ = (after < 255) & (before > 20)
        if open_.any():
            assert np.ptp(after[open_] / before[open_]) < 0.1  # one factor, to rounding
    np.testing.assert_array_equal(bright[-1], np.where(np.arange(50) == 7, 255, 0))


def test_nothing_silenced_is_the_network_itself():
    whole, silenced = NET.phases(PARAMS, X, KEY), Silenced(NET, ONES, ONES).phases(PARAMS, X, KEY)
    jax.tree.map(np.testing.assert_array_equal, whole, silenced)


def test_units_silenced_asleep_are_silent_to_generation_and_left_alone_awake():
    net = Silenced(NET, ONES, (ONES[0], FIRST_TWO))
    whole, silenced = NET.phases(PARAMS, X, KEY), net.phases(PARAMS, X, KEY)
    jax.tree.map(np.testing.assert_array_equal, (whole.wake, whole.oscillation), (silenced.wake, silenced.oscillation))
    np.testing.assert_array_equal(silenced.sleep[1], whole.sleep[1] * FIRST_TWO)
    blind = jax.tree.map(lambda leaf: leaf, PARAMS)
    forward = blind["generation"][0]["forward"]
    forward["w"] = (forward["w"][0] * FIRST_TWO, *forward["w"][1:])
    np.testing.assert_allclose(silenced.sleep[0], NET.phases(blind, X, KEY).sleep[0], atol=1e-6)


def test_units_silenced_awake_teach_inference_nothing_and_are_silent_to_the_oscillation():
    net = Silenced(NET, (ONES[0], FIRST_TWO), ONES)
    phases = net.phases(PARAMS, X, KEY)
    assert not np.any(phases.wake[1][:, :2])
    assert np.all(phases.wake[1][:, 2:])
    np.testing.assert_array_equal(phases.sleep[1], NET.phases(PARAMS, X, KEY).sleep[1])
    updates, _, _ = compiled(adversarial(net, 0.1).update)(PARAMS, (), KEY, Example(X, X))
    out = updates["inference"][0]["recurrent"]["bias"][-1].reshape(2, 4)  # means and spreads
    assert not np.any(out[:, :2])
    assert np.all(out[:, 2:])


def test_pixels_silenced_awake_are_silent_to_inference():
    unseen = jnp.ones(9).at[4].set(0)
    silenced = Silenced(NET, (unseen, ONES[1]), ONES).phases(PARAMS, X, KEY)
    whole = NET.phases(PARAMS, X * unseen, KEY)
    jax.tree.map(np.testing.assert_array_equal, whole, silenced)


def test_each_part_silences_one_layer_in_one_direction():
    up, down = masks(PRESETS["smoke"])
    image, code = chosen(PRESETS["smoke"])
    assert image.reshape(7, 7)[2:5, 2:5].all()
    assert (image.sum(), code.sum()) == (9, 2)
    silent = {(part, way, layer) for way, each in (("up", up), ("down", down)) for layer in range(2)
              for i, part in enumerate(PARTS) if not each[layer][i].all()}  # fmt: skip
    assert silent == {("sleep_code", "down", 1), ("wake_code", "up", 1), ("wake_image", "up", 0)}
    np.testing.assert_array_equal(up[0][PARTS.index("wake_image")], 1 - image)
    np.testing.assert_array_equal(down[1][PARTS.index("sleep_code")], 1 - code)


def test_spreads_are_means_over_chosen_units_and_over_the_others():
    net = Silenced(NET, ONES, ONES)
    image, code = np.arange(9) < 3, np.arange(4) == 2
    found = compiled(lambda: spreads(net, PARAMS, KEY, X, (image.astype(float), code.astype(float))))()
    phases = jax.tree.map(np.asarray, NET.phases(PARAMS, X, KEY))
    np.testing.assert_allclose(found["variance"][0, 0, 1], phases.wake[0][:, 3:].var(0).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["variance"][1, 1, 0], phases.sleep[1][:, 2].var(), rtol=1e-5)
    np.testing.assert_allclose(found["power"][2, 0, 0], (phases.oscillation[0][:, :3] ** 2).mean(), rtol=1e-5)
    assert np.isnan(found["power"][2, 1]).all()


def test_polarity_is_minus_one_for_the_same_activity_and_else_the_cosine_of_what_samples_add_up_to():
    phases = NET.phases(PARAMS, X, KEY)
    alike = Phases(phases.wake, phases.wake, phases.wake[:1])
    other = NET.phases(PARAMS, 1 - X, jax.random.key(3))
    found = compiled(lambda: polarity(NET, PARAMS, alike, phases, other))()
    for values in found.values():
        np.testing.assert_allclose(values[:5], -1, atol=1e-5)
        assert (np.asarray(values[5:]) > -1 + 1e-4).all()

    def climbed(x: jax.Array) -> np.ndarray:
        """Along the weights of the image's discriminator, to raise its score of x, sample by sample."""
        critic = PARAMS["discriminator"][0]
        each = [jax.grad(lambda critic, h: NET.judge(critic, 0, (h[None],)).score[0])(critic, h)["w"] for h in x[:5]]
        return np.mean([np.concatenate([np.ravel(w) for w in one]) for one in each], 0)

    few, few_others = (Phases(*([h[:5] for h in kind] for kind in each)) for each in (alike, other))
    found = compiled(lambda: polarity(NET, PARAMS, few, few, few_others))()
    wake, control = climbed(X), climbed(1 - X)
    np.testing.assert_allclose(
        found["critic"][5], -wake @ control / np.sqrt(wake @ wake * (control @ control)), rtol=1e-4
    )


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="above onset"):
        dataclasses.replace(PRESETS["smoke"], onset=3)
    with pytest.raises(ValueError, match="silenced must be below latent"):
        dataclasses.replace(PRESETS["smoke"], silenced=6)
