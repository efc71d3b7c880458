"""The derivatives of one step of a cell of tier one, by autodiff; see `plasticity_jax.cells.dynamics`."""

from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp

from plasticity_jax.cells.cell import Cell, start_vector
from plasticity_jax.ops.norms import safe_norm
from plasticity_jax.typing import Array, PyTree, Scalar


class CellLocal(NamedTuple):
    """A step of a cell of tier one, from which its derivatives are recomputed when they are needed.

    Attributes:
      s_tm1: (N,), state before the step.
      x: (n_in,), input.
      alive: shape (), 0 where a trial starts.
    """

    s_tm1: Array
    x: Array
    alive: Array


class CellDynamics:
    """The `plasticity_jax.cells.dynamics.Dynamics` of a cell of tier one, by autodiff."""

    def __init__(self, cell: Cell):
        """Keeps the cell, and the size of its state."""
        self.cell = cell
        self.size = start_vector(cell, jnp.float32)[0].size
        self.state_shape = self.noise_shape = (self.size,)

    def start(self, dtype: Any) -> Array:
        """See `Dynamics`."""
        return start_vector(self.cell, dtype)[0]

    def _move(self, weights: PyTree, s: Array, x: Array) -> Array:
        _, unravel = start_vector(self.cell, s.dtype)
        before = unravel(s)
        after = self.cell.step(weights["cell"], before, x)
        shapes = [jax.tree.map(jnp.shape, state) for state in (before, after)]
        if jax.tree.structure(before) != jax.tree.structure(after) or shapes[0] != shapes[1]:
            raise ValueError(
                f"{self.cell.name}: step returns a state of shapes {shapes[1]}, and init_state one of {shapes[0]}; "
                "they must be alike"
            )
        return jax.flatten_util.ravel_pytree(after)[0].astype(s.dtype)

    def step(
        self, weights: PyTree, s_tm1: Array, x: Array, alive: Array | None = None, noise: Array | None = None
    ) -> tuple[Array, CellLocal]:
        """See `Dynamics`."""
        s = self._move(weights, s_tm1, x)
        alive = jnp.ones((), s.dtype) if alive is None else alive
        return s if noise is None else s + noise, CellLocal(s_tm1, x, alive)

    def push(self, weights: PyTree, local: CellLocal, a: Array) -> Array:
        """See `Dynamics`."""
        return jax.jvp(lambda s: self._move(weights, s, local.x), (local.s_tm1,), (local.alive * a,))[1]

    def pull(self, weights: PyTree, local: CellLocal, c: Array) -> Array:
        """See `Dynamics`."""
        return local.alive * jax.vjp(lambda s: self._move(weights, s, local.x), local.s_tm1)[1](c)[0]

    def for_pulls(self, weights: PyTree) -> PyTree:
        """See `Dynamics`."""
        return weights

    def jacobian(self, weights: PyTree, local: CellLocal) -> Array:
        """See `Dynamics`."""
        return local.alive * jax.jacrev(lambda s: self._move(weights, s, local.x))(local.s_tm1)

    def weigh(self, weights: PyTree, local: CellLocal, c: Array, over: Scalar = 1.0) -> PyTree:
        """See `Dynamics`."""
        return jax.vjp(lambda w: self._move(w, local.s_tm1, local.x), weights)[1](c / over)[0]

    def weigh_norm(self, weights: PyTree, local: CellLocal, c: Array) -> Array:
        """See `Dynamics`."""
        return safe_norm(jax.flatten_util.ravel_pytree(self.weigh(weights, local, c))[0])

    def weigh_all(self, weights: PyTree, local: CellLocal, c: Array) -> PyTree:
        """See `Dynamics`."""
        move = jax.vmap(self._move, (None, 0, 0))
        return jax.vjp(lambda w: move(w, local.s_tm1, local.x), weights)[1](c)[0]

    def read(self, s: Array) -> Array:
        """See `Dynamics`."""
        return self.cell.read(start_vector(self.cell, s.dtype)[1](s))

    def unread(self, s: Array, c: Array) -> Array:
        """See `Dynamics`."""
        return jax.vjp(self.read, s)[1](c)[0]
