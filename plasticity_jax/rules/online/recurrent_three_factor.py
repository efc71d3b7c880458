r"""Three factors in recurrent networks: noise on the potentials stays eligible until a reward or a loss arrives.

    v_g^t   = W_g rhat^t + sigma xi_g^t                      xi ~ N(0, 1) for each gate of each neuron
    e_gij^t = decay e_gij^{t-1} + post_gi^t rhat_j^t         e = 0 before the first step of a trial
    dW_gij  = M^t e_gij^t,   M^t = Lbar^{t-1} - L^t

The third factor M is one number for all synapses: the running average Lbar of earlier losses, over steps and streams (0
without a baseline), minus the step's loss. The postsynaptic factor is

    post = xi / sigma                  "noise": the neuron's own noise, which it must have apart from its input
    post = output(s^t) - zbar          "activity": the neuron's output minus its running average zbar; for all gates

To learn from a reward in the batch, make the cell with ``loss=lambda output, reward: -reward`` and give the reward as
the batch's y (B,). The readout then learns nothing.

With noise, M e is REINFORCE's estimate in any cell of neurons, and no derivative of the cell is taken. The trace is of
the noisy path, so that with decay = 1 and no baseline E dW^t is -d E L^t / dW, the credit of all steps since the
trial's start, through all neurons; a smaller decay forgets credit that is older than about 1 / (1 - decay) steps, and
with it noise. A loss of weight 0 teaches nothing and is not averaged, while traces go on: for a reward at the end of a
trial, give the steps before it a weight of 0. Where every step has a loss, the baseline contains the trial's own
losses, of all B streams, while their noise is still eligible, and takes some of the credit away, most of it where it is
fast: keep it well below 1 - decay, or below one over the length of a trial, or use many streams.

Source: Fremaux & Gerstner (2016) for the form; Williams (1992) and, in recurrent networks, Fiete & Seung (2006) and
Miconi (2017). Kind: local; unbiased with noise, decay = 1 and no baseline. Memory: G n m. Time: O(G n m). A synapse
reads its pre- and postsynaptic activity, its neuron's noise or average, its own trace, and one number for the whole
network. The readout learns by its own error, as in all rules of this wing; the neurons' own parameters do not learn.
Departures: discrete steps, where Fiete & Seung have continuous time; products, where Miconi has their cube.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.door import Sizes
from plasticity_jax.cells.dynamics import need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.ops.averages import RunningAverage, beyond, moved, no_average
from plasticity_jax.ops.checks import number, one_of
from plasticity_jax.rules.online.common import Credit, Moment, Plausibility, mean_over_streams, online_rule
from plasticity_jax.typing import Array, Key, Params, Scalar

PLAUSIBILITY = Plausibility(
    tensor="delta_ki sum (xi_i / sigma) rhat_j", facing="past", stochastic=True, solved="closed form", fails={}
)


class RecurrentThreeFactorTraces(NamedTuple):
    """Attributes: eligibility: e, (G, n, m)."""

    eligibility: Array


class RecurrentThreeFactorShared(NamedTuple):
    """Averages that all streams share.

    Attributes:
      loss: Lbar; () without a baseline.
      activity: zbar, (n,); () if noise is the postsynaptic factor.
    """

    loss: RunningAverage | tuple[()]
    activity: RunningAverage | tuple[()]


def recurrent_three_factor(
    cell: Neurons,
    *,
    sigma: Scalar = 0.1,
    decay: Scalar = 0.9,
    post: Literal["noise", "activity"] = "noise",
    baseline: Scalar | None = 0.01,
    average: Scalar = 0.1,
) -> LearningRule:
    """Eligibility traces of noise times one number for the whole network.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`. Its loss need not be differentiable.
      sigma: the noise's standard deviation, above 0; or at least 0 if post is "activity".
      decay: the fraction of an eligibility kept at each step, in [0, 1]. At 1 it lasts for the trial: give starts.
      post: the postsynaptic factor, "noise" or "activity".
      baseline: the share of the present step in the running average of the loss, in (0, 1]; None for no average. With
        one, the first step teaches the cell nothing, because there is no earlier loss to compare with.
      average: the same for the running average of activity, which only post="activity" reads.

    Returns:
      A rule over ``w`` (G, n, m) and ``w_out`` (n_out, n + 1). Its loss and output are those with noise.

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: if an option is not known or a coefficient is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=20, n_out=1, alpha=0.5, loss="squared")
      >>> rule = recurrent_three_factor(cell, decay=1.0, baseline=0.02)
      >>> learn = pj.learner(rule, optax.adam(0.003))
      >>> def trial(key):  # 50 streams, each with a pulse or none, which is the target after a pause
      ...     pulse = jax.random.bernoulli(key, 0.5, (50,)) * 1.0
      ...     t = jnp.arange(5)[:, None]
      ...     x = jnp.stack([pulse * (t == 0), jnp.ones((5, 50))], -1)
      ...     y = jnp.broadcast_to(2 * pulse - 1, (5, 50))[..., None]
      ...     at = lambda step: jnp.broadcast_to(t == step, (5, 50))
      ...     return pj.Example(x, y, start=at(0), weight=at(4) * 1.0)
      >>> def live(state, key):
      ...     state, info = jax.lax.scan(learn.step, state, trial(key))
      ...     return state, info.loss[-1]
      >>> first = jax.tree.map(lambda leaf: leaf[0], trial(jax.random.key(0)))
      >>> params = pj.cells.init_params(jax.random.key(1), cell)
      >>> state = learn.init(params, jax.random.key(2), first)
      >>> state, loss = jax.lax.scan(live, state, jax.random.split(jax.random.key(3), 500))
      >>> bool(loss[-50:].mean() < 0.1 * loss[:10].mean())  # with the readout alone, half of it remains
      True

    Reference:
      Fremaux & Gerstner, "Neuromodulated spike-timing-dependent plasticity, and theory of three-factor learning rules",
      Frontiers in Neural Circuits 2016. Fiete & Seung, "Gradient learning in spiking neural networks by dynamic
      perturbation of conductances", Physical Review Letters 2006. Miconi, "Biologically plausible learning in recurrent
      neural networks reproduces neural dynamics observed during cognitive tasks", eLife 2017.
    """
    cell = need_neurons(cell, "recurrent_three_factor")
    one_of("post", post, ("noise", "activity"))
    number("sigma", sigma, 0, open_low=post == "noise", why="the standard deviation of the noise on the potentials")
    number("decay", decay, 0, 1, why="the fraction of an eligibility kept at each step")
    number("average", average, 0, 1, open_low=True, why="the share of the present step in the average of activity")
    if baseline is not None:
        number("baseline", baseline, 0, 1, open_low=True, why="the share of the present step in the average loss")

    def init(key: Key, sizes: Sizes) -> RecurrentThreeFactorTraces:
        return RecurrentThreeFactorTraces(jnp.zeros((sizes.gates, sizes.n, sizes.m), sizes.dtype))

    def init_shared(key: Key, sizes: Sizes, params: Params) -> RecurrentThreeFactorShared:
        return RecurrentThreeFactorShared(
            () if baseline is None else no_average((), sizes.dtype),
            () if post == "noise" else no_average((sizes.n,), sizes.dtype),
        )

    def step(
        moment: Moment, traces: RecurrentThreeFactorTraces, shared: RecurrentThreeFactorShared, key: Key
    ) -> Credit:
        weight = jnp.ones_like(moment.loss) if moment.weight is None else moment.weight
        excess, loss, activity = moment.loss, shared.loss, shared.activity
        if baseline is not None and isinstance(loss, RunningAverage):
            excess = beyond(loss, moment.loss, weight)
            loss = moved(loss, baseline, *map(mean_over_streams, (moment.loss, weight)))
        if isinstance(activity, RunningAverage):
            output = cell.output(moment.s)
            factor = beyond(activity, output)[None]
            activity = moved(activity, average, *map(mean_over_streams, (weight * output, weight)))
        else:
            factor = jnp.asarray(moment.noise) / jnp.asarray(sigma, moment.s.dtype) ** 2  # the noise is sigma xi
        decayed = jnp.asarray(decay, moment.s.dtype) * moment.carried_on(traces.eligibility)
        eligibility = decayed + factor[:, :, None] * moment.local.rhat[None, None]
        shared = RecurrentThreeFactorShared(loss, activity)
        return Credit(excess * eligibility, RecurrentThreeFactorTraces(eligibility), shared)

    return online_rule(cell, init, step, init_shared=init_shared, noise=sigma)
