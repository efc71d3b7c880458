"""Section 4 from metrics to claims: summary against NumPy loops, claims on numbers made by hand."""

import dataclasses

import numpy as np
import pytest

from experiments.benjamin2021.predictions import PRESETS, chosen, experiment, masks
from experiments.benjamin2021.predictions_claims import summarise
from experiments.benjamin2021.predictions_figures import through
from experiments.benjamin2021.predictions_scores import (
    PARTS,
    first_apart,
)
from tests.experiments.benjamin2021_by_hand import are_bounded, are_gaps, are_trivial, decidable, entries, is_summary

KINDS = ("again", "omniglot", "upside_down", "inverted", "shuffled")
SCORES = ("critic", "features", "pixels", "ink", "image_critic", "code_critic")
COMPARED = ("image", "oscillation", "code", "image_floor", "code_floor", "image_control", "code_control")
OVERLAP = ("js_sleep", "js_floor", "js_shuffled", "js_unpaired", "kl_sleep", "index_shuffled", "index_unpaired")


def made(seeds=3, points=5):
    """Metrics of a run with parts that are alike at the first two points, and with a seed that diverged."""
    metrics = {}
    for part, length in (("training", points), ("untrained", 1)):
        shapes = {"auroc": (5, 6), "apart": (5, 6), "told": (6,), "critic": (7,), "network": (7,), "scores": (6, 2, 6)}
        shapes |= dict.fromkeys(OVERLAP, ())
        metrics |= {
            f"{part}/{name}": entries(f"{part}/{name}", seeds, length, *shape) for name, shape in shapes.items()
        }
    metrics["training/step"] = np.arange(points) + np.zeros((seeds, 1))
    metrics["training/variance"] = entries("variance", seeds, points, 4, 3, 2, 2)
    metrics["training/wake_sleep"] = entries("wake_sleep", seeds, points, 4, 2, low=-1.0)
    metrics["training/loss"] = entries("loss", seeds, points, 4)
    metrics["training/loss"][:, :2] = metrics["training/loss"][:, :2, :1]
    metrics["training/loss"][2, :, :] = np.nan
    metrics["training/kl_sleep"][2, -1] = np.nan
    return metrics


def test_networks_part_where_their_losses_do():
    metrics = made()
    assert first_apart(metrics) == 2
    metrics["training/loss"][1, 1, 3] += 1
    assert first_apart(metrics) == 1


def test_summary_is_of_the_last_points_and_paired():
    metrics = made()
    now, before = (
        {name.split("/")[1]: values[:, -1] for name, values in metrics.items() if name.startswith(part)}
        for part in ("training", "untrained")
    )
    columns = {}
    for state, prefix, measures in (("trained", "", now), ("untrained", "untrained/", before)):
        auroc = {(k, s): measures["auroc"][:, i, j] for i, k in enumerate(KINDS) for j, s in enumerate(SCORES)}
        columns |= {f"auroc/{state}/{k}/{s}": value for (k, s), value in auroc.items()}
        columns |= {
            f"apart/{state}/{k}/{s}": measures["apart"][:, i, j]
            for i, k in enumerate(KINDS)
            for j, s in enumerate(SCORES)
        }
        columns |= {f"told/{state}/{k}": measures["told"][:, i] for i, k in enumerate(("familiar", *KINDS))}
        for which in ("critic", "network"):
            columns |= {f"polarity/{state}/{which}/{name}": measures[which][:, i] for i, name in enumerate(COMPARED)}
            for i, (name, control) in enumerate((("image", 5), ("oscillation", 5), ("code", 6))):
                columns[f"{prefix}switches/{which}/{name}"] = -measures[which][:, i]
                columns[f"{prefix}switches_own/{which}/{name}"] = measures[which][:, control] - measures[which][:, i]
                columns[f"switches_more/{which}/{name}"] = before[which][:, i] - now[which][:, i]
        columns |= {f"overlap/{state}/{name}": measures[name] for name in OVERLAP}
        columns[f"overlap/{state}/excess"] = measures["js_sleep"] - measures["js_floor"]
        columns[f"{prefix}align/pairs"] = measures["js_unpaired"] - measures["js_sleep"]
        columns[f"{prefix}align/units"] = measures["js_shuffled"] - measures["js_sleep"]
        columns[f"{prefix}alike"] = np.array([0.1 - abs(value - 0.5) for value in measures["told"][:, 0]])
        for i, k in enumerate(KINDS):
            columns[f"{prefix}told_more/{k}"] = measures["told"][:, i + 1] - measures["told"][:, 0]
            for s in ("critic", "features"):
                columns[f"{prefix}surprise/{k}/{s}"] = auroc[k, s] - 0.5
                ink = np.array([max(value, 1 - value) for value in auroc[k, "ink"]])  # in its better direction
                columns[f"{prefix}beyond_ink/{k}/{s}"] = auroc[k, s] - ink
                columns[f"{prefix}beyond_pixels/{k}/{s}"] = auroc[k, s] - auroc[k, "pixels"]
            for s in ("image_critic", "code_critic"):
                columns[f"{prefix}rises/{k}/{s}"] = auroc[k, s] - 0.5
                columns[f"{prefix}deviates/{k}/{s}"] = abs(auroc[k, s] - 0.5) - abs(auroc["again", s] - 0.5)
    for i, k in enumerate(KINDS):
        for j, s in ((0, "critic"), (1, "features")):
            columns[f"learned/{k}/{s}"] = now["auroc"][:, i, j] - before["auroc"][:, i, j]
        for j, s in ((4, "image_critic"), (5, "code_critic")):
            off = [abs(measures["auroc"][:, i, j] - 0.5) for measures in (now, before)]
            columns[f"deviates_more/{k}/{s}"] = off[0] - off[1]
    columns["align/js"] = (before["js_sleep"] - before["js_floor"]) - (now["js_sleep"] - now["js_floor"])
    columns["align/kl"] = before["kl_sleep"] - now["kl_sleep"]
    variance, gap = metrics["training/variance"], metrics["training/wake_sleep"]
    for part, at, phase, name, layer in (
        ("sleep_code", 1, 0, "wake", 1),
        ("wake_code", 2, 1, "sleep", 1),
        ("wake_image", 3, 1, "sleep", 0),
        ("wake_image", 3, 2, "oscillation", 0),
    ):
        share = variance[:, :, at, phase, layer] / variance[:, :, 0, phase, layer]
        early, late, others = share[:, 2, 0], share[:, 4, 0], share[:, 4, 1]
        of_part = {"early": early, "silenced": late, "others": others, "falls": 0.5 - late}
        of_part |= {"goes_on": early - late, "alone": others - late}
        columns |= {f"silencing/{part}/{name}/{what}": value for what, value in of_part.items()}
        columns[f"silencing/{part}/gap_opens"] = gap[:, 2, at, layer] - gap[:, 2, 0, layer]
        columns[f"silencing/{part}/gap_stays"] = gap[:, 4, at, layer] - gap[:, 4, 0, layer]
        columns[f"silencing/{part}/gap_closes"] = gap[:, 2, at, layer] - gap[:, 4, at, layer]
    is_summary(summarise(metrics), columns)


def test_courses_begin_before_training():
    metrics = made()
    steps, curve = through(metrics, "js_sleep")
    np.testing.assert_array_equal(steps, [0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(curve[:, 0], metrics["untrained/js_sleep"][:, 0])
    np.testing.assert_array_equal(curve[:, 1:], metrics["training/js_sleep"])


NOVEL = KINDS[1:]
PHASES = ("image", "oscillation", "code")
GAPS = {
    "surprise": [f"surprise/{kind}/features" for kind in NOVEL],
    "surprise-critic": [f"surprise/{kind}/critic" for kind in NOVEL],
    "surprise-learned": [f"learned/{kind}/features" for kind in NOVEL],
    "surprise-beyond-ink": [f"beyond_ink/{kind}/features" for kind in ("omniglot", "upside_down", "shuffled")],
    "surprise-beyond-pixels": ["beyond_pixels/omniglot/features"],
    "expected-alike": ["alike"],
    "expected-less-told": [f"told_more/{kind}" for kind in NOVEL],
    "novelty": [f"deviates/{kind}/image_critic" for kind in NOVEL],
    "novelty-code": [f"deviates/{kind}/code_critic" for kind in NOVEL],
    "novelty-rises": [f"rises/{kind}/image_critic" for kind in NOVEL],
    "novelty-rises-code": [f"rises/{kind}/code_critic" for kind in NOVEL],
    "novelty-learned": [f"deviates_more/{kind}/image_critic" for kind in NOVEL],
    "novelty-learned-code": [f"deviates_more/{kind}/code_critic" for kind in NOVEL],
    "polarity-learned": [f"switches_more/critic/{name}" for name in PHASES],
    "polarity-own": [f"switches_own/critic/{name}" for name in PHASES],
    "align": ["align/js"],
    "align-kl": ["align/kl"],
    "align-pairs": ["align/pairs"],
    "align-units": ["align/units"],
    "silence-sleep": ["silencing/sleep_code/wake/falls"],
    "silence-sleep-alone": ["silencing/sleep_code/wake/alone"],
    "silence-sleep-gap": ["silencing/sleep_code/gap_closes"],
    "silence-wake-image": ["silencing/wake_image/sleep/falls", "silencing/wake_image/oscillation/falls"],
    "silence-wake-image-alone": ["silencing/wake_image/sleep/alone", "silencing/wake_image/oscillation/alone"],
    "silence-wake-code-gap": ["silencing/wake_code/gap_stays"],
}
BOUNDED = {
    "polarity-critic": (0.95, 1.001, *(f"switches/critic/{name}" for name in PHASES)),
    "polarity-network": (0.95, 1.001, *(f"switches/network/{name}" for name in PHASES)),
    "silence-wake-code": (0.99, 1.01, "silencing/wake_code/sleep/silenced"),
}
TRIVIAL = {
    id: [f"untrained/{name}" for name in GAPS[id]]
    for id in (
        "surprise",
        "surprise-critic",
        "surprise-beyond-ink",
        "surprise-beyond-pixels",
        "expected-alike",
        "expected-less-told",
        "novelty",
        "novelty-code",
        "novelty-rises",
        "novelty-rises-code",
        "polarity-own",
        "align-pairs",
        "align-units",
    )
}
for which in ("critic", "network"):
    names = [f"untrained/switches/{which}/{name}" for name in PHASES]
    TRIVIAL[f"polarity-{which}"] = (dict.fromkeys(names, 0.95), *({name: 0.9} for name in names))
OWN = {"surprise-critic", "surprise-learned", "surprise-beyond-ink", "surprise-beyond-pixels", "expected-less-told"}
OWN |= {"polarity-learned", "polarity-own", "align-pairs", "align-units", "silence-sleep-alone", "silence-sleep-gap"}
OWN |= {"silence-wake-image-alone", "silence-wake-code", "silence-wake-code-gap"}


def test_every_claim_reads_its_own_numbers():
    claims = experiment.claims
    assert {claim.id for claim in claims} == set(GAPS) | set(BOUNDED)
    are_gaps(claims, GAPS)
    are_bounded(claims, BOUNDED)
    are_trivial(claims, TRIVIAL, decidable(GAPS, BOUNDED))
    assert {claim.id for claim in claims if claim.own} == OWN
    assert all((claim.paper is None) == claim.own for claim in claims)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="above onset"):
        dataclasses.replace(PRESETS["smoke"], onset=3)
    with pytest.raises(ValueError, match="silenced must be below latent"):
        dataclasses.replace(PRESETS["smoke"], silenced=6)
    for wrong, what in (({"cycles": 0}, "cycles"), ({"gamma": 2.0}, "gamma")):
        with pytest.raises(ValueError, match=what):
            experiment.check(dataclasses.replace(PRESETS["smoke"], **wrong))


def test_each_part_silences_one_layer_in_one_direction():
    up, down = masks(PRESETS["smoke"])
    image, code = chosen(PRESETS["smoke"])
    assert image.reshape(7, 7)[2:5, 2:5].all()
    assert (image.sum(), code.sum()) == (9, 2)
    silent = {(part, way, layer) for way, each in (("up", up), ("down", down)) for layer in range(2)
              for i, part in enumerate(PARTS) if not each[layer][i].all()}  # fmt: skip
    assert silent == {("sleep_code", "down", 1), ("wake_code", "up", 1), ("wake_image", "up", 0)}
    np.testing.assert_array_equal(up[0][PARTS.index("wake_image")], 1 - image)
    np.testing.assert_array_equal(down[1][PARTS.index("sleep_code")], 1 - code)
