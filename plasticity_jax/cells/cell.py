"""Cells of tier one: any pure step of any state, with any params.

Its derivatives come from autodiff. Rules that need the structure of neurons refuse such a cell in one line; those that
do not (rtrl, bptt, future_facing_bptt, uoro, dni, snap, fixed_recurrent) take it. Inside a rule the state is one
vector, all leaves end to end.

Weights are ``{"forward": {"cell": params, "w_out": (n_out, k + 1)}, "feedback": {"w_fb": (n_out, k)}}`` for a read-out
of k numbers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from plasticity_jax.ops.checks import default_float
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array, Key, PyTree


class Cell(NamedTuple):
    """Any recurrent network, one step of one stream at a time.

        s^t = step(params, s^{t-1}, x^t),   z^t = W_out [read(s^t); 1]

    Attributes:
      init_params: ``key -> params``.
      init_state: ``() -> state``, of one stream at rest; floating leaves.
      step: ``(params, state, x) -> state`` for x (n_in,).
      read: ``state -> (k,)``, what the readout receives.
      n_in: inputs.
      n_out: outputs.
      loss: "softmax", "squared" or a callable ``(z, y) -> ()``.
      name: its name in messages.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> cell = Cell(  # two layers; the second receives the first within the same step
      ...     init_params=lambda key: 0.5 * jax.random.normal(key, (2, 3, 3)),
      ...     init_state=lambda: (jnp.zeros(3), jnp.zeros(3)),
      ...     step=lambda w, s, x: (h := jnp.tanh(w[0] @ s[0] + x), jnp.tanh(w[1] @ h + s[1])),
      ...     read=lambda s: s[1],
      ...     n_in=3,
      ...     n_out=2,
      ... )
      >>> params = pj.cells.init_params(jax.random.key(0), cell)
      >>> params["forward"]["cell"].shape, params["forward"]["w_out"].shape
      ((2, 3, 3), (2, 4))
    """

    init_params: Callable[[Key], PyTree]
    init_state: Callable[[], PyTree]
    step: Callable[[PyTree, PyTree, Array], PyTree]
    read: Callable[[PyTree], Array]
    n_in: int
    n_out: int
    loss: Loss = "softmax"
    name: str = "cell"


def read_size(cell: Cell) -> int:
    """Number of values that the readout reads, k."""
    shape = jax.eval_shape(lambda: cell.read(cell.init_state())).shape
    if len(shape) != 1:
        raise ValueError(f"{cell.name}: read returns shape {shape}; it must return a vector (k,)")
    return shape[0]


def init_cell(key: Key, cell: Cell, dtype: Any = None) -> PyTree:
    """Weights of a cell of tier one; see `plasticity_jax.cells.init_params`."""
    dtype = default_float() if dtype is None else dtype
    key_cell, key_out, key_fb = jax.random.split(key, 3)
    k, n_out = read_size(cell), cell.n_out
    theta = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), cell.init_params(key_cell))
    w_out = jax.random.normal(key_out, (n_out, k), dtype) / k**0.5
    return {
        "forward": {"cell": theta, "w_out": jnp.concatenate([w_out, jnp.zeros((n_out, 1), dtype)], axis=1)},
        "feedback": {"w_fb": jax.random.normal(key_fb, (n_out, k), dtype) / n_out**0.5},
    }


def start_vector(cell: Cell, dtype: Any) -> tuple[Array, Callable[[Array], PyTree]]:
    """The state at rest as one vector, and the function that turns a vector back into a state."""
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), cell.init_state())
    return ravel_pytree(state)
