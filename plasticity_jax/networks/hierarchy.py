r"""Interface of a network for adversarial learning, and the functions that stacks of stochastic layers share.

    wake          w_0 = x,          w_i ~ q(. | w_{i-1})    i = 1 .. L      bottom-up
    sleep         s_L ~ prior,      s_i ~ p(. | s_{i+1})    i = L-1 .. 0    top-down
    oscillation   o_i ~ p(. | w_{i+1})                      i = 0 .. L-1    one layer down, from what was inferred

All samples are reparameterised, so that they have derivatives by the weights. A discriminator reads one layer (local)
or several at once (global).
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
      oscillation: o_0 .. o_{L-1}; () without `oscillate`.
    """

    wake: tuple[Array, ...]
    sleep: tuple[Array, ...]
    oscillation: tuple[Array, ...]


class Parents(NamedTuple):
    """Activity that layers read in place of their own phase's, so that no credit flows through it.

    Attributes:
      wake: w_i reads wake[i - 1]; None: that of its own phase.
      sleep: s_i reads sleep[i + 1].
      oscillation: o_i reads oscillation[i + 1].
    """

    wake: tuple[Array, ...] | None = None
    sleep: tuple[Array, ...] | None = None
    oscillation: tuple[Array, ...] | None = None


FREE = Parents()
"""Parents by which every phase reads its own activity."""


class Judgement(NamedTuple):
    """Output of a discriminator for N samples.

    Attributes:
      score: (N,), D.
      features: (N, n), the activity from which the score is read out linearly.
    """

    score: Array
    features: Array


class AdversarialNet(Protocol):
    """Interface of a network for the rule `adversarial`."""

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """Layers that each discriminator reads."""
        ...

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        """Samples of all phases; params holds "inference" and "generation"."""
        ...

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        """One discriminator's judgement of its layers' activity; params are one of params["discriminator"]."""
        ...

    def check(self, params: Params, x: Array) -> None:
        """Refuses weights or data that do not fit the network."""
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
    """Samples of all phases of a stack.

    Args:
      net: the stack.
      params: its weights.
      x: (N, ...), the data.
      key: consumed; every layer of every phase uses a part of its own.
      parents: activity read in place of a phase's own.
      oscillate: whether to sample the oscillation.

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
    """Reconstructs the data from a layer: up to it, then down, each layer given the reconstruction of the one above.

    Args:
      net: the stack.
      params: its weights.
      x: (N, ...), the data.
      key: consumed.
      top: the layer to turn at, 1 .. L; None: the topmost.

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
    """Refuses images of another size, type or range; the range is checked only outside of a trace.

    Args:
      images: (N, *shape).
      shape: of one of them.
      least: lowest allowed value.
      most: highest allowed value.

    Raises:
      ValueError: naming the fault and the remedy.
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
    """Asserts that weights have the names and shapes wanted, in any containers.

    Args:
      params: the weights.
      wanted: a tree of anything with a shape.
      network: the network's name in the message.

    Raises:
      AssertionError: naming the first array that is missing, unknown or of another shape.
    """

    def shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}

    given, needed = shapes(params), shapes(wanted)
    for path in (*needed, *given):
        if given.get(path) != needed.get(path):
            raise AssertionError(
                f"params{path} has shape {given.get(path, 'none')}, wanted {needed.get(path, 'none')}: the weights are "
                f"not those of {network}: see init_params"
            )


def _key(key: Key, phase: int, layer: int) -> Key:
    return prng.fold_in(key, jnp.uint32(3 * layer + phase))
