"""Parts shared by the experiments of Lindsey & Litwin-Kumar: optimisers, meta-training, evaluation, claims."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import networks, sines, table1, training
from experiments.lindsey2020.common import cell, not_above
from plasticity_jax.base import Info, LearnerState, LearningRule
from plasticity_jax.run import Program
from plasticity_jax.run.program import TrainingState
from plasticity_jax.tasks.stream import Stream
from tests.experiments.by_hand import is_not_above

RATES = {"weights": 0.1, "alpha": 0.02, "beta": 0.3}
THETA = {"prefix": [1.0, 2.0], "forward": [3.0], "alpha": [0.5, -0.25], "beta": [4.0]}
THETA = {name: np.array(values) for name, values in THETA.items()}
GRADIENTS = [
    {"prefix": [3.0, 0.0], "forward": [4.0], "alpha": [0.3, -0.4], "beta": [2.0]},
    {"prefix": [0.1, 0.2], "forward": [np.nan], "alpha": [0.3, 0.1], "beta": [1.0]},
    {"prefix": [-0.3, 0.2], "forward": [0.1], "alpha": [6.0, 8.0], "beta": [-0.5]},
]
GRADIENTS = [{name: np.array(values) for name, values in each.items()} for each in GRADIENTS]


def adams_by_hand(clip, backoff):
    """Changes of theta in three steps by a loop; the second gradient is not finite."""
    groups = {"weights": ("prefix", "forward"), "alpha": ("alpha",), "beta": ("beta",)}
    m = {name: np.zeros_like(leaf) for name, leaf in THETA.items()}
    v, steps, all_changes = dict(m), 0, []
    for gradient in GRADIENTS:
        if any(not np.isfinite(leaf).all() for leaf in gradient.values()):
            all_changes.append({name: -backoff * leaf if name == "alpha" else 0 * leaf for name, leaf in THETA.items()})
            continue
        steps, changes = steps + 1, {}
        for rate, members in groups.items():
            norm = sum((gradient[name] ** 2).sum() for name in members) ** 0.5
            scale = clip / norm if clip and norm > clip else 1.0
            for name in members:
                g = scale * gradient[name]
                m[name], v[name] = 0.9 * m[name] + 0.1 * g, 0.999 * v[name] + 0.001 * g**2
                ahead = m[name] / (1 - 0.9**steps), v[name] / (1 - 0.999**steps)
                changes[name] = -RATES[rate] * ahead[0] / (np.sqrt(ahead[1]) + 1e-8)
        all_changes.append(changes)
    return all_changes


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(("clip", "backoff"), [(0.0, 0.0), (1.0, 0.1)])
def test_an_adam_for_each_group(clip, backoff, traced):
    """Prefix and forward share one; coefficients are numbers or tracers."""

    def run(clip, backoff, rates):
        tx = training.adams(rates, THETA, clip, backoff)
        state, all_changes = tx.init(THETA), []
        for gradient in GRADIENTS:
            changes, state = tx.update(gradient, state, THETA)
            all_changes.append(changes)
        return all_changes

    all_changes = jax.jit(run)(clip, backoff, RATES) if traced else jax.jit(lambda: run(clip, backoff, RATES))()
    for changes, expected in zip(all_changes, adams_by_hand(clip, backoff), strict=True):
        for name in THETA:
            np.testing.assert_allclose(changes[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_meta_training_reports_means_over_a_point_and_evaluates_its_end():
    """A rule steps by 1, on a stream of numbers that are its losses; one of them is not finite."""
    losses = np.array([1.0, 3.0, 5.0, np.inf, 2.0, 4.0])

    def update(theta, traces, key, x):
        info = Info(x, jnp.ones((), bool), {"error": 10 * x})
        return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(x), 1.0, jnp.nan) + 0 * leaf, theta), traces, info

    stream = Stream(lambda key: 0, lambda at, steps: (at + steps, jax.lax.dynamic_slice(losses, (at,), (steps,))))
    program = training.meta_training(
        LearningRule(lambda *args: (), update),
        {"weights": 0.5, "alpha": 0.0},
        lambda key: {"forward": jnp.zeros(2), "alpha": jnp.ones(1)},
        stream,
        lambda key, theta: {"seen": theta["forward"][0], "alpha": theta["alpha"][0], "key": jax.random.key_data(key)},
        episodes=6,
        points=3,
        backoff=0.25,
    )
    metrics = jax.jit(program.train)(jax.random.key(5))
    assert metrics["loss"].tolist() == [2.0, np.inf, 3.0]
    assert metrics["error"].tolist() == [20.0, np.inf, 30.0]
    assert metrics["skipped"].tolist() == [0.0, 0.5, 0.0]
    assert metrics["episode"].tolist() == [2, 4, 6]
    np.testing.assert_allclose(metrics["seen"], [-1.0, -1.5, -2.5], rtol=1e-6)
    np.testing.assert_allclose(metrics["alpha"], [1.0, 0.75, 0.75], rtol=1e-12)
    own = jax.random.key_data(jax.random.split(jax.random.key(5), 4)[3])
    np.testing.assert_array_equal(metrics["key"], [own] * 3)
    with pytest.raises(ValueError, match="points=4 must divide episodes=6"):
        training.meta_training(LearningRule(len, update), {}, len, stream, len, episodes=6, points=4)


def test_errors_are_of_lives_on_another_stream(monkeypatch):
    """Each life has its own key and episode, in order, whatever the size of the batches."""

    def number(key):
        return jax.random.key_data(key)[-1] * 1e-9

    def outcome(life, theta, key, episode, *, remat):
        return None, {"error": theta * episode + number(key)}

    stream = Stream(number, lambda at, steps: (at, at + jnp.arange(2.0 * steps).reshape(steps, 2)))
    monkeypatch.setattr(training, "outcome", outcome)
    errors = training.held_out("life", stream, 3, at_a_time=2)(jax.random.key(3), 10.0)
    key_stream, key_lives = jax.random.split(jax.random.key(3))
    keys = jax.random.split(key_lives, 3)
    expected = [10 * (number(key_stream) + 2 * k) + number(keys[k]) for k in range(3)]
    np.testing.assert_allclose(errors, np.array(expected), rtol=1e-12)


def test_the_median_counts_lives_that_diverged():
    assert training.over_lives(jnp.array([4.0, jnp.nan, 1.0])) == 4.0
    assert training.over_lives(jnp.array([4.0, jnp.nan, jnp.inf])) == np.inf
    assert training.over_lives(jnp.array([[1.0, 8.0], [2.0, 6.0], [9.0, 7.0]])).tolist() == [2.0, 7.0]
    judged = table1.judged(jnp.array([4.0, jnp.nan, 1.0, 2.0]), "iid")
    assert {name: float(value) for name, value in judged.items() if name != "test_iid"} == {
        "median_iid": 3.0, "diverged_iid": 0.25,
    }  # fmt: skip
    assert np.isnan(judged["test_iid"])
    assert float(table1.judged(jnp.array([4.0, 1.0, 1.0]), "iid")["test_iid"]) == 2.0


def counting(factor, names):
    """A program that multiplies theta by a factor in each chunk."""

    def state(lane):
        return TrainingState(LearnerState(lane + 0.0, (), (), lane, jnp.zeros(())), (), lane, ())

    def chunk(state):
        learner = state.learner._replace(params=factor * state.learner.params)
        return state._replace(learner=learner), dict.fromkeys(names, learner.params[None])

    return Program(state, chunk, 2, 1, 1)


def test_a_training_goes_on_from_another():
    program = training.continued(
        counting(2.0, ("theta", "first")), counting(5.0, ("theta", "second")), lambda old, fresh: old + 100 * fresh
    )
    metrics = jax.jit(program.train)(3.0)
    assert program.chunks == 4
    assert set(metrics) == {"theta", "stage"}
    assert metrics["stage"].tolist() == [0, 0, 1, 1]
    assert metrics["theta"].tolist() == [6.0, 12.0, 5 * 312.0, 25 * 312.0]
    with pytest.raises(ValueError, match="same chunks"):
        training.continued(counting(1.0, "a"), counting(1.0, "a")._replace(chunks=3), max)


def test_a_full_problem_is_the_papers_at_any_rate():
    full = table1.PRESETS["paper"]
    assert sines.is_full(full)
    changed = {"episodes": 100, "lives": 2, "functions": 3, "batches": 10, "batch": 8, "hidden": (64, 64, 64)}
    for name, value in changed.items():
        assert not sines.is_full(SimpleNamespace(**{**vars(full), name: value})), name
    for name, value in {"flp2": (1.0, 1.0), "remat": 0, "seeds": 9, "points": 2, "lifetimes": 7}.items():
        assert sines.is_full(SimpleNamespace(**{**vars(full), name: value})), name


def test_a_cell_counts_the_seeds_that_diverged():
    assert cell(np.array([1.0, 2.0, 4.5]), 2) == "2.50 (1.04)"
    assert cell(np.array([1.0, np.inf, 3.0, np.nan]), 1) == "2.0 (1.0), 2 of 4 seeds"


def test_not_above_is_by_students_t():
    is_not_above([not_above("none", "", None, "b", "a", "c")], "none", "a", "b", "c")


def test_frozen_layers_in_blocks_are_the_same():
    """Values and gradients; blocks are the largest divisor of the number of inputs."""
    shapes = []

    def prefix(weights, x):
        shapes.append(x.shape)
        return jnp.tanh(x @ weights) ** 2

    key = jax.random.key(0)
    x, weights = jax.random.normal(key, (12, 3)), jax.random.normal(key, (3, 5))

    def total(weights, rows):
        return jnp.sum(networks.in_blocks(prefix, rows)(weights, x) * jnp.arange(5.0))

    expected, gradient = jax.value_and_grad(total)(weights, 0)
    assert networks.in_blocks(prefix, 0) is prefix
    for rows, shape in ((5, (4, 3)), (12, (12, 3)), (100, (12, 3))):
        shapes.clear()
        np.testing.assert_allclose(networks.in_blocks(prefix, rows)(weights, x), prefix(weights, x), rtol=1e-10)
        assert shapes[0] == shape
        blocked = jax.value_and_grad(total)(weights, rows)
        np.testing.assert_allclose(blocked[0], expected, rtol=1e-10)
        np.testing.assert_allclose(blocked[1], gradient, rtol=1e-10)
