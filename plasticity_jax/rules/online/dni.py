r"""DNI, decoupled neural interfaces: a linear guess of the credit that the future will assign.

    rtld^t = [r^t; y^t; 1],  the guess is c^t = A rtld^t ~ d(sum of this and all later losses) / dr^t

    target = q^{t-1} + f(A_ rtld^t) J^t
    A     <- A - eta (A rtld^{t-1} - target) rtld^{t-1}^T         one step late: the target needs the present
    A_    <- A every 5 steps                                      the target's own, slower copy
    G      = (c^t alpha phi'(v^t)) rhat^t^T,  c^t = A rtld^t

DNI(b), `dni_b`, replaces what a circuit cannot do: J by synapses Jc that learn to predict the rates,
Jc <- Jc + eta_J (r^t - Jc r^{t-1}) r^{t-1}^T before each use, f by tanh (the intermediate vector must be a rate),
and W_out^T by fixed random feedback.

Source: Jaderberg et al. (2017); Marschall, Cho & Savin (2019), Table 1, eq. 3 and appendix. Kind: approximate; with A
held at the true linear map of future credit it is exact.
Memory: n m_out + n m_out, m_out = n + n_out + 1. Time: O(n^2). DNI fails criteria ii and iii, DNI(b) none.
Departures from the print: eq. 3's sign (as printed it diverges), the factor rtld in A's update, the delay by one step,
the lagged copy A_, and DNI(b)'s random feedback, all as in the authors' code.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.rules.online.common import (
    Credit,
    Feedback,
    Moment,
    Plausibility,
    Sizes,
    mean_over_streams,
    online_rule,
)
from plasticity_jax.typing import Array, Key, Params, PyTree, Scalar

PLAUSIBILITY = Plausibility(
    tensor="A_li",
    facing="future",
    stochastic=False,
    solved="numerical",
    fails={
        "ii": "needs the Jacobian J^t, which synapses cannot follow instantly",
        "iii": "A rtld is a voltage, yet it passes through a second matrix",
    },
)

PLAUSIBILITY_B = Plausibility(tensor="A_li, Jc", facing="future", stochastic=False, solved="numerical", fails={})


class DNITraces(NamedTuple):
    """One stream's memory of the step before.

    Attributes:
      state: (n + n_out + 1,), rtld^{t-1}.
      credit: (n,), q^{t-1}.
    """

    state: Array
    credit: Array


class DNIShared(NamedTuple):
    """What is learned beside the weights, common to all streams.

    Attributes:
      a: (n, n + n_out + 1), the synthetic gradient's weights.
      a_target: same shape, the copy that makes the targets.
      jacobian: (n, n), the learned Jacobian Jc; () if the exact one is used.
      steps: shape (), int32, steps taken.
    """

    a: Array
    a_target: Array
    jacobian: PyTree
    steps: Array


def dni(
    net: LeakyRNN,
    *,
    learning_rate: Scalar = 1e-3,
    jacobian: Literal["exact", "learned"] = "exact",
    jacobian_learning_rate: Scalar = 1e-3,
    label: Literal["identity", "tanh"] = "identity",
    target_interval: int = 5,
    feedback: Feedback = "readout",
) -> LearningRule:
    """Bootstrapped synthetic gradients.

    Args:
      net: the network.
      learning_rate: eta, of A.
      jacobian: "exact" J^t, or "learned" by a perceptron-like rule from the initial W_rec on.
      jacobian_learning_rate: of the learned Jacobian.
      label: f, what the bootstrapped part of the target passes through.
      target_interval: steps between copies of A into the target's own; 1 copies at every step.
      feedback: "readout" or "random" (the fixed ``w_fb``).

    Returns:
      A rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: if an option is not known or the interval is below 1.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rule = dni(leaky_rnn(alpha=0.5), learning_rate=0.05)

    Reference:
      Jaderberg et al., "Decoupled neural interfaces using synthetic gradients", ICML 2017.
    """
    if jacobian not in ("exact", "learned"):
        raise ValueError(f"jacobian={jacobian!r} is not known; use 'exact' or 'learned'")
    if label not in ("identity", "tanh"):
        raise ValueError(f"label={label!r} is not known; use 'identity' or 'tanh'")
    if target_interval < 1:
        raise ValueError(f"target_interval={target_interval} must be at least 1 step")
    squash = jnp.tanh if label == "tanh" else lambda u: u

    def init(key: Key, sizes: Sizes) -> DNITraces:
        m_out = sizes.n + sizes.n_out + 1
        return DNITraces(jnp.zeros((m_out,), sizes.dtype), jnp.zeros((sizes.n,), sizes.dtype))

    def init_shared(key: Key, sizes: Sizes, params: Params) -> DNIShared:
        m_out = sizes.n + sizes.n_out + 1
        a = jax.random.normal(key, (sizes.n, m_out), sizes.dtype) / m_out**0.5
        learned = leaky_rnn.recurrent(params["forward"]["w"]) if jacobian == "learned" else ()
        return DNIShared(a, a, learned, jnp.zeros((), jnp.int32))

    def step(moment: Moment, traces: DNITraces, shared: DNIShared, key: Key) -> Credit:
        state = jnp.concatenate([moment.r, leaky_rnn.with_bias(moment.y)])
        first = jnp.concatenate([moment.r_tm1, leaky_rnn.with_bias(moment.y)])
        state_tm1 = jnp.where(shared.steps == 0, first, traces.state)

        future = squash(shared.a_target @ state)
        if jacobian == "learned":
            surprise = shared.jacobian @ moment.r_tm1 - moment.r
            learned = shared.jacobian - jacobian_learning_rate * mean_over_streams(surprise[:, None] * moment.r_tm1)
            bootstrapped = future @ learned
        else:
            learned = ()
            bootstrapped = leaky_rnn.vector_jacobian(moment.net, moment.w, moment.slope, future)

        error = shared.a @ state_tm1 - (traces.credit + bootstrapped)
        a = shared.a - learning_rate * mean_over_streams(error[:, None] * state_tm1)
        steps = shared.steps + 1
        a_target = jnp.where(steps % target_interval == 0, a, shared.a_target)

        grad = (a @ state * moment.immediate)[:, None] * moment.rhat
        return Credit(grad, DNITraces(state, moment.credit), DNIShared(a, a_target, learned, steps))

    return online_rule(net, init, step, init_shared=init_shared, feedback=feedback)


def dni_b(
    net: LeakyRNN,
    *,
    learning_rate: Scalar = 1e-3,
    jacobian_learning_rate: Scalar = 1e-3,
    target_interval: int = 5,
    feedback: Feedback = "random",
) -> LearningRule:
    """DNI(b): `dni` with a learned Jacobian, a tanh label and random feedback, the paper's plausible variant.

    Args:
      net: the network.
      learning_rate: eta, of A.
      jacobian_learning_rate: eta_J, of the learned Jacobian.
      target_interval: steps between copies of A into the target's own.
      feedback: "random" as in the authors' code, or "readout".

    Returns:
      A rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: as `dni`.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rule = dni_b(leaky_rnn(alpha=0.5))

    Reference:
      Marschall, Cho & Savin (2019), "Can we fix any of these issues?".
    """
    return dni(
        net,
        learning_rate=learning_rate,
        jacobian="learned",
        jacobian_learning_rate=jacobian_learning_rate,
        label="tanh",
        target_interval=target_interval,
        feedback=feedback,
    )
