"""Recurrent modules of flax.linen as cells, and their weights carried over and back.

    W_g = [kernel of the recurrent layer, transposed | kernel of the input layer, transposed | bias]

A zero stands where flax's equations have no weight; the cell's mask leaves it out. flax is imported when a function
here is called.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.cells.cell import Cell
from plasticity_jax.cells.gru import gru
from plasticity_jax.cells.leaky import leaky
from plasticity_jax.cells.lstm import lstm
from plasticity_jax.cells.neurons import Neurons, by_autodiff, masked, neurons
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array, Key, PyTree


class Layers(NamedTuple):
    """flax's names for what one gate hears; None where it hears nothing.

    Attributes:
      recurrent: layer of the recurrent activity.
      input: layer of the input.
      bias: which of the two has the bias.
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
"""For each cell that flax has too, the layers of each gate, in the order of the cell's gates."""


def from_flax(module: Any, n_in: int, n_out: int, *, loss: Loss = "softmax") -> Neurons | Cell:
    """Makes a cell of a recurrent module of flax.linen.

    ``nn.GRUCell``, ``nn.LSTMCell``, ``nn.OptimizedLSTMCell`` and ``nn.SimpleCell`` become cells of neurons, for every
    rule. Any other module with ``initialize_carry(key, (n_in,))`` and ``__call__(carry, x) -> (carry, y)`` becomes a
    `Cell` with the state (carry, y), for the rules that take any step; a carry that is drawn is drawn once, from key 0.
    Initial weights come from the module's own initialisers.

    Args:
      module: a ``flax.linen.Module``, built and without weights.
      n_in: inputs.
      n_out: outputs of the readout, which hears what the module returns.
      loss: "softmax", "squared" or a callable ``(z, y) -> ()``.

    Returns:
      A `Neurons`, whose weights `weights_from_flax` takes from the module's, or a `Cell`, whose
      ``params["forward"]["cell"]`` are the module's params as they stand.

    Raises:
      TypeError: if it is not such a module.
      ValueError: if it has an option or a collection that a cell has not, or its activity is not a vector.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, optax
      >>> from plasticity_jax import Example, cells, learner
      >>> from plasticity_jax.rules import online
      >>> cell = from_flax(nn.MGUCell(features=8), n_in=1, n_out=1, loss="squared")
      >>> learn = learner(online.rtrl(cell), optax.sgd(0.1))
      >>> batch = Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=50)
      >>> bool(info.loss[-1] < 0.01 * info.loss[0])
      True
    """
    import flax.linen as nn

    name = getattr(module, "__name__", type(module).__name__)
    if isinstance(module, type):
        raise TypeError(f"module={name} is a class: build it first, as in {name}(features=32)")
    if not isinstance(module, nn.Module) or not hasattr(module, "initialize_carry"):
        raise TypeError(
            f"module is a {name}: give a recurrent module of flax.linen, with initialize_carry and "
            "__call__(carry, x) -> (carry, y), as nn.GRUCell(features=32)"
        )
    known = type(module) in (nn.GRUCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.SimpleCell)
    return _of_neurons(module, n_in, n_out, loss) if known else _of_any(module, n_in, n_out, loss)


def weights_from_flax(cell: Neurons, flax_params: PyTree) -> Array:
    """The weights W of a cell from the params of the flax module that has the same equations.

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
    """The params of the flax module that has a cell's equations, from the cell's weights.

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


def _of_neurons(module: Any, n_in: int, n_out: int, loss: Loss) -> Neurons:
    import flax.linen as nn

    name, n = type(module).__name__, module.features
    if module.dtype is not None:
        raise ValueError(
            f"{name}: dtype={jnp.dtype(module.dtype).name} computes in another precision than that of the weights; "
            "leave it out, and give init_params the dtype"
        )
    phi = _known(module.activation_fn)
    if type(module) is nn.SimpleCell:
        cell = _residual(n_in, n, n_out, phi, loss) if module.residual else None
        cell = cell or leaky(n_in, n, n_out, alpha=1.0, activation=phi, loss=loss)
    else:
        make = gru if type(module) is nn.GRUCell else lstm
        cell = make(n_in, n, n_out, loss=loss, activation=phi, gate_activation=_known(module.gate_fn))

    def init_w(key: Key, cell: Neurons, dtype: Any) -> Array:
        real = jnp.promote_types(dtype, jnp.float32)  # there is no orthogonal matrix below it
        carry = jax.tree.map(lambda leaf: leaf.astype(real), module.initialize_carry(key, (n_in,)))
        made = module.clone(param_dtype=real).init(key, carry, jnp.zeros((n_in,), real))
        return weights_from_flax(cell, made).astype(dtype)

    return cell._replace(init_w=init_w, start=_start(module, n_in))


def _known(function: Callable[..., Any]) -> Any:
    """The name of a nonlinearity of which the derivative is written out, or the function itself."""
    written_out = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}
    return next((name for name, known in written_out.items() if function is known), function)


def _residual(n_in: int, n: int, n_out: int, activation: Any, loss: Loss) -> Neurons:
    """The network h' = phi(W rhat + h)."""
    phi = activation_of(activation).phi
    return neurons(
        n_in=n_in,
        n=n,
        n_out=n_out,
        update=lambda own, s, v: phi(v + s),
        variables=("hidden",),
        loss=loss,
        name="residual",
    )


def _start(module: Any, n_in: int) -> tuple[float, ...]:
    """The values that `carry_init` gives each of a neuron's variables."""
    with jax.ensure_compile_time_eval():
        rows = jax.tree.map(np.asarray, jax.tree.leaves(module.initialize_carry(jax.random.key(0), (n_in,))))
    if any((row != row[0]).any() for row in rows):
        raise ValueError(
            f"{type(module).__name__}: carry_init starts neurons from different values; a cell starts all of them from "
            "one, so give a constant, as nn.initializers.constant(0.5)"
        )
    return tuple(float(row[0]) for row in rows)


def _of_any(module: Any, n_in: int, n_out: int, loss: Loss) -> Cell:
    name = type(module).__name__
    axes = getattr(module, "num_feature_axes", 1)
    if axes != 1:
        raise ValueError(f"{name}: its inputs have {axes} axes; a cell hears a vector (n_in,)")

    def carry() -> PyTree:
        return module.initialize_carry(jax.random.key(0), (n_in,))

    def variables(key: Key) -> PyTree:
        return module.init(key, carry(), jnp.zeros((n_in,)))

    def step(params: PyTree, state: PyTree, x: Array) -> PyTree:
        return module.apply({"params": params}, state[0], x)

    shapes = jax.eval_shape(lambda: (carry(), variables(jax.random.key(0))))
    others = sorted(set(shapes[1]) - {"params"})
    if others or "params" not in shapes[1]:
        raise ValueError(f"{name} has the collections {', '.join(others) or 'none'}; a cell has params, and no others")
    for leaf in jax.tree.leaves(shapes[0]):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"{name}: its carry has a leaf of dtype {leaf.dtype}; a cell's state is of real numbers")
    after = jax.eval_shape(step, shapes[1]["params"], (shapes[0], None), jax.ShapeDtypeStruct((n_in,), jnp.float32))
    if not isinstance(after, tuple) or len(after) != 2:
        raise ValueError(f"{name}: __call__(carry, x) returns a {type(after).__name__}; it must return (carry, y)")
    y = after[1]
    if len(getattr(y, "shape", ())) != 1:
        raise ValueError(f"{name}: y has shape {getattr(y, 'shape', type(y).__name__)}; the readout hears a vector")
    if _forms(after[0]) != _forms(shapes[0]):
        raise ValueError(
            f"{name}: the carry after a step, {_forms(after[0])}, is not as before it, {_forms(shapes[0])}"
        )

    return Cell(
        init_params=lambda key: variables(key)["params"],
        init_state=lambda: (carry(), jnp.zeros(y.shape, y.dtype)),
        step=step,
        read=lambda state: state[1],
        n_in=n_in,
        n_out=n_out,
        loss=loss,
        name=name,
    )


def _forms(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.shape, tree)


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
    """Returns whether a neuron's state depends on the one before only through the sums; True if that is traced."""
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
        found = ", ".join(sorted(given)) if isinstance(given, Mapping) else type(given).__name__
        raise ValueError(f"{cell.name} has the layers {', '.join(sorted(wanted))} in flax; given were {found}")
    for layer, leaves in wanted.items():
        if set(given[layer]) != set(leaves):
            found = ", ".join(sorted(given[layer]))
            raise ValueError(f"{cell.name}: layer {layer!r} has {', '.join(leaves)} in flax; given were {found}")
        for leaf, shape in leaves.items():
            if np.shape(given[layer][leaf]) != shape:
                raise ValueError(
                    f"{cell.name} with n_in={n_in} and n={n}: {layer}/{leaf} must be {shape}, "
                    f"not {np.shape(given[layer][leaf])}"
                )
