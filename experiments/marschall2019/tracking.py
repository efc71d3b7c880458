"""A rule with a learned Jacobian, watched as it learns: how near it is to the network's own, beside simpler guesses."""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.ops.norms import cosine, safe_norm
from plasticity_jax.rules.online.common import OnlineTraces
from plasticity_jax.typing import Array, Batch, Key, Params, Scalar, Updates

GUESSES = ("learned", "mean", "start", "identity")
"""Guesses at J: the learned one; the mean of J in the past; the learned one's start, W_rec; what changes nothing."""


class Watch(NamedTuple):
    """Traces of a rule that is watched.

    Attributes:
      rule: the rule's own traces.
      start: (n, n), the learned Jacobian at the start.
      mean: (n, n), the running mean of J.
      steps: shape (), taken.
    """

    rule: OnlineTraces
    start: Array
    mean: Array
    steps: Array


def watched(rule: LearningRule, alpha: float, average: Scalar) -> LearningRule:
    """`dni` with a learned Jacobian, one stream and a leaky tanh network, with the quality of guesses at J in ``aux``.

    For each of `GUESSES`, "<guess>_error" is |guess - J| / |J| and "<guess>_cosine" the cosine of their entries;
    "<guess>_pull" is that of f J and f guess, f the forecast of credit that the rule passes on. "miss" is
    |Jc r - r'|^2, of the learned Jacobian before it has seen this step, and "still" |r' - r|^2.

    Args:
      rule: what is watched; it learns as without.
      alpha: of the network.
      average: rate of the running mean of J.
    """

    def init(params: Params, key: Key, batch: Batch) -> Watch:
        traces = rule.init(params, key, batch)
        start = traces.shared.jacobian
        return Watch(traces, start, jnp.zeros_like(start), jnp.zeros((), jnp.int32))

    def update(params: Params, traces: Watch, key: Key, batch: Batch) -> tuple[Updates, Watch, Info]:
        before = traces.rule
        updates, after, info = rule.update(params, before, key, batch)
        r_tm1, r = before.state[0, 0], after.state[0, 0]
        true = jacobian(params["forward"]["w"][0], r_tm1, r, alpha)
        forecast = jnp.tanh(before.shared.a_target @ after.own.state[0])
        mean = jnp.where(traces.steps == 0, true, traces.mean)  # a mean of the past, but for the first step
        guesses = dict(
            zip(GUESSES, (after.shared.jacobian, mean, traces.start, jnp.eye(len(r), dtype=r.dtype)), strict=True)
        )
        aux = {"miss": jnp.sum((before.shared.jacobian @ r_tm1 - r) ** 2), "still": jnp.sum((r - r_tm1) ** 2)}
        for name, guess in guesses.items():
            aux[f"{name}_error"] = safe_norm(guess - true) / safe_norm(true)
            aux[f"{name}_cosine"] = cosine(guess, true)
            aux[f"{name}_pull"] = cosine(forecast @ guess, forecast @ true)
        watch = Watch(after, traces.start, mean + average * (true - mean), traces.steps + 1)
        return updates, watch, info._replace(aux={**info.aux, "watch": aux})

    return LearningRule(init, update, rule.lag)


def jacobian(w: Array, r_tm1: Array, r: Array, alpha: float) -> Array:
    """J of a leaky tanh network from the weights (n, m) that made a step and the rates (n,) before and after it."""
    slope = 1 - ((r - (1 - alpha) * r_tm1) / alpha) ** 2
    return (1 - alpha) * jnp.eye(len(r), dtype=r.dtype) + alpha * slope[:, None] * w[:, : len(r)]
