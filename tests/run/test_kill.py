"""Processes that are killed or interrupted: after `--resume` the final file is the same, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOYS = Path(__file__).parent / "toys"
MAIN = f"""
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may have been started to outlive their terminal
from pathlib import Path
from plasticity_jax.command.cli import main_of_process
main_of_process(root=Path({str(TOYS)!r}))
"""
METRICS = Path("toy_fig1/smoke/metrics.npz")
SIZE = ["--chunks", "60", "--steps", "500", "--widths", "8"]


def start(out, *words):
    command = [sys.executable, "-c", MAIN, "run", "toy_fig1", "--preset", "smoke", "--out", str(out), *SIZE, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=out)


def checkpoints(out):
    return [int(path.name) for path in (out / "toy_fig1/smoke/checkpoints/walk0").glob("0*")]


def stop(process, out, how, after):
    """Sends the signal after a checkpoint of more than `after` chunks; returns the last checkpoint and stderr."""
    limit = time.monotonic() + 120
    while max(checkpoints(out), default=0) <= after:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)
    os.kill(process.pid, how)
    _, printed = process.communicate(timeout=120)
    assert not (out / METRICS).exists()
    last = max(checkpoints(out))
    assert after < last < 60, "the run must be stopped in the middle"
    return last, printed


def begun(process):
    """Waits for the progress bar of the first part, and a little longer, so that its chunks run."""
    printed = ""
    while "walk0" not in printed:
        printed += process.stderr.read(1)
        assert process.poll() is None, printed
    time.sleep(1.5)


def finish(process):
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 0, printed


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    finish(start(whole))

    process = start(cut, "--save-every", "0")
    last, _ = stop(process, cut, signal.SIGKILL, after=0)
    assert process.returncode == -signal.SIGKILL

    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = start(cut, "--save-every", "0", "--resume")
        last, printed = stop(process, cut, how, after=last)
        assert process.returncode == 128 + how
        assert printed.splitlines()[-1].startswith("interrupted; to go on: plasticity run toy_fig1")
        assert printed.splitlines()[-1].endswith("--resume")
        assert "Traceback" not in printed

    finish(start(cut, "--resume"))
    assert (cut / METRICS).read_bytes() == (whole / METRICS).read_bytes()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_saves_and_the_second_ends_at_once(tmp_path, how):
    """The only chunk of the second run would take minutes, and so would a process that waits for its end."""
    process = start(tmp_path, "--chunks", "1000000", "--save-every", "1e9")
    begun(process)
    os.kill(process.pid, how)
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 128 + how
    assert "stopping at the end of this chunk" in printed
    assert len(checkpoints(tmp_path)) == 1, "saved at the end of the chunk, before a save is due"

    process = start(tmp_path, "--steps", "200000000", "--out", "long")
    begun(process)
    os.kill(process.pid, how)
    time.sleep(0.5)
    assert process.poll() is None
    os.kill(process.pid, how)
    _, printed = process.communicate(timeout=20)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in printed
    assert "Exception ignored" not in printed
