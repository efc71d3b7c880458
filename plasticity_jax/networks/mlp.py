r"""The multilayer perceptron of Lansdell, Prakash & Kording (2020): a chain of dense layers.

    h^0 = x,   v^i = h^{i-1} W^i^T + b^i,   h^i = phi_i(v^i),   i = 1..L;   yhat = h^L

A row is an example: h^i is (B, n_i), W^i is (n_i, n_{i-1}). The loss of an example is 1/2 sum (yhat - y)^2 ("squared"),
-sum y log softmax(yhat) ("softmax"), or a function of yhat and y.
"""

from collections.abc import Sequence

from plasticity_jax.layers.chain import Chain, chain
from plasticity_jax.layers.dense import dense
from plasticity_jax.layers.layer import Phi
from plasticity_jax.ops.losses import Loss


def mlp(sizes: Sequence[int], activations: Sequence[Phi], loss: Loss = "squared") -> Chain:
    """A chain of dense layers.

    Args:
      sizes: n_0, ..., n_L, the widths of the input and of every layer.
      activations: for each layer, the output last, a key of `plasticity_jax.ops.activations.ACTIVATIONS` or any
        function of a batch.
      loss: "squared"; "softmax", which includes the softmax, so that the last activation is then "identity", and which
        takes integer labels too; or a function ``(yhat (n_L,), y) -> ()`` of one example.

    Returns:
      A `plasticity_jax.layers.Chain`; `plasticity_jax.layers.init_params` draws its weights.

    Raises:
      ValueError: if there is not one activation for each layer, a name is not known, or the softmax follows a
        nonlinearity.

    Example:
      >>> mlp((784, 30, 10), ("sigmoid", "identity"), "softmax")
      Chain((784,) - dense(30) sigmoid - dense(10), loss='softmax')
    """
    if isinstance(activations, str) or not len(sizes) - 1 == len(activations) > 0:
        raise ValueError(
            f"sizes={tuple(sizes)} and activations={activations!r}: name the input's and every layer's width, and one "
            "activation for each layer, as in mlp((3, 5, 2), ('tanh', 'identity'))"
        )
    return chain(sizes[:1], [dense(n, phi) for n, phi in zip(sizes[1:], activations, strict=True)], loss)
