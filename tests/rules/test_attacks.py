"""Regressions: user data that rules once took silently and wrongly, and errors that must name them."""

import collections
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import cells, networks
from plasticity_jax.base import learner
from plasticity_jax.rules import feedback, online
from plasticity_jax.typing import Example

KEY = jax.random.key(0)
LEAKY = cells.leaky(2, 3, 2, loss="squared")
PARAMS = cells.init_params(KEY, LEAKY, jnp.float64)
BATCH = Example(jnp.ones((1, 2)), jnp.array([[0.3, -0.2]]))
TRACED = ("rtrl", "rflo", "snap", "uoro", "kf_rtrl", "reverse_kf_rtrl", "dni", "dni_b", "kernl", "bptt")


def one_update(rule, params, batch=BATCH, traces=None):
    traces = rule.init(params, KEY, batch) if traces is None else traces
    return rule.update(params, traces, KEY, batch)


def finite(tree):
    return all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", ["rtrl", "bptt"])
def test_gradients_match_their_weights_in_unsorted_containers(name):
    """The state is zero at first, so the first gradient of the recurrent weights is zero, and the input's is not."""

    def step(w, s, x):
        return jnp.tanh(w["w"] @ s + w["u"] @ x)

    options = {"window": 1} if name == "bptt" else {}
    gradients = {}
    for container in (dict, collections.OrderedDict):
        weights = container(w=0.5 * jnp.eye(3), u=jnp.eye(3))
        cell = cells.Cell(lambda key, w=weights: w, lambda: jnp.zeros(3), step, lambda s: s, 3, 2, "squared")
        params = cells.init_params(KEY, cell, jnp.float64)
        updates = one_update(getattr(online, name)(cell, **options), params, Example(jnp.ones((1, 3)), BATCH.y))[0]
        gradients[container] = updates["forward"]["cell"]
        assert isinstance(gradients[container], container)
    for leaf in ("w", "u"):
        np.testing.assert_array_equal(gradients[dict][leaf], gradients[collections.OrderedDict][leaf])
    assert not np.any(gradients[dict]["w"])
    assert np.any(gradients[dict]["u"])


def test_groups_in_an_ordered_dict_keep_their_shapes():
    params = collections.OrderedDict(
        forward=collections.OrderedDict(w_out=PARAMS["forward"]["w_out"], w=PARAMS["forward"]["w"]),
        feedback=PARAMS["feedback"],
    )
    updates = one_update(online.rflo(LEAKY), params)[0]
    expected = one_update(online.rflo(LEAKY), PARAMS)[0]
    for leaf in ("w", "w_out"):
        np.testing.assert_array_equal(updates["forward"][leaf], expected["forward"][leaf])


@chex.dataclass
class Groups:
    """Params that are a mapping with attributes in its paths."""

    forward: dict
    feedback: dict


def test_groups_that_are_attributes_wait_too():
    learn = learner(online.bptt(LEAKY, window=3), optax.adam(0.1))
    for params in (PARAMS, Groups(**PARAMS)):
        state = learn.init(params, KEY, BATCH)
        moved = []
        for _ in range(5):
            before, (state, _) = state.params["forward"]["w"], learn.step(state, BATCH)
            moved.append(float(jnp.abs(state.params["forward"]["w"] - before).max()))
        assert [m > 0 for m in moved] == [False, False, True, False, False]


def test_snap_on_a_cell_teaches_a_weight_that_is_zero_at_first():
    def step(w, s, x):
        return 0.9 * s + w["b"] @ jnp.tanh(w["a"] @ x)

    def start(key):
        return {"a": 0.5 * jax.random.normal(key, (3, 2)), "b": jnp.zeros((3, 3))}

    cell = cells.Cell(start, lambda: jnp.zeros(3), step, lambda s: s, 2, 2, "squared")
    learn = learner(online.snap(cell, n=2), optax.sgd(0.1))
    state = learn.init(cells.init_params(KEY, cell, jnp.float64), KEY, BATCH)
    a = state.params["forward"]["cell"]["a"]
    for _ in range(8):
        state, _ = learn.step(state, BATCH)
    assert np.abs(state.params["forward"]["cell"]["a"] - a).max() > 1e-5


def test_a_cell_is_checked_as_neurons_are():
    cell = cells.Cell(lambda key: jnp.eye(3), lambda: jnp.zeros(3), lambda w, s, x: w @ s + x, lambda s: s, 3, 2)
    with pytest.raises(ValueError, match="loss='cross_entropy' is not known"):
        online.rtrl(cell._replace(loss="cross_entropy"))
    with pytest.raises(ValueError, match="n_out=0"):
        online.rtrl(cell._replace(n_out=0))
    other = cell._replace(
        init_state=lambda: {"c": jnp.zeros(3), "h": jnp.ones(3)},
        step=lambda w, s, x: (s["h"], s["c"]),
        read=lambda s: s["h"],
    )
    params = cells.init_params(KEY, other)
    with pytest.raises(ValueError, match="step returns a state of shapes"):
        one_update(online.rtrl(other), params, Example(jnp.ones((1, 3)), BATCH.y))


@pytest.mark.parametrize("name", TRACED)
def test_padding_that_is_not_finite_teaches_nothing(name):
    rule = getattr(online, name)(LEAKY)
    nothing = jnp.full((1, 2), jnp.nan)
    traces = rule.init(PARAMS, KEY, BATCH)
    updates, after, info = one_update(rule, PARAMS, Example(nothing, nothing, None, jnp.zeros(1)), traces)
    assert float(info.loss) == 0
    assert finite((updates, after))
    assert not np.any(updates["forward"]["w_out"])
    unpadded = one_update(rule, PARAMS, Example(nothing, nothing, None, jnp.ones(1)), traces)[2]
    assert np.isnan(unpadded.loss), "a NaN outside of padding must show in the loss"


@pytest.mark.parametrize("name", TRACED)
def test_a_start_clears_traces_that_are_not_finite(name):
    rule = getattr(online, name)(LEAKY, **({"window": 1} if name == "bptt" else {}))
    traces = rule.init(PARAMS, KEY, BATCH)
    ruined = traces._replace(
        state=traces.state * jnp.inf, own=jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.inf), traces.own)
    )
    updates, after, _ = one_update(rule, PARAMS, BATCH._replace(start=jnp.array([True])), ruined)
    assert finite((updates, after.state, after.own))
    assert not finite(one_update(rule, PARAMS, BATCH._replace(start=jnp.array([False])), ruined)[0])


def test_own_parameters_of_another_cell_are_refused():
    learning = cells.leaky(2, 3, 2, loss="squared", learn=("alpha",))
    with pytest.raises(ValueError, match="leaky learns no parameters of its neurons"):
        one_update(online.rflo(LEAKY), cells.init_params(KEY, learning))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: online.bptt(LEAKY, window=2.0), "window=2.0 must be a whole number"),
        (lambda: online.snap(LEAKY, n=1.5), "n=1.5 must be a whole number"),
        (lambda: online.dni(LEAKY, target_interval=2.5), "target_interval=2.5 must be a whole number"),
        (lambda: cells.leaky(2, 5, 2, alpha=np.full(3, 0.5)), r"alpha has shape \(3,\)"),
        (lambda: cells.lif(2, 5, 2, threshold=np.ones(3)), r"threshold has shape \(3,\)"),
        (lambda: cells.leaky_readout(LEAKY, np.full(2, 0.5)), r"decay has shape \(2,\)"),
        (lambda: online.rflo(LEAKY, leak=jnp.full(2, 0.5)), r"leak has shape \(2,\)"),
        (lambda: online.rflo(LEAKY, leak="a"), "leak='a' is not a number"),
        (lambda: online.kernl(LEAKY, initial_leak=jnp.full(2, 0.5)), r"initial_leak has shape \(2,\)"),
        (lambda: one_update(online.rflo(LEAKY), PARAMS, Example(BATCH.x, None)), "batch.x and batch.y must both"),
        (lambda: one_update(online.rflo(LEAKY), PARAMS, Example(BATCH.x * 1j, BATCH.y)), "batch.x is complex"),
        (
            lambda: one_update(online.rflo(LEAKY._replace(loss=lambda z, y: (z - y) ** 2)), PARAMS),
            "it must return one number",
        ),
    ],
)
def test_bad_arguments_are_named(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("lead", [(1,), (1, 4)])
def test_labels_for_a_squared_loss_are_refused_with_the_remedy(lead):
    rule = online.rflo(LEAKY) if len(lead) == 1 else feedback.recurrent_feedback_alignment(LEAKY)
    params = {**PARAMS, "feedback": cells.init_feedback(KEY, LEAKY, jnp.float64)}
    batch = Example(jnp.ones((*lead, 2)), jnp.ones(lead, int))
    message = f"batch.y holds int64 labels of shape {lead}, and loss='squared' takes targets {(*lead, 2)}: give "
    with pytest.raises(ValueError, match=re.escape(f"{message}jax.nn.one_hot(batch.y, 2), or build the network with")):
        rule.init(params, KEY, batch)
    rule.init(params, KEY, batch._replace(y=jax.nn.one_hot(batch.y, 2)))


@pytest.mark.parametrize("field", ["x", "y"])
def test_a_chain_refuses_complex_data(field):
    net = networks.mlp((3, 2), ("identity",))
    batch = Example(jnp.ones((4, 3)), jnp.ones((4, 2)))
    batch = batch._replace(**{field: getattr(batch, field) * (1 + 1j)})
    with pytest.raises(ValueError, match=f"batch.{field} is complex; give real numbers"):
        one_update(feedback.backprop(net), networks.init_params(KEY, net), batch)


def test_lists_are_taken_for_arrays():
    listed = Example([[1.0, 1.0]], [[0.3, -0.2]])
    jax.tree.map(np.testing.assert_array_equal, one_update(online.rflo(LEAKY), PARAMS, listed)[0],
                 one_update(online.rflo(LEAKY), PARAMS)[0])  # fmt: skip
    cell = cells.leaky(2, 3, 2, alpha=[0.5, 0.5, 0.5], loss="squared")
    np.testing.assert_allclose(
        one_update(online.rflo(cell), PARAMS)[2].loss, one_update(online.rflo(LEAKY), PARAMS)[2].loss
    )


def test_constants_of_a_wider_dtype_do_not_widen_a_window():
    cell = cells.leaky(2, 3, 2, alpha=np.full(3, 0.5, np.float32), loss="squared")
    params = cells.init_params(KEY, cell, jnp.bfloat16)
    windows = Example(jnp.ones((2, 4, 2)), jnp.ones((2, 4, 2)))
    updates = one_update(online.bptt(cell, window=None), params, windows)[0]
    assert updates["forward"]["w"].dtype == jnp.bfloat16
    assert cells.advance(cell, params["forward"], jnp.zeros((1, 3), jnp.bfloat16), jnp.ones(2)).dtype == jnp.bfloat16


def test_learned_feedback_stays_where_connections_are():
    mask = cells.stack_mask([2, 2], 2)
    cell = cells.leaky(2, 4, 2, alpha=1.0, loss="squared", mask=mask)
    params = {**cells.init_params(KEY, cell, jnp.float64), "feedback": cells.init_feedback(KEY, cell, jnp.float64)}
    rule = feedback.recurrent_node_perturbation(cell, estimator="ridge", p=0.5, sigma=0.1)
    key_x, key_y = jax.random.split(KEY)
    windows = Example(jax.random.normal(key_x, (50, 4, 2)), jax.random.normal(key_y, (50, 4, 2)))
    update = one_update(rule, params, windows)[0]["feedback"]["w_back"]
    assert not np.any(update[:, ~mask[:, :4]])
    assert np.abs(update[:, mask[:, :4]]).max() > 1e-3
