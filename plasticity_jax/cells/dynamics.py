r"""The derivatives of one step of a cell, in the form that rules use, for cells of either tier.

A rule of the online wing does not depend on a cell's internals: it carries the state s and uses J = ds^t / ds^{t-1}
and the immediate influence of the weights, as products with vectors wherever a product is enough:

    push   J a             a small change of the state, carried forward by one step
    pull   c J             credit for the state, carried back by one step
    weigh  c ds^t / dW     the gradient of the weights by this step, given credit for the state; a tree like the weights

The arrays from which a step's derivatives are computed, its `local`, are a tree, so that a rule can keep it for later.
Where a trial starts, J is zero, so that a rule carries nothing over from the trial before.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.flatten_util
import jax.numpy as jnp

from plasticity_jax.cells.cell import Cell, read_size
from plasticity_jax.cells.cell_dynamics import CellDynamics
from plasticity_jax.cells.neurons import Neurons, derivatives, gate_sums, slope_of, start_of
from plasticity_jax.ops.losses import check_loss
from plasticity_jax.ops.norms import safe_norm
from plasticity_jax.typing import Array, PyTree, Scalar

AnyCell: TypeAlias = Neurons | Cell


class Dynamics(Protocol):
    """One step of a cell and its derivatives; `weights` is ``params["forward"]`` without the readout."""

    state_shape: tuple[int, ...]
    noise_shape: tuple[int, ...]

    def start(self, dtype: Any) -> Array:
        """The state that a trial starts from."""
        ...

    def step(
        self, weights: PyTree, s_tm1: Array, x: Array, alive: Array | None = None, noise: Array | None = None
    ) -> tuple[Array, Any]:
        """``(s, local)`` after a step; `alive` is 0 where a trial starts, which cuts J."""
        ...

    def push(self, weights: PyTree, local: Any, a: Array) -> Array:
        """J a, of the state's shape."""
        ...

    def pull(self, weights: PyTree, local: Any, c: Array) -> Array:
        """c J, of the state's shape."""
        ...

    def for_pulls(self, weights: PyTree) -> PyTree:
        """The weights in the form that `pull` reads, made once where one W carries many vectors back."""
        ...

    def jacobian(self, weights: PyTree, local: Any) -> Array:
        """J, (N, N) for a state of N numbers."""
        ...

    def weigh(self, weights: PyTree, local: Any, c: Array, over: Scalar = 1.0) -> PyTree:
        """c ds^t / dW / over, a tree like the weights."""
        ...

    def weigh_norm(self, weights: PyTree, local: Any, c: Array) -> Array:
        """The norm of what `weigh` returns."""
        ...

    def weigh_all(self, weights: PyTree, local: Any, c: Array) -> PyTree:
        """The sum of `weigh` over a leading axis of steps."""
        ...

    def read(self, s: Array) -> Array:
        """The k numbers that the readout receives."""
        ...

    def unread(self, s: Array, c: Array) -> Array:
        """Credit (k,) for what the readout receives, as credit for the state."""
        ...


class NeuronsLocal(NamedTuple):
    """Quantities of one step that are local to a synapse and its neuron.

    Attributes:
      rhat: (m,), presynaptic activity [output(s^{t-1}); x^t; 1].
      decay: (S, S, n), D_ab = ds'_a / ds_b; (S, S, 1) where all neurons share it.
      gain: (S, G, n), b_ag = ds'_a / dv_g: the immediate influence of W_gij on s_ai is gain_agi rhat_j.
      own_gain: (S, P, n), the immediate influence of the neurons' own parameters; () if they have none that learn.
      slope: (S, n), o_a = d output / ds_a before the step; (S, 1) where the output is the first variable.
    """

    rhat: Array
    decay: Array
    gain: Array
    own_gain: Any
    slope: Array


class NeuronsDynamics:
    """`Dynamics` of a cell of neurons, by the structure of its Jacobian: J = D + sum_g b_g W_g o."""

    def __init__(self, cell: Neurons):
        """Keeps the cell, and the shapes that rules read."""
        self.cell = cell
        self.names = sorted(cell.own)
        self.state_shape = (len(cell.variables), cell.n)
        self.noise_shape = (len(cell.gates), cell.n)

    def start(self, dtype: Any) -> Array:
        """See `Dynamics`."""
        return start_of(self.cell, dtype)

    def step(
        self, weights: PyTree, s_tm1: Array, x: Array, alive: Array | None = None, noise: Array | None = None
    ) -> tuple[Array, NeuronsLocal]:
        """See `Dynamics`."""
        rhat, v = gate_sums(self.cell, weights["w"], s_tm1, x, noise)
        s, decay, gain, own_gain = derivatives(self.cell, weights.get("own", {}), s_tm1, v)
        slope = slope_of(self.cell.output, s_tm1)
        if alive is not None:
            decay, slope = alive * decay, alive * slope
        return s, NeuronsLocal(rhat, decay, gain, own_gain if self.names else (), slope)

    def push(self, weights: PyTree, local: NeuronsLocal, a: Array) -> Array:
        """See `Dynamics`."""
        sums, n = self.noise_shape
        w = self._compact(weights["w"])
        u = total(local.slope[b] * a[b] for b in range(len(a)))
        v = (w @ jnp.pad(u, (0, w.shape[1] - n))).reshape(sums, n)
        carried = total(local.decay[:, b] * a[b][None] for b in range(len(a)))
        return carried + total(local.gain[:, g] * v[g][None] for g in range(sums))

    def pull(self, weights: PyTree, local: NeuronsLocal, c: Array) -> Array:
        """See `Dynamics`."""
        back = self.sums_credit(local, c).reshape(-1) @ self._compact(weights["w"])
        carried = total(local.decay[a] * c[a][None] for a in range(len(c)))
        return carried + local.slope * back[None, : self.cell.n]

    def for_pulls(self, weights: PyTree) -> PyTree:
        """See `Dynamics`."""
        return {"w": weights["w"][:, :, : self.cell.n]}

    def sums_credit(self, local: NeuronsLocal, c: Array) -> Array:
        """Credit for the gates' sums, (..., G, n), of credit (..., S, n) for the state."""
        return total(local.gain[..., a, :, :] * c[..., a, None, :] for a in range(self.state_shape[0]))

    def jacobian(self, weights: PyTree, local: NeuronsLocal) -> Array:
        """See `Dynamics`."""
        rows, n = self.state_shape
        w_rec = weights["w"][:, :, :n]
        coupled = jnp.sum(local.gain[..., None] * w_rec[None], 1)  # b W at (a, i, k)
        across = coupled[:, :, None, :] * local.slope[None, None]  # (a, i, b, k)
        within = local.decay[:, None] * jnp.eye(n, dtype=w_rec.dtype)[None, :, None, :]
        return (within + across).reshape(rows * n, rows * n)

    def weigh(self, weights: PyTree, local: NeuronsLocal, c: Array, over: Scalar = 1.0) -> PyTree:
        """See `Dynamics`."""
        gates = self.sums_credit(local, c) / over
        own = jnp.sum(local.own_gain * c[:, None], 0) / over if self.names else None
        return self.tree(gates[..., None] * local.rhat[None, None], own)

    def weigh_norm(self, weights: PyTree, local: NeuronsLocal, c: Array) -> Array:
        """See `Dynamics`."""
        norm = safe_norm(self.sums_credit(local, c)) * safe_norm(local.rhat)
        if not self.names:
            return norm
        own = jnp.sum(local.own_gain * c[:, None], 0)
        return safe_norm(jnp.concatenate([norm[None], own.reshape(-1)]))

    def weigh_all(self, weights: PyTree, local: NeuronsLocal, c: Array) -> PyTree:
        """See `Dynamics`."""
        sums, n = self.noise_shape
        gates = self.sums_credit(local, c).reshape(len(c), sums * n)
        w = (gates.T @ local.rhat).reshape(sums, n, -1)
        return self.tree(w, jnp.sum(local.own_gain * c[:, :, None], (0, 1)) if self.names else None)

    def influence(self, local: NeuronsLocal) -> PyTree:
        """ds^t / dW by this step alone, its diagonal: "w" (S, G, n, m), each of "own" (S, n)."""
        own = {"own": {name: local.own_gain[:, p] for p, name in enumerate(self.names)}} if self.names else {}
        return {"w": local.gain[..., None] * local.rhat[None, None, None], **own}

    def empty_influence(self, dtype: Any) -> PyTree:
        """Zeros with the axes of `influence`."""
        rows, n = self.state_shape
        own = {"own": {name: jnp.zeros((rows, n), dtype) for name in self.names}} if self.names else {}
        return {"w": jnp.zeros((rows, len(self.cell.gates), n, self.cell.m), dtype), **own}

    def all_gains(self, local: NeuronsLocal) -> Array:
        """(S, G + P, n), the neurons' own parameters as gates."""
        return jnp.concatenate([local.gain, local.own_gain], 1) if self.names else local.gain

    def fade(self, decay: Array, trace: PyTree) -> PyTree:
        """Traces with the axes of `influence`, carried forward by each neuron's own D (S, S, n)."""

        def leaf(trace: Array) -> Array:
            factor = decay[:, :, None, :, None] if trace.ndim == 4 else decay
            return total(factor[:, b] * trace[b][None] for b in range(len(trace)))

        return jax.tree.map(leaf, trace)

    def collect(self, c: Array, trace: PyTree) -> PyTree:
        """Credit (S, n) times traces with the axes of `influence`, summed over variables: a tree like the weights."""

        def leaf(trace: Array) -> Array:
            credit = c[:, None, :, None] if trace.ndim == 4 else c
            return total(credit[a] * trace[a] for a in range(len(trace)))

        return jax.tree.map(leaf, trace)

    def tree(self, w: Array, own: Array | None) -> PyTree:
        """Arrays (G, n, m) and (P, n) as a tree like the weights."""
        if own is None or not self.names:
            return {"w": w}
        return {"w": w, "own": {name: own[p] for p, name in enumerate(self.names)}}

    def read(self, s: Array) -> Array:
        """See `Dynamics`."""
        return self.cell.read(s)

    def unread(self, s: Array, c: Array) -> Array:
        """See `Dynamics`."""
        return slope_of(self.cell.read, s) * c[None]

    def _compact(self, w: Array) -> Array:
        """W as (G n, m), or its recurrent part (G n, n) if a product with all of W reads more than the copy costs."""
        n, m = self.cell.n, w.shape[2]
        return (w if m <= 3 * n else w[:, :, :n]).reshape(-1, m if m <= 3 * n else n)


def total(terms: Iterable[Array]) -> Array:
    """The sum over a neuron's variables or gates, term by term: on a CPU, XLA sums a short axis far more slowly."""
    return functools.reduce(jnp.add, terms)


def dynamics(cell: AnyCell) -> NeuronsDynamics | CellDynamics:
    """The `Dynamics` of a cell of either tier."""
    check_cell(cell)
    return NeuronsDynamics(cell) if isinstance(cell, Neurons) else CellDynamics(cell)


def read_width(cell: AnyCell) -> int:
    """Number of values that the readout reads."""
    return cell.n if isinstance(cell, Neurons) else read_size(cell)


def check_cell(cell: Any) -> None:
    """Refuses what is not a built cell.

    Raises:
      TypeError: naming what was given and the remedy.
      ValueError: if its loss is not known or its sizes make no sense.
    """
    if isinstance(cell, Neurons | Cell):
        check_loss(cell.loss)
        if cell.n_in < 0 or cell.n_out < 1:
            raise ValueError(f"{cell.name}: n_in={cell.n_in} must be at least 0 and n_out={cell.n_out} at least 1")
        return
    name = getattr(cell, "__name__", type(cell).__name__)
    if callable(cell) and not hasattr(cell, "apply"):
        raise TypeError(f"cell={name} was not built: give its sizes first, as in {name}(n_in=2, n=32, n_out=2)")
    if hasattr(cell, "initialize_carry"):
        raise TypeError(f"cell={name} is a flax module: give pj.cells.from_flax({name}(...), n_in=..., n_out=...)")
    raise TypeError(f"cell is a {name}: give a cell, as pj.cells.leaky(n_in=2, n=32, n_out=2) or any of pj.cells")


def need_neurons(cell: Any, rule: str) -> Neurons:
    """Returns the cell if it is a cell of neurons.

    Raises:
      TypeError: if it is of tier one, whose Jacobian has no structure that the rule could use.
    """
    check_cell(cell)
    if not isinstance(cell, Neurons):
        raise TypeError(
            f"{rule} needs a cell of neurons, and {cell.name} is a pj.cells.Cell, whose step may be anything: use "
            "rtrl, bptt, uoro, dni or snap, or write the cell with pj.cells.neurons"
        )
    return cell


def local_shapes(cell: AnyCell, weights: PyTree, dtype: Any) -> PyTree:
    """Shapes and dtypes of a step's `local`, from those of the weights."""
    dyn = dynamics(cell)
    s, x = jax.ShapeDtypeStruct(dyn.state_shape, dtype), jax.ShapeDtypeStruct((cell.n_in,), dtype)
    return jax.eval_shape(lambda w, s, x: dyn.step(w, s, x)[1], weights, s, x)
