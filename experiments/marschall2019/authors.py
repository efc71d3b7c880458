"""Differences between the code of Marschall, Cho & Savin (2019), as of May 2019, and their equations and our rules.

- The network and Mimic's target start at phi(N(0, 1)), not at rest: `authors_traces`, `authors_target`.
- The exact and the stochastic rules have no alpha in their immediate influence: `with_gain`.
- KF-RTRL and R-KF: B starts at N(0, 1/n), not at N(0, 1): `authors_traces`.
- DNI and DNI(b): A's blocks of rates and of labels start at N(0, 1/n) and its bias at 0, not all at
  N(0, 1/(n + n_out + 1)): `authors_traces`.
- DNI(b): Jc learns after A, which reads the previous step's Jc; ours learns first: `dni_b_late`.
- KeRNL: Omega <- kappa Omega + (1 - kappa) zeta, and zeta moves the copy one step after it enters Omega: `kernl_late`.

The recursion of Gamma is the same in both. Each difference is switched by an array, `as_run`, so one program runs both.
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
"""Learning rate of DNI(b)'s Jacobian."""


def authors_traces(traces: OnlineTraces, key: Key, as_run: bool | Array) -> OnlineTraces:
    """Initial traces of an online rule on a tanh network in the authors' code.

    Args:
      traces: traces from the rule's `init`.
      key: key of the network's initial state.
      as_run: if False, the traces stay unchanged; may be a tracer.
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


def authors_target(stream: MimicState, key: Key, as_run: bool | Array) -> MimicState:
    """Mimic's stream with the initial state of the authors' target network; see `authors_traces`."""
    start = jnp.tanh(jax.random.normal(key, stream.s.shape, stream.s.dtype))
    return stream._replace(s=jnp.where(as_run, start, stream.s))


def kernl_late(cell: Neurons, late: bool | Array = True) -> LearningRule:
    """KeRNL in which the newest noise enters Omega, with a weight of 1 - kappa, before it affects the perturbed copy.

    Args:
      cell: a network of neurons of one variable.
      late: if False, the rule is `plasticity_jax.rules.online.kernl`; may be a tracer.
    """

    def effect(noisy_s: Array, zeta: Array, s: Array) -> Array:
        return noisy_s + jnp.where(late, 0, zeta) - s

    def update(params: Params, traces: OnlineTraces, key: Key, batch: Batch) -> tuple[Updates, OnlineTraces, Info]:
        share = jnp.where(late, jnp.minimum(1, traces.shared.leak), 1)  # 1 - kappa
        noisy = fitted_kernel(cell, effect, sigma=SIGMA * share)
        updates, after, info = noisy.update(params, traces, key, batch)
        own = after.own._replace(zeta=after.own.zeta / share[None])  # the copy is moved by the unweighted noise
        return updates, after._replace(own=own), info

    return fitted_kernel(cell, effect)._replace(update=update)


def dni_b_late(cell: Neurons, late: bool | Array = True) -> LearningRule:
    """DNI(b) with a Jacobian that learns after its use in a step, not before.

    Args:
      cell: a network of neurons of one variable.
      late: if False, the rule is `plasticity_jax.rules.online.dni_b`; may be a tracer.
    """
    before = dni_b(cell, jacobian_learning_rate=jnp.where(late, 0, JACOBIAN_RATE))

    def update(params: Params, traces: OnlineTraces, key: Key, batch: Batch) -> tuple[Updates, OnlineTraces, Info]:
        updates, after, info = before.update(params, traces, key, batch)
        s_tm1, s, jacobian = traces.state[:, 0], after.state[:, 0], after.shared.jacobian
        error = s_tm1 @ jacobian.T - s
        step = jnp.where(late, JACOBIAN_RATE, 0) * (error.T @ s_tm1) / len(s)
        return updates, after._replace(shared=after.shared._replace(jacobian=jacobian - step)), info

    return before._replace(update=update)


def with_gain(cell: Neurons, alpha: float | Array, gain: float | Array) -> Neurons:
    """A leaky cell with `gain` in place of alpha in its immediate influence; the authors' code had 1.

    The Jacobian keeps its alpha: the factor that multiplies the immediate influence also divides the cell's output.

    Args:
      cell: a leaky cell.
      alpha: its inverse time constant.
      gain: factor of phi' in the immediate influence; may be a tracer.
    """
    partials, scale = cell.partials, gain / alpha
    assert partials is not None

    def scaled(own: Any, s: Array, v: Array) -> Any:
        step = partials(own, s, v)
        return step._replace(gain=scale * step.gain)

    def output(s: Array) -> Array:
        return s[0] / scale + jax.lax.stop_gradient(s[0] - s[0] / scale)

    return cell._replace(partials=scaled, output=output)
