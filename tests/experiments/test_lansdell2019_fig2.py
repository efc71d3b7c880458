"""Figure 2 from metrics to claims: hand-made numbers, every one different, against plain loops."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019 import fig2
from experiments.lansdell2019.fig2 import Config, experiment, make_parts, methods, scores
from experiments.lansdell2019.fig2_claims import finals, lead_of_the_middle, summarise
from experiments.lansdell2019.fig2_figures import shortages, text
from experiments.shared.images import Images
from plasticity_jax.layers import init_params
from plasticity_jax.networks import mlp
from plasticity_jax.ops.noise import noise_of_shapes
from plasticity_jax.run import checked
from tests.laws.common import compiled

SEEDS, POINTS = 3, 4
C = ("np_c0.0001", "np_c0.001", "np_c0.01", "np_c0.1")
METHODS = ("bp", "fa", "matching", *C, "np_forget", "np_held", "np_sgd")
MATRICES = ("relative_error", "sign_congruence", "local_angle", "true_angle")


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for method in METHODS:
        for metric in ("error", "loss", "epoch") + (("noisy_error",) if method.startswith("np") else ()):
            metrics[f"{method}/{metric}"] = rng.uniform(1, 9, (SEEDS, POINTS))
        for metric in () if method == "bp" else MATRICES:
            metrics[f"{method}/{metric}"] = rng.uniform(1, 9, (SEEDS, POINTS, 2))
        if method in (*C, "np_forget", "np_held"):
            metrics[f"{method}/rank"] = rng.integers(3, 20, (SEEDS, POINTS, 2))
            metrics[f"{method}/rank_full"] = np.tile([20, 10], (SEEDS, POINTS, 1))
    return metrics


def mean(values):
    return sum(values) / len(values)


def row(id, summary):
    (measured_claim,) = checked([claim for claim in experiment.claims if claim.id == id], summary)
    return measured_claim


def test_ends_and_their_differences_from_feedback_alignment():
    metrics = hand_made()
    metrics["fa/loss"][1, -1] = np.nan
    summary = summarise(metrics)
    for method in METHODS:
        seeds = [0, 2] if method == "fa" else [0, 1, 2]
        names = {"error": metrics[f"{method}/error"]}
        if method.startswith("np"):
            names["noisy_error"] = metrics[f"{method}/noisy_error"]
        for metric in () if method == "bp" else MATRICES:
            for i in (0, 1):
                names[f"{metric}_W{i + 2}"] = metrics[f"{method}/{metric}"][:, :, i]
        for name, values in names.items():
            ends = [values[seed, POINTS - 1] for seed in seeds]
            assert summary[f"{method}/{name}"] == pytest.approx(mean(ends)), name
            spread = sum((end - mean(ends)) ** 2 for end in ends) / (len(ends) - 1)
            assert summary[f"{method}/{name}_sem"] == pytest.approx((spread / len(ends)) ** 0.5)
            assert summary[f"{method}/{name}_n"] == len(seeds)
            better = f"{method}/{name}_better_than_fa"
            if method == "fa" or name == "noisy_error":
                assert better not in summary
                continue
            fa = metrics["fa/error"] if name == "error" else metrics[f"fa/{name[:-3]}"][:, :, int(name[-1]) - 2]
            leads = [fa[seed, -1] - values[seed, -1] for seed in (0, 2)]
            leads = [-lead for lead in leads] if "sign" in name else leads
            assert summary[better] == pytest.approx(mean(leads)), name
            assert summary[f"{better}_n"] == 2
    assert set(finals(metrics)) == set(METHODS)


def test_differences_between_noise_levels_layers_and_ridges_and_ranks():
    metrics = hand_made()
    summary = summarise(metrics)

    def ends(method, metric, layer=None):
        values = metrics[f"{method}/{metric}"][:, -1]
        return [float(v if layer is None else v[layer]) for v in values]

    for metric in ("error", "noisy_error"):
        pairs = zip(ends(C[3], metric), ends(C[0], metric), strict=True)
        assert summary[f"np_c0.1-np_c0.0001/{metric}"] == pytest.approx(mean([a - b for a, b in pairs]))
    pairs = zip(ends(C[2], "sign_congruence", 1), ends(C[2], "sign_congruence", 0), strict=True)
    apart = [a - b for a, b in pairs]
    assert min(apart) < 0 < max(apart)
    assert summary["layers_apart"] == pytest.approx(mean([abs(a) for a in apart]))
    pairs = zip(ends(C[2], "relative_error", 1), ends("np_forget", "relative_error", 1), strict=True)
    assert summary["np_c0.01-np_forget/relative_error_W3"] == pytest.approx(mean([a - b for a, b in pairs]))
    held, learning = (ends(name, "relative_error", 1) for name in ("np_held", C[2]))
    closer = mean([a - b for a, b in zip(learning, held, strict=True)])
    assert summary["np_c0.01-np_held/relative_error_W3"] == pytest.approx(closer)
    for metric, sign in (("relative_error", 1), ("sign_congruence", -1)):
        held, learning = (ends(name, metric, 0) for name in ("np_held", C[2]))
        closer = mean([sign * (a - b) for a, b in zip(held, learning, strict=True)])
        assert summary[f"np_held-np_c0.01/{metric}_W2"] == pytest.approx(closer)
    for i, layer in enumerate(("W2", "W3")):
        assert summary[f"np_c0.01/rank_{layer}"] == pytest.approx(mean(ends(C[2], "rank", i)))
        assert summary[f"np_c0.01/rank_full_{layer}"] == (20, 10)[i]
        levels = [ends(method, "relative_error", i) for method in C]
        outer = levels[0] if mean(levels[0]) < mean(levels[3]) else levels[3]
        inner = levels[1] if mean(levels[1]) < mean(levels[2]) else levels[2]
        assert summary[f"optimum/{layer}"] == pytest.approx(mean([a - b for a, b in zip(outer, inner, strict=True)]))
    without = summarise({key: values for key, values in metrics.items() if not key.startswith("np_c0.1/")})
    assert "optimum/W2" not in without
    assert without["layers_apart"] == summary["layers_apart"]
    assert "layers_apart" not in summarise({k: v for k, v in metrics.items() if not k.startswith("np_c0.01/")})


def test_what_is_not_run_is_left_out_and_the_rest_is_the_same():
    metrics = hand_made()
    some = {key: values for key, values in metrics.items() if key.split("/")[0] in ("bp", "fa", "np_c0.01")}
    whole, partial_summary = summarise(metrics), summarise(some)
    assert partial_summary == {key: whole[key] for key in partial_summary}
    assert not any(
        name in key for key in partial_summary for name in ("np_sgd", "np_forget", "np_c0.1", "matching", "optimum")
    )
    judged = {row["id"] for row in checked(experiment.claims, partial_summary) if row["holds"] is not None}
    assert judged == {
        "close-in-both-layers",
        "sign-in-both-layers",
        "error-below-fa",
        "error-near-bp",
        "error-3",
        "rank-deficient",
    }
    config = Config(data="prototypes", sizes=(36, 5, 4, 10), methods=("np", "bp"), sigmas=(1e-2, 1e-1))
    assert list(make_parts(config)) == ["bp", "np_c0.01", "np_c0.1"]
    assert list(make_parts(Config(data="prototypes", sizes=(36, 5, 4, 10)))) == list(METHODS)
    with pytest.raises(ValueError, match="methods: 'dfa' is not known"):
        Config(methods=("dfa",))


def test_the_best_in_the_middle_is_held_against_the_better_end():
    one, two, three, four = (np.array(pair) for pair in ([5.0, 6.0], [3.0, 4.5], [2.0, 4.0], [4.0, 6.5]))
    np.testing.assert_allclose(lead_of_the_middle([one, two, three, four]), four - three)
    np.testing.assert_allclose(lead_of_the_middle([four, three, two, one]), four - three)
    np.testing.assert_allclose(lead_of_the_middle([three, one, four, two]), three - four)
    np.testing.assert_allclose(lead_of_the_middle([one, np.array([9.0, np.nan]), three, four]), four - three)


def gaps(*names, better=1.0, sem=0.3, n=4):  # t is 3.18 for four seeds, so that 0.95 is needed: two errors are 0.6
    return {key: value for name in names for key, value in ((name, better), (f"{name}_sem", sem), (f"{name}_n", n))}


GAPS = {f"{metric}-{layer}".replace("_", "-"): [f"{c}/{metric}_{layer}_better_than_fa" for c in C]
        for metric in MATRICES for layer in ("W2", "W3")}  # fmt: skip
GAPS |= {f"optimal-noise-{layer}": [f"optimum/{layer}"] for layer in ("W2", "W3")}
GAPS |= {
    "error-below-fa": ["np_c0.01/error_better_than_fa"],
    "large-noise-hurts": ["np_c0.1-np_c0.0001/error"],
    "large-noise-is-read-out": ["np_c0.1-np_c0.0001/noisy_error"],
    "forgetting-ends-the-lag": ["np_c0.01-np_forget/relative_error_W3"],
    "co-adaptation": ["np_held-np_c0.01/relative_error_W2"],
    "co-adaptation-signs": ["np_held-np_c0.01/sign_congruence_W2"],
    "held-corresponds-at-the-top": ["np_c0.01-np_held/relative_error_W3"],
}
RANKS = {"np_c0.01/rank_W2": 10.5, "np_c0.01/rank_full_W2": 20.0, "np_c0.01/rank_W3": 10.0, "np_c0.01/rank_full_W3": 10}
ERRORS = {f"{method}/error": 3.0 + k for k, method in enumerate(("bp", "fa", *C))}
BOUNDS = {  # a summary in which the claim holds, what is measured, and changes in which it does not
    "close-in-both-layers": (
        {"np_c0.01/relative_error_W2": 0.9, "np_c0.01/relative_error_W3": 0.4},
        0.9,
        [{"np_c0.01/relative_error_W2": 1.0}, {"np_c0.01/relative_error_W3": 1.1}],
    ),
    "sign-in-both-layers": ({"layers_apart": 0.09}, 0.09, [{"layers_apart": 0.1}]),
    "error-near-bp": (
        {"np_c0.01/error": 8.9, "bp/error": 8.0},
        0.9,
        [{"np_c0.01/error": 9.1}, {"bp/error": 7.8}],
    ),
    "error-3": ({"np_c0.01/error": 3.9}, 3.9, [{"np_c0.01/error": 4.0}]),
    "all-converge": (ERRORS, 8.0, [{name: 15.0} for name in ERRORS]),
    "rank-deficient": (RANKS, 10.5, [{"np_c0.01/rank_W2": 20.0}, {"np_c0.01/rank_W3": 9.9}]),
}


def test_every_claim_is_in_the_tables():
    assert sorted([*GAPS, *BOUNDS]) == sorted(claim.id for claim in experiment.claims)
    assert {claim.id for claim in experiment.claims if claim.own} == {
        "large-noise-is-read-out",
        "forgetting-ends-the-lag",
        "rank-deficient",
        "co-adaptation-signs",
        "held-corresponds-at-the-top",
    }


@pytest.mark.parametrize("id", GAPS)
def test_gaps_count_by_t_at_every_noise_level(id):
    names = GAPS[id]
    assert row(id, gaps(*names))["holds"] is True
    for name in names:
        assert row(id, gaps(*names) | gaps(name, better=0.9))["holds"] is False
        assert row(id, gaps(*names) | gaps(name, better=0.9))["measured"] == 0.9
        assert row(id, gaps(*(other for other in names if other != name)))["holds"] is None
    assert row(id, gaps(*names, sem=math.nan, n=1))["holds"] is None


@pytest.mark.parametrize("id", BOUNDS)
def test_bounds(id):
    summary, measured, changes = BOUNDS[id]
    assert row(id, summary)["holds"] is True
    assert row(id, summary)["measured"] == pytest.approx(measured)
    for change in changes:
        assert row(id, summary | change)["holds"] is False
        assert row(id, {key: value for key, value in summary.items() if key not in change})["holds"] is None


def test_an_error_far_below_that_of_backpropagation_is_near_enough():
    assert row("error-near-bp", {"np_c0.01/error": 5.0, "bp/error": 8.0})["holds"] is True


def test_trivial_baselines_are_no_feedback_and_feedback_that_is_never_learned():
    for metric, none, worse in (("relative_error", 1, 1), ("local_angle", 90, 1), ("sign_congruence", 0.5, -1)):
        for layer in ("W2", "W3"):
            id, fa = f"{metric}-{layer}".replace("_", "-"), f"fa/{metric}_{layer}"
            summary = gaps(*GAPS[id])
            assert row(id, summary)["trivial"] is None
            assert row(id, summary | gaps(fa, better=none + worse))["trivial"] is True
            assert row(id, summary | gaps(fa, better=none + 0.9 * worse))["trivial"] is False
            assert row(id, summary | gaps(fa, better=none - worse))["trivial"] is False
    for fixed, trivial in ((1.4, True), (1.6, False)):
        summary = gaps(*GAPS["co-adaptation"]) | {"fa/relative_error_W2": fixed, "np_held/relative_error_W2": 1.5}
        assert row("co-adaptation", summary)["trivial"] is trivial
    fa = {"fa/relative_error_W2": 0.9, "fa/relative_error_W3": 0.8, "fa/error": 3.9}
    fa |= {"fa/sign_congruence_W2": 0.7, "fa/sign_congruence_W3": 0.61}
    for id, change in (
        ("close-in-both-layers", {"fa/relative_error_W3": 1.0}),
        ("close-in-both-layers", {"fa/relative_error_W2": 1.0}),
        ("sign-in-both-layers", {"fa/sign_congruence_W3": 0.59}),
        ("sign-in-both-layers", {"fa/sign_congruence_W2": 0.5}),
        ("error-3", {"fa/error": 4.0}),
        ("error-near-bp", {"fa/error": 9.1}),
    ):
        assert row(id, BOUNDS[id][0] | fa)["trivial"] is True
        assert row(id, BOUNDS[id][0] | fa | change)["trivial"] is False


def test_table_counts_seeds_and_warns_of_directions_that_are_missing():
    metrics = hand_made()
    metrics["np_sgd/loss"][2, -1] = np.inf
    metrics["np_c0.01/rank"][:, -1] = [[12, 10], [11, 10], [13, 10]]
    lines = text(metrics).split("\n")
    assert lines[0].startswith("| method | seeds | error | noisy error | relative error W2 | relative error W3 |")
    table = {
        cells[1].strip(): [cell.strip() for cell in cells[2:]] for cells in (line.split("|") for line in lines[2:12])
    }
    assert table["NP, B by SGD"][0] == "2 of 3"
    assert table["node perturbation, c = 0.1"][0] == "3 of 3"
    error = mean(list(metrics["np_sgd/error"][:2, -1]))
    assert table["NP, B by SGD"][1].startswith(f"{error:.3g} ±")
    assert table["backpropagation"][2] == "-"
    congruence = metrics["np_c0.1/sign_congruence"][:, -1, 1].mean()
    assert table["node perturbation, c = 0.1"][6].startswith(f"{congruence:.3g} ±")
    (warning,) = shortages(metrics)
    assert "W2" in warning
    assert "have taken 11 of 20 directions" in warning
    assert lines[-1] == warning
    metrics["np_c0.01/rank"][:, 0] = 1
    metrics["np_c0.01/rank"][:, -1] = [20, 10]
    assert shortages(metrics) == []
    metrics["np_c0.01/rank"][1, -1, 1] = 9
    assert "W3" in shortages(metrics)[0]


def test_scores_are_of_the_test_images_and_angles_of_the_first_training_images(monkeypatch):
    config, rng = Config(sizes=(6, 5, 4, 3), examples=7), np.random.default_rng(1)
    net = mlp(config.sizes, ("sigmoid", "sigmoid", "identity"))
    data = Images(*(jnp.asarray(rng.integers(0, high, shape, dtype)) for high, shape, dtype in (
        (256, (11, 6), np.uint8), (3, 11, np.int32), (256, (200, 6), np.uint8), (3, 200, np.int32))))  # fmt: skip
    monkeypatch.setattr(fig2, "alignment", lambda net, params, batch: SimpleNamespace(_asdict=batch._asdict))
    monkeypatch.setattr(fig2, "feedback_rank", lambda traces, tolerance: {"of": traces, "above": tolerance})

    def evaluated(key):
        params, second = init_params(key, net), SimpleNamespace(second=(jnp.ones(3),))
        state = SimpleNamespace(learner=SimpleNamespace(params=params, traces=SimpleNamespace(second=())))
        xi = noise_of_shapes(jax.random.key(0), [(200, 5), (200, 4)], jnp.zeros(()).dtype, "gaussian")
        metrics = [scores(config, net, data, *at)(state) for at in (("np_sgd", 0.5), ("bp", None), ("fa", None))]
        state.learner.traces = second
        ridge = scores(config, net, data, "np_c0.5", 0.5)(state)
        assert ridge.pop("rank") == {"of": second, "above": 0.01}
        return params["forward"], xi, [*metrics, ridge]

    weights, xi, (sgd, exact, fixed, ridge) = jax.tree.map(np.asarray, compiled(evaluated)(jax.random.key(0)))

    def errors(noise):
        h = np.asarray(data.test) / 255
        for layer in range(3):
            h = h @ weights["w"][layer].T + weights["bias"][layer]
            h = h if layer == 2 else 1 / (1 + np.exp(-h)) + noise[layer]
        return 100 * np.mean(h.argmax(1) != np.asarray(data.test_label))

    assert float(sgd["error"]) == pytest.approx(errors([0, 0]))
    assert float(sgd["noisy_error"]) == pytest.approx(errors([0.5 * x for x in xi]))
    assert sgd["error"] != sgd["noisy_error"]
    np.testing.assert_allclose(sgd["x"], np.asarray(data.train)[:7] / 255)
    np.testing.assert_allclose(sgd["y"], np.eye(3)[np.asarray(data.train_label)[:7]])
    assert set(exact) == {"error"}
    assert set(sgd) - set(fixed) == {"noisy_error"}
    assert ridge["rank_full"].tolist() == [4, 3]


def test_methods_learn_at_the_rates_and_noise_of_the_config():
    config = Config(sizes=(6, 5, 4, 3), batch=8, rate=0.5, sgd_rate=0.25, sigmas=(0.1, 0.2), extra_sigma=0.3)
    by_name = methods(config, mlp(config.sizes, ("sigmoid", "sigmoid", "identity")))
    assert {name: sigma for name, (_, _, sigma) in by_name.items()} == {
        "bp": None, "fa": None, "matching": None, "np_c0.1": 0.1, "np_c0.2": 0.2, "np_forget": 0.3, "np_held": 0.3,
        "np_sgd": 0.3,
    }  # fmt: skip
    params = {"forward": jnp.ones(2), "feedback": jnp.ones(3)}
    moved = compiled(
        lambda: {name: tx.update(params, tx.init(params), params)[0] for name, (_, tx, _) in by_name.items()}
    )
    for name, change in moved().items():
        feedback = {"bp": 0, "fa": 0, "matching": 4, "np_sgd": 2}.get(name, 1)
        forward = 0 if name == "np_held" else -4
        assert (float(change["forward"][0]), float(change["feedback"][0])) == (forward, -feedback), name
