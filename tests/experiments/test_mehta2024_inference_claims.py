"""Rules inferred from recordings, after Mehta et al. (2024): from metrics to claims, on hand-made numbers."""

import math

import numpy as np
import pytest

from experiments.mehta2024.inference import experiment
from experiments.mehta2024.inference_figures import text
from experiments.mehta2024.inference_summary import (
    MODELS,
    grid,
    relative_error,
    right_terms,
    summarise,
    worst_true_term,
)
from experiments.mehta2024.recordings import RULES
from tests.experiments.by_hand import is_gap, is_told, row

CLAIMS = experiment.claims

SEEDS, POINTS, NOISES, SHARES, TERMS = 4, 2, 2, 3, 5


def metrics_by_hand():
    rng, metrics = np.random.default_rng(0), {}
    shape = (SEEDS, POINTS, NOISES * SHARES)
    for rule in RULES:
        for model in MODELS:
            part = f"{rule}/{model}"
            metrics[f"{part}/r2"], metrics[f"{part}/r2_weights"] = rng.random((2, *shape))
            metrics[f"{part}/noise"] = np.broadcast_to(np.repeat([0.1, 0.4], SHARES), shape)
            metrics[f"{part}/share"] = np.broadcast_to([1.0, 0.5, 0.25] * NOISES, shape)
            if model in ("fitted", "dense", "blind"):
                metrics[f"{part}/coefficients"] = rng.normal(size=(*shape, TERMS))
                metrics[f"{part}/true"] = np.broadcast_to([0.0, 1.0, 0.0, -0.5, 0.0], (*shape, TERMS))
    return metrics


METRICS = metrics_by_hand()


def end(part, name, i, j):
    return METRICS[f"{part}/{name}"][:, -1, SHARES * i + j]


def error_of(part, i, j):
    wrong = end(part, "coefficients", i, j) - end(part, "true", i, j)
    return np.array([math.sqrt(sum(value**2 for value in each)) / math.sqrt(1.25) for each in wrong])


def test_errors_of_a_fitted_rule_by_hand():
    true = np.array([0.0, 1.0, -0.5])
    fitted = np.array([[0.4, 0.9, -0.45], [0.5, 0.9, -0.45], [0.1, -0.9, 0.2]])
    assert right_terms(fitted, true).tolist() == [1, 0, 1]
    assert worst_true_term(fitted, true) == pytest.approx([0.1, 0.1, 1.9])
    assert relative_error(fitted, true)[0] == pytest.approx(math.sqrt((0.16 + 0.01 + 0.0025) / 1.25))
    assert grid(METRICS, "oja/fitted", "coefficients").shape == (SEEDS, NOISES, SHARES, TERMS)


def test_the_summary_by_hand():
    summary, wanted = summarise(METRICS), {}
    for rule in RULES:
        fitted = f"{rule}/fitted"
        for i in range(NOISES):
            for j in range(SHARES):
                for model in MODELS:
                    wanted[f"{rule}/{model}/r2/{i}.{j}"] = end(f"{rule}/{model}", "r2", i, j)
                    if model != "fitted":
                        gain = end(fitted, "r2", i, j) - end(f"{rule}/{model}", "r2", i, j)
                        wanted[f"gap/{rule}/{model}-fitted/{i}.{j}"] = gain
                more = end(f"{rule}/drift", "r2", i, j) - end(f"{rule}/none", "r2", i, j)
                wanted[f"gap/{rule}/none-drift/{i}.{j}"] = more
                wanted[f"{rule}/dense/error/{i}.{j}"] = error_of(f"{rule}/dense", i, j)
            wanted[f"gap/{rule}/share/error/{i}"] = error_of(fitted, i, 2) - error_of(fitted, i, 0)
        wanted[f"gap/{rule}/noise/r2"] = end(fitted, "r2", 0, 0) - end(fitted, "r2", 1, 0)
        wanted[f"gap/{rule}/noise/error"] = error_of(fitted, 1, 0) - error_of(fitted, 0, 0)
        wanted[f"gap/{rule}/penalty/error"] = error_of(f"{rule}/dense", 1, 0) - error_of(fitted, 1, 0)
    for name, values in wanted.items():
        assert summary[name] == pytest.approx(sum(values) / SEEDS), name
        assert summary[f"{name}_n"] == SEEDS
    assert set(summary) >= {f"{rule}/fitted/{name}/1.2" for rule in RULES for name in ("r2_weights", "right_terms")}
    lines = text(METRICS).splitlines()
    assert len(lines) == 2 + 2 * len(MODELS) * NOISES * SHARES + 2
    assert lines[2].startswith("| Oja's rule | family of rules | 0.1 | 100.0% |")
    assert "Relative error of coefficients: the norm, over all terms of the family, of what they miss" in lines[-1]


def test_claims_on_differences():
    for id, name in (("noise_lowers_prediction", "noise/r2"), ("noise_blurs_rules", "noise/error")):
        is_gap(CLAIMS, id, f"gap/oja/{name}", f"gap/reward/{name}")
    is_gap(CLAIMS, "penalty_pays", "gap/oja/penalty/error", "gap/reward/penalty/error")


@pytest.mark.parametrize(("id", "names"), [
    ("beats_no_plasticity", ("oja/none-fitted/0.0", "reward/none-fitted/1.2")),
    ("beats_drift", ("oja/drift-fitted/0.0", "reward/drift-fitted/1.2")),
    ("reward_is_needed", ("reward/blind-fitted/0.0", "reward/blind-fitted/1.2")),
    ("few_neurons_blur_rules", ("oja/share/error/0", "reward/share/error/1")),
])  # fmt: skip
def test_claims_in_every_setting(id, names):
    summary = {}
    for name in names:
        summary |= {f"gap/{name}": 1.0, f"gap/{name}_sem": 0.3, f"gap/{name}_n": 4}
    is_told(CLAIMS, id, summary, [{f"gap/{name}": 0.9} for name in names], 1.0)
    assert row(CLAIMS, id, {})["holds"] is None


def test_constant_drift_may_beat_no_plasticity_too():
    def baseline(value):
        names = [f"gap/{rule}/{pair}/0.0" for rule in RULES for pair in ("none-fitted", "none-drift")]
        values = {name: value if "drift" in name else 1.0 for name in names}
        return values | {f"{name}_sem": 0.3 for name in names} | {f"{name}_n": 4 for name in names}

    assert row(CLAIMS, "beats_no_plasticity", baseline(1.0))["trivial"] is True
    assert row(CLAIMS, "beats_no_plasticity", baseline(0.9))["trivial"] is False


def test_claims_on_what_is_recovered():
    for rule in RULES:
        name = f"{rule}/fitted/right_terms/0.0"
        is_told(CLAIMS, f"{rule}_terms", {name: 1.0}, [{name: 0.75}], 1.0)
        name = f"{rule}/fitted/worst_true_term/0.0"
        summary = {name: 0.1, f"{name}_sem": 0.03, f"{name}_n": 4}
        is_told(CLAIMS, f"{rule}_coefficients", summary, [{name: 0.11}, {f"{name}_sem": 0.04}], 0.1)
    for id, kind in (("predicts", "r2"), ("predicts_weights", "r2_weights")):
        names = [f"{rule}/fitted/{kind}/0.0" for rule in RULES]
        summary = {}
        for name in names:
            summary |= {name: 0.96, f"{name}_sem": 0.018, f"{name}_n": 4}
        is_told(CLAIMS, id, summary, [{name: 0.95} for name in names], 0.96)
    assert [claim.id for claim in CLAIMS if not claim.own] == ["oja_terms", "reward_terms"]
    assert len(CLAIMS) == len({claim.id for claim in CLAIMS}) == 13
