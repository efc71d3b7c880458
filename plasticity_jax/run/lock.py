"""A folder is one run's at a time."""

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
    """Keeps a folder for oneself; the system gives it back when the process ends, however it ends.

    Where the folder cannot be written, or its file system has no locks, nothing is kept.

    Args:
      folder: it is made; None keeps nothing.

    Raises:
      RunError: if another run has it; the message names the process.
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
    """The locked file, with this process's name in it."""
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
    """Returns whether the open file still has its name: who had it before removes it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
