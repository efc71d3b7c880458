"""Real processes, really killed: what `--resume` continues ends in the same file, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOYS = Path(__file__).parent / "toys"
MAIN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import experiments
experiments.__path__.append({str(TOYS)!r})
from experiments._cli import main
sys.exit(main())
"""
METRICS = Path("toy_fig1/smoke/metrics.npz")
SIZE = ["--chunks", "60", "--steps", "500", "--widths", "8"]


def start(out, *words):
    command = [sys.executable, "-c", MAIN, "run", "toy_fig1", "--preset", "smoke", "--out", str(out), *SIZE, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=out)


def checkpoints(out):
    return [int(path.name) for path in (out / "toy_fig1/smoke/checkpoints/walk0").glob("0*")]


def stop(process, out, how, after):
    """Sends the signal once there are checkpoints of more than `after` chunks; returns the last of them and stderr."""
    limit = time.monotonic() + 120
    while max(checkpoints(out), default=0) <= after:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)
    os.kill(process.pid, how)
    _, told = process.communicate(timeout=120)
    assert not (out / METRICS).exists()
    last = max(checkpoints(out))
    assert after < last < 60, "it was to be cut in the middle"
    return last, told


def finish(process):
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    finish(start(whole))

    process = start(cut, "--save-every", "0")
    last, _ = stop(process, cut, signal.SIGKILL, after=0)
    assert process.returncode == -signal.SIGKILL

    process = start(cut, "--save-every", "0", "--resume")
    _, told = stop(process, cut, signal.SIGINT, after=last)
    assert process.returncode == 130
    assert told.splitlines()[-1].startswith("interrupted; to go on: python -m experiments run toy_fig1")
    assert told.splitlines()[-1].endswith("--resume")
    assert "Traceback" not in told

    finish(start(cut, "--resume"))
    assert (cut / METRICS).read_bytes() == (whole / METRICS).read_bytes()
