r"""Section 4.2 of Lindsey & Litwin-Kumar (2020): a network that, by FLP, writes its training set into its own output.

The construction of appendix A at J = 3 values of x and d = 2 of y, in double precision. N = J^2 + 1 matrices W_i, each
followed by an identity that shields it from the feedback of the next, act on phi(x) = [0; discr x; 0_{J^2 d}; discr x],
W_N first. With G_i = W_{i+1} ... W_N, what enters W_i is G_i phi(x), and W_i = G_{i-1} G_i^{-1}. B_i sends discr y to
the slot of d entries that belongs to the pair i = (j, l). After K examples

    z* = G_0 phi(x*) + alpha sum_k sum_i (G_i phi(x_k) . G_i phi(x*)) G_0 G_{i-1}^{-1} B_i discr y_k + O(alpha^2)

(Oja's other term acts on the entries of G_i phi(x*) in the slots, which are zero). G_i detects x in {j, l}, so that
slot (j, l) counts the y of the x_k in {j, l} if x* is in {j, l} as well, from which all pairs (x_k, y_k) are read.

Slips of the print, mended here. The block of G_i that copies discr x into the last J entries belongs into G_0 alone: in
every G_i it adds discr x_k . discr x* to all slots, and the decoding fails where some x_k = x*, as a test shows. G_N
is an empty product, I, and not free: there is one more W than pairs, and W_N does not learn. The slot of (j, l) is
J (j - 1) + l from 1, not J j + l. G_i phi(x) is near the first unit vector, not e_j, if x is in {j, l}. Rectification
stands inside the mixture with beta, but at beta = 1 and with feedback that is not negative that is the same.
"""

import functools
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.networks import mlp
from plasticity_jax.rules.hebbian import flp
from plasticity_jax.typing import Example
from tests.laws.common import compiled

J, D = 3, 2
WIDTH = 1 + J + J * J * D + J
EPSILON, ALPHA = 1e-2, 1e-4
"""A count is off by 2 epsilon^2 for each x_k = x*, and by alpha K of its value through the second order (Oja)."""
TRAINING = [(0, 1), (2, 0), (1, 1), (1, 0), (0, 1), (1, 1)]
"""Pairs (x, y), by number: x = 1 comes with either y, and two pairs come twice."""


def phi(x):
    x = np.eye(J)[x]
    return np.concatenate([[0.0], x, np.zeros(J * J * D), x])


def construct(as_printed=False):
    """W_1, ..., W_N; B_1, ..., B_{N-1}; and G_0."""
    pairs = [(j, m) for j in range(J) for m in range(J)]
    g = [EPSILON * np.eye(WIDTH) for _ in range(1 + len(pairs))] + [np.eye(WIDTH)]
    for i, (j, m) in enumerate(pairs, 1):
        g[i][0, [1 + j, 1 + m]] = 1.0
    for each in g[:-1] if as_printed else g[:1]:
        each[-J:, -J:] += np.eye(J)
    b = [np.zeros((WIDTH, D)) for _ in pairs]
    for i in range(len(pairs)):
        b[i][1 + J + D * i : 1 + J + D * (i + 1)] = np.eye(D)
    return [before @ np.linalg.inv(after) for before, after in pairwise(g)], b, g[0]


@functools.cache
def written(product, shields, as_printed=False):
    """``z*`` for each x*, after a life on the training set: (J, WIDTH)."""
    w, b, _ = construct(as_printed)
    matrices, feedback, plastic = [], [], []
    for i in reversed(range(len(w))):
        if i < len(b):
            plastic.append(len(matrices))
        matrices.append(w[i])
        feedback.append(b[i] if i < len(b) else np.zeros((WIDTH, D)))
        if shields:
            matrices.append(np.eye(WIDTH))
            feedback.append(np.zeros((WIDTH, D)))
    widths = [WIDTH] * (len(matrices) + 1)
    net = mlp((*widths, D), ["relu"] * len(matrices) + ["identity"])  # the readout, f_out, is required but not used
    matrices, feedback = [*matrices, np.zeros((D, WIDTH))], [*feedback, np.zeros((D, D))]
    params = {
        "forward": {"w": tuple(map(jnp.asarray, matrices)), "bias": tuple(jnp.zeros(len(a)) for a in matrices)},
        "feedback": {
            "w_fb": tuple(jnp.asarray(a.T) for a in feedback),
            "bias": tuple(jnp.zeros(len(a)) for a in matrices),
        },
    }
    presynaptic = "after" if shields else "before"
    rule = flp(net, alpha=ALPHA, beta=1.0, plastic=plastic, signal="target", presynaptic=presynaptic, product=product)
    learn = pj.learner(rule, optax.sgd(1.0))
    x, y = (np.array(column) for column in zip(*TRAINING, strict=True))
    examples = Example(jnp.asarray([[phi(each)] for each in x]), jnp.eye(D)[y][:, None])

    @compiled
    def life():
        first = jax.tree.map(lambda leaf: leaf[0], examples)
        end, _ = pj.meta.lifetime(learn, learn.init(params, jax.random.key(0), first), examples, remat=False)
        return pj.layers.forward(net, end.params["forward"], jnp.asarray([phi(each) for each in range(J)])).h[-2]

    return np.asarray(life())


def decode(z, g_0):
    """x* and how often each (x, y) was in the training set, (J, D), before rounding."""
    x = int(np.argmax(z[-J:]))
    slots = ((z - g_0 @ phi(x)) / ALPHA)[1 + J : -J].reshape(J, J, D)
    same = slots[x, x]
    counts = slots[x] - same
    counts[x] = same
    return x, counts


def in_training():
    counts = np.zeros((J, D))
    np.add.at(counts, tuple(np.transpose(TRAINING)), 1)
    return counts


@pytest.mark.parametrize("product", ["hebb", "oja"])
@pytest.mark.parametrize("shields", [True, False], ids=["shielded, after feedback", "bare, before feedback"])
def test_the_training_set_is_read_from_the_output(product, shields):
    """This holds for every x*; presynaptic activity from before the feedback needs no shield."""
    for x, z in enumerate(written(product, shields)):
        query, counts = decode(z, construct()[2])
        assert query == x
        np.testing.assert_allclose(counts, in_training(), rtol=0, atol=2.5e-3)  # 6 (2 epsilon^2 + 2 alpha) = 2.4e-3


def test_as_printed_examples_with_the_querys_x_count_twice():
    g_0 = construct(as_printed=True)[2]
    for x, z in enumerate(written("hebb", False, as_printed=True)):
        _, counts = decode(z, g_0)
        expected = in_training()
        expected[x] *= 2
        np.testing.assert_allclose(
            counts, expected, rtol=0, atol=0.2
        )  # the copies are 1 + epsilon: 3 * 2 epsilon = 0.06
