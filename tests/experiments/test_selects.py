"""Fields that select parts choose among them, and change none: a part is the same program in any selection."""

import dataclasses
import importlib
import re
from pathlib import Path

import jax
import numpy as np
import pytest

HOME = Path(__file__).resolve().parents[2] / "experiments"
MODULES = [
    f"experiments.{path.parent.name}.{path.stem}"
    for path in sorted(HOME.glob("*/*.py"))
    if "    selects=(" in path.read_text(encoding="utf-8")
]


def in_words(program):
    """The computation of a program's first chunk, as text without addresses, and its constants."""
    traced = jax.make_jaxpr(lambda key: program.chunk(program.init(key)))(jax.random.key(0))
    return re.sub(r"0x[0-9a-f]+", "", str(traced)), traced.consts


@pytest.mark.parametrize("module", MODULES)
def test_a_part_is_the_same_in_any_selection(module):
    experiment = importlib.import_module(module).experiment
    config = experiment.presets["smoke"]
    every = experiment.parts(config)
    for field in experiment.selects:
        *_, last = getattr(config, field)
        some = experiment.parts(dataclasses.replace(config, **{field: (last,)}))
        assert list(some) == [name for name in every if name in some]
        assert len(some) < len(every) or len(getattr(config, field)) == 1
        name = list(some)[-1]
        (one, constants), (other, same) = in_words(every[name]), in_words(some[name])
        assert one == other
        jax.tree.map(np.testing.assert_array_equal, constants, same)
        assert every[name][2:] == some[name][2:]
