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

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bench._timing import product_rate
from plasticity_jax.base import Learner, LearningRule, learner
from plasticity_jax.layers import Chain, init_params
from plasticity_jax.networks import mlp
from plasticity_jax.rules import feedback
from plasticity_jax.run import sweep
from plasticity_jax.typing import Example, PyTree

WIDTHS = ((784, 50, 20, 10), (784, 512, 200, 10))
BATCH = 32
RULES: dict[str, Callable[[Chain], LearningRule]] = {
    "backprop": feedback.backprop,
    "feedback_alignment": feedback.feedback_alignment,
    "direct_feedback_alignment": feedback.direct_feedback_alignment,
    "sign_symmetry": feedback.sign_symmetry,
    "matching": feedback.matching,
    "node_perturbation": feedback.node_perturbation,
    "node_perturbation, rademacher": lambda net: feedback.node_perturbation(net, noise="rademacher"),
    "node_perturbation, ridge": lambda net: feedback.node_perturbation(net, estimator="ridge"),
    "node_perturbation, ridge every 100": lambda net: feedback.node_perturbation(
        net, estimator="ridge", solve_every=100
    ),
}


def training(rule: str, widths: Sequence[int]) -> tuple[Learner, Callable[[jax.Array], PyTree]]:
    """A learner of a sigmoid network, and ``key -> state``."""
    net = mlp(widths, ["sigmoid"] * (len(widths) - 2) + ["identity"])
    learn = learner(RULES[rule](net), optax.sgd(1e-2))
    pathway = "direct" if rule == "direct_feedback_alignment" else "chain"

    def init(key: jax.Array) -> PyTree:
        example = Example(jnp.zeros((BATCH, widths[0])), jnp.zeros((BATCH, widths[-1])))
        return learn.init(init_params(key, net, pathway=pathway), key, example)

    return learn, init


def examples(widths: Sequence[int], steps: int) -> Example:
    """Random inputs and targets, (steps, B, ...)."""
    key_x, key_y = jax.random.split(jax.random.key(1))
    x = jax.random.uniform(key_x, (steps, BATCH, widths[0]))
    return Example(x, jax.nn.one_hot(jax.random.randint(key_y, (steps, BATCH), 0, widths[-1]), widths[-1]))


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


def step_costs(widths: Sequence[int], seeds: int, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of a step of all seeds, and its ratio to backpropagation's, for every rule."""
    products = [BATCH * 2 * a * b for a, b in itertools.pairwise(widths)]
    steps = int(np.clip(5e9 / (seeds * sum(products)), 20, 500))
    batches = examples(widths, steps)
    lanes = jax.vmap(jax.random.key)(jnp.arange(seeds))
    calls = {}
    for rule in RULES:
        learn, init = training(rule, widths)
        state = jax.jit(jax.vmap(init))(lanes)

        def chunk(state: PyTree, learn: Learner = learn) -> PyTree:
            return jax.lax.scan(lambda s, batch: (learn.step(s, batch)[0], None), state, batches)[0]

        calls[rule] = functools.partial(sweep(chunk), state)
    seconds = in_turns(calls, rounds)
    return {
        rule: {"us_per_step": 1e6 * each / steps, "ratio_to_backprop": each / seconds["backprop"]}
        for rule, each in seconds.items()
    }


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
    batch = examples(widths, 1)
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
        name = "-".join(map(str, widths))
        costs = step_costs(widths, 1, rounds)
        many = step_costs(widths, 10, rounds)
        result[f"{name} batch={BATCH}"] = {
            "rules": costs,
            "node_perturbation_limit": limit(widths),
            "ten_seeds_over_one": {rule: many[rule]["us_per_step"] / costs[rule]["us_per_step"] for rule in RULES},
            "mnist_epochs_per_s": beside_pytorch(widths, costs["backprop"]["us_per_step"]),
        }
    return result
