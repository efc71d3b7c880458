"""Batches without a target: rules that need none learn as with any; the others refuse them in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import networks, rules
from plasticity_jax.layers import init_params
from plasticity_jax.typing import Example

KEY = jax.random.key(0)
X = jnp.array([[1.0, -0.5], [0.3, 0.8], [-0.2, 0.4]])
LOSSES = {"squared": "squared", "softmax": "softmax", "own": lambda z, y: jnp.sum(jnp.abs(z - y))}


def net_of(loss="squared"):
    return networks.mlp((2, 4, 2), ("tanh", "identity"), loss)


def one_update(rule, net, batch):
    params = init_params(KEY, net)
    params["feedback"] = (
        {**params["feedback"], **rules.flp_feedback(KEY, net)} if rule in NEED_TARGET else params["feedback"]
    )
    made = getattr(rules, rule)(net, *NEED_TARGET.get(rule, ()))
    return made.update(params, made.init(params, KEY, batch), KEY, batch)


NEED_TARGET = {"flp": (), "plastic_feedback": (), "taylor": ({(1, 1, 0, 0): 0.1},)}


@pytest.mark.parametrize("weight", [None, jnp.array([1.0, 0.0, 2.0])], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", ["hebb", "oja", "bcm"])
def test_a_target_is_read_for_the_loss_alone(rule, loss, weight):
    net = net_of(LOSSES[loss])
    updates, traces, info = one_update(rule, net, Example(X, None, weight=weight))
    expected, after, info_with_target = one_update(rule, net, Example(X, jnp.ones((3, 2)), weight=weight))
    jax.tree.map(np.testing.assert_array_equal, (updates, traces), (expected, after))
    np.testing.assert_array_equal(info.aux["output"], info_with_target.aux["output"])
    assert np.abs(updates["forward"]["w"][0]).max() > 1e-5
    assert float(info.loss) == 0 < float(info_with_target.loss)


@pytest.mark.parametrize(
    "rule", [*NEED_TARGET, "three_factor", "backprop", "node_perturbation", "weight_perturbation", "spsa"]
)
def test_a_rule_that_needs_a_target_names_it(rule):
    with pytest.raises(ValueError, match=r"^batch\.y is None: give a target, Example\(x, y\); "):
        one_update(rule, net_of(), Example(X, None))
