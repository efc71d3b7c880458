"""Rules of the library that apply to a network step by step, and the reasons why the others do not."""

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
    "bptt": "it emits one update for all steps of a window; future_facing_bptt emits one for each step",
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
"""Initial feedback of the rules that need another form than that of `plasticity_jax.layers.init_params`."""


class Applicable(NamedTuple):
    """Rules that apply to a network.

    Attributes:
      rules: the rules by name, made with their default coefficients.
      refused: for each of the other rules, the reason why it does not apply.
    """

    rules: dict[str, LearningRule]
    refused: dict[str, str]


def applicable_rules(net: Net) -> Applicable:
    """The rules of the library that apply to a network step by step, and why the others do not.

    Args:
      net: a cell or a chain.

    Returns:
      The `Applicable` rules.

    Raises:
      TypeError: if the network is neither.

    Example:
      >>> import plasticity_jax as pj
      >>> rules, refused = applicable_rules(pj.cells.alif(n_in=2, n=8, n_out=2))
      >>> "eprop" in rules, refused["kernl"]
      (True, 'kernl perturbs one variable a neuron, and alif has voltage, adaptation: use uoro or rflo')
    """
    if not isinstance(net, Neurons | Cell | Chain):
        raise TypeError(f"net is a {type(net).__name__}: give a cell of pj.cells or a chain of pj.layers")
    wanted = "net" if isinstance(net, Chain) else "cell"
    applicable: dict[str, LearningRule] = {}
    refused: dict[str, str] = {}
    for name, factory in _factories().items():
        if name in _REASONS and (name in rules.generative.__all__ or _first(factory) == wanted):
            refused[name] = _REASONS[name]
        elif _first(factory) != wanted:
            refused[name] = "it needs a chain of layers" if wanted == "cell" else "it needs a recurrent cell"
        else:
            try:
                applicable[name] = factory(net)
            except (TypeError, ValueError) as error:
                refused[name] = str(error).splitlines()[0]
    return Applicable(applicable, refused)


def chosen_rules(
    net: Net, chosen: Sequence[str] | Mapping[str, LearningRule] | None, exact: str
) -> tuple[dict[str, LearningRule], dict[str, str]]:
    """The rules to compare, the exact one first, and the reasons of those that do not apply.

    Args:
      net: a cell or a chain.
      chosen: names of rules, or rules by name; None is every rule of the library.
      exact: name of the exact rule.

    Returns:
      ``(rules, refused)``; nothing is refused if rules are chosen: one of them that does not apply is an error.

    Raises:
      TypeError: if what is given by name is not a rule.
      ValueError: if a name is not known, or its rule does not apply.
    """
    applicable, refused = applicable_rules(net)
    if isinstance(chosen, Mapping):
        for name, rule in chosen.items():
            if not isinstance(rule, LearningRule):
                raise TypeError(f"rule {name!r} is {rule!r}: give a LearningRule, as in {{'mine': rflo(cell)}}")
        applicable = {**applicable, **chosen}
        refused = {name: reason for name, reason in refused.items() if name not in chosen}
    names = list(dict.fromkeys((exact, *(applicable if chosen is None else chosen))))
    for name in names:
        if name in refused:
            reason, others = refused[name], ", ".join(applicable)
            raise ValueError(f"rule {name!r} does not apply to {name_of(net)}: {reason}; those that do are {others}")
        if name not in applicable:
            near, others = guess(name, [*applicable, *refused]), ", ".join(applicable)
            raise ValueError(f"rule {name!r} is not known{near}; those that apply to {name_of(net)} are {others}")
    return {name: applicable[name] for name in names}, refused if chosen is None else {}


def feedback_of(name: str, net: Net, params: Params, key: Key) -> PyTree:
    """The group "feedback" that a rule reads: that of the params, or, if the rule needs another form, a new draw."""
    return _FEEDBACK[name](key, net) if isinstance(net, Chain) and name in _FEEDBACK else params["feedback"]


def name_of(net: Net) -> str:
    """Name of the network in titles and messages."""
    if isinstance(net, Chain):
        return repr(net)
    return f"{net.name} ({net.n} neurons)" if isinstance(net, Neurons) else net.name


def guess(word: str, known: Iterable[str]) -> str:
    """The question whether the known name nearest to a misspelt one was meant; empty if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _factories() -> dict[str, Callable[..., LearningRule]]:
    named = {name: getattr(rules, name) for name in rules.__all__ if name not in _BUILDERS}
    return {
        name: factory
        for name, factory in named.items()
        if getattr(factory, "__annotations__", {}).get("return") is LearningRule
    }


def _first(factory: Callable[..., LearningRule]) -> str:
    """Name of the first argument, which takes the network."""
    return next(iter(inspect.signature(factory).parameters))
