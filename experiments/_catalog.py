"""Which experiments there are, found without importing them, and how one of them is loaded and configured."""

import ast
import contextlib
import dataclasses
import difflib
import importlib
import importlib.util
import io
import os
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import experiments

_CONTRACT = ("TITLE", "COST", "Config", "PRESETS", "make_parts", "make_train", "summarise", "CLAIMS", "plot")


class CliError(Exception):
    """One line for stderr that says what is wrong and what to do."""


class Entry(NamedTuple):
    """One line of the list.

    Attributes:
      id: the module's name.
      title: what it reproduces, or why it cannot be read.
      cost: expected cost by preset.
    """

    id: str
    title: str
    cost: Mapping[str, str]


def names(package: ModuleType = experiments) -> list[str]:
    """Modules of a package that are not private, sorted; sub-packages (bench) are no experiments."""
    found = pkgutil.iter_modules(package.__path__)
    return sorted(module.name for module in found if not module.name.startswith("_") and not module.ispkg)


def entries() -> list[Entry]:
    """Every experiment, read from its source text; one that is broken is listed as such and hides no other."""
    listed = []
    for name in names():
        try:
            spec = importlib.util.find_spec(f"experiments.{name}")
            values = _literals(Path(spec.origin).read_text(), ("TITLE", "COST"))  # pyright: ignore
            listed.append(Entry(name, values["TITLE"], values["COST"]))
        except Exception as error:
            listed.append(Entry(name, f"(cannot be read: {one_line(error)})", {}))
    return listed


def load(name: str) -> ModuleType:
    """Imports an experiment.

    Raises:
      CliError: if there is none of that name, a package that it needs is missing, or it is broken.
    """
    pick("experiment", name, names())
    try:
        module = importlib.import_module(f"experiments.{name}")
    except ModuleNotFoundError as error:
        raise missing(error.name) from error
    except Exception as error:
        raise CliError(f"experiment {name} cannot be imported: {type(error).__name__}: {one_line(error)}") from error
    lacking = [attribute for attribute in _CONTRACT if not hasattr(module, attribute)]
    if lacking:
        raise CliError(f"experiment {name} lacks {', '.join(lacking)}: define them in {module.__file__}")
    return module


def configure(module: ModuleType, preset: str, seeds: int | None, overrides: Sequence[str]) -> Any:
    """A preset's config with what the command line changes in it.

    Args:
      module: the experiment.
      preset: one of its PRESETS.
      seeds: number of seeds, None for the preset's.
      overrides: ``--field value`` words, for any field of its Config.

    Raises:
      CliError: for an unknown preset or field, or a value that does not fit.
    """
    config = module.PRESETS[pick("preset", preset, module.PRESETS)]
    options = [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(config)]
    for word in overrides:
        if word.startswith("--"):
            pick("option", "--" + word[2:].partition("=")[0].replace("_", "-"), options)
    try:
        if seeds is not None:
            config = dataclasses.replace(config, seeds=seeds)
        return _parse(type(config), config, overrides) if overrides else config
    except ValueError as error:
        raise CliError(f"bad value: {one_line(error)}; see --help for every field") from error


def pick(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the name if it is known.

    Raises:
      CliError: if not, naming the nearest and all the others.
    """
    known = list(known)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    guess = f"did you mean {near[0]}? " if near else ""
    raise CliError(f"unknown {kind} {name}: {guess}there are {', '.join(known) or 'none'}")


def missing(package: str | None) -> CliError:
    """The line for an optional package that is not installed."""
    return CliError(f'the package {package} is not installed: run pip install -e ".[all]" in the project\'s folder')


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _literals(source: str, wanted: Sequence[str]) -> dict[str, Any]:
    found = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in wanted and isinstance(node, ast.Assign | ast.AnnAssign):
                found[target.id] = ast.literal_eval(node.value)  # pyright: ignore
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise ValueError(f"no {' and no '.join(lacking)} in it")
    return found


def _parse(kind: type, default: Any, words: Sequence[str]) -> Any:
    try:
        import tyro
    except ImportError as error:
        raise missing("tyro") from error
    said = io.StringIO()
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "1000"  # tyro wraps its boxes to the terminal; the message is wanted on one line
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return tyro.cli(kind, default=default, args=list(words), config=(tyro.conf.FlagConversionOff,))
    except SystemExit:
        lines = [line.strip(" │╭╰╮╯─-━┃") for line in said.getvalue().splitlines()]
        rule = lines.index("", 1) if "" in lines[1:] else 0  # under the box's title
        message = next((line for line in lines[rule:] if line), "the overrides cannot be parsed")
        for start in ("Error parsing Config: ", "Error parsing "):
            message = message.removeprefix(start)
        raise ValueError(message) from None
    finally:
        os.environ.pop("COLUMNS")
        if width is not None:
            os.environ["COLUMNS"] = width
