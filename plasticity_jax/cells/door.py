"""Entry of every rule on a cell: params and batch are checked once and cast to one dtype."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.cells.dynamics import AnyCell, dynamics, read_width
from plasticity_jax.cells.neurons import Neurons, masked
from plasticity_jax.ops.checks import cast_floats, check_real, finite_padding, not_empty
from plasticity_jax.ops.losses import check_not_labels, one_hot_labels
from plasticity_jax.typing import Array, Example, Params, PyTree


class Sizes(NamedTuple):
    """Shapes that an initial state is made from.

    Attributes:
      n_in: inputs.
      n: neurons; for a cell of tier one the size of its state.
      n_out: outputs.
      m: presynaptic activities, n + n_in + 1.
      variables: S, of each neuron.
      gates: G, of each neuron.
      own: P, the parameters of each neuron that learn.
      dtype: of the weights.
      weights: shapes and dtypes of the cell's weights, a tree.
    """

    n_in: int
    n: int
    n_out: int
    m: int
    variables: int
    gates: int
    own: int
    dtype: jnp.dtype
    weights: PyTree


def enter(
    cell: AnyCell, params: Params, batch: Example, feedback: str, axes: tuple[str, ...] = ("B",)
) -> tuple[dict[str, Any], Example, Sizes]:
    """Params as dicts, the batch in the weights' dtype, and the sizes of the problem; checks that all fit together.

    Args:
      cell: of either tier; one of neurons if the feedback is "back".
      params: the weights.
      batch: one step's example, or one window's.
      feedback: "readout" reads no feedback group, "back" its ``w_back`` (G, n, n), any other its ``w_fb`` (n_out, n).
      axes: the leading axes of the batch, ("B",) or ("B", "S").

    Raises:
      TypeError: if batch or params are of the wrong type.
      ValueError: if a group is missing, the batch is empty, or a label is out of range.
      AssertionError: (chex) naming the array and the shape that it should have.
    """
    if not isinstance(batch, Example):
        kind, lead = type(batch).__name__, ", ".join(axes)
        raise TypeError(f"batch is a {kind}: give pj.Example(x, y) with x ({lead}, n_in) and y ({lead}, n_out)")
    if not isinstance(params, Mapping):
        raise TypeError(f'params is a {type(params).__name__}: give the groups {{"forward": ...}} of init_params')
    maker = "init_feedback" if feedback == "back" else "init_params"
    for group in ("forward", *(() if feedback == "readout" else ("feedback",))):
        if group not in params:
            made_by = "init_params" if group == "forward" else maker
            raise ValueError(f"params has no group {group!r}, which this rule reads; pj.cells.{made_by} makes it")
    params = {name: _dicts(group) for name, group in params.items()}
    forward = params["forward"]
    learned = ("w", *(("own",) if cell.own else ())) if isinstance(cell, Neurons) else ("cell",)
    for name in (*learned, "w_out"):
        if name not in forward:
            raise ValueError(f'params["forward"] has no {name!r}; {cell.name} has {", ".join((*learned, "w_out"))}')
    w_out = forward["w_out"]
    if not (hasattr(w_out, "dtype") and jnp.issubdtype(w_out.dtype, jnp.floating)):
        raise ValueError(f'params["forward"]["w_out"] is {getattr(w_out, "dtype", type(w_out).__name__)}: give floats')
    dtype, width, n_out = w_out.dtype, read_width(cell), cell.n_out
    chex.assert_shape(w_out, (n_out, width + 1), custom_message=f"w_out must be {(n_out, width + 1)}, the bias last")
    if isinstance(cell, Neurons):
        shape = (len(cell.gates), cell.n, cell.m)
        gates = ", ".join(cell.gates)
        message = f"w must be (gates, n, m) = {shape} for {cell.name} with the gates {gates}"
        chex.assert_shape(forward["w"], shape, custom_message=message)
        known, given = sorted(cell.own), sorted(forward.get("own", {}))
        if known != given:
            raise ValueError(
                f'params["forward"]["own"] has {", ".join(given) or "nothing"}, and {cell.name} learns '
                f"{', '.join(known) or 'no parameters of its neurons'}: use the params of init_params of this cell"
            )
        for name in cell.own:
            chex.assert_shape(forward["own"].get(name), (cell.n,), custom_message=f"own[{name!r}] must be ({cell.n},)")
    if feedback == "back" and isinstance(cell, Neurons):
        w_back, wanted = params["feedback"].get("w_back"), (len(cell.gates), cell.n, cell.n)
        if w_back is None:
            raise ValueError(
                'params["feedback"] has no "w_back", which this rule reads; pj.cells.init_feedback makes it'
            )
        chex.assert_shape(w_back, wanted, custom_message=f"w_back must be (gates, n, n) = {wanted} for {cell.name}")
    elif feedback != "readout":
        w_fb = params["feedback"].get("w_fb")
        if w_fb is None:
            raise ValueError(f'params["feedback"] has no "w_fb", which feedback={feedback!r} reads')
        chex.assert_shape(w_fb, (n_out, width), custom_message=f"w_fb must be (n_out, n) = {(n_out, width)}")
    weights = {name: forward[name] for name in learned}
    count = (cell.n, cell.m, len(cell.variables), len(cell.gates), len(cell.own)) if isinstance(cell, Neurons) else None
    n, m, variables, gates, own = count or (dynamics(cell).state_shape[0], 0, 1, 0, 0)
    sizes = Sizes(cell.n_in, n, n_out, m, variables, gates, own, dtype, jax.eval_shape(lambda: weights))
    return params, enter_batch(cell, batch, dtype, axes), sizes


ONE_STEP = ": the batch of one step; scan learn.step over time"


def enter_batch(cell: AnyCell, batch: Example, dtype: Any, axes: tuple[str, ...]) -> Example:
    """The batch in one dtype, labels as distributions; its leading axes are `axes`, ("B",) or ("B", "S")."""
    lead, rank = ", ".join(axes), len(axes)
    if cell.loss == "softmax" and cell.n_out == 1:
        raise ValueError("loss='softmax' of one output is constant: give the cell two, or loss='squared'")
    if batch.x is None or batch.y is None:
        raise ValueError("batch.x and batch.y must both be there; a step without a target has a weight of 0")
    labels = batch.y
    start, weight = (None if field is None else jnp.asarray(field) for field in (batch.start, batch.weight))
    batch = Example(jnp.asarray(batch.x), jnp.asarray(batch.y), start, weight)
    check_real(batch)
    chex.assert_rank(
        batch.x,
        rank + 1,
        custom_message=f"batch.x must be ({lead}, n_in), n_in={cell.n_in}" + (ONE_STEP if rank == 1 else ""),
    )
    outer = batch.x.shape[:rank]
    not_empty("batch.x", outer[0])
    if 0 in outer:
        raise ValueError(f"batch.x has shape {batch.x.shape}: a window must have at least 1 step")
    chex.assert_shape(
        batch.x, (*outer, cell.n_in), custom_message=f"batch.x must be ({lead}, n_in); {cell.name} has n_in={cell.n_in}"
    )
    x, y, start, weight = cast_floats(batch, dtype)
    if jnp.issubdtype(y.dtype, jnp.integer) and cell.loss == "softmax" and y.shape == outer:
        y = one_hot_labels(labels, cell.n_out, dtype, weight=batch.weight)
    check_not_labels(cell.loss, y, outer, cell.n_out)
    if not callable(cell.loss):
        chex.assert_shape(
            y,
            (*outer, cell.n_out),
            custom_message=f"batch.y must be ({lead}, n_out), n_out={cell.n_out}"
            + (f", or integer labels ({lead})" if cell.loss == "softmax" else ""),
        )
        y = y.astype(dtype)
    elif y.shape[:rank] != outer:
        raise ValueError(
            f"batch.y has shape {y.shape}; its leading axes must be ({lead}) = {outer}, as those of batch.x"
        )
    for name, leaf in (("start", start), ("weight", weight)):
        if leaf is not None:
            chex.assert_shape(leaf, outer, custom_message=f"batch.{name} must be ({lead}) = {outer}")
    x = x.astype(dtype)
    if weight is not None:
        x, y = finite_padding(x, weight), finite_padding(y, weight)
    return Example(x, y, None if start is None else start != 0, None if weight is None else weight.astype(dtype))


def cell_weights(cell: AnyCell, params: Params) -> dict[str, Any]:
    """Weights in ``params["forward"]`` that the cell's step reads, with absent connections at zero."""
    weights = {name: leaf for name, leaf in params["forward"].items() if name != "w_out"}
    return {**weights, "w": masked(cell, weights["w"])} if isinstance(cell, Neurons) else weights


def same_streams(state: Array, streams: int) -> None:
    """Refuses a batch with another number of streams than the traces have."""
    if state.shape[0] != streams:
        raise ValueError(
            f"batch.x has B={streams} streams, but the traces were made for {state.shape[0]}: a stream's traces are "
            "its own, so keep B, or call init again"
        )


def keep_dtypes(new: PyTree, old: PyTree) -> PyTree:
    """The new traces in the dtypes of the old ones."""
    return jax.tree.map(lambda leaf, before: leaf.astype(before.dtype), new, old)


def _dicts(tree: PyTree) -> PyTree:
    """Mappings as dicts, except a cell's own params, which keep the form that its step expects."""
    if not isinstance(tree, Mapping):
        return tree
    return {name: leaf if name == "cell" else _dicts(leaf) for name, leaf in tree.items()}
