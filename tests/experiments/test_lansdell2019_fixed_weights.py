"""Predicted errors of the regression at fixed weights, against regressions in plain NumPy."""

import numpy as np
import pytest

from experiments.lansdell2019.fixed_weights import (
    Inherited,
    Layer,
    expected,
    inherited,
    lower_error,
    second_order,
    second_order_top,
    sigmoid_slopes,
)

M, N, T, RUNS = 3, 4, 400, 4000
SPREAD = np.linspace(0.5, 1.5, M)  # errors of unequal variance


def squared_error(w, b):
    return ((w - b) ** 2).sum() / (w**2).sum()


@pytest.mark.parametrize(("signs", "ridge", "sigma"), [(False, 0.0, 1e-4), (True, 0.0, 1e-4), (False, 150.0, 0.7)])
def test_error_of_one_layer(signs, ridge, sigma):
    """The mean over 4,000 regressions, within 4 %: four of its standard errors, which are asserted to be below 1 %."""
    rng = np.random.default_rng(1)
    w = rng.normal(size=(M, N))
    squares = []
    for _ in range(RUNS):
        e = rng.normal(size=(T, M)) * SPREAD
        xi = rng.choice([-1.0, 1.0], (T, N)) if signs else rng.normal(size=(T, N))
        rise = (((e + sigma * xi @ w.T) ** 2).sum(1) - (e**2).sum(1)) / 2  # squared loss, linear readout
        b = np.linalg.solve(e.T @ e + ridge * np.eye(M), e.T @ (rise[:, None] * xi / sigma))
        squares.append(squared_error(w, b))
    e = rng.normal(size=(200_000, M)) * SPREAD
    layer = Layer(w, e, e @ w, ((e @ w) ** 2).sum(1))
    want = expected(layer, np.array([T]), ridge, signs, second_order(w, sigma)).error[0] ** 2
    assert np.std(squares) / RUNS**0.5 < 0.01 * want
    np.testing.assert_allclose(np.mean(squares), want, rtol=0.04)


def two_hidden_layers(rng, size):
    """Weights, and layers with the activity of the top one, of 5-4-3-2 on random data."""
    w1, w2, w3 = rng.normal(size=(4, 5)), rng.normal(size=(3, 4)), rng.normal(size=(2, 3))
    x, y = rng.normal(size=(size, 5)), rng.normal(size=(size, 2))
    h1 = sigmoid(x @ w1.T)
    h2 = sigmoid(h1 @ w2.T)
    e = h2 @ w3.T - y
    upper = e @ w3
    lower = (upper * h2 * (1 - h2)) @ w2
    power = (upper**2).sum(1) + (lower**2).sum(1)
    layers = Layer(w2, upper * h2 * (1 - h2), lower, power), Layer(w3, e, upper, power)
    return (w2, w3), (h1, h2, e, y), layers


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def rise_of(weights, activity, xi1, xi2, sigma):
    """Rise of the loss by normal noise in both hidden layers, over sigma."""
    (w2, w3), (h1, _, e, y) = weights, activity
    noisy = sigmoid((h1 + sigma * xi1) @ w2.T) + sigma * xi2
    return (((noisy @ w3.T - y) ** 2).sum(1) - (e**2).sum(1)) / 2 / sigma


def test_slopes_of_the_sigmoid():
    u, step = np.linspace(-3, 3, 7), 1e-3
    ends = sigmoid_slopes(sigmoid(u + step)), sigmoid_slopes(sigmoid(u - step))
    first, second, third = sigmoid_slopes(sigmoid(u))
    np.testing.assert_allclose(first, (sigmoid(u + step) - sigmoid(u - step)) / 2 / step, atol=1e-6)
    for order, want in ((0, second), (1, third)):
        np.testing.assert_allclose((ends[0][order] - ends[1][order]) / 2 / step, want, atol=1e-6)


def test_terms_of_finite_noise_in_two_layers():
    """Simulation at single samples, with xi and -xi together, so that odd orders cancel."""
    rng, sigma, draws = np.random.default_rng(4), 0.02, 100_000
    weights, activity, layers = two_hidden_layers(rng, 3)
    extra, bias = second_order_top(*layers, sigmoid_slopes(activity[1]), sigma)
    one = np.zeros((2, 3))
    for sample in range(3):
        own = tuple(values[sample : sample + 1] for values in activity)
        lam = layers[1].credit[sample]
        xi1, xi2 = rng.normal(size=(draws, 4)), rng.normal(size=(draws, 3))
        linear = xi2 @ lam + xi1 @ layers[0].credit[sample]
        both = [rise_of(weights, own, s * xi1, s * xi2, sigma) * s for s in (1, -1)]
        excess = (xi2**2).sum(1) * (np.square(both).mean(0) - linear**2)
        off = (np.mean(both, 0) - linear)[:, None] * xi2
        terms = (excess - 2 * off @ lam) / sigma**2
        assert abs(terms.mean() - extra[sample] / sigma**2) < 4 * terms.std() / draws**0.5 + 1e-3
        assert terms.std() / draws**0.5 < 0.03 * abs(terms.mean())
        one += np.outer(layers[1].error[sample], off.mean(0)) / 3
    np.testing.assert_allclose(one, bias, atol=0.03 * np.abs(bias).max())


def test_error_at_the_top_of_two_layers():
    """Mean over 2,500 regressions, within 5 %: 3.5 standard errors; finite noise adds 17 % to the squared error."""
    sigma, squares = 0.25, []
    rng = np.random.default_rng(5)
    weights, activity, layers = two_hidden_layers(rng, 60)
    for _ in range(2500):
        pick = rng.integers(0, 60, T)
        xi1, xi2 = rng.normal(size=(T, 4)), rng.normal(size=(T, 3))
        rise = rise_of(weights, tuple(values[pick] for values in activity), xi1, xi2, sigma)
        e = layers[1].error[pick]
        squares.append(squared_error(weights[1], np.linalg.solve(e.T @ e, e.T @ (rise[:, None] * xi2))))
    terms = second_order_top(*layers, sigmoid_slopes(activity[1]), sigma)
    want = expected(layers[1], np.array([T]), 0.0, False, *terms).error[0] ** 2
    plain = expected(layers[1], np.array([T])).error[0] ** 2
    assert np.std(squares) / 2500**0.5 < 0.015 * want
    assert want > 1.15 * plain
    np.testing.assert_allclose(np.mean(squares), want, rtol=0.05)


def test_angle_is_that_of_the_spread():
    """B is W plus noise with the covariance of the formula; angles are between rows of credit."""
    rng = np.random.default_rng(2)
    w = rng.normal(size=(M, 200))  # many neurons: angles of rows hardly vary
    e = rng.normal(size=(20_000, M))
    credit = e @ w
    layer = Layer(w, e, credit, (credit**2).sum(1))
    want = expected(layer, np.array([100_000]))
    assert 1 < want.angle[0] < 20
    off = rng.normal(size=w.shape) * want.error[0] * np.sqrt((w**2).sum() / w.size)  # isotropic e, isotropic spread
    noisy_credit = e @ (w + off)
    cosine = (noisy_credit * credit).sum(1) / np.sqrt((noisy_credit**2).sum(1) * (credit**2).sum(1))
    np.testing.assert_allclose(np.degrees(np.arccos(cosine)).mean(), want.angle[0], rtol=0.1)


def test_lower_layer_inherits_the_errors_above():
    """The lower of two layers, on errors carried by the final B above: mean over 1,500 regressions, within 6 %."""
    rng = np.random.default_rng(3)
    upper = np.linalg.qr(rng.normal(size=(5, 4)))[0]  # well conditioned: the theory is that of small errors
    lower = np.linalg.qr(rng.normal(size=(6, 4)))[0].T

    def sample(size):
        e, slope = rng.normal(size=(size, 5)), rng.uniform(0.3, 1, (size, 4))
        return e, slope, e @ upper, (e @ upper * slope) @ lower

    squares, count = [], 4000
    for _ in range(1500):
        e, slope, above, below = sample(count)
        xi_above, xi_below = rng.normal(size=above.shape), rng.normal(size=below.shape)
        rise = ((above * xi_above).sum(1) + (below * xi_below).sum(1))[:, None]
        b = np.linalg.solve(e.T @ e, e.T @ (rise * xi_above))
        e = e @ b * slope
        squares.append(squared_error(lower, np.linalg.solve(e.T @ e, e.T @ (rise * xi_below))))
    e, slope, above, below = sample(40_000)
    power = (above**2).sum(1) + (below**2).sum(1)
    layers = Layer(lower, above * slope, below, power), Layer(upper, e, above, power)
    own = expected(layers[0], np.array([count])).error
    want = lower_error(own, np.array([count]), 0, "offline", inherited(*layers))[0] ** 2
    assert np.std(squares) / 1500**0.5 < 0.02 * want
    assert want > 1.1 * own[0] ** 2
    np.testing.assert_allclose(np.mean(squares), want, rtol=0.06)


@pytest.mark.parametrize("dropped", [0, 300])
def test_weights_of_samples_whose_errors_stay(dropped):
    """Sample s of the layer above is in the mean of D_t over dropped < t <= T with a weight of sum 1 / t."""
    total = 4000
    t = np.arange(1, total + 1)
    shares = np.where(t[None] >= np.maximum(t, dropped + 1)[:, None], 1 / t[None], 0).sum(1) / (total - dropped)
    own = np.where(t > dropped, 1 / (total - dropped), 0)
    for above, want in ((Inherited(1.0, 0.0), own @ shares), (Inherited(0.0, 1.0), shares @ shares)):
        squared = lower_error(np.zeros(1), np.array([total]), dropped, "ridge", above)[0] ** 2
        np.testing.assert_allclose(squared, want, rtol=0.02)
    alone = lower_error(np.array([0.3]), np.array([total]), dropped, "ridge", Inherited(0.0, 0.0))
    np.testing.assert_allclose(alone, 0.3 * (total / (total - dropped)) ** 0.5)  # dropped samples do not count
