"""Figure 4 from metrics to claims: hand-made numbers, every one different, against plain loops."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019 import fig4
from experiments.lansdell2019.fig4 import (
    Config,
    experiment,
    feedback_against_weights,
    make_parts,
    measured,
    network,
    optimiser,
    setting,
)
from experiments.lansdell2019.fig4_claims import accuracy, finals, summarise, tail, time_to_learn
from experiments.lansdell2019.fig4_figures import text
from plasticity_jax.base import Info
from plasticity_jax.run import checked
from plasticity_jax.typing import Example
from tests.laws.common import compiled

SEEDS, POINTS, TAIL, LAGS = 3, 20, 2, 6
METHODS = {
    "short": ("bp", "np", "legacy", "fa", "fa_unfair", "none", "readout"),
    "long": ("bp", "np", "fa", "fa_unfair", "none", "readout"),
}
WITH_B = ("np", "legacy", "fa", "fa_unfair")


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for task, methods in METHODS.items():
        for method in methods:
            where = f"{task}.{method}"
            metrics[f"{where}/loss"] = rng.uniform(1, 9, (SEEDS, POINTS))
            metrics[f"{where}/due"] = rng.uniform(10, 20, (SEEDS, POINTS))
            metrics[f"{where}/right"] = metrics[f"{where}/due"] * rng.uniform(0.5, 1, (SEEDS, POINTS))
            if method in WITH_B:
                metrics[f"{where}/cosine"] = rng.uniform(-1, 1, (SEEDS, POINTS))
                metrics[f"{where}/angles"] = rng.uniform(0, 180, (SEEDS, POINTS, LAGS))
    return metrics


def end_of(values, seed):
    return sum(float(values[seed, t]) for t in range(POINTS - TAIL, POINTS)) / TAIL


def row(id, summary):
    (measured_claim,) = checked([claim for claim in experiment.claims if claim.id == id], summary)
    return measured_claim


def test_the_last_tenth_and_one_point_at_least():
    curve = np.arange(40.0).reshape(2, 20)
    np.testing.assert_array_equal(tail(curve), [[18, 19], [38, 39]])
    np.testing.assert_array_equal(tail(curve[:, :5]), [[4], [24]])
    np.testing.assert_array_equal(tail(np.arange(24.0).reshape(1, 12, 2)), [[[22, 23]]])


def test_time_to_the_first_point_at_the_level():
    curve = np.array([[0.5, 0.95, 0.6, 0.99], [0.5, 0.6, 0.7, 0.94], [0.96, 0.1, 0.1, 0.1]])
    np.testing.assert_allclose(time_to_learn(curve), [0.5, 1.0, 0.25])
    np.testing.assert_allclose(time_to_learn(curve, 0.99), [1.0, 1.0, 1.0])
    np.testing.assert_allclose(time_to_learn(curve, 0.6), [0.5, 0.5, 0.25])


def test_accuracy_is_of_the_answers_that_were_due():
    metrics = {"a/right": np.array([[3.0, 0.0]]), "a/due": np.array([[4.0, 0.0]])}
    np.testing.assert_allclose(accuracy(metrics, "a"), [[0.75, 0.0]])


def test_summary_by_loops():
    metrics = hand_made()
    metrics["long.fa/loss"][1, -1] = np.nan
    summary = summarise(metrics)
    best = {}
    for task, methods in METHODS.items():
        for method in methods:
            where, name = f"{task}.{method}", f"{task}/{method}"
            seeds = [0, 2] if where == "long.fa" else [0, 1, 2]
            right = metrics[f"{where}/right"] / metrics[f"{where}/due"]
            best[name] = {seed: max(right[seed]) for seed in seeds}
            wanted = {
                "accuracy": [end_of(right, seed) for seed in seeds],
                "best_accuracy": list(best[name].values()),
                "time": [next((t for t in range(20) if right[s, t] >= 0.95), 19) / 20 + 0.05 for s in seeds],
                "loss": [end_of(metrics[f"{where}/loss"], seed) for seed in seeds],
            }
            if method in WITH_B:
                wanted["cosine"] = [end_of(metrics[f"{where}/cosine"], seed) for seed in seeds]
                for lag in range(LAGS):
                    wanted[f"angle_{lag + 1}"] = [end_of(metrics[f"{where}/angles"][:, :, lag], s) for s in seeds]
                angles = [wanted[f"angle_{lag + 1}"] for lag in range(LAGS)]
                wanted["angle"] = [sum(each) / LAGS for each in zip(*angles, strict=True)]
            assert set(finals(metrics, where)) == set(wanted)
            for number, values in wanted.items():
                assert summary[f"{name}/{number}"] == pytest.approx(sum(values) / len(seeds)), number
                assert summary[f"{name}/{number}_n"] == len(seeds)
        pairs = [("np", other) for other in methods if other != "np"] + [("fa", "none")]
        for one, other in pairs:
            a, b = best[f"{task}/{one}"], best[f"{task}/{other}"]
            leads = [a[seed] - b[seed] for seed in a if seed in b]
            assert summary[f"{task}/{one}-{other}/best_accuracy"] == pytest.approx(sum(leads) / len(leads))
    assert summary["short/np/time"] < 1
    assert summary["bounds/accuracy"] == pytest.approx(0.975)  # 1 - p / 2 of a cue rate p of 0.05
    assert summary["bounds/loss"] == pytest.approx(200 * 0.05**2 / 2)
    assert summary["bounds/silent"] == pytest.approx(200 * 0.05 / 2)


def test_what_is_not_run_is_left_out_and_the_rest_is_the_same():
    metrics = hand_made()
    some = {key: values for key, values in metrics.items() if key.split("/")[0] in ("short.np", "short.bp", "short.fa")}
    whole, partial_summary = summarise(metrics), summarise(some)
    assert partial_summary == {key: whole[key] for key in partial_summary}
    names = {key.rpartition("/")[0] for key in partial_summary if key.startswith(("short", "long"))}
    assert names == {"short/np", "short/bp", "short/fa", "short/np-bp", "short/np-fa"}
    assert len(text(some).split("\n")) == 2 + 3 + 2
    rows = checked(experiment.claims, partial_summary)
    assert {row["id"] for row in rows if row["holds"] is not None} == {
        "short-np-learns", "short-np-like-bptt-time", "short-np-like-bptt-loss", "short-fa-stuck", "short-np-angle-1"
    }  # fmt: skip
    config = Config(tasks=("short",), methods=("fa", "np"))
    assert list(make_parts(config)) == ["short.np", "short.fa"]
    assert len(make_parts(Config())) == 13


LEARNS = {"short-np": 0.95, "short-legacy": 0.9, "short-none": 0.9, "long-bp": 0.95, "long-np": 0.95}
ANGLES = {  # the angle, its bounds, and the feedback that is never learned
    "short-fa_unfair-angle": ("short/fa_unfair/angle", 75, 105, None),
    "short-legacy-angle": ("short/legacy/angle", 75, 105, "short/fa_unfair/angle"),
    "short-legacy-angle-1": ("short/legacy/angle_1", 75, 105, "short/fa_unfair/angle_1"),
    "short-np-angle-1": ("short/np/angle_1", 0, 60, "short/fa/angle_1"),
    "long-np-angle-1": ("long/np/angle_1", 0, 60, "long/fa/angle_1"),
    "long-np-angle": ("long/np/angle", 0, 75, "long/fa/angle"),
}
OTHERS = {
    "short-np-like-bptt-time",
    "short-np-like-bptt-loss",
    "short-fa_unfair-stuck",
    "short-fa-stuck",
    "long-none-fails",
    "long-readout-fails",
    "long-np-above-none",
    "long-np-above-fa",
}


def test_every_claim_is_in_the_tables():
    learns = {f"{name}-learns" for name in LEARNS}
    assert {claim.id for claim in experiment.claims} == learns | set(ANGLES) | OTHERS
    papers = {"short-np-learns", "short-legacy-learns", "short-np-like-bptt-time", "short-np-like-bptt-loss"}
    papers |= {"short-fa_unfair-stuck", "short-fa_unfair-angle", "short-legacy-angle", "short-legacy-angle-1"}
    assert {claim.id for claim in experiment.claims if not claim.own} == papers


@pytest.mark.parametrize("name", LEARNS)
def test_a_network_learns_and_one_without_credit_through_time_may_do_so_too(name):
    task, _, method = name.partition("-")
    id, number, bound = f"{name}-learns", f"{task}/{method}/accuracy", LEARNS[name]
    assert row(id, {number: bound, f"{task}/{method}/best_accuracy": 0.1})["holds"] is True
    assert row(id, {number: bound})["measured"] == bound
    assert row(id, {number: bound - 0.001})["holds"] is False
    assert row(id, {})["holds"] is None
    if method != "none":
        assert row(id, {number: 0.96, f"{task}/none/accuracy": bound})["trivial"] is True
        assert row(id, {number: 0.96, f"{task}/none/accuracy": bound - 0.001})["trivial"] is False


@pytest.mark.parametrize("id", ANGLES)
def test_angles(id):
    number, low, high, fixed = ANGLES[id]
    for inside, outside in ((low + 0.1, low - 0.1), (high - 0.1, high + 0.1)):
        assert row(id, {number: inside})["holds"] is True
        assert row(id, {number: inside})["measured"] == inside
        assert row(id, {number: outside})["holds"] is False
        if fixed:
            assert row(id, {number: 50.0, fixed: inside})["trivial"] is True
            assert row(id, {number: 50.0, fixed: outside})["trivial"] is False
    assert row(id, {})["holds"] is None


@pytest.mark.parametrize("what", ["time", "loss"])
def test_comparable_is_at_most_twice(what):
    id, np_, bp = f"short-np-like-bptt-{what}", f"short/np/{what}", f"short/bp/{what}"
    assert row(id, {np_: 0.8, bp: 0.4})["holds"] is True
    assert row(id, {np_: 0.8, bp: 0.5})["measured"] == pytest.approx(1.6)
    assert row(id, {np_: 0.81, bp: 0.4})["holds"] is False
    assert row(id, {np_: 0.8})["holds"] is None
    assert row(id, {np_: 0.5, bp: 0.4, f"short/none/{what}": 0.8})["trivial"] is True
    assert row(id, {np_: 0.5, bp: 0.4, f"short/none/{what}": 0.81})["trivial"] is False


def test_methods_that_fail():
    for method in ("fa", "fa_unfair"):
        id = f"short-{method}-stuck"
        assert row(id, {f"short/{method}/loss": 4.0})["holds"] is True
        assert row(id, {f"short/{method}/loss": 4.0})["measured"] == 4.0
        assert row(id, {f"short/{method}/loss": 3.9})["holds"] is False
    for method in ("none", "readout"):
        id, best = f"long-{method}-fails", f"long/{method}/best_accuracy"
        assert row(id, {best: 0.89, f"long/{method}/accuracy": 0.95})["holds"] is True
        assert row(id, {best: 0.89})["measured"] == 0.89
        assert row(id, {best: 0.9, f"long/{method}/accuracy": 0.1})["holds"] is False


def lead(pair, value, sem, n=4):
    name = f"long/{pair}/best_accuracy"
    return {name: value, f"{name}_sem": sem, f"{name}_n": n}


@pytest.mark.parametrize("other", ["none", "fa"])
def test_a_lead_counts_by_t_and_is_no_small_one(other):  # t is 3.18 for four seeds
    id, pair = f"long-np-above-{other}", f"np-{other}"
    assert row(id, lead(pair, 0.1, 0.03))["holds"] is True
    assert row(id, lead(pair, 0.1, 0.03))["measured"] == 0.1
    assert row(id, lead(pair, 0.09, 0.03))["holds"] is False
    assert row(id, lead(pair, 0.019, 0.001))["holds"] is False
    assert row(id, lead(pair, -0.1, 0.001))["holds"] is False
    assert row(id, lead(pair, 0.1, math.nan, 1))["holds"] is None
    assert row(id, {})["holds"] is None
    if other == "none":
        summary = lead(pair, 0.1, 0.03)
        assert row(id, summary | lead("fa-none", 0.1, 0.03))["trivial"] is True
        assert row(id, summary | lead("fa-none", 0.09, 0.03))["trivial"] is False


def test_table_counts_seeds():
    metrics = hand_made()
    metrics["long.np/loss"][0, -1] = np.nan
    table = {}
    for line in text(metrics).split("\n")[2:15]:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        table[cells[0], cells[1]] = cells[2:]
    assert len(table) == 13
    cells = table["long", "node perturbation, corrected"]
    right = metrics["long.np/right"] / metrics["long.np/due"]
    assert cells[0] == "2 of 3"
    assert cells[1].startswith(f"{(end_of(metrics['long.np/loss'], 1) + end_of(metrics['long.np/loss'], 2)) / 2:.2f} ±")
    assert cells[2].startswith(f"{50 * (end_of(right, 1) + end_of(right, 2)):.1f} ±")
    assert cells[3].startswith(f"{50 * (max(right[1]) + max(right[2])):.1f} ±")
    angles = metrics["long.np/angles"]
    assert cells[4:] == [f"{tail(angles[1:, :, lag]).mean():.0f}" for lag in range(LAGS)]
    assert table["short", "BPTT"][0] == "3 of 3"
    assert table["short", "BPTT"][4:] == ["-"] * LAGS


def test_losses_are_of_a_step_of_200_streams_and_answers_are_counted():
    y = jnp.array([[[1.0], [0.0], [-1.0]], [[0.0], [0.0], [1.0]]])
    output = jnp.array([[[0.3], [5.0], [0.2]], [[-1.0], [0.0], [2.0]]])
    metrics = measured(Info(jnp.array(0.6), jnp.array(True), {"output": output}), Example(jnp.zeros((2, 3, 2)), y))
    assert {name: float(value) for name, value in metrics.items()} == {
        "loss": pytest.approx(200 * 0.6 / 3),
        "right": 2,
        "due": 3,
    }


def test_feedback_is_held_against_the_recurrent_weights(monkeypatch):
    rng = np.random.default_rng(3)
    w, back = rng.normal(size=(1, 5, 8)), rng.normal(size=(1, 5, 5))
    params = {"forward": {"w": jnp.asarray(w)}, "feedback": {"w_back": jnp.asarray(back)}}
    arguments, calls = (network(Config(n=5)), params, "state", "window"), []
    monkeypatch.setattr(fig4, "angles_by_lag", lambda *args: calls.append(args) or jnp.arange(10.0, 19.0))
    metrics = feedback_against_weights(*arguments)
    assert calls == [arguments]
    assert metrics["angles"].tolist() == [10, 11, 12, 13, 14, 15]
    cosine = (w[:, :, :5] * back).sum() / np.sqrt((w[:, :, :5] ** 2).sum() * (back**2).sum())
    assert float(metrics["cosine"]) == pytest.approx(cosine)


def test_rates_of_the_groups():
    config = Config(short_rate=1.0, readout_share=0.25, feedback_rate=3.0, long_rate=0.5)
    params = {"forward": {"w": jnp.ones(1), "w_out": jnp.ones(1)}, "feedback": {"w_back": jnp.ones(1)}}
    cases = [("short", "np"), ("short", "readout"), ("long", "np"), ("long", "readout")]

    def moved():
        optimisers = [optimiser(config, task, setting(config, task), method) for task, method in cases]
        return [tx.update(params, tx.init(params), params)[0] for tx in optimisers]

    each = [[float(leaf[0]) for leaf in (u["forward"]["w"], u["forward"]["w_out"], u["feedback"]["w_back"])]
            for u in compiled(moved)()]  # fmt: skip
    np.testing.assert_allclose(each, [[-1, -0.25, -3], [0, -0.25, -3], [-0.5, -0.5, -3], [0, -0.5, -3]], rtol=1e-5)
    short, long = setting(config, "short"), setting(config, "long")
    assert short == ((1, 2), 7, 200, 1.0, 5000, 1000)
    assert long == ((7, 9), 18, 50, 0.5, 10_000, 1200)


def test_settings_that_do_not_fit_together_are_refused():
    for fields, message in (
        ({"short_window": 6}, "must be above 6"),
        ({"long_stimuli": (9, 9)}, "stimuli"),
        ({"long_windows": 10_010}, "long_windows must be a multiple of points=20"),
        ({"tasks": ("short", "longer")}, "tasks: 'longer' is not known"),
        ({"methods": ("rtrl",)}, "methods: 'rtrl' is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**fields)
