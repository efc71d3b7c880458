r"""Three factors: what a synapse did stays eligible for a while, and a signal for all of them turns it into learning.

    v^i  = W^i h^{i-1} + b^i + sigma xi^i,   h^i = phi_i(v^i)          xi ~ N(0, 1) in the layers that learn
    e^i <- decay e^i + post^i h^{i-1}^T                                0 before it where a trial starts
    W^i <- W^i + alpha^i 1/B sum_b M_b e^i_b,   M_b = Lbar - L_b

for each example b of the batch, which is a stream of its own if anything is carried (decay). The third factor M is one
number for the whole network: by how much the loss, of the noisy pass, is less than the running average Lbar of those
before it (or less than 0, without a baseline). The factors of a synapse are its presynaptic activity and

    post = xi / sigma            "noise": the neuron's own noise, which it has to know apart from its input
    post = h^i - hbar^i          "activity": what it does beyond its running average hbar^i

A reward that the batch brings, whatever the network was to answer, is the loss of a chain built with
``loss=lambda output, reward: -reward``, the batch's y (B,) being the reward: M is what it exceeds its average by, and
the reward itself if ``baseline=None``. Such a batch is made before its own noise is drawn, so the reward in it is for
the step before, whose output was ``info.aux["output"]``: it teaches only with a decay, 0.5 for example.

With noise, M e is REINFORCE's estimate: without decay, E dW = -alpha grad E L, the gradient of the loss averaged over
the noise, in any network, for Lbar knows nothing of the noise of the present. With a decay, losses up to some
1 / (1 - decay) steps late are credited, too. A stream's own losses are then in Lbar while their noise is eligible:
where a loss depends on the noise of its own step alone, what is left of the gradient is

    1 - (1/B) baseline decay / (1 - (1 - baseline) decay)

so let the baseline be slow, well below 1 - decay, or streams many. With activity it is a covariance rule, which goes
with the gradient where hbar is what the input makes expect; where it is not, the weights also learn how activity goes
with the input, at the average of M.

Source: Fremaux & Gerstner (2016), which has the form; Williams (1992) for noise, Loewenstein & Seung (2006) for
covariance. Kind: unbiased with noise and without decay, else local. Memory: without decay averages alone; with it B
times the weights. Time: two products a layer, one of them the forward pass; with a decay B products in the place of the
second. Each synapse reads its pre- and postsynaptic activity, its neuron's noise or average, and M.
Departures: noise rides on the potentials of rates, where the sources have spikes; steps in the place of time constants.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import chex
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.cells.door import same_streams
from plasticity_jax.layers.chain import Chain
from plasticity_jax.layers.passes import between, loss_and_credit, summed
from plasticity_jax.ops import groups
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.averages import RunningAverage, beyond, moved, no_average
from plasticity_jax.ops.checks import number, one_of
from plasticity_jax.ops.hebbian import weighed
from plasticity_jax.ops.noise import noise_of_shapes
from plasticity_jax.rules.hebbian.common import (
    Layers,
    Reduction,
    checked_batch,
    each_layer,
    plastic_layers,
    share_of_one,
    weight_updates,
)
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates

Post = Literal["noise", "activity"]


class ThreeFactorTraces(NamedTuple):
    """Memory of synapses, neurons and the third factor.

    Attributes:
      eligibility: e, (B, n_i, n_{i-1}) for each plastic layer; () without decay.
      loss: Lbar; () without a baseline.
      activity: hbar, (n_i,) for each plastic layer; () if noise is the postsynaptic factor.
    """

    eligibility: tuple[Array, ...]
    loss: RunningAverage | tuple[()]
    activity: tuple[RunningAverage, ...]


def three_factor(
    net: Chain,
    *,
    alpha: Layers = 1e-2,
    sigma: Scalar = 0.1,
    decay: Scalar | None = None,
    post: Post = "noise",
    baseline: Scalar | None = 0.1,
    average: Scalar = 0.1,
    plastic: Sequence[int] | None = None,
    reduction: Reduction = "mean",
) -> LearningRule:
    """Plasticity that a reward, or the loss, turns on, in layers that try out noise.

    Args:
      net: a chain of layers, of which the dense ones can learn. Its loss need not be differentiable.
      alpha: plasticity; for a layer of shape (), (n_i,) for each neuron, or (n_i, n_{i-1}) for each weight.
      sigma: the noise's standard deviation, above 0; 0, too, if post is "activity".
      decay: what an eligibility keeps from step to step, in [0, 1], where examples are streams of steps; None: nothing
        is carried, and an example is credited for its own loss alone.
      post: the postsynaptic factor, "noise" or "activity".
      baseline: the share of the present in the running average of the loss, in (0, 1]; None: no loss is expected. The
        first step teaches nothing, for it has nothing to be compared with.
      average: the same of the running averages of activity, which only post="activity" reads.
      plastic: which layers learn, and try out noise, counted from 0, or from the end if negative; all of them if None.
      reduction: "mean" or "sum" over the batch.

    Returns:
      A rule over ``{"forward": {"w", "bias"}}``, of which it changes w. Its loss and its output are those with noise.

    Raises:
      ValueError: if an option is not known, a layer does not exist, there is not one alpha for each, or a coefficient
        is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> def wrong(z, label):
      ...     return (z[label] <= z[1 - label]) * 1.0
      >>> net = pj.networks.mlp((3, 10, 2), ("tanh", "identity"), loss=wrong)
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, (x[:, 0] > x[:, 1]).astype(int))  # told whether it was wrong, and no more
      >>> learn = pj.learner(three_factor(net, sigma=0.5, alpha=0.2), optax.sgd(1.0))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=1000)
      >>> bool(info.loss[-100:].mean() < 0.3 * info.loss[:10].mean())  # errors, those of the noise among them
      True

    Reference:
      Fremaux & Gerstner, "Neuromodulated spike-timing-dependent plasticity, and theory of three-factor learning rules",
      Frontiers in Neural Circuits 2016. Williams, "Simple statistical gradient-following algorithms for connectionist
      reinforcement learning", Machine Learning 1992. Loewenstein & Seung, "Operant matching is a generic outcome of
      synaptic plasticity based on the covariance between reward and neural activity", PNAS 2006.
    """
    one_of("post", post, ("noise", "activity"))
    one_of("reduction", reduction, ("sum", "mean"))
    layers = plastic_layers(net, plastic)
    rates = dict(zip(layers, each_layer("alpha", alpha, len(layers)), strict=True))
    number("sigma", sigma, 0, open_low=post == "noise", why="the standard deviation of the noise on the potentials")
    number("average", average, 0, 1, open_low=True, why="the share of the present in the averages of activity")
    if decay is not None:
        number("decay", decay, 0, 1, why="what an eligibility keeps from step to step")
    if baseline is not None:
        number("baseline", baseline, 0, 1, open_low=True, why="the share of the present in the average of the loss")

    def init(params: Params, key: Key, batch: Example) -> ThreeFactorTraces:
        w, examples = params["forward"]["w"], len(checked_batch(net, params, batch, reads_feedback=False).x)
        dtype = w[0].dtype if layers else jnp.zeros(()).dtype
        return ThreeFactorTraces(
            () if decay is None else tuple(jnp.zeros((examples, *w[i].shape), dtype) for i in layers),
            () if baseline is None else no_average((), dtype),
            () if post == "noise" else tuple(no_average(w[i].shape[:1], dtype) for i in layers),
        )

    def update(
        params: Params, traces: ThreeFactorTraces, key: Key, batch: Example
    ) -> tuple[Updates, ThreeFactorTraces, Info]:
        x, y, start, weight = checked_batch(net, params, batch, reads_feedback=False)
        weight = jnp.ones(len(x), x.dtype) if weight is None else weight
        xi = noise_of_shapes(key, [(len(x), *net.h_shapes[i + 1]) for i in layers], x.dtype, "gaussian")
        size = jnp.asarray(sigma, x.dtype)
        h, seen = _noisy_pass(net, params["forward"], x, {i: size * xi[k] for k, i in enumerate(layers)})
        loss = loss_and_credit(net, h[-1], y, weight)[0]

        if baseline is not None and isinstance(traces.loss, RunningAverage):
            third = -beyond(traces.loss, loss, weight)
            expected = moved(traces.loss, baseline, jnp.mean(loss), jnp.mean(weight))
        else:
            third, expected = -loss, ()

        changes, eligibility, activity = {}, [], []
        for k, i in enumerate(layers):
            if post == "noise":
                factor = xi[k] / size
            else:
                factor = beyond(traces.activity[k], h[i + 1])
                acted = jnp.mean(weighed(h[i + 1], weight), 0)
                activity.append(moved(traces.activity[k], average, acted, jnp.mean(weight)))
            if decay is None:
                changes[i] = weighed(factor, third).T @ seen[i]
            else:
                same_streams(traces.eligibility[k], len(x))
                kept = _kept(traces.eligibility[k], decay, start)
                eligibility.append(kept + factor[:, :, None] * seen[i][:, None, :])
                changes[i] = jnp.einsum("b,bij->ij", third, eligibility[k])
        w = weight_updates(params, rates, changes, share_of_one(reduction, len(x)))
        after = ThreeFactorTraces(tuple(eligibility), expected, tuple(activity))
        return groups.filled(params, {"forward": w}), after, Info(jnp.mean(loss), READY, {"output": h[-1]})

    return LearningRule(init, update)


def _noisy_pass(net: Chain, weights: PyTree, x: Array, noise: Mapping[int, Array]) -> tuple[list[Array], list[Array]]:
    """L + 1 activities, and what the L layers' weights read, with noise on the potentials of some layers."""
    h, seen = [x], []
    for i, layer in enumerate(net.layers):
        seen.append(between(net, i, h[-1]))
        v = summed(layer, weights, i, seen[-1])
        h.append(activation_of(layer.phi).phi(v + noise[i] if i in noise else v))
    h[-1] = between(net, len(net.layers), h[-1])
    return h, seen


def _kept(eligibility: Array, decay: Scalar, start: Array | None) -> Array:
    """Rest of the eligibilities (B, n_i, n_{i-1}): nothing in a stream where a trial starts."""
    left = jnp.asarray(decay, eligibility.dtype) * eligibility
    if start is None:
        return left
    streams = len(eligibility)
    chex.assert_shape(start, (streams,), custom_message=f"batch.start must be (B,) = ({streams},)")
    return jnp.where(jnp.asarray(start)[:, None, None] != 0, 0, left)
