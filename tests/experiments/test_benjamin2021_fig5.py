"""Figure 5 from networks to claims: measures and summary against NumPy loops, claims on numbers made by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021 import fig5, fig5_scores
from experiments.benjamin2021.fig5_claims import summarise
from experiments.benjamin2021.fig5_figures import reels
from plasticity_jax.diagnostics.video import ssim
from plasticity_jax.networks.conv_lstm import init_params
from plasticity_jax.networks.hierarchy import Judgement, Phases
from plasticity_jax.typing import Example
from tests.experiments.benjamin2021_by_hand import (
    are_bounded,
    are_gaps,
    are_trivial,
    decidable,
    entries,
    is_summary,
    put_by_hand,
    row,
)
from tests.laws.common import compiled

CONFIG = dataclasses.replace(fig5.PRESETS["smoke"], size=16)
NET = fig5.build_net(dataclasses.replace(CONFIG, size=8, kernel=1))
RNG = np.random.default_rng(5)
METHODS = ("combined", "predicting", "squared")
BASELINES = ("blank", "mean", "watched", "last", "previous", "other")


def test_centroid_and_brightness_of_known_frames():
    frames = np.zeros((2, 2, 16, 16, 1), np.float32)
    frames[0, 0, 3, 5], frames[0, 0, 3, 9] = 0.5, 0.5  # between the two
    frames[0, 1, 2, 4], frames[0, 1, 6, 4] = 0.25, 0.75  # three times as near to the brighter
    frames[1, 0, 15, 0], frames[1, 0, 0, 15] = 1.5, -1  # beyond black and white
    centroids = fig5_scores.centroid(jnp.asarray(frames))
    np.testing.assert_allclose(centroids, [[[3, 7], [5, 4]], [[15, 0], [0, 0]]], rtol=1e-6)
    bright = [(2 * 0.5**2 + 1) / 2, (0.25**2 + 0.75**2) / 1]
    np.testing.assert_allclose(fig5_scores.brightness(jnp.asarray(frames)), bright, rtol=1e-6)


def in_numpy(predicted, true):
    """Measures of `compared`, frame by frame; the similarity has tests of its own."""

    def centre(frame):
        ink = frame[..., 0].clip(0, 1)
        return np.array([(ink * axis).sum() for axis in np.indices(ink.shape)]) / max(ink.sum(), 1e-6)

    measures = {what: [] for what in ("error", "ink", "centroid", "brightness")}
    for frames, truth in zip(np.moveaxis(predicted, 1, 0), np.moveaxis(true, 1, 0), strict=True):
        measures["error"].append(np.mean([((p - t) ** 2).sum() for p, t in zip(frames, truth, strict=True)]))
        measures["ink"].append(np.mean([p.sum() for p in frames]))
        apart = [centre(p) - centre(t) for p, t in zip(frames, truth, strict=True)]
        measures["centroid"].append(np.mean([math.hypot(*each) for each in apart]))
        ink = frames.clip(0, 1)
        measures["brightness"].append((ink**2).sum() / max(ink.sum(), 1e-6))
    return {**measures, "ssim": ssim(jnp.asarray(predicted), jnp.asarray(true))}


def test_baselines_as_in_numpy():
    bank = fig5.bank_of(CONFIG)
    c = CONFIG.context
    x = compiled(lambda bank: fig5.shown_videos(CONFIG, bank))(bank)
    trained = compiled(lambda bank: fig5.filmed(CONFIG, bank.train, bank.scene).x)(bank)
    assert not np.array_equal(x, trained)
    np.testing.assert_array_equal(x, compiled(lambda bank: fig5.filmed(CONFIG, bank.test, bank.scene).x)(bank))
    metrics = compiled(lambda x: fig5_scores.baselines(x, c))(x)
    x = np.asarray(x, np.float64)
    true = x[:, c:]
    predicted = {
        "true": true,
        "blank": 0 * true,
        "mean": sum(x[i, t] for i in range(len(x)) for t in range(x.shape[1])) / (len(x) * x.shape[1]) + 0 * true,
        "watched": np.stack([sum(video[:c]) / c + 0 * video[c:] for video in x]),
        "last": np.stack([np.stack([video[c - 1]] * CONFIG.horizon) for video in x]),
        "previous": np.stack([np.stack([video[t - 1] for t in range(c, len(video))]) for video in x]),
        "other": np.stack([x[i - 1, c:] for i in range(len(x))]),
    }
    assert metrics.keys() == {f"{what}_{name}" for name in predicted for what in fig5_scores.MEASURES} | {"video"}
    for name, frames in predicted.items():
        for what, value in in_numpy(frames, true).items():
            # Sums of 256 squares in single precision.
            np.testing.assert_allclose(metrics[f"{what}_{name}"], value, rtol=1e-4, atol=1e-4, err_msg=f"{what}_{name}")
    np.testing.assert_array_equal(metrics["video"], np.round(255 * x[: fig5_scores.SHOWN, ..., 0]))
    assert metrics["error_last"][0] > 0


class OfInput:
    """A network of videos of 12 x 12 with phases that are functions of its input, and with critics that are sums."""

    context, horizon = 2, 3

    def phases(self, params, x, key):
        """Five of the first frame's columns are the latents; sleep's are half of wake's, and it dreams the negative."""
        true = x[:, self.context :].reshape(-1, 12, 12, 1)
        z = true[:, 0, :5, 0] + jax.random.uniform(key, (len(true), 5), x.dtype)
        return Phases((true, z), (1 - true, z / 2), (true**2,))

    def judge(self, params, site, activity):
        (h,) = activity
        return Judgement(params + jnp.sum(h.reshape(len(h), -1), 1), h)


def guess(net, params, watched, key, horizon):
    """Predictions that differ between videos, samples and horizons."""
    noise = jax.random.uniform(key, (len(watched), horizon, 12, 12, 1), watched.dtype)
    scale = jax.random.uniform(key, (len(watched), horizon, 1, 1, 1), watched.dtype)
    return 1.4 * noise * scale + 0.2 * watched[:, -1:] - 0.1


def test_predictions_and_phases_are_measured_as_in_numpy(monkeypatch):
    monkeypatch.setattr(fig5_scores, "predict", guess)
    net, samples = OfInput(), 4
    x = RNG.random((6, 5, 12, 12, 1))
    params = {"discriminator": (jnp.asarray(3.0), jnp.asarray(-1.0))}
    metrics = compiled(lambda x: fig5_scores.tested(net, params, x, samples))(jnp.asarray(x))
    keys = jax.random.split(jax.random.key(51), samples)
    drawn = np.stack([guess(net, params, jnp.asarray(x[:, :2]), key, 3) for key in keys])
    true = x[:, 2:]
    best = np.stack([
        min((drawn[k, i] for k in range(samples)), key=lambda film, i=i: ((film - true[i]) ** 2).sum())
        for i in range(6)
    ])  # fmt: skip
    assert not any(np.array_equal(best, one) for one in drawn)
    at_first = np.argmin(((drawn - true)[:, :, 0] ** 2).sum((2, 3, 4)), 0)
    assert not np.array_equal(best, drawn[at_first, np.arange(6)])
    for suffix, predicted in (("", drawn[0]), ("_mean", sum(drawn) / samples), ("_best", best)):
        for what, value in in_numpy(predicted, true).items():
            np.testing.assert_allclose(metrics[f"{what}{suffix}"], value, rtol=1e-9, err_msg=what + suffix)
    phases = net.phases(params, jnp.asarray(x), keys[0])
    frames, (z_wake, z_sleep) = true.reshape(18, 12, 12, 1), (np.asarray(phases.wake[1]), np.asarray(phases.sleep[1]))
    scores = {
        "d_x_wake": 3 + frames.sum() / 18,
        "d_x_sleep": 3 + (1 - frames).sum() / 18,
        "d_x_oscillation": 3 + (frames**2).sum() / 18,
        "d_z_wake": -1 + z_wake.sum() / 18,
        "d_z_sleep": -1 + z_sleep.sum() / 18,
    }
    assert {name for name in metrics if name.startswith("d_")} == set(scores)
    for phase, z in (("wake", z_wake), ("sleep", z_sleep)):
        mean = [sum(unit) / 18 for unit in z.T]
        variance = [sum((value - m) ** 2 for value in unit) / 18 for unit, m in zip(z.T, mean, strict=True)]
        scores[f"z_mean_{phase}"] = math.sqrt(sum(m * m for m in mean) / 5)
        scores[f"z_variance_{phase}"] = sum(variance) / 5
        # KL(N(m, v) || N(0, 1))
        apart = [(m * m + v - 1 - math.log(v)) / 2 for m, v in zip(mean, variance, strict=True)]
        scores[f"z_apart_{phase}"] = sum(apart) / 5
    for name, value in scores.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(metrics["picture"], np.round(255 * drawn[0][:4, ..., 0].clip(0, 1)))
    dreams = 1 - true
    np.testing.assert_allclose(metrics["dream_ink"], dreams.sum((2, 3, 4)).mean(0), rtol=1e-9)
    weighed = [(dreams[:, t] ** 2).sum() / dreams[:, t].sum() for t in range(3)]
    np.testing.assert_allclose(metrics["dream_brightness"], weighed, rtol=1e-9)
    np.testing.assert_array_equal(metrics["dream"], np.round(255 * (1 - true[:2, ..., 0])))


def test_prediction_alone_scores_latents_as_zero():
    critics = init_params(jax.random.key(1), NET)["discriminator"]
    free = fig5.Predicting(NET)
    frames, latents = jnp.asarray(RNG.random((3, 8, 8, 1))), jnp.asarray(RNG.random((3, 4, 4, NET.hidden)))
    jax.tree.map(
        np.testing.assert_array_equal, free.judge(critics[0], 0, (frames,)), NET.judge(critics[0], 0, (frames,))
    )

    def scores_and_slopes(critic):
        def score(critic, z):
            return free.judge(critic, 1, (z,)).score

        return score(critic, latents), jax.jacobian(score, (0, 1))(critic, latents)

    assert np.any(NET.judge(critics[1], 1, (latents,)).score)
    scores, slopes = compiled(scores_and_slopes)(critics[1])
    assert scores.shape == (3,)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves((scores, slopes)))


def test_squared_error_is_descended_along_its_gradient():
    params, key = init_params(jax.random.key(1), NET), jax.random.key(3)
    frames = NET.context + NET.horizon
    batch = Example(jnp.asarray(RNG.random((2, frames, 8, 8, 1)), jnp.float32), jnp.zeros(()))
    rule = fig5.squared(NET)
    update = compiled(lambda params: rule.update(params, (), key, batch))
    updates, _, info = update(params)
    phases = compiled(lambda params: NET.phases(params, batch.x, key))(params)
    error = (
        (np.asarray(phases.oscillation[0]) - np.asarray(batch.x[:, NET.context :]).reshape(-1, 8, 8, 1)) ** 2
    ).sum()
    np.testing.assert_allclose(info.loss, error / (2 * NET.horizon), rtol=1e-5)
    squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(updates))
    # Both ways by 0.01 of weights of length 1 or so: a loss of some 50 changes by far more than its rounding, 1e-5.
    step = 0.01 / squares**0.5
    up, down = (
        float(update(jax.tree.map(lambda leaf, slope, s=s: leaf + s * step * slope, params, updates))[2].loss)
        for s in (1, -1)
    )
    np.testing.assert_allclose((up - down) / (2 * step), squares, rtol=0.02)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates["discriminator"]))


def made(seeds=3, points=2, horizon=4):
    """Metrics of a run in which one network of a seed diverged."""
    metrics = {}
    for name in ("true", *BASELINES):
        for what in fig5_scores.MEASURES:
            metrics[f"data/{what}_{name}"] = entries(f"{what}_{name}", seeds, 1, horizon)
    for name in ("untrained", *METHODS):
        length = 1 if name == "untrained" else points
        dreamt = ("dream_ink", "dream_brightness")
        for what in (*fig5_scores.MEASURES, "error_mean", "error_best", "ssim_mean", "ssim_best", "ink_mean", *dreamt):
            metrics[f"{name}/{what}"] = entries(f"{name}/{what}", seeds, length, horizon)
        phases = ("d_x_wake", "d_x_sleep", "d_x_oscillation", "d_z_wake", "d_z_sleep")
        latents = (f"z_{what}_{phase}" for what in ("mean", "variance", "apart") for phase in ("wake", "sleep"))
        for what in (*phases, *latents):
            metrics[f"{name}/{what}"] = entries(f"{name}/{what}", seeds, length)
    metrics["squared/ssim"][1, -1] = np.nan
    return metrics


def test_summary_is_of_the_last_point_by_horizon_and_paired():
    metrics = made()
    end = {name: values[:, -1] for name, values in metrics.items()}
    columns = {}

    def by_horizon(name, values):
        columns[name] = np.array([sum(seed) / 4 for seed in values])
        columns[f"{name}_1"], columns[f"{name}_end"] = values[:, 0], values[:, 3]

    for name in ("true", *BASELINES):
        for what in ("error", "ssim", "ink", "centroid", "brightness"):
            by_horizon(f"data/{what}_{name}", end[f"data/{what}_{name}"])
    for name in ("untrained", *METHODS):
        for what in ("error", "ssim", "ink", "centroid", "brightness", "error_mean", "error_best", "ssim_mean"):
            by_horizon(f"{name}/{what}", end[f"{name}/{what}"])
        by_horizon(f"{name}/ssim_best", end[f"{name}/ssim_best"])
        for what in ("ink", "brightness"):
            shares = [end[f"{name}/dream_{what}"][:, at] / end[f"data/{what}_true"][:, at] for at in range(4)]
            columns[f"{name}/dream_{what}_ratio"] = sum(shares) / 4
        for what in ("mean", "variance", "apart"):
            for phase in ("wake", "sleep"):
                columns[f"{name}/z_{what}_{phase}"] = end[f"{name}/z_{what}_{phase}"]
    errors = {name: end[f"data/error_{name}"] for name in ("blank", "mean", "watched", "last", "other")}
    errors |= {name: end[f"{name}/error"] for name in METHODS}
    for name, error in errors.items():
        for at in range(4):
            columns[f"gap/{name}/last_{at + 1}"] = errors["last"][:, at] - error[:, at]
    for name in METHODS:
        columns[f"gap/{name}/first"] = errors["mean"][:, 0] - errors[name][:, 0]
        columns[f"gap/{name}/mean"] = errors["mean"][:, 3] - end[f"{name}/error_mean"][:, 3]
        columns[f"gap/{name}/best"] = errors["mean"][:, 3] - end[f"{name}/error_best"][:, 3]
        columns[f"gap/{name}/grows"] = errors[name][:, 3] - errors[name][:, 0]
        columns[f"gap/{name}/untrained"] = end["untrained/error"].sum(1) / 4 - errors[name].sum(1) / 4
        for what in ("ink", "brightness"):
            shares = [end[f"{name}/{what}"][:, at] / end[f"data/{what}_true"][:, at] for at in range(4)]
            columns[f"{name}/{what}_ratio"] = sum(shares) / 4
        for rival in ("last", "mean"):
            off = end[f"data/centroid_{rival}"].sum(1) - end[f"{name}/centroid"].sum(1)
            columns[f"gap/{name}/centroid_{rival}"] = off / 4
    for name in ("combined", "predicting"):
        columns[f"{name}/d_x_gap"] = end[f"{name}/d_x_wake"] - end[f"{name}/d_x_oscillation"]
        columns[f"{name}/d_x_sleep_gap"] = end[f"{name}/d_x_wake"] - end[f"{name}/d_x_sleep"]
    columns["combined/d_z_gap"] = end["combined/d_z_wake"] - end["combined/d_z_sleep"]
    columns["gap/z_apart"] = end["predicting/z_apart_wake"] - end["combined/z_apart_wake"]
    columns["gap/untrained/z_apart"] = end["predicting/z_apart_wake"] - end["untrained/z_apart_wake"]
    columns["cost"] = sum(errors["combined"][:, at] / errors["predicting"][:, at] for at in range(4)) / 4
    columns["gap/squared/combined"] = errors["combined"].sum(1) / 4 - errors["squared"].sum(1) / 4
    columns["gap/brightness"] = end["combined/brightness"][:, 3] - end["squared/brightness"][:, 3]
    is_summary(summarise(metrics), columns)


DREAMT = {"dream-ink": "ink", "dream-bright": "brightness"}
GAPS = {
    "sleep-prior": ["gap/z_apart"],
    "squared-lower": ["gap/squared/combined"],
    "squared-blurs": ["gap/brightness"],
}
BOUNDED = {"sleep-matches": (0, 0.05, "combined/z_apart_wake"), "sleep-cheap": (0, 1.1, "cost")}
for name in ("combined", "predicting"):
    GAPS |= {f"{name}-{what}": [f"gap/{name}/{gap}"] for what, gap in (("learns", "untrained"), ("first", "first"))}
    GAPS |= {f"{name}-copying": [f"gap/{name}/last_1"], f"{name}-grows": [f"gap/{name}/grows"]}
    GAPS[f"{name}-trajectories"] = [f"gap/{name}/centroid_last", f"gap/{name}/centroid_mean"]
    BOUNDED |= {f"{name}-{what}": (0.8, 1.2, f"{name}/{key}_ratio")
                for what, key in (("ink", "ink"), ("bright", "brightness"))}  # fmt: skip
BOUNDED |= {id: (0.8, 1.2, f"combined/dream_{what}_ratio") for id, what in DREAMT.items()}
MANY = {f"{name}-many": [f"gap/{name}/mean", f"gap/{name}/best"] for name in ("combined", "predicting")}

HONEST = ("blank", "mean", "watched", "last", "other")
WORST = {
    f"data/{what}_{name}{at}": 9.0 for what in ("error", "centroid") for name in BASELINES for at in ("", "_1", "_end")
}
WORST |= {f"data/{what}_{name}{at}": 0.0 for what in ("ink", "brightness") for name in BASELINES for at in ("", "_end")}
WORST |= {f"gap/{name}/last_{k}": 0.0 for name in BASELINES for k in (1, 2)}
TRIVIAL = {
    "sleep-prior": ["gap/untrained/z_apart"],
    "sleep-matches": ({"untrained/z_apart_wake": 0.05}, {"untrained/z_apart_wake": 0.06}),
    "sleep-cheap": ({**WORST, "predicting/error": 2.0, "data/error_watched": 2.2}, {"data/error_watched": 2.3}),
    "squared-lower": ({**WORST, "combined/error": 2.0, "data/error_other": 1.9}, {"data/error_other": 2.1}),
    "squared-blurs": (
        {**WORST, "squared/brightness_end": 0.5, "data/brightness_last_end": 0.6},
        {"data/brightness_last_end": 0.4},
    ),
}
TRIVIAL |= {
    id: [{f"untrained/dream_{what}_ratio": share} for share in (0.8, 0.79, 1.21)] for id, what in DREAMT.items()
}
for name in ("combined", "predicting"):
    TRIVIAL |= {
        f"{name}-learns": (
            {**WORST, "untrained/error": 2.0, "data/error_blank": 1.9},
            {"data/error_blank": 2.1, "data/error_previous": 1.0},  # the previous frame cheats
        ),
        f"{name}-first": ({**WORST, "data/error_last_1": 8.0}, {"data/error_last_1": 9.0}),
        f"{name}-many": ({**WORST, "data/error_watched_end": 8.0}, {"data/error_watched_end": 9.0}),
        f"{name}-copying": (
            {**WORST, "gap/mean/last_1": 0.1, "gap/mean/last_2": 0.1},
            {"gap/mean/last_1": -0.1},
            {"gap/mean/last_2": -0.1},
        ),
        f"{name}-grows": ({**WORST, "data/error_last_end": 10.0}, {"data/error_last_end": 9.0}),
        f"{name}-ink": (
            {**WORST, "data/ink_true": 2.0, "data/ink_last": 1.7},
            {"data/ink_last": 1.5},
            {"data/ink_last": 2.5},
        ),
        f"{name}-bright": (
            {**WORST, "data/brightness_true": 0.5, "data/brightness_mean": 0.45},
            {"data/brightness_mean": 0.39},
            {"data/brightness_mean": 0.61},
        ),
        f"{name}-trajectories": (
            {**WORST, "data/centroid_watched": 8.0},
            {"data/centroid_watched": 9.0},
            {"data/centroid_last": 7.0, "data/centroid_mean": 7.5},
            {"data/centroid_last": 7.5, "data/centroid_mean": 7.0},
        ),
    }
OWN = {f"{name}-{what}" for name in ("combined", "predicting") for what in ("first", "many", "copying", "grows")}
OWN |= {"sleep-cheap", "squared-lower", "squared-blurs", "dream-ink", "dream-bright"}


def test_every_claim_reads_its_own_numbers():
    claims = fig5.experiment.claims
    assert {claim.id for claim in claims} == set(GAPS) | set(BOUNDED) | set(MANY)
    are_gaps(claims, GAPS)
    are_bounded(claims, BOUNDED)
    are_trivial(claims, TRIVIAL, decidable({**GAPS, **MANY}, BOUNDED))
    assert {claim.id for claim in claims if claim.own} == OWN
    assert all((claim.paper is None) == claim.own for claim in claims)


@pytest.mark.parametrize(("id", "names"), MANY.items())
def test_of_many_samples_the_mean_or_the_best_may_lead(id, names):
    claims = fig5.experiment.claims
    for one, other in (names, names[::-1]):
        result = row(claims, id, put_by_hand({one: 0.7, other: -1.0}))
        assert (result["holds"], result["measured"]) == (True, 0.7)
        result = row(claims, id, put_by_hand({one: 0.6, other: -1.0}))
        assert (result["holds"], result["measured"]) == (False, 0.6)
        assert row(claims, id, put_by_hand({one: 0.7, other: 0.7}) | {f"{one}_n": 1})["holds"] is None
        assert row(claims, id, put_by_hand({one: 0.7}))["holds"] is None


@pytest.mark.parametrize("method", ["combined", "predicting"])
def test_copying_is_compared_at_every_horizon(method):
    claims, leads = fig5.experiment.claims, {f"gap/{method}/last_{k}": 0.7 + k for k in range(1, 12)}
    assert row(claims, f"{method}-copying", put_by_hand(leads))["holds"] is True
    for name in leads:
        result = row(claims, f"{method}-copying", put_by_hand({**leads, name: 0.6}))
        assert (result["holds"], result["measured"]) == (False, 0.6)


def test_reels_begin_with_what_was_watched():
    metrics = {"data/video": entries("video", 2, 1, 4, 5, 3, 3), "data/error_last": entries("error", 2, 1, 3)}
    metrics |= {f"{name}/picture": entries(name, 2, 2, 4, 3, 3, 3) for name in (*METHODS, "untrained")}
    films = reels(metrics)
    assert list(films) == ["truth", "combined, with sleep", "prediction alone", "squared error", "untrained"]
    np.testing.assert_array_equal(films["truth"], metrics["data/video"][0, 0])
    for film, name in zip(list(films.values())[1:], (*METHODS, "untrained"), strict=True):
        for k in range(4):
            np.testing.assert_array_equal(film[k, :2], metrics["data/video"][0, 0, k, :2])
            np.testing.assert_array_equal(film[k, 2:], metrics[f"{name}/picture"][0, 1, k])


def test_settings_that_do_not_serve_are_refused():
    for wrong in ({"points": 3}, {"videos": 3}, {"horizon": 1}):
        with pytest.raises(ValueError, match="must be"):
            dataclasses.replace(CONFIG, **wrong)
    for wrong, what in (({"samples": 0}, "samples"), ({"gamma": 1.5}, "gamma")):
        with pytest.raises(ValueError, match=what):
            fig5.experiment.check(dataclasses.replace(CONFIG, **wrong))
