"""Arrays of a checkpoint as files: written and read by orbax, with a digest of their folder."""

import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by orbax; if there are several hosts, as plain bytes, since orbax writes only the first host's."""
    if jax.process_count() == 1:
        import orbax.checkpoint as ocp

        with _quiet():
            ocp.PyTreeCheckpointer().save(folder, dict(arrays))
        return
    folder.mkdir(parents=True)
    kinds = {name: [str(values.dtype), values.shape] for name, values in arrays.items()}
    (folder / "kinds.json").write_text(json.dumps(kinds))
    for name, values in arrays.items():
        (folder / name).write_bytes(np.ascontiguousarray(values).tobytes())


def read_arrays(folder: Path) -> Mapping[str, Any]:
    """The arrays that `write_arrays` has written, on one host or several."""
    if not (folder / "kinds.json").exists():
        import orbax.checkpoint as ocp

        with _quiet():
            return ocp.PyTreeCheckpointer().restore(folder)
    kinds = json.loads((folder / "kinds.json").read_text())
    return {
        name: np.frombuffer((folder / name).read_bytes(), jnp.dtype(dtype)).reshape(shape)
        for name, (dtype, shape) in kinds.items()
    }


def digest_of_folder(folder: Path) -> str:
    """SHA-256 of the names, sizes and bytes of all files in a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses orbax's warnings, so that a failure is reported by one error.

    When one of its writes fails, the others go on in threads of their own. Each of them reports, sooner or later, that
    the event loop is closed; those reports are dropped from the first failure on.
    """
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    level = logger.level

    def without_orphans(report: Any) -> None:
        if str(report.exc_value) != "Event loop is closed":
            hook(report)

    logger.setLevel(logging.CRITICAL + 1)
    sys.unraisablehook = without_orphans
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        sys.unraisablehook = hook
    finally:
        logger.setLevel(level)
