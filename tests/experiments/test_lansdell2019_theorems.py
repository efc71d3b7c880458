"""The theorems from metrics to claims: hand-made numbers, every one different, against plain loops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019 import theorems
from experiments.lansdell2019.fixed_weights import (
    HELD,
    Expected,
    Layer,
    drawn_weights,
    layers_of,
    regression,
    second_order,
)
from experiments.lansdell2019.theorems import Config, cases, experiment, one_step_back, theory
from experiments.lansdell2019.theorems_claims import summarise
from experiments.lansdell2019.windows import glorot_params, vanilla
from plasticity_jax.base import Info, Learner, LearnerState
from plasticity_jax.networks import mlp
from plasticity_jax.run import checked
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Example
from tests.laws.common import compiled

SEEDS, POINTS = 3, 4
PARTS = {  # layers, and the noise level of each setting: those of the first network, then those of the next
    "theorem1.8-5-3.gaussian": (1, (0.01, 0.01)),
    "theorem1.8-5-3.rademacher": (1, (0.01, 0.01)),
    "bias.linear": (1, (0.01, 1.0, 0.01, 1.0)),
    "rank.offline": (2, (0.01, 0.01)),
    "recurrent.legacy": (1, (0.05,)),
}


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for part, (layers, sigmas) in PARTS.items():
        shape = (SEEDS, POINTS, len(sigmas), layers)
        metrics[f"{part}/sigma"] = np.tile(sigmas, (SEEDS, POINTS, 1))
        metrics[f"{part}/samples"] = np.tile(np.array([[8], [16], [24], [32]]), (SEEDS, 1, len(sigmas)))
        metrics[f"{part}/relative_error"] = rng.uniform(1, 9, shape)
        metrics[f"{part}/cosine"] = rng.uniform(-1, 1, shape)
        for metric in ("true_angle", "angle", "angle_own"):
            metrics[f"{part}/{metric}"] = rng.uniform(1, 9, shape)
        if not part.startswith("recurrent"):
            metrics[f"{part}/expected"] = rng.uniform(1, 9, shape)
    return metrics


def row(id, summary):
    (measured_claim,) = checked([claim for claim in experiment.claims if claim.id == id], summary)
    return measured_claim


def test_summary_by_loops():
    metrics = hand_made()
    summary = summarise(metrics)
    wheres = {}
    for part, (layers, sigmas) in PARTS.items():
        for sigma in set(sigmas):
            for k in range(layers):
                where = f"{part}/c={sigma:g}" if part.startswith("bias") else f"{part}/W{k + 2}"
                wheres[where] = part, k, [i for i, each in enumerate(sigmas) if each == sigma]

    def root(values):
        return math.sqrt(sum(value**2 for value in values) / len(values))

    for where, (part, k, columns) in wheres.items():
        curves = [[float(metrics[f"{part}/relative_error"][seed, t, i, k]) for t in range(POINTS)]
                  for seed in range(SEEDS) for i in columns]  # fmt: skip
        ends = sorted(curve[-1] for curve in curves)
        assert summary[where] == pytest.approx(sum(ends) / len(ends)), where
        assert summary[f"{where}_n"] == len(ends) == SEEDS * len(columns)
        assert summary[f"{where}_max"] == pytest.approx(ends[-1])
        place = 0.95 * (len(ends) - 1)  # between the two largest
        p95 = ends[-2] + (place - (len(ends) - 2)) * (ends[-1] - ends[-2])
        assert summary[f"{where}_p95"] == pytest.approx(p95)
        squares = [root([curve[t] for curve in curves]) for t in range(POINTS)]
        x, y = [math.log(count) for count in (8, 16, 24, 32)], [math.log(value) for value in squares]
        mean_x, mean_y = sum(x) / 4, sum(y) / 4
        slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
        assert summary[f"{where}_slope"] == pytest.approx(slope)
        if part.startswith("recurrent"):
            assert f"{where}_ratio" not in summary
            continue
        theory = [float(metrics[f"{part}/expected"][seed, -1, i, k]) for seed in range(SEEDS) for i in columns]
        assert summary[f"{where}_ratio"] == pytest.approx(squares[-1] / root(theory))


def test_angles_of_the_rank_deficient_and_the_recurrent_network():
    metrics = hand_made()
    summary = summarise(metrics)
    for part in PARTS:
        for metric in ("true_angle", "cosine", "angle", "angle_own"):
            for k in range(PARTS[part][0]):
                name = f"{part}/W{k + 2}_{metric}"
                if part.startswith(("rank", "recurrent")):
                    ends = [float(value) for value in metrics[f"{part}/{metric}"][:, -1, :, k].ravel()]
                    assert summary[name] == pytest.approx(sum(ends) / len(ends)), name
                else:
                    assert name not in summary


def test_ratio_to_the_error_of_isotropic_errors():
    summary = summarise(hand_made())
    for noise, hidden in (("gaussian", 5 + 1), ("rademacher", 5 - 1)):
        where = f"theorem1.8-5-3.{noise}"
        wanted = summary[f"{where}/W2"] / math.sqrt((3 + 2) * hidden / 32)
        assert summary[f"{where}/isotropic_ratio"] == pytest.approx(wanted)


FALLS = ((-0.6, -0.5), (-0.65, -0.4))
NEAR = ((1.08, 0.95), (0.9, 1.1))
SMALL = ((0.04, 0.01), (0.05,))
EACH = {  # numbers of a claim, values at which it holds with the worst first, and values at which it fails
    "theorem1": ([f"theorem1.8-5-3.{noise}/W2_max" for noise in ("gaussian", "rademacher")], *SMALL),
    "theorem1-rate": (["theorem1.8-5-3.gaussian/W2_slope", "theorem1.16-10-5.rademacher/W2_slope"], *FALLS),
    "theorem1-expected": (["theorem1.8-5-3.gaussian/W2_ratio", "theorem1.16-10-5.rademacher/W2_ratio"], *NEAR),
    "theorem1-isotropic": (
        ["theorem1.8-5-3.gaussian/isotropic_ratio", "theorem1.16-10-5.rademacher/isotropic_ratio"],
        (1.15, 0.9),
        (0.8, 1.2),
    ),
    "theorem2-offline": (["theorem2.offline/W2_max", "theorem2.offline/W3_max"], *SMALL),
    "theorem2-online": (["theorem2.ridge/W2_max", "theorem2.ridge/W3_max"], *SMALL),
    "theorem2-rate": (["theorem2.ridge/W2_slope", "theorem2.offline/W3_slope"], *FALLS),
    "theorem2-expected": (["theorem2.ridge/W2_ratio", "theorem2.offline/W3_ratio"], *NEAR),
    "bias": (["bias.sigmoid/c=1"], (0.11,), (0.1,)),
    "bias-stays": (["bias.sigmoid/c=1_slope"], (-0.14,), (-0.15,)),
    "bias-limit": (["bias.sigmoid/c=0.01"], (0.019,), (0.02,)),
    "linear-no-bias": (["bias.linear/c=1_slope"], (-0.6,), (-0.65, -0.4)),
    "linear-expected": (["bias.linear/c=1_ratio"], (1.08,), (0.9, 1.1)),
    "antithetic-expected": (["bias.antithetic/c=1_ratio"], (1.08,), (0.9, 1.1)),
    "rank": (["rank.offline/W2", "rank.ridge/W2"], (0.31, 0.5), (0.3,)),
    "rank-expected": (["rank.offline/W2"], (0.51,), (0.48, 0.52)),
    "rank-top": (["rank.offline/W3_max", "rank.ridge/W3_max"], *SMALL),
    "rank-angle": (["rank.offline/W2_true_angle", "rank.ridge/W2_true_angle"], (4.9, 1.0), (5.0,)),
    "deep": (["deep.staged/W2_max", "deep.staged/W3_max"], *SMALL),
    "deep-expected": (["deep.staged/W2_ratio", "deep.ridge/W3_ratio"], *NEAR),
    "deep-rate": (["deep.staged/W2_slope", "deep.ridge/W3_slope"], *FALLS),
    "recurrent": (["recurrent.corrected/W2"], (0.14,), (0.15,)),
    "recurrent-angle": (["recurrent.corrected/W2_angle"], (9.0,), (10.0,)),
    "legacy": (["recurrent.legacy/W2_cosine"], (0.19,), (-0.2, 0.2)),
    "legacy-angle": (["recurrent.legacy/W2_angle"], (81.0,), (80.0, 100.0)),
    "legacy-own": (["recurrent.legacy/W2_angle_own"], (44.0,), (45.0,)),
}
SIGNS = {"theorem1.8-5-3.rademacher/W2": 0.8, "theorem1.8-5-3.gaussian/W2": 1.0}


def test_every_claim_is_in_the_tables():
    assert {claim.id for claim in experiment.claims} == set(EACH) | {"signs", "baseline-mean", "baseline-variance"}
    papers = {"theorem1", "theorem2-offline", "theorem2-online", "bias-limit", "baseline-mean", "baseline-variance"}
    assert {claim.id for claim in experiment.claims if not claim.own} == papers


@pytest.mark.parametrize("id", EACH)
def test_claims_on_every_number_of_a_kind(id):
    names, inside, outside = EACH[id]
    unread = {f"{part}/W{k}{end}": 1e9 for part in ("theorem1x", "theorem2.x", "deep.x", "recurrent.x", "bias.x", "x")
              for k in (2, 3) for end in ("", "_p95", "_sem")}  # fmt: skip
    summary = dict(zip(names, inside, strict=True)) | unread
    assert row(id, summary)["holds"] is True
    assert row(id, summary)["measured"] == inside[0]
    for name in names:
        for bound in outside:
            assert row(id, summary | {name: bound})["holds"] is False
            assert row(id, summary | {name: bound})["measured"] == bound
    assert row(id, unread)["holds"] is None


def test_signs_err_less():
    assert row("signs", SIGNS)["holds"] is True
    assert row("signs", SIGNS)["measured"] == 0.8
    assert row("signs", SIGNS | {"theorem1.8-5-3.gaussian/W2": 0.88})["holds"] is False
    assert row("signs", {"theorem1.8-5-3.gaussian/W2": 0.88})["holds"] is None


def test_theory_is_of_the_cases_that_were_run(monkeypatch):
    """Moments are replaced by numbers that identify their source."""
    config = Config(seeds=2, networks=2, samples=64, bias_samples=32, batch=4, points=2, sigmas=(0.01, 1.0),
                    sizes=((8, 5, 3),))  # fmt: skip
    rng, terms, drawn = np.random.default_rng(0), {}, []
    w = rng.normal(size=(3, 5))
    monkeypatch.setattr(theorems, "EXACT", 10)
    monkeypatch.setattr(theorems, "mlp", lambda sizes, activations: (sizes, activations))
    monkeypatch.setattr(theorems, "drawing", lambda case: case)
    monkeypatch.setattr(theorems, "drawn_weights", lambda case, seed, network: 10 * seed + network + 1)
    monkeypatch.setattr(theorems, "held_out", lambda count, sizes: (count, sizes))

    def layers(net, number, batch):
        assert batch == (10, net[0])
        return [Layer(number * w, layer, None, None) for layer in range(len(net[0]) - 2)]

    def errors(layer, samples, ridge, signs, extra):
        terms.setdefault((tuple(samples), ridge, signs), set()).add(round(extra, 9))
        return Expected(layer.w[0, 0] * samples + 100 * layer.error + extra, None)

    def lower(own, samples, dropped, name, above):
        assert above[:2] == (0, 1)  # of the lower layer, then the upper
        assert tuple(samples) == (32, 64)
        drawn.append(above[2])
        return own + 1e3 * dropped + (1e5 if name.endswith("offline") else 0)

    monkeypatch.setattr(theorems, "layers_of", layers)
    monkeypatch.setattr(theorems, "expected", errors)
    monkeypatch.setattr(theorems, "lower_error", lower)
    monkeypatch.setattr(theorems, "inherited", lambda low, up, seed: (low.error, up.error, seed))
    curves = theory(config)
    assert set(curves) == {f"{name}/expected" for name in cases(config)}
    for name, case in cases(config).items():
        values = curves[f"{name}/expected"]
        depth = len(case.sizes) - 2
        assert values.shape == (2, 2, case.networks * len(case.sigmas), depth)
        total = 32 if name.startswith("bias") else 64
        plain = name in ("theorem1.8-5-3.gaussian", "bias.linear", "bias.sigmoid")
        for seed, point, network, i, k in np.ndindex(2, 2, case.networks, len(case.sigmas), depth):
            weights = (10 * seed + network + 1) * w
            wanted = weights[0, 0] * total * (point + 1) / 2 + 100 * k
            wanted += second_order(weights, case.sigmas[i]) if plain else 0
            if k == 0 and name.startswith(("theorem2", "deep")):
                wanted += 1e5 * (name == "theorem2.offline") + 1e3 * 4 * (name == "deep.staged")
            assert values[seed, point, network * len(case.sigmas) + i, k] == pytest.approx(wanted), name
    assert {(ridge, signs) for _, ridge, signs in terms} == {(1e-6, False), (1e-6, True), (1.0, False)}
    assert drawn == [0, 0, 1, 1] * 4
    assert cases(config)["deep.staged"].restart == 1
    assert cases(Config(samples=6400, batch=4))["deep.staged"].restart == 100
    assert cases(config)["deep.ridge"].restart == 0


def test_layers_of_a_network_by_its_equations():
    rng = np.random.default_rng(1)
    net, batch = (
        mlp((4, 3, 5, 2), ("tanh", "tanh", "identity")),
        Example(rng.normal(size=(6, 4)), rng.normal(size=(6, 2))),
    )
    weights = {"w": [rng.normal(size=shape) for shape in ((3, 4), (5, 3), (2, 5))],
               "bias": [rng.normal(size=n) for n in (3, 5, 2)]}  # fmt: skip
    lower, upper = layers_of(net, weights, batch)
    (w1, w2, w3), (b1, b2, b3) = weights["w"], weights["bias"]
    h1 = np.tanh(batch.x @ w1.T + b1)
    h2 = np.tanh(h1 @ w2.T + b2)
    error = h2 @ w3.T + b3 - batch.y
    credit = error @ w3
    below = credit * (1 - h2**2)
    for layer, wanted in ((upper, (w3, error, credit)), (lower, (w2, below, below @ w2))):
        for moment, value in zip(layer, wanted, strict=False):
            np.testing.assert_allclose(moment, value)
        np.testing.assert_allclose(layer.power, (credit**2).sum(1) + ((below @ w2) ** 2).sum(1))


def counting(sigma):
    """A learner whose B gains the noise level at each step."""

    def init(params, key, batch):
        return LearnerState(params, (), (), key, jnp.zeros((), jnp.int32))

    def step(state, batch):
        back = state.params["feedback"] + sigma
        return state._replace(params={**state.params, "feedback": back}, step=state.step + 1), Info(back, True, {})

    return Learner(init, step)


def test_a_regression_runs_every_noise_level_with_the_weights_that_theory_takes():
    stream = Stream(lambda key: key, lambda state, steps: (state, Example(jnp.zeros((steps, 8, 1)), None)))

    def draw(key):
        return {"forward": jax.random.normal(key), "feedback": jnp.zeros(())}

    program = regression(counting, draw, stream, lambda params: dict(params), sigmas=(0.5, 2.0), samples=96, batch=8,
                         points=3, networks=2)  # fmt: skip
    metrics = jax.tree.map(np.asarray, compiled(program.train)(jax.random.key(5)))
    steps = np.array([4, 8, 12])[:, None]
    np.testing.assert_array_equal(metrics["samples"], np.tile(8 * steps, (1, 4)))
    np.testing.assert_array_equal(metrics["sigma"], np.tile([0.5, 2.0, 0.5, 2.0], (3, 1)))
    np.testing.assert_array_equal(metrics["feedback"], steps * np.array([0.5, 2.0, 0.5, 2.0]))
    one, two = (float(drawn_weights(draw, 5, network)) for network in (0, 1))
    assert one != two
    np.testing.assert_allclose(metrics["forward"], np.tile([one, one, two, two], (3, 1)))
    with pytest.raises(ValueError, match="96 samples must be a positive multiple of batch=8 times points=5"):
        regression(counting, draw, stream, dict, sigmas=(1.0,), samples=96, batch=8, points=5)


def test_w_is_held_and_b_is_set():
    params = {"forward": jnp.ones(2), "feedback": jnp.ones(2)}
    moved, _ = HELD.update(params, HELD.init(params), params)
    assert moved["forward"].tolist() == [0, 0]
    assert moved["feedback"].tolist() == [-1, -1]


def test_credit_one_step_back_by_loops():
    cell, streams, steps = vanilla(2, 4, 3), 3, 5

    def problem(key):
        params = glorot_params(key, cell)
        shapes = ((streams, 1, 4), (steps, streams, 2), (steps, streams, 3))
        s_0, x, y = (jax.random.normal(jax.random.fold_in(key, i), shape) for i, shape in enumerate(shapes))
        return params, s_0, x, y, one_step_back(cell, params, s_0, Example(x, y))

    params, s_0, x, y, measures = jax.tree.map(np.asarray, compiled(problem)(jax.random.key(0)))
    w, w_in, bias = np.split(params["forward"]["w"][0], [4, 6], 1)
    back, out = params["feedback"]["w_back"][0], params["forward"]["w_out"]

    def degrees(a, b):
        return np.degrees(np.arccos(a @ b / np.sqrt(a @ a * (b @ b))))

    to_true, to_own = [], []
    for stream in range(streams):
        h = s_0[stream, 0]
        for t in range(steps):
            h = np.tanh(w @ h + w_in @ x[t, stream] + bias[:, 0])
            own = (out[:, :4] @ h + out[:, 4] - y[t, stream]) @ out[:, :4]
            delta = own * (1 - h**2)
            to_true.append(degrees(delta @ back, delta @ w))
            to_own.append(degrees(delta @ back, own))
    assert measures["angle"] == pytest.approx(np.mean(to_true))
    assert measures["angle_own"] == pytest.approx(np.mean(to_own))
    assert measures["relative_error"] == pytest.approx(np.linalg.norm(w - back) / np.linalg.norm(w))
    assert measures["cosine"] == pytest.approx((w * back).sum() / np.linalg.norm(w) / np.linalg.norm(back))
