r"""DNI, decoupled neural interfaces: a learned linear forecast of future credit.

    rtld^t = [s^t; y^t; 1],  the forecast is c^t = A rtld^t ~ d(sum of this and all later losses) / ds^t

    target = q^{t-1} + f(A_ rtld^t) J^t                           q^t = dL^t / ds^t
    A     <- A - eta (A rtld^{t-1} - target) rtld^{t-1}^T         one step late: the target needs step t
    A_    <- A every 5 steps                                      the target's own, slower copy
    G      = c^t ds^t / dW,  c^t = A rtld^t                       (c^t alpha phi'(v^t)) rhat^t^T on the leaky network

DNI(b), `dni_b`, replaces what a circuit cannot compute: J by synapses Jc that learn to predict the rates,
Jc <- Jc + eta_J (s^t - Jc s^{t-1}) s^{t-1}^T before each use, f by tanh (the intermediate vector must be a rate),
and W_out^T by fixed random feedback.

Source: Jaderberg et al. (2017); Marschall, Cho & Savin (2019), Table 1, eq. 3 and appendix. Kind: approximate; with A
held at the true linear map of future credit it is exact.
Memory: 2 N (N + n_out + 1) for a state of N = S n numbers. Time: O(N^2). DNI takes any cell and
fails criteria ii and iii; DNI(b) takes neurons of one variable; its synapses read activity and credit of their own
two neurons, and it fails none. An example of weight 0 still teaches the cell, because the credit is a forecast.
The target of a trial's last step is that step's own credit, because no losses follow.
Departures from the paper: eq. 3's sign (as printed it diverges), the factor rtld in A's update, the delay by one step,
the lagged copy A_, and DNI(b)'s random feedback, all as in the authors' code.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import AnyCell, dynamics
from plasticity_jax.cells.neurons import Neurons, with_bias
from plasticity_jax.ops.checks import one_of, whole
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
      state: (N + n_out + 1,), rtld^{t-1}.
      credit: (N,), q^{t-1}.
    """

    state: Array
    credit: Array


class DNIShared(NamedTuple):
    """Parameters learned in addition to the weights, common to all streams.

    Attributes:
      a: (N, N + n_out + 1), the synthetic gradient's weights.
      a_target: same shape, the copy that makes the targets.
      jacobian: (n, n), the learned Jacobian Jc; () if the exact one is used.
      steps: shape (), int32, steps taken.
    """

    a: Array
    a_target: Array
    jacobian: PyTree
    steps: Array


def dni(
    cell: AnyCell,
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
      cell: the network, of `plasticity_jax.cells`.
      learning_rate: eta, of A.
      jacobian: "exact" J^t, or, on neurons of one variable, "learned" by a perceptron-like rule that starts from W_rec
        (its mean over gates).
      jacobian_learning_rate: of the learned Jacobian.
      label: f, the function in the bootstrapped part of the target.
      target_interval: steps between copies of A to A_; 1 copies at every step.
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A rule over the cell's weights and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell.
      ValueError: if an option is not known, the interval is below 1, or the Jacobian is to be learned on another cell.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(dni(cell, learning_rate=0.05), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Jaderberg et al., "Decoupled neural interfaces using synthetic gradients", ICML 2017.
    """
    one_of("jacobian", jacobian, ("exact", "learned"))
    one_of("label", label, ("identity", "tanh"))
    whole("target_interval", target_interval, 1, "step")
    shape = dynamics(cell).state_shape
    if jacobian == "learned" and not (isinstance(cell, Neurons) and len(cell.variables) == 1):
        raise ValueError(
            f"jacobian='learned' is for neurons of one variable, which {cell.name} does not have: use dni with 'exact'"
        )
    squash = jnp.tanh if label == "tanh" else lambda u: u

    def init(key: Key, sizes: Sizes) -> DNITraces:
        size = sizes.variables * sizes.n
        return DNITraces(jnp.zeros((size + sizes.n_out + 1,), sizes.dtype), jnp.zeros((size,), sizes.dtype))

    def init_shared(key: Key, sizes: Sizes, params: Params) -> DNIShared:
        size = sizes.variables * sizes.n
        m_out = size + sizes.n_out + 1
        a = jax.random.normal(key, (size, m_out), sizes.dtype) / m_out**0.5
        learned = jnp.mean(params["forward"]["w"][:, :, : sizes.n], 0) if jacobian == "learned" else ()
        return DNIShared(a, a, learned, jnp.zeros((), jnp.int32))

    def step(moment: Moment, traces: DNITraces, shared: DNIShared, key: Key) -> Credit:
        if moment.y.shape != moment.output.shape:
            raise ValueError(
                f"dni reads the target as {moment.output.size} numbers; batch.y has {moment.y.size}: give (B, n_out)"
            )
        s, s_tm1, label_and_bias = moment.s.reshape(-1), moment.s_tm1.reshape(-1), with_bias(moment.y.reshape(-1))
        state = jnp.concatenate([s, label_and_bias])
        initial = jnp.concatenate([s_tm1, label_and_bias])
        state_tm1 = jnp.where(shared.steps == 0, initial, traces.state)

        future = squash(shared.a_target @ state)
        if jacobian == "learned":
            surprise = moment.carried_on((shared.jacobian @ s_tm1 - s)[:, None] * s_tm1[None])
            learned = shared.jacobian - jacobian_learning_rate * mean_over_streams(surprise)
            bootstrapped = moment.carried_on(future @ learned)
        else:
            learned = ()
            bootstrapped = moment.pull(future.reshape(shape)).reshape(-1)

        error = shared.a @ state_tm1 - (traces.credit + bootstrapped)
        a = shared.a - learning_rate * mean_over_streams(error[:, None] * state_tm1[None])
        steps = shared.steps + 1
        a_target = jnp.where(steps % target_interval == 0, a, shared.a_target)

        grad = moment.weigh((a @ state).reshape(shape))
        return Credit(grad, DNITraces(state, moment.credit.reshape(-1)), DNIShared(a, a_target, learned, steps))

    return online_rule(cell, init, step, init_shared=init_shared, feedback=feedback)


def dni_b(
    cell: Neurons,
    *,
    learning_rate: Scalar = 1e-3,
    jacobian_learning_rate: Scalar = 1e-3,
    target_interval: int = 5,
    feedback: Feedback = "random",
) -> LearningRule:
    """DNI(b): `dni` with a learned Jacobian, a tanh label and random feedback, the paper's plausible variant.

    Args:
      cell: the network, of `plasticity_jax.cells`.
      learning_rate: eta, of A.
      jacobian_learning_rate: eta_J, of the learned Jacobian.
      target_interval: steps between copies of A to A_.
      feedback: "random" as in the authors' code, or "readout".

    Returns:
      A rule over the cell's weights and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: as for `dni`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(dni_b(cell, learning_rate=0.01), optax.sgd(0.02))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Marschall, Cho & Savin (2019), "Can we fix any of these issues?".
    """
    return dni(
        cell,
        learning_rate=learning_rate,
        jacobian="learned",
        jacobian_learning_rate=jacobian_learning_rate,
        label="tanh",
        target_interval=target_interval,
        feedback=feedback,
    )
