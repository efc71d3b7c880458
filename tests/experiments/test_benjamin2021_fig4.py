"""Figure 4 from networks to claims: scores, summary and table against NumPy loops, claims on numbers made by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021 import fig4_scores
from experiments.benjamin2021.cifar import Pictures
from experiments.benjamin2021.common import verdict
from experiments.benjamin2021.fig4 import PRESETS, experiment
from experiments.benjamin2021.fig4_claims import growth, summarise, text
from experiments.benjamin2021.fig4_figures import strip
from experiments.benjamin2021.fig4_scores import MEASURED, Probe, baselines, components
from plasticity_jax.networks.hierarchy import FREE, reconstruct, stacked_phases
from tests.experiments.benjamin2021_by_hand import are_bounded, are_gaps, are_trivial, decidable, entries, is_summary
from tests.laws.common import compiled


def noise(key, shape, dtype):
    """Numbers in [-1, 1] that depend on key and place; proper random draws would take seconds to compile."""
    start = jnp.sum(jax.random.key_data(key) % 1009).astype(dtype)
    return jnp.sin(start + 0.7 * jnp.arange(math.prod(shape), dtype=dtype)).reshape(shape)


class Stack:
    """Two layers over pictures of 4 x 4: sums of squares of pixels, and sums of those, all under noise."""

    depth, sites = 2, ((0,), (1,), (2,))

    def infer(self, params, layer, below, key):
        h = below.reshape(len(below), 2, -1).mean(2) if layer == 2 else below.reshape(len(below), 2, 2, -1).mean(3)
        return h + 0.3 * noise(key, h.shape, h.dtype)

    def generate(self, params, layer, above, key):
        shape = (len(above), 4, 4, 3) if layer == 0 else (len(above), 2, 2)
        sums = above.reshape(len(above), -1)
        h = sums[:, :2, None] + jnp.linspace(-1, 1, math.prod(shape[1:]) // 2, dtype=sums.dtype)
        return h.reshape(shape) / 2 + 0.3 * noise(key, shape, h.dtype)

    def prior(self, key, count, dtype):
        return noise(key, (count, 2), dtype)

    def phases(self, params, x, key, parents=FREE, oscillate=True):
        return stacked_phases(self, params, x, key, parents, oscillate)


def probe(count=60):
    """Pictures with different training and test splits, and weights of an untrained judge."""
    rng = np.random.default_rng(7)
    train, test = (jnp.asarray(rng.integers(0, 256, (count, 4, 4, 3), np.uint8)) for _ in range(2))
    label, test_label = (jnp.asarray(rng.integers(0, 10, count)) for _ in range(2))
    return Probe(Pictures(train, label, test, test_label), jnp.asarray(rng.standard_normal((48, 10))))


@pytest.fixture
def quick(monkeypatch):
    """Stand-ins for functions with tests of their own; each depends on its arguments."""
    monkeypatch.setattr(fig4_scores, "judged", linear)
    monkeypatch.setattr(fig4_scores, "frechet", lambda a, b: jnp.mean(a[:, 0]) + 2 * jnp.mean(b[:, 1] ** 2))
    monkeypatch.setattr(fig4_scores, "readable", stand_in_for_readable)
    monkeypatch.setattr(fig4_scores, "waves", lambda net, params, x, key, cycles: {"wave": jnp.sum(x) * cycles})


def linear(weights, x):
    logits = jnp.reshape(x, (len(x), -1)) @ weights
    return logits, logits[:, ::-1] ** 2


def stand_in_for_readable(train, test, images):
    assert train.shape == test.shape
    return (
        jnp.mean(train**2)
        + 3 * jnp.mean(test**2)
        + jnp.mean(images.train_label - 5 * images.test_label) * test.shape[1]
    )


def by_judge(weights, x):
    logits, features = linear(np.asarray(weights), np.asarray(x))
    return np.argmax(logits, -1), logits, features


def apart(a, b):
    return np.mean(a[:, 0]) + 2 * np.mean(np.square(b[:, 1]))


@pytest.mark.usefixtures("quick")
def test_reconstructions_dreams_and_layers_are_measured_as_in_numpy():
    net, a_probe, key = Stack(), probe(), jax.random.key(3)
    params = {"inference": (), "generation": ()}
    metrics = compiled(lambda key: fig4_scores.tested(net, a_probe, params, key))(key)
    assert set(metrics) == {*MEASURED, "wave", "picture_recalled", "picture_dream"}
    up, of_train, of_recall = jax.random.split(key, 3)
    x, train = (np.asarray(images) / 127.5 - 1 for images in (a_probe.shown.test, a_probe.shown.train))

    def by_hand(x, train):
        phases, train_phases = (net.phases(params, h, of, oscillate=False) for h, of in ((x, up), (train, of_train)))
        return phases, train_phases, [reconstruct(net, params, x, of_recall, top)[0] for top in (1, 2)]

    phases, train_phases, recalled = jax.tree.map(np.asarray, compiled(by_hand)(x, train))
    true, _, of_true = by_judge(a_probe.weights, x)
    dreamt, logits, of_dreams = by_judge(a_probe.weights, phases.sleep[0])
    for i, made in enumerate(recalled):
        answers, _, features = by_judge(a_probe.weights, made)
        np.testing.assert_allclose(metrics["mse"][i], np.mean((made - x) ** 2), rtol=1e-5)
        np.testing.assert_allclose(metrics["kept"][i], np.mean(answers == true))
        pairs = [(a, b) for a in range(60) for b in range(60) if a != b]
        wins = [np.sum((made[a] - x[a]) ** 2) < np.sum((made[a] - x[b]) ** 2) for a, b in pairs]
        np.testing.assert_allclose(metrics["nearer"][i], np.mean(wins), atol=2e-3)
    np.testing.assert_allclose(metrics["kept_chance"], np.mean([answers[i] == true[i - 1] for i in range(60)]))
    np.testing.assert_allclose(metrics["frechet_dream"], apart(of_dreams, of_true), rtol=1e-5)
    np.testing.assert_allclose(metrics["frechet_reconstruction"], apart(features, of_true), rtol=1e-5)
    sure = verdict(logits)
    np.testing.assert_allclose(
        [metrics["entropy"], metrics["confidence"]], [sure["entropy"], sure["confidence"]], rtol=1e-5
    )
    assert metrics["right"].shape == (3,)
    for i, layers in enumerate(zip(train_phases.wake, phases.wake, strict=True)):
        right = stand_in_for_readable(*(h.reshape(60, -1) for h in layers), a_probe.shown)
        np.testing.assert_allclose(metrics["right"][i], right, rtol=1e-5)
    np.testing.assert_allclose(metrics["picture_recalled"], [made[:10] for made in recalled], rtol=1e-5)
    np.testing.assert_allclose(metrics["picture_dream"], phases.sleep[0][:20], rtol=1e-5)
    assert len(set(dreamt.tolist())) > 1
    again = net.phases(params, jnp.asarray(x), of_train, oscillate=False).wake
    for i, (first, second) in enumerate(zip(phases.wake[1:], again[1:], strict=True)):
        a, b = (np.asarray(h).reshape(60, -1) for h in (first, second))
        a, b = a - a.mean(0), b - b.mean(0)
        np.testing.assert_allclose(metrics["told"][i], (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()), rtol=1e-4)
    np.testing.assert_allclose(metrics["wave"], 4 * x.sum(), rtol=1e-5)


@pytest.mark.usefixtures("quick")
def test_baselines_are_those_of_numpy():
    a_probe = probe()
    axes = components(np.asarray(a_probe.shown.train), 5)
    metrics = compiled(lambda: baselines(axes, a_probe))()
    x, train = (np.asarray(images) / 127.5 - 1 for images in (a_probe.shown.test, a_probe.shown.train))
    middle = train.mean(0)
    _, _, basis = np.linalg.svd((train - middle).reshape(60, -1), full_matrices=False)
    centred = (x - middle).reshape(60, -1)
    recalled = (centred @ basis[:5].T @ basis[:5]).reshape(x.shape) + middle
    (true, logits, of_true), (again, _, of_again) = (by_judge(a_probe.weights, images) for images in (x, recalled))
    noise = jax.random.uniform(jax.random.key(22), x.shape, jnp.float64, -1, 1)
    eps = np.asarray(jax.random.normal(jax.random.key(23), (60, 60), jnp.float64))
    drawn = np.clip(middle + (eps @ (train - middle).reshape(60, -1)).reshape(x.shape) / 59**0.5, -1, 1)
    expected = {
        "mse_mean": np.mean((x - middle) ** 2),
        "mse_other": np.mean([np.mean((x[i] - x[i - 1]) ** 2) for i in range(60)]),
        "mse_pca": np.mean((x - recalled) ** 2),
        "kept_pca": np.mean(true == again),
        "frechet_real": apart(by_judge(a_probe.weights, train)[2], of_true),
        "frechet_noise": apart(by_judge(a_probe.weights, noise)[2], of_true),
        "frechet_gauss": apart(by_judge(a_probe.weights, drawn)[2], of_true),
        "frechet_pca": apart(of_again, of_true),
        "entropy_real": verdict(logits)["entropy"],
        "accuracy": np.mean(true == np.asarray(a_probe.shown.test_label)),
        "right_pca": stand_in_for_readable(
            (train - middle).reshape(60, -1) @ basis[:5].T, centred @ basis[:5].T, a_probe.shown
        ),
    }
    assert set(metrics) == {*expected, "picture"}
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(metrics["picture"], x[:10], rtol=1e-6)


ONE = ("kept_chance", "frechet_dream", "frechet_reconstruction", "entropy", "confidence")
PARTS = ("combined", "marginals", "untrained")


def made(seeds=3, points=7, depth=3):
    """Metrics of a run of networks of three layers; two networks diverged."""
    metrics = {}
    for part in PARTS:
        length = 1 if part == "untrained" else points
        metrics |= {f"{part}/{name}": entries(f"{part}/{name}", seeds, length) for name in ONE}
        metrics |= {
            f"{part}/{name}": entries(f"{part}/{name}", seeds, length, depth)
            for name in ("mse", "nearer", "kept", "told")
        }
        metrics[f"{part}/right"] = entries(f"{part}/right", seeds, length, depth + 1)
        for way in ("up", "down"):
            metrics[f"{part}/wave_{way}"] = entries(f"{part}/wave_{way}", seeds, length, 3, depth)
    for part in ("combined", "marginals"):
        for name in ("wake_sleep", "oscillation"):
            metrics[f"{part}/{name}"] = entries(f"{part}/{name}", seeds, points, depth + 1, low=-1.0)
        metrics[f"{part}/bad_step"] = np.full((seeds, points), -1)
    metrics["marginals/bad_step"][[0, 2], -1] = 0, 5
    metrics["marginals/entropy"][2, -1] = np.nan
    data = (
        "mse_mean",
        "mse_other",
        "mse_pca",
        "kept_pca",
        "frechet_real",
        "frechet_noise",
        "frechet_pca",
        "frechet_gauss",
    )
    data += ("entropy_real", "accuracy", "right_pca")
    metrics |= {f"data/{name}": entries(f"data/{name}", seeds, 1) for name in data}
    metrics["data/picture"] = entries("data/picture", seeds, 1, 2, 2)
    return metrics


def test_growth_is_the_largest_gap_late_over_that_before():
    curves = np.array(
        [[[1.0, -2], [3, 1], [-4, 0], [1, 1], [0, -8], [5, 1]], [[1, 1], [-9, 1], [1, 1], [2, 1], [1, 3], [0, 0]]]
    )
    np.testing.assert_allclose(growth(curves), [8 / 4, 3 / 9])
    np.testing.assert_allclose(growth(curves[:, :2]), [3 / 2, 9])


def test_summary_is_of_the_last_points_by_layer_and_paired():
    metrics = made()
    columns, numbers = {}, {"combined/lost": 0, "marginals/lost": 2 / 3}
    columns |= {name: values[:, 0] for name, values in metrics.items() if name.startswith("data/") and values.ndim == 2}
    for part in PARTS:
        columns |= {f"{part}/{name}": metrics[f"{part}/{name}"][:, -1] for name in ONE}
        for name in ("mse", "nearer", "kept", "told"):
            columns |= {f"{part}/{name}_h{i + 1}": metrics[f"{part}/{name}"][:, -1, i] for i in range(3)}
            columns[f"{part}/{name}_top"] = metrics[f"{part}/{name}"][:, -1, 2]
        columns |= {f"{part}/right_h{i}": metrics[f"{part}/right"][:, -1, i] for i in range(4)}
        columns[f"{part}/right_top"] = metrics[f"{part}/right"][:, -1, 3]
    for part in ("combined", "marginals"):
        gaps = [metrics[f"{part}/{name}"] for name in ("wake_sleep", "oscillation")]
        for name, gap in zip(("wake_sleep", "oscillation"), gaps, strict=True):
            columns |= {f"{part}/{name}_h{i}": gap[:, -1, i] for i in range(4)}
        late, before = ([max(abs(v) for gap in gaps for v in gap[k, at].ravel()) for k in range(3)]
                        for at in (slice(5, 7), slice(5)))  # fmt: skip
        columns[f"{part}/growth"] = np.array(late) / before
        for name in ("frechet_dream", "frechet_reconstruction"):
            columns[f"{part}/fall_{name}"] = columns[f"untrained/{name}"] / columns[f"{part}/{name}"]
    for start, part in (("gap/", "combined"), ("gap/untrained/", "untrained")):
        columns |= {
            f"{start}mse-other": columns["data/mse_other"] - columns[f"{part}/mse_h3"],
            f"{start}mse-mean": columns["data/mse_mean"] - columns[f"{part}/mse_h3"],
            f"{start}mse_h1-mean": columns["data/mse_mean"] - columns[f"{part}/mse_h1"],
            f"{start}mse_depth": columns[f"{part}/mse_h3"] - columns[f"{part}/mse_h1"],
            f"{start}nearer": columns[f"{part}/nearer_h3"] - 0.5,
            f"{start}nearer-marginals": columns[f"{part}/nearer_h3"] - columns["marginals/nearer_h3"],
            f"{start}kept": columns[f"{part}/kept_h3"] - columns[f"{part}/kept_chance"],
            f"{start}right_depth": columns[f"{part}/right_h1"] - columns[f"{part}/right_h3"],
            f"{start}right_top-pca": columns[f"{part}/right_h3"] - columns["data/right_pca"],
        }
        for way, first in (("up", 1), ("down", 0)):
            ascending, standing, descending = metrics[f"{part}/wave_{way}"][:, -1].transpose(1, 0, 2)
            for i in range(3):
                columns[f"{start}{way}_h{first + i}-standing"] = ascending[:, i] - standing[:, i]
                columns[f"{start}{way}_h{first + i}-descending"] = ascending[:, i] - descending[:, i]
    columns["gap/mse-untrained"] = columns["untrained/mse_h3"] - columns["combined/mse_h3"]
    columns["gap/dream-untrained"] = columns["untrained/frechet_dream"] - columns["combined/frechet_dream"]
    for i in (1, 2, 3):
        columns[f"gap/right_h{i}"] = columns[f"combined/right_h{i}"] - columns[f"untrained/right_h{i}"]
    columns["gap/right"] = np.array([min(columns[f"gap/right_h{i}"][k] for i in (1, 2, 3)) for k in range(3)])
    is_summary(summarise(metrics), columns, numbers)


def test_the_table_has_a_row_for_each_layer_and_counts_lost_seeds():
    metrics = made()
    lines = text(metrics).split("\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:6]]
    assert [line[0] for line in cells] == ["layer", "---", "h0", "h1", "h2", "h3"]
    assert cells[2][1:6] == ["-", "-", "-", cells[2][4], "-"]
    for p, part in enumerate(PARTS):
        for k, name in enumerate(("mse", "nearer", "kept", "right", "told")):
            for i in (1, 2, 3):
                mean = metrics[f"{part}/{name}"][:, -1, i - (name != "right")].mean()
                assert cells[2 + i][1 + 5 * p + k].startswith(f"{mean:.3f} ± ")
    assert "(2 of 3 seeds) bits" in lines[7]
    assert f"mean image {metrics['data/mse_mean'].mean():.3f};" in lines[9]


GAPS = {
    "reconstructs": ["gap/mse-other"],
    "reconstructs-mean": ["gap/mse-mean"],
    "reconstructs-h1": ["gap/mse_h1-mean"],
    "reconstructs-depth": ["gap/mse_depth"],
    "posterior": ["gap/nearer"],
    "posterior-marginals": ["gap/nearer-marginals"],
    "class-kept": ["gap/kept"],
    "reads-out": ["gap/right"],
    "reads-out-depth": ["gap/right_depth"],
    "reads-out-pca": ["gap/right_top-pca"],
    "ascends-up": ["gap/up_h1-descending", "gap/up_h2-standing", "gap/up_h2-descending"],
    "ascends-down": [f"gap/down_h{i}-{other}" for i in (0, 1) for other in ("standing", "descending")],
}
BOUNDED = {
    "top-told": (0.05, math.inf, "combined/told_top"),
    "dreams": (2, math.inf, "combined/fall_frechet_dream"),
    "stable": (0, 0, "combined/lost"),
    "stable-critics": (-math.inf, 2, "combined/growth"),
}
TRIVIAL = {
    "top-told": ({"untrained/told_top": 0.05}, {"untrained/told_top": 0.04}),
    "ascends-up": [name.replace("gap/", "gap/untrained/") for name in GAPS["ascends-up"]],
    "ascends-down": [name.replace("gap/", "gap/untrained/") for name in GAPS["ascends-down"]],
    "reconstructs": ({"data/mse_mean": 0.1, "data/mse_other": 0.2}, {"data/mse_mean": 0.3}),
    "reconstructs-mean": ({"data/mse_pca": 0.1, "data/mse_mean": 0.2}, {"data/mse_pca": 0.3}),
    "reconstructs-h1": ({"data/mse_pca": 0.1, "data/mse_mean": 0.2}, {"data/mse_pca": 0.3}),
    "reconstructs-depth": ["gap/untrained/mse_depth"],
    "posterior": ["gap/untrained/nearer"],
    "posterior-marginals": ["gap/untrained/nearer-marginals"],
    "class-kept": ({"data/kept_pca": 0.3, "combined/kept_chance": 0.2}, {"data/kept_pca": 0.1}),
    "dreams": (
        {"untrained/frechet_dream": 4.0, "data/frechet_noise": 2.1, "data/frechet_gauss": 2.0},
        {"data/frechet_gauss": 2.1},
    ),
    "stable": ({"marginals/lost": 0.0}, {"marginals/lost": 0.5}),
    "stable-critics": ({"marginals/growth": 2.0}, {"marginals/growth": 2.1}),
    "reads-out": (
        {"data/right_pca": 0.3, "untrained/right_h0": 0.9, "untrained/right_h1": 0.2, "untrained/right_h2": 0.1},
        {"untrained/right_h1": 0.4},
        {"untrained/right_h2": 0.4},
    ),
    "reads-out-depth": ["gap/untrained/right_depth"],
    "reads-out-pca": ({"untrained/right_h0": 0.3, "data/right_pca": 0.2}, {"untrained/right_h0": 0.1}),
}


def test_every_claim_reads_its_own_numbers():
    claims = experiment.claims
    assert {claim.id for claim in claims} == set(GAPS) | set(BOUNDED)
    are_gaps(claims, GAPS)
    are_bounded(claims, BOUNDED)
    are_trivial(claims, TRIVIAL, decidable(GAPS, BOUNDED))
    assert {claim.id for claim in claims if not claim.own} == {
        *("reconstructs", "posterior", "dreams", "ascends-up", "ascends-down")
    }
    assert all((claim.paper is None) == claim.own for claim in claims)


def test_pictures_stand_side_by_side():
    images = np.stack([np.full((2, 2, 3), -1.0), np.full((2, 2, 3), 3.0), np.zeros((2, 2, 3))])
    row = [0, 0, 1, 1, 1, 1, 0.5, 0.5]
    np.testing.assert_array_equal(strip(images), np.repeat([[row, row]], 3, 0).transpose(1, 2, 0))


def test_settings_that_cannot_be_are_refused():
    for wrong, what in (({"points": 3}, "points=3"), ({"tests": 19}, "tests=19"), ({"side": 9}, "side=9")):
        with pytest.raises(ValueError, match=what):
            dataclasses.replace(PRESETS["smoke"], **wrong)
    with pytest.raises(ValueError, match="tests=600"):
        dataclasses.replace(PRESETS["smoke"], tests=600)
    with pytest.raises(ValueError, match="gamma"):
        experiment.check(dataclasses.replace(PRESETS["smoke"], gamma=1.5))
