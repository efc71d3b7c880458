"""Fixed and matched feedback against NumPy loops; matching's invariant; weighted examples, labels, custom losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import FrozenDict

from plasticity_jax.base import learner
from plasticity_jax.layers import init_params
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules import feedback
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles.feedback import train

SIZES, ACTIVATIONS = (4, 6, 5, 3), ("tanh", "tanh", "identity")
NET = mlp(SIZES, ACTIVATIONS)


def problem(pathway="chain", steps=60, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    x, y = (jax.random.normal(key, (steps, 4, n)) for key, n in zip(keys[:2], (4, 3), strict=True))
    return init_params(keys[2], NET, pathway=pathway), Example(x, y)


def run(rule, params, examples, lr, key=None, lr_fb=None):
    """The end of SGD on both groups, and every step's loss and params."""
    rates = {"forward": optax.sgd(lr), "feedback": optax.sgd(lr if lr_fb is None else lr_fb)}
    learn = learner(rule, optax.partition(rates, {"forward": "forward", "feedback": "feedback"}))
    state = learn.init(params, jax.random.key(9) if key is None else key, jax.tree.map(lambda a: a[0], examples))

    def body(state, batch):
        state, info = learn.step(state, batch)
        return state, (info.loss, state.params)

    return compiled(lambda state: jax.lax.scan(body, state, examples))(state)


@pytest.mark.parametrize(
    ("name", "pathway", "options"),
    [
        ("backprop", "chain", {}),
        ("feedback_alignment", "chain", {}),
        ("direct_feedback_alignment", "direct", {}),
        ("matching", "chain", {}),
        ("kolen_pollack", "chain", {"decay": 0.2}),
    ],
)
def test_a_run_equals_the_numpy_loop(name, pathway, options):
    params, examples = problem(pathway)
    end, (losses, _) = run(getattr(feedback, name)(NET, **options), params, examples, 0.05)
    kinds = {"direct_feedback_alignment": "feedback_alignment", "kolen_pollack": "matching"}
    weights = (*(params["forward"][part] for part in ("w", "bias")), params["feedback"]["w_fb"])
    expected = train(
        kinds.get(name, name), *weights, *map(np.asarray, examples[:2]), lr=0.05, direct=pathway == "direct", **options
    )
    np.testing.assert_allclose(losses, expected["losses"], rtol=1e-10)
    for actual, expected_array in zip(
        [*end.params["forward"]["w"], *end.params["forward"]["bias"], *end.params["feedback"]["w_fb"]],
        [*expected["w"], *expected["bias"], *expected["w_fb"]],
        strict=True,
    ):
        np.testing.assert_allclose(actual, expected_array, rtol=0, atol=1e-11)


def distances(params):
    pairs = zip(params["forward"]["w"][1:], params["feedback"]["w_fb"], strict=True)
    return np.array([np.linalg.norm(w - b, axis=(-2, -1)) for w, b in pairs])


def test_matching_keeps_the_distance_and_kolen_pollack_shrinks_it():
    """|W - B| is constant without decay, and falls by 1 - lr decay at each step with it, whatever is learned."""
    params, examples = problem(steps=300)
    apart, lr, decay = distances(params)[:, None], 0.05, 0.1
    _, (_, path) = run(feedback.matching(NET), params, examples, lr)
    np.testing.assert_allclose(distances(path), np.broadcast_to(apart, (2, 300)), rtol=1e-12)
    assert all(np.linalg.norm(b[-1] - b[0]) > 0.1 for b in path["feedback"]["w_fb"])
    _, (_, path) = run(feedback.kolen_pollack(NET, decay=decay), params, examples, lr)
    np.testing.assert_allclose(distances(path), apart * (1 - lr * decay) ** np.arange(1, 301), rtol=1e-11)


def test_feedback_of_another_pathway_is_refused():
    params, examples = problem("direct")
    batch = jax.tree.map(lambda a: a[0], examples)
    with pytest.raises(AssertionError, match=r"w_fb\[0\] must be \(5, 6\) on the pathway 'chain', .* not \(3, 6\)"):
        feedback.feedback_alignment(NET).init(params, jax.random.key(0), batch)
    short = {**params, "feedback": {"w_fb": params["feedback"]["w_fb"][:1]}}
    with pytest.raises(ValueError, match="1 feedback weights w_fb for 2 hidden layers"):
        feedback.direct_feedback_alignment(NET).init(short, jax.random.key(0), batch)
    feedback.backprop(NET).init(short, jax.random.key(0), batch)  # backpropagation does not read it
    with pytest.raises(AssertionError, match=r"w_fb\[0\] must be \(3, 6\) on the pathway 'direct'"):
        feedback.direct_feedback_alignment(NET).init(problem("chain")[0], jax.random.key(0), batch)


RULES = {
    "backprop": ("chain", feedback.backprop),
    "feedback_alignment": ("chain", feedback.feedback_alignment),
    "direct_feedback_alignment": ("direct", feedback.direct_feedback_alignment),
    "sign_symmetry": ("chain", feedback.sign_symmetry),
    "matching": ("chain", feedback.matching),
    "node_perturbation": ("chain", feedback.node_perturbation),
}


def one_step(name, net=None):
    """A rule, its params and a batch of four examples."""
    pathway, make = RULES[name]
    params, examples = problem(pathway, steps=1)
    return make(NET if net is None else net), params, Example(examples.x[0], examples.y[0])


def updated(rule, params, batch):
    key = jax.random.key(2)
    return rule.update(params, rule.init(params, key, batch), key, batch)


def close(actual, expected, tolerance=1e-13):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance), actual, expected)


@pytest.mark.parametrize("name", RULES)
def test_padding_of_weight_0_teaches_nothing(name):
    """Two examples and two of padding: half the loss and half the gradient of the two alone."""
    rule, params, batch = one_step(name)
    padded = Example(batch.x.at[2:].set(7.0), batch.y.at[2:].set(-7.0), weight=jnp.array([1.0, 1.0, 0.0, 0.0]))
    updates, _, info = updated(rule, params, padded)
    expected, _, expected_info = updated(rule, params, Example(batch.x[:2], batch.y[:2]))
    close(
        updates["forward"], jax.tree.map(lambda leaf: leaf / 2, expected["forward"])
    )  # B's noise is that of another batch
    close(info.loss, expected_info.loss / 2)
    if name != "node_perturbation":
        close(updates["feedback"], jax.tree.map(lambda leaf: leaf / 2, expected["feedback"]))


@pytest.mark.parametrize("name", RULES)
def test_weights_are_factors_of_the_loss(name):
    rule, params, batch = one_step(name)
    even, _, _ = updated(rule, params, batch._replace(weight=jnp.ones(4)))
    close(even, updated(rule, params, batch)[0])
    weight = jnp.array([2.0, 0.5, 0.0, 1.0])
    parts = [updated(rule, params, Example(batch.x[i : i + 1], batch.y[i : i + 1]))[0]["forward"] for i in range(4)]
    whole = jax.tree.map(lambda *leaves: sum(w * leaf for w, leaf in zip(weight, leaves, strict=True)) / 4, *parts)
    close(updated(rule, params, batch._replace(weight=weight))[0]["forward"], whole)


@pytest.mark.parametrize("name", ["backprop", "sign_symmetry"])
def test_feedback_that_is_not_read_may_be_missing_or_of_any_shape(name):
    rule, params, batch = one_step(name)
    expected = updated(rule, params, batch)[0]["forward"]
    alone, _, _ = updated(rule, {"forward": params["forward"]}, batch)
    assert list(alone) == ["forward"]
    close(alone["forward"], expected, 0)
    other = {"gains": [jnp.ones(3), jnp.ones((2, 2))]}
    held, _, _ = updated(rule, {**params, "feedback": other}, batch)
    close(held["feedback"], jax.tree.map(jnp.zeros_like, other), 0)
    close(held["forward"], expected, 0)


@pytest.mark.parametrize("name", RULES)
def test_updates_have_the_containers_of_the_params(name):
    rule, params, batch = one_step(name)
    other = FrozenDict({group: {leaf: list(w) for leaf, w in of.items()} for group, of in params.items()})
    updates, _, _ = updated(rule, other, batch)
    assert jax.tree.structure(updates) == jax.tree.structure(other)
    close(jax.tree.leaves(updates), jax.tree.leaves(updated(rule, params, batch)[0]), 0)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p, b: (p, Example(b.x[:0], b.y[:0])), ValueError, r"batch\.x has no examples"),
        (lambda p, b: (p, (b.x, b.y)), TypeError, "batch is a tuple: give an Example"),
        (lambda p, b: (p, {"x": b.x, "y": b.y}), TypeError, "batch is a dict: give an Example"),
        (lambda p, b: ({"feedback": p["feedback"]}, b), ValueError, r'params\["forward"\] is missing.*has feedback'),
        (lambda p, b: (p, b._replace(y=b.y[:3])), AssertionError, r"batch\.y must be \(B, 3\), with B = 4"),
        (lambda p, b: (p, b._replace(weight=b.y)), AssertionError, r"batch\.weight must be \(B,\), with B = 4 as in"),
    ],
    ids=["empty", "tuple", "dict", "no weights", "fewer targets", "weights"],
)
def test_batches_and_params_that_do_not_fit_are_named_in_one_line(name, change, error, message):
    rule, params, batch = one_step(name)
    traces, (params, batch) = rule.init(params, jax.random.key(0), batch), change(params, batch)
    key = jax.random.key(0)
    for call in (lambda: rule.init(params, key, batch), lambda: rule.update(params, traces, key, batch)):
        with pytest.raises(error, match=message) as refusal:
            call()
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["feedback_alignment", "direct_feedback_alignment", "matching", "node_perturbation"])
def test_missing_feedback_is_named(name):
    rule, params, batch = one_step(name)
    message = r'params\["feedback"\] is missing, and this rule reads it: params has forward'
    with pytest.raises(ValueError, match=message):
        rule.init({"forward": params["forward"]}, jax.random.key(0), batch)
    with pytest.raises(ValueError, match=r'params\["feedback"\]\["w_fb"\] is missing.*params\["feedback"\] has bias'):
        rule.init({**params, "feedback": {"bias": ()}}, jax.random.key(0), batch)


@pytest.mark.parametrize("name", RULES)
def test_another_batch_size_than_at_init_is_taken(name):
    rule, params, batch = one_step(name)
    two, key = Example(batch.x[:2], batch.y[:2]), jax.random.key(2)
    close(rule.update(params, rule.init(params, key, batch), key, two)[0], updated(rule, params, two)[0], 0)


def test_labels_are_targets():
    net = mlp(SIZES, ACTIVATIONS, "softmax")
    rule, params, batch = one_step("feedback_alignment", net)
    labels = np.array([2, 0, 1, 2], np.int32)
    result = updated(rule, params, Example(batch.x, labels))
    close(result[0], updated(rule, params, Example(batch.x, np.eye(3)[labels]))[0], 0)
    close(jax.jit(lambda y: updated(rule, params, Example(batch.x, y)))(labels)[0], result[0])
    with pytest.raises(ValueError, match=r"batch\.y has the label 3; with 3 outputs use 0 to 2") as refusal:
        updated(rule, params, Example(batch.x, labels + 1))
    assert "\n" not in str(refusal.value)
    with pytest.raises(AssertionError, match=r"batch\.y must be \(B,\), labels, with B = 4 as in batch\.x, not \(3,\)"):
        updated(rule, params, Example(batch.x, labels[:3]))


def test_a_softmax_without_a_target_teaches_nothing():
    rule, params, batch = one_step("backprop", mlp(SIZES, ACTIVATIONS, "softmax"))
    updates, _, info = updated(rule, params, batch._replace(y=jnp.zeros_like(batch.y)))
    assert float(info.loss) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates))


def test_a_custom_loss_and_custom_activations_are_differentiated():
    """Backpropagation's updates against autodiff; the loss reads targets of any form, here one output's index."""

    def loss(z, y):
        return jnp.sum(jnp.logaddexp(0.0, z)) - 2 * z[y]

    activations = [jnp.sin, jax.nn.softplus, jnp.arctan]
    net = mlp(SIZES, activations, loss)
    rule, params, batch = one_step("backprop", net)
    batch = batch._replace(y=jnp.array([0, 2, 1, 1]))

    def total(weights):
        h = batch.x
        for phi, w, bias in zip(activations, weights["w"], weights["bias"], strict=True):
            h = phi(h @ w.T + bias)
        return jnp.mean(jax.vmap(loss)(h, batch.y))

    updates, _, info = updated(rule, params, batch)
    expected_loss, gradient = jax.value_and_grad(total)(params["forward"])
    close(updates["forward"], gradient)
    close(info.loss, expected_loss)


@pytest.mark.parametrize("value", [-0.1, np.float32(-1), np.nan])
def test_a_decay_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=r"decay=.* is outside \[0, inf\)"):
        feedback.kolen_pollack(NET, decay=value)
    jax.jit(lambda decay: feedback.matching(NET, decay=decay) and decay)(-0.1)
