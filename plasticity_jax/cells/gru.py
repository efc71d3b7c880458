"""The gated recurrent unit, in the equations of `flax.linen.GRUCell`."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from plasticity_jax.cells.neurons import Derivatives, Neurons, Own, neurons
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array

GATES = ("reset", "update", "candidate_input", "candidate_recurrent")
RECEIVES = ((True, True, True), (True, True, True), (False, True, True), (True, False, True))
"""Flags of each gate: whether it receives the recurrent activity, the input and the bias."""


def gru(
    n_in: int,
    n: int,
    n_out: int,
    *,
    loss: Loss = "softmax",
    mask: Any = None,
    activation: str | Callable[[Array], Array] = "tanh",
    gate_activation: str | Callable[[Array], Array] = "sigmoid",
) -> Neurons:
    """Builds a network of gated recurrent units.

        r = sig(W_ir x + b_ir + W_hr h)                     reset
        z = sig(W_iz x + b_iz + W_hz h)                     update
        k = phi(W_in x + b_in + r (W_hn h + b_hn))          candidate
        h' = (1 - z) k + z h

    One variable, the activity h, and four gates: the candidate receives its input and its recurrent activity
    separately, because the reset acts only on the latter.

    Args:
      n_in: inputs.
      n: neurons.
      n_out: outputs.
      loss: "softmax", "squared" or a callable ``(z, y) -> ()``.
      mask: see `neurons`; the gates are "reset", "update", "candidate_input", "candidate_recurrent". Weights that the
        equations lack, W_hn in the third and W_in in the fourth, are absent with or without it.
      activation: phi, a key of `plasticity_jax.ops.activations.ACTIVATIONS` or an elementwise callable.
      gate_activation: sig, likewise.

    Returns:
      The cell.

    Raises:
      ValueError: if a name is not known or the mask does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = gru(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(pj.rules.online.rflo(cell), optax.sgd(0.1))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=50)
      >>> state.params["forward"]["w"].shape, bool(info.loss[-1] < 0.01 * info.loss[0])
      ((4, 8, 10), True)

    Reference:
      Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
      EMNLP 2014; Chung et al., arXiv:1412.3555.
    """
    phi, slope = activation_of(activation)
    sig, sig_slope = activation_of(gate_activation)

    def update(own: Own, s: Array, v: Array) -> Array:
        h, reset, update = s[0], sig(v[0]), sig(v[1])
        candidate = phi(v[2] + reset * v[3])
        return ((1 - update) * candidate + update * h)[None]

    def partials(own: Own, s: Array, v: Array) -> Derivatives:
        h, reset, update = s[0], sig(v[0]), sig(v[1])
        drive = v[2] + reset * v[3]
        candidate = phi(drive)
        of_input = (1 - update) * slope(drive, candidate)
        of_reset = of_input * v[3] * sig_slope(v[0], reset)
        of_update = (h - candidate) * sig_slope(v[1], update)
        gain = jnp.stack([of_reset, of_update, of_input, of_input * reset])[None]
        new = (1 - update) * candidate + update * h
        return Derivatives(new[None], update[None, None], gain, jnp.zeros((1, 0, s.shape[1]), s.dtype))

    return neurons(
        n_in=n_in,
        n=n,
        n_out=n_out,
        update=update,
        variables=("hidden",),
        gates=GATES,
        receives=RECEIVES,
        mask=mask,
        loss=loss,
        partials=partials,
        name="gru",
    )
