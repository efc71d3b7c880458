"""One step of `plasticity_jax.networks.two_stream`: a sample of its state, the means of both streams, and densities."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax.numpy as jnp

from plasticity_jax.ops import densities
from plasticity_jax.ops.activations import Phi, activation_of
from plasticity_jax.ops.densities import Density, log_density
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.ops.prng import fold_in
from plasticity_jax.typing import Array, Key, Params, Scalar

Output: TypeAlias = Literal["identity", "tanh"]


class TwoStream(NamedTuple):
    """Constants of the network; build it with `two_stream`.

    Attributes:
      sizes: n_0, ..., n_L, from the sensory layer on.
      sigma_inf: standard deviations of inference, by layer from the sensory one; may be tracers.
      sigma_gen: standard deviations of generation, likewise.
      activation: f, a name or any callable.
      output: g.
      noise: of the neurons, see `plasticity_jax.ops.densities`; the sensory layer's is Gaussian.
    """

    sizes: tuple[int, ...]
    sigma_inf: tuple[Scalar, ...]
    sigma_gen: tuple[Scalar, ...]
    activation: Phi
    output: Output
    noise: Density

    @property
    def depth(self) -> int:
        """L, the layers of neurons."""
        return len(self.sizes) - 1

    def noise_of(self, layer: int) -> Density:
        """The noise of a layer; the sensory layer is 0."""
        return "gaussian" if layer == 0 else self.noise


class Sample(NamedTuple):
    """One step of B streams; the tuples go by layer, from the sensory one, arrays are (B, n_l).

    Attributes:
      x: the sampled state.
      inferred: means of q at that state.
      generated: means of p_m at that state.
      inferred_slope: derivative of the mean by the drive of the layer, for l = 1 .. L.
      generated_slope: likewise, for l = 0 .. L-1.
      top_tm1: the top layer's state before the step, (B, n_L).
    """

    x: tuple[Array, ...]
    inferred: tuple[Array, ...]
    generated: tuple[Array, ...]
    inferred_slope: tuple[Array, ...]
    generated_slope: tuple[Array, ...]
    top_tm1: Array


def draw(net: TwoStream, key: Key, streams: int, dtype: Any) -> tuple[Array | Key, ...]:
    """Random numbers of a step, one for each variable, shared by both streams.

    Args:
      net: fixed properties.
      key: consumed.
      streams: B.
      dtype: of the samples.

    Returns:
      By layer: normals (B, n_l), or a key where the noise is Poisson.
    """
    gaussian = [n if net.noise_of(layer) == "gaussian" else 0 for layer, n in enumerate(net.sizes)]
    flat = stored_noise(key, streams * sum(gaussian), dtype, "gaussian").reshape(streams, -1)
    innovations, start = [], 0
    for layer, n in enumerate(gaussian):
        innovations.append(flat[:, start : start + n] if n else fold_in(key, jnp.uint32(2 + layer)))
        start += n
    return tuple(innovations)


def advance(
    net: TwoStream,
    params: Params,
    wake: Array | bool,
    onset: Array | bool,
    top_tm1: Array,
    z: Array,
    innovations: Sequence[Array | Key],
) -> Sample:
    """Samples one step of the hybrid density, and evaluates the means of both streams at the sample.

    Args:
      net: fixed properties.
      params: its weights.
      wake: shape (), bool, lambda_t.
      onset: shape (), bool, k_t; where it is True the transition is the identity.
      top_tm1: (B, n_L), the top layer before the step.
      z: (B, n_0), the stimulus.
      innovations: from `draw`.

    Returns:
      The `Sample`.
    """
    depth = net.depth
    top = jnp.where(onset, top_tm1, params["generation"]["transition"][None, :] * top_tm1)

    def either(layer: int, inferred: Array, generated: Array) -> Array:
        """A sample of the stream that drives the state."""
        sigma = jnp.where(wake, net.sigma_inf[layer], net.sigma_gen[layer])
        return densities.sample(net.noise_of(layer), jnp.where(wake, inferred, generated), sigma, innovations[layer])

    # Bottom-up as if awake, then top-down: awake, the inferred samples stay; asleep, they are sampled again.
    awake = [z]
    for layer in range(1, depth + 1):
        below = densities.sample(net.noise_of(layer - 1), awake[-1], net.sigma_inf[layer - 1], innovations[layer - 1])
        awake.append(_infer(net, params, layer, below)[0])
    x, generated, generated_slope = [either(depth, awake[depth], top)], [top], []
    for layer in reversed(range(depth)):
        mean, slope = _generate(net, params, layer, x[0])
        x.insert(0, either(layer, awake[layer], mean))
        generated.insert(0, mean)
        generated_slope.insert(0, slope)
    pairs = [_infer(net, params, layer, x[layer - 1]) for layer in range(1, depth + 1)]
    inferred = (z, *(mean for mean, _ in pairs))
    return Sample(
        tuple(x), inferred, tuple(generated), tuple(slope for _, slope in pairs), tuple(generated_slope), top_tm1
    )


def log_q(net: TwoStream, sample: Sample) -> Array:
    """log q_t, the density of inference at the state, summed over all layers: (B,)."""
    return _log_density(net, sample.x, sample.inferred, net.sigma_inf)


def log_p(net: TwoStream, sample: Sample) -> Array:
    """log p_mt, the density of generation at the state given the state before, summed over all layers: (B,)."""
    return _log_density(net, sample.x, sample.generated, net.sigma_gen)


def _infer(net: TwoStream, params: Params, layer: int, below: Array) -> tuple[Array, Array]:
    """Mean and slope of a layer of neurons, given the one below: (B, n_l) each."""
    v = below @ params["inference"]["w"][layer - 1].T
    if layer < net.depth:
        v = v + params["inference"]["bias"][layer - 1][None, :]
    f = activation_of(net.activation)
    mean = f.phi(v)
    return mean, f.slope(v, mean)


def _generate(net: TwoStream, params: Params, layer: int, above: Array) -> tuple[Array, Array]:
    """Mean and slope of a layer below the top, given the one above: (B, n_l) each."""
    v = above @ params["generation"]["w"][layer].T
    if layer > 0:
        v = v + params["generation"]["bias"][layer - 1][None, :]
    f = activation_of(net.activation if layer > 0 else net.output)
    mean = f.phi(v)
    return mean, f.slope(v, mean)


def _log_density(net: TwoStream, x: Sequence[Array], mean: Sequence[Array], sigma: Sequence[Scalar]) -> Array:
    layers = zip(x, mean, sigma, strict=True)
    return sum(jnp.sum(log_density(net.noise_of(i), *layer), -1) for i, layer in enumerate(layers))  # pyright: ignore
