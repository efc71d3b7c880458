"""Parts of Figure 4's experiment: images, initial weights, and two scores, each against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benjamin2021.cifar import Pictures, averaged, signed
from experiments.benjamin2021.fig4 import initial
from experiments.benjamin2021.fig4_scores import nearer, readable
from plasticity_jax.networks.dcgan import dcgan, init_params
from tests.laws.common import compiled


def test_an_image_is_averaged_over_squares():
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    small = averaged(image, 4)
    assert small.dtype == np.uint8
    for n, r, c, k in np.ndindex(3, 4, 4, 3):
        mean = np.mean(image[n, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2, k].astype(float))
        assert abs(small[n, r, c, k] - mean) <= 0.5


def test_images_are_scaled_to_the_range_of_the_network():
    assert signed(jnp.asarray([0, 51, 255], jnp.uint8)).tolist() == [-1, np.float32(51 / 127.5) - 1, 1]


def test_nearer_is_that_of_a_loop_over_pairs():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20, 2, 2, 3)) * rng.uniform(0.3, 3, (20, 1, 1, 1))  # so that lengths matter
    made = x + 1.5 * rng.standard_normal(x.shape)
    pairs = [(i, j) for i in range(20) for j in range(20) if i != j]
    wins = [np.sum((made[i] - x[i]) ** 2) < np.sum((made[i] - x[j]) ** 2) for i, j in pairs]
    assert 0.5 < np.mean(wins) < 1
    np.testing.assert_allclose(compiled(nearer)(jnp.asarray(made), jnp.asarray(x)), np.mean(wins), rtol=1e-6)


def test_classes_are_read_out_as_by_a_direct_solver():
    """Features have very different scales and a weak class signal; one of them is dead."""
    rng = np.random.default_rng(2)
    label, test_label = rng.integers(0, 10, (2, 300))
    signal = rng.standard_normal((10, 12))
    scale = 10.0 ** rng.uniform(-2, 2, 12)
    scale[5] = 0
    train, test = (3 + (signal[of] + 2 * rng.standard_normal((300, 12))) * scale for of in (label, test_label))
    middle, spread = train.mean(0), np.maximum(train.std(0), 1e-6)
    x, y = (train - middle) / spread, np.eye(10)[label]
    w = np.linalg.solve(x.T @ x / 300 + 0.1 * np.eye(12), x.T @ (y - y.mean(0)) / 300)
    answers = (test - middle) / spread @ w + y.mean(0)
    right = np.mean(answers.argmax(1) == test_label)
    assert 0.2 < right < 0.9
    blank = jnp.zeros((300, 1, 1, 3), jnp.uint8)
    images = Pictures(blank, jnp.asarray(label), blank, jnp.asarray(test_label))
    # CG stops at a relative residual of 1e-4: no more than two of the 300 answers may be near enough to a tie to turn.
    share = compiled(readable)(jnp.asarray(train), jnp.asarray(test), images)
    np.testing.assert_allclose(share, right, atol=2.5 / 300)


def test_initial_weights_are_scaled_and_layers_quiet():
    """Mean and deviation of a layer without input are then those of its biases."""
    net, key = dcgan((8, 8, 3), 4, 5, 2), jax.random.key(0)
    plain, params = init_params(key, net), initial(net, key, 3.0, -2.0)
    kernels = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(plain)]
    for (name, leaf), (_, scaled) in zip(kernels, jax.tree_util.tree_leaves_with_path(params), strict=True):
        if "bias" not in name:
            np.testing.assert_allclose(scaled, 3 * leaf, rtol=1e-6)
    top = net.infer(params["inference"], net.depth, jnp.zeros((2000, 2, 2, 8)), jax.random.key(1))
    # 10,000 values: standard errors of 1 % of the deviation for the mean, 0.7 % for the deviation; six of them.
    np.testing.assert_allclose(jnp.std(top), np.log1p(np.exp(-2)), rtol=0.042)
    assert abs(jnp.mean(top)) < 0.06 * np.log1p(np.exp(-2))
