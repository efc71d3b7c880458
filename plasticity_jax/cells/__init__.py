"""Recurrent networks for the online rules: cells of neurons, and `Cell`, tier one, with any pure step."""

from typing import TYPE_CHECKING, Any

from plasticity_jax.cells.alif import alif
from plasticity_jax.cells.cell import Cell, init_cell
from plasticity_jax.cells.dynamics import check_cell
from plasticity_jax.cells.flax_adapters import from_flax
from plasticity_jax.cells.flax_weights import weights_from_flax, weights_to_flax
from plasticity_jax.cells.gru import gru
from plasticity_jax.cells.leaky import leaky
from plasticity_jax.cells.leaky_readout import leaky_readout
from plasticity_jax.cells.lif import lif
from plasticity_jax.cells.lstm import lstm
from plasticity_jax.cells.masks import sparse_mask, stack_mask
from plasticity_jax.cells.neurons import Derivatives, Neurons, advance, init_neurons, neurons, read_out
from plasticity_jax.cells.surrogate import spike_function
from plasticity_jax.cells.window import init_feedback
from plasticity_jax.ops.rooms import suggesting
from plasticity_jax.typing import Key, Params

__all__ = [
    "Cell",
    "Derivatives",
    "Neurons",
    "advance",
    "alif",
    "from_flax",
    "gru",
    "init_feedback",
    "init_params",
    "leaky",
    "leaky_readout",
    "lif",
    "lstm",
    "neurons",
    "read_out",
    "sparse_mask",
    "spike_function",
    "stack_mask",
    "weights_from_flax",
    "weights_to_flax",
]


def init_params(key: Key, cell: Neurons | Cell, dtype: Any = None) -> Params:
    """Initial weights of a cell of either tier.

    W as the cell draws it, W_out ~ N(0, 1/n), feedback W_fb ~ N(0, 1/n_out), the readout's bias 0.

    Args:
      key: split, one part for each matrix.
      cell: a cell of `plasticity_jax.cells`.
      dtype: of the weights; JAX's default float if None.

    Returns:
      ``{"forward": {"w": (G, n, m), "w_out": (n_out, n + 1)}, "feedback": {"w_fb": (n_out, n)}}``, with
      ``"own": {name: (n,)}`` where neurons have parameters that learn; for a `Cell` ``"cell"`` in place of ``"w"``.

    Raises:
      TypeError: if it is not a cell.

    Example:
      >>> import jax
      >>> params = init_params(jax.random.key(0), leaky(n_in=2, n=8, n_out=3))
      >>> params["forward"]["w_out"].shape
      (3, 9)
    """
    check_cell(cell)
    return init_neurons(key, cell, dtype) if isinstance(cell, Neurons) else init_cell(key, cell, dtype)


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)
