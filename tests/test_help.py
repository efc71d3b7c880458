"""`help` of a task or a cell shows its equations, since a user does not read the head of its file."""

import inspect
from pathlib import Path

import pytest

from plasticity_jax import cells, tasks

WITHOUT = {"episode_stream", "few_shot", "spoken_digits", "windows"}
"""Streams of existing data, which have no equations."""
KINDS = {tasks: tasks.Stream, cells: cells.Neurons}
FACTORIES = [
    value
    for room, kind in KINDS.items()
    for value in (getattr(room, name) for name in room.__all__)
    if inspect.isfunction(value) and value.__annotations__.get("return") is kind and value.__name__ not in WITHOUT
]


def displayed(text):
    """The indented lines before the first section."""
    head = inspect.cleandoc(text).partition("\nArgs:\n")[0].partition("\nAttributes:\n")[0]
    return [line.strip() for line in head.splitlines() if line.startswith("    ")]


def test_the_list_holds_tasks_and_cells():
    names = {factory.__name__ for factory in FACTORIES}
    assert names >= {"add", "delayed_xor", "evidence_accumulation", "mimic", "gru", "lstm", "lif", "alif", "neurons"}


@pytest.mark.parametrize(
    "factory", [*FACTORIES, cells.Cell, cells.spike_function], ids=lambda factory: factory.__name__
)
def test_help_shows_the_equations_and_the_file_states_them_once(factory):
    equations = displayed(factory.__doc__)
    assert any(sign in line for line in equations for sign in ("=", "~", "<-"))
    source = Path(inspect.getfile(factory)).read_text(encoding="utf-8")
    for line in equations:
        assert source.count(line) == 1, line
