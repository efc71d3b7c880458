"""Host loop: chunks, saves, resumes and a diverging lane change no number."""

import dataclasses
import os
import shutil
import signal
import threading
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import Experiment, Program, divergences, loop, run
from tests.run import toy


def same(metrics, expected):
    assert list(metrics) == list(expected)
    for name, values in expected.items():
        assert metrics[name].dtype == values.dtype
        np.testing.assert_array_equal(metrics[name], values, err_msg=name)


def interrupting(program, after):
    """The program with a chunk that sends SIGINT at its start; it is chunk number `after`."""
    calls = []

    def press(_):
        calls.append(None)
        if len(calls) == after:
            os.kill(os.getpid(), signal.SIGINT)

    def chunk(state):
        jax.debug.callback(press, state.health.step, ordered=False)
        return program.chunk(state)

    return program._replace(chunk=chunk)


def test_run_is_the_pure_training():
    program, lanes = toy.program(), toy.lanes(5)
    metrics = run(program, lanes, name="toy", progress=False).metrics
    expected = jax.jit(jax.vmap(program.train))(lanes)
    assert metrics["loss"].shape == (5, 12)
    assert isinstance(metrics["loss"], np.ndarray)
    for name, values in expected.items():
        np.testing.assert_allclose(metrics[name], values, rtol=1e-6, err_msg=name)
    assert (metrics["loss"][:, -1] < metrics["loss"][:, 0]).all()
    assert len(np.unique(metrics["loss"][:, -1])) == 5


def test_the_length_of_a_chunk_changes_nothing_but_rounding():
    whole = run(toy.program(chunks=1), toy.lanes(), name="toy", progress=False).metrics
    pieces = run(toy.program(chunks=6), toy.lanes(), name="toy", progress=False).metrics
    for name, values in whole.items():
        np.testing.assert_allclose(pieces[name], values, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("count", [1, 4])
def test_lanes_survive_the_run(count):
    lanes = toy.lanes(count)
    run(toy.program(), lanes, name="toy", progress=False)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(lanes))


@pytest.mark.parametrize("count", [3, 4])
def test_resume_at_a_chunk_edge_is_bit_for_bit(tmp_path, count):
    program, lanes = toy.program(), toy.lanes(count)
    options = {"name": "toy", "out": tmp_path, "progress": False, "save_every_s": 0, "keep": 9}
    whole = run(program, lanes, **options).metrics
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == [f"{i:08d}" for i in (1, 2, 3, 4)]
    for cut in (3, 1):
        for path in (tmp_path / "toy").iterdir():
            if int(path.name) > cut:
                shutil.rmtree(path)
        same(run(program, lanes, resume=True, **options).metrics, whole)
    traced = []
    untouched = program._replace(chunk=lambda state: traced.append(1) or program.chunk(state))
    same(run(untouched, lanes, resume=True, **options).metrics, whole)
    assert not traced, "a finished run is loaded, not run again"
    same(run(untouched, lanes, **options).metrics, whole)
    assert traced, "without resume it runs again"


def test_keeps_the_last_few_and_saves_the_last(tmp_path):
    run(toy.program(), toy.lanes(), name="a/b", out=tmp_path, progress=False, save_every_s=0, keep=2)
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["00000003", "00000004"]
    run(toy.program(), toy.lanes(), name="c", out=tmp_path, progress=False, save_every_s=1e9)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["00000004"]


def test_a_new_run_replaces_the_checkpoints_of_an_old_one(tmp_path):
    options = {"name": "toy", "out": tmp_path, "progress": False, "save_every_s": 1e9}
    run(toy.program(steps=48, chunks=8), toy.lanes(), **options)
    run(toy.program(), toy.lanes(), **options)
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["00000004"]


def test_resume_without_a_checkpoint_starts(tmp_path):
    metrics = run(toy.program(), toy.lanes(), name="toy", out=tmp_path, progress=False, resume=True).metrics
    same(metrics, run(toy.program(), toy.lanes(), name="toy", progress=False).metrics)


def test_interrupt_saves_the_chunk_and_resumes_to_the_same_numbers(tmp_path):
    program, lanes = toy.program(steps=96, chunks=16), toy.lanes(1)
    options = {"name": "toy", "out": tmp_path, "progress": False, "save_every_s": 1e9}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(interrupting(program, after=3), lanes, **options)
    assert signal.getsignal(signal.SIGINT) is before
    (saved,) = (tmp_path / "toy").iterdir()
    assert 3 <= int(saved.name) < 16
    same(run(program, lanes, resume=True, **options).metrics, run(program, lanes, name="toy", progress=False).metrics)


def test_runs_outside_the_main_thread():
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run(toy.program(), toy.lanes(), name="t", progress=False).metrics)
    )
    thread.start()
    thread.join()
    same(results[0], run(toy.program(), toy.lanes(), name="toy", progress=False).metrics)


def test_a_lane_that_diverges_is_named_once_and_the_others_go_on(capsys):
    lanes = toy.lanes(3)
    program = toy.program(steps=400, every=10)
    healthy = run(program, lanes, name="toy", progress=False)
    lanes["rate"] = lanes["rate"].at[1].set(1e12)
    outcome = run(program, lanes, name="toy", progress=False)
    metrics = outcome.metrics
    assert not divergences(healthy.state)
    (divergence,) = divergences(outcome.state)
    assert divergence[:2] == ("", 1)
    assert 0 < divergence.step < 400
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert f"toy: seed 1: the loss is not finite from step {divergence.step} on" in lines[0]
    for lane in (0, 2):
        np.testing.assert_array_equal(metrics["loss"][lane], healthy.metrics["loss"][lane])
    assert not np.isfinite(metrics["loss"][1, -1])
    expected = run(program._replace(may_diverge=True), lanes, name="toy", progress=False)
    same(expected.metrics, metrics)
    assert divergences(expected.state) == [divergence]
    assert capsys.readouterr().err == "", "a program that may diverge causes no warning"


def test_progress_shows_a_rate_and_without_tqdm_there_is_no_bar(capsys, monkeypatch):
    run(toy.program(), toy.lanes(), name="toy")
    printed = capsys.readouterr().err
    assert "toy: 100%" in printed
    assert "seed-step/s" in printed
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    run(toy.program(), toy.lanes(), name="toy")
    assert capsys.readouterr().err == ""


def test_parts_merge_under_their_names():
    @dataclasses.dataclass(frozen=True)
    class Config:
        seeds: int = 1

    parts = {"a": toy.program(), "b": toy.program(chunks=2)}
    experiment = Experiment(title="", presets={"default": Config()}, parts=lambda config: parts)
    lane = jax.tree.map(lambda leaf: leaf[0], toy.lanes())
    metrics = jax.jit(experiment.train(Config()))(lane)
    assert set(metrics) == {f"{part}/{metric}" for part in "ab" for metric in ("loss", "trace", "bad_step")}
    np.testing.assert_allclose(metrics["a/loss"], metrics["b/loss"], rtol=1e-6)


def test_outcome_counts_steps_and_seconds(tmp_path):
    outcome = run(toy.program(steps=24), toy.lanes(5), name="toy", out=tmp_path, progress=False)
    assert outcome.seed_steps == 5 * 24
    again = run(toy.program(steps=24), toy.lanes(5), name="toy", out=tmp_path, progress=False, resume=True)
    assert again.seconds == outcome.seconds > 0


def test_the_seconds_are_those_of_all_sittings(tmp_path, monkeypatch):
    """A clock that advances by one in each chunk shows it."""
    options = {"name": "toy", "out": tmp_path, "progress": False, "save_every_s": 0, "keep": 9}

    def ticking(*args):
        advance, cost = compiled(*args)

        def call(state):
            now.append(now[-1] + 1.0)
            return advance(state)

        return call, cost

    now, compiled = [0.0], loop._compiled
    monkeypatch.setattr(loop, "_compiled", ticking)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now[-1]))
    assert run(toy.program(), toy.lanes(), **options).seconds == 4
    for number in (3, 4):
        shutil.rmtree(tmp_path / "toy" / f"{number:08d}")
    now[-1] = 100.0
    assert run(toy.program(), toy.lanes(), resume=True, **options).seconds == 4, "two before the cut and two after it"


def test_the_outcome_has_the_trained_state(tmp_path):
    program, lanes = toy.program(), toy.lanes(3)
    options = {"name": "toy", "out": tmp_path, "progress": False}
    state = run(program, lanes, **options).state
    chunk, expected = jax.jit(jax.vmap(program.chunk)), jax.vmap(program.init)(lanes)
    for _ in range(program.chunks):
        expected, _ = chunk(expected)
    assert state.learner.params["w"].shape == (3, toy.WIDTH)
    np.testing.assert_allclose(state.learner.params["w"], expected.learner.params["w"], rtol=1e-5)
    np.testing.assert_array_equal(state.learner.step, [24] * 3)
    again = run(program, lanes, resume=True, **options).state
    np.testing.assert_array_equal(again.learner.params["w"], state.learner.params["w"])


def test_a_program_of_another_state_runs():
    program = Program(lambda key: jnp.zeros(()), lambda s: (s + 1, {"s": s[None]}), chunks=3, steps=1, points=1)
    metrics = run(program, jax.vmap(jax.random.key)(jnp.arange(2)), name="count", progress=False).metrics
    np.testing.assert_array_equal(metrics["s"], [[0, 1, 2]] * 2)
