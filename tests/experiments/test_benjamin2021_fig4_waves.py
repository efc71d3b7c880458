"""Oscillations of a hierarchy against a loop over ticks and layers, in which every activity carries its history."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021.fig4_waves import PERIOD, WAVES, oscillated, place, waves
from plasticity_jax.networks.hierarchy import FREE, stacked_phases
from tests.laws.common import compiled


class Chain:
    """Two layers over 3 numbers; inference and generation are maps that do not commute, and the noise depends on keys.

    Layers differ in gain, so that activity shows by which path it came.
    """

    depth, sites = 2, ((0,), (1,), (2,))

    def __init__(self, noise=0.0):
        self.noise = noise

    def infer(self, params, layer, below, key):
        return below * (1 + layer) + 10 + self.noise * jax.random.normal(key, below.shape)

    def generate(self, params, layer, above, key):
        return above / (3 + layer) - 5 + self.noise * jax.random.normal(key, above.shape)

    def prior(self, key, count, dtype):
        return jnp.full((count, 3), 100.0, dtype) + self.noise * jax.random.normal(key, (count, 3))

    def phases(self, params, x, key, parents=FREE, oscillate=True):
        return stacked_phases(self, params, x, key, parents, oscillate)


PARAMS = {"inference": (), "generation": ()}


@pytest.mark.parametrize("lag", [1, 0, -1])
def test_layers_read_what_their_neighbours_were_a_tick_ago(lag):
    net, x = Chain(), np.array([[1.0, 2.0, 3.0]])
    up_end, down_end = compiled(lambda x: oscillated(net, PARAMS, x, jax.random.key(0), jnp.asarray(lag), 3))(x)
    h = [np.full((1, 3), 100.0)]
    for layer in (1, 0):
        h.insert(0, h[0] / (3 + layer) - 5)
    ends = [[*h], [*h]]
    for tick in range(12):
        new = []
        for i in range(3):
            from_below = (tick - lag * i) % 4 < 2
            if from_below:
                new.append(x if i == 0 else h[i - 1] * (1 + i) + 10)
            else:
                new.append(np.full((1, 3), 100.0) if i == 2 else h[i + 1] / (3 + i) - 5)
        h = new
        for i in range(3):
            if (tick - lag * i) % 4 in (1, 3):
                ends[(tick - lag * i) % 4 // 2][i] = h[i]
    for end, expected in zip((up_end, down_end), ends, strict=True):
        for i in range(3):
            np.testing.assert_allclose(end[i], expected[i], rtol=1e-6, err_msg=f"{lag} {i}")


def test_only_the_ascending_wave_gives_what_the_algorithm_compares():
    net, x = Chain(), np.array([[1.0, 2.0, 3.0]])
    true = net.phases(PARAMS, jnp.asarray(x), jax.random.key(1))
    same = {}
    for name, lag in WAVES.items():
        up_end, down_end = oscillated(net, PARAMS, jnp.asarray(x), jax.random.key(0), jnp.asarray(lag), 3)
        activity, expected = (*up_end[1:], *down_end[:-1]), (*true.wake[1:], *true.oscillation)
        same[name] = [bool(np.allclose(a, b)) for a, b in zip(activity, expected, strict=True)]
    assert same["ascending"] == [True] * 4
    assert not all(same["standing"])
    assert not all(same["descending"])
    assert place(jnp.asarray(1), 3, jnp.asarray(5)).tolist() == [1, 0, 3]
    assert PERIOD == 4


def test_shares_are_of_another_sample_of_the_same_images():
    """Noise has the images' variance, and layer 1 is 2 x + noise: the image explains four fifths of its variance."""
    x = jax.random.normal(jax.random.key(2), (4000, 3))
    metrics = compiled(lambda x: waves(Chain(1.0), PARAMS, x, jax.random.key(3), 2))(x)
    assert metrics["wave_up"].shape == metrics["wave_down"].shape == (3, 2)
    # 12,000 pairs: a standard error of (1 - 0.8^2) / 110 = 0.0033; five of them.
    np.testing.assert_allclose(metrics["wave_up"][0, 0], 0.8, atol=0.0165)
    # o_0 = w_1 / 3 + noise: 4 / 9 of the image, 1 / 9 of the noise of w_1, 1 of its own.
    np.testing.assert_allclose(metrics["wave_down"][0, 0], (4 / 9) / (4 / 9 + 1 / 9 + 1), atol=0.05)
