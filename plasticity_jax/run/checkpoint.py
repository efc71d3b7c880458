"""Checkpoints of a run: written to a temporary folder and renamed, verified when read; only the last few are kept."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.run.progress import say
from plasticity_jax.run.record import RunError, plain, unwritable
from plasticity_jax.run.saved_arrays import digest_of_folder, read_arrays, write_arrays
from plasticity_jax.typing import PyTree

_FORMAT = 1


class Saved(NamedTuple):
    """Contents of a checkpoint.

    Attributes:
      done: number of finished chunks.
      state: the state after them.
      metrics: all metrics so far, shape (lanes, done * points, ...).
      seconds: wall time spent on them, over all sittings.
      sittings: the sittings that computed them (see `plasticity_jax.run.sittings`).
    """

    done: int
    state: PyTree
    metrics: dict[str, np.ndarray]
    seconds: float
    sittings: Sequence[Mapping[str, Any]] = ()


class Checkpoints:
    """The checkpoints of one run, a folder for each, named by the number of chunks done.

    Args:
      folder: the folder that holds them.
      fingerprint: identity of the run (see `fingerprint_of`).
      keep: number of checkpoints to keep, at least 1.

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
        """Saves a checkpoint, and only then removes those older than the last `keep`.

        Raises:
          RunError: if it cannot be written; the earlier checkpoints are still there.
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
                if not _belongs_to_another(stale.name):
                    _remove(stale)
            needed = sum(leaf.nbytes for leaf in leaves) + 65536
            if shutil.disk_usage(self.folder).free < needed:  # orbax fails less cleanly once it is writing
                raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB are needed and not free on this disk")
            # Orbax does not take empty arrays.
            arrays = {str(i): leaf for i, leaf in enumerate(leaves) if leaf.size}
            write_arrays(temporary / "arrays", arrays)
            body["files"] = digest_of_folder(temporary / "arrays")
            (temporary / "manifest.json").write_text(json.dumps({"body": body, "sha256": _digest_json(body)}))
            if os.path.lexists(final):
                os.replace(final, aside)
            os.replace(temporary, final)
        except Exception as error:  # orbax raises one of several types when the disk is full
            _remove(temporary)
            raise unwritable(final, error) from error
        self._ours = sorted({*self._ours, saved.done})[-self.keep :]
        for number in self._numbers():
            if number not in self._ours and number not in self._held:
                _remove(self.folder / f"{number:08d}")
        _remove(aside)

    def hold(self, done: int) -> Path | None:
        """Keeps the newest checkpoint that was saved after at most `done` chunks, however many follow it.

        Returns:
          Its folder, or None if there is no such checkpoint.
        """
        older = [number for number in self._ours if number <= done]
        if not older:
            return None
        self._held.add(older[-1])
        return self.folder / f"{older[-1]:08d}"

    def load(self, template: PyTree) -> Saved | None:
        """The newest intact checkpoint; damaged ones are named on stderr and skipped.

        Args:
          template: the state's shapes and dtypes, as from `jax.eval_shape`.

        Returns:
          The contents of the checkpoint, or None if there is none.

        Raises:
          RunError: if every checkpoint is damaged, or they belong to a run with another configuration.
        """
        damaged = []
        for number in reversed(self._numbers()):
            path = self.folder / f"{number:08d}"
            try:
                saved = self._read(path, template)
            except RunError:
                raise
            except Exception as error:  # orbax, tensorstore and json raise various types for broken bytes
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
        # Checked before orbax reads them: it copes badly with broken files.
        if body["files"] != digest_of_folder(path / "arrays"):
            raise ValueError("the checksum of its arrays does not fit")
        arrays = read_arrays(path / "arrays")
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
    """Removes a folder with its contents, a file or a link; if this fails, it is left in place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _belongs_to_another(name: str) -> bool:
    """Returns whether a temporary folder belongs to another process that still runs."""
    number = name.split("-")[1]
    if not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # the process exists, but may not be signalled
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
    """Differences between a checkpoint's fingerprint and this run's, in words."""
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


def _digest_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
