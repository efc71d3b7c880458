"""One seed of a comparison: training by the exact rule with the other rules looking on, and the comparison itself."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import cells, layers
from plasticity_jax.base import LearnerState, LearningRule, learner
from plasticity_jax.diagnostics.comparison import Comparison, comparison
from plasticity_jax.layers import Chain
from plasticity_jax.run.applicable import Net, feedback_of
from plasticity_jax.tasks import Stream
from plasticity_jax.typing import Array, Example, Key, Params, PyTree

_RECENT = 100  # steps over which a loss is averaged


class Onlooker(NamedTuple):
    """A rule that looks on: it does not change the weights, and learns only its own feedback and traces.

    Attributes:
      feedback: the group "feedback" that it reads.
      opt_state: state of the optimiser of that group.
      traces: the rule's traces.
    """

    feedback: PyTree
    opt_state: optax.OptState
    traces: Any


class SeedState(NamedTuple):
    """One seed in training.

    Attributes:
      learning: state of the exact rule's learner.
      stream: state of the task's stream.
      onlookers: the other rules, by name.
    """

    learning: LearnerState
    stream: PyTree
    onlookers: dict[str, Onlooker]


class SeedFunctions(NamedTuple):
    """Pure functions of one seed.

    Attributes:
      start: ``key -> state``, before training.
      train: ``(steps, state) -> (state, loss)``, the loss averaged over the last 100 steps.
      probe: ``(state, key) -> Comparison``, with the weights held.
    """

    start: Callable[[Key], SeedState]
    train: Callable[[int, SeedState], tuple[SeedState, Array]]
    probe: Callable[[SeedState, Key], Comparison]


def seed_functions(
    net: Net,
    stream: Stream,
    rules: Mapping[str, LearningRule],
    exact: str,
    *,
    rate: float,
    length: int,
    burn_in: int,
    samples: tuple[int, int],
) -> SeedFunctions:
    """The functions of one seed of a comparison.

    Args:
      net: a cell or a chain.
      stream: the task.
      rules: the rules to compare, by name.
      exact: name of the rule that trains the network.
      rate: learning rate of Adam.
      length: steps of the trajectory on which the rules are compared, burn-in and lags included.
      burn_in: steps at its beginning that do not count.
      samples: groups of draws of a stochastic rule's noise, and draws in a group.
    """
    tx = optax.adam(rate)
    learn = learner(rules[exact], tx)
    others = [name for name in rules if name != exact]

    def trajectory(key_x: Key) -> tuple[PyTree, Example]:
        """State of the stream after the trajectory on which the rules are compared, and the trajectory."""
        return stream.take(stream.init(key_x), length)

    def start(key: Key) -> SeedState:
        key_w, key_fb, key_run, key_look, key_x, _ = _keys(key)
        params = layers.init_params(key_w, net) if isinstance(net, Chain) else cells.init_params(key_w, net)
        stream_state, batches = trajectory(key_x)
        batch = jax.tree.map(lambda leaf: leaf[0], batches)
        onlookers = {}
        for i, name in enumerate(others):
            feedback = feedback_of(name, net, params, key_fb)
            traces = rules[name].init({**params, "feedback": feedback}, jax.random.fold_in(key_look, i), batch)
            onlookers[name] = Onlooker(feedback, tx.init(feedback), traces)
        return SeedState(learn.init(params, key_run, batch), stream_state, onlookers)

    def look_on(name: str, onlooker: Onlooker, params: Params, key: Key, batch: Example) -> Onlooker:
        feedback, opt_state, traces = onlooker
        updates, traces, _ = rules[name].update({**params, "feedback": feedback}, traces, key, batch)
        changes, opt_state = tx.update(updates["feedback"], opt_state, feedback)
        return Onlooker(optax.apply_updates(feedback, changes), opt_state, traces)

    def train(steps: int, state: SeedState) -> tuple[SeedState, Array]:
        stream_state, examples = stream.take(state.stream, steps)

        def step(carry: tuple[LearnerState, dict[str, Onlooker]], batch: Example) -> Any:
            learning, onlookers = carry
            key = jax.random.fold_in(learning.key, learning.step)
            onlookers = {
                name: look_on(name, onlookers[name], learning.params, jax.random.fold_in(key, i), batch)
                for i, name in enumerate(others)
            }
            learning, info = learn.step(learning, batch)
            return (learning, onlookers), info.loss

        (learning, onlookers), losses = jax.lax.scan(step, (state.learning, state.onlookers), examples)
        return SeedState(learning, stream_state, onlookers), jnp.mean(losses[-_RECENT:])

    def probe(state: SeedState, key: Key) -> Comparison:
        params, traces = state.learning.params, state.learning.traces
        every = {exact: Onlooker(params["feedback"], (), traces), **state.onlookers}
        compared = {name: _with_learned(rule, every[name]) for name, rule in rules.items()}
        *_, key_x, key_noise = _keys(key)
        batches = trajectory(key_x)[1]
        return comparison(compared, params, key_noise, batches, reference=exact, samples=samples, burn_in=burn_in)

    return SeedFunctions(start, train, probe)


def _keys(key: Key) -> Key:
    """Keys of a seed's weights, feedback, exact rule, onlookers, stream, and noise in the comparison."""
    return jax.random.split(key, 6)


def _with_learned(rule: LearningRule, onlooker: Onlooker) -> LearningRule:
    """The rule with the feedback and the shared traces that the onlooker has learned; its other traces start afresh."""

    def init(params: Params, key: Key, batch: Example) -> Any:
        traces = rule.init({**params, "feedback": onlooker.feedback}, key, batch)
        shared = getattr(onlooker.traces, "shared", None)
        return traces if shared is None else traces._replace(shared=shared)

    def update(params: Params, traces: Any, key: Key, batch: Example) -> Any:
        return rule.update({**params, "feedback": onlooker.feedback}, traces, key, batch)

    return LearningRule(init, update, rule.lag)
