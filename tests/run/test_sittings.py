"""A resumed run keeps its numbers on other devices, and warns of another commit or version."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import Program, run, sittings
from plasticity_jax.run.sittings import merged

CHUNKS = 6


def chaotic():
    """A network that amplifies differences in the last digit within a few steps, so that rounding is visible."""

    w = jax.random.normal(jax.random.key(7), (40, 40), jnp.float32) * 3 / 40**0.5

    def init(key):
        return jax.random.normal(key, 40, jnp.float32)

    def chunk(s):
        s, path = jax.lax.scan(lambda s, _: (jnp.tanh(w @ s), s.sum()), s, None, length=50)
        return s, {"sum": path}

    return Program(init, chunk, CHUNKS, 50, 50)


def lanes(count):
    return jax.vmap(jax.random.key)(jnp.arange(count))


def go(out, count=4, devices=2, **options):
    options = {"name": "net", "out": out, "progress": False, "save_every_s": 0, "keep": 9, **options}
    return run(chaotic(), lanes(count), devices=jax.devices()[:devices], **options)


def cut(out, done):
    for path in (out / "net").iterdir():
        if int(path.name) > done:
            shutil.rmtree(path)


def sums(outcome):
    return outcome.metrics["sum"]


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_another_number_of_devices_keeps_the_bits(tmp_path, count, first, then, capsys):
    whole = go(tmp_path, count, first)
    width = whole.sittings[0]["lanes_at_a_time"]
    assert width == -(-count // first)
    cut(tmp_path, 2)
    resumed = go(tmp_path, count, then, resume=True)
    np.testing.assert_array_equal(sums(resumed), sums(whole))
    assert [each["lanes_at_a_time"] for each in resumed.sittings] == [width, width]
    assert [each["chunks_before"] for each in resumed.sittings] == [0, 2]
    assert [each["device_count"] for each in resumed.sittings] == [first, then]
    printed = capsys.readouterr().err
    line = f"net: 1 of 2 devices in use: {width} lanes at a time, as before, keep the numbers\n"
    assert printed == (line if then == 2 else "")


def test_rounding_depends_on_the_width_and_another_width_is_a_warning(tmp_path, capsys):
    whole = go(tmp_path, devices=1, sub_batch=4)
    assert not np.array_equal(sums(whole), sums(go(tmp_path / "one", devices=1, sub_batch=1)))
    cut(tmp_path, 2)
    resumed = go(tmp_path, devices=1, sub_batch=1, resume=True)
    assert not np.array_equal(sums(resumed), sums(whole))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: net: lanes at a time was 4, now 1 since chunk 2: numbers may differ")


@pytest.mark.parametrize("changed", ["commit", "version"])
def test_other_code_is_one_warning_and_is_listed(tmp_path, monkeypatch, capsys, changed):
    monkeypatch.setattr(sittings, "_commit", lambda: "a" * 40)
    monkeypatch.setattr(sittings, "versions", lambda: {"jax": "1.0", "numpy": "2.0"})
    go(tmp_path)
    cut(tmp_path, 2)
    go(tmp_path, resume=True)
    cut(tmp_path, 4)
    assert capsys.readouterr().err == "", "the same code causes no warning"
    if changed == "commit":
        monkeypatch.setattr(sittings, "_commit", lambda: "b" * 40 + "-dirty")
        change = "commit was aaaaaaaaaaaa, now bbbbbbbbbbbb-dirty since chunk 4"
    else:
        monkeypatch.setattr(sittings, "versions", lambda: {"jax": "1.1", "numpy": "2.0"})
        change = "jax was 1.0, now 1.1 since chunk 4"
    listed = go(tmp_path, resume=True).sittings
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"warning: net: {change}: numbers may differ from those of one sitting"
    assert [each["chunks_before"] for each in listed] == [0, 2, 4]
    assert [each["commit"][0] for each in listed] == ["a", "a", "b" if changed == "commit" else "a"]
    loaded = go(tmp_path, resume=True).sittings
    assert [dict(each) for each in loaded] == [dict(each) for each in listed], "loading a finished run is not a sitting"
    assert capsys.readouterr().err == ""
    manifest = json.loads((tmp_path / "net" / "00000006" / "manifest.json").read_text())
    assert manifest["body"]["sittings"] == listed


def test_merging_keeps_every_sitting():
    def at(chunk, commit):
        return {"chunks_before": chunk, "commit": commit}

    runs = {"a": [at(0, "x")], "b": [at(0, "x"), at(3, "y")], "c": [at(0, "y"), at(2, "y")]}
    assert merged(runs) == [
        {"chunks_before": {"a": 0, "b": 0}, "commit": "x"},
        {"chunks_before": {"b": 3, "c": 0}, "commit": "y"},
        {"chunks_before": {"c": 2}, "commit": "y"},
    ]
    assert merged({}) == []
