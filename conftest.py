"""Examples in docstrings: the package is imported whole before they are collected, and they run as a reader's would.

Pytest would otherwise load a collected file a second time, apart from the package, and put that module in the place of
the function that has its name (`plasticity_jax.cells.leaky`).
"""

import importlib
import pkgutil

import jax
import pytest

import plasticity_jax

for module in pkgutil.walk_packages(plasticity_jax.__path__, "plasticity_jax."):
    if not module.name.endswith("_dataset_builder"):  # needs tensorflow-datasets
        importlib.import_module(module.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Runs an example in single precision, JAX's default, where the tests of values use double."""
    if not isinstance(item, pytest.DoctestItem):
        return (yield)
    with jax.enable_x64(False):
        return (yield)
