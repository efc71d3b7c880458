"""Chains of layers in plain NumPy, one example at a time; a convolution is a loop over its windows, term by term.

Written from the equations, not from the library. A net is a list of this file's layers; those with weights
count from 0, and those between them belong to the path of the next, or of the output.
"""

import itertools
from types import SimpleNamespace

import numpy as np

PHI = {
    "tanh": (np.tanh, lambda v: 1 / np.cosh(v) ** 2),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), lambda v: 0.25 / np.cosh(v / 2) ** 2),
    "relu": (lambda v: np.maximum(v, 0), lambda v: (v > 0).astype(v.dtype)),
    "identity": (lambda v: v, np.ones_like),
}


class Dense:
    weighs = True

    def __init__(self, phi="identity"):
        self.phi = phi

    def forward(self, w, h):
        return w @ h

    def credit(self, b, shape, error):
        return b.T @ error

    def gradient(self, w, h, error):
        return np.outer(error, h)


class Conv:
    """y[r, c] = sum over u, v of W[u, v]^T h[s r + u - p, s c + v - p], with zeros outside of the image."""

    weighs = True

    def __init__(self, phi="identity", stride=(1, 1), padding="SAME"):
        self.phi, self.stride, self.padding = phi, stride, padding

    def taps(self, shape, kernel):
        """``(r, c), (u, v), (row, column)`` of every product, and the output's size."""
        sizes, starts = [], []
        for pixels, k, s in zip(shape, kernel, self.stride, strict=False):
            if self.padding == "SAME":  # as many windows as strides; the odd zero goes to the far side
                sizes.append(-(-pixels // s))
                starts.append(max((sizes[-1] - 1) * s + k - pixels, 0) // 2)
            else:
                sizes.append((pixels - k) // s + 1)
                starts.append(0)
        products = []
        for r, c, u, v in itertools.product(*map(range, (*sizes, *kernel[:2]))):
            row, column = r * self.stride[0] + u - starts[0], c * self.stride[1] + v - starts[1]
            if 0 <= row < shape[0] and 0 <= column < shape[1]:
                products.append(((r, c), (u, v), (row, column)))
        return products, tuple(sizes)

    def forward(self, w, h):
        taps, sizes = self.taps(h.shape, w.shape)
        out = np.zeros((*sizes, w.shape[-1]), h.dtype)
        for place, tap, pixel in taps:
            out[place] += h[pixel] @ w[tap]
        return out

    def credit(self, b, shape, error):
        out = np.zeros(shape, error.dtype)
        for place, tap, pixel in self.taps(shape, b.shape)[0]:
            out[pixel] += b[tap] @ error[place]
        return out

    def gradient(self, w, h, error):
        out = np.zeros_like(w)
        for place, tap, pixel in self.taps(h.shape, w.shape)[0]:
            out[tap] += np.outer(h[pixel], error[place])
        return out


class Pool:
    weighs = False

    def __init__(self, size):
        self.size = size

    def pixels(self, shape):
        """``(r, c), (row, column)`` of every term of a mean."""
        n = self.size
        return [((row // n, c // n), (row, c)) for row in range(shape[0] // n * n) for c in range(shape[1] // n * n)]

    def forward(self, h):
        out = np.zeros((h.shape[0] // self.size, h.shape[1] // self.size, h.shape[2]), h.dtype)
        for place, pixel in self.pixels(h.shape):
            out[place] += h[pixel] / self.size**2
        return out

    def credit(self, shape, error):
        out = np.zeros(shape, error.dtype)
        for place, pixel in self.pixels(shape):
            out[pixel] = error[place] / self.size**2
        return out


class Flatten:
    weighs = False

    def forward(self, h):
        return h.ravel()

    def credit(self, shape, error):
        return error.reshape(shape)


def parts(net):
    """The layers with weights, and those without before each of these and after the last."""
    layers, between = [], [[]]
    for layer in net:
        if layer.weighs:
            layers.append(layer)
            between.append([])
        else:
            between[-1].append(layer)
    return layers, between


def run(net, forward, x, noise=None):
    """One example, forward: h^0 to h^L, each layer's input, and the slopes; noise is added to the hidden h^i."""
    layers, between = parts(net)
    h, inputs, slope = [x], [], []
    for i, layer in enumerate(layers):
        inputs.append(passed(between[i], h[-1])[-1])
        v = layer.forward(forward["w"][i], inputs[-1]) + forward["bias"][i]
        phi, derivative = PHI[layer.phi]
        h.append(phi(v) + (0 if noise is None or i == len(layers) - 1 else noise[i]))
        slope.append(derivative(v))
    h[-1] = passed(between[-1], h[-1])[-1]
    return SimpleNamespace(h=h, inputs=inputs, slope=slope)


def passed(weightless, h):
    """Activity before each of these layers, and after the last."""
    steps = [h]
    for layer in weightless:
        steps.append(layer.forward(steps[-1]))
    return steps


def pulled(weightless, shape, error):
    """Credit for activity of this shape, from an error after these layers."""
    shapes = [step.shape for step in passed(weightless, np.zeros(shape))]
    for layer, before in zip(reversed(weightless), reversed(shapes[:-1]), strict=True):
        error = layer.credit(before, error)
    return error


def errors(net, activity, back, error, direct=False):
    """One example, backward: e~^1 to e~^L from dL/dh^L, and the credit c^i of the hidden activities."""
    layers, between = parts(net)
    e = [pulled(between[-1], activity.slope[-1].shape, error) * activity.slope[-1]]
    credit = []
    for i in reversed(range(len(layers) - 1)):
        shape = activity.h[i + 1].shape
        if direct:
            credit.insert(0, (e[-1].ravel() @ back[i]).reshape(shape))
        else:
            carried = layers[i + 1].credit(back[i], activity.inputs[i + 1].shape, e[0])
            credit.insert(0, pulled(between[i + 1], shape, carried))
        e.insert(0, credit[0] * activity.slope[i])
    return e, credit


def gradients(net, weights, activity, e):
    """The gradients of each layer's weights and bias for one example."""
    layers, _ = parts(net)
    w = [layer.gradient(*of) for layer, *of in zip(layers, weights["w"], activity.inputs, e, strict=True)]
    return w, [each.reshape(-1, each.shape[-1]).sum(0) for each in e]
