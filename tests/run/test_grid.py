"""Grids and random draws as lanes, and lanes as labelled axes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import draws, grid, open_record, sweep
from plasticity_jax.run.record import RunError, write_json, write_npz


def test_lanes_are_all_combinations_seeds_innermost_and_stacked_puts_the_axes_back():
    rates, scales = [0.1, 0.3], [1.0, 2.0, 5.0]
    points = grid({"rate": rates, "scale": scales}, seeds=4)
    lanes = points.lanes
    wanted = list(itertools.product(rates, scales, range(4)))
    np.testing.assert_allclose(lanes["rate"], [rate for rate, _, _ in wanted])
    np.testing.assert_allclose(lanes["scale"], [scale for _, scale, _ in wanted])
    assert (jax.random.key_data(lanes["key"])[:, 1] == np.array([seed for *_, seed in wanted])).all()
    assert list(points.points()) == [{"rate": rate, "scale": scale} for rate, scale in itertools.product(rates, scales)]

    def train(lane):
        noise = jax.random.normal(lane["key"], (3,))
        return {"loss": lane["rate"] * jnp.arange(3) + lane["scale"] + noise}

    stacked = points.stacked(sweep(train)(lanes))["loss"]
    assert stacked.shape == (2, 3, 4, 3)
    for i, j, k in itertools.product(range(2), range(3), range(4)):
        by_hand = rates[i] * np.arange(3) + scales[j] + jax.random.normal(jax.random.key(k), (3,))
        np.testing.assert_allclose(stacked[i, j, k], by_hand, rtol=1e-6)


def test_the_dataset_is_labelled():
    points = grid({"rate": [0.1, 0.3], "n": [4, 8, 16]}, seeds=2)
    values = np.arange(2 * 3 * 2 * 5).reshape(-1, 5)
    dataset = points.dataset({"loss": values, "last": values[:, 0]})
    assert dataset["loss"].dims == ("rate", "n", "seed", "point")
    assert dataset["last"].dims == ("rate", "n", "seed")
    assert dataset["loss"].sel(rate=0.3, n=8, seed=1, point=2).item() == (1 * 6 + 1 * 2 + 1) * 5 + 2


def test_draws_keep_to_their_ranges_and_have_one_dimension():
    ranges = {"rate": (1e-4, 1e-2, "log"), "leak": (0.2, 1.0)}
    points = draws(ranges, count=400, seeds=2, key=jax.random.key(1))
    rate, leak = (np.array([point[name] for point in points.points()]) for name in ranges)
    assert points.dims == {"draw": 400}
    assert ((rate >= 1e-4) & (rate <= 1e-2)).all()
    assert ((leak >= 0.2) & (leak <= 1)).all()
    # Medians of uniform numbers of 400 draws: within 4 standard errors, .5 / sqrt(400).
    assert abs((np.log10(rate) < -3).mean() - 0.5) < 0.1
    assert abs((leak < 0.6).mean() - 0.5) < 0.1
    assert abs(np.corrcoef(np.log(rate), leak)[0, 1]) < 0.2
    assert points.dataset({"a": np.zeros(800)})["leak"].dims == ("draw",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid({}, seeds=1), "a field at least"),
        (lambda: grid({"a": []}, seeds=1), "list of values"),
        (lambda: grid({"a": 3.0}, seeds=1), "list of values"),
        (lambda: grid({"a": [1]}, seeds=0), "seeds=0"),
        (lambda: grid({"key": [1]}, seeds=1), "cannot be called key"),
        (lambda: grid({"a": ["x"]}, seeds=1).lanes, "no numbers"),
        (lambda: sweep(lambda lane: lane)(grid({"a": [1]}, seeds=1)), "give it the grid's .lanes"),
        (lambda: draws({"a": (1, 0)}, count=3, seeds=1, key=jax.random.key(0)), "no range"),
        (lambda: draws({"a": (0, 1, "log")}, count=3, seeds=1, key=jax.random.key(0)), "no range"),
        (lambda: draws({"a": (0, 1)}, count=0, seeds=1, key=jax.random.key(0)), "count=0"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_plain_record_opens_with_its_seeds(tmp_path):
    metrics = {"a/loss": np.ones((3, 4)), "b/loss": np.ones((3, 7, 2)), "extra": np.ones(5)}
    write_npz(tmp_path / "metrics.npz", metrics)
    write_json(tmp_path / "meta.json", {"seeds": 3, "commit": "abc"})
    record = open_record(tmp_path)
    assert record["a/loss"].dims == ("seed", "a.point")
    assert record["b/loss"].dims == ("seed", "b.point", "b/loss.1")
    assert record["extra"].dims == ("extra.0",)
    assert record.attrs["commit"] == "abc"
    with pytest.raises(RunError, match="no finished run"):
        open_record(tmp_path / "nothing")
