"""CIFAR-10 after Lansdell et al.: one step of each method by hand, and the scores."""

import dataclasses
import functools
import math
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019.cifar import (
    PRESETS,
    Config,
    build_rule,
    experiment,
    make_parts,
    network,
    optimiser,
    pathway,
    scores,
)
from experiments.lansdell2019.cifar_claims import FED_BACK, METHODS
from experiments.lansdell2019.cifar_images import Pictures, example, pictures, standardised
from plasticity_jax.base import learner
from plasticity_jax.layers import init_params
from tests.laws.common import compiled

SMALL = dataclasses.replace(
    PRESETS["smoke"],
    channels=(3,),
    kernels=(3,),
    **{f"{method}_rate": 10.0 ** -(2 + 0.25 * i) for i, method in enumerate(METHODS)},
    np_feedback_rate=0.5,
    mirror_feedback_rate=0.25,
    solve_every=1,
)
"""A different rate for each method."""


def few(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 8, 3), np.uint8), rng.integers(0, 10, count)


@functools.cache
def stepped(method):
    """Params before and after a step on five images, and the rule's updates."""
    net = network(SMALL, (8, 8, 3))
    rule = build_rule(SMALL, net, method)
    learn = learner(rule, optimiser(SMALL, method))
    batch = example(*map(jnp.asarray, few(5)))

    def run(key):
        params = init_params(key, net, pathway=pathway(method))
        state = learn.init(params, key, batch)
        updates, _, _ = rule.update(params, state.traces, jax.random.fold_in(state.key, 0), batch)
        return params, learn.step(state, batch)[0].params, updates

    return jax.tree.map(np.asarray, compiled(run)(jax.random.key(3)))


@pytest.mark.parametrize("method", METHODS)
def test_first_step_moves_what_learns_by_the_rate_of_the_method(method):
    # Adam's first step is rate * g / (|g| + eps), whatever the size of g.
    before, after, updates = stepped(method)
    held = {"frozen": 1, "readout": 2}.get(method, 0)  # of three layers
    for name in ("w", "bias"):
        for i in range(3):
            moved = after["forward"][name][i] - before["forward"][name][i]
            g = updates["forward"][name][i]
            wanted = 0 * g if i < held else -getattr(SMALL, f"{method}_rate") * g / (np.abs(g) + 1e-5)
            np.testing.assert_allclose(moved, wanted, rtol=1e-5, atol=1e-9)
            assert np.any(moved) == (i >= held)


@pytest.mark.parametrize("method", METHODS)
def test_feedback_learns_by_the_rate_of_the_method(method):
    before, after, updates = (tree["feedback"]["w_fb"] for tree in stepped(method))
    for b, moved, g in zip(before, after, updates, strict=True):
        if method == "kp":
            wanted = -SMALL.kp_rate * g / (np.abs(g) + 1e-5)
        else:
            wanted = -{"mirror": 0.25, "np_chain": 0.5, "np_direct": 1.0}.get(method, 0.0) * g
        np.testing.assert_allclose(moved - b, wanted, rtol=1e-5, atol=1e-8)
        assert np.any(moved != b) == (method in ("kp", "mirror", "np_chain", "np_direct"))


def test_kolen_pollack_gives_both_groups_one_gradient_and_one_decay():
    before, _, updates = stepped("kp")
    for i in (1, 2):
        w, b = before["forward"]["w"][i], before["feedback"]["w_fb"][i - 1]
        difference = updates["forward"]["w"][i] - updates["feedback"]["w_fb"][i - 1]
        np.testing.assert_allclose(difference, SMALL.kp_decay * (w - b), rtol=1e-4, atol=1e-12)
        assert np.any(difference)


def test_feedback_has_the_form_of_its_pathway():
    net = network(SMALL, (8, 8, 3))
    assert net.h_shapes == ((8, 8, 3), (4, 4, 3), (8,), (10,))
    for method in METHODS:
        shapes = [b.shape for b in stepped(method)[0]["feedback"]["w_fb"]]
        assert shapes == ([(10, 48), (10, 8)] if method in ("np_direct", "dfa") else [(8, 48), (10, 8)]), method


def test_networks_of_the_presets():
    assert network(Config(), (32, 32, 3)).h_shapes[1:] == ((16, 16, 16), (8, 8, 32), (4, 4, 64), (128,), (10,))
    assert network(Config(), (28, 28, 1)).h_shapes[3] == (4, 4, 64)
    paper = network(PRESETS["paper"], (32, 32, 3))
    assert paper.h_shapes[1:] == ((32, 32, 96), (16, 16, 128), (8, 8, 256), (2048,), (2048,), (10,))
    assert [w.shape for w in paper.w_shapes][3:] == [(2048, 4096), (2048, 2048), (10, 2048)]  # halved three times
    assert {layer.phi for layer in paper.layers[:-1]} == {"tanh"}


def test_images_are_standardised_one_by_one():
    image, label = few(4)
    image[1] = 7  # of one colour
    inputs = np.asarray(compiled(standardised)(jnp.asarray(image)))
    for i in range(4):
        value = image[i].astype(float)
        np.testing.assert_allclose(inputs[i], (value - value.mean()) / max(value.std(), 1.0), rtol=1e-5, atol=1e-6)
    assert np.asarray(example(jnp.asarray(image), jnp.asarray(label)).y).argmax(1).tolist() == label.tolist()


def test_images_that_are_held_out_judge_and_are_not_learned_from():
    whole, held = pictures("prototypes", 0), pictures("prototypes", 200)
    assert whole.train.shape == (1000, 8, 8, 3)
    assert whole.test.shape == (500, 8, 8, 3)
    for part, label, rows in (
        (held.train, held.train_label, slice(0, 800)),
        (held.test, held.test_label, slice(800, None)),
    ):
        assert np.array_equal(part, whole.train[rows])
        assert np.array_equal(label, whole.train_label[rows])
    with pytest.raises(ValueError, match="leaves none of 1000"):
        pictures("prototypes", 1000)


def test_runs_that_choose_rates_have_other_weights_than_those_reported():
    key = jax.random.key(0)
    small = dataclasses.replace(SMALL, methods=("bp",))
    ours, other = (make_parts(dataclasses.replace(small, held=held))["bp"] for held in (0, 200))
    weights = [program.init(key).learner.params["forward"]["w"][0] for program in (ours, other)]
    assert not np.allclose(*weights)
    assert np.array_equal(weights[1], ours.init(jax.random.fold_in(key, 1)).learner.params["forward"]["w"][0])


def straight(net, params, image):
    """Outputs for one image, by a plain loop over windows of the padded image."""
    w, bias = (params["forward"][name] for name in ("w", "bias"))
    value = image.astype(float)
    h = (value - value.mean()) / max(value.std(), 1.0)
    padded = np.zeros((9, 9, 3))  # windows of 3 x 3 at stride 2, SAME: one row of zeros at the end
    padded[:8, :8] = h
    v = np.zeros((4, 4, 3))
    for r in range(4):
        for c in range(4):
            v[r, c] = np.tensordot(padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3], w[0], 3) + bias[0]
    h = np.tanh(w[1] @ np.tanh(v).reshape(-1) + bias[1])
    return w[2] @ h + bias[2]


@pytest.mark.parametrize("method", ["bp", "fa", "sign", "dfa"])
def test_scores_count_and_measure_as_loops_do(method):
    net = network(SMALL, (8, 8, 3))
    params = stepped(method)[1]
    test, label = few(12, 1)
    label = np.where(np.arange(12) < 5, [straight(net, params, image).argmax() for image in test], label)
    data = Pictures(*map(jnp.asarray, (*few(60), test, label)))
    config = dataclasses.replace(SMALL, examples=7)

    state: Any = SimpleNamespace(learner=SimpleNamespace(params=params))
    metrics = compiled(lambda: scores(config, net, data, method)(state))()
    right = [straight(net, params, image).argmax() == answer for image, answer in zip(test, label, strict=True)]
    assert float(metrics["accuracy"]) == pytest.approx(100 * np.mean(right))
    assert 5 <= sum(right) < 12
    assert ("angle" in metrics) == (method in FED_BACK)
    assert ("weight_angle" in metrics) == (method in ("fa", "sign"))
    if method == "bp":
        return
    back = params["feedback"]["w_fb"]
    if method == "sign":
        back = [np.sign(w) for w in params["forward"]["w"][1:]]
    if method != "dfa":
        for w, b, measured in zip(params["forward"]["w"][1:], back, metrics["weight_angle"], strict=True):
            cosine = np.sum(w * b) / (np.sum(w * w) * np.sum(b * b)) ** 0.5
            assert float(measured) == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-3)
    # The top hidden layer's credit: the output's error times B, against the same times W.
    angles = []
    for image, answer in zip(data.train[:7], data.train_label[:7], strict=True):
        z = straight(net, params, np.asarray(image))
        error = np.exp(z - z.max()) / np.exp(z - z.max()).sum() - np.eye(10)[int(answer)]
        by_b, by_w = error @ back[-1], error @ params["forward"]["w"][-1]
        angles.append(math.degrees(math.acos(by_b @ by_w / np.linalg.norm(by_b) / np.linalg.norm(by_w))))
    assert float(metrics["angle"][-1]) == pytest.approx(np.mean(angles), abs=1e-2)
    assert np.mean(angles) > 5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ("np",)}, "methods: 'np' is not known"),
        ({"points": 7}, "must divide"),
        ({"data": "imagenet"}, "data: 'imagenet' is not known"),
        ({"smaller": "max"}, "smaller: 'max' is not known"),
        ({"kernels": (3,)}, "must be as many as channels"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Config(**changed)


def test_presets_are_accepted():
    for preset in PRESETS.values():
        experiment.check(preset)
