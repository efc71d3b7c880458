"""L10 for the feedback family: the gradient by autodiff of equations written here, and each rule's relation to it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.layers import Chain, Pathway, init_params
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.ops.sums import RunningSum
from plasticity_jax.rules import feedback
from plasticity_jax.typing import Array, Example, Params
from tests.laws.classes import Approximate, Exact, Match
from tests.laws.common import compiled, problem, seed

STEPS = 10
PHI = {"tanh": jnp.tanh, "sigmoid": lambda v: 1 / (1 + jnp.exp(-v)), "identity": lambda v: v}
CURVED, LINEAR = ("tanh", "sigmoid", "identity"), ("identity", "identity", "identity")
SHALLOW = ("tanh", "identity")
SIZES = (3, 5, 4, 2)
CURVED_NET = mlp(SIZES, CURVED)
NARROW = mlp((6, 3, 3, 3), LINEAR)
"""A linear network with fewer units than inputs, whose initial layers lose needed information."""


class World(NamedTuple):
    """Fixed weights, and the gradients of the loss on a number of batches.

    Attributes:
      params: weights.
      examples: (T, B, ...).
      output: (T, B, n_out).
      grad: dL^t / d params["forward"], leading axis T; mean over the batch.
      net: the rules' network.
    """

    params: Params
    examples: Example
    output: Array
    grad: Any
    net: Chain


def equations(weights: Any, x: Array, y: Array, activations: Sequence[str]) -> tuple[Array, Array]:
    h = x
    for w, bias, name in zip(weights["w"], weights["bias"], activations, strict=True):
        h = PHI[name](jnp.einsum("ij,bj->bi", w, h) + bias)
    return jnp.mean(jnp.sum((h - y) ** 2, 1)) / 2, h


@functools.cache
def world(activations: tuple[str, ...] = CURVED, sizes: tuple[int, ...] = SIZES, pathway: Pathway = "chain") -> World:
    net = mlp(sizes, activations)
    with jax.ensure_compile_time_eval():
        params = init_params(seed(110), net, pathway=pathway)
        params["forward"]["bias"] = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n)) for n in sizes[1:])
        keys = jax.random.split(seed(111))
        examples = Example(
            *(jax.random.normal(key, (STEPS, 3, n)) for key, n in zip(keys, (sizes[0], sizes[-1]), strict=True))
        )
        graded = jax.grad(lambda weights, x, y: equations(weights, x, y, activations), has_aux=True)
        grad, output = compiled(jax.vmap(graded, in_axes=(None, 0, 0)))(params["forward"], *examples[:2])
    return World(params, examples, output, grad, net)


def with_feedback(w: World, w_fb: Sequence[Array]) -> World:
    return w._replace(params={**w.params, "feedback": {"w_fb": tuple(w_fb)}})


def transported(w: World) -> World:
    """B = W."""
    return with_feedback(w, w.params["forward"]["w"][1:])


def products(w: World) -> list[Array]:
    """The Jacobians of a linear network's output by each hidden layer: W^L ... W^{i+1}."""
    jacobians, product = [], jnp.eye(w.output.shape[-1])
    for matrix in reversed(w.params["forward"]["w"][1:]):
        product = product @ matrix
        jacobians.insert(0, product)
    return jacobians


def hold(rule: LearningRule, w: World, start: Callable[[Any], Any] = lambda traces: traces) -> Any:
    """The rule's updates on every batch of a world, with fixed weights."""

    def body(traces: Any, at: Any) -> Any:
        t, batch = at
        updates, traces, _ = rule.update(w.params, traces, jax.random.fold_in(seed(112), t), batch)
        return traces, updates

    def run() -> Any:
        traces = rule.init(w.params, seed(113), jax.tree.map(lambda leaf: leaf[0], w.examples))
        return jax.lax.scan(body, start(traces), (jnp.arange(STEPS), w.examples))[1]

    return compiled(run)()


def equals(rule: LearningRule, exact: World, other: World, decay: float = 0.0) -> Callable[[], Match]:
    """A match of the rule's forward gradient in the world `exact` with the true one; in `other` it differs."""

    def reduction() -> Match:
        expected = {
            "w": [g + decay * w for g, w in zip(exact.grad["w"], exact.params["forward"]["w"], strict=True)],
            "bias": exact.grad["bias"],
        }
        updates, unlike = (hold(rule, w)["forward"] for w in (exact, other))
        as_lists = [{"w": list(u["w"]), "bias": u["bias"]} for u in (updates, unlike)]
        return Match(as_lists[0], expected, as_lists[1], exact.output)

    return reduction


def backprop_batches() -> dict[str, Match]:
    matches = {}
    for label, w in {"curved": world(), "linear": world(LINEAR), "one hidden layer": world(SHALLOW, (3, 5, 2))}.items():
        gradients = hold(feedback.backprop(w.net), w)["forward"]
        no_credit = {name: tuple(jnp.zeros_like(g) for g in gs[:-1]) + gs[-1:] for name, gs in w.grad.items()}
        matches[label] = Match(gradients, w.grad, no_credit, w.output)
    return matches


def equal_sizes(scale: float) -> World:
    """Every weight above the first layer is +-scale."""
    w = world()
    forward = w.params["forward"]
    weights = {**forward, "w": forward["w"][:1] + tuple(scale * jnp.sign(a) for a in forward["w"][1:])}
    graded = jax.grad(lambda weights, x, y: equations(weights, x, y, CURVED), has_aux=True)
    grad, output = compiled(jax.vmap(graded, in_axes=(None, 0, 0)))(weights, *w.examples[:2])
    return w._replace(params={**w.params, "forward": weights}, grad=grad, output=output)


EVIDENCE = 1e13
"""The weight of the initial statistics, against which one step's noise is negligible."""


def with_exact_statistics(estimator: str, pathway: Pathway = "chain") -> Callable[[], Match]:
    """A match of the regression on exact effects with W itself (direct: with the product of the weights above)."""

    def reduction() -> Match:
        offline, direct = estimator == "offline", pathway == "direct"
        w = world(LINEAR if offline or direct else CURVED, (4, 3, 4, 5), pathway)
        solution = products(w) if direct else w.params["forward"]["w"][1:]
        rule = feedback.node_perturbation(w.net, estimator=estimator, pathway=pathway, ridge=1.0)  # pyright: ignore

        def start(traces: Any) -> Any:
            def some(n: int) -> Array:
                a = jax.random.normal(jax.random.fold_in(seed(114), n), (n, n))
                return EVIDENCE * (a @ a.T + jnp.eye(n))

            second = [some(len(v.total)) for v in traces.second]
            jacobians = products(w) if offline or direct else solution
            cross = [(second * len(jacobians))[0 if len(second) == 1 else i] @ lam for i, lam in enumerate(jacobians)]
            return traces._replace(
                second=tuple(RunningSum(v, jnp.zeros_like(v)) for v in second),
                cross=tuple(RunningSum(s, jnp.zeros_like(s)) for s in cross),
            )

        emitted = hold(rule, w, start)["feedback"]["w_fb"]
        set_to = [b - u for b, u in zip(w.params["feedback"]["w_fb"], emitted, strict=True)]
        many = [jnp.broadcast_to(b, (STEPS, *b.shape)) for b in solution]
        drawn = [jnp.broadcast_to(b, (STEPS, *b.shape)) for b in w.params["feedback"]["w_fb"]]
        return Match(set_to, many, drawn, w.output)

    return reduction


def elsewhere(name: str) -> Callable[[], Any]:
    """The rule's gradients with the feedback as it is drawn, and the true ones."""

    def gradients() -> Any:
        case = problem(name).case
        w = world(LINEAR if "offline" in name else CURVED, pathway="direct" if "direct" in name else "chain")
        return hold(case.make(), w)["forward"]["w"][:-1], w.grad["w"][:-1]

    return gradients


def descent(
    name: str,
    rate: float = 0.1,
    rate_fb: float = 0.1,
    steps: int = 4000,
    net: Chain = CURVED_NET,
    make: Callable[[Chain], LearningRule] | None = None,
    **coefficients: float,
) -> Callable[[], tuple[float, float]]:
    """Losses on a teacher's targets: the least that any readout of the initial hidden layers has, and after learning.

    The rule is the registered one, on its own network, unless `make` gives another.
    """

    def losses_of() -> tuple[float, float]:
        activations = [str(layer.phi) for layer in net.layers]
        n_in, n_out = net.h_shapes[0][0], net.h_shapes[-1][0]
        taught = problem(name).case.make(**coefficients) if make is None else make(net)
        with jax.ensure_compile_time_eval():
            params = init_params(seed(115), net, pathway="direct" if "direct" in name else "chain")
            teacher = init_params(seed(116), net)["forward"]
            x = jax.random.normal(seed(117), (64, n_in))
            y = equations(teacher, x, jnp.zeros((64, n_out)), activations)[1]
            h = x
            for i in range(2):
                h = PHI[activations[i]](h @ params["forward"]["w"][i].T)
            rows = np.concatenate([h, np.ones((64, 1))], 1)
            best = rows @ np.linalg.lstsq(rows, np.asarray(y), rcond=None)[0]
            before = float(np.mean(np.sum((best - y) ** 2, 1)) / 2)
        tx = optax.partition(
            {"forward": optax.sgd(rate), "feedback": optax.sgd(rate_fb)}, {"forward": "forward", "feedback": "feedback"}
        )
        learn = learner(taught, tx)

        @compiled
        def run() -> Array:
            state = learn.init(params, seed(118), Example(x, y))
            return jax.lax.scan(lambda s, _: learn.step(s, Example(x, y)), state, None, length=steps)[1].loss

        return before, float(run()[-1])

    return losses_of


def perturbed(name: str, reductions: dict[str, Callable[[], Match]], **options: Any) -> Approximate:
    return Approximate(reductions, elsewhere(name), descent(name, **options))


def rule(name: str, net: Chain = CURVED_NET, **options: Any) -> LearningRule:
    return getattr(feedback, name)(net, **options)


def in_chain(name: str, **options: Any) -> Callable[[], Match]:
    return lambda: equals(rule(name, **options), transported(world()), world())()


def in_direct(name: str, **options: Any) -> dict[str, Callable[[], Match]]:
    def linear() -> Match:
        w = world(LINEAR, pathway="direct")
        return equals(rule(name, w.net, **options), with_feedback(w, products(w)), w)()

    def shallow() -> Match:
        w = world(SHALLOW, (3, 5, 2), "direct")
        return equals(rule(name, w.net, **options), transported(w), w)()

    return {"B the product of the weights above, in a linear network": linear, "B = W, one hidden layer": shallow}


def of_linear_chain() -> Match:
    w = world(LINEAR)
    return equals(rule("node_perturbation", w.net, estimator="offline"), transported(w), w)()


def sign_of_equal_sizes() -> Match:
    return equals(rule("sign_symmetry", scale=0.6), equal_sizes(0.6), world())()


CLASSES = {
    "backprop": Exact(backprop_batches),
    "feedback_alignment": Approximate(
        {"B = W": in_chain("feedback_alignment")}, elsewhere("feedback_alignment"), descent("feedback_alignment")
    ),
    "direct_feedback_alignment": Approximate(
        in_direct("direct_feedback_alignment"),
        elsewhere("direct_feedback_alignment"),
        descent("direct_feedback_alignment"),
    ),
    "sign_symmetry": Approximate(
        {"weights of one size": sign_of_equal_sizes}, elsewhere("sign_symmetry"), descent("sign_symmetry")
    ),
    "matching": Approximate({"B = W": in_chain("matching")}, elsewhere("matching"), descent("matching")),
    "kolen_pollack": Approximate(
        {
            "B = W is backpropagation with decay": lambda: equals(
                rule("kolen_pollack", decay=0.1), transported(world()), world(), decay=0.1
            )()
        },
        elsewhere("kolen_pollack"),
        descent("kolen_pollack", decay=1e-3),
    ),
    "node_perturbation": perturbed("node_perturbation", {"B = W": in_chain("node_perturbation")}),
    "node_perturbation_antithetic": perturbed(
        "node_perturbation_antithetic", {"B = W": in_chain("node_perturbation", antithetic=True)}
    ),
    "node_perturbation_direct": perturbed(
        "node_perturbation_direct", in_direct("node_perturbation", pathway="direct", noise="rademacher")
    ),
    "node_perturbation_ridge": perturbed(
        "node_perturbation_ridge",
        {
            "B = W": in_chain("node_perturbation", estimator="ridge"),
            "statistics of exact effects give B = W": with_exact_statistics("ridge"),
        },
        rate_fb=1.0,
    ),
    "node_perturbation_ridge_direct": perturbed(
        "node_perturbation_ridge_direct",
        {
            **in_direct("node_perturbation", estimator="ridge", pathway="direct"),
            "statistics of exact effects give the product of the weights above": with_exact_statistics(
                "ridge", "direct"
            ),
        },
        rate_fb=1.0,
    ),
    "node_perturbation_offline": perturbed(
        "node_perturbation_offline",
        {"B = W": of_linear_chain, "statistics of exact effects give B = W": with_exact_statistics("offline")},
        rate=0.02,
        rate_fb=1.0,
        net=NARROW,
        make=lambda net: feedback.node_perturbation(net, estimator="offline", sigma=0.2, forgetting=0.9, ridge=1.0),
    ),
}
