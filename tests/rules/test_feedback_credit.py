"""Fixed and matched feedback against NumPy loops; what matching keeps, and what decay makes of it."""

import jax
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.networks.mlp import init_params, mlp
from plasticity_jax.rules import feedback
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles.feedback import train

SIZES, ACTIVATIONS = (4, 6, 5, 3), ("tanh", "tanh", "identity")


def problem(form="chain", steps=60, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    x, y = (jax.random.normal(key, (steps, 4, n)) for key, n in zip(keys[:2], (4, 3), strict=True))
    return init_params(keys[2], SIZES, form), Example(x, y)


def run(rule, params, examples, lr, key=None, lr_fb=None):
    """SGD on both groups: the end, and every step's loss and params."""
    rates = {"forward": optax.sgd(lr), "feedback": optax.sgd(lr if lr_fb is None else lr_fb)}
    learn = learner(rule, optax.partition(rates, {"forward": "forward", "feedback": "feedback"}))
    state = learn.init(params, jax.random.key(9) if key is None else key, jax.tree.map(lambda a: a[0], examples))

    def body(state, batch):
        state, info = learn.step(state, batch)
        return state, (info.loss, state.params)

    return compiled(lambda state: jax.lax.scan(body, state, examples))(state)


@pytest.mark.parametrize(
    ("name", "form", "options"),
    [
        ("backprop", "chain", {}),
        ("feedback_alignment", "chain", {}),
        ("direct_feedback_alignment", "direct", {}),
        ("matching", "chain", {}),
        ("kolen_pollack", "chain", {"decay": 0.2}),
    ],
)
def test_a_run_is_the_numpy_loop(name, form, options):
    params, examples = problem(form)
    end, (losses, _) = run(getattr(feedback, name)(mlp(ACTIVATIONS), **options), params, examples, 0.05)
    kinds = {"direct_feedback_alignment": "feedback_alignment", "kolen_pollack": "matching"}
    weights = (*(params["forward"][part] for part in ("w", "bias")), params["feedback"]["w_fb"])
    want = train(
        kinds.get(name, name), *weights, *map(np.asarray, examples), lr=0.05, direct=form == "direct", **options
    )
    np.testing.assert_allclose(losses, want["losses"], rtol=1e-10)
    for got, array in zip(
        [*end.params["forward"]["w"], *end.params["forward"]["bias"], *end.params["feedback"]["w_fb"]],
        [*want["w"], *want["bias"], *want["w_fb"]],
        strict=True,
    ):
        np.testing.assert_allclose(got, array, rtol=0, atol=1e-11)


def distances(params):
    pairs = zip(params["forward"]["w"][1:], params["feedback"]["w_fb"], strict=True)
    return np.array([np.linalg.norm(w - b, axis=(-2, -1)) for w, b in pairs])


def test_matching_keeps_the_distance_and_kolen_pollack_shrinks_it():
    """|W - B| is constant without decay, and falls by 1 - lr decay at each step with it, whatever is learned."""
    params, examples = problem(steps=300)
    apart, lr, decay = distances(params)[:, None], 0.05, 0.1
    _, (_, path) = run(feedback.matching(mlp(ACTIVATIONS)), params, examples, lr)
    np.testing.assert_allclose(distances(path), np.broadcast_to(apart, (2, 300)), rtol=1e-12)
    assert all(np.linalg.norm(b[-1] - b[0]) > 0.1 for b in path["feedback"]["w_fb"])
    _, (_, path) = run(feedback.kolen_pollack(mlp(ACTIVATIONS), decay=decay), params, examples, lr)
    np.testing.assert_allclose(distances(path), apart * (1 - lr * decay) ** np.arange(1, 301), rtol=1e-11)


def test_feedback_of_the_wrong_form_is_refused():
    params, examples = problem("direct")
    batch = jax.tree.map(lambda a: a[0], examples)
    with pytest.raises(AssertionError, match=r"w_fb\[0\] must be \(5, 6\) for chain feedback"):
        feedback.feedback_alignment(mlp(ACTIVATIONS)).init(params, jax.random.key(0), batch)
    short = {**params, "feedback": {"w_fb": params["feedback"]["w_fb"][:1]}}
    with pytest.raises(ValueError, match="1 feedback matrices for 2 hidden layers"):
        feedback.direct_feedback_alignment(mlp(ACTIVATIONS)).init(short, jax.random.key(0), batch)
    feedback.backprop(mlp(ACTIVATIONS)).init(short, jax.random.key(0), batch)  # which reads none of it
