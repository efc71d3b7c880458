"""The rules of the authors' code, as they learn, against plain NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.marschall2019.authors import kernl_late, with_gain
from plasticity_jax.base import learner
from plasticity_jax.cells import leaky
from plasticity_jax.diagnostics.bias_variance import updates_along
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.rules.online import rtrl
from tests.oracles.online import ORACLES
from tests.rules.helpers import F64, close, differ, first, problem, train

STEPS, ALPHA, RATE = 30, 0.5, 0.2
OPTIONS = {"learning_rate": 5.0, "sigma": 1e-3, "initial_leak": 0.8}
"""KeRNL's own; A moves by 5e-6 a step, which a tolerance of 1e-10 sees."""


def test_late_kernl_is_the_numpy_loop():
    """On the noise that the rule draws; and told by data when it is late, as the experiment is."""
    params, examples = problem(3, steps=STEPS)
    cell = leaky(3, 6, 2, alpha=ALPHA)
    start = learner(kernl_late(cell), optax.sgd(RATE)).init(params, jax.random.key(5), first(examples))
    run = jax.jit(lambda late: train(kernl_late(cell, late), RATE, start, examples))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(start.key, jnp.arange(STEPS))
    normals = np.asarray(jax.vmap(lambda key: stored_noise(key, 6, F64, "gaussian"))(keys))
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    given = w, w_out, params["feedback"]["w_fb"], examples.x[:, 0], examples.y[:, 0]
    sensitivities = []
    for late in (True, False):
        end, losses, *_ = run(jnp.asarray(late))
        want = ORACLES["kernl"].run(
            *given, alpha=ALPHA, lr=RATE, noise={"normals": normals}, record=True, aligned=not late, **OPTIONS
        )
        close(losses, want["losses"])
        close(end.params["forward"]["w"][0], want["w"])
        close(end.traces.shared.a, want["state"]["a"])
        sensitivities.append(want["state"]["a"] - np.eye(6))
    differ(*sensitivities)


def test_a_gain_of_one_multiplies_what_the_exact_rule_learns_by_one_over_alpha():
    """With the weights held still: the influence is linear in its immediate part, and the Jacobian keeps its alpha."""
    params, examples = problem(4, steps=6)
    cell, key = leaky(3, 6, 2, alpha=ALPHA), jax.random.key(0)

    @jax.jit
    def gradient(gain):
        return updates_along(rtrl(with_gain(cell, ALPHA, gain)), params, key, examples)["forward"]

    plain = updates_along(rtrl(cell), params, key, examples)["forward"]
    same, larger = gradient(ALPHA), gradient(1.0)
    close(same["w"], plain["w"])
    close(larger["w"], plain["w"] / ALPHA)
    close(larger["w_out"], plain["w_out"])
    differ(larger["w"][-1], plain["w"][-1])
