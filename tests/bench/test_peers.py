"""Bench of peers without a peer: its protocol with a fake one, its page on a result made by hand, and our own side."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.bench import _peer_process, _peer_table, peers
from plasticity_jax.bench._peer_process import SCRIPTS, PeerError, Side, difference, in_pairs, probe
from plasticity_jax.bench._peer_process import ours as our_side
from plasticity_jax.command.cli import main

FAKE = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
import numpy as np
from serve import serve

def build(what, arrays):
    print("a banner of some package")
    calls = []
    def once():
        calls.append(0)
        np.linalg.svd(np.ones((60, 60)))
    once()
    twice = arrays["x"] * what["times"]
    passed = {{"given/noise": twice}} if "noise" not in arrays else {{"received": arrays["noise"]}}
    return {{"gradient/w": twice, **passed}}, once

rules = {{"rflo": "math:sqrt", "snap": "xml:dom", "es": "math:no", "bptt": "autograd"}}
serve(build, {{"versions": ["numpy"], "rules": rules, "cells": {{}}}})
"""
TIMED = """
import json, sys
import numpy as np
np.savez(sys.argv[3], **{"gradient/w": np.ones(2)})
print(json.dumps({"mb": 1}), flush=True)
for i, line in enumerate(sys.stdin):
    with open(LOG, "a") as log:
        log.write(NAME)
    seconds = EACH if i != 2 else 1000 * EACH  # one disturbed round
    print(json.dumps({"seconds": seconds * int(line), "mb": 10 * EACH + i}), flush=True)
"""


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch):
    monkeypatch.setattr(_peer_process, "ROUND_S", 0.01)


def written(folder: Path, source: str, name: str = "fake") -> Side:
    script = folder / f"{name}.py"
    script.write_text(source)
    return Side(name, Path(sys.executable), script)


def timed(folder: Path, name: str, each: float) -> Side:
    values = {"LOG": str(folder / "log"), "NAME": name, "EACH": each}
    return written(folder, "".join(f"{key} = {value!r}\n" for key, value in values.items()) + TIMED, name)


def test_a_probe_returns_versions_and_installed_rules(tmp_path):
    answer = probe(written(tmp_path, FAKE))
    assert answer["rules"] == {"rflo": "sqrt", "snap": "dom", "bptt": "autograd"}
    assert answer["versions"]["numpy"] == np.__version__
    assert answer["cells"] == {}


def test_both_sides_do_the_work_and_the_first_passes_on_its_draws(tmp_path):
    side, x = written(tmp_path, FAKE), np.arange(3.0)
    pairs = in_pairs(side, side._replace(name="other"), {"times": 2}, {"x": x}, 2)
    np.testing.assert_array_equal(pairs.ours["gradient/w"], 2 * x)
    np.testing.assert_array_equal(pairs.theirs["received"], 2 * x)
    assert pairs.ours_s > 0 < pairs.theirs_s
    assert 10 < pairs.ours_mb < 200  # NumPy alone; the parent process has JAX and more
    assert 0.2 < pairs.ratio < 5


def test_rounds_take_turns_and_medians_count(tmp_path):
    a, b = timed(tmp_path, "a", 0.5), timed(tmp_path, "b", 2.0)
    pairs = in_pairs(a, b, {}, {}, 5)
    assert (tmp_path / "log").read_text() == "ab" + "abbaabbaab"  # first one call of each, to measure its time
    assert (pairs.ratio, pairs.ours_s, pairs.theirs_s) == (4.0, 0.5, 2.0)
    assert pairs.spread == 1.0  # both were disturbed in the same pair
    assert (pairs.ours_mb, pairs.theirs_mb) == (10.0, 25.0)


BROKEN = {
    "raise ModuleNotFoundError('no braintrace here')": "fake: its script ended with 1: ModuleNotFoundError: no braint",
    "import os; os._exit(3)": "fake: its script ended with 3: no message",
    "print('welcome')": "fake: its script wrote 'welcome', which is not a JSON object",
    "print([1])": "fake: its script wrote '[1]', which is not a JSON object",
    "print('{}')": "fake: its script wrote no versions, rules, cells",
}


@pytest.mark.parametrize("source", BROKEN)
def test_a_broken_peer_is_one_line(source, tmp_path):
    with pytest.raises(PeerError) as caught:
        probe(written(tmp_path, source))
    assert str(caught.value).startswith(BROKEN[source])
    assert "\n" not in str(caught.value)


def test_a_missing_python_and_a_time_of_zero_are_one_line(tmp_path):
    with pytest.raises(PeerError, match="x: /nowhere/python does not start: No such file"):
        probe(Side("x", Path("/nowhere/python"), tmp_path / "s.py"))
    side = timed(tmp_path, "a", 0.0)
    with pytest.raises(PeerError, match=r"a: its script wrote seconds=0\.0, which is not a positive number"):
        in_pairs(side, side, {}, {}, 1)


LEFT = {
    "": "a: its script left no arrays that can be read: .*No such file",
    "open(sys.argv[3], 'w').write('garbage')": "a: its script left no arrays that can be read",
}


@pytest.mark.parametrize("left", LEFT)
def test_a_script_that_leaves_no_arrays_is_one_line(left, tmp_path):
    side = written(tmp_path, f"import sys\n{left}\nprint('{{}}', flush=True)\nsys.stdin.read()\n", "a")
    with pytest.raises(PeerError, match=LEFT[left]) as caught:
        in_pairs(side, side, {}, {}, 1)
    assert "\n" not in str(caught.value)


def test_output_that_is_not_utf_8_is_one_line(tmp_path):
    with pytest.raises(PeerError, match=r"fake: its script wrote .*, which is not a JSON object"):
        probe(written(tmp_path, r"import sys; sys.stdout.buffer.write(b'\xff\xfe\n')"))


def test_differences_are_relative_to_the_largest_number_or_change():
    ours = {"gradient/w": np.array([4.0, 0.0]), "learned/w": np.array([1.0, 1.5]), "gradient/only_ours": np.ones(1)}
    theirs = {"gradient/w": np.array([4.0, 1.0]), "learned/w": np.array([1.0, 1.25])}
    start = {"w": np.array([1.0, 1.0])}
    assert difference(ours, theirs, start, "gradient") == 0.25
    assert difference(ours, theirs, start, "learned") == 0.5
    with pytest.raises(PeerError, match="no gradient"):
        difference(ours, {}, start, "gradient")
    for other in (np.ones(3), np.array([4.0, np.nan]), np.array(["a", "b"])):
        with pytest.raises(PeerError, match="gradient/w is"):
            difference(ours, {"gradient/w": other}, start, "gradient")


def test_without_a_folder_the_command_for_each_peer_is_printed(monkeypatch):
    monkeypatch.delenv(peers.HOME, raising=False)
    lines = []
    rows = peers.bench(False, lines.append)
    assert set(rows) == {"machine", *(peer.name for peer in peers.PEERS)}
    command = "python3 -m venv DIR/evosax && DIR/evosax/bin/pip install --log DIR/evosax/pip.log evosax"
    assert rows["evosax"] == {"not_measured": f"not installed; make it by: {command}"}
    assert f"evosax: not installed; make it by: {command}" in lines
    assert lines[-1] == "make some, and name their folder: PLASTICITY_PEERS=DIR"


def test_an_error_of_pip_is_the_reason(monkeypatch, tmp_path):
    (tmp_path / "learned_optimization" / "bin").mkdir(parents=True)
    (tmp_path / "learned_optimization" / "bin" / "python").touch()
    log = "12:00 ERROR: first\n12:01 ERROR: No matching distribution found for dm-launchpad-nightly\n12:02 bye\n"
    (tmp_path / "learned_optimization" / "pip.log").write_text(log)
    monkeypatch.setenv(peers.HOME, str(tmp_path))
    row = dict(peers.rows(True))["learned_optimization"]
    assert row == {"not_measured": "pip: No matching distribution found for dm-launchpad-nightly"}
    (tmp_path / "learned_optimization" / "pip.log").write_text(log + "12:03 Successfully installed all of it\n")
    assert "pip: " not in dict(peers.rows(True))["learned_optimization"]["not_measured"]


WORK = {
    "times_peer": 2.345,
    "ours_per_s": 2_345_678.0,
    "peer_per_s": 999_000.0,
    "spread": 1.05,
    "ours_mb": 400.4,
    "peer_mb": 500.6,
    "unit": "stream-steps",
    "peer": "toy",
    "rule": "rflo",
    "theirs": "D_RTRL",
    "cell": "leaky",
    "n": 32,
    "streams": 20,
}
RESULT = {
    "machine": {"commit": "abc", "versions": {"jax": "9.9", "torch": None}},
    "quick": False,
    "peers": {
        "machine": {"cores": 1, "processor": "Toy 3000", "date": "2031-02-03"},
        "toy": {"versions": {"toy": "1.2"}, "rules": {"rflo": "D_RTRL"}, "cells": {"gru": "GRUCell"}},
        "other": {"versions": {"other": "0.1"}, "rules": {"es": "Open|ES"}, "cells": {}},
        "gone": {"not_measured": "pip: no\nsuch thing"},
        "a": WORK | {"gradients_differ_by": 1.23e-7, "learned_differ_by": 4e-6},
        "b": WORK | {"rule": "uoro", "not_compared": "signs"},
    },
}


def test_the_page_has_every_number_from_the_result():
    text = _peer_table.page(json.loads(json.dumps(RESULT)))
    assert "on 2031-02-03, on one core of Toy 3000." in text
    first, second = _peer_table.read_table(text, "The same work")
    assert first == {
        "peer": "toy",
        "rule": "rflo",
        "theirs": "D_RTRL",
        "on": "leaky, n=32, streams=20",
        "unit": "stream-steps",
        "ours a second": "2.35 M",
        "theirs a second": "999 k",
        "times": "2.35",
        "spread": "1.05",
        "MB, ours": "400",
        "MB, theirs": "501",
        "gradients differ by": "1e-07",
        "learned weights differ by": "4e-06",
    }
    assert second["gradients differ by"] == second["learned weights differ by"] == "signs"
    names = {row["ours"]: (row["toy"], row["other"]) for row in _peer_table.read_table(text, "Who has which rule")}
    assert names == {"`rflo`": ("D_RTRL", "-"), "`es`": ("-", "Open/ES")}
    assert "`rtrl`" in text.split("No peer here is known to have ")[1]
    assert _peer_table.read_table(text, "Who has which cell or layer") == [
        {"ours": "`gru`", "toy": "GRUCell", "other": "-"}
    ]
    assert _peer_table.read_table(text, "Not measured") == [{"": "gone", "why": "pip: no such thing"}]
    assert "jax 9.9, commit abc" in text
    assert "None" not in text
    assert "quick" not in text
    assert "too short" in _peer_table.page({**RESULT, "quick": True})


@pytest.mark.parametrize("result", [{}, {"online": {}}, {"peers": {"a": {}}}])
def test_another_result_makes_no_page(result):
    with pytest.raises(ValueError, match="no result of the bench of peers"):
        _peer_table.page(result)


def test_the_command_writes_the_page(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv(peers.HOME, raising=False)
    assert main(["bench", "peers", "--quick", "--table", str(tmp_path / "peers.md")]) == 0
    rows = _peer_table.read_table((tmp_path / "peers.md").read_text(), "Not measured")
    assert [row[""] for row in rows] == [peer.name for peer in peers.PEERS]
    capsys.readouterr()
    assert main(["bench", "run", "--table", str(tmp_path / "run.md")]) == 2
    assert "--table shows the family peers, not run" in capsys.readouterr().err
    assert not (tmp_path / "run.md").exists()


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_rules_of_the_peers_scripts_are_ours():
    known = set(_peer_table.factories())
    assert {"rflo", "es", "feedback_alignment"} <= known
    lists = [script("braintrace_peer").PACKAGES, script("evosax_peer").PACKAGES]
    lists += [script("torch_peer").TORCH, script("torch_peer").BIOTORCH]
    assert not [name for each in lists for name in each["rules"] if name not in known]
    assert {work.what["rule"] for quick in (True, False) for work in peers.works(quick)} <= known
    assert {work.peer for work in peers.works(False)} == {peer.name for peer in peers.PEERS if peer.script}


def test_our_side_computes_the_same_as_a_plain_loop():
    work = peers.stepwise("rflo", "", "leaky", 5, 3)
    arrays = peers.of_streams(np.random.default_rng(0), work.what, 12)
    results, once = script("ours").build({**work.what, "rate": 0.1}, arrays)
    w, w_out = arrays["w"][0].astype(float), arrays["w_out"].astype(float)
    for learn in (False, True):
        r, total, v, v_out = np.zeros((3, 5)), np.zeros_like(w), w.copy(), w_out.copy()
        for t in range(12 if learn else work.what["check"]):
            rhat = np.hstack([r, arrays["x"][t], np.ones((3, 1))])
            r = np.tanh(rhat @ v.T)
            z = np.hstack([r, np.ones((3, 1))])
            p = np.exp(z @ v_out.T)
            error = (p / p.sum(1, keepdims=True) - arrays["y"][t]) / 3
            change = ((error @ v_out[:, :-1]) * (1 - r**2)).T @ rhat
            total += change
            if learn:
                v, v_out = v - 0.1 * change, v_out - 0.1 * error.T @ z
        expected, name = (v, "learned/w") if learn else (total, "gradient/w")
        np.testing.assert_allclose(results[name][0], expected, rtol=2e-4, atol=2e-6)
    assert np.abs(v - w).max() > 0.02
    once()


def environment(name: str) -> Side:
    """A peer's side; the test is skipped if it is not installed."""
    home = os.environ.get(peers.HOME)
    if home is None:
        pytest.skip(f"{peers.HOME} names no folder with an environment for {name}")
    try:
        return peers.side(next(peer for peer in peers.PEERS if peer.name == name), Path(home))
    except PeerError as error:
        pytest.skip(str(error))


def is_small(what):
    return what.get("n", 0) <= 32 and what.get("streams", 20) == 20


AGREE = [w for w in peers.works(False) if w.agree is None and is_small(w.what) and w.what["cell"] != "lstm"]
AGREE += [peers.stepwise("snap", "SnAp", "leaky", 8, 3), peers.stepwise("rflo", "D_RTRL", "alif", 8, 1)]


@pytest.mark.parametrize("work", AGREE, ids=lambda work: work.name)
def test_an_installed_peer_has_the_same_gradients(work):
    theirs, arrays = environment(work.peer), work.make(np.random.default_rng(1))
    pairs = in_pairs(our_side(), theirs, work.what, arrays, 1)
    # The estimate of an evolution strategy is a difference of nearly equal losses.
    assert difference(pairs.ours, pairs.theirs, arrays, "gradient") < (1e-4 if work.what["task"] == "outer" else 5e-6)
    assert max(np.abs(pairs.theirs[name]).max() for name in pairs.theirs if name.startswith("gradient/")) > 1e-3


def test_braintrace_gives_the_gates_of_an_lstm_twice_the_gradient_and_we_do_not():
    theirs, work = environment("braintrace"), peers.stepwise("rflo", "D_RTRL", "lstm", 6, 3)
    arrays = peers.of_streams(np.random.default_rng(1), work.what, 10)
    pairs = in_pairs(our_side(), theirs, {**work.what, "check": 1}, arrays, 1)
    rhat = jnp.asarray(np.hstack([np.zeros((3, 6)), arrays["x"][0], np.ones((3, 1))]))

    def loss(w):  # the loss of the first step, from a state of zeros
        i, _, k, o = jnp.einsum("gnm,bm->gbn", w, rhat)
        h = jax.nn.sigmoid(o) * jnp.tanh(jax.nn.sigmoid(i) * jnp.tanh(k))
        z = h @ arrays["w_out"][:, :-1].T + arrays["w_out"][:, -1]
        return -jnp.mean(jnp.sum(arrays["y"][0] * jax.nn.log_softmax(z), -1))

    exact = jax.grad(loss)(jnp.asarray(arrays["w"], jnp.float64))
    np.testing.assert_allclose(pairs.ours["gradient/w"], exact, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(pairs.theirs["gradient/w"][3], exact[3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(pairs.theirs["gradient/w"][:3], 2 * exact[:3], rtol=1e-4, atol=1e-6)


def test_braintrace_filters_the_trace_of_the_voltage_and_we_that_of_the_spike():
    theirs, work = environment("braintrace"), peers.stepwise("eprop", "EProp", "lif", 6, 3)
    arrays = peers.of_streams(np.random.default_rng(2), work.what, 10)
    pairs = in_pairs(our_side(), theirs, work.what, arrays, 1)
    w, w_out, kappa = arrays["w"][0].astype(float), arrays["w_out"].astype(float), work.what["kappa"]
    decay = work.what["options"]["decay"]
    u, z, psi, f = (np.zeros((3, 6)) for _ in range(4))
    trace, of_voltage, of_spike = (np.zeros((3, 6, 9)) for _ in range(3))
    expected = {"ours": np.zeros_like(w), "theirs": np.zeros_like(w)}
    for x, y in zip(arrays["x"], arrays["y"], strict=True):
        rhat = np.hstack([z, x, np.ones((3, 1))])
        u = decay * u + rhat @ w.T - z
        trace = (decay - psi)[..., None] * trace + rhat[:, None]  # psi of the step before
        z, psi = (u > 1).astype(float), 0.3 * np.maximum(0, 1 - np.abs(u - 1))
        of_voltage, of_spike = kappa * of_voltage + trace, kappa * of_spike + psi[..., None] * trace
        f = kappa * f + z
        p = np.exp(np.hstack([f, np.ones((3, 1))]) @ w_out.T)
        credit = (p / p.sum(1, keepdims=True) - y) / 3 @ w_out[:, :-1]
        expected["theirs"] += np.einsum("bn,bnm->nm", credit * psi, of_voltage)
        expected["ours"] += np.einsum("bn,bnm->nm", credit, of_spike)
    assert z.sum() > 0
    np.testing.assert_allclose(pairs.ours["gradient/w"][0], expected["ours"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(pairs.theirs["gradient/w"][0], expected["theirs"], rtol=1e-4, atol=1e-6)
    assert np.abs(expected["ours"] - expected["theirs"]).max() > 0.01
