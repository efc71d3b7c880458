"""Leaky integrate-and-fire neurons with an adaptive threshold."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from plasticity_jax.cells.lif import Course, Reset, check_membrane, membrane, spiking
from plasticity_jax.cells.neurons import Neurons, Own
from plasticity_jax.cells.surrogate import Slope, spike_function
from plasticity_jax.ops.checks import in_range
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array, Scalar


def alif(
    n_in: int,
    n: int,
    n_out: int,
    *,
    decay: Scalar = 0.9,
    threshold: Scalar = 1.0,
    adaptation_decay: Scalar = 0.98,
    strength: Scalar = 0.1,
    slope: Slope = "triangle",
    spike: Callable[[Array], Array] | None = None,
    reset: Reset = "subtract",
    reset_derivative: bool = True,
    refractory: int = 0,
    loss: Loss = "softmax",
    learn: Sequence[str] = (),
    mask: Any = None,
) -> Neurons:
    """Builds a network of adaptive integrate-and-fire neurons.

        u^t = decay u^{t-1} + v^t / threshold - z^{t-1}
        a^t = adaptation_decay a^{t-1} + strength z^{t-1},   z^t = H(u^t - 1 - a^t)

    Two variables, the voltage u and the adaptation a, by which spikes have raised the threshold, both in units of the
    threshold at rest; one gate. In the notation of Bellec et al. (2020), u = v / v_th, a = beta a / v_th, decay =
    alpha, adaptation_decay = rho and strength = beta / v_th. Reset, refractory time and surrogate slope are those of
    `plasticity_jax.cells.lif`.

    Args:
      n_in: inputs.
      n: neurons.
      n_out: outputs.
      decay: share of the voltage kept at each step, in [0, 1], a number or (n,); may be a tracer.
      threshold: at rest, positive, a number or (n,); may be a tracer.
      adaptation_decay: share of the adaptation kept at each step, in [0, 1], a number or (n,); may be a tracer.
      strength: what a spike adds to the threshold, in units of the threshold, at least 0, a number or (n,), 0 for
        neurons that do not adapt; may be a tracer.
      slope: psi, the surrogate for the derivative of a spike: "triangle", "sigmoid", "fast_sigmoid", "arctan" or an
        elementwise callable of u - 1 - a.
      spike: an elementwise callable u - 1 - a -> z with its own derivative, in place of the step and its slope.
      reset: "subtract" takes one threshold at rest from the voltage after a spike, "zero" sets it back.
      reset_derivative: whether D = ds'/ds, which carries traces and credit, includes the reset; see `lif`.
      refractory: steps after a spike in which a neuron cannot fire.
      loss: "softmax", "squared" or a callable ``(z, y) -> ()``.
      learn: names among "decay", "threshold", "adaptation_decay" and "strength" that each neuron learns. They are not
        confined to their range while they learn: give them a small learning rate of their own with `optax.partition`.
      mask: see `neurons`.

    Returns:
      The cell, with the initial weights of `lif`; parameters that learn are in ``params["forward"]["own"]``.

    Raises:
      ValueError: if a coefficient is outside its range, or a name is not known.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from plasticity_jax import cells
      >>> cell = alif(n_in=1, n=1, n_out=1, strength=1.0)
      >>> weights = {"w": jnp.array([[[0.0, 1.0, 0.0]]])}
      >>> def step(s, x):
      ...     s = cells.advance(cell, weights, s, x)
      ...     return s, cell.output(s)
      >>> _, z = jax.lax.scan(step, jnp.zeros((2, 1)), jnp.ones((100, 1)))
      >>> bool(z[:20].sum() > 2 * z[-20:].sum())  # with a constant input, spikes become rarer
      True

    Reference:
      Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
      Communications 2020.
    """
    check_membrane(decay, threshold, reset)
    in_range("adaptation_decay", adaptation_decay, 0, 1, why="the share of the adaptation kept at each step")
    in_range("strength", strength, 0, why="what a spike adds to the threshold")

    def course(p: Own, s: Array, z: Array, v: Array) -> Course:
        zero = jnp.zeros_like(z)
        u = membrane(p, s[0], z, v, reset)
        adaptation = p["adaptation_decay"] * s[1] + p["strength"] * z
        return Course(
            [*u.s, adaptation],
            [*u.by_s, p["adaptation_decay"]],
            [*u.by_z, p["strength"]],
            [*u.by_v, zero],
            {
                **{name: [*rows, zero] for name, rows in u.by_own.items()},
                "adaptation_decay": [zero, s[1]],
                "strength": [zero, z],
            },
        )

    return spiking(
        "alif",
        (n_in, n, n_out),
        ("voltage", "adaptation"),
        {
            "decay": decay,
            "threshold": threshold,
            "adaptation_decay": adaptation_decay,
            "strength": strength,
        },
        course,
        lambda s: s[0] - 1 - s[1],
        spike_function(slope) if spike is None else spike,
        reset_derivative=reset_derivative,
        refractory=refractory,
        loss=loss,
        learn=learn,
        mask=mask,
    )
