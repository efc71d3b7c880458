"""What a long run tells the person who waits for it, on stderr, from the host loop (never from inside a jit)."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


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
    pause = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(
        total=total, initial=done, desc=name, unit=unit, unit_scale=True, file=sys.stderr, mininterval=pause, miniters=1
    ) as shown_bar:
        yield shown_bar.update


def say(line: str) -> None:
    """Writes one line to stderr without breaking a bar that is being shown there; where it cannot, nothing happens."""
    tqdm = sys.modules.get("tqdm")  # if nobody has imported it, no bar is being shown
    with suppress(OSError, RuntimeError):  # the terminal is gone, or a signal came amid another line
        if tqdm is not None:
            tqdm.tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)


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
