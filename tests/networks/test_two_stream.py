"""The two-stream network against a plain NumPy walk, closed forms of its samples, differences, and refusals."""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.laws.common import compiled
from tests.oracles import generative as oracle

m = importlib.import_module("plasticity_jax.networks.two_stream")  # the room has a function of that name
STEPS, STREAMS = 9, 2
WAKE = (True, True, False, False, True, False, True, True, False)
SIZES = {1: (3, 4), 2: (4, 3, 2), 3: (3, 2, 4, 2)}
CASES = [(1, "tanh", "identity"), (2, "tanh", "tanh"), (3, "sigmoid", "identity")]


def given(depth, activation="tanh", output="identity", noise="gaussian"):
    """A network whose sigmas all differ, its params, and a stimulus."""
    up = tuple(0.3 + 0.1 * i for i in range(depth + 1))
    sizes = SIZES[depth]
    net = m.two_stream(sizes, up, tuple(0.9 - 0.15 * i for i in range(depth + 1)), activation, output, noise)
    params = jax.tree.map(lambda leaf: 2 * leaf, m.init_params(jax.random.key(1), net, 0.4))
    for group in ("inference", "generation"):
        params[group]["bias"] = tuple(0.3 * jnp.cos(len(group) + jnp.arange(n)) for n in sizes[1:-1])
    return net, params, jax.random.normal(jax.random.key(2), (STEPS, STREAMS, sizes[0]))


def drawn(net, key):
    keys = [jax.random.fold_in(key, t) for t in range(STEPS)]
    return [[np.asarray(a) for a in m.draw(net, k, STREAMS, jnp.dtype(jnp.float64))] for k in keys]


def numpy_walk(net, params, z, key, wake=WAKE):
    host = jax.tree.map(np.asarray, params)
    return oracle.walk(net, host, np.asarray(z), wake, drawn(net, key))


@pytest.mark.parametrize(("depth", "activation", "output"), CASES)
def test_a_trajectory_equals_the_numpy_walk(depth, activation, output):
    """States, means, slopes and log densities agree, through both kinds of onset."""
    net, params, z = given(depth, activation, output)
    key = jax.random.key(3)

    @compiled
    def run():
        walk = m.trajectory(net, params, key, z, jnp.array(WAKE))
        return walk, m.log_q(net, walk), m.log_p(net, walk)

    walk, log_q, log_p = run()
    steps = numpy_walk(net, params, z, key)
    for field in ("x", "inferred", "generated", "inferred_slope", "generated_slope"):
        for layer, actual in enumerate(getattr(walk, field)):
            expected = np.array([getattr(step, field)[layer] for step in steps])
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12, err_msg=f"{field} of layer {layer}")
    top = np.array([np.zeros_like(steps[0].x[-1]), *(step.x[-1] for step in steps[:-1])])
    np.testing.assert_allclose(walk.top_tm1, top, rtol=0, atol=1e-12)
    np.testing.assert_allclose(log_q, [step.log_q for step in steps], rtol=0, atol=1e-11)
    np.testing.assert_allclose(log_p, [step.log_p for step in steps], rtol=0, atol=1e-11)


def test_a_nonlinearity_is_a_name_or_any_function():
    _, params, z = given(2)

    def walk(activation):
        net = m.two_stream(SIZES[2], (0.3, 0.4, 0.5), (0.9, 0.75, 0.6), activation)
        return compiled(lambda: m.trajectory(net, params, jax.random.key(3), z, jnp.array(WAKE)))()

    named, own, other = (walk(activation) for activation in ("tanh", jnp.tanh, jnp.sin))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), named, own)
    assert np.abs(named.inferred[1] - other.inferred[1]).max() > 1e-2
    assert np.abs(named.inferred_slope[1] - other.inferred_slope[1]).max() > 1e-2


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_a_trajectory_equals_a_loop_of_advance(noise):
    net, params, z = given(2, "sigmoid")
    if noise == "poisson":
        net = m.two_stream(SIZES[2], (0.3, 0.4, 0.5), (0.6, 0.4, 0.5), "sigmoid", noise=noise)
    key, top, wake_tm1 = jax.random.key(4), jnp.zeros((STREAMS, 2)), True
    step = compiled(lambda *given: m.advance(net, params, *given))
    walk = compiled(lambda: m.trajectory(net, params, key, z, jnp.array(WAKE)))()
    for t, wake in enumerate(WAKE):
        innovations = m.draw(net, jax.random.fold_in(key, t), STREAMS, jnp.dtype(jnp.float64))
        now = step(wake, wake and not wake_tm1, top, z[t], innovations)
        top, wake_tm1 = now.x[-1], wake
        jax.tree.map(lambda a, b, t=t: np.testing.assert_allclose(a[t], b, rtol=0, atol=1e-12), tuple(walk), tuple(now))


def test_the_onset_of_wake_takes_the_transition_for_the_identity():
    net, params, z = given(1)
    innovations = m.draw(net, jax.random.key(5), STREAMS, jnp.dtype(jnp.float64))
    top = jnp.arange(8.0).reshape(2, 4)
    for onset, factor in ((True, 1.0), (False, params["generation"]["transition"])):
        now = m.advance(net, params, True, onset, top, z[0], innovations)
        np.testing.assert_array_equal(now.generated[-1], factor * top)


def test_numbers_of_a_step_are_independent_normals():
    """No two of a step's numbers correlate, in any layer or stream: products and squares, five standard errors.

    90 tests, a false alarm below 1e-4; the seed is fixed.
    """
    net, n = m.two_stream((3, 2, 1), (0.1,) * 3, (0.1,) * 3), 20_000
    draw = compiled(jax.vmap(lambda key: m.draw(net, key, 2, jnp.dtype(jnp.float64))))
    x = np.concatenate([np.asarray(a).reshape(n, -1) for a in draw(jax.random.split(jax.random.key(6), n))], 1)
    products = x.T @ x / n - np.eye(12)
    assert np.abs(x.mean(0)).max() < 5 / n**0.5
    assert np.abs(products).max() < 5 * (2 / n) ** 0.5


def test_dreams_of_a_linear_chain_have_its_stationary_moments():
    """r = D r + sigma eta: variance v = sigma^2 / (1 - D^2), lag-one covariance D v; s = D_s r + sigma_s xi.

    4,000 independent streams after 100 steps, of which D^200 < 1e-19 is left; five standard errors of products of
    Gaussians, sqrt((v_a v_b + c^2) / n); 14 tests, a false alarm below 1e-5; the seed is fixed.
    """
    net, streams, steps = m.two_stream((3, 2), (0.1, 0.1), (0.3, 0.5)), 4000, 101
    params = m.init_params(jax.random.key(7), net)
    d = np.array([0.8, 0.5])
    params["generation"]["transition"] = jnp.asarray(d)
    params["generation"]["w"] = (d_s := jnp.array([[1.0, 0.5], [-0.3, 0.8], [0.0, 0.6]]),)

    @compiled
    def run():
        walk = m.trajectory(net, params, jax.random.key(8), jnp.zeros((steps, streams, 3)), jnp.zeros(steps, bool))
        return walk.x[0][-1], walk.x[1][-2:]

    s, r = (np.asarray(a) for a in run())

    def near(a, b, covariance, var_a, var_b):
        error = np.sqrt((var_a * var_b + covariance**2) / streams)
        assert np.all(np.abs(np.mean(a * b, 0) - covariance) < 5 * error)

    v = 0.5**2 / (1 - d**2)
    near(r[1], r[1], v, v, v)
    near(r[1], r[0], d * v, v, v)
    near(r[1][:, 0], r[1][:, 1], 0.0, *v)
    c = np.asarray(d_s) @ np.diag(v) @ np.asarray(d_s).T + 0.3**2 * np.eye(3)
    for i in range(3):
        near(s[:, i], s[:, i], c[i, i], c[i, i], c[i, i])
    near(s[:, 0], s[:, 1], c[0, 1], c[0, 0], c[1, 1])
    near(s[:, 1], r[1][:, 1], 0.8 * v[1], c[1, 1], v[1])


@pytest.mark.parametrize(("depth", "activation", "output"), CASES[:2])
def test_the_loss_and_its_derivative_equal_the_numpy_walks(depth, activation, output):
    """The derivative by every weight, through all samples, is by complex steps of the walk."""
    net, params, z = given(depth, activation, output)
    key = jax.random.key(9)
    loss = compiled(lambda p: m.trajectory_loss(net, p, key, z, jnp.array(WAKE)))
    innovations = drawn(net, key)

    def summed(p):
        return oracle.losses(net, p, np.asarray(z), WAKE, innovations).sum(0)

    host = jax.tree.map(np.asarray, params)
    np.testing.assert_allclose(loss(params), summed(host), rtol=1e-12)
    gradients = compiled(jax.jacobian(lambda p: m.trajectory_loss(net, p, key, z, jnp.array(WAKE))))(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-9), gradients, oracle.derivative(summed, host)
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_initial_weights_have_their_moments(dtype):
    """N(0, 1 / fan_in^2) within five standard errors; no two matrices share numbers."""
    net = m.two_stream((60, 50, 40), (0.1,) * 3, (0.1,) * 3)
    params = m.init_params(jax.random.key(10), net, 0.7, dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    matrices = [*params["inference"]["w"], *params["generation"]["w"]]
    assert [w.shape for w in matrices] == [(50, 60), (40, 50), (60, 50), (50, 40)]
    for w in matrices:
        assert float(jnp.mean(w**2)) * w.shape[1] ** 2 == pytest.approx(1, abs=5 * math.sqrt(2 / w.size))
    assert len({round(float(w[0, 0]) * w.shape[1], 4) for w in matrices}) == 4
    assert [b.shape for b in params["inference"]["bias"]] == [b.shape for b in params["generation"]["bias"]] == [(50,)]
    assert not any(np.any(b) for group in ("inference", "generation") for b in params[group]["bias"])
    np.testing.assert_array_equal(params["generation"]["transition"], np.full(40, 0.7, dtype))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "gelu"}, "activation='gelu' is not known"),
        ({"noise": "cauchy"}, "noise='cauchy' is not known; use one of gaussian, poisson"),
        ({"output": "relu"}, "output='relu' is not known; use one of identity, tanh"),
        ({"sigma_inf": (0.1, 0.1, 0.1)}, r"sizes=\(3, 2\), but 3 values of sigma_inf and 2 of sigma_gen"),
        ({"sizes": (4, 3, 2)}, r"sizes=\(4, 3, 2\), but 2 values of sigma_inf and 2 of sigma_gen"),
        ({"sizes": (3,)}, r"sizes=\(3,\) must name the stimuli and the neurons of one layer or more"),
        ({"sizes": (3, 0)}, r"sizes=\(3, 0\) must name"),
        ({"sizes": (3, 2.0)}, r"sizes=\(3, 2.0\) must name"),
        ({"sigma_inf": (0.1, 0.0)}, r"sigma_inf=\(0.1, 0.0\): every standard deviation must be positive"),
        ({"sigma_gen": (-0.1, 0.1)}, r"sigma_gen=\(-0.1, 0.1\)"),
        ({"sigma_gen": (math.nan, 0.1)}, "sigma_gen="),
        ({"sigma_gen": (math.inf, 0.1)}, "sigma_gen="),
        ({"noise": "poisson"}, "activation='tanh': Poisson neurons need means that are not negative"),
        ({"noise": "poisson", "activation": "sigmoid"}, "the same quanta awake and asleep"),
    ],
)
def test_networks_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        m.two_stream(**{"sizes": (3, 2), **options})


def test_sigmas_may_be_arrays_inside_a_compiled_function():
    sigma = jnp.asarray(0.3)
    net = jax.jit(lambda x: x * m.two_stream((3, 2), (sigma, x), (sigma, sigma)).sigma_gen[0])
    assert float(net(2.0)) == pytest.approx(0.6)


def test_shapes_that_do_not_fit_are_named():
    net, params, z = given(2)
    m.check_shapes(net, params, z[0])
    up, down = params["inference"], params["generation"]

    def refused(error, message, inference=up, generation=down, z=z[0]):
        with pytest.raises(error, match=message):
            m.check_shapes(net, {"inference": inference, "generation": generation}, z)

    refused(
        ValueError,
        r'params\["inference"\]\["w"\] has the shapes \[\(3, 4\), \(2, 2\)\], but a network of sizes \(4, 3, 2\) takes '
        r"\[\(3, 4\), \(2, 3\)\]; init_params\(key, net\) makes them",
        inference={**up, "w": (up["w"][0], up["w"][1][:, :2])},
    )
    refused(ValueError, r'\["generation"\]\["w"\] has', generation={**down, "w": (down["w"][0], down["w"][1].T)})
    refused(
        ValueError, r'\["inference"\]\["bias"\] has the shapes \[\(2,\)\]', inference={**up, "bias": (jnp.zeros(2),)}
    )
    refused(ValueError, r'\["generation"\]\["bias"\] has', generation={**down, "bias": (jnp.zeros(2),)})
    refused(ValueError, r'\["generation"\]\["transition"\] has', generation={**down, "transition": jnp.zeros(3)})
    refused(ValueError, r'\["inference"\]\["w"\] has the shapes \[\(3, 4\)\]', inference={**up, "w": up["w"][:1]})
    refused(ValueError, r'\["generation"\]\["bias"\] has the shapes \[\], but', generation={**down, "bias": ()})
    refused(ValueError, r'params\["inference"\]\["bias"\] is missing', inference={"w": up["w"]})
    refused(AssertionError, r"stimulus must be \(B, 4\)", z=z[0][:, :3])
    refused(AssertionError, r"stimulus must be \(B, 4\)", z=z[0][0])
    with pytest.raises(AssertionError, match=r"wake must be \(9,\), one for each step"):
        m.trajectory(net, params, jax.random.key(0), z, jnp.ones(8, bool))
