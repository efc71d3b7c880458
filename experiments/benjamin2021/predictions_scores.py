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
"""By part, phases (and their layer, 0 the image) that are not silenced where another one is."""
SHOWN = 400
"""Stimuli of each kind whose scores are kept."""
PATTERN = (4, 4)
"""Units of image and code to a pattern."""


class Stimuli(NamedTuple):
    """Attributes: familiar: (n, pixels), uint8, test digits. novel: (kinds, n, pixels), in the order of `KINDS`."""

    familiar: Array
    novel: Array


@functools.cache
@eval_context()  # a sweep traces what makes the parts
def stimuli(data: str, side: int, tested: int) -> Stimuli:
    """Test digits, other test digits, and what is no digit: Omniglot's characters, and digits changed.

    Raises:
      ValueError: if there are too few images.
      MissingData: if a set is not on this machine.
    """
    shown = digits(data, side)
    pool = np.asarray(shown.test)
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
    """Images as bright as others: each is multiplied, what exceeds white being white, until its sum is the other's.

    Args:
      images: (N, pixels) uint8.
      like: (N, pixels) uint8.

    Returns:
      Shape (N, pixels), uint8. What has too few pixels is white where it is not black.
    """
    target, low, high = like.sum(1, dtype=np.int64), np.zeros(len(images)), np.full(len(images), 255.0)
    for _ in range(40):  # the sum grows with the factor
        middle = (low + high) / 2
        less = np.minimum(middle[:, None] * images, 255).sum(1) < target
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.round(np.minimum(high[:, None] * images, 255)).astype(np.uint8)


class Silenced(NamedTuple):
    """A network some of whose units are silent in one direction; a network as `adversarial` takes it.

    Attributes:
      net: whole.
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
    """Activity of units that are silenced somewhere, and of the others.

    Returns:
      ``variance`` and ``power``, the mean square, (phases, layers, 2): awake, asleep, and of the image in the
      oscillation, nan of the code; the image, the code; means over the units of a layer that are chosen (1, not 0),
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


def assessed(net: Autoencoder, params: Params, key: Key, shown: Stimuli, cycles: int) -> Metrics:
    """Surprise, novelty, polarity and overlap of a network of which nothing is silenced.

    Returns:
      ``auroc`` and ``apart``, (kinds, scores): how well a score tells a kind of stimulus from familiar ones, and the
      difference of means over the standard deviation of the familiar; ``told``, (1 + kinds,), how well D tells the
      bottom-up image from the top-down one, of familiar stimuli and of each kind; ``scores`` (1 + kinds, SHOWN, 6),
      some of them; those of `polarity` and of `overlap`.
    """
    key_scores, key_phases, key_overlap = jax.random.split(key, 3)
    known, novel = (scaled(unfolded(images)) for images in (shown.familiar, shown.novel))

    def of(x: Array) -> tuple[Array, Array]:
        return scores(net, params, key_scores, x, cycles)

    found, told = jax.lax.map(of, jnp.concatenate([known[None], novel]))
    base = found[0]
    tells = jax.vmap(jax.vmap(auroc, (1, 1)), (None, 0))(base, found[1:])
    apart = (jnp.mean(found[1:], 1) - jnp.mean(base, 0)) / jnp.maximum(jnp.std(base, 0), 1e-9)
    phases, again, shuffled = (
        net.phases(params, x, key)
        for x, key in zip((known, novel[0], novel[-1]), jax.random.split(key_phases, 3), strict=True)
    )
    return {
        "auroc": tells,
        "apart": apart,
        "told": told,
        "scores": found[:, :SHOWN],
        **polarity(net, params, phases, again, shuffled),
        **overlap(net, params, jnp.concatenate([known, novel[0]]), key_overlap),
    }


def scores(net: Autoencoder, params: Params, key: Key, x: Array, cycles: int) -> tuple[Array, Array]:
    """`SCORES` of stimuli (n, pixels), shape (n, 6), and how well D tells w from o, shape (); means over the cycles."""
    of_image, of_code = params["discriminator"]
    up = net.judge(of_image, 0, (x,))

    def cycle(key: Key) -> tuple[Array, Array]:
        phases = net.phases(params, x, key)
        (o,) = phases.oscillation
        down, code = net.judge(of_image, 0, (o,)), net.judge(of_code, 1, (phases.wake[1],))
        moved = jnp.sqrt(jnp.sum((up.features - down.features) ** 2, -1))
        error = jnp.mean((x - o) ** 2, -1)
        found = jnp.abs(up.score - down.score), moved, error, jnp.sum(x, -1), up.score, code.score
        return jnp.stack(found, 1), auroc(down.score, up.score)

    found, told = jax.lax.map(cycle, jax.random.split(key, cycles))
    return jnp.mean(found, 0), jnp.mean(told)


def auroc(negative: Array, positive: Array) -> Array:
    """Probability that one of (m,) positive values is above one of (n,) negative ones, ties counting half."""
    order = jnp.sort(negative)
    below = jnp.searchsorted(order, positive, side="left") + jnp.searchsorted(order, positive, side="right")
    return jnp.mean(below / (2 * len(negative)))


def polarity(net: Autoencoder, params: Params, phases: Phases, again: Phases, novel: Phases) -> Metrics:
    """Cosine between what wake and what another phase contribute to learning; -1 where their activity is alike.

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

    def onto(site: int, h: Array) -> Array:
        slopes = jax.grad(lambda critic: jnp.mean(net.judge(critic, site, (h,)).score))(params["discriminator"][site])
        return jnp.concatenate([jnp.ravel(w) for w in slopes["w"]])

    def from_it(site: int, h: Array) -> Array:
        critic = params["discriminator"][site]
        return jnp.sum(jax.grad(lambda h: jnp.mean(net.judge(critic, site, (h,)).score))(h), 0)

    return {
        name: jnp.stack([cosine(effect(site, phases.wake[site]), -effect(site, h)) for site, h in compared])
        for name, effect in (("critic", onto), ("network", from_it))
    }


def overlap(net: Autoencoder, params: Params, x: Array, key: Key) -> Metrics:
    """Patterns of image and code awake and asleep: divergences and indices of `pattern_overlap`, shape () each."""
    key_phases, key_units = jax.random.split(key)
    phases = net.phases(params, x, key_phases, oscillate=False)
    found = pattern_overlap(key_units, phases.wake, phases.sleep, units=PATTERN, draws=10)  # pyright: ignore
    return {
        **{f"js_{name}": getattr(found, name).js for name in ("sleep", "floor", "shuffled", "unpaired")},
        "kl_sleep": found.sleep.kl,
        "index_shuffled": found.index_shuffled,
        "index_unpaired": found.index_unpaired,
    }


def first_apart(metrics: Mapping[str, np.ndarray]) -> int:
    """The first evaluation of networks in which something is silenced: their losses, (seeds, points, parts), differ."""
    losses = metrics["training/loss"]
    first = losses[..., :1]
    alike = (losses == first) | (np.isnan(losses) & np.isnan(first))  # as they are in a network that diverged before
    return int(np.argmax((~alike).any((0, 2))))
