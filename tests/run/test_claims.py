"""Claims and the numbers that they read: three states, Student's t, and diverged seeds."""

import math

import numpy as np
import pytest

from plasticity_jax.run import Claim, above, below, checked, gap, mean_sem, put, t_value, within
from plasticity_jax.run.summary import mean_in


def holds(claim, summary):
    (row,) = checked([claim], summary)
    return row["holds"]


def test_a_mean_its_standard_error_and_its_seeds_by_hand():
    assert mean_sem(np.array([1.0, 2.0, 4.0])) == (pytest.approx(7 / 3), pytest.approx((7 / 3) ** 0.5 / 3**0.5))
    summary = {"seeds": 4}
    put(summary, "a", np.array([1.0, np.nan, 2.0, 4.0]))
    assert summary["a"] == pytest.approx(7 / 3)
    assert summary["a_sem"] == pytest.approx((7 / 9) ** 0.5)
    assert summary["a_n"] == 3
    assert mean_in({"b": 1.0, "seeds": 4}, "b").seeds == 4
    mean, sem = mean_sem(np.array([5.0, np.inf]))
    assert mean == 5.0
    assert math.isnan(sem)
    assert all(map(math.isnan, mean_sem(np.array([np.nan]))))


def test_t_by_the_table():
    printed = {2: 12.706, 3: 4.303, 5: 2.776, 20: 2.093, 1000: 1.962}  # two-sided, 5 %
    assert {n: round(t_value(n), 3) for n in printed} == printed
    assert round(t_value(5, 0.99), 3) == 4.604
    assert math.isnan(t_value(1))


@pytest.mark.parametrize(
    ("seeds", "ratio", "expected"), [(2, 12.6, False), (2, 12.8, True), (20, 2.05, False), (20, 2.15, True)]
)
def test_a_gap_counts_by_t_with_the_seeds_number(seeds, ratio, expected):
    assert holds(gap("g", "", None, "d"), {"d": ratio, "d_sem": 1.0, "d_n": seeds}) is expected
    assert holds(gap("g", "", None, "d"), {"d": ratio, "d_sem": 1.0, "seeds": seeds}) is expected
    assert holds(gap("g", "", None, "d"), {"d": -ratio, "d_sem": 1.0, "seeds": seeds}) is False


def test_a_gap_is_the_least_of_several_and_one_seed_decides_nothing():
    summary = {"a": 5.0, "a_sem": 0.1, "b": 3.0, "b_sem": 0.1, "c": 0.1, "c_sem": 0.1, "seeds": 5}
    assert [row["measured"] for row in checked([gap("g", "", None, "a", "b")], summary)] == [3.0]
    assert holds(gap("g", "", None, "a", "b"), summary)
    assert holds(gap("g", "", None, "a", "b", "c"), summary) is False
    assert holds(gap("g", "", None, "a"), {"a": 5.0, "a_sem": math.nan, "seeds": 1}) is None
    assert holds(gap("g", "", None, "a"), {"a": 5.0, "a_sem": 0.1}) is None
    assert holds(gap("g", "", None, "a"), {"a": math.nan, "a_sem": math.nan, "a_n": 0, "seeds": 3}) is False


def test_bounds():
    summary = {"a": 2.0}
    assert holds(above("c", "", None, "a", 1.9), summary)
    assert holds(above("c", "", None, "a", 2.0), summary) is False
    assert holds(below("c", "", None, "a", 2.1), summary)
    assert holds(below("c", "", None, "a", 2.0), summary) is False
    assert [holds(within("c", "", None, "a", *ends), summary) for ends in ((1, 2), (2, 3), (2.1, 3), (1, 1.9))] == [
        True,
        True,
        False,
        False,
    ]


def test_three_states_two_kinds_and_trivial_baselines():
    summary = {"a": 2.0, "nan": math.nan, "noise": 3.0}
    claims = [
        Claim("holds", "a is above one", 1.5, lambda s: (s["a"], s["a"] > 1)),
        Claim("fails", "a is below one", None, lambda s: (np.float32(s["a"]), np.bool_(s["a"] < 1)), own=True),
        Claim("nan", "not a number", 1.0, lambda s: (s["nan"], True)),
        Claim("missing", "was not measured", 1.0, lambda s: (s["b"], True)),
        Claim("undecided", "cannot be decided", 1.0, lambda s: (s["a"], None)),
        above("also", "a is above one", None, "a", 1.0, trivial=lambda s: s["noise"] > 1.0),
        above("alone", "a is above one", None, "a", 1.0, trivial=lambda s: s["noise"] > 4.0),
        above("unknown", "a is above one", None, "a", 1.0, trivial=lambda s: s["lacking"] > 4.0),
    ]
    rows = checked(claims, summary)
    assert [row["holds"] for row in rows] == [True, False, False, None, None, True, True, True]
    assert [row["trivial"] for row in rows] == [None] * 5 + [True, False, None]
    assert [row["own"] for row in rows] == [False, True] + [False] * 6
    assert all(type(row["holds"]) in (bool, type(None)) for row in rows)
    assert rows[0]["measured"] == 2.0
    assert rows[0]["paper"] == 1.5
    assert math.isnan(rows[2]["measured"])
    assert math.isnan(rows[3]["measured"])


def test_reasons_are_those_of_the_preset_that_was_run():
    claims = [above("a", "A is high", None, "a", 1.0), above("b", "B is high", None, "b", 1.0, why="as ever")]
    claims[0] = claims[0]._replace(why={"default": "few steps", "paper": "false"})
    summary = {"a": 0.0, "b": 0.0}
    reasons = {
        preset: [row["why"] for row in checked(claims, summary, preset)] for preset in ("default", "paper", "wide")
    }
    assert reasons == {"default": ["few steps", "as ever"], "paper": ["false", "as ever"], "wide": ["", "as ever"]}
    assert [row["why"] for row in checked(claims, {"a": 2.0, "b": 2.0})] == ["", ""]
