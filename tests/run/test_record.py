"""Records: files are whole or absent, values are plain JSON, and claims are computed."""

import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import Claim, RunError, checked, describe_run, write_figures, write_record
from plasticity_jax.run.record import atomic, commit, plain, write_json


def test_a_record_is_readable_by_anyone(tmp_path):
    metrics = {"part/loss": np.ones((2, 3), np.float32), "part/bad_step": np.full((2, 3), -1)}
    rows = checked([Claim("c", "s", None, lambda s: (s["x"], True))], {"x": math.nan})
    meta = describe_run(seconds=2.0, seed_steps=10, seeds=2)
    config = {"lags": (1, 2), "path": Path("x"), "rate": 0.1}
    write_record(tmp_path, config=config, meta=meta, metrics=metrics, summary={"x": math.nan, "y": 1.0}, claims=rows)
    summary = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["summary"] == {"x": None, "y": 1.0}
    (row,) = summary["claims"]
    assert (row["id"], row["measured"], row["holds"]) == ("c", None, False)
    assert json.loads((tmp_path / "config.json").read_text()) == {"lags": [1, 2], "path": "x", "rate": 0.1}
    read = json.loads((tmp_path / "meta.json").read_text())
    assert read["steps_per_second"] == 5.0
    assert {"commit", "versions", "device", "device_count", "backend", "wall_seconds", "seeds"} <= set(read)
    assert {"jax", "jaxlib", "numpy", "optax", "chex", "flax", "plasticity_jax"} <= set(read["versions"])
    with np.load(tmp_path / "metrics.npz") as arrays:
        assert set(arrays) == set(metrics)
        np.testing.assert_array_equal(arrays["part/loss"], metrics["part/loss"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "meta.json", "metrics.npz", "summary.json"]


def test_plain_json_values():
    value = {"a": np.float32(1.5), "b": jnp.array([1, 2]), "c": (math.inf, None, True), 3: {"d": np.bool_(True)}}
    assert plain(value) == {"a": 1.5, "b": [1, 2], "c": [None, None, True], "3": {"d": True}}


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, 1)

    def fail():
        with atomic(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RunError, match="cannot write"):
        write_json(path / "under-a-file.json", 1)


def test_figures_are_written_by_name(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2])
    (path,) = write_figures(tmp_path, {"one": figure})
    assert path == tmp_path / "one.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_animation_is_written_whole_as_a_gif(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(1, 1))
    backend, animation = (pytest.importorskip(f"matplotlib.{name}") for name in ("backends.backend_agg", "animation"))
    backend.FigureCanvasAgg(figure)
    axis = figure.subplots()
    pictures = [[axis.imshow([[i, 1 - i]], animated=True)] for i in (0, 0.5, 1)]
    (path,) = write_figures(tmp_path, {"one": animation.ArtistAnimation(figure, pictures, interval=250)})
    assert path == tmp_path / "one.gif"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.importorskip("PIL.Image").open(path) as image:
        assert (image.format, image.n_frames, image.info["duration"]) == ("GIF", 3, 250)


def test_commit_is_a_hash_or_nothing():
    head = commit()
    assert head is None or len(head.removesuffix("-dirty")) == 40
