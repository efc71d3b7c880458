"""Scores of Section 4 against NumPy loops: stimuli, silenced networks, surprise, polarity, overlap."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021 import predictions_scores
from experiments.benjamin2021.common import digits
from experiments.benjamin2021.predictions_scores import (
    Silenced,
    Stimuli,
    assessed,
    auroc,
    inked,
    overlap,
    polarity,
    scores,
    spreads,
    stimuli,
)
from plasticity_jax.networks.autoencoder import autoencoder, init_params
from plasticity_jax.networks.hierarchy import Judgement, Phases
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


def test_spreads_are_means_over_chosen_units_and_over_the_others():
    net = Silenced(NET, ONES, ONES)
    image, code = np.arange(9) < 3, np.arange(4) == 2
    metrics = compiled(lambda: spreads(net, PARAMS, KEY, X, (image.astype(float), code.astype(float))))()
    phases = jax.tree.map(np.asarray, NET.phases(PARAMS, X, KEY))
    np.testing.assert_allclose(metrics["variance"][0, 0, 1], phases.wake[0][:, 3:].var(0).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["variance"][1, 1, 0], phases.sleep[1][:, 2].var(), rtol=1e-5)
    np.testing.assert_allclose(metrics["power"][2, 0, 0], (phases.oscillation[0][:, :3] ** 2).mean(), rtol=1e-5)
    assert np.isnan(metrics["power"][2, 1]).all()


def test_polarity_is_minus_one_for_the_same_activity_alone():
    phases = NET.phases(PARAMS, X, KEY)
    alike = Phases(phases.wake, phases.wake, phases.wake[:1])
    other = NET.phases(PARAMS, 1 - X, jax.random.key(3))
    cosines = compiled(lambda: polarity(NET, PARAMS, alike, phases, other))()
    for values in cosines.values():
        np.testing.assert_allclose(values[:5], -1, atol=1e-5)
        assert (np.asarray(values[5:]) > -1 + 1e-4).all()


class Squares:
    """Discriminators that score half the squared length of a projection; phases are shifted images."""

    def judge(self, params, site, activity):
        projected = activity[0] @ params["w"][0]
        return Judgement(jnp.sum(projected**2, 1) / 2 - site, projected + 3)

    def phases(self, params, x, key, oscillate=True):
        shift = jnp.sum(jax.random.key_data(key) % 101) / 400
        return Phases((x, x[:, :2] - shift), (1 - x, x[:, 2:4] * shift), (0.8 * x + shift,) if oscillate else ())


RNG = np.random.default_rng(9)
CRITICS = tuple({"w": (jnp.asarray(RNG.standard_normal(shape)),)} for shape in ((5, 3), (2, 3)))
WEIGHTS = {"discriminator": CRITICS}


def projected(site, h):
    return np.asarray(h) @ np.asarray(CRITICS[site]["w"][0])


def pairs_won(negative, positive):
    return np.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative])


def test_scores_of_stimuli_are_means_over_cycles_of_what_the_discriminators_see():
    x, net, key = jnp.asarray(RNG.random((7, 5))), Squares(), jax.random.key(4)
    values, separation = compiled(lambda x: scores(net, WEIGHTS, key, x, 3))(x)
    cycles, aurocs = [], []
    for each in jax.random.split(key, 3):
        phases = jax.tree.map(np.asarray, net.phases(WEIGHTS, x, each))
        o, z = phases.oscillation[0], phases.wake[1]
        up, down, code = projected(0, x), projected(0, o), projected(1, z)
        d_up, d_down, d_code = ((h**2).sum(1) / 2 for h in (up, down, code))
        moved = [math.dist(a, b) for a, b in zip(up, down, strict=True)]
        error = [np.mean((a - b) ** 2) for a, b in zip(np.asarray(x), o, strict=True)]
        cycles.append(np.stack([abs(d_up - d_down), moved, error, np.asarray(x).sum(1), d_up, d_code - 1], 1))
        aurocs.append(pairs_won(d_down, d_up))
    assert 0 < np.mean(aurocs) < 1
    assert np.mean(aurocs) != 0.5
    assert (projected(0, x) ** 2).sum() != pytest.approx(0)
    np.testing.assert_allclose(values, sum(cycles) / 3, rtol=1e-6)
    np.testing.assert_allclose(separation, np.mean(aurocs), rtol=1e-6)


def test_polarity_is_of_each_discriminator_and_phase():
    wake, sleep, again, novel = ((RNG.random((6, 5)), RNG.standard_normal((6, 2))) for _ in range(4))
    oscillation = (RNG.random((6, 5)),)
    phases = Phases(wake, sleep, oscillation)
    others = [Phases(each, sleep, oscillation) for each in (again, novel)]
    polarities = compiled(lambda: polarity(Squares(), WEIGHTS, phases, *others))()
    a = [np.asarray(critic["w"][0]) for critic in CRITICS]
    effects = {
        "critic": lambda site, h: (h.T @ h @ a[site] / 6).ravel(),  # of the mean of |h A|^2 / 2, by A
        "network": lambda site, h: a[site] @ a[site].T @ h.mean(0),  # by h, added up
    }
    compared = [(0, sleep[0]), (0, oscillation[0]), (1, sleep[1]), (0, again[0]), (1, again[1]), (0, novel[0])]
    compared.append((1, novel[1]))
    for name, effect in effects.items():
        pairs = [(effect(site, wake[site]), effect(site, h)) for site, h in compared]
        cosines = [-one @ other / math.sqrt((one @ one) * (other @ other)) for one, other in pairs]
        np.testing.assert_allclose(polarities[name], cosines, rtol=1e-6, err_msg=name)


def test_overlap_compares_wake_with_sleep(monkeypatch):
    def stand_in(key, wake, sleep, *, units, draws):
        assert (units, draws) == ((4, 4), 10)
        x, z, x_too, z_too = (jnp.mean(h) for h in (*wake, *sleep))
        kinds = {"sleep": x - x_too, "floor": z, "shuffled": z_too, "unpaired": x * z}
        divergences = {name: SimpleNamespace(js=js, kl=js + 7) for name, js in kinds.items()}
        return SimpleNamespace(**divergences, index_shuffled=jax.random.uniform(key), index_unpaired=x + z_too)

    monkeypatch.setattr(predictions_scores, "pattern_overlap", stand_in)
    x, key = jnp.asarray(RNG.random((7, 5))), jax.random.key(4)
    metrics = compiled(lambda x: overlap(Squares(), WEIGHTS, x, key))(x)
    of_phases, of_units = jax.random.split(key)
    wake, sleep, _ = Squares().phases(WEIGHTS, x, of_phases)
    x, z, x_too, z_too = (np.mean(h) for h in (*wake, *sleep))
    expected = {"js_sleep": x - x_too, "js_floor": z, "js_shuffled": z_too, "js_unpaired": x * z}
    expected |= {"kl_sleep": x - x_too + 7, "index_unpaired": x + z_too, "index_shuffled": jax.random.uniform(of_units)}
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-6, err_msg=name)


def test_stimuli_are_separated_from_familiar_ones(monkeypatch):
    """Stand-ins that depend on their arguments replace the measures that `assessed` puts together."""

    def scored(net, params, key, x, cycles):
        assert cycles == 3
        shift = jax.random.uniform(key)
        return jnp.stack([x[:, 0], -x[:, 1], jnp.mean(x, 1), x[:, 2] ** 2, shift + x[:, 3], 0 * x[:, 0]], 1), jnp.mean(
            x
        )

    def polar(net, params, phases, again, novel):
        return {
            "critic": jnp.stack([jnp.mean(h) for each in (phases, again, novel) for h in (*each.wake, *each.sleep)])
        }

    monkeypatch.setattr(predictions_scores, "scores", scored)
    monkeypatch.setattr(predictions_scores, "polarity", polar)
    monkeypatch.setattr(
        predictions_scores, "overlap", lambda net, params, x, key: {"given": x + jax.random.uniform(key)}
    )
    monkeypatch.setattr(predictions_scores, "SHOWN", 4)
    familiar, novel = RNG.integers(0, 256, (6, 5)).astype(np.uint8), RNG.integers(0, 256, (3, 6, 5)).astype(np.uint8)
    key = jax.random.key(2)
    metrics = compiled(
        lambda: assessed(Squares(), WEIGHTS, key, Stimuli(jnp.asarray(familiar), jnp.asarray(novel)), 3)
    )()
    of_scores, of_phases, of_overlap = jax.random.split(key, 3)
    kinds = np.stack([familiar, *novel]) / 255
    (base, *rest), separation = zip(*(map(np.asarray, scored(None, None, of_scores, x, 3)) for x in kinds), strict=True)
    for i, each in enumerate(rest):
        for j in range(6):
            np.testing.assert_allclose(metrics["auroc"][i, j], pairs_won(base[:, j], each[:, j]), rtol=1e-6)
            apart = (each[:, j].mean() - base[:, j].mean()) / max(base[:, j].std(), 1e-9)
            np.testing.assert_allclose(metrics["apart"][i, j], apart, rtol=1e-5)
    np.testing.assert_allclose(metrics["told"], separation, rtol=1e-6)
    np.testing.assert_allclose(metrics["scores"], [each[:4] for each in (base, *rest)], rtol=1e-6)
    pairs = zip((kinds[0], kinds[1], kinds[3]), jax.random.split(of_phases, 3), strict=True)
    phases = [Squares().phases(WEIGHTS, jnp.asarray(x), each) for x, each in pairs]
    expected = [np.mean(h) for each in phases for h in (*each.wake, *each.sleep)]
    np.testing.assert_allclose(metrics["critic"], expected, rtol=1e-6)
    both = np.concatenate([kinds[0], kinds[1]]) + np.asarray(jax.random.uniform(of_overlap))
    np.testing.assert_allclose(metrics["given"], both, rtol=1e-6)


def test_novel_stimuli_are_other_digits_changed():
    made, pool = stimuli("prototypes", 7, 100), np.asarray(digits("prototypes", 7).test)
    np.testing.assert_array_equal(made.familiar, pool[:100])
    again, other, upside_down, inverted, shuffled = map(np.asarray, made.novel)
    np.testing.assert_array_equal(again, pool[100:200])
    assert abs(other.sum(1, dtype=int) - again.sum(1, dtype=int)).max() < 25  # rounded pixel by pixel
    assert not np.array_equal(other, again)
    for flipped, image in zip(upside_down, again, strict=True):
        np.testing.assert_array_equal(flipped.reshape(7, 7), [image.reshape(7, 7)[6 - row] for row in range(7)])
    np.testing.assert_array_equal(inverted.astype(int), 255 - again.astype(int))
    order = [int(np.flatnonzero((column == again.T).all(1))[0]) for column in shuffled.T]
    assert sorted(order) == list(range(49))
    assert order != list(range(49))
    with pytest.raises(ValueError, match="tested=300"):
        stimuli("prototypes", 7, 300)
