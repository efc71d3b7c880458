"""Evidence accumulation after Bellec et al.: from metrics to claims, on hand-made numbers."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bellec2020.fig3 import PRESETS, Config, experiment, make_parts, measured
from experiments.bellec2020.fig3_claims import ONE_CUE, PARTS, finals, summarise
from experiments.bellec2020.fig3_figures import text
from plasticity_jax.base import Info
from plasticity_jax.run import checked
from plasticity_jax.typing import Example
from tests.experiments.by_hand import is_gap, is_put, is_told, is_trivial, row

SEEDS, POINTS, TAIL = 4, 20, 2
CLAIMS = experiment.claims
PAIRS = {
    ("alif.eprop", "alif.frozen"),
    ("alif.random", "alif.frozen"),
    ("alif.adaptive", "alif.frozen"),
    ("alif.eprop", "alif.blind"),
    ("alif.eprop", "alif.random"),
    ("alif.bptt", "lif.bptt"),
    ("alif.eprop", "lif.eprop"),
}


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for part in PARTS:
        for name in ("loss", "right", "rate"):
            metrics[f"{part}/{name}"] = rng.uniform(0, 1, (SEEDS, POINTS))
    for part in ("alif.random", "alif.adaptive"):
        metrics[f"{part}/aligned"] = rng.uniform(-1, 1, (SEEDS, POINTS))
    metrics["lif.bptt/loss"][1, -1] = np.nan
    return metrics


def ends(metrics, part, name):
    """Final values by seed, without seeds that diverged."""
    curve, loss = metrics[f"{part}/{name}"], metrics[f"{part}/loss"]
    return {s: (curve[s, -2] + curve[s, -1]) / TAIL for s in range(SEEDS) if math.isfinite(loss[s, -1])}


def test_summary_by_loops():
    metrics = hand_made()
    summary, named = summarise(metrics), set()
    for part in PARTS:
        names = ["loss", "right", "rate"] + ["aligned"] * (part in ("alif.random", "alif.adaptive"))
        assert set(finals(metrics, part)) == set(names)
        for name in names:
            is_put(summary, f"{part}/{name}", list(ends(metrics, part, name).values()))
            named.add(f"{part}/{name}")
    for better, worse in PAIRS:
        for name, sign in (("right", 1), ("loss", -1)):
            a, b = ends(metrics, better, name), ends(metrics, worse, name)
            is_put(summary, f"{better}-{worse}/{name}", [sign * (a[s] - b[s]) for s in a if s in b])
            named.add(f"{better}-{worse}/{name}")
    a, b = ends(metrics, "alif.adaptive", "aligned"), ends(metrics, "alif.random", "aligned")
    is_put(summary, "alif.adaptive-alif.random/aligned", [a[s] - b[s] for s in a])
    named.add("alif.adaptive-alif.random/aligned")
    assert {name for name in summary if not name.endswith(("_sem", "_n"))} == named


def test_what_is_not_run_is_left_out_and_the_rest_is_the_same():
    metrics = hand_made()
    some = {key: values for key, values in metrics.items() if key.startswith(("alif.eprop", "alif.random"))}
    whole, partial_summary = summarise(metrics), summarise(some)
    assert partial_summary == {key: whole[key] for key in partial_summary}
    judged = {row["id"] for row in checked(CLAIMS, partial_summary) if row["holds"] is not None}
    assert judged == {"alif.eprop-learns", "alif.random-learns", "random-behind", "alif.random-near-alif.eprop"}
    assert list(make_parts(Config(parts=("lif.bptt", "alif.eprop")))) == ["alif.eprop", "lif.bptt"]
    assert list(make_parts(Config())) == list(PARTS)


def test_one_cue_is_the_level_of_seven():
    assert pytest.approx(0.727, abs=5e-4) == ONE_CUE


@pytest.mark.parametrize("part", ["alif.eprop", "alif.random", "alif.adaptive"])
def test_learning_is_to_be_beyond_one_cue_by_t(part):
    name = f"{part}/right"

    def at(value, sem=0.01, n=4):  # t is 3.18 for four seeds
        return {name: value, f"{name}_sem": sem, f"{name}_n": n}

    low = {"alif.frozen/right": 0.6, "alif.frozen/right_sem": 0.01, "alif.frozen/right_n": 4}
    id = f"{part}-learns"
    is_told(CLAIMS, id, low | at(ONE_CUE + 0.032), [at(ONE_CUE + 0.031), at(0.7), at(math.nan)], ONE_CUE + 0.032)
    assert row(CLAIMS, id, low | at(0.9, math.nan, 1))["holds"] is None
    if part != "alif.frozen":
        is_trivial(CLAIMS, id, low | at(0.9) | {"alif.frozen/right": 0.77}, {"alif.frozen/right": 0.75})


def test_without_adaptation_it_fails_by_t():
    name = "lif.bptt/right"
    summary = {name: ONE_CUE - 0.032, f"{name}_sem": 0.01, f"{name}_n": 4}
    is_told(CLAIMS, "lif-fails", summary, [{name: ONE_CUE - 0.031}, {name: 0.8}], ONE_CUE - 0.032)
    assert row(CLAIMS, "lif-fails", summary | {f"{name}_n": 1})["holds"] is None


NEAR = (("alif.eprop", "alif.bptt"), ("alif.random", "alif.eprop"), ("alif.adaptive", "alif.eprop"))


@pytest.mark.parametrize(("part", "other"), NEAR)
def test_close_is_at_most_twice_the_loss(part, other):
    id, frozen = f"{part}-near-{other}", "alif.frozen/loss"
    summary = {f"{part}/loss": 0.2, f"{other}/loss": 0.1, frozen: 0.6}
    is_told(CLAIMS, id, summary, [{f"{part}/loss": 0.21}, {f"{other}/loss": 0.09}], 2.0)
    is_trivial(CLAIMS, id, summary | {frozen: 0.2}, {frozen: 0.21})
    assert row(CLAIMS, id, {f"{part}/loss": 0.2})["holds"] is None


GAPS = {
    "alif-beats-lif": ("alif.bptt-lif.bptt/right", "alif.eprop-lif.eprop/right"),
    "random-behind": ("alif.eprop-alif.random/loss",),
    "adaptive-aligns": ("alif.adaptive-alif.random/aligned",),
    "slow-trace-matters": ("alif.eprop-alif.blind/right",),
    "beats-readout": tuple(f"alif.{method}-alif.frozen/right" for method in ("eprop", "random", "adaptive")),
}


@pytest.mark.parametrize("id", GAPS)
def test_leads_count_by_t(id):
    is_gap(CLAIMS, id, *GAPS[id])


def test_every_claim_is_in_the_tables():
    learns = {f"alif.{method}-learns" for method in ("eprop", "random", "adaptive")}
    assert {claim.id for claim in CLAIMS} == learns | {f"{a}-near-{b}" for a, b in NEAR} | set(GAPS) | {"lif-fails"}
    papers = {"alif.eprop-learns", "alif.random-learns", "alif.eprop-near-alif.bptt", "alif.random-near-alif.eprop"}
    assert {claim.id for claim in CLAIMS if not claim.own} == papers | {"alif-beats-lif", "lif-fails"}


def test_table_counts_seeds():
    metrics = hand_made()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text(metrics).split("\n")]
    table = {(line[0], line[1]): line[2:] for line in lines[2:]}
    assert len(table) == len(PARTS)
    assert table["LIF", "BPTT"][0] == "3 of 4"
    assert table["ALIF", "e-prop, random"][0] == "4 of 4"
    right = list(ends(metrics, "lif.bptt", "right").values())
    assert table["LIF", "BPTT"][1].startswith(f"{100 * sum(right) / 3:.1f} ±")
    aligned = list(ends(metrics, "alif.random", "aligned").values())
    assert table["ALIF", "e-prop, random"][4] == f"{sum(aligned) / 4:.2f}"
    assert table["ALIF", "BPTT"][4] == "-"


def test_answers_are_counted_by_what_is_due():
    """Three trials of four steps; votes are summed over the last two alone, in which the answer is due."""
    weight = jnp.array([[0.0, 0, 1, 1]] * 3)
    y = jnp.array([[1] * 4, [0] * 4, [1] * 4])
    output = np.zeros((3, 4, 2))
    output[0, 2:] = [[0, 3], [2, 0]]  # 1: right
    output[1, 0], output[1, 2:] = [9, 0], [[0, 1], [0, 0]]  # 1, despite the first step: wrong
    output[2, 2:] = [[0, 1], [0, 1]]  # right
    batch = Example(jnp.zeros((3, 4, 1)), y, None, weight)
    scores = measured(Info(jnp.array(0.5), aux={"output": jnp.asarray(output)}), batch)
    assert float(scores["right"]) == pytest.approx(2 / 3)
    assert float(scores["loss"]) == pytest.approx(0.25)


def test_settings():
    assert PRESETS["default"].lengths() == {"cue": 10, "gap": 5, "delay": 105, "recall": 15}
    assert PRESETS["paper"].lengths() == {"cue": 100, "gap": 50, "delay": 1050, "recall": 150}
    for fields, message in (
        ({"cue": 105.0}, "cue=105 ms must be a multiple"),
        ({"cues": 4}, "cues=4 must be odd"),
        ({"points": 7}, "points=7 must divide updates=200"),
        ({"parts": ("lif.random",)}, "'lif.random' is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**fields)
