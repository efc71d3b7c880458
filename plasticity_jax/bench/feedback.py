"""Speed of the feedback family: the time of a step relative to backpropagation on the same network.

The limit of node perturbation counts the products alone: 2 first + 3 rest for backpropagation, and 2 first + 5 rest for
node perturbation, where first is a product with the first layer's weights, and rest one with those of all other layers.
"""

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import READY, Info, Learner, LearningRule, learner
from plasticity_jax.bench._timing import Call, Row, Say, collected, in_turns
from plasticity_jax.layers import Chain, chain, conv, dense, flatten, init_params, pool
from plasticity_jax.networks import mlp
from plasticity_jax.rules import feedback
from plasticity_jax.run import sweep
from plasticity_jax.typing import Example, PyTree

SECONDS = (9, 300)
WIDTHS = ((784, 50, 20, 10), (784, 512, 200, 10))
BATCH = 32
CHANNELS = (16, 32)
"""Channels of two convolutions of kernel 5, each with a pool of 2, before a readout of ten classes."""

QUICK = ("feedback_alignment", "node_perturbation")
CONVOLUTIONAL = (
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
    """`jax.value_and_grad` of the convolutional network, written in the usual way."""

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
    """A learner of a network, and its ``key -> state``."""
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


def scan(rule: str, net: Chain, steps: int, seeds: int) -> Call:
    """A call that runs a rule for a number of steps, with several seeds at once."""
    learn, init = training(rule, net)
    batches = examples(net, steps)

    def chunk(state: PyTree) -> PyTree:
        return jax.lax.scan(lambda s, batch: (learn.step(s, batch)[0], None), state, batches)[0]

    return partial(sweep(chunk), sweep(init)(jax.vmap(jax.random.key)(jnp.arange(seeds))))


def step(rule: str, net: Chain) -> Call:
    """A call of one step as a separate program, since loops slow convolutions down."""
    learn, init = training(rule, net)
    batch = jax.tree.map(lambda leaf: leaf[0], examples(net, 1))
    return partial(jax.jit(learn.step), jax.jit(init)(jax.random.key(0)), batch)


def relative_to_backprop(call: Call, backprop: Call, steps: int, seconds: float) -> Row:
    """The time of a step as a multiple of backpropagation's."""
    least = in_turns({"rule": call, "backprop": backprop}, seconds)
    return {"times_backprop": least["rule"] / least["backprop"], "us_per_step": 1e6 * least["rule"] / steps}


def limit(widths: Sequence[int]) -> float:
    """Ratio of operations of a step of node perturbation and of backpropagation, products alone."""
    first, *rest = (a * b for a, b in itertools.pairwise(widths))
    return (2 * first + 5 * sum(rest)) / (2 * first + 3 * sum(rest))


def relative_to_pytorch(widths: Sequence[int], backprop: Call, steps: int, seconds: float) -> Row:
    """MNIST epochs (60,000 examples) per second of `backprop`, divided by those of PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    layers: list[Any] = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.Sigmoid()]
    net = torch.nn.Sequential(*layers[:-1])
    descent = torch.optim.SGD(net.parameters(), 1e-2)
    batch = examples(dense_net(widths), 1)
    x, y = (torch.tensor(np.array(leaf[0])) for leaf in batch[:2])

    def theirs() -> None:
        for _ in range(steps):
            descent.zero_grad()
            (0.5 * ((net(x) - y) ** 2).sum(1).mean()).backward()
            descent.step()

    least = in_turns({"ours": backprop, "theirs": theirs}, seconds)
    epochs = {name: steps * BATCH / 60_000 / each for name, each in least.items()}
    return {"times_pytorch": epochs["ours"] / epochs["theirs"], "ours": epochs["ours"], "pytorch": epochs["theirs"]}


def rows(quick: bool) -> Iterator[tuple[str, Row]]:
    """All rows, each as soon as it is measured."""
    seconds = 0.3 if quick else 3.0
    for widths in WIDTHS[:1] if quick else WIDTHS:
        size, net = "-".join(map(str, widths)), dense_net(widths)
        operations = BATCH * 2 * sum(a * b for a, b in itertools.pairwise(widths))
        steps = int(np.clip(5e9 / operations, 20, 500))
        backprop = scan("backprop", net, steps, 1)
        for rule in QUICK if quick else (rule for rule in RULES if rule not in ("backprop", "value_and_grad")):
            row = relative_to_backprop(scan(rule, net, steps, 1), backprop, steps, seconds)
            yield f"{rule} {size} batch={BATCH}", row | ({"limit": limit(widths)} if "node" in rule else {})
        if quick:
            return
        for rule in ("backprop", "node_perturbation"):
            ten = in_turns({"ten": scan(rule, net, steps, 10), "one": scan(rule, net, steps, 1)}, seconds)
            yield f"{rule} {size} ten seeds", {"times_one_seed": ten["ten"] / ten["one"]}
        if importlib.util.find_spec("torch") is not None:
            yield f"backprop {size} beside PyTorch", relative_to_pytorch(widths, backprop, steps, seconds)
    net, steps = conv_net(), 10
    backprop = scan("backprop", net, steps, 1)
    for rule in CONVOLUTIONAL:
        yield f"{rule} conv {CHANNELS}", relative_to_backprop(scan(rule, net, steps, 1), backprop, steps, seconds)
    row = relative_to_backprop(step("value_and_grad", net), step("backprop", net), 1, seconds)
    yield f"value_and_grad conv {CHANNELS} outside of a scan", row


def bench(quick: bool, say: Say) -> dict[str, Row]:
    """Measures the family.

    Args:
      quick: measure two rules on the smaller network.
      say: called with a line about each row when it is measured.

    Returns:
      Rows by name.
    """
    return collected(rows(quick), say)
