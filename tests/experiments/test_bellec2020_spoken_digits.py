"""Spoken digits with the rule of Bellec et al.: from metrics to claims, on hand-made numbers."""

import math

import numpy as np
import pytest

from experiments.bellec2020.spoken_digits import PRESETS, Config, experiment, make_parts
from experiments.bellec2020.spoken_digits_claims import FEW, PAIRS, PARTS, finals, summarise
from experiments.bellec2020.spoken_digits_figures import text
from plasticity_jax.run import checked
from tests.experiments.by_hand import SEM, is_gap, is_put, is_told, is_trivial, paired

SEEDS, POINTS = 4, 10
CLAIMS = experiment.claims
CLOSED = ("gru.ridge", "alif.ridge", "mel.mean", "mel.whole")


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for part in PARTS:
        points = 1 if part in CLOSED else POINTS
        for name in ("right", "stranger", "error"):
            metrics[f"{part}/{name}"] = rng.uniform(0, 1, (SEEDS, points))
        if part not in CLOSED:
            for name in ("loss", "heard", "judged", "rate")[: 4 if part.startswith("alif") else 3]:
                metrics[f"{part}/{name}"] = rng.uniform(0, 1, (SEEDS, points))
    metrics["gru.uoro/loss"][1, -1] = np.nan
    return metrics


def ends(metrics, part, name):
    """Final values by seed, without seeds that diverged; the last tenth of the points is one point."""
    loss = metrics.get(f"{part}/loss", np.zeros((SEEDS, 1)))
    return {s: metrics[f"{part}/{name}"][s, -1] for s in range(SEEDS) if math.isfinite(loss[s, -1])}


def test_summary_by_loops():
    metrics = hand_made()
    summary, named = summarise(metrics), set()
    for part in PARTS:
        for name in ("loss", "heard", "judged", "right", "stranger", "error", "rate"):
            if f"{part}/{name}" in metrics:
                is_put(summary, f"{part}/{name}", list(ends(metrics, part, name).values()))
                named.add(f"{part}/{name}")
        right, stranger = ends(metrics, part, "right"), ends(metrics, part, "stranger")
        is_put(summary, f"{part}/lost", [right[s] - stranger[s] for s in right])
        named.add(f"{part}/lost")
    for better, worse in PAIRS:
        for name in ("right", "stranger"):
            a, b = ends(metrics, better, name), ends(metrics, worse, name)
            is_put(summary, f"{better}-{worse}/{name}", [a[s] - b[s] for s in a if s in b])
            named.add(f"{better}-{worse}/{name}")
    assert {name for name in summary if not name.endswith(("_sem", "_n"))} == named
    assert len(ends(metrics, "gru.uoro", "right")) == SEEDS - 1


def test_parts_that_were_not_run_are_not_judged():
    metrics = hand_made()
    some = {key: values for key, values in metrics.items() if key.startswith(("alif.eprop", "alif.blind", "mel"))}
    whole, partial_summary = summarise(metrics), summarise(some)
    assert partial_summary == {key: whole[key] for key in partial_summary}
    judged = {row["id"] for row in checked(CLAIMS, partial_summary) if row["holds"] is not None}
    assert judged == {"alif-hears-order", "slow-trace-matters"}
    assert list(make_parts(Config(data="made", frames=12, parts=("mel.mean", "alif.eprop")))) == [
        "alif.eprop",
        "mel.mean",
    ]


READOUTS = ("gru.rflo-gru.frozen", "gru.rflo-gru.ridge", "alif.eprop-alif.frozen", "alif.eprop-alif.ridge")
GAPS = {
    "gru-hears-order": ("gru.rflo-mel.mean/right",),
    "alif-hears-order": ("alif.eprop-mel.mean/right",),
    "beats-whole": ("gru.rflo-mel.whole/right", "alif.eprop-mel.whole/right"),
    "beats-readout": tuple(f"{pair}/right" for pair in READOUTS),
    "beats-readout-of-stranger": tuple(f"{pair}/stranger" for pair in READOUTS),
    "random-behind": ("gru.rflo-gru.random/right", "alif.eprop-alif.random/right"),
    "uoro-behind": ("gru.rflo-gru.uoro/right", "alif.eprop-alif.uoro/right"),
    "uoro-beats-readout": ("gru.uoro-gru.frozen/right", "alif.uoro-alif.frozen/right"),
    "slow-trace-matters": ("alif.eprop-alif.blind/right",),
    "gru-ahead": ("gru.bptt-alif.bptt/right", "gru.rflo-alif.eprop/right"),
    "strangers-are-harder": ("gru.rflo/lost", "alif.eprop/lost"),
}
TRIVIAL = {
    "gru-hears-order": "mel.whole-mel.mean/right",
    "alif-hears-order": "mel.whole-mel.mean/right",
    "strangers-are-harder": "mel.mean/lost",
}


@pytest.mark.parametrize("id", GAPS)
def test_leads_count_by_t(id):
    is_gap(CLAIMS, id, *GAPS[id])
    if id in TRIVIAL:
        is_trivial(CLAIMS, id, paired(dict.fromkeys((*GAPS[id], TRIVIAL[id]), 1.0)), {TRIVIAL[id]: 0.9})


@pytest.mark.parametrize(("part", "other"), [("gru.rflo", "gru.bptt"), ("alif.eprop", "alif.bptt")])
def test_close_is_at_most_twice_the_errors(part, other):
    id, frozen = f"{part}-near-{other}", f"{part.split('.')[0]}.frozen/error"
    summary = {f"{part}/error": 0.2, f"{other}/error": 0.1, frozen: 0.6}
    is_told(CLAIMS, id, summary, [{f"{part}/error": 0.21}, {f"{other}/error": 0.09}], 2.0)
    is_trivial(CLAIMS, id, summary | {frozen: 0.2}, {frozen: 0.21})


def test_snap_is_to_be_within_a_little_by_t():
    names = ("gru.snap-gru.rflo/right", "alif.snap-alif.eprop/right")
    tight = {f"{name}_sem": SEM / 100 for name in names}  # 0.0095, by t
    summary = paired(dict.fromkeys(names, 0.0)) | tight
    changes = [{name: x} for name in names for x in (0.021, -0.021)]
    is_told(CLAIMS, "snap-adds-little", summary | {names[0]: 0.02}, changes, 0.02)
    assert FEW == 0.03


def test_every_claim_is_our_own_and_in_the_tables():
    near = {"gru.rflo-near-gru.bptt", "alif.eprop-near-alif.bptt"}
    assert {claim.id for claim in CLAIMS} == set(GAPS) | near | {"snap-adds-little"}
    assert all(claim.own for claim in CLAIMS)


def test_table_counts_seeds():
    metrics = hand_made()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text(metrics).split("\n")]
    table = {(line[0], line[1]): line[2:] for line in lines[2:]}
    assert len(table) == len(PARTS)
    assert table["GRU", "UORO"][0] == "3 of 4"
    assert table["GRU", "UORO"][3] == "-"
    assert table.keys() > {("GRU", "RFLO, random"), ("ALIF network", "e-prop, random")}
    right = list(ends(metrics, "gru.uoro", "right").values())
    assert table["GRU", "UORO"][1].startswith(f"{100 * sum(right) / 3:.1f} ±")
    stranger = metrics["mel.whole/stranger"][:, -1]
    assert table["none", "best readout of whole spectrogram"][2].startswith(f"{100 * stranger.mean():.1f} ±")
    assert table["ALIF network", "e-prop, symmetric"][3] == f"{finals(metrics, 'alif.eprop')['rate'].mean():.1f}"


def test_settings():
    assert PRESETS["smoke"].data == "made"  # needs no files
    assert all(PRESETS[name].data == "spoken_digit" and not PRESETS[name].held for name in ("default", "paper"))
    for fields, message in (
        ({"points": 7}, "points=7 must divide updates="),
        ({"parts": ("lif.bptt",)}, "'lif.bptt' is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**fields)
