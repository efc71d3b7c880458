r"""Overlap of the patterns of activity in two phases: does a network dream as it perceives?

A few units of x and of z are picked, their activity is rounded to integers, and each distinct pattern a is counted in
wake, p, and in sleep, q. With m = (p + q) / 2, in bits:

    JS = 1/2 sum_a p log2(p / m) + 1/2 sum_a q log2(q / m)                        in [0, 1]
    KL = sum_a p' log2(p' / q'),   p', q' from counts with 1/2 added              over the patterns in either
    TV = 1/2 sum_a |p - q|                                                        in [0, 1]

Counts of many rare patterns differ even between two samples of one distribution, so that a divergence by itself has no
meaning. Wake is split at random into halves A and B, and A is compared, with as many rows on either side, with

    sleep                                            the quantity of interest
    floor      B                                     the best that sleep can reach
    shuffled   B, each unit from another row         control with the right units, all independent
    unpaired   B, x from one row and z from another  control with the right x and the right z, unpaired

    index = (JS_control - JS_sleep) / (JS_control - JS_floor)                     1: aligned; 0: as bad as the control

All are averaged over draws of the units. Rows are in random order, so that "another row" is one a few places away. A
model with the right x and the right z, but unrelated to each other, has an index of 0 against unpaired.

Source: Benjamin & Kording (2021), section 5.1 and figure 3D, after Berkes et al. (2011). The paper shows frequencies of
patterns "round" of 8 x and 8 z, where with 30,000 rows nearly every pattern occurs once, and the floor is 0.95 bits.
"""

import math
from typing import Literal, NamedTuple, TypeAlias, get_args

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import one_of
from plasticity_jax.typing import Array, Key

Quantise: TypeAlias = Literal["binary", "round"]
"""Forms of activity: x > 0.5 and z > 0, or the nearest integer, clipped to the range from -8 to 7."""

BITS = {"binary": 1, "round": 4}


class PatternDivergence(NamedTuple):
    """Divergence of two samples of patterns; all entries have the same shape, of any kind.

    Attributes:
      js: Jensen-Shannon divergence, bits.
      kl: Kullback-Leibler divergence of the second from the first, bits.
      tv: total variation.
    """

    js: Array
    kl: Array
    tv: Array


class PatternOverlap(NamedTuple):
    """Divergence of wake from sleep and from the controls, and indices; means over the draws of units.

    Attributes:
      sleep: entries (), half of wake against sleep.
      floor: entries (), against the other half.
      shuffled: entries (), against the other half, with its units made independent.
      unpaired: entries (), against the other half, with its x and z made independent.
      index_shuffled: (), index against shuffled; NaN unless shuffled is above the floor.
      index_unpaired: (), index against unpaired; NaN unless unpaired is above the floor.
      frequencies: (draws, top, 2), in half of wake and in sleep, of the patterns most frequent in both together.
    """

    sleep: PatternDivergence
    floor: PatternDivergence
    shuffled: PatternDivergence
    unpaired: PatternDivergence
    index_shuffled: Array
    index_unpaired: Array
    frequencies: Array


def pattern_overlap(
    key: Key,
    wake: tuple[Array, Array],
    sleep: tuple[Array, Array],
    *,
    units: tuple[int, int] = (4, 4),
    quantise: Quantise = "binary",
    draws: int = 10,
    share: float = 0.05,
    top: int = 256,
) -> PatternOverlap:
    """Overlap of the patterns of wake and sleep, with its floor and its controls.

    Units of x are drawn from those above 0.5 in more than a share of wake's rows, and from the others only if there are
    too few of them; those of z from all.

    Args:
      key: of the draws of units, and of the halves.
      wake: x (N, n_x) and z (N, n_z), each row from one sample; n = N // 2 rows are compared.
      sleep: x (M, n_x) and z (M, n_z), M at least n; the first n are read.
      units: numbers of x and of z in a pattern; if either is 0 there is no pairing to destroy.
      quantise: "binary" or "round".
      draws: number of draws of units.
      share: of wake's rows in which a unit of x must be above 0.5 to be drawn first.
      top: number of patterns in `frequencies`.

    Returns:
      The `PatternOverlap`.

    Raises:
      ValueError: if the numbers of rows, units, draws or patterns do not fit, or the quantiser is not known.

    Example:
      >>> import jax
      >>> key, *keys = jax.random.split(jax.random.key(0), 5)
      >>> x, z, x_too, z_too = (jax.random.normal(key, (4000, 6)) for key in keys)
      >>> overlap = pattern_overlap(key, (x, z), (x_too, z_too), units=(2, 2), draws=3, top=16)
      >>> bool(overlap.sleep.js < 0.01), overlap.frequencies.shape
      (True, (3, 16, 2))

    Reference:
      Berkes, Orban, Lengyel & Fiser, "Spontaneous cortical activity reveals hallmarks of an optimal internal model of
      the environment", Science 2011.
    """
    chex.assert_rank([*wake, *sleep], 2, custom_message="wake and sleep are x (N, n_x) and z (N, n_z) each")
    for phase in (wake, sleep):
        chex.assert_equal_shape_prefix(phase, 1, custom_message="x and z of a phase need as many rows")
    for pair in zip(wake, sleep, strict=True):
        chex.assert_equal_shape_suffix(pair, 1, custom_message="wake and sleep need the same units")
    n = len(wake[0]) // 2
    _check(n, len(sleep[0]), [x.shape[1] for x in wake], units, quantise, draws, top)
    wake, sleep = jax.tree.map(jnp.asarray, (wake, sleep))
    n_x, n_z = units
    key_rows, key_draws = jax.random.split(key)
    rows = jax.random.permutation(key_rows, len(wake[0]))[: 2 * n, None]
    frequent = jnp.mean(wake[0] > 0.5, 0) > share

    def draw(key: Key) -> tuple[PatternDivergence, Array]:
        key_x, key_z = jax.random.split(key)
        score = jax.random.gumbel(key_x, frequent.shape) + jnp.where(frequent, 1000, 0)
        of_x, of_z = jnp.argsort(-score)[:n_x], jax.random.permutation(key_z, wake[1].shape[1])[:n_z]
        awake = _digits(wake[0][rows, of_x], wake[1][rows, of_z], quantise)
        asleep = _digits(sleep[0][:n, of_x], sleep[1][:n, of_z], quantise)
        a, b = awake[:n], awake[n:]
        shuffled = jnp.stack([jnp.roll(b[:, unit], unit) for unit in range(n_x + n_z)], 1)
        unpaired = jnp.concatenate([jnp.roll(b[:, :n_x], 1, 0), b[:, n_x:]], 1)
        counts = pattern_counts(jnp.stack([a, asleep, b, shuffled, unpaired]), BITS[quantise])
        most = jax.lax.top_k((counts[0] + counts[1]).astype(jnp.float32), top)[1]  # far slower with integers
        return jax.vmap(divergence, (None, 0))(counts[0], counts[1:]), counts[:2, most].T / n

    divergences, frequencies = jax.lax.map(draw, jax.random.split(key_draws, draws))
    means = jax.tree.map(lambda leaf: jnp.mean(leaf, 0), divergences)
    asleep, floor, shuffled, unpaired = (jax.tree.map(lambda leaf, i=i: leaf[i], means) for i in range(4))

    def index(control: PatternDivergence) -> Array:
        scale = control.js - floor.js
        return jnp.where(scale > 0, (control.js - asleep.js) / jnp.where(scale > 0, scale, 1), jnp.nan)

    return PatternOverlap(asleep, floor, shuffled, unpaired, index(shuffled), index(unpaired), frequencies)


def pattern_counts(samples: Array, bits: int) -> Array:
    """Counts of each pattern in each sample, by sorting; exact for any number of units.

    Args:
      samples: (samples, n, units) integers from 0 to 2**bits - 1.
      bits: bits of a unit, a divisor of 32.

    Returns:
      Shape (samples, samples * n), int32: a column for each pattern that occurs, in lexical order, then zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> pattern_counts(jnp.array([[[0, 1], [0, 1]], [[0, 1], [1, 0]]]), 1).tolist()
      [[2, 0, 0, 0], [1, 1, 0, 0]]
    """
    groups, n, units = samples.shape
    own = math.ceil((groups - 1).bit_length() / bits)  # digits for the sample of a row, below those of its pattern
    per_word = 32 // bits
    front = -(units + own) % per_word
    sample = jnp.arange(groups, dtype=jnp.uint32)[:, None] >> bits * jnp.arange(own, dtype=jnp.uint32)[::-1]
    sample = jnp.broadcast_to((sample & (2**bits - 1))[:, None], (groups, n, own))
    digits = jnp.concatenate([samples.astype(jnp.uint32), sample], -1).reshape(groups * n, units + own)
    digits = jnp.pad(digits, ((0, 0), (front, 0))).reshape(groups * n, -1, per_word)
    words = jnp.sum(digits << bits * jnp.arange(per_word, dtype=jnp.uint32)[::-1], -1, dtype=jnp.uint32)
    *words, last = jax.lax.sort(tuple(words.T), num_keys=words.shape[1])  # sorts fastest without payload
    sample, last = last & (2 ** (own * bits) - 1), last >> own * bits
    new = jnp.any(jnp.stack([word[1:] != word[:-1] for word in (*words, last)]), 0)
    pattern = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(new, dtype=jnp.int32)])
    return jnp.zeros((groups, groups * n), jnp.int32).at[sample, pattern].add(1)


def divergence(first: Array, second: Array) -> PatternDivergence:
    """Divergence of two histograms.

    Args:
      first: (K,) counts, not all zero.
      second: (K,) counts of the same patterns; patterns with no count in either are ignored.

    Returns:
      The `PatternDivergence`, entries ().

    Example:
      >>> import jax.numpy as jnp
      >>> result = divergence(jnp.array([3, 1, 0, 0]), jnp.array([0, 0, 2, 0]))
      >>> float(result.js), float(result.tv)
      (1.0, 1.0)
    """
    occurs = first + second > 0
    p, q = (counts / jnp.sum(counts) for counts in (first, second))
    middle = (p + q) / 2
    js = (jnp.sum(_relative(p, middle)) + jnp.sum(_relative(q, middle))) / 2
    smooth_p, smooth_q = (jnp.where(occurs, counts + 0.5, 0) for counts in (first, second))
    kl = jnp.sum(_relative(smooth_p / jnp.sum(smooth_p), smooth_q / jnp.sum(smooth_q)))
    return PatternDivergence(js, kl, jnp.sum(jnp.abs(p - q)) / 2)


def _relative(p: Array, q: Array) -> Array:
    """p log2(p / q), zero where p is."""
    positive = p > 0
    return jnp.where(positive, p * jnp.log2(jnp.where(positive, p, 1) / jnp.where(positive, q, 1)), 0)


def _digits(x: Array, z: Array, quantise: Quantise) -> Array:
    """Patterns (n, units) of integers from 0."""
    if quantise == "binary":
        return jnp.concatenate([x > 0.5, z > 0], 1).astype(jnp.uint32)
    half = 2 ** (BITS[quantise] - 1)
    return (jnp.clip(jnp.round(jnp.concatenate([x, z], 1)), -half, half - 1) + half).astype(jnp.uint32)


def _check(
    n: int, asleep: int, sizes: list[int], units: tuple[int, int], quantise: Quantise, draws: int, top: int
) -> None:
    one_of("quantise", quantise, get_args(Quantise))
    if n < 1 or asleep < n:
        raise ValueError(f"half of wake is {n} rows and sleep {asleep}: give at least 2 of wake, half as many of sleep")
    if sum(units) < 1 or any(not 0 <= k <= size for k, size in zip(units, sizes, strict=True)):
        raise ValueError(f"units={units} must be at least one in all, and at most the {tuple(sizes)} that there are")
    if draws < 1 or not 1 <= top <= 5 * n:
        raise ValueError(f"draws={draws} must be at least 1, and top={top} from 1 to {5 * n}, five times the rows")
