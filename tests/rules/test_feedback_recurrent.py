"""Rules that learn by windows: against autodiff and loops over pairs, the limit of B, and refusals."""

import itertools
import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import cells
from plasticity_jax.base import learner
from plasticity_jax.cells.window import WindowTraces, carry_back, run_window, time_first
from plasticity_jax.rules.feedback import (
    recurrent_feedback_alignment,
    recurrent_node_perturbation,
    truncated_to_one_step,
)
from plasticity_jax.rules.online import bptt
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import feedback_recurrent as oracle
from tests.oracles.feedback_recurrent import credit, flat, gradients, moments, run
from tests.rules.helpers import close, differ

N_IN, N, N_OUT = 2, 5, 3
KEY = jax.random.key(0)


def vanilla(activation="tanh", n_in=N_IN, n=N, n_out=N_OUT):
    return cells.leaky(n_in, n, n_out, alpha=1.0, activation=activation, loss="squared")


CELLS = {
    "vanilla": (vanilla(), oracle.leaky()),
    "gru": (cells.gru(N_IN, N, N_OUT, loss="squared"), oracle.gru),
}
BOTH = pytest.mark.parametrize("name", CELLS)


def windowed(cell):
    return bptt(cell, window=None)


RULES = {
    "bptt": windowed,
    "alignment": recurrent_feedback_alignment,
    "one step": truncated_to_one_step,
    "perturbation": recurrent_node_perturbation,
    "ridge": lambda cell: recurrent_node_perturbation(cell, estimator="ridge"),
}


def given(cell, steps, streams=2, seed=0):
    """Params with biases and a carried state that are not zero, and a window."""
    rng = np.random.default_rng(seed)
    params = {**cells.init_params(jax.random.key(seed), cell), "feedback": cells.init_feedback(KEY, cell)}
    forward = params["forward"]
    forward["w"] = forward["w"].at[..., -1].set(0.3 * rng.standard_normal(forward["w"].shape[:2]))
    forward["w_out"] = forward["w_out"].at[:, -1].set(0.3 * rng.standard_normal(N_OUT))
    x, y = rng.standard_normal((streams, steps, N_IN)), rng.standard_normal((streams, steps, N_OUT))
    state = jnp.asarray(rng.standard_normal((streams, len(cell.variables), N)))
    return params, state, Example(jnp.asarray(x), jnp.asarray(y))


def loss_of(forward, state, batch, phi, alpha=None):
    """The mean over the batch of the sum over the window, from the equations of the leaky network."""
    total, h, one = 0, state[:, 0], jnp.ones((len(state), 1))
    alpha = 1.0 if alpha is None else forward["own"]["alpha"]
    for t in range(batch.x.shape[1]):
        v = jnp.concatenate([h, batch.x[:, t], one], 1) @ forward["w"][0].T
        h = (1 - alpha) * h + alpha * phi(v)
        total += 0.5 * jnp.sum((jnp.concatenate([h, one], 1) @ forward["w_out"].T - batch.y[:, t]) ** 2) / len(h)
    return total


PHI = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "identity": lambda v: v, "sin": jnp.sin}


@pytest.mark.parametrize(
    ("steps", "activation"), [(1, "tanh"), (7, "tanh"), (20, "tanh"), (4, "relu"), (4, "sigmoid"), (4, "sin")]
)
def test_bptt_of_windows_equals_autodiff(steps, activation):
    cell = vanilla(jnp.sin if activation == "sin" else activation)
    params, state, batch = given(cell, steps)
    updates, traces, info = compiled(windowed(cell).update)(params, WindowTraces(state), KEY, batch)
    loss, expected = compiled(jax.value_and_grad(lambda w: loss_of(w, state, batch, PHI[activation])))(
        params["forward"]
    )
    jax.tree.map(close, updates["forward"], expected)
    np.testing.assert_allclose(info.loss, loss)
    assert bool(info.ready)
    assert not updates["feedback"]["w_back"].any()
    assert updates["feedback"]["w_back"].shape == (1, N, N)
    w_out = params["forward"]["w_out"]
    np.testing.assert_allclose(info.aux["output"][:, -1], traces.state[:, 0] @ w_out[:, :-1].T + w_out[:, -1])


def test_own_parameters_learn():
    cell = cells.leaky(N_IN, N, N_OUT, alpha=0.4, loss="squared", learn=("alpha",))
    params, state, batch = given(cell, 4)
    expected = compiled(jax.grad(lambda w: loss_of(w, state, batch, jnp.tanh, alpha=True)))(params["forward"])
    as_exact = {**params, "feedback": {"w_back": params["forward"]["w"][:, :, :N]}}
    for rule in (windowed, recurrent_feedback_alignment):
        updates = compiled(rule(cell).update)(as_exact, WindowTraces(state), KEY, batch)[0]["forward"]
        jax.tree.map(close, updates, expected)
    other = compiled(truncated_to_one_step(cell).update)(params, WindowTraces(state), KEY, batch)[0]["forward"]
    differ(other["own"]["alpha"], expected["own"]["alpha"])
    assert np.abs(expected["own"]["alpha"]).min() > 1e-3


@pytest.mark.parametrize("feedback", ["random", "adaptive"])
def test_bptt_of_windows_with_random_feedback_takes_it_for_the_readout(feedback):
    """The gradient is that of a network with this matrix as its readout, and e fixed."""
    cell = vanilla()
    params, state, batch = given(cell, 4)
    params["feedback"] = cells.init_params(jax.random.key(7), cell)["feedback"]
    updates, _, info = compiled(bptt(cell, window=None, feedback=feedback).update)(
        params, WindowTraces(state), KEY, batch
    )
    error = info.aux["output"] - batch.y

    def surrogate(w):
        total, h = 0, state[:, 0]
        for t in range(4):
            h = jnp.tanh(jnp.concatenate([h, batch.x[:, t], jnp.ones((2, 1))], 1) @ w[0].T)
            total += jnp.sum((error[:, t] @ params["feedback"]["w_fb"]) * h) / 2
        return total

    close(updates["forward"]["w"], jax.grad(surrogate)(params["forward"]["w"]))
    learned = updates["forward"]["w_out"][:, :-1] if feedback == "adaptive" else jnp.zeros((N_OUT, N))
    close(updates["feedback"]["w_fb"], learned)
    exact, _, _ = compiled(windowed(cell).update)(params, WindowTraces(state), KEY, batch)
    differ(updates["forward"]["w"], exact["forward"]["w"])


@BOTH
@pytest.mark.parametrize("steps", [1, 5])
def test_feedback_alignment_equals_the_loop_over_pairs(name, steps):
    cell, update = CELLS[name]
    params, state, batch = given(cell, steps)
    updates, _, _ = compiled(recurrent_feedback_alignment(cell).update)(params, WindowTraces(state), KEY, batch)
    forward, back = jax.tree.map(np.asarray, (params["forward"], params["feedback"]["w_back"]))
    streams = zip(np.asarray(state), np.asarray(batch.x), np.asarray(batch.y), strict=True)
    paths = [run(update, forward, *each) for each in streams]
    loops = [gradients(path, credit(path, back)) for path in paths]
    exist = True if cell.mask is None else cell.mask
    close(updates["forward"]["w"], np.mean([loop["w"] for loop in loops], 0) * exist)
    close(updates["forward"]["w_out"], np.mean([loop["w_out"] for loop in loops], 0))
    if steps > 1:
        exact, _, _ = compiled(windowed(cell).update)(params, WindowTraces(state), KEY, batch)
        differ(updates["forward"]["w"], exact["forward"]["w"])


@BOTH
def test_one_step_carries_the_state_on(name):
    """Two windows of the rule are two windows of the network, and no credit passes between them."""
    cell, _ = CELLS[name]
    params, state, batch = given(cell, 6)
    halves = [jax.tree.map(lambda leaf, part=part: leaf[:, part], batch) for part in (slice(3), slice(3, 6))]
    update = compiled(truncated_to_one_step(cell).update)
    whole, end, _ = update(params, WindowTraces(state), KEY, batch)
    first, traces, _ = update(params, WindowTraces(state), KEY, halves[0])
    second, traces, _ = update(params, traces, KEY, halves[1])
    close(traces.state, end.state)
    jax.tree.map(lambda a, b, c: close(a + b, c), first["forward"], second["forward"], whole["forward"])


@pytest.mark.parametrize("rule", ["bptt", "alignment", "one step"])
@BOTH
def test_a_trial_that_starts_is_a_window_of_its_own(name, rule):
    """A window with a start in its middle and a padded step equals its parts by themselves, from rest."""
    cell, _ = CELLS[name]
    params, state, batch = given(cell, 6)
    update = compiled(RULES[rule](cell).update)
    start = jnp.zeros((2, 6), bool).at[:, 2].set(True)
    whole, end, info = update(params, WindowTraces(state), KEY, batch._replace(start=start))
    parts = [jax.tree.map(lambda leaf, part=part: leaf[:, part], batch) for part in (slice(2), slice(2, 6))]
    one, _, info_one = update(params, WindowTraces(state), KEY, parts[0])
    two, end_two, info_two = update(params, WindowTraces(0 * state), KEY, parts[1])
    close(end.state, end_two.state)
    close(info.loss, info_one.loss + info_two.loss)
    jax.tree.map(lambda a, b, c: close(a + b, c), one["forward"], two["forward"], whole["forward"])
    plain, _, _ = update(params, WindowTraces(state), KEY, batch)
    differ(plain["forward"]["w"], whole["forward"]["w"])


@pytest.mark.parametrize("rule", RULES)
def test_a_stream_of_weight_zero_teaches_nothing(rule):
    """The updates equal those without the padded stream, as means over one stream more, whatever it holds."""
    cell, _ = CELLS["gru"]
    params, state, batch = given(cell, 4)
    made = RULES[rule](cell)
    weight = jnp.ones((2, 4)).at[1].set(0)
    traces = made.init(params, KEY, batch)._replace(state=state)
    loud = batch._replace(y=batch.y.at[1].set(1e3), weight=weight)
    updates, _, info = compiled(made.update)(params, traces, KEY, loud)
    expected, _, expected_info = compiled(made.update)(params, traces, KEY, batch._replace(weight=weight))
    jax.tree.map(close, updates, expected)
    close(info.loss, expected_info.loss)
    if rule in ("bptt", "alignment", "one step"):
        alone, _, _ = compiled(made.update)(
            params, WindowTraces(state[:1]), KEY, jax.tree.map(lambda leaf: leaf[:1], batch)
        )
        jax.tree.map(lambda a, b: close(2 * a, b), updates["forward"], alone["forward"])
    else:
        differ(updates["feedback"]["w_back"], 0 * updates["feedback"]["w_back"])


def one_stream(cell, update, steps=4):
    params, state, batch = given(cell, steps, streams=1, seed=1)
    forward, back = jax.tree.map(np.asarray, (params["forward"], params["feedback"]["w_back"]))
    path = run(update, forward, np.asarray(state)[0], np.asarray(batch.x)[0], np.asarray(batch.y)[0])
    return params, state, batch, path, credit(path, back)


@BOTH
def test_the_sweep_of_signs_is_the_sum_over_pairs_on_average(name):
    """All 2^S signs: the mean of eta^T eta is the sum over pairs of delta_{t,j}^T delta_{t,j}, exactly."""
    cell, update = CELLS[name]
    params, state, batch, _, delta = one_stream(cell, update)
    signs = jnp.asarray(list(itertools.product([-1.0, 1.0], repeat=4))).T  # (S, 16), a stream for each choice
    window = run_window(cell, params, state, time_first(batch))

    def eta(sign):
        starts = sign[:, None, None, None] * window.credit
        c = carry_back(cell, {"w": params["feedback"]["w_back"]}, window.local, starts)
        return jnp.einsum("sbagn,sban->sbgn", window.local.gain, c).reshape(4, -1)

    each = jax.vmap(eta, 1)(signs)
    expected, _ = moments(flat(delta), flat(delta), 0)
    close(jnp.einsum("bsi,bsj->ij", each, each) / 16, expected)
    differ(each[-1].T @ each[-1], expected)  # not so for one choice, all +1


@BOTH
def test_the_target_of_b_is_the_gradient_of_later_losses(name):
    """The mean of C over keys is the sum over j <= t of delta_{t,j}^T dL^t/d output^{j-1}, by z-tests at 1e-4.

    The bias of order sigma^2, 1e-4 of the gradient, is below a tenth of the standard errors.
    """
    cell, update = CELLS[name]
    params, state, batch, path, delta = one_stream(cell, update)
    rule = recurrent_node_perturbation(cell, sigma=1e-2, p=0.3, estimator="ridge")
    traces = rule.init(params, KEY, batch)._replace(state=state)

    @jax.jit
    def sample(keys):
        return jax.vmap(lambda key: rule.update(params, traces, key, batch)[1].cross.total)(keys)

    samples = np.asarray(sample(jax.random.split(jax.random.key(5), 40_000)))
    w_rec = np.asarray(params["forward"]["w"])[:, :, :N]
    exact = credit(path, w_rec)
    lam = np.einsum("tjgn,gnk->tjk", exact, w_rec)  # dL^t / d output^{j-1}
    _, expected = moments(flat(delta), lam, 1)
    error = samples.std(0) / math.sqrt(len(samples))
    z = np.abs(samples.mean(0) - expected) / error
    assert z.max() < NormalDist().inv_cdf(1 - 1e-4 / (2 * z.size))
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(expected)
    if name == "vanilla":
        differ(expected, moments(flat(delta), exact[:, :, 0], 0)[1], 0.3)  # the authors' index


def learned(cell, windows, streams=100, steps=4, **options):
    """B after many windows of random inputs and targets, with fixed weights, and W_rec."""
    n = cell.n
    key_params, key_batch, key_run = jax.random.split(jax.random.key(11), 3)
    params = {**cells.init_params(key_params, cell), "feedback": cells.init_feedback(key_run, cell)}
    every_way = jax.random.orthogonal(key_params, n)  # errors reach all directions equally
    params["forward"]["w_out"] = params["forward"]["w_out"].at[:, :-1].set(every_way)
    rule = recurrent_node_perturbation(cell, estimator="ridge", **options)

    def batch(t):
        key_x, key_y = jax.random.split(jax.random.fold_in(key_batch, t))
        return Example(jax.random.normal(key_x, (streams, steps, 2)), jax.random.normal(key_y, (streams, steps, n)))

    def body(carry, t):
        w_back, traces = carry
        at = {**params, "feedback": {"w_back": w_back}}
        updates, traces, _ = rule.update(at, traces, jax.random.fold_in(key_run, t), batch(t))
        return (w_back - updates["feedback"]["w_back"], traces), None

    start = params["feedback"]["w_back"], rule.init(params, key_run, batch(0))
    (w_back, _), _ = jax.jit(lambda: jax.lax.scan(body, start, jnp.arange(windows)))()
    return np.asarray(w_back), np.asarray(params["forward"]["w"])[:, :, :n]


def test_b_becomes_w():
    w_back, w = learned(vanilla(n=6, n_out=6), 1000, ridge=300.0, forgetting=0.998)
    assert np.linalg.norm(w_back - w) < 0.1 * np.linalg.norm(w)


def test_b_becomes_w_of_all_gates_at_once():
    """The gains of two gates differ from step to step. Regressed singly, each would take the other's share."""
    cell = cells.neurons(
        n_in=2,
        n=6,
        n_out=6,
        update=lambda own, s, v: (jnp.tanh(v[0]) + jnp.sin(v[1]))[None],
        gates=("one", "two"),
        loss="squared",
    )
    w_back, w = learned(cell, 2000, ridge=300.0, forgetting=0.999, sigma=0.02)
    assert np.linalg.norm(w_back - w) < 0.2 * np.linalg.norm(w)
    assert np.linalg.norm(w[0] - w[1]) > np.linalg.norm(w[0])


def test_noise_does_not_reach_a_trial_that_starts():
    """Nothing of W_rec can be learned, and nothing is, if a trial starts at every step."""
    cell, _ = CELLS["gru"]
    params, state, batch = given(cell, 4)
    rule = recurrent_node_perturbation(cell, estimator="ridge", p=1.0)
    traces, update = rule.init(params, KEY, batch)._replace(state=state), compiled(rule.update)
    _, after, _ = update(params, traces, KEY, batch._replace(start=jnp.ones((2, 4), bool)))
    assert not after.cross.total.any()
    assert not after.second.total.any()
    _, after, _ = update(params, traces, KEY, batch)
    assert np.abs(after.cross.total).max() > 1e-3


def test_warm_up_learns_b_alone():
    """The forward group is not ready, so a learner leaves its weights and Adam's averages unchanged."""
    cell, _ = CELLS["vanilla"]
    params, _, batch = given(cell, 4)
    learn = learner(recurrent_node_perturbation(cell, warm_up=2), optax.adam(0.01))
    state, step = learn.init(params, KEY, batch), compiled(learn.step)
    for window in range(4):
        before = state
        state, info = step(state, batch)
        moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before.params, state.params)
        averages = before.opt_state[0].mu["forward"], state.opt_state[0].mu["forward"]
        averaged = jax.tree.map(lambda a, b: bool(np.any(a != b)), *averages)
        assert list(info.ready) == ["forward"]
        assert bool(info.ready["forward"]) == (window >= 2)
        assert set(jax.tree.leaves((moved["forward"], averaged))) == {window >= 2}
        assert moved["feedback"]["w_back"]


def test_between_solutions_b_is_not_ready():
    cell, _ = CELLS["vanilla"]
    params, _, batch = given(cell, 4)
    rule = recurrent_node_perturbation(cell, estimator="ridge", solve_every=3)
    traces, update = rule.init(params, KEY, batch), compiled(rule.update)
    for window in range(1, 7):
        updates, traces, info = update(params, traces, KEY, batch)
        assert bool(info.ready["feedback"]) == (window % 3 == 0) == bool(updates["feedback"]["w_back"].any())


def test_clip_bounds_each_entry():
    cell, _ = CELLS["vanilla"]
    params, _, batch = given(cell, 4)
    changes = []
    for clip in (None, 0.05):
        rule = recurrent_node_perturbation(cell, clip=clip)
        traces = rule.init(params, KEY, batch)
        changes.append(compiled(rule.update)(params, traces, jax.random.key(3), batch)[0]["feedback"]["w_back"])
    assert np.abs(changes[0]).max() > 0.05
    np.testing.assert_array_equal(changes[1], np.clip(changes[0], -0.05, 0.05))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_share_of_the_neurons_is_perturbed_whatever_the_dtype(dtype):
    """Uniform numbers are made in float32: in float16 they would overflow, and no neuron would be perturbed."""
    cell = vanilla(n=40)
    params, _, _ = given(vanilla(), 2)
    params = {**cells.init_params(KEY, cell, dtype), "feedback": cells.init_feedback(KEY, cell, dtype)}
    batch = Example(jnp.ones((2, 4, N_IN)), jnp.ones((2, 4, N_OUT)))
    made = [recurrent_node_perturbation(cell, p=p, estimator="ridge", sigma=0.5) for p in (1e-3, 0.5)]
    crosses = []
    for rule in made:
        updates, traces, _ = compiled(rule.update)(params, rule.init(params, KEY, batch), KEY, batch)
        assert {leaf.dtype for leaf in jax.tree.leaves((updates, traces.cross))} == {jnp.dtype(dtype)}
        assert all(np.isfinite(np.asarray(leaf, float)).all() for leaf in jax.tree.leaves(updates))
        crosses.append(np.asarray(traces.cross.total, float))
    assert not crosses[0].any(), "no neuron is perturbed"
    columns = np.abs(crosses[1]).max((0,)) > 0
    assert 0.6 < columns.mean() < 1, (
        "with p = 1/2 a neuron is perturbed at one of six steps, which others receive, in 98 of 100 cases"
    )


@pytest.mark.parametrize("name", ["bptt", "one step"])
def test_a_feedback_group_that_is_not_read_may_be_missing(name):
    cell, _ = CELLS["gru"]
    params, state, batch = given(cell, 3)
    update = compiled(RULES[name](cell).update)
    updates, _, _ = update({"forward": params["forward"]}, WindowTraces(state), KEY, batch)
    assert set(updates) == {"forward"}
    other = {**params, "feedback": {"anything": jnp.ones(3)}}
    updates, _, _ = update(other, WindowTraces(state), KEY, batch)
    assert jax.tree.map(lambda leaf: leaf.tolist(), updates["feedback"]) == {"anything": [0, 0, 0]}


@pytest.mark.parametrize("name", ["alignment", "perturbation"])
def test_a_missing_feedback_group_is_named_where_it_is_read(name):
    cell, _ = CELLS["gru"]
    params, _, batch = given(cell, 3)
    rule = RULES[name](cell)
    with pytest.raises(ValueError, match=r"no group 'feedback'.*init_feedback"):
        rule.init({"forward": params["forward"]}, KEY, batch)
    with pytest.raises(ValueError, match=r"no \"w_back\".*init_feedback"):
        rule.init(cells.init_params(KEY, cell), KEY, batch)
    with pytest.raises(AssertionError, match=r"w_back must be \(gates, n, n\) = \(4, 5, 5\)"):
        rule.init({**params, "feedback": {"w_back": jnp.ones((1, N, N))}}, KEY, batch)


@pytest.mark.parametrize("make", [recurrent_feedback_alignment, truncated_to_one_step, recurrent_node_perturbation])
def test_a_cell_of_tier_one_is_refused(make):
    cell = cells.Cell(lambda key: jnp.ones(1), lambda: jnp.zeros(2), lambda w, s, x: s + w * x, lambda s: s, 2, 1)
    with pytest.raises(TypeError, match=f"{make.__name__} needs a cell of neurons"):
        make(cell)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"estimator": "offline"}, "'offline' is not known; use one of sgd, ridge"),
        ({"p": 0.0}, "p=0 is outside"),
        ({"p": 1.5}, "p=1.5 is outside"),
        ({"sigma": 0.0}, "sigma=0 is outside"),
        ({"ridge": -1.0}, "ridge=-1 is outside"),
        ({"forgetting": 0.0}, "forgetting=0 is outside"),
        ({"clip": -1.0}, "clip=-1 is outside"),
        ({"warm_up": -1}, "warm_up=-1"),
        ({"solve_every": 0}, "solve_every=0"),
        ({"estimator": "ridge", "clip": 1.0}, "leave clip out"),
    ],
)
def test_bad_options_of_node_perturbation_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        recurrent_node_perturbation(vanilla(), **options)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda batch: Example(batch.x[:, 0], batch.y[:, 0]), AssertionError, r"batch.x must be \(B, S, n_in\)"),
        (lambda batch: batch._replace(y=batch.y[:, 1:]), AssertionError, r"batch.y must be \(B, S, n_out\)"),
        (lambda batch: batch._replace(x=batch.x[..., 1:]), AssertionError, "leaky has n_in=2"),
        (lambda batch: batch._replace(start=jnp.ones(2, bool)), AssertionError, r"batch.start must be \(B, S\)"),
        (lambda batch: jax.tree.map(lambda leaf: leaf[:, :0], batch), ValueError, "at least 1 step"),
        (lambda batch: jax.tree.map(lambda leaf: leaf[:0], batch), ValueError, "no examples"),
        (lambda batch: batch.x, TypeError, r"give pj.Example\(x, y\) with x \(B, S, n_in\)"),
    ],
)
@pytest.mark.parametrize("name", ["bptt", "perturbation"])
def test_batches_that_do_not_fit_are_refused(name, change, error, match):
    cell, _ = CELLS["vanilla"]
    params, _, batch = given(cell, 4)
    with pytest.raises(error, match=match):
        RULES[name](cell).init(params, KEY, change(batch))


@pytest.mark.parametrize("name", RULES)
def test_a_state_of_another_batch_is_refused(name):
    cell, _ = CELLS["vanilla"]
    params, state, batch = given(cell, 4)
    rule = RULES[name](cell)
    traces = rule.init(params, KEY, batch)._replace(state=state[:1])
    with pytest.raises(ValueError, match="B=2 streams, but the traces were made for 1"):
        rule.update(params, traces, KEY, batch)
