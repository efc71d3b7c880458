"""Mixtures of Ornstein-Uhlenbeck latents: many inputs driven by a few slow, hidden variables.

Source: Bredenberg et al. (2021), the authors' code, which adds no noise to x either. Departure: the latents start from
their stationary distribution. In the authors' code all but the first start at 0, by an indexing error.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.ops import prng
from plasticity_jax.ops.checks import check_counts
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Scalar


class OUMixtureState(NamedTuple):
    """The stream's state.

    Attributes:
      key: of the innovations, never advanced.
      step: shape (), int32, steps taken.
      mixing: (stimuli, latents), A; other streams may share it.
      z: (B, latents), the latents of the last step.
    """

    key: Key
    step: Array
    mixing: Array
    z: Array


class OUMoments(NamedTuple):
    """Moments of one latent.

    Attributes:
      innovation: s, the standard deviation of the noise that each step adds.
      decay: rho, the correlation of successive steps.
      variance: of the stationary distribution.
    """

    innovation: Scalar
    decay: Scalar
    variance: Scalar


def ou_mixture(
    latents: int = 20, stimuli: int = 100, dt: Scalar = 0.1, batch: int = 1, mixing: Array | None = None
) -> Stream:
    """The mixture as a stream of inputs, with the latents that made them as targets.

        z_t = rho z_{t-1} + s eta_t,   eta_t ~ N(0, I),   s = sqrt(dt) / 2,   rho = 1 - s^2
        x_t = A z_t,                   A_ij ~ N(0, 1 / latents^2), drawn once: the world

    Stationary, Var z = s^2 / (1 - rho^2) = 1 / (2 - s^2), and Cov(z_t, z_{t-k}) = rho^k Var z.

    Args:
      latents: hidden variables.
      stimuli: inputs.
      dt: time step, in (0, 4]; the paper's is 0.1; may be a tracer.
      batch: independent streams, B, of one world.
      mixing: (stimuli, latents), the world; drawn with the stream's key if None. A test of what was learned from a
        stream uses new latents of the same world, ``ou_mixture(..., mixing=state.mixing)`` with another key.

    Returns:
      A `Stream` of `Example` with x (steps, B, stimuli) and y (steps, B, latents).

    Raises:
      ValueError: if a count is below 1 or not whole, dt is out of its range, or the mixing matrix has another shape.

    Example:
      >>> import jax
      >>> stream = ou_mixture(latents=2, stimuli=4)
      >>> state, example = stream.take(stream.init(jax.random.key(0)), 100)
      >>> example.x.shape, example.y.shape
      ((100, 1, 4), (100, 1, 2))
      >>> test = ou_mixture(latents=2, stimuli=4, mixing=state.mixing)

    Reference:
      Bredenberg, Lyo, Simoncelli & Savin, "Impression learning", NeurIPS 2021, Figure 1.
    """
    check_counts(latents=latents, stimuli=stimuli, batch=batch)
    if mixing is not None and mixing.shape != (stimuli, latents):
        raise ValueError(f"mixing has shape {mixing.shape}, but must be (stimuli, latents) = {(stimuli, latents)}")
    moments = ou_moments(dt)

    def init(key: Key) -> OUMixtureState:
        key_steps, key_start, key_world = jax.random.split(key, 3)
        z = moments.variance**0.5 * jax.random.normal(key_start, (batch, latents))
        world = jax.random.normal(key_world, (stimuli, latents)) / latents if mixing is None else mixing
        return OUMixtureState(key_steps, jnp.zeros((), jnp.int32), jnp.asarray(world, z.dtype), z)

    def take(state: OUMixtureState, steps: int) -> tuple[OUMixtureState, Example]:
        dtype = state.z.dtype
        innovation, decay = (jnp.asarray(moment, dtype) for moment in moments[:2])

        def draw(t: Array) -> Array:
            return innovation * prng.normal(prng.fold_in(state.key, t), state.z.size, dtype).reshape(state.z.shape)

        def follow(z: Array, noise: Array) -> tuple[Array, Array]:
            z = decay * z + noise
            return z, z

        # XLA does not compile a scan of one step as a loop: fused with its draw, the step would round differently.
        noise = jax.vmap(draw)(state.step + jnp.arange(max(steps, 2)))
        y = jax.lax.scan(follow, state.z, noise)[1][:steps]
        last = y[-1] if steps else state.z
        return state._replace(step=state.step + steps, z=last), Example(_mixed(state.mixing, y), y)

    return Stream(init, take)


def _mixed(mixing: Array, z: Array) -> Array:
    """A z for all steps, one latent after the other: z is (steps, B, latents).

    A matrix product rounds in an order that depends on the number of steps, so that a cut stream would differ from the
    uncut one in the last bits.
    """

    def add(x: Array, latent: tuple[Array, Array]) -> tuple[Array, None]:
        z_i, column = latent
        return x + z_i[..., None] * column, None

    x = jnp.zeros((*z.shape[:-1], len(mixing)), z.dtype)
    return jax.lax.scan(add, x, (jnp.moveaxis(z, -1, 0), mixing.T))[0]


def ou_moments(dt: Scalar) -> OUMoments:
    """Moments of a latent in closed form.

    Args:
      dt: time step.

    Returns:
      An `OUMoments`.

    Raises:
      ValueError: if dt is not in (0, 4]: beyond 4 the latents change sign at every step, and from 8 on they diverge.

    Example:
      >>> [round(moment, 4) for moment in ou_moments(0.1)]
      [0.1581, 0.975, 0.5063]
    """
    if not isinstance(dt, Tracer) and not 0 < dt <= 4:
        raise ValueError(f"dt={dt} must be above 0 and at most 4: a latent decays by the factor 1 - dt / 4 in a step")
    square = 0.25 * dt
    return OUMoments(square**0.5, 1 - square, 1 / (2 - square))
