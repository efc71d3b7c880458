"""Claims and tables that the papers' experiments share, by hand."""

import math

import numpy as np
import pytest

from experiments.lansdell2019.common import check_schedule, unless_diverged, whole_seeds
from experiments.shared.claims import INF, beyond, every, explained, throughout
from experiments.shared.curves import mean_and_error
from plasticity_jax.run import above, checked


def row(claim, summary):
    (measured_claim,) = checked([claim], summary)
    return measured_claim["measured"], measured_claim["holds"]


@pytest.mark.parametrize(
    ("low", "high", "values", "measured", "holds"),
    [
        (0.9, 1.1, (1.0, 0.93, 1.02), 0.93, True),
        (0.9, 1.1, (1.0, 0.95, 1.08), 1.08, True),
        (0.9, 1.1, (1.0, 0.85, 1.3), 1.3, False),
        (0.9, 1.1, (1.0, 0.6, 1.3), 0.6, False),
        (-INF, 0.05, (0.01, 0.04, -3.0), 0.04, True),
        (-INF, 0.05, (0.01, 0.05, -3.0), 0.05, False),
        (0.3, INF, (0.31, 7.0, 0.5), 0.31, True),
        (0.3, INF, (0.3, 7.0, 0.5), 0.3, False),
    ],
)
def test_every_number_that_the_patterns_name_is_within_the_bounds(low, high, values, measured, holds):
    summary = dict(zip(("a.x/W2", "a.y/W2", "b/W3"), values, strict=True)) | {"a.x/W2_sem": 99.0, "c/W2": -99.0}
    claim = every("id", "", None, low, high, "a.*/W2", "b/W3")
    assert row(claim, summary) == (measured, holds)


def test_a_pattern_without_numbers_was_not_run_and_what_is_no_number_does_not_hold():
    claim = every("id", "", None, 0, 1, "a.*", "b")
    measured, holds = row(claim, {"a.x": 0.5})
    assert math.isnan(measured)
    assert holds is None
    for values in ((0.5, math.nan, 0.2), (math.nan, 0.5, 0.2), (0.5, 0.2, math.nan)):
        measured, holds = row(claim, dict(zip(("a.x", "a.y", "b"), values, strict=True)))
        assert math.isnan(measured)
        assert holds is False


def test_reasons_are_put_on_the_claims_that_they_name_and_shown_where_those_do_not_hold():
    claims = [above(name, f"{name} is high", 2.0, name, 1.0, why="own") for name in "abc"]
    with_reasons = explained(claims, {"a": "few steps", "c": {"paper": "few seeds"}})
    assert [claim.why for claim in with_reasons] == [{"default": "few steps"}, "own", {"paper": "few seeds"}]
    assert [claim._replace(why="own") for claim in with_reasons] == claims
    low, high = {"a": 0.5, "b": 0.5, "c": 0.5}, {"a": 0.5, "b": 0.5, "c": 1.5}
    assert [row["why"] for row in checked(with_reasons, high)] == ["few steps", "own", ""]
    assert [row["why"] for row in checked(with_reasons, low, "paper")] == ["", "own", "few seeds"]
    assert throughout("so") == {"default": "so", "long": "so", "wide": "so", "paper": "so"}


@pytest.mark.parametrize("why", [{"b": "few steps"}, {"a": "few steps", "b": ""}])
def test_a_reason_for_a_claim_that_is_not_there_is_refused(why):
    with pytest.raises(ValueError, match=r"there is no b$"):
        explained([above("a", "A is high", None, "a", 1.0)], why)


@pytest.mark.parametrize(("value", "sign", "level", "sure"), [
    (4.4, 1, 0, True), (4.2, 1, 0, False), (-4.4, 1, 0, False), (-4.4, -1, 0, True), (14.4, 1, 10, True),
    (14.2, 1, 10, False), (5.6, -1, 10, True), (5.8, -1, 10, False), (14.4, -1, 10, False),
])  # fmt: skip
def test_surely_counts_by_t_of_three_seeds(value, sign, level, sure):  # t is 4.303
    summary = {"a": value, "a_sem": 1.0, "a_n": 3, "seeds": 20}
    assert beyond(summary, sign, "a", level) is sure
    assert not beyond({"a": value, "a_sem": math.nan, "a_n": 1}, sign, "a", level)


def test_seeds_that_diverged_are_no_number_and_are_counted():
    loss = np.array([[1.0, 2.0], [np.nan, 3.0], [1.0, np.inf], [1.0, np.nan]], np.float32)
    values = unless_diverged(np.array([5.0, 6.0, 7.0, 8.0], np.float32), loss)
    np.testing.assert_array_equal(values, [5.0, 6.0, np.nan, np.nan])
    assert values.dtype == np.float32
    assert whole_seeds(loss) == "2 of 4"


def test_points_fall_on_equal_numbers_of_steps():
    check_schedule(3, 60)
    for points in (7, 0):
        with pytest.raises(ValueError, match=f"points={points} must divide the 3000 steps"):
            check_schedule(3, points)


def test_mean_and_error_of_curves_leave_out_what_diverged():
    curves = np.array([[1.0, 5.0, np.nan], [2.0, np.nan, np.inf], [4.0, np.nan, np.nan]])
    mean, error = mean_and_error(curves)
    np.testing.assert_allclose(mean, [7 / 3, 5.0, np.nan])
    np.testing.assert_allclose(error[0], (7 / 3) ** 0.5 / 3**0.5)  # squares 16/9, 1/9, 25/9 over 2, over 3 seeds
    assert error[1] == 0.0
