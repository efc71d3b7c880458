"""Table 1 of Lindsey & Litwin-Kumar: the learners' settings, the summary, the table and every claim, by hand."""

import dataclasses
import math

import numpy as np
import pytest

from experiments.lindsey2020 import learners, table1
from experiments.lindsey2020.table1_claims import CLAIMS
from experiments.lindsey2020.table1_figures import text
from experiments.lindsey2020.table1_summary import NAMES, PAPER, final, summarise
from tests.experiments.by_hand import is_gap, is_not_above, is_told, is_trivial, paired, row

SEEDS, POINTS, ORDERS = 3, 4, ("iid", "continual")
METHODS = ("reuse", "flp2", "flp3", "gradient_first", "gradient_second", "gradient_warm")
PARTS = [*(f"{order}/{method}" for order in ORDERS for method in METHODS), "continual/oml"]


def metrics_by_hand():
    """Metrics of all parts, no two entries alike."""
    rng, metrics = np.random.default_rng(0), {}
    for part in PARTS:
        points = 2 * POINTS if part.endswith("warm") else POINTS
        for order in ORDERS:
            for metric in ("test", "median", "diverged"):
                metrics[f"{part}/{metric}_{order}"] = rng.random((SEEDS, points))
        metrics[f"{part}/full_problem"] = np.zeros((SEEDS, points))
    return metrics


METRICS = metrics_by_hand()


def last(order, method, metric="median"):
    part = "continual/oml" if method == "oml" else f"{order}/{method}"
    values = METRICS[f"{part}/{metric}_{order}"]
    return [values[seed, len(values[seed]) - 1] for seed in range(SEEDS)]


def test_the_summary_by_hand():
    summary = summarise(METRICS)
    for order in ORDERS:
        for method in (*METHODS, "oml"):
            np.testing.assert_array_equal(final(METRICS, order, method), last(order, method))
            for name, metric in (("", "median"), ("/mean", "test"), ("/diverged", "diverged")):
                expected = sum(last(order, method, metric)) / 3
                assert summary[f"{order}/{method}{name}"] == pytest.approx(expected, rel=1e-12)
        pairs = [name.split("/")[2].split("-") for name in summary if name.startswith(f"gap/{order}/")]
        pairs = [pair for pair in {tuple(pair) for pair in pairs} if not pair[1].endswith(("_sem", "_n"))]
        assert len(pairs) == 15
        for worse, better in pairs:
            for ending, metric in (("", "median"), ("/mean", "test")):
                errors = last(order, worse, metric), last(order, better, metric)
                ratios = [math.log10(a / b) for a, b in zip(*errors, strict=True)]
                gap = summary[f"gap/{order}/{worse}-{better}{ending}"]
                assert gap == pytest.approx(sum(ratios) / 3, rel=1e-9)
    for method in METHODS:
        values = METRICS[f"iid/{method}/median_continual"]
        expected = sum(values[seed, -1] for seed in range(SEEDS)) / 3
        assert summary[f"iid_tried_on_continual/{method}"] == pytest.approx(expected, rel=1e-12)
    assert summary["predict_zero"] == pytest.approx(4.42, abs=0.02)
    assert summary["no_lifetime_learning"] == pytest.approx(3.13, abs=0.02)
    assert summary["full_problem"] == 0
    ones = {name: np.ones((SEEDS, POINTS)) for name in METRICS if name.endswith("full_problem")}
    assert summarise({**METRICS, **ones})["full_problem"] == 1


def test_a_summary_of_one_learner_on_one_order():
    """Learners that were not run are absent, and claims on them are open."""
    some = {name: values for name, values in METRICS.items() if name.startswith("iid/flp2/")}
    summary, whole = summarise(some), summarise(METRICS)
    assert {name: whole[name] for name in summary} == summary
    names = {name.partition("_")[0] for name in summary if name.startswith(("iid", "gap", "continual"))}
    assert names == {"iid/flp2", "iid/flp2/mean", "iid/flp2/diverged", "iid"}  # the last: tried on continual
    for claim in CLAIMS:
        assert (row(CLAIMS, claim.id, summary)["holds"] is None) == (claim.id != "learns_iid")
    full = {**some, "iid/flp2/full_problem": np.ones((SEEDS, POINTS))}
    assert row(CLAIMS, "printed_iid_flp2", summarise(full))["holds"] is False
    name, *cells = [cell.strip() for cell in text(some).splitlines()[3].split("|")[1:-1]]
    assert (name, cells[3:5]) == ("FLP (2)", ["not run", "not run"])


def test_the_table_has_ours_beside_the_papers():
    """Mean, median and the paper's mean of an order; a seed without a finite number is counted."""
    bad = dict(METRICS)
    bad["iid/flp3/median_iid"] = METRICS["iid/flp3/median_iid"].copy()
    bad["iid/flp3/median_iid"][1, -1] = np.inf
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text(bad).splitlines()[2:9]]
    assert len(rows) == 7
    for cells, method in zip(rows, (*METHODS, "oml"), strict=True):
        assert cells[0] == NAMES[method]
        for k, order in enumerate(ORDERS):
            for place, metric in ((1, "test"), (2, "median")):
                values = [value for value in final(bad, order, method, metric) if np.isfinite(value)]
                sem = np.std(values, ddof=1) / len(values) ** 0.5
                counted = ", 2 of 3 seeds" if (order, method, metric) == ("iid", "flp3", "median") else ""
                assert cells[place + 3 * k] == f"{np.mean(values):.4f} ({sem:.4f}){counted}"
            assert cells[3 + 3 * k] == (f"{PAPER[order][method]:g}" if method in PAPER[order] else "")


@pytest.fixture
def trainings(monkeypatch):
    """Parts with the arguments of their meta-trainings, and with evaluations that return their arguments."""
    monkeypatch.setattr(learners, "meta_training", lambda *args, **options: (*args, options))
    monkeypatch.setattr(learners, "first_order", lambda net, prefix: ("first", len(net.layers), prefix is None))
    monkeypatch.setattr(learners, "meta_gradient", lambda life, remat: ("second", life, remat))
    monkeypatch.setattr(learners, "flp_life", lambda net, prefix: ("flp", len(net.layers), prefix is None))
    monkeypatch.setattr(learners, "gradient_life", lambda net, prefix: ("gradient", len(net.layers), prefix is None))
    monkeypatch.setattr(learners, "gradient_theta", lambda key, cut, rate: rate)
    for module in (learners, table1):
        monkeypatch.setattr(module, "sines", lambda config, order, episodes: (order, episodes))
    monkeypatch.setattr(table1, "continued", lambda first, second, hand_over: ("continued", first, second, hand_over))
    monkeypatch.setattr(table1, "held_out", lambda *args, at_a_time: lambda key, theta: (*args, at_a_time))
    monkeypatch.setattr(table1, "judged", lambda errors, name: {name: errors})
    return table1.make_parts(CONFIG)


CONFIG = table1.Config(
    seeds=1, episodes=200, points=2, lifetimes=7, lives=4, functions=2, batches=2, batch=4, hidden=(4, 4, 4),
    reuse=(1.0, 2.0), flp2=(3.0, 5.0), flp3=(7.0, 11.0), gradient_first=(13.0, 17.0), gradient_second=(19.0, 23.0),
    gradient_warm=(29.0, 31.0), oml=(1.0, 37.0), oml_drops=(0.1, 0.5), inner_rate=41.0, clip=43.0, backoff=0.5,
    remat=0, rows=0,
)  # fmt: skip


def test_every_learner_has_its_own_rule_rates_and_order(trainings):
    assert list(trainings) == PARTS
    expected = {
        "reuse": (("second", ("flp", 1, False), False), (1.0, 2.0)),
        "flp2": (("second", ("flp", 2, False), False), (3.0, 5.0)),
        "flp3": (("second", ("flp", 3, False), False), (7.0, 11.0)),
        "gradient_first": (("first", 3, False), (13.0, 17.0)),
        "gradient_second": (("second", ("gradient", 3, False), False), (19.0, 23.0)),
        "gradient_warm": (("first", 3, False), (29.0, 31.0)),
    }
    for order in ORDERS:
        word, first, second, hand_over = trainings[f"{order}/gradient_warm"]
        assert word == "continued"
        assert (first[0], first[1]["alpha"], first[3]) == (expected["flp3"][0], 11.0, (order, 4))
        old, fresh = ({name: f"{who} {name}" for name in ("prefix", "forward", "rate")} for who in ("old", "fresh"))
        assert hand_over(old, fresh) == {"prefix": "old prefix", "forward": "old forward", "rate": "fresh rate"}
        for method, (rule, (rate, plasticity)) in expected.items():
            training = second if method == "gradient_warm" else trainings[f"{order}/{method}"]
            rates = {"weights": rate, "feedback": rate, "beta": rate, "alpha": plasticity}
            if "gradient" in method:
                rates = {"weights": rate, "rate": plasticity}
            assert (training[0], training[1], training[3]) == (rule, rates, (order, 4))
            assert training[5] == {"episodes": 200, "points": 2, "clip": 43.0, "backoff": 0.5}
    rule, rates, _, stream, *_ = trainings["continual/oml"]
    assert (rule, rates["rate"], stream) == (("first", 3, False), 0.0, ("continual", 4))
    drops = {19: 1.0, 21: 0.3, 99: 0.3, 101: 0.09, 199: 0.09}
    assert {t: round(float(rates["weights"](t)), 6) for t in drops} == drops


def test_long_lives_are_relived_and_their_frozen_layers_evaluated_in_blocks(trainings, monkeypatch):
    monkeypatch.setattr(learners, "in_blocks", lambda prefix, rows: None if rows == 5 else prefix)
    parts = table1.make_parts(dataclasses.replace(CONFIG, remat=3, rows=5))
    assert parts["iid/flp2"][0] == ("second", ("flp", 2, True), 3)
    assert parts["iid/gradient_second"][0] == ("second", ("gradient", 3, True), 3)
    assert parts["iid/gradient_first"][0] == ("first", 3, True)
    assert parts["iid/flp2"][4]("key", {})["iid"][-1] == 1


def test_learners_and_orders_can_be_chosen(trainings):
    def parts(**chosen):
        return list(table1.make_parts(dataclasses.replace(CONFIG, **chosen)))

    assert parts(learners=("flp2",), orders=("iid",)) == ["iid/flp2"]
    assert parts(learners=("oml", "reuse")) == ["iid/reuse", "continual/reuse", "continual/oml"]
    assert table1.PRESETS["long"] == dataclasses.replace(table1.DEFAULT, episodes=20_000, points=20)
    for chosen, word in (
        ({"learners": ("flp4",)}, "flp4"),
        ({"orders": ("iid", "mixed")}, "mixed"),
        ({"learners": ("oml",), "orders": ("iid",)}, "continual"),
    ):
        with pytest.raises(ValueError, match=word):
            dataclasses.replace(CONFIG, **chosen)


def test_every_learner_is_tried_on_both_orders(trainings):
    theta = {"alpha": (np.array([[1.0, -4.0]]), np.array([[3.0]]))}
    for part, kind in (("iid/flp2", "flp"), ("continual/gradient_second", "gradient")):
        metrics = trainings[part][4]("key", theta)
        assert metrics["iid"] == ((kind, 2 if kind == "flp" else 3, False), ("iid", 1), 7, 10)
        assert metrics["continual"][1] == ("continual", 1)
        assert float(metrics["largest_alpha"]) == 4.0
        assert float(metrics["full_problem"]) == 0.0
    assert "largest_alpha" not in trainings["iid/gradient_first"][4]("key", {})


def test_inner_rates_at_birth(trainings):
    parts = ("iid/gradient_first", "iid/gradient_second", "continual/oml")
    assert [trainings[part][2]("key") for part in parts] == [41.0, 41.0, 37.0]


GAPS = {
    "deep_plasticity_pays_iid": ["iid/reuse-flp2", "iid/reuse-flp3"],
    "deep_plasticity_pays_continual": ["continual/reuse-flp2", "continual/reuse-flp3"],
    "three_beat_two_iid": ["iid/flp2-flp3"],
    "two_beat_three_continual": ["continual/flp3-flp2"],
    "flp_beats_gradient_continual": ["continual/gradient_warm-flp2"],
    "flp_beats_second_order_continual": ["continual/gradient_second-flp2"],
    "flp_beats_gradient_from_scratch": ["iid/gradient_first-flp2", "continual/gradient_first-flp2"],
    "warm_start_helps": ["iid/gradient_first-gradient_warm", "continual/gradient_first-gradient_warm"],
    "second_order_helps": ["iid/gradient_first-gradient_second", "continual/gradient_first-gradient_second"],
    "oml_is_worst": ["iid/oml-reuse", "continual/oml-reuse"],
    "baseline_beats_oml": ["iid/oml-gradient_warm", "continual/oml-gradient_warm"],
}


@pytest.mark.parametrize("name", GAPS)
def test_claims_that_one_learner_beats_another(name):
    names = [f"gap/{pair}" for pair in GAPS[name]]
    is_gap(CLAIMS, name, *names)
    worse = [pair.split("-")[0] for pair in GAPS[name]]
    summary = {**paired(dict.fromkeys(names, 1.0)), **dict.fromkeys(worse, 3.2), "no_lifetime_learning": 3.1}
    for one in worse:
        is_trivial(CLAIMS, name, summary, {one: 3.0})


@pytest.mark.parametrize("order", ORDERS)
def test_claims_that_a_life_is_learned_in(order):
    name = f"{order}/flp2"
    summary = {**paired({name: 2.0}), "no_lifetime_learning": 2.96}  # 2 + 3.18 * 0.3 = 2.955
    is_told(CLAIMS, f"learns_{order}", summary, [{"no_lifetime_learning": 2.95}], 2.0)
    assert (
        row(CLAIMS, f"learns_{order}", {**paired({name: 2.0}, seeds=1), "no_lifetime_learning": 3.0})["holds"] is None
    )
    is_trivial(CLAIMS, f"learns_{order}", {**summary, "predict_zero": 2.9}, {"predict_zero": 3.0})


def test_the_claim_on_a_par():
    name = "gap/iid/gradient_warm-flp3"
    is_told(CLAIMS, "gradient_matches_iid", {name: 0.3}, [{name: 0.302}, {name: -0.302}], 10**0.3)
    summary = {name: 0.0, "no_lifetime_learning": 3.9, "iid/flp3": 2.0}
    is_trivial(CLAIMS, "gradient_matches_iid", summary, {"iid/flp3": 1.9})
    is_trivial(CLAIMS, "gradient_matches_iid", summary, {"iid/flp3": 7.9})


def test_the_claim_that_a_naive_gradient_is_reuse():
    name = "gap/iid/reuse-gradient_first"
    is_not_above(CLAIMS, "naive_gradient_is_reuse", name)
    summary = {**paired({name: 0.1}), "no_lifetime_learning": 3.1, "iid/reuse": 3.0}
    is_trivial(CLAIMS, "naive_gradient_is_reuse", summary, {"iid/reuse": 3.2})


@pytest.mark.parametrize("order", ORDERS)
def test_claims_on_printed_errors(order):
    for method, paper in PAPER[order].items():
        name, at = f"printed_{order}_{method}", f"{order}/{method}"
        summary = {"full_problem": 1.0, f"{at}/mean": 0.99 * paper, f"{at}/diverged": 0.0, at: 0.0}
        is_told(CLAIMS, name, summary, [{f"{at}/mean": 1.01 * paper}, {f"{at}/diverged": 0.02}], 0.99 * paper)
        assert row(CLAIMS, name, {**summary, "full_problem": 0.0})["holds"] is None
        assert row(CLAIMS, name, summary)["paper"] == paper
        is_trivial(CLAIMS, name, {**summary, "no_lifetime_learning": paper}, {"no_lifetime_learning": 1.01 * paper})


def test_the_papers_claims_and_ours():
    assert len(CLAIMS) == len({claim.id for claim in CLAIMS}) == 25
    assert {claim.id for claim in CLAIMS if claim.own} == {
        "learns_iid", "learns_continual", "flp_beats_second_order_continual", "flp_beats_gradient_from_scratch",
        "second_order_helps",
    }  # fmt: skip
    assert all(claim.trivial for claim in CLAIMS)
    assert PAPER["iid"] == {"reuse": 0.05, "flp2": 0.00093, "flp3": 0.00051, "gradient_warm": 0.00057, "oml": 0.072}
    assert PAPER["continual"] == {"reuse": 0.035, "flp2": 0.0016, "flp3": 0.0068, "gradient_warm": 0.069, "oml": 0.4}
