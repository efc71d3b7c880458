"""Imports the package whole before pytest collects its doctests.

Pytest would otherwise load a collected file a second time, apart from the package, and put that module in the place of
the function that has its name (`plasticity_jax.cells.leaky`).
"""

import importlib
import pkgutil

import plasticity_jax

for found in pkgutil.walk_packages(plasticity_jax.__path__, "plasticity_jax."):
    if not found.name.endswith("_dataset_builder"):  # imported by who builds alone
        importlib.import_module(found.name)
