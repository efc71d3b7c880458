"""The leaky recurrent network of Marschall, Cho & Savin (2019); with alpha = 1 the vanilla network."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from plasticity_jax.cells.neurons import Derivatives, Neurons, Own, neurons
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.checks import in_range, of_each_neuron
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array, Scalar


def leaky(
    n_in: int,
    n: int,
    n_out: int,
    *,
    alpha: Scalar = 0.5,
    activation: str | Callable[[Array], Array] = "tanh",
    loss: Loss = "softmax",
    learn: Sequence[str] = (),
    mask: Any = None,
) -> Neurons:
    """Builds a leaky recurrent network.

        v^t = W rhat^t,   r^t = (1 - alpha) r^{t-1} + alpha phi(v^t),   rhat^t = [r^{t-1}; x^t; 1]

    One variable, the rate r, and one gate. alpha is the inverse time constant in units of 1 / step; with alpha = 1
    it is the vanilla network.

    Args:
      n_in: inputs.
      n: neurons.
      n_out: outputs.
      alpha: inverse time constant in (0, 1], a number or (n,); may be a tracer.
      activation: phi, a key of `plasticity_jax.ops.activations.ACTIVATIONS` or an elementwise callable.
      loss: "softmax", "squared" (half the sum of squares) or a callable ``(z, y) -> ()``.
      learn: ("alpha",) if each neuron's alpha learns, starting from the given value. It is not confined to its range
        while it learns: give it a small learning rate of its own with `optax.partition`.
      mask: see `neurons`.

    Returns:
      The cell; alpha is in ``params["forward"]["own"]`` if it learns.

    Raises:
      ValueError: if alpha is outside (0, 1], or a name is not known.

    Example:
      >>> import jax
      >>> from plasticity_jax.cells import init_params
      >>> cell = leaky(n_in=2, n=8, n_out=2, alpha=0.5)
      >>> init_params(jax.random.key(0), cell)["forward"]["w"].shape
      (1, 8, 11)
    """
    alpha = of_each_neuron("alpha", alpha, n)
    in_range("alpha", alpha, 0, 1, open_low=True, why="the fraction of a rate renewed at each step")
    phi, slope = activation_of(activation)
    constants, own = split_own("leaky", {"alpha": alpha}, learn)

    def update(own: Own, s: Array, v: Array) -> Array:
        a = {**constants, **own}["alpha"]
        return ((1 - a) * s[0] + a * phi(v[0]))[None]

    def partials(own: Own, s: Array, v: Array) -> Derivatives:
        a = jnp.atleast_1d(jnp.asarray({**constants, **own}["alpha"], s.dtype))  # (1,) where all neurons share it
        h = phi(v[0])
        own_gain = (h - s[0])[None, None] if own else jnp.zeros((1, 0, s.shape[1]), s.dtype)
        new = (1 - a) * s[0] + a * h
        return Derivatives(new[None], (1 - a)[None, None], (a * slope(v[0], h))[None, None], own_gain)

    return neurons(
        n_in=n_in,
        n=n,
        n_out=n_out,
        update=update,
        variables=("rate",),
        gates=("drive",),
        own=own,
        mask=mask,
        loss=loss,
        partials=partials,
        name="leaky",
    )


def split_own(name: str, values: dict[str, Any], learn: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(constants, own)``: the coefficients that stay constant, and those that learn.

    Raises:
      ValueError: if `learn` names a parameter that the cell does not have.
    """
    learn = (learn,) if isinstance(learn, str) else tuple(learn)
    unknown = [each for each in learn if each not in values]
    if unknown:
        raise ValueError(f"{name}: learn={unknown[0]!r} is not one of its parameters; they are {', '.join(values)}")
    return {k: v for k, v in values.items() if k not in learn}, {k: v for k, v in values.items() if k in learn}
