"""Tuning of Table 2 of Lindsey & Litwin-Kumar: held-out characters, settings, summary and claims, by hand."""

import dataclasses

import numpy as np
import pytest

from experiments.lindsey2020 import table2, table2_tuning
from experiments.lindsey2020.banks import Bank
from experiments.lindsey2020.table2_summary import METHODS
from experiments.lindsey2020.table2_tuning import OWN, Factors, split, summarise, text
from plasticity_jax.run import Program
from tests.experiments.by_hand import is_told, row


def test_the_last_classes_are_held_out():
    images = np.arange(24).reshape(24, 1, 1, 1)
    learn, judge = split(Bank(images, 6, 4), 2)
    assert (learn.classes, judge.classes, learn.per_class, judge.per_class) == (4, 2, 4, 4)
    assert learn.images.ravel().tolist() == list(range(16))
    assert judge.images.ravel().tolist() == list(range(16, 24))
    with pytest.raises(ValueError, match="leaves 2 of 6"):
        split(Bank(images, 6, 4), 4)


@pytest.mark.parametrize("method", METHODS)
def test_two_fields_of_each_learner_are_moved(monkeypatch, method):
    calls, base = [], dataclasses.replace(table2.PRESETS["smoke"], **table2_tuning.BEFORE)
    sweeps = []

    def learned(config, name, learn, judge):
        calls.append((config, name, learn.classes, judge.classes))
        return Program(lambda lane: lane, lambda state: (state, {}), 1, 1, 1), lambda state, order: {"at": order}

    monkeypatch.setattr(table2_tuning.table2, "learned", learned)
    monkeypatch.setattr(table2_tuning, "swept", lambda make, each: sweeps.append((make, each)))
    monkeypatch.setattr(table2_tuning, "evaluated", lambda program, tried: tried)
    config = dataclasses.replace(table2_tuning.PRESETS["smoke"], methods=(method,), rates=(0.5, 1.0, 2.0))
    table2_tuning.make_parts(config)
    ((make, each),) = sweeps
    np.testing.assert_allclose(each.rate, [0.5] * 3 + [1.0] * 3 + [2.0] * 3)
    np.testing.assert_allclose(each.drive, [0.5, 1.0, 2.0] * 3)
    metrics = make(Factors(2.0, 0.5))("state")
    (rate, drive), ((changed, name, learned_from, judged_by),) = OWN[method], calls
    assert (name, learned_from, judged_by) == (method, 7, 5)
    expected = {rate: 2 * getattr(base, rate), drive: 0.5 * getattr(base, drive)}
    assert {key: getattr(changed, key) for key in expected} == expected
    rest = dataclasses.replace(changed, **{key: getattr(base, key) for key in expected})
    assert rest == dataclasses.replace(base, episodes=2, points=1, lifetimes=2)
    assert metrics["at"] == 0
    np.testing.assert_allclose([metrics["rate"], metrics["drive"]], list(expected.values()), rtol=1e-6)


@pytest.fixture
def _at(monkeypatch):
    """Table 2's rates are those of the numbers by hand."""
    present = dataclasses.replace(table2.PRESETS["default"], rate=0.1, alpha_rate=2.0)
    monkeypatch.setitem(table2.PRESETS, "default", present)


def metrics_by_hand():
    errors = np.array([[30.0, 25.0, 40.0], [32.0, 21.0, 20.5]])  # means 31, 23, 30.25
    metrics = {"flp2/test": np.stack([90 + 0 * errors, errors], 1)}
    for name, values in (("rate", [0.1, 0.1, 0.1]), ("drive", [1.0, 2.0, 3.0])):
        metrics[f"flp2/{name}"] = np.broadcast_to(values, (2, 2, 3))
    return {**metrics, "flp2/episode": np.full((2, 2, 3), 7.0)}


@pytest.mark.usefixtures("_at")
def test_the_summary_by_hand():
    summary = summarise(metrics_by_hand())
    assert summary["flp2/0.1/1"] == 31
    assert (summary["best/flp2"], summary["best/flp2/drive"], summary["best/flp2/rate"]) == (23, 2.0, 0.1)
    assert (summary["cost/flp2"], summary["inside/flp2"]) == (0, 1)
    moved = metrics_by_hand()
    moved["flp2/test"][:, 1, 0] = 20.0
    summary = summarise(moved)
    assert (summary["best/flp2/drive"], summary["cost/flp2"], summary["inside/flp2"]) == (1.0, 3.0, 0)
    moved["flp2/test"][0, 1, 0] = np.nan
    assert summarise(moved)["best/flp2/drive"] == 2.0
    assert "| FLP (2) | 0.1 | 2 | 23.0 | 0.0 |" in text(metrics_by_hand())


def test_a_present_setting_that_was_not_tried_costs_nobody_knows_what():
    assert "cost/flp2" not in summarise(metrics_by_hand())
    assert "| FLP (2) | 0.1 | 2 | 23.0 | not tried |" in text(metrics_by_hand())


def test_claims_by_hand():
    claims = table2_tuning.experiment.claims
    assert len(claims) == 6
    assert all(claim.own for claim in claims)
    for method in METHODS:
        is_told(claims, f"settled_{method}", {f"cost/{method}": 1.0}, [{f"cost/{method}": 1.1}], 1.0)
    assert row(claims, "settled_oml", {})["holds"] is None
    all_inside = {f"inside/{method}": 1.0 for method in METHODS}
    is_told(claims, "bracketed", all_inside, [all_inside | {"inside/oml": 0.0}], 5.0)


def test_factors_have_a_middle():
    for change in ({"rates": (0.5, 2.0)}, {"drives": (1.0, 2.0, 3.0)}, {"rates": (2.0, 1.0, 0.5)}, {"methods": ("a",)}):
        with pytest.raises(ValueError, match=next(iter(change))):
            table2_tuning.Config(**change)
