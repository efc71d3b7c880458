"""Distances of a rule's learned Jacobian, and of simpler guesses, from the network's own during learning."""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.ops.norms import cosine, safe_norm
from plasticity_jax.rules.online.common import OnlineTraces
from plasticity_jax.typing import Array, Batch, Key, Params, Scalar, Updates

GUESSES = ("learned", "mean", "start", "identity")
"""Guesses at J: the learned Jacobian; the mean of past J; the learned one's start, W_rec; the identity."""


class Watch(NamedTuple):
    """Traces of `watched`.

    Attributes:
      rule: the rule's own traces.
      start: (n, n), the learned Jacobian at the start.
      mean: (n, n), the running mean of J.
      steps: shape (), steps taken.
    """

    rule: OnlineTraces
    start: Array
    mean: Array
    steps: Array


def watched(rule: LearningRule, alpha: float, average: Scalar) -> LearningRule:
    """`dni` with a learned Jacobian, one stream and a leaky tanh network; adds the quality of guesses at J to ``aux``.

    For each of `GUESSES`, "<guess>_error" is |guess - J| / |J| and "<guess>_cosine" the cosine of their entries;
    "<guess>_pull" is the cosine of f J and f guess, where f is the forecast of credit that the rule passes on. "miss"
    is |Jc r - r'|^2 for the learned Jacobian before this step's update, and "still" is |r' - r|^2.

    Args:
      rule: the rule to watch; its learning does not change.
      alpha: the network's inverse time constant.
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
        exact = jacobian(params["forward"]["w"][0], r_tm1, r, alpha)
        forecast = jnp.tanh(before.shared.a_target @ after.own.state[0])
        mean = jnp.where(traces.steps == 0, exact, traces.mean)  # a mean of the past, except in the first step
        guesses = dict(
            zip(GUESSES, (after.shared.jacobian, mean, traces.start, jnp.eye(len(r), dtype=r.dtype)), strict=True)
        )
        aux = {"miss": jnp.sum((before.shared.jacobian @ r_tm1 - r) ** 2), "still": jnp.sum((r - r_tm1) ** 2)}
        for name, guess in guesses.items():
            aux[f"{name}_error"] = safe_norm(guess - exact) / safe_norm(exact)
            aux[f"{name}_cosine"] = cosine(guess, exact)
            aux[f"{name}_pull"] = cosine(forecast @ guess, forecast @ exact)
        watch = Watch(after, traces.start, mean + average * (exact - mean), traces.steps + 1)
        return updates, watch, info._replace(aux={**info.aux, "watch": aux})

    return LearningRule(init, update, rule.lag)


def jacobian(w: Array, r_tm1: Array, r: Array, alpha: float) -> Array:
    """J of a leaky tanh network from the weights (n, m) of a step and the rates (n,) before and after it."""
    slope = 1 - ((r - (1 - alpha) * r_tm1) / alpha) ** 2
    return (1 - alpha) * jnp.eye(len(r), dtype=r.dtype) + alpha * slope[:, None] * w[:, : len(r)]
