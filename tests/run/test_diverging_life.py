"""A diverging life is reported with its outer step, and the training goes on from the theta before it."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.meta import gradient_life, meta_gradient
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.run import Checkpoints, divergences, online_training, run
from plasticity_jax.tasks.stream import Stream

BROKEN, STEPS = 13, 24


SKIPPING = optax.apply_if_finite(optax.sgd(0.1), max_consecutive_errors=1)


def program(tx=SKIPPING, broken=BROKEN):
    """A program that learns linear regression within lives of two steps; the targets of one episode are infinite."""
    life = gradient_life(mlp((1, 1, 1), ["identity", "identity"]))
    weights = {"w": (jnp.full((1, 1), 0.5), jnp.zeros((1, 1))), "bias": (jnp.zeros(1), jnp.zeros(1))}
    theta = {"forward": weights, "rate": jnp.asarray(0.1)}

    def take(step, steps):
        t = step + jnp.arange(steps)
        x = jnp.cos(jnp.arange(1.0, 4.0) + t[:, None])[:, None, None, :, None] * jnp.ones((1, 2, 2, 1, 1))
        y = jnp.where(t == broken, jnp.inf, 1.0)[:, None, None, None, None] * x
        return step + steps, pj.Episode(pj.Example(x, y), pj.Example(x[:, :, 0], x[:, :, 0]))

    stream = Stream(lambda key: jnp.zeros((), jnp.int32), take)

    def init(lane, learn, stream):
        batch = jax.tree.map(lambda leaf: leaf[0], take(0, 1)[1])
        return learn.init(theta, lane, batch), stream.init(lane)

    return online_training(
        lambda lane: (pj.learner(meta_gradient(life), tx), stream),
        init,
        steps=STEPS,
        every=2,
        chunks=4,
    )


def test_the_step_is_named_and_the_rest_goes_on(capsys):
    lanes = jax.vmap(jax.random.key)(jnp.arange(1))
    outcome = run(program(), lanes, name="lives", progress=False)
    (divergence,) = divergences(outcome.state, "lives")
    assert divergence[:5] == ("lives", 0, BROKEN, True, ())
    assert divergence.recovered
    assert capsys.readouterr().err.splitlines() == [
        f"warning: lives: seed 0: the loss is not finite at step {BROKEN}; all is finite again, and the lane goes on"
    ]
    losses, point = outcome.metrics["loss"][0], BROKEN // 2
    assert not np.isfinite(losses[point])
    assert np.isfinite(np.delete(losses, point)).all()
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(outcome.metrics["bad_step"][0], [-1] * point + [BROKEN] * (STEPS // 2 - point))


@pytest.mark.parametrize(("broken", "last"), [(11, 1), (12, 1), (13, 2)])
def test_the_last_checkpoint_before_it_outlives_those_after(tmp_path, capsys, broken, last):
    lanes = jax.vmap(jax.random.key)(jnp.arange(1))
    lives = program(optax.sgd(0.1), broken)
    assert lives.steps == 6
    options = {"name": "lives", "out": tmp_path, "progress": False, "save_every_s": 0, "keep": 2}
    metrics = run(lives, lanes, **options).metrics
    assert not np.isfinite(metrics["loss"][0, broken // 2 :]).any()
    held = tmp_path / "lives" / f"{last:08d}"
    names = [held.name, f"{lives.chunks - 1:08d}", f"{lives.chunks:08d}"]
    assert capsys.readouterr().err.splitlines()[0].endswith(f"the last checkpoint before it is kept in {held}")
    assert sorted(path.name for path in held.parent.iterdir()) == names
    for name in names[1:]:
        shutil.rmtree(held.parent / name)
    fingerprint = json.loads((held / "manifest.json").read_text())["body"]["fingerprint"]
    saved = Checkpoints(held.parent, fingerprint).load(jax.eval_shape(jax.vmap(lives.init), lanes))
    assert saved is not None
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved.state.learner.params))
    again = run(lives, lanes, resume=True, **options).metrics
    np.testing.assert_array_equal(again["loss"], metrics["loss"])
    assert sorted(path.name for path in held.parent.iterdir()) == names
