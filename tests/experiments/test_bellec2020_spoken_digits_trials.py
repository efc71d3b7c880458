"""Recordings as trials: training and test sets, padding, fresh noise at each step, votes, closed forms."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bellec2020.common import build_rule, over_trials, trial_of
from experiments.bellec2020.spoken_digits import (
    PRESETS,
    closed_form,
    network,
    part,
    rule_of,
)
from experiments.bellec2020.spoken_digits_answers import answers, measured
from experiments.bellec2020.spoken_digits_sounds import (
    BANDS,
    DIGITS,
    JUDGES,
    MADE_SPEAKERS,
    MADE_TAKES,
    MERGED,
    Sounds,
    listening,
    made,
    scaled_bands,
    sounds_of,
)
from plasticity_jax.base import Info, LearningRule
from plasticity_jax.cells import init_params
from plasticity_jax.data.datasets import MissingData
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.laws.common import compiled

CONFIG = dataclasses.replace(PRESETS["smoke"], n=5)
FRAMES = CONFIG.frames


@functools.cache
def sounds():
    return sounds_of("made", FRAMES)


def name_of(index):
    """(speaker, digit, take) of a recording."""
    return tuple(int(k) for k in np.unravel_index(index, (MADE_SPEAKERS, DIGITS, MADE_TAKES)))


def test_trials_by_a_loop():
    index = np.array([0, 57, 123, 299])
    trials = jax.tree.map(np.asarray, sounds().trials(jnp.asarray(index)))
    for i, (speaker, digit, take) in enumerate(map(name_of, index)):
        spectrogram = made()[speaker, digit, take]
        length = len(spectrogram)
        assert 7 <= length < FRAMES + 1
        for t in range(FRAMES):
            assert trials.y[i, t] == digit
            assert trials.start[i, t] == (t == 0)
            due = length // 2 <= t < length
            assert trials.weight[i, t] == pytest.approx(1 / (length - length // 2) if due else 0)
            for band in range(BANDS) if t < length else ():
                mean = spectrogram[t, MERGED * band : MERGED * (band + 1)].mean()
                assert trials.x[i, t, band] == pytest.approx(mean / 20 + 2, abs=1e-6)
        assert not trials.x[i, length:].any()
    assert len({int(n) for n in sounds().length}) > 3
    np.testing.assert_allclose(scaled_bands(np.array([[-80.0, 0.0, -40.0] * BANDS])), [[0.0] * BANDS])


def test_recordings_are_cut():
    short = sounds_of("made", 9)
    assert short.x.shape == (300, 9, BANDS)
    np.testing.assert_array_equal(short.length, np.minimum(sounds().length, 9))
    assert int(short.length.max()) == 9 < int(sounds().length.max())


@pytest.mark.parametrize("held", [0, 2])
def test_training_and_test_recordings(held):
    for left_out in range(MADE_SPEAKERS):
        roles = [set(map(name_of, np.asarray(part))) for part in sounds().roles(jnp.asarray(left_out), held)]
        everything = [(s, d, t) for s in range(MADE_SPEAKERS) for d in range(DIGITS) for t in range(MADE_TAKES)]
        others = [name for name in everything if name[0] != left_out]
        first = JUDGES if held else 0
        assert roles[0] == {name for name in others if name[2] >= JUDGES + held}
        assert roles[1] == {name for name in others if first <= name[2] < first + (held or JUDGES)}
        assert roles[2] == set(everything) - set(others)


def test_the_stream_draws_only_training_recordings():
    stream, drawn_indices = listening(sounds(), 2, 8), set()

    def drawn(key):
        state = stream.init(key)
        return state.left_out, stream.take(state, 40)[1]

    left_out, batch = jax.tree.map(np.asarray, compiled(drawn)(jax.random.key(3)))
    assert batch.x.shape == (40, 8, FRAMES, BANDS)
    teach = np.asarray(sounds().roles(jnp.asarray(left_out), 2)[0])
    index_of = {np.asarray(sounds().x)[i].tobytes(): i for i in range(300)}
    for x, y in zip(batch.x.reshape(320, FRAMES, BANDS), batch.y.reshape(320, FRAMES), strict=True):
        at = index_of[x.tobytes()]
        assert name_of(at)[1] == y[0]
        drawn_indices.add(at)
    assert drawn_indices <= set(teach)
    assert len(drawn_indices) > 0.7 * len(teach)  # 60 teach, 320 draws
    speakers = {int(stream.init(jax.random.key(seed)).left_out) for seed in range(9)}
    assert speakers == set(range(MADE_SPEAKERS))


def params_of(cell):
    params = init_params(jax.random.key(0), cell, jnp.float64)
    w = params["forward"]["w"]
    return {**params, "forward": {**params["forward"], "w": w.at[..., -1].set(0.3)}}


def updates_of(rule, params, batch):
    key = jax.random.key(1)

    def run(params, batch):
        return rule.update(params, rule.init(params, key, batch), key, batch)

    updates, _, info = compiled(run)(params, batch)
    return jax.tree.map(np.asarray, (updates["forward"], info.loss, info.aux["output"]))


INDEX = jnp.array([3, 214, 150])


@pytest.mark.parametrize("name", ["gru.rflo", "alif.eprop"])
def test_a_padded_batch_teaches_as_its_recordings_alone(name):
    kind, method = name.split(".")
    cell = network(CONFIG, kind, method)
    params, rule, batch = params_of(cell), rule_of(cell, method), sounds().trials(INDEX[:2])
    lengths = np.asarray(sounds().length)[np.asarray(INDEX[:2])]
    in_recording = np.arange(FRAMES) < lengths[:, None]
    noise = np.random.default_rng(0).normal(size=batch.x.shape)
    updates, loss, _ = updates_of(rule, params, batch._replace(x=jnp.where(in_recording[..., None], batch.x, noise)))
    alone = []
    for i, length in enumerate(lengths):
        update, nats, _ = updates_of(rule, params, Example(*(leaf[i : i + 1, :length] for leaf in batch)))
        alone.append((update, nats))
    assert lengths[0] < lengths[1] < FRAMES
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *alone)
    assert loss == pytest.approx(float(mean[1]))
    for leaf, wanted in zip(jax.tree.leaves(updates), jax.tree.leaves(mean[0]), strict=True):
        np.testing.assert_allclose(leaf, wanted, atol=1e-12)
        assert np.abs(wanted).max() > 1e-3
    due = batch._replace(weight=jnp.ones_like(batch.weight))  # the padding, too
    assert np.abs(updates_of(rule, params, due)[0]["w_out"] - updates["w_out"]).max() > 1e-3


def test_answers_and_losses_are_those_of_the_rule():
    """Answers are those of the rule's own network, and the rule's loss is the mean of theirs."""
    cell = network(CONFIG, "alif", "frozen")
    params = params_of(cell)
    _, loss, output = updates_of(build_rule(cell, "frozen"), params, sounds().trials(INDEX))
    right, nats, spikes, outputs = map(np.asarray, compiled(lambda p: answers(cell, p, sounds(), INDEX))(params))
    assert nats.mean() == pytest.approx(float(loss))
    np.testing.assert_allclose(outputs, output, atol=1e-12)
    assert set(np.unique(spikes)) == {0, 1}
    for i, n in enumerate(INDEX):
        length = int(sounds().length[n])
        assert right[i] == (outputs[i, length // 2 : length].sum(0).argmax() == name_of(n)[1])


def test_votes_are_counted_where_the_digit_is_due():
    weight = jnp.array([[0.0, 0.5, 0.5]] * 3)
    output = np.zeros((3, 3, 4))
    output[0, 1:, 2] = 1  # right
    output[1, 0, 1], output[1, 1, 3] = 9, 1  # the first step does not count: wrong
    output[2, 1, 0], output[2, 2, 3] = 1, 2  # right
    batch = Example(jnp.zeros((3, 3, 1)), jnp.array([[2] * 3, [1] * 3, [3] * 3]), None, weight)
    scores = measured(Info(jnp.array(0.5), aux={"output": jnp.asarray(output)}), batch)
    assert float(scores["heard"]) == pytest.approx(2 / 3)
    assert float(scores["loss"]) == 0.5


def test_noise_is_new_at_each_step():
    def update(params, traces, key, batch):
        drawn = jax.random.normal(key)
        return {"w": drawn * jnp.ones(2)}, traces, Info(drawn, aux={"output": jnp.full((2, 1), drawn)})

    rule = over_trials(LearningRule(lambda params, key, batch: (), update))
    batch = sounds().trials(INDEX[:2])
    updates, _, info = rule.update({"w": jnp.zeros(2)}, (), jax.random.key(0), batch)
    drawn = np.asarray(info.aux["output"])[0, :, 0]
    assert len(set(drawn.tolist())) == FRAMES
    assert float(updates["w"][0]) == pytest.approx(drawn.sum())


def test_uoro_over_trials_is_backpropagation_on_average():
    """A z-test of its share of the exact gradient, on the second of two batches, whose trials start afresh.

    With the same noise at all steps of a trial that share is 9.
    """
    draws, cell = 600, network(CONFIG, "gru", "uoro")
    params, first, batch = params_of(cell), sounds().trials(INDEX[1:]), sounds().trials(INDEX[:2])
    rule, wanted = rule_of(cell, "uoro"), updates_of(rule_of(cell, "bptt"), params, batch)[0]["w"]

    def draw(key):
        before, after, start = jax.random.split(key, 3)
        _, traces, _ = rule.update(params, rule.init(params, start, first), before, first)
        estimate = rule.update(params, traces, after, batch)[0]["forward"]["w"]
        return jnp.sum(estimate * wanted) / jnp.sum(wanted**2)

    share = np.asarray(compiled(jax.vmap(draw))(jax.random.split(jax.random.key(5), draws)))
    error = share.std(ddof=1) / draws**0.5
    assert error < 0.1
    assert abs(share.mean() - 1) < 3 * error


def test_snap_is_eprop_without_synapses_of_neurons_on_themselves():
    whole = network(CONFIG, "alif", "snap")
    params = params_of(whole)
    batch = sounds().trials(INDEX)
    for mask, same in ((~np.eye(CONFIG.n, CONFIG.n + BANDS + 1, dtype=bool)[None], True), (None, False)):
        cell = whole._replace(mask=mask)
        updates = [updates_of(over_trials(rule(cell)), params, batch)[0]["w"] for rule in (online.snap, online.eprop)]
        assert np.allclose(*updates, atol=1e-12) == same
        assert np.abs(updates[0]).max() > 1e-3


def by_normal_equations(features, roles, ridge):
    """Shares of right answers of ridge regression on features (N, n)."""
    teach, *judged = roles
    digit = np.array([name_of(i)[1] for i in range(len(features))])
    middle, targets = features[teach].mean(0), np.eye(DIGITS)[digit[teach]]
    centred = features[teach] - middle
    gram = centred.T @ centred / len(teach) + ridge * np.eye(centred.shape[1])
    w = np.linalg.solve(gram, centred.T @ (targets - targets.mean(0)) / len(teach))
    return [np.mean(((features[i] - middle) @ w + targets.mean(0)).argmax(1) == digit[i]) for i in judged]


@pytest.mark.parametrize("name", ["mel.mean", "mel.whole", "gru.ridge"])
def test_closed_forms_by_normal_equations(name):
    """Weights and speakers are those at the start of training with the same key."""
    ridges = dict.fromkeys(("gru_ridge", "mel_mean_ridge", "mel_whole_ridge"), 0.01)
    config, key = dataclasses.replace(CONFIG, **ridges), jax.random.key(2)
    start = compiled(part(config, sounds(), "gru.frozen").init)(key)
    metrics = compiled(closed_form(config, sounds(), name).train)(key)
    x, length = np.asarray(sounds().x, float), np.asarray(sounds().length)
    if name == "mel.whole":
        features = x.reshape(300, -1)
    elif name == "mel.mean":
        features = np.stack([x[i, :n].mean(0) for i, n in enumerate(length)])
    else:
        cell = network(config, "gru", "frozen")
        activity = compiled(jax.vmap(lambda x: trial_of(cell, start.learner.params, x)[0]))(sounds().x)
        features = np.stack([np.asarray(activity)[i, n // 2 : n].mean(0) for i, n in enumerate(length)])
    roles = [np.asarray(part) for part in sounds().roles(start.stream.left_out, 0)]
    right, stranger = by_normal_equations(features, roles, 0.01)
    assert float(metrics["right"][0]) == pytest.approx(right)
    assert float(metrics["stranger"][0]) == pytest.approx(stranger)
    assert float(metrics["error"][0]) == pytest.approx(1 - right)
    assert right > 0.3
    other = by_normal_equations(features, [roles[1], *roles[1:]], 0.01)
    assert other != [right, stranger]


def test_sets_that_are_not_known_or_not_here(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="data='noise' is not known"):
        sounds_of("noise", 12)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(MissingData, match="spoken_digit is not in"):
        sounds_of("spoken_digit", 12)
    assert isinstance(sounds(), Sounds)
