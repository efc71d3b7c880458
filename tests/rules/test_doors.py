"""Input of the online rules: bad input is refused in one line that names the argument and the remedy.

Data may be in NumPy, in another dtype, in lists or in frozen dicts; the weights set the form of the updates.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import FrozenDict

from plasticity_jax.base import learner
from plasticity_jax.cells import Cell, init_params, leaky, neurons
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.rules.helpers import ONLINE, close, differ

N, N_IN, N_OUT, B = 4, 2, 3, 2
KEY = jax.random.key(0)
SIZES = {"n_in": N_IN, "n": N, "n_out": N_OUT}
NEURONS_ONLY = ("rflo", "kf_rtrl", "reverse_kf_rtrl", "kernl", "eprop", "recurrent_three_factor")
NOISY = ("uoro", "kf_rtrl", "reverse_kf_rtrl", "recurrent_three_factor")
"""Rules whose random numbers depend on the dtype."""


def cell_of(**options):
    return leaky(N_IN, N, N_OUT, **options)


def batch_of(dtype=jnp.float64, **fields):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((B, N_IN)), rng.dirichlet(np.ones(N_OUT), B)
    return Example(**{"x": jnp.asarray(x, dtype), "y": jnp.asarray(y, dtype), **fields})


def params_of(cell=None, dtype=jnp.float64):
    return init_params(KEY, cell_of() if cell is None else cell, dtype)


def step(rule, params=None, batch=None):
    """``(updates, traces, info)`` of the second of two steps, after which no trace is zero."""
    params, batch = params_of() if params is None else params, batch_of() if batch is None else batch
    traces = rule.update(params, rule.init(params, KEY, batch), KEY, batch)[1]
    return rule.update(params, traces, KEY, batch)


def any_cell():
    return Cell(lambda key: jnp.eye(N), lambda: jnp.zeros(N), lambda w, s, x: jnp.tanh(w @ s), lambda s: s, N_IN, N_OUT)


def refused(error, match, run):
    """Asserts that `run` raises the error, with a message of one line that matches."""
    with pytest.raises(error, match=match) as refusal:
        run()
    lines = [line for line in str(refusal.value).splitlines() if line.strip()]
    assert error is AssertionError or len(lines) == 1, lines


# Cells of the wrong kind.


@pytest.mark.parametrize("name", ONLINE)
def test_a_cell_that_was_not_built_is_refused(name):
    refused(TypeError, r"cell=leaky was not built: give its sizes first, as in leaky\(n_in", lambda: make(name, leaky))


@pytest.mark.parametrize("name", ONLINE)
def test_a_flax_module_in_place_of_a_cell_is_refused(name):
    module = nn.GRUCell(features=N)
    refused(TypeError, r"GRUCell is a flax module: give pj\.cells\.from_flax\(GRUCell\(", lambda: make(name, module))


@pytest.mark.parametrize("cell", [3, None, "leaky", {"n": 3}], ids=str)
def test_other_objects_in_place_of_a_cell_are_refused(cell):
    refused(TypeError, r"cell is a \w+: give a cell, as pj\.cells\.leaky", lambda: online.rtrl(cell))


def make(name, cell, **options):
    return getattr(online, name)(cell, **options)


@pytest.mark.parametrize("name", NEURONS_ONLY)
def test_a_rule_for_neurons_refuses_other_cells(name):
    refused(TypeError, rf"{name} needs a cell of neurons, and cell is .*use rtrl, bptt, uoro, dni or snap, or write",
            lambda: make(name, any_cell()))  # fmt: skip


@pytest.mark.parametrize("name", [name for name in ONLINE if name not in (*NEURONS_ONLY, "dni_b")])
def test_the_other_rules_take_any_step(name):
    cell = any_cell()
    updates, _, info = step(make(name, cell), params_of(cell))
    assert np.isfinite(info.loss)
    assert updates["forward"]["cell"].shape == (N, N)


@pytest.mark.parametrize("name", ["kernl", "dni_b"])
def test_a_rule_for_one_variable_refuses_a_cell_of_several(name):
    cell = neurons(**SIZES, update=lambda own, s, v: s + v, variables=("voltage", "current"))
    refused(ValueError, r"neurons has|one variable", lambda: make(name, cell))


def test_a_leak_for_several_variables_is_refused():
    cell = neurons(**SIZES, update=lambda own, s, v: s + v, variables=("voltage", "current"))
    refused(ValueError, r"leak=0\.5 is for cells of one variable; neurons has voltage, current: leave it out",
            lambda: online.rflo(cell, leak=0.5))  # fmt: skip


# A cell's own arguments.


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mask": np.ones((N, N + 1))}, r"mask has shape \(4, 5\); give \(n, n\) = \(4, 4\)"),
        ({"loss": "mse"}, r"loss='mse' is not known; use one of softmax, squared, or a callable"),
        ({"activation": "selu"}, r"activation='selu' is not known; use one of .*, or a callable"),
        ({"alpha": 1.5}, r"alpha=1\.5 is outside \(0, 1\]: it is the fraction"),
        ({"learn": ("beta",)}, r"learn='beta' is not one of its parameters; they are alpha"),
    ],
)
def test_bad_arguments_of_a_cell_are_refused(options, match):
    refused(ValueError, match, lambda: cell_of(**options))


def test_an_update_that_mixes_neurons_is_refused():
    refused(ValueError, r"neurons: update mixes neurons: entry i .*use pj\.cells\.Cell",
            lambda: neurons(**SIZES, update=lambda own, s, v: s + v.mean()))  # fmt: skip


# A rule's own arguments.


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("rflo", {"leak": 3.0}, r"leak=3 is outside \(0, 1\]: it is the share that a trace forgets"),
        ("rflo", {"leak": 0}, r"leak=0 is outside \(0, 1\]"),
        ("rflo", {"leak": np.array([0.5, 0.5, 2.0, 0.5])}, r"leak=2 is outside \(0, 1\]"),
        ("rflo", {"feedback": "fixed"}, r"feedback='fixed' is not known; use one of readout, random, adaptive"),
        ("rtrl", {"decay": -0.1}, r"decay=-0\.1 is outside \[0, 1\]: it is the factor"),
        ("uoro", {"rho0": 0.0}, r"rho0=0 is outside \(0, inf\): it is the scale"),
        ("kf_rtrl", {"rho1": -1.0}, r"rho1=-1 is outside \(0, inf\)"),
        ("uoro", {"noise": "uniform"}, r"noise='uniform' is not known"),
        ("kernl", {"sigma": -1.0}, r"sigma=-1 is outside \[0, inf\)"),
        ("kernl", {"initial_leak": 0.0}, r"initial_leak=0 is outside \(0, inf\)"),
        ("snap", {"n": 0}, r"n=0 must be a whole number of at least 1 step"),
        ("bptt", {"window": 0}, r"window=0 must be a whole number of at least 1 step"),
        ("dni", {"jacobian": "guessed"}, r"jacobian='guessed' is not known; use one of exact, learned"),
    ],
)
def test_bad_arguments_of_a_rule_are_refused(name, options, match):
    refused(ValueError, match, lambda: make(name, cell_of(), **options))


def test_kernls_initial_leak_may_exceed_one():
    """KeRNL's alpha_i is learned, and may begin where its trace forgets everything."""
    assert np.isfinite(step(online.kernl(cell_of(), initial_leak=1.4))[2].loss)


def test_a_learner_refuses_what_is_not_a_rule_or_an_optimiser():
    refused(TypeError, r"rule=rflo is not a LearningRule: call it with its network first, as in rflo\(cell\)",
            lambda: learner(online.rflo, optax.sgd(0.1)))  # fmt: skip
    refused(TypeError, r"tx=0\.1 is not an optax optimiser: give one, as in optax\.sgd\(0\.1\)",
            lambda: learner(online.rflo(cell_of()), 0.1))  # fmt: skip


# Params and batches.


def without(tree, group, name=None):
    if name is None:
        return {key: leaf for key, leaf in tree.items() if key != group}
    return {**tree, group: {key: leaf for key, leaf in tree[group].items() if key != name}}


def refused_by_both(rule, params, batch, error, match):
    """Asserts that init and update both refuse."""
    refused(error, match, lambda: rule.init(params, KEY, batch))
    traces = rule.init(params_of(), KEY, batch_of())
    refused(error, match, lambda: rule.update(params, traces, KEY, batch))


BATCHES = [
    ({"x": 1, "y": 2}, TypeError, r"batch is a dict: give pj\.Example\(x, y\) with x \(B, n_in\)"),
    ((np.ones((B, N_IN)), np.ones((B, N_OUT))), TypeError, r"batch is a tuple: give pj\.Example"),
    (batch_of(x=jnp.ones((B, N_IN + 1))), AssertionError, r"batch\.x must be \(B, n_in\); leaky has n_in=2"),
    (batch_of(x=jnp.ones(N_IN)), AssertionError, r"batch\.x must be \(B, n_in\), n_in=2"),
    (
        batch_of(y=jnp.ones((B, N_OUT + 1))),
        AssertionError,
        r"batch\.y must be \(B, n_out\), n_out=3, or integer labels",
    ),
    (batch_of(y=jnp.ones(B)), AssertionError, r"batch\.y must be \(B, n_out\), n_out=3, or integer labels \(B\)"),
    (batch_of(y=np.array([0, 3])), ValueError, r"batch\.y has the label 3; with 3 outputs use 0 to 2"),
    (batch_of(y=np.array([-1, 0])), ValueError, r"batch\.y has the label -1; with 3 outputs use 0 to 2"),
    (batch_of(start=jnp.ones(B + 1, bool)), AssertionError, r"batch\.start must be \(B\) = \(2,\)"),
    (batch_of(weight=jnp.ones((B, 1))), AssertionError, r"batch\.weight must be \(B\) = \(2,\)"),
    (Example(jnp.ones((0, N_IN)), jnp.ones((0, N_OUT))), ValueError, r"batch\.x has no examples .*leave the step out"),
]


@pytest.mark.parametrize(("batch", "error", "match"), BATCHES, ids=[match for *_, match in BATCHES])
def test_bad_batches_are_refused(batch, error, match):
    refused_by_both(online.rflo(cell_of()), params_of(), batch, error, match)


def test_another_number_of_streams_than_at_init_is_refused():
    rule = online.rflo(cell_of())
    traces = rule.init(params_of(), KEY, batch_of())
    more = Example(jnp.ones((B + 1, N_IN)), jnp.ones((B + 1, N_OUT)) / N_OUT)
    refused(ValueError, r"batch\.x has B=3 streams, but the traces were made for 2: .*keep B, or call init again",
            lambda: rule.update(params_of(), traces, KEY, more))  # fmt: skip


def test_missing_groups_and_weights_are_named():
    params = params_of()
    exact, random = online.rflo(cell_of()), online.rflo(cell_of(), feedback="random")
    refused_by_both(exact, without(params, "forward"), batch_of(), ValueError, r"params has no group 'forward'")
    refused_by_both(
        random, without(params, "feedback"), batch_of(), ValueError,
        r"params has no group 'feedback', which this rule reads; pj\.cells\.init_params makes it",
    )  # fmt: skip
    refused_by_both(
        random, without(params, "feedback", "w_fb"), batch_of(), ValueError,
        r"params\[\"feedback\"\] has no \"w_fb\", which feedback='random' reads",
    )  # fmt: skip
    for name in ("w", "w_out"):
        match = rf"params\[\"forward\"\] has no '{name}'; leaky has w, w_out"
        refused_by_both(exact, without(params, "forward", name), batch_of(), ValueError, match)
    refused_by_both(exact, [params], batch_of(), TypeError, r"params is a list: give the groups")


def test_a_group_that_is_not_read_may_be_missing_or_of_any_kind():
    params = params_of()
    expected = step(online.rflo(cell_of()), params)[0]["forward"]
    for given in (without(params, "feedback"), {**params, "feedback": {"other": jnp.ones(7)}, "more": jnp.ones(2)}):
        updates = step(online.rflo(cell_of()), given)[0]
        jax.tree.map(np.testing.assert_array_equal, updates["forward"], expected)
        assert jax.tree.structure(updates) == jax.tree.structure(given)
        others = jax.tree.leaves(without(updates, "forward"))
        assert not any(np.asarray(leaf).any() for leaf in others)


def test_missing_own_parameters_are_named():
    """The error names the group, and the parameter in it."""
    cell = cell_of(learn=("alpha",))
    params, rule = params_of(cell), online.rflo(cell)
    refused(ValueError, r"params\[\"forward\"\] has no 'own'; leaky has w, own, w_out",
            lambda: rule.init(without(params, "forward", "own"), KEY, batch_of()))  # fmt: skip
    params["forward"]["own"] = {"beta": jnp.ones(N)}
    with pytest.raises(ValueError, match="has beta, and leaky learns alpha"):
        rule.init(params, KEY, batch_of())


@pytest.mark.parametrize("shape", [(N, N + N_IN + 1), (2, N, N + N_IN + 1), (1, N, N + N_IN), (1, N + 1, N + N_IN + 1)])
def test_weights_that_do_not_fit_the_gates_are_refused(shape):
    params = params_of()
    params["forward"]["w"] = jnp.ones(shape)
    match = r"w must be \(gates, n, m\) = \(1, 4, 7\) for leaky with the gates drive"
    refused_by_both(online.rflo(cell_of()), params, batch_of(), AssertionError, match)


# Containers and dtypes.


def frozen(params):
    return FrozenDict(params)


def numpy_leaves(params):
    return jax.tree.map(np.asarray, params)


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize("form", [frozen, numpy_leaves])
def test_updates_come_in_the_containers_of_the_params(name, form):
    """The updates' values do not depend on the containers."""
    rule = make(name, cell_of())
    expected, given = step(rule)[0], form(params_of())
    updates = step(rule, given)[0]
    assert jax.tree.structure(updates) == jax.tree.structure(given)
    jax.tree.map(lambda a, b: close(a, b, 1e-14), jax.tree.leaves(updates), jax.tree.leaves(expected))
    optax.apply_updates(given, updates)


def test_weights_in_lists_give_updates_in_lists():
    """A cell of tier one takes any tree."""

    def move(w, s, x):
        return jnp.tanh(w[0] @ s + w[1] @ x)

    cell = Cell(
        lambda key: [0.5 * jnp.eye(N), jnp.ones((N, N_IN))], lambda: jnp.zeros(N), move, lambda s: s, N_IN, N_OUT
    )
    params = params_of(cell)
    assert isinstance(params["forward"]["cell"], list)
    for name in ("rtrl", "bptt", "uoro", "snap", "dni"):
        updates = step(make(name, cell, **({"window": 1} if name == "bptt" else {})), params)[0]
        assert jax.tree.structure(updates) == jax.tree.structure(params)
        assert np.abs(updates["forward"]["cell"][0]).max() > 1e-4


def floats(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ONLINE)
def test_the_weights_set_the_dtype(name, dtype):
    """Data, starts and weights in NumPy's float64, under x64, leave every output in the weights' dtype."""
    params, given = params_of(dtype=dtype), jax.tree.map(np.asarray, batch_of())
    assert floats(params) == {jnp.dtype(dtype)}
    batch = given._replace(start=np.array([True, False]), weight=np.array([0.5, 1.0]))
    updates, traces, info = step(make(name, cell_of()), params, batch)
    assert floats((updates, traces, info.loss, info.aux)) == {jnp.dtype(dtype)}
    assert all(np.isfinite(np.asarray(leaf, float)).all() for leaf in jax.tree.leaves((updates, info.loss)))


@pytest.mark.parametrize("name", [name for name in ONLINE if name not in (*NOISY, "dni", "dni_b")])  # DNI draws its A
def test_bfloat16_is_a_coarse_float64(name):
    """Gradients of the rounded weights agree to a few units of the eighth bit."""
    options = {"learning_rate": 0.0} if name == "kernl" else {"window": 2} if "bptt" in name else {}
    rule, low = make(name, cell_of(), **options), params_of(dtype=jnp.bfloat16)
    high = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), low)
    coarse, fine = step(rule, low)[0]["forward"], step(rule, high)[0]["forward"]
    for a, b in zip(jax.tree.leaves(coarse), jax.tree.leaves(fine), strict=True):
        np.testing.assert_allclose(np.asarray(a, float), b, rtol=0, atol=0.04 * np.abs(b).max(initial=1e-9))
    differ(np.asarray(coarse["w_out"], float), fine["w_out"], 1e-6)


# Losses and activations.


def softmax_by_hand(z, y):
    return -jnp.sum(y * (z - jax.nn.logsumexp(z)))


def squared_by_hand(z, y):
    return 0.5 * jnp.sum((z - y) ** 2)


@pytest.mark.parametrize(("loss", "same"), [("softmax", softmax_by_hand), ("squared", squared_by_hand)])
@pytest.mark.parametrize("name", ONLINE)
def test_a_loss_given_as_a_callable_is_the_named_one(name, loss, same):
    options = {"window": 2} if "bptt" in name else {}
    named, called = (step(make(name, cell_of(loss=each), **options)) for each in (loss, same))
    jax.tree.map(lambda a, b: close(a, b, 1e-13), called[0], named[0])
    close(called[2].loss, named[2].loss, 1e-13)
    other = step(make(name, cell_of(loss="squared" if loss == "softmax" else "softmax"), **options))
    differ(other[0]["forward"]["w_out"], named[0]["forward"]["w_out"], 0.05)


@pytest.mark.parametrize("name", ["rtrl", "rflo", "uoro", "kernl", "dni"])
def test_an_activation_given_as_a_callable_is_the_named_one(name):
    named, called = (
        step(make(name, cell_of(activation=phi)))[0] for phi in ("sigmoid", lambda v: 1 / (1 + jnp.exp(-v)))
    )
    jax.tree.map(lambda a, b: close(a, b, 1e-13), called, named)
    differ(step(make(name, cell_of()))[0]["forward"]["w"], named["forward"]["w"], 0.05)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_softmax_gradients_hold_for_targets_that_do_not_sum_to_one(share):
    """A target of zeros gives no gradient; half a target gives that of `jax.grad`."""
    batch = batch_of()
    updates, _, info = step(online.rtrl(cell_of()), batch=batch._replace(y=share * batch.y))
    params = params_of()

    def total(forward):
        """The second step's loss, in two steps written out."""

        def one(x, y):
            r = jnp.zeros(N)
            for _ in range(2):
                r = 0.5 * r + 0.5 * jnp.tanh(forward["w"][0] @ jnp.concatenate([r, x, jnp.ones(1)]))
            z = forward["w_out"] @ jnp.append(r, 1.0)
            return -jnp.sum(y * jnp.log(jnp.exp(z) / jnp.sum(jnp.exp(z))))

        return jnp.mean(jax.vmap(one)(batch.x, share * batch.y))

    loss, expected = jax.value_and_grad(total)(params["forward"])
    jax.tree.map(lambda a, b: close(a, b, 1e-13), updates["forward"], expected)
    close(info.loss, loss, 1e-13)
    assert (np.abs(updates["forward"]["w"]).max() > 1e-4) == (share > 0)


def test_targets_of_a_callable_loss_may_have_any_form():
    """Class numbers reach a custom loss as they are, not as distributions."""

    def of_label(z, y):
        return -jax.nn.log_softmax(z)[y]

    labels = jnp.array([2, 0])
    updates = step(online.rtrl(cell_of(loss=of_label)), batch=batch_of(y=labels))[0]
    expected = step(online.rtrl(cell_of()), batch=batch_of(y=labels))[0]
    jax.tree.map(lambda a, b: close(a, b, 1e-13), updates, expected)
    refused(ValueError, r"batch\.y has shape \(3,\); its leading axes must be \(B\) = \(2,\)",
            lambda: step(online.rtrl(cell_of(loss=of_label)), batch=batch_of(y=jnp.zeros(3, int))))  # fmt: skip


# Coefficients for each neuron.

EACH = {
    "alpha": lambda value: online.rflo(cell_of(alpha=value)),
    "alpha of rtrl": lambda value: online.rtrl(cell_of(alpha=value)),
    "alpha of uoro": lambda value: online.uoro(cell_of(alpha=value)),
    "alpha of bptt": lambda value: online.bptt(cell_of(alpha=value), window=2),
    "leak": lambda value: online.rflo(cell_of(), leak=value),
    "initial_leak": lambda value: online.kernl(cell_of(), initial_leak=value),
}


@pytest.mark.parametrize("name", EACH)
def test_a_constant_coefficient_for_each_neuron_equals_one_number(name):
    """An uneven one differs, and traced ones equal eager ones."""
    rule_of = EACH[name]
    constant, uneven = jnp.full(N, 0.4), jnp.array([0.4, 0.9, 0.2, 0.6])
    number = step(rule_of(0.4))[0]["forward"]["w"]
    traced = jax.jit(lambda value: step(rule_of(value))[0]["forward"]["w"])
    close(step(rule_of(constant))[0]["forward"]["w"], number, 1e-13)
    close(step(rule_of(np.asarray(constant)))[0]["forward"]["w"], number, 1e-13)
    close(traced(constant), number, 1e-13)
    close(traced(0.4), number, 1e-13)
    close(traced(uneven), step(rule_of(uneven))[0]["forward"]["w"], 1e-13)
    differ(traced(uneven), number, 1e-2)


def test_each_neuron_has_its_own_leak():
    """The gradient of each neuron is that of a rule with this neuron's leak for all."""
    leaks = np.array([0.4, 0.9, 0.2, 0.6])
    together = step(online.rflo(cell_of(), leak=leaks))[0]["forward"]["w"][0]
    for i, leak in enumerate(leaks):
        close(together[i], step(online.rflo(cell_of(), leak=leak))[0]["forward"]["w"][0, i], 1e-13)


@functools.cache
def half_precision():
    return init_params(KEY, cell_of(), jnp.bfloat16)


def test_initial_weights_are_drawn_in_bfloat16():
    assert floats(half_precision()) == {jnp.dtype(jnp.bfloat16)}
    assert np.abs(np.asarray(half_precision()["forward"]["w"], float)).max() > 0.1
