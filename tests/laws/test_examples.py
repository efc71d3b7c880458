"""L12: the documented example of every registered rule learns, and every public rule is registered.

Pytest runs the examples themselves, as doctests of the package.
"""

import ast
import doctest

import pytest

from plasticity_jax.registry import RULES
from tests.laws.common import NAMES, factories, factory_of


@pytest.mark.parametrize("name", sorted(factories()))
def test_l12_the_documented_example_learns(name):
    tests = doctest.DocTestFinder(recurse=False).find(factories()[name], name)
    assert any(learns(test) for test in tests), (
        f"the docstring of {name} has no example that calls `step` or `update` and shows a result after it"
    )


@pytest.mark.parametrize("name", NAMES)
def test_l12_every_registered_rule_has_a_documented_factory(name):
    message = f"no wing of plasticity_jax.rules exports a factory {name}, or one whose variant it is"
    assert factory_of(name) is not None, message


def learns(test: doctest.DocTest) -> bool:
    """Returns True if an example takes learning steps and then shows a result."""
    nodes = [(i, node) for i, each in enumerate(test.examples) for node in ast.walk(ast.parse(each.source))]
    steps = [i for i, node in nodes if isinstance(node, ast.Attribute) and node.attr in ("step", "update")]
    return bool(steps) and any(each.want for each in test.examples[steps[0] :])


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        (">>> state, info = learn.step(1, 2)\n>>> print(info)\n3\n", True),
        (">>> updates = rule.update(1, 2)\n", False),
        (">>> rule = rflo(cell)\n>>> rule\n4\n", False),
        (">>> 1\n1\n>>> learn.step(1)\n", False),
    ],
)
def test_l12_an_example_learns_if_a_result_follows_a_step(text, is_so):
    assert learns(doctest.DocTestParser().get_doctest(text, {}, "example", None, 0)) == is_so


def test_l12_every_public_rule_is_registered():
    assert set(factories()) <= set(RULES), "register it in its wing's cases.py: it then gets every law"
