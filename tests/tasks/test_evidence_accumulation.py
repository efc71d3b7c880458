"""Evidence accumulation: trials from the spikes, cue by cue, statistics of cues, levels in closed form, cuts."""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from plasticity_jax.tasks.evidence_accumulation import evidence_accumulation, evidence_levels, evidence_steps
from tests.laws.common import compiled

SHORT = {"cue": 4, "gap": 2, "delay": 5, "recall": 3}
CUES_ALONE = {"cue": 1, "gap": 0, "delay": 0, "recall": 1}


@functools.cache
def program(cues, steps, **options):
    task = evidence_accumulation(cues, **options)
    return compiled(lambda state: task.take(state, steps))


def stream(cues, steps, key=0, **options):
    task = evidence_accumulation(cues, **options)
    return jax.tree.map(np.asarray, program(cues, steps, **options)(task.init(jax.random.key(key)))[1])


def cues_of(x, cues, cue, gap, channels):
    """(trials, B, cues): 1 where the right group fires in a cue's time, 0 where the left one does, at a rate of 1."""
    sides = np.empty((*x.shape[:2], cues), int)
    for trial, b, k in np.ndindex(sides.shape):
        spikes = x[trial, b, k * (gap + cue) + gap : (k + 1) * (gap + cue)].reshape(cue, 4, channels)
        left, right = spikes[:, 0].all(), spikes[:, 1].all()
        assert left != right
        assert not (spikes[:, 0].any() and spikes[:, 1].any())
        sides[trial, b, k] = right
    return sides


def trials(cues, count, *, key=0, batch=3, channels=2, bias=0.7, **lengths):
    """Examples with leaves (count, B, length, ...) at a rate of 1, without noise."""
    length = evidence_steps(cues, **lengths)
    example = stream(cues, count * length, key, rate=1.0, batch=batch, channels=channels, bias=bias, **lengths)
    return jax.tree.map(lambda leaf: leaf.reshape(count, length, *leaf.shape[1:]).swapaxes(1, 2), example)


def test_every_step_of_a_trial_has_its_groups_active():
    """Gaps and the delay are silent, a cue has one side, and the answer's time the third group and the weight."""
    example = trials(3, 20, **SHORT)
    sides = cues_of(example.x, 3, 4, 2, 2)
    assert example.x.shape == (20, 3, 26, 8)
    assert example.y.dtype == np.int32
    for trial, b in np.ndindex(20, 3):
        label = int(sides[trial, b].sum() >= 2)
        for t in range(26):
            at = example.x[trial, b, t].reshape(4, 2)
            k, within = divmod(t, 6)
            in_cue = t < 18 and within >= 2
            assert at[0].all() == at[0].any() == (in_cue and not sides[trial, b, min(k, 2)])
            assert at[1].all() == at[1].any() == (in_cue and bool(sides[trial, b, min(k, 2)]))
            assert at[2].all() == at[2].any() == (t >= 23)
            assert example.weight[trial, b, t] == (t >= 23)
            assert example.start[trial, b, t] == (t == 0)
            assert example.y[trial, b, t] == label
    assert len(np.unique(sides.reshape(60, 3), axis=0)) == 8


def test_cues_are_fair_and_have_their_bias():
    """Sides are fair, numbers of right cues have their shares, and trials and streams are independent."""
    cues, bias, count = 5, 0.8, 3000
    sides = cues_of(trials(cues, count, batch=2, channels=1, bias=bias, **CUES_ALONE).x, cues, 1, 0, 1)
    number = np.bincount(sides.sum(-1).ravel(), minlength=cues + 1)
    binomial = [stats.binom.pmf(np.arange(cues + 1), cues, q) for q in (bias, 1 - bias)]
    assert stats.chisquare(number, np.mean(binomial, 0) * 2 * count).pvalue > 1e-6
    sign = 2.0 * (sides.sum(-1) > cues / 2) - 1
    assert abs(sign.mean()) < 5 / sign.size**0.5
    assert abs(np.mean(sign[1:] * sign[:-1])) < 5 / (sign.size - 2) ** 0.5
    assert abs(np.mean(sign[:, 0] * sign[:, 1])) < 5 / count**0.5
    first, last = 2.0 * sides[..., 0] - 1, 2.0 * sides[..., -1] - 1
    assert np.mean(first * last) == pytest.approx((2 * bias - 1) ** 2, abs=5 / sign.size**0.5)


def test_channels_have_their_rates():
    """Active, noisy and silent channels have their rates and are independent, at five sigma."""
    rate, channels = 0.3, 4
    length = evidence_steps(3, cue=10, gap=0, delay=0, recall=30)
    example = stream(3, 100 * length, rate=rate, batch=4, channels=channels, cue=10, gap=0, delay=0, recall=30)
    x = example.x.reshape(-1, 4, 4, channels)
    due = example.weight == 1
    assert not x[:, :, 2][~due].any()
    assert not x[due][:, :2].any()
    active = x[:, :, 2][due]
    assert active.mean() == pytest.approx(rate, abs=5 * (rate / active.size) ** 0.5)
    sided = x[~due][:, :2].sum(1)
    assert sided.mean() == pytest.approx(rate, abs=5 * (rate / sided.size) ** 0.5)
    noise = x[:, :, 3] - rate / 4
    assert abs(noise.mean()) < 5 * (rate / 4 / noise.size) ** 0.5
    for one, other in (
        (noise[1:], noise[:-1]),
        (noise[..., 1:], noise[..., :-1]),
        (noise[:, 1:], noise[:, :-1]),
        (noise, x[:, :, 2] - rate * due[..., None]),
    ):
        assert abs(np.mean(one * other)) < 5 * (rate / 4 / one.size) ** 0.5


@pytest.mark.parametrize(("cues", "bias"), [(1, 0.7), (3, 0.9), (7, 0.7), (5, 0.5)])
def test_levels_equal_sums_over_all_sequences(cues, bias):
    """Any one cue is as good as another."""
    levels = evidence_levels(cues, bias)
    for k in range(cues):
        share = 0.0
        for sides in itertools.product((0, 1), repeat=cues):
            label = int(sum(sides) > cues / 2)
            chance = sum(np.prod([q if side else 1 - q for side in sides]) / 2 for q in (bias, 1 - bias))
            share += chance * (sides[k] == label)
        assert levels["one"] == pytest.approx(share)
    assert (levels["nothing"], levels["all"]) == (0.5, 1.0)


def test_observers_reach_the_levels():
    cues, bias = 7, 0.7
    example = trials(cues, 1500, batch=2, channels=1, bias=bias, **CUES_ALONE)
    sides, label = cues_of(example.x, cues, 1, 0, 1), example.y[:, :, 0]
    error = 5 * (0.25 / label.size) ** 0.5
    levels = evidence_levels(cues, bias)
    assert np.mean(sides[..., -1] == label) == pytest.approx(levels["one"], abs=error)
    assert abs(np.mean(label) - levels["nothing"]) < error
    assert ((sides.sum(-1) > 3) == label).all()


@pytest.mark.parametrize("pieces", [(1, 1, 30), (25, 7)])
def test_a_cut_stream_equals_the_whole(pieces):
    options = {"rate": 0.4, "batch": 2, "channels": 2, **SHORT}
    state = evidence_accumulation(3, **options).init(jax.random.key(3))
    whole = program(3, 32, **options)(state)[1]
    parts = []
    for steps in pieces:
        state, example = program(3, steps, **options)(state)
        parts.append(example)
    joined = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    jax.tree.map(np.testing.assert_array_equal, joined, jax.tree.map(np.asarray, whole))
    assert int(state.step) == 32
    assert (stream(3, 32, key=4, **options).x != np.asarray(whole.x)).any()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: evidence_accumulation(4), "cues=4 must be odd"),
        (lambda: evidence_accumulation(3, cue=0), "cue=0"),
        (lambda: evidence_accumulation(3, delay=-1), "delay=-1"),
        (lambda: evidence_accumulation(3, channels=0), "channels=0"),
        (lambda: evidence_accumulation(3, rate=1.5), "rate=1.5 is outside"),
        (lambda: evidence_accumulation(3, bias=-0.1), "bias=-0.1 is outside"),
        (lambda: evidence_levels(2), "cues=2 must be odd"),
        (lambda: evidence_levels(3, 1.5), "bias=1.5 is outside"),
    ],
)
def test_bad_arguments_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
