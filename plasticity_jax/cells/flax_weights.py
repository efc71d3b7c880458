"""Conversion of weights between a cell and the flax.linen module with the same equations.

    W_g = [kernel of the recurrent layer, transposed | kernel of the input layer, transposed | bias]

A zero stands where flax's equations have no weight; the cell's mask leaves it out.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.cells.cell import Cell
from plasticity_jax.cells.neurons import Neurons, by_autodiff, masked
from plasticity_jax.typing import Array, PyTree


class Layers(NamedTuple):
    """Names of the flax layers that one gate receives; None where it receives nothing.

    Attributes:
      recurrent: layer of the recurrent activity.
      input: layer of the input.
      bias: the one of the two that has the bias.
    """

    recurrent: str | None
    input: str | None
    bias: str


LAYERS = {
    "gru": (Layers("hr", "ir", "ir"), Layers("hz", "iz", "iz"), Layers(None, "in", "in"), Layers("hn", None, "hn")),
    "lstm": tuple(Layers(f"h{gate}", f"i{gate}", f"h{gate}") for gate in "ifgo"),
    "leaky": (Layers("h", "i", "i"),),
    "residual": (Layers("h", "i", "i"),),
}
"""Layers of each gate, in the order of the cell's gates, for each cell that flax has too."""


def weights_from_flax(cell: Neurons, flax_params: PyTree) -> Array:
    """The weights W of a cell, from the params of the flax module that has the same equations.

    Args:
      cell: a `gru`, `lstm` or `leaky` with alpha = 1, built by hand or by `from_flax`.
      flax_params: ``{layer: {"kernel", "bias"}}``, or the same under "params".

    Returns:
      (G, n, m), for ``params["forward"]["w"]``; 0 where the cell has no connection.

    Raises:
      TypeError: if the cell is of tier one, or the params are not a tree of layers.
      ValueError: if flax has no such cell, or a layer or a shape does not fit.

    Example:
      >>> import flax.linen as nn, jax
      >>> from plasticity_jax.cells import from_flax, init_params
      >>> module = nn.GRUCell(features=8)
      >>> carry = module.initialize_carry(jax.random.key(0), (2,))
      >>> trained = module.init(jax.random.key(1), carry, jax.numpy.ones(2))
      >>> cell = from_flax(module, n_in=2, n_out=2)
      >>> params = init_params(jax.random.key(2), cell)
      >>> params["forward"]["w"] = weights_from_flax(cell, trained)
      >>> back = weights_to_flax(cell, params["forward"]["w"])
      >>> bool((back["hn"]["kernel"] == trained["params"]["hn"]["kernel"]).all())
      True
    """
    gates = _layers_of(cell)
    if not isinstance(flax_params, Mapping):
        raise TypeError(f"flax_params is a {type(flax_params).__name__}: give a dict of flax's layers, as module.init")
    given = flax_params["params"] if set(flax_params) == {"params"} else flax_params
    _check_params(cell, gates, given)
    n, n_in = cell.n, cell.n_in
    dtype = jnp.result_type(*jax.tree.leaves(given))

    def kernel(layer: str | None, columns: int) -> Array:
        return jnp.zeros((n, columns), dtype) if layer is None else jnp.asarray(given[layer]["kernel"], dtype).T

    def gate(layers: Layers) -> Array:
        bias = jnp.asarray(given[layers.bias]["bias"], dtype)[:, None]
        return jnp.concatenate([kernel(layers.recurrent, n), kernel(layers.input, n_in), bias], axis=1)

    return masked(cell, jnp.stack([gate(layers) for layers in gates]))


def weights_to_flax(cell: Neurons, w: Array) -> PyTree:
    """The params of the flax module that has the same equations as a cell, from the cell's weights.

    Args:
      cell: a `gru`, `lstm` or `leaky` with alpha = 1, built by hand or by `from_flax`.
      w: (G, n, m), ``params["forward"]["w"]``.

    Returns:
      ``{layer: {"kernel", "bias"}}``; ``module.apply({"params": it}, carry, x)`` runs on it.

    Raises:
      TypeError: if the cell is of tier one.
      ValueError: if flax has no such cell, or the shape does not fit.

    Example:
      >>> import jax
      >>> from plasticity_jax.cells import init_params, lstm
      >>> cell = lstm(n_in=2, n=8, n_out=2)
      >>> params = weights_to_flax(cell, init_params(jax.random.key(0), cell)["forward"]["w"])
      >>> sorted(params), params["ii"]["kernel"].shape
      (['hf', 'hg', 'hi', 'ho', 'if', 'ig', 'ii', 'io'], (2, 8))
    """
    gates, n = _layers_of(cell), cell.n
    w = jnp.asarray(w)
    if w.shape != (len(gates), n, cell.m):
        raise ValueError(f"w has shape {w.shape}; {cell.name} has (gates, n, m) = {(len(gates), n, cell.m)}")
    w = masked(cell, w)
    params: dict[str, dict[str, Array]] = {}
    for of_gate, layers in zip(w, gates, strict=True):
        for layer, kernel in ((layers.recurrent, of_gate[:, :n]), (layers.input, of_gate[:, n:-1])):
            if layer is not None:
                bias = {"bias": of_gate[:, -1]} if layer == layers.bias else {}
                params[layer] = {"kernel": kernel.T, **bias}
    return params


def _layers_of(cell: Any) -> tuple[Layers, ...]:
    """The layers of each gate, if flax has a module with the cell's equations."""
    if isinstance(cell, Cell):
        raise TypeError(f'{cell.name} keeps its params as the module made them: use params["forward"]["cell"]')
    if not isinstance(cell, Neurons):
        raise TypeError(f"cell is a {type(cell).__name__}: give pj.cells.gru(...), lstm(...) or leaky(..., alpha=1)")
    layers = LAYERS.get(cell.name, ())
    if len(layers) != len(cell.gates):
        raise ValueError(f"flax has no module with the equations of {cell.name}; it has those of {', '.join(LAYERS)}")
    if cell.name == "leaky" and (cell.own or not _forgets_at_once(cell)):
        raise ValueError(
            "leaky: flax's SimpleCell has no leak: only alpha=1, which does not learn, is the same network"
        )
    return layers


def _forgets_at_once(cell: Neurons) -> bool:
    """Returns whether a neuron's state depends on the one before only through the sums; True if traced."""
    with jax.ensure_compile_time_eval():
        decay = by_autodiff(cell, {}, jnp.full((1, cell.n), 0.5), jnp.full((1, cell.n), 0.5)).decay
    return isinstance(decay, Tracer) or not np.any(decay)


def _check_params(cell: Neurons, gates: tuple[Layers, ...], given: Any) -> None:
    """Refuses params of another module, another size, or with a bias that the equations lack."""
    n, n_in = cell.n, cell.n_in
    wanted: dict[str, dict[str, tuple[int, ...]]] = {}
    for layers in gates:
        for layer, rows in ((layers.recurrent, n), (layers.input, n_in)):
            if layer is not None:
                bias = {"bias": (n,)} if layer == layers.bias else {}
                wanted[layer] = {"kernel": (rows, n), **bias}
    if not isinstance(given, Mapping) or set(given) != set(wanted):
        names = ", ".join(sorted(given)) if isinstance(given, Mapping) else type(given).__name__
        raise ValueError(f"{cell.name} has the layers {', '.join(sorted(wanted))} in flax; given were {names}")
    for layer, leaves in wanted.items():
        if set(given[layer]) != set(leaves):
            names = ", ".join(sorted(given[layer]))
            raise ValueError(f"{cell.name}: layer {layer!r} has {', '.join(leaves)} in flax; given were {names}")
        for leaf, shape in leaves.items():
            if np.shape(given[layer][leaf]) != shape:
                raise ValueError(
                    f"{cell.name} with n_in={n_in} and n={n}: {layer}/{leaf} must be {shape}, "
                    f"not {np.shape(given[layer][leaf])}"
                )
