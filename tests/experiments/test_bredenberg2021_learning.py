"""Figures 1, 2d and 3 from metrics to claims: distinct made-up numbers, compared with plain loops."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bredenberg2021.learning import PRESETS, Config, experiment, largest_difference
from experiments.bredenberg2021.learning_figures import ticks
from experiments.bredenberg2021.learning_standard_figures import curve
from experiments.bredenberg2021.learning_summary import best, final, largest_stable, ran, summarise, tasks_of
from tests.experiments.bredenberg2021_by_hand import (
    are_between,
    are_cases,
    are_sure,
    are_trivial,
    entries,
    is_summary,
    over_seeds,
)

SEEDS, POINTS = 3, 4
METHODS = ("il", "ws", "ws_coordinatewise", "bp", "nvi", "published")
FEW = ("il", "bp", "nvi", "published")
SCALARS = ("wake", "alternating", "r2", "decoding", "decoding_noiseless", "transition", "correlation", "dispersion")
SLOPES = ("slope_wake", "slope_sleep")
RATES = {"nvi": (1e-6, 3e-6, 1e-5), "published": (3e-10, 1e-7), "untrained": (0.0,)}
TASKS = {"standard": ("untrained", *METHODS), "d32": ("untrained", *FEW), "d8": ("untrained", *FEW)}
PHASES = ("K5", "K1", "K2", "K32")
TRIED = {"untrained": (0.0,), "il": (1e-3, 3e-2, 2.0), "nvi": (1e-6, 1e-5, 1e-4)}


def metrics_by_hand():
    """Metrics of a run in which NVI* is best at its middle rate, and one seed diverged at its highest."""
    metrics = {"identity/pca": entries("pca", SEEDS, 1), "identity/difference": entries("difference", SEEDS, 1)}
    parts = {f"{task}.{method}": RATES.get(method, (1e-3,)) for task, methods in TASKS.items() for method in methods}
    parts |= {f"{task}.il": (5e-4,) for task in PHASES}
    for part, rates in parts.items():
        if part.startswith("d") and part.endswith(".published"):
            rates = rates[:1]
        points = 1 if part.endswith(".untrained") else POINTS
        for name in (*SCALARS, *SLOPES):
            metrics[f"{part}/{name}"] = entries(f"{part}/{name}", SEEDS, points, len(rates))
        for which in ("wake", "stimulus", "dream"):
            metrics[f"{part}/acf_{which}"] = entries(f"{part}/acf_{which}", SEEDS, points, len(rates), 21)
        metrics[f"{part}/rate"] = np.broadcast_to(np.array(rates), (SEEDS, points, len(rates)))
        steps = np.arange(1, points + 1)[:, None] * 100
        metrics[f"{part}/step"] = np.broadcast_to(steps, (SEEDS, points, len(rates)))
    for task in TASKS:
        wake = metrics[f"{task}.nvi/wake"]
        wake[:, -1, 1] *= 0.1
        wake[:, 0, 2] *= 0.01
        wake[1, -1, 2] = np.nan
    for method, rates in TRIED.items():
        losses = entries(f"rates.{method}", SEEDS, 2, len(rates))
        losses[:, -1] += np.array({"untrained": [3], "il": [1, 2, 5], "nvi": [1, 2.5, 1]}[method])
        if method == "nvi":
            losses[2, -1, 2] = np.nan
        metrics[f"rates.{method}/alternating"] = losses
        metrics[f"rates.{method}/wake"] = -losses
        metrics[f"rates.{method}/rate"] = np.broadcast_to(np.array(rates), (SEEDS, 2, len(rates)))
    return metrics


def ends(metrics, task, method, name):
    """Metric of each seed at the last point, at the rate that counts."""
    column = 1 if method == "nvi" else -1
    return np.array([metrics[f"{task}.{method}/{name}"][seed][-1][column] for seed in range(SEEDS)])


def by_gradient(metrics, task):
    """Move of a transition by the exact gradient along NVI*'s path at its second rate, 3e-6, by trapezoids."""
    moved = []
    for seed in range(SEEDS):
        slopes = [sum(metrics[f"{task}.untrained/{name}"][seed, 0, 0] for name in SLOPES)]
        slopes += [sum(metrics[f"{task}.nvi/{name}"][seed, point, 1] for name in SLOPES) for point in range(POINTS)]
        moved.append(-3e-6 * 100 * (sum(slopes) - slopes[0] / 2 - slopes[-1] / 2))
    return np.array(moved)


def test_summary_is_of_the_ends_and_paired():
    metrics = metrics_by_hand()
    columns, numbers = {}, {}
    for task, methods in TASKS.items():
        for method in methods:
            for name in (*SCALARS, *SLOPES):
                columns[f"{task}/{method}/{name}"] = ends(metrics, task, method, name)
            columns[f"{task}/{method}/slope"] = [
                sum(columns[f"{task}/{method}/{name}"][seed] for name in SLOPES) for seed in range(SEEDS)
            ]
            for which in ("wake", "stimulus", "dream"):  # lags are 0, 4, ..., 80
                columns[f"{task}/{method}/acf_{which}_20"] = ends(metrics, task, method, f"acf_{which}")[:, 5]
        for method, other, loss in (
            ("il", "bp", "wake"),
            ("nvi", "bp", "wake"),
            ("nvi", "il", "wake"),
            ("nvi", "il", "alternating"),
        ):
            start, ours, theirs = (ends(metrics, task, each, loss) for each in ("untrained", method, other))
            columns[f"{task}/{method}/{loss}_progress_over_{other}"] = (start - ours) / (start - theirs)
        losses, untrained = (metrics[f"{task}.{name}/alternating"] for name in ("published", "untrained"))
        for column, name in ((0, "authors"), (1, "largest"))[: 2 if task == "standard" else 1]:
            rises = [(losses[k, -1, column] - untrained[k, 0, 0]) / untrained[k, 0, 0] for k in range(SEEDS)]
            columns[f"{task}/published/rise_at_{name}_rate"] = rises
        numbers[f"{task}/nvi/rate"] = 3e-6
        moved = ends(metrics, task, "nvi", "transition") - ends(metrics, task, "untrained", "transition")
        columns[f"{task}/nvi/transition_moved"] = moved
        columns[f"{task}/nvi/transition_moved_over_gradient"] = moved / by_gradient(metrics, task)
    il, start = (ends(metrics, "standard", method, "alternating") for method in ("il", "untrained"))
    columns["standard/il/alternating_fall"] = start / il
    for method in ("bp", "ws"):
        columns[f"standard/{method}-il/alternating"] = ends(metrics, "standard", method, "alternating") - il
    code = ends(metrics, "standard", "il", "decoding")
    for name in ("decoding", "decoding_noiseless"):
        columns[f"standard/il-untrained/{name}"] = code - ends(metrics, "standard", "untrained", name)
    columns["pca/r2"] = metrics["identity/pca"][:, 0]
    numbers["identity/difference"] = max(metrics["identity/difference"][:, 0])
    for task in PHASES:
        columns |= {f"{task}/{name}": ends(metrics, task, "il", name) for name in SCALARS}
        moved = [abs(value - 0.6) for value in ends(metrics, task, "il", "transition")]
        numbers |= {f"{task}/transition_moved": min(moved), f"{task}/transition_most": max(moved)}
    for short, long in (("K1", "K2"), ("K2", "K5"), ("K5", "K32")):
        follows = [ends(metrics, task, "il", "correlation") for task in (short, long)]
        columns[f"gap/{short}-{long}/correlation"] = follows[0] - follows[1]
    columns["gap/K32-K2/wake"] = ends(metrics, "K32", "il", "wake") - ends(metrics, "K2", "il", "wake")
    for method, rates in TRIED.items():
        for column, rate in enumerate(rates):
            ended = metrics[f"rates.{method}/alternating"][:, -1, column]
            if method == "untrained":
                columns["rates/untrained"] = ended
                continue
            columns[f"rates/{method}/{rate:.3g}"] = ended
            numbers[f"rates/{method}/{rate:.3g}/diverged"] = int(method == "nvi" and rate == 1e-4)
    numbers |= {"rates/il/largest_stable": 3e-2, "rates/nvi/largest_stable": 1e-5, "rates/ratio": 3e3}
    is_summary(summarise(metrics), columns, numbers)


def test_without_phases_of_two_there_is_no_gap_to_them():
    metrics = {name: values for name, values in metrics_by_hand().items() if not name.startswith(("K2.", "K32."))}
    assert [name for name in summarise(metrics) if name.startswith("gap/") and not name.endswith(("_sem", "_n"))] == [
        "gap/K1-K5/correlation"
    ]


def test_summary_of_one_figure_or_one_method_has_only_its_numbers():
    metrics = metrics_by_hand()
    only = {name: values for name, values in metrics.items() if name.startswith("K")}
    assert {name.partition("/")[0] for name in summarise(only)} == {*PHASES, "gap"}
    prefixes = ("standard.il/", "standard.untrained/", "rates.il/", "rates.untrained/")
    summary = summarise({name: values for name, values in metrics.items() if name.startswith(prefixes)})
    expected = {"standard/il", "standard/untrained", "standard/il-untrained", "rates/il", "rates/untrained"}
    expected |= {"rates/untrained_sem", "rates/untrained_n"}
    assert {"/".join(name.split("/")[:2]) for name in summary} == expected
    assert experiment.parts(Config(figures=("3",))).keys() == {f"K{k}.il" for k in Config().phases}
    parts = experiment.parts(Config(figures=("1", "2d"), methods=("nvi",), dimensions=(4,)))
    assert list(parts) == [
        "standard.untrained", "standard.nvi", "identity", "d4.untrained", "d4.nvi", "rates.untrained", "rates.nvi"
    ]  # fmt: skip


def test_how_metrics_are_read():
    metrics = metrics_by_hand()
    assert tasks_of(metrics) == [*TASKS, *PHASES, "rates"]
    assert best(metrics, "d8") == 1
    np.testing.assert_array_equal(final(metrics, "d8", "published", "r2"), metrics["d8.published/r2"][:, -1, 0])
    np.testing.assert_array_equal(final(metrics, "d8", "untrained", "r2"), metrics["d8.untrained/r2"][:, 0, 0])
    assert ran(metrics, "standard", "ws", "nvi")
    assert not ran(metrics, "d8", "il", "ws")
    np.testing.assert_array_equal(final(metrics, "d8", "nvi", "acf_wake"), metrics["d8.nvi/acf_wake"][:, -1, 1])
    metrics["d8.nvi/wake"][0, -1, :2] = np.inf
    assert best(metrics, "d8") == 0  # a seed has diverged at every rate, so the lowest counts
    metrics["d8.nvi/wake"][:, -1] = [[1, 5, 3], [8, 5, 3], [1, 1, 6]]  # means 10/3, 11/3, 4; by medians another is best
    assert best(metrics, "d8") == 0


def test_curves_begin_with_the_untrained_network():
    metrics = metrics_by_hand()
    steps, values = curve(metrics, "standard", "nvi", "wake")
    np.testing.assert_array_equal(steps, [0, 100, 200, 300, 400])
    np.testing.assert_array_equal(values[:, 0], metrics["standard.untrained/wake"][:, 0, 0])
    np.testing.assert_array_equal(values[:, 1:], metrics["standard.nvi/wake"][:, :, 1])


def test_ticks_reach_below_zero_where_a_loss_does():
    assert [ticks(low)[0] for low in (3.0, 0.0, -0.1, -10.0, -22.6, -101.0)] == [0, 0, -10, -10, -100, -1000]


def test_largest_stable_rate_stops_at_the_first_that_fails():
    losses = np.array([[1.0, 2.0, np.nan, 0.5], [1.0, 2.5, 1.0, 0.5]])
    assert largest_stable(losses, np.array([3.0, 3.0]), [0.1, 0.2, 0.3, 0.4]) == 0.2
    assert largest_stable(losses, np.array([3.0, 2.0]), [0.1, 0.2, 0.3, 0.4]) == 0.1
    assert math.isnan(largest_stable(losses, np.array([0.1, 0.1]), [0.1, 0.2, 0.3, 0.4]))
    assert largest_stable(losses[:, :2], np.array([3.0, 2.5]), [0.1, 0.2]) == 0.2
    assert math.isnan(largest_stable(np.array([[-np.inf, 1.0]]), np.array([3.0]), [0.1, 0.2]))


INF = math.inf
SURE = {
    "il_learns": (2, INF, "standard/il/alternating_fall"),
    "il_reconstructs": (0.95, INF, "standard/il/r2"),
    "il_at_bp_level": (0.95, INF, "standard/il/wake_progress_over_bp"),
    "il_beats_bp_in_its_own_loss": (0, INF, "standard/bp-il/alternating"),
    "il_beats_wake_sleep_in_its_own_loss": (0, INF, "standard/ws-il/alternating"),
    "transition_found": (0.955, 0.995, "standard/il/transition"),
    "decodes_above_untrained": (0, INF, "standard/il-untrained/decoding"),
    "decodes_above_untrained_noiseless": (0, INF, "standard/il-untrained/decoding_noiseless"),
    "dreams_as_slow": (0.503, 0.703, "standard/il/acf_dream_20"),
    "dreams_vary_alike": (0.5, 2, "standard/il/dispersion"),
    "nvi_far_behind": (-INF, 0.5, "standard/nvi/wake_progress_over_il"),
    "gradient_lowers_transitions": (0, INF, "standard/untrained/slope"),
    "nvi_follows_the_gradient": (0.5, 2, "standard/nvi/transition_moved_over_gradient"),
    "published_nvi_stands_still": (-0.01, 0.01, "standard/published/rise_at_authors_rate"),
    "published_nvi_climbs": (0, INF, "standard/published/rise_at_largest_rate"),
    "short_phases_beat_wake_sleep": (0, INF, "gap/K32-K2/wake"),
}
BETWEEN = {
    "rates_orders_apart": (100, INF, False, "rates/ratio"),
    "alternating_wake_sleep_is_il": (0, 0, True, "identity/difference"),
}


def dims(what, **values):
    """Summary of a number in several dimensions."""
    return over_seeds({f"{d}/{what}": value for d, value in values.items()})


# With a standard error of 0.1 and four seeds, half of a mean's interval is 0.318, and half of a difference's is 0.450.
GAINS, RIVAL = "il/wake_progress_over_bp", "nvi/wake_progress_over_il"
FROZEN = {"K1/transition_most": 9e-7, "K2/transition_moved": 0.11}
FALLS = {"gap/K1-K2/correlation": -1.0, "gap/K2-K5/correlation": 0.4, "gap/K5-K32/correlation": 0.33}
CASES = {
    "il_near_bp_in_all_dimensions": [
        (dims(GAINS, d2=1.5, d16=1.3), 1.3, True),
        (dims(GAINS, d2=1.5, d16=1.2), 1.2, False),
        (dims(GAINS, d2=1.2, d16=1.5), 1.2, False),
        (over_seeds({f"standard/{GAINS}": 2.0}), math.nan, None),
    ],
    "nvi_far_behind_in_all_dimensions": [
        (dims(RIVAL, d2=0.1, d16=-0.2), 0.1, True),
        (dims(RIVAL, d2=0.2, d16=-0.2), 0.2, False),
        (dims(RIVAL, d2=-0.2, d16=0.2), 0.2, False),
        (over_seeds({f"standard/{RIVAL}": 0.0}), math.nan, None),
    ],
    "gap_widens": [
        (dims(RIVAL, d16=0.2, d8=5.0, d2=0.7), -0.5, True),
        (dims(RIVAL, d16=0.3, d8=-5.0, d2=0.7), -0.4, False),
        (dims(RIVAL, d2=0.7), math.nan, None),
        (dims(RIVAL, d16=0.2, d2=0.7) | {f"d2/{RIVAL}_n": 3}, -0.5, False),  # half of the interval is then 0.608
        (dims(RIVAL, d16=0.2, d2=0.7) | {f"d16/{RIVAL}_n": 3}, -0.5, False),
    ],
    "one_step_phases_freeze_the_transition": [
        (FROZEN, 9e-7, True),
        ({**FROZEN, "K1/transition_most": 2e-6}, 2e-6, False),
        ({**FROZEN, "K2/transition_moved": 0.09}, 9e-7, False),
        ({"K1/transition_most": 0.0}, math.nan, None),
    ],
    "correlation_falls_with_phases": [
        (over_seeds(FALLS), 0.33, True),
        (over_seeds({**FALLS, "gap/K5-K32/correlation": 0.3}), 0.3, False),
        (over_seeds(FALLS, seeds=1), 0.33, None),
        (over_seeds({"gap/K1-K2/correlation": 1.0}), math.nan, None),
    ],
}
TRIVIAL = {
    "il_reconstructs": (
        {"pca/r2": 0.96, "standard/untrained/r2": 0.1},
        {"pca/r2": 0.94},
    ),
    "transition_found": ({"standard/untrained/transition": 0.96}, {"standard/untrained/transition": 0.6}),
    "decodes_above_untrained": (
        {"standard/untrained/decoding_noiseless": 0.9, "standard/untrained/decoding": 0.8},
        {"standard/untrained/decoding": 0.95},
    ),
    "dreams_as_slow": (
        {"standard/untrained/acf_dream_20": 0.51},
        {"standard/untrained/acf_dream_20": 0.5},
        {"standard/untrained/acf_dream_20": 0.71},
    ),
    "dreams_vary_alike": (
        {"standard/untrained/dispersion": 0.6},
        {"standard/untrained/dispersion": 0.4},
        {"standard/untrained/dispersion": 2.1},
    ),
}


def test_claims_hold_as_stated():
    claims = experiment.claims
    assert {claim.id for claim in claims} == {*SURE, *BETWEEN, *CASES}
    are_sure(claims, SURE)
    are_between(claims, BETWEEN)
    are_cases(claims, CASES)
    are_trivial(claims, TRIVIAL, SURE)
    own = {"il_beats_bp_in_its_own_loss", "il_beats_wake_sleep_in_its_own_loss", "transition_found"}
    own |= {"decodes_above_untrained", "decodes_above_untrained_noiseless", "dreams_vary_alike"}
    own |= {"gradient_lowers_transitions", "nvi_follows_the_gradient"}
    own |= {"published_nvi_stands_still", "published_nvi_climbs", "one_step_phases_freeze_the_transition"}
    assert {claim.id for claim in claims if claim.own} == own


def test_invalid_settings_are_refused():
    for change in ({"steps": 600_001}, {"phase_steps": 1_000_001}, {"dimension_steps": 6}, {"tolerance_steps": 5}):
        with pytest.raises(ValueError, match=f"{next(iter(change))}.*multiple"):
            Config(**change)
    for change in ({"figures": ("2",)}, {"methods": ("bptt",)}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be of .* not "):
            Config(**change)
    for change, message in (({"phases": (33,)}, "between 1 and 32"), ({"points": 0}, "points=0")):
        with pytest.raises(ValueError, match=message):
            experiment.check(Config(**change))
    for config in PRESETS.values():
        experiment.check(config)


def test_difference_is_the_largest_of_any_entry():
    one, other = (
        {"a": jnp.array([1.0, 2.0]), "b": jnp.array([[3.0]])},
        {"a": jnp.array([1.5, 9.0]), "b": jnp.zeros((1, 1))},
    )
    assert float(largest_difference(one, other)) == 7
    assert float(largest_difference(other, one)) == 7
