"""Figure 3's scores against NumPy loops: reconstructions, samples, patterns, and baselines without a network."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021 import common as shared
from experiments.benjamin2021 import fig3_scores
from experiments.benjamin2021.fig3_figures import strip
from experiments.benjamin2021.fig3_scores import (
    Sizes,
    assessed,
    baselines,
    check_sizes,
    common_patterns,
    correlation,
    explained,
    first_of_each,
    picture,
)
from plasticity_jax.diagnostics.pattern_overlap import PatternDivergence, PatternOverlap
from plasticity_jax.networks.hierarchy import FREE, reconstruct, stacked_phases
from tests.laws.common import compiled


def test_explained_is_the_share_of_the_input():
    n = 40_000
    of_input, *noise = jax.random.normal(jax.random.key(0), (3, n, 2))
    share = explained(*(of_input + 0.5 * each for each in noise))
    # r = 1 / 1.25 = 0.8; its standard error over 80,000 pairs is (1 - r^2) / 283 = 0.0013. Five of them: one in a
    # million.
    assert abs(share - 0.8) < 0.0065


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


class Noisy:
    """A stack of one layer that holds the image under noise, hands it back reversed under noise, and dreams noise."""

    depth, sites = 1, ((0,), (1,))

    def infer(self, params, layer, below, key):
        return below + 0.3 * jax.random.normal(key, below.shape, below.dtype)

    def generate(self, params, layer, above, key):
        return above[:, ::-1] + 0.2 * jax.random.uniform(key, above.shape, above.dtype)

    def prior(self, key, count, dtype):
        return jax.random.uniform(key, (count, 49), dtype)

    def phases(self, params, x, key, parents=FREE, oscillate=True):
        return stacked_phases(self, params, x, key, parents, oscillate)


def means_of_both(key, wake, sleep, units=(8, 8), quantise="binary"):
    """Stands in for `pattern_overlap`, which has tests of its own: numbers that depend on all arguments."""
    assert units == (8, 8)
    of_key = jax.random.uniform(key) + {"binary": 0.0, "round": 3.0}[quantise]
    x, z, x_too, z_too = (jnp.mean(h) for h in (*wake, *sleep))
    js = [of_key + x + 2 * x_too, of_key * z, x + z, 3 * x_too - z_too]
    kinds = [PatternDivergence(each, each + 1, each + 2) for each in js]
    rows = jnp.stack([x, x_too, z, z_too]).reshape(2, 2)
    return PatternOverlap(*kinds, x * z_too, of_key - x_too, jnp.stack([rows, -rows]))


def test_a_noisy_mirror_is_measured_as_what_it_is(monkeypatch):
    monkeypatch.setattr(fig3_scores, "pattern_overlap", means_of_both)
    data, judge, net = shared.digits("prototypes", 7), shared.classifier("prototypes", 7), Noisy()
    params, key = {"inference": (), "generation": ()}, jax.random.key(0)
    metrics = compiled(lambda key: assessed(Sizes(100, 400), net, params, key, data, judge))(key)
    index = [*first_of_each(np.asarray(data.test_label)), *range(100)]
    x, label = np.asarray(data.test)[index] / 255, np.asarray(data.test_label[:100])
    keys = jax.random.split(key, 4)
    again = [np.asarray(reconstruct(net, params, jnp.asarray(x), each)[0]) for each in jax.random.split(keys[0], 10)]
    phases = net.phases(params, jnp.asarray(np.asarray(data.train[:600]) / 255), keys[2], oscillate=False)
    mean, dreams = sum(again) / 10, np.asarray(phases.sleep[0])
    images = {"x": x[10:], "one": again[0][10:], "mean": mean[10:], "dream": dreams[10:110]}
    logits, features = zip(*(shared.judged(judge.weights, each) for each in images.values()), strict=True)
    answer = dict(zip(images, (np.argmax(each, -1) for each in logits), strict=True))
    odds = [np.exp(each) / np.exp(each).sum(-1, keepdims=True) for each in np.asarray(logits, np.float64)]
    shares = np.bincount(answer["dream"], minlength=10) / 100
    expected = {
        "identity": np.mean(answer["one"] == label),
        "identity_mean": np.mean(answer["mean"] == label),
        "mse": np.mean((again[0] - x)[10:] ** 2),
        "mse_mean": np.mean((mean - x)[10:] ** 2),
        "confidence": odds[1].max(-1).mean(),
        "sleep_confidence": odds[3].max(-1).mean(),
        "sleep_entropy": -sum(share * math.log2(share) for share in shares if share > 0),
        "frechet": shared.frechet(features[1], features[0]),
        "sleep_frechet": shared.frechet(features[3], features[0]),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    # Codes are the pixels under noise of variance 0.09, twice; of 110 x 49 pairs r is known to a hundredth.
    signal = x.var(0).mean()
    np.testing.assert_allclose(metrics["told"], signal / (signal + 0.09), atol=0.05)
    np.testing.assert_allclose(metrics["code_variance"], np.asarray(phases.wake[1])[:400].var(0).mean(), rtol=1e-5)
    wake, chosen_in, other = ([np.asarray(h[200 * i : 200 * (i + 1)]) for h in phases.wake] for i in range(3))
    asleep = [np.asarray(h[:200]) for h in phases.sleep]
    for end, quantise in (("", "binary"), ("_rounded", "round")):
        overlap = means_of_both(keys[3], [h[:400] for h in phases.wake], phases.sleep, quantise=quantise)
        for kind in ("sleep", "floor", "unpaired", "shuffled"):
            np.testing.assert_allclose(metrics[f"js_{kind}{end}"], getattr(overlap, kind).js, rtol=1e-5)
        for kind in ("unpaired", "shuffled"):
            np.testing.assert_allclose(metrics[f"index_{kind}{end}"], getattr(overlap, f"index_{kind}"), rtol=1e-5)
        drawn = [
            np.asarray(common_patterns(each, wake, asleep, other, chosen_in, quantise), np.float64)
            for each in jax.random.split(keys[3], 10)
        ]
        np.testing.assert_allclose(metrics[f"frequencies{end}"], drawn[0], rtol=1e-5)
        for kind, column in (("sleep", 1), ("floor", 2)):
            r = [np.corrcoef(each[:, 0], each[:, column])[0, 1] for each in drawn]
            np.testing.assert_allclose(metrics[f"correlation_{kind}{end}"], np.mean(r), rtol=1e-4, err_msg=kind)
    # A pixel on the edge between two bytes may go either way.
    np.testing.assert_allclose(metrics["reconstructed"], np.round(255 * again[0][:10].clip(0, 1)), atol=1)
    np.testing.assert_allclose(metrics["dreamed"], np.round(255 * dreams[:20].clip(0, 1)), atol=1)


@pytest.mark.parametrize("quantise", ["binary", "round"])
def test_common_patterns_are_counted_where_they_were_not_chosen(quantise):
    """All 8 pixels and 8 units of the code are drawn, in an order that does not matter, and counted one by one."""
    draw = np.random.default_rng(0)
    rows = [
        (draw.choice([0.1, 0.9], size=(60, 8), p=[0.9, 0.1]), draw.choice([-1.0, 0.3, 1.2], (60, 8), p=[0.1, 0.8, 0.1]))
        for _ in range(4)
    ]
    arrays = [tuple(jnp.asarray(h) for h in pair) for pair in rows]
    frequencies = np.asarray(common_patterns(jax.random.key(0), *arrays, quantise, top=5))

    def word(x, z):
        if quantise == "binary":
            return tuple(np.concatenate([x > 0.5, z > 0]).astype(int))
        return tuple(round(value) for value in (*x, *z))

    wake, asleep, other, chosen_in = ([word(x, z) for x, z in zip(*pair, strict=True)] for pair in rows)
    ranked = sorted({*chosen_in}, key=lambda a: -chosen_in.count(a))
    least = chosen_in.count(ranked[4])
    clear = [a for a in ranked if chosen_in.count(a) > least]
    assert clear
    counts = [[each.count(a) / 60 for each in (wake, asleep, other)] for a in clear]
    for i, expected in enumerate(counts):
        equals = [counts[j] for j in range(len(clear)) if chosen_in.count(clear[j]) == chosen_in.count(clear[i])]
        assert any(np.allclose(frequencies[i], other) for other in equals), (frequencies[i], expected)
    np.testing.assert_allclose(frequencies[: len(clear)].sum(0), np.sum(counts, 0), rtol=1e-6)


def test_correlation_is_pearsons():
    draw = np.random.default_rng(1).normal(size=(2, 20))
    np.testing.assert_allclose(correlation(*jnp.asarray(draw)), np.corrcoef(*draw)[0, 1], rtol=1e-6)
    assert correlation(jnp.ones(3), jnp.arange(3.0)) == 0


def test_baselines_are_those_of_numpy():
    data, judge = shared.digits("prototypes", 7), shared.classifier("prototypes", 7)
    key = jax.random.key(0)
    metrics = compiled(lambda key: baselines(Sizes(100, 400), 8, key, data, judge))(key)
    train, x = (np.asarray(images) / 255 for images in (data.train, data.test[:100]))
    label, mean = np.asarray(data.test_label[:100]), train.mean(0)
    _, _, axes = np.linalg.svd(train - mean, full_matrices=False)
    rivals = {
        "mean": mean + 0 * x,
        "pca": mean + (x - mean) @ axes[:8].T @ axes[:8],
        "blank": 0 * x,
        "other": x[np.asarray(jax.random.permutation(key, 100))],
        "pca_64": x,
    }
    eps = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (100, 100)))
    of_train = train[:100] - train[:100].mean(0)
    drawn = [
        train[:100].mean(0) + sum(e * row for e, row in zip(each, of_train, strict=True)) / 99**0.5 for each in eps
    ]
    rivals["gauss"] = np.clip(drawn, 0, 1)
    logits, features = shared.judged(judge.weights, x)
    for name, rival in rivals.items():
        rival_logits, others = shared.judged(judge.weights, rival)
        odds = np.exp(np.asarray(rival_logits, np.float64))
        expected = {
            "mse": ((rival - x) ** 2).mean(),
            "identity": np.mean(np.argmax(rival_logits, -1) == label),
            "confidence": (odds / odds.sum(-1, keepdims=True)).max(-1).mean(),
            "frechet": shared.frechet(others, features),
        }
        for what, value in expected.items():
            # Distances between the same pictures in another order are of the size of rounding.
            np.testing.assert_allclose(
                metrics[f"{what}_{name}"], value, rtol=2e-4, atol=2e-3 if what == "frechet" else 1e-9
            )
    classes = np.argmax(shared.judged(judge.weights, jnp.asarray(rivals["gauss"]))[0], -1)
    counts = np.bincount(classes, minlength=10) / 100
    np.testing.assert_allclose(metrics["entropy_gauss"], -sum(c * math.log2(c) for c in counts if c > 0), rtol=1e-6)
    counts = np.bincount(np.argmax(logits, -1), minlength=10) / 100
    np.testing.assert_allclose(metrics["identity"], np.mean(np.argmax(logits, -1) == label))
    np.testing.assert_allclose(metrics["entropy"], -sum(c * math.log2(c) for c in counts if c > 0), rtol=1e-6)
    distance = shared.frechet(shared.judged(judge.weights, train[:100])[1], features)
    np.testing.assert_allclose(metrics["frechet_real"], distance, rtol=1e-4)
    np.testing.assert_array_equal(metrics["shown"], np.asarray(data.test)[first_of_each(np.asarray(data.test_label))])
    assert metrics["judge"] == judge.accuracy
