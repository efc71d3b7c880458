r"""Interface of a network for adversarial learning, and the parts that stacks of stochastic layers share.

    wake          w_0 = x,          w_i ~ q(. | w_{i-1})    i = 1 .. L      bottom-up
    sleep         s_L ~ prior,      s_i ~ p(. | s_{i+1})    i = L-1 .. 0    top-down
    oscillation   o_i ~ p(. | w_{i+1})                      i = 0 .. L-1    one layer down, from what was inferred

All samples are reparameterised: they have derivatives by the weights. A discriminator sees one layer (local) or several
at once (global).
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.ops import prng
from plasticity_jax.typing import Array, Key, Params, PyTree

WAKE, SLEEP, OSCILLATION = range(3)


class Phases(NamedTuple):
    """Activity by layer, from the sensory one on; every array leads with the same number N of samples.

    Attributes:
      wake: w_0 .. w_L.
      sleep: s_0 .. s_L.
      oscillation: o_0 .. o_{L-1}; () where it was not asked for.
    """

    wake: tuple[Array, ...]
    sleep: tuple[Array, ...]
    oscillation: tuple[Array, ...]


class Parents(NamedTuple):
    """Activity that layers read in place of what their own phase made: so credit is kept from flowing through it.

    Attributes:
      wake: w_i reads wake[i - 1]; None for its own.
      sleep: s_i reads sleep[i + 1].
      oscillation: o_i reads oscillation[i + 1].
    """

    wake: tuple[Array, ...] | None = None
    sleep: tuple[Array, ...] | None = None
    oscillation: tuple[Array, ...] | None = None


FREE = Parents()
"""Every phase reads what it made itself."""


class Judgement(NamedTuple):
    """Output of a discriminator for N samples.

    Attributes:
      score: (N,), D.
      features: (N, n), the activity that the score is a linear readout of.
    """

    score: Array
    features: Array


class AdversarialNet(Protocol):
    """Interface that the rule `adversarial` needs of a network."""

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """Layers that each discriminator sees."""
        ...

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        """Samples of all phases; params holds "inference" and "generation"."""
        ...

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        """One discriminator's verdict on its layers' activity; params are its own, one of params["discriminator"]."""
        ...

    def check(self, params: Params, x: Array) -> None:
        """Refuses weights or data that do not fit."""
        ...


class Stack(Protocol):
    """A chain of layers, each conditioned on its neighbour alone."""

    @property
    def depth(self) -> int:
        """L."""
        ...

    def infer(self, params: Params, layer: int, below: Array, key: Key) -> Array:
        """A sample of layer 1 .. L given the one below; params are params["inference"]."""
        ...

    def generate(self, params: Params, layer: int, above: Array, key: Key) -> Array:
        """A sample of layer 0 .. L-1 given the one above; params are params["generation"]."""
        ...

    def prior(self, key: Key, count: int, dtype: jnp.dtype) -> Array:
        """Samples of the top layer."""
        ...


def stacked_phases(net: Stack, params: Params, x: Array, key: Key, parents: Parents, oscillate: bool) -> Phases:
    """All phases of a stack.

    Args:
      net: the stack.
      params: its weights.
      x: (N, ...), the data.
      key: consumed; every layer of every phase has a part of its own.
      parents: what is read in place of a phase's own activity.
      oscillate: whether to sample that phase.

    Returns:
      The `Phases`.
    """
    up, down, depth = params["inference"], params["generation"], net.depth
    wake = [x]
    for layer in range(1, depth + 1):
        below = wake[-1] if parents.wake is None else parents.wake[layer - 1]
        wake.append(net.infer(up, layer, below, _key(key, WAKE, layer)))
    sleep = [net.prior(_key(key, SLEEP, depth), x.shape[0], x.dtype)]
    for layer in reversed(range(depth)):
        above = sleep[0] if parents.sleep is None else parents.sleep[layer + 1]
        sleep.insert(0, net.generate(down, layer, above, _key(key, SLEEP, layer)))
    source = wake if parents.oscillation is None else parents.oscillation
    oscillation = [
        net.generate(down, layer, source[layer + 1], _key(key, OSCILLATION, layer))
        for layer in range(depth if oscillate else 0)
    ]
    return Phases(tuple(wake), tuple(sleep), tuple(oscillation))


def reconstruct(net: Stack, params: Params, x: Array, key: Key, top: int | None = None) -> tuple[Array, ...]:
    """Up to a layer and all the way down again, each layer driven by the reconstruction of the one above.

    Args:
      net: the stack.
      params: its weights.
      x: (N, ...), the data.
      key: consumed.
      top: the layer to turn at, 1 .. L; None for the topmost.

    Returns:
      Samples of the layers 0 .. top - 1.

    Raises:
      ValueError: if there is no such layer.
    """
    top = net.depth if top is None else top
    if not 1 <= top <= net.depth:
        raise ValueError(f"top={top}: the layers to turn at are 1 to {net.depth}")
    h = x
    for layer in range(1, top + 1):
        h = net.infer(params["inference"], layer, h, _key(key, WAKE, layer))
    down = []
    for layer in reversed(range(top)):
        h = net.generate(params["generation"], layer, h, _key(key, OSCILLATION, layer))
        down.insert(0, h)
    return tuple(down)


def check_images(images: Array, shape: tuple[int, ...], least: float, most: float) -> None:
    """Refuses images of another size, type or range; the range where the values are known, outside of a trace.

    Args:
      images: (N, *shape).
      shape: of one of them.
      least: the darkest value there may be.
      most: the brightest.

    Raises:
      ValueError: naming what is wrong, and the remedy.
    """
    wanted = " x ".join(map(str, shape))
    if images.shape[1:] != shape:
        raise ValueError(f"images of shape {images.shape[1:]}: the network takes {wanted}, behind a leading axis of N")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images of type {images.dtype}: scale them to floats from {least:g} to {most:g}")
    if not isinstance(images, Tracer):
        values = np.asarray(images)  # in NumPy: known images may be read inside of a trace
        low, high = float(values.min()), float(values.max())
        if not (least <= low and high <= most):  # nor NaN
            raise ValueError(f"images from {low:g} to {high:g}: the network takes values from {least:g} to {most:g}")


def check_weights(params: Params, wanted: PyTree, network: str) -> None:
    """Asserts that weights have the names and shapes wanted, in whatever containers.

    Args:
      params: the weights.
      wanted: a tree of anything with a shape.
      network: what the weights should be those of, for the message.

    Raises:
      AssertionError: naming the first array that is missing, unknown or of another shape.
    """

    def shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}

    found, needed = shapes(params), shapes(wanted)
    for path in (*needed, *found):
        if found.get(path) != needed.get(path):
            raise AssertionError(
                f"params{path} has shape {found.get(path, 'none')}, wanted {needed.get(path, 'none')}: the weights are "
                f"not those of {network}: see init_params"
            )


def _key(key: Key, phase: int, layer: int) -> Key:
    return prng.fold_in(key, jnp.uint32(3 * layer + phase))
