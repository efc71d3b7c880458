"""`check_rule` passes a rule that obeys the laws, and names exactly the laws that a rule breaks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import plasticity_jax as pj
from plasticity_jax.testing import LAWS, check_rule
from plasticity_jax.testing.equality import assert_close, assert_same, assert_same_form
from plasticity_jax.testing.problem import Problem
from plasticity_jax.testing.runs import a_restored_run_is_the_run, in_memory
from tests.testing.rules import FAULTS, GOOD, NOISY, delta, textbook


def outcomes(report):
    return {verdict.law: verdict.outcome for verdict in report.verdicts}


def test_a_good_rule_passes_every_law():
    report = check_rule(GOOD, textbook=textbook)
    assert report.ok
    assert outcomes(report) == dict.fromkeys([*LAWS, "L7"], "passed")


def test_noise_from_the_key_is_lawful():
    assert outcomes(check_rule(NOISY)) == {**dict.fromkeys(LAWS, "passed"), "L7": "skipped"}
    assert check_rule(NOISY._replace(stochastic=None), laws=["L8"]).ok  # a case need not declare it


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named(name):
    case, breaks = FAULTS[name]
    report = check_rule(case, name=name, raises=False)
    reasons = {verdict.law: verdict.reason for verdict in report.verdicts if verdict.outcome == "failed"}
    assert set(reasons) == set(breaks), report
    for law, words in breaks.items():
        assert words in reasons[law]
    assert all(words in " ".join(str(report).split()) for words in breaks.values())
    assert not report.ok


def test_every_law_but_those_with_tests_of_their_own_has_a_fault():
    """Each law has a fault that breaks it together with at most two others."""
    alone = {law for fault in FAULTS.values() if len(fault.breaks) <= 3 for law in fault.breaks}
    assert set(LAWS) - alone == {"L9"}, "every fault that breaks L9 also breaks L2"
    assert any("traced anew" in fault.breaks.get("L9", "") for fault in FAULTS.values())


LOST = {
    "momentum": lambda state: state._replace(
        learner=state.learner._replace(opt_state=jax.tree.map(jnp.zeros_like, state.learner.opt_state))
    ),
    "precision": lambda state: jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf, state
    ),
    "one bit": lambda state: jax.tree.map(
        lambda leaf: jnp.nextafter(leaf, jnp.inf) if leaf.dtype == jnp.float64 else leaf, state
    ),
    "the key": lambda state: state._replace(learner=state.learner._replace(key=jax.random.key(5))),
}


def trial(**changes):
    """The trial in memory, with another chunk or store."""
    return lambda rule: in_memory(rule)._replace(**changes)


@pytest.mark.parametrize("lost", LOST)
def test_l4_detects_losses_of_a_store(lost):
    with pytest.raises(AssertionError, match="the restored state"):
        a_restored_run_is_the_run(Problem(NOISY), trial(restore=lambda state, metrics: LOST[lost](state)))


def test_l4_detects_a_chunk_that_depends_on_more_than_its_state():
    """The chunk counts its calls; the third call is after the restoration."""
    rule = Problem(GOOD)
    chunk, calls = in_memory(rule).chunk, itertools.count()

    def unsteady(state):
        after, metrics = chunk(state)
        third = jax.pure_callback(lambda: np.float64(next(calls) == 2), jax.ShapeDtypeStruct((), jnp.float64))
        return after, {"loss": metrics["loss"] + third}

    with pytest.raises(AssertionError, match="goes on differently after it was restored"):
        a_restored_run_is_the_run(rule, trial(chunk=unsteady))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p, t, k, b, c: ({"w": 1.001 * textbook(p, t, k, b, c)[0]["w"]}, *textbook(p, t, k, b, c)[1:]),
        lambda p, t, k, b, c: textbook(p, t, k, b, {"leak": 0.5}),
        lambda p, t, k, b, c: (textbook(p, t, k, b, c)[0], t, textbook(p, t, k, b, c)[2]),
        lambda p, t, k, b, c: (*textbook(p, t, k, b, c)[:2], 0.0),
    ],
    ids=["weights", "coefficient", "traces", "loss"],
)
def test_l7_detects_another_step(wrong):
    assert check_rule(GOOD, laws=["L7"], textbook=wrong, raises=False).failed == ("L7",)
    assert check_rule(GOOD, laws=["L7"], textbook=textbook).ok


def test_l7_does_not_treat_two_nans_as_equal():
    def nowhere(params, traces, key, batch, coefficients):
        params, after, loss = textbook(params, traces, key, batch, coefficients)
        return params, {**after, "last": np.asarray(np.nan)}, loss

    case = FAULTS["trace_is_not_a_number"].case
    report = check_rule(case, laws=["L7"], textbook=nowhere, raises=False)
    assert report.verdicts[0].reason == "after step 0: state.traces.last is not finite"


def test_a_law_that_fails_is_an_error_with_the_whole_report():
    case = FAULTS["axis_is_added_unsaid"].case
    with pytest.raises(AssertionError) as failure:
        check_rule(case, name="mine", laws=["L1", "L15"])
    message = str(failure.value)
    assert message.startswith("mine: 1 passed, 1 failed\nL1   passed   updates have the structure")
    failed = "\nL15  failed   no axis is added implicitly\n              multiply combines the shapes (2, 3) (3,): "
    assert failed in message
    assert isinstance(failure.value.__cause__.__cause__, ValueError)  # what the rule raised, with its traceback


def test_a_rule_that_cannot_run_fails_law_by_law():
    def make(leak=0.5):
        return pj.LearningRule(lambda p, k, b: {}, lambda p, t, k, b: ({"w": p["w"]}, t, float(jnp.sum(p["w"]))))

    report = check_rule(GOOD._replace(make=make), raises=False)
    assert set(report.failed) == set(LAWS) - {"L14"}  # of init alone
    assert all("ConcretizationTypeError" in v.reason for v in report.verdicts if v.law in ("L1", "L6", "L15"))


def test_laws_are_chosen_and_skipped():
    report = check_rule(GOOD, laws=["L15", "L6", "L1"], skip={"L6": "spikes have a surrogate slope"})
    assert outcomes(report) == {"L1": "passed", "L6": "skipped", "L15": "passed"}
    assert report.ok
    assert "L6   skipped  the gradient through learning is the derivative\n" in str(report)
    assert "spikes have a surrogate slope" in str(report)


def test_a_trial_that_is_too_steep_needs_a_lower_rate():
    """The rule divides by the variance of its noise: it is lawful, but the default rate makes the weights diverge."""

    def make(sigma=0.1):
        rule = delta(0.0, sigma)

        def update(params, traces, key, batch):
            updates, after, info = rule.update(params, traces, key, batch)
            return {"w": info.loss / sigma**2 * updates["w"]}, after, info

        return rule._replace(update=update)

    case = NOISY._replace(make=make, coefficients={"sigma": 0.1})
    report = check_rule(case, laws=["L6"], raises=False)
    assert "difference quotients do not settle" in report.verdicts[0].reason
    assert report.verdicts[0].reason.endswith("too steep at a rate of 0.3")
    assert check_rule(case, laws=["L6"], rate=3e-4).ok


def accumulating(window):
    """A rule that sums its updates, and emits them at the last step of every window."""

    def make(leak=0.5):
        rule = delta(leak, noise=None)

        def init(params, key, batch):
            return {"sum": jnp.zeros_like(params["w"]), "t": jnp.zeros((), jnp.int32), **rule.init(params, key, batch)}

        def update(params, traces, key, batch):
            updates, after, info = rule.update(params, traces, key, batch)
            total, ready = traces["sum"] + updates["w"], (traces["t"] + 1) % window == 0
            after = {**after, "sum": jnp.where(ready, 0, total), "t": traces["t"] + 1}
            return {"w": jnp.where(ready, total / window, 0)}, after, info._replace(ready=ready)

        return pj.LearningRule(init, update)

    return GOOD._replace(make=make)


def test_a_rule_that_accumulates_for_long_needs_a_longer_trial():
    case = accumulating(window=13)
    report = check_rule(case, steps=28, raises=False)
    assert report.ok, report
    assert "L6" in check_rule(case, laws=["L6"], raises=False).failed


def from_zero(key):
    return {"w": jnp.zeros((2, 3))}


def with_counts(key):
    return {"w": jax.random.normal(key, (2, 3)), "mask": jnp.array([1, 0, 1], jnp.int32), "on": jnp.array(True)}


def masked(leak=0.5):
    """The delta rule on the inputs that an integer mask among its params selects."""
    rule = delta(leak, noise=None)

    def update(params, traces, key, batch):
        batch = batch._replace(x=batch.x * params["mask"][None])
        updates, after, info = rule.update(params, traces, key, batch)
        return {**jax.tree.map(jnp.zeros_like, params), **updates}, after, info

    return rule._replace(update=update)


def decay(leak=0.5):
    """A rule that does not use its batch."""

    def update(params, traces, key, batch):
        return {"w": leak * params["w"]}, traces, pj.Info(jnp.sum(params["w"] ** 2))

    return pj.LearningRule(lambda params, key, batch: {}, update)


LAWFUL = {
    "params ignore the key": GOOD._replace(params=from_zero),
    "params ignore the key, and the case does not declare it": GOOD._replace(params=from_zero, stochastic=None),
    "an integer among the params": GOOD._replace(make=masked, params=with_counts),
    "a batch of nothing": GOOD._replace(make=decay, batch=lambda key: {}),
}


@pytest.mark.parametrize("case", LAWFUL.values(), ids=LAWFUL)
def test_an_odd_case_is_lawful(case):
    report = check_rule(case, raises=False)
    assert report.ok, report


def test_two_seeds_that_start_alike_differ_where_the_rule_is_stochastic():
    """Values of a coefficient always differ."""
    dead = FAULTS["noise_ignores_the_key"].case._replace(params=from_zero)
    assert "seed 2 changes nothing" in check_rule(dead, laws=["L5"], raises=False).verdicts[0].reason
    unused = FAULTS["coefficient_is_not_used"].case._replace(params=from_zero)
    assert "gain = 0.7 changes nothing" in check_rule(unused, laws=["L5"], raises=False).verdicts[0].reason


@pytest.mark.parametrize("steps", [0, 7, 1002, 2.5, None])
def test_a_trial_has_two_halves(steps):
    with pytest.raises(ValueError, match=f"steps={steps} is not an even number from 2 to 1000"):
        check_rule(GOOD, steps=steps)


class Unhashable:
    """A function that cannot be hashed, and so not cached."""

    __hash__ = None

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments, **options):
        return self.function(*arguments, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "heuristic"}, "kind is 'heuristic', not one of exact"),
        ({"make": None}, "make is None, not a function"),
        ({"make": lambda leak: delta(leak)}, r"make needs a default for leak: the laws call make\(\), too"),
        ({"coefficients": {"leak": None}}, "the coefficient 'leak' is None, not a number"),
        ({"coefficients": {"leak": (0.5, 0.6)}}, r"the coefficient 'leak' is \(0.5, 0.6\), not a number"),
        ({"coefficients": ("leak",)}, r"coefficients are \('leak',\), not numbers by name"),
        ({"params": lambda key: {"w": np.zeros((2, int(key)))}}, r"params\(key\) cannot be traced: .*int"),
        ({"batch": lambda key: float(jax.random.normal(key))}, r"batch\(key\) cannot be traced: ConcretizationTypeE"),
        ({"params": Unhashable(from_zero)}, r"params\(key\) cannot be traced: TypeError: unhashable"),
    ],
)
def test_a_faulty_case_is_refused_in_a_line(changes, message):
    with pytest.raises(ValueError, match=f"^the case of 'mine': {message}") as refusal:
        check_rule(GOOD._replace(**changes), name="mine", raises=False)
    assert "\n" not in str(refusal.value)


def test_a_ready_of_python_is_lawful():
    def make(leak=0.5):
        rule = delta(leak, noise=None)

        def update(*arguments):
            updates, traces, info = rule.update(*arguments)
            return updates, traces, info._replace(ready=True)

        return rule._replace(update=update)

    assert check_rule(GOOD._replace(make=make)).ok


def test_a_rule_of_an_unhashable_make_is_lawful():
    assert check_rule(GOOD._replace(make=Unhashable(GOOD.make))).ok


@pytest.mark.parametrize("lag", [-1, 1.0, True, None, "1"])
def test_a_lag_is_a_whole_number(lag):
    def make(leak=0.5, lag=lag):
        return delta(leak, noise=None)._replace(lag=lag)

    report = check_rule(GOOD._replace(make=make), laws=["L1"], raises=False)
    assert report.verdicts[0].reason == f"lag is {lag!r}, not a whole number from 0 on"
    assert check_rule(GOOD._replace(make=lambda leak=0.5: make(leak, 3)), laws=["L1"]).ok


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="takes a RuleCase, not 'rflo': give the rule with a tiny worked problem"):
        check_rule("rflo")
    for arguments in ({"laws": ["L1", "L99"]}, {"skip": {"L99": "no"}}):
        with pytest.raises(ValueError, match=r"no law L99; there are L1, L2, .*L15, L16"):
            check_rule(GOOD, **arguments)


def test_the_users_single_precision_is_kept():
    with jax.enable_x64(False):
        assert check_rule(GOOD, laws=["L1", "L3", "L6"]).ok
        assert jnp.zeros(()).dtype == jnp.float32


TREE = {"a": np.arange(3.0), "b": np.array(2, np.int32)}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {**TREE, "a": np.array([0.0, 1.0, 2.0 + 1e-8])},
            r"\['a'\]\[2\] is 2.00000001, not 2 \(1 of 3 entries differ\)",
        ),
        ({**TREE, "a": np.array([0.0, np.nan, 2.0])}, r"\['a'\]\[1\] is nan, not 1"),
        ({**TREE, "a": np.array([0.0, 1.0, np.inf])}, r"\['a'\]\[2\] is inf, not 2"),
        ({**TREE, "b": np.array(3, np.int32)}, r"\['b'\] is 3, not 2"),
        ({**TREE, "a": np.arange(3.0, dtype=np.float32)}, r"\['a'\] is float32\[3\], not float64\[3\]"),
        ({**TREE, "a": np.arange(3.0)[None]}, r"\['a'\] is float64\[1, 3\], not float64\[3\]"),
    ],
)
def test_a_difference_is_reported_in_a_line(other, message):
    for equal in (assert_same, assert_close):
        with pytest.raises(AssertionError, match="^here: " + message):
            equal(other, TREE, message="here")
        with pytest.raises(AssertionError):
            equal(TREE, other)
        equal(other, other)
    rounded = {**TREE, "a": np.array([0.0, 1.0, 2.0 + 1e-12])}
    assert_close(rounded, TREE)
    with pytest.raises(AssertionError):
        assert_same(rounded, TREE)


def test_forms_differ_by_weak_types_and_structures():
    strong, weak = jnp.zeros((), jnp.float64), jnp.asarray(0.0)
    assert weak.weak_type
    assert_same_form(weak, strong, "it", weak=False)
    with pytest.raises(AssertionError, match=r"^it is weakly typed float64\[\], not float64\[\]"):
        assert_same_form(weak, strong, "it")
    with pytest.raises(AssertionError, match="another structure"):
        assert_same_form({"a": strong, "b": None}, {"a": strong}, "it")
    with pytest.raises(AssertionError, match=r"it\['b'\] is nothing, not float64"):
        assert_same_form({"a": strong}, {"a": strong, "b": strong}, "it")
