r"""Network of appendix A of Lindsey & Litwin-Kumar (2020), which writes its training set into its output by FLP.

x has J values, y has d. Square matrices W_1, ..., W_N act on phi(x) = [0; discr x; 0_{J^2 d}; discr x], W_N first. With
G_i = W_{i+1} ... W_N, so that W_i = G_{i-1} G_i^{-1}, the input of W_i is G_i phi(x), and a life of K examples gives

    z* = G_0 phi(x*) + alpha sum_k sum_i (G_i phi(x_k) . G_i phi(x*)) G_0 G_{i-1}^{-1} B_i discr y_k
         - alpha L sum_k sum_i G_0 G_{i-1}^{-1} diag(B_i discr y_k)^2 G_{i-1} phi(x*) + O(alpha^2)

which is equations 3 to 5; L is 1 for Oja's rule, 0 for Hebb's. The G are epsilon I plus a first row that detects if
x is one of a pair (j, l), and B_i sends discr y to the d entries of that pair's slot (equations 6 and 7): so slot
(j, l) counts the y of the x_k in {j, l} if x* is in {j, l} too.

Two slips of the print matter. It has the block that copies discr x to the last entries in every G; then every slot
counts every x_k = x*. And it has N = J^2 matrices, one for each pair, while G_N, an empty product, is I and detects
nothing but x_k = x*: one more W is needed, which does not learn. "mended" has the block in G_0 alone, and J^2 + 1
matrices.
"""

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import learner
from plasticity_jax.layers import forward
from plasticity_jax.networks import mlp
from plasticity_jax.rules.hebbian import flp
from plasticity_jax.typing import Array, Example

Print = Literal["mended", "block", "layers", "printed"]
"""Slips that are left in: none, the block in every G, the missing matrix, or both."""
PRINTS: tuple[Print, ...] = ("mended", "block", "layers", "printed")


class Network(NamedTuple):
    """The plastic part of the network.

    Attributes:
      w: N matrices (n, n), in the order of the print: the last acts first.
      b: N matrices (n, d) of feedback.
      plastic: N, bool, whether a matrix learns.
    """

    w: Sequence[np.ndarray]
    b: Sequence[np.ndarray]
    plastic: Sequence[bool]


def width(values: int, targets: int) -> int:
    """n, entries of phi(x)."""
    return 1 + 2 * values + values**2 * targets


def features(x: np.ndarray, values: int, targets: int) -> np.ndarray:
    """phi of numbers x (...,) in 0..J-1: (..., n)."""
    one_hot = np.eye(values)[x]
    nothing = np.zeros((*np.shape(x), values**2 * targets))
    return np.concatenate([nothing[..., :1], one_hot, nothing, one_hot], -1)


def construct(values: int, targets: int, epsilon: float, slips: Print = "mended") -> Network:
    """The network of the proof."""
    n = width(values, targets)
    pairs = [(j, m) for j in range(values) for m in range(values)]
    detectors = []
    for j, m in pairs:
        g = epsilon * np.eye(n)
        g[0, [1 + j, 1 + m]] = 1.0
        detectors.append(g)
    if slips in ("layers", "printed"):
        detectors.pop()
    copy = np.diag(np.arange(n) >= n - values) * 1.0
    g = [epsilon * np.eye(n) + copy, *detectors, np.eye(n)]
    if slips in ("block", "printed"):
        g[1:-1] = [each + copy for each in g[1:-1]]
    slots = [np.zeros((n, targets)) for _ in pairs]
    for i, slot in enumerate(slots):
        slot[1 + values + targets * i :][:targets] = np.eye(targets)
    w = [before @ np.linalg.inv(after) for before, after in pairwise(g)]
    rest = len(w) - len(pairs)
    return Network(w, [*slots, *[np.zeros((n, targets))] * rest], [*[True] * len(pairs), *[False] * rest])


def product(matrices: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Their product in order; I if there are none."""
    return functools.reduce(np.matmul, matrices, np.eye(size))


@functools.cache
def life_of(layers: int, plastic: tuple[int, ...], n: int, targets: int, rule: str, presynaptic: str) -> Callable:
    """A life of FLP in a network of so many layers, as one compiled function.

    Returns:
      ``(w, b, alpha, x, y, queries) -> z*`` after each example, (K, Q, n); x (K, n), y (K, d), queries (Q, n).
    """
    net = mlp((*[n] * (layers + 1), targets), ["relu"] * layers + ["identity"])  # the readout is required, but not used

    def run(w: Sequence[Array], b: Sequence[Array], alpha: Array, x: Array, y: Array, queries: Array) -> Array:
        zeros = tuple(jnp.zeros(n) for _ in w)
        params = {
            "forward": {"w": (*w, jnp.zeros((targets, n))), "bias": (*zeros, jnp.zeros(targets))},
            "feedback": {
                "w_fb": (*(each.T for each in b), jnp.zeros((targets, targets))),
                "bias": (*zeros, jnp.zeros(targets)),
            },
        }
        own = flp(net, alpha=alpha, beta=1.0, plastic=plastic, signal="target", presynaptic=presynaptic, product=rule)  # pyright: ignore[reportCallIssue, reportArgumentType] # flp checks the names of its options
        learn = learner(own, optax.sgd(1.0))
        examples = Example(x[:, None], y[:, None])
        initial = learn.init(params, jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], examples))

        def step(state, example):
            state, _ = learn.step(state, example)
            return state, forward(net, state.params["forward"], queries).h[-2]

        return jax.lax.scan(step, initial, examples)[1]

    return jax.jit(run)


def lived(
    network: Network, alpha: float, x: np.ndarray, y: np.ndarray, queries: np.ndarray, rule: str, shields: bool
) -> np.ndarray:
    """Outputs z* after each example, (K, Q, n), for inputs in the form of phi.

    Args:
      network: its matrices.
      alpha: plasticity.
      x: (K, n).
      y: (K, d).
      queries: (Q, n).
      rule: "hebb" or "oja".
      shields: whether an identity that does not learn follows each matrix, with presynaptic activity after feedback, as
        in the proof. Otherwise presynaptic activity is that before feedback, which needs no shields.
    """
    n, targets = network.b[0].shape
    w, b, plastic = [], [], []
    for matrix, back, learns in zip(*(reversed(part) for part in network), strict=True):
        if learns:
            plastic.append(len(w))
        w.append(matrix)
        b.append(back)
        if shields:
            w.append(np.eye(n))
            b.append(np.zeros((n, targets)))
    life = life_of(len(w), tuple(plastic), n, targets, rule, "after" if shields else "before")
    return np.asarray(life(tuple(map(jnp.asarray, w)), tuple(map(jnp.asarray, b)), alpha, x, y, queries))


def first_order(
    network: Network, alpha: float, x: np.ndarray, y: np.ndarray, queries: np.ndarray, rule: str
) -> np.ndarray:
    """Outputs z* by equation 3, in plain NumPy, for all examples together: (Q, n)."""
    w, n = network.w, len(network.w[0])
    z = queries @ product(w, n).T
    for i, back in enumerate(network.b):
        if not network.plastic[i]:
            continue
        before, after = product(w[:i], n), product(w[i + 1 :], n)
        for x_k, y_k in zip(x, y, strict=True):
            post = back @ y_k
            z = z + alpha * np.outer((queries @ after.T) @ (after @ x_k), before @ post)
            if rule == "oja":
                z = z - alpha * queries @ (before @ np.diag(post**2) @ product(w[i:], n)).T
    return z


def decode(z: np.ndarray, network: Network, alpha: float, values: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads a query and the training set from z* (..., n), as the proof does.

    Returns:
      ``(x*, counts)``: (...,) and (..., J, d), how often each (x, y) occurred, before rounding.
    """
    n, targets = network.b[0].shape
    x = np.argmax(z[..., -values:], -1)
    rest = z - features(x, values, targets) @ product(network.w, n).T
    slots = (rest / alpha)[..., 1 + values : n - values].reshape(*x.shape, values, values, targets)
    row = np.take_along_axis(slots, x[..., None, None, None], -3)[..., 0, :, :]
    same = np.take_along_axis(row, x[..., None, None], -2)
    return x, np.where(np.arange(values)[:, None] == x[..., None, None], same, row - same)


def counted(x: np.ndarray, y: np.ndarray, values: int, targets: int) -> np.ndarray:
    """Counts of each (x, y) after each example: (K, J, d)."""
    return np.cumsum(np.eye(values)[x][:, :, None] * np.eye(targets)[y][:, None], 0)
