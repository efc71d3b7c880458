"""A lane that recovers is reported, and is a normal result; only a lost lane makes the exit code 2."""

from pathlib import Path

import numpy as np
import pytest

from plasticity_jax.command import cli

TOY = Path(__file__).parent / "toys" / "toy_fig1.py"
LOST, RECOVERED = "loss = jnp.mean(w**2)", "loss, w = jnp.mean(w**2), jnp.where(blow, learner.params['w'], w)"
"""A line of the toy: with the bad weights, and with the old weights, as if an optimiser had skipped the update."""


@pytest.mark.parametrize(("line", "code"), [(RECOVERED, 0), (LOST, 2)])
def test_a_lane_that_recovered_does_not_fail_the_run(line, code, tmp_path, monkeypatch, capsys):
    (tmp_path / "experiments").mkdir()
    source = TOY.read_text()
    assert source.count(LOST) == 1
    (tmp_path / "experiments" / "toy_fig1.py").write_text(source.replace(LOST, line))
    monkeypatch.chdir(tmp_path)
    words = ["run", "toy_fig1", "--preset", "smoke", "--widths", "4", "--bad-seed", "1", "--out", "o", "--check"]
    assert cli.main(words) == code
    messages = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "seed-step/s" not in line]
    warning, *errors = messages
    assert "walk0: seed 1: the loss is not finite " in warning
    assert ("the lane goes on" in warning) == (code == 0)
    assert len(errors) == (code == 2)
    with np.load(tmp_path / "o" / "toy_fig1" / "smoke" / "metrics.npz") as metrics:
        losses = metrics["walk0/loss"]
    assert np.isfinite(losses[[0, 2]]).all()
    assert np.isfinite(losses[1, -1]) == (code == 0)
