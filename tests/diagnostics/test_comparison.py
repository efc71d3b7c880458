"""Rules side by side: against NumPy loops, delayed copies of an exact rule, and noise of known size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import plasticity_jax as pj
from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.diagnostics import alignment_meter, comparison, hidden_weights
from plasticity_jax.rules import online
from tests.laws.common import compiled

KEY = jax.random.key(0)
PARAMS = {"a": jnp.zeros(2), "b": jnp.zeros((3, 1))}


def as_params(row):
    return {"a": row[:2], "b": row[2:].reshape(3, 1)}


def banked(bank, lag=0, noise=None):
    """A rule whose update at step t is row t of a bank (T, 5), times `noise(key)`."""

    def update(params, t, key, batch):
        factor = 1.0 if noise is None else noise(key)
        return as_params(jnp.asarray(bank)[t] * factor), t + 1, Info(jnp.zeros(()), READY, {})

    return LearningRule(lambda params, key, batch: jnp.zeros((), jnp.int32), update, lag)


def compared(rules, steps, **settings):
    batches = jnp.zeros((steps, 1))
    return compiled(lambda key: comparison(rules, PARAMS, key, batches, **settings))(KEY)


def by_loop(banks, lags, burn_in):
    """Mean cosines and counts, credited step by credited step."""
    count, steps = len(banks), len(banks[0])
    total, counted = np.zeros((count, count)), np.zeros((count, count), int)
    for s in range(burn_in, steps - max(lags)):
        spoken = [bank[s + lag] for bank, lag in zip(banks, lags, strict=True)]
        for i, one in enumerate(spoken):
            for j, other in enumerate(spoken):
                if np.any(one != 0) and np.any(other != 0):
                    total[i, j] += one @ other / np.sqrt((one @ one) * (other @ other))
                    counted[i, j] += 1
    return total / counted, counted


def three_banks():
    banks = np.random.default_rng(0).normal(size=(3, 12, 5)) + 0.5
    banks[1, [3, 4, 9]] = 0
    return banks


@pytest.mark.parametrize("given", [None, {"one": 0}])
def test_the_matrix_equals_that_of_the_loop(given):
    banks = three_banks()
    rules = dict(zip(("none", "one", "two"), map(banked, banks, (0, 1, 3)), strict=True))
    result = compared(rules, 12, reference="two", lags=given, burn_in=2)
    lags = (0, 1 if given is None else 0, 3)
    expected, counted = by_loop(banks, lags, 2)
    np.testing.assert_allclose(result.alignment, expected, rtol=1e-12)
    np.testing.assert_array_equal(result.counted, counted)
    np.testing.assert_array_equal(result.cosine, result.alignment[:, 2])
    assert result.names == ("none", "one", "two")
    credited = [bank[2 + lag : 9 + lag].ravel() for bank, lag in zip(banks, lags, strict=True)]
    exact = credited[2]
    np.testing.assert_allclose(result.bias, [np.linalg.norm(u - exact) / np.linalg.norm(exact) for u in credited])
    np.testing.assert_allclose(result.norm_ratio, [np.linalg.norm(u) / np.linalg.norm(exact) for u in credited])
    assert len(set(counted.ravel())) > 1
    other, _ = by_loop(banks, (0, 2, 3), 2)
    assert np.abs(other - expected).max() > 0.05


def delayed(rule, steps):
    """A rule with the updates of `rule`, `steps` steps late, and zero before."""

    def init(params, key, batch):
        past = jax.tree.map(lambda p: jnp.zeros((steps, *p.shape), p.dtype), params)
        return rule.init(params, key, batch), past

    def update(params, traces, key, batch):
        own, past = traces
        updates, own, info = rule.update(params, own, key, batch)
        late = jax.tree.map(lambda stored: stored[-1], past)
        past = jax.tree.map(lambda new, stored: jnp.concatenate([new[None], stored[:-1]]), updates, past)
        return late, (own, past), info

    return LearningRule(init, update, steps)


def on_add(steps=16):
    cell = pj.cells.leaky(2, 5, 2)
    stream = pj.tasks.add((1, 2), 1)
    return cell, pj.cells.init_params(KEY, cell, jnp.float64), stream.take(stream.init(KEY), steps)[1]


def test_exact_rules_agree_only_if_their_lags_are_respected():
    cell, params, batches = on_add()
    rtrl, ff = online.rtrl(cell), online.future_facing_bptt
    rules = {"rtrl": rtrl, "late": delayed(rtrl, 3), "ff3": ff(cell, window=3), "ff5": ff(cell, window=5)}

    def both(params):
        settings = {"reference": "rtrl", "burn_in": 2}
        heeded = comparison(rules, params, KEY, batches, **settings)
        return heeded, comparison(rules, params, KEY, batches, **settings, lags={"late": 0, "ff5": 2})

    heeded, ignored = compiled(both)(params)
    np.testing.assert_allclose(heeded.alignment[:2, :2], 1, rtol=1e-12)
    np.testing.assert_allclose([heeded.bias[1], heeded.norm_ratio[1] - 1], 0, atol=1e-12)
    assert ignored.alignment[0, 1] < 0.9
    assert ignored.bias[1] > 0.3
    assert heeded.alignment[2, 3] > 0.9  # two windows with the same future, except for two steps
    assert ignored.alignment[2, 3] < 0.7


def test_noise_of_known_size_gives_its_bias_and_spread():
    """An update times 1 + bias + sigma eps has the mean (1 + bias) g, and variances that sum to sigma^2 |g|^2.

    With N draws of 40 steps a variance is known to sqrt(2 / 40 N) or worse by the steps' unequal lengths, at most 2.
    """
    bank = 1 + np.random.default_rng(1).uniform(size=(40, 5))
    groups, per_group, sigma, off = 20, 25, 0.5, 0.3
    draws = groups * per_group

    def noisy(bias, bank=bank):
        return banked(bank, 0, lambda key: 1 + bias + sigma * jax.random.normal(key, dtype=jnp.float64))

    rules = {"exact": banked(bank), "fair": noisy(0.0), "biased": noisy(off), "longer": banked(1.5 * bank)}
    aside = bank * np.array([1, 1, 1, -1, -1])  # as long as the exact one, and hardly along it
    rules["aside"] = noisy(0.0, aside)
    result = compared(rules, 40, reference="exact", samples=(groups, per_group))
    five = 5 * 2 * (2 / (40 * draws)) ** 0.5
    np.testing.assert_allclose(result.spread, [0, sigma, sigma, 0, sigma], rtol=five, atol=0)
    np.testing.assert_allclose(result.bias[2:4], [off, 0.5], atol=5 * sigma / draws**0.5)
    np.testing.assert_allclose(result.norm_ratio, [1, 1, 1 + off, 1.5, 1], atol=5 * sigma / draws**0.5)
    np.testing.assert_allclose(result.snr[1:3], np.array([1, 1 + off]) ** 2 / sigma**2, rtol=0.1)
    assert np.isinf(result.snr[0])
    assert np.isinf(result.snr[3])
    # An error of the mean from 20 groups is off by 1 / sqrt(2 * 19 * 40) or so; a bias is a root of some 40 squares.
    np.testing.assert_allclose(result.bias_error[:4], [0, *[sigma / draws**0.5] * 2, 0], rtol=0.25, atol=0)
    assert 0.3 < result.bias[1] / result.bias_error[1] < 2
    assert result.bias[2] > 5 * result.bias_error[2]
    along = np.sum(aside * bank) / np.sum(bank**2)
    np.testing.assert_allclose(result.snr[4], along**2 / sigma**2, rtol=0.2)
    np.testing.assert_allclose(result.cosine_of_mean, [1, 1, 1, 1, along], atol=5e-3)
    assert along < 0.5


def test_an_unbiased_rules_bias_is_within_its_reported_error():
    cell, params, batches = on_add(10)
    rules = {"rtrl": online.rtrl(cell), "uoro": online.uoro(cell)}
    factorised = online.kf_rtrl(cell)

    def halved(*given):
        updates, traces, info = factorised.update(*given)
        return jax.tree.map(lambda leaf: 0.5 * leaf, updates), traces, info

    rules["half"] = LearningRule(factorised.init, halved)
    run = compiled(lambda p: comparison(rules, p, KEY, batches, reference="rtrl", burn_in=4, samples=(20, 25)))
    result = run(params)
    _, uoro, half = result.bias / np.where(result.bias_error > 0, result.bias_error, np.nan)
    assert uoro < 3
    assert half > 5
    assert result.spread[1] > 0.5


def test_silent_steps_do_not_count():
    bank = three_banks()[0]
    odd = np.where(np.arange(12)[:, None] % 2 == 1, 0, bank)
    rules = {"exact": banked(bank), "silent": banked(0 * bank), "odd": banked(odd)}
    result = compared(rules, 12, reference="exact")
    np.testing.assert_array_equal(result.counted, [[12, 0, 6], [0, 0, 0], [6, 0, 6]])
    np.testing.assert_allclose(result.cosine, [1, np.nan, 1], rtol=1e-12)
    missing = np.sqrt(np.sum(bank[1::2] ** 2) / np.sum(bank**2))
    np.testing.assert_allclose(result.bias, [0, 1, missing], rtol=1e-12)
    assert (float(result.norm_ratio[1]), float(result.spread[1])) == (0, 0)
    assert np.isnan(result.snr[1])
    nothing = compared({"silent": banked(0 * bank), "exact": banked(bank)}, 12, reference="silent")
    assert np.isnan(nothing.bias).all()


def test_every_rule_has_its_own_noise():
    """Cosines of two rules' signs of 5 numbers at 60 steps are 1 with a common key, and small with their own.

    A cosine of 5 signs has the variance 1/5; five standard deviations of the mean of 60 are 0.29.
    """

    def update(params, traces, key, batch):
        return as_params(jax.random.rademacher(key, (5,), jnp.float64)), traces, Info(jnp.zeros(()), READY, {})

    rule = LearningRule(lambda params, key, batch: (), update)
    bank = np.ones((60, 5))
    result = compared({"one": rule, "two": rule, "exact": banked(bank)}, 60, reference="exact", samples=(2, 2))
    assert abs(result.alignment[0, 1]) < 0.29
    np.testing.assert_allclose(np.diag(result.alignment), 1)
    assert abs(float(result.bias[0] - result.bias[1])) > 1e-6


def test_a_vmap_equals_the_loop_and_keeps_the_dtype_of_the_weights():
    bank = np.float32(three_banks()[0])
    rules = {"noisy": banked(bank, 2, lambda key: jax.random.normal(key, dtype=jnp.float32)), "exact": banked(bank)}

    def one(key):
        return comparison(rules, PARAMS, key, jnp.zeros((12, 1)), reference="exact", samples=(2, 2))

    keys = jax.random.split(KEY, 3)
    lanes, alone = compiled(lambda keys: (jax.vmap(one)(keys), one(keys[2])))(keys)
    assert lanes.names == alone.names == ("noisy", "exact")
    for name, leaf in alone._asdict().items():
        if name != "names":
            assert leaf.dtype == (jnp.int32 if name == "counted" else jnp.float32)
            np.testing.assert_allclose(getattr(lanes, name)[2], leaf, rtol=1e-4, atol=1e-5)
    assert len(set(lanes.spread[:, 0].tolist())) == 3


def test_the_meter_pairs_updates_of_the_same_weights():
    """RTRL learns; the cosine of step t pairs an update with one that another rule emits later."""
    cell, params, batches = on_add(6)
    rules = {"rtrl": online.rtrl(cell), "ff": online.future_facing_bptt(cell, window=3)}
    meter = alignment_meter(rules)
    carry, updates, state = params, {name: [] for name in rules}, None
    step = compiled(lambda params, state, t, batch: meter.step(state, params, jax.random.fold_in(KEY, t), batch))
    readings = []
    for t in range(6):
        batch = jax.tree.map(lambda leaf, t=t: leaf[t], batches)
        with jax.numpy_rank_promotion("raise"):
            state = compiled(meter.init)(carry, KEY, batch) if state is None else state
            state, reading = step(carry, state, t, batch)
        readings.append(reading)
        for name in rules:
            updates[name].append(np.ravel(reading.updates[name]["forward"]["w"]))
        carry = jax.tree.map(lambda p, g: p - 0.3 * g, carry, reading.updates["rtrl"])
    for t, reading in enumerate(readings):
        assert bool(reading.counted[0, 1]) == (t >= 2)
        if t >= 2:
            one, other = updates["rtrl"][t - 2], updates["ff"][t]
            expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            np.testing.assert_allclose(reading.cosines, [[1, expected], [expected, 1]], rtol=1e-10)
        else:
            np.testing.assert_array_equal(reading.cosines, 0)


def test_hidden_weights_are_all_but_the_readout():
    cell = pj.cells.alif(2, 3, 2, learn=("threshold",))
    assert set(hidden_weights(pj.cells.init_params(KEY, cell))) == {"w", "own"}
    net = pj.networks.mlp((3, 5, 4, 2), ("tanh", "tanh", "identity"))
    assert [w.shape for w in hidden_weights(pj.layers.init_params(KEY, net))] == [(5, 3), (4, 5)]
    net = pj.networks.mlp((3, 2), ("identity",))
    assert [w.shape for w in hidden_weights(pj.layers.init_params(KEY, net))] == [(2, 3)]
    assert hidden_weights(PARAMS) is PARAMS
    assert hidden_weights({"forward": PARAMS}) is PARAMS


RULE = banked(np.ones((9, 5)))
RANDOM = banked(np.ones((9, 5)), noise=jax.random.normal)


@pytest.mark.parametrize(
    ("rules", "settings", "message"),
    [
        ([RULE], {}, "by name, as in"),
        ({}, {}, "there is no rule to compare"),
        ({"a": RULE}, {"reference": "b"}, "reference='b' is none of the rules a"),
        ({"a": RULE}, {"lags": {"b": 1}}, "lags name 'b', which is none of the rules a"),
        ({"a": RULE}, {"lags": {"a": -1}}, "whole number of at least 0"),
        ({"a": RULE}, {"burn_in": 0.5}, "burn_in=0.5 must be a whole number"),
        ({"a": RULE, "b": RULE._replace(lag=4)}, {"burn_in": 5}, "9 steps are too few.*take at least 10"),
        ({"a": RANDOM}, {}, "reference='a' draws random numbers"),
        ({"a": RULE, "b": RANDOM}, {"samples": (1, 9)}, "at least two groups"),
    ],
)
def test_bad_arguments_are_refused(rules, settings, message):
    with pytest.raises((TypeError, ValueError), match=message) as refusal:
        comparison(rules, PARAMS, KEY, jnp.zeros((9, 1)), **{"reference": "a", **settings})
    assert "\n" not in str(refusal.value)
