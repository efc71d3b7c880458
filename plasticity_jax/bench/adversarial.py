"""Speed of adversarial learning: images per second, against what the counted products would take.

A step is a whole one: samples of all phases, both players' gradients with the penalty, Adam; many in one scan, as in
training, images drawn from an array on the device. Counted are the products of the method as it is written down: of
every linear map of m multiplications, m forward, m for the gradient of its weights, m for that of its input where one
is asked for; of a critic under the penalty 4 m for each pair of phases, and about m more where its layers are
normalised. They are held against the machine's rate of large products in the same run; its rate of convolutions stands
beside it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments._benjamin import EPOCHS, optimiser
from experiments.bench._timing import best, product_rate
from plasticity_jax import networks
from plasticity_jax.base import Learner, LearnerState, learner
from plasticity_jax.networks import AdversarialNet
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.typing import Array, Example, Key, Params

BANK, STEPS = 1024, 3
EPOCH = {"mnist": 60_000, "cifar10": 50_000, "moving_mnist": 10_000}
"""Images, or videos."""


def critic(maps: Sequence[float], phases: int, waves: int, data: bool, normalised: bool) -> float:
    """Multiplications of a discriminator: both players' gradients, and the penalty.

    Args:
      maps: of its hidden maps.
      phases: that it sees.
      waves: pairs of phases that the penalty is taken between.
      data: whether what it sees awake is data, which needs no gradient.
      normalised: whether its layers are, so that the penalty's gradient goes down through them once more.
    """
    total, rest = sum(maps), sum(maps[1:])
    # Forward; errors and weights for the critic; errors down to its input for the network.
    players = phases * (total + (rest + total) + (rest + maps[0])) - data * maps[0]
    return players + waves * (4 * total + normalised * (total + rest))


def dense_multiplications(net: networks.Autoencoder, gamma: float) -> float:
    """Of an image in a step of the autoencoder with one layer of neurons."""

    def chain(*sizes: int) -> list[int]:
        return [a * b for a, b in itertools.pairwise(sizes)]

    pixels, latent = net.sizes
    up, down = chain(pixels, net.hidden, 2 * latent), chain(latent, net.hidden, 2 * pixels)
    across = {n: net.recurrence * sum(chain(n, net.hidden, 2 * n)) for n in net.sizes}
    combined = len(net.sites) > 1 and gamma < 1
    count = 3 * (sum(up) + across[latent]) - up[0]
    count += 3 * (1 + combined) * (sum(down) + across[pixels]) - down[0]  # the prior needs no gradient
    for site in net.sites:
        seen = 3 if combined and site == (0,) else 2
        maps = chain(sum(net.sizes[layer] for layer in site), net.critic_hidden, net.critic_hidden)
        count += critic(maps, seen, seen - 1, site == (0,), False)
    return count


def convolutional_multiplications(net: networks.Dcgan, params: Params) -> float:
    """Of an image in a step of the convolutional hierarchy, gamma below 1."""

    def kernel(layer: Params) -> int:
        return layer["kernel"].size

    sides, count = [shape[0] for shape in net.shapes], 0.0
    for layer, weights in enumerate(params["inference"], 1):
        maps = [kernel(weights[name]) * sides[layer] ** 2 for name in ("hidden", "output")]
        count += 3 * sum(maps) - (layer == 1) * maps[0]
    for layer, weights in enumerate(params["generation"]):
        maps = [kernel(weights["hidden"]) * sides[layer + 1] ** 2, kernel(weights["output"]) * sides[layer] ** 2]
        count += 2 * 3 * sum(maps) - (layer == net.depth - 1) * maps[0]  # asleep and in the oscillation
    for layer, weights in enumerate(params["discriminator"]):
        stride = round((sides[layer] ** 2 * net.critic_width / weights["readout"]["w"].size) ** 0.25)
        after = [(sides[layer] // stride**i) ** 2 for i in (1, 2)]
        maps = [kernel(weights[name]) * n for name, n in zip(("first", "second"), after, strict=True)]
        seen = 3 if layer < net.depth else 2
        count += critic(maps, seen, seen - 1, layer == 0, True)
    return count


def rows_per_second(net: AdversarialNet, gamma: float, params: Params, shape: tuple[int, ...], batch: int) -> float:
    """Images, or videos, in a scan of whole steps inside one jit."""
    key = jax.random.key(0)
    learn = learner(adversarial(net, gamma), optimiser(epoch_steps=100))
    bank = jax.random.bits(key, (min(BANK, 2 * batch), *shape), jnp.uint8)
    index = jax.random.randint(key, (STEPS, batch), 0, len(bank))
    state, scan = _training(learn, params, bank, index)
    return STEPS * batch / best(lambda: scan(state, bank), 3)


def _training(
    learn: Learner, params: Params, bank: Array, index: Array
) -> tuple[LearnerState, Callable[[LearnerState, Array], LearnerState]]:
    def fetch(index: Array, bank: Array) -> Example:
        x = bank[index].astype(jnp.float32) / 255
        return Example(x, x)

    @jax.jit
    def scan(state: LearnerState, bank: Array) -> LearnerState:
        return jax.lax.scan(lambda s, i: ((after := learn.step(s, fetch(i, bank)))[0], after[1].loss), state, index)[0]

    return jax.jit(lambda bank: learn.init(params, jax.random.key(1), fetch(index[0], bank)))(bank), scan


def convolution_rate(batch: int = 64, side: int = 16, channels: int = 64) -> float:
    """Operations per second of a plain 3 x 3 convolution, as the compiler does it."""
    x = jax.random.normal(jax.random.key(0), (batch, side, side, channels))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels))
    run = jax.jit(
        lambda x, kernel: jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )
    return 2 * kernel.size * batch * side**2 / best(lambda: run(x, kernel))


def rows(quick: bool) -> Iterator[tuple[str, str, Any, float, Params, tuple[int, ...], int, float]]:
    """Name, data set, network, gamma, weights, shape of an image, batch, and multiplications of an image."""
    key: Key = jax.random.key(2)
    for name, discriminators, gamma in (("combined", "local", 0.1), ("wake/sleep", "global", 1.0)):
        net = networks.autoencoder(discriminators=discriminators)
        params = networks.init_params(key, net)
        for batch in (512,) if quick else (64, 512):
            yield name, "mnist", net, gamma, params, net.sizes[:1], batch, dense_multiplications(net, gamma)
    net = networks.dcgan(output="identity")
    params = networks.init_params(key, net)
    for batch in (64,) if quick or jax.default_backend() == "cpu" else (64, 512):
        yield "combined", "cifar10", net, 0.5, params, net.image, batch, convolutional_multiplications(net, params)
    if not quick:
        net = networks.conv_lstm()
        params = networks.init_params(key, net)
        shape, batch = (net.context + net.horizon, net.size, net.size, 1), 4 if jax.default_backend() == "cpu" else 32
        yield "combined", "moving_mnist", net, 0.5, params, shape, batch, float("nan")


def bench(quick: bool = False) -> dict[str, Any]:
    """All of it; `quick` leaves out the sizes that only fill the table.

    Args:
      quick: only the rows with a target, and CIFAR-10.

    Returns:
      A JSON-able dict. The hours of the paper's 400 epochs are extrapolated from a few steps.
    """
    result: dict[str, Any] = {"convolution_gflops": convolution_rate() / 1e9}
    for name, data, net, gamma, params, shape, batch, count in rows(quick):
        rate = product_rate()
        speed = rows_per_second(net, gamma, params, shape, batch)
        rate = max(rate, product_rate())
        result[f"{data} {name} batch={batch}"] = {
            "per_second": speed,
            "counted_mflop": 2 * count / 1e6,
            "product_gflops": rate / 1e9,
            "fraction_of_products": 2 * count * speed / rate,
            f"hours_of_{EPOCHS}_epochs_extrapolated": EPOCHS * EPOCH[data] / speed / 3600,
        }
    return result
