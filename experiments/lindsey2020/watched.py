"""Lives of a network watched step by step: answers, updates against the gradient, and features frozen at birth."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.lindsey2020.networks import Layers
from experiments.lindsey2020.sines import Sines, sines
from experiments.lindsey2020.training import over_lives
from plasticity_jax.base import LearningRule, compare
from plasticity_jax.diagnostics.interference import interference
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.layers import Chain, forward
from plasticity_jax.meta import Life
from plasticity_jax.ops.norms import cosine, safe_norm
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.typing import Array, Episode, Example, Key, Params, PyTree, Scalar


def analyses(
    config: Sines,
    order: Order,
    cut: Layers,
    life: Life,
    rule: Callable[[PyTree], LearningRule],
    *,
    ridge: Scalar,
    steps: bool,
) -> Callable[[Key, PyTree], Metrics]:
    """``(key, theta) -> metrics``, over the lifetimes of an order.

    Args:
      config: the problem.
      order: of the lives.
      cut: the network.
      life: the learner's.
      rule: ``theta -> rule`` of the plastic layers.
      ridge: see `frozen_error`.
      steps: whether those of every inner step are kept, too.
    """

    def evaluate(key: Key, theta: PyTree) -> Metrics:
        stream = sines(config, order, config.lifetimes)
        _, episodes = stream.take(stream.init(key), 1)

        def one(episode: Episode) -> Metrics:
            episode, params = life.embed(theta, episode), life.params(theta)
            answers, reports = lived(cut.net, rule(theta), params, episode, config.functions)
            found = {"error": jnp.mean((answers[-1].reshape(episode.query.y.shape) - episode.query.y) ** 2)}
            if order == "iid":
                found["frozen"] = frozen_error(cut.net, params, episode, ridge)
            else:
                found["interference"] = interference(answers)
            return {**found, **reports} if steps else found

        first = jax.tree.map(lambda leaf: leaf[0], episodes)
        return over_lifetimes(jax.lax.map(one, first, batch_size=min(10, config.lifetimes)))

    return evaluate


def over_lifetimes(found: Metrics) -> Metrics:
    """Medians of errors and means of all else over lifetimes; of cosines, also each life's mean and rise.

    Args:
      found: by name, each (lifetimes, ...); "cosine", if there is one, (lifetimes, T, P).

    Returns:
      The same names without the axis of lifetimes; "cosine_of_lives" and "rise_of_lives" (lifetimes, P), for what a
      layer does on average, and its chance. The rise is the slope of the least-squares line, times T.
    """
    judged = ("error", "frozen")
    means = {name: over_lives(values) if name in judged else jnp.mean(values, 0) for name, values in found.items()}
    if "cosine" in found:
        steps = found["cosine"].shape[1]
        t = jnp.arange(steps) - (steps - 1) / 2
        means["cosine_of_lives"] = jnp.mean(found["cosine"], 1)
        means["rise_of_lives"] = jnp.einsum("t,ltp->lp", t, found["cosine"]) / jnp.sum(t * t) * steps
    return means


def lived(
    net: Chain, rule: LearningRule, params: Params, episode: Episode, functions: int
) -> tuple[Array, dict[str, Array]]:
    """A life under plain steps, watched.

    Args:
      net: the plastic layers.
      rule: theirs; its updates are applied as they are.
      params: at birth.
      episode: one; its support (T, b, ...) is cut into as many blocks as functions, after each of which all is asked.
      functions: K.

    Returns:
      ``(answers, reports)``: answers (K, K, q, n_out), after a block, to a function; reports (T, P) for each plastic
      layer: "cosine" of the change of w and the negative gradient, "norm" of the change, "relative" to that of w.
    """
    rules = {"own": rule, "exact": backprop(net)}

    def step(params: Params, batch: Example) -> tuple[Params, dict[str, Array]]:
        updates, _, _ = compare(rules, params, {"own": (), "exact": ()}, jax.random.key(0), batch)
        changes, gradients = (updates[name]["forward"]["w"] for name in rules)
        norms = jnp.stack([safe_norm(change) for change in changes])
        report = {
            "cosine": jnp.stack([cosine(*pair) for pair in zip(changes, gradients, strict=True)]),
            "norm": norms,
            "relative": norms / jnp.stack([safe_norm(w) for w in params["forward"]["w"]]),
        }
        return jax.tree.map(jnp.subtract, params, updates["own"]), report

    def block(params: Params, batches: Example) -> tuple[Params, tuple[Array, dict[str, Array]]]:
        params, reports = jax.lax.scan(step, params, batches)
        return params, (forward(net, params["forward"], episode.query.x).h[-1], reports)

    blocks = jax.tree.map(lambda leaf: leaf.reshape(functions, -1, *leaf.shape[1:]), episode.support)
    _, (answers, reports) = jax.lax.scan(block, params, blocks)
    reports = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), reports)
    return answers.reshape(functions, functions, -1, answers.shape[-1]), reports


def frozen_error(net: Chain, params: Params, episode: Episode, ridge: Scalar) -> Array:
    """Error of the best readout of the features at birth, fitted to all of the life's data."""
    support = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), episode.support)
    seen, asked = (forward(net, params["forward"], data.x).h[-2] for data in (support, episode.query))
    return jnp.mean((linear_readout(seen, support.y, ridge)(asked) - episode.query.y) ** 2)
