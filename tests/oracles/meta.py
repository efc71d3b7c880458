"""Lives of gradient descent in plain NumPy, and derivatives by complex steps.

Every function here is analytic, and its arithmetic is done in complex numbers if theta is complex. The derivative of f
is then Im f(theta + i h) / h, which loses no digit to subtraction and, at h = 1e-30, none to truncation.
"""

import jax
import numpy as np

PHI = {
    "tanh": (np.tanh, lambda h: 1 - h**2),
    "relu": (lambda v: v * (v.real > 0), lambda h: 1.0 * (h.real > 0)),
    "identity": (lambda v: v, lambda h: 1),
}


def activities(weights, x, activations):
    """h^0, ..., h^L of examples (B, n)."""
    h = [x]
    for w, bias, name in zip(weights["w"], weights["bias"], activations, strict=True):
        h.append(PHI[name][0](h[-1] @ w.T + bias))
    return h


def loss_of(weights, x, y, activations):
    """Half the squared error, summed over outputs, mean over examples."""
    return np.sum((activities(weights, x, activations)[-1] - y) ** 2) / (2 * len(x))


def gradient_of(weights, x, y, activations):
    """The loss's derivative by the chain rule, one example at a time."""
    dtype = np.result_type(x, y, *jax.tree.leaves(weights))
    gradient = jax.tree.map(lambda leaf: np.zeros(leaf.shape, dtype), weights)
    for one_x, one_y in zip(x, y, strict=True):
        h = activities(weights, one_x, activations)
        e = (h[-1] - one_y) / len(x)
        for i in reversed(range(len(activations))):
            e = e * PHI[activations[i]][1](h[i + 1])
            gradient["w"][i][...] += np.outer(e, h[i])
            gradient["bias"][i][...] += e
            e = weights["w"][i].T @ e
    return gradient


def live(weights, rate, batches, activations):
    """The weights after a step on each of the (x, y), the sum of the gradients, and the loss before each step.

    rate has the structure of the weights.
    """
    total, losses = jax.tree.map(np.zeros_like, weights), []
    for x, y in batches:
        losses.append(loss_of(weights, x, y, activations))
        gradient = gradient_of(weights, x, y, activations)
        weights = jax.tree.map(lambda w, r, g: w - r * g, weights, rate, gradient)
        total = jax.tree.map(np.add, total, gradient)
    return weights, total, losses


def derivative(f, theta):
    """df/dtheta of a real analytic f of a tree of float arrays."""
    leaves, treedef = jax.tree.flatten(theta)
    gradients = []
    for i, leaf in enumerate(leaves):
        slopes = np.zeros(np.shape(leaf))
        for at in np.ndindex(slopes.shape):
            moved = [np.array(other, complex) for other in leaves]
            moved[i][at] += 1e-30j
            slopes[at] = np.imag(f(jax.tree.unflatten(treedef, moved))) / 1e-30
        gradients.append(slopes)
    return jax.tree.unflatten(treedef, gradients)
