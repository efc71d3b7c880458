"""L12: the documented example of every registered rule runs; and every public rule is registered."""

import doctest
import sys

import pytest

from plasticity_jax.registry import RULES
from tests.laws.common import NAMES, factories, factory_of


@pytest.mark.parametrize("name", NAMES)
def test_l12_the_documented_example_runs(name):
    factory = factory_of(name)
    assert factory is not None, f"no wing of plasticity_jax.rules exports a factory {name}, or one whose variant it is"
    module = sys.modules[factory.__module__]
    found = doctest.DocTestFinder(recurse=False).find(factory, name, module, globs=dict(vars(module)))
    examples = [test for test in found if test.examples]
    assert examples, f"{name} has no example in its docstring"
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    heard = []
    for test in examples:
        assert runner.run(test, out=heard.append).failed == 0, "".join(heard)


def test_l12_every_public_rule_is_registered():
    assert set(factories()) <= set(RULES), "register it in its wing's cases.py: it then gets every law"
