"""What a long run tells the person who waits for it, on stderr, from the host loop (never from inside a jit)."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


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
    """Writes one line to stderr without breaking a bar that is being shown there."""
    tqdm = sys.modules.get("tqdm")  # if nobody has imported it, no bar is being shown
    if tqdm is not None:
        tqdm.tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


@contextmanager
def interrupt_at_edges() -> Iterator[Callable[[], bool]]:
    """Holds back the first Ctrl-C, so that a chunk can end and be saved; the second one interrupts at once.

    A compiled chunk cannot be interrupted anyway, and half of one is of no use.

    Yields:
      ``asked() -> bool``, whether Ctrl-C was pressed: save, then raise `KeyboardInterrupt`.
    """
    pressed = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        say("stopping at the end of this chunk (Ctrl-C again stops at once)")

    try:
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours:
            signal.signal(signal.SIGINT, hold)
    except ValueError:  # not in the main thread, where signals cannot be had
        ours = False
    try:
        yield lambda: pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
