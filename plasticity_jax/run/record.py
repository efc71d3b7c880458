"""Files of a finished run, which are written whole or not at all, and facts about the run."""

import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np

_PACKAGES = ("jax", "jaxlib", "numpy", "optax", "chex", "flax", "plasticity_jax")
NOT_CODE = ("experiments/records", "experiments/RESULTS.md")
"""Paths in the repository in which changes do not make a commit dirty."""


class RunError(RuntimeError):
    """An error that the user of a run can mend; the message is one line with the remedy."""


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that appears under its name only when it is completely written.

    Args:
      path: path of the file; its folder is made.

    Yields:
      A binary file to write to.

    Raises:
      RunError: if the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            yield file
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def unwritable(path: Path, error: Exception) -> RunError:
    """The error for a file or folder that cannot be written."""
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().splitlines()[0][:120]
    return RunError(
        f"cannot write {path}: {reason}; make room or mend its permissions, then resume (what was saved is kept)"
    )


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; numbers that are not finite become null."""
    with atomic(path) as file:
        file.write((json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode())


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Writes arrays by name atomically; the names may hold slashes."""
    with atomic(path) as file:
        named: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
        (np.savez_compressed if compressed else np.savez)(file, **named)


def write_record(
    folder: Path,
    *,
    config: Mapping[str, Any],
    meta: Mapping[str, Any],
    metrics: Mapping[str, np.ndarray] | None = None,
    summary: Mapping[str, float],
    claims: Sequence[Mapping[str, Any]],
) -> None:
    """Writes config.json, meta.json, metrics.npz and summary.json.

    Args:
      folder: the folder of the files.
      config: the experiment's configuration.
      meta: the result of `describe_run`, and other facts.
      metrics: arrays by name, with a leading seed axis; None leaves an existing file as it is.
      summary: numbers by name.
      claims: the result of `plasticity_jax.run.claims.checked`.

    Raises:
      RunError: if the folder cannot be written.
    """
    if metrics is not None:
        write_npz(folder / "metrics.npz", metrics)
    write_json(folder / "config.json", config)
    write_json(folder / "meta.json", meta)
    write_json(folder / "summary.json", {"summary": summary, "claims": claims})


def write_figures(folder: Path, figures: Mapping[str, Any]) -> list[Path]:
    """Writes matplotlib figures by name as PNG files, animations as GIF files, and returns their paths."""
    paths = []
    for name, figure in figures.items():
        still = hasattr(figure, "savefig")
        paths.append(folder / (f"{name}.png" if still else f"{name}.gif"))
        with atomic(paths[-1]) as file:
            if still:
                figure.savefig(file, format="png", dpi=150, bbox_inches="tight")
            else:
                file.write(_gif(figure))
    return paths


def describe_run(*, seconds: float, seed_steps: int, seeds: int, ignore: Sequence[str] = ()) -> dict[str, Any]:
    """Facts that a reader needs to judge and repeat a run.

    Args:
      seconds: wall time of the whole run.
      seed_steps: learner steps times seeds.
      seeds: number of seeds.
      ignore: paths in the repository in which changes do not make the commit dirty.

    Returns:
      A mapping that `write_json` takes.
    """
    devices = jax.devices()
    return {
        "commit": commit(ignore),
        "versions": versions(),
        "platform": platform.platform(),
        "backend": devices[0].platform,
        "device": devices[0].device_kind,
        "device_count": len(devices),
        "seeds": seeds,
        "wall_seconds": round(seconds, 3),
        "steps_per_second": round(seed_steps / seconds, 3) if seconds > 0 else None,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages on which numbers depend."""
    return {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def commit(ignore: Sequence[str] = ()) -> str | None:
    """The git commit of this source tree, "-dirty" if it was changed; None if the package is not in a repository."""
    here = Path(__file__).resolve()

    def git(*args: str) -> str:
        command = ["git", "-C", str(here.parent), *args]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # an installed copy may be inside another repository
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", ":/", *(f":(top,exclude){path}" for path in ignore))
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}-dirty" if changed else head


def plain(value: Any) -> Any:
    """The JSON form of nested mappings, sequences, NumPy values and paths; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(np.asarray(value).tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _gif(animation: Any) -> bytes:
    """Bytes of a matplotlib animation as a GIF, at low resolution because every frame is stored."""
    with tempfile.TemporaryDirectory() as folder:  # matplotlib saves an animation only to a path
        path = Path(folder) / "animation.gif"
        animation.save(path, writer="pillow", dpi=80)
        return path.read_bytes()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
