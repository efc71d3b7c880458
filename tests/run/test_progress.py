"""Progress and messages: a run goes on and ends well even if stderr cannot be written."""

import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import Program, loop, progress, run
from tests.run import toy

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from plasticity_jax.run.progress import bar, say
with bar("toy", 3) as advance:
    for _ in range(3):
        advance(1)
        say("a line")
print("went on")
"""
ROOT = __file__.rsplit("/tests/", 1)[0]


class Full:
    """A file on a full disk."""

    encoding = "utf-8"

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(28, "No space left on device")

    def isatty(self):
        return False


def closed():
    file = open("/dev/null", "w")  # noqa: SIM115
    file.close()
    return file


@pytest.mark.parametrize("tqdm", ["tqdm", "no tqdm"])
@pytest.mark.parametrize("make", [lambda: None, closed, Full])
def test_a_stderr_that_is_none_closed_or_full_changes_nothing(make, tqdm, monkeypatch, capsys):
    if tqdm == "no tqdm":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    lanes = toy.lanes(3)
    lanes["rate"] = lanes["rate"].at[1].set(1e12)
    program = toy.program(steps=400, every=10)
    expected = run(program, lanes, name="toy", progress=False).metrics["loss"]
    assert "warning: toy: seed 1" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stderr", make())
    losses = run(program, lanes, name="toy").metrics["loss"]
    monkeypatch.undo()
    np.testing.assert_array_equal(losses, expected)
    assert capsys.readouterr() == ("", ""), "nor is anything written to stdout instead"


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_a_process_whose_stderr_is_closed_or_full_ends_well(where):
    """The interpreter's usual buffer keeps text that it could not write."""
    command = ["sh", "-c", f'exec env -u PYTHONUNBUFFERED "$0" -c "$1" "$2" {where}', sys.executable, CHILD, ROOT]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert (process.returncode, process.stdout) == (0, "went on\n")


def test_a_line_of_several_is_one_and_clears_the_bar(capsys):
    from tqdm import tqdm

    with progress.bar("toy", 3) as advance, tqdm(total=2, file=sys.stderr, desc="of other code"):
        advance(1)
        capsys.readouterr()
        progress.say("cannot write a\nb")
        printed = capsys.readouterr().err
    assert "cannot write a b\n" in printed
    before, after = printed.split("cannot write a b\n")
    assert not before.strip().strip("\x1b[A"), "the bars are cleared"
    assert "toy" in after
    assert "of other code" in after


def test_the_second_interrupt_acts_before_the_end_of_the_chunk(monkeypatch):
    """It raises a KeyboardInterrupt while the chunk, of a second or two, is still running."""
    held, begun, pieces = threading.Event(), threading.Event(), []
    monkeypatch.setattr(progress, "say", lambda line: held.set())

    def watched(*args):
        advance, cost = compiled(*args)

        def call(state):
            state, piece = advance(state)
            pieces.append(piece["last"])
            begun.set()
            return state, piece

        return call, cost

    def press_twice():
        for event in (begun, held):
            event.wait(60)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def chunk(x):  # products so large that XLA runs them in another thread
        x = jax.lax.fori_loop(0, 3_000, lambda i, x: jnp.tanh(x @ x), x)
        return x, {"last": x[None]}

    compiled = loop._compiled
    monkeypatch.setattr(loop, "_compiled", watched)
    program = Program(lambda lane: lane, chunk, chunks=1, steps=1, points=1)
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=press_twice)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(program, jnp.zeros((1, 200, 200)), name="toy", progress=False)
    assert not pieces[0].is_ready()
    assert held.is_set()
    assert signal.getsignal(signal.SIGINT) is before
    thread.join()
    jax.block_until_ready(pieces)
