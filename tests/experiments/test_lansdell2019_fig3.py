"""Figure 3: its noisy control and measure of separation; from metrics to claims against plain loops."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019 import fig3
from experiments.lansdell2019.fig3 import (
    Config,
    experiment,
    make_parts,
    methods,
    noisy_backprop,
    same_as_nearest,
    scores,
)
from experiments.lansdell2019.fig3_claims import dead, same_by_chance, summarise, table
from experiments.lansdell2019.fig3_figures import drawn_seed, text
from experiments.shared.images import Images
from plasticity_jax.layers import init_params
from plasticity_jax.networks import mlp
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.run import checked
from plasticity_jax.typing import Example
from tests.laws.common import compiled

SIGMA, DRAWS = 1.0, 4000


def test_noise_on_a_linear_layer_adds_sigma_squared_times_its_readout():
    # E[(W2 (h + s xi) - y)(h + s xi)^T] = (W2 h - y) h^T + s^2 W2; the noise leaves the mean gradient of W1 as it is.
    net = mlp((3, 4, 2), ["identity", "identity"])

    def problem(key):
        key_w, key_x, key_y, key_noise = jax.random.split(key, 4)
        params = init_params(key_w, net)
        batch = Example(jax.random.normal(key_x, (5, 3)), jax.random.normal(key_y, (5, 2)))

        def gradient(rule, key):
            return rule.update(params, (), key, batch)[0]["forward"]["w"]

        noisy = jax.vmap(lambda k: gradient(noisy_backprop(net, SIGMA), k))(jax.random.split(key_noise, DRAWS))
        return params["forward"]["w"], gradient(backprop(net), key_noise), noisy

    w, clean, noisy = jax.tree.map(np.asarray, compiled(problem)(jax.random.key(0)))
    for estimates, wanted in zip(noisy, (clean[0], clean[1] + SIGMA**2 * w[1]), strict=True):
        z = (estimates.mean(0) - wanted) / (estimates.std(0) / DRAWS**0.5)
        assert np.abs(z).max() < 5  # 20 entries: a false alarm in 1e5 keys
    assert np.abs(noisy[1].mean(0) - clean[1]).max() > 0.5  # the noise does reach the gradient


def test_same_as_nearest_counts_as_a_loop_does():
    rng = np.random.default_rng(0)
    points, label = rng.standard_normal((40, 2)).astype(np.float32), rng.integers(0, 3, 40)
    hits = 0
    for i in range(40):
        distance = [np.inf if j == i else np.linalg.norm(points[i] - points[j]) for j in range(40)]
        hits += label[int(np.argmin(distance))] == label[i]
    assert 0 < hits < 40
    assert abs(float(compiled(same_as_nearest)(points, jnp.asarray(label))) - 100 * hits / 40) < 1e-4


SEEDS, POINTS, PIXELS = 3, 5, 9
METHODS = ("bp", "bp_tuned", "bp_noise", "bp_warm", "adam", "fa", "fa_tuned", "matching", "np")
WITH_B = ("fa", "fa_tuned", "matching", "np")


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for method in METHODS:
        for metric in ("test_loss", "separation", "silent", "train_loss", "epoch"):
            metrics[f"{method}/{metric}"] = rng.uniform(1, 9, (SEEDS, POINTS))
        metrics[f"{method}/image"] = np.zeros((SEEDS, POINTS, 2, PIXELS))
        metrics[f"{method}/digit"] = np.tile(np.array([0, 1, 1, 2, 2, 2], np.uint8), (SEEDS, POINTS, 1))
        if method in WITH_B:
            metrics[f"{method}/true_angle"] = rng.uniform(1, 9, (SEEDS, POINTS, 3))
    metrics["blank/loss"], metrics["mean_image/loss"] = np.full(SEEDS, 99.0), np.full(SEEDS, 55.0)
    return metrics


def row(id, summary):
    (measured_claim,) = checked([claim for claim in experiment.claims if claim.id == id], summary)
    return measured_claim


def test_results_of_each_method():
    metrics = hand_made()
    metrics["np/test_loss"][1, -1] = np.nan
    rows, summary = table(metrics), summarise(metrics)
    assert list(rows) == list(METHODS)
    for method in METHODS:
        seeds = [0, 2] if method == "np" else [0, 1, 2]
        losses = [[float(x) for x in metrics[f"{method}/test_loss"][seed]] for seed in seeds]
        wanted = {
            "loss": [min(loss) for loss in losses],
            "rise": [100 * (loss[-1] - min(loss)) / min(loss) for loss in losses],
            "separation": [metrics[f"{method}/separation"][seed, -1] for seed in seeds],
            "silent": [metrics[f"{method}/silent"][seed, -1] for seed in seeds],
            "loss_live": [min(loss) for loss in losses],
        }
        if method in WITH_B:
            wanted["angle"] = [metrics[f"{method}/true_angle"][seed, -1, 0] for seed in seeds]
        assert set(rows[method]) == set(wanted)
        for name, values in wanted.items():
            assert summary[f"{method}/{name}"] == pytest.approx(sum(values) / len(seeds), abs=1e-12), name
            assert summary[f"{method}/{name}_n"] == len(seeds)
        per_pixel = [2 * min(loss) / 32 / PIXELS for loss in losses]
        assert summary[f"{method}/squared_error_per_pixel"] == pytest.approx(sum(per_pixel) / len(seeds))
    assert summary["bp/rise_sem"] > 0


def test_differences_are_paired_with_the_sign_of_their_names():
    metrics = hand_made()
    summary, rows = summarise(metrics), table(metrics)

    def minus(one, other, name):
        return pytest.approx(sum(rows[one][name][seed] - rows[other][name][seed] for seed in range(SEEDS)) / SEEDS)

    pairs = [(a, b) for a in ("fa", "fa_tuned") for b in ("np", "adam", "bp", "bp_tuned")]
    pairs += [("bp_tuned", "np"), ("bp_tuned", "bp_noise"), ("bp_tuned", "bp_warm"), ("bp", "np"), ("np", "bp_warm")]
    for worse, better in pairs:
        assert summary[f"{worse}-{better}/loss"] == minus(worse, better, "loss")
        assert summary[f"{worse}-{better}/silent"] == minus(worse, better, "silent")
        assert summary[f"{better}-{worse}/separation"] == minus(better, worse, "separation")
    for fixed in ("fa", "fa_tuned"):
        assert summary[f"{fixed}-np/angle"] == minus(fixed, "np", "angle")
    assert summary["chance/separation"] == pytest.approx(100 * (0 + 2 + 6) / 30)  # ordered pairs of six images
    assert same_by_chance(np.array([4, 4, 4], np.uint8)) == 100


def gaps(*names, better=1.0, sem=0.3, n=4):  # t is 3.18 for four seeds, so that 0.95 is needed: two errors are 0.6
    return {key: value for name in names for key, value in ((name, better), (f"{name}_sem", sem), (f"{name}_n", n))}


GAPS = {
    "fa-poor": ["fa_tuned-bp_tuned/loss"],
    "fa-poor-same-rate": ["fa-bp/loss"],
    "fa-worse-than-np": ["fa_tuned-np/loss"],
    "fa-worse-than-np-same-rate": ["fa-np/loss"],
    "np-better-than-bp": ["bp_tuned-np/loss"],
    "np-better-than-bp-same-rate": ["bp-np/loss"],
    "separation-np": ["np-fa_tuned/separation"],
    "separation-bp_tuned": ["bp_tuned-fa_tuned/separation"],
    "separation-adam": ["adam-fa_tuned/separation"],
    "errors-pass-the-bottleneck": ["fa_tuned-np/angle", "fa-np/angle"],
    "noise-helps-bp": ["bp_tuned-bp_noise/loss"],
    "fa-poor-live": ["fa_tuned-bp_tuned/loss_live"],
    "np-better-than-bp-live": ["bp_tuned-np/loss_live"],
    "noise-helps-bp-live": ["bp_tuned-bp_noise/loss_live"],
    "outputs-fall-silent": ["bp_tuned-bp_warm/silent"],
    "warm-bp-beats-np": ["np-bp_warm/loss"],
}
LIVE_LEAD = {**gaps("bp_tuned-np/loss_live"), "bp_tuned-bp_noise/loss_live": 0.6}
LEAD = {**gaps("bp_tuned-np/loss"), "bp_tuned-bp_noise/loss": 0.6}
BOUNDS = {  # a summary in which the claim holds, what is measured, and changes in which it does not
    "np-near-adam": (
        {"np/loss": 104.0, "adam/loss": 100.0},
        4.0,
        [{"np/loss": 106.0}, {"np/loss": 94.0}, {"adam/loss": 98.0}],
    ),
    "matching-near-bp": (
        {"matching/loss": 109.0, "bp_tuned/loss": 100.0},
        9.0,
        [{"matching/loss": 111.0}, {"matching/loss": 89.0}, {"bp_tuned/loss": 98.0}],
    ),
    "matching-near-bp-live": (
        {"matching/loss_live": 109.0, "bp_tuned/loss_live": 100.0},
        9.0,
        [{"matching/loss_live": 111.0}, {"matching/loss_live": 89.0}, {"bp_tuned/loss_live": 98.0}],
    ),
    "noise-is-most-of-it-live": (
        LIVE_LEAD,
        0.6,
        [{"bp_tuned-bp_noise/loss_live": 0.49}, gaps("bp_tuned-np/loss_live", better=0.9)],
    ),
    "adam-overfits": (
        {"adam/rise": 1.1, "np/rise": 0.9},
        1.1,
        [{"adam/rise": 0.9}, {"np/rise": 1.05}],
    ),
    "noise-is-most-of-it": (
        LEAD,
        0.6,
        [{"bp_tuned-bp_noise/loss": 0.49}, gaps("bp_tuned-np/loss", better=0.9), gaps("bp_tuned-np/loss", better=-1.0)],
    ),
}


def test_every_claim_is_in_the_tables():
    assert sorted([*GAPS, *BOUNDS]) == sorted(claim.id for claim in experiment.claims)
    own = {"noise-helps-bp", "noise-is-most-of-it", "outputs-fall-silent", "warm-bp-beats-np"}
    own |= {claim.id for claim in experiment.claims if claim.id.endswith("-live")}
    own |= {claim for claim in GAPS if claim.endswith("-same-rate")}
    assert {claim.id for claim in experiment.claims if claim.own} == own


@pytest.mark.parametrize("id", GAPS)
def test_gaps_count_by_t(id):
    names = GAPS[id]
    assert row(id, gaps(*names))["holds"] is True
    for name in names:
        assert row(id, gaps(*names) | gaps(name, better=0.9))["holds"] is False
        assert row(id, gaps(*names) | gaps(name, better=0.9))["measured"] == 0.9
        assert row(id, gaps(*(other for other in names if other != name)))["holds"] is None
    assert row(id, gaps(*names, sem=math.nan, n=1))["holds"] is None


@pytest.mark.parametrize("id", BOUNDS)
def test_bounds(id):
    summary, measured, changes = BOUNDS[id]
    assert row(id, summary)["holds"] is True
    assert row(id, summary)["measured"] == pytest.approx(measured)
    for change in changes:
        assert row(id, summary | change)["holds"] is False
        assert row(id, {key: value for key, value in summary.items() if key not in change})["holds"] is None


def test_a_share_needs_more_than_one_seed():
    assert row("noise-is-most-of-it", LEAD | gaps("bp_tuned-np/loss", sem=math.nan, n=1))["holds"] is None


def test_trivial_baselines():
    for id, change in (("np-near-adam", {"fa_tuned/loss": 106.0}), ("matching-near-bp", {"fa_tuned/loss": 89.0})):
        summary = BOUNDS[id][0] | {"fa_tuned/loss": 104.0}
        assert row(id, summary)["trivial"] is True
        assert row(id, summary | change)["trivial"] is False
    for id in ("separation-np", "separation-bp_tuned", "separation-adam"):
        summary = gaps(*GAPS[id]) | {"chance/separation": 10.0}
        assert row(id, summary | gaps("fa_tuned/separation", better=9.0))["trivial"] is True
        assert row(id, summary | gaps("fa_tuned/separation", better=9.1))["trivial"] is False
        assert row(id, summary | gaps("fa_tuned/separation", better=11.0))["trivial"] is False
    id = "errors-pass-the-bottleneck"
    summary = gaps(*GAPS[id]) | gaps("fa_tuned/angle", "fa/angle", better=91.0)
    assert row(id, summary)["trivial"] is True
    for fixed in ("fa_tuned", "fa"):
        assert row(id, summary | gaps(f"{fixed}/angle", better=90.9))["trivial"] is False


def test_dead_seeds_are_counted_and_left_out_of_the_live_losses():
    metrics = hand_made()
    metrics["bp_tuned/test_loss"][:, -1] = [98.5, 98.5, 97.0]  # the blank picture has 99
    metrics["bp_tuned/silent"][:, -1] = [96.0, 94.0, 99.0]
    assert dead(metrics, "bp_tuned").tolist() == [True, False, False]
    summary, loss = summarise(metrics), {name: metrics[f"{name}/test_loss"].min(1) for name in METHODS}
    assert [summary[f"{method}/dead"] for method in METHODS] == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert summary["bp_tuned/loss"] == pytest.approx(loss["bp_tuned"].mean())
    assert summary["bp_tuned/loss_live"] == pytest.approx(loss["bp_tuned"][1:].mean())
    assert summary["bp_tuned-np/loss_live"] == pytest.approx((loss["bp_tuned"] - loss["np"])[1:].mean())
    assert (summary["bp_tuned-np/loss_n"], summary["bp_tuned-np/loss_live_n"]) == (3, 2)
    assert (summary["blank/loss"], summary["mean_image/loss"]) == (99, 55)
    assert text(metrics).split("\n")[3].split("|")[3].strip() == "1"
    assert drawn_seed(metrics, "bp_tuned") == (1, " (seed 1; 1 of 3 dead)")
    assert drawn_seed(metrics, "np") == (0, "")


def test_what_is_not_run_is_left_out_and_the_rest_is_the_same(monkeypatch):
    metrics = hand_made()
    some = {key: v for key, v in metrics.items() if key.split("/")[0] in ("bp_tuned", "np", "blank", "mean_image")}
    whole, partial_summary = summarise(metrics), summarise(some)
    assert partial_summary == {key: whole[key] for key in partial_summary}
    assert {key.split("/")[0] for key in partial_summary} == {
        "bp_tuned", "np", "bp_tuned-np", "np-bp_tuned", "blank", "mean_image", "chance"
    }  # fmt: skip
    judged = {row["id"] for row in checked(experiment.claims, partial_summary) if row["holds"] is not None}
    assert judged == {"np-better-than-bp", "np-better-than-bp-live"}
    config = Config(data="prototypes", sizes=(64, 20, 2, 20, 64), methods=("np", "bp_tuned"))
    assert list(make_parts(config)) == ["bp_tuned", "np"]
    with pytest.raises(ValueError, match="methods: 'sgd' is not known"):
        Config(methods=("sgd",))


def test_losses_of_pictures_that_are_the_same_for_all_images(monkeypatch):
    data = Images(np.array([[0, 255], [0, 0]], np.uint8), None, np.array([[255, 0], [0, 51]], np.uint8), None)
    monkeypatch.setattr(fig3, "images", lambda name, pixels: data)
    losses = fig3.measure(Config(seeds=2), False)
    np.testing.assert_allclose(losses["blank/loss"], 2 * [16 * (1 + 0.04) / 2])
    np.testing.assert_allclose(losses["mean_image/loss"], 2 * [16 * ((1 + 0.25) + (0 + 0.09)) / 2])


def test_table_counts_seeds():
    metrics = hand_made()
    metrics["adam/test_loss"][0, -1] = np.inf
    lines = text(metrics).split("\n")
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:]] for line in lines[2:]}
    assert cells["Adam"][0] == "2 of 3"
    assert cells["matching"][0] == "3 of 3"
    least = metrics["adam/test_loss"][1:].min(1)
    assert cells["Adam"][2] == f"{least.mean():.4g} ± {abs(least[1] - least[0]) / 2:.2g}"
    assert cells["Adam"][6] == "-"
    assert cells["matching"][6].startswith(f"{metrics['matching/true_angle'][:, -1, 0].mean():.4g} ±")
    assert cells["Adam"][8] == f"{least.mean() / 16 / PIXELS:.4f}"


def test_scores_are_of_the_test_images(monkeypatch):
    rng = np.random.default_rng(2)
    net = mlp((9, 5, 2, 5, 9), ("tanh", "identity", "tanh", "relu"))
    test = rng.integers(0, 256, (30, 9), np.uint8)
    test[:, :3] = 0  # three pixels that are never lit
    test[::2, 3:] = 0  # and no pixel is lit in all images
    label = rng.integers(0, 3, 30).astype(np.int32)
    train = jnp.asarray(rng.integers(0, 256, (20, 9), np.uint8)), jnp.zeros(20, jnp.int32)
    data = Images(*train, jnp.asarray(test), jnp.asarray(label))
    monkeypatch.setattr(fig3, "SCATTERED", 12)
    monkeypatch.setattr(fig3, "SHOWN", 4)
    monkeypatch.setattr(fig3, "alignment", lambda net, params, batch: SimpleNamespace(true_angle=batch))

    def evaluated(key):
        params = init_params(key, net)
        dead = params["forward"]["bias"][3].at[jnp.array([0, 5, 7])].set(-50.0)  # one of them is never lit
        params["forward"]["bias"] = (*params["forward"]["bias"][:3], dead)
        state = SimpleNamespace(learner=SimpleNamespace(params=params))
        return params["forward"], scores(net, data, "np")(state), scores(net, data, "adam")(state)

    weights, metrics, without = jax.tree.map(np.asarray, compiled(evaluated)(jax.random.key(0)))
    image = test / 255
    h, phi = [image], (np.tanh, np.asarray, np.tanh, lambda v: np.maximum(v, 0))
    for layer in range(4):
        h.append(phi[layer](h[-1] @ weights["w"][layer].T + weights["bias"][layer]))
    assert metrics["test_loss"] == pytest.approx(32 * ((h[-1] - image) ** 2).sum() / 2 / 30)
    silent = [pixel for pixel in range(9) if not h[-1][:, pixel].any() and image[:, pixel].any()]
    assert {5, 7} <= set(silent)
    assert metrics["silent"] == pytest.approx(100 * len(silent) / 6)
    np.testing.assert_allclose(metrics["latent"], h[2][:12])
    near = [
        min((j for j in range(12) if j != i), key=lambda j, i=i: ((h[2][i] - h[2][j]) ** 2).sum()) for i in range(12)
    ]
    assert metrics["separation"] == pytest.approx(100 * np.mean(label[near] == label[:12]))
    np.testing.assert_array_equal(metrics["digit"], label[:12])
    np.testing.assert_allclose(metrics["reconstruction"], 255 * h[-1].clip(0, 1)[:4], atol=1)
    np.testing.assert_array_equal(metrics["image"], test[:4])
    np.testing.assert_allclose(metrics["true_angle"].x, image[:12])
    np.testing.assert_allclose(metrics["true_angle"].y, image[:12])
    assert "true_angle" not in without


def test_methods_learn_at_the_rates_of_the_config():
    rates = {"rate": 1.0, "feedback_rate": 2.0, "bp_rate": 3.0, "fa_rate": 4.0, "matching_rate": 5.0, "adam_rate": 6.0}
    config = Config(sizes=(9, 5, 2, 5, 9), batch=8, rise=4, **rates)
    by_name = methods(config, mlp(config.sizes, ("tanh", "identity", "tanh", "relu")))
    params = {"forward": jnp.ones(2), "feedback": jnp.ones(3)}

    def moved(tx):
        first, state = tx.update(params, tx.init(params), params)
        return first, tx.update(params, state, params)[0]

    wanted = {"bp": 8, "bp_tuned": 24, "bp_noise": 24, "fa": 8, "fa_tuned": 32, "matching": 40, "np": 8, "adam": 6}
    moves = compiled(lambda: {name: moved(tx) for name, (_, tx) in by_name.items()})()
    for name, (first, second) in moves.items():
        if name == "bp_warm":
            assert (float(first["forward"][0]), float(second["forward"][0])) == (0, -6)
            continue
        assert float(first["forward"][0]) == pytest.approx(-wanted[name]), name
        assert float(first["feedback"][0]) == pytest.approx(-16 if name == "np" else -wanted[name])
