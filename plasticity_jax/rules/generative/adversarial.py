r"""Adversarial learning of inference and generation: discriminators tell phases apart, and the network matches them.

    L_i = gamma L_WS,i + (1 - gamma) (L_O,i + rho L_R,i)
    L_WS,i = E D_i(w_i) - E D_i(s_i)        wake against sleep
    L_O,i  = E D_i(w_i) - E D_i(o_i)        wake against the oscillation, o_i ~ p(. | w_{i+1})
    L_R,i  = E |f_i(w_i) - f_i(o_i)|^2      f_i: the penultimate features of D_i
    P_i    = E (|grad D_i(eps w_i + (1 - eps) v_i)| - 1)^2,   eps ~ U(0, 1),   v: s with weight gamma, o with 1 - gamma
    discriminators descend  sum_i lambda P_i - gamma L_WS,i - (1 - gamma) L_O,i
    inference, generation   descend  sum_i L_i

D is high awake and low asleep. The top layer and discriminators of several layers have no oscillation; there
L_i = L_WS,i, because the layer above the top is the prior. gamma = 1 with one global discriminator is adversarial
wake/sleep (equation 4), gamma = 0 the oscillation alone (equation 7), and anything in between is equation 8.

Source: Benjamin & Kording (2021), equations 4, 7, 8, after Larsen et al. (2016) and Gulrajani et al. (2017). Kind:
local, without a claim on the gradient of a likelihood; the updates are the exact gradients of the objectives above for
one set of samples. Memory: no traces; activity of all layers in three phases. Time: a forward and a backward pass
through the network, two backward passes through the discriminators, and twice one for the penalty. A synapse reads
errors that are carried back through the discriminators and, unless `per_layer`, through the layers between; with
`per_layer`, those from the discriminator of its own layer alone, with a sign given by the phase.

Departures, where the paper is silent or cannot be meant literally: E_p_phi in equations 4 and 7 is E_p_theta.
Discriminators do not climb L_R, which has no bound. Both players move at once, from the same weights; in the authors'
first code the discriminator moves first, and the penalty is taken at the two phases themselves. The penalty is on the
slope along a discriminator's own input. L_R is a sum over features, as in Larsen et al.; the mean, which the paper does
not rule out, is too weak to learn reconstruction in thousands of steps (`experiments/benjamin2021/fig3.py`).
"""

from collections.abc import Callable
from typing import Literal

import chex
import jax
import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.networks.hierarchy import FREE, OSCILLATION, SLEEP, WAKE, AdversarialNet, Judgement, Parents, Phases
from plasticity_jax.ops import prng
from plasticity_jax.ops.checks import cast_floats, in_range, like, not_empty, one_of
from plasticity_jax.ops.groups import read
from plasticity_jax.ops.norms import safe_norm
from plasticity_jax.typing import Array, Batch, Key, Params, Scalar, Updates

MODEL = ("inference", "generation")


def adversarial(
    net: AdversarialNet,
    gamma: Scalar = 0.1,
    *,
    penalty: Scalar = 1.0,
    reconstruction: Scalar = 1.0,
    reduction: Literal["sum", "mean"] = "sum",
    oscillation_to_inference: bool = True,
    target_moves: bool = True,
    per_layer: bool = False,
) -> LearningRule:
    """Adversarial wake/sleep and oscillations, in one minimax step.

    Args:
      net: the network, with its discriminators.
      gamma: weight of wake/sleep against the oscillation, in [0, 1]; 1 for a discriminator of several layers.
      penalty: lambda, the weight of the gradient penalty, at least 0.
      reconstruction: rho, the weight of the distance between features, at least 0.
      reduction: of that distance over features, "sum" or "mean".
      oscillation_to_inference: whether inference gets credit for the oscillation that starts from its samples.
      target_moves: whether inference gets credit for L_R through the target of the reconstruction.
      per_layer: each layer learns from its own discriminators alone, with its inputs held fixed; needs a stack.

    Returns:
      A `LearningRule` without traces, for batches with images or video in `x`, and params ``{"inference", "generation",
      "discriminator"}``. `Info.loss` is the loss that inference and generation descend; aux holds, by discriminator,
      "wake_sleep" (L_WS), "oscillation" (L_O), "reconstruction" (L_R) and "penalty" (P), and "critic", the loss that
      the discriminators descend.

    Raises:
      ValueError: if a coefficient is out of range, gamma is below 1 for a discriminator of several layers, or a name is
        not known.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.autoencoder((6, 2), hidden=8, critic_hidden=8, recurrence=0, output="sigmoid")
      >>> key = jax.random.key(0)
      >>> x = jax.nn.sigmoid(jax.random.normal(key, (64, 1)) * jnp.array([3.0, -3, 3, -3, 3, -3]))
      >>> learn = pj.learner(adversarial(net, gamma=0.1, reconstruction=10.0), optax.adam(3e-3))
      >>> start = learn.init(pj.networks.init_params(key, net), key, pj.Example(x, x))
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, pj.Example(x, x)), start, length=1000)
      >>> before, after = (pj.networks.reconstruct(net, s.params, x, key)[0] for s in (start, state))
      >>> bool(jnp.mean((after - x) ** 2) < 0.2 * jnp.mean((before - x) ** 2))
      True

    Reference:
      Benjamin & Kording, "Learning to infer in recurrent biological networks", arXiv:2006.10811v2, 2021.
    """
    if not isinstance(gamma, Tracer) and not 0 <= float(gamma) <= 1:
        raise ValueError(f"gamma={gamma} must lie in [0, 1]: the weight of wake/sleep against the oscillation")
    one_of("reduction", reduction, ("sum", "mean"))
    in_range("penalty", penalty, 0, why="the weight of the gradient penalty")
    in_range("reconstruction", reconstruction, 0, why="the weight of a distance")
    top = max(layer for site in net.sites for layer in site)
    oscillates = [len(site) == 1 and site[0] < top for site in net.sites]
    wake_sleep_only = not isinstance(gamma, Tracer) and float(gamma) == 1
    if not any(oscillates) and not wake_sleep_only and not isinstance(gamma, Tracer):
        raise ValueError(
            f"gamma={gamma}: discriminators of several layers compare wake and sleep alone; use gamma=1, or local ones"
        )
    oscillates = [each and not wake_sleep_only for each in oscillates]

    sites = range(len(net.sites))
    # Weights of a site's mean scores awake, asleep and in the oscillation, in the discriminators' objective.
    shares = [(1.0, -gamma, gamma - 1.0) if each else (1.0, -1.0) for each in oscillates]

    def critic_inputs(phases: Phases, site: int) -> list[tuple[Array, ...]]:
        """Inputs of a discriminator awake, asleep, and in the oscillation if it has one."""
        layers = net.sites[site]
        views = [tuple(phases.wake[i] for i in layers), tuple(phases.sleep[i] for i in layers)]
        return [*views, (phases.oscillation[layers[0]],)] if oscillates[site] else views

    def judgements(critics: Params, phases: Phases) -> list[Judgement]:
        """Judgements of all phases by each site, in one call: scores (phases, N), features (phases, N, n)."""
        judged = []
        for site in sites:
            views = critic_inputs(phases, site)
            rows = tuple(jnp.concatenate(same) for same in zip(*views, strict=True))
            judgement = net.judge(critics[site], site, rows)
            n = judgement.features.shape[-1]
            shape = (len(views), -1)
            judged.append(Judgement(judgement.score.reshape(shape), judgement.features.reshape(*shape, n)))
        return judged

    def objective(judged: list[Judgement]) -> Array:
        means = [jnp.mean(each.score, 1) for each in judged]
        return jnp.sum(jnp.stack([jnp.asarray(shares[site], mean.dtype) @ mean for site, mean in enumerate(means)]))

    def model_loss(judged: list[Judgement], constant: list[Judgement]) -> tuple[Array, dict[str, Array]]:
        total, parts = objective(judged), []
        for site in sites:
            means, features = jnp.mean(judged[site].score, 1), judged[site].features
            zero = jnp.zeros_like(means[0])
            oscillation, distance = zero, zero
            if oscillates[site]:
                squares = ((judged if target_moves else constant)[site].features[WAKE] - features[OSCILLATION]) ** 2
                distance = jnp.mean(jnp.mean(squares, -1) if reduction == "mean" else jnp.sum(squares, -1))
                oscillation = means[WAKE] - means[OSCILLATION]
                total += ((1 - gamma) * reconstruction * distance).astype(total.dtype)
            parts.append((means[WAKE] - means[SLEEP], oscillation, distance))
        names = ("wake_sleep", "oscillation", "reconstruction")
        return total, {name: jnp.stack(each) for name, *each in zip(names, *parts, strict=True)}

    def penalties(critics: Params, phases: Phases, key: Key) -> Array:
        """P by site."""
        terms = []
        for site in sites:

            def score(activity: tuple[Array, ...], site: int = site) -> Array:
                return net.judge(critics[site], site, activity).score

            wake, *others = critic_inputs(phases, site)
            share = jax.random.uniform(prng.fold_in(key, jnp.uint32(site)), wake[0].shape[:1], wake[0].dtype)
            points = [_between(wake, other, share) for other in others]
            errors = _squared_slope_error(score, tuple(jnp.concatenate(same) for same in zip(*points, strict=True)))
            errors = jnp.mean(errors.reshape(len(others), len(share)), -1)
            terms.append(-jnp.asarray(shares[site][1:], errors.dtype) @ errors)
        return jnp.stack(terms)

    def data(params: Params, batch: Batch) -> Array:
        """x in the dtype of the weights, after checks that it fits."""
        if not hasattr(batch, "x"):
            raise TypeError(f"batch is a {type(batch).__name__}: give an Example, as in Example(x, x)")
        if getattr(batch, "weight", None) is not None:
            raise ValueError("batch.weight is given, but this rule does not read it: leave it None")
        not_empty("batch.x", batch.x.shape[0])
        dtype = jax.tree.leaves([read(params, group) for group in (*MODEL, "discriminator")])[0].dtype
        net.check(params, batch.x)
        return cast_floats(batch.x, dtype)

    def init(params: Params, key: Key, batch: Batch) -> tuple[()]:
        data(params, batch)
        return ()

    def update(params: Params, traces: tuple[()], key: Key, batch: Batch) -> tuple[Updates, tuple[()], Info]:
        x = data(params, batch)
        model, critics = {group: params[group] for group in MODEL}, params["discriminator"]
        samples, interpolation = (prng.fold_in(key, jnp.uint32(i)) for i in range(2))

        def live(model: Params, parents: Parents) -> Phases:
            return net.phases(model, x, samples, parents, any(oscillates))

        parents = FREE
        if per_layer or not oscillation_to_inference:
            fixed = live(model, parents)
            parents = Parents(fixed.wake, fixed.sleep, fixed.wake) if per_layer else Parents(oscillation=fixed.wake)
        phases, credit = jax.vjp(lambda model: live(model, parents), model)
        rows = [h.shape[0] for h in jax.tree.leaves(phases)]
        chex.assert_equal(len(set(rows)), 1, custom_message=f"every phase must have as many samples, found {rows}")
        # One pass through the discriminators; both players' losses are carried back through it.
        judged, pull_judgements = jax.vjp(judgements, critics, phases)
        penalty_terms, pull_penalties = jax.vjp(lambda critics: penalties(critics, phases, interpolation), critics)
        critic_gain, d_gain = jax.value_and_grad(objective)(judged)
        (loss, aux), d_judged = jax.value_and_grad(model_loss, has_aux=True)(judged, judged)
        weight = jnp.full_like(penalty_terms, penalty)
        d_critics = jax.tree.map(lambda a, b: a - b, pull_penalties(weight)[0], pull_judgements(d_gain)[0])
        d_phases = pull_judgements(d_judged)[1]
        critic_loss = jnp.sum(weight * penalty_terms) - critic_gain
        aux |= {"penalty": penalty_terms, "critic": critic_loss}
        updates = {**credit(d_phases)[0], "discriminator": d_critics}
        return like(updates, params), (), Info(loss, READY, aux)

    return LearningRule(init, update)


def _squared_slope_error(score: Callable[[tuple[Array, ...]], Array], points: tuple[Array, ...]) -> Array:
    """(|grad D| - 1)^2 by sample, with the norm over all inputs of a discriminator."""

    def one(point: tuple[Array, ...]) -> Array:
        return score(tuple(h[None] for h in point))[0]

    slopes = jax.vmap(jax.grad(one))(points)
    norms = jax.vmap(lambda slope: safe_norm(jnp.concatenate([jnp.ravel(h) for h in slope])))(slopes)
    return (norms - 1) ** 2


def _between(wake: tuple[Array, ...], other: tuple[Array, ...], share: Array) -> tuple[Array, ...]:
    """Points between wake and another phase, with the same share of wake for all layers of a sample."""

    def between(a: Array, b: Array) -> Array:
        return b + share.reshape(-1, *(1,) * (a.ndim - 1)) * (a - b)

    return tuple(between(a, b) for a, b in zip(wake, other, strict=True))
