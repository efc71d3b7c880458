"""evosax on the loss of a life as a function of its initial weights, to which the weights decay: linear regression.

For the check it gets the normals of the other side, so that the two estimates must be equal.
"""

from collections.abc import Callable, Mapping
from typing import Any

PACKAGES = {
    "versions": ["evosax", "jax"],
    "rules": {"es": "evosax.algorithms:Open_ES", "pes": "evosax.algorithms:PersistentES"},
    "cells": {},
}


def build(what: Mapping[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], Any]]:
    """The work of `serve`: estimates of the gradient, and generations of the algorithm with SGD."""
    import evosax.algorithms  # pyright: ignore[reportMissingImports]
    import jax
    import jax.numpy as jnp
    import optax

    theta, x, y = (jnp.asarray(arrays[name]) for name in ("theta", "x", "y"))
    persistent, count = what["rule"] == "pes", 2 * what["pairs"]

    def live(born: Any, w: Any, batches: Any) -> tuple[Any, Any]:
        """``(weights after a window, mean loss within it)``."""

        def step(w: Any, batch: Any) -> tuple[Any, Any]:
            error = batch[0] @ w - batch[1]
            slope = error @ batch[0] / len(error) + what["pull"] * (w - born)
            return w - what["inner_rate"] * slope, 0.5 * jnp.mean(error**2)

        w, losses = jax.lax.scan(step, w, batches)
        return w, jnp.mean(losses)

    def algorithm(rate: float) -> tuple[Any, Any]:
        named = getattr(evosax.algorithms, what["theirs"])
        shaping = {"fitness_shaping_fn": lambda population, fitness, *_: fitness}
        es = named(count, theta, optimizer=optax.sgd(rate), std_schedule=lambda _: what["sigma"], **shaping)
        params = es.default_params
        if persistent:
            length = x.shape[1]
            params = params.replace(T=length * what["windows"], K=length)
        return es, params

    def lives(population: Any, w: Any, batches: Any) -> tuple[Any, Any]:
        """The lives of a population, which continue from the weights w if these are given."""
        return jax.vmap(live, (0, 0, None))(population, population if w is None else w, batches)

    def estimates(units: Any) -> Any:
        es, params = algorithm(1.0)
        gradients, w, state = [], None, es.init(jax.random.key(0), theta, params)
        for k in range(what["windows"]):
            signed = what["sigma"] * jnp.concatenate([units[k], -units[k]])
            state = state.replace(mean=theta)
            if persistent:
                state = state.replace(pert_accum=state.pert_accum + signed)
            after, losses = lives(theta + signed, w if persistent else None, (x[k], y[k]))
            w = after if persistent else None
            state, _ = es.tell(jax.random.key(1), theta + signed, losses, state, params)
            gradients.append(theta - state.mean)
        return jnp.stack(gradients)

    es, params = algorithm(what["rate"])

    def generation(carried: Any, given: Any) -> tuple[Any, None]:
        state, w, fresh = carried
        batches, key = given
        key_ask, key_tell = jax.random.split(key)
        population, state = es.ask(key_ask, state, params)
        if persistent:
            w = jnp.where(fresh % what["windows"] == 0, population, w)
            w, losses = lives(population, w, batches)
        else:
            _, losses = lives(population, None, batches)
        state, _ = es.tell(key_tell, population, losses, state, params)
        return (state, w, fresh + 1), None

    many = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * what["repeat"]), (x, y))
    keys = jax.random.split(jax.random.key(2), len(many[0]))
    start = es.init(jax.random.key(3), theta, params), jnp.zeros((count, len(theta))), jnp.zeros((), jnp.int32)
    chunk = jax.jit(lambda start: jax.lax.scan(generation, start, (many, keys))[0])

    def once() -> Any:
        return jax.block_until_ready(chunk(start))

    once()
    return {"gradient/w": jax.jit(estimates)(jnp.asarray(arrays["units"]))}, once


if __name__ == "__main__":
    from serve import serve  # pyright: ignore[reportMissingImports]

    serve(build, PACKAGES)
