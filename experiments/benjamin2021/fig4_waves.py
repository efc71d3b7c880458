"""Oscillations that run up a hierarchy, down it, or in step: which one gives all layers what they are to compare?

Each layer is driven from below for two ticks, then from above for two, by what its neighbour was a tick ago. The
algorithm compares w_i, inferred from w_{i-1}, with o_i, generated from w_{i+1} (equation 7). In an oscillation that
ascends, a layer behind the one below it by a tick, a layer driven from below reads what was itself driven from below,
and so does one that is driven from above; in any other, they read predictions of predictions.
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
"""By name, the ticks that a layer is behind the one below it."""

PERIOD = 4
"""Of the oscillation in ticks, of which the first half is driven from below."""


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
      x: (N, ...), what drives the bottom from below.
      key: consumed.
      lag: (), ticks that a layer is behind the one below it.
      cycles: of the oscillation, which begins with the activity of sleep.

    Returns:
      By layer, of 0 .. L, what the last full half cycle from below ended in, and that from above.
    """
    depth, up, down = net.depth, params["inference"], params["generation"]
    start = stacked_phases(net, params, x, prng.fold_in(key, jnp.uint32(0)), FREE, oscillate=False).sleep

    def tick(carry: tuple[tuple[Array, ...], ...], t: Array) -> tuple[tuple[tuple[Array, ...], ...], None]:
        h, *ends = carry
        keys = jax.random.split(prng.fold_in(key, t.astype(jnp.uint32) + 1), 2 * (depth + 1))
        below = [x, *(net.infer(up, i, h[i - 1], keys[2 * i]) for i in range(1, depth + 1))]
        above = [net.generate(down, i, h[i + 1], keys[2 * i + 1]) for i in range(depth)]
        above.append(net.prior(keys[-1], x.shape[0], x.dtype))
        at = place(lag, depth + 1, t)

        def where(test: Array, one: Iterable[Array], other: Iterable[Array]) -> tuple[Array, ...]:
            return tuple(jnp.where(test[i], *pair) for i, pair in enumerate(zip(one, other, strict=True)))

        h = where(at < PERIOD // 2, below, above)
        ends = [where(at == last, h, end) for last, end in zip((PERIOD // 2 - 1, PERIOD - 1), ends, strict=True)]
        return (h, *ends), None

    (_, up_end, down_end), _ = jax.lax.scan(tick, (start, start, start), jnp.arange(PERIOD * cycles))
    return up_end, down_end


def waves(net: Stack, params: Params, x: Array, key: Key, cycles: int) -> Metrics:
    """Activities that each of `WAVES` gives the layers to compare.

    Returns:
      ``wave_up``, (waves, L), for the layers 1 .. L: how activity driven from below goes with w_i of the same images,
      another sample; ``wave_down``, (waves, L), for 0 .. L - 1: how activity driven from above goes with o_i (shares of
      variance, see `explained`; of the ascending wave, what the image explains of w_i and of o_i).
    """
    key_true, key_wave = jax.random.split(key)
    true = stacked_phases(net, params, x, key_true, FREE, oscillate=True)

    def alike(found: tuple[Array, ...], wanted: tuple[Array, ...]) -> Array:
        pairs = zip(found, wanted, strict=True)
        return jnp.stack([explained(*(h.reshape(len(x), -1) for h in pair)) for pair in pairs])

    def of(lag: Array) -> tuple[Array, Array]:
        up_end, down_end = oscillated(net, params, x, key_wave, lag, cycles)
        return alike(up_end[1:], true.wake[1:]), alike(down_end[:-1], true.oscillation)

    up, down = jax.lax.map(of, jnp.asarray(list(WAVES.values())))
    return {"wave_up": up, "wave_down": down}
