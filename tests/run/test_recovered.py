"""A lane that recovered is told of, and is a result like any other: only one that is lost makes the exit code 2."""

from pathlib import Path

import numpy as np
import pytest

from plasticity_jax.command import cli

TOY = Path(__file__).parent / "toys" / "toy_fig1.py"
LOST, RECOVERED = "loss = jnp.mean(w**2)", "loss, w = jnp.mean(w**2), jnp.where(blow, learner.params['w'], w)"
"""Of the toy: the weights of the bad seed's step; and as an optimiser would have it that skips what is not finite."""


@pytest.mark.parametrize(("line", "code"), [(RECOVERED, 0), (LOST, 2)])
def test_a_lane_that_recovered_does_not_fail_the_run(line, code, tmp_path, monkeypatch, capsys):
    (tmp_path / "experiments").mkdir()
    source = TOY.read_text()
    assert source.count(LOST) == 1
    (tmp_path / "experiments" / "toy_fig1.py").write_text(source.replace(LOST, line))
    monkeypatch.chdir(tmp_path)
    words = ["run", "toy_fig1", "--preset", "smoke", "--widths", "4", "--bad-seed", "1", "--out", "o", "--check"]
    assert cli.main(words) == code
    told = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "seed-step/s" not in line]
    warned, *errors = told
    assert "walk0: seed 1: the loss is not finite " in warned
    assert ("the lane goes on" in warned) == (code == 0)
    assert len(errors) == (code == 2)
    with np.load(tmp_path / "o" / "toy_fig1" / "smoke" / "metrics.npz") as metrics:
        losses = metrics["walk0/loss"]
    assert np.isfinite(losses[[0, 2]]).all()
    assert np.isfinite(losses[1, -1]) == (code == 0)
