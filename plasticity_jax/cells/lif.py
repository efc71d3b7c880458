"""Leaky integrate-and-fire neurons."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.cells.leaky import split_own
from plasticity_jax.cells.neurons import Derivatives, Neurons, Own, neurons
from plasticity_jax.cells.surrogate import Slope, spike_function
from plasticity_jax.ops.checks import in_range, of_each_neuron, one_of
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array, Key, Scalar

Reset = Literal["subtract", "zero"]


def lif(
    n_in: int,
    n: int,
    n_out: int,
    *,
    decay: Scalar = 0.9,
    threshold: Scalar = 1.0,
    slope: Slope = "triangle",
    spike: Callable[[Array], Array] | None = None,
    reset: Reset = "subtract",
    reset_derivative: bool = True,
    refractory: int = 0,
    loss: Loss = "softmax",
    learn: Sequence[str] = (),
    mask: Any = None,
) -> Neurons:
    """Builds a network of leaky integrate-and-fire neurons.

        u^t = decay u^{t-1} + v^t / threshold - z^{t-1},   z^t = H(u^t - 1)

    One variable, the voltage u in units of the threshold, and one gate; z is what other neurons and the readout
    receive. The derivative of H is a surrogate psi (`plasticity_jax.cells.spike_function`). In the notation of Bellec
    et al. (2020), u = v / v_th and decay = alpha = exp(-dt / tau_m): a threshold divides what a neuron receives.

    reset = "zero" sets the voltage to 0 instead of subtracting: u^t = decay (1 - z^{t-1}) u^{t-1} + v^t / threshold.
    With `refractory` r, a neuron that has fired stays silent for r steps, z = psi = 0, while it continues to integrate;
    one more variable counts them down.

    Initial weights are N(0, 1/n) between neurons and N(0, 1/n_in) from inputs, both times threshold
    sqrt(1 - decay^2); biases are 0. White noise of variance one as input then gives the voltage, without
    resets, a standard deviation of one threshold.

    Args:
      n_in: inputs.
      n: neurons.
      n_out: outputs.
      decay: share of the voltage kept at each step, in [0, 1], a number or (n,); may be a tracer.
      threshold: positive, a number or (n,); may be a tracer.
      slope: psi, the surrogate for the derivative of a spike: "triangle", "sigmoid", "fast_sigmoid", "arctan" or an
        elementwise callable of u - 1.
      spike: an elementwise callable u - 1 -> z with its own derivative, in place of the step and its slope; a smooth
        one makes the network differentiable. It counts as a spike, for the refractory time, where z > 1/2.
      reset: "subtract" takes one threshold from the voltage after a spike, "zero" sets it back.
      reset_derivative: whether D = du'/du, which carries traces and credit, includes the reset. Derivatives by
        `jax.grad` through a rule's own steps (meta-gradients) include it in either case.
      refractory: steps after a spike in which a neuron cannot fire.
      loss: "softmax", "squared" or a callable ``(z, y) -> ()``.
      learn: names among "decay" and "threshold" that each neuron learns, starting from the given values. They are not
        confined to their range while they learn: give them a small learning rate of their own with `optax.partition`.
      mask: see `neurons`.

    Returns:
      The cell; parameters that learn are in ``params["forward"]["own"]``.

    Raises:
      ValueError: if a coefficient is outside its range, or a name is not known.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from plasticity_jax import cells
      >>> cell = lif(n_in=2, n=100, n_out=2)
      >>> weights = cells.init_params(jax.random.key(0), cell)["forward"]
      >>> def step(s, x):
      ...     s = cells.advance(cell, weights, s, x)
      ...     return s, cell.output(s)
      >>> _, z = jax.lax.scan(step, jnp.zeros((1, 100)), jax.random.normal(jax.random.key(1), (200, 2)))
      >>> bool(0.02 < z.mean() < 0.3)  # spikes a step
      True

    Reference:
      Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
      Communications 2020.
    """
    check_membrane(decay, threshold, reset)

    def course(p: Own, s: Array, z: Array, v: Array) -> Course:
        return membrane(p, s[0], z, v, reset)

    return spiking(
        "lif",
        (n_in, n, n_out),
        ("voltage",),
        {"decay": decay, "threshold": threshold},
        course,
        lambda s: s[0] - 1,
        spike_function(slope) if spike is None else spike,
        reset_derivative=reset_derivative,
        refractory=refractory,
        loss=loss,
        learn=learn,
        mask=mask,
    )


class Course(NamedTuple):
    """A step of spiking neurons as a function of s, z and v, with the derivatives of each variable.

    Attributes:
      s: variables after the step, (n,) each.
      by_s: derivative of each by its own value before the step, at fixed z.
      by_z: derivative of each by the neuron's own last spike.
      by_v: derivative of each by the drive.
      by_own: derivatives of each by the parameters, by name.
    """

    s: Sequence[Array]
    by_s: Sequence[Array]
    by_z: Sequence[Array]
    by_v: Sequence[Array]
    by_own: Mapping[str, Sequence[Array]]


def check_membrane(decay: Scalar, threshold: Scalar, reset: str) -> None:
    """Refuses coefficients of a membrane outside their ranges.

    Raises:
      ValueError: naming the coefficient.
    """
    in_range("decay", decay, 0, 1, why="the share of the voltage kept at each step")
    in_range("threshold", threshold, 0, open_low=True, why="the voltage at which a neuron fires")
    one_of("reset", reset, ("subtract", "zero"))


def membrane(p: Own, u: Array, z: Array, v: Array, reset: str) -> Course:
    """The step of the voltage u (n,) of neurons that fired z (n,) and receive v (1, n)."""
    gain = 1 / p["threshold"]
    if reset == "subtract":
        by_decay, by_u, by_z = u, p["decay"], -jnp.ones_like(u)
        undriven = p["decay"] * u - z
    else:
        by_decay, by_u, by_z = (1 - z) * u, p["decay"] * (1 - z), -p["decay"] * u
        undriven = p["decay"] * by_decay
    by_own = {"decay": [by_decay], "threshold": [-gain * gain * v[0]]}
    return Course([undriven + gain * v[0]], [by_u], [by_z], [gain], by_own)


def spiking(
    name: str,
    sizes: tuple[int, int, int],
    variables: tuple[str, ...],
    values: dict[str, Any],
    course: Callable[[Own, Array, Array, Array], Course],
    excess: Callable[[Array], Array],
    spike: Callable[[Array], Array],
    *,
    reset_derivative: bool,
    refractory: int,
    loss: Loss,
    learn: Sequence[str],
    mask: Any,
) -> Neurons:
    """Builds a network of spiking neurons of one gate.

    Args:
      name: its name in messages.
      sizes: ``(n_in, n, n_out)``.
      variables: names of the variables, the voltage first.
      values: coefficients by name, "decay" and "threshold" among them.
      course: ``(coefficients, s, z, v) -> Course``.
      excess: ``s -> (n,)``, the voltage above the threshold, in units of the threshold.
      spike: ``excess -> z``.
      reset_derivative: see `lif`.
      refractory: see `lif`.
      loss: see `neurons`.
      learn: names among `values` that learn.
      mask: see `neurons`.

    Returns:
      The cell.

    Raises:
      ValueError: if `refractory` is not a whole number of at least 0, or a name in `learn` is not known.
    """
    if int(refractory) != refractory or refractory < 0:
        raise ValueError(f"{name}: refractory={refractory} must be a whole number of steps, at least 0")
    values = {key: of_each_neuron(key, value, sizes[1]) for key, value in values.items()}
    constants, own = split_own(name, values, learn)
    names = sorted(own)
    if refractory:
        variables = (*variables, "silence")

    def output(s: Array) -> Array:
        z = spike(excess(s))
        return jnp.where(s[-1] > 0, jnp.zeros_like(z), z) if refractory else z

    def after(own: Own, s: Array, z: Array, v: Array) -> tuple[Array, Course]:
        """The state after a step, and the step's course."""
        fixed = {key: jnp.asarray(value, s.dtype) for key, value in constants.items()}
        step = course({**fixed, **own}, s, z, v)
        rows = list(step.s)
        if refractory:
            silence = jnp.floor(jnp.maximum(s[-1] - 1, 0))  # a whole number already: floor has no derivative
            rows.append(jnp.where(z > 0.5, jnp.full_like(silence, refractory), silence))
        return jnp.stack(rows), step

    def update(own: Own, s: Array, v: Array) -> Array:
        return after(own, s, output(s), v)[0]

    def partials(own: Own, s: Array, v: Array) -> Derivatives:
        z, pull = jax.vjp(output, s)
        slope = pull(jnp.ones_like(z))[0]
        s_next, step = after(own, s, z, v)

        def stacked(rows: Sequence[Array]) -> Array:
            silence = [jnp.zeros_like(s[0])] * (len(variables) - len(rows))
            return jnp.stack([*(jnp.broadcast_to(row, s[0].shape) for row in rows), *silence])

        by_z = stacked(step.by_z if reset_derivative else [jnp.zeros_like(z), *step.by_z[1:]])
        by_s = stacked(step.by_s)[:, None] * jnp.eye(len(s), dtype=s.dtype)[..., None]
        own_gain = [stacked(step.by_own[key]) for key in names]
        return Derivatives(
            s_next,
            by_s + by_z[:, None] * slope[None],
            stacked(step.by_v)[:, None],
            jnp.stack(own_gain, 1) if names else jnp.zeros((len(s), 0, s.shape[1]), s.dtype),
        )

    n_in, n, n_out = sizes
    return neurons(
        n_in=n_in,
        n=n,
        n_out=n_out,
        update=update,
        output=output,
        variables=variables,
        gates=("drive",),
        own=own,
        mask=mask,
        loss=loss,
        init_w=_weights_of_scale(values["decay"], values["threshold"]),
        partials=partials,
        name=name,
    )


def _weights_of_scale(decay: Scalar, threshold: Scalar) -> Callable[[Key, Neurons, Any], Array]:
    """Initial weights by which white noise of variance one gives the voltage a deviation of one threshold."""

    def init_w(key: Key, cell: Neurons, dtype: Any) -> Array:
        key_rec, key_in = jax.random.split(key)
        scale = jnp.asarray(threshold * (1 - jnp.square(decay)) ** 0.5, dtype)
        scale = jnp.broadcast_to(scale, (cell.n,))[:, None]
        w_rec = jax.random.normal(key_rec, (cell.n, cell.n), dtype) / cell.n**0.5
        w_in = jax.random.normal(key_in, (cell.n, cell.n_in), dtype) / max(cell.n_in, 1) ** 0.5
        return jnp.concatenate([scale * w_rec, scale * w_in, jnp.zeros((cell.n, 1), dtype)], axis=1)[None]

    return init_w
