"""Figure 3: summary and table against NumPy loops, claims on numbers made by hand."""

import dataclasses
import math

import numpy as np
import pytest

from experiments.benjamin2021.fig3 import PRESETS, experiment
from experiments.benjamin2021.fig3_summary import jumps, spread, summarise, text
from plasticity_jax.run import checked
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

METHODS = ("wake_sleep", "combined", "wake_sleep_no_recurrence", "combined_no_recurrence", "marginals")
METHODS += ("combined_per_layer",)
CURVES = ("identity", "identity_mean", "mse", "mse_mean", "told", "code_variance", "confidence", "frechet")
CURVES += ("sleep_confidence", "sleep_entropy", "sleep_frechet", "index_shuffled", "index_unpaired", "loss")
PATTERNS = ("js_sleep", "js_floor", "js_unpaired", "js_shuffled", "correlation_sleep", "correlation_floor")
CURVES += tuple(f"{name}{end}" for name in PATTERNS for end in ("", "_rounded"))
RIVALS = ("mean", "other", "blank", "pca", "pca_64", "gauss")


def made(seeds=3, points=8, methods=METHODS):
    """Metrics of a run in which two of a method's networks diverged."""
    metrics = {}
    for name in (*methods, "untrained"):
        length = 1 if name == "untrained" else points
        metrics |= {f"{name}/{curve}": entries(f"{name}/{curve}", seeds, length) for curve in CURVES}
        metrics[f"{name}/frequencies"] = entries("f", seeds, length, 4)
    for name in methods:
        metrics[f"{name}/step"] = np.arange(points) + np.zeros((seeds, 1))
        metrics[f"{name}/bad_step"] = np.full((seeds, points), -1)
    if "marginals" in methods:
        metrics["marginals/told"][2, -1] = np.nan
        metrics["marginals/bad_step"][[0, 2], -1] = 0, 7
    for what in ("identity", "mse", "frechet", "confidence"):
        metrics |= {f"data/{what}_{rival}": entries(f"data/{what}_{rival}", seeds, 1) for rival in RIVALS}
    for what in ("identity", "judge", "confidence", "entropy", "entropy_gauss", "frechet_real"):
        metrics[f"data/{what}"] = entries(f"data/{what}", seeds, 1)
    return metrics


def jumpy(curve):
    """Jumps of a curve, term by term."""
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
        rounded = last[f"{network}/js_shuffled_rounded"] - last[f"{network}/js_sleep_rounded"]
        columns[f"{network}/below_shuffled_rounded"] = rounded
        for end in ("", "_rounded"):
            floor = last[f"{network}/correlation_floor{end}"]
            columns[f"{network}/diagonal{end}"] = last[f"{network}/correlation_sleep{end}"] / floor
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


def test_methods_that_were_not_run_leave_their_claims_open():
    """Numbers of wake/sleep and combined do not depend on the other methods."""
    whole, two = (summarise(made(methods=methods)) for methods in (METHODS, ("combined", "wake_sleep")))
    assert two == {name: value for name, value in whole.items() if name in two}
    absent = {name for name in whole if any(method in name for method in METHODS[2:])} | {
        f"gap/harm{end}" for end in ("", "_sem", "_n")
    }
    assert set(whole) - set(two) == absent
    states = {row["id"]: row["holds"] for row in checked(experiment.claims, two)}
    without = ("recurrence", "recurrence-mse", "recurrence-combined", "without")
    without += ("marginals", "marginals-untold", "per-layer")
    assert {id for id, holds in states.items() if holds is None} == set(without)
    lines = text(made(methods=("combined", "wake_sleep"))).split("\n")
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["wake/sleep", "combined", "untrained"]
    assert "(told): wake/sleep " in lines[-1]


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
    assert len(lines) == 2 + 7 + 6 + 4
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
        "js_shuffled": 13,
    }
    for what, column in place.items():
        assert cells[3][column].startswith(f"{metrics[f'combined/{what}'][:, -1].mean():.3f} ± ")
    assert cells[9][0] == "principal components, as many as the code"
    assert cells[9][3].startswith(f"{metrics['data/mse_pca'].mean():.3f} ± ")
    assert cells[9][2] == "-"
    assert lines[-3].startswith(f"{metrics['data/identity'].mean():.3f} ± ")
    assert f"{metrics['data/frechet_real'].mean():.3f} ± " in lines[-3]
    share = metrics["combined/told"][:, -1].mean()
    assert f"; combined {share:.3f} ± " in lines[-1]


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
    "rounded": ["wake_sleep/below_shuffled_rounded", "combined/below_shuffled_rounded"],
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
    "diagonal-wake-sleep": (0.8, math.inf, "wake_sleep/diagonal_rounded"),
    "diagonal-combined": (0.8, math.inf, "combined/diagonal_rounded"),
    "rounded-rare": (0.8, 1.0, "wake_sleep/js_floor_rounded", "combined/js_floor_rounded"),
    "pairs-combined": (0.8, math.inf, "combined/index_unpaired"),
    "pairs-wake-sleep": (-math.inf, 0.01, "wake_sleep/pairs"),
    "untold": (-math.inf, 0.05, "wake_sleep/told"),
    "diverged": (0, 0, "wake_sleep/diverged", "combined/diverged"),
    "marginals-untold": (-math.inf, 0.05, "marginals/told"),
    "per-layer": (0.0, 0.2, "combined_per_layer/identity"),
}
TOLD, UNTOLD = {"wake_sleep/told": 0.051}, {"wake_sleep/told": 0.05}
TRIVIAL = {
    "identity": ({"data/identity_pca": 0.3, "wake_sleep/identity": 0.2}, {"data/identity_pca": 0.1}),
    "good": ({"data/identity_pca": 0.8}, {"data/identity_pca": 0.79}),
    "different": ({**TOLD, "data/identity_mean": 0.5}, {"data/identity_mean": 0.51}),
    "above-chance": (UNTOLD, {**TOLD, **put_by_hand({"gap/untrained-mean/identity": 0.6})}),
    "manifold": ({**TOLD, "untrained/frechet": 3.0, "untrained/sleep_frechet": 2.0}, {"untrained/frechet": 3.1}),
    "worse-than-mean": ({**TOLD, "data/mse_other": 0.3, "data/mse_mean": 0.2}, {"data/mse_other": 0.1}),
    "better-than-mean": ({"data/mse_pca": 0.1, "data/mse_mean": 0.2}, {"data/mse_pca": 0.3}),
    "better-than-pca": ({"data/mse_mean": 0.1, "data/mse_pca": 0.2}, {"data/mse_mean": 0.3}),
    "identity-pca": (
        {"data/identity_mean": 0.1, "untrained/identity": 0.3, "data/identity_pca": 0.2},
        {"untrained/identity": 0.1},
    ),
    "without": ({"data/identity_pca": 0.3, "wake_sleep_no_recurrence/identity": 0.2}, {"data/identity_pca": 0.1}),
    "generation": (
        {"untrained/sleep_frechet": 10.0, "data/frechet_mean": 2.1, "data/frechet_gauss": 2.0},
        {"data/frechet_gauss": 2.1},
    ),
    "generation-real": (
        {"data/frechet_mean": 10.1, "data/frechet_gauss": 10.0, "data/frechet_real": 1.0},
        {"data/frechet_gauss": 10.1},
    ),
    "classes": ({"untrained/sleep_entropy": 2.9, "data/entropy_gauss": 3.0}, {"data/entropy_gauss": 2.9}),
    "diverged": ({"marginals/diverged": 0}, {"marginals/diverged": 1}),
    "aligned": ("untrained/below_shuffled",),
    "rounded": ("untrained/below_shuffled_rounded",),
    "diagonal-wake-sleep": ({"untrained/diagonal_rounded": 0.8}, {"untrained/diagonal_rounded": 0.7}),
    "diagonal-combined": ({"untrained/diagonal_rounded": 0.8}, {"untrained/diagonal_rounded": 0.7}),
    "rounded-rare": ({"untrained/js_floor_rounded": 0.8}, {"untrained/js_floor_rounded": 0.7}),
    "aligned-wake-sleep": ({**TOLD, "untrained/index_shuffled": 0.8}, {"untrained/index_shuffled": 0.7}),
    "aligned-combined": ({"untrained/index_shuffled": 0.8}, {"untrained/index_shuffled": 0.7}),
    "pairs-combined": ({"untrained/index_unpaired": 0.8}, {"untrained/index_unpaired": 0.7}),
    "pairs-wake-sleep": ({**TOLD, "untrained/pairs": 0.01}, {"untrained/pairs": 0.02}),
    "untold": ({"untrained/told": 0.05}, {"untrained/told": 0.06}),
    "marginals": ({"data/identity_pca": 0.3, "marginals/identity": 0.2}, {"data/identity_pca": 0.1}),
    "marginals-untold": ({"untrained/told": 0.05}, {"untrained/told": 0.06}),
    "per-layer": ({"data/identity_mean": 0.2}, {"data/identity_mean": 0.21}),
}
OWN = {"above-chance", "worse-than-mean", "better-than-pca", "identity-pca", "recurrence-combined", "pairs-wake-sleep"}
OWN |= {"rounded-rare", "untold", "diverged", "marginals", "marginals-untold", "per-layer"}


def test_every_claim_reads_its_own_numbers():
    assert {claim.id for claim in experiment.claims} == set(GAPS) | set(BOUNDED)
    are_gaps(experiment.claims, GAPS)
    are_bounded(experiment.claims, BOUNDED)
    are_trivial(experiment.claims, TRIVIAL, decidable(GAPS, BOUNDED))
    assert {claim.id for claim in experiment.claims if claim.own} == OWN
    assert all((claim.paper is None) == claim.own for claim in experiment.claims)


def test_claims_on_a_code_that_ignores_its_image_are_trivial():
    hollow = ("different", "above-chance", "manifold", "worse-than-mean", "aligned-wake-sleep", "pairs-wake-sleep")
    unmet = {
        **{"data/identity_mean": 0.6, "data/mse_other": 0.1, "data/mse_mean": 0.2, "untrained/index_shuffled": 0.1},
        **{"untrained/frechet": 4.0, "untrained/sleep_frechet": 2.0, "untrained/pairs": 0.1},
        **put_by_hand({"gap/untrained-mean/identity": 0.6}),
    }
    for id in hollow:
        for share, trivial in ((UNTOLD, True), (TOLD, False)):
            assert (
                row(experiment.claims, id, {**decidable(GAPS, BOUNDED)(id), **unmet, **share})["trivial"] is trivial
            ), id


def test_settings_that_cannot_be_are_refused():
    few = {"points": 3, "steps": 42}
    for wrong, what in (
        (few, "points=3"),
        ({"points": 7}, "points=7"),
        ({"latent": 7}, "latent=7"),
        ({"methods": ("vae",)}, "vae"),
    ):
        with pytest.raises(ValueError, match=what):
            dataclasses.replace(PRESETS["smoke"], **wrong)
    for wrong, what in (
        ({"gamma": 1.1}, "gamma"),
        ({"b1": 1.0}, "b1"),
        ({"recurrence": 0}, "recurrence"),
        ({"batch": 0}, "batch"),
    ):
        with pytest.raises(ValueError, match=what):
            experiment.check(dataclasses.replace(PRESETS["smoke"], **wrong))
