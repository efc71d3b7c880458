"""Oscillations that run up a hierarchy, down it, or in step, and the activities that layers then compare.

Each layer is driven from below for two ticks, then from above for two, by its neighbour's activity a tick before. The
algorithm compares w_i, inferred from w_{i-1}, with o_i, generated from w_{i+1} (equation 7). In an ascending
oscillation, each layer is a tick behind the one below it: whether driven from below or from above, it reads activity
that was itself driven from below. In the others, layers read predictions of predictions.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from experiments.benjamin2021.fig3_scores import explained
from plasticity_jax.networks.hierarchy import FREE, Stack, stacked_phases
from plasticity_jax.ops import prng
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Key, Params

WAVES = {"ascending": 1, "standing": 0, "descending": -1}
"""Ticks by which a layer is behind the one below it, by name."""

PERIOD = 4
"""Period of the oscillation in ticks; in the first half, a layer is driven from below."""


def place(lag: Array, layers: int, tick: Array) -> Array:
    """Ticks since each layer's cycle began, (layers,)."""
    return (tick - lag * jnp.arange(layers)) % PERIOD


def oscillated(
    net: Stack, params: Params, x: Array, key: Key, lag: Array, cycles: int
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Activity of a hierarchy that oscillates, at the end of its layers' last half cycles.

    Args:
      net: the stack.
      params: its weights.
      x: (N, ...), drives the bottom from below.
      key: consumed.
      lag: (), ticks by which a layer is behind the one below it.
      cycles: of the oscillation, which begins with the activity of sleep.

    Returns:
      Activity of layers 0 .. L at the end of the last full half cycle from below, and of that from above.
    """
    depth, up, down = net.depth, params["inference"], params["generation"]
    start = stacked_phases(net, params, x, prng.fold_in(key, jnp.uint32(0)), FREE, oscillate=False).sleep

    def tick(carry: tuple[tuple[Array, ...], ...], t: Array) -> tuple[tuple[tuple[Array, ...], ...], None]:
        h, *ends = carry
        keys = jax.random.split(prng.fold_in(key, t.astype(jnp.uint32) + 1), 2 * (depth + 1))
        below = [x, *(net.infer(up, i, h[i - 1], keys[2 * i]) for i in range(1, depth + 1))]
        above = [net.generate(down, i, h[i + 1], keys[2 * i + 1]) for i in range(depth)]
        above.append(net.prior(keys[-1], x.shape[0], x.dtype))
        position = place(lag, depth + 1, t)

        def where(test: Array, one: Iterable[Array], other: Iterable[Array]) -> tuple[Array, ...]:
            return tuple(jnp.where(test[i], *pair) for i, pair in enumerate(zip(one, other, strict=True)))

        h = where(position < PERIOD // 2, below, above)
        ends = [where(position == last, h, end) for last, end in zip((PERIOD // 2 - 1, PERIOD - 1), ends, strict=True)]
        return (h, *ends), None

    (_, up_end, down_end), _ = jax.lax.scan(tick, (start, start, start), jnp.arange(PERIOD * cycles))
    return up_end, down_end


def waves(net: Stack, params: Params, x: Array, key: Key, cycles: int) -> Metrics:
    """Agreement of the activities in each of `WAVES` with those that the algorithm compares.

    Returns:
      ``wave_up``, (waves, L), for layers 1 .. L: agreement of activity driven from below with w_i, another sample for
      the same images; ``wave_down``, (waves, L), for layers 0 .. L - 1: agreement of activity driven from above with
      o_i. Both are shares of variance, see `explained`; in the ascending wave, those of w_i and of o_i that the image
      explains.
    """
    key_true, key_wave = jax.random.split(key)
    true = stacked_phases(net, params, x, key_true, FREE, oscillate=True)

    def alike(activity: tuple[Array, ...], reference: tuple[Array, ...]) -> Array:
        pairs = zip(activity, reference, strict=True)
        return jnp.stack([explained(*(h.reshape(len(x), -1) for h in pair)) for pair in pairs])

    def agreement(lag: Array) -> tuple[Array, Array]:
        up_end, down_end = oscillated(net, params, x, key_wave, lag, cycles)
        return alike(up_end[1:], true.wake[1:]), alike(down_end[:-1], true.oscillation)

    up, down = jax.lax.map(agreement, jnp.asarray(list(WAVES.values())))
    return {"wave_up": up, "wave_down": down}
