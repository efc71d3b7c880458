"""Recurrent modules of flax.linen as cells. flax is imported when a function here is called."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.cells.cell import Cell
from plasticity_jax.cells.flax_weights import weights_from_flax
from plasticity_jax.cells.gru import gru
from plasticity_jax.cells.leaky import leaky
from plasticity_jax.cells.lstm import lstm
from plasticity_jax.cells.neurons import Neurons, neurons
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.losses import Loss
from plasticity_jax.typing import Array, Key, PyTree


def from_flax(module: Any, n_in: int, n_out: int, *, loss: Loss = "softmax") -> Neurons | Cell:
    """Makes a cell from a recurrent module of flax.linen.

    ``nn.GRUCell``, ``nn.LSTMCell``, ``nn.OptimizedLSTMCell`` and ``nn.SimpleCell`` become cells of neurons, for every
    rule. Any other module with ``initialize_carry(key, (n_in,))`` and ``__call__(carry, x) -> (carry, y)`` becomes a
    `Cell` with the state (carry, y), for the rules that take any step; a random carry is drawn once, from key 0.
    Initial weights come from the module's own initialisers.

    Args:
      module: a ``flax.linen.Module``, built and without weights.
      n_in: inputs.
      n_out: outputs of the readout, which receives what the module returns.
      loss: "softmax", "squared" or a callable ``(z, y) -> ()``.

    Returns:
      A `Neurons`, for which `weights_from_flax` converts the module's weights, or a `Cell`, with the module's params as
      ``params["forward"]["cell"]``.

    Raises:
      TypeError: if it is not a recurrent module.
      ValueError: if it has an option or a collection that a cell lacks, or its activity is not a vector.

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
        name = f"{name} of flax.nnx" if type(module).__module__.startswith("flax.nnx") else name
        raise TypeError(
            f"module is a {name}: give a recurrent module of flax.linen, with initialize_carry and "
            "__call__(carry, x) -> (carry, y), as nn.GRUCell(features=32)"
        )
    known = type(module) in (nn.GRUCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.SimpleCell)
    return _of_neurons(module, n_in, n_out, loss) if known else _of_any(module, n_in, n_out, loss)


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
        real = jnp.promote_types(dtype, jnp.float32)  # QR needs float32 at least
        carry = jax.tree.map(lambda leaf: leaf.astype(real), module.initialize_carry(key, (n_in,)))
        flax_params = module.clone(param_dtype=real).init(key, carry, jnp.zeros((n_in,), real))
        return weights_from_flax(cell, flax_params).astype(dtype)

    return cell._replace(init_w=init_w, start=_start(module, n_in))


def _known(function: Callable[..., Any]) -> Any:
    """The name of a nonlinearity with a written-out derivative, or the function itself."""
    written_out = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}
    return next((name for name, nonlinearity in written_out.items() if function is nonlinearity), function)


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
        raise ValueError(f"{name}: its inputs have {axes} axes; a cell receives a vector (n_in,)")

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
        raise ValueError(f"{name}: y has shape {getattr(y, 'shape', type(y).__name__)}; the readout receives a vector")
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
