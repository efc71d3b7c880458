"""Online rules on braintrace's recurrent networks, with a readout, softmax and SGD at each step.

Weights have our order: w (G, n, m) on [state; inputs; 1], w_out (n_out, n + 1) on [state; 1].
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

PACKAGES = {
    "versions": ["braintrace", "brainstate", "jax"],
    "rules": {
        "rflo": "braintrace:D_RTRL",
        "eprop": "braintrace:EProp",
        "snap": "braintrace:SnAp",
        "uoro": "braintrace:UORO",
        "dni": "braintrace:DNI",
        "recurrent_three_factor": "braintrace:ThreeFactor",
    },
    "cells": {
        "leaky": "braintrace.nn:ValinaRNNCell",
        "gru": "braintrace.nn:GRUCell",
        "lstm": "braintrace.nn:LSTMCell",
        "lif": "brainpy.state:LIF",
        "alif": "brainpy.state:ALIF",
    },
}


def build(what: Mapping[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], Any]]:
    """The work of `serve`: gradients at fixed weights, and weights after learning."""
    import brainstate  # pyright: ignore[reportMissingImports]
    import braintrace  # pyright: ignore[reportMissingImports]
    import jax
    import jax.numpy as jnp

    n, x, y = what["n"], jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"])
    n_in, n_out, linear = x.shape[-1], y.shape[-1], braintrace.nn.Linear

    class FlaxGRU(brainstate.nn.RNNCell):
        """A GRU with the reset after the recurrent product, as in flax and PyTorch; the peer's GRU has it before."""

        def __init__(self):
            super().__init__()
            self.reset, self.update_gate = linear(n_in + n, n), linear(n_in + n, n)
            self.of_input, self.of_state = linear(n_in, n), linear(n, n)

        def init_state(self, batch_size=None, **_: Any):
            self.h = brainstate.HiddenState(jnp.zeros((batch_size, n)))

        def reset_state(self, batch_size=None, **_: Any):
            self.h.value = jnp.zeros((batch_size, n))

        def update(self, x: Any) -> Any:
            h = self.h.value
            both = jnp.concatenate([x, h], -1)
            r, z = jax.nn.sigmoid(self.reset(both)), jax.nn.sigmoid(self.update_gate(both))
            candidate = jnp.tanh(self.of_input(x) + r * self.of_state(h))
            self.h.value = (1 - z) * candidate + z * h
            return self.h.value

    class Spiking(brainstate.nn.Module):
        """The peer's neurons, which receive the input and each other's last spikes."""

        def __init__(self):
            super().__init__()
            self.neurons, self.inputs = spiking_neurons(n, what["cell"], what["options"]), linear(n_in + n, n)

        def update(self, x: Any) -> Any:
            return self.neurons(self.inputs(jnp.concatenate([x, self.neurons.get_spike()], -1)))

    make = {
        "leaky": lambda: braintrace.nn.ValinaRNNCell(n_in, n, activation="tanh"),
        "gru": FlaxGRU,
        "their gru": lambda: braintrace.nn.GRUCell(n_in, n),
        "lstm": lambda: braintrace.nn.LSTMCell(n_in, n),
        "lif": Spiking,
        "alif": Spiking,
    }
    # The readout is not part of the compiled module: in 0.2.6 its gradient would be zero there.
    cell, out = make[what["cell"]](), brainstate.nn.Linear(n, n_out)
    gates = {
        "leaky": [("W", "all")],
        "gru": [("reset", "all"), ("update_gate", "all"), ("of_input", "input"), ("of_state", "state")],
        "lstm": [("Wi", "all"), ("Wf", "all"), ("Wg", "all"), ("Wo", "all")],
        "lif": [("inputs", "all")],
        "alif": [("inputs", "all")],
        "their gru": [],
    }[what["cell"]]
    rows = {"all": [*range(n, n + n_in), *range(n)], "input": [*range(n, n + n_in)], "state": [*range(n)]}

    def load() -> None:
        for g, (name, source) in enumerate(gates):
            w = arrays["w"][g]
            bias = w[:, -1] - (1.0 if (what["cell"], name) == ("lstm", "Wf") else 0.0)  # the peer adds one to it
            getattr(cell, name).weight.value = {
                "weight": jnp.asarray(w[:, rows[source]].T),
                "bias": jnp.asarray(bias, jnp.float32),
            }
        w_out = arrays["w_out"]
        out.weight.value = {"weight": jnp.asarray(w_out[:, :-1].T), "bias": jnp.asarray(w_out[:, -1])}

    def ours(of: Mapping[Any, Any]) -> dict[str, np.ndarray]:
        """Weights, or their gradients, in our order."""
        leaves = {tuple(key): value for key, value in of.items()}
        readout = leaves["out", "weight"]
        weights = {"w_out": np.hstack([readout["weight"].T, readout["bias"][:, None]])}
        if gates:
            w = np.zeros_like(arrays["w"])
            for g, (name, source) in enumerate(gates):
                leaf = leaves["cell", name, "weight"]
                w[g][:, rows[source]] = np.asarray(leaf["weight"]).T
                w[g][:, -1] = leaf["bias"]
            weights["w"] = w
        return weights

    kappa = what.get("kappa")
    options = {"SnAp": {"n": 1}, "EProp": {"kappa_filter_decay": kappa}}.get(what["theirs"], {})
    filtered = brainstate.HiddenState(jnp.zeros((x.shape[1], n)))  # the filter of a leaky readout
    learn = braintrace.compile(cell, getattr(braintrace, what["theirs"]), x[0], batch_size=x.shape[1], **options)
    weights = {
        (name, *key): state
        for name, module in (("cell", cell), ("out", out))
        for key, state in module.states(brainstate.ParamState).items()
    }

    def read(x: Any) -> Any:
        if kappa is None:
            return learn(x)
        filtered.value = kappa * filtered.value + learn(x)
        return filtered.value

    def step(rate: float, x: Any, y: Any) -> Any:
        def loss() -> Any:
            return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(out(read(x))), -1))

        gradients, _ = brainstate.transform.grad(loss, weights, return_value=True)()
        if rate:
            for key, gradient in gradients.items():
                weights[key].value = jax.tree.map(lambda p, g: p - rate * g, weights[key].value, gradient)
            return None
        return gradients

    def fresh() -> None:
        brainstate.nn.reset_all_states(cell, batch_size=x.shape[1])
        learn.reset_state(batch_size=x.shape[1])
        filtered.value = jnp.zeros_like(filtered.value)
        load()

    learning = brainstate.transform.jit(
        lambda x, y: brainstate.transform.for_loop(lambda x, y: step(what["rate"], x, y), x, y)
    )
    watching = brainstate.transform.jit(
        lambda x, y: jax.tree.map(
            lambda leaf: leaf.sum(0), brainstate.transform.for_loop(lambda x, y: step(0.0, x, y), x, y)
        )
    )

    def once() -> None:
        learning(x, y)
        jax.block_until_ready([state.value for state in weights.values()])

    fresh()
    first = what["check"]
    gradients = {f"gradient/{name}": leaf for name, leaf in ours(watching(x[:first], y[:first])).items()}
    fresh()
    once()
    learned = ours({key: state.value for key, state in weights.items()})
    if what["cell"] == "lstm":
        learned["w"][1][:, -1] += 1.0
    return {**gradients, **{f"learned/{name}": leaf for name, leaf in learned.items()}}, once


def spiking_neurons(n: int, cell: str, options: Mapping[str, float]) -> Any:
    """The peer's neurons with constants that make their equations equal to ours; a step lasts 1.

    Theirs is V' = decay (V - (V_th - V_reset) z) + (1 - decay) R I, with z a function of (V - V_th) / (V_th - V_reset).
    """
    import brainpy.state  # pyright: ignore[reportMissingImports]
    import brainstate  # pyright: ignore[reportMissingImports]
    import braintools  # pyright: ignore[reportMissingImports]

    brainstate.environ.set(dt=1.0)
    decay, zero = options["decay"], braintools.init.Constant(0.0)
    membrane: dict[str, Any] = {
        "R": 1 / (1 - decay),
        "tau": -1 / np.log(decay),
        "V_th": 1.0,
        "V_reset": 1 - 1 / decay,
        "V_rest": 0.0,
        "V_initializer": zero,
        # Theirs is a function of the argument of z, ours of V.
        "spk_fun": braintools.surrogate.ReluGrad(0.3 / decay**2, decay),
    }
    if cell == "lif":
        return brainpy.state.LIF(n, **membrane)
    rho = options["adaptation_decay"]  # theirs lets a spike decay in the step in which it is counted
    return brainpy.state.ALIF(n, **membrane, tau_a=-1 / np.log(rho), beta=options["strength"] / rho)


if __name__ == "__main__":
    from serve import serve  # pyright: ignore[reportMissingImports]

    serve(build, PACKAGES)
