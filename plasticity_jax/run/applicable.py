"""Rules of the library that a network takes, found step by step, with the reason for each that it does not take."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from plasticity_jax import layers, rules
from plasticity_jax.base import LearningRule
from plasticity_jax.cells import Cell, Neurons
from plasticity_jax.layers import Chain
from plasticity_jax.typing import Key, Params, PyTree

Net = Neurons | Cell | Chain

_BUILDERS = ("feedback_rule", "local_rule", "online_rule", "windowed_rule")
_WINDOWED = ("recurrent_feedback_alignment", "recurrent_node_perturbation", "truncated_to_one_step")
_REASONS = {
    "bptt": "it speaks once in a window, of all its steps; future_facing_bptt is the form that speaks of each step",
    "fixed_recurrent": "it teaches the readout alone",
    "taylor": "its coefficients have no defaults; make it, and give compare_rules a mapping of rules",
    **dict.fromkeys(_WINDOWED, "its batches are windows, and here steps come one by one"),
    **dict.fromkeys(rules.generative.__all__, "it needs a generative network, of two streams or a hierarchy"),
}
_FEEDBACK: Mapping[str, Callable[[Key, Chain], PyTree]] = {
    "direct_feedback_alignment": lambda key, net: layers.init_params(key, net, pathway="direct")["feedback"],
    "flp": rules.flp_feedback,
    "plastic_feedback": rules.flp_feedback,
}
"""Feedback of another form than that of `plasticity_jax.layers.init_params`."""


class Applicable(NamedTuple):
    """Rules that a network takes.

    Attributes:
      rules: by name, made with their defaults.
      refused: for each of the others, the reason.
    """

    rules: dict[str, LearningRule]
    refused: dict[str, str]


def applicable_rules(net: Net) -> Applicable:
    """The rules of the library that a network takes step by step, and why it does not take the others.

    Args:
      net: a cell or a chain.

    Returns:
      The `Applicable` rules.

    Raises:
      TypeError: if the network is neither.

    Example:
      >>> import plasticity_jax as pj
      >>> found = applicable_rules(pj.cells.alif(n_in=2, n=8, n_out=2))
      >>> "eprop" in found.rules, found.refused["kernl"]
      (True, 'kernl perturbs one variable a neuron, and alif has voltage, adaptation: use uoro or rflo')
    """
    if not isinstance(net, Neurons | Cell | Chain):
        raise TypeError(f"net is a {type(net).__name__}: give a cell of pj.cells or a chain of pj.layers")
    wanted = "net" if isinstance(net, Chain) else "cell"
    made: dict[str, LearningRule] = {}
    refused: dict[str, str] = {}
    for name, factory in _factories().items():
        if name in _REASONS and (name in rules.generative.__all__ or _first(factory) == wanted):
            refused[name] = _REASONS[name]
        elif _first(factory) != wanted:
            refused[name] = "it needs a chain of layers" if wanted == "cell" else "it needs a recurrent cell"
        else:
            try:
                made[name] = factory(net)
            except (TypeError, ValueError) as error:
                refused[name] = str(error).splitlines()[0]
    return Applicable(made, refused)


def chosen_rules(
    net: Net, chosen: Sequence[str] | Mapping[str, LearningRule] | None, exact: str
) -> tuple[dict[str, LearningRule], dict[str, str]]:
    """The rules to compare, the exact one first, and the reasons of those that do not apply.

    Raises:
      TypeError: if what is given by name is not a rule.
      ValueError: if a name is not known, or its rule does not apply.
    """
    found, refused = applicable_rules(net)
    if isinstance(chosen, Mapping):
        for name, rule in chosen.items():
            if not isinstance(rule, LearningRule):
                raise TypeError(f"rule {name!r} is {rule!r}: give a LearningRule, as in {{'mine': rflo(cell)}}")
        found = {**found, **chosen}
        refused = {name: reason for name, reason in refused.items() if name not in chosen}
    names = list(dict.fromkeys((exact, *(found if chosen is None else chosen))))
    for name in names:
        if name in refused:
            raise ValueError(
                f"rule {name!r} does not apply to {name_of(net)}: {refused[name]}; those that do are {', '.join(found)}"
            )
        if name not in found:
            near = guess(name, [*found, *refused])
            raise ValueError(
                f"rule {name!r} is not known{near}; those that apply to {name_of(net)} are {', '.join(found)}"
            )
    return {name: found[name] for name in names}, refused


def feedback_of(name: str, net: Net, params: Params, key: Key) -> PyTree:
    """The group "feedback" that a rule reads: that of the params, or one of another form, drawn with the key."""
    return _FEEDBACK[name](key, net) if isinstance(net, Chain) and name in _FEEDBACK else params["feedback"]


def name_of(net: Net) -> str:
    """The network as titles and messages call it."""
    if isinstance(net, Chain):
        return repr(net)
    return f"{net.name} ({net.n} neurons)" if isinstance(net, Neurons) else net.name


def guess(word: str, known: Iterable[str]) -> str:
    """The question whether a name near to a misspelt one was meant; empty if there is none."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _factories() -> dict[str, Callable[..., LearningRule]]:
    named = {name: getattr(rules, name) for name in rules.__all__ if name not in _BUILDERS}
    return {
        name: made for name, made in named.items() if getattr(made, "__annotations__", {}).get("return") is LearningRule
    }


def _first(factory: Callable[..., LearningRule]) -> str:
    """Name of the argument that takes the network."""
    return next(iter(inspect.signature(factory).parameters))
