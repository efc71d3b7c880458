"""The convolutional hierarchy: sizes, counts, loops in NumPy, samples' moments, parents, critics, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from plasticity_jax.networks.dcgan import dcgan, init_params
from plasticity_jax.networks.hierarchy import FREE, Parents
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.ops.normalisation import EPSILON
from tests.laws.common import compiled

SMALL = {"image": (8, 8, 2), "channels": 4, "top": 3, "critic_width": 5}


def given(seed=0, **options):
    """A small network with weights ten times the initial ones, and biases as large, so that every term counts."""
    net, rng = dcgan(**SMALL | options), np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: init_params(key, net), jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.standard_normal(leaf.shape)), shapes)
    return net, params, jnp.asarray(rng.uniform(-1, 1, (3, *net.image)))


def convolution(x, kernel, stride, padding):
    """One image by loops: every window's sum."""
    padded = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    k = len(kernel)
    side = (len(padded) - k) // stride + 1
    out = np.empty((side, side, kernel.shape[3]))
    for r, c in np.ndindex(side, side):
        out[r, c] = np.tensordot(padded[r * stride : r * stride + k, c * stride : c * stride + k], kernel, 3)
    return out


def transposed(y, kernel, stride, padding):
    """One image by loops: every pixel spreads its kernel."""
    k, side = len(kernel), (len(y) - 1) * stride + len(kernel)
    out = np.zeros((side, side, kernel.shape[2]))
    for r, c in np.ndindex(y.shape[:2]):
        out[r * stride : r * stride + k, c * stride : c * stride + k] += kernel @ y[r, c]
    return out[padding : side - padding, padding : side - padding]


def normalised(x):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + EPSILON)


def moments(weights, v):
    """Mean and standard deviation of a conditional, given the drive of its hidden layer."""
    h = np.maximum(v + np.asarray(weights["hidden"]["bias"]), 0)
    out = h @ np.asarray(weights["output"]["kernel"])[0, 0] + np.asarray(weights["output"]["bias"])
    mean, spread = np.split(out, 2, -1)
    return mean, np.log1p(np.exp(spread))


def test_the_network_has_the_papers_shapes():
    """The shapes of every layer in every phase, and the counts of parameters of the paper's table."""
    net = dcgan()
    params = jax.eval_shape(lambda key: init_params(key, net), jax.random.key(0))
    count = {name: sum(leaf.size for leaf in jax.tree.leaves(group)) for name, group in params.items()}
    # Critics by hand, kernels and biases: 72,833 + 99,457 + 131,457 + 111,745 + 184,705 + 10,689.
    assert count == {"inference": 987_884, "generation": 982_662, "discriminator": 610_886}
    x = jax.ShapeDtypeStruct((7, 32, 32, 3), jnp.float64)
    phases = jax.eval_shape(lambda *args: net.phases(*args), params, x, jax.random.key(0))
    expected = [(7, 32, 32, 3), (7, 16, 16, 32), (7, 8, 8, 64), (7, 4, 4, 128), (7, 2, 2, 256), (7, 1, 1, 100)]
    assert [h.shape for h in phases.wake] == expected
    assert [h.shape for h in phases.sleep] == expected
    assert [h.shape for h in phases.oscillation] == expected[:-1]
    for site, features in enumerate((8 * 8, 4 * 4, 2 * 2, 4 * 4, 2 * 2, 1)):
        judge = jax.eval_shape(
            lambda params, h, site=site: net.judge(params, site, (h,)), params["discriminator"][site], phases.wake[site]
        )
        assert (judge.score.shape, judge.features.shape) == ((7,), (7, 64 * features))


@pytest.mark.parametrize(("side", "depth"), [(2, 1), (4, 2), (16, 4)])
def test_depth_follows_from_the_size_of_the_images(side, depth):
    net = dcgan(image=(side, side, 1), channels=2, top=3, critic_width=2)
    params = jax.eval_shape(lambda key: init_params(key, net), jax.random.key(0))
    x = jax.ShapeDtypeStruct((2, side, side, 1), jnp.float64)
    phases = jax.eval_shape(lambda *args: net.phases(*args), params, x, jax.random.key(1))
    expected = [(2, side, side, 1), *((2, side >> i, side >> i, 2**i) for i in range(1, depth)), (2, 1, 1, 3)]
    assert [h.shape for h in phases.wake] == [h.shape for h in phases.sleep] == expected
    for site, h in enumerate(phases.wake):
        judge = functools.partial(lambda site, params, h: net.judge(params, site, (h,)), site)
        assert jax.eval_shape(judge, params["discriminator"][site], h).score.shape == (2,)


def test_samples_lie_in_their_ranges():
    """wake_0 is the image; generated images are within the range; layers between have a root mean square of 1."""
    net, params, x = given()
    phases = compiled(net.phases)(params, x, jax.random.key(0))
    np.testing.assert_array_equal(phases.wake[0], x)
    for h in (phases.sleep[0], phases.oscillation[0]):
        assert jnp.all(jnp.abs(h) <= 1)
        assert jnp.std(h) > 0.1  # active
    for phase in phases:
        for h in phase[1 : net.depth]:
            assert jnp.all(h >= 0)
            power = jnp.mean(h**2, -1)
            assert jnp.all(power < 1)
            assert jnp.median(power) > 0.99
    assert net.phases(params, x, jax.random.key(0), FREE, oscillate=False).oscillation == ()


def condition(net, params, direction, layer, images):
    """The function that samples a layer given its neighbour, and the conditional's moments by loops, image by image."""
    if direction == "inference":
        weights, topmost, spread, draw = params["inference"][layer - 1], layer == net.depth, convolution, net.infer
    else:
        weights, topmost, spread, draw = params["generation"][layer], layer + 1 == net.depth, transposed, net.generate
    kernel, window = np.asarray(weights["hidden"]["kernel"]), (1, 0) if topmost else (2, 1)
    pairs = [moments(weights, spread(np.asarray(image), kernel, *window)) for image in images]
    mean, std = (np.stack(part) for part in zip(*pairs, strict=True))
    return lambda images, key: draw(params[direction], layer, images, key), mean, std


LAYERS = [("inference", 1), ("inference", 2), ("inference", 3), ("generation", 0), ("generation", 1), ("generation", 2)]


@pytest.mark.parametrize(("direction", "layer"), LAYERS)
def test_samples_equal_those_by_loops(direction, layer):
    """The samples of every layer in both directions agree to rounding, given the library's noise."""
    net, params, x = given()
    neighbour = layer - 1 if direction == "inference" else layer + 1
    images = x if neighbour == 0 else jax.random.normal(jax.random.key(9), (3, *net.shapes[neighbour]))
    draw, mean, std = condition(net, params, direction, layer, images)
    noise = stored_noise(jax.random.key(5), mean.size, jnp.float64, "gaussian").reshape(mean.shape)
    a = mean + std * np.asarray(noise)
    expected = a if layer == net.depth else np.tanh(a) if layer == 0 else normalised(np.maximum(a, 0))
    actual = compiled(draw)(images, jax.random.key(5))
    assert actual.dtype == jnp.float64
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("direction", ["inference", "generation"])
def test_samples_have_their_moments(direction):
    """Means, variances and covariances of 4,000 samples' residuals, in standard deviations by loops.

    Sums of squared z-scores against the quantiles of chi-square at 1e-6: a false alarm of 3e-6 for each direction.
    """
    n = 4000
    net, params, _ = given(image=(4, 4, 1))
    layer, neighbour = (2, 1) if direction == "inference" else (0, 1)
    image = jax.random.uniform(jax.random.key(3), (1, *net.shapes[neighbour]))
    draw, mean, std = condition(net, params, direction, layer, image)
    samples = compiled(lambda image, key: draw(jnp.repeat(image, n, 0), key))(image, jax.random.key(5))
    a = samples if direction == "inference" else jnp.arctanh(samples)
    unit = ((np.asarray(a) - mean) / std).reshape(n, -1)
    width = unit.shape[1]
    moments = unit.T @ unit / n
    scores = {
        "mean": unit.mean(0) * n**0.5,
        "variance": (np.diag(moments) - 1) * (n / 2) ** 0.5,
        "covariance": moments[np.triu_indices(width, 1)] * n**0.5,
    }
    for name, z in scores.items():
        assert np.sum(z**2) < scipy.stats.chi2.isf(1e-6, z.size), name


def test_a_layer_depends_only_on_its_parents():
    """Changing layer j of a phase's parents changes its child in that phase alone, and of that sample alone."""
    net, params, x = given()
    key, depth = jax.random.key(4), net.depth
    phases_of = compiled(lambda parents: net.phases(params, x, key, parents))
    parents = Parents(*(tuple(jnp.full((3, *shape), 0.3) for shape in net.shapes) for _ in range(3)))
    base = phases_of(parents)
    child = {"wake": 1, "sleep": -1, "oscillation": -1}
    for phase, step in child.items():
        for j in range(depth + 1):
            held = list(getattr(parents, phase))
            held[j] = held[j].at[1].add(0.1)
            changed = phases_of(parents._replace(**{phase: tuple(held)}))
            differs = {
                (name, i, row)
                for name in child
                for i, (a, b) in enumerate(zip(getattr(changed, name), getattr(base, name), strict=True))
                for row in range(3)
                if jnp.any(a[row] != b[row])
            }
            assert differs == ({(phase, j + step, 1)} if 0 <= j + step <= depth else set())


def test_without_parents_phases_are_chains():
    """Every layer then reads its own phase, and an oscillation reads the inferred layers."""
    net, params, x = given(image=(4, 4, 2))
    free_of = compiled(lambda x: net.phases(params, x, jax.random.key(4)))
    free, other = free_of(x), free_of(-x)
    held = Parents(free.wake, free.sleep, free.wake)
    assert_close(free, compiled(lambda held: net.phases(params, x, jax.random.key(4), held))(held))
    assert_close(free.sleep, other.sleep)  # sleep does not depend on the image
    read = zip(free.wake + free.oscillation, other.wake + other.oscillation, strict=True)
    assert all(jnp.any(a != b) for a, b in read)


def assert_close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), a, b)


@pytest.mark.parametrize("site", [0, 1, 2, 3])
def test_critics_equal_those_by_loops(site):
    net, params, _ = given()
    weights = jax.tree.map(np.asarray, params["discriminator"][site])
    h = jax.random.normal(jax.random.key(6), (2, *net.shapes[site]))
    window = [(2, 1), (1, 1), (1, 1), (1, 0)][site]  # sides 8, 4, 2, 1
    verdict = compiled(lambda params, h: net.judge(params, site, (h,)))(params["discriminator"][site], h)
    for n in range(2):
        f = np.asarray(h[n])
        for layer in (weights["first"], weights["second"]):
            v = convolution(f, layer["kernel"], *window) + layer["bias"]
            f = normalised(np.where(v > 0, v, 0.2 * v))
        np.testing.assert_allclose(verdict.features[n], f.ravel(), rtol=1e-10, atol=1e-12)
        expected = weights["readout"]["w"] @ f.ravel() + weights["readout"]["bias"]
        np.testing.assert_allclose(verdict.score[n], expected, rtol=1e-10, atol=1e-12)


def test_gradients_of_all_phases_are_finite_differences():
    """The derivatives are by every weight of both directions of a smooth network, along random directions."""
    net, params, x = given(image=(4, 4, 2), activation="tanh")
    params = {name: params[name] for name in ("inference", "generation")}

    def loss(params):
        return sum(jnp.sum(jnp.sin(h)) for phase in net.phases(params, x, jax.random.key(4)) for h in phase)

    value, gradient = compiled(loss), compiled(jax.grad(loss))(params)
    leaves, tree = jax.tree.flatten(params)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        way = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
        ends = [tree.unflatten([w + h * v for w, v in zip(leaves, way, strict=True)]) for h in (1e-6, -1e-6)]
        along = sum(jnp.vdot(g, v) for g, v in zip(jax.tree.leaves(gradient), way, strict=True))
        assert along == pytest.approx(float((value(ends[0]) - value(ends[1])) / 2e-6), rel=1e-5)


def test_the_top_layer_is_normalised_on_request():
    """Its prior is then normalised too; it is never rectified; the prior is N(0, I) by default."""
    net, params, _ = given(top=50)
    above = net._replace(top_norm=True)
    below = jnp.ones((3, *net.shapes[-2]))

    def tops(net):
        return compiled(lambda key: (net.infer(params["inference"], 3, below, key), net.prior(key, 40, jnp.float64)))

    for plain, scaled in zip(tops(net)(jax.random.key(4)), tops(above)(jax.random.key(4)), strict=True):
        assert jnp.any(plain < 0)
        np.testing.assert_allclose(scaled, normalised(np.asarray(plain)), rtol=1e-12)
    assert plain.shape == (40, 1, 1, 50)
    assert scipy.stats.kstest(np.asarray(plain).ravel(), "norm").pvalue > 1e-6


def test_initial_weights_have_their_moments():
    """N(0, 0.02^2), not truncated, every kernel its own; biases 0. Five sigma: false alarm 4 * 6e-7 and less."""
    net = dcgan(image=(4, 4, 3), channels=16, top=20, critic_width=16)
    params = compiled(lambda key: init_params(key, net))(jax.random.key(0))
    named = jax.tree_util.tree_leaves_with_path(params)
    biases = [leaf for path, leaf in named if path[-1].key == "bias"]
    weights = [np.asarray(leaf).ravel() / 0.02 for path, leaf in named if path[-1].key != "bias"]
    assert not any(jnp.any(leaf) for leaf in biases)
    assert len({leaf[:5].tobytes() for leaf in weights}) == len(weights) == 4 + 4 + 9
    unit = np.concatenate(weights)
    assert abs(unit.mean()) < 5 / unit.size**0.5
    assert abs((unit**2).mean() - 1) < 5 * (2 / unit.size) ** 0.5
    assert (np.abs(unit) > 3).mean() == pytest.approx(0.0027, abs=5 * (0.0027 / unit.size) ** 0.5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_phases_keep_the_dtype_of_the_weights(dtype):
    net, params, x = given()
    params, x = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, x))
    drawn = jax.eval_shape(lambda key: init_params(key, net, dtype=dtype), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {jnp.dtype(dtype)}
    phases = jax.eval_shape(lambda *args: net.phases(*args), params, x, jax.random.key(0))
    verdict = jax.eval_shape(lambda h: net.judge(params["discriminator"][0], 0, (h,)), phases.sleep[0])
    assert {leaf.dtype for leaf in jax.tree.leaves((phases, verdict))} == {jnp.dtype(dtype)}


def test_bad_options_and_images_are_refused():
    net, params, x = given()
    net.check(params, x)
    with pytest.raises(ValueError, match=r"images of shape \(16, 8, 2\): the network takes 8 x 8 x 2"):
        net.check(params, jnp.zeros((3, 16, 8, 2)))
    with pytest.raises(ValueError, match="images of type uint8: scale them to floats from -1 to 1"):
        net.check(params, jnp.zeros((3, 8, 8, 2), jnp.uint8))
    with pytest.raises(ValueError, match="images from 0 to 255: the network takes values from -1 to 1"):
        net.check(params, jnp.zeros((3, 8, 8, 2)).at[0, 0, 0, 0].set(255))
    dcgan(**SMALL, output="identity").check(params, 255 * x)
    with pytest.raises(AssertionError, match=r"the weights are not those of a network of images \(8, 8, 2\)"):
        net.check(given(channels=3)[1], x)
    for image in ((12, 12, 3), (8, 4, 3), (1, 1, 3), (8, 8), (0, 0, 1)):
        with pytest.raises(ValueError, match="n a power of 2 from 2 on"):
            dcgan(image=image)
    for name in ("channels", "top", "critic_width"):
        with pytest.raises(ValueError, match="at least one channel"):
            dcgan(**{name: 0})
    with pytest.raises(ValueError, match="activation='step' is not known"):
        dcgan(activation="step")
    with pytest.raises(ValueError, match="activation='step' is not known"):
        dcgan(critic_activation="step")
    with pytest.raises(ValueError, match="output='sigmoid' is not known; use one of identity, tanh"):
        dcgan(output="sigmoid")
    with pytest.raises(ValueError, match="epsilon=0 must be positive"):
        dcgan(epsilon=0)
