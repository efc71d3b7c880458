"""Figure 2 of Lindsey & Litwin-Kumar: the summary and every claim, on numbers made by hand."""

import math

import numpy as np
import pytest

from experiments.lindsey2020.fig2_claims import CLAIMS
from experiments.lindsey2020.fig2_summary import alignment, final, periodicity, summarise
from tests.experiments.by_hand import is_gap, is_not_above, is_told, is_trivial, paired, row

SEEDS, POINTS, LIVES, T, P, K = 3, 2, 5, 12, 3, 3
LAYERS = ("third_from_end", "penultimate", "readout")
TWO_HALVES = ("iid/reuse", "iid/control", "iid/readout", "iid/flp3", "continual/flp3")
PARTS = (*TWO_HALVES, "iid/flp2", "iid/gradient", "continual/gradient")


def metrics_by_hand():
    """Metrics of all parts, no two entries alike; parts with two halves have twice the points."""
    rng, metrics = np.random.default_rng(0), {}
    for part in PARTS:
        points = 2 * POINTS if part in TWO_HALVES else POINTS
        for metric in ("error", "frozen"):
            metrics[f"{part}/{metric}"] = rng.random((SEEDS, points))
            metrics[f"{part}/{metric}_mean"] = rng.random((SEEDS, points))
        metrics[f"{part}/interference"] = rng.random((SEEDS, points, K - 1))
        metrics[f"{part}/norm"] = rng.random((SEEDS, points, T, P))
        metrics[f"{part}/relative"] = rng.random((SEEDS, points, T, P))
        metrics[f"{part}/cosine"] = rng.uniform(-1, 1, (SEEDS, points, T, P))
        metrics[f"{part}/cosine_of_lives"] = rng.normal(0.3, 0.3, (SEEDS, points, LIVES, P))
        metrics[f"{part}/rise_of_lives"] = rng.normal(-0.1, 0.3, (SEEDS, points, LIVES, P))
    return metrics


METRICS = metrics_by_hand()
PLACES = {
    "iid/reuse": ("iid/reuse", 1), "iid/reuse_longer": ("iid/reuse", 3), "iid/upstream": ("iid/control", 3),
    "iid/readout": ("iid/readout", 3), "iid/flp2": ("iid/flp2", 1), "iid/flp3": ("iid/flp3", 1),
    "iid/gradient_warm": ("iid/flp3", 3), "iid/gradient": ("iid/gradient", 1), "continual/flp3": ("continual/flp3", 1),
    "continual/gradient_warm": ("continual/flp3", 3), "continual/gradient": ("continual/gradient", 1),
}  # fmt: skip
"""The part and the point at which each network's training has ended."""


def at_end(name, metric, seed):
    part, point = PLACES[name]
    return METRICS[f"{part}/{metric}"][seed, point]


def mean(values):
    return sum(values) / len(values)


def test_errors_and_gaps_by_hand():
    summary = summarise(METRICS)
    for name in PLACES:
        np.testing.assert_array_equal(final(METRICS, name, "error"), [at_end(name, "error", s) for s in range(SEEDS)])
        expected = mean([at_end(name, "error", seed) for seed in range(SEEDS)])
        assert summary[f"error/{name}"] == pytest.approx(expected, rel=1e-12)
        expected = mean([at_end(name, "error_mean", seed) for seed in range(SEEDS)])
        assert summary[f"error/{name}/mean"] == pytest.approx(expected, rel=1e-12)
    for name in ("iid/reuse", "iid/flp2", "iid/flp3"):
        for metric, key in (("frozen", f"frozen/{name}"), ("frozen_mean", f"frozen/{name}/mean")):
            expected = mean([at_end(name, metric, seed) for seed in range(SEEDS)])
            assert summary[key] == pytest.approx(expected, rel=1e-12)
    gaps = {
        "gap/frozen/2-1": ("frozen", "iid/flp2", "iid/reuse"),
        "gap/frozen/3-2": ("frozen", "iid/flp3", "iid/flp2"),
        "gap/error/1-2": ("error", "iid/reuse", "iid/flp2"),
        "gap/error/2-3": ("error", "iid/flp2", "iid/flp3"),
        "gap/error/reuse-upstream": ("error", "iid/reuse", "iid/upstream"),
        "gap/error/reuse_longer-upstream": ("error", "iid/reuse_longer", "iid/upstream"),
        "gap/error/readout-upstream": ("error", "iid/readout", "iid/upstream"),
        "gap/error/gradient_warm-flp3": ("error", "continual/gradient_warm", "continual/flp3"),
        "gap/error/gradient-flp3": ("error", "continual/gradient", "continual/flp3"),
        "gap/error/upstream-flp3": ("error", "iid/upstream", "iid/flp3"),
    }
    for key, (metric, worse, better) in gaps.items():
        ratios = [math.log10(at_end(worse, metric, s) / at_end(better, metric, s)) for s in range(SEEDS)]
        assert summary[key] == pytest.approx(mean(ratios), rel=1e-9), key
    for other in ("gradient_warm", "gradient"):
        ratios = [
            mean(
                [
                    math.log10(
                        at_end(f"continual/{other}", "interference", s)[k]
                        / at_end("continual/flp3", "interference", s)[k]
                    )
                    for k in range(K - 1)
                ]
            )
            for s in range(SEEDS)
        ]
        assert summary[f"gap/interference/{other}-flp3"] == pytest.approx(mean(ratios), rel=1e-9)
    for name in ("continual/flp3", "continual/gradient_warm", "continual/gradient"):
        for k in range(K - 1):
            expected = mean([at_end(name, "interference", seed)[k] for seed in range(SEEDS)])
            assert summary[f"interference/{name}/{k + 2}"] == pytest.approx(expected, rel=1e-12)
    assert summary["no_lifetime_learning"] == pytest.approx(3.13, abs=0.02)


@pytest.mark.parametrize("other", ["gradient_warm", "gradient"])
@pytest.mark.parametrize("metric", ["norm", "relative"])
def test_norms_by_hand(metric, other):
    summary = summarise(METRICS)
    for k, layer in enumerate(LAYERS):
        ratios = []
        for seed in range(SEEDS):
            ours, theirs = (at_end(name, metric, seed)[:, k] for name in ("iid/flp3", f"iid/{other}"))
            ratios.append(math.log10(mean(ours) / mean(theirs)))
        assert summary[f"{metric}/{other}/{layer}"] == pytest.approx(mean(ratios), rel=1e-9)
        assert summary[f"-{metric}/{other}/{layer}"] == pytest.approx(-mean(ratios), rel=1e-9)


def test_a_summary_of_some_networks():
    """Networks that were not run are absent, and claims on them are open."""
    some = {name: values for name, values in METRICS.items() if name.startswith(("iid/reuse/", "iid/control/"))}
    summary, whole = summarise(some), summarise(METRICS)
    assert {name: whole[name] for name in summary} == summary
    assert {name for name in summary if name.startswith("gap/") and "_" not in name.rpartition("upstream")[2]} == {
        "gap/error/reuse-upstream", "gap/error/reuse_longer-upstream",
    }  # fmt: skip
    decided = {claim.id for claim in CLAIMS if row(CLAIMS, claim.id, summary)["holds"] is not None}
    assert decided == {"upstream_does_not_help_reuse"}


@pytest.mark.parametrize("order", ["iid", "continual"])
def test_cosines_by_hand(order):
    name, summary = f"{order}/flp3", summarise(METRICS)
    cosines = [at_end(name, "cosine", seed) for seed in range(SEEDS)]
    lives = [at_end(name, "cosine_of_lives", seed) for seed in range(SEEDS)]
    rises = [at_end(name, "rise_of_lives", seed) for seed in range(SEEDS)]
    weak = [abs(cosines[s][t][k]) < 0.5 for s in range(SEEDS) for t in range(T) for k in range(P)]
    assert summary[f"weak/{order}"] == pytest.approx(mean(weak), rel=1e-12)
    for k, layer in enumerate(LAYERS):
        assert summary[f"cosine/{order}/{layer}"] == pytest.approx(mean([mean(a[:, k]) for a in lives]), rel=1e-9)
        assert summary[f"rise/{order}/{layer}"] == pytest.approx(mean([mean(a[:, k]) for a in rises]), rel=1e-9)
    assert summary[f"rise/{order}/mean"] == pytest.approx(mean([a.mean() for a in rises]), rel=1e-9)
    spreads = []
    for seed in range(SEEDS):
        chosen = [mean([lives[seed][life][k] for life in (0, 2, 4)]) for k in range(P)]
        held = [mean([lives[seed][life][k] for life in (1, 3)]) for k in range(P)]
        spreads.append(held[chosen.index(max(chosen))] - held[chosen.index(min(chosen))])
    assert summary[f"spread/{order}"] == pytest.approx(mean(spreads), rel=1e-9)


def test_fractions_are_by_students_t():
    """Means of three networks' layers are 0.9, 1.1 or -1.1 times the least that differs from 0 with four lifetimes."""
    offsets = np.array([-1.0, 1.0, -1.0, 1.0])
    limit = 3.1824 * np.sqrt(4 / 3) / 2  # t times the standard error
    means = limit * np.array([[0.9, 1.1, -1.1], [0.9, 0.9, 1.1], [-0.9, 0.9, 1.1]])
    values = (means[:, None] + offsets[None, :, None])[:, None]
    metrics = {"iid/flp3/cosine": values, "iid/flp3/cosine_of_lives": values, "iid/flp3/rise_of_lives": -2 * values}
    fractions = alignment(metrics, "iid")
    assert fractions["negative/iid"] == pytest.approx(1 / 9)
    assert fractions["falling/iid"] == pytest.approx(3 / 9)
    assert fractions["rising/iid"] == pytest.approx(1 / 9)


def test_periodicity_differs_with_and_without_a_period():
    t = np.arange(60)
    series = np.stack([np.cos(2 * np.pi * t / 12), np.cos(2 * np.pi * t / 7), 0 * t], -1)[None, None]
    metrics = {"continual/flp3/cosine": series, "continual/flp3/interference": np.ones((1, 1, 4))}
    own, other, none = periodicity(metrics)[0]
    assert own > 1.5
    assert other < 0.5
    assert none == 0


def test_periodicity_by_hand():
    """A block of four steps in lives of twelve: lag 4, above the mean of lags 2 and 6."""
    periodicities = periodicity(METRICS)
    for seed in range(SEEDS):
        for k in range(P):
            series = at_end("continual/flp3", "cosine", seed)[:, k]
            series = series - mean(series)
            own = {lag: mean([series[t] * series[t + lag] for t in range(T - lag)]) for lag in (0, 2, 4, 6)}
            expected = (own[4] - (own[2] + own[6]) / 2) / own[0]
            assert periodicities[seed, k] == pytest.approx(expected, rel=1e-9)
    assert summarise(METRICS)["periodicity"] == pytest.approx(periodicities.mean(), rel=1e-9)


@pytest.mark.parametrize(("name", "names"), [
    ("frozen_features_get_worse", ["gap/frozen/2-1", "gap/frozen/3-2"]),
    ("two_layers_adapt_better", ["gap/error/1-2"]),
    ("three_layers_adapt_better", ["gap/error/2-3"]),
    ("control_misses_flp", ["gap/error/upstream-flp3"]),
    ("less_interference", ["gap/interference/gradient_warm-flp3"]),
    ("less_interference_than_second_order", ["gap/interference/gradient-flp3"]),
    ("layers_differ", ["spread/iid", "spread/continual"]),
    ("periodic", ["periodicity"]),
    *(
        (f"{name}{ending}", [f"{sign}{metric}/{other}/{layer}" for layer in layers])
        for other, ending in (("gradient_warm", ""), ("gradient", "_than_second_order"))
        for name, sign, metric, layers in (
            ("larger_updates_upstream", "", "norm", LAYERS[:2]),
            ("smaller_updates_of_readout", "-", "norm", LAYERS[2:]),
            ("larger_relative_upstream", "", "relative", LAYERS[:2]),
            ("smaller_relative_of_readout", "-", "relative", LAYERS[2:]),
        )
    ),
])  # fmt: skip
def test_claims_on_differences(name, names):
    is_gap(CLAIMS, name, *names)


def test_claims_that_nothing_is_gained():
    is_not_above(CLAIMS, "upstream_does_not_help_reuse", "gap/error/reuse_longer-upstream")
    is_not_above(CLAIMS, "upstream_adds_nothing_to_the_readout", "gap/error/readout-upstream")
    is_not_above(CLAIMS, "no_upward_trend", "rise/iid/mean", "rise/continual/mean")


def test_claims_on_fractions():
    weak, negative = ({f"{kind}/{order}": value for order in ("iid", "continual")} for kind, value in
                      (("weak", 0.6), ("negative", 0.1)))  # fmt: skip
    is_told(CLAIMS, "often_weak", {**weak, "weak/iid": 0.51}, [{name: 0.5} for name in weak], 0.51)
    is_told(CLAIMS, "some_negative", {**negative, "negative/iid": 0.05}, [{name: 0.0} for name in negative], 0.05)
    trends = {"rising/iid": 0.2, "falling/iid": 0.1}
    is_told(CLAIMS, "diverse_trends", trends, [{name: 0.0} for name in trends], 0.1)


def test_trivial_baselines():
    base = "no_lifetime_learning"
    for name, gap, network in (
        ("two_layers_adapt_better", "gap/error/1-2", "iid/reuse"),
        ("three_layers_adapt_better", "gap/error/2-3", "iid/flp2"),
    ):
        is_trivial(CLAIMS, name, {**paired({gap: 1.0}), base: 3.1, f"error/{network}": 3.2}, {base: 3.3})
    for name, gap, network in (
        ("upstream_does_not_help_reuse", "gap/error/reuse_longer-upstream", "iid/reuse_longer"),
        ("upstream_adds_nothing_to_the_readout", "gap/error/readout-upstream", "iid/readout"),
        ("control_misses_flp", "gap/error/upstream-flp3", "iid/flp3"),
    ):
        is_trivial(CLAIMS, name, {**paired({gap: 1.0}), base: 3.1, f"error/{network}": 3.0}, {base: 2.9})
    assert row(CLAIMS, "periodic", paired({"periodicity": 1.0}))["trivial"] is None


def test_the_papers_claims_and_ours():
    assert len(CLAIMS) == len({claim.id for claim in CLAIMS}) == 22
    assert {claim.id for claim in CLAIMS if claim.own} == {
        "upstream_adds_nothing_to_the_readout", "control_misses_flp", "less_interference_than_second_order",
        "larger_relative_upstream", "smaller_relative_of_readout", "larger_updates_upstream_than_second_order",
        "smaller_updates_of_readout_than_second_order", "larger_relative_upstream_than_second_order",
        "smaller_relative_of_readout_than_second_order",
    }  # fmt: skip
