"""Progress and messages of a long run on stderr, written by the host loop and never from inside a jit."""

import atexit
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Stderr:
    """The current stderr. Text that cannot be written, because it is closed or its disk is full, is dropped."""

    def write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            # Text left in its buffer would make the interpreter exit with code 120.
            atexit.unregister(_drop_unwritable)
            atexit.register(_drop_unwritable)
        except (AttributeError, ValueError, RuntimeError):  # it is None, or closed, or a signal interrupted a write
            pass

    def flush(self) -> None:  # `write` flushes
        pass

    def isatty(self) -> bool:
        try:
            return sys.stderr.isatty()
        except (AttributeError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:  # tqdm reads the width and the encoding of a terminal
        return getattr(sys.stderr, name)


_STDERR = _Stderr()


def _drop_unwritable() -> None:
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = None  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def bar(name: str, total: int, done: int = 0, *, unit: str = "seed-step", shown: bool = True) -> Iterator[Callable]:
    """A progress bar with rate and time left; without tqdm, or with ``shown=False``, nothing is shown.

    Args:
      name: name of the run.
      total: number of units of work.
      done: units that were done before, if the run is resumed.
      unit: name of a unit.
      shown: whether to show the bar.

    Yields:
      ``advance(n)``; call it when n more units are done.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not shown:
        yield lambda n: None
        return
    pause = 0.2 if _STDERR.isatty() else 10.0
    with tqdm(
        total=total, initial=done, desc=name, unit=unit, unit_scale=True, file=_STDERR, mininterval=pause, miniters=1
    ) as shown_bar:
        yield shown_bar.update


def say(line: str) -> None:
    """Writes one line to stderr without breaking a progress bar there; if it cannot be written, it is dropped."""
    tqdm = sys.modules.get("tqdm")  # if it is not imported, no bar is shown
    line = " ".join(line.splitlines())  # a path may hold a newline
    with suppress(RuntimeError):  # a signal came while tqdm was writing
        if tqdm is not None:
            with tqdm.tqdm.external_write_mode(sys.stderr):  # for the bars of other code, which does not use _STDERR
                tqdm.tqdm.write(line, file=_STDERR)
        else:
            print(line, file=_STDERR)


@contextmanager
def interrupt_at_edges() -> Iterator[Callable[[], bool]]:
    """Delays the first Ctrl-C, SIGTERM or SIGHUP, so that a chunk can end and be saved; the second acts at once.

    A compiled chunk cannot be interrupted anyway, and half of one is of no use. Signals that are ignored, or that have
    another handler, are not delayed, unless the handler has an attribute `may_be_held`.

    Yields:
      ``interrupted() -> bool``, whether a signal has come, so that the run should save and stop.

    Raises:
      KeyboardInterrupt: at the end, if Ctrl-C came.
      SystemExit: at the end, with code 128 + signal, if another signal came.
    """
    received = 0
    handlers = {}

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if not received:
            received = number
            say("stopping at the end of this chunk (Ctrl-C again stops at once)")
            return
        signal.signal(number, handlers[number])
        signal.raise_signal(number)

    try:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            default = handler in (signal.default_int_handler, signal.SIG_DFL)
            if default or getattr(handler, "may_be_held", False):
                signal.signal(number, hold)
                handlers[number] = handler
    except ValueError:  # only the main thread can handle signals
        pass
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt if received == signal.SIGINT else SystemExit(128 + received)
