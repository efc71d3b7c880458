"""Generation of a pattern after Bellec et al.: from metrics to claims, on hand-made numbers."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bellec2020.figS7 import Config, experiment, make_parts, measured
from experiments.bellec2020.figS7_claims import METHODS, finals, summarise
from experiments.bellec2020.figS7_figures import text
from plasticity_jax.base import Info
from plasticity_jax.run import checked
from plasticity_jax.typing import Example
from tests.experiments.by_hand import is_gap, is_put, is_told, is_trivial, row

SEEDS, POINTS, TAIL = 4, 20, 2
CLAIMS = experiment.claims
PAIRS = {("eprop", "frozen"), ("random", "frozen"), ("adaptive", "frozen"), ("eprop", "random")}


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {f"{m}/{name}": rng.uniform(0, 1, (SEEDS, POINTS)) for m in METHODS for name in ("loss", "error", "rate")}
    for method in ("random", "adaptive"):
        metrics[f"{method}/aligned"] = rng.uniform(-1, 1, (SEEDS, POINTS))
    metrics["frozen/loss"][2, -1] = np.inf
    return metrics


def ends(metrics, method, name):
    """Final values by seed, without seeds that diverged."""
    curve, loss = metrics[f"{method}/{name}"], metrics[f"{method}/loss"]
    return {s: (curve[s, -2] + curve[s, -1]) / TAIL for s in range(SEEDS) if math.isfinite(loss[s, -1])}


def test_summary_by_loops():
    metrics = hand_made()
    summary, named = summarise(metrics), {"adaptive-random/aligned"}
    for method in METHODS:
        names = ["error", "rate"] + ["aligned"] * (method in ("random", "adaptive"))
        assert set(finals(metrics, method)) == set(names)
        for name in names:
            is_put(summary, f"{method}/{name}", list(ends(metrics, method, name).values()))
            named.add(f"{method}/{name}")
    for better, worse in PAIRS:
        a, b = ends(metrics, better, "error"), ends(metrics, worse, "error")
        is_put(summary, f"{better}-{worse}/error", [b[s] - a[s] for s in a if s in b])
        named.add(f"{better}-{worse}/error")
    a, b = ends(metrics, "adaptive", "aligned"), ends(metrics, "random", "aligned")
    is_put(summary, "adaptive-random/aligned", [a[s] - b[s] for s in a])
    assert {name for name in summary if not name.endswith(("_sem", "_n"))} == named


def test_what_is_not_run_is_left_out_and_the_rest_is_the_same():
    metrics = hand_made()
    some = {key: values for key, values in metrics.items() if key.startswith(("eprop", "bptt"))}
    whole, partial_summary = summarise(metrics), summarise(some)
    assert partial_summary == {key: whole[key] for key in partial_summary}
    assert {row["id"] for row in checked(CLAIMS, partial_summary) if row["holds"] is not None} == {
        "eprop-follows",
        "eprop-near-bptt",
    }
    assert list(make_parts(Config(methods=("frozen", "eprop")))) == ["eprop", "frozen"]
    assert list(make_parts(Config())) == list(METHODS)


def test_following_is_to_miss_less_than_a_tenth():
    summary = {"eprop/error": 0.09, "frozen/error": 0.5}
    is_told(CLAIMS, "eprop-follows", summary, [{"eprop/error": 0.1}, {"eprop/error": math.nan}], 0.09)
    is_trivial(CLAIMS, "eprop-follows", summary | {"frozen/error": 0.09}, {"frozen/error": 0.1})


NEAR = (("eprop", "bptt"), ("random", "eprop"), ("adaptive", "eprop"))


@pytest.mark.parametrize(("method", "other"), NEAR)
def test_close_is_at_most_twice_the_error(method, other):
    id = f"{method}-near-{other}"
    summary = {f"{method}/error": 0.2, f"{other}/error": 0.1, "frozen/error": 0.6}
    is_told(CLAIMS, id, summary, [{f"{method}/error": 0.21}, {f"{other}/error": 0.09}], 2.0)
    is_trivial(CLAIMS, id, summary | {"frozen/error": 0.2}, {"frozen/error": 0.21})
    assert row(CLAIMS, id, {f"{method}/error": 0.2})["holds"] is None


GAPS = {
    "random-behind": ("eprop-random/error",),
    "adaptive-aligns": ("adaptive-random/aligned",),
    "beats-readout": tuple(f"{method}-frozen/error" for method in ("eprop", "random", "adaptive")),
}


@pytest.mark.parametrize("id", GAPS)
def test_leads_count_by_t(id):
    is_gap(CLAIMS, id, *GAPS[id])


def test_every_claim_is_in_the_tables():
    near = {f"{method}-near-{other}" for method, other in NEAR}
    assert {claim.id for claim in CLAIMS} == near | set(GAPS) | {"eprop-follows"}
    papers = {"eprop-follows", "eprop-near-bptt", "random-near-eprop"}
    assert {claim.id for claim in CLAIMS if not claim.own} == papers


def test_table_counts_seeds():
    metrics = hand_made()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text(metrics).split("\n")]
    table = {line[0]: line[1:] for line in lines[2:]}
    assert len(table) == len(METHODS)
    error = list(ends(metrics, "frozen", "error").values())
    assert table["readout alone"][0] == "3 of 4"
    assert table["readout alone"][1].startswith(f"{100 * sum(error) / 3:.1f} ±")
    assert table["readout alone"][3] == "-"
    aligned = list(ends(metrics, "random", "aligned").values())
    assert table["e-prop, random"][3] == f"{sum(aligned) / 4:.2f}"


def test_error_is_the_share_of_the_power_that_is_missed():
    """Two trials, three steps, two outputs; an output of 0 misses all of it."""
    rng = np.random.default_rng(1)
    y, output = rng.normal(size=(2, 2, 3, 2))
    for outputs, wanted in ((output, ((output - y) ** 2).sum() / (y**2).sum()), (0 * y, 1.0)):
        loss = sum(((outputs[b] - y[b]) ** 2).sum() / 2 for b in range(2)) / 2
        scores = measured(Info(jnp.array(loss), aux={}), Example(jnp.zeros((2, 3, 1)), jnp.asarray(y)))
        assert float(scores["error"]) == pytest.approx(wanted)
        assert float(scores["loss"]) == pytest.approx(loss)


def test_settings_that_mean_nothing_are_refused():
    for fields, message in (
        ({"dt": 3.0}, "trial=1000 ms must be a multiple of dt=3 ms"),
        ({"points": 7}, "points=7 must divide updates=1000"),
        ({"methods": ("blind",)}, "'blind' is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**fields)
