"""L10 for the three-factor rules: unbiased where they claim it; without memory, the eligibility is the step's own."""

import functools

import jax
import jax.numpy as jnp

from plasticity_jax.cells.leaky import leaky
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules import hebbian, online
from plasticity_jax.typing import Array, Example, Params, PyTree
from tests.laws.classes import Local, Match, Unbiased
from tests.laws.classes_hebbian import SIZES, live, world
from tests.laws.classes_online import hold, recurrent_world
from tests.laws.common import compiled, seed

SIGMA, SAMPLES, BEFORE = 0.5, 20_000, 10
LINEAR = mlp((3, 4, 2), ("identity", "identity"))
CELL = leaky(2, 5, 2, alpha=0.5)
SATURATING = mlp(SIZES, ("tanh", "tanh", "tanh"))


def noisy_loss(w: PyTree, bias: PyTree, batch: Example) -> Array:
    """E L of a linear network with noise on its two layers: the loss without, plus half the output's variance."""
    z = (batch.x @ w[0].T + bias[0]) @ w[1].T + bias[1]
    plain = jnp.mean(0.5 * jnp.sum((z - batch.y) ** 2, 1))
    return plain + 0.5 * SIGMA**2 * (jnp.sum(w[1] ** 2) + len(w[1]))


def on_a_linear_network() -> Match:
    """The gradient of the expected loss in closed form; the baseline comes from earlier steps."""
    rule = hebbian.three_factor(LINEAR, alpha=1.0, sigma=SIGMA)
    keys = jax.random.split(seed(150), 4)
    w = tuple(jax.random.normal(key, (n, m)) / m**0.5 for key, n, m in zip(keys[:2], (4, 2), (3, 4), strict=True))
    bias = (jnp.array([0.3, -0.2, 0.1, 0.4]), jnp.array([0.2, -0.5]))
    batch = Example(jax.random.normal(keys[2], (3, 3)), jnp.array([[0.7, -0.3], [0.1, 0.5], [-0.6, 0.2]]))
    params: Params = {"forward": {"w": w, "bias": bias}}

    def before(traces: PyTree, key: Array) -> tuple[PyTree, Array]:
        _, traces, info = rule.update(params, traces, key, batch)
        return traces, info.aux["output"]

    def run() -> tuple[PyTree, Array]:
        traces, output = jax.lax.scan(before, rule.init(params, seed(151), batch), jax.random.split(keys[3], BEFORE))

        def one(key: Array) -> PyTree:
            return rule.update(params, traces, key, batch)[0]["forward"]["w"]

        return jax.vmap(one)(jax.random.split(seed(152), SAMPLES)), output

    updates, output = compiled(run)()
    expected = jax.grad(noisy_loss)(w, bias, batch)
    without = jax.grad(lambda w: noisy_loss(w, bias, batch) - 0.5 * SIGMA**2 * jnp.sum(w[1] ** 2))(w)
    return Match(updates, expected, without, output)


def without_memory_on_a_chain() -> Match:
    """decay = 0 equals the rule without an eligibility trace, in a life of learning."""
    params, examples = world()
    of_life = functools.partial(hebbian.three_factor, SATURATING, alpha=0.02, sigma=0.3)
    ends = [live(of_life(decay=decay), params, examples) for decay in (0.0, None, 0.9)]
    changes, expected, other = (
        jax.tree.map(jnp.subtract, end["forward"]["w"], params["forward"]["w"]) for end, _ in ends
    )
    return Match(changes, expected, other, ends[1][1])


def without_memory_in_a_cell() -> Match:
    """decay = 0 is node perturbation of one step: noise times its cost, times the presynaptic activity."""
    w = recurrent_world("recurrent_three_factor")

    def step(moment: online.Moment, traces: tuple[()], shared: tuple[()], key: Array) -> online.Credit:
        post = jnp.asarray(moment.noise)[..., None] / 0.2**2
        return online.Credit(moment.loss * post * moment.local.rhat[None, None], ())

    def of_cell(decay: float) -> PyTree:
        rule = online.recurrent_three_factor(CELL, sigma=0.2, decay=decay, baseline=None)
        return hold(rule, w)[0]

    by_hand = online.online_rule(CELL, lambda key, sizes: (), step, noise=0.2)
    return Match(of_cell(0.0), hold(by_hand, w)[0], of_cell(0.9), w.readout_input)


CLASSES = {
    "three_factor": Unbiased(on_a_linear_network),
    "three_factor_eligible": Local({"without memory it is the one-step form": without_memory_on_a_chain}),
    "recurrent_three_factor": Local({"without memory it is the one-step form": without_memory_in_a_cell}),
}
