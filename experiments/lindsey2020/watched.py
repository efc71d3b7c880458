"""Lives of a network, recorded step by step: outputs, updates against the gradient, and features frozen at birth."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.lindsey2020.learners import SineLearner
from experiments.lindsey2020.sines import Sines, sines
from experiments.lindsey2020.training import over_lives
from plasticity_jax.base import LearningRule, compare
from plasticity_jax.diagnostics.interference import interference
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.layers import Chain, forward
from plasticity_jax.ops.norms import cosine, safe_norm
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.typing import Array, Episode, Example, Key, Params, PyTree, Scalar


def analyses(
    config: Sines, order: Order, learner: SineLearner, *, ridge: Scalar, steps: bool
) -> Callable[[Key, PyTree], Metrics]:
    """``(key, theta) -> metrics``, over the lifetimes of an order.

    Args:
      config: the problem.
      order: of the lives.
      learner: that lives.
      ridge: see `frozen_error`.
      steps: whether to keep metrics of every inner step, too.
    """
    net, life = learner.cut.net, learner.life
    continual = order == "continual"

    def evaluate(key: Key, theta: PyTree) -> Metrics:
        stream = sines(config, order, config.lifetimes)
        _, episodes = stream.take(stream.init(key), 1)

        def one(episode: Episode) -> Metrics:
            episode, params = life.embed(theta, episode), life.params(theta)
            rule, every_step = learner.within(theta), steps and continual
            outputs, reports = lived(net, rule, params, episode, config.functions, every_step=every_step)
            metrics = {"error": jnp.mean((outputs[-1].reshape(episode.query.y.shape) - episode.query.y) ** 2)}
            if continual:
                metrics["interference"] = interference(outputs)
            else:
                metrics["frozen"] = frozen_error(net, params, episode, ridge)
            if every_step:
                metrics["interference_of_steps"] = of_earlier(reports.pop("change"))
            return {**metrics, **reports} if steps else metrics

        first = jax.tree.map(lambda leaf: leaf[0], episodes)
        at_a_time = 1 if config.rows else min(10, config.lifetimes)
        return over_lifetimes(jax.lax.map(one, first, batch_size=at_a_time))

    return evaluate


def over_lifetimes(metrics: Metrics) -> Metrics:
    """Medians of errors and means of all metrics over lifetimes; for cosines, also each life's mean and rise.

    Args:
      metrics: by name, each (lifetimes, ...); "cosine", if there is one, (lifetimes, T, P).

    Returns:
      The same names without the axis of lifetimes; "error_mean" and "frozen_mean", where "error" and "frozen" are
      medians; "cosine_of_lives" and "rise_of_lives" (lifetimes, P), for a layer's average and its standard error.
      The rise is the slope of the least-squares line, times T.
    """
    judged = ("error", "frozen")
    means = {f"{name}_mean" if name in judged else name: jnp.mean(values, 0) for name, values in metrics.items()}
    means |= {name: over_lives(metrics[name]) for name in judged if name in metrics}
    if "cosine" in metrics:
        steps = metrics["cosine"].shape[1]
        t = jnp.arange(steps) - (steps - 1) / 2
        means["cosine_of_lives"] = jnp.mean(metrics["cosine"], 1)
        means["rise_of_lives"] = jnp.einsum("t,ltp->lp", t, metrics["cosine"]) / jnp.sum(t * t) * steps
    return means


def lived(
    net: Chain, rule: LearningRule, params: Params, episode: Episode, functions: int, *, every_step: bool = False
) -> tuple[Array, dict[str, Array]]:
    """Outputs and updates in the course of a life under plain steps.

    Args:
      net: the plastic layers.
      rule: theirs; its updates are applied as they are.
      params: at birth.
      episode: one; its support (T, b, ...) is cut into a block for each function, and the query follows each block.
      functions: K.
      every_step: whether the query follows every step, too.

    Returns:
      ``(outputs, reports)``: outputs (K, K, q, n_out), after a block, for a function; reports (T, P) for each plastic
      layer: "cosine" of the change of w and the negative gradient, "norm" of the change, "relative" to that of w; if
      `every_step`, "change" (T, K), mean square by which a block has so far changed the outputs for a function.
    """
    rules = {"own": rule, "exact": backprop(net)}

    def outputs_of(params: Params) -> Array:
        y = forward(net, params["forward"], episode.query.x).h[-1]
        return y.reshape(functions, -1, y.shape[-1])

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
        before = outputs_of(params) if every_step else None

        def watched_step(params: Params, batch: Example) -> tuple[Params, dict[str, Array]]:
            params, report = step(params, batch)
            if before is not None:
                report["change"] = jnp.mean(jnp.sum((outputs_of(params) - before) ** 2, -1), -1)
            return params, report

        params, reports = jax.lax.scan(watched_step, params, batches)
        return params, (outputs_of(params), reports)

    blocks = jax.tree.map(lambda leaf: leaf.reshape(functions, -1, *leaf.shape[1:]), episode.support)
    _, (outputs, reports) = jax.lax.scan(block, params, blocks)
    reports = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), reports)
    return outputs, reports


def of_earlier(change: Array) -> Array:
    """Mean over the functions of earlier blocks, from the second block on; at the end of a block it is `interference`.

    Args:
      change: (T, K), see `lived`.

    Returns:
      (T - T / K,).
    """
    functions = change.shape[1]
    later = change.reshape(functions, -1, functions)[1:]
    earlier = jnp.tril(jnp.ones((functions - 1, functions)))[:, None]
    return (jnp.sum(jnp.where(earlier > 0, later, 0), -1) / jnp.sum(earlier, -1)).reshape(-1)


def frozen_error(net: Chain, params: Params, episode: Episode, ridge: Scalar) -> Array:
    """Error of the best readout of the features at birth, fitted to all of the life's data."""
    support = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), episode.support)
    support_features, query_features = (
        forward(net, params["forward"], data.x).h[-2] for data in (support, episode.query)
    )
    return jnp.mean((linear_readout(support_features, support.y, ridge)(query_features) - episode.query.y) ** 2)
