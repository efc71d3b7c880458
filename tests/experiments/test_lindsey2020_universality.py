"""The universality theorem of Lindsey & Litwin-Kumar: equations, decoding, summary and claims, by hand."""

import math

import numpy as np
import pytest

from experiments.lindsey2020 import universality
from experiments.lindsey2020.construction import (
    PRINTS,
    Network,
    construct,
    counted,
    decode,
    features,
    first_order,
    lived,
    product,
    width,
)
from experiments.lindsey2020.universality_claims import CLAIMS, RULES, slope, summarise
from tests.experiments.by_hand import is_gap, is_told, is_trivial, row

J, D = 2, 2


def test_features_by_hand():
    assert width(J, D) == 13
    assert features(np.array(1), J, D).tolist() == [0, 0, 1, *[0] * 8, 0, 1]
    assert features(np.array(0), J, D).tolist() == [0, 1, 0, *[0] * 8, 1, 0]


@pytest.mark.parametrize("slips", PRINTS)
def test_the_products_of_the_matrices_are_the_detectors(slips):
    network, epsilon = construct(J, D, 0.1, slips), 0.1
    layers = J**2 if slips in ("layers", "printed") else J**2 + 1
    assert (len(network.w), sum(network.plastic), len(network.b)) == (layers, J**2, layers)
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)][: layers - 1]
    for i, pair in enumerate(pairs, 1):
        for x in range(J):
            detected = product(network.w[i:], 13) @ features(np.array(x), J, D)
            expected = epsilon * features(np.array(x), J, D)
            expected[0] += x in pair
            expected[-J:] += (np.arange(J) == x) * (slips in ("block", "printed"))
            np.testing.assert_allclose(detected, expected, atol=1e-12)
    for i, back in enumerate(network.b[: J**2]):
        assert np.argwhere(back).tolist() == [[3 + 2 * i, 0], [4 + 2 * i, 1]]


@pytest.mark.parametrize("rule", RULES)
def test_equation_3_is_a_life_to_first_order(rule):
    """Derivative of a life by alpha, for random matrices and feedback, and presynaptic activity after feedback."""
    rng = np.random.default_rng(0)
    network = Network([rng.random((4, 4)) for _ in range(3)], [rng.random((4, 2)) for _ in range(3)], [True] * 3)
    x, y, queries = rng.random((2, 4)), np.eye(2), rng.random((3, 4))
    at = {alpha: lived(network, alpha, x, y, queries, rule, True)[-1] for alpha in (1e-5, -1e-5)}
    expected = first_order(network, 1.0, x, y, queries, rule) - first_order(network, 0.0, x, y, queries, rule)
    np.testing.assert_allclose((at[1e-5] - at[-1e-5]) / 2e-5, expected, rtol=1e-6)
    other = first_order(network, 1.0, x, y, queries, "hebb" if rule == "oja" else "oja")
    assert np.abs(first_order(network, 1.0, x, y, queries, rule) - other).min() > 1e-2


def test_the_last_layer_alone_in_plain_numpy():
    """Two examples, one matrix, Oja's rule: no expansion, the rule itself."""
    w, b, alpha = np.array([[0.5, 0.2], [0.1, 0.3]]), np.array([[1.0, 0.5], [0.2, 0.7]]), 0.1
    x, y, queries = np.array([[1.0, 2.0], [0.5, 0.1]]), np.eye(2), np.array([[1.0, 1.0]])
    outputs = lived(Network([w], [b], [True]), alpha, x, y, queries, "oja", True)
    for k in range(2):
        post = b @ y[k]
        w = w + alpha * (np.outer(post, x[k]) - (post**2)[:, None] * w)
        np.testing.assert_allclose(outputs[k, 0], w @ queries[0], rtol=1e-6)


def test_decoding_by_hand():
    """Slots of the theorem: (j, l) counts the x in {j, l} if the query is in it."""
    network, alpha = construct(J, D, 0.1), 0.5
    counts, query = np.array([[3, 1], [0, 2]]), 1
    slots = np.zeros((J, J, D))
    for j in range(J):
        for m in range(J):
            if query in (j, m):
                slots[j, m] = counts[j] if j == m else counts[j] + counts[m]
    z = product(network.w, 13) @ features(np.array(query), J, D)
    z[3:11] += alpha * slots.ravel()
    read, decoded = decode(z[None, None], network, alpha, J)
    assert read.tolist() == [[query]]
    np.testing.assert_allclose(decoded[0, 0], counts, atol=1e-12)


def test_counts_by_hand():
    counts = counted(np.array([0, 1, 0]), np.array([1, 1, 1]), 2, 2)
    assert counts.tolist() == [[[0, 1], [0, 0]], [[0, 1], [0, 1]], [[0, 2], [0, 1]]]


def test_a_wrong_query_is_an_infinite_error(monkeypatch):
    monkeypatch.setattr(universality, "lived", lambda *args: np.zeros((5, J, 13)))
    monkeypatch.setattr(universality, "decode", lambda *args: (np.zeros((5, J), int), np.zeros((5, J, J, D))))
    errors = universality.life_errors(construct(J, D, 0.1), 0.1, 2, 5, J, "hebb")
    assert errors.shape == (2, 5, J)
    assert np.isinf(errors[:, :, 1]).all()
    assert (errors[0, :, 0] == counted(*universality.drawn(0, 5, J, D), J, D).max((1, 2))).all()


def test_the_smoother_by_loops():
    x, y, queries, weight = np.array([0.1, 0.5]), np.array([1.0, 3.0]), np.array([0.2, 0.4]), np.array([[1, 2], [0, 1]])
    estimates = universality.smoother(x, y, queries, weight)
    for q in range(2):
        kernel = [weight[q, k] * math.exp(-((queries[q] - x[k]) ** 2) / (2 * 0.15**2)) for k in range(2)]
        assert estimates[q] == pytest.approx(
            sum(k * v for k, v in zip(kernel, y, strict=True)) / sum(kernel), rel=1e-12
        )


def test_slopes_are_of_the_two_smallest():
    x = np.array([1.0, 0.1, 0.01])
    assert slope(x, np.array([[5.0, 0.1**2, 0.01**2]])) == pytest.approx([2.0])
    assert slope(x[::-1], np.array([[0.01**3, 0.1**3, 7.0]])) == pytest.approx([3.0])


def metrics_by_hand():
    rng = np.random.default_rng(1)
    metrics = {"values/J": np.array([2, 3]), "alpha/alpha": np.array([1e-2, 1e-3]), "smoother/J": np.array([2, 5])}
    metrics["epsilon/epsilon"] = np.array([1e-1, 1e-2])
    for rule in RULES:
        metrics[f"values/{rule}/error"] = rng.random((3, 4, 2))
        metrics[f"shields/{rule}/error"] = rng.random((3, 4))
        metrics[f"equations/{rule}/rest"] = rng.random((3, 2))
    metrics |= {f"print/{slips}/error": rng.random((3, 4, 2)) for slips in PRINTS}
    metrics |= {f"smoother/{name}": rng.random((3, 2)) for name in ("flp", "binned", "mean")}
    return {**metrics, "untrained/error": rng.random((3, 4)), "epsilon/error": rng.random((3, 2))}


def test_the_summary_by_hand():
    metrics = metrics_by_hand()
    summary = summarise(metrics)
    for rule in RULES:
        errors = metrics[f"values/{rule}/error"]
        assert summary[f"right/{rule}"] == pytest.approx(np.mean([e < 0.5 for e in errors.ravel()]))
        assert summary[f"error/{rule}/3"] == pytest.approx(sum(errors[s, 3, 1] for s in range(3)) / 3)
        rest = metrics[f"equations/{rule}/rest"]
        expected = sum(math.log10(rest[s, 0] / rest[s, 1]) for s in range(3)) / 3
        assert summary[f"exponent/equations/{rule}"] == pytest.approx(expected)
    for slips in PRINTS:
        expected = np.mean([e < 0.5 for e in metrics[f"print/{slips}/error"].ravel()])
        assert summary[f"right/print/{slips}"] == pytest.approx(expected)
    flp, mean = metrics["smoother/flp"], metrics["smoother/mean"]
    assert summary["gap/smoother/coarse-fine"] == pytest.approx(sum(flp[s, 0] - flp[s, 1] for s in range(3)) / 3)
    assert summary["gap/smoother/mean-flp"] == pytest.approx(sum(mean[s, 1] - flp[s, 1] for s in range(3)) / 3)
    worst = [max(abs(flp[s, k] - metrics["smoother/binned"][s, k]) for k in range(2)) for s in range(3)]
    assert summary["smoother/beyond"] == pytest.approx(sum(worst) / 3)


def test_a_count_that_is_not_a_number_is_neither_right_nor_wrong():
    metrics = metrics_by_hand()
    for slips in PRINTS:
        metrics[f"print/{slips}/error"][:, 2, 1] = math.nan
    summary = summarise(metrics)
    assert all(math.isnan(summary[f"right/print/{slips}"]) for slips in PRINTS)
    for id in ("as_printed", "block_alone", "layers_alone"):
        assert row(CLAIMS, id, summary)["holds"] is False


def test_claims_by_hand():
    for id, names in (
        ("training_set_is_read", ["right/hebb", "right/oja"]),
        ("as_printed", ["right/print/printed"]),
        ("shielded", ["shields/hebb/right", "shields/oja/right"]),
    ):
        summary = {**dict.fromkeys(names, 1.0), "right/untrained": 1.0}
        is_told(CLAIMS, id, summary, [{name: 0.99} for name in names], 1.0)
        is_trivial(CLAIMS, id, summary, {"right/untrained": 0.5})
    for slips in ("block", "layers"):
        is_told(CLAIMS, f"{slips}_alone", {f"right/print/{slips}": 0.9}, [{f"right/print/{slips}": 1.0}], 0.9)
    exponents = {f"exponent/equations/{rule}": 2.05 for rule in RULES}
    changes = [{name: value} for name in exponents for value in (1.8, 2.2)]
    is_told(CLAIMS, "equations", exponents, changes, 2.05)
    is_told(CLAIMS, "epsilon", {"exponent/epsilon": 2.0}, [{"exponent/epsilon": value} for value in (1.8, 2.2)], 2.0)
    is_gap(CLAIMS, "any_precision", "gap/smoother/coarse-fine")
    is_gap(CLAIMS, "better_than_mean", "gap/smoother/mean-flp")
    is_told(CLAIMS, "only_bins_cost", {"smoother/beyond": 1e-7}, [{"smoother/beyond": 1e-5}], 1e-7)
    assert {claim.id for claim in CLAIMS if not claim.own} == {
        "training_set_is_read", "as_printed", "shielded", "equations", "any_precision",
    }  # fmt: skip
