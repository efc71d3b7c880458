"""Checkpoints survive damage, a full disk, and a resume with another configuration."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import Checkpoints, RunError, run
from plasticity_jax.run.checkpoint import Saved, fingerprint_of
from tests.run import toy

METRICS = {"loss": np.arange(6.0).reshape(2, 3), "part/bad": np.array([[1], [2]])}


class State(NamedTuple):
    weights: dict
    keys: jax.Array
    nothing: tuple


def make_state(impl=None):
    return State(
        {
            "half": jnp.arange(6.0, dtype=jnp.bfloat16).reshape(2, 3),
            "count": jnp.arange(2),
            "flag": jnp.array([True, False]),
            "none": jnp.zeros((2, 0, 3)),
        },
        jax.vmap(lambda seed: jax.random.key(seed, impl=impl))(jnp.arange(2)),
        (),
    )


def shapes(state):
    return jax.eval_shape(lambda: state)


def store_of(folder, **settings):
    return Checkpoints(folder, {"config": settings}, keep=3)


def arrays_of(checkpoint):
    return [path for path in (checkpoint / "arrays").rglob("*") if path.is_file()]


def flip(path):
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 3, len(data), max(1, len(data) // 7)):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))


def alter_manifest(checkpoint):
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["body"]["fingerprint"]["config"]["rate"] = 3
    path.write_text(json.dumps(manifest))


def swap_arrays(checkpoint):
    """Replaces the arrays by intact files with other numbers, which only the checksum can detect."""
    other = store_of(checkpoint.parent.parent / "other", rate=1)
    other.save(Saved(9, make_state(), {**METRICS, "loss": METRICS["loss"] + 1}, 1.0))
    shutil.rmtree(checkpoint / "arrays")
    shutil.copytree(other.folder / "00000009" / "arrays", checkpoint / "arrays")


DAMAGES = {
    "truncated": lambda c: [path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]) for path in arrays_of(c)],
    "emptied": lambda c: [path.write_bytes(b"") for path in arrays_of(c)],
    "garbage": lambda c: [path.write_bytes(b"\x93garbage" * 40) for path in arrays_of(c)],
    "flipped": lambda c: [flip(path) for path in arrays_of(c)],
    "data flipped": lambda c: [flip(path) for path in arrays_of(c) if path.parent.name == "d"],
    "deleted data": lambda c: [path.unlink() for path in arrays_of(c) if path.parent.name == "d"],
    "deleted arrays": lambda c: shutil.rmtree(c / "arrays"),
    "deleted manifest": lambda c: (c / "manifest.json").unlink(),
    "truncated manifest": lambda c: (c / "manifest.json").write_text((c / "manifest.json").read_text()[:50]),
    "altered manifest": alter_manifest,
    "garbage manifest": lambda c: (c / "manifest.json").write_bytes(b"\xff\x00garbage"),
    "manifest of another shape": lambda c: (c / "manifest.json").write_text("[1, 2]"),
    "other numbers": swap_arrays,
    "a file in its place": lambda c: (shutil.rmtree(c), c.write_text("")),
}


@pytest.mark.parametrize("impl", [None, "rbg"])
def test_everything_is_restored(tmp_path, impl, capfd):
    state = make_state(impl)
    store_of(tmp_path, rate=1).save(Saved(4, state, METRICS, 2.5))
    loaded = store_of(tmp_path, rate=1).load(shapes(state))
    assert (loaded.done, loaded.seconds, list(loaded.metrics)) == (4, 2.5, list(METRICS))
    assert jax.random.key_impl(loaded.state.keys) == jax.random.key_impl(state.keys)
    assert jax.tree.structure(loaded.state) == jax.tree.structure(state)
    for ours, theirs in zip(jax.tree.leaves(loaded.state), jax.tree.leaves(state), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(jax.random.key_data(loaded.state.keys), jax.random.key_data(state.keys))
    for name in state.weights:
        np.testing.assert_array_equal(loaded.state.weights[name], state.weights[name])
    for name in METRICS:
        np.testing.assert_array_equal(loaded.metrics[name], METRICS[name])
    assert capfd.readouterr() == ("", ""), "orbax keeps quiet"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_skipped(tmp_path, damage, capfd):
    state, store = make_state(), store_of(tmp_path / "run", rate=1)
    for done in (1, 2, 3):
        store.save(Saved(done, state, METRICS, 1.0))
    DAMAGES[damage](tmp_path / "run" / "00000003")
    again = store_of(tmp_path / "run", rate=1)
    assert again.load(shapes(state)).done == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert str(tmp_path / "run" / "00000003") in line
    assert "damaged" in line
    again.save(Saved(3, state, METRICS, 1.0))
    assert store_of(tmp_path / "run", rate=1).load(shapes(state)).done == 3


def test_if_all_are_damaged_one_line_states_the_remedy(tmp_path, capfd):
    state, store = make_state(), store_of(tmp_path, rate=1)
    for done in (1, 2):
        store.save(Saved(done, state, METRICS, 1.0))
        DAMAGES["deleted arrays"](tmp_path / f"{done:08d}")
    with pytest.raises(RunError, match=r"00000002 is damaged .* without --resume") as error:
        store_of(tmp_path, rate=1).load(shapes(state))
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_leftovers_of_a_killed_save_do_not_matter(tmp_path):
    state, store = make_state(), store_of(tmp_path, rate=1)
    store.save(Saved(1, state, METRICS, 1.0))
    ended = subprocess.Popen(["true"])
    ended.wait()
    living = f"tmp-{os.getppid()}-new"
    for name in ("tmp-new", f"tmp-{ended.pid}-new", f"tmp-{os.getpid()}-old", living):
        shutil.copytree(tmp_path / "00000001", tmp_path / name)
        (tmp_path / name / "manifest.json").unlink()
    assert store_of(tmp_path, rate=1).load(shapes(state)).done == 1
    store.save(Saved(2, state, METRICS, 1.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001", "00000002", living]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"rate": 2}}, "rate was 1, now 2"),
        ({"program": {"chunks": 2}}, "chunks was 4, now 2"),
        ({"program": {"every": 3}}, "points per chunk was 3, now 2"),
        ({"lanes": {"count": 4}}, "seeds and coefficients"),
        ({"lanes": {"rate": 0.06}}, "seeds and coefficients"),
    ],
)
def test_another_configuration_is_refused_and_nothing_lost(tmp_path, change, message):
    def go(config=None, program=None, lanes=None, **options):
        options |= {"name": "toy", "out": tmp_path, "progress": False, "config": config or {"rate": 1}}
        return run(toy.program(**(program or {})), toy.lanes(**(lanes or {})), **options).metrics

    whole = go()
    with pytest.raises(RunError, match=message) as error:
        go(**change, resume=True)
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(go(resume=True)["loss"], whole["loss"])


def test_the_fingerprint_depends_on_shapes_and_names_of_the_state():
    lanes = toy.lanes()
    prints = [
        fingerprint_of(lanes, jax.eval_shape(lambda x=x: x))["shapes of the state"]
        for x in ({"a": jnp.zeros(2)}, {"b": jnp.zeros(2)}, {"a": jnp.zeros(3)}, {"a": jnp.zeros(2, jnp.int32)})
    ]
    assert len(set(prints)) == 4


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write") as error:
        run(toy.program(), toy.lanes(), name="toy", out=tmp_path / "file", progress=False)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "file" / "toy") in str(error.value)


@pytest.mark.parametrize("fault", ["full", "orbax"])
def test_a_full_disk_keeps_earlier_checkpoints(tmp_path, monkeypatch, fault):
    import orbax.checkpoint as ocp

    state, store = make_state(), store_of(tmp_path, rate=1)
    store.save(Saved(1, state, METRICS, 1.0))
    with monkeypatch.context() as patch:
        if fault == "full":
            usage = shutil.disk_usage(tmp_path)
            patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        else:

            def fail(self, path, arrays):
                Path(path).mkdir(parents=True)
                raise ValueError("RESOURCE_EXHAUSTED: no room\nand more lines")

            patch.setattr(ocp.PyTreeCheckpointer, "save", fail)
        with pytest.raises(RunError, match="make room") as error:
            store.save(Saved(2, state, METRICS, 1.0))
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]
    assert store_of(tmp_path, rate=1).load(shapes(state)).done == 1


def test_abandoned_writes_report_nothing(tmp_path, monkeypatch, capfd):
    """After one of orbax's writes fails, the others fail on its closed event loop, some of them much later."""
    import orbax.checkpoint as ocp

    loop, reports, late = asyncio.new_event_loop(), [], []
    loop.close()

    class Orphan:
        def __del__(self):
            loop.call_soon_threadsafe(print)

    def fail(self, path, arrays):
        Orphan()
        late.append(Orphan())
        raise ValueError("RESOURCE_EXHAUSTED: no room")

    monkeypatch.setattr(sys, "unraisablehook", reports.append)
    Orphan()
    assert len(reports) == 1, "an orphan reports by itself"
    monkeypatch.setattr(ocp.PyTreeCheckpointer, "save", fail)
    with pytest.raises(RunError, match="no room"):
        store_of(tmp_path, rate=1).save(Saved(1, make_state(), METRICS, 1.0))
    late.clear()
    assert len(reports) == 1
    assert capfd.readouterr() == ("", "")
    sys.unraisablehook(other := type("Report", (), {"exc_value": ValueError("of other code")})())
    assert reports[1:] == [other]


def test_a_save_leaves_the_hooks_as_they_were(tmp_path):
    before = sys.unraisablehook
    store_of(tmp_path, rate=1).save(Saved(1, make_state(), METRICS, 1.0))
    assert sys.unraisablehook is before


@pytest.mark.parametrize("name", ["²", "٣", "00000002²", "1", "00000009 ", "loop", "0000000a"])
def test_odd_neighbours_of_a_checkpoint_do_not_matter(tmp_path, name, capfd):
    state, store = make_state(), store_of(tmp_path, rate=1)
    store.save(Saved(1, state, METRICS, 1.0))
    (tmp_path / name).symlink_to(name) if name == "loop" else (tmp_path / name).mkdir()
    again = store_of(tmp_path, rate=1)
    assert again.load(shapes(state)).done == 1
    assert capfd.readouterr().err == ""
    again.save(Saved(2, state, METRICS, 1.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["00000001", "00000002", name])


def test_links_that_lead_nowhere_are_one_line_and_replaced_where_a_checkpoint_goes(tmp_path, capfd):
    state, store = make_state(), store_of(tmp_path / "run", rate=1)
    store.save(Saved(1, state, METRICS, 1.0))
    for link in ("00000002", "tmp-new"):
        (tmp_path / "run" / link).symlink_to(link)
    assert store_of(tmp_path / "run", rate=1).load(shapes(state)).done == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "00000002 is damaged" in line
    store.save(Saved(2, state, METRICS, 1.0))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["00000001", "00000002"]
    assert store_of(tmp_path / "run", rate=1).load(shapes(state)).done == 2

    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RunError, match="cannot write") as error:
        run(toy.program(), toy.lanes(), name="loop", out=tmp_path, progress=False, resume=True)
    assert "\n" not in str(error.value)


def test_keep_is_positive(tmp_path):
    with pytest.raises(ValueError, match="keep=0"):
        Checkpoints(tmp_path, {}, keep=0)
