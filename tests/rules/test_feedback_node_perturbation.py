"""Node perturbation: its estimate's mean, its gradients by autodiff, its ridge by least squares, its theorems."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import READY, learner
from plasticity_jax.diagnostics.alignment import angle, feedback_rank
from plasticity_jax.layers import forward, init_params
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.ops.prng import fold_in
from plasticity_jax.rules.feedback import node_perturbation
from plasticity_jax.rules.feedback.node_perturbation import offline_feedback
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles.feedback import train
from tests.rules.test_feedback_credit import NET, SIZES, problem, run

KEY = jax.random.key(9)


def noise_of(run_key, steps, examples, widths, kind="gaussian"):
    """The rule's noise at each step of a learner, as a list of (T, B, n_i)."""

    @compiled
    def draw():
        flat = jax.lax.map(
            lambda t: stored_noise(fold_in(run_key, t), examples * sum(widths), jnp.float64, kind), jnp.arange(steps)
        )
        cuts = jnp.split(flat, np.cumsum([examples * n for n in widths])[:-1].tolist(), axis=1)
        return [cut.reshape(steps, examples, n) for cut, n in zip(cuts, widths, strict=True)]

    return [np.asarray(each) for each in draw()]


@pytest.mark.parametrize(("estimator", "noise"), [("sgd", "gaussian"), ("sgd", "rademacher"), ("ridge", "gaussian")])
def test_a_run_equals_the_numpy_loop(estimator, noise):
    params, examples = problem()
    rule = node_perturbation(NET, sigma=0.1, noise=noise, estimator=estimator, ridge=2.0)
    lr_fb = 0.1 if estimator == "sgd" else 1.0
    end, (losses, _) = run(rule, params, examples, 0.05, KEY, lr_fb)
    weights = (*(params["forward"][part] for part in ("w", "bias")), params["feedback"]["w_fb"])
    xi = noise_of(end.key, 60, 4, SIZES[1:-1], noise)
    options = {"lr": 0.05, "lr_fb": lr_fb, "sigma": 0.1, "ridge": 2.0, "xi": xi, "record": True}
    expected = train(estimator, *weights, *map(np.asarray, examples[:2]), **options)
    np.testing.assert_allclose(losses, expected["losses"], rtol=1e-9)
    for actual, expected_array in zip(end.params["feedback"]["w_fb"], expected["w_fb"], strict=True):
        np.testing.assert_allclose(actual, expected_array, rtol=0, atol=1e-9)
    if estimator == "ridge":  # equal to regularised least squares over all examples at once
        for i, actual in enumerate(end.params["feedback"]["w_fb"]):
            e = np.concatenate([step[i] for step in expected["errors"]])
            lam = np.concatenate([step[i] for step in expected["effects"]])
            rows = np.concatenate([e, np.sqrt(2.0) * np.eye(e.shape[1])])
            targets = np.concatenate([lam, np.zeros((e.shape[1], lam.shape[1]))])
            np.testing.assert_allclose(actual, np.linalg.lstsq(rows, targets, rcond=None)[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
def test_the_estimate_is_unbiased(noise, antithetic):
    """Linear readout and squared loss: E lam = dL/dh for every sigma, here a large one.

    The rule shows lam only through B's gradient, e^T (e B - lam), which is linear in it; its mean over 40,000 copies of
    one example is compared with that of the true lam. z-test, 5.2 sigma (Bonferroni): false alarm 18 * 2e-7 < 4e-6.
    """
    net, copies = mlp((4, 6, 3), ["tanh", "identity"]), 40_000
    params = init_params(jax.random.key(3), net)
    x, y = jnp.array([0.5, -1.0, 2.0, 0.3]), jnp.array([1.0, -0.7, 0.4])
    rule = node_perturbation(net, sigma=0.7, noise=noise, antithetic=antithetic)
    one = Example(x[None], y[None])
    sample = jax.jit(jax.vmap(lambda key: rule.update(params, rule.init(params, key, one), key, one)[0]))
    samples = np.asarray(sample(jax.random.split(jax.random.key(4), copies))["feedback"]["w_fb"][0])
    w, b = (np.asarray(group[-1]) for group in (params["forward"]["w"], params["feedback"]["w_fb"]))
    h = np.tanh(np.asarray(params["forward"]["w"][0]) @ x)
    e = w @ h - y
    expected = np.outer(e, b.T @ e - w.T @ e)
    error = samples.std(0) / copies**0.5
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(np.outer(e, w.T @ e))
    assert np.abs((samples.mean(0) - expected) / error).max() < 5.2


@pytest.mark.parametrize("pathway", ["chain", "direct"])
def test_sgd_descends_its_objective(pathway):
    """Updates of B: the gradient of 1/2 mean |e~ B - lam|^2, by autodiff, with e~ given."""
    params, examples = problem(pathway)
    batch = jax.tree.map(lambda a: a[0], examples)
    sigma = 0.3
    rule = node_perturbation(NET, sigma=sigma, noise="rademacher", pathway=pathway)
    updates, _, info = rule.update(params, rule.init(params, KEY, batch), KEY, batch)
    w, w_fb = params["forward"]["w"], params["feedback"]["w_fb"]
    flat = stored_noise(KEY, 4 * 11, jnp.float64, "rademacher")
    xi = [flat[:24].reshape(4, 6), flat[24:].reshape(4, 5)]

    def losses(size):
        h = batch.x
        for i in range(2):
            h = jnp.tanh(h @ w[i].T) + size * xi[i]
        return jnp.sum((h @ w[2].T - batch.y) ** 2, 1) / 2

    lam = [((losses(sigma) - losses(0.0)) / sigma)[:, None] * each for each in xi]
    h = forward(NET, params["forward"], batch.x).h
    e3 = h[3] - batch.y
    e2 = (e3 @ w_fb[1]) * (1 - h[2] ** 2)
    sources = [e2 if pathway == "chain" else e3, e3]
    for i in range(2):
        expected = jax.grad(lambda b, i=i: jnp.mean(jnp.sum((sources[i] @ b - lam[i]) ** 2, 1)) / 2)(w_fb[i])
        np.testing.assert_allclose(updates["feedback"]["w_fb"][i], expected, atol=1e-12)
    np.testing.assert_allclose(info.aux["output"], h[3], atol=1e-14)  # of the clean pass, as is the loss
    np.testing.assert_allclose(info.loss, jnp.mean(losses(0.0)), rtol=1e-14)


def test_weights_wait_for_the_warm_up_and_feedback_for_solutions():
    params, examples = problem(steps=7)
    rule = node_perturbation(NET, estimator="ridge", solve_every=3, warm_up=5)
    _, (_, path) = run(rule, params, examples, 0.05, KEY, 1.0)
    tops = [(params[group][leaf][0], path[group][leaf][0]) for group, leaf in (("forward", "w"), ("feedback", "w_fb"))]
    moved = [np.any(np.diff(np.concatenate([[start], path_of]), axis=0), axis=(1, 2)) for start, path_of in tops]
    np.testing.assert_array_equal(moved[0], [False] * 5 + [True] * 2)
    np.testing.assert_array_equal(moved[1], [False, False, True, False, False, True, False])
    batch = jax.tree.map(lambda a: a[0], examples)
    traces = rule.init(params, KEY, batch)
    ready = compiled(lambda steps: rule.update(params, traces._replace(steps=steps), KEY, batch)[2].ready)
    readiness = [ready(jnp.int32(steps)) for steps in (0, 2, 4, 5)]
    assert [bool(each["forward"]) for each in readiness] == [False, False, False, True]
    assert [bool(each["feedback"]) for each in readiness] == [False, True, False, True]
    always = node_perturbation(NET, estimator="ridge")
    assert always.update(params, traces, KEY, batch)[2].ready is READY


def test_a_singular_regression_stays_finite_in_float32():
    """One example a thousand times: V has rank one, plus rounding errors."""
    params, examples = problem(steps=1)
    params, examples = jax.tree.map(lambda a: a.astype(jnp.float32), (params, examples))
    examples = jax.tree.map(lambda a: jnp.broadcast_to(100 * a, (1000, *a.shape[1:])), examples)
    rule = node_perturbation(NET, estimator="ridge", ridge=1e-6)
    end, _ = run(rule, params, examples, 0.0, KEY, 1.0)
    assert all(np.all(np.isfinite(b)) for b in end.params["feedback"]["w_fb"])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("estimator", ["ridge", "offline"])
def test_small_dtypes_solve_in_float32(estimator, dtype):
    """B^ of 16 bits is, to a few roundings, the solution in float64 of the statistics of 16 bits."""
    linear = mlp(SIZES, ["identity"] * 3)
    params, examples = problem(steps=1)
    params, batch = jax.tree.map(lambda a: a.astype(dtype), (params, jax.tree.map(lambda a: a[0], examples)))
    rule = node_perturbation(linear, sigma=0.5, estimator=estimator, ridge=0.5)
    updates, traces, _ = rule.update(params, rule.init(params, KEY, batch), KEY, batch)
    top = slice(1, 2) if estimator == "offline" else slice(2)  # below it, the offline estimator has larger errors
    pairs = zip(params["feedback"]["w_fb"][top], updates["feedback"]["w_fb"][top], strict=True)
    for v, s, (b, update) in zip(traces.second, traces.cross[top], pairs, strict=True):
        assert update.dtype == dtype
        v, s, b, update = (np.asarray(leaf, float) for leaf in (v.total, s.total, b, update))
        eps = float(jnp.finfo(dtype).eps)
        expected = b - np.linalg.solve(v + (0.5 + eps * np.trace(v)) * np.eye(len(v)), s)
        np.testing.assert_allclose(update, expected, rtol=0, atol=2 * eps * np.abs(expected).max())
    assert all(np.all(np.isfinite(leaf)) for leaf in updates["feedback"]["w_fb"])


def test_while_some_weights_wait_the_others_learn_with_adam():
    """B learns alone in the warm-up and W between solutions: waiting weights and their moments do not change."""
    params, examples = problem(steps=4)
    rule = node_perturbation(NET, estimator="ridge", solve_every=2, warm_up=1)
    rates = {"forward": optax.adam(0.1), "feedback": optax.adam(0.1)}
    learn = learner(rule, optax.partition(rates, {"forward": "forward", "feedback": "feedback"}))
    state = learn.init(params, KEY, jax.tree.map(lambda a: a[0], examples))
    step = compiled(learn.step)
    for t in range(4):
        after, _ = step(state, jax.tree.map(lambda a, t=t: a[t], examples))
        for group, learns in (("forward", t >= 1), ("feedback", t % 2 == 1)):
            states = [s.opt_state.inner_states[group] for s in (state, after)]
            same = [
                np.array_equal(a, b)
                for before, now in ((state.params[group], after.params[group]), states)
                for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(now), strict=True)
            ]
            assert not any(same) if learns else all(same), (t, group)
        state = after


def test_bad_options_are_refused():
    for options, message in (
        ({"noise": "uniform"}, "noise='uniform' is not known"),
        ({"estimator": "lms"}, "estimator='lms' is not known; use one of sgd, ridge, offline"),
        ({"pathway": "fa"}, "pathway='fa' is not known"),
        ({"solve_every": 0}, "solve_every=0 must be at least 1 step"),
        ({"estimator": "offline"}, "is for chains of linear hidden layers; use 'ridge'"),
        ({"sigma": 0.0}, r"sigma=0 is outside \(0, inf\)"),
        ({"ridge": -1}, r"ridge=-1 is outside \[0, inf\)"),
        ({"forgetting": 1.01}, r"forgetting=1\.01 is outside \(0, 1\]"),
        ({"forgetting": jnp.zeros(())}, r"forgetting=0 is outside \(0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            node_perturbation(NET, **options)
    with pytest.raises(ValueError, match="needs a hidden layer"):
        node_perturbation(mlp((3, 2), ["identity"]))


# The theorems, with fixed weights: x and y normal and independent, B regressed on a stream of noise.


@functools.cache
def held(activations, sizes, samples, options=(), orthonormal=False, number=0):
    """``(errors |W - B| / |W|, traces, params)`` after that many examples, in batches of 512."""
    net = mlp(sizes, activations)
    params = init_params(jax.random.key(50 + number), net)
    w = tuple(a / 2**0.5 for a in params["forward"]["w"])
    if orthonormal:
        w = w[:1] + tuple(jnp.linalg.qr(a)[0] if a.shape[0] >= a.shape[1] else jnp.linalg.qr(a.T)[0].T for a in w[1:])
    params["forward"]["w"] = w
    rule = node_perturbation(net, **{"sigma": 1e-2, "ridge": 1e-6, "estimator": "ridge", **dict(options)})
    tx_free = learner(rule, _only_feedback())

    def body(state, t):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(60 + number), t))
        x, y = (jax.random.normal(key, (512, n)) for key, n in zip(keys, (sizes[0], sizes[-1]), strict=True))
        return tx_free.step(state, Example(x, y))[0], None

    def whole():
        example = Example(jnp.zeros((512, sizes[0])), jnp.zeros((512, sizes[-1])))
        state = tx_free.init(params, jax.random.key(70 + number), example)
        return jax.lax.scan(body, state, jnp.arange(samples // 512))[0]

    end = jax.jit(whole)()
    return errors(w, end.params["feedback"]["w_fb"]), end.traces, end.params


def _only_feedback():
    rates = {"forward": optax.set_to_zero(), "feedback": optax.sgd(1.0)}
    return optax.partition(rates, {"forward": "forward", "feedback": "feedback"})


def errors(w, w_fb):
    return np.array([np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(w[1:], w_fb, strict=True)])


def test_theorem_1_holds_for_one_hidden_layer():
    """Predicted sqrt((n_out + 2)(n_hidden + 1) / T) = .017 at 1e5; 60 seeds of a NumPy sketch stayed below .028."""
    error, _, _ = held(("tanh", "identity"), (8, 5, 3), 100_352)
    assert error[0] < 0.05
    few = held(("tanh", "identity"), (8, 5, 3), 6272)[0]
    assert few[0] > 2 * error[0]  # T^{-1/2}: four times as far


@pytest.mark.parametrize("estimator", ["ridge", "offline"])
def test_theorem_2_holds_for_a_linear_chain(estimator):
    """The widths do not fall after the first hidden layer. 60 seeds of a sketch: at most .046 (offline), .049."""
    error, traces, params = held(
        ("identity",) * 3, (6, 3, 4, 5), 131_072, (("estimator", estimator),), orthonormal=True
    )
    assert error.max() < {"ridge": 0.07, "offline": 0.05}[estimator]
    if estimator == "offline":
        w_fb = offline_feedback(traces.second[0].total, [s.total for s in traces.cross], 1e-6)
        np.testing.assert_allclose(errors(params["forward"]["w"], w_fb), error, rtol=1e-9)


def test_theorem_2_needs_full_rank():
    """A3 fails with four units above three outputs: the lower B stays wrong, its signal right; the rank shows it."""
    error, traces, params = held(("identity",) * 3, (8, 6, 4, 3), 100_352, (("estimator", "offline"),))
    assert error[0] > 0.3
    assert error[1] < 0.05
    _, ridged, _ = held(("identity",) * 3, (8, 6, 4, 3), 512, (("solve_every", 1000),))
    np.testing.assert_array_equal(feedback_rank(ridged), [3, 3])
    e3 = jax.random.normal(jax.random.key(5), (256, 3))
    w2, w3 = params["forward"]["w"][1:]
    b2, b3 = params["feedback"]["w_fb"]
    assert float(angle(e3 @ b3 @ b2, e3 @ w3 @ w2)) < 5
    assert len(traces.second) == 1


def test_b_becomes_w_in_a_nonlinear_chain_too():
    """tanh layers: B becomes W as lam = W^T e whatever the slope. A sketch had .034 at 1.3e5."""
    error, _, _ = held(("tanh", "tanh", "identity"), (6, 3, 4, 5), 262_144, (), orthonormal=True)
    assert error.max() < 0.06
