"""L10 for adversarial learning: its gradients with two layers of neurons, and the layers that each one reaches."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.networks.autoencoder import Autoencoder, init_params
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.typing import Example, Params
from tests.laws import textbook_adversarial as textbook
from tests.laws.classes import Local, Match
from tests.laws.common import compiled, seed
from tests.oracles import adversarial as oracle

GAMMA, PENALTY, RHO = 0.4, 0.7, 1.3
MODEL = ("inference", "generation")


class World(NamedTuple):
    """A network of two layers of neurons, and one step's data and random numbers."""

    net: Autoencoder
    params: Params
    host: Params
    x: jax.Array
    noise: dict[tuple[str, int], np.ndarray]
    eps: list[np.ndarray]


KEY = 180


@functools.cache
def world(discriminators: str = "local") -> World:
    net = textbook.tanh_net((4, 3, 2), discriminators)
    with jax.ensure_compile_time_eval():
        params = jax.tree.map(lambda leaf: 1.5 * leaf, init_params(seed(181), net))
        x = jax.random.uniform(seed(182), (6, 4))
        noise, eps = textbook.numbers(net, seed(KEY), 6)
    return World(net, params, jax.tree.map(np.asarray, params), x, noise, eps)


def report(w: World, gamma: Any = GAMMA, params: Any = None, **options: Any) -> Any:
    """The terms that the rule reports at the numbers of `world`."""
    return _step(w, gamma, params, options)[1]


def updates(w: World, gamma: Any = GAMMA, params: Any = None, **options: Any) -> Any:
    """The rule's updates at the numbers of `world`."""
    return _step(w, gamma, params, options)[0]


def _step(w: World, gamma: Any, params: Any, options: dict[str, Any]) -> Any:
    values = {"penalty": PENALTY, "reconstruction": RHO, "gamma": gamma, **options}
    known = isinstance(gamma, float) and gamma == 1
    names = [name for name in ("penalty", "reconstruction", "gamma") if not (known and name == "gamma")]
    traced = {name: jnp.asarray(values.pop(name)) for name in names}
    return _compiled(w.net, tuple(values.items()))(w.params if params is None else params, w.x, traced)


@functools.cache
def _compiled(net: Autoencoder, options: tuple[tuple[str, Any], ...]) -> Any:
    """The compiled step. Every coefficient is traced, except a gamma of 1, whose value the rule reads."""

    def step(params: Params, x: jax.Array, coefficients: dict[str, jax.Array]) -> Any:
        rule = adversarial(net, **{"reduction": "mean", **dict(options)}, **coefficients)
        return rule.update(params, (), seed(KEY), Example(x, x))[::2]

    return compiled(step)


def model(tree: Any) -> Any:
    return {group: tree[group] for group in MODEL}


def waking(w: World) -> np.ndarray:
    return oracle.activity(w.net, w.host, np.asarray(w.x), w.noise).wake[1]


def through_all_layers() -> Match:
    """A discriminator's credit goes through every sample below it, asleep above it; layer by layer it does not."""
    w = world()
    expected = textbook.full_depth(w.net, w.host, np.asarray(w.x), w.noise, GAMMA, RHO)
    return Match(model(updates(w)), expected, model(updates(w, per_layer=True)), waking(w))


def each_discriminator() -> Match:
    w = world()
    gradients, free = (updates(w, penalty=penalty)["discriminator"] for penalty in (PENALTY, 0.0))
    expected = textbook.discriminators(w.net, w.host, np.asarray(w.x), w.noise, w.eps, GAMMA, PENALTY)
    return Match(gradients, expected, free, waking(w))


def own_discriminator() -> Match:
    w = world()
    expected = textbook.layer_by_layer(w.net, w.host, np.asarray(w.x), w.noise, GAMMA, RHO)
    return Match(model(updates(w, per_layer=True)), expected, model(updates(w)), waking(w))


def other_discriminators_do_not_matter() -> Match:
    """A layer's weights learn the same with the other layers' discriminators replaced; at full depth they do not."""
    w = world()
    critics = init_params(seed(183), w.net)["discriminator"]

    def by_layer(per_layer: bool, replaced: bool) -> list[Any]:
        gradients = []
        for layer in range(3):
            own = w.params["discriminator"]
            mixed = tuple(own[k] if k == layer or not replaced else critics[k] for k in range(3))
            update = updates(w, params={**w.params, "discriminator": mixed}, per_layer=per_layer)
            gradients.append(
                (update["inference"][layer - 1] if layer > 0 else (), update["generation"][layer : layer + 1])
            )
        return gradients

    return Match(by_layer(True, True), by_layer(True, False), by_layer(False, True), waking(w))


def joint_activity() -> Match:
    """Equation 4: a critic of all layers at once. Layer by layer, credit goes through no sample."""
    w = world("global")
    gradients = updates(w, 1.0)
    x = np.asarray(w.x)
    expected = textbook.full_depth(w.net, w.host, x, w.noise, 1.0, 0.0)
    expected["discriminator"] = textbook.discriminators(w.net, w.host, x, w.noise, w.eps, 1.0, PENALTY)
    return Match(gradients, expected, updates(w, 1.0, per_layer=True, penalty=0.0), waking(w))


CLASSES = {
    "adversarial": Local({"through all layers": through_all_layers, "each discriminator": each_discriminator}),
    "adversarial_per_layer": Local(
        {
            "each layer's own discriminator": own_discriminator,
            "other discriminators do not matter": other_discriminators_do_not_matter,
        }
    ),
    "adversarial_wake_sleep": Local({"all layers at once": joint_activity}),
}
