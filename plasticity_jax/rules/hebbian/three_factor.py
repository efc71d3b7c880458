r"""Three factors: activity leaves an eligibility trace at a synapse, and one global signal turns it into learning.

    v^i  = W^i h^{i-1} + b^i + sigma xi^i,   h^i = phi_i(v^i)          xi ~ N(0, 1) in the layers that learn
    e^i <- decay e^i + post^i h^{i-1}^T                                e^i = 0 before the first step of a trial
    W^i <- W^i + alpha^i 1/B sum_b M_b e^i_b,   M_b = Lbar - L_b

for each example b of the batch; with a decay, each example is a stream of its own. The third factor M is one number for
the whole network: the running average Lbar of earlier losses (0 without a baseline) minus the loss of the noisy pass.
The other factors are a synapse's presynaptic activity and

    post = xi / sigma            "noise": the neuron's own noise, which it must have apart from its input
    post = h^i - hbar^i          "activity": its activity minus the running average hbar^i

To learn from a reward in the batch, make the chain with ``loss=lambda output, reward: -reward`` and give the reward as
the batch's y (B,): M is then the reward minus its average, or the reward itself if ``baseline=None``. Such a batch is
made before the noise of its step is drawn, so its reward is for the step before, whose output was
``info.aux["output"]``: it teaches only with a decay, 0.5 for example.

With noise, M e is REINFORCE's estimate: without decay, E dW = -alpha grad E L, the gradient of the loss averaged over
the noise, in any network, because Lbar is independent of the present noise. With a decay, losses up to about
1 / (1 - decay) steps late are credited, too. Lbar then contains a stream's own losses while their noise is eligible:
where a loss depends only on the noise of its own step, the fraction of the gradient that remains is

    1 - (1/B) baseline decay / (1 - (1 - baseline) decay)

so keep the baseline slow, well below 1 - decay, or use many streams. With activity it is a covariance rule, which
follows the gradient where hbar is the activity expected from the input; where it is not, the weights also learn the
covariance of activity and input, times the average of M.

Source: Fremaux & Gerstner (2016) for the form; Williams (1992) for noise, Loewenstein & Seung (2006) for covariance.
Kind: unbiased with noise and without decay, else local. Memory: without decay the averages alone; with it B times the
weights. Time: two products a layer, one of them the forward pass; with a decay B products in place of the second. Each
synapse reads its pre- and postsynaptic activity, its neuron's noise or average, and M.
Departures: noise is added to the potentials of rate neurons, where the sources have spikes; steps take the place of
time constants.
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
    """Plasticity gated by a reward or by the loss, in layers with noise.

    Args:
      net: a chain of layers; the dense ones can learn. Its loss need not be differentiable.
      alpha: plasticity; in each layer a number, or (n_i,) for each neuron, or (n_i, n_{i-1}) for each weight.
      sigma: the noise's standard deviation, above 0; or at least 0 if post is "activity".
      decay: the fraction of an eligibility kept at each step, in [0, 1], where examples are streams of steps;
        None carries nothing, and an example is credited for its own loss alone.
      post: the postsynaptic factor, "noise" or "activity".
      baseline: the share of the present step in the running average of the loss, in (0, 1]; None for no average. With
        one, the first step teaches nothing, because there is no earlier loss to compare with.
      average: the same for the running averages of activity, which only post="activity" reads.
      plastic: indices of the layers that learn and have noise, from the end if negative; None for all dense layers.
      reduction: "mean" or "sum" over the batch.

    Returns:
      A rule over ``{"forward": {"w", "bias"}}`` that changes only w. Its loss and output are those with noise.

    Raises:
      ValueError: if an option is not known, a layer does not exist, there is not one alpha for each, or a coefficient
        is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> def wrong(z, label):
      ...     return (z[label] <= z[1 - label]) * 1.0
      >>> net = pj.networks.mlp((3, 10, 2), ("tanh", "identity"), loss=wrong)
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, (x[:, 0] > x[:, 1]).astype(int))  # the loss is 1 where it is wrong, else 0
      >>> learn = pj.learner(three_factor(net, sigma=0.5, alpha=0.2), optax.sgd(1.0))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=1000)
      >>> bool(info.loss[-100:].mean() < 0.3 * info.loss[:10].mean())  # the error rate, including errors by noise
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
    number("average", average, 0, 1, open_low=True, why="the share of the present step in averages of activity")
    if decay is not None:
        number("decay", decay, 0, 1, why="the fraction of an eligibility kept at each step")
    if baseline is not None:
        number("baseline", baseline, 0, 1, open_low=True, why="the share of the present step in the average loss")

    def init(params: Params, key: Key, batch: Example) -> ThreeFactorTraces:
        w, examples = params["forward"]["w"], len(checked_batch(net, params, batch, reads_feedback=False).x)
        dtype = w[layers[0]].dtype if layers else jnp.zeros(()).dtype
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
        h, inputs = _noisy_pass(net, params["forward"], x, {i: size * xi[k] for k, i in enumerate(layers)})
        loss = loss_and_credit(net, h[-1], y, weight)[0]

        if baseline is not None and isinstance(traces.loss, RunningAverage):
            third_factor = -beyond(traces.loss, loss, weight)
            loss_average = moved(traces.loss, baseline, jnp.mean(loss), jnp.mean(weight))
        else:
            third_factor, loss_average = -loss, ()

        changes, eligibility, activity = {}, [], []
        for k, i in enumerate(layers):
            if post == "noise":
                factor = xi[k] / size
            else:
                factor = beyond(traces.activity[k], h[i + 1])
                mean_activity = jnp.mean(weighed(h[i + 1], weight), 0)
                activity.append(moved(traces.activity[k], average, mean_activity, jnp.mean(weight)))
            if decay is None:
                changes[i] = weighed(factor, third_factor).T @ inputs[i]
            else:
                same_streams(traces.eligibility[k], len(x))
                decayed = _decayed(traces.eligibility[k], decay, start)
                eligibility.append(decayed + factor[:, :, None] * inputs[i][:, None, :])
                changes[i] = jnp.einsum("b,bij->ij", third_factor, eligibility[k])
        w = weight_updates(params, rates, changes, share_of_one(reduction, len(x)))
        new_traces = ThreeFactorTraces(tuple(eligibility), loss_average, tuple(activity))
        return groups.filled(params, {"forward": w}), new_traces, Info(jnp.mean(loss), READY, {"output": h[-1]})

    return LearningRule(init, update)


def _noisy_pass(net: Chain, weights: PyTree, x: Array, noise: Mapping[int, Array]) -> tuple[list[Array], list[Array]]:
    """L + 1 activities and the L inputs of the layers' weights, with noise on the potentials of some layers."""
    h, inputs = [x], []
    for i, layer in enumerate(net.layers):
        inputs.append(between(net, i, h[-1]))
        v = summed(layer, weights, i, inputs[-1])
        h.append(activation_of(layer.phi).phi(v + noise[i] if i in noise else v))
    h[-1] = between(net, len(net.layers), h[-1])
    return h, inputs


def _decayed(eligibility: Array, decay: Scalar, start: Array | None) -> Array:
    """Eligibilities (B, n_i, n_{i-1}) after their decay; 0 in a stream where a trial starts."""
    decayed = jnp.asarray(decay, eligibility.dtype) * eligibility
    if start is None:
        return decayed
    streams = len(eligibility)
    chex.assert_shape(start, (streams,), custom_message=f"batch.start must be (B,) = ({streams},)")
    return jnp.where(jnp.asarray(start)[:, None, None] != 0, 0, decayed)
