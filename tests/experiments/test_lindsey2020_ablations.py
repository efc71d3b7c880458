"""Choices of Lindsey & Litwin-Kumar undone: sweeps, the rate that other seeds choose, summary and claims, by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import ablations
from experiments.lindsey2020.ablations_claims import CLAIMS
from experiments.lindsey2020.ablations_figures import text
from experiments.lindsey2020.ablations_summary import BETAS, CHOICES, chosen, errors, summarise
from experiments.lindsey2020.swept import swept
from plasticity_jax.meta import Life
from plasticity_jax.run import Program
from tests.experiments.by_hand import is_gap, is_not_above, is_told, is_trivial, row

SEEDS, RATES = 3, 3


def test_settings_in_order():
    settings = ablations.settings((1e-3, 1e-2), [(0.5, 1.0), (0.0, 0.0)])
    np.testing.assert_allclose(settings.rate, [1e-3, 1e-3, 1e-2, 1e-2])
    np.testing.assert_allclose(settings.beta, [0.5, 0.0, 0.5, 0.0])
    np.testing.assert_allclose(settings.learned, [1, 0, 1, 0])


def test_a_seed_runs_at_each_setting():
    def make(setting):
        return Program(lambda lane: lane + setting, lambda s: (2 * s, {"at": (s * setting)[None]}), 2, 1, 1)

    metrics = swept(make, jnp.array([1.0, 3.0])).train(jnp.float64(10.0))
    assert metrics["at"].tolist() == [[11.0, 39.0], [22.0, 78.0]]


@pytest.mark.parametrize("learned", [0.0, 1.0])
def test_beta_below_the_readout_is_held_unless_it_is_learned(learned):
    setting = ablations.Setting(jnp.asarray(1e-3), jnp.asarray(0.25), jnp.asarray(learned))
    theta = ablations.with_beta({"beta": (jnp.asarray(0.5), jnp.asarray(0.5), jnp.asarray(0.7))}, setting)
    assert [float(each) for each in theta["beta"]] == [0.25, 0.25, pytest.approx(0.7)]
    life = ablations.holding_beta(Life(lambda theta: theta["beta"], lambda theta: theta), setting)
    moved = {"beta": (jnp.asarray(0.3), jnp.asarray(0.4), jnp.asarray(0.8))}
    expected = [0.3, 0.4, 0.8] if learned else [0.25, 0.25, 0.8]
    np.testing.assert_allclose(life.learner(moved), expected, rtol=1e-6)


def test_every_choice_has_its_options(monkeypatch):
    options_given = {}
    monkeypatch.setattr(ablations, "flp_life", lambda net, **options: options_given.update(options) or Life(None, None))
    monkeypatch.setattr(ablations, "held_out", lambda life, stream, count: None)
    monkeypatch.setattr(ablations, "meta_gradient", lambda life, remat: life)
    monkeypatch.setattr(ablations, "meta_training", lambda *args, **options: (args, options))
    setting = ablations.Setting(0.125, 0.5, 1.0)
    for options in CHOICES["regression"].values():
        options_given.clear()
        (_, rates, theta, *_), rest = ablations.regression(ablations.DEFAULT, options, setting)
        assert options_given.pop("prefix") is not None
        assert options_given == options
        assert rates == {"weights": 3e-3, "feedback": 3e-3, "alpha": 0.125, "beta": 3e-3}
        assert rest == {"episodes": 1200, "points": 2, "clip": 1.0, "backoff": 0.1}
        assert [each.shape for each in theta(jax.random.key(0))["forward"]["w"]] == [(32, 32), (1, 32)]
    with pytest.raises(ValueError, match="alphas"):
        ablations.Config(alphas=(1e-3, 1e-4))


def test_no_seed_chooses_for_itself():
    values = np.array([[1.0, 5.0, 9.0], [9.0, 4.0, 3.0], [9.0, np.nan, 2.0]])
    # The others' means: 9, inf, 2.5;  5, inf, 5.5;  5, 4.5, 6
    np.testing.assert_array_equal(chosen(values), [9.0, 9.0, np.nan])
    np.testing.assert_array_equal(chosen(np.array([[1.0, 2.0], [3.0, 1.0]]), -1.0), [1.0, 1.0])
    np.testing.assert_array_equal(chosen(np.array([[3.0, 2.0]])), [2.0])


def metrics_by_hand():
    rng, metrics = np.random.default_rng(0), {}
    for problem, choices in CHOICES.items():
        for k, choice in enumerate(choices):
            count = RATES * (len(BETAS[problem]) if k == 0 else 1)
            for name in ("median", "mean", "beta"):
                metrics[f"{problem}/{choice}/{name}"] = 0.5 + rng.random((SEEDS, 2, count))
    return metrics


METRICS = metrics_by_hand()


def by_loops(problem, choice, beta):
    """Values of seeds at the rate that the others choose; logarithms in regression."""
    count = len(BETAS[problem]) if choice == next(iter(CHOICES[problem])) else 1
    values = METRICS[f"{problem}/{choice}/{'median' if problem == 'regression' else 'mean'}"]

    def at(seed, rate):
        error = values[seed, 1, rate * count + list(BETAS[problem]).index(beta) if count > 1 else rate]
        return math.log10(error) if problem == "regression" else error

    values_at_best = []
    for seed in range(SEEDS):
        means = [sum(at(other, rate) for other in range(SEEDS) if other != seed) for rate in range(RATES)]
        values_at_best.append(at(seed, means.index(min(means))))
    return values_at_best


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("problem", CHOICES)
def test_the_summary_by_hand(problem):
    summary = summarise(METRICS)
    first, papers = next(iter(CHOICES[problem])), next(iter(BETAS[problem]))
    ours = by_loops(problem, first, papers)
    for choice in CHOICES[problem]:
        values = by_loops(problem, choice, papers)
        back = [10**each if problem == "regression" else each for each in values]
        assert summary[f"{problem}/{choice}"] == pytest.approx(mean(back), rel=1e-9)
        if choice != first:
            expected = mean([a - b for a, b in zip(values, ours, strict=True)])
            assert summary[f"gap/{problem}/{choice}-{first}"] == pytest.approx(expected, abs=1e-9)
    for beta in list(BETAS[problem])[1:]:
        expected = mean([a - b for a, b in zip(by_loops(problem, first, beta), ours, strict=True)])
        assert summary[f"gap/{problem}/beta/{beta}-{papers}"] == pytest.approx(expected, abs=1e-9)
        assert summary[f"gap/{problem}/beta/{papers}-{beta}"] == pytest.approx(-expected, abs=1e-9)
    assert f"| {problem} |" in text(METRICS)


def test_the_half_that_was_not_run():
    some = {name: values for name, values in METRICS.items() if name.startswith("regression")}
    summary = summarise(some)
    assert row(CLAIMS, "targets_for_classification", summary)["holds"] is None
    assert row(CLAIMS, "errors_for_regression", summary)["holds"] is not None


def test_the_best_rate_and_its_beta():
    values = np.log10(errors(METRICS, "regression", "error"))
    best = int(values.mean(0).argmin())
    assert summarise(METRICS)["regression/best_rate_is_inside"] == (best == 1)
    expected = METRICS["regression/error/beta"][:, 1, 4 * best].mean()
    assert summarise(METRICS)["regression/beta_found"] == pytest.approx(expected)
    moved = {**METRICS, "regression/error/median": METRICS["regression/error/median"].copy()}
    moved["regression/error/median"][:, 1, 4] = 1e-3  # the second rate, learned
    assert summarise(moved)["regression/best_rate_is_inside"] == 1


@pytest.mark.parametrize(("name", "gap"), [
    ("errors_for_regression", "regression/target-error"),
    ("targets_for_classification", "classification/error-target"),
    ("alpha_rate_matters_regression", "regression/rates/worst-best"),
    ("alpha_rate_matters_classification", "classification/rates/worst-best"),
    ("beta_pays_in_regression", "regression/beta/held_0.5-learned"),
    ("feedback_pays", "regression/beta/held_0-learned"),
    ("forward_activity_pays", "regression/beta/held_1-learned"),
])  # fmt: skip
def test_claims_on_differences(name, gap):
    is_gap(CLAIMS, name, f"gap/{gap}")


def test_the_other_claims():
    names = [f"gap/classification/beta/held_1-learned{start}" for start in ("", "_from_0.5")]
    is_not_above(CLAIMS, "beta_gains_nothing_in_classification", *names)
    for problem, before, most, nothing in (("regression", "error", 1.9, 3.0), ("classification", "target", 1.2, 80.0)):
        summary = {f"{problem}/after": most, f"{problem}/{before}": 1.0, "no_lifetime_learning": 3.0}
        changes = [{f"{problem}/after": 1.1 * most}, {f"{problem}/after": 0.45}]
        is_told(CLAIMS, f"presynaptic_{problem}", summary, changes, most)
        near = {**summary, f"{problem}/{before}": nothing / 1.1}
        is_trivial(CLAIMS, f"presynaptic_{problem}", near, {f"{problem}/{before}": nothing / 3})
        name = f"{problem}/best_rate_is_inside"
        is_told(CLAIMS, f"alpha_rate_{problem}_inside", {name: 1.0}, [{name: 0.0}], 1.0)
    assert len(CLAIMS) == 12
    assert {claim.id for claim in CLAIMS if claim.own} == {
        "alpha_rate_regression_inside", "alpha_rate_classification_inside", "beta_pays_in_regression",
        "feedback_pays", "forward_activity_pays",
    }  # fmt: skip
