"""The Hebbian wing's options: coefficients by layer, neuron and weight; sums and means; frozen parts; refusals."""

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules import hebbian
from plasticity_jax.typing import Example
from tests.laws.common import compiled, problem, seed

SIZES = (3, 5, 4, 2)
NET = mlp(SIZES, ["relu", "relu", "identity"])
PLASTIC = (1, 2)


def given():
    case = problem("flp")
    return case.params(seed(140)), case.batch()


def updates(rule):
    params, batch = given()
    return compiled(lambda: rule.update(params, (), seed(0), batch)[0])()


def close(actual, expected):
    """Asserts equality to the rounding of a few sums of three examples."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), actual, expected)


def test_coefficients_may_differ_by_layer_neuron_and_weight():
    neuron = [0.01 * jnp.arange(1.0, SIZES[i + 1] + 1) for i in PLASTIC]
    mix = [0.5 / a.shape[0] * jnp.arange(1.0, a.shape[0] + 1) for a in neuron]
    weight = [jnp.broadcast_to(a[:, None], (SIZES[i + 1], SIZES[i])) for i, a in zip(PLASTIC, neuron, strict=True)]
    by_neuron = updates(hebbian.flp(NET, plastic=PLASTIC, alpha=neuron, beta=mix))
    close(updates(hebbian.flp(NET, plastic=PLASTIC, alpha=weight, beta=mix)), by_neuron)
    for i, a in zip(PLASTIC, neuron, strict=True):  # neuron by neuron, each with numbers for all
        for j in range(len(a)):
            one = updates(hebbian.flp(NET, plastic=PLASTIC, alpha=float(a[j]), beta=float(mix[i - 1][j])))
            close(by_neuron["forward"]["w"][i][j], one["forward"]["w"][i][j])
    by_layer = updates(hebbian.flp(NET, plastic=[-2, -1], alpha=[0.01, 0.02], beta=[0.2, 0.9]))
    for i, alpha, beta in ((1, 0.01, 0.2), (2, 0.02, 0.9)):
        alone = updates(hebbian.flp(NET, plastic=[i], alpha=alpha, beta=beta))
        close(by_layer["forward"]["w"][i], alone["forward"]["w"][i])
        assert np.abs(alone["forward"]["w"][i]).max() > 1e-3


RULES = {
    "hebb": lambda a, reduction: hebbian.hebb(NET, alpha=a, reduction=reduction),
    "oja": lambda a, reduction: hebbian.oja(NET, alpha=a, reduction=reduction),
    "flp": lambda a, reduction: hebbian.flp(NET, alpha=a, reduction=reduction),
    "plastic_feedback": lambda a, reduction: hebbian.plastic_feedback(
        NET, alpha=a, alpha_fb=2 * a, reduction=reduction
    ),
    "taylor": lambda a, reduction: hebbian.taylor(NET, {(1, 1, 0, 0): a, (0, 1, 1, 1): a}, reduction=reduction),
}


@pytest.mark.parametrize("name", RULES)
def test_a_mean_over_b_examples_is_a_sum_at_a_rate_b_times_less(name):
    b = len(given()[1].x)
    close(updates(RULES[name](0.01 * b, "mean")), updates(RULES[name](0.01, "sum")))


def test_weights_that_do_not_learn_get_zeros():
    gradients = updates(hebbian.plastic_feedback(NET, plastic=PLASTIC, output="clamped", signal="target"))
    moved = {jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(gradients) if np.any(leaf)}
    assert moved == {"['forward']['w'][1]", "['forward']['w'][2]", "['feedback']['w_fb'][1]"}


def test_the_error_is_that_of_the_output_itself():
    """e = y - yhat has no derivative of the output's nonlinearity; for a softmax e = y - softmax sum y."""
    params, batch = given()
    params["forward"]["w"] = (params["forward"]["w"][0], params["forward"]["w"][1], 5 * params["forward"]["w"][2])
    for last, loss, squash in (("tanh", "squared", np.tanh), ("identity", "softmax", lambda v: v)):
        rule = hebbian.flp(mlp(SIZES, ["relu", "relu", last], loss), alpha=1.0, beta=1.0, plastic=[1], product="hebb")
        gradients, _, _ = compiled(lambda rule=rule: rule.update(params, (), seed(0), batch))()
        h = [np.asarray(batch.x)]
        for i, phi in enumerate([lambda v: np.maximum(v, 0)] * 2 + [squash]):
            h.append(phi(h[-1] @ np.asarray(params["forward"]["w"][i]).T + np.asarray(params["forward"]["bias"][i])))
        share = np.asarray(batch.y).sum(1, keepdims=True) / np.exp(h[-1]).sum(1, keepdims=True)
        yhat = np.exp(h[-1]) * share if loss == "softmax" else h[-1]
        f = np.maximum((batch.y - yhat) @ params["feedback"]["w_fb"][1] + params["feedback"]["bias"][1], 0)
        np.testing.assert_allclose(-gradients["forward"]["w"][1], f.T @ h[1], rtol=0, atol=1e-13)


def test_the_feedback_is_drawn_as_the_authors_did():
    """Variance 2 / n_out: the mean of n squares, over it, is 1 within z sqrt(2 / n); a false alarm of 1e-4."""
    drawn = hebbian.flp_feedback(jax.random.key(3), mlp((7, 2000, 2000, 3), ["relu"] * 3))
    assert [b.shape for b in drawn["w_fb"]] == [(3, 2000), (3, 2000), (3, 3)]
    assert all(c.shape == b.shape[1:] and not np.any(c) for b, c in zip(drawn["w_fb"], drawn["bias"], strict=True))
    squares = np.concatenate([np.ravel(b) for b in drawn["w_fb"]]) ** 2 * 3 / 2
    assert abs(squares.mean() - 1) < NormalDist().inv_cdf(1 - 1e-4 / 2) * math.sqrt(2 / squares.size)
    assert not np.array_equal(drawn["w_fb"][0], drawn["w_fb"][1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hebbian.flp(NET, plastic=[3]), r"plastic=\[3\]: the network has layers 0 to 2"),
        (lambda: hebbian.oja(NET, plastic=[-4]), r"layers 0 to 2 \(or -3 to -1\)"),
        (lambda: hebbian.hebb(NET, plastic=[0, -3]), r"plastic=\[0, -3\]: name each layer once"),
        (lambda: hebbian.oja(NET, plastic=-1), r"plastic=-1 must be a list of layers, as in plastic=\[-1\]"),
        (lambda: hebbian.flp(NET, plastic=[2, 1], alpha=[0.1, 0.2]), "from the first to the last"),
        (lambda: hebbian.flp(NET, plastic=[1, 2], alpha=[0.1] * 3), "3 values of alpha for 2 plastic layers"),
        (lambda: hebbian.flp(NET, beta=[0.1]), "1 values of beta for 3 plastic layers"),
        (lambda: hebbian.plastic_feedback(NET, alpha_fb=[0.1]), "1 values of alpha_fb for 3"),
        (lambda: hebbian.taylor(NET, {(1, 1, 0, 0): [0.1]}), r"theta\[\(1, 1, 0, 0\)\] for 3"),
        (lambda: hebbian.flp(NET, signal="both"), "signal='both' is not known; use one of error, target"),
        (lambda: hebbian.flp(NET, output="free"), "output='free'"),
        (lambda: hebbian.flp(NET, presynaptic="during"), "presynaptic='during'"),
        (lambda: hebbian.flp(NET, product="bcm"), "product='bcm' is not known; use one of hebb, oja"),
        (lambda: hebbian.plastic_feedback(NET, product="bcm"), "product='bcm'"),
        (lambda: hebbian.hebb(NET, reduction="max"), "reduction='max' is not known; use one of sum, mean"),
        (lambda: hebbian.taylor(NET, {}, signal="both"), "signal='both'"),
        (lambda: hebbian.taylor(NET, {(1, 1, 0): 0.1}), "name four powers"),
        (lambda: hebbian.taylor(NET, {(1, -1, 0, 0): 0.1}), "name four powers"),
        (lambda: hebbian.flp_terms(0.1, 0.5, "bcm"), "product='bcm'"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (hebbian.flp(NET, plastic=[1], alpha=jnp.ones(5)), r"alpha of weights \(4, 5\) is \(\), \(4,\) or \(4, 5\)"),
        (hebbian.flp(NET, plastic=[1], alpha=jnp.ones((5, 4))), r"alpha of weights \(4, 5\)"),
        (hebbian.flp(NET, plastic=[1], beta=jnp.ones(5)), r"beta of 4 neurons is \(\) or \(4,\), not \(5,\)"),
        (hebbian.flp(NET, plastic=[1], beta=jnp.ones((3, 1))), "beta of 4 neurons"),
        (hebbian.plastic_feedback(NET, plastic=[1], alpha_fb=jnp.ones((2, 4))), r"alpha_fb of weights \(4, 2\)"),
        (hebbian.taylor(NET, {(1, 0, 0, 1): jnp.ones(3)}), r"theta\[\(1, 0, 0, 1\)\] of weights"),
    ],
)
def test_coefficients_of_the_wrong_shape_are_refused(rule, message):
    params, batch = given()
    with pytest.raises(AssertionError, match=message):
        jax.eval_shape(lambda: rule.update(params, (), seed(0), batch))


def test_params_that_do_not_fit_are_refused():
    params, batch = given()
    rule, key = hebbian.flp(NET), seed(0)
    group = params["feedback"]
    with pytest.raises(ValueError, match="2 feedback matrices and 3 biases for 3 layers"):
        rule.init({**params, "feedback": {**group, "w_fb": group["w_fb"][:2]}}, key, batch)
    with pytest.raises(AssertionError, match=r"w_fb\[0\] must be \(2, 5\)"):
        rule.init({**params, "feedback": {**group, "w_fb": (group["w_fb"][0].T, *group["w_fb"][1:])}}, key, batch)
    with pytest.raises(AssertionError, match=r"the feedback's bias\[2\] must be \(2,\)"):
        rule.init({**params, "feedback": {**group, "bias": (*group["bias"][:2], jnp.zeros(3))}}, key, batch)
    with pytest.raises(AssertionError, match=r"batch.y must be \(B, 2\)"):
        hebbian.oja(NET).update(params, (), key, Example(batch.x, batch.y[:, :1]))


WEIGHED = {
    "hebb": hebbian.hebb,
    "oja": hebbian.oja,
    "flp": hebbian.flp,
    "plastic_feedback": hebbian.plastic_feedback,
    "taylor": lambda net, **options: hebbian.taylor(net, hebbian.flp_terms(0.1, 0.4), **options),
}


@pytest.mark.parametrize("name", WEIGHED)
def test_an_example_counts_by_its_weight(name):
    """A weight of 0 is padding, and 2 counts the example twice; the sum and the loss's mean are over all B."""
    params, batch = given()
    rows = [0, 0, 2]
    repeated = Example(batch.x[jnp.array(rows)], batch.y[jnp.array(rows)])
    weighed = Example(batch.x.at[1].set(9.0), batch.y, weight=np.array([2, 0, 1], np.float32))
    for reduction in ("sum", "mean"):
        rule = WEIGHED[name](NET, reduction=reduction)
        (updates_weighed, _, info), (expected, _, expected_info) = (
            rule.update(params, (), seed(0), b) for b in (weighed, repeated)
        )
        close(updates_weighed, expected)
        close(info.loss, expected_info.loss)
        assert max(float(jnp.abs(w).max()) for w in updates_weighed["forward"]["w"]) > 0


def test_unusable_params_and_batches_are_named_in_one_line():
    params, batch = given()
    for rule in (make(NET) for make in WEIGHED.values()):
        for changed, error, message in (
            ((params, Example(batch.x[:0], batch.y[:0])), ValueError, r"batch\.x has no examples"),
            ((params, (batch.x, batch.y)), TypeError, "batch is a tuple: give an Example"),
            ((params, {"x": batch.x, "y": batch.y}), TypeError, "batch is a dict"),
            (({"feedback": params["feedback"]}, batch), ValueError, r'params\["forward"\] is missing'),
        ):
            for call in (lambda p, b: rule.init(p, seed(0), b), lambda p, b: rule.update(p, (), seed(0), b)):  # noqa: B023
                with pytest.raises(error, match=message) as refusal:
                    call(*changed)
                assert "\n" not in str(refusal.value)
    without_bias = {"forward": params["forward"], "feedback": {"w_fb": params["feedback"]["w_fb"]}}
    with pytest.raises(ValueError, match=r'params\["feedback"\]\["bias"\] is missing'):
        hebbian.flp(NET).init(without_bias, seed(0), batch)
    hebbian.oja(NET).init({"forward": params["forward"]}, seed(0), batch)  # which reads no feedback


def test_labels_are_targets_and_containers_stay():
    params, batch = given()
    labels = np.array([1, 0, 1])
    rule = hebbian.flp(mlp(SIZES, ["relu", "relu", "identity"], "softmax"), signal="target", output="clamped")
    expected, _, _ = rule.update(params, (), seed(0), Example(batch.x, np.eye(2)[labels]))
    close(rule.update(params, (), seed(0), Example(batch.x, labels))[0], expected)
    lists = FrozenDict({group: {name: list(leaves) for name, leaves in of.items()} for group, of in params.items()})
    updates_of_lists, _, _ = rule.update(lists, (), seed(0), Example(batch.x, labels))
    assert jax.tree.structure(updates_of_lists) == jax.tree.structure(lists)
    close(jax.tree.leaves(updates_of_lists), jax.tree.leaves(expected))
