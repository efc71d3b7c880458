"""The baseline and the measure that the autoencoder experiment makes itself."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lansdell2019.fig3 import noisy_backprop, same_as_nearest
from plasticity_jax.layers import init_params
from plasticity_jax.networks import mlp
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.typing import Example
from tests.laws.common import compiled

SIGMA, DRAWS = 1.0, 4000


def test_noise_on_a_linear_layer_adds_sigma_squared_times_its_readout():
    # E[(W2 (h + s xi) - y)(h + s xi)^T] = (W2 h - y) h^T + s^2 W2; the noise leaves the mean gradient of W1 as it is.
    net = mlp((3, 4, 2), ["identity", "identity"])

    def problem(key):
        key_w, key_x, key_y, key_noise = jax.random.split(key, 4)
        params = init_params(key_w, net)
        batch = Example(jax.random.normal(key_x, (5, 3)), jax.random.normal(key_y, (5, 2)))

        def gradient(rule, key):
            return rule.update(params, (), key, batch)[0]["forward"]["w"]

        noisy = jax.vmap(lambda k: gradient(noisy_backprop(net, SIGMA), k))(jax.random.split(key_noise, DRAWS))
        return params["forward"]["w"], gradient(backprop(net), key_noise), noisy

    w, clean, noisy = jax.tree.map(np.asarray, compiled(problem)(jax.random.key(0)))
    for found, wanted in zip(noisy, (clean[0], clean[1] + SIGMA**2 * w[1]), strict=True):
        z = (found.mean(0) - wanted) / (found.std(0) / DRAWS**0.5)
        assert np.abs(z).max() < 5  # 20 entries: a false alarm in 1e5 keys
    assert np.abs(noisy[1].mean(0) - clean[1]).max() > 0.5  # the noise does reach the gradient


def test_same_as_nearest_counts_as_a_loop_does():
    rng = np.random.default_rng(0)
    points, label = rng.standard_normal((40, 2)).astype(np.float32), rng.integers(0, 3, 40)
    hits = 0
    for i in range(40):
        distance = [np.inf if j == i else np.linalg.norm(points[i] - points[j]) for j in range(40)]
        hits += label[int(np.argmin(distance))] == label[i]
    assert 0 < hits < 40
    assert abs(float(compiled(same_as_nearest)(points, jnp.asarray(label))) - 100 * hits / 40) < 1e-4
