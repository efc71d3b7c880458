"""Speed of the feedback family: what a step costs beside one of backpropagation on the same network.

Ratios are of wall times taken in turns in the same run, the least of several, since the machine may be busy with other
things. The limit counts the products alone: 2 first + 3 rest for backpropagation, 2 first + 5 rest for node
perturbation, first and rest being one product with the first layer's weights and with those of all others.
"""

import functools
import importlib.util
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bench._timing import product_rate
from plasticity_jax.base import READY, Info, Learner, LearningRule, learner
from plasticity_jax.layers import Chain, chain, conv, dense, flatten, init_params, pool
from plasticity_jax.networks import mlp
from plasticity_jax.rules import feedback
from plasticity_jax.run import sweep
from plasticity_jax.typing import Example, PyTree

WIDTHS = ((784, 50, 20, 10), (784, 512, 200, 10))
BATCH = 32
CHANNELS = (16, 32)
"""Of two convolutions of kernel 5, a pool of 2 behind each, in front of the readout of ten classes."""

CONVOLUTIONAL = (
    "backprop",
    "value_and_grad",
    "feedback_alignment",
    "direct_feedback_alignment",
    "sign_symmetry",
    "matching",
    "weight_mirror",
    "weight_perturbation",
    "node_perturbation",
)


def dense_net(widths: Sequence[int]) -> Chain:
    """Sigmoid layers with a linear output."""
    return mlp(widths, ["sigmoid"] * (len(widths) - 2) + ["identity"])


def conv_net() -> Chain:
    """Two rectified convolutions, each with a pool, and a linear output."""
    convolutions = [layer for n in CHANNELS for layer in (conv(n, 5), pool(2))]
    return chain((28, 28, 1), [*convolutions, flatten(), dense(10)])


def by_autodiff(net: Chain) -> LearningRule:
    """`jax.value_and_grad` of the convolutional network, written here as anybody would write it."""

    def loss(weights: PyTree, batch: Example) -> jax.Array:
        h = batch.x
        for w, bias in zip(weights["w"][:-1], weights["bias"], strict=False):
            h = jax.lax.conv_general_dilated(h, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            h = nn.avg_pool(jax.nn.relu(h + bias), (2, 2), (2, 2))
        z = h.reshape(len(h), -1) @ weights["w"][-1].T + weights["bias"][-1]
        return 0.5 * jnp.mean(jnp.sum((z - batch.y) ** 2, -1))

    def update(params: PyTree, traces: tuple[()], key: jax.Array, batch: Example) -> tuple[PyTree, tuple[()], Info]:
        value, gradients = jax.value_and_grad(loss)(params["forward"], batch)
        feedback = jax.tree.map(jnp.zeros_like, params["feedback"])
        return {"forward": gradients, "feedback": feedback}, (), Info(value, READY, {})

    return LearningRule(lambda params, key, batch: (), update)


RULES: dict[str, Callable[[Chain], LearningRule]] = {
    "value_and_grad": by_autodiff,
    "backprop": feedback.backprop,
    "feedback_alignment": feedback.feedback_alignment,
    "direct_feedback_alignment": feedback.direct_feedback_alignment,
    "sign_symmetry": feedback.sign_symmetry,
    "matching": feedback.matching,
    "weight_mirror": feedback.weight_mirror,
    "weight_perturbation": feedback.weight_perturbation,
    "node_perturbation": feedback.node_perturbation,
    "node_perturbation, rademacher": lambda net: feedback.node_perturbation(net, noise="rademacher"),
    "node_perturbation, ridge": lambda net: feedback.node_perturbation(net, estimator="ridge"),
    "node_perturbation, ridge every 100": lambda net: feedback.node_perturbation(
        net, estimator="ridge", solve_every=100
    ),
}


def training(rule: str, net: Chain) -> tuple[Learner, Callable[[jax.Array], PyTree]]:
    """A learner of a network, and ``key -> state``."""
    learn = learner(RULES[rule](net), optax.sgd(1e-2))
    pathway = "direct" if rule == "direct_feedback_alignment" else "chain"

    def init(key: jax.Array) -> PyTree:
        example = jax.tree.map(lambda leaf: leaf[0], examples(net, 1))
        return learn.init(init_params(key, net, pathway=pathway), key, example)

    return learn, init


def examples(net: Chain, steps: int) -> Example:
    """Random inputs and targets, (steps, B, ...)."""
    key_x, key_y = jax.random.split(jax.random.key(1))
    x, classes = jax.random.uniform(key_x, (steps, BATCH, *net.h_shapes[0])), net.h_shapes[-1][0]
    return Example(x, jax.nn.one_hot(jax.random.randint(key_y, (steps, BATCH), 0, classes), classes))


def in_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least wall seconds of each call, after one that is not counted; all of them once in every round."""
    for call in calls.values():
        jax.block_until_ready(call())
    seconds = dict.fromkeys(calls, np.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    return seconds


def step_costs(rules: Sequence[str], net: Chain, steps: int, seeds: int, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of a step of all seeds, and its ratio to backpropagation's, for every rule."""
    batches = examples(net, steps)
    lanes = jax.vmap(jax.random.key)(jnp.arange(seeds))
    calls = {}
    for rule in rules:
        learn, init = training(rule, net)
        state = jax.jit(jax.vmap(init))(lanes)

        def chunk(state: PyTree, learn: Learner = learn) -> PyTree:
            return jax.lax.scan(lambda s, batch: (learn.step(s, batch)[0], None), state, batches)[0]

        calls[rule] = functools.partial(sweep(chunk), state)
    seconds = in_turns(calls, rounds)
    return {
        rule: {"us_per_step": 1e6 * each / steps, "ratio_to_backprop": each / seconds["backprop"]}
        for rule, each in seconds.items()
    }


def outside_of_scan(rounds: int) -> float:
    """Time of a compiled convolutional step by `backprop` over that by `jax.value_and_grad`, which loops slow down."""
    net = conv_net()
    calls = {}
    for rule in ("backprop", "value_and_grad"):
        learn, init = training(rule, net)
        calls[rule] = functools.partial(
            jax.jit(learn.step), jax.jit(init)(jax.random.key(0)), jax.tree.map(lambda leaf: leaf[0], examples(net, 1))
        )
    seconds = in_turns(calls, rounds)
    return seconds["backprop"] / seconds["value_and_grad"]


def limit(widths: Sequence[int]) -> float:
    """Operations of a node-perturbation step over those of a backpropagation step, products alone."""
    first, *rest = (a * b for a, b in itertools.pairwise(widths))
    return (2 * first + 5 * sum(rest)) / (2 * first + 3 * sum(rest))


def beside_pytorch(widths: Sequence[int], ours_us: float) -> dict[str, float] | None:
    """MNIST epochs of 60,000 examples a second, ours and those of PyTorch's plain backprop; None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch  # pyright: ignore[reportMissingImports]

    layers: list[Any] = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.Sigmoid()]
    net = torch.nn.Sequential(*layers[:-1])
    descent = torch.optim.SGD(net.parameters(), 1e-2)
    batch = examples(dense_net(widths), 1)
    x, y = (torch.tensor(np.array(leaf[0])) for leaf in batch[:2])

    def step() -> None:
        descent.zero_grad()
        (0.5 * ((net(x) - y) ** 2).sum(1).mean()).backward()
        descent.step()

    theirs = in_turns({"torch": lambda: [step() for _ in range(200)]}, 5)["torch"] / 200
    epoch = 60_000 / BATCH
    return {"ours": 1 / (epoch * ours_us * 1e-6), "pytorch": 1 / (epoch * theirs)}


def bench(quick: bool = False) -> dict[str, Any]:
    """All of it.

    Args:
      quick: fewer repetitions.

    Returns:
      A JSON-able dict.
    """
    rounds = 5 if quick else 20
    result: dict[str, Any] = {"product_gflops": product_rate() / 1e9}
    for widths in WIDTHS:
        name, net = "-".join(map(str, widths)), dense_net(widths)
        rules = [rule for rule in RULES if rule != "value_and_grad"]
        operations = BATCH * 2 * sum(a * b for a, b in itertools.pairwise(widths))
        costs, many = (
            step_costs(rules, net, int(np.clip(5e9 / (seeds * operations), 20, 500)), seeds, rounds)
            for seeds in (1, 10)
        )
        result[f"{name} batch={BATCH}"] = {
            "rules": costs,
            "node_perturbation_limit": limit(widths),
            "ten_seeds_over_one": {rule: many[rule]["us_per_step"] / costs[rule]["us_per_step"] for rule in rules},
            "mnist_epochs_per_s": beside_pytorch(widths, costs["backprop"]["us_per_step"]),
        }
    result[f"conv {CHANNELS} batch={BATCH}"] = {
        "rules": step_costs(CONVOLUTIONAL, conv_net(), 10, 1, rounds),
        "backprop_over_value_and_grad_outside_of_scan": outside_of_scan(rounds),
    }
    return result
