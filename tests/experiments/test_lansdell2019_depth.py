"""Networks of several depths, after Lansdell et al.: from metrics to claims, on hand-made numbers."""

import functools
import math

import jax
import numpy as np
import pytest

from experiments.lansdell2019.depth import PRESETS, Config, experiment, network, pathway
from experiments.lansdell2019.depth_claims import METHODS, depths_of, finals, summarise
from experiments.lansdell2019.depth_figures import text
from plasticity_jax.layers import init_params
from plasticity_jax.run import checked
from tests.experiments.by_hand import is_put

SEEDS, POINTS, DEPTHS = 4, 3, (2, 3, 10)
SPREAD = np.array([-0.3, -0.1, 0.1, 0.3])
"""Added to hand-made final values, keeps their mean and makes every seed differ."""


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for depth in reversed(DEPTHS):
        for method in METHODS:
            for name in ("loss", "error", "epoch"):
                metrics[f"{method}.{depth}/{name}"] = rng.uniform(1, 9, (SEEDS, POINTS))
            if method != "bp":
                metrics[f"{method}.{depth}/angle"] = rng.uniform(1, 90, (SEEDS, POINTS, depth))
    return metrics


def rows_by_id(summary):
    return {row["id"]: row for row in checked(experiment.claims, summary)}


def test_depths_are_those_of_the_method_in_order():
    metrics = hand_made()
    del metrics["fa.3/loss"], metrics["fa.3/error"], metrics["fa.3/epoch"], metrics["fa.3/angle"]
    assert depths_of(metrics, "np_chain") == [2, 3, 10]
    assert depths_of(metrics, "fa") == [2, 10]
    assert depths_of(metrics, "np") == []  # no prefix of np_chain's


def test_finals_are_those_of_the_last_evaluation_by_layer():
    metrics = hand_made()
    metrics["dfa.3/loss"][1, -1] = np.inf
    metrics["dfa.3/loss"][2, 0] = np.inf  # it comes back
    final = finals(metrics, "dfa.3")
    assert set(final) == {"error", "angle_1", "angle_2", "angle_3", "distortion"}
    for seed in range(SEEDS):
        angles = metrics["dfa.3/angle"][seed][POINTS - 1]
        expected = {"error": metrics["dfa.3/error"][seed][POINTS - 1], "distortion": angles[0] - angles[2]}
        expected |= {"angle_1": angles[0], "angle_2": angles[1], "angle_3": angles[2]}
        for name, value in expected.items():
            assert math.isnan(final[name][seed]) if seed == 1 else final[name][seed] == value, name
    assert set(finals(metrics, "bp.2")) == {"error"}


def test_summary_has_ends_and_paired_differences():
    metrics = hand_made()
    metrics["np_chain.10/loss"][2, -1] = np.nan
    summary, expected = summarise(metrics), {}

    def end(method, depth, name, seed):
        if name == "error":
            return metrics[f"{method}.{depth}/error"][seed, -1]
        angles = metrics[f"{method}.{depth}/angle"][seed, -1]
        return angles[0] - angles[depth - 1] if name == "distortion" else angles[int(name[6:]) - 1]

    def seeds_of(*parts):
        return [0, 1, 3] if ("np_chain", 10) in parts else [0, 1, 2, 3]

    for method in METHODS:
        for depth in DEPTHS:
            angles = () if method == "bp" else (*(f"angle_{k}" for k in range(1, depth + 1)), "distortion")
            for name in ("error", *angles):
                values = [end(method, depth, name, seed) for seed in seeds_of((method, depth))]
                expected[f"{method}.{depth}/{name}"] = values
        if method != "bp":
            seeds = seeds_of((method, 10))
            expected[f"{method}.deepest/distortion"] = [end(method, 10, "distortion", seed) for seed in seeds]
            expected[f"{method}.deepest-shallowest/angle_1"] = [
                end(method, 10, "angle_1", seed) - end(method, 2, "angle_1", seed) for seed in seeds
            ]
    for worse, better in (("np_chain", "np_direct"), ("fa", "np_chain"), ("dfa", "np_direct"), ("fa", "dfa")):
        for name in ("error", "angle_1", "distortion"):
            expected[f"{worse}-{better}.deepest/{name}"] = [
                end(worse, 10, name, seed) - end(better, 10, name, seed) for seed in seeds_of((worse, 10), (better, 10))
            ]
    for name, values in expected.items():
        is_put(summary, name, values)
    assert set(summary) == {name + ending for name in expected for ending in ("", "_sem", "_n")}


def scene(**changed):
    """Metrics in which every claim holds and no trivial baseline meets it: final (error, lowest, top) by method.depth.

    Middle layers, and values before the final ones, are far off.
    """
    ends = {"bp.2": (5, 0, 0), "bp.4": (5, 0, 0)}
    ends |= {"np_chain.2": (6, 30, 20), "np_direct.2": (6, 25, 20), "fa.2": (9, 60, 62), "dfa.2": (8, 60, 62)}
    ends |= {"np_chain.4": (8, 50, 20), "np_direct.4": (7, 40, 20), "fa.4": (9, 58, 62), "dfa.4": (9.5, 60, 61)}
    metrics = {}
    for part, (error, lowest, top) in (ends | changed).items():
        method, depth = part.split(".")
        rank = METHODS.index(method) + 1  # so that paired differences have a spread
        metrics[f"{part}/loss"] = np.ones((SEEDS, POINTS))
        metrics[f"{part}/epoch"] = np.tile([1.0, 2.0, 3.0], (SEEDS, 1))
        metrics[f"{part}/error"] = np.full((SEEDS, POINTS), 99.0)
        metrics[f"{part}/error"][:, -1] = error + SPREAD * rank / 5
        if method != "bp":
            angles = metrics[f"{part}/angle"] = np.full((SEEDS, POINTS, int(depth)), 170.0)
            angles[:, -1, 0], angles[:, -1, -1] = lowest + SPREAD * rank * int(depth), top - SPREAD
    return metrics


MEASURED = {
    "accumulates": 10,  # of 10 and 30
    "deeper-is-worse": 20,
    "direct-accumulates-less": 10,
    "direct-is-nearer": 10,
    "direct-errs-less": 1,
    "learned-beats-fixed": 1,  # of 1 and 2.5
}


def test_every_claim_holds_where_it_should():
    rows = rows_by_id(summarise(scene()))
    assert {id: row["measured"] for id, row in rows.items()} == pytest.approx(MEASURED)
    for id, row in rows.items():
        assert row["holds"] is True, id
        assert row["trivial"] is (None if id == "learned-beats-fixed" else False), id
    assert [id for id, row in rows.items() if row["own"]] == [
        "direct-is-nearer",
        "direct-errs-less",
        "learned-beats-fixed",
    ]


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"np_chain.2": (6, 19, 20)}, {"accumulates": -1}),  # at one depth alone
        ({"np_chain.2": (6, 51, 20)}, {"deeper-is-worse": -1}),
        ({"np_direct.4": (7, 40, 8)}, {"direct-accumulates-less": -2}),
        ({"np_direct.4": (7, 52, 25)}, {"direct-is-nearer": -2}),
        ({"np_direct.4": (8.5, 40, 20)}, {"direct-errs-less": -0.5}),
        ({"dfa.4": (6, 60, 61)}, {"learned-beats-fixed": -1}),  # direct feedback alone
        ({"fa.4": (7.5, 58, 62)}, {"learned-beats-fixed": -0.5}),  # layerwise alone
        ({"np_chain.2": (6, 20.1, 20)}, {"accumulates": 0.1}),  # above 0, but not clearly
    ],
)
def test_each_claim_fails_where_it_should(changed, failing):
    rows = rows_by_id(summarise(scene(**changed)))
    for id, row in rows.items():
        assert row["holds"] is (id not in failing), id
        assert row["measured"] == pytest.approx(failing.get(id, row["measured"])), id


@pytest.mark.parametrize(
    ("changed", "met"),
    [
        ({"fa.4": (9, 72, 62)}, {"accumulates", "deeper-is-worse", "direct-accumulates-less", "direct-is-nearer"}),
        ({"dfa.4": (8.5, 60, 61)}, {"direct-errs-less"}),
    ],
)
def test_fixed_feedback_may_meet_them_too(changed, met):
    rows = rows_by_id(summarise(scene(**changed)))
    assert {id for id, row in rows.items() if row["trivial"]} == met


def test_what_was_not_run_is_not_judged():
    metrics = {key: value for key, value in scene().items() if not key.startswith("np_direct")}
    rows = rows_by_id(summarise(metrics))
    assert {id for id, row in rows.items() if row["holds"] is not None} == {"accumulates", "deeper-is-worse"}
    alone = {key: value[:1] for key, value in scene().items()}
    assert {row["holds"] for row in rows_by_id(summarise(alone)).values()} == {None}
    shallow = {key: value for key, value in scene().items() if ".2/" in key}
    rows = rows_by_id(summarise(shallow))
    assert rows["deeper-is-worse"]["holds"] is None
    assert rows["accumulates"]["holds"] is True


def test_table_shows_lowest_and_top_layers():
    lines = text(scene()).splitlines()
    assert len(lines) == 2 + 10
    (line,) = (line for line in lines if line.startswith("| 4 | node perturbation, layer by layer |"))
    assert [cell.strip() for cell in line.split("|")[3:7]] == ["4 of 4", "8.0 ± 0.1", "50.0 ± 1.0", "20.0 ± 0.1"]
    (line,) = (line for line in lines if line.startswith("| 2 | backpropagation |"))
    assert line.endswith("| - | - |")


def test_feedback_has_the_shape_of_its_pathway():
    net, key = network(Config(pixels=16, width=5), 3), jax.random.key(0)
    for method in METHODS:
        params = jax.eval_shape(functools.partial(init_params, net=net, pathway=pathway(method)), key)
        shapes = [sorted(w.shape) for w in params["feedback"]["w_fb"]]
        assert shapes == ([[5, 10]] * 3 if method in ("np_direct", "dfa") else [[5, 5], [5, 5], [5, 10]]), method


def test_settings_that_mean_nothing_are_refused():
    assert PRESETS["default"].depths == (2, 4, 6)
    for depths in ((4, 2), (2, 2)):
        with pytest.raises(ValueError, match="must increase"):
            Config(depths=depths)
    with pytest.raises(ValueError, match="is not known"):
        Config(methods=("np",))
    with pytest.raises(ValueError, match="must divide"):
        Config(points=7)
