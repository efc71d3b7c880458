"""Skeleton in docs/guides: it obeys the laws, agrees with NumPy, and equals RFLO if its leak is that of the neurons."""

import doctest
import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import plasticity_jax as pj
from plasticity_jax.testing.equality import assert_close
from tests.docs.pages import ROOT

_spec = importlib.util.spec_from_file_location("skeleton_rule", ROOT / "docs" / "guides" / "skeleton_rule.py")
assert _spec is not None
assert _spec.loader is not None
skeleton = importlib.util.module_from_spec(_spec)
sys.modules["skeleton_rule"] = skeleton
_spec.loader.exec_module(skeleton)


def textbook(params, traces, key, batch, coefficients):
    """A step of the leaky network (alpha = 0.5) and of the rule in NumPy, stream by stream."""
    alpha, leak = 0.5, coefficients["leak"]
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    state, eligibility, grad, grad_out, losses = [], [], [], [], []
    for s, e, x, y in zip(traces.state[:, 0], traces.own.eligibility[:, 0, 0], batch.x, batch.y, strict=True):
        # The leaky network's state is the rate h' = (1 - alpha) h + alpha tanh(W [h; x; 1]).
        rhat = np.concatenate([s, x, [1.0]])
        phi = np.tanh(w @ rhat)
        s = (1 - alpha) * s + alpha * phi
        e = (1 - leak) * e + np.outer(alpha * (1 - phi**2), rhat)
        z = w_out @ np.append(s, 1.0)
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        error = p * y.sum() - y
        grad.append((w_out[:, :-1].T @ error)[:, None] * e)
        grad_out.append(np.outer(error, np.append(s, 1.0)))
        losses.append(-(y * np.log(p)).sum())
        state.append(s)
        eligibility.append(e)
    forward = {"w": (w - np.mean(grad, 0))[None], "w_out": w_out - np.mean(grad_out, 0)}
    own = skeleton.LeakyEligibilityTraces(np.stack(eligibility)[:, None, None])
    after = traces._replace(state=np.stack(state)[:, None], own=own)
    return {**params, "forward": forward}, after, np.mean(losses)


def test_the_skeleton_obeys_the_laws():
    report = pj.testing.check_rule(skeleton.CASE, name="leaky_eligibility", textbook=textbook)
    assert {verdict.outcome for verdict in report.verdicts} == {"passed"}, report


def _updates(rule, cell, batches):
    params = pj.cells.init_params(jax.random.key(0), cell)
    return jax.jit(lambda: pj.diagnostics.updates_along(rule, params, jax.random.key(1), batches))()


def test_the_skeleton_with_the_leak_of_the_neurons_is_rflo():
    """The stream has trials that start in its middle. With another leak the updates differ."""
    cell = pj.cells.leaky(n_in=2, n=5, n_out=2, alpha=0.5)
    x = jax.random.normal(jax.random.key(2), (20, 3, 2))
    start = jax.random.bernoulli(jax.random.key(3), 0.2, (20, 3))
    batches = pj.Example(x, jax.nn.softmax(x), start=start)
    rflo = _updates(pj.rules.rflo(cell), cell, batches)
    assert_close(_updates(skeleton.leaky_eligibility(cell, leak=0.5), cell, batches), rflo)
    other = _updates(skeleton.leaky_eligibility(cell, leak=0.4), cell, batches)
    apart = jnp.max(jnp.abs(other["forward"]["w"] - rflo["forward"]["w"]))
    assert apart > 1e-3


def test_the_example_learns():
    failed, attempted = doctest.testmod(skeleton)
    assert failed == 0
    assert attempted > 5


def test_a_leak_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"leak=0\.0 is the share"):
        skeleton.leaky_eligibility(pj.cells.leaky(2, 5, 2), leak=0.0)
