r"""Simultaneous perturbation stochastic approximation: two losses give the update of all weights, however many.

    Delta = +-1, a fair sign for each weight,   c_k = c / k^gamma,   k = 1, 2, ... the step
    G = (L(theta + c_k Delta) - L(theta - c_k Delta)) / (2 c_k) Delta^-1,   averaged over the draws of Delta

Both losses are of the same batch. Delta^-1 = Delta. E G = grad L + O(c_k^2), and the gradient itself where L is
quadratic in theta. Where L is linear, the variance of an entry is the sum of the squares of the gradient's other
entries, divided by the draws: it grows with the number of weights. With one weight and L = theta^3, every draw is
L' + c_k^2.

Source: Spall (1992), equation 2.1, and Spall (1998) for the gain. Kind: approximate; unbiased where L is quadratic.
Memory: the step's number, and one sign for each weight; with several draws, their sum too. Time: two forward
passes a draw, one draw after another. Each synapse reads its own sign and one number for the whole network.
Departures from the paper: the step size, a / (A + k)^alpha, belongs to the optimiser: use an optax schedule. The
reported loss is the mean of the measured ones, L + O(c_k^2), because L itself would need a third pass;
`plasticity_jax.rules.weight_perturbation` makes that pass, and has a choice of noise.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.ops import groups, prng
from plasticity_jax.ops.checks import number, whole
from plasticity_jax.ops.perturbation import credited, noise_like, real_dtype, shaken
from plasticity_jax.rules.feedback.perturbation_common import perturbed
from plasticity_jax.typing import Array, Batch, Key, Params, PyTree, Scalar, Updates


class SPSATraces(NamedTuple):
    """Attributes: steps: shape (), int32, steps taken."""

    steps: Array


def spsa(
    net: Chain | Callable[[Params, Batch], Array], *, c: Scalar = 1e-2, gamma: Scalar = 0.0, draws: int = 1
) -> LearningRule:
    """Descends a loss without its derivatives, by two evaluations for each draw.

    Args:
      net: a chain of layers, where the group "forward" learns; or any ``(params, batch) -> loss ()``, where all
        floating params learn. The loss is the batch's mean; a function has to apply the examples' weights itself.
      c: size of the perturbations at the first step, above 0; in float32 best within 1e-3 to 1e-1.
      gamma: how fast they shrink, at least 0: c / k^gamma. 0 keeps their size; Spall recommends 0.101, and 1/6 if
        the learning rate falls as 1 / k.
      draws: draws of the signs at each step, at least 1; the variance falls as 1 / draws.

    Returns:
      A rule over the params of the network; for a chain its batch is an `Example`.

    Raises:
      TypeError: if the network is neither.
      ValueError: if an option is out of range, or the function returns more than one number.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> def loss(params, batch):  # a threshold, which backpropagation cannot follow
      ...     spikes = (batch.x > params["threshold"]).astype(batch.x.dtype)
      ...     return (jnp.mean(spikes) - batch.y) ** 2 + 0.01 * params["threshold"] ** 2
      >>> batch = pj.Example(jax.random.normal(jax.random.key(0), (1000,)), jnp.float32(0.2))
      >>> gain = lambda k: 5.0 / (10 + k) ** 0.602  # a / (A + k)^alpha
      >>> learn = pj.learner(spsa(loss, c=0.2, gamma=0.101), optax.sgd(gain))
      >>> state = learn.init({"threshold": jnp.zeros(())}, jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.2 * info.loss[0])
      True

    Reference:
      Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient approximation", IEEE
      Transactions on Automatic Control 1992; and "Implementation of the simultaneous perturbation algorithm for
      stochastic optimization", IEEE Transactions on Aerospace and Electronic Systems 1998.
    """
    number("c", c, 0, open_low=True, why="the size of the perturbations, which divides their effect")
    number("gamma", gamma, 0, why="the power of the step by which perturbations shrink")
    whole("draws", draws, 1, "draw of signs")
    learning, fit, loss_of = perturbed(net)

    def init(params: Params, key: Key, batch: Batch) -> SPSATraces:
        fit(params, batch)
        return SPSATraces(jnp.zeros((), jnp.int32))

    def update(params: Params, traces: SPSATraces, key: Key, batch: Batch) -> tuple[Updates, SPSATraces, Info]:
        batch, weights = fit(params, batch), learning(params)
        steps = traces.steps + 1
        size = _gain(c, gamma, steps, real_dtype(weights))

        def one_draw(key: Key) -> tuple[PyTree, tuple[Array, dict[str, Array]]]:
            delta = noise_like(key, weights, "rademacher")
            plus, minus = (loss_of(shaken(weights, by, delta), batch) for by in (size, -size))
            effect = (plus[0] - minus[0]) / (2 * size * draws)
            return credited(effect, delta), jax.tree.map(lambda a, b: (a + b) / 2, plus, minus)

        if draws == 1:
            estimate, (loss, aux) = one_draw(key)
        else:

            def body(total: PyTree, draw: Array) -> tuple[PyTree, PyTree]:
                part, measured = one_draw(prng.fold_in(key, draw))
                return jax.tree.map(jnp.add, total, part), measured

            start = jax.tree.map(jnp.zeros_like, jax.eval_shape(one_draw, key)[0])
            estimate, measured = jax.lax.scan(body, start, jnp.arange(draws, dtype=jnp.uint32))
            loss, aux = jax.tree.map(lambda each: jnp.mean(each, 0), measured)
        return groups.filled(params, estimate), SPSATraces(steps), Info(loss, READY, aux)

    return LearningRule(init, update)


def _gain(c: Scalar, gamma: Scalar, steps: Array, real: jnp.dtype) -> Array:
    """c / k^gamma, in float32 at least: half precision cannot hold the step's number."""
    wide = jnp.promote_types(real, jnp.float32)
    return (jnp.asarray(c, wide) * steps.astype(wide) ** -jnp.asarray(gamma, wide)).astype(real)
