"""Measurements of the experiments on impression learning, compared with NumPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bredenberg2021 import common as shared
from plasticity_jax.networks.two_stream import Sample, draw, init_params, trajectory, two_stream
from plasticity_jax.tasks.ou_mixture import ou_mixture, ou_moments
from plasticity_jax.typing import Example
from tests.laws.common import compiled


def test_the_loss_is_the_authors_in_their_own_squares():
    net = two_stream((4, 3), (0.1, 0.2), (0.3, 0.5))
    key = jax.random.key(0)
    params = init_params(key, net)
    wake = jnp.array([True, True, False, False, True])
    z = jax.random.normal(key, (5, 2, 4))
    walk = compiled(lambda params: trajectory(net, params, key, z, wake))(params)
    loss = np.asarray(shared.authors_loss(net, walk, wake))
    w, d_s, d_r = (np.asarray(leaf, np.float64) for leaf in _matrices(params))
    s, r = (np.asarray(leaf, np.float64) for leaf in walk.x)
    for t in range(5):
        for b in range(2):
            before = r[t - 1, b] if t else np.zeros(3)
            onset = bool(wake[t]) and t > 0 and not bool(wake[t - 1])
            predicted = before if onset else d_r * before
            generated = ((r[t, b] - predicted) ** 2).sum() / 0.5**2 + ((s[t, b] - d_s @ r[t, b]) ** 2).sum() / 0.3**2
            inferred = ((r[t, b] - np.tanh(w @ s[t, b])) ** 2).sum() / 0.2**2
            inferred += ((s[t, b] - np.asarray(z[t, b])) ** 2).sum() / 0.1**2
            expected = (generated - inferred) * (1 if wake[t] else -1)
            assert loss[t, b] == pytest.approx(expected, rel=1e-9)


def test_r_squared_and_pca_agree_with_a_singular_value_decomposition():
    data = np.random.default_rng(0).standard_normal((30, 4, 6)) @ np.diag([3, 2, 1, 0.5, 0.2, 0.1]) + 1
    flat = data.reshape(-1, 6)
    middle = flat - flat.mean(0)
    u, s, v = np.linalg.svd(middle, full_matrices=False)
    best = (u[:, :2] * s[:2]) @ v[:2] + flat.mean(0)
    expected = 1 - ((flat - best) ** 2).sum() / (middle**2).sum()
    assert shared.r_squared(jnp.asarray(best).reshape(data.shape), jnp.asarray(data)) == pytest.approx(
        expected, abs=1e-5
    )
    assert shared.pca_r_squared(jnp.asarray(data), 2) == pytest.approx(expected, abs=1e-6)


def test_decoding_generalises_across_streams_and_ignores_scale():
    key_y, key_mix, key_noise = jax.random.split(jax.random.key(0), 3)
    y = jax.random.normal(key_y, (200, 4, 2))
    noise = jax.random.normal(key_noise, (200, 4, 2))
    mixed = y @ jax.random.normal(key_mix, (2, 2))
    assert shared.decoding(1e-3 * mixed, y) == pytest.approx(1, abs=1e-5)  # a ridge of 1e-8
    assert shared.decoding(mixed * jnp.array([1, 1, -1, -1])[:, None], y) < 0  # held-out streams have the opposite sign
    # y + n of equal variances: R2 = 1/2; 400 samples to fit and 400 to test: standard error 0.035 of either channel
    assert shared.decoding(y + noise, y) == pytest.approx(0.5, abs=0.15)


def test_correlation_is_the_mean_of_numpys():
    a, b = np.random.default_rng(0).standard_normal((2, 20, 3, 4))
    b = b + np.arange(4) * a
    each = [np.corrcoef(a[..., i].ravel(), b[..., i].ravel())[0, 1] for i in range(4)]
    assert shared.correlation(jnp.asarray(a), jnp.asarray(b)) == pytest.approx(np.mean(each), abs=1e-6)


def test_autocorrelation_of_a_cosine_and_of_the_latents():
    t = np.arange(100 + 80)
    waves = jnp.stack([jnp.cos(2 * jnp.pi * (t / 20)), jnp.sin(2 * jnp.pi * (t / 20))], -1)[:, None]
    autocorrelations = shared.autocorrelation(waves, (0, 5, 10, 80))
    np.testing.assert_allclose(autocorrelations, [1, 0, -1, 1], atol=1e-5)
    stream = ou_mixture(2, 2, batch=500)
    y = compiled(lambda key: stream.take(stream.init(key), 60)[1].y)(jax.random.key(0))
    expected = float(ou_moments(0.1).decay) ** 20
    # 1,000 independent series, each worth one sample at least: standard error below 0.03
    assert shared.autocorrelation(y, (20,))[0] == pytest.approx(expected, abs=0.1)


def test_a_network_that_knows_the_world_passes_every_test():
    """The network has D_s = A / c, W its inverse at a scale c where tanh is linear, and dreams like the latents."""
    net, c = two_stream((4, 2), (0.001, 0.001), (0.001, 0.05 * float(ou_moments(0.1).innovation))), 0.05
    stream = ou_mixture(2, 4, batch=64)
    state, examples = stream.take(stream.init(jax.random.key(0)), 300)
    params = init_params(jax.random.key(1), net, transition=float(ou_moments(0.1).decay))
    params["inference"]["w"] = (c * jnp.linalg.pinv(state.mixing),)
    params["generation"]["w"] = (state.mixing / c,)
    measure = compiled(lambda params, examples: shared.measurements(net, params, jax.random.key(2), examples, 2))
    metrics = jax.tree.map(np.asarray, measure(params, examples))
    assert metrics["r2"] > 0.97
    assert metrics["decoding"] > 0.95
    assert metrics["decoding_noiseless"] > 0.999
    # 64 streams of 2 latents, 140 steps of a time constant of 40: about 250 samples of a variance, 9 % of it
    assert metrics["dispersion"] == pytest.approx(1, abs=0.4)
    np.testing.assert_allclose(metrics["acf_stimulus"], float(ou_moments(0.1).decay) ** np.array(shared.LAGS), atol=0.2)
    np.testing.assert_allclose(metrics["acf_dream"], float(ou_moments(0.1).decay) ** np.array(shared.LAGS), atol=0.2)
    assert metrics["alternating"] == pytest.approx(
        (metrics["alternating_wake"] + metrics["alternating_sleep"]) / 2, rel=1e-6
    )


def test_every_number_is_of_its_own_walk(monkeypatch):
    """Made-up walks differ by their phases; metrics are from whole cycles after the first, and from settled dreams."""
    net, period, rng = two_stream((4, 2), (0.1, 0.2), (0.3, 0.5)), 3, np.random.default_rng(2)
    params = init_params(jax.random.key(0), net, transition=0.7)
    params["inference"]["w"] = (jnp.asarray(rng.normal(size=(2, 4))),)
    z, y = rng.normal(size=(250, 3, 4)), rng.normal(size=(250, 3, 2))
    fixed = [tuple(rng.normal(size=(250, 3, n)) for n in net.sizes) for _ in range(6)]

    def walk(wake):
        on, off = wake[:, None, None], 1 - wake[:, None, None]
        leaves = [tuple(on * a + off * b for a, b in zip(*fixed[i : i + 2], strict=True)) for i in (0, 2, 4)]
        return Sample(*leaves, (), (), None)

    monkeypatch.setattr(shared, "trajectory", lambda net, params, key, z, wake: walk(jnp.asarray(wake, float)))
    monkeypatch.setattr(shared, "log_q", lambda net, walk: jnp.sum(walk.x[1] * walk.inferred[1], -1))
    monkeypatch.setattr(shared, "log_p", lambda net, walk: jnp.sum(walk.x[0] * walk.generated[0], -1))
    monkeypatch.setattr(shared, "decoding", lambda features, targets: jnp.sum(features * targets))
    args = net, params, jax.random.key(0), Example(jnp.asarray(z), jnp.asarray(y)), period
    metrics = compiled(lambda: shared.measurements(*args))()

    t, used = np.arange(250), slice(6, 246)  # 250 is 41 cycles of 6, and 4
    wakes = t >= 0, t % 6 < 3, t == 0
    awake, phases, asleep = (walk(wake.astype(float)) for wake in wakes)
    constants = 4 * np.log(0.3 / 0.1) + 2 * np.log(0.5 / 0.2)

    def losses(walk, wake):
        energy = (walk.x[1] * walk.inferred[1]).sum(-1) - (walk.x[0] * walk.generated[0]).sum(-1) - constants
        return (2 * np.where(wake, 1, -1)[:, None] * energy)[used]

    each = losses(phases, wakes[1]).mean(1)
    r, stimuli = awake.x[1][used], z[used]
    total = stimuli.var((0, 1)).sum()
    follows = [np.corrcoef(r[..., i].ravel(), phases.x[1][used][..., i].ravel())[0, 1] for i in range(2)]
    dream = [x[160:] for x in asleep.x]
    expected = {
        "wake": losses(awake, wakes[0]).mean(),
        "alternating": each.mean(),
        "alternating_wake": each[wakes[1][used]].mean(),
        "alternating_sleep": each[~wakes[1][used]].mean(),
        "r2": 1 - ((awake.generated[0][used] - stimuli) ** 2).mean((0, 1)).sum() / total,
        "decoding": (r * y[used]).sum(),
        "decoding_noiseless": (np.tanh(stimuli @ np.asarray(params["inference"]["w"][0]).T) * y[used]).sum(),
        "transition": 0.7,
        "correlation": np.mean(follows),
        "dispersion": dream[0].var((0, 1)).sum() / total,
        "trace_stimulus": stimuli[:400, 0, 0],
        "trace_reconstruction": awake.generated[0][used][:400, 0, 0],
        "trace_wake": r[:400, 0, 0],
        "trace_alternating": phases.x[1][used][:400, 0, 0],
        "scatter_stimulus": [z[6 + 32 * i, j, k] for i in range(8) for j in range(3) for k in range(4)],
        "scatter_reconstruction": [
            awake.generated[0][6 + 32 * i, j, k] for i in range(8) for j in range(3) for k in range(4)
        ],
    }
    for name, x in (("wake", r), ("stimulus", stimuli), ("dream", dream[1])):
        n = len(x) - 80
        pairs = [(x[:n], x[lag : lag + n]) for lag in range(0, 81, 4)]
        expected[f"acf_{name}"] = [(a * b).sum() / ((a * a).sum() * (b * b).sum()) ** 0.5 for a, b in pairs]
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-7, atol=1e-9, err_msg=name)


def test_slopes_of_the_transition_are_those_of_a_plain_loop():
    """Losses awake and asleep in NumPy with the same noise; slopes by central differences of a shift of all D_r."""
    net, rng = two_stream((4, 3), (0.3, 0.2), (0.4, 0.5)), np.random.default_rng(5)
    params = init_params(jax.random.key(0), net, 0.6, jnp.float64)
    params["generation"]["transition"] = jnp.asarray([0.6, 0.8, -0.3])
    key, z = jax.random.key(3), rng.normal(size=(9, 2, 4))
    wake = np.array([1, 1, 0, 0, 0, 1, 1, 0, 0], bool)
    steps = jnp.arange(9, dtype=jnp.uint32)
    drawn = compiled(jax.vmap(lambda t: draw(net, jax.random.fold_in(key, t), 2, jnp.float64)))(steps)
    noise = list(zip(*map(np.asarray, drawn), strict=True))
    w, d_s, d_r = map(np.asarray, _matrices(params))

    def losses(shift):
        r, awake_before, totals = np.zeros((2, 3)), True, {True: 0.0, False: 0.0}
        for t in range(9):
            xi, eta = noise[t]
            prior = r if wake[t] and not awake_before else (d_r + shift) * r
            if wake[t]:
                s = z[t] + 0.3 * xi
                r = np.tanh(s @ w.T) + 0.2 * eta
            else:
                r = prior + 0.5 * eta
                s = r @ d_s.T + 0.4 * xi
            inferred = ((s - z[t]) ** 2).sum(1) / 0.3**2 + ((r - np.tanh(s @ w.T)) ** 2).sum(1) / 0.2**2
            generated = ((s - r @ d_s.T) ** 2).sum(1) / 0.4**2 + ((r - prior) ** 2).sum(1) / 0.5**2
            totals[bool(wake[t])] += (generated - inferred).mean() / 2 * (1 if wake[t] else -1) / 9
            awake_before = wake[t]
        return np.array([totals[True], totals[False]])

    h = 1e-5
    expected = 0.5**2 * (losses(h) - losses(-h)) / (2 * h) / 3
    slopes = compiled(lambda params: shared.transition_slopes(net, params, key, jnp.asarray(z), jnp.asarray(wake)))(
        params
    )
    assert (np.abs(expected) > 1e-3).all()
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


def _matrices(params):
    return params["inference"]["w"][0], params["generation"]["w"][0], params["generation"]["transition"]
