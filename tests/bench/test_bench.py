"""Bench: families, progress, the clock, counts of operations, and equal work on both sides of a ratio."""

import importlib
import inspect
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import bench
from plasticity_jax.base import learner
from plasticity_jax.bench import _rivals, _timing, feedback, meta, online
from plasticity_jax.bench import run as runner
from plasticity_jax.cells import init_params, leaky
from plasticity_jax.networks import two_stream
from plasticity_jax.networks.two_stream import draw
from plasticity_jax.networks.two_stream import init_params as two_stream_params
from plasticity_jax.ops.noise import unit_noise
from plasticity_jax.rules import generative
from plasticity_jax.typing import Example

TOY = """
SECONDS = (1, 70)

def bench(quick, say):
    say("row: ratio 2")
    return {"row": {"ratio": 2.0, "quick": quick}}
"""


def test_families_are_found_and_not_imported():
    modules = {path.stem for path in Path(bench.__file__).parent.glob("*.py") if not path.stem.startswith("_")}
    assert set(bench.FAMILIES) == modules >= {"online", "feedback", "generative", "adversarial", "meta", "run"}
    code = "import sys, plasticity_jax.bench as b; print('jax' in sys.modules, len(b.FAMILIES))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(len(modules))]


@pytest.mark.parametrize("family", bench.FAMILIES)
def test_a_family_has_the_interface(family):
    module = importlib.import_module(f"plasticity_jax.bench.{family}")
    assert list(inspect.signature(module.bench).parameters) == ["quick", "say"]
    quick, full = module.SECONDS
    assert 0 < quick < full
    assert inspect.isgenerator(module.rows(True))


def test_quick_mode_takes_at_most_a_minute():
    assert sum(importlib.import_module(f"plasticity_jax.bench.{name}").SECONDS[0] for name in bench.FAMILIES) <= 60


def test_a_family_and_its_rows_are_reported(monkeypatch, tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(bench, "__path__", [str(tmp_path)])
    monkeypatch.setattr(bench, "FAMILIES", ("toy",))
    monkeypatch.delitem(sys.modules, "plasticity_jax.bench.toy", raising=False)
    for quick, expected in ((True, "quick, about 1 s"), (False, "full, about 70 s")):
        lines = []
        assert bench.run_bench(["toy"], quick, lines.append) == {"toy": {"row": {"ratio": 2.0, "quick": quick}}}
        assert lines == [f"toy: {expected} of one core", "toy: row: ratio 2  [0 s]"]
    with pytest.raises(ValueError, match="no bench family bogus: there are toy"):
        bench.run_bench(["toy", "bogus"], True, lines.append)


def test_a_row_is_reported_when_it_is_measured():
    lines = []

    def rows():
        yield "a", {"times_numpy": 12.345, "other": 1.0}
        assert lines == ["a: times numpy 12.3"]
        yield "b", {"gb": 0.5}

    assert _timing.collected(rows(), lines.append) == {"a": {"times_numpy": 12.345, "other": 1.0}, "b": {"gb": 0.5}}
    assert lines[1:] == ["b: gb 0.5"]


@pytest.fixture
def time_by_hand(monkeypatch):
    """A clock as a list with one number, which advances only when a test changes it."""
    now = [0.0]
    monkeypatch.setattr(_timing, "clock", lambda: now[0])
    return now


def test_calls_take_turns_and_the_least_counts(time_by_hand):
    order, left = [], {"a": [9, 5, 3, 4], "b": [1, 2, 7, 6]}  # the first call of each is not counted

    def call(name):
        order.append(name)
        time_by_hand[0] += left[name].pop(0)

    least = _timing.in_turns({name: lambda name=name: call(name) for name in left}, seconds=0, rounds=3)
    assert least == {"a": 3, "b": 2}
    assert order == ["a", "b"] * 4


def test_turns_go_on_until_the_time_is_over(time_by_hand, monkeypatch):
    monkeypatch.setattr(_timing, "time", SimpleNamespace(perf_counter=lambda: time_by_hand[0]))
    calls = []

    def call():
        calls.append(0)
        time_by_hand[0] += 1

    _timing.in_turns({"": call}, seconds=10, rounds=1)
    assert len(calls) == 1 + 10


def test_a_cpu_is_timed_by_its_processor():
    begun = _timing.clock()
    time.sleep(0.2)
    assert _timing.clock() - begun < 0.1


def test_seconds_of_further_chunks_leave_out_the_first(time_by_hand, monkeypatch):
    def fake(program, lanes, **options):
        time_by_hand[0] += 10 + 0.5 * program.chunks  # ten seconds to compile

    monkeypatch.setattr(runner, "run", fake)
    assert runner.extra_seconds(online.program("rflo", leaky(2, 3, 2), 1), None, 8, 2) == 4


def test_operations_are_counted():
    assert feedback.limit((4, 3, 2)) == (2 * 12 + 5 * 6) / (2 * 12 + 3 * 6)
    # 32 examples: 6 frozen weights, with an input that needs no gradient, and 3 plastic ones with twice the products.
    assert meta.operations((2, 3, 1), 1, 1, 0) == {"prefix": 2 * 32 * 2 * 6, "scan": 2 * 32 * 6 * 3}
    call, operations = _timing.product()
    assert operations == 4 * 2 * _timing.PRODUCT**3
    assert call().shape == (_timing.PRODUCT, _timing.PRODUCT)


def test_settings_within_a_seed_do_the_work_of_as_many_lanes(monkeypatch):
    """Both sides of the ratio compute the same losses, and the two settings differ."""
    monkeypatch.setitem(online.CELLS, "leaky", lambda n: leaky(2, 4, 2, alpha=0.5))
    paired, plain = runner.settings_within_a_seed(20), online.program("rtrl", online.CELLS["leaky"](4), 20)

    @jax.jit
    def losses(keys):
        states = jax.vmap(paired.init)(keys)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), states)
        return tuple(jax.vmap(one.chunk)(state)[1]["loss"] for one, state in ((paired, states), (plain, flat)))

    within, alone = losses(online.keys(3))  # (seeds, points, settings), (lanes, points)
    assert within.shape == (3, 1, 2)
    np.testing.assert_allclose(jnp.swapaxes(within, 1, 2).reshape(-1, 1), alone, rtol=1e-12)
    assert np.ptp(within, 2).min() > 1e-3


def test_a_lane_learns_at_its_own_rate():
    one = online.program("rflo", leaky(2, 4, 2), 50)
    rates = jnp.array([0.0, 0.0, online.RATE, 0.1])
    lanes = (jnp.repeat(online.keys(1), 4), {"rate": rates})
    state, _ = jax.jit(jax.vmap(lambda lane: one.chunk(one.init(lane))))(lanes)
    w = np.asarray(state.learner.params["forward"]["w"])
    moved = [np.abs(each - w[0]).max() for each in w]
    assert moved[1] == 0 < 30 * moved[2] < moved[3]


STEPS, RATE = 40, 0.2


@pytest.mark.parametrize("name", ["rflo", "uoro", "kf_rtrl"])
def test_an_online_rival_computes_the_same_as_the_rule(name):
    cell, dtype = leaky(3, 6, 2, alpha=0.4), jnp.dtype(jnp.float64)
    params = init_params(jax.random.key(0), cell, dtype=dtype)
    x = jax.random.normal(jax.random.key(1), (STEPS, 1, 3), dtype)
    p = jax.random.uniform(jax.random.key(2), (STEPS, 1, 1), dtype)
    examples = Example(x, jnp.concatenate([p, 1 - p], -1))
    learn = learner(getattr(online.online, name)(cell), optax.sgd(RATE))
    start = learn.init(params, jax.random.key(3), jax.tree.map(lambda leaf: leaf[0], examples))
    end, info = jax.jit(lambda state: jax.lax.scan(learn.step, state, examples))(start)
    noise, own = {}, start.traces.own
    if name != "rflo":
        keys = jax.vmap(jax.random.fold_in, (None, 0))(start.key, jnp.arange(STEPS))
        count = 6 if name == "uoro" else 2
        b = own.b["w"] if name == "uoro" else own.b
        noise = {"a": own.a, "b": b, "nu": jax.vmap(lambda key: unit_noise(key, count, dtype, "rademacher"))(keys)}
        noise = {of: np.asarray(values).squeeze() for of, values in noise.items()}
    before = np.asarray(params["forward"]["w"])[0], np.asarray(params["forward"]["w_out"])
    given = *before, np.asarray(x)[:, 0], np.asarray(examples.y)[:, 0]
    w, w_out, losses = getattr(_rivals, name)(*given, alpha=0.4, rate=RATE, **noise)
    np.testing.assert_allclose(w, end.params["forward"]["w"][0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(w_out, end.params["forward"]["w_out"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(losses, info.loss, rtol=1e-9)
    assert np.abs(w - before[0]).max() > 0.02
    assert np.abs(w_out - before[1]).max() > 0.1


def test_the_rival_of_impression_computes_the_same_as_the_rule():
    sigma_inf, sigma_gen, dtype = (0.2, 0.3), (0.25, 0.5), jnp.dtype(jnp.float64)
    net = two_stream((6, 4), sigma_inf, sigma_gen)
    params = two_stream_params(jax.random.key(0), net)
    z = 0.5 * jax.random.normal(jax.random.key(1), (STEPS, 1, 6), dtype)
    learn = learner(generative.impression(net), optax.sgd(0.05))
    start = learn.init(params, jax.random.key(2), Example(z[0], z[0]))
    end, _ = jax.jit(lambda state: jax.lax.scan(lambda s, x: learn.step(s, Example(x, x)), state, z))(start)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(start.key, jnp.arange(STEPS))
    drawn = jax.jit(jax.vmap(lambda key: draw(net, key, 1, dtype)))(keys)
    xi, eta = (np.asarray(each)[:, 0] for each in drawn)

    def weights(of):
        return of["inference"]["w"][0], of["generation"]["w"][0], of["generation"]["transition"]

    before = [np.asarray(leaf) for leaf in weights(params)]
    computed = _rivals.impression(
        *before, np.asarray(z)[:, 0], sigma_inf=sigma_inf, sigma_gen=sigma_gen, rate=0.05, xi=xi, eta=eta
    )
    for ours, rule, old in zip(computed, weights(end.params), before, strict=True):
        np.testing.assert_allclose(ours, rule, rtol=1e-9, atol=1e-12)
        assert np.abs(ours - old).max() > 1e-2
