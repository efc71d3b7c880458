"""A folder has one run at a time, however the run before it ended."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from plasticity_jax.run import RunError, lock, run
from plasticity_jax.run.lock import locked
from tests.run import toy

HOLD = """
import sys, time
from pathlib import Path
from plasticity_jax.run.lock import locked
with locked(Path(sys.argv[1])):
    print("has it", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of the folder "net"."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "net")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "has it\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def go(out, **options):
    options = {"name": "net", "out": out, "progress": False, "save_every_s": 0, **options}
    return run(toy.program(), toy.lanes(), **options).metrics["loss"]


def test_a_second_run_is_refused_in_one_line_and_the_end_of_the_first_frees_the_folder(tmp_path, holder):
    with pytest.raises(RunError, match=f"net is in use by process {holder.pid} on ") as error:
        go(tmp_path)
    assert "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["in-use"], "nothing was written"
    expected = go(tmp_path, name="other")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "net" / "in-use").exists(), "a stale one"
    np.testing.assert_array_equal(go(tmp_path), expected)
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["00000003", "00000004"]


def test_a_run_that_fails_frees_the_folder(tmp_path):
    def fail(step):
        with pytest.raises(RunError, match=f"process {os.getpid()} "):
            go(tmp_path)
        raise ZeroDivisionError

    failing = toy.program()._replace(init=fail)
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "net"):
        fail(0)
    with pytest.raises(ZeroDivisionError):
        run(failing, toy.lanes(), name="net", out=tmp_path, progress=False)
    assert not list((tmp_path / "net").iterdir())
    go(tmp_path)


def test_a_lock_file_that_was_removed_while_waiting_is_not_used(tmp_path, monkeypatch):
    """The holder removes its file at the end; a process that opened it before would lock a file without a name."""
    take, files = lock.fcntl.flock, []

    def flock(file, how):
        if not files:
            (tmp_path / "in-use").unlink()
        files.append(file)
        take(file, how)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with locked(tmp_path):
        assert len(files) == 2
        with pytest.raises(RunError), locked(tmp_path):
            pass


def test_a_folder_that_cannot_be_written_is_not_locked(tmp_path):
    (tmp_path / "file").write_text("")
    with locked(tmp_path / "file"), locked(tmp_path / "file"), locked(None):
        pass
    assert (tmp_path / "file").read_text() == ""
