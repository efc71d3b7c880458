"""L12: the documented example of every registered rule runs, and learns; and every public rule is registered."""

import ast
import doctest
import sys

import pytest

from plasticity_jax.registry import RULES
from tests.laws.common import NAMES, factories, factory_of


@pytest.mark.parametrize("name", NAMES)
def test_l12_the_documented_example_runs_and_learns(name):
    factory = factory_of(name)
    assert factory is not None, f"no wing of plasticity_jax.rules exports a factory {name}, or one whose variant it is"
    module = sys.modules[factory.__module__]
    found = doctest.DocTestFinder(recurse=False).find(factory, name, module, globs=dict(vars(module)))
    examples = [test for test in found if test.examples]
    assert examples, f"{name} has no example in its docstring"
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    printed = []
    for test in examples:
        assert runner.run(test, out=printed.append).failed == 0, "".join(printed)
        assert learns(test), f"the example of {name} calls no `step` or `update`, or shows nothing after it"


def learns(test: doctest.DocTest) -> bool:
    """Returns whether an example takes steps of learning and then states what came of them."""
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
def test_l12_tells_learning_from_construction(text, is_so):
    assert learns(doctest.DocTestParser().get_doctest(text, {}, "example", None, 0)) == is_so


def test_l12_every_public_rule_is_registered():
    assert set(factories()) <= set(RULES), "register it in its wing's cases.py: it then gets every law"
