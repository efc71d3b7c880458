"""Departures of the code of Marschall, Cho & Savin (2019), of May 2019, from their equations and from our rules.

- The network, and Mimic's target, start at phi(N(0, 1)), not at rest: `begun`, `begun_target`.
- The exact and the stochastic rules have no alpha in their immediate influence: `with_gain`.
- KF-RTRL and R-KF: B starts at N(0, 1/n), not at N(0, 1): `begun`.
- DNI and DNI(b): A's blocks of rates and of labels start at N(0, 1/n) and its bias at 0, not all at
  N(0, 1/(n + n_out + 1)): `begun`.
- DNI(b): Jc learns after A, which reads the Jc of the step before; ours learns first: `dni_b_late`.
- KeRNL: Omega <- kappa Omega + (1 - kappa) zeta, and zeta moves the copy one step after it enters Omega: `kernl_late`.

Gamma's recursion is theirs and ours alike. Each departure is told by data, `as_run`, so that one program runs both.
"""

from typing import Any

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.rules.online import dni_b
from plasticity_jax.rules.online.common import OnlineTraces
from plasticity_jax.rules.online.dni import DNIShared
from plasticity_jax.rules.online.kernl import KeRNLTraces, fitted_kernel
from plasticity_jax.rules.online.kf_rtrl import KFRTRLTraces
from plasticity_jax.rules.online.reverse_kf_rtrl import ReverseKFRTRLTraces
from plasticity_jax.tasks.mimic import MimicState
from plasticity_jax.typing import Array, Batch, Key, Params, Updates

SIGMA = 1e-3
"""Standard deviation of KeRNL's noise."""
JACOBIAN_RATE = 1e-3
"""At which DNI(b)'s Jacobian learns."""


def begun(traces: OnlineTraces, key: Key, as_run: bool | Array) -> OnlineTraces:
    """Traces of an online rule on a tanh network at the start, as the authors' code had them.

    Args:
      traces: as the rule's `init` made them.
      key: of the network's first state.
      as_run: where False, the traces as they are; may be a tracer.
    """
    state = jnp.where(as_run, jnp.tanh(jax.random.normal(key, traces.state.shape, traces.state.dtype)), traces.state)
    own, shared, n = traces.own, traces.shared, traces.state.shape[-1]
    if isinstance(own, KFRTRLTraces | ReverseKFRTRLTraces):
        own = own._replace(b=jnp.where(as_run, own.b / n**0.5, own.b))
    if isinstance(own, KeRNLTraces):
        own = own._replace(noisy_s=state[:, 0])
    if isinstance(shared, DNIShared):
        scale = jnp.full((1, shared.a.shape[1]), (shared.a.shape[1] / n) ** 0.5, shared.a.dtype).at[:, -1].set(0)
        a, target = (jnp.where(as_run, leaf * scale, leaf) for leaf in (shared.a, shared.a_target))
        shared = shared._replace(a=a, a_target=target)
    return OnlineTraces(state, own, shared)


def begun_target(stream: MimicState, key: Key, as_run: bool | Array) -> MimicState:
    """Mimic's stream whose target network starts as the authors' did; see `begun`."""
    start = jnp.tanh(jax.random.normal(key, stream.s.shape, stream.s.dtype))
    return stream._replace(s=jnp.where(as_run, start, stream.s))


def kernl_late(cell: Neurons, late: bool | Array = True) -> LearningRule:
    """KeRNL, whose A is to explain the newest noise, of which Omega has a share 1 - kappa, before it has an effect.

    Args:
      cell: a network of neurons of one variable.
      late: where False, `plasticity_jax.rules.online.kernl`; may be a tracer.
    """

    def effect(noisy_s: Array, zeta: Array, s: Array) -> Array:
        return noisy_s + jnp.where(late, 0, zeta) - s

    def update(params: Params, traces: OnlineTraces, key: Key, batch: Batch) -> tuple[Updates, OnlineTraces, Info]:
        share = jnp.where(late, jnp.minimum(1, traces.shared.leak), 1)  # 1 - kappa
        noisy = fitted_kernel(cell, effect, sigma=SIGMA * share)
        updates, after, info = noisy.update(params, traces, key, batch)
        own = after.own._replace(zeta=after.own.zeta / share[None])  # the copy is moved by all of it
        return updates, after._replace(own=own), info

    return fitted_kernel(cell, effect)._replace(update=update)


def dni_b_late(cell: Neurons, late: bool | Array = True) -> LearningRule:
    """DNI(b), whose Jacobian learns after it has been used, not before.

    Args:
      cell: a network of neurons of one variable.
      late: where False, `plasticity_jax.rules.online.dni_b`; may be a tracer.
    """
    before = dni_b(cell, jacobian_learning_rate=jnp.where(late, 0, JACOBIAN_RATE))

    def update(params: Params, traces: OnlineTraces, key: Key, batch: Batch) -> tuple[Updates, OnlineTraces, Info]:
        updates, after, info = before.update(params, traces, key, batch)
        s_tm1, s, jacobian = traces.state[:, 0], after.state[:, 0], after.shared.jacobian
        missed = s_tm1 @ jacobian.T - s
        step = jnp.where(late, JACOBIAN_RATE, 0) * (missed.T @ s_tm1) / len(s)
        return updates, after._replace(shared=after.shared._replace(jacobian=jacobian - step)), info

    return before._replace(update=update)


def with_gain(cell: Neurons, alpha: float | Array, gain: float | Array) -> Neurons:
    """A leaky cell whose immediate influence has `gain` in the place of alpha; the authors' code had 1.

    The Jacobian keeps its alpha: what the weights pass on is divided by what the immediate influence is multiplied by.

    Args:
      cell: a leaky cell.
      alpha: its inverse time constant.
      gain: of phi' in the immediate influence; may be a tracer.
    """
    partials, scale = cell.partials, gain / alpha
    assert partials is not None

    def scaled(own: Any, s: Array, v: Array) -> Any:
        step = partials(own, s, v)
        return step._replace(gain=scale * step.gain)

    def output(s: Array) -> Array:
        return s[0] / scale + jax.lax.stop_gradient(s[0] - s[0] / scale)

    return cell._replace(partials=scaled, output=output)
