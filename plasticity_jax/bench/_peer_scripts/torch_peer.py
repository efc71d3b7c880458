"""PyTorch, and BioTorch's layers: backpropagation through windows of time, and feedback alignment, with SGD.

Weights have our order: w (G, n, m) on [state; inputs; 1], w_out (n_out, n + 1) on [state; 1].
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

TORCH = {
    "versions": ["torch"],
    "rules": {"bptt": "autograd", "backprop": "autograd", "meta_gradient": "autograd"},
    "cells": {
        "leaky": "torch.nn:RNN",
        "gru": "torch.nn:GRU",
        "lstm": "torch.nn:LSTM",
        "dense": "torch.nn:Linear",
        "conv": "torch.nn:Conv2d",
    },
}
BIOTORCH = {
    "versions": ["biotorch", "torch"],
    "rules": {
        "backprop": "biotorch.layers:backpropagation",
        "feedback_alignment": "biotorch.layers:fa",
        "direct_feedback_alignment": "biotorch.layers:dfa",
        "sign_symmetry": "biotorch.layers:usf",
    },
    "cells": {"dense": "biotorch.layers.fa:Linear", "conv": "biotorch.layers.fa:Conv2d"},
}
Found = tuple[dict[str, Any], Callable[[], Any]]


def build(what: Mapping[str, Any], arrays: dict[str, Any]) -> Found:
    """The work of `serve`: gradients at fixed weights, and weights after learning."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    return {"windows": windows, "layers": layers}[what["task"]](what, arrays)


def windows(what: Mapping[str, Any], arrays: dict[str, Any]) -> Found:
    """BPTT on windows x (K, B, T, n_in): the state continues from window to window, but credit does not."""
    import torch  # pyright: ignore[reportMissingImports]

    n, x, y = what["n"], torch.tensor(arrays["x"]), torch.tensor(arrays["y"])
    n_in, n_out = x.shape[-1], y.shape[-1]
    cell = {"leaky": torch.nn.RNN, "gru": torch.nn.GRU}[what["cell"]](n_in, n, batch_first=True)
    out = torch.nn.Linear(n, n_out)
    w, w_out = torch.tensor(arrays["w"]), torch.tensor(arrays["w_out"])
    start = {
        "weight_hh": w[:1, :, :n],
        "weight_ih": w[:1, :, n:-1],
        "bias_ih": w[:1, :, -1],
        "bias_hh": 0 * w[:1, :, -1],
    }
    if what["cell"] == "gru":  # reset, update, and the candidate, with halves that are our third and fourth gate
        start = {
            "weight_hh": w[[0, 1, 3], :, :n],
            "weight_ih": w[:3, :, n:-1],
            "bias_ih": w[:3, :, -1],
            "bias_hh": torch.stack([0 * w[0, :, -1], 0 * w[1, :, -1], w[3, :, -1]]),
        }

    def load() -> None:
        with torch.no_grad():
            for name, value in start.items():
                getattr(cell, f"{name}_l0").copy_(value.reshape(getattr(cell, f"{name}_l0").shape))
            out.weight.copy_(w_out[:, :-1])
            out.bias.copy_(w_out[:, -1])

    def gradient() -> dict[str, Any]:
        """Gradients in our order; where PyTorch has two biases, each has its own gradient."""
        grad, g = np.zeros_like(arrays["w"]), len(cell.weight_hh_l0) // n
        hh, ih, b_ih, b_hh = (
            getattr(cell, f"{name}_l0").grad.numpy().reshape(g, n, -1)
            for name in ("weight_hh", "weight_ih", "bias_ih", "bias_hh")
        )
        grad[:g, :, n:-1], grad[:g, :, -1:] = ih, b_ih
        if g == 1:
            grad[:, :, :n] = hh
        else:
            grad[[0, 1, 3], :, :n], grad[3, :, -1:] = hh, b_hh[2]
        readout = torch.hstack([out.weight.grad, out.bias.grad[:, None]])
        return {"gradient/w": grad, "gradient/w_out": readout.numpy().copy()}

    descent = torch.optim.SGD([*cell.parameters(), *out.parameters()], what["rate"])

    def run(count: int, learn: bool) -> None:
        load()
        state = torch.zeros(1, x.shape[1], n)
        descent.zero_grad()
        for window, target in zip(x[:count], y[:count], strict=True):
            r, state = cell(window, state.detach())
            (-(target * torch.log_softmax(out(r), -1)).sum((1, 2)).mean()).backward()
            if learn:
                descent.step()
                descent.zero_grad()

    run(what["check"], False)
    gradients = gradient()

    def once() -> None:
        run(len(x), True)

    once()
    return gradients, once


def layers(what: Mapping[str, Any], arrays: dict[str, Any]) -> Found:
    """Sigmoid layers with a linear output; feedback alignment by an `autograd.Function`, or by BioTorch's layers."""
    import torch  # pyright: ignore[reportMissingImports]

    x, y, depth = torch.tensor(arrays["x"]), torch.tensor(arrays["y"]), len(what["widths"]) - 1

    class Aligned(torch.autograd.Function):
        """A linear layer with a fixed matrix for the backward error."""

        @staticmethod
        def forward(ctx: Any, h: Any, w: Any, bias: Any, w_fb: Any) -> Any:
            ctx.save_for_backward(h, w_fb)
            return torch.nn.functional.linear(h, w, bias)

        @staticmethod
        def backward(ctx: Any, *errors: Any) -> Any:
            (h, w_fb), error = ctx.saved_tensors, errors[0]
            back = error @ w_fb if ctx.needs_input_grad[0] else None
            return back, error.T @ h, error.sum(0), None

    class Linear(torch.nn.Linear):
        def forward(self, h: Any) -> Any:
            return Aligned.apply(h, self.weight, self.bias, self.weight_backward)

    if what["theirs"].startswith("biotorch"):
        from biotorch.layers.fa import Linear  # pyright: ignore[reportMissingImports]

    net = [Linear(a, b) for a, b in zip(what["widths"][:-1], what["widths"][1:], strict=True)]

    def load() -> None:
        with torch.no_grad():
            for i, layer in enumerate(net):
                layer.weight.copy_(torch.tensor(arrays[f"w{i}"]))
                layer.bias.copy_(torch.tensor(arrays[f"bias{i}"]))
                w_fb = torch.tensor(arrays[f"w_fb{i}"]) if i else torch.zeros_like(layer.weight)
                layer.weight_backward = torch.nn.Parameter(w_fb, requires_grad=False)

    load()
    descent = torch.optim.SGD([p for layer in net for p in (layer.weight, layer.bias)], what["rate"])

    def backward(h: Any, target: Any) -> None:
        for i, layer in enumerate(net):
            h = layer(h) if i == depth - 1 else torch.sigmoid(layer(h))
        (0.5 * ((h - target) ** 2).sum(1).mean()).backward()

    descent.zero_grad()
    for h, target in zip(x[: what["check"]], y[: what["check"]], strict=True):
        backward(h, target)
    results = {f"gradient/w{i}": layer.weight.grad.numpy().copy() for i, layer in enumerate(net)}
    results |= {f"gradient/bias{i}": layer.bias.grad.numpy().copy() for i, layer in enumerate(net)}

    def once() -> None:
        load()
        for h, target in zip(x, y, strict=True):
            descent.zero_grad()
            backward(h, target)
            descent.step()

    once()
    results |= {f"learned/w{i}": layer.weight.detach().numpy().copy() for i, layer in enumerate(net)}
    return results, once


if __name__ == "__main__":
    from serve import serve  # pyright: ignore[reportMissingImports]

    serve(build, BIOTORCH if "biotorch" in sys.prefix else TORCH)
