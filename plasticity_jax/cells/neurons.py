"""Cells of neurons: any network whose neurons interact only through the weighted sums that they receive.

One step's derivatives have a structure that every rule uses, with o = d output / ds:

    decay D_ab = ds'_a / ds_b (S, S, n),   gain b_ag = ds'_a / dv_g (S, G, n),   J = D + sum_g b_g W_g o
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.cells.initial_weights import gates_from, orthogonal_weights
from plasticity_jax.cells.neuron_checks import check_functions, connections
from plasticity_jax.ops.checks import default_float
from plasticity_jax.ops.losses import Loss, check_loss
from plasticity_jax.typing import Array, Key, PyTree

Own = Mapping[str, Array]
Update = Callable[[Own, Array, Array], Array]
Partials = Callable[[Own, Array, Array], "Derivatives"]


class Derivatives(NamedTuple):
    """A step of the neurons with its derivatives.

    Attributes:
      s: (S, n), variables after the step.
      decay: (S, S, n), D_ab = ds'_a / ds_b; (S, S, 1) where all neurons share it.
      gain: (S, G, n), b_ag = ds'_a / dv_g.
      own_gain: (S, P, n), ds'_a / d own_p, parameters in the order of their names.
    """

    s: Array
    decay: Array
    gain: Array
    own_gain: Array


class Neurons(NamedTuple):
    """A network of neurons; build it with a cell's factory, such as `leaky`, or with `neurons`.

    Attributes:
      name: its name in messages.
      n_in: inputs.
      n: neurons.
      n_out: outputs.
      update: ``(own, s, v) -> s``, elementwise over neurons.
      output: ``s -> (n,)``, what other neurons receive.
      read: ``s -> (n,)``, what the readout receives.
      variables: names of the S variables.
      gates: names of the G sums.
      own: initial values of the parameters that learn, by name.
      mask: (G, n, m), bool, the connections that exist; None: all.
      loss: "softmax", "squared" (half the sum of squares) or a callable ``(z, y) -> ()``.
      init_w: ``(key, cell, dtype) -> (G, n, m)``, initial weights.
      start: (S,), initial values of every neuron's variables.
      partials: ``(own, s, v) -> Derivatives`` written out; None takes them by autodiff.
    """

    name: str
    n_in: int
    n: int
    n_out: int
    update: Update
    output: Callable[[Array], Array]
    read: Callable[[Array], Array]
    variables: tuple[str, ...]
    gates: tuple[str, ...]
    own: Mapping[str, Any]
    mask: np.ndarray | None
    loss: Loss
    init_w: Callable[[Key, Any, Any], Array]
    start: tuple[float, ...]
    partials: Partials | None

    @property
    def m(self) -> int:
        """Presynaptic activities: n + n_in + 1."""
        return self.n + self.n_in + 1


def neurons(
    *,
    n_in: int,
    n: int,
    n_out: int,
    update: Update,
    output: Callable[[Array], Array] | None = None,
    read: Callable[[Array], Array] | None = None,
    variables: Sequence[str] = ("state",),
    gates: Sequence[str] = ("drive",),
    receives: Sequence[tuple[bool, bool, bool]] | None = None,
    own: Mapping[str, Any] | None = None,
    mask: Any = None,
    loss: Loss = "softmax",
    init_w: Callable[[Key, Neurons, Any], Array] | None = None,
    start: float | Sequence[float] | None = None,
    partials: Partials | None = None,
    name: str = "neurons",
) -> Neurons:
    """Builds a cell from one neuron's equations.

        rhat^t = [output(s^{t-1}); x^t; 1]        in R^m, m = n + n_in + 1
        v_g^t  = W_g rhat^t,  g = 1..G            W in R^{G x n x m}
        s^t    = update(own, s^{t-1}, v^t)        s (S, n), v (G, n); entry i of s^t reads no other entry
        z^t    = W_out [read(s^t); 1]             W_out in R^{n_out x (n+1)}

    A neuron has S variables and receives G sums over its synapses, its gates; `own` are parameters of each neuron, (n,)
    each, which learn along with the weights. `plasticity_jax.cells.init_params` draws both.

    Args:
      n_in: inputs.
      n: neurons.
      n_out: outputs.
      update: ``(own, s, v) -> s`` for s (S, n) and v (G, n), elementwise over neurons.
      output: ``s -> (n,)``, what other neurons receive; None: the first variable.
      read: ``s -> (n,)``, what the readout receives; None: the output.
      variables: a name for each of the S variables.
      gates: a name for each of the G sums.
      receives: whether each gate receives the recurrent activity, the input and the bias; None: all three.
      own: initial values, numbers or (n,), of each neuron's own parameters that learn.
      mask: connections that exist: (n, n) between neurons, (n, m) with inputs and biases, or (G, n, m) gate by gate;
        None: all. `plasticity_jax.cells.stack_mask` and `sparse_mask` make some.
      loss: "softmax", "squared" (half the sum of squares) or a callable ``(z, y) -> ()``.
      init_w: ``(key, cell, dtype) -> (G, n, m)``; None: W_rec orthogonal, W_in ~ N(0, 1/n_in), biases 0, gate by gate.
      start: initial values of the variables, one number or one for each; None: 0.
      partials: the derivatives of `update` written out, where that is faster than autodiff.
      name: of the cell in messages.

    Returns:
      The `Neurons`.

    Raises:
      ValueError: if an argument does not fit the others, or `update`, `output` or `read` mixes neurons.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> def integrate(own, s, v):
      ...     return jnp.tanh(own["keep"] * s[0] + v[0])[None]  # each neuron keeps its own share of its state
      >>> cell = pj.cells.neurons(n_in=2, n=8, n_out=2, update=integrate, own={"keep": 0.5})
      >>> learn = pj.learner(pj.rules.online.rflo(cell), optax.sgd(0.1))
      >>> batch = pj.Example(jnp.ones((1, 2)), jnp.array([1]))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=50)
      >>> state.params["forward"]["own"]["keep"].shape, bool(info.loss[-1] < 0.1 * info.loss[0])
      ((8,), True)
    """
    for what, count, least in (("n_in", n_in, 0), ("n", n, 1), ("n_out", n_out, 1)):
        if isinstance(count, Tracer) or int(count) != count or count < least:
            raise ValueError(f"{name}: {what}={count} must be a whole number of at least {least}")
    for what, names in (("variables", variables), ("gates", gates)):
        if isinstance(names, int | str):
            raise ValueError(f"{name}: {what}={names!r} must be names, one for each, as in {what}=('first', 'second')")
    check_loss(loss)
    sums, rows = len(gates), len(variables)
    receives = [(True, True, True)] * sums if receives is None else list(receives)
    if len(receives) != sums:
        raise ValueError(
            f"{name}: receives has {len(receives)} entries for {sums} gates: give (recurrent, input, bias) for each"
        )
    starts = (float(start or 0),) * rows if start is None or isinstance(start, int | float) else tuple(start)
    if len(starts) != rows:
        raise ValueError(f"{name}: start has {len(starts)} values for the {rows} variables {', '.join(variables)}")
    output = _first if output is None else output
    cell = Neurons(
        name,
        int(n_in),
        int(n),
        int(n_out),
        update,
        output,
        output if read is None else read,
        tuple(variables),
        tuple(gates),
        dict(own or {}),
        connections(name, receives, mask, n, n_in),
        loss,
        orthogonal_weights if init_w is None else init_w,
        starts,
        partials,
    )
    check_functions(cell)
    return cell


def init_neurons(key: Key, cell: Neurons, dtype: Any = None) -> PyTree:
    """Weights of a cell of neurons; see `plasticity_jax.cells.init_params`."""
    dtype = default_float() if dtype is None else dtype
    key_w, key_in, key_out, key_fb = jax.random.split(key, 4)
    n, n_out = cell.n, cell.n_out
    w = gates_from(key_w, key_in, cell, dtype) if cell.init_w is orthogonal_weights else cell.init_w(key_w, cell, dtype)
    w_out = jax.random.normal(key_out, (n_out, n), dtype) / n**0.5
    forward: dict[str, Any] = {
        "w": masked(cell, w),
        "w_out": jnp.concatenate([w_out, jnp.zeros((n_out, 1), dtype)], axis=1),
    }
    if cell.own:
        forward["own"] = {
            name: jnp.array(jnp.broadcast_to(jnp.asarray(value, dtype), (n,))) for name, value in cell.own.items()
        }
    return {"forward": forward, "feedback": {"w_fb": jax.random.normal(key_fb, (n_out, n), dtype) / n_out**0.5}}


def masked(cell: Neurons, w: Array) -> Array:
    """W where there is a connection, 0 elsewhere."""
    return w if cell.mask is None else jnp.where(cell.mask, w, 0)


def with_bias(r: Array) -> Array:
    """[r; 1]."""
    return jnp.concatenate([r, jnp.ones((1,), r.dtype)])


def read_out(w_out: Array, r: Array) -> Array:
    """z = W_out [r; 1], shape (n_out,)."""
    return with_bias(r) @ w_out.T


def start_of(cell: Neurons, dtype: Any) -> Array:
    """The variables that a trial starts from, (S, n)."""
    return jnp.broadcast_to(jnp.asarray(cell.start, dtype)[:, None], (len(cell.variables), cell.n))


def advance(cell: Neurons, weights: PyTree, s_tm1: Array, x: Array, noise: Array | None = None) -> Array:
    """One step of the dynamics of one stream.

    Args:
      cell: the network.
      weights: ``params["forward"]``.
      s_tm1: (S, n), variables before the step.
      x: (n_in,), the step's input.
      noise: (G, n), added to what the gates receive; None: none.

    Returns:
      (S, n), variables after the step.
    """
    _, v = gate_sums(cell, masked(cell, weights["w"]), s_tm1, x, noise)
    return updated(cell, weights.get("own", {}), s_tm1, v)


def updated(cell: Neurons, own: Own, s: Array, v: Array) -> Array:
    """`Neurons.update` in the dtype of s, whatever the dtype of the cell's constants."""
    return cell.update(own, s, v).astype(s.dtype)


def gate_sums(cell: Neurons, w: Array, s_tm1: Array, x: Array, noise: Array | None) -> tuple[Array, Array]:
    """``(rhat, v)`` of shapes (m,) and (G, n)."""
    rhat = jnp.concatenate([cell.output(s_tm1), x, jnp.ones((1,), w.dtype)])
    # Not w @ rhat: mapped over streams, that product would copy its operands.
    v = (rhat @ w.reshape(-1, cell.m).T).reshape(len(cell.gates), cell.n)
    return rhat, v if noise is None else v + noise


def derivatives(cell: Neurons, own: Own, s: Array, v: Array) -> Derivatives:
    """A step of the neurons with its derivatives: as the cell writes them out, or by autodiff.

    A tangent that is one for all neurons in one variable or gate gives a row of the derivatives for all of them.
    """
    step = by_autodiff(cell, own, s, v) if cell.partials is None else cell.partials(own, s, v)
    return Derivatives(*(leaf.astype(s.dtype) for leaf in step))


def by_autodiff(cell: Neurons, own: Own, s: Array, v: Array) -> Derivatives:
    """The derivatives of `update` by as many tangents as a neuron has variables, gates and parameters."""
    names = sorted(own)
    rows, sums = len(cell.variables), len(cell.gates)

    def move(moving: Array) -> Array:
        parameters = {name: moving[rows + sums + p] for p, name in enumerate(names)}
        return updated(cell, parameters, moving[:rows], moving[rows : rows + sums])

    stacked = jnp.concatenate([s, v, *(own[name][None] for name in names)])
    s_next, push = jax.linearize(move, stacked)
    unit = jnp.broadcast_to(jnp.eye(len(stacked), dtype=s.dtype)[:, :, None], (len(stacked), *stacked.shape))
    slopes = jnp.swapaxes(jax.vmap(push)(unit), 0, 1)
    return Derivatives(s_next, slopes[:, :rows], slopes[:, rows : rows + sums], slopes[:, rows + sums :])


def slope_of(f: Callable[[Array], Array], s: Array) -> Array:
    """df_i / ds_ai of an elementwise function from (S, n) to (n,): shape (S, n), or (S, 1) of the first variable."""
    if f is _first:
        return jnp.eye(len(s), 1, dtype=s.dtype)
    return jax.vjp(f, s)[1](jnp.ones((s.shape[1],), s.dtype))[0]


def _first(s: Array) -> Array:
    return s[0]
