"""Metrics whose every entry differs, summaries worked out entry by entry, and claims on numbers made by hand."""

import math
import zlib

import numpy as np

from plasticity_jax.run import checked

N, SEMS = 4, 3.182446
"""Seeds, and the standard errors that half of their 95 % interval spans (a table of Student's t); not 2."""


def entries(name, *shape, low=0.1, high=0.9):
    """Values that no other name has."""
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(low, high, shape)


def means(columns):
    """Mean, standard error and number of the seeds that did not diverge, by name."""
    found = {}
    for name, column in columns.items():
        kept = [float(value) for value in column if math.isfinite(value)]
        mean = sum(kept) / len(kept)
        squares = sum((value - mean) ** 2 for value in kept)
        found[name], found[f"{name}_n"] = mean, len(kept)
        found[f"{name}_sem"] = math.sqrt(squares / (len(kept) - 1) / len(kept)) if len(kept) > 1 else math.nan
    return found


def is_summary(found, columns, numbers=()):
    """Checks that a summary has these means over seeds and these numbers, and nothing else."""
    expected = means(columns) | dict(numbers)
    assert found.keys() == expected.keys(), sorted(found.keys() ^ expected.keys())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def measured(claims, id, summary):
    """What a claim measures on a summary, and whether it holds."""
    row = checked([claim for claim in claims if claim.id == id], summary)[0]
    return row["measured"], row["holds"]


def over_seeds(values, sem=0.1, seeds=N):
    """A summary with these means."""
    found = {}
    for name, value in values.items():
        found |= {name: value, f"{name}_sem": sem if seeds > 1 else math.nan, f"{name}_n": seeds}
    return found


def places(low, high):
    """A unit of an interval, its middle, and its ends each with the direction that leads inside."""
    whole = math.isfinite(high - low)
    unit = high - low if whole else 1.0
    middle = (low + high) / 2 if whole else low + unit if math.isinf(high) else high - unit
    return unit, middle, [(end, sign) for end, sign in ((low, 1), (high, -1)) if math.isfinite(end)]


def are_sure(claims, table):
    """Checks that each claim, (low, high, *names), is that the 95 % intervals of its means, no others, are inside."""
    for id, (low, high, *names) in table.items():
        unit, middle, ends = places(low, high)
        inside = dict.fromkeys(names, middle)
        assert measured(claims, id, over_seeds(inside, unit / 10))[1] is True, id
        for end, sign in ends:
            for name in names:
                for share, holds in ((1.01, True), (0.99, False)):
                    value = end + sign * share * SEMS * unit / 10
                    found = measured(claims, id, over_seeds({**inside, name: value}, unit / 10))
                    assert found == (value, holds), (id, name, found)
        for name in names:
            others = {other: middle for other in names if other != name}
            assert measured(claims, id, over_seeds(others, unit / 10))[1] is None, (id, name)
            assert measured(claims, id, over_seeds({**others, name: math.nan}, unit / 10))[1] is False, (id, name)
        assert measured(claims, id, over_seeds(inside, seeds=1)) == (middle, None), id


def are_between(claims, table):
    """Checks that each claim, (low, high, closed, *names), is that all its numbers and no others are inside."""
    for id, (low, high, closed, *names) in table.items():
        unit, middle, ends = places(low, high)
        inside = dict.fromkeys(names, middle)
        assert measured(claims, id, inside) == (middle, True), id
        for end, sign in ends:
            aside = sign * (unit or 1) / 1000
            for value, holds in ((end, closed), (end - aside, False), (end + aside, True))[: 3 if unit else 2]:
                for name in names:
                    assert measured(claims, id, {**inside, name: value}) == (value, holds), (id, name, value)
        for name in names:
            others = {other: middle for other in names if other != name}
            assert measured(claims, id, others)[1] is None, (id, name)
            assert measured(claims, id, {**others, name: math.nan})[1] is False, (id, name)


def are_cases(claims, cases):
    """Checks claims by id on summaries one by one: (summary, measured, holds)."""
    for id, each in cases.items():
        assert {True, False} <= {holds for *_, holds in each}, id
        for summary, value, holds in each:
            found = measured(claims, id, summary)
            assert found[1] is holds, (id, summary, found)
            np.testing.assert_allclose(found[0], value, rtol=1e-12, err_msg=id)


def are_trivial(claims, baselines, told):
    """Checks which numbers of baselines meet a claim: those of the first summary do, those of any further one do not.

    Args:
      claims: of the experiment.
      baselines: summaries by id of every claim that has a trivial baseline.
      told: what the claims read, by id: intervals of means and of numbers.
    """
    assert {claim.id for claim in claims if claim.trivial is not None} == set(baselines)
    for id, (met, *unmet) in baselines.items():
        low, high, *names = told[id]
        own = over_seeds({name: places(low, high)[1] for name in names if isinstance(name, str)})
        for numbers, wanted in ((met, True), *(({**met, **change}, False) for change in unmet)):
            row = checked([claim for claim in claims if claim.id == id], {**own, **numbers})[0]
            assert row["trivial"] is wanted, (id, numbers)
