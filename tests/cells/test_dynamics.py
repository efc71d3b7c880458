"""A law for every cell: the structured derivatives of a step, and all products with them, are those of autodiff.

The reference is `jax.jacobian` of `cells.advance`, which uses no structure.
"""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import cells
from plasticity_jax.cells import dynamics as dyn
from plasticity_jax.cells.neurons import by_autodiff, derivatives

N_IN, N, N_OUT = 2, 5, 3
RING = np.eye(N, k=1) + np.eye(N, k=1 - N)


def by_hand(own, s, v):
    """An update of two variables, two gates and own parameters, all coupled within the neuron."""
    a, b = s
    return jnp.stack([jnp.tanh(own["keep"] * a + v[0] * b), jnp.sin(b + a * v[1]) * own["gain"]])


CELLS = {
    "leaky": cells.leaky(N_IN, N, N_OUT, alpha=0.3),
    "leaky that learns alpha": cells.leaky(N_IN, N, N_OUT, alpha=0.3, learn=("alpha",), activation=jax.nn.softplus),
    "leaky ring": cells.leaky(N_IN, N, N_OUT, mask=RING),
    "gru": cells.gru(N_IN, N, N_OUT),
    "gru ring": cells.gru(N_IN, N, N_OUT, mask=RING),
    "lstm": cells.lstm(N_IN, N, N_OUT),
    "lif": cells.lif(N_IN, N, N_OUT, learn=("decay", "threshold")),
    "lif, refractory": cells.lif(N_IN, N, N_OUT, refractory=2),
    "alif": cells.alif(N_IN, N, N_OUT),
    "alif that learns": cells.alif(N_IN, N, N_OUT, learn=("decay", "threshold", "adaptation_decay", "strength")),
    "leaky readout of an lstm": cells.leaky_readout(cells.lstm(N_IN, N, N_OUT), 0.7),
    "by hand": cells.neurons(
        n_in=N_IN,
        n=N,
        n_out=N_OUT,
        update=by_hand,
        output=lambda s: s[0] * s[1],
        read=lambda s: jnp.tanh(s[1]),
        variables=("a", "b"),
        gates=("sum", "product"),
        own={"keep": 0.7, "gain": np.linspace(0.5, 1.5, N)},
        mask=RING,
    ),
}


@pytest.fixture(params=CELLS)
def moment(request):
    """A cell with its weights and a step from an active state."""
    cell = CELLS[request.param]
    forward = cells.init_params(jax.random.key(0), cell, jnp.float64)["forward"]
    weights = {name: leaf for name, leaf in forward.items() if name != "w_out"}
    weights["w"] = weights["w"].at[:, :, -1].set(0.3 * jax.random.normal(jax.random.key(1), weights["w"].shape[:2]))
    if cell.mask is not None:
        weights["w"] = weights["w"] * cell.mask
    s = 0.8 + 0.8 * jax.random.normal(jax.random.key(2), (len(cell.variables), N), jnp.float64)
    s = jnp.where(jnp.array([name == "silence" for name in cell.variables])[:, None], 0.0, s)
    return cell, weights, s, jax.random.normal(jax.random.key(3), (N_IN,), jnp.float64)


def close(actual, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))


def test_partials_are_those_of_autodiff_and_diagonal(moment):
    cell, weights, s, _ = moment
    own = weights.get("own", {})
    v = jax.random.normal(jax.random.key(4), (len(cell.gates), N), jnp.float64)
    for step in (derivatives(cell, own, s, v), by_autodiff(cell, own, s, v)):
        close(step.s, cell.update(own, s, v))
        of_s, of_v = jax.jacobian(lambda s, v: cell.update(own, s, v), (0, 1))(s, v)  # (S, n, S, n), (S, n, G, n)
        eye = np.eye(N)
        close(jnp.einsum("abi,ij->aibj", step.decay, eye), of_s)
        close(jnp.einsum("agi,ij->aigj", step.gain, eye), of_v)
        for p, name in enumerate(sorted(own)):
            of_p = jax.jacobian(lambda o: cell.update(o, s, v))(own)[name]
            close(jnp.einsum("ai,ij->aij", step.own_gain[:, p], eye), of_p)
            assert np.abs(of_p).max() > 1e-3
        assert np.abs(of_v).max() > 1e-3


def test_every_product_is_that_of_the_full_jacobians(moment):
    cell, weights, s, x = moment
    dynamics = dyn.NeuronsDynamics(cell)
    after, local = dynamics.step(weights, s, x)
    close(after, cells.advance(cell, weights, s, x))
    of_s, of_w = jax.jacobian(lambda s, w: cells.advance(cell, w, s, x), (0, 1))(s, weights)
    size = s.size
    j = np.asarray(of_s).reshape(size, size)
    assert np.linalg.norm(j - np.diag(np.diag(j))) > 1e-2, "no neuron receives from another: nothing to test"
    close(dynamics.jacobian(weights, local), j)

    a, c = (jax.random.normal(jax.random.key(k), s.shape, jnp.float64) for k in (5, 6))
    close(dynamics.push(weights, local, a).reshape(-1), j @ a.reshape(-1))
    close(dynamics.pull(weights, local, c).reshape(-1), c.reshape(-1) @ j)
    weighed = dynamics.weigh(weights, local, c)
    expected = jax.tree.map(lambda leaf: jnp.tensordot(c, leaf, 2), of_w)
    if cell.mask is not None:  # online_rule applies the mask to gradients at the end
        weighed = {**weighed, "w": weighed["w"] * cell.mask}
    jax.tree.map(close, weighed, expected)
    if cell.mask is None:
        close(dynamics.weigh_norm(weights, local, c), np.linalg.norm(jax.flatten_util.ravel_pytree(expected)[0]))

    others = jax.random.normal(jax.random.key(7), (4, *c.shape), jnp.float64)
    repeated = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), local)
    total = dynamics.weigh(weights, local, others.sum(0))
    jax.tree.map(close, dynamics.weigh_all(weights, repeated, others), total)

    r = jax.random.normal(jax.random.key(8), (N,), jnp.float64)
    close(dynamics.unread(s, r), jax.vjp(cell.read, s)[1](r)[0])


def test_a_start_cuts_the_jacobian(moment):
    cell, weights, s, x = moment
    dynamics = dyn.NeuronsDynamics(cell)
    after, local = dynamics.step(weights, s, x, jnp.zeros(()))
    close(after, cells.advance(cell, weights, s, x))
    np.testing.assert_array_equal(dynamics.jacobian(weights, local), 0)
    np.testing.assert_array_equal(dynamics.pull(weights, local, jnp.ones_like(s)), 0)
    assert np.abs(dynamics.weigh(weights, local, jnp.ones_like(s))["w"]).max() > 1e-3


def test_the_structure_is_that_of_any_step():
    """A cell of neurons, given as a cell of tier one, has the same products."""
    cell = CELLS["by hand"]
    forward = cells.init_params(jax.random.key(0), cell, jnp.float64)["forward"]
    weights = {name: leaf for name, leaf in forward.items() if name != "w_out"}
    one = cells.Cell(
        init_params=lambda key: weights,
        init_state=lambda: jnp.zeros((2, N)),
        step=lambda w, s, x: cells.advance(cell, w, s, x),
        read=cell.read,
        n_in=N_IN,
        n_out=N_OUT,
    )
    s, c = (jax.random.normal(jax.random.key(k), (2, N), jnp.float64) for k in (1, 2))
    x = jnp.ones(N_IN)
    structured, any_step = dyn.dynamics(cell), dyn.dynamics(one)
    after, local = structured.step(weights, s, x)
    same, other = any_step.step({"cell": weights}, s.reshape(-1), x)
    close(after.reshape(-1), same)
    flat = {"cell": weights}
    close(structured.jacobian(weights, local), any_step.jacobian(flat, other))
    close(structured.push(weights, local, c).reshape(-1), any_step.push(flat, other, c.reshape(-1)))
    close(structured.pull(weights, local, c).reshape(-1), any_step.pull(flat, other, c.reshape(-1)))
    of_any = any_step.weigh(flat, other, c.reshape(-1))["cell"]
    masked = structured.weigh(weights, local, c)
    close(masked["w"] * cell.mask, of_any["w"])
    jax.tree.map(close, masked["own"], of_any["own"])
    close(structured.unread(s, jnp.ones(N)).reshape(-1), any_step.unread(s.reshape(-1), jnp.ones(N)))
