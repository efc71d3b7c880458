"""The recurrent rules of the feedback family: against autodiff, against loops over pairs, and what B becomes."""

import itertools
import math
from statistics import NormalDist

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks import vanilla_rnn as vr
from plasticity_jax.networks.vanilla_rnn import vanilla_rnn
from plasticity_jax.rules.feedback import (
    recurrent_backprop,
    recurrent_feedback_alignment,
    recurrent_node_perturbation,
    truncated_to_one_step,
)
from plasticity_jax.rules.feedback.recurrent_common import WindowTraces, carry_back
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles.feedback_recurrent import credit, gradients, moments, run
from tests.rules.helpers import close, differ

N_IN, N, N_OUT = 2, 5, 3


def given(steps, streams=2, seed=0):
    """Params with biases and a carried activity that are not zero, and a window."""
    rng = np.random.default_rng(seed)
    params = vr.init_params(jax.random.key(seed), N_IN, N, N_OUT)
    params["forward"]["bias"] = jnp.asarray(0.3 * rng.standard_normal(N))
    params["forward"]["bias_out"] = jnp.asarray(0.3 * rng.standard_normal(N_OUT))
    x, y = rng.standard_normal((streams, steps, N_IN)), rng.standard_normal((streams, steps, N_OUT))
    return params, jnp.asarray(rng.standard_normal((streams, N))), Example(jnp.asarray(x), jnp.asarray(y))


def loss_of(weights, h, batch, phi):
    """Mean over the batch of the sum over the window, from the equations."""
    total = 0
    for t in range(batch.x.shape[1]):
        h = phi(batch.x[:, t] @ weights["u"].T + h @ weights["w"].T + weights["bias"])
        total += 0.5 * jnp.sum((h @ weights["v"].T + weights["bias_out"] - batch.y[:, t]) ** 2) / len(h)
    return total


PHI = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "identity": lambda v: v}


@pytest.mark.parametrize(
    ("steps", "activation"), [(1, "tanh"), (7, "tanh"), (20, "tanh"), (4, "relu"), (4, "sigmoid"), (4, "identity")]
)
def test_backprop_is_autodiff_through_the_window(steps, activation):
    params, h, batch = given(steps)
    rule = recurrent_backprop(vanilla_rnn(activation))
    updates, traces, info = compiled(rule.update)(params, WindowTraces(h), jax.random.key(0), batch)
    loss, want = compiled(jax.value_and_grad(lambda w: loss_of(w, h, batch, PHI[activation])))(params["forward"])
    jax.tree.map(close, updates["forward"], want)
    np.testing.assert_allclose(info.loss, loss)
    assert not updates["feedback"]["w_fb"].any()
    np.testing.assert_allclose(
        info.aux["output"][:, -1], traces.h @ params["forward"]["v"].T + params["forward"]["bias_out"]
    )


@pytest.mark.parametrize("steps", [1, 5])
def test_feedback_alignment_is_the_loop_over_pairs(steps):
    params, h, batch = given(steps)
    rule = recurrent_feedback_alignment(vanilla_rnn())
    updates, _, _ = compiled(rule.update)(params, WindowTraces(h), jax.random.key(0), batch)
    weights, back = jax.tree.map(np.asarray, (params["forward"], params["feedback"]["w_fb"]))
    paths = [run(weights, *each) for each in zip(np.asarray(h), np.asarray(batch.x), np.asarray(batch.y), strict=True)]
    loops = [gradients(weights, path, credit(weights, path, back)) for path in paths]
    for name in weights:
        close(updates["forward"][name], np.mean([loop[name] for loop in loops], 0))
    if steps > 1:
        exact, _, _ = compiled(recurrent_backprop(vanilla_rnn()).update)(
            params, WindowTraces(h), jax.random.key(0), batch
        )
        differ(updates["forward"]["w"], exact["forward"]["w"])


def test_one_step_carries_the_activity_on():
    """Two windows of the rule are two windows of the network, and no credit passes between them."""
    params, h, batch = given(6)
    rule = truncated_to_one_step(vanilla_rnn())
    halves = [jax.tree.map(lambda leaf, part=part: leaf[:, part], batch) for part in (slice(3), slice(3, 6))]
    update = compiled(rule.update)
    whole, end, _ = update(params, WindowTraces(h), jax.random.key(0), batch)
    first, traces, _ = update(params, WindowTraces(h), jax.random.key(0), halves[0])
    second, traces, _ = update(params, traces, jax.random.key(0), halves[1])
    close(traces.h, end.h)
    jax.tree.map(lambda a, b, c: close(a + b, c), first["forward"], second["forward"], whole["forward"])


def one_stream(steps=4):
    params, h, batch = given(steps, streams=1, seed=1)
    weights, back = jax.tree.map(np.asarray, (params["forward"], params["feedback"]["w_fb"]))
    path = run(weights, np.asarray(h)[0], np.asarray(batch.x)[0], np.asarray(batch.y)[0])
    return params, h, batch, path, credit(weights, path, back)


def test_the_sweep_of_signs_is_the_sum_over_pairs_on_average():
    """All 2^S signs: the mean of eta^T eta is the sum over pairs of delta_{t,j}^T delta_{t,j}, exactly."""
    params, _, _, path, delta = one_stream()
    signs = jnp.asarray(list(itertools.product([-1.0, 1.0], repeat=4))).T  # (S, 16), a stream for each choice
    start = jnp.asarray(np.array(path.error) @ params["forward"]["v"])
    slope = jnp.broadcast_to(jnp.asarray(path.slope)[:, None], (4, 16, N))
    eta = carry_back(signs[..., None] * start[:, None], slope, params["feedback"]["w_fb"])
    want, _ = moments(delta, delta, 0)
    close(jnp.einsum("sbi,sbj->ij", eta, eta) / 16, want)
    differ(eta[:, -1].T @ eta[:, -1], want)  # one choice, all +1, is another matter


def test_what_b_is_regressed_on_is_the_gradient_of_later_losses():
    """C over keys: mean within z of sum over j <= t of delta_{t,j}^T dL^t/dh^{j-1}, false alarm 1e-4.

    The bias of order sigma^2, 1e-4 of the gradient, is below a tenth of the standard errors.
    """
    params, h, batch, path, delta = one_stream()
    rule = recurrent_node_perturbation(vanilla_rnn(), sigma=1e-2, p=0.3, estimator="ridge")
    traces = rule.init(params, jax.random.key(0), batch)._replace(h=h)

    @jax.jit
    def sample(keys):
        return jax.vmap(lambda key: rule.update(params, traces, key, batch)[1].cross.total)(keys)

    samples = np.asarray(sample(jax.random.split(jax.random.key(5), 40_000)))
    weights = jax.tree.map(np.asarray, params["forward"])
    exact = credit(weights, path, weights["w"])  # dL^t/dv^j
    lam = exact @ weights["w"]  # dL^t/dh^{j-1}
    _, want = moments(delta, lam, 1)
    error = samples.std(0) / math.sqrt(len(samples))
    z = np.abs(samples.mean(0) - want) / error
    assert z.max() < NormalDist().inv_cdf(1 - 1e-4 / (2 * z.size))
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(want)
    differ(want, moments(delta, exact, 0)[1], 0.3)  # the authors' index


def learned(windows, streams=100, steps=4, n=6, **options):
    """B after many windows of random inputs and targets, all weights held, and what it is to be."""
    key_params, key_batch, key_run = jax.random.split(jax.random.key(11), 3)
    params = vr.init_params(key_params, 2, n, n)
    params["forward"]["v"] = jax.random.orthogonal(key_params, n)  # errors reach every direction alike
    rule = recurrent_node_perturbation(vanilla_rnn(), estimator="ridge", **options)

    def batch(t):
        key_x, key_y = jax.random.split(jax.random.fold_in(key_batch, t))
        return Example(jax.random.normal(key_x, (streams, steps, 2)), jax.random.normal(key_y, (streams, steps, n)))

    def body(carry, t):
        w_fb, traces = carry
        at = {**params, "feedback": {"w_fb": w_fb}}
        updates, traces, _ = rule.update(at, traces, jax.random.fold_in(key_run, t), batch(t))
        return (w_fb - updates["feedback"]["w_fb"], traces), None

    start = params["feedback"]["w_fb"], rule.init(params, key_run, batch(0))
    (w_fb, _), _ = jax.jit(lambda: jax.lax.scan(body, start, jnp.arange(windows)))()
    path = vr.trajectory(vanilla_rnn(), params["forward"], jnp.zeros((streams, n)), jnp.swapaxes(batch(0).x, 0, 1))
    return np.asarray(w_fb), np.asarray(params["forward"]["w"]), np.asarray(path.slope)


def test_b_becomes_w():
    w_fb, w, _ = learned(1000, ridge=300.0, forgetting=0.998)
    assert np.linalg.norm(w_fb - w) < 0.1 * np.linalg.norm(w)


def test_the_authors_rule_makes_b_diagonal():
    """Noise of step j, seen by delta_{t,j} = phi'^j dL^t/dh^j: B is p E[phi'] / E[phi'^2] on the diagonal, not W."""
    w_fb, w, slope = learned(1000, ridge=10.0, forgetting=0.998, legacy=True)
    diagonal = np.diag(0.1 * slope.mean((0, 1)) / (slope**2).mean((0, 1)))
    assert np.linalg.norm(w_fb - diagonal) < 0.2 * np.linalg.norm(diagonal)
    assert np.linalg.norm(w_fb - w) > 0.9 * np.linalg.norm(w)


def test_warm_up_learns_b_alone():
    params, _, batch = given(4)
    rule = recurrent_node_perturbation(vanilla_rnn(), warm_up=2)
    traces, update = rule.init(params, jax.random.key(0), batch), compiled(rule.update)
    for window in range(4):
        updates, traces, info = update(params, traces, jax.random.key(window), batch)
        moved = [bool(leaf.any()) for leaf in jax.tree.leaves(updates["forward"])]
        assert moved == [window >= 2] * len(moved)
        assert bool(info.ready) == (window >= 2)
        assert updates["feedback"]["w_fb"].any()


def test_clip_bounds_each_entry():
    params, _, batch = given(4)
    changes = []
    for clip in (None, 0.05):
        rule = recurrent_node_perturbation(vanilla_rnn(), clip=clip)
        traces = rule.init(params, jax.random.key(0), batch)
        changes.append(compiled(rule.update)(params, traces, jax.random.key(3), batch)[0]["feedback"]["w_fb"])
    assert np.abs(changes[0]).max() > 0.05
    np.testing.assert_array_equal(changes[1], np.clip(changes[0], -0.05, 0.05))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"estimator": "offline"}, "'offline' is not known; use 'sgd' or 'ridge'"),
        ({"p": 0.0}, "p=0 is outside"),
        ({"p": 1.5}, "p=1.5 is outside"),
        ({"warm_up": -1}, "warm_up=-1"),
        ({"solve_every": 0}, "solve_every=0"),
        ({"estimator": "ridge", "clip": 1.0}, "leave clip out"),
    ],
)
def test_what_node_perturbation_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        recurrent_node_perturbation(vanilla_rnn(), **options)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda params, batch: (params, Example(batch.x[:, 0], batch.y[:, 0])), "a batch holds windows"),
        (lambda params, batch: (params, batch._replace(y=batch.y[:, 1:])), r"batch.y must be \(B, S, n_out\)"),
        (lambda params, batch: (params, batch._replace(x=batch.x[..., 1:])), "u has n_in=2"),
        (lambda params, batch: ({**params, "feedback": {"w_fb": jnp.ones((3, 5))}}, batch), r"must be \(n, n\)"),
    ],
)
@pytest.mark.parametrize("make", [recurrent_backprop, recurrent_node_perturbation])
def test_shapes_that_do_not_fit(make, change, match):
    params, _, batch = given(4)
    with pytest.raises(AssertionError, match=match):
        make(vanilla_rnn()).init(*(lambda p, b: (p, jax.random.key(0), b))(*change(params, batch)))


def test_carried_activity_of_another_batch_is_refused():
    params, h, batch = given(4)
    with pytest.raises(AssertionError):
        recurrent_backprop(vanilla_rnn()).update(params, WindowTraces(h[:1]), jax.random.key(0), batch)
    chex.assert_shape(h, (2, N))
