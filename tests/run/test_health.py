"""Divergence of a training under any rule: the loop reports its step, its weights and its recovery."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.meta import Life, meta_gradient
from plasticity_jax.run import Divergence, divergences, online_training, run
from plasticity_jax.run.program import at_each
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Episode

STEPS, EVERY, CHUNKS, AT = 24, 3, 4, 13
PARAMS = {"forward": {"w": jnp.array([0.5, -2.0])}, "feedback": {"b": jnp.array([0.25, 0.5])}, "idle": jnp.array(1.0)}


def rule(spoil):
    """A rule that does nothing, except at the step at which `spoil` changes the loss and the updates."""

    def update(params, traces, key, batch):
        loss, updates = spoil(batch, jnp.sum(params["forward"]["w"] ** 2), jax.tree.map(jnp.zeros_like, params))
        return updates, traces, Info(loss, jnp.array(True), {})

    return LearningRule(lambda params, key, batch: (), update)


def program(spoil, tx=None, params=PARAMS, every=EVERY):
    """A program with step numbers as batches; its lane is the step at which `spoil` acts."""

    def build(lane):
        acts = rule(lambda t, loss, updates: spoil(t == lane, loss, updates))
        return learner(acts, tx or optax.sgd(1.0)), stream

    stream = Stream(lambda key: jnp.int32(0), lambda t, steps: (t + steps, t + jnp.arange(steps)))

    def init(lane, learn, stream):
        return learn.init(params, jax.random.key(0), jnp.int32(0)), stream.init(jax.random.key(0))

    return online_training(build, init, steps=STEPS, every=every, chunks=CHUNKS)


def nan_loss(now, loss, updates):
    """A loss that is NaN, and so are the updates of a weight on which the loss depends."""
    nan = jnp.where(now, jnp.nan, 0)
    return loss + nan, {**updates, "forward": {"w": updates["forward"]["w"] + nan}}


def nan_update(now, loss, updates):
    """An update that is NaN, of a weight on which the loss does not depend."""
    return loss, {**updates, "feedback": {"b": updates["feedback"]["b"].at[1].set(jnp.where(now, jnp.nan, 0))}}


def nan_data(now, loss, updates):
    """A loss that is NaN at one step, with finite weights."""
    return jnp.where(now, jnp.nan, loss), updates


def ran(program, *steps, **options):
    return run(program, jnp.array(steps), name="toy", progress=False, **options)


@pytest.mark.parametrize("at", [3, 4, AT, STEPS - 1])
def test_a_loss_that_fails_is_named_with_its_step_and_weight(at, capsys):
    outcome = ran(program(nan_loss), -1, at)
    bad = Divergence("toy", 1, at, True, ("forward/w",), ("forward/w", 2.0), recovered=False)
    assert divergences(outcome.state, "toy") == [bad]
    assert capsys.readouterr().err.splitlines() == [
        f"warning: toy: seed 1: the loss is not finite from step {at} on, nor are the weights forward/w "
        "(the largest before: 2 in forward/w); the others go on"
    ]
    steps, points = outcome.metrics["bad_step"], np.arange(STEPS // EVERY)
    np.testing.assert_array_equal(steps, [-np.ones_like(points), np.where(points >= at // EVERY, at, -1)])


def test_before_the_first_check_no_weight_is_the_largest(capsys):
    (bad,) = divergences(ran(program(nan_loss), 0).state)
    assert (bad.step, bad.largest) == (0, None)
    assert "nor are the weights forward/w; the others go on" in capsys.readouterr().err


@pytest.mark.parametrize(("every", "step"), [(1, AT), (2, AT), (3, AT + 1), (6, AT + 4)])
def test_a_weight_may_be_not_finite_although_the_loss_is(every, step, capsys):
    """The weights are checked at the end of the point, and its last step is named."""
    outcome = ran(program(nan_update, every=every), AT)
    assert np.isfinite(outcome.metrics["loss"]).all()
    (bad,) = divergences(outcome.state)
    assert bad == Divergence("", 0, step, False, ("feedback/b",), ("forward/w", 2.0), recovered=False)
    message = (
        f"seed 0: the weights feedback/b are not finite from step {step} on, but the loss is (the largest before: 2 in"
    )
    assert message in capsys.readouterr().err


def meta_training(eps_root, tx):
    """A life of two weights under Adam, with a loss of both weights and no gradient of the second within the life."""
    life = Life(
        learner=lambda theta: learner(descent(), optax.adam(theta["rate"], eps_root=eps_root)),
        params=lambda theta: {"w": jnp.ones(2)},
        loss=lambda theta, params, query: (theta["scale"] * jnp.sum(params["w"] ** 2), {}),
    )
    theta, episodes = {"rate": jnp.array(0.1), "scale": jnp.array(1.0)}, Episode(jnp.zeros((1, 2)), jnp.zeros(1))
    stream = Stream(lambda key: (), lambda state, n: (state, jax.tree.map(lambda x: jnp.stack([x] * n), episodes)))
    return online_training(
        lambda lane: (learner(meta_gradient(life), tx), stream),
        lambda lane, learn, stream: (learn.init(theta, jax.random.key(0), episodes), ()),
        steps=4,
        every=2,
        chunks=2,
    )


def descent():
    """Gradient descent on the square of the first weight; the second has no gradient."""

    def update(params, traces, key, batch):
        return {"w": params["w"] * jnp.array([1.0, 0.0])}, (), Info(params["w"][0] ** 2 / 2, jnp.array(True), {})

    return LearningRule(lambda params, key, batch: (), update)


def test_a_meta_gradient_that_is_not_a_number_is_named_by_its_leaf(capsys):
    outcome = ran(meta_training(0.0, optax.sgd(1e-3)), 0)
    (bad,) = divergences(outcome.state)
    assert (bad.step, bad.loss, bad.updates) == (0, False, ("rate",))
    assert bad.weights == ("rate", "scale"), "one step later, all of them"
    assert (
        "the updates of rate are not finite from step 0 on, nor are the weights rate, scale" in capsys.readouterr().err
    )
    cured = ran(meta_training(1e-8, optax.sgd(1e-3)), 0)
    assert not divergences(cured.state)
    assert np.isfinite(cured.metrics["loss"]).all()
    assert cured.state.learner.params["rate"] > 0.1


def test_a_meta_gradient_that_is_skipped_is_named_and_the_lane_is_not_well(capsys, tmp_path):
    """The loss and the weights stay finite, because the optimiser takes no step."""
    skipping = optax.apply_if_finite(optax.sgd(1e-3), max_consecutive_errors=100)
    outcome = ran(meta_training(0.0, skipping), 0, out=tmp_path, save_every_s=0)
    assert np.isfinite(outcome.metrics["loss"]).all()
    assert outcome.state.learner.params["rate"] == 0.1
    (bad,) = divergences(outcome.state)
    assert bad == Divergence("", 0, 0, False, (), None, recovered=False, updates=("rate",))
    assert capsys.readouterr().err.splitlines() == [
        "warning: toy: seed 0: the updates of rate are not finite from step 0 on, but all weights are; the others go on"
    ]


@pytest.mark.parametrize(("at", "recovers"), [(AT, True), (STEPS - 1, False)])
def test_a_skipped_update_is_reported_although_its_rule_reports_none(at, recovers, capsys):
    """The optimiser's count is checked at the end of the point; it does not name the weights."""
    tx = optax.chain(optax.apply_if_finite(optax.sgd(1.0), max_consecutive_errors=2))
    outcome = ran(program(nan_update, tx), at, -1)
    (bad,) = divergences(outcome.state)
    last = at // EVERY * EVERY + EVERY - 1
    assert bad == Divergence("", 0, last, False, (), ("forward/w", 2.0), recovered=recovers)
    assert capsys.readouterr().err.splitlines() == [
        f"warning: toy: seed 0: the optimiser skipped an update that was not finite, at step {last} or shortly before"
        + (
            "; all is finite again, and the lane goes on"
            if recovers
            else " and since, though loss and weights are finite; the others go on"
        )
    ]


def test_the_first_of_bad_updates_and_losses_is_reported():
    """The loss of the next step is NaN because the weights are."""

    def update(params, traces, key, batch):
        updates = {"a": jnp.where(batch == AT, jnp.nan, 0.0), "b": jnp.zeros(())}
        aux = {"finite_updates": jnp.isfinite(jnp.stack([updates["a"], updates["b"]]))}
        return updates, (), Info(params["a"] + params["b"], jnp.array(True), aux)

    stream = Stream(lambda key: jnp.int32(0), lambda t, steps: (t + steps, t + jnp.arange(steps)))
    training = online_training(
        lambda lane: (learner(LearningRule(lambda params, key, batch: (), update), optax.sgd(1.0)), stream),
        lambda lane, learn, stream: (learn.init({"a": jnp.ones(()), "b": jnp.ones(())}, lane, jnp.int32(0)), 0),
        steps=STEPS,
        every=6,
        chunks=2,
    )
    outcome = run(training, jax.vmap(jax.random.key)(jnp.arange(1)), name="toy", progress=False)
    (bad,) = divergences(outcome.state)
    assert bad == Divergence("", 0, AT, False, ("a",), ("a", 1.0), recovered=False, updates=("a",))


@pytest.mark.parametrize(
    ("spoil", "tx"), [(nan_data, None), (nan_loss, optax.apply_if_finite(optax.sgd(1.0), max_consecutive_errors=2))]
)
def test_a_lane_that_recovers_is_reported(spoil, tx, capsys, tmp_path):
    outcome = ran(program(spoil, tx), AT, -1, out=tmp_path, save_every_s=0)
    (bad,) = divergences(outcome.state)
    assert bad == Divergence("", 0, AT, True, (), ("forward/w", 2.0), recovered=True)
    assert capsys.readouterr().err.splitlines() == [
        f"warning: toy: seed 0: the loss is not finite at step {AT}; all is finite again, and the lane goes on"
    ]
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["00000003", "00000004"], "none is held"


def test_a_failure_is_named_again_by_a_resumed_run(capsys, tmp_path):
    options = {"out": tmp_path, "save_every_s": 0, "keep": 2}
    outcome = ran(program(nan_loss), AT, -1, **options)
    printed = capsys.readouterr().err
    assert printed.strip().endswith(f"the last checkpoint before it is kept in {tmp_path / 'toy' / '00000002'}")
    again = ran(program(nan_loss), AT, -1, resume=True, **options)
    assert divergences(again.state) == divergences(outcome.state)
    assert capsys.readouterr().err.startswith(f"warning: toy: seed 0: the loss is not finite from step {AT} on")


def test_many_weights_are_counted(capsys):
    params = {"forward": {"w": jnp.ones(2)}, **{f"w{i}": jnp.ones(()) for i in range(4)}}

    def all_nan(now, loss, updates):
        nan = jnp.where(now, jnp.nan, 0)
        return loss + nan, jax.tree.map(lambda leaf: leaf + nan, updates)

    (bad,) = divergences(ran(program(all_nan, params=params), AT).state)
    assert bad.weights == ("forward/w", "w0", "w1", "w2", "w3")
    assert "nor are the weights forward/w, w0, w1 and 2 more (" in capsys.readouterr().err


def test_a_lane_with_several_settings_reports_the_first_that_fails(capsys):
    one = program(nan_loss)
    settings = at_each(one._replace(init=lambda lane: one.init(sum(lane))), jnp.array([-1, AT + 4, AT]))
    outcome = ran(settings, 100, 0)
    assert outcome.metrics["bad_step"].shape == (2, STEPS // EVERY, 3)
    (bad,) = divergences(outcome.state)
    assert bad[:5] == ("", 1, AT, True, ("forward/w",))
    assert f"toy: seed 1: the loss is not finite from step {AT} on" in capsys.readouterr().err


def test_weights_are_not_read_at_every_step():
    """The inner scan has only the learner's own equations; the loop's checks are outside."""
    training = program(nan_loss)
    points = scans(jax.make_jaxpr(training.chunk)(training.init(jnp.int32(AT))).jaxpr)
    (point,) = points
    (step,) = scans(point)
    assert "is_finite" in primitives(point)
    assert not {"is_finite", "reduce_max", "argmax"} & set(primitives(step))


def scans(jaxpr):
    return [eqn.params["jaxpr"].jaxpr for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]


def primitives(jaxpr):
    """Names of the primitives, including those of calls within it, but not those of scans."""
    names = []
    for eqn in jaxpr.eqns:
        names.append(eqn.primitive.name)
        inner = eqn.params.get("jaxpr")
        if inner is not None and eqn.primitive.name != "scan":
            names += primitives(getattr(inner, "jaxpr", inner))
    return names
