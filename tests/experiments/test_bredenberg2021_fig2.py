"""Figure 2 from estimates to claims: statistics compared with NumPy, summary and claims on made-up numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bredenberg2021 import fig2_estimators as estimators
from experiments.bredenberg2021.fig2 import PRESETS, Config, experiment, make_parts
from experiments.bredenberg2021.fig2_claims import KEPT, sizes, summarise
from experiments.bredenberg2021.fig2_estimators import Trials, cosine_and_bias, estimator_statistics
from tests.experiments.bredenberg2021_by_hand import (
    are_between,
    are_cases,
    are_sure,
    entries,
    is_summary,
    over_seeds,
)

RNG = np.random.default_rng(5)
COUNT = 40
KEPT_BY_HAND = {
    "bp": "cosine_100 expected_cosine_1 expected_cosine_100 expected_cosine_10000 variance snr",
    "elbo": "cosine norm_ratio bias variance snr",
    "il": "cosine cosine_100 window_cosine norm_ratio bias absolute_bias variance snr snr_step norm",
    "nvi": "cosine expected_cosine_10000 variance snr snr_step",
    "nvi_baseline": "cosine cosine_100 expected_cosine_1 expected_cosine_100 expected_cosine_10000"
    " variance snr snr_step norm cosine_il",
    "published": "cosine norm_ratio z_rms",
    "stimuli": "cosine norm_ratio bias absolute_bias norm",
    "truth": "norm",
    "test": "alternating wake",
}


def cosine(a, b):
    return (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())


@pytest.mark.parametrize("name", ["il", "elbo", "nvi", "bp"])
def test_statistics_of_an_estimator(name):
    truth, own, spread = RNG.normal(size=(3, 2, 3, 4))
    error, spread = 0.1 * RNG.normal(size=(2, 3, 4)), 0.5 * spread**2
    steps = () if name == "bp" else RNG.normal(size=(4, 3, 4))
    step_spread = () if name == "bp" else RNG.normal(size=(4, 3, 4)) ** 2
    mean, variance = (
        Trials(*map(jnp.asarray, each)) if name != "bp" else Trials(jnp.asarray(each[0]), ())
        for each in ((own, steps), (spread, step_spread))
    )
    il = RNG.normal(size=(2, 3, 4))
    statistics = estimator_statistics(
        name, mean, variance, COUNT, jnp.asarray(truth), jnp.asarray(error), Trials(jnp.asarray(il))
    )

    gradient, estimate = (truth[0] + truth[1]) / 2, (own[0] + own[1]) / 2
    # The two windows' trials are independent, except for "elbo", where both are the same trial.
    power = spread.sum() / 4 if name != "elbo" else spread.sum() / 2
    noise, truth_noise = power / COUNT, (error**2).sum() / 4
    length, off = (gradient**2).sum(), ((estimate - gradient) ** 2).sum() - noise - truth_noise
    unbiased = name in ("nvi", "bp")
    signal = length if unbiased else (estimate**2).sum() - noise
    along = length if unbiased else (estimate * gradient).sum()
    z = [
        (estimate - gradient)[i] ** 2
        / ((spread[0] + spread[1])[i] / 4 / COUNT + (error[0] ** 2 + error[1] ** 2)[i] / 4)
        for i in np.ndindex(3, 4)
    ]
    first = truth[0] ** 2 if unbiased else own[0] ** 2 - spread[0] / COUNT
    expected = {
        "cosine": cosine(estimate, gradient),
        "cosine_il": cosine(estimate, (il[0] + il[1]) / 2),
        "norm": math.sqrt((estimate**2).sum()),
        "norm_ratio": math.sqrt(((estimate**2).sum() - noise) / length),
        "bias": math.sqrt(off / length),
        "absolute_bias": math.sqrt(off),
        "variance": power / length,
        "z_rms": math.sqrt(sum(z) / len(z)),
        "window_cosine": cosine(own[0], truth[0]),
        "snr": first.sum() / spread[0].sum(),
    }
    for trials in (1, 100, 10_000):
        expected[f"expected_cosine_{trials}"] = along / math.sqrt(length * (signal + power / trials))
    if name != "bp":
        ratios = []
        for i in np.ndindex(3, 4):
            middle = sum(steps[t][i] for t in range(4)) / 4
            squares = sum(step_spread[t][i] + steps[t][i] ** 2 for t in range(4)) / 4
            ratios.append(((truth if unbiased else own)[0][i] / 4) ** 2 / (squares - middle**2))
        expected["snr_step"] = sum(ratios) / 12
    assert statistics.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(statistics[key], value, rtol=1e-6, err_msg=key)


def test_an_estimate_over_stimuli_beside_the_gradient():
    gradient, estimate, error, estimate_error = RNG.normal(size=(4, 3, 4)) * np.array([1, 2, 0.1, 0.2])[:, None, None]
    statistics = cosine_and_bias(
        (jnp.asarray(gradient), jnp.asarray(estimate)), (jnp.asarray(error), jnp.asarray(estimate_error))
    )
    length = (gradient**2).sum() - (error**2).sum()
    off = ((estimate - gradient) ** 2).sum() - (error**2).sum() - (estimate_error**2).sum()
    expected = {
        "cosine": cosine(estimate, gradient),
        "norm_ratio": math.sqrt(((estimate**2).sum() - (estimate_error**2).sum()) / length),
        "bias": math.sqrt(off / length),
        "absolute_bias": math.sqrt(off),
        "norm": math.sqrt(length),
    }
    assert statistics.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(statistics[key], value, rtol=1e-6, err_msg=key)
    unbiased = cosine_and_bias(
        (jnp.asarray(gradient), jnp.asarray(gradient)), (jnp.asarray(error), jnp.asarray(estimate_error))
    )
    assert float(unbiased["bias"]) == float(unbiased["absolute_bias"]) == 0


def test_trials_are_summed_over_steps_and_kept_step_by_step(monkeypatch):
    """Checks the factor, both windows, their initial states, independent keys, and the steps of the first window."""

    def updates(rule, params, key, batch):
        pattern, top, wake = rule
        return {"inference": {"w": (pattern[:, None, None] * batch.x + top + 7 * wake + jax.random.uniform(key),)}}

    monkeypatch.setattr(estimators, "updates_along", updates)
    monkeypatch.setattr(estimators, "starting_from", lambda *rule: rule)
    key, z, tops = jax.random.key(0), jnp.asarray(RNG.normal(size=(4, 2, 3))), jnp.asarray(RNG.normal(size=(2, 2, 3)))
    trials = estimators.by_rule(lambda pattern: pattern, {}, key, tops, z, 3.0)
    noise = [float(jax.random.uniform(each)) for each in jax.random.split(key)]
    windows = [np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])]
    shifts = [np.asarray(tops[0]) + noise[0], np.asarray(tops[1]) + 7 + noise[1]]
    steps = [3 * (window[:, None, None] * np.asarray(z) + shift) for window, shift in zip(windows, shifts, strict=True)]
    np.testing.assert_allclose(trials.total, [each.sum(0) for each in steps], rtol=1e-6)
    np.testing.assert_allclose(trials.steps, steps[0], rtol=1e-6)


def metrics_by_hand(all_n=(16, 2, 8), seeds=3):
    """Metrics of networks that are followed at two, three and four points."""
    metrics = {}
    for n, points in zip(all_n, (2, 3, 4), strict=False):
        for name, statistics in KEPT_BY_HAND.items():
            for statistic in {*statistics.split(), "z_rms", "cosine", "expected_cosine_100", "bias"}:
                name_of = f"n{n}/{name}.{statistic}"
                metrics[name_of] = entries(name_of, seeds, points)
        metrics[f"n{n}/steps"] = np.broadcast_to(np.arange(points), (seeds, points))
        for rival in ("nvi", "nvi_baseline"):
            for statistic in ("snr", "snr_step"):
                metrics[f"n{n}/{rival}.{statistic}"] *= 0.01
    return metrics


def test_summary_of_every_network_and_of_the_ends():
    metrics = metrics_by_hand()
    assert sizes(metrics) == [2, 8, 16]
    columns, numbers = {}, {}
    at = {"before": 0, "after": -1}
    for when, point in at.items():
        now = {name: values[:, point] for name, values in metrics.items()}
        for n in (2, 8, 16):
            for name, statistics in KEPT_BY_HAND.items():
                for statistic in statistics.split():
                    columns[f"n{n}/{when}/{name}/{statistic}"] = now[f"n{n}/{name}.{statistic}"]
            for one, other in (("il", "bp"), ("nvi_baseline", "bp"), ("nvi", "nvi_baseline")):
                ratio = now[f"n{n}/{one}.variance"] / now[f"n{n}/{other}.variance"]
                columns[f"n{n}/{when}/log10_variance/{one}-{other}"] = [math.log10(value) for value in ratio]
        for name, statistic in (("il", "cosine"), ("nvi_baseline", "expected_cosine_10000"), ("stimuli", "cosine")):
            change = now[f"n16/{name}.{statistic}"] - now[f"n2/{name}.{statistic}"]
            columns |= {f"{when}/{name}/last-first": change, f"{when}/{name}/first-last": -change}
        lead = now["n16/il.cosine"] - now["n16/nvi_baseline.expected_cosine_10000"]
        columns[f"{when}/il-nvi_at_last"] = lead
        few, many = (now[f"n{n}/nvi_baseline.variance"] / now[f"n{n}/bp.variance"] for n in (2, 16))
        columns[f"{when}/variance_gap_grows"] = [math.log10(a) - math.log10(b) for a, b in zip(many, few, strict=True)]
    for n in (2, 8, 16):
        for name in ("test.alternating", "stimuli.norm"):
            ratio = metrics[f"n{n}/{name}"][:, 0] / metrics[f"n{n}/{name}"][:, -1]
            columns[f"n{n}/log10_fall/{name}"] = [math.log10(value) for value in ratio]
        for name in ("il", "stimuli"):
            for kind, share in (("bias", False), ("absolute_bias", True)):
                first, last = (metrics[f"n{n}/{name}.{kind}"][:, point] for point in at.values())
                columns[f"n{n}/bias_falls/{name}/{'absolute' if share else 'relative'}"] = (
                    (first - last) / first if share else first - last
                )
    for name in ("il.cosine", "stimuli.cosine"):
        values = [metrics[f"n{n}/{name}"] for n in (2, 8, 16)]
        numbers[f"worst/{name}"] = min(entry for each in values for entry in each.ravel())
        numbers[f"worst_mean/{name}"] = min(sum(column) / 3 for each in values for column in each.T)
        numbers[f"worst_before/{name}"] = min(row[0] for each in values for row in each)
    numbers["first/worst_mean/nvi_baseline.cosine_il"] = min(
        sum(column) / 3 for column in metrics["n2/nvi_baseline.cosine_il"].T
    )
    for statistic in ("snr", "snr_step"):
        for rival in ("nvi", "nvi_baseline"):
            numbers[f"least_ratio/{statistic}/{rival}"] = min(
                sum(ours) / sum(theirs)
                for n in (2, 8, 16)
                for ours, theirs in zip(
                    metrics[f"n{n}/il.{statistic}"].T, metrics[f"n{n}/{rival}.{statistic}"].T, strict=True
                )
            )
    squares = [(metrics[f"n{n}/{name}.z_rms"] ** 2).mean() for n in (2, 8, 16) for name in ("nvi", "nvi_baseline")]
    numbers["nvi_z_rms"] = math.sqrt(sum(squares) / 6)
    numbers["expected_cosine_off"] = max(
        abs(sum(measured - expected) / 3)
        for n in (2, 8, 16)
        for measured, expected in zip(
            metrics[f"n{n}/nvi_baseline.cosine_100"].T,
            metrics[f"n{n}/nvi_baseline.expected_cosine_100"].T,
            strict=True,
        )
    )
    is_summary(summarise(metrics), columns, numbers)
    assert {name: " ".join(statistics) for name, statistics in KEPT.items()} == KEPT_BY_HAND


def test_one_number_of_latents_has_no_ends_and_a_lost_network_is_the_worst():
    metrics = metrics_by_hand((4,))
    summary = summarise(metrics)
    assert not [name for name in summary if "last-first" in name or "first-last" in name or "grows" in name]
    metrics = metrics_by_hand()
    metrics["n8/il.cosine"][1, 2] = np.nan
    assert all(math.isnan(summarise(metrics)[f"{worst}/il.cosine"]) for worst in ("worst", "worst_mean"))


INF = math.inf
SURE = {
    "nvi-collapses": (0, INF, "before/nvi_baseline/first-last"),
    "il-beats-nvi": (0, INF, "before/il-nvi_at_last", "after/il-nvi_at_last"),
    "variance-grows": (0, INF, "before/variance_gap_grows", "after/variance_gap_grows"),
}
BETWEEN = {
    "aligned-nvi": (0, INF, False, "first/worst_mean/nvi_baseline.cosine_il"),
    "positive": (0, INF, False, "worst/il.cosine"),
    "positive-before": (0, INF, False, "worst_before/il.cosine"),
    "positive-mean": (0, INF, False, "worst_mean/il.cosine"),
    "positive-stimuli": (0, INF, False, "worst/stimuli.cosine"),
    "positive-stimuli-mean": (0, INF, False, "worst_mean/stimuli.cosine"),
    "il-keeps": (-0.1, INF, False, "before/il/last-first", "after/il/last-first"),
    "il-keeps-stimuli": (-0.1, INF, False, "before/stimuli/last-first", "after/stimuli/last-first"),
    "snr": (50, INF, False, "least_ratio/snr/nvi", "least_ratio/snr/nvi_baseline"),
    "snr-step": (50, INF, False, "least_ratio/snr_step/nvi", "least_ratio/snr_step/nvi_baseline"),
    "nvi-unbiased": (-INF, 1.2, False, "nvi_z_rms"),
}


def cases_of_all(pattern, others):
    """Cases of a mean above 0, at 95 %, in two networks; half of its interval is 0.318."""
    one, two = pattern.format(2), pattern.format(16)
    return [
        (over_seeds({one: 0.5, two: 0.33, others: -1.0}), 0.33, True),
        (over_seeds({one: 0.5, two: 0.3}), 0.3, False),
        (over_seeds({one: 0.3, two: 0.5}), 0.3, False),
        (over_seeds({one: 0.5, two: 0.33}, seeds=1), 0.33, None),
        (over_seeds({others: 1.0}), math.nan, None),
    ]


def cases_of_fewest(tail, sign):
    """Cases of a mean with this sign, at 95 %, at the fewest latents."""
    return [
        (over_seeds({f"n16/{tail}": -sign, f"n4/{tail}": 0.33 * sign}), 0.33 * sign, True),
        (over_seeds({f"n16/{tail}": sign, f"n4/{tail}": 0.3 * sign}), 0.3 * sign, False),
        (over_seeds({f"n16/{tail}": sign, f"n4/{tail}": -0.33 * sign}), -0.33 * sign, False),
        (over_seeds({f"n4/{tail}": sign}, seeds=1), sign, None),
    ]


def cases_of_variance(when, other):
    """Cases of ratios of variances within a factor of 1.5, before or after training."""
    ratio = "n{}/{}/log10_variance/il-bp".format
    return [
        ({ratio(2, when): math.log10(1.4), ratio(4, when): -math.log10(1.45), ratio(8, other): 9.0}, 1 / 1.45, True),
        ({ratio(2, when): math.log10(1.55), ratio(4, when): -math.log10(1.4)}, 1.55, False),
        ({ratio(2, when): math.log10(1.4), ratio(4, when): -math.log10(1.6)}, 1 / 1.6, False),
        ({ratio(2, when): 0.0, ratio(4, when): math.nan}, math.nan, False),
        ({ratio(2, other): 0.0}, math.nan, None),
    ]


CASES = {
    "near-bp": [
        ({"n2/before/il/cosine": 0.91, "n8/after/il/cosine": 0.95, "n8/after/nvi/cosine": 0.1}, 0.91, True),
        ({"n2/before/il/cosine": 0.89, "n8/after/il/cosine": 0.95}, 0.89, False),
        ({"n2/before/il/cosine": 0.95, "n8/after/il/cosine": 0.89}, 0.89, False),
        ({"n2/before/il/cosine": 0.95}, math.nan, None),
    ],
    "test-loss": cases_of_all("n{}/log10_fall/test.alternating", "n4/log10_fall/stimuli.norm"),
    "norm-falls": cases_of_all("n{}/log10_fall/stimuli.norm", "n4/log10_fall/test.alternating"),
    "bias-shrinks-stimuli-all": cases_of_all("n{}/bias_falls/stimuli/absolute", "n4/bias_falls/il/absolute"),
    "bias-shrinks": cases_of_all("n{}/bias_falls/il/relative", "n4/bias_falls/stimuli/relative"),
    "bias-shrinks-absolute": cases_of_all("n{}/bias_falls/il/absolute", "n4/bias_falls/il/relative"),
    "baseline-pays": cases_of_all(
        "n{}/after/log10_variance/nvi-nvi_baseline", "n2/after/log10_variance/nvi_baseline-bp"
    ),
    "bias-shrinks-stimuli": cases_of_fewest("bias_falls/stimuli/absolute", 1),
    "published-climbs": cases_of_fewest("before/published/cosine", -1),
    "equal-variance-before": cases_of_variance("before", "after"),
    "equal-variance-after": cases_of_variance("after", "before"),
}


def test_claims_hold_as_stated():
    claims = experiment.claims
    assert {claim.id for claim in claims} == {*SURE, *BETWEEN, *CASES}
    are_sure(claims, SURE)
    are_between(claims, BETWEEN)
    are_cases(claims, CASES)
    own = {"positive-before", "positive-stimuli", "near-bp", "il-keeps", "il-keeps-stimuli", "snr"}
    own |= {"positive-stimuli-mean", "test-loss", "norm-falls", "bias-shrinks-stimuli-all", "bias-shrinks-stimuli"}
    own |= {"equal-variance-before", "equal-variance-after", "published-climbs"}
    assert {claim.id for claim in claims if claim.own} == own
    assert not [claim.id for claim in claims if claim.trivial]


def test_invalid_settings_are_refused():
    for change, message in (({"followed": (3,)}, "among latents"), ({"steps": 99_999}, "multiple of 500")):
        with pytest.raises(ValueError, match=message):
            Config(**change)
    for change in ({"checkpoints": 1}, {"groups": 1}, {"truth": 1}, {"latents": (1, 2, 8)}, {"seeds": 0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            experiment.check(Config(**change))
    for config in PRESETS.values():
        experiment.check(config)


def test_parts_are_followed_at_equal_steps():
    parts = make_parts(Config(latents=(2, 8), followed=(8,), steps=2000, checkpoints=5))
    assert {name: (part.chunks, part.steps) for name, part in parts.items()} == {"n2": (2, 2000), "n8": (5, 500)}
