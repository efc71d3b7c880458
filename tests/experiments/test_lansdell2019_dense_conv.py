"""Dense and convolutional networks: their sizes, a step by hand, and the parts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019 import cifar, dense_conv
from experiments.lansdell2019.cifar_claims import METHODS
from experiments.lansdell2019.cifar_images import Pictures, example
from experiments.lansdell2019.dense_conv import (
    PRESETS,
    Config,
    dense_network,
    experiment,
    make_parts,
    problem,
    weights,
)
from experiments.lansdell2019.dense_conv_claims import COMPARED, FURTHER
from plasticity_jax.base import learner
from plasticity_jax.layers import init_params
from tests.laws.common import compiled

SMALL = dataclasses.replace(PRESETS["smoke"], channels=(3, 4), width=60, methods=COMPARED, further=FURTHER)
PLACES = ("cifar10.conv", "cifar10.dense", "mnist.conv", "mnist.dense")


CONV = 400 * 32 + 288 * 64 + 1024 * 128 + 1280
"""Number of weights in the convolutional network, without its lowest layer."""


@pytest.mark.parametrize(("shape", "width"), [((32, 32, 3), 50), ((28, 28, 1), 136)])
def test_dense_networks_are_as_deep_and_have_as_many_weights_as_a_common_width_allows(shape, width):
    conv = cifar.network(problem(Config(), "cifar10", "conv"), shape)
    net = dense_network(conv)
    assert net.h_shapes == (shape, *[(width,)] * 4, (10,))
    assert (len(net.layers), net.loss) == (len(conv.layers), conv.loss)
    assert [layer.phi for layer in net.layers] == [layer.phi for layer in conv.layers] == ["tanh"] * 4 + ["identity"]
    pixels = shape[0] * shape[1] * shape[2]
    assert weights(conv) == 25 * shape[2] * 16 + CONV
    assert weights(net) == pixels * width + 3 * width**2 + 10 * width <= weights(conv)
    assert pixels * (width + 1) + 3 * (width + 1) ** 2 + 10 * (width + 1) > weights(conv)


@functools.cache
def stepped(method):
    """Params before and after a step on five images in a small dense network, by one method."""
    settings = dataclasses.replace(problem(SMALL, "prototypes", "dense"), solve_every=1)
    net = dense_network(cifar.network(settings, (8, 8, 3)))
    learn = learner(cifar.build_rule(settings, net, method), cifar.optimiser(settings, method))
    batch = example(*map(jnp.asarray, few(5)))

    def run(key):
        params = init_params(key, net, pathway=cifar.pathway(method))
        return params, learn.step(learn.init(params, key, batch), batch)[0].params

    return jax.tree.map(np.asarray, compiled(run)(jax.random.key(3)))


def few(count):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 8, 8, 3), np.uint8), rng.integers(0, 10, count)


def credited(before, method):
    """The weights' gradients by a method, by a plain loop over images and layers."""
    w, bias, back = before["forward"]["w"], before["forward"]["bias"], before["feedback"]["w_fb"]
    gradients = [np.zeros(each.shape) for each in w]
    for image, answer in zip(*few(5), strict=True):
        value = image.astype(float).reshape(-1)
        h = [(value - value.mean()) / value.std()]
        for i, each in enumerate(w):
            v = each @ h[-1] + bias[i]
            h.append(np.tanh(v) if i < len(w) - 1 else v)
        error = np.exp(h[-1]) / np.exp(h[-1]).sum() - np.eye(10)[answer]
        delta = error
        for i in reversed(range(len(w))):
            gradients[i] += np.outer(delta, h[i]) / 5
            if i:
                credit = {"fa": lambda i: delta @ back[i - 1], "dfa": lambda i: error @ back[i - 1]}  # noqa: B023
                delta = credit.get(method, lambda i: delta @ w[i])(i) * (1 - h[i] ** 2)  # noqa: B023
    return gradients


@pytest.mark.parametrize("method", ["fa", "dfa", "frozen"])
def test_a_step_in_a_dense_network_is_that_of_a_loop(method):
    # Adam's first step is rate * g / (|g| + eps), whatever the size of g.
    before, after = stepped(method)
    held = 2 if method == "frozen" else 0  # of four layers
    rate = getattr(problem(SMALL, "prototypes", "dense"), f"{method}_rate")
    assert len(before["forward"]["w"]) == 4
    for i, g in enumerate(credited(before, method)):
        moved = after["forward"]["w"][i] - before["forward"]["w"][i]
        np.testing.assert_allclose(moved, (i >= held) * -rate * g / (np.abs(g) + 1e-5), rtol=1e-3, atol=1e-2 * rate)
        assert np.any(moved) == (i >= held)
    assert method != "fa" or not np.allclose(credited(before, "fa")[0], credited(before, "bp")[0], rtol=0.1)


def test_methods_of_each_network(monkeypatch):
    image, label = few(20)
    small = Pictures(*map(jnp.asarray, (image[:10], label[:10], image[10:], label[10:])))
    monkeypatch.setattr(dense_conv, "pictures", lambda data, held: small)
    names = [name.rsplit(".", 1) for name in make_parts(dataclasses.replace(SMALL, sets=("cifar10", "mnist")))]
    by_place = {place: [method for where, method in names if where == place] for place, _ in names}
    assert list(by_place) == list(PLACES)
    assert set(by_place.pop("mnist.conv")) == set(METHODS)
    assert {tuple(each) for each in by_place.values()} == {COMPARED}
    alone = make_parts(dataclasses.replace(SMALL, sets=("mnist",), networks=("dense",)))
    assert list(alone) == [f"mnist.dense.{method}" for method in COMPARED]
    both = make_parts(dataclasses.replace(SMALL, sets=("mnist",), methods=("fa",), further=()))
    for network, shape in (("conv", (3, 3, 3, 3)), ("dense", (8, 192))):
        state = jax.eval_shape(both[f"mnist.{network}.fa"].init, jax.random.key(0))
        assert state.learner.params["forward"]["w"][0].shape == shape, network
    assert set(COMPARED) | set(FURTHER) == set(METHODS)


def test_rates_are_those_found_times_the_factor(monkeypatch):
    monkeypatch.setattr(dense_conv, "SETTINGS", {"mnist.dense": {"fa_rate": 0.5, "kp_decay": 0.25}})
    settings = problem(Config(factor=3.0, held=7, width=9), "mnist", "dense")
    assert (settings.fa_rate, settings.bp_rate, settings.readout_rate) == pytest.approx((1.5, 0.003, 0.009))
    assert (settings.data, settings.held, settings.widths, settings.kp_decay) == ("mnist", 7, (9,), 0.25)
    assert problem(Config(), "mnist", "conv") == cifar.Config(data="mnist", epochs=1, points=4)
    monkeypatch.undo()
    assert problem(Config(epochs=3, points=6), "cifar10", "conv") == cifar.Config()  # as it is recorded


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ("np",)}, "methods: 'np' is not known"),
        ({"further": ("np",)}, "further: 'np' is not known"),
        ({"points": 7}, "must divide"),
        ({"sets": ("imagenet",)}, "sets: 'imagenet' is not known"),
        ({"networks": ("flat",)}, "networks: 'flat' is not known"),
        ({"kernels": (3,)}, "must be as many as channels"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Config(**changed)


def test_presets_are_accepted():
    for preset in PRESETS.values():
        experiment.check(preset)
