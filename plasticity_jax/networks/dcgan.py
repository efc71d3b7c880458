r"""The stochastic convolutional hierarchy of Benjamin & Kording (2021), after Radford et al.'s DCGAN.

    conditional   [m | v] = U_2 phi(U_1 * given + c_1) + c_2,   a = m + softplus(v) xi
    layer i       h_i = norm(ReLU(a)), 0 < i < L;   h_L = a;   h_0 = tanh(a)
    critic        D = u . f + e_3,   f = norm(phi'(V_2 * norm(phi'(V_1 * h_i + e_1)) + e_2)),   one for each layer

An image of side n = 2^L has L layers above it, each with half the side: layer i < L has c 2^(i-1) channels, the topmost
is one pixel with many. U_1 * is a convolution in inference and a transposed one in generation, of kernel 4 and stride
2; kernel 2 between the topmost layer and the one below it. U_2 is a matrix, the same at every pixel. The critic's
kernels are 4 (stride 2) on layers of side 8 or more, 3 on sides of 4 and 2, 1 on the topmost. norm is divisive
normalisation across channels at every pixel (`plasticity_jax.ops.normalisation`). The prior of the top layer is
N(0, I).

Weights are ``{"inference": (layer_1, ..., layer_L), "generation": (layer_0, ..., layer_{L-1}), "discriminator":
(site_0, ..., site_L)}``; a layer is ``{"hidden": map, "output": map}``, a site ``{"first": map, "second": map,
"readout": {"w": (n,), "bias": ()}}``, a map ``{"kernel": (k, k, c_in, c_out), "bias": (c_out,)}``, with a kernel of
(k, k, c_out, c_in) if transposed. U_1 has as many channels as the layer that it leads to; towards the image, c.

The paper leaves open, and we chose: strides and kernels of the hierarchy, initial weights N(0, 0.02^2), biases 0 and
the tanh from the authors' repository, with the tanh applied to the sample and not to its mean, so that the critic's
input stays within the range of images; the hidden layer of a conditional, and the sizes of the critics. The repository
normalises the top layer and its prior as well: `top_norm`.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.networks.hierarchy import (
    FREE,
    Judgement,
    Parents,
    Phases,
    check_images,
    check_weights,
    stacked_phases,
)
from plasticity_jax.ops.activations import Phi, activation_of, check_activation
from plasticity_jax.ops.checks import default_float, one_of
from plasticity_jax.ops.convolution import convolve, convolve_transposed
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.ops.normalisation import EPSILON, divisive
from plasticity_jax.typing import Array, Key, Params, Scalar

INITIAL = 0.02
"""Standard deviation of the initial weights."""

Output: TypeAlias = Literal["identity", "tanh"]


class Dcgan(NamedTuple):
    """Constants of the network; build it with `dcgan`.

    Attributes:
      image: (n, n, c_0).
      channels: of layer 1.
      top: of layer L.
      critic_width: channels of the two hidden layers of a critic.
      activation: phi, and the ReLU of the samples; a name or any callable.
      critic_activation: phi'.
      output: of the generated image, "identity" or "tanh".
      top_norm: whether the top layer and its prior are normalised.
      epsilon: of the normalisation; may be a tracer.
    """

    image: tuple[int, int, int]
    channels: int
    top: int
    critic_width: int
    activation: Phi
    critic_activation: Phi
    output: Output
    top_norm: bool
    epsilon: Scalar

    @property
    def depth(self) -> int:
        """L."""
        return self.image[0].bit_length() - 1

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """One discriminator for each layer."""
        return tuple((layer,) for layer in range(self.depth + 1))

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(side, side, channels) of the layers 0 .. L."""
        n, depth = self.image[0], self.depth
        between = ((n >> i, n >> i, self.channels << i - 1) for i in range(1, depth))
        return self.image, *between, (1, 1, self.top)

    def infer(self, params: Params, layer: int, below: Array, key: Key) -> Array:
        """A sample of layer 1 .. L given the one below, (N, *shapes[layer]); params are params["inference"]."""
        hidden, output = params[layer - 1]["hidden"], params[layer - 1]["output"]
        v = convolve(below, hidden["kernel"], *self._steps(layer)) + _by_channel(hidden["bias"])
        a = self._gaussian(output, v, key)
        return self._top(a) if layer == self.depth else self._rectified(a)

    def generate(self, params: Params, layer: int, above: Array, key: Key) -> Array:
        """A sample of layer 0 .. L-1 given the one above, (N, *shapes[layer]); params are params["generation"]."""
        hidden, output = params[layer]["hidden"], params[layer]["output"]
        v = convolve_transposed(above, hidden["kernel"], *self._steps(layer + 1)) + _by_channel(hidden["bias"])
        a = self._gaussian(output, v, key)
        return activation_of(self.output).phi(a) if layer == 0 else self._rectified(a)

    def prior(self, key: Key, count: int, dtype: jnp.dtype) -> Array:
        """Samples of the top layer, (count, 1, 1, n_L)."""
        return self._top(_normal(key, (count, *self.shapes[-1]), dtype))

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        """See `plasticity_jax.networks.hierarchy.stacked_phases`."""
        return stacked_phases(self, params, x, key, parents, oscillate)

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        """A discriminator's judgement of its layer's activity, (N, *shapes[site]); params are its own."""
        (h,) = activity
        _, stride, padding = _critic_window(self.shapes[site][0])
        for weights in (params["first"], params["second"]):
            v = convolve(h, weights["kernel"], stride, padding) + _by_channel(weights["bias"])
            h = divisive(activation_of(self.critic_activation).phi(v), self.epsilon)
        features = h.reshape(h.shape[0], -1)
        return Judgement(features @ params["readout"]["w"] + params["readout"]["bias"], features)

    def check(self, params: Params, x: Array) -> None:
        """Refuses images or weights that do not fit.

        Raises:
          ValueError: if the images are of another size, type or range.
          AssertionError: naming the array and the shape that it should have.
        """
        check_images(x, self.image, *((-1, 1) if self.output == "tanh" else (-math.inf, math.inf)))
        wanted = jax.eval_shape(lambda key: init_params(key, self), jax.random.key(0))
        check_weights(params, wanted, f"a network of images {self.image}")

    def _steps(self, layer: int) -> tuple[int, int]:
        """Stride and padding between a layer and the one below it."""
        _, stride, padding = _window(layer == self.depth)
        return stride, padding

    def _gaussian(self, output: Params, v: Array, key: Key) -> Array:
        """A sample, given the drive of the hidden layer."""
        h = convolve(activation_of(self.activation).phi(v), output["kernel"], 1, 0) + _by_channel(output["bias"])
        mean, spread = jnp.split(h, 2, -1)
        return mean + jax.nn.softplus(spread) * _normal(key, mean.shape, mean.dtype)

    def _rectified(self, a: Array) -> Array:
        return divisive(activation_of(self.activation).phi(a), self.epsilon)

    def _top(self, a: Array) -> Array:
        return divisive(a, self.epsilon) if self.top_norm else a


def dcgan(
    image: Sequence[int] = (32, 32, 3),
    channels: int = 32,
    top: int = 100,
    critic_width: int = 64,
    activation: Phi = "relu",
    critic_activation: Phi = "leaky_relu",
    output: Output = "tanh",
    top_norm: bool = False,
    epsilon: Scalar = EPSILON,
) -> Dcgan:
    """Checks and names a network's fixed properties; the defaults are the paper's, for CIFAR-10.

    Args:
      image: (n, n, c_0), n a power of 2: its logarithm is the number of layers.
      channels: of layer 1; each further layer has twice as many.
      top: channels of the topmost layer.
      critic_width: channels of the two hidden layers of a critic.
      activation: of the conditionals and their samples.
      critic_activation: of the critics.
      output: of the generated image, "tanh" for images from -1 to 1, or "identity".
      top_norm: whether the topmost layer and its prior are normalised.
      epsilon: of the normalisation.

    Returns:
      A `Dcgan`.

    Raises:
      ValueError: if a name is not known, or a number does not fit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> net = dcgan(image=(8, 8, 3), channels=4, top=5, critic_width=2)
      >>> params = jax.eval_shape(lambda key: init_params(key, net), jax.random.key(0))
      >>> phases = jax.eval_shape(net.phases, params, jnp.zeros((2, 8, 8, 3)), jax.random.key(1))
      >>> [h.shape for h in phases.wake]
      [(2, 8, 8, 3), (2, 4, 4, 4), (2, 2, 2, 8), (2, 1, 1, 5)]

    Reference:
      Benjamin & Kording, "Learning to infer in recurrent biological networks", arXiv:2006.10811v2, appendix A.1.4.
    """
    check_activation(activation)
    check_activation(critic_activation)
    one_of("output", output, get_args(Output))
    if len(image) != 3 or image[0] != image[1] or image[0] < 2 or image[0] & (image[0] - 1):
        raise ValueError(
            f"image={tuple(image)}: it must be (n, n, channels), n a power of 2 from 2 on; crop, pad or resize images"
        )
    if min(image[2], channels, top, critic_width) < 1:
        raise ValueError(
            f"image={tuple(image)}, channels={channels}, top={top}, critic_width={critic_width}: at least one channel"
        )
    if not isinstance(epsilon, Tracer) and not epsilon > 0:
        raise ValueError(f"epsilon={epsilon} must be positive: without it silent pixels have no derivative")
    n, _, c = image
    return Dcgan((n, n, c), channels, top, critic_width, activation, critic_activation, output, top_norm, epsilon)


def init_params(key: Key, net: Dcgan, *, dtype: Any = None) -> Params:
    """Weights N(0, 0.02^2), biases 0.

    Args:
      key: split, one part for each kernel.
      net: fixed properties.
      dtype: JAX's default float if None.

    Returns:
      The weights, as in the module's docstring.
    """
    dtype = default_float() if dtype is None else dtype
    widths = [shape[2] for shape in net.shapes]

    def linear(key: Key, shape: tuple[int, ...], n_out: int) -> Params:
        return {"kernel": INITIAL * jax.random.normal(key, shape, dtype), "bias": jnp.zeros((n_out,), dtype)}

    def conditional(key: Key, shape: tuple[int, ...], hidden: int, n: int) -> Params:
        first, second = jax.random.split(key)
        return {"hidden": linear(first, shape, hidden), "output": linear(second, (1, 1, hidden, 2 * n), 2 * n)}

    def inferring(key: Key, layer: int) -> Params:
        k, below, here = _window(layer == net.depth)[0], widths[layer - 1], widths[layer]
        return conditional(key, (k, k, below, here), here, here)

    def generating(key: Key, layer: int) -> Params:
        k, here, above = _window(layer + 1 == net.depth)[0], widths[layer], widths[layer + 1]
        hidden = here if layer else net.channels
        return conditional(key, (k, k, hidden, above), hidden, here)

    def critic(key: Key, site: int) -> Params:
        first, second, readout = jax.random.split(key, 3)
        side, width = net.shapes[site][0], net.critic_width
        k, stride, _ = _critic_window(side)
        n = (side // stride**2) ** 2 * width
        return {
            "first": linear(first, (k, k, widths[site], width), width),
            "second": linear(second, (k, k, width, width), width),
            "readout": {"w": INITIAL * jax.random.normal(readout, (n,), dtype), "bias": jnp.zeros((), dtype)},
        }

    up, down, critics = (jax.random.split(part, net.depth + 1) for part in jax.random.split(key, 3))
    return {
        "inference": tuple(inferring(up[layer], layer) for layer in range(1, net.depth + 1)),
        "generation": tuple(generating(down[layer], layer) for layer in range(net.depth)),
        "discriminator": tuple(critic(critics[site], site) for site in range(net.depth + 1)),
    }


def _window(topmost: bool) -> tuple[int, int, int]:
    """Kernel, stride and padding between two layers."""
    return (2, 1, 0) if topmost else (4, 2, 1)


def _critic_window(side: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of both convolutions of a critic."""
    return (4, 2, 1) if side >= 8 else (3, 1, 1) if side > 1 else (1, 1, 0)


def _by_channel(bias: Array) -> Array:
    """(C,) as (1, 1, 1, C)."""
    return bias[None, None, None, :]


def _normal(key: Key, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    return stored_noise(key, math.prod(shape), dtype, "gaussian").reshape(shape)
