"""A readout that filters what it receives: one more variable for each neuron of any cell."""

import jax.numpy as jnp

from plasticity_jax.cells.neurons import Derivatives, Neurons, Own, derivatives, slope_of
from plasticity_jax.ops.checks import in_range, of_each_neuron
from plasticity_jax.typing import Array, Scalar

NAME = "readout_decay"
"""Name of the decay where it learns, in ``params["forward"]["own"]``."""


def leaky_readout(cell: Neurons, decay: Scalar, *, learn: bool = False) -> Neurons:
    """Gives a cell a readout that filters.

        f^t = decay f^{t-1} + read(s^t),   z^t = W_out [f^t; 1]

    `read` is what the cell's own readout would receive; for spiking neurons, their spikes. Filtering commutes with
    W_out: z - b is the leaky readout y^t = decay y^{t-1} + sum_j w_j z_j^t of Bellec et al. (2020), with decay = kappa.
    The filter is not scaled by 1 - decay. The output's bias is added after filtering; theirs is filtered, too.

    Args:
      cell: a network of neurons.
      decay: share of the filter kept at each step, in [0, 1], a number or (n,); may be a tracer.
      learn: whether the decay learns, one for each neuron, as ``own["readout_decay"]``. It is not confined to its range
        while it learns.

    Returns:
      The cell with one more variable, "filtered", the last one, which the readout receives.

    Raises:
      TypeError: if the cell is not one of neurons.
      ValueError: if the decay is outside its range, or the readout filters already.

    Example:
      >>> import jax.numpy as jnp
      >>> from plasticity_jax import cells
      >>> cell = leaky_readout(cells.lif(n_in=1, n=1, n_out=1, decay=0.5), decay=0.9)
      >>> cell.variables
      ('voltage', 'filtered')
      >>> weights = {"w": jnp.array([[[0.0, 1.2, 0.0]]])}
      >>> s = jnp.zeros((2, 1))
      >>> for x in (1.0, 0.0, 0.0):  # a spike, and its trace
      ...     s = cells.advance(cell, weights, s, jnp.array([x]))
      >>> round(float(cell.read(s)[0]), 4)
      0.81

    Reference:
      Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
      Communications 2020.
    """
    if not isinstance(cell, Neurons):
        raise TypeError(f"leaky_readout needs a cell of neurons, not a {type(cell).__name__}")
    if "filtered" in cell.variables:
        raise ValueError(f"{cell.name} has a filtered readout already")
    decay = of_each_neuron("decay", decay, cell.n)
    in_range("decay", decay, 0, 1, why="the share of the filter kept at each step")
    if learn and NAME in cell.own:
        raise ValueError(f"{cell.name} has a parameter {NAME!r} of its own: give it another name")
    names = sorted([*cell.own, NAME]) if learn else sorted(cell.own)

    def parted(own: Own, s: Array) -> tuple[Own, Array]:
        """The cell's own parameters, and the filter's decay."""
        filter_decay = own[NAME] if learn else jnp.asarray(decay, s.dtype)
        return {name: value for name, value in own.items() if name != NAME}, filter_decay

    def filtered(s: Array, s_cell: Array, filter_decay: Array) -> Array:
        return jnp.concatenate([s_cell, (filter_decay * s[-1] + cell.read(s_cell))[None]])

    def update(own: Own, s: Array, v: Array) -> Array:
        own, filter_decay = parted(own, s)
        return filtered(s, cell.update(own, s[:-1], v), filter_decay)

    def partials(own: Own, s: Array, v: Array) -> Derivatives:
        own, filter_decay = parted(own, s)
        s_cell, decays, gain, own_gain = derivatives(cell, own, s[:-1], v)
        decays = jnp.broadcast_to(decays, (*decays.shape[:2], cell.n))
        slope = slope_of(cell.read, s_cell)[:, None]

        def with_filter(rows: Array) -> Array:
            return jnp.concatenate([rows, jnp.sum(slope * rows, 0, keepdims=True)])

        last = jnp.zeros_like(s).at[-1].set(filter_decay)
        own_gain = with_filter(own_gain)
        if learn:
            place = names.index(NAME)
            column = jnp.zeros_like(s).at[-1].set(s[-1])[:, None]
            own_gain = jnp.concatenate([own_gain[:, :place], column, own_gain[:, place:]], 1)
        return Derivatives(
            filtered(s, s_cell, filter_decay),
            jnp.concatenate([with_filter(decays), last[:, None]], 1),
            with_filter(gain),
            own_gain,
        )

    return cell._replace(
        name=f"{cell.name} with a leaky readout",
        update=update,
        output=lambda s: cell.output(s[:-1]),
        read=lambda s: s[-1],
        variables=(*cell.variables, "filtered"),
        own={**cell.own, NAME: decay} if learn else cell.own,
        start=(*cell.start, 0.0),
        partials=partials,
    )
