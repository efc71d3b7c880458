"""Checks before a run: its folder, what the folder holds already, and the memory that its parts need."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from plasticity_jax.command.errors import CliError
from plasticity_jax.run.memory import check_memory, size
from plasticity_jax.run.program import Program
from plasticity_jax.run.record import RunError, plain


def check_replaceable(folder: Path, settings: Mapping[str, Any], axes: Mapping[str, Any] | None = None) -> None:
    """Refuses to replace a finished record of other settings, or the checkpoints of an unfinished run.

    Args:
      folder: the folder of the new record.
      settings: its Config.
      axes: its axes, if it is a sweep.

    Raises:
      CliError: if the folder holds such a record.
    """
    if axes is None:
        _check_unfinished(folder, plain(settings))
    try:
        recorded, meta = (json.loads((folder / f"{file}.json").read_text()) for file in ("config", "meta"))
    except (OSError, ValueError):
        return
    new = plain(settings)
    other = sorted(field for field in {*recorded, *new} if recorded.get(field) != new.get(field))
    if meta.get("axes") != plain(axes):
        other.append("set of points")
    if other:
        message = f"{folder} holds a finished record, of another {', '.join(other)}"
        raise CliError(f"{message}: --name NAME keeps both, --overwrite replaces it")


def _check_unfinished(folder: Path, settings: Mapping[str, Any]) -> None:
    if (folder / "summary.json").exists():
        return
    for path in sorted(folder.glob("checkpoints/*/*/manifest.json")):
        try:
            config = json.loads(path.read_text())["body"]["fingerprint"]["config"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if other := sorted(field for field in settings if field in config and config[field] != settings[field]):
            message = f"{folder} holds an unfinished run, of another {', '.join(other)}"
            raise CliError(f"{message}: --name NAME keeps both, --overwrite replaces it")


def check_parts(parts: Mapping[str, Program], lanes: int) -> None:
    """Traces the initial state of every part, and compares its size with the available memory.

    Raises:
      ValueError: from a part that cannot begin at these settings.
      RunError: if the states of so many lanes do not fit.
    """
    key = jax.random.key(0)
    for name, program in parts.items():
        if not name or name.partition("/")[0] == "summary":
            raise ValueError(f"a part cannot be called {name!r}: give it a name other than summary, which records use")
        needed = lanes * size(jax.eval_shape(program.init, key))
        check_memory(f"{name}: the states of {lanes} lanes", needed, jax.devices())


def check_writable(folder: Path) -> None:
    """Makes a folder and checks that it can be written to.

    Raises:
      RunError: if it cannot.
    """
    if re.match(r"[a-z0-9]{2,}:/", str(folder)):
        raise RunError(f"{folder} is no folder of this machine: choose one with --out, and copy it after the run")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot write to {folder}: {reason}; choose another folder with --out") from error
