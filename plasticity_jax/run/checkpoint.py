"""Checkpoints of a run: written beside and then renamed, checked on reading, the last few of them kept."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.run.progress import say
from plasticity_jax.run.record import RunError, plain, unwritable
from plasticity_jax.typing import PyTree

_FORMAT = 1


class Saved(NamedTuple):
    """Contents of a checkpoint.

    Attributes:
      done: chunks finished.
      state: the state after them.
      metrics: all metrics so far, shape (lanes, done * points, ...).
      seconds: wall time spent on them, over all sittings.
      sittings: what computed them (see `plasticity_jax.run.sittings`).
    """

    done: int
    state: PyTree
    metrics: dict[str, np.ndarray]
    seconds: float
    sittings: Sequence[Mapping[str, Any]] = ()


class Checkpoints:
    """The checkpoints of one run, a folder for each, named by the number of chunks done.

    Args:
      folder: where they lie.
      fingerprint: what makes two runs the same (see `fingerprint_of`).
      keep: how many to keep, at least 1.

    Raises:
      ValueError: if `keep` is not positive.
    """

    def __init__(self, folder: str | Path, fingerprint: Mapping[str, Any], keep: int = 2):
        """See the class."""
        if keep < 1:
            raise ValueError(f"keep={keep} must be at least 1")
        self.folder = Path(os.path.realpath(folder))
        self.fingerprint = plain(fingerprint)
        self.keep = keep
        self._ours: list[int] = []
        self._held: set[int] = set()

    def save(self, saved: Saved) -> None:
        """Saves, and only then drops what is older than the last `keep`.

        Raises:
          RunError: if it cannot be written; the checkpoints of before are still there.
        """
        leaves = [_to_host(leaf) for leaf in jax.tree.leaves(saved.state)]
        leaves += [np.asarray(values) for values in saved.metrics.values()]
        body = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "done": saved.done,
            "seconds": saved.seconds,
            "metrics": list(saved.metrics),
            "sittings": plain(saved.sittings),
        }
        own = f"tmp-{os.getpid()}"
        final, temporary, aside = (self.folder / name for name in (f"{saved.done:08d}", f"{own}-new", f"{own}-old"))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for stale in self.folder.glob("tmp-*"):
                if not _is_of_another(stale.name):
                    _remove(stale)
            needed = sum(leaf.nbytes for leaf in leaves) + 65536
            if shutil.disk_usage(self.folder).free < needed:  # orbax, once it is writing, fails with less grace
                raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB are needed and not free on this disk")
            # Orbax takes no array without elements; they hold nothing to save.
            arrays = {str(i): leaf for i, leaf in enumerate(leaves) if leaf.size}
            _write_arrays(temporary / "arrays", arrays)
            body["files"] = _digest_files(temporary / "arrays")
            (temporary / "manifest.json").write_text(json.dumps({"body": body, "sha256": _digest_json(body)}))
            if os.path.lexists(final):
                os.replace(final, aside)
            os.replace(temporary, final)
        except Exception as error:  # a full disk comes out of orbax as one of several types
            _remove(temporary)
            raise unwritable(final, error) from error
        self._ours = sorted({*self._ours, saved.done})[-self.keep :]
        for number in self._numbers():
            if number not in self._ours and number not in self._held:
                _remove(self.folder / f"{number:08d}")
        _remove(aside)

    def hold(self, done: int) -> Path | None:
        """Keeps the newest checkpoint after at most so many chunks, however many follow it.

        Returns:
          Where it lies, or None if there is none.
        """
        older = [number for number in self._ours if number <= done]
        if not older:
            return None
        self._held.add(older[-1])
        return self.folder / f"{older[-1]:08d}"

    def load(self, template: PyTree) -> Saved | None:
        """The newest checkpoint that is whole; a damaged one is named on stderr and the one before it taken.

        Args:
          template: the state's shapes and dtypes, as from `jax.eval_shape`.

        Returns:
          What was saved, or None if nothing was.

        Raises:
          RunError: if every checkpoint is damaged, or they are of a run with another configuration.
        """
        damaged = []
        for number in reversed(self._numbers()):
            path = self.folder / f"{number:08d}"
            try:
                saved = self._read(path, template)
            except RunError:
                raise
            except Exception as error:  # whatever orbax, tensorstore or json make of broken bytes
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
                damaged.append(f"checkpoint {path} is damaged ({reason})")
                continue
            for line in damaged:
                say(f"warning: {line}; taking an older one")
            self._ours = [n for n in self._numbers() if n <= number]
            return saved
        if damaged:
            others = f" and so are {len(damaged) - 1} older" if damaged[1:] else ""
            raise RunError(f"{damaged[0]}{others}, none is left: run without --resume (resume=False) to start over")
        return None

    def _read(self, path: Path, template: PyTree) -> Saved:
        manifest = json.loads((path / "manifest.json").read_text())
        body = manifest["body"]
        if manifest["sha256"] != _digest_json(body):
            raise ValueError("the checksum of manifest.json does not fit")
        if body["format"] != _FORMAT or body["fingerprint"] != self.fingerprint:
            raise RunError(
                f"{path} is of another run ({_difference(body['fingerprint'], self.fingerprint)}): "
                "resume with the settings of then, choose another --out, or run without --resume to start over"
            )
        # Before orbax reads them: it is not at its best with broken files.
        if body["files"] != _digest_files(path / "arrays"):
            raise ValueError("the checksum of its arrays does not fit")
        arrays = _read_arrays(path / "arrays")
        shapes, treedef = jax.tree.flatten(template)
        count = len(shapes) + len(body["metrics"])
        leaves = [
            np.asarray(arrays[str(i)]) if str(i) in arrays else np.zeros(shapes[i].shape, shapes[i].dtype)
            for i in range(count)
        ]
        state = [_from_host(leaf, shape) for leaf, shape in zip(leaves[: len(shapes)], shapes, strict=True)]
        metrics = dict(zip(body["metrics"], leaves[len(shapes) :], strict=True))
        state = jax.tree.unflatten(treedef, state)
        return Saved(body["done"], state, metrics, body["seconds"], body.get("sittings", ()))

    def _numbers(self) -> list[int]:
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(int(name) for name in names if re.fullmatch("[0-9]{8,}", name))


def _remove(path: Path) -> None:
    """Removes a folder with what it holds, a file or a link; where it cannot, nothing happens."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _is_of_another(name: str) -> bool:
    """Returns whether a temporary folder belongs to another process that still runs."""
    number = name.split("-")[1]
    if not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # not ours to signal, but there
        pass
    return True


def fingerprint_of(lanes: PyTree, template: PyTree, **settings: Any) -> dict[str, Any]:
    """Identity of a run: the lanes' values, the state's names and shapes, and the given settings."""
    paths = jax.tree_util.tree_flatten_with_path(template)[0]
    state = [f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}" for path, leaf in paths]
    return {
        **settings,
        "seeds and coefficients": _digest([_to_host(leaf) for leaf in jax.tree.leaves(lanes)]),
        "shapes of the state": _digest_json(state),
    }


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    there, here = ({**side.get("config", {}), **side} for side in (there, here))
    names = [name for name in {**there, **here} if name != "config" and there.get(name) != here.get(name)]
    known = [f"{name} was {there.get(name)}, now {here.get(name)}" for name in names if not _is_digest(here.get(name))]
    return ", ".join(known[:4] or names[:2]) or "another format"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_host(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if hasattr(leaf, "dtype") and _is_key(leaf) else leaf)


def _from_host(leaf: np.ndarray, shape: jax.ShapeDtypeStruct) -> Any:
    if not _is_key(shape):
        return leaf
    return jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(jnp.zeros((), shape.dtype)))


def _digest(leaves: Sequence[np.ndarray]) -> str:
    total = hashlib.sha256()
    for leaf in leaves:
        total.update(f"{leaf.dtype} {leaf.shape}".encode())
        total.update(np.ascontiguousarray(leaf).view(np.uint8).data if leaf.size else b"")
    return total.hexdigest()


def _digest_files(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def _digest_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps orbax's warnings to ourselves; of what fails, one error speaks.

    When one of its writes fails, the others go on in threads of their own, and each reports, now or later, that nobody
    waits for it any more: so those reports are dropped from the first failure on.
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


def _write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by orbax; on one of several hosts as bytes, for there orbax writes only those of the first host."""
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


def _read_arrays(folder: Path) -> Mapping[str, Any]:
    """The arrays that `_write_arrays` has written, by however many hosts."""
    if not (folder / "kinds.json").exists():
        import orbax.checkpoint as ocp

        with _quiet():
            return ocp.PyTreeCheckpointer().restore(folder)
    kinds = json.loads((folder / "kinds.json").read_text())
    return {
        name: np.frombuffer((folder / name).read_bytes(), jnp.dtype(dtype)).reshape(shape)
        for name, (dtype, shape) in kinds.items()
    }
