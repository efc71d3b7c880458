"""Scores of Section 4: novel stimuli, silenced units, surprise, polarity of plasticity, overlap of phases."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_context

from experiments.benjamin2021.common import digits
from experiments.shared.images import scaled, unfolded
from plasticity_jax.data import load, resize
from plasticity_jax.diagnostics.pattern_overlap import pattern_overlap
from plasticity_jax.networks.autoencoder import Autoencoder
from plasticity_jax.networks.hierarchy import FREE, Judgement, Parents, Phases, stacked_phases
from plasticity_jax.ops.norms import cosine
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Key, Params

KINDS = ("again", "omniglot", "upside_down", "inverted", "shuffled")
NOVEL = KINDS[1:]
SCORES = ("critic", "features", "pixels", "ink", "image_critic", "code_critic")
COMPARED = ("image", "oscillation", "code", "image_floor", "code_floor", "image_control", "code_control")
PARTS = ("none", "sleep_code", "wake_code", "wake_image")
PHASES = ("wake", "sleep", "oscillation")
FOLLOWERS = {"sleep_code": ((0, 1),), "wake_code": ((1, 1),), "wake_image": ((1, 0), (2, 0))}
"""Phases that may follow the silenced one, by part; each has the number of its layer, 0 for the image."""
SHOWN = 400
"""Number of stimuli of each kind to keep scores of."""
PATTERN = (4, 4)
"""Units of image and of code in a pattern."""


class Stimuli(NamedTuple):
    """Attributes: familiar: (n, pixels), uint8, test digits. novel: (kinds, n, pixels), in the order of `KINDS`."""

    familiar: Array
    novel: Array


@functools.cache
@eval_context()  # a sweep makes its parts under a trace
def stimuli(data: str, side: int, tested: int) -> Stimuli:
    """Test digits, and as novel stimuli other test digits, Omniglot's characters, and altered digits.

    Raises:
      ValueError: if there are too few images.
      MissingData: if a set is not on this machine.
    """
    images = digits(data, side)
    pool = np.asarray(images.test)
    if 2 * tested > len(pool):
        raise ValueError(f"tested={tested}: twice as many are needed, and there are {len(pool)}")
    familiar, again = pool[:tested], pool[tested : 2 * tested]
    rng = np.random.default_rng(0)
    if data == "mnist":
        whole = load("omniglot", "test")["image"]
        other = 255 - resize(whole[rng.choice(len(whole), tested, replace=False)], side).reshape(tested, -1)
    else:
        other = rng.integers(0, 256, (tested, side**2)).astype(np.uint8)
    upside_down = again.reshape(-1, side, side)[:, ::-1].reshape(tested, -1)
    novel = again, inked(other, again), upside_down, 255 - again, again[:, rng.permutation(side**2)]
    return Stimuli(jnp.asarray(familiar), jnp.asarray(np.stack(novel)))


def inked(images: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Images as bright as others: each is multiplied, and clipped at white, until its sum is the other's.

    Args:
      images: (N, pixels) uint8.
      like: (N, pixels) uint8.

    Returns:
      Shape (N, pixels), uint8. An image with too few pixels is white where it is not black.
    """
    target, low, high = like.sum(1, dtype=np.int64), np.zeros(len(images)), np.full(len(images), 255.0)
    for _ in range(40):  # the sum grows with the factor
        middle = (low + high) / 2
        less = np.minimum(middle[:, None] * images, 255).sum(1) < target
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.round(np.minimum(high[:, None] * images, 255)).astype(np.uint8)


class Silenced(NamedTuple):
    """A network with some units silent in one direction, for `adversarial`.

    Attributes:
      net: with nothing silenced.
      up: by layer from the image on, (n_i,), 0 where a unit is silent when driven from below, or by the world; else 1.
      down: the same when driven from above, or by the prior.
    """

    net: Autoencoder
    up: tuple[Array, ...]
    down: tuple[Array, ...]

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        return self.net.sites

    @property
    def depth(self) -> int:
        return self.net.depth

    def infer(self, params: Params, layer: int, below: Array, key: Key) -> Array:
        return self.net.infer(params, layer, below, key) * self.up[layer]

    def generate(self, params: Params, layer: int, above: Array, key: Key) -> Array:
        return self.net.generate(params, layer, above, key) * self.down[layer]

    def prior(self, key: Key, count: int, dtype: jnp.dtype) -> Array:
        return self.net.prior(key, count, dtype) * self.down[-1]

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        return stacked_phases(self, params, x * self.up[0], key, parents, oscillate)

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        return self.net.judge(params, site, activity)

    def check(self, params: Params, x: Array) -> None:
        self.net.check(params, x)


def spreads(net: Silenced, params: Params, key: Key, x: Array, chosen: Sequence[np.ndarray]) -> Metrics:
    """Variance and power of the units that some part silences, and of the others.

    Returns:
      ``variance`` and ``power``, the mean square, (phases, layers, 2). Phases are wake, sleep and the oscillation (NaN
      for the code), layers are image and code; the last axis has means over the chosen units of a layer (1, not 0) and
      over the others.
    """
    phases = net.phases(params, x, key)
    nothing = jnp.full_like(phases.sleep[1], jnp.nan)
    units = [jnp.stack([part, 1 - part]) for part in map(jnp.asarray, chosen)]

    def over(measure: Callable[[Array], Array]) -> Array:
        return jnp.stack(
            [
                jnp.stack([group @ measure(h) / jnp.sum(group, 1) for group, h in zip(units, phase, strict=True)])
                for phase in (phases.wake, phases.sleep, (*phases.oscillation, nothing))
            ]
        )

    return {"variance": over(lambda h: jnp.var(h, 0)), "power": over(lambda h: jnp.mean(h**2, 0))}


def assessed(net: Autoencoder, params: Params, key: Key, images: Stimuli, cycles: int) -> Metrics:
    """Surprise, novelty, polarity and overlap of a network with nothing silenced.

    Returns:
      ``auroc`` and ``apart``, (kinds, scores): how well a score separates a kind of stimulus from familiar ones, and
      the difference of their means over the standard deviation of the familiar; ``told``, (1 + kinds,), the AUROC of D
      for the bottom-up image against the top-down one, with familiar stimuli and with each kind; ``scores`` of some
      stimuli, (1 + kinds, SHOWN, 6); the metrics of `polarity` and of `overlap`.
    """
    key_scores, key_phases, key_overlap = jax.random.split(key, 3)
    known, novel = (scaled(unfolded(pixels)) for pixels in (images.familiar, images.novel))

    def scores_of(x: Array) -> tuple[Array, Array]:
        return scores(net, params, key_scores, x, cycles)

    all_scores, separation = jax.lax.map(scores_of, jnp.concatenate([known[None], novel]))
    base = all_scores[0]
    aurocs = jax.vmap(jax.vmap(auroc, (1, 1)), (None, 0))(base, all_scores[1:])
    apart = (jnp.mean(all_scores[1:], 1) - jnp.mean(base, 0)) / jnp.maximum(jnp.std(base, 0), 1e-9)
    phases, again, shuffled = (
        net.phases(params, x, key)
        for x, key in zip((known, novel[0], novel[-1]), jax.random.split(key_phases, 3), strict=True)
    )
    return {
        "auroc": aurocs,
        "apart": apart,
        "told": separation,
        "scores": all_scores[:, :SHOWN],
        **polarity(net, params, phases, again, shuffled),
        **overlap(net, params, jnp.concatenate([known, novel[0]]), key_overlap),
    }


def scores(net: Autoencoder, params: Params, key: Key, x: Array, cycles: int) -> tuple[Array, Array]:
    """`SCORES` of stimuli (n, pixels), (n, 6), and the AUROC of D for w against o, (); means over cycles."""
    of_image, of_code = params["discriminator"]
    up = net.judge(of_image, 0, (x,))

    def cycle(key: Key) -> tuple[Array, Array]:
        phases = net.phases(params, x, key)
        (o,) = phases.oscillation
        down, code = net.judge(of_image, 0, (o,)), net.judge(of_code, 1, (phases.wake[1],))
        moved = jnp.sqrt(jnp.sum((up.features - down.features) ** 2, -1))
        error = jnp.mean((x - o) ** 2, -1)
        values = jnp.abs(up.score - down.score), moved, error, jnp.sum(x, -1), up.score, code.score
        return jnp.stack(values, 1), auroc(down.score, up.score)

    by_cycle, separation = jax.lax.map(cycle, jax.random.split(key, cycles))
    return jnp.mean(by_cycle, 0), jnp.mean(separation)


def auroc(negative: Array, positive: Array) -> Array:
    """Probability that one of (m,) positive values is above one of (n,) negative ones, ties counting half."""
    order = jnp.sort(negative)
    below = jnp.searchsorted(order, positive, side="left") + jnp.searchsorted(order, positive, side="right")
    return jnp.mean(below / (2 * len(negative)))


def polarity(net: Autoencoder, params: Params, phases: Phases, again: Phases, novel: Phases) -> Metrics:
    """Cosine between the contributions of wake and of another phase to learning; -1 where their activity is alike.

    Args:
      net: the network.
      params: its weights.
      phases: of some stimuli.
      again: of stimuli of the same distribution; their wake in place of the other phase is the floor.
      novel: of stimuli of another distribution; their wake is the control.

    Returns:
      (7,) each, of image asleep, image in the oscillation, code asleep, floor of image and of code, control of image
      and of code: ``critic``, of changes of a discriminator's weights, biases left out; ``network``, of the mean error
      that it sends to each unit of its layer.
    """
    compared = [(0, phases.sleep[0]), (0, phases.oscillation[0]), (1, phases.sleep[1])]
    compared += [(site, other.wake[site]) for other in (again, novel) for site in range(2)]

    def change_of_critic(site: int, h: Array) -> Array:
        slopes = jax.grad(lambda critic: jnp.mean(net.judge(critic, site, (h,)).score))(params["discriminator"][site])
        return jnp.concatenate([jnp.ravel(w) for w in slopes["w"]])

    def error_sent(site: int, h: Array) -> Array:
        critic = params["discriminator"][site]
        return jnp.sum(jax.grad(lambda h: jnp.mean(net.judge(critic, site, (h,)).score))(h), 0)

    return {
        name: jnp.stack([cosine(effect(site, phases.wake[site]), -effect(site, h)) for site, h in compared])
        for name, effect in (("critic", change_of_critic), ("network", error_sent))
    }


def overlap(net: Autoencoder, params: Params, x: Array, key: Key) -> Metrics:
    """Patterns of image and code awake and asleep: divergences and indices of `pattern_overlap`, shape () each."""
    key_phases, key_units = jax.random.split(key)
    phases = net.phases(params, x, key_phases, oscillate=False)
    overlaps = pattern_overlap(key_units, phases.wake, phases.sleep, units=PATTERN, draws=10)  # pyright: ignore
    return {
        **{f"js_{name}": getattr(overlaps, name).js for name in ("sleep", "floor", "shuffled", "unpaired")},
        "kl_sleep": overlaps.sleep.kl,
        "index_shuffled": overlaps.index_shuffled,
        "index_unpaired": overlaps.index_unpaired,
    }


def first_apart(metrics: Mapping[str, np.ndarray]) -> int:
    """Index of the first evaluation with silenced units: losses, (seeds, points, parts), differ from there on."""
    losses = metrics["training/loss"]
    first = losses[..., :1]
    alike = (losses == first) | (np.isnan(losses) & np.isnan(first))  # NaN in all parts if the network diverged before
    return int(np.argmax((~alike).any((0, 2))))
