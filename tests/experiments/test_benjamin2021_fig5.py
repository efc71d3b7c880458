"""The measures of Figure 5 against NumPy: centroids, brightness, baselines, squared errors; a D_z without opinion."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021 import fig5
from plasticity_jax.networks.conv_lstm import init_params
from plasticity_jax.typing import Example
from tests.laws.common import compiled

CONFIG = dataclasses.replace(fig5.PRESETS["smoke"], size=16)
NET = fig5.build_net(dataclasses.replace(CONFIG, size=8, kernel=1))
RNG = np.random.default_rng(5)


def test_centroid_and_brightness_of_known_frames():
    frames = np.zeros((2, 2, 16, 16, 1), np.float32)
    frames[0, 0, 3, 5], frames[0, 0, 3, 9] = 0.5, 0.5  # between the two
    frames[0, 1, 2, 4], frames[0, 1, 6, 4] = 0.25, 0.75  # three times as near to the brighter
    frames[1, 0, 15, 0], frames[1, 0, 0, 15] = 1.5, -1  # beyond black and white
    found = fig5.centroid(jnp.asarray(frames))
    np.testing.assert_allclose(found, [[[3, 7], [5, 4]], [[15, 0], [0, 0]]], rtol=1e-6)
    bright = [(2 * 0.5**2 + 1) / 2, (0.25**2 + 0.75**2) / 1]
    np.testing.assert_allclose(fig5.brightness(jnp.asarray(frames)), bright, rtol=1e-6)


def test_baselines_as_in_numpy():
    bank = fig5.bank(CONFIG)
    x, found = compiled(
        lambda bank: (fig5.filmed(CONFIG, bank.test, bank.scene).x, fig5.baselines(CONFIG, bank)),
    )(bank)
    x = np.asarray(x, np.float64)
    c = CONFIG.context
    true = x[:, c:]
    predicted = {
        "true": true,
        "blank": 0 * true,
        "mean": sum(x[i, t] for i in range(len(x)) for t in range(x.shape[1])) / (len(x) * x.shape[1]) + 0 * true,
        "watched": np.stack([sum(video[:c]) / c + 0 * video[c:] for video in x]),
        "last": np.stack([np.stack([video[c - 1]] * CONFIG.horizon) for video in x]),
        "previous": np.stack([np.stack([video[t - 1] for t in range(c, len(video))]) for video in x]),
        "other": np.stack([x[i - 1, c:] for i in range(len(x))]),
    }
    for name, frames in predicted.items():
        error = ((frames - true) ** 2).sum((2, 3, 4)).mean(0)
        # Sums of 256 squares in single precision.
        np.testing.assert_allclose(found[f"error_{name}"], error, rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(found["video"], np.round(255 * x[: fig5.SHOWN, ..., 0]))
    assert found["error_last"][0] > 0


def test_prediction_alone_says_nothing_of_latents():
    critics = init_params(jax.random.key(1), NET)["discriminator"]
    free = fig5.Predicting(NET)
    frames, latents = jnp.asarray(RNG.random((3, 8, 8, 1))), jnp.asarray(RNG.random((3, 4, 4, NET.hidden)))
    jax.tree.map(
        np.testing.assert_array_equal, free.judge(critics[0], 0, (frames,)), NET.judge(critics[0], 0, (frames,))
    )

    def said(critic):
        def score(critic, z):
            return free.judge(critic, 1, (z,)).score

        return score(critic, latents), jax.jacobian(score, (0, 1))(critic, latents)

    assert np.any(NET.judge(critics[1], 1, (latents,)).score)
    scores, slopes = compiled(said)(critics[1])
    assert scores.shape == (3,)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves((scores, slopes)))


def test_squared_error_is_descended_along_its_gradient():
    params, key = init_params(jax.random.key(1), NET), jax.random.key(3)
    frames = NET.context + NET.horizon
    batch = Example(jnp.asarray(RNG.random((2, frames, 8, 8, 1)), jnp.float32), jnp.zeros(()))
    rule = fig5.squared(NET)
    update = compiled(lambda params: rule.update(params, (), key, batch))
    found, _, info = update(params)
    phases = compiled(lambda params: NET.phases(params, batch.x, key))(params)
    error = (
        (np.asarray(phases.oscillation[0]) - np.asarray(batch.x[:, NET.context :]).reshape(-1, 8, 8, 1)) ** 2
    ).sum()
    np.testing.assert_allclose(info.loss, error / (2 * NET.horizon), rtol=1e-5)
    squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(found))
    # Both ways by 0.01 of weights of length 1 or so: a loss of some 50 changes by far more than its rounding, 1e-5.
    step = 0.01 / squares**0.5
    up, down = (
        float(update(jax.tree.map(lambda leaf, slope, s=s: leaf + s * step * slope, params, found))[2].loss)
        for s in (1, -1)
    )
    np.testing.assert_allclose((up - down) / (2 * step), squares, rtol=0.02)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(found["discriminator"]))


def test_settings_that_do_not_serve_are_refused():
    for wrong in ({"points": 3}, {"videos": 3}, {"horizon": 1}, {"samples": 0}):
        with pytest.raises(ValueError, match="must be"):
            dataclasses.replace(CONFIG, **wrong)
