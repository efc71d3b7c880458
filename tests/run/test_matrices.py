"""A sweep with factorisations ends on any number of devices: its program has no batch of LAPACK calls."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.custom_batching import custom_vmap

from plasticity_jax.run import sweep
from plasticity_jax.run.matrices import LAPACK, matrix_by_matrix

SIDE, LANES = 4, 5
BATCH = re.compile(r"custom_call @lapack_(\w+)\(.*(?:tensor<\d+x\d+x\d+x|tensor<\d+x\d+xi32>)")


def matrix(key):
    return jax.random.normal(key, (SIDE, SIDE), jnp.float64) + SIDE * jnp.eye(SIDE, dtype=jnp.float64)


def solved(key):
    return jnp.linalg.solve(matrix(key), jnp.ones((SIDE, 1), jnp.float64)).sum()


def turned(f):
    """The function with custom rules for derivatives and batches, which contain programs too."""
    by_hand = custom_vmap(f)
    by_hand.def_vmap(lambda lanes, batched, *args: (jax.vmap(f)(*args), True))
    own = jax.custom_jvp(by_hand)
    own.defjvp(lambda primals, tangents: (own(*primals), jnp.zeros(())))
    return own


def guarded(x, key):
    return solved(key) * x


with_vjp = jax.custom_vjp(guarded)
with_vjp.defvjp(lambda x, key: (guarded(x, key), key), lambda key, g: (g * solved(key), None))

CONTAINERS = {
    "plain": solved,
    "jit": jax.jit(solved),
    "scan": lambda key: jax.lax.scan(lambda total, _: (total + solved(key) / 3, None), 0.0, None, length=3)[0],
    "while": lambda key: jax.lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, solved(key)), (0, 0.0))[1],
    "cond": lambda key: jax.lax.cond(jax.random.uniform(key) >= 0, lambda: solved(key), lambda: 0.0),
    "remat": lambda key: jax.grad(jax.checkpoint(lambda x: guarded(x, key)))(1.0),
    "own jvp and vmap": turned(solved),
    "own vjp": lambda key: jax.grad(with_vjp)(1.0, key),
    "a batch in a lane": lambda key: jax.vmap(solved)(jnp.stack([key, key])).mean(),
    "platforms": lambda key: jax.lax.platform_dependent(key, cpu=solved, default=lambda key: 0.0),
}


def keys():
    return jax.vmap(jax.random.key)(jnp.arange(LANES))


def lowered(f, *args):
    return jax.jit(f).lower(*args).as_text()


@pytest.mark.parametrize("container", CONTAINERS)
def test_batches_become_loops_wherever_they_are(container):
    many = jax.vmap(CONTAINERS[container])
    assert BATCH.search(lowered(many, keys()))
    assert not BATCH.search(lowered(matrix_by_matrix(many), keys()))
    expected = [np.linalg.solve(matrix(key), np.ones(SIDE)).sum() for key in keys()]
    np.testing.assert_allclose(jax.jit(matrix_by_matrix(many))(keys()), expected, rtol=1e-12)


def symmetric(a):
    return a + a.T


def tridiagonal(a):
    return jax.lax.linalg.tridiagonal_solve(a[0], jnp.diag(a), a[1], a[:, :1])


FACTORISATIONS = {
    "cholesky": lambda a: jnp.linalg.cholesky(a @ a.T),
    "eig": jnp.linalg.eig,
    "eigh": lambda a: jnp.linalg.eigh(symmetric(a)),
    "geqp3": lambda a: jax.scipy.linalg.qr(a, pivoting=True),
    "geqrf": lambda a: jnp.linalg.qr(a, mode="raw"),
    "hessenberg": jax.lax.linalg.hessenberg,
    "householder_product": lambda a: jax.lax.linalg.householder_product(a, a[0]),
    "lu": jax.lax.linalg.lu,
    "ormqr": lambda a: jax.lax.linalg.ormqr(a, a[0], a),
    "qr": jnp.linalg.qr,
    "schur": jax.scipy.linalg.schur,
    "svd": jnp.linalg.svd,
    "triangular_solve": lambda a: jax.scipy.linalg.solve_triangular(a, a.T),
    "tridiagonal": lambda a: jax.lax.linalg.tridiagonal(symmetric(a)),
    "tridiagonal_solve": tridiagonal,
}


def test_all_factorisations_are_tried():
    assert set(FACTORISATIONS) == LAPACK


@pytest.mark.parametrize("name", FACTORISATIONS)
def test_every_factorisation_is_that_of_one_matrix(name):
    if name == "ormqr" and not hasattr(jax.lax.linalg, name):
        pytest.skip("not public in this version of JAX")
    f, matrices = FACTORISATIONS[name], jax.vmap(jax.vmap(matrix))(jnp.stack([keys(), keys()[::-1]]))
    many = jax.vmap(jax.vmap(f))
    assert BATCH.search(lowered(many, matrices))
    assert not BATCH.search(lowered(matrix_by_matrix(many), matrices))
    results = jax.tree.leaves(jax.jit(matrix_by_matrix(many))(matrices))
    for i, j in ((0, 0), (1, 3)):
        for ours, alone in zip(results, jax.tree.leaves(f(matrices[i, j])), strict=True):
            np.testing.assert_array_equal(ours[i, j], alone)


def test_a_program_without_factorisations_is_as_it_was():
    def f(x):
        return jax.lax.scan(lambda w, t: (jnp.tanh(w @ w) + t, w.sum()), x, jnp.arange(3.0))

    x = jnp.ones((2, 3, 3))
    assert lowered(matrix_by_matrix(jax.vmap(f)), x).count("while") == lowered(jax.vmap(f), x).count("while") == 1


@pytest.mark.parametrize("devices", [2, 4])
def test_a_sweep_of_factorisations_ends(devices):
    """A separate process has only as many threads as devices; without the loops it would hang for ever."""
    code = (
        "import jax; from plasticity_jax.run import sweep; keys = jax.vmap(jax.random.key)(jax.numpy.arange(1000)); "
        "drawn = lambda key: sum(jax.random.orthogonal(k, 32)[0, 0] for k in jax.random.split(key, 4)); "
        "assert len(jax.devices()) > 1; print(sweep(drawn)(keys).sum())"
    )
    chosen = {2: {"JAX_NUM_CPU_DEVICES": "2"}, 4: {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}}[devices]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
    }
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "NPROC": "2", **chosen},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    assert np.isfinite(float(process.stdout))


def test_a_sweep_on_several_devices_is_a_loop_of_single_matrices():
    eigenvalues = sweep(lambda key: jnp.linalg.eigh(symmetric(matrix(key)))[0])(keys())
    expected = [np.linalg.eigvalsh(symmetric(np.asarray(matrix(key)))) for key in keys()]
    np.testing.assert_allclose(eigenvalues, expected, rtol=1e-12)
