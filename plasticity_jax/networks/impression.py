r"""The network of Bredenberg, Lyo, Simoncelli & Savin (2021): one stream of inference, one of generation, one state.

    inference    x_0 ~ N(z, .)                 x_l ~ N(f(W_l x_{l-1} + a_l), .)          l = 1 .. L,  bottom-up
    generation   x_L ~ N(((1 - k) D + k I) x_L^{t-1}, .),   x_l ~ N(f(D_l x_{l+1} + b_l), .)   l = L-1 .. 1,  top-down
                 x_0 ~ N(g(D_0 x_1), .)
    state        of the first stream where lambda_t = 1 (wake), of the second where lambda_t = 0 (sleep)

with x_0 = s the sensory layer, x_1 .. x_L neurons, z the stimulus, k_t = lambda_t (1 - lambda_{t-1}) the onset of wake,
D diagonal, a_l and b_l only of layers below the top, f = tanh and g the identity. L = 1 is the paper's basic model, L =
2 that of its appendix D. q_t is the density of inference and p_mt that of generation, both at the state that was
sampled.

Weights are ``{"inference": {"w": (W_1, ..., W_L), "bias": (a_1, ..., a_{L-1})}, "generation": {"w": (D_0, ...,
D_{L-1}), "bias": (b_1, ..., b_{L-1}), "transition": (n_L,)}}`` with W_l (n_l, n_{l-1}) and D_l (n_l, n_{l+1}).
Departure: the paper prints g = tanh; the authors' code, whose figures these are, has a linear output.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.ops.activations import ACTIVATIONS, check_activation
from plasticity_jax.ops.checks import default_float
from plasticity_jax.ops.densities import check_density, log_density, sample
from plasticity_jax.ops.groups import read
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.ops.prng import fold_in
from plasticity_jax.typing import Array, Key, Params, Scalar

OUTPUTS = ("identity", "tanh")


class ImpressionNet(NamedTuple):
    """What is fixed about the network; build it with `impression_net`.

    Attributes:
      sigma_inf: of inference, by layer from the sensory one: standard deviations; may be tracers.
      sigma_gen: of generation.
      activation: f, a key of `ACTIVATIONS`.
      output: g, one of `OUTPUTS`.
      noise: of the neurons, a key of `plasticity_jax.ops.densities`; the sensory layer's is Gaussian.
    """

    sigma_inf: tuple[Scalar, ...]
    sigma_gen: tuple[Scalar, ...]
    activation: str
    output: str
    noise: str

    def noise_of(self, layer: int) -> str:
        """The noise of a layer, counted from the sensory one."""
        return "gaussian" if layer == 0 else self.noise


class Moment(NamedTuple):
    """One step of B streams; the tuples go by layer, from the sensory one, arrays are (B, n_l).

    Attributes:
      x: the state that was sampled.
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


def impression_net(
    sigma_inf: Sequence[Scalar] = (0.01, 0.01),
    sigma_gen: Sequence[Scalar] = (0.01, 0.158),
    activation: str = "tanh",
    output: str = "identity",
    noise: str = "gaussian",
) -> ImpressionNet:
    """Checks and names a network's fixed properties.

    Args:
      sigma_inf: of inference, one for each layer from the sensory one on; in units of that layer. Tracers are taken on
        trust, here and below. A Poisson neuron counts quanta of sigma^2.
      sigma_gen: of generation.
      activation: of the neurons; those with Poisson noise need one that is not negative.
      output: of the generated stimulus, "identity" or "tanh".
      noise: of the neurons, "gaussian" or "poisson".

    Returns:
      An `ImpressionNet`.

    Raises:
      ValueError: if a name is not known, a sigma is not positive, the layers of inference and generation do not pair,
        or Poisson neurons are given a negative mean or two different quanta.

    Example:
      >>> impression_net().sigma_gen
      (0.01, 0.158)
    """
    check_activation(activation)
    check_density(noise)
    if output not in OUTPUTS:
        raise ValueError(f"output={output!r} is not known; use one of {', '.join(OUTPUTS)}")
    if len(sigma_inf) != len(sigma_gen) or len(sigma_inf) < 2:
        raise ValueError(
            f"{len(sigma_inf)} values of sigma_inf and {len(sigma_gen)} of sigma_gen: give one of each to the sensory "
            "layer and to every layer of neurons"
        )
    for name, sigmas in (("sigma_inf", sigma_inf), ("sigma_gen", sigma_gen)):
        if any(not isinstance(sigma, Tracer) and not 0 < float(sigma) < float("inf") for sigma in sigmas):
            raise ValueError(f"{name}={tuple(sigmas)}: every standard deviation must be positive and finite")
    if noise == "poisson":
        if activation not in ("sigmoid", "relu"):
            raise ValueError(
                f"activation={activation!r}: Poisson neurons need means that are not negative; use 'sigmoid'"
            )
        pairs = list(zip(sigma_inf, sigma_gen, strict=True))[1:]
        if any(not isinstance(a, Tracer) and not isinstance(b, Tracer) and float(a) != float(b) for a, b in pairs):
            raise ValueError("Poisson neurons count the same quanta awake and asleep: give each one sigma for both")
    return ImpressionNet(tuple(sigma_inf), tuple(sigma_gen), activation, output, noise)


def init_params(key: Key, sizes: Sequence[int], transition: Scalar = 0.6, dtype: jnp.dtype | None = None) -> Params:
    """Weights as the authors drew them: N(0, 1 / fan_in^2), transitions all alike, biases 0.

    Args:
      key: split, one part for each matrix.
      sizes: n_0, ..., n_L, from the sensory layer on.
      transition: of every neuron of the top layer.
      dtype: JAX's default float if None.

    Returns:
      The weights, shapes as in the module's docstring.

    Raises:
      ValueError: if there are fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes={tuple(sizes)} must name the sensory layer's and every layer's width")
    dtype = default_float() if dtype is None else dtype
    depth = len(sizes) - 1
    keys = jax.random.split(key, 2 * depth)

    def matrix(key: Key, n_out: int, n_in: int) -> Array:
        return jax.random.normal(key, (n_out, n_in), dtype) / n_in

    def biases() -> tuple[Array, ...]:
        return tuple(jnp.zeros((n,), dtype) for n in sizes[1:-1])

    return {
        "inference": {
            "w": tuple(matrix(keys[i], sizes[i + 1], sizes[i]) for i in range(depth)),
            "bias": biases(),
        },
        "generation": {
            "w": tuple(matrix(keys[depth + i], sizes[i], sizes[i + 1]) for i in range(depth)),
            "bias": biases(),
            "transition": jnp.full((sizes[-1],), transition, dtype),
        },
    }


def widths(params: Params) -> tuple[int, ...]:
    """n_0, ..., n_L of the weights."""
    return params["generation"]["w"][0].shape[0], *(w.shape[0] for w in params["inference"]["w"])


def check_shapes(net: ImpressionNet, params: Params, z: Array) -> None:
    """Asserts that network, weights and stimuli fit together.

    Args:
      net: fixed properties.
      params: its weights.
      z: (B, n_0).

    Raises:
      AssertionError: (chex) naming the array and the shape that it should have.
      ValueError: if weights are missing, or the number of layers is not that of the sigmas.
    """
    up = {name: read(params, "inference", name) for name in ("w", "bias")}
    down = {name: read(params, "generation", name) for name in ("w", "bias", "transition")}
    depth = len(net.sigma_inf) - 1
    counts = (len(up["w"]), len(down["w"]), len(up["bias"]) + 1, len(down["bias"]) + 1)
    if set(counts) != {depth}:
        raise ValueError(
            f"{depth} layers of neurons by the sigmas, but {counts[0]} and {counts[1]} matrices w, {counts[2] - 1} and "
            f"{counts[3] - 1} biases: inference and generation have a matrix for each, and a bias for all but the top"
        )
    n = widths(params)
    chain = f"widths {' - '.join(map(str, n))}: inference's w must be (n_l, n_{{l-1}}), generation's (n_l, n_{{l+1}})"
    for i in range(depth):
        chex.assert_shape(up["w"][i], (n[i + 1], n[i]), custom_message=chain)
        chex.assert_shape(down["w"][i], (n[i], n[i + 1]), custom_message=chain)
    for a, b, width in zip(up["bias"], down["bias"], n[1:-1], strict=True):
        chex.assert_shape([a, b], (width,), custom_message=f"the biases of this layer must be ({width},)")
    chex.assert_shape(down["transition"], n[-1:], custom_message=f"the transition must be ({n[-1]},)")
    chex.assert_shape(z, (None, n[0]), custom_message=f"batch.x, the stimulus must be (B, {n[0]})")


def draw(net: ImpressionNet, key: Key, sizes: Sequence[int], streams: int, dtype: jnp.dtype) -> tuple[Array | Key, ...]:
    """What a step's samples are made of, one random number for each, whichever stream they are going to be of.

    Args:
      net: fixed properties.
      key: consumed.
      sizes: n_0, ..., n_L.
      streams: B.
      dtype: of the samples.

    Returns:
      By layer: normals (B, n_l), or a key where the noise is Poisson's.
    """
    gaussian = [n if net.noise_of(layer) == "gaussian" else 0 for layer, n in enumerate(sizes)]
    flat = stored_noise(key, streams * sum(gaussian), dtype, "gaussian").reshape(streams, -1)
    innovations, start = [], 0
    for layer, n in enumerate(gaussian):
        innovations.append(flat[:, start : start + n] if n else fold_in(key, jnp.uint32(2 + layer)))
        start += n
    return tuple(innovations)


def advance(
    net: ImpressionNet,
    params: Params,
    wake: Array | bool,
    onset: Array | bool,
    top_tm1: Array,
    z: Array,
    innovations: Sequence[Array | Key],
) -> Moment:
    """Samples one step of the hybrid density, and evaluates the means of both streams at what was sampled.

    Args:
      net: fixed properties.
      params: its weights.
      wake: shape (), bool, lambda_t.
      onset: shape (), bool, k_t; there the transition is the identity.
      top_tm1: (B, n_L), the top layer before the step.
      z: (B, n_0), the stimulus.
      innovations: what `draw` gave.

    Returns:
      The step's `Moment`.
    """
    depth = len(params["inference"]["w"])
    top = jnp.where(onset, top_tm1, params["generation"]["transition"][None, :] * top_tm1)

    def either(layer: int, inferred: Array, generated: Array) -> Array:
        """One sample, of whichever stream it is going to be."""
        sigma = jnp.where(wake, net.sigma_inf[layer], net.sigma_gen[layer])
        return sample(net.noise_of(layer), jnp.where(wake, inferred, generated), sigma, innovations[layer])

    # Bottom-up as if awake, then top-down: what was inferred stays if it is so, and is dreamed anew if not.
    awake = [z]
    for layer in range(1, depth + 1):
        below = sample(net.noise_of(layer - 1), awake[-1], net.sigma_inf[layer - 1], innovations[layer - 1])
        awake.append(_infer(net, params, layer, below)[0])
    x, generated, generated_slope = [either(depth, awake[depth], top)], [top], []
    for layer in reversed(range(depth)):
        mean, slope = _generate(net, params, layer, x[0])
        x.insert(0, either(layer, awake[layer], mean))
        generated.insert(0, mean)
        generated_slope.insert(0, slope)
    pairs = [_infer(net, params, layer, x[layer - 1]) for layer in range(1, depth + 1)]
    inferred = (z, *(mean for mean, _ in pairs))
    return Moment(
        tuple(x), inferred, tuple(generated), tuple(slope for _, slope in pairs), tuple(generated_slope), top_tm1
    )


def log_q(net: ImpressionNet, moment: Moment) -> Array:
    """log q_t, the density of inference at the state, summed over all layers: (B,)."""
    return _log_density(net, moment.x, moment.inferred, net.sigma_inf)


def log_p(net: ImpressionNet, moment: Moment) -> Array:
    """log p_mt, the density of generation at the state given that before it, summed over all layers: (B,)."""
    return _log_density(net, moment.x, moment.generated, net.sigma_gen)


def trajectory(net: ImpressionNet, params: Params, key: Key, z: Array, wake: Array) -> Moment:
    """A walk at fixed weights, from r = 0 and as if awake before.

    Args:
      net: fixed properties.
      params: its weights.
      key: consumed; step t uses ``fold_in(key, t)``.
      z: (T, B, n_0), stimuli.
      wake: (T,), bool, lambda_t.

    Returns:
      A `Moment` whose arrays lead with (T,).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = init_params(jax.random.key(0), (3, 2))
      >>> walk = trajectory(impression_net(), params, jax.random.key(1), jnp.ones((5, 1, 3)), jnp.ones(5, bool))
      >>> walk.x[1].shape
      (5, 1, 2)
    """
    chex.assert_shape(wake, z.shape[:1], custom_message=f"wake must be ({z.shape[0]},), one for each step")
    check_shapes(net, params, z[0])
    sizes, streams = widths(params), z.shape[1]

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Moment]:
        (top, wake_tm1), (t, z_t, wake_t) = carry, inputs
        innovations = draw(net, fold_in(key, t), sizes, streams, top.dtype)
        moment = advance(net, params, wake_t, wake_t & ~wake_tm1, top, z_t, innovations)
        return (moment.x[-1], wake_t), moment

    start = jnp.zeros((streams, sizes[-1]), params["generation"]["transition"].dtype)
    steps = jnp.arange(z.shape[0], dtype=jnp.uint32)
    return jax.lax.scan(step, (start, jnp.asarray(True)), (steps, z, jnp.asarray(wake, bool)))[1]


def trajectory_loss(net: ImpressionNet, params: Params, key: Key, z: Array, wake: Array) -> Array:
    """log q~ - log p~ of a walk: one sample of KL(q~ || p~), whose derivative is the reparameterised gradient.

    Args:
      net: fixed properties.
      params: its weights.
      key: consumed.
      z: (T, B, n_0).
      wake: (T,), bool.

    Returns:
      Shape (B,), sum_t (2 lambda_t - 1) (log q_t - log p_mt).
    """
    walk = trajectory(net, params, key, z, wake)
    return jnp.where(wake, 1, -1) @ (log_q(net, walk) - log_p(net, walk))


def _infer(net: ImpressionNet, params: Params, layer: int, below: Array) -> tuple[Array, Array]:
    """Mean and slope of a layer of neurons, given the one below: (B, n_l) each."""
    v = below @ params["inference"]["w"][layer - 1].T
    if layer < len(net.sigma_inf) - 1:
        v = v + params["inference"]["bias"][layer - 1][None, :]
    f = ACTIVATIONS[net.activation]
    mean = f.phi(v)
    return mean, f.slope(v, mean)


def _generate(net: ImpressionNet, params: Params, layer: int, above: Array) -> tuple[Array, Array]:
    """Mean and slope of a layer below the top, given the one above: (B, n_l) each."""
    v = above @ params["generation"]["w"][layer].T
    if layer > 0:
        v = v + params["generation"]["bias"][layer - 1][None, :]
    f = ACTIVATIONS[net.activation if layer > 0 else net.output]
    mean = f.phi(v)
    return mean, f.slope(v, mean)


def _log_density(net: ImpressionNet, x: Sequence[Array], mean: Sequence[Array], sigma: Sequence[Scalar]) -> Array:
    layers = zip(x, mean, sigma, strict=True)
    return sum(jnp.sum(log_density(net.noise_of(i), *layer), -1) for i, layer in enumerate(layers))  # pyright: ignore
