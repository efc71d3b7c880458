r"""Leaky eligibility: one trace for each synapse, times the credit of its neuron.

    e_ij^t = (1 - leak) e_ij^{t-1} + b_i^t rhat_j^t
    G_ij   = c_i^t e_ij^t,   c^t = dL^t / ds^t

rhat is the presynaptic activity and b_i = ds_i'/dv_i the slope of neuron i. A neuron of S variables and G gates has
S G traces for each input, and its gradient is their sum over the variables.

Source: Murray (2019), with a leak that is a coefficient. Kind: approximate; exact if no neuron receives input from
another (W_rec = 0) and the leak is the neuron's own.
Memory: S G n m. Time: O(S G n m). A synapse reads its pre- and postsynaptic activity, its own trace, and one credit
signal for each neuron.
Departures: RFLO's traces decay as the neuron itself does. Parameters of neurons (``own``) do not learn.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import plasticity_jax as pj
from plasticity_jax.rules import Credit, Moment, Sizes, online_rule


class LeakyEligibilityTraces(NamedTuple):
    """Attributes: eligibility: (S, G, n, m), e."""

    eligibility: jax.Array


def leaky_eligibility(cell: pj.cells.Neurons, *, leak: Any = 0.5, feedback: Any = "readout") -> pj.LearningRule:
    """Leaky eligibility traces times immediate credit.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`.
      leak: share of a trace that is lost at each step, in (0, 1]. A coefficient that can be meta-learned.
      feedback: "readout" (the transpose of W_out), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns as
        ``w_out`` does).

    Returns:
      A rule over ``w`` (G, n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: if the leak is a number outside its range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(leaky_eligibility(cell, leak=0.3), optax.sgd(0.1))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=50)
      >>> bool(info.loss[-1] < 0.01 * info.loss[0])
      True

    Reference:
      Murray, "Local online learning in recurrent networks with random feedback", eLife 2019.
    """
    if isinstance(leak, int | float) and not 0 < leak <= 1:  # an array may be traced
        raise ValueError(f"leak={leak} is the share that a trace loses at each step: give a number in (0, 1]")

    def init(key: jax.Array, sizes: Sizes) -> LeakyEligibilityTraces:
        shape = (sizes.variables, sizes.gates, sizes.n, sizes.m)
        return LeakyEligibilityTraces(jnp.zeros(shape, sizes.dtype))

    def step(moment: Moment, traces: LeakyEligibilityTraces, shared: tuple[()], key: jax.Array) -> Credit:
        e_tm1 = moment.carried_on(traces.eligibility)  # zeros where a trial starts
        e_t = (1 - leak) * e_tm1 + _influence(moment)
        return Credit(jnp.sum(moment.credit[:, None, :, None] * e_t, axis=0), LeakyEligibilityTraces(e_t))

    return online_rule(cell, init, step, feedback=feedback)


def _influence(moment: Moment) -> jax.Array:
    """The weights' immediate influence on the state, b_i rhat_j, (S, G, n, m)."""
    return moment.local.gain[..., None] * moment.local.rhat[None, None, None]


def _cell() -> pj.cells.Neurons:
    return pj.cells.leaky(n_in=2, n=5, n_out=2, alpha=0.5)


def _batch(key: jax.Array) -> pj.Example:
    key_x, key_y = jax.random.split(key)
    return pj.Example(jax.random.normal(key_x, (2, 2)), jax.nn.softmax(jax.random.normal(key_y, (2, 2))))


CASE = pj.RuleCase(
    make=lambda leak=0.3: leaky_eligibility(_cell(), leak=leak),
    params=lambda key: pj.cells.init_params(key, _cell()),
    batch=_batch,
    kind="approximate",
    coefficients={"leak": 0.3},
    stochastic=False,
)
