r"""The network of Bredenberg, Lyo, Simoncelli & Savin (2021): streams of inference and generation, and one state.

    inference    x_0 ~ N(z, .)                 x_l ~ N(f(W_l x_{l-1} + a_l), .)          l = 1 .. L,  bottom-up
    generation   x_L ~ N(((1 - k) D + k I) x_L^{t-1}, .),   x_l ~ N(f(D_l x_{l+1} + b_l), .)   l = L-1 .. 1,  top-down
                 x_0 ~ N(g(D_0 x_1), .)
    state        of inference where lambda_t = 1 (wake), of generation where lambda_t = 0 (sleep)

with x_0 = s the sensory layer, x_1 .. x_L neurons, z the stimulus, k_t = lambda_t (1 - lambda_{t-1}) the onset of wake,
D diagonal, a_l and b_l only in layers below the top, f = tanh and g the identity. L = 1 is the paper's basic model, L =
2 that of its appendix D. q_t is the density of inference and p_mt that of generation, both at the sampled state.

Weights are ``{"inference": {"w": (W_1, ..., W_L), "bias": (a_1, ..., a_{L-1})}, "generation": {"w": (D_0, ...,
D_{L-1}), "bias": (b_1, ..., b_{L-1}), "transition": (n_L,)}}`` with W_l (n_l, n_{l-1}) and D_l (n_l, n_{l+1}).
Departure: the paper prints g = tanh; the authors' code, which made the figures, has a linear output.
"""

from collections.abc import Sequence
from typing import get_args

import chex
import jax
import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.networks.two_stream_step import Output, Sample, TwoStream, advance, draw, log_p, log_q
from plasticity_jax.ops.activations import Phi, check_activation
from plasticity_jax.ops.checks import default_float, one_of
from plasticity_jax.ops.densities import Density
from plasticity_jax.ops.groups import read
from plasticity_jax.ops.prng import fold_in
from plasticity_jax.typing import Array, Key, Params, Scalar


def two_stream(
    sizes: Sequence[int],
    sigma_inf: Sequence[Scalar] = (0.01, 0.01),
    sigma_gen: Sequence[Scalar] = (0.01, 0.158),
    activation: Phi = "tanh",
    output: Output = "identity",
    noise: Density = "gaussian",
) -> TwoStream:
    """Checks and names a network's fixed properties.

    Args:
      sizes: n_0, ..., n_L, the number of stimuli and of the neurons in each layer.
      sigma_inf: of inference, one for each layer from the sensory one on; in units of that layer. Tracers, here
        and below, are not validated. A Poisson neuron counts quanta of sigma^2.
      sigma_gen: of generation.
      activation: of the neurons, a name or any callable; those with Poisson noise need one that is not negative.
      output: of the generated stimulus.
      noise: of the neurons.

    Returns:
      A `TwoStream`.

    Raises:
      ValueError: if a name is not known, a size or a sigma is not positive, there is no layer of neurons, the number
        of sigmas is not that of the layers, or Poisson neurons have a negative mean or two different quanta.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> net = two_stream((3, 2))
      >>> params = init_params(jax.random.key(0), net)
      >>> walk = trajectory(net, params, jax.random.key(1), jnp.ones((100, 1, 3)), jnp.ones(100, bool))
      >>> inferred = jnp.tanh(params["inference"]["w"][0] @ jnp.ones(3))
      >>> bool(jnp.all(jnp.abs(jnp.mean(walk.x[1][:, 0], 0) - inferred) < 0.01))  # noise of 0.01 averages out
      True

    Reference:
      Bredenberg, Lyo, Simoncelli & Savin, "Impression learning: Online representation learning with synaptic
      plasticity", NeurIPS 2021.
    """
    check_activation(activation)
    one_of("noise", noise, get_args(Density))
    one_of("output", output, get_args(Output))
    sizes = tuple(sizes)
    if len(sizes) < 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in sizes):
        raise ValueError(f"sizes={sizes} must name the stimuli and the neurons of one layer or more, whole numbers")
    if not len(sizes) == len(sigma_inf) == len(sigma_gen):
        raise ValueError(
            f"sizes={sizes}, but {len(sigma_inf)} values of sigma_inf and {len(sigma_gen)} of sigma_gen: give one of "
            "each to the sensory layer and to every layer of neurons"
        )
    for name, sigmas in (("sigma_inf", sigma_inf), ("sigma_gen", sigma_gen)):
        if any(not isinstance(sigma, Tracer) and not 0 < float(sigma) < float("inf") for sigma in sigmas):
            raise ValueError(f"{name}={tuple(sigmas)}: every standard deviation must be positive and finite")
    if noise == "poisson":
        if not callable(activation) and activation not in ("sigmoid", "relu"):
            raise ValueError(
                f"activation={activation!r}: Poisson neurons need means that are not negative; use 'sigmoid'"
            )
        pairs = list(zip(sigma_inf, sigma_gen, strict=True))[1:]
        if any(not isinstance(a, Tracer) and not isinstance(b, Tracer) and float(a) != float(b) for a, b in pairs):
            raise ValueError("Poisson neurons count the same quanta awake and asleep: give each one sigma for both")
    return TwoStream(sizes, tuple(sigma_inf), tuple(sigma_gen), activation, output, noise)


def init_params(key: Key, net: TwoStream, transition: Scalar = 0.6, dtype: jnp.dtype | None = None) -> Params:
    """Weights as the authors draw them: N(0, 1 / fan_in^2), all transitions equal, biases 0.

    Args:
      key: split, one part for each matrix.
      net: the network.
      transition: share of its activity that every neuron of the top layer keeps in a step.
      dtype: JAX's default float if None.

    Returns:
      The weights, shapes as in the module's docstring.

    Example:
      >>> import jax
      >>> params = init_params(jax.random.key(0), two_stream((3, 2)))
      >>> params["inference"]["w"][0].shape, params["generation"]["w"][0].shape
      ((2, 3), (3, 2))
    """
    dtype = default_float() if dtype is None else dtype
    n, depth = net.sizes, net.depth
    keys = jax.random.split(key, 2 * depth)

    def matrix(key: Key, n_out: int, n_in: int) -> Array:
        return jax.random.normal(key, (n_out, n_in), dtype) / n_in

    def biases() -> tuple[Array, ...]:
        return tuple(jnp.zeros((width,), dtype) for width in n[1:-1])

    return {
        "inference": {
            "w": tuple(matrix(keys[i], n[i + 1], n[i]) for i in range(depth)),
            "bias": biases(),
        },
        "generation": {
            "w": tuple(matrix(keys[depth + i], n[i], n[i + 1]) for i in range(depth)),
            "bias": biases(),
            "transition": jnp.full((n[-1],), transition, dtype),
        },
    }


def check_shapes(net: TwoStream, params: Params, z: Array) -> None:
    """Refuses weights and stimuli that do not fit the network.

    Args:
      net: fixed properties.
      params: its weights.
      z: (B, n_0).

    Raises:
      AssertionError: (chex) if the stimuli are of another shape.
      ValueError: naming weights that are missing or of other shapes.
    """
    wanted = jax.eval_shape(lambda: init_params(jax.random.key(0), net))
    for group, names in wanted.items():
        for name, weights in names.items():
            given = read(params, group, name)
            shapes, needed = ([jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (given, weights))
            if shapes != needed:
                raise ValueError(
                    f'params["{group}"]["{name}"] has the shapes {shapes}, but a network of sizes {net.sizes} takes '
                    f"{needed}; init_params(key, net) makes them"
                )
    chex.assert_shape(z, (None, net.sizes[0]), custom_message=f"batch.x, the stimulus must be (B, {net.sizes[0]})")


def trajectory(net: TwoStream, params: Params, key: Key, z: Array, wake: Array) -> Sample:
    """A trajectory at fixed weights, from a top layer at 0 and as if awake before.

    Args:
      net: fixed properties.
      params: its weights.
      key: consumed; step t uses ``fold_in(key, t)``.
      z: (T, B, n_0), stimuli.
      wake: (T,), bool, lambda_t.

    Returns:
      A `Sample`, all arrays with a leading axis (T,).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> net = two_stream((3, 2), sigma_gen=(0.01, 0.5))
      >>> params = init_params(jax.random.key(0), net)
      >>> dream = trajectory(net, params, jax.random.key(1), jnp.ones((5000, 1, 3)), jnp.zeros(5000, bool))
      >>> bool(abs(jnp.var(dream.x[1]) - 0.5**2 / (1 - 0.6**2)) < 0.05)  # of r_t = 0.6 r_{t-1} + 0.5 xi
      True
    """
    chex.assert_shape(wake, z.shape[:1], custom_message=f"wake must be ({z.shape[0]},), one for each step")
    check_shapes(net, params, z[0])
    streams = z.shape[1]

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Sample]:
        (top, wake_tm1), (t, z_t, wake_t) = carry, inputs
        innovations = draw(net, fold_in(key, t), streams, top.dtype)
        sample = advance(net, params, wake_t, wake_t & ~wake_tm1, top, z_t, innovations)
        return (sample.x[-1], wake_t), sample

    start = jnp.zeros((streams, net.sizes[-1]), params["generation"]["transition"].dtype)
    steps = jnp.arange(z.shape[0], dtype=jnp.uint32)
    return jax.lax.scan(step, (start, jnp.asarray(True)), (steps, z, jnp.asarray(wake, bool)))[1]


def trajectory_loss(net: TwoStream, params: Params, key: Key, z: Array, wake: Array) -> Array:
    """log q~ - log p~ of a trajectory: one sample of KL(q~ || p~), whose derivative is the reparameterised gradient.

    Args:
      net: fixed properties.
      params: its weights.
      key: consumed.
      z: (T, B, n_0).
      wake: (T,), bool.

    Returns:
      Shape (B,), sum_t (2 lambda_t - 1) (log q_t - log p_mt).
    """
    steps = trajectory(net, params, key, z, wake)
    return jnp.where(wake, 1, -1) @ (log_q(net, steps) - log_p(net, steps))
