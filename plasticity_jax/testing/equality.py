"""Equality of pytrees; a difference is one line with the leaf, its value and the expected value."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.typing import Array, PyTree


class Broken(AssertionError):
    """A law that does not hold, and why, in one line."""


def require(holds: Any, reason: str) -> None:
    """Raises `Broken` with the reason unless the condition holds."""
    if not holds:
        raise Broken(reason)


def is_key(leaf: Any) -> bool:
    """Returns whether a leaf is a typed PRNG key."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_floating(leaf: Any) -> bool:
    """Returns whether a leaf is floating: learning changes no other."""
    return jnp.issubdtype(leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf), jnp.floating)


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Casts floating leaves to dtype; labels, counts and keys stay."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if is_floating(leaf) else leaf, tree)


def at(tree: PyTree, i: int) -> PyTree:
    """Entry i of every leaf's leading axis."""
    return jax.tree.map(lambda leaf: leaf[i], tree)


def stack(trees: list[PyTree]) -> PyTree:
    """Trees of one structure as one tree, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def floats(tree: PyTree) -> list[Array]:
    """Floating leaves."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def host(tree: PyTree) -> PyTree:
    """The tree with NumPy leaves, and the words of its keys."""
    return jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree)


def avals(tree: PyTree, weak: bool = True) -> dict[str, str]:
    """Every leaf's dtype, shape and weak type, by its path: ``{".traces['e']": "float32[3, 4]"}``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): _aval(leaf, weak) for path, leaf in leaves}


def assert_same_form(actual: PyTree, expected: PyTree, label: str, weak: bool = True) -> None:
    """Asserts equal structure, and equal shape, dtype and, by default, weak type of every leaf."""
    actual_avals, expected_avals = avals(actual, weak), avals(expected, weak)
    for path in [*actual_avals, *expected_avals]:
        aval, expected_aval = actual_avals.get(path, "nothing"), expected_avals.get(path, "nothing")
        require(aval == expected_aval, f"{label}{path} is {aval}, not {expected_aval}")
    structures = jax.tree.structure(actual), jax.tree.structure(expected)
    require(structures[0] == structures[1], f"{label} has another structure: {structures[0]}, not {structures[1]}")


def assert_same(actual: PyTree, expected: PyTree, message: str = "") -> None:
    """Asserts equality bit for bit."""
    _compare(actual, expected, lambda a, b: (a == b) | ((a != a) & (b != b)), message)


def assert_close(actual: PyTree, expected: PyTree, rtol: float = 1e-9, message: str = "") -> None:
    """Asserts equality up to rounding: each leaf to rtol times its own largest entry, or times 1e-5 if that is larger.

    Two compilations of ten float64 steps differ by about 1e-15 a step, amplified by the network's dynamics and by the
    ratios of norms that some rules take (a factor of 10 to 1e3); 1e-9 leaves a wide margin, and any change of the
    mathematics moves the result by far more.
    """

    def close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        floating = np.issubdtype(b.dtype, np.floating)
        scale = np.max(np.abs(b), initial=1e-5, where=np.isfinite(b)) if floating else 0
        return np.isclose(a, b, rtol=0, atol=rtol * scale, equal_nan=True)

    _compare(actual, expected, close, message)


def require_numbers(state: PyTree, loss: Any, label: str) -> None:
    """Requires finite floating leaves of the state, and finite losses: two NaN would count as equal."""
    for path, leaf in jax.tree_util.tree_flatten_with_path({"state": state, "loss": loss})[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        require(not is_floating(leaf) or np.isfinite(leaf).all(), f"{label}: {name} is not finite")


def distance(actual: PyTree, expected: PyTree) -> float:
    """Largest relative distance between leaves; infinite from a leaf of zeros, and where one is not a number."""

    def relative(a: Array, b: Array) -> float:
        with np.errstate(invalid="ignore", over="ignore"):
            change, size = np.linalg.norm(np.asarray(a, float) - np.asarray(b, float)), np.linalg.norm(b.astype(float))
        if not np.isfinite(change):
            return np.inf
        return float(change / size) if size > 0 else (np.inf if change > 0 else 0.0)

    return max(jax.tree.leaves(jax.tree.map(relative, host(actual), host(expected))))


def _compare(
    actual: PyTree, expected: PyTree, equal: Callable[[np.ndarray, np.ndarray], np.ndarray], message: str
) -> None:
    prefix = f"{message}: " if message else ""

    def compare(path: Any, a: Any, b: Any) -> None:
        a, b, name = np.asarray(a), np.asarray(b), jax.tree_util.keystr(path).removeprefix(".") or "it"
        aval, expected_aval = _aval(a), _aval(b)
        require(aval == expected_aval, f"{prefix}{name} is {aval}, not {expected_aval}")
        same = np.asarray(equal(a, b))
        if not same.all():
            where = np.unravel_index(np.argmin(same), same.shape)
            index = f"[{', '.join(map(str, where))}]" if where else ""
            count = f" ({same.size - same.sum()} of {same.size} entries differ)" if same.size > 1 else ""
            raise Broken(f"{prefix}{name}{index} is {a[where]:.12g}, not {b[where]:.12g}{count}")

    jax.tree_util.tree_map_with_path(compare, host(actual), host(expected))


def _aval(leaf: Any, weak: bool = True) -> str:
    weakly = "weakly typed " if weak and getattr(leaf, "weak_type", False) else ""  # keys have none
    return f"{weakly}{leaf.dtype}[{', '.join(map(str, leaf.shape))}]"
