"""Metrics without equal entries, and checks of summaries and of claims on numbers made by hand."""

import math
import zlib

import numpy as np

from plasticity_jax.run import checked

SEM, N = 0.2, 4
"""Standard error and seeds. With three degrees of freedom, t puts the bound at 3.18 standard errors, 0.64."""


def entries(name, *shape, low=0.1, high=0.9):
    """Random values, others for each name."""
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(low, high, shape)


def means(values):
    """Numbers that `put` makes of seeds' values, by name, computed by hand; NaN is a seed that diverged."""
    summary = {}
    for name, column in values.items():
        finite = [float(value) for value in column if math.isfinite(value)]
        mean = sum(finite) / len(finite)
        variance = sum((value - mean) ** 2 for value in finite) / (len(finite) - 1)
        summary |= {name: mean, f"{name}_sem": math.sqrt(variance / len(finite)), f"{name}_n": len(finite)}
    return summary


def is_summary(summary, columns, numbers=()):
    """Checks that a summary has these means over seeds and these numbers, and nothing else."""
    expected = means(columns) | dict(numbers)
    assert summary.keys() == expected.keys(), summary.keys() ^ expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(summary[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def put_by_hand(values, seeds=N):
    """A summary with these means."""
    summary = {}
    for name, value in values.items():
        summary |= {name: value, f"{name}_sem": SEM if seeds > 1 else math.nan, f"{name}_n": seeds}
    return summary


def row(claims, id, summary):
    """A claim, measured on a summary."""
    return checked([claim for claim in claims if claim.id == id], summary)[0]


def are_gaps(claims, table):
    """Checks that each claim holds if all its differences, and no others, are above 0 by Student's t."""
    for id, names in table.items():
        values = {name: 0.7 + 0.1 * i for i, name in enumerate(names)}
        result = row(claims, id, put_by_hand(values))
        assert (result["holds"], result["measured"]) == (True, 0.7), id
        for name in names:
            result = row(claims, id, put_by_hand({**values, name: 0.6}))
            assert (result["holds"], result["measured"]) == (False, 0.6), (id, name)
            assert row(claims, id, put_by_hand({other: 1.0 for other in names if other != name}))["holds"] is None
        assert row(claims, id, put_by_hand(values, seeds=1))["holds"] is None, id


def are_bounded(claims, table):
    """Checks that each claim, (low, high, names), holds if all its numbers, and no others, lie in the interval."""
    for id, (low, high, *names) in table.items():
        middle = low + 1.0 if math.isinf(high) else high - 1.0 if math.isinf(low) else (low + high) / 2
        inside = dict.fromkeys(names, middle)
        for bound, beyond in ((low, low - 0.001), (high, high + 0.001)):
            if math.isinf(bound):
                continue
            for name in names:
                result = row(claims, id, {**inside, name: bound})
                assert (result["holds"], result["measured"]) == (True, bound), (id, name)
                result = row(claims, id, {**inside, name: beyond})
                assert (result["holds"], result["measured"]) == (False, beyond), (id, name)
        for name in names:
            assert row(claims, id, {**inside, name: math.nan})["holds"] is False, (id, name)
            assert row(claims, id, {other: middle for other in names if other != name})["holds"] is None, (id, name)


def are_trivial(claims, table, summary_of):
    """Checks which summaries let a trivial baseline meet a claim.

    Args:
      claims: of the experiment.
      table: by id of every claim with a baseline, names of the gaps that decide if the baseline meets it; or numbers by
        which the baseline meets the claim, and then changes of them, each of which undoes that.
      summary_of: ``id -> a summary on which the claim itself is decided``.
    """
    assert {claim.id for claim in claims if claim.trivial is not None} == set(table)
    for id, case in table.items():
        if isinstance(case[0], str):
            met, unmet = put_by_hand(dict.fromkeys(case, 0.7)), [put_by_hand({name: 0.6}) for name in case]
        else:
            met, *unmet = case
        assert row(claims, id, {**summary_of(id), **met})["trivial"] is True, id
        for change in unmet:
            assert row(claims, id, {**summary_of(id), **met, **change})["trivial"] is False, (id, change)


def decidable(gaps, bounded):
    """``id -> a summary on which the claim is decided``, from the tables of both kinds."""

    def summary(id):
        if id in gaps:
            return put_by_hand(dict.fromkeys(gaps[id], 1.0))
        return dict.fromkeys(bounded[id][2:], 0.0)

    return summary
