"""Supplementary figure 1 from metrics to claims: hand-made numbers, every one different, against plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.lansdell2019 import figS1
from experiments.lansdell2019.figS1 import PAPER_SAMPLES, Config, experiment, fetching, measure, networks
from experiments.lansdell2019.figS1_claims import summarise
from experiments.lansdell2019.fixed_weights import Expected, Layer, second_order
from experiments.shared.images import Images
from plasticity_jax.run import checked

SEEDS, POINTS = 3, 4
METRICS = ("relative_error", "sign_congruence", "local_angle", "true_angle")
PARTS = {"noise": (2, (0.01, 0.1)), "shallow.8": (1, (0.3,)), "shallow.16": (1, (0.3,)), "deep.8": (2, (0.3,))}


def hand_made():
    rng = np.random.default_rng(0)
    metrics = {}
    for part, (layers, sigmas) in PARTS.items():
        metrics[f"{part}/sigma"] = np.tile(sigmas, (SEEDS, POINTS, 1))
        for metric in METRICS:
            metrics[f"{part}/{metric}"] = rng.uniform(1, 9, (SEEDS, POINTS, len(sigmas), layers))
        for metric in ("error", "angle"):
            metrics[f"{part}/expected_{metric}"] = rng.uniform(1, 9, (SEEDS, POINTS, len(sigmas), layers))
            metrics[f"{part}/expected_{metric}_at_paper"] = rng.uniform(1, 9, (SEEDS, 1, len(sigmas), layers))
    metrics["noise/spectrum_W2"] = rng.uniform(0, 1, (SEEDS, 5))
    metrics["noise/spectrum_W3"] = rng.uniform(0, 1, (SEEDS, 3))
    return metrics


def mean(values):
    values = [float(value) for value in values]
    return pytest.approx(sum(values) / len(values))


def row(id, summary):
    (measured_claim,) = checked([claim for claim in experiment.claims if claim.id == id], summary)
    return measured_claim


def test_ends_of_all_curves_and_their_ratios_to_theory():
    metrics, last = hand_made(), POINTS - 1
    summary = summarise(metrics)
    for part, (layers, sigmas) in PARTS.items():
        for k in range(layers):
            for i, sigma in enumerate(sigmas):
                where = f"{part}/c={sigma:g}/W{k + 2}" if part == "noise" else f"{part}/W{k + 2}"
                for metric in METRICS:
                    ends = [metrics[f"{part}/{metric}"][seed, last, i, k] for seed in range(SEEDS)]
                    assert summary[f"{where}/{metric}"] == mean(ends), where
                ends = [metrics[f"{part}/relative_error"][seed, last, i, k] for seed in range(SEEDS)]
                theory = [metrics[f"{part}/expected_error"][seed, last, i, k] for seed in range(SEEDS)]
                assert summary[f"{where}/over_expected"] == mean(a / b for a, b in zip(ends, theory, strict=True))
                assert summary[f"{where}/over_expected_n"] == SEEDS
            for metric in ("error", "angle"):
                name = f"expected_{metric}"
                assert summary[f"{part}/W{k + 2}/{name}"] == mean(metrics[f"{part}/{name}"][:, last, 0, k])
                paper = metrics[f"{part}/{name}_at_paper"][:, 0, 0, k]
                assert summary[f"{part}/W{k + 2}/{name}_at_paper"] == mean(paper)


def test_spreads_are_those_of_the_upper_layer_over_noise_levels_and_over_draws():
    metrics = hand_made()
    summary, errors = summarise(metrics), metrics["noise/relative_error"][:, -1, :, 1]
    assert summary["noise/W3/spread_over_c"] == mean(max(draw) / min(draw) for draw in errors)
    assert summary["noise/W3/spread_over_draws"] == mean(max(level) / min(level) for level in errors.T)
    assert summary["noise/W2/eigenvalue_beyond_outputs"] == mean(metrics["noise/spectrum_W2"][:, 3])
    metrics["noise/spectrum_W2"] = metrics["noise/spectrum_W2"][:, :3]  # no wider than the output: nothing is beyond
    assert "noise/W2/eigenvalue_beyond_outputs" not in summarise(metrics)


C = ("noise/c=0.001", "noise/c=0.1")
N = ("30", "1000")
EACH = {  # numbers of a claim, values at which it holds with the worst first, and values at which it fails
    "top-error": ([f"{c}/W3/relative_error" for c in C], (0.015, 0.01), (0.016,)),
    "top-expected": (["noise/W3/expected_error_at_paper"], (0.015,), (0.016,)),
    "top-theory": ([f"{c}/W3/over_expected" for c in C], (0.92, 1.05), (0.9, 1.1)),
    "lower-worse": ([f"{c}/W2/relative_error" for c in C], (0.51, 3.0), (0.5,)),
    "lower-rank": (["noise/W2/eigenvalue_beyond_outputs"], (9e-4,), (1e-3,)),
    "angle-top": ([f"{c}/W3/true_angle" for c in C], (1.9, 0.5), (2.0,)),
    "angle-lower": ([f"{c}/W2/true_angle" for c in C], (9.9, 0.5), (10.0,)),
    "signs-top": ([f"{c}/W3/sign_congruence" for c in C], (0.91, 0.99), (0.9,)),
    "signs-lower": ([f"{c}/W2/sign_congruence" for c in C], (0.56, 0.7), (0.55,)),
    "width-theory": ([f"shallow.{n}/W2/over_expected" for n in N], (1.08, 0.95), (0.9, 1.1)),
    "width-theory-deep": ([f"deep.{n}/W3/over_expected" for n in N], (1.08, 0.95), (0.9, 1.1)),
    "width-useful": ([f"deep.{n}/W2/true_angle" for n in N], (79.0, 20.0), (80.0,)),
}


def test_every_claim_is_in_the_tables():
    ids = {claim.id for claim in experiment.claims}
    assert ids == set(EACH) | {"same-over-c", "width-error", "width-angle"}
    own = {"top-expected", "top-theory", "lower-rank", "width-theory", "width-theory-deep"}
    assert {claim.id for claim in experiment.claims if claim.own} == own


@pytest.mark.parametrize("id", EACH)
def test_claims_on_every_number_of_a_kind(id):
    names, inside, outside = EACH[id]
    other = dict.fromkeys(("noise/W2/over_expected", "noise/c=0.1/W4/true_angle", "deep.8/W1/true_angle"), 1e9)
    summary = dict(zip(names, inside, strict=True)) | other
    assert row(id, summary)["holds"] is True
    assert row(id, summary)["measured"] == inside[0]
    for name in names:
        for bound in outside:
            assert row(id, summary | {name: bound})["holds"] is False
            assert row(id, summary | {name: bound})["measured"] == bound
    assert row(id, other)["holds"] is None


def test_noise_levels_give_equal_accuracy_if_there_are_several():
    levels = {f"{c}/W3/relative_error": 0.1 for c in C}
    assert row("same-over-c", levels | {"noise/W3/spread_over_c": 1.09})["holds"] is True
    assert row("same-over-c", levels | {"noise/W3/spread_over_c": 1.09})["measured"] == 1.09
    assert row("same-over-c", levels | {"noise/W3/spread_over_c": 1.1})["holds"] is False
    assert row("same-over-c", {f"{C[0]}/W3/relative_error": 0.1, "noise/W3/spread_over_c": 1.0})["holds"] is None


@pytest.mark.parametrize(("id", "metric"), [("width-error", "relative_error"), ("width-angle", "true_angle")])
def test_errors_grow_with_the_width(id, metric):
    def widths(**values):
        return {f"shallow.{name[1:]}/W2/{metric}": value for name, value in values.items()} | {f"deep.9/W2/{metric}": 9}

    assert row(id, widths(n1000=6.0, n30=2.0, n100=4.0))["holds"] is True
    assert row(id, widths(n1000=6.0, n30=2.0, n100=4.0))["measured"] == 3
    assert row(id, widths(n1000=6.0, n30=2.0, n100=6.1))["holds"] is False
    assert row(id, widths(n1000=1.0, n30=2.0))["holds"] is False
    assert row(id, widths(n1000=6.0, n30=2.0, n100=float("nan")))["holds"] is False
    assert row(id, widths(n30=2.0))["holds"] is None
    assert row(id, widths())["holds"] is None


def test_theory_is_of_the_networks_that_were_run(monkeypatch):
    """Moments are replaced by numbers that identify their source."""
    config = Config(seeds=2, data="none", sizes=(4, 3, 3, 2), sigmas=(0.5, 0.7), samples=40, widths=(5,), second=3,
                    width_sigma=0.25, width_samples=80, points=4, exact=6, ridge=0.125)  # fmt: skip
    data = Images(np.arange(28, dtype=np.uint8).reshape(7, 4), np.arange(7) % 2, np.zeros((3, 4), np.uint8), None)
    monkeypatch.setattr(figS1, "images", lambda name, pixels: data if (name, pixels) == ("none", 4) else None)
    monkeypatch.setattr(figS1, "network", lambda sizes: sizes)
    monkeypatch.setattr(figS1, "drawing", lambda sizes: sizes)
    monkeypatch.setattr(figS1, "drawn_weights", lambda draw, seed: (draw, seed))
    monkeypatch.setattr(figS1, "forward", lambda net, w, x: SimpleNamespace(h=[0, w[1] + len(net), 0]))
    monkeypatch.setattr(figS1, "sigmoid_slopes", float)
    rng, calls = np.random.default_rng(0), []
    w, e = rng.normal(size=(2, 3)), rng.normal(size=(50, 2))
    wide = rng.normal(size=(50, 3))

    def layers_of(net, weights, batch):
        assert weights[0] == net
        np.testing.assert_allclose(batch.x, np.arange(24).reshape(6, 4) / 255)
        scale = 1 + weights[1]
        layers = [Layer(scale * w, scale * e, None, None), Layer(scale * w, wide, None, None)]
        return layers[: len(net) - 2]

    def expected(layer, counts, ridge, signs=False, extra=0.0, bias=0.0):
        calls.append((counts.tolist(), ridge, extra, bias))
        assert signs is False
        return Expected(np.asarray(counts) * layer.w[0, 0], np.asarray(counts) * layer.error[0, 0])

    monkeypatch.setattr(figS1, "layers_of", layers_of)
    monkeypatch.setattr(figS1, "expected", expected)
    monkeypatch.setattr(figS1, "second_order_top", lambda *given: (given, "bias"))
    metrics = measure(config, False)
    assert set(networks(config)) == {"noise", "shallow.5", "deep.5"}
    assert networks(config)["deep.5"] == ((4, 5, 3, 2), (0.25,), 80)
    assert networks(config)["shallow.5"] == ((4, 5, 2), (0.25,), 80)
    assert networks(config)["noise"] == ((4, 3, 3, 2), (0.5, 0.7), 40)
    for name, samples, levels, layers in (("noise", 40, 2, 2), ("shallow.5", 80, 1, 1), ("deep.5", 80, 1, 2)):
        counts = [samples * point // 4 for point in (1, 2, 3, 4)]
        for seed in range(2):
            for k in range(layers):
                first = (1 + seed) * e[0, 0] if k == 0 else wide[0, 0]
                for metric, one in (("error", (1 + seed) * w[0, 0]), ("angle", first)):
                    values = metrics[f"{name}/expected_{metric}"][seed, :, :, k]
                    np.testing.assert_allclose(values, [[count * one] * levels for count in counts])
                    at_paper = metrics[f"{name}/expected_{metric}_at_paper"][seed, :, :, k]
                    np.testing.assert_allclose(at_paper, [[PAPER_SAMPLES * one] * levels])
        assert metrics[f"{name}/expected_error"].shape == (2, 4, levels, layers)
    assert all(ridge == 0.125 for _, ridge, _, _ in calls)
    terms = [(extra, bias) for _, _, extra, bias in calls if extra != 0.0]
    ones = [second_order((1 + seed) * w, 0.25) for seed in range(2)]
    assert [extra for extra, bias in terms if bias == 0.0] == pytest.approx(ones)
    finite = [extra for extra, bias in terms if bias == "bias"]
    assert [extra[-1] for extra in finite] == [0.5, 0.7, 0.5, 0.7, 0.25, 0.25]
    for (lower, upper, top, _), seed in zip(finite, (0, 0, 1, 1, 0, 1), strict=True):
        np.testing.assert_array_equal(lower.error, (1 + seed) * e)
        np.testing.assert_array_equal(upper.error, wide)
        assert top == seed + len(config.sizes)
    for seed in range(2):
        powers = np.sort(np.linalg.svd(wide, compute_uv=False) ** 2)[::-1]
        np.testing.assert_allclose(metrics["noise/spectrum_W3"][seed], powers / powers[0])
        powers = np.sort(np.linalg.svd(e, compute_uv=False) ** 2)[::-1]
        np.testing.assert_allclose(metrics["noise/spectrum_W2"][seed], powers / powers[0])


def test_a_part_is_regressed_at_its_noise_levels_and_judged_on_the_first_images(monkeypatch):
    config = Config(data="none", sizes=(4, 3, 3, 2), batch=8, points=2, ridge=0.125, examples=5)
    image = np.arange(28, dtype=np.uint8).reshape(7, 4)
    data = Images(image, np.arange(7) % 2, image[:3] + 100, None)
    fields = {name: k for k, name in enumerate(METRICS)}
    calls, rule_options = [], {}
    monkeypatch.setattr(figS1, "alignment", lambda net, params, batch: calls.append(batch) or SimpleNamespace(**fields))
    monkeypatch.setattr(figS1, "node_perturbation", lambda net, **options: rule_options.update(options))
    monkeypatch.setattr(figS1, "learner", lambda rule, tx: None)
    monkeypatch.setattr(figS1, "minibatches", lambda *args: args)
    monkeypatch.setattr(figS1, "looking_up", lambda learn, fetch: learn)
    monkeypatch.setattr(figS1, "regression", lambda *args, **options: (args, options))
    (make, _, stream, evaluate), options = figS1.part(config, data, (4, 3, 2), (0.5, 0.7), 64)
    make("c")
    assert rule_options == {"sigma": "c", "estimator": "ridge", "ridge": 0.125}
    assert options == {"sigmas": (0.5, 0.7), "samples": 64, "batch": 8, "points": 2}
    assert evaluate({}) == fields
    np.testing.assert_allclose(calls[0].x, image[:5] / 255)
    np.testing.assert_array_equal(calls[0].y, np.eye(2)[[0, 1, 0, 1, 0]])
    assert stream == (7, 8)
    np.testing.assert_array_equal(fetching(data, 3)(np.array([3, 0])).y, [[0, 1, 0], [1, 0, 0]])
