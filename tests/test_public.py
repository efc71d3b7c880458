"""The public names of every room equal a committed list.

A new or removed name changes what users import, so it belongs into the list, and into the review.

    python -m tests.test_public > tests/public_names.txt
"""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import plasticity_jax

LIST = Path(__file__).with_name("public_names.txt")
UPDATE = "python -m tests.test_public > tests/public_names.txt"
INTERNAL = {"plasticity_jax.command", "plasticity_jax.ops"}
"""Packages with internal names."""
SHARED = {"init_params", "from_flax"}
"""Names that several rooms have, each for its own kind of network."""


def packages():
    """Names of the package, its rooms and the wings of the rules."""
    below = pkgutil.walk_packages(plasticity_jax.__path__, "plasticity_jax.")
    return ["plasticity_jax", *(module.name for module in below if module.ispkg and module.name not in INTERNAL)]


def public_names():
    rooms = [name for name in packages() if name.count(".") < 2]
    return sorted(f"{room}.{name}" for room in rooms for name in importlib.import_module(room).__all__)


def test_the_list_is_up_to_date():
    listed, names = LIST.read_text(encoding="utf-8").split(), public_names()
    new, gone = sorted(set(names) - set(listed)), sorted(set(listed) - set(names))
    assert listed == names, f"new: {', '.join(new) or 'none'}; gone: {', '.join(gone) or 'none'}; if intended: {UPDATE}"


@pytest.mark.parametrize("room", packages())
def test_a_room_shows_what_it_exports(room):
    package = importlib.import_module(room)
    assert dir(package) == sorted(set(package.__all__))
    assert len(package.__all__) == len(set(package.__all__))
    assert package.__doc__


@pytest.mark.parametrize("room", [name for name in packages() if name.count(".") < 2 and not name.endswith(".bench")])
def test_a_misspelt_name_suggests_the_nearest(room):
    package = importlib.import_module(room)
    known = max(package.__all__, key=len)
    with pytest.raises(AttributeError) as refusal:
        getattr(package, f"{known}o")
    message = f"module '{room}' has no attribute '{known}o'; did you mean '{known}'? dir({room}) names all"
    assert str(refusal.value) == message
    assert refusal.value.obj is None  # or Python would look for a second suggestion in it
    with pytest.raises(AttributeError, match=f"has no attribute 'qqqq'; dir\\({room}\\) names all$"):
        _ = package.qqqq
    assert not hasattr(package, "__wrapped__")


@pytest.mark.parametrize("name", public_names())
def test_a_public_name_exists_and_has_a_docstring(name):
    room, _, own = name.rpartition(".")
    value = getattr(importlib.import_module(room), own)
    if inspect.isroutine(value) or inspect.isclass(value):
        assert not own.startswith("_")
        assert inspect.getdoc(value)
        # `NamedTuple` and `dataclass` write this where there is none.
        assert not (inspect.isclass(value) and (value.__doc__ or f"{own}(").startswith(f"{own}("))


def test_a_name_means_one_object():
    """Two rooms that share a name share its object, except for `SHARED`."""
    objects = {}
    for name in public_names():
        room, _, own = name.rpartition(".")
        value = getattr(importlib.import_module(room), own)
        if not inspect.ismodule(value):
            objects.setdefault(own, set()).add(id(value))
    assert {own for own, ids in objects.items() if len(ids) > 1} == SHARED


if __name__ == "__main__":
    print("\n".join(public_names()))  # noqa: T201
