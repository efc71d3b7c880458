r"""The convolutional feature extractor of Lindsey & Litwin-Kumar (2020), for a batch of images.

    h^0 = image,   h^i = ReLU(K^i * h^{i-1} + b^i),   i = 1..L;   features = the entries of h^L, row by row

K^i * h is the correlation with stride s_i, nothing padded: a side of n becomes (n - k) // s_i + 1. The authors' six
layers take a side of 84 to 41, 39, 19, 17, 8 and 3. No pooling, no normalisation.

Weights are those of flax: ``{"Conv_0": {"kernel": (k, k, c_0, c_1), "bias": (c_1,)}, ...}``.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import cast_floats, default_float
from plasticity_jax.ops.convolution import correlate
from plasticity_jax.typing import Array, Key, Params


class ConvNet(nn.Module):
    """Constants of the network; build it with `convnet`.

    Attributes:
      image_shape: (H, W, C) of the images.
      channels: of every layer.
      strides: one for each layer.
      kernel: k, the side of every kernel.
      param_dtype: of the weights; JAX's default float if None.
    """

    image_shape: tuple[int, int, int]
    channels: int
    strides: tuple[int, ...]
    kernel: int
    param_dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """Images (N, H, W, C) to features (N, n)."""
        h = images
        for stride in self.strides:
            layer = nn.Conv(
                self.channels,
                (self.kernel, self.kernel),
                stride,
                padding="VALID",
                conv_general_dilated=_correlate,
                param_dtype=self.param_dtype or default_float(),
                kernel_init=nn.initializers.variance_scaling(2.0, "fan_in", "normal"),  # `he_normal` is truncated
            )
            h = nn.relu(layer(h))
        return h.reshape(h.shape[0], -1)


def convnet(
    image_shape: Sequence[int],
    channels: int = 128,
    strides: Sequence[int] = (2, 1, 2, 1, 2, 2),
    kernel: int = 3,
) -> ConvNet:
    """Checks and names a network's fixed properties.

    Args:
      image_shape: (H, W, C) of the images; the paper's are (84, 84, 1) and (84, 84, 3).
      channels: of every layer.
      strides: one for each layer.
      kernel: k, the side of every kernel.

    Returns:
      A `ConvNet`.

    Raises:
      ValueError: if there is no layer, a number is below 1, or the images are too small or of another form.

    Example:
      >>> import jax
      >>> net = convnet((9, 9, 1), channels=4, strides=(2, 1))
      >>> params = init_params(jax.random.key(0), net)
      >>> features(net, params, jax.numpy.ones((5, 9, 9, 1))).shape
      (5, 16)

    Reference:
      Lindsey & Litwin-Kumar, "Learning to learn with feedback and local plasticity", arXiv:2006.09549, section 6.
    """
    if not strides or min(channels, kernel, *strides) < 1:
        raise ValueError(
            f"channels={channels}, strides={tuple(strides)} and kernel={kernel}: at least one layer, nothing below 1"
        )
    if len(image_shape) != 3:
        raise ValueError(f"image_shape={tuple(image_shape)} must be (height, width, channels)")
    height, width, c_0 = image_shape
    net = ConvNet((height, width, c_0), channels, tuple(strides), kernel)
    for i, (rows, columns) in enumerate([(height, width), *sides(net)[:-1]]):
        if min(rows, columns) < kernel:
            raise ValueError(
                f"images of {height} x {width} are too small: layer {i} gets {rows} x {columns}, less than its kernel "
                f"of {kernel} x {kernel}; use larger images, or fewer or smaller strides"
            )
    return net


def init_params(key: Key, net: ConvNet, *, dtype: Any = None) -> Params:
    """Kernels ~ N(0, 2 / (k k c)), c the channels of their input; biases 0.

    Args:
      key: split, one part for each kernel.
      net: fixed properties.
      dtype: of the weights; JAX's default float if None.

    Returns:
      Flax's tree, shapes as in the module's docstring.
    """
    dtype = default_float() if dtype is None else dtype
    blank = jax.ShapeDtypeStruct((1, *net.image_shape), dtype)
    return net.clone(param_dtype=dtype).lazy_init(key, blank)["params"]


def features(net: ConvNet, params: Params, images: Array) -> Array:
    """Activity of the last layer for each image.

    Args:
      net: fixed properties.
      params: its weights.
      images: (N, H, W, C), floats.

    Returns:
      Shape (N, n), n = height * width * channels of the last layer.

    Raises:
      ValueError: if the images do not have the network's shape.
    """
    if images.shape[1:] != net.image_shape:
        raise ValueError(f"images have shape {images.shape}, but the network takes (N, H, W, C) of {net.image_shape}")
    images = cast_floats(images, jax.tree.leaves(params)[0].dtype)
    return jnp.asarray(net.apply({"params": params}, images))


def sides(net: ConvNet) -> tuple[tuple[int, int], ...]:
    """Height and width after each layer.

    Example:
      >>> [height for height, _ in sides(convnet((84, 84, 1)))]
      [41, 39, 19, 17, 8, 3]
    """
    height, width = net.image_shape[:2]
    sizes = []
    for stride in net.strides:
        height, width = (height - net.kernel) // stride + 1, (width - net.kernel) // stride + 1
        sizes.append((height, width))
    return tuple(sizes)


def _correlate(images: Array, kernel: Array, strides: Sequence[int], padding: str, **options: Any) -> Array:
    """Correlation with the arguments that flax passes; options that this network does not use are ignored."""
    return correlate(images, kernel, strides[0])
