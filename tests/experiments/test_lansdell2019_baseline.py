"""Estimates with and without the loss of the clean pass: by hand, and with faults that the comparison must detect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019 import theorems
from experiments.lansdell2019.baseline import comparison, estimates, with_and_without
from experiments.lansdell2019.theorems import Config, experiment, measure
from plasticity_jax.layers import init_params
from plasticity_jax.networks import mlp
from plasticity_jax.run import checked
from plasticity_jax.typing import Example
from tests.laws.common import compiled


def test_comparison_of_hand_made_estimates():
    a = [np.array([[[1.0], [4.0]], [[3.0], [8.0]]])]  # two draws of two entries
    b = [np.array([[[5.0], [1.0]], [[5.0], [5.0]], [[2.0], [0.0]]])]
    z2 = [(2 - 4) ** 2 / (2 / 2 + 3 / 3), (6 - 2) ** 2 / (8 / 2 + 7 / 3)]
    numbers = comparison(a, b)
    assert numbers == {"z2": pytest.approx(sum(z2) / 2), "variance_ratio": pytest.approx((3 + 7) / (2 + 8))}


def test_estimates_with_and_without_the_clean_loss_by_hand():
    net, sigma = mlp((3, 4, 5, 2), ("tanh", "tanh", "identity")), 0.5

    def problem(key):
        params = init_params(key, net)["forward"]
        batch = Example(jax.random.normal(jax.random.fold_in(key, 1), (6, 3)), jnp.ones((6, 2)))
        return params, batch, [estimates(net, params, batch, sigma, 3, key, without) for without in (False, True)]

    weights, batch, (with_it, without) = jax.tree.map(np.asarray, compiled(problem)(jax.random.key(0)))
    h1 = np.tanh(batch.x @ weights["w"][0].T)
    h2 = np.tanh(h1 @ weights["w"][1].T)
    clean = ((h2 @ weights["w"][2].T - batch.y) ** 2).sum(1) / 2
    for draw in range(3):
        # both have the same noise, which follows from their difference
        xi1, xi2 = ((b[draw] - a[draw]) * sigma / clean[:, None] for a, b in zip(with_it, without, strict=True))
        assert 0.5 < xi1.std() < 2
        noisy = np.tanh((h1 + sigma * xi1) @ weights["w"][1].T) + sigma * xi2
        loss = ((noisy @ weights["w"][2].T - batch.y) ** 2).sum(1) / 2
        for estimate, xi in zip(without, (xi1, xi2), strict=True):
            np.testing.assert_allclose(estimate[draw], loss[:, None] * xi / sigma, rtol=1e-4, atol=1e-5)


def test_equal_and_different_means_are_distinguished():
    net, key = mlp((8, 5, 3), ("tanh", "identity")), jax.random.key(1)
    weights = init_params(key, net)["forward"]
    batch = Example(jax.random.normal(key, (16, 8)), jax.random.normal(jax.random.fold_in(key, 1), (16, 3)))
    numbers = with_and_without(net, weights, batch, 0.1, 2000, 3)
    assert 0.5 < numbers["z2"] < 1.5  # 80 entries: three standard errors
    assert numbers["variance_ratio"] > 10
    estimate = compiled(lambda key: estimates(net, weights, batch, 0.1, 2000, key, False))
    one, other = (jax.tree.map(np.asarray, estimate(jax.random.key(seed))) for seed in (1, 9))
    assert 0.5 < comparison(one, other)["z2"] < 1.5
    assert comparison([e + 0.2 * e.std() for e in one], other)["z2"] > 5


def test_claims_and_their_numbers(monkeypatch):
    def row(id, summary):
        return next(row for row in checked(experiment.claims, summary) if row["id"] == id)

    for value, holds in ((0.87, True), (1.13, True), (0.85, False), (1.15, False)):
        assert row("baseline-mean", {"baseline/z2": value})["holds"] is holds
    for value, holds in ((1.1, True), (0.9, False)):
        assert row("baseline-variance", {"baseline/variance_ratio": value})["holds"] is holds
    assert row("baseline-mean", {})["holds"] is None
    monkeypatch.setattr(theorems, "theory", lambda config: {"a/expected": np.ones(1)})
    monkeypatch.setattr(theorems, "drawn_weights", lambda draw, seed: seed)
    monkeypatch.setattr(theorems, "with_and_without", lambda net, weights, batch, sigma, draws, seed: {
        "z2": weights + seed / 10 + draws, "variance_ratio": sigma + len(batch.x)
    })  # fmt: skip
    metrics = measure(Config(seeds=2, baseline_draws=300), False)
    assert set(metrics) == {"a/expected", "baseline/z2", "baseline/variance_ratio"}
    np.testing.assert_allclose(metrics["baseline/z2"], [300, 301.1])
    np.testing.assert_allclose(metrics["baseline/variance_ratio"], [16.01, 16.01])
    summary = theorems.summarise({"baseline/z2": np.array([0.5, 1.5]), "baseline/variance_ratio": np.array([2.0, 6.0])})
    assert (summary["baseline/z2"], summary["baseline/variance_ratio"]) == (1, 4)
