r"""Shared parts of the rules on chains of layers: errors carried back, the weights' gradients, the check of shapes.

    chain    e~^L = e^L,   c^i = linear_{i+1}(B^{i+1}, .)^T e~^{i+1},   e~^i = c^i phi_i'(v^i)
    direct   e~^L = e^L,   c^i = e^L B^i,                               e~^i = c^i phi_i'(v^i)

    G^i = mean over the batch of linear_i(., h^{i-1})^T e~^i

c^i stands for dL/dh^i. In a dense layer linear(B, .)^T e is e B, and G is the mean of e h^T. With B = W the chain is
backpropagation, and every e~ and G is exact. The output's error and the last layer's gradient are exact for any B.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.layers.chain import Chain, Pathway, check_chain
from plasticity_jax.layers.door import check_feedback, fitted
from plasticity_jax.layers.passes import Pass, credit_through, forward, gradients, loss_and_credit
from plasticity_jax.ops import groups
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Updates


class Carried(NamedTuple):
    """Errors carried back through a network.

    Attributes:
      error: L arrays of the shapes of v^i, e~^i from i = 1; the last is exact.
      credit: L - 1 arrays of the shapes of h^i, c^i for the activity of the hidden layers.
      source: L - 1 arrays, the error from which each credit is computed: e~^{i+1} (chain), or e^L as rows (direct).
    """

    error: tuple[Array, ...]
    credit: tuple[Array, ...]
    source: tuple[Array, ...]


def carry_back(net: Chain, activity: Pass, error: Array, back: Sequence[PyTree], pathway: Pathway = "chain") -> Carried:
    """Carries the error of the output back to all layers.

    Args:
      net: the network.
      activity: the forward pass.
      error: e^L, of the shape of v^L.
      back: L - 1 feedback weights, of the form of w[i + 1] on the chain, matrices (n_L, n_i) if direct.
      pathway: "chain" or "direct".

    Returns:
      The `Carried` errors.
    """
    errors, credits, sources = [error], [], []
    rows = error.reshape(len(error), -1)
    for i in reversed(range(len(back))):
        if pathway == "chain":
            source = errors[0]
            credit = credit_through(net, i + 1, back[i], activity, source)
        else:
            source = rows
            credit = (source @ back[i]).reshape(activity.h[i + 1].shape)
        errors.insert(0, activity.pull[i](credit))
        credits.insert(0, credit)
        sources.insert(0, source)
    return Carried(tuple(errors), tuple(credits), tuple(sources))


def feedback_rule(
    net: Chain,
    *,
    pathway: Pathway = "chain",
    back: Callable[[Params], Sequence[PyTree]] | None = None,
    teach: Callable[[Params, PyTree, Pass, Key], PyTree] | None = None,
) -> LearningRule:
    """Makes a `LearningRule` without traces from the weights that carry errors back.

    Args:
      net: the network.
      pathway: "chain" or "direct".
      back: ``params -> L - 1 feedback weights``; None is ``params["feedback"]["w_fb"]``.
      teach: ``(params, gradients of "forward", forward pass, key) -> updates`` of the groups that learn; None does
        not change the feedback.

    Returns:
      The rule; its params are those of `plasticity_jax.layers.init_params`, its batch an `Example`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> def rounded(params):  # feedback by the forward weights, rounded to one decimal
      ...     return [jnp.round(w, 1) for w in params["forward"]["w"][1:]]
      >>> learn = pj.learner(feedback_rule(net, back=rounded), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True
    """
    check_chain(net)
    pathway_read = pathway if back is None else None

    def init(params: Params, key: Key, batch: Example) -> tuple[()]:
        entered(net, params, batch, pathway_read)
        return ()

    def update(params: Params, traces: tuple[()], key: Key, batch: Example) -> tuple[Updates, tuple[()], Info]:
        x, y, _, weight = entered(net, params, batch, pathway_read)
        weights = params["forward"]
        activity = forward(net, weights, x)
        loss, credit = loss_and_credit(net, activity.h[-1], y, weight)
        w_fb = params["feedback"]["w_fb"] if back is None else back(params)
        if len(w_fb) != len(net.layers) - 1:
            raise ValueError(f"back returns {len(w_fb)} weights for {len(net.layers) - 1} hidden layers: give each one")
        carried = carry_back(net, activity, activity.pull[-1](credit), w_fb, pathway)
        weight_gradients = gradients(net, weights, activity, carried.error)
        updates = {"forward": weight_gradients} if teach is None else teach(params, weight_gradients, activity, key)
        return groups.filled(params, updates), (), Info(jnp.mean(loss), READY, {"output": activity.h[-1]})

    return LearningRule(init, update)


def entered(net: Chain, params: Params, batch: Example, pathway: Pathway | None) -> Example:
    """Returns the batch in the form that a rule reads, after checks that network, weights, feedback and batch fit.

    Args:
      net: the network.
      params: its weights.
      batch: one step's example.
      pathway: the pathway of the feedback that the rule reads; None if it reads none.

    Raises:
      AssertionError: naming the array and the shape that it should have.
      TypeError: if the network is not a chain, or the batch not an `Example`.
      ValueError: if weights are missing, or there is no example.
    """
    check_chain(net)
    batch = fitted(net, params, batch)
    if pathway is not None:
        check_feedback(net, params, pathway)
    return batch
