"""The works of the peers' scripts by this library, each as a single lane of `sweep`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

PACKAGES = {"versions": ["plasticity_jax", "jax"], "rules": {}, "cells": {}}
Found = tuple[dict[str, Any], Callable[[], Any]]


def build(what: Mapping[str, Any], arrays: dict[str, Any]) -> Found:
    """The work of `serve`: gradients at fixed weights, and weights after learning."""
    return {"online": online, "windows": online, "layers": layers, "outer": outer}[what["task"]](what, arrays)


def online(what: Mapping[str, Any], arrays: dict[str, Any]) -> Found:
    """A rule on a recurrent network, step by step, or window by window with x (windows, B, T, n_in)."""
    import jax.numpy as jnp

    import plasticity_jax as pj

    n_in, n_out = (arrays[of].shape[-1] for of in "xy")
    make, rule = getattr(pj.cells, what["cell"].removeprefix("their ")), getattr(pj.rules, what["rule"])
    cell = make(n_in, what["n"], n_out, **what["options"])
    cell = pj.cells.leaky_readout(cell, what["kappa"]) if "kappa" in what else cell
    forward = {name: jnp.asarray(arrays[name]) for name in ("w", "w_out")}
    params = {"forward": forward, "feedback": {"w_fb": jnp.zeros((n_out, what["n"]), forward["w"].dtype)}}
    return _learned(what, rule(cell, **({"window": None} if what["task"] == "windows" else {})), params, arrays)


def layers(what: Mapping[str, Any], arrays: dict[str, Any]) -> Found:
    """A feedback rule on sigmoid layers with a linear output, x (steps, B, n_in)."""
    import jax.numpy as jnp

    import plasticity_jax as pj

    depth = len(what["widths"]) - 1
    net = pj.networks.mlp(what["widths"], ["sigmoid"] * (depth - 1) + ["identity"])
    groups = {name: tuple(jnp.asarray(arrays[f"{name}{i}"]) for i in range(depth)) for name in ("w", "bias")}
    feedback = tuple(jnp.asarray(arrays[f"w_fb{i}"]) for i in range(1, depth))
    params = {"forward": groups, "feedback": {"w_fb": feedback}}
    return _learned(what, getattr(pj.rules, what["rule"])(net), params, arrays)


def _learned(what: Mapping[str, Any], rule: Any, params: Any, arrays: Mapping[str, Any]) -> Found:
    """A rule's summed updates at fixed weights, the weights after SGD, and a function that repeats the SGD."""
    import jax
    import jax.numpy as jnp
    import optax

    import plasticity_jax as pj

    examples, key = pj.Example(jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"])), jax.random.key(0)
    learn = pj.learner(rule, optax.sgd(what["rate"]))
    start = learn.init(params, key, jax.tree.map(lambda leaf: leaf[0], examples))

    def watch(traces: Any, example: Any) -> tuple[Any, Any]:
        updates, traces, _ = rule.update(params, traces, key, example)
        return traces, updates

    def gradient() -> Any:
        few = jax.tree.map(lambda leaf: leaf[: what["check"]], examples)
        return jax.tree.map(lambda leaf: leaf.sum(0), jax.lax.scan(watch, start.traces, few)[1])

    chunk = pj.run.sweep(lambda state: jax.lax.scan(lambda s, e: (learn.step(s, e)[0], None), state, examples)[0])
    states = jax.tree.map(lambda leaf: leaf[None], start)
    learned = jax.tree.map(lambda leaf: leaf[0], chunk(states).params)
    results = {**_named("gradient", jax.jit(gradient)()), **_named("learned", learned)}
    return results, lambda: jax.block_until_ready(chunk(states))


def _named(kind: str, params: Any) -> dict[str, Any]:
    """The forward weights by name; names in a tuple of layers end in the layer's number."""
    named = {}
    for name, leaf in params["forward"].items():
        for i, weights in enumerate(leaf if isinstance(leaf, tuple) else [leaf]):
            named[f"{kind}/{name}{i if isinstance(leaf, tuple) else ''}"] = weights
    return named


def outer(what: Mapping[str, Any], arrays: dict[str, Any]) -> Found:
    """Estimates of the gradient of a life by its initial weights, to which the weights decay: linear regression."""
    import jax
    import jax.numpy as jnp
    import optax

    import plasticity_jax as pj
    from plasticity_jax.base import READY
    from plasticity_jax.meta.episodes import unit_normals
    from plasticity_jax.typing import Episode

    def descent(theta: Any) -> Any:
        def update(params: Any, traces: Any, key: Any, batch: Any) -> tuple[Any, Any, Any]:
            error = batch.x @ params["w"] - batch.y
            slope = error @ batch.x / len(batch.x) + what["pull"] * (params["w"] - theta["w"])
            return {"w": slope}, traces, pj.Info(0.5 * jnp.mean(error**2), READY, {})

        return pj.learner(pj.LearningRule(lambda params, key, batch: (), update), optax.sgd(what["inner_rate"]))

    life = pj.meta.Life(descent, lambda theta: {"w": theta["w"]}, on_the_way=jnp.mean)
    windows = {"windows": what["windows"]} if what["rule"] == "pes" else {}
    rule = getattr(pj.meta, what["rule"])(life, sigma=what["sigma"], pairs=what["pairs"], **windows)
    theta = {"w": jnp.asarray(arrays["theta"])}
    batches = pj.Example(jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"]))  # (windows, T, b, D) and (windows, T, b)
    episodes = jax.tree.map(lambda leaf: leaf[:, None], Episode(batches, ()))
    key = jax.random.key(0)
    keys = jax.random.split(key, what["windows"])
    traces = rule.init(theta, key, jax.tree.map(lambda leaf: leaf[0], episodes))

    def watch(traces: Any, given: Any) -> tuple[Any, Any]:
        updates, traces, _ = rule.update(theta, traces, *given)
        return traces, updates["w"]

    gradients = jax.jit(partial(jax.lax.scan, watch, traces))((keys, episodes))[1]
    units = jnp.stack([unit_normals(jax.random.split(key)[0], theta, what["pairs"])["w"] for key in keys])
    learn = pj.learner(rule, optax.sgd(what["rate"]))
    start = learn.init(theta, key, jax.tree.map(lambda leaf: leaf[0], episodes))
    many = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * what["repeat"]), episodes)
    chunk = pj.run.sweep(lambda state: jax.lax.scan(lambda s, e: (learn.step(s, e)[0], None), state, many)[0])
    states = jax.tree.map(lambda leaf: leaf[None], start)

    def once() -> Any:
        return jax.block_until_ready(chunk(states))

    once()
    return {"gradient/w": gradients, "given/units": units}, once


if __name__ == "__main__":
    from serve import serve  # pyright: ignore[reportMissingImports]

    serve(build, PACKAGES)
