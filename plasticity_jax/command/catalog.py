"""Catalogue of experiments, found without importing them; one of them is then loaded and configured."""

import ast
import contextlib
import dataclasses
import difflib
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from plasticity_jax.command.errors import CliError, bad_values, missing, one_line

if TYPE_CHECKING:
    from plasticity_jax.run.experiment import Experiment

NAME = "experiment"
"""The name of a file's `Experiment`."""


class Entry(NamedTuple):
    """One line of the list.

    Attributes:
      id: the file's name, after that of its folder if that is a package in the experiments' folder.
      path: the file.
      title: the experiment's title, or the reason why the file cannot be read.
      cost: expected cost by preset.
    """

    id: str
    path: Path
    title: str
    cost: Mapping[str, str]


def entries(root: Path) -> list[Entry]:
    """Every file that holds an `Experiment`, in a folder and its subfolders, sorted by id.

    A broken file that mentions an experiment is listed as broken, and the other files are still listed.
    """
    paths = [path for pattern in ("*.py", "*/*.py") for path in root.glob(pattern) if path.name != "__init__.py"]
    listed = (_entry(path, id_of(path, root)) for path in paths)
    return sorted((entry for entry in listed if entry is not None), key=lambda entry: entry.id)


def id_of(path: Path, root: Path | None = None) -> str:
    """An experiment's id: ``citekey_figure`` for ``citekey/figure.py`` in a package, otherwise the file's name."""
    inside = path.parent != root and (path.parent / "__init__.py").exists()
    return f"{path.parent.name}_{path.stem}" if inside else path.stem


def find(name: str, root: Path) -> Entry:
    """The experiment with an id, or in a file.

    Raises:
      CliError: if there is none.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise CliError(f"there is no file {one_line(name)}: give an experiment's file, or an id from the list")
        entry = _entry(path.resolve(), id_of(path.resolve()))
        if entry is None:
            raise CliError(f"{name} holds no experiment: assign one, {NAME} = plasticity_jax.run.Experiment(...)")
        return entry
    listed = entries(root)
    if not listed:
        raise CliError(f"there are no experiments in {root}: give a file, as in my_experiment.py")
    pick("experiment", name, dict.fromkeys(entry.id for entry in listed))
    matches = [entry for entry in listed if entry.id == name]
    if len(matches) > 1:
        raise CliError(f"{name} is the id of {' and of '.join(str(entry.path) for entry in matches)}: give the file")
    return matches[0]


def load(entry: Entry) -> "Experiment":
    """Imports an experiment.

    Raises:
      CliError: if a package that it needs is missing, or the file is broken.
    """
    from plasticity_jax.run.experiment import Experiment

    try:
        module = _imported(entry.path)
    except ModuleNotFoundError as error:
        raise missing(error.name) from error
    except Exception as error:
        cause = f"{type(error).__name__}: {one_line(error)}"
        raise CliError(f"experiment {entry.id} cannot be imported from {entry.path}: {cause}") from error
    experiment = getattr(module, NAME, None)
    if not isinstance(experiment, Experiment):
        raise CliError(f"{entry.path} holds no experiment: assign one, {NAME} = plasticity_jax.run.Experiment(...)")
    return experiment


def configure(experiment: "Experiment", preset: str, seeds: int | None, overrides: Sequence[str]) -> Any:
    """A preset's config with the changes that the command line makes.

    Args:
      experiment: the experiment.
      preset: one of its presets.
      seeds: number of seeds, None for the preset's.
      overrides: ``--field value`` words, for any field of its Config.

    Raises:
      CliError: for an unknown preset or field, or a value that does not fit.
    """
    config = experiment.presets[pick("preset", preset, experiment.presets)]
    options = [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(config)]
    for word in overrides:
        if word.startswith("--"):
            pick("option", "--" + word[2:].partition("=")[0].replace("_", "-"), options)
    with bad_values():
        if seeds is not None:
            config = dataclasses.replace(config, seeds=seeds)
        if overrides:
            config = _parse(type(config), config, overrides)
        experiment.check(config)
    return config


def pick(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the name if it is known.

    Raises:
      CliError: if it is not; the message names the nearest known name, and all of them.
    """
    known = list(known)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    guess = f"did you mean {near[0]}? " if near else ""
    raise CliError(f"unknown {kind} {one_line(name)}: {guess}there are {', '.join(known) or 'none'}")


def _imported(path: Path) -> ModuleType:
    """The module of a file, by its dotted name if the file is in a package; its folder is searched for its imports."""
    top, names = path.parent, [path.stem]
    while (top / "__init__.py").exists():
        names.insert(0, top.name)
        top = top.parent
    if len(names) > 1:
        if str(top) not in sys.path:
            sys.path.insert(0, str(top))
        return _imported_as(".".join(names), path)
    if str(top) not in sys.path:
        sys.path.append(str(top))  # last: a file there may have the name of a package
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _imported_as(name: str, path: Path) -> ModuleType:
    """The module of a name, which must be the given file."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        module = None
    if module is None or module.__file__ is None or not path.samefile(module.__file__):
        package = name.partition(".")[0]
        raise ImportError(f"another package is called {package}: rename the folder")
    return module


def _entry(path: Path, id: str) -> Entry | None:
    """The entry for a file; None if it holds no experiment."""
    try:
        text = path.read_text(encoding="utf-8")
        if "Experiment(" not in text:
            return None
        call = _call(ast.parse(text))
        if call is None:
            return None
        values = {word.arg: word.value for word in call.keywords}
        if "title" not in values:
            raise ValueError("no title in it")
        title: Any = ast.literal_eval(values["title"])
        cost: Any = ast.literal_eval(values["cost"]) if "cost" in values else {}
    except Exception as error:
        return Entry(id, path, f"(cannot be read: {one_line(error)})", {})
    return Entry(id, path, title, cost)


def _call(tree: ast.Module) -> ast.Call | None:
    """The call in a file that makes the experiment; None if there is none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call) and any(isinstance(t, ast.Name) and t.id == NAME for t in targets):
            return value
    return None


def _parse(kind: type, default: Any, words: Sequence[str]) -> Any:
    try:
        import tyro
    except ImportError as error:
        raise missing("tyro") from error
    output = io.StringIO()
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "1000"  # tyro wraps its boxes to the terminal, and the message must stay on one line
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            return tyro.cli(kind, default=default, args=list(words), config=(tyro.conf.FlagConversionOff,))
    except SystemExit:
        lines = [line.strip(" │╭╰╮╯─-━┃") for line in output.getvalue().splitlines()]
        rule = lines.index("", 1) if "" in lines[1:] else 0  # the line below the box's title
        message = next((line for line in lines[rule:] if line), "the overrides cannot be parsed")
        for start in ("Error parsing Config: ", "Error parsing "):
            message = message.removeprefix(start)
        raise ValueError(message) from None
    except IndexError:  # raised by tyro for a tuple of tuples without values
        raise ValueError(f"{' '.join(words)} lacks values") from None
    finally:
        os.environ.pop("COLUMNS")
        if width is not None:
            os.environ["COLUMNS"] = width
