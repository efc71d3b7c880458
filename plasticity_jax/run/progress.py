"""Progress and messages of a long run, on stderr, from the host loop (never from inside a jit)."""

import atexit
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Stderr:
    """The stderr of the moment. What cannot be written there, for it is closed or its disk full, is lost."""

    def write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            # What is still in its buffer would, at the interpreter's end, make the exit code 120.
            atexit.unregister(_drop_unwritable)
            atexit.register(_drop_unwritable)
        except (AttributeError, ValueError, RuntimeError):  # None, closed, or amid a line that a signal interrupts
            pass

    def flush(self) -> None:  # `write` has done so
        pass

    def isatty(self) -> bool:
        try:
            return sys.stderr.isatty()
        except (AttributeError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:  # what tqdm asks of a terminal: its width, its encoding
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
      name: what is running.
      total: all the units of work.
      done: units done before, by the run that is resumed.
      unit: the name of a unit.
      shown: whether to show it.

    Yields:
      ``advance(n)``, to be called as n more units are done.
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
    """Writes one line to stderr without breaking a bar that is being shown there; where it cannot, nothing happens."""
    tqdm = sys.modules.get("tqdm")  # if nobody has imported it, no bar is being shown
    line = " ".join(line.splitlines())  # a path may hold a newline
    with suppress(RuntimeError):  # a signal came while tqdm was at work
        if tqdm is not None:
            with tqdm.tqdm.external_write_mode(sys.stderr):  # the bars of others, who know nothing of _STDERR
                tqdm.tqdm.write(line, file=_STDERR)
        else:
            print(line, file=_STDERR)


@contextmanager
def interrupt_at_edges() -> Iterator[Callable[[], bool]]:
    """Holds back the first Ctrl-C, SIGTERM or SIGHUP, so that a chunk can end and be saved; the second acts at once.

    A compiled chunk cannot be interrupted anyway, and half of one is of no use. Signals that are ignored, or that
    somebody else handles, are left to them, unless the handler has an attribute `may_be_held`.

    Yields:
      ``asked() -> bool``, whether a signal came: save and leave.

    Raises:
      KeyboardInterrupt: at the end, if Ctrl-C came.
      SystemExit: at the end, of code 128 + signal, if one of the others came.
    """
    came = 0
    before = {}

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = number
            say("stopping at the end of this chunk (Ctrl-C again stops at once)")
            return
        signal.signal(number, before[number])
        signal.raise_signal(number)

    try:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            default = handler in (signal.default_int_handler, signal.SIG_DFL)
            if default or getattr(handler, "may_be_held", False):
                signal.signal(number, hold)
                before[number] = handler
    except ValueError:  # not in the main thread, where signals cannot be had
        pass
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt if came == signal.SIGINT else SystemExit(128 + came)
