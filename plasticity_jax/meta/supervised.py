"""Lives of supervised learning: fixed layers in front, layers behind that learn, and a loss on the query."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp

from plasticity_jax.base import Learner
from plasticity_jax.layers.chain import Chain
from plasticity_jax.layers.door import fitted
from plasticity_jax.layers.passes import forward, loss_and_credit
from plasticity_jax.meta.lifetime import Life, of_theta
from plasticity_jax.typing import Array, Episode, Example, Params, PyTree

Prefix = Callable[[PyTree, Array], Array]
"""``(weights, x) -> features`` for any number of inputs, (N, ...) -> (N, n)."""


def supervised_life(
    net: Chain,
    learner: Callable[[PyTree], Learner],
    params: Callable[[PyTree], Params],
    *,
    prefix: Prefix | None = None,
    blockwise: bool = False,
) -> Life:
    """A life of examples, judged by the network's own loss on the query.

    Args:
      net: the layers that learn within a life.
      learner: ``theta -> learner`` of these layers.
      params: ``theta -> params`` of these layers at birth.
      prefix: the layers in front, with weights ``theta["prefix"]``, fixed within a life; None if there are none.
      blockwise: evaluate the prefix for one block of steps at a time, and again on the way back, so that a long life's
        features are never all in memory; otherwise once, for support and query in one call.

    Returns:
      A `Life` with episodes of an `Example` each: support x (T, b, ...), y (T, b, n_out); query x (q, ...),
      y (q, n_out). Its aux has "error": the mean squared error, or for a softmax the fraction of errors; not for a loss
      of your own.
    """

    def features(theta: PyTree, x: Array, inner: int) -> Array:
        """Features of x, where the first `inner` axes count inputs."""
        if prefix is None:
            return x
        rows = prefix(of_theta(theta, "prefix"), x.reshape(-1, *x.shape[inner:]))
        return rows.reshape(*x.shape[:inner], rows.shape[-1])

    def embed(theta: PyTree, episode: Episode) -> Episode:
        support, query = episode
        shape = support.x.shape[:2]
        everything = jnp.concatenate([support.x.reshape(-1, *support.x.shape[2:]), query.x])
        support_x, query_x = jnp.split(features(theta, everything, 1), [shape[0] * shape[1]])
        support_x = support_x.reshape(*shape, support_x.shape[-1])
        return Episode(support._replace(x=support_x), query._replace(x=query_x))

    def prepare(theta: PyTree, batches: Example) -> Example:
        return batches._replace(x=features(theta, batches.x, 2))

    def loss(theta: PyTree, params: Params, query: Example) -> tuple[Array, Mapping[str, Array]]:
        query = query._replace(x=features(theta, query.x, 1)) if blockwise else query
        x, y, _, weight = fitted(net, params, query, "batch.query")
        output = forward(net, params["forward"], x).h[-1]
        losses, _ = loss_and_credit(net, output, y, weight)
        if callable(net.loss):
            return jnp.mean(losses), {}
        if net.loss == "softmax":
            error = (jnp.argmax(output, -1) != jnp.argmax(y, -1)).astype(output.dtype)
        else:
            error = jnp.mean((output - y) ** 2, -1)
        return jnp.mean(losses), {"error": jnp.mean(error if weight is None else error * weight)}

    if prefix is None:
        return Life(learner, params, loss)
    if blockwise:
        return Life(learner, params, loss, prepare=prepare)
    return Life(learner, params, loss, embed=embed)
