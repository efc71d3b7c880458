"""Long short-term memory, in the equations of `flax.linen.LSTMCell` and `OptimizedLSTMCell`.

h is a variable of its own, so that reading it costs nothing. A neuron's next state depends on its own c but not
directly on its own h: D_cc = f, D_hc = o phi'(c') f, and all other entries of D are 0.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from plasticity_jax.cells.neurons import Derivatives, Neurons, Own, neurons
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array

GATES = ("input", "forget", "candidate", "output")


def lstm(
    n_in: int,
    n: int,
    n_out: int,
    *,
    loss: Loss = "softmax",
    mask: Any = None,
    activation: str | Callable[[Array], Array] = "tanh",
    gate_activation: str | Callable[[Array], Array] = "sigmoid",
) -> Neurons:
    """Builds a network of long short-term memory units.

        i = sig(W_i [h; x; 1]),  f = sig(W_f [h; x; 1]),  k = phi(W_k [h; x; 1]),  o = sig(W_o [h; x; 1])
        c' = f c + i k
        h' = o phi(c')

    Two variables, the memory c and the activity h that neurons and readout receive, and the gates input i, forget f,
    candidate k and output o.

    All biases start at 0, as in flax; ``w.at[1, :, -1].set(1.0)`` gives the forget gates another bias.

    Args:
      n_in: inputs.
      n: neurons.
      n_out: outputs.
      loss: "softmax", "squared" or a callable ``(z, y) -> ()``.
      mask: see `neurons`; the gates are "input", "forget", "candidate", "output".
      activation: phi, of candidate and memory, a key of `plasticity_jax.ops.activations.ACTIVATIONS` or an elementwise
        callable.
      gate_activation: sig, likewise.

    Returns:
      The cell.

    Raises:
      ValueError: if a name is not known or the mask does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = lstm(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(pj.rules.online.rflo(cell), optax.sgd(0.1))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=50)
      >>> state.params["forward"]["w"].shape, bool(info.loss[-1] < 0.01 * info.loss[0])
      ((4, 8, 10), True)

    Reference:
      Hochreiter & Schmidhuber, "Long short-term memory", 1997; with a forget gate, Gers, Schmidhuber & Cummins, 2000.
    """
    phi, slope = activation_of(activation)
    sig, sig_slope = activation_of(gate_activation)

    def update(own: Own, s: Array, v: Array) -> Array:
        memory = sig(v[1]) * s[0] + sig(v[0]) * phi(v[2])
        return jnp.stack([memory, sig(v[3]) * phi(memory)])

    def partials(own: Own, s: Array, v: Array) -> Derivatives:
        i, f, candidate, o = sig(v[0]), sig(v[1]), phi(v[2]), sig(v[3])
        memory = f * s[0] + i * candidate
        squashed, zero = phi(memory), jnp.zeros_like(memory)
        hidden_by_memory = o * slope(memory, squashed)
        onto_memory = jnp.stack(
            [candidate * sig_slope(v[0], i), s[0] * sig_slope(v[1], f), i * slope(v[2], candidate), zero]
        )
        onto_hidden = (hidden_by_memory[None] * onto_memory).at[3].set(squashed * sig_slope(v[3], o))
        decay = jnp.stack([jnp.stack([f, zero]), jnp.stack([hidden_by_memory * f, zero])])
        own_gain = jnp.zeros((2, 0, s.shape[1]), s.dtype)
        return Derivatives(jnp.stack([memory, o * squashed]), decay, jnp.stack([onto_memory, onto_hidden]), own_gain)

    return neurons(
        n_in=n_in,
        n=n,
        n_out=n_out,
        update=update,
        output=_hidden,
        variables=("memory", "hidden"),
        gates=GATES,
        mask=mask,
        loss=loss,
        partials=partials,
        name="lstm",
    )


def _hidden(s: Array) -> Array:
    return s[1]
