"""`help` of a rule shows once the equations from the head of its file."""

import ast
import importlib
import inspect
import sys

import pytest

from plasticity_jax import rules
from plasticity_jax.base import LearningRule

FACTORIES = [
    name
    for name in rules.__all__
    if inspect.isfunction(getattr(rules, name)) and getattr(rules, name).__annotations__["return"] is LearningRule
]


def written(factory):
    """The docstrings of a factory and of its module as written in the file."""
    tree = ast.parse(inspect.getsource(sys.modules[factory.__module__]))
    own = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == factory.__name__)
    return ast.get_docstring(own), ast.get_docstring(tree)


def test_the_list_holds_every_kind_of_factory():
    assert {"rflo", "bptt", "feedback_alignment", "hebb", "impression", "online_rule", "local_rule"} <= set(FACTORIES)


@pytest.mark.parametrize("name", FACTORIES)
def test_help_shows_the_equations(name):
    factory = getattr(rules, name)
    own, module = written(factory)
    docstring = inspect.getdoc(factory)
    assert docstring.startswith(own)
    head, _, equations = docstring.partition("\n\nEquations:\n")
    assert head == own
    assert [line.strip() for line in equations.splitlines()] == [line.strip() for line in module.splitlines()]
    assert ">>>" not in module  # or doctest would run its examples again for each factory


def test_a_second_import_adds_nothing():
    before = {name: getattr(rules, name).__doc__ for name in FACTORIES}
    importlib.reload(rules)
    assert {name: getattr(rules, name).__doc__ for name in FACTORIES} == before
