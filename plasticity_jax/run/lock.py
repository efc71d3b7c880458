"""A lock that keeps two runs out of the same folder."""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plasticity_jax.run.record import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NAME = "in-use"


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Locks a folder; the operating system releases it when the process ends, even if it is killed.

    If the folder cannot be written, or its file system has no locks, it is not locked.

    Args:
      folder: the folder, which is made if it does not exist; None locks nothing.

    Raises:
      RunError: if another run has locked it; the message names the process.
    """
    file = None if folder is None or fcntl is None else _taken(folder / _NAME)
    try:
        yield
    finally:
        if file is not None:
            assert folder is not None
            with contextlib.suppress(OSError):
                (folder / _NAME).unlink()
            os.close(file)


def _taken(path: Path) -> int | None:
    """Descriptor of the locked file, which holds this process's name; None if the folder cannot be locked."""
    assert fcntl is not None
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, file):
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
            os.close(file)
        except BlockingIOError as error:
            holder = os.read(file, 200).decode(errors="replace").strip() or "another process"
            os.close(file)
            raise RunError(f"{path.parent} is in use by {holder}: wait for it, or choose another --out") from error
        except OSError:
            os.close(file)
            return None


def _is_at(path: Path, file: int) -> bool:
    """Returns whether the open file still has its name, which its earlier holder may have removed."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
