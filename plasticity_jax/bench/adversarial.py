"""Speed of adversarial learning: images per second, compared with the time of the counted products alone.

A timed call is a scan over a few complete training steps: samples of all phases, both players' gradients with the
penalty, two Adams, and images drawn from an array on the device. The count is of the products of the method as it is
written down. A linear map of m multiplications takes m forward, m for the gradient of its weights, and m for that of
its input where it is needed. A critic under the penalty takes 4 m more for each pair of phases, and about m more if its
layers are normalised. The rate of these products is compared with the machine's rate of large products in the same run.
"""

import itertools
from collections.abc import Hashable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import networks
from plasticity_jax.base import LearnerState, learner
from plasticity_jax.bench._timing import Call, Row, Say, collected, in_turns, product
from plasticity_jax.networks import AdversarialNet
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.typing import Array, Example, Params

SECONDS = (10, 200)
BANK, STEPS = 1024, 3
MODEL_RATE, CRITIC_RATE = 1e-4, 4e-4


def critic(maps: Sequence[float], phases: int, waves: int, data: bool, normalised: bool) -> float:
    """Multiplications of a discriminator: both players' gradients, and the penalty.

    Args:
      maps: multiplications of each of its hidden maps.
      phases: number of phases that it receives.
      waves: number of pairs of phases between which the penalty is taken.
      data: whether its wake input is data, which needs no gradient.
      normalised: whether its layers are normalised, so that the penalty's gradient passes through them once more.
    """
    total, rest = sum(maps), sum(maps[1:])
    # Forward; errors and weight gradients for the critic; errors back to its input for the network.
    players = phases * (total + (rest + total) + (rest + maps[0])) - data * maps[0]
    return players + waves * (4 * total + normalised * (total + rest))


def dense_multiplications(net: networks.Autoencoder, gamma: float) -> float:
    """Multiplications for an image in a step of the autoencoder with one layer of neurons."""

    def chain(*sizes: int) -> list[int]:
        return [a * b for a, b in itertools.pairwise(sizes)]

    pixels, latent = net.sizes
    up, down = chain(pixels, net.hidden, 2 * latent), chain(latent, net.hidden, 2 * pixels)
    across = {n: net.recurrence * sum(chain(n, net.hidden, 2 * n)) for n in net.sizes}
    combined = len(net.sites) > 1 and gamma < 1
    count = 3 * (sum(up) + across[latent]) - up[0]
    count += 3 * (1 + combined) * (sum(down) + across[pixels]) - down[0]  # the prior needs no gradient
    for site in net.sites:
        phases = 3 if combined and site == (0,) else 2
        maps = chain(sum(net.sizes[layer] for layer in site), net.critic_hidden, net.critic_hidden)
        count += critic(maps, phases, phases - 1, site == (0,), False)
    return count


def convolutional_multiplications(net: networks.Dcgan, params: Params) -> float:
    """Multiplications for an image in a step of the convolutional hierarchy, with gamma below 1."""

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
        phases = 3 if layer < net.depth else 2
        count += critic(maps, phases, phases - 1, layer == 0, True)
    return count


def training(net: AdversarialNet, gamma: float, params: Params, shape: tuple[int, ...], batch: int) -> Call:
    """A call of several complete steps in one jitted scan, on images or videos drawn from an array on the device."""
    key = jax.random.key(0)
    rates = {"model": MODEL_RATE, "critic": CRITIC_RATE}
    players: dict[Hashable, optax.GradientTransformation] = {who: optax.adam(rate, 0.5) for who, rate in rates.items()}
    groups = {"inference": "model", "generation": "model", "discriminator": "critic"}
    learn = learner(adversarial(net, gamma), optax.partition(players, groups))
    bank = jax.random.bits(key, (min(BANK, 2 * batch), *shape), jnp.uint8)
    index = jax.random.randint(key, (STEPS, batch), 0, len(bank))

    def fetch(index: Array, bank: Array) -> Example:
        x = bank[index].astype(jnp.float32) / 255
        return Example(x, x)

    @jax.jit
    def scan(state: LearnerState, bank: Array) -> LearnerState:
        return jax.lax.scan(lambda s, i: ((after := learn.step(s, fetch(i, bank)))[0], after[1].loss), state, index)[0]

    state = jax.jit(lambda bank: learn.init(params, jax.random.key(1), fetch(index[0], bank)))(bank)
    return partial(scan, state, bank)


def of_product(call: Call, batch: int, multiplications: float, seconds: float) -> Row:
    """The rate of the counted products, as a fraction of the machine's rate of large products."""
    plain, counted = product()
    least = in_turns({"rule": call, "product": plain}, seconds)
    speed, rate = STEPS * batch / least["rule"], counted / least["product"]
    return {
        "fraction_of_products": 2 * multiplications * speed / rate,
        "examples_per_s": speed,
        "counted_mflop": 2 * multiplications / 1e6,
        "product_gflops": rate / 1e9,
    }


def rows(quick: bool) -> Iterator[tuple[str, Row]]:
    """All rows, each as soon as it is measured."""
    key, seconds, on_cpu = jax.random.key(2), 0.3 if quick else 10.0, jax.default_backend() == "cpu"
    stacks = {
        "wake/sleep": (networks.autoencoder(discriminators="global"), 1.0),
        "combined": (networks.autoencoder(discriminators="local"), 0.1),
    }
    for name, (net, gamma) in stacks.items():
        params, count = networks.init_params(key, net), dense_multiplications(net, gamma)
        for batch in (64,) if quick else (64, 512):
            call = training(net, gamma, params, net.sizes[:1], batch)
            yield f"autoencoder {name} batch={batch}", of_product(call, batch, count, seconds)
        if quick:
            return
    net = networks.dcgan(output="identity")
    params = networks.init_params(key, net)
    for batch in (64,) if on_cpu else (64, 512):
        count, call = convolutional_multiplications(net, params), training(net, 0.5, params, net.image, batch)
        yield f"dcgan combined batch={batch}", of_product(call, batch, count, seconds)
    net, batch = networks.conv_lstm(), 4 if on_cpu else 32
    shape = (net.context + net.horizon, net.size, net.size, 1)
    call = training(net, 0.5, networks.init_params(key, net), shape, batch)
    least = in_turns({"": call}, seconds)[""]
    yield f"conv_lstm combined batch={batch}", {"examples_per_s": STEPS * batch / least}


def bench(quick: bool, say: Say) -> dict[str, Row]:
    """Measures the family.

    Args:
      quick: measure the autoencoder only.
      say: called with a line about each row when it is measured.

    Returns:
      Rows by name.
    """
    return collected(rows(quick), say)
