"""Modules of flax.linen as layers."""

import functools
from typing import Any

import jax

from plasticity_jax.layers.layer import Init, Layer, Linear, Phi
from plasticity_jax.ops.activations import check_activation
from plasticity_jax.typing import Array, Key, PyTree


def from_flax(module: Any, phi: Phi = "identity") -> Layer:
    """A flax.linen module without bias as a layer; its weights are the module's own tree, drawn by its initialisers.

    Args:
      module: such as ``nn.Conv(16, (3, 3), use_bias=False)``: linear in its weights and in its input, which `chain`
        checks. The chain adds the bias.
      phi: a nonlinearity by name, or any function of a batch.

    Returns:
      A `Layer`.

    Raises:
      TypeError: if `module` is not a flax.linen module.
      ValueError: if phi is not known.

    Example:
      >>> import flax.linen as nn, jax, plasticity_jax as pj
      >>> shared = from_flax(nn.ConvLocal(4, (3, 3), use_bias=False), "relu")  # each window has its own weights
      >>> net = pj.layers.chain((8, 8, 1), [shared, pj.layers.flatten(), pj.layers.dense(2)])
      >>> pj.layers.init_params(jax.random.key(0), net)["forward"]["w"][0]["kernel"].shape
      (8, 8, 9, 4)
    """
    if not is_flax_module(module):
        raise TypeError(f"from_flax takes a flax.linen module, such as nn.Dense(10, use_bias=False), not {module!r}")
    check_activation(phi)
    try:
        linear, init = _functions(module)
    except TypeError:  # a module that holds a list cannot be hashed
        linear, init = _functions.__wrapped__(module)
    return Layer(type(module).__name__, linear, init, phi)


@functools.cache  # the same functions for equal modules: networks built alike compare equal
def _functions(module: Any) -> tuple[Linear, Init]:
    def linear(w: PyTree, h: Array) -> Array:
        return module.apply({"params": w}, h)

    def init(key: Key, shape: tuple[int, ...], dtype: Any) -> PyTree:
        blank = jax.ShapeDtypeStruct((1, *shape), dtype)
        drawn = module.lazy_init(key, blank)
        if set(drawn) - {"params"}:
            others = ", ".join(sorted(set(drawn) - {"params"}))
            raise ValueError(
                f"{type(module).__name__} carries {others}: a layer has weights ('params') and nothing else"
            )
        return jax.tree.map(lambda leaf: leaf.astype(dtype), drawn.get("params", {}))

    return linear, init


def is_flax_module(value: Any) -> bool:
    """Returns whether a value has the two methods of a flax.linen module that a layer needs."""
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in ("lazy_init", "apply"))
