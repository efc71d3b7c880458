r"""Three factors in recurrent networks: noise in the potentials stays eligible until a reward, or the loss, judges it.

    v_g^t   = W_g rhat^t + sigma xi_g^t                      xi ~ N(0, 1) for each gate of each neuron
    e_gij^t = decay e_gij^{t-1} + post_gi^t rhat_j^t         0 before it where a trial starts
    dW_gij  = M^t e_gij^t,   M^t = Lbar^{t-1} - L^t

The third factor M is one number for all synapses: by how much the step's loss is less than the running average Lbar,
over steps and streams, of those before it (or less than 0, without a baseline). The postsynaptic factor is

    post = xi / sigma                  "noise": the neuron's own noise, which it has to know apart from its input
    post = output(s^t) - zbar          "activity": what a neuron says beyond its running average zbar; for all gates

A reward that the batch brings, whatever the network was to answer, is the loss of a cell with
``loss=lambda output, reward: -reward``, the batch's y (B,) being the reward. The readout then learns nothing.

With noise, M e is REINFORCE's estimate in any cell of neurons, and no derivative of the cell is taken. Its trace is of
the path that was gone, noise and all, so that with decay = 1 and no baseline E dW^t is -d E L^t / dW, the credit of all
steps since the trial's start, through all neurons; a smaller decay forgets credit that is older than some
1 / (1 - decay) steps, and with it noise. A loss of weight 0 teaches nothing and is not averaged, and traces go on: so a
reward at the end of a trial is told. Where every step has a loss, the baseline holds the trial's own, B streams'
together, while their noise is still eligible, and takes some of the credit away, most of it where it is fast: keep it
well below 1 - decay, or below one over the length of a trial, or let the streams be many.

Source: Fremaux & Gerstner (2016), which has the form; Williams (1992) and, in recurrent networks, Fiete & Seung (2006)
and Miconi (2017). Kind: local; unbiased with noise, decay = 1 and no baseline. Memory: G n m. Time: O(G n m). A synapse
reads its pre- and postsynaptic activity, its neuron's noise or average, its own trace, and one number for the whole
network. The readout learns by its own error, as with every rule here, and the neurons' own parameters not at all.
Departures: noise and its trace step by step, where Fiete & Seung have continuous time; Miconi has the cube of products.
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
      sigma: the noise's standard deviation, above 0; 0, too, if post is "activity".
      decay: what an eligibility keeps from step to step, in [0, 1]. With 1 it lasts for the trial: give starts.
      post: the postsynaptic factor, "noise" or "activity".
      baseline: the share of the present in the running average of the loss, in (0, 1]; None: no loss is expected. The
        first step teaches the cell nothing, for it has nothing to be compared with.
      average: the same of the running average of activity, which only post="activity" reads.

    Returns:
      A rule over ``w`` (G, n, m) and ``w_out`` (n_out, n + 1). Its loss and its output are those with noise.

    Raises:
      TypeError: if the cell is not one of neurons.
      ValueError: if an option is not known or a coefficient is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=20, n_out=1, alpha=0.5, loss="squared")
      >>> rule = recurrent_three_factor(cell, decay=1.0, baseline=0.02)
      >>> learn = pj.learner(rule, optax.adam(0.003))
      >>> def trial(key):  # a pulse, or none, in each of 50 streams; after a pause it is asked whether there was one
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
      >>> bool(loss[-50:].mean() < 0.1 * loss[:10].mean())  # half of it is left where the readout learns alone
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
    number("decay", decay, 0, 1, why="what an eligibility keeps from step to step")
    number("average", average, 0, 1, open_low=True, why="the share of the present in the average of activity")
    if baseline is not None:
        number("baseline", baseline, 0, 1, open_low=True, why="the share of the present in the average of the loss")

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
            said = cell.output(moment.s)
            factor = beyond(activity, said)[None]
            activity = moved(activity, average, *map(mean_over_streams, (weight * said, weight)))
        else:
            factor = jnp.asarray(moment.noise) / jnp.asarray(sigma, moment.s.dtype) ** 2  # the noise is sigma xi
        kept = jnp.asarray(decay, moment.s.dtype) * moment.carried_on(traces.eligibility)
        eligibility = kept + factor[:, :, None] * moment.local.rhat[None, None]
        shared = RecurrentThreeFactorShared(loss, activity)
        return Credit(excess * eligibility, RecurrentThreeFactorTraces(eligibility), shared)

    return online_rule(cell, init, step, init_shared=init_shared, noise=sigma)
