"""Metrics with distinct entries, summaries computed entry by entry, and checks of claims on made-up numbers."""

import math
import zlib

import numpy as np

from plasticity_jax.run import checked

N, SEMS = 4, 3.182446
"""Number of seeds, and half the width of their 95 % interval in standard errors (Student's t; not 2)."""


def entries(name, *shape, low=0.1, high=0.9):
    """Values that differ between names."""
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(low, high, shape)


def means(columns):
    """Mean, standard error and number of the seeds that did not diverge, by name."""
    summary = {}
    for name, column in columns.items():
        finite = [float(value) for value in column if math.isfinite(value)]
        mean = sum(finite) / len(finite)
        squares = sum((value - mean) ** 2 for value in finite)
        summary[name], summary[f"{name}_n"] = mean, len(finite)
        summary[f"{name}_sem"] = math.sqrt(squares / (len(finite) - 1) / len(finite)) if len(finite) > 1 else math.nan
    return summary


def is_summary(summary, columns, numbers=()):
    """Checks that a summary has exactly these means over seeds and these numbers."""
    expected = means(columns) | dict(numbers)
    assert summary.keys() == expected.keys(), sorted(summary.keys() ^ expected.keys())
    for name, value in expected.items():
        np.testing.assert_allclose(summary[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def measurement(claims, id, summary):
    """Measured number of a claim on a summary, and whether the claim holds."""
    row = checked([claim for claim in claims if claim.id == id], summary)[0]
    return row["measured"], row["holds"]


def over_seeds(values, sem=0.1, seeds=N):
    """Summary with these means."""
    summary = {}
    for name, value in values.items():
        summary |= {name: value, f"{name}_sem": sem if seeds > 1 else math.nan, f"{name}_n": seeds}
    return summary


def places(low, high):
    """Unit of an interval, its middle, and its finite ends with the sign of the direction inwards."""
    whole = math.isfinite(high - low)
    unit = high - low if whole else 1.0
    middle = (low + high) / 2 if whole else low + unit if math.isinf(high) else high - unit
    return unit, middle, [(end, sign) for end, sign in ((low, 1), (high, -1)) if math.isfinite(end)]


def are_sure(claims, table):
    """Checks that each claim, (low, high, *names), holds if the 95 % intervals of exactly its means are inside."""
    for id, (low, high, *names) in table.items():
        unit, middle, ends = places(low, high)
        inside = dict.fromkeys(names, middle)
        assert measurement(claims, id, over_seeds(inside, unit / 10))[1] is True, id
        for end, sign in ends:
            for name in names:
                for share, holds in ((1.01, True), (0.99, False)):
                    value = end + sign * share * SEMS * unit / 10
                    result = measurement(claims, id, over_seeds({**inside, name: value}, unit / 10))
                    assert result == (value, holds), (id, name, result)
        for name in names:
            others = {other: middle for other in names if other != name}
            assert measurement(claims, id, over_seeds(others, unit / 10))[1] is None, (id, name)
            assert measurement(claims, id, over_seeds({**others, name: math.nan}, unit / 10))[1] is False, (id, name)
        assert measurement(claims, id, over_seeds(inside, seeds=1)) == (middle, None), id


def are_between(claims, table):
    """Checks that each claim, (low, high, closed, *names), holds if exactly its numbers are inside."""
    for id, (low, high, closed, *names) in table.items():
        unit, middle, ends = places(low, high)
        inside = dict.fromkeys(names, middle)
        assert measurement(claims, id, inside) == (middle, True), id
        for end, sign in ends:
            aside = sign * (unit or 1) / 1000
            for value, holds in ((end, closed), (end - aside, False), (end + aside, True))[: 3 if unit else 2]:
                for name in names:
                    assert measurement(claims, id, {**inside, name: value}) == (value, holds), (id, name, value)
        for name in names:
            others = {other: middle for other in names if other != name}
            assert measurement(claims, id, others)[1] is None, (id, name)
            assert measurement(claims, id, {**others, name: math.nan})[1] is False, (id, name)


def are_cases(claims, cases):
    """Checks claims by id on a list of (summary, measured, holds)."""
    for id, each in cases.items():
        assert {True, False} <= {holds for *_, holds in each}, id
        for summary, value, holds in each:
            result = measurement(claims, id, summary)
            assert result[1] is holds, (id, summary, result)
            np.testing.assert_allclose(result[0], value, rtol=1e-12, err_msg=id)


def are_trivial(claims, baselines, intervals):
    """Checks that a baseline meets a claim with the first summary's numbers, and not with any further summary's.

    Args:
      claims: the experiment's claims.
      baselines: summaries by id, for every claim with a trivial baseline.
      intervals: (low, high, *names) by id, for the numbers that the claims read.
    """
    assert {claim.id for claim in claims if claim.trivial is not None} == set(baselines)
    for id, (meeting, *failing) in baselines.items():
        low, high, *names = intervals[id]
        own = over_seeds({name: places(low, high)[1] for name in names if isinstance(name, str)})
        for numbers, expected in ((meeting, True), *(({**meeting, **change}, False) for change in failing)):
            row = checked([claim for claim in claims if claim.id == id], {**own, **numbers})[0]
            assert row["trivial"] is expected, (id, numbers)
