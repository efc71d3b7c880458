"""What theory expects of the regression at fixed weights, against regressions in plain NumPy."""

import numpy as np
import pytest

from experiments.lansdell2019.fixed_weights import Inherited, Layer, expected, inherited, lower_error, second_order

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
        found = np.linalg.solve(e.T @ e + ridge * np.eye(M), e.T @ (rise[:, None] * xi / sigma))
        squares.append(squared_error(w, found))
    e = rng.normal(size=(200_000, M)) * SPREAD
    layer = Layer(w, e, e @ w, ((e @ w) ** 2).sum(1))
    want = expected(layer, np.array([T]), ridge, signs, second_order(w, sigma)).error[0] ** 2
    assert np.std(squares) / RUNS**0.5 < 0.01 * want
    np.testing.assert_allclose(np.mean(squares), want, rtol=0.04)


def test_angle_is_that_of_the_spread():
    """B = W plus noise of the covariance that the formula has; angles between rows of credit."""
    rng = np.random.default_rng(2)
    w = rng.normal(size=(M, 200))  # many neurons: angles of rows hardly vary
    e = rng.normal(size=(20_000, M))
    credit = e @ w
    layer = Layer(w, e, credit, (credit**2).sum(1))
    want = expected(layer, np.array([100_000]))
    assert 1 < want.angle[0] < 20
    off = rng.normal(size=w.shape) * want.error[0] * np.sqrt((w**2).sum() / w.size)  # isotropic e, isotropic spread
    given = e @ (w + off)
    cosine = (given * credit).sum(1) / np.sqrt((given**2).sum(1) * (credit**2).sum(1))
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
        found = lower_error(np.zeros(1), np.array([total]), dropped, "ridge", above)[0] ** 2
        np.testing.assert_allclose(found, want, rtol=0.02)
    alone = lower_error(np.array([0.3]), np.array([total]), dropped, "ridge", Inherited(0.0, 0.0))
    np.testing.assert_allclose(alone, 0.3 * (total / (total - dropped)) ** 0.5)  # only what is kept counts
