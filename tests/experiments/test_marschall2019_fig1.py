"""Figure 1 of Marschall et al.: readings, final losses, and the summary and every claim on made-up numbers."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.marschall2019 import fig1
from experiments.marschall2019.common import curve, running_mean
from experiments.marschall2019.fig1_claims import CLAIMS
from experiments.marschall2019.fig1_figures import divergence_text, finite, relapse_count, relapses_text
from tests.experiments.by_hand import is_gap, is_told, is_trivial, paired, row

SEEDS, POINTS = 3, 20
CONFIG = fig1.PRESETS["default"]
WHERE = [(task, reading) for task in ("add", "mimic") for reading in ("written", "run")]
PANELS = [*WHERE, ("long", "exact")]


def metrics_by_hand():
    """Distinct losses of all parts, and floors of those that have them; (seeds, points, readings)."""
    rng, metrics = np.random.default_rng(0), {}
    for task in ("add", "mimic", "long"):
        rules = fig1.RULES if task != "long" else ("fixed_recurrent", "rflo", "future_facing_bptt", "rtrl")
        for rule in rules:
            readings = 1 if task == "long" else 2
            metrics[f"{task}.{rule}/loss"] = rng.random((SEEDS, POINTS, readings))
            if task != "mimic":
                metrics[f"{task}.{rule}/floor"] = rng.random((SEEDS, POINTS, readings))
    return metrics


METRICS = metrics_by_hand()


def last_two(name, reading):
    """Mean of the last tenth of the points for each seed, by a loop."""
    values = METRICS[name]
    column = 1 if reading == "run" else 0
    return [(values[seed, 18, column] + values[seed, 19, column]) / 2 for seed in range(SEEDS)]


@pytest.mark.parametrize(("task", "rule", "rows"), [
    ("add", "rflo", [(3, 5, 0.5, False), (2, 4, 0.5, True)]),
    ("add", "fixed_recurrent", [(3, 5, 0.5, False), (2, 4, 0.5, True)]),
    ("add", "rtrl", [(3, 5, 0.5, False), (2, 4, 1.0, True)]),
    ("add", "future_facing_bptt", [(3, 5, 0.5, False), (2, 4, 1.0, True)]),
    ("add", "uoro", [(3, 5, 0.5, False), (2, 4, 1.0, True)]),
    ("add", "kernl", [(3, 5, 0.5, False), (2, 4, 0.5, True)]),
    ("mimic", "rflo", [(0, 0, 0.5, False), (0, 0, 0.5, True)]),
    ("mimic", "dni_b", [(0, 0, 0.5, False), (0, 0, 0.5, True)]),
    ("mimic", "kf_rtrl", [(0, 0, 0.5, False), (0, 0, 1.0, True)]),
    ("long", "rtrl", [(5, 9, 1.0, False)]),
])  # fmt: skip
def test_the_readings_of_a_rule(task, rule, rows):
    setting = fig1.settings(CONFIG, task, rule)
    assert (
        list(zip(*(np.asarray(leaf).tolist() for leaf in (*setting.lags, setting.gain, setting.as_run)), strict=True))
        == rows
    )


def test_a_symbol_is_held_for_one_over_alpha():
    assert [fig1.hold(alpha) for alpha in (1.0, 0.5, 0.34, 0.1)] == [1, 2, 3, 10]


def test_parts_are_the_panels_rules_at_their_tasks_steps():
    parts = fig1.make_parts(CONFIG)
    assert set(parts) == {name.partition("/")[0] for name in METRICS}
    assert [parts[f"{task}.rtrl"].steps for task in ("add", "mimic", "long")] == [10_000, 2_000, 3_000]
    assert {part.chunks * part.points for part in parts.values()} == {100}
    only = fig1.make_parts(fig1.Config(rules=("dni", "rflo")))
    assert set(only) == {"add.rflo", "add.dni", "mimic.rflo", "mimic.dni", "long.rflo"}


def test_a_final_loss_is_the_mean_of_the_last_tenth():
    for task, reading in PANELS:
        for rule in ("rtrl", "rflo"):
            for metric in ("loss", "floor")[: 1 if task == "mimic" else 2]:
                final_losses = fig1.final(METRICS, task, reading, rule, metric)
                np.testing.assert_allclose(final_losses, last_two(f"{task}.{rule}/{metric}", reading), rtol=1e-12)
    short = {"add.rtrl/loss": np.arange(8.0).reshape(1, 8, 1)}
    assert fig1.final(short, "add", "written", "rtrl") == [7.0]


def test_a_curve_is_of_its_reading():
    np.testing.assert_array_equal(curve(METRICS, "mimic", "written", "uoro"), METRICS["mimic.uoro/loss"][:, :, 0])
    np.testing.assert_array_equal(curve(METRICS, "mimic", "run", "uoro"), METRICS["mimic.uoro/loss"][:, :, 1])
    np.testing.assert_array_equal(curve(METRICS, "long", "exact", "rtrl"), METRICS["long.rtrl/loss"][:, :, 0])


def test_the_summary_by_hand():
    summary = fig1.summarise(METRICS)
    assert summary["floor/nothing"] == pytest.approx(0.6616, abs=1e-4)  # H(5/8)
    for task, reading in PANELS:
        where = f"{task}/{reading}"
        rules = [rule for rule in fig1.RULES if f"{task}.{rule}/loss" in METRICS]
        for rule in rules:
            losses = last_two(f"{task}.{rule}/loss", reading)
            assert summary[f"{where}/{rule}"] == pytest.approx(sum(losses) / 3, rel=1e-12)
            assert summary[f"{where}/{rule}_n"] == 3
            if task == "mimic":
                assert f"{where}/{rule}_above_floor" not in summary
                continue
            floors = last_two(f"{task}.{rule}/floor", reading)
            expected = sum(a - b for a, b in zip(losses, floors, strict=True)) / 3
            assert summary[f"{where}/{rule}_above_floor"] == pytest.approx(expected, rel=1e-12)
        pairs = [name.split("/")[2].split("-") for name in summary if name.startswith(where) and "-" in name]
        pairs = [pair for pair in pairs if pair[1] in rules]
        assert len(pairs) == (18 if task != "long" else 6)
        for worse, better in pairs:
            a, b = (last_two(f"{task}.{rule}/loss", reading) for rule in (worse, better))
            differences = [x - y for x, y in zip(a, b, strict=True)]
            assert summary[f"{where}/{worse}-{better}"] == pytest.approx(sum(differences) / 3, rel=1e-12)
            spread = math.sqrt(sum((d - sum(differences) / 3) ** 2 for d in differences) / 2 / 3)
            assert summary[f"{where}/{worse}-{better}_sem"] == pytest.approx(spread, rel=1e-12)


def test_what_was_left_out_or_diverged():
    partial = {name: values for name, values in METRICS.items() if ".uoro/" not in name}
    summary = fig1.summarise(partial)
    assert "add/run/uoro" not in summary
    assert row(CLAIMS, "add-run-exact-best", summary)["holds"] is None
    assert row(CLAIMS, "add-run-uoro-near-rtrl", summary)["holds"] is None
    bad = dict(METRICS)
    bad["add.rflo/loss"] = METRICS["add.rflo/loss"].copy()
    bad["add.rflo/loss"][1, 3, 0] = np.nan  # before the last tenth: no curve, but a final loss
    bad["add.rflo/loss"][2, 18:, 0] = np.inf
    assert fig1.summarise(bad)["add/written/rflo_n"] == 2
    assert len(finite(curve(bad, "add", "written", "rflo"))) == 1
    assert len(finite(curve(bad, "add", "run", "rflo"))) == 3
    assert divergence_text(METRICS) == ""
    assert divergence_text(bad) == "; 2 curves that diverged are left out"


def test_a_running_mean_narrows_at_the_ends():
    """The ends are not padded, so a straight line stays one; the mean is of ten points inside."""
    line = np.arange(30.0)[None]
    smooth = running_mean(line)
    np.testing.assert_allclose(smooth[0, :5], line[0, :5])
    np.testing.assert_allclose(smooth[0, -5:], line[0, -5:])
    np.testing.assert_allclose(smooth[0, 5:-5], line[0, 5:-5] - 0.5)
    bump = np.zeros((2, 30))
    bump[1, 12] = 1.0
    np.testing.assert_allclose(running_mean(bump), [np.zeros(30), np.r_[np.zeros(8), np.full(10, 0.1), np.zeros(12)]])


def test_relapses_are_counted_above_the_floor():
    floor = np.zeros((4, 40, 2))
    loss = np.full((4, 40, 2), 0.5)
    loss[0, 10:20, 1] = 0.47  # its best is .03 below its end
    loss[1, 10:20, 1] = floor[1, 10:20, 1] = -0.1  # relative to its floor, not better
    floor[1, 10:20, 1] = -0.6
    loss[2, 10:20, 1] = 0.485
    loss[3, 37, 1] = 0.0  # within the last tenth: its end is better, not worse
    metrics = {"add.uoro/loss": loss, "add.uoro/floor": floor}
    assert [relapse_count(metrics, reading, "uoro") for reading in ("written", "run")] == [0, 1]
    assert relapses_text(metrics).endswith("as run: UORO 1")
    assert relapses_text({"add.uoro/loss": loss[:, :, ::-1] * 0, "add.uoro/floor": floor * 0}) == ""


@pytest.mark.parametrize(("task", "reading"), WHERE)
def test_claims_that_one_rule_ends_worse_than_others(task, reading):
    at = f"{task}/{reading}"
    orders = [
        ("rflo", "rtrl", "future_facing_bptt"),
        ("dni", "rtrl", "future_facing_bptt"),
        ("fixed_recurrent", "rflo", "dni"),
        ("dni_b", "dni"),
        ("fixed_recurrent", "dni_b"),
    ]
    for worse, *better in orders:
        name = f"{task}-{reading}-{worse}-worse-than-{'-'.join(better)}"
        names = [f"{at}/{worse}-{one}" for one in better]
        is_gap(CLAIMS, name, *names)
        if worse == "fixed_recurrent":
            summary = {**paired(dict.fromkeys(names, 1.0)), f"{at}/fixed_recurrent": 0.7, "floor/nothing": 0.66}
            if task == "add":
                is_trivial(CLAIMS, name, summary, {"floor/nothing": 0.71})
            else:
                assert row(CLAIMS, name, summary)["trivial"] is None
        else:
            fixed = [f"{at}/fixed_recurrent-{one}" for one in better]
            summary = paired(dict.fromkeys([*names, *fixed], 1.0))
            for one in fixed:
                is_trivial(CLAIMS, name, summary, {one: 0.9})


@pytest.mark.parametrize(("task", "reading"), WHERE)
def test_claims_on_exact_rules(task, reading):
    at = f"{task}/{reading}"
    summary = {f"{at}/rtrl-future_facing_bptt": -0.1, f"{at}/fixed_recurrent-rtrl": 1.01}
    changes = [{f"{at}/rtrl-future_facing_bptt": -0.11}, {f"{at}/rtrl-future_facing_bptt": 0.11}]
    is_told(CLAIMS, f"{task}-{reading}-rtrl-equals-bptt", summary, [*changes, {f"{at}/fixed_recurrent-rtrl": 0.9}], 0.1)

    losses = {f"{at}/{rule}": 5.0 + k for k, rule in enumerate(fig1.RULES[:8])}
    losses |= {f"{at}/rtrl": 2.0, f"{at}/future_facing_bptt": 3.0, f"{at}/dni_b": math.nan}
    changes = [{name: 2.9} for name in losses if not name.endswith(("rtrl", "bptt", "dni_b")) or "kf_rtrl" in name]
    assert len(changes) == 7
    changes += [{f"{at}/rtrl": 5.1}, {f"{at}/future_facing_bptt": 5.1}, {f"{at}/rtrl": math.nan}]
    is_told(CLAIMS, f"{task}-{reading}-exact-best", losses, changes, 2.0)


@pytest.mark.parametrize("reading", ["written", "run"])
@pytest.mark.parametrize(("rule", "bound"), [("kf_rtrl", 0.01), ("reverse_kf_rtrl", 0.03), ("uoro", 0.03)])
def test_claims_on_stochastic_rules(reading, rule, bound):
    at = f"add/{reading}"
    summary = {f"{at}/{rule}-rtrl": 0.9 * bound, f"{at}/rflo-{rule}": 0.1}
    changes = [{f"{at}/{rule}-rtrl": 1.1 * bound}, {f"{at}/{rule}-rtrl": -1.1 * bound}, {f"{at}/rflo-{rule}": -0.1}]
    is_told(CLAIMS, f"add-{reading}-{rule}-near-rtrl", summary, changes, 0.9 * bound)
    fixed = {f"{at}/fixed_recurrent-rtrl": 0.9 * bound, f"{at}/fixed_recurrent-rflo": -0.1}
    for change in ({f"{at}/fixed_recurrent-rtrl": 1.1 * bound}, {f"{at}/fixed_recurrent-rflo": 0.1}):
        is_trivial(CLAIMS, f"add-{reading}-{rule}-near-rtrl", {**summary, **fixed}, change)


def test_the_other_claims():
    is_gap(CLAIMS, "mimic-uoro", "mimic/written/uoro-fixed_recurrent")
    fixed = "long/exact/fixed_recurrent_above_floor"
    for rule in ("rtrl", "future_facing_bptt"):
        name = f"long/exact/{rule}_above_floor"
        is_told(CLAIMS, f"long-{rule}", {name: 0.009}, [{name: 0.011}], 0.009)
        is_trivial(CLAIMS, f"long-{rule}", {name: 0.0, fixed: 0.009}, {fixed: 0.011})
    name = "long/exact/rflo_above_floor"
    is_told(CLAIMS, "long-rflo", {name: 0.031}, [{name: 0.029}], 0.031)
    is_trivial(CLAIMS, "long-rflo", {name: 1.0, fixed: 0.031}, {fixed: 0.029})


def test_own_claims_are_marked():
    assert len(CLAIMS) == len({claim.id for claim in CLAIMS}) == 38
    own = {claim.id for claim in CLAIMS if claim.own}
    assert own == {claim.id for claim in CLAIMS if claim.id.endswith(("equals-bptt", "near-rtrl"))} | {
        "mimic-uoro", "long-rtrl", "long-future_facing_bptt", "long-rflo",
    }  # fmt: skip


def test_losses_are_shown_as_in_the_figure():
    """Mimic's loss is a mean over outputs; Add's floor is the entropy of its soft label."""
    y = np.array([[0.25, 0.75], [1.0, 0.0], [0.0, 1.0]])
    info = type("Info", (), {"loss": jnp.asarray(3.0)})
    batch = type("Batch", (), {"y": jnp.asarray(y)})
    assert fig1.figure_loss("mimic", 4)(info, batch) == {"loss": 0.75}
    metrics = fig1.figure_loss("add", 2)(info, batch)
    assert metrics["loss"] == 3.0
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / 3
    assert float(metrics["floor"]) == pytest.approx(entropy, rel=1e-12)
