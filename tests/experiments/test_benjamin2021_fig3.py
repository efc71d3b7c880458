"""Figure 3 from networks to claims: scores, summary and table against NumPy loops, claims on numbers made by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021 import common as shared
from experiments.benjamin2021 import fig3_scores
from experiments.benjamin2021.fig3 import PRESETS, experiment
from experiments.benjamin2021.fig3_claims import jumps, spread, summarise, text
from experiments.benjamin2021.fig3_figures import strip
from experiments.benjamin2021.fig3_scores import (
    Sizes,
    assessed,
    baselines,
    check_sizes,
    explained,
    first_of_each,
    picture,
)
from plasticity_jax.diagnostics.pattern_overlap import PatternDivergence, PatternOverlap
from plasticity_jax.networks.hierarchy import FREE, reconstruct, stacked_phases
from tests.experiments.benjamin2021_by_hand import are_bounded, are_gaps, are_trivial, entries, is_summary, told
from tests.laws.common import compiled

METHODS = ("wake_sleep", "combined", "wake_sleep_no_recurrence", "combined_no_recurrence", "marginals")
METHODS += ("combined_per_layer",)
CURVES = ("identity", "identity_mean", "mse", "mse_mean", "told", "confidence", "frechet", "loss")
CURVES += ("sleep_confidence", "sleep_entropy", "sleep_frechet", "index_shuffled", "index_unpaired")
CURVES += ("js_sleep", "js_floor", "js_unpaired", "js_shuffled")
RIVALS = ("mean", "other", "blank", "pca", "pca_64")


def made(seeds=3, points=8):
    """Metrics of a run whose last seed lost one method's network."""
    metrics = {}
    for name in (*METHODS, "untrained"):
        length = 1 if name == "untrained" else points
        metrics |= {f"{name}/{curve}": entries(f"{name}/{curve}", seeds, length) for curve in CURVES}
        metrics[f"{name}/frequencies"] = entries("f", seeds, length, 4)
    for name in METHODS:
        metrics[f"{name}/step"] = np.arange(points) + np.zeros((seeds, 1))
        metrics[f"{name}/bad_step"] = np.full((seeds, points), -1)
    metrics["marginals/told"][2, -1] = np.nan
    metrics["marginals/bad_step"][[0, 2], -1] = 0, 7
    for what in ("identity", "mse", "frechet", "confidence"):
        metrics |= {f"data/{what}_{rival}": entries(f"data/{what}_{rival}", seeds, 1) for rival in RIVALS}
    for what in ("identity", "judge", "confidence", "entropy", "frechet_real"):
        metrics[f"data/{what}"] = entries(f"data/{what}", seeds, 1)
    return metrics


def jumpy(curve):
    """The jumps of a curve, term by term."""
    late = [math.log(value) for value in curve[len(curve) // 4 :]]
    second = [late[i + 2] - 2 * late[i + 1] + late[i] for i in range(len(late) - 2)]
    return math.sqrt(sum(d * d for d in second) / len(second) / 6)


def test_summary_is_of_the_last_points_and_paired():
    metrics = made()
    last = {name: values[:, -1] for name, values in metrics.items() if values.ndim == 2}
    columns = {name: v for name, v in last.items() if not name.endswith("step")}
    numbers = {}
    for method in METHODS:
        numbers[f"{method}/diverged"] = 2 if method == "marginals" else 0
        for what in ("identity", "mse", "sleep_frechet"):
            column = last[f"{method}/{what}"]
            mean = sum(column) / 3
            numbers[f"{method}/spread_{what}"] = math.sqrt(sum((value - mean) ** 2 for value in column) / 2)
            columns[f"{method}/jumps_{what}"] = np.array([jumpy(curve) for curve in metrics[f"{method}/{what}"]])
        asleep = last[f"{method}/sleep_frechet"]
        columns[f"{method}/frechet_over_sleep"] = last[f"{method}/frechet"] / asleep
        columns[f"{method}/frechet_under_untrained"] = last["untrained/sleep_frechet"] / asleep
        columns[f"{method}/over_real"] = asleep / last["data/frechet_real"]
    for network in (*METHODS, "untrained"):
        columns[f"{network}/above_floor"] = last[f"{network}/js_sleep"] - last[f"{network}/js_floor"]
        columns[f"{network}/below_shuffled"] = last[f"{network}/js_shuffled"] - last[f"{network}/js_sleep"]
        columns[f"{network}/pairs"] = last[f"{network}/js_unpaired"] - last[f"{network}/js_floor"]
    for gap, more, less in (
        ("combined-wake_sleep/identity", "combined/identity", "wake_sleep/identity"),
        ("combined-wake_sleep/told", "combined/told", "wake_sleep/told"),
        ("combined-pca/identity", "combined/identity", "data/identity_pca"),
        ("combined-marginals/identity", "combined/identity", "marginals/identity"),
        ("combined-combined_per_layer/identity", "combined/identity", "combined_per_layer/identity"),
        ("combined-combined_no_recurrence/identity", "combined/identity", "combined_no_recurrence/identity"),
        ("wake_sleep-mean/identity", "wake_sleep/identity", "data/identity_mean"),
        ("untrained-mean/identity", "untrained/identity", "data/identity_mean"),
        ("wake_sleep_no_recurrence-wake_sleep/identity", "wake_sleep_no_recurrence/identity", "wake_sleep/identity"),
        ("wake_sleep_no_recurrence-wake_sleep/told", "wake_sleep_no_recurrence/told", "wake_sleep/told"),
        (
            "combined_no_recurrence-wake_sleep_no_recurrence/identity",
            "combined_no_recurrence/identity",
            "wake_sleep_no_recurrence/identity",
        ),
        ("wake_sleep-mean/mse", "wake_sleep/mse", "data/mse_mean"),
        ("wake_sleep-wake_sleep_no_recurrence/mse", "wake_sleep/mse", "wake_sleep_no_recurrence/mse"),
        ("mean-combined/mse", "data/mse_mean", "combined/mse"),
        ("pca-combined/mse", "data/mse_pca", "combined/mse"),
        ("pca_64-combined/mse", "data/mse_pca_64", "combined/mse"),
        ("wake_sleep-other/mse", "wake_sleep/mse", "data/mse_other"),
    ):
        columns[f"gap/{gap}"] = last[more] - last[less]
    for what in ("identity", "mse", "sleep_frechet"):
        columns[f"gap/wake_sleep-combined/jumps_{what}"] = np.array([
            jumpy(rough) - jumpy(calm)
            for rough, calm in zip(metrics[f"wake_sleep/{what}"], metrics[f"combined/{what}"], strict=True)
        ])  # fmt: skip
    columns["gap/harm"] = np.array([
        (last["wake_sleep_no_recurrence/identity"][k] - last["wake_sleep/identity"][k])
        - (last["combined_no_recurrence/identity"][k] - last["combined/identity"][k])
        for k in range(3)
    ])  # fmt: skip
    is_summary(summarise(metrics), columns, numbers)


def test_jumps_are_independent_scatter_and_no_trend():
    t = np.arange(400.0)
    np.testing.assert_allclose(jumps(np.exp(-0.01 * t)[None]), 0, atol=1e-12)
    noise = np.random.default_rng(0).normal(size=(3, 400))
    # Second differences correlate, so that a variance from 298 of them is worth some 150: 6 % of the root, 4 of these.
    np.testing.assert_allclose(jumps(np.exp(-0.01 * t + 0.3 * noise)), 0.3, rtol=0.24)


def test_spread_is_over_seeds_that_did_not_diverge():
    np.testing.assert_allclose(spread(np.array([1.0, np.nan, 4.0])), math.sqrt(4.5))
    assert math.isnan(spread(np.array([1.0, np.inf])))


def test_the_table_has_a_row_for_each_method_and_rival_and_counts_lost_seeds():
    metrics = made()
    lines = text(metrics).split("\n")
    assert len(lines) == 2 + 7 + 5 + 2
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][0] == "method"
    assert cells[6][0] == "wake/sleep, local"
    assert cells[6][8].endswith("(2 of 3 seeds)")
    assert cells[8][0] == "untrained"
    place = {
        "identity": 1,
        "identity_mean": 2,
        "mse": 3,
        "frechet": 5,
        "sleep_frechet": 6,
        "told": 8,
        "js_shuffled": 12,
    }
    for what, column in place.items():
        assert cells[3][column].startswith(f"{metrics[f'combined/{what}'][:, -1].mean():.3f} ± ")
    assert cells[9][0] == "principal components, as many as the code"
    assert cells[9][3].startswith(f"{metrics['data/mse_pca'].mean():.3f} ± ")
    assert cells[9][2] == "-"
    assert lines[-1].startswith(f"{metrics['data/identity'].mean():.3f} ± ")
    assert f"{metrics['data/frechet_real'].mean():.3f} ± " in lines[-1]


GAPS = {
    "identity": ["gap/combined-wake_sleep/identity"],
    "above-chance": ["gap/wake_sleep-mean/identity"],
    "worse-than-mean": ["gap/wake_sleep-mean/mse"],
    "better-than-mean": ["gap/mean-combined/mse"],
    "better-than-pca": ["gap/pca-combined/mse"],
    "identity-pca": ["gap/combined-pca/identity"],
    "recurrence": ["gap/wake_sleep_no_recurrence-wake_sleep/identity"],
    "recurrence-mse": ["gap/wake_sleep-wake_sleep_no_recurrence/mse"],
    "recurrence-combined": ["gap/harm"],
    "without": ["gap/combined_no_recurrence-wake_sleep_no_recurrence/identity"],
    "aligned": ["wake_sleep/below_shuffled", "combined/below_shuffled"],
    "stable-generation": ["gap/wake_sleep-combined/jumps_sleep_frechet"],
    "stable-error": ["gap/wake_sleep-combined/jumps_mse"],
    "marginals": ["gap/combined-marginals/identity"],
}
BOUNDED = {
    "good": (0.8, math.inf, "combined/identity"),
    "different": (0.0, 0.5, "wake_sleep/identity"),
    "manifold": (-math.inf, 1.5, "wake_sleep/frechet_over_sleep"),
    "generation": (5, math.inf, "wake_sleep/frechet_under_untrained", "combined/frechet_under_untrained"),
    "generation-real": (-math.inf, 10, "wake_sleep/over_real", "combined/over_real"),
    "classes": (3, math.inf, "wake_sleep/sleep_entropy", "combined/sleep_entropy"),
    "aligned-wake-sleep": (0.8, math.inf, "wake_sleep/index_shuffled"),
    "aligned-combined": (0.8, math.inf, "combined/index_shuffled"),
    "pairs-combined": (0.8, math.inf, "combined/index_unpaired"),
    "pairs-wake-sleep": (-math.inf, 0.01, "wake_sleep/pairs"),
    "untold": (-math.inf, 0.05, "wake_sleep/told"),
    "diverged": (0, 0, "wake_sleep/diverged", "combined/diverged"),
    "marginals-untold": (-math.inf, 0.05, "marginals/told"),
    "per-layer": (0.0, 0.2, "combined_per_layer/identity"),
}
TRIVIAL = {
    "identity": ({"data/identity_pca": 0.3, "wake_sleep/identity": 0.2}, {"data/identity_pca": 0.1}),
    "good": ({"data/identity_pca": 0.8}, {"data/identity_pca": 0.79}),
    "different": ({"data/identity_mean": 0.5}, {"data/identity_mean": 0.51}),
    "above-chance": ("gap/untrained-mean/identity",),
    "manifold": ({"untrained/frechet": 3.0, "untrained/sleep_frechet": 2.0}, {"untrained/frechet": 3.1}),
    "worse-than-mean": ({"data/mse_other": 0.3, "data/mse_mean": 0.2}, {"data/mse_other": 0.1}),
    "better-than-mean": ({"data/mse_pca": 0.1, "data/mse_mean": 0.2}, {"data/mse_pca": 0.3}),
    "better-than-pca": ({"data/mse_mean": 0.1, "data/mse_pca": 0.2}, {"data/mse_mean": 0.3}),
    "identity-pca": (
        {"data/identity_mean": 0.1, "untrained/identity": 0.3, "data/identity_pca": 0.2},
        {"untrained/identity": 0.1},
    ),
    "without": ({"data/identity_pca": 0.3, "wake_sleep_no_recurrence/identity": 0.2}, {"data/identity_pca": 0.1}),
    "generation": ({"untrained/sleep_frechet": 10.0, "data/frechet_mean": 2.0}, {"data/frechet_mean": 2.1}),
    "generation-real": ({"data/frechet_mean": 10.0, "data/frechet_real": 1.0}, {"data/frechet_mean": 10.1}),
    "classes": ({"untrained/sleep_entropy": 3.0}, {"untrained/sleep_entropy": 2.9}),
    "aligned": ("untrained/below_shuffled",),
    "aligned-wake-sleep": ({"untrained/index_shuffled": 0.8}, {"untrained/index_shuffled": 0.7}),
    "aligned-combined": ({"untrained/index_shuffled": 0.8}, {"untrained/index_shuffled": 0.7}),
    "pairs-combined": ({"untrained/index_unpaired": 0.8}, {"untrained/index_unpaired": 0.7}),
    "pairs-wake-sleep": ({"untrained/pairs": 0.01}, {"untrained/pairs": 0.02}),
    "untold": ({"untrained/told": 0.05}, {"untrained/told": 0.06}),
    "marginals": ({"data/identity_pca": 0.3, "marginals/identity": 0.2}, {"data/identity_pca": 0.1}),
    "marginals-untold": ({"untrained/told": 0.05}, {"untrained/told": 0.06}),
    "per-layer": ({"data/identity_mean": 0.2}, {"data/identity_mean": 0.21}),
}
OWN = {"above-chance", "worse-than-mean", "better-than-pca", "identity-pca", "recurrence-combined", "pairs-wake-sleep"}
OWN |= {"untold", "diverged", "marginals", "marginals-untold", "per-layer"}


def test_every_claim_reads_its_own_numbers():
    assert {claim.id for claim in experiment.claims} == set(GAPS) | set(BOUNDED)
    are_gaps(experiment.claims, GAPS)
    are_bounded(experiment.claims, BOUNDED)
    are_trivial(experiment.claims, TRIVIAL, told(GAPS, BOUNDED))
    assert {claim.id for claim in experiment.claims if claim.own} == OWN
    assert all((claim.paper is None) == claim.own for claim in experiment.claims)


def test_settings_that_cannot_be_are_refused():
    few = {"points": 3, "steps": 42}
    for wrong, what in ((few, "points=3"), ({"points": 7}, "points=7"), ({"latent": 7}, "latent=7")):
        with pytest.raises(ValueError, match=what):
            dataclasses.replace(PRESETS["smoke"], **wrong)
    for wrong, what in (({"gamma": 1.1}, "gamma"), ({"recurrence": 0}, "recurrence"), ({"batch": 0}, "batch")):
        with pytest.raises(ValueError, match=what):
            experiment.check(dataclasses.replace(PRESETS["smoke"], **wrong))


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


def means_of_both(key, wake, sleep, units=(8, 8)):
    """Stands in for `pattern_overlap`, which has tests of its own: numbers that tell what it was given."""
    assert units == (8, 8)
    of_key = jax.random.uniform(key)
    x, z, x_too, z_too = (jnp.mean(h) for h in (*wake, *sleep))
    js = [of_key + x + 2 * x_too, of_key * z, x + z, 3 * x_too - z_too]
    kinds = [PatternDivergence(each, each + 1, each + 2) for each in js]
    rows = jnp.stack([x, x_too, z, z_too]).reshape(2, 2)
    return PatternOverlap(*kinds, x * z_too, of_key - x_too, jnp.stack([rows, -rows]))


def test_a_noisy_mirror_is_measured_as_what_it_is(monkeypatch):
    monkeypatch.setattr(fig3_scores, "pattern_overlap", means_of_both)
    data, judge, net = shared.digits("prototypes", 7), shared.classifier("prototypes", 7), Noisy()
    params, key = {"inference": (), "generation": ()}, jax.random.key(0)
    found = compiled(lambda key: assessed(Sizes(100, 400), net, params, key, data, judge))(key)
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
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    # Codes are the pixels under noise of variance 0.09, twice; of 110 x 49 pairs r is known to a hundredth.
    signal = x.var(0).mean()
    np.testing.assert_allclose(found["told"], signal / (signal + 0.09), atol=0.05)
    wake, other = ([h[rows] for h in phases.wake] for rows in (slice(400), slice(400, 600)))
    overlap, best = (means_of_both(keys[3], wake, each) for each in ([h[:200] for h in phases.sleep], other))
    for kind in ("sleep", "floor", "unpaired", "shuffled"):
        np.testing.assert_allclose(found[f"js_{kind}"], getattr(overlap, kind).js, rtol=1e-5)
    for kind in ("unpaired", "shuffled"):
        np.testing.assert_allclose(found[f"index_{kind}"], getattr(overlap, f"index_{kind}"), rtol=1e-5)
    np.testing.assert_allclose(found["frequencies"], overlap.frequencies[0], rtol=1e-5)
    np.testing.assert_allclose(found["frequencies_floor"], best.frequencies[0], rtol=1e-5)
    assert np.all(np.abs(found["frequencies"] - found["frequencies_floor"])[:, 1] > 1e-3)
    # A pixel on the edge between two bytes may go either way.
    np.testing.assert_allclose(found["reconstructed"], np.round(255 * again[0][:10].clip(0, 1)), atol=1)
    np.testing.assert_allclose(found["dreamed"], np.round(255 * dreams[:20].clip(0, 1)), atol=1)


def test_baselines_are_those_of_numpy():
    data, judge = shared.digits("prototypes", 7), shared.classifier("prototypes", 7)
    key = jax.random.key(0)
    found = compiled(lambda key: baselines(Sizes(100, 400), 8, key, data, judge))(key)
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
    logits, features = shared.judged(judge.weights, x)
    for name, rival in rivals.items():
        said, others = shared.judged(judge.weights, rival)
        odds = np.exp(np.asarray(said, np.float64))
        expected = {
            "mse": ((rival - x) ** 2).mean(),
            "identity": np.mean(np.argmax(said, -1) == label),
            "confidence": (odds / odds.sum(-1, keepdims=True)).max(-1).mean(),
            "frechet": shared.frechet(others, features),
        }
        for what, value in expected.items():
            # Distances of what is the same but for its order are of the size of rounding.
            np.testing.assert_allclose(
                found[f"{what}_{name}"], value, rtol=2e-4, atol=2e-3 if what == "frechet" else 1e-9
            )
    counts = np.bincount(np.argmax(logits, -1), minlength=10) / 100
    np.testing.assert_allclose(found["identity"], np.mean(np.argmax(logits, -1) == label))
    np.testing.assert_allclose(found["entropy"], -sum(c * math.log2(c) for c in counts if c > 0), rtol=1e-6)
    apart = shared.frechet(shared.judged(judge.weights, train[:100])[1], features)
    np.testing.assert_allclose(found["frechet_real"], apart, rtol=1e-4)
    np.testing.assert_array_equal(found["shown"], np.asarray(data.test)[first_of_each(np.asarray(data.test_label))])
    assert found["judge"] == judge.accuracy
