"""One program that is compiled once and runs a seed at each of several settings in turn."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.run import Program
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Key, PyTree


def swept(make: Callable[[PyTree], Program], settings: PyTree) -> Program:
    """The same seed at each setting, so that settings are paired within the seed.

    Args:
      make: ``setting -> program``, called under the trace, where a setting's numbers are traced.
      settings: leaves lead with an axis of settings.

    Returns:
      A `Program` whose metrics have shape (points, settings, ...); a setting that diverges is a result, too.
    """
    first = make(jax.tree.map(lambda leaf: leaf[0], settings))

    def init(lane: Key) -> PyTree:
        return jax.vmap(lambda setting: (setting, make(setting).init(lane)))(settings)

    def one(carried: PyTree) -> tuple[PyTree, Metrics]:
        setting, state = carried
        state, metrics = make(setting).chunk(state)
        return (setting, state), metrics

    def chunk(states: PyTree) -> tuple[PyTree, Metrics]:
        states, metrics = jax.lax.map(one, states)
        return states, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), metrics)

    return first._replace(init=init, chunk=chunk, may_diverge=True)
