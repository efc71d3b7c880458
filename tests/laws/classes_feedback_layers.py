"""L10 for the feedback family on images, and for weight mirrors.

The gradient is by autodiff of equations written here; their convolutions are products of shifted images.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.layers import Chain, Pathway, chain, conv, dense, flatten, init_params, pool
from plasticity_jax.rules import feedback
from plasticity_jax.typing import Array, Example
from tests.laws.classes import Approximate, Exact, Match
from tests.laws.classes_feedback import (
    CURVED,
    LINEAR,
    PHI,
    STEPS,
    World,
    elsewhere,
    equals,
    hold,
    in_chain,
    transported,
    with_feedback,
)
from tests.laws.classes_feedback import descent as descent_of_rows
from tests.laws.common import compiled, problem, seed

Weights = Any


def images(activations: tuple[str, ...] = CURVED) -> Chain:
    """The registered cases' network."""
    first, second, last = activations
    layers = [conv(2, 3, first), pool(2), conv(3, (2, 1), second, padding="VALID"), flatten(), dense(2, last)]
    return chain((4, 4, 1), layers)


def shifted(h: Array, w: Array, edge: int) -> Array:
    """A convolution with `edge` zeros around the image."""
    h = jnp.pad(h, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    rows, columns = h.shape[1] - w.shape[0] + 1, h.shape[2] - w.shape[1] + 1
    taps = [(u, v) for u in range(w.shape[0]) for v in range(w.shape[1])]
    return jnp.sum(jnp.stack([h[:, u : u + rows, v : v + columns] @ w[u, v] for u, v in taps]), 0)


def layer_1(weights: Weights, x: Array, activations: tuple[str, ...]) -> Array:
    return PHI[activations[0]](shifted(x, weights["w"][0], 1) + weights["bias"][0])


def layer_2(weights: Weights, h: Array, activations: tuple[str, ...]) -> Array:
    pooled = (h[:, ::2, ::2] + h[:, ::2, 1::2] + h[:, 1::2, ::2] + h[:, 1::2, 1::2]) / 4
    return PHI[activations[1]](shifted(pooled, weights["w"][1], 0) + weights["bias"][1])


def layer_3(weights: Weights, h: Array, activations: tuple[str, ...]) -> Array:
    rows = h.reshape(len(h), -1)
    return PHI[activations[2]](jnp.einsum("ij,bj->bi", weights["w"][2], rows) + weights["bias"][2])


def equations(weights: Weights, x: Array, y: Array, activations: tuple[str, ...]) -> tuple[Array, Array]:
    h = x
    for each in (layer_1, layer_2, layer_3):
        h = each(weights, h, activations)
    return jnp.mean(jnp.sum((h - y) ** 2, 1)) / 2, h


def graded(w: World, activations: tuple[str, ...]) -> World:
    """The world with the gradient and the output of its weights."""
    of_batch = jax.grad(lambda weights, x, y: equations(weights, x, y, activations), has_aux=True)
    grad, output = compiled(jax.vmap(of_batch, in_axes=(None, 0, 0)))(w.params["forward"], *w.examples[:2])
    return w._replace(grad=grad, output=output)


@functools.cache
def world(activations: tuple[str, ...] = CURVED, pathway: Pathway = "chain") -> World:
    net = images(activations)
    with jax.ensure_compile_time_eval():
        params = init_params(seed(120), net, pathway=pathway)
        params["forward"]["bias"] = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n)) for n in (2, 3, 2))
        keys = jax.random.split(seed(121))
        shapes = (STEPS, 3, 4, 4, 1), (STEPS, 3, 2)
        examples = Example(*(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)))
        return graded(World(params, examples, examples.y, None, net), activations)


def jacobians(w: World) -> list[Array]:
    """The Jacobian of the linear network's output by each hidden layer, through the layers above."""
    weights = w.params["forward"]

    def above_1(h: Array) -> Array:
        return above_2(layer_2(weights, h[None], LINEAR)[0])

    def above_2(h: Array) -> Array:
        return layer_3(weights, h[None], LINEAR)[0]

    return [jax.jacobian(f)(jnp.zeros(n)).reshape(2, -1) for f, n in ((above_1, (4, 4, 2)), (above_2, (1, 2, 3)))]


def equal_sizes(scale: float) -> World:
    """Every weight above the first layer is +-scale."""
    w = world()
    forward = w.params["forward"]
    weights = {**forward, "w": forward["w"][:1] + tuple(scale * jnp.sign(a) for a in forward["w"][1:])}
    return graded(w._replace(params={**w.params, "forward": weights}), CURVED)


def backprop_batches() -> dict[str, Match]:
    matches = {}
    for label, w in {"curved": world(), "linear": world(LINEAR)}.items():
        gradients = hold(feedback.backprop(w.net), w)["forward"]
        no_credit = {name: tuple(jnp.zeros_like(g) for g in gs[:-1]) + gs[-1:] for name, gs in w.grad.items()}
        matches[label] = Match(gradients, w.grad, no_credit, w.output)
    return matches


def at_transport(make: Callable[..., LearningRule], **decay: float) -> Callable[[], Match]:
    """A match of the update at B = W with the gradient, plus the weights' decay if there is one."""
    return lambda: equals(make(images(), **decay), transported(world()), world(), **decay)()


def direct() -> Match:
    w = world(LINEAR, "direct")
    return equals(feedback.direct_feedback_alignment(w.net), with_feedback(w, jacobians(w)), w)()


def signs() -> Match:
    return equals(feedback.sign_symmetry(images(), scale=0.6), equal_sizes(0.6), world())()


def elsewhere_on_images(name: str) -> Callable[[], Any]:
    """The rule's gradients with the feedback as it is drawn, and the true ones."""

    def gradients() -> Any:
        w = world(pathway="direct" if "direct" in name else "chain")
        return hold(problem(name).case.make(), w)["forward"]["w"][:-1], w.grad["w"][:-1]

    return gradients


def descent_on_images(
    name: str, rate: float = 0.1, rate_fb: float = 0.1, steps: int = 2000, **coefficients: float
) -> Callable[[], tuple[float, float]]:
    """Losses on a teacher's targets: the least of any readout of the initial hidden layers, and after learning."""

    def losses_of() -> tuple[float, float]:
        net, blank = images(), jnp.zeros((64, 2))
        with jax.ensure_compile_time_eval():
            params = init_params(seed(125), net, pathway="direct" if "direct" in name else "chain")
            x = jax.random.normal(seed(127), (64, 4, 4, 1))
            teacher = jax.tree.map(lambda w: 2 * w, init_params(seed(126), net)["forward"])
            y = equations(teacher, x, blank, CURVED)[1]
            h = layer_2(params["forward"], layer_1(params["forward"], x, CURVED), CURVED)
            rows = np.concatenate([h.reshape(64, -1), np.ones((64, 1))], 1)
            best = rows @ np.linalg.lstsq(rows, np.asarray(y), rcond=None)[0]
            before = float(np.mean(np.sum((best - y) ** 2, 1)) / 2)
        tx = optax.partition(
            {"forward": optax.sgd(rate), "feedback": optax.sgd(rate_fb)}, {"forward": "forward", "feedback": "feedback"}
        )
        learn = learner(problem(name).case.make(**coefficients), tx)

        @compiled
        def run() -> Array:
            state = learn.init(params, seed(128), Example(x, y))
            return jax.lax.scan(lambda s, _: learn.step(s, Example(x, y)), state, None, length=steps)[1].loss

        return before, float(run()[-1])

    return losses_of


def on_images(name: str, reductions: dict[str, Callable[[], Match]], **options: Any) -> Approximate:
    return Approximate(reductions, elsewhere_on_images(name), descent_on_images(name, **options))


CLASSES = {
    "backprop_conv": Exact(backprop_batches),
    "feedback_alignment_conv": on_images(
        "feedback_alignment_conv", {"B = W": at_transport(feedback.feedback_alignment)}
    ),
    "direct_feedback_alignment_conv": on_images(
        "direct_feedback_alignment_conv", {"B the Jacobian of the layers above, in a linear network": direct}
    ),
    "sign_symmetry_conv": on_images("sign_symmetry_conv", {"weights of one size": signs}),
    "matching_conv": on_images("matching_conv", {"B = W": at_transport(feedback.matching)}),
    "kolen_pollack_conv": on_images(
        "kolen_pollack_conv",
        {"B = W is backpropagation with decay": at_transport(feedback.kolen_pollack, decay=0.1)},
        decay=1e-3,
    ),
    "weight_mirror": Approximate(
        {"B = W": in_chain("weight_mirror")}, elsewhere("weight_mirror"), descent_of_rows("weight_mirror")
    ),
    "weight_mirror_conv": on_images("weight_mirror_conv", {"B = W": at_transport(feedback.weight_mirror)}),
    "node_perturbation_conv": on_images("node_perturbation_conv", {"B = W": at_transport(feedback.node_perturbation)}),
}
