"""Delayed XOR: the recursion as loops, cuts, statistics, bounds against an observer, windows."""

import functools

import jax
import numpy as np
import pytest

from plasticity_jax.tasks.delayed_xor import delayed_xor, delayed_xor_bounds, responses
from plasticity_jax.tasks.windows import windows

SETTINGS = [((1, 2), 1), ((4, 7), 2), ((0, 3), 0), ((2, 3), 5)]


@functools.cache
def compiled(steps, **options):
    task = delayed_xor(**options)
    return jax.jit(lambda state: task.take(state, steps))


def stream(steps, key=0, **options):
    example = compiled(steps, **options)(delayed_xor(**options).init(jax.random.key(key)))[1]
    return np.asarray(example.x), np.asarray(example.y)[..., 0]


@pytest.mark.parametrize(("stimuli", "answer"), SETTINGS)
def test_the_answer_is_the_xor_of_the_stimuli(stimuli, answer):
    """Answers come where they are due, and fit the stimuli wherever no later cue has overwritten one."""
    steps, batch = 3000, 2
    x, y = stream(steps, stimuli=stimuli, answer=answer, batch=batch)
    assert set(np.unique(x[..., 0])) == {0, 1}
    assert set(np.unique(x[..., 1])) == set(np.unique(y)) == {-1, 0, 1}
    near, far = stimuli
    stimulus = np.zeros((steps, batch), bool)
    intact, overwritten, right = 0, 0, 0
    for b in range(batch):
        for g in range(far, steps - answer - far):
            assert (y[g + answer, b] != 0) == (x[g, b, 0] == 1)
            if x[g, b, 0]:
                stimulus[[g - near, g - far], b] = True
                fits = (x[g - near, b, 1] != x[g - far, b, 1]) == (y[g + answer, b] == 1)
                if x[g + far - near, b, 0]:
                    overwritten, right = overwritten + 1, right + fits
                else:
                    intact += 1
                    assert fits
        inner = slice(2 * far, steps - 2 * far - answer)
        np.testing.assert_array_equal(stimulus[inner, b], x[inner, b, 1] != 0)
    assert intact > 200
    assert 0 < right < overwritten


@pytest.mark.parametrize(("stimuli", "answer"), SETTINGS)
def test_a_cut_stream_equals_the_whole(stimuli, answer):
    options = {"stimuli": stimuli, "answer": answer, "cue_rate": 0.3, "batch": 2}
    start = delayed_xor(**options).init(jax.random.key(3))
    _, whole = compiled(9, **options)(start)
    state, first = compiled(4, **options)(start)
    state, second = compiled(5, **options)(state)
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), first, second)
    jax.tree.map(np.testing.assert_array_equal, joined, jax.tree.map(np.asarray, whole))
    assert int(state.step) == 9
    assert np.any(whole.y != 0)


def test_cues_are_fair_and_have_their_rate():
    """Five tests at five sigma: false alarm 3e-6."""
    steps, batch, rate = 20_000, 4, 0.1
    x, y = stream(steps, cue_rate=rate, batch=batch)
    count = steps * batch
    assert abs(x[..., 0].mean() - rate) < 5 * (rate * (1 - rate) / count) ** 0.5
    due = y[y != 0]
    assert abs(due.mean()) < 5 / due.size**0.5
    stimuli = x[..., 1][x[..., 1] != 0]
    assert abs(stimuli.mean()) < 5 / stimuli.size**0.5
    assert abs(np.mean(x[1:, :, 0] * x[:-1, :, 0]) - rate**2) < 5 * rate / count**0.5
    assert abs(np.mean(x[:, 0, 0] * x[:, 1, 0]) - rate**2) < 5 * rate / steps**0.5
    assert (stream(50, key=1, batch=batch)[0] != stream(50, batch=batch)[0]).any()


@pytest.mark.parametrize(("stimuli", "answer"), SETTINGS)
def test_an_observer_reaches_the_bounds(stimuli, answer):
    """The observer computes answers from x; with later cues it knows which answers have lost a stimulus."""
    steps, batch, rate = 20_000, 8, 0.2
    near, far = stimuli
    x, y = stream(steps, stimuli=stimuli, answer=answer, cue_rate=rate, batch=batch)
    t = np.arange(2 * far + answer, steps - far)
    g = t - answer
    guess = -x[g - near, :, 1] * x[g - far, :, 1] * x[g, :, 0]
    guess = guess * (1 - x[g + far - near, :, 0])
    sure = -x[g - near, :, 1] * x[g - far, :, 1]
    bounds = delayed_xor_bounds(stimuli, answer, rate)
    right, due = responses(sure, y[t])
    assert float(right / due) == pytest.approx(bounds.accuracy, abs=5 * (0.1 / float(due)) ** 0.5)
    count = t.size * batch
    assert np.mean((guess - y[t]) ** 2) / 2 == pytest.approx(bounds.loss, abs=5 * (rate / count) ** 0.5)
    assert np.mean(y[t] ** 2) / 2 == pytest.approx(bounds.silent, abs=5 * (rate / 4 / count) ** 0.5)
    assert bounds.loss < bounds.silent / 2


def test_bounds_equal_those_of_the_paper():
    """The authors sum over 200 streams and take the mean over steps."""
    bounds = delayed_xor_bounds()
    assert bounds.accuracy == pytest.approx(0.975)
    assert 200 * bounds.silent == pytest.approx(5.0)
    assert 200 * bounds.loss == pytest.approx(0.25)


def test_windows_are_pieces_of_the_stream():
    task = delayed_xor(cue_rate=0.3, batch=3)
    cut = windows(task, 4)
    _, whole = jax.jit(lambda state: task.take(state, 20))(task.init(jax.random.key(0)))
    state, first = jax.jit(lambda state: cut.take(state, 2))(cut.init(jax.random.key(0)))
    _, second = jax.jit(lambda state: cut.take(state, 3))(state)
    x = np.concatenate([first.x, second.x])
    assert x.shape == (5, 3, 4, 2)
    for window in range(5):
        for b in range(3):
            for s in range(4):
                np.testing.assert_array_equal(x[window, b, s], whole.x[4 * window + s, b])
    np.testing.assert_array_equal(
        np.concatenate([first.y, second.y]).sum((1, 2)).ravel(), whole.y.reshape(5, -1).sum(1)
    )


def test_responses_count_answers_that_are_due():
    right, due = responses(np.array([0.1, -3.0, 0.0, 5.0]), np.array([1.0, 1.0, -1.0, 0.0]))
    assert (float(right), float(due)) == (1, 3)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: delayed_xor((2, 1)), r"stimuli=\(2, 1\), answer=1"),
        (lambda: delayed_xor((1, 1)), "d < d'"),
        (lambda: delayed_xor((-1, 1)), "d at least 0"),
        (lambda: delayed_xor(answer=-1), "answer=-1"),
        (lambda: delayed_xor_bounds((2, 1)), "d < d'"),
        (lambda: delayed_xor(batch=0), "batch=0"),
        (lambda: windows(delayed_xor(), 0), "length=0"),
    ],
)
def test_bad_arguments_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
