"""Summaries made by hand, and checks of the kinds of claims on them."""

import math

import pytest

from plasticity_jax.run import checked

SEM, SEEDS = 0.3, 4
"""Three and a bit standard errors are 0.95, by t with three degrees of freedom; two would be 0.6."""


def row(claims, id, summary):
    """A claim, measured on a summary."""
    (found,) = checked([claim for claim in claims if claim.id == id], summary)
    return found


def paired(values, seeds=SEEDS):
    """A summary of means over so many seeds, by name."""
    found = dict(values)
    for name in values:
        found[f"{name}_sem"] = SEM if seeds > 1 else math.nan
        found[f"{name}_n"] = seeds
    return found


def is_put(summary, name, values):
    """Checks that a summary has the mean, standard error and number of these values under this name."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    assert summary[name] == pytest.approx(mean), name
    assert summary[f"{name}_sem"] == pytest.approx((spread / len(values)) ** 0.5), name
    assert summary[f"{name}_n"] == len(values), name


def is_gap(claims, id, *names):
    """Checks that a claim is that each of these differences, and nothing else, is above 0 by Student's t."""
    values = {name: 1.0 + k for k, name in enumerate(names)}
    found = row(claims, id, paired(values))
    assert found["holds"] is True
    assert found["measured"] == 1.0
    for name in names:
        found = row(claims, id, paired({**values, name: 0.9}))
        assert found["holds"] is False, name
        assert found["measured"] == 0.9
        assert row(claims, id, paired({other: values[other] for other in names if other != name}))["holds"] is None
    assert row(claims, id, paired(values, seeds=1))["holds"] is None


def is_not_above(claims, id, *names):
    """Checks that a claim is that none of these differences is above 0, by its standard error and by Student's t."""
    values = {name: 0.29 - k for k, name in enumerate(names)}
    found = row(claims, id, paired(values))
    assert found["holds"] is True
    assert found["measured"] == 0.29
    for name in names:
        assert row(claims, id, paired({**values, name: 0.9}))["holds"] is None, name
        found = row(claims, id, paired({**values, name: 1.0}))
        assert found["holds"] is False, name
        assert found["measured"] == 1.0
        assert row(claims, id, paired({other: values[other] for other in names if other != name}))["holds"] is None
    assert row(claims, id, paired(values, seeds=1))["holds"] is None


def is_told(claims, id, summary, changes, measured):
    """Checks that a claim holds on a summary and measures that number, but not on any of its changes."""
    found = row(claims, id, summary)
    assert found["holds"] is True
    assert math.isclose(found["measured"], measured, rel_tol=1e-12)
    for change in changes:
        assert row(claims, id, {**summary, **change})["holds"] is False, change


def is_trivial(claims, id, summary, change):
    """Checks that a trivial baseline meets a claim on a summary, and does not after a change."""
    assert row(claims, id, summary)["trivial"] is True
    assert row(claims, id, {**summary, **change})["trivial"] is False
