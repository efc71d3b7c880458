"""Evaluation during training: metrics of the state after each chunk, and a network's scores on examples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.cells import Cell, Neurons
from plasticity_jax.layers import Chain
from plasticity_jax.rules.feedback.backprop import backprop
from plasticity_jax.rules.online.fixed_recurrent import fixed_recurrent
from plasticity_jax.run.program import Metrics, Program
from plasticity_jax.typing import Array, Example, Params, PyTree


def evaluated(program: Program, evaluate: Callable[[PyTree], Metrics]) -> Program:
    """A program that also returns metrics of the state after each chunk.

    Args:
      program: a program with one point in a chunk.
      evaluate: ``state -> metrics``.

    Raises:
      ValueError: if a chunk has several points.
    """
    if program.points != 1:
        raise ValueError(f"evaluated: a chunk must have one point, not {program.points}")

    def chunk(state: PyTree) -> tuple[PyTree, Metrics]:
        state, metrics = program.chunk(state)
        return state, {**metrics, **jax.tree.map(lambda value: value[None], dict(evaluate(state)))}

    return program._replace(chunk=chunk)


def evaluate(net: Chain | Neurons | Cell, params: Params, examples: Example) -> dict[str, Array]:
    """Loss of a network with fixed weights, and, for a softmax output, its accuracy.

    Args:
      net: a chain of layers, or a cell, whose state begins at rest.
      params: its params.
      examples: consecutive batches, leaves (steps, B, ...), as `Stream.take` returns them.

    Returns:
      "loss", the mean over all examples and steps by their weights, so that padding of weight 0 does not count (the
      loss that rules report is a mean over examples, padding and all); and for ``loss="softmax"`` "accuracy", the
      weighted share of examples on which the largest output is that of the target.

    Raises:
      AssertionError: if params and examples do not fit the network. For params with a lane axis, use
        ``jax.vmap(lambda params: evaluate(net, params, examples))(params)``.

    Example:
      >>> import optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((8, 16, 3), ("tanh", "identity"), "softmax")
      >>> x = jax.random.normal(jax.random.key(0), (200, 20, 8))
      >>> examples = pj.Example(x, jnp.argmax(x[..., :3], -1))  # which of three inputs is the largest
      >>> learn, key = pj.learner(pj.rules.backprop(net), optax.sgd(0.5)), jax.random.key(1)
      >>> state = learn.init(pj.networks.init_params(key, net), key, jax.tree.map(lambda leaf: leaf[0], examples))
      >>> before = evaluate(net, state.params, examples)
      >>> state, _ = jax.lax.scan(learn.step, state, examples)
      >>> after = evaluate(net, state.params, examples)
      >>> bool(before["accuracy"] < 0.6), bool(after["accuracy"] > 0.9), bool(after["loss"] < before["loss"])
      (True, True, True)
    """
    rule = backprop(net) if isinstance(net, Chain) else fixed_recurrent(net)
    key = jax.random.key(0)  # both rules are deterministic

    def step(traces: PyTree, batch: Example) -> tuple[PyTree, tuple[Array, Array, Array]]:
        _, traces, info = rule.update(params, traces, key, batch)
        output = info.aux["output"]
        weight = jnp.ones(len(batch.x), output.dtype) if batch.weight is None else batch.weight.astype(output.dtype)
        labels = (
            batch.y if jnp.issubdtype(batch.y.dtype, jnp.integer) and batch.y.ndim == 1 else jnp.argmax(batch.y, -1)
        )
        right = jnp.argmax(output, -1) == labels if net.loss == "softmax" else jnp.zeros(len(batch.x), bool)
        return traces, (info.loss * len(batch.x), jnp.sum(weight * right), jnp.sum(weight))

    traces = rule.init(params, key, jax.tree.map(lambda leaf: leaf[0], examples))
    _, (loss, right, weight) = jax.lax.scan(step, traces, examples)
    scores = {"loss": jnp.sum(loss) / jnp.sum(weight)}
    return scores | {"accuracy": jnp.sum(right) / jnp.sum(weight)} if net.loss == "softmax" else scores
