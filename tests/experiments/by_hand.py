"""Summaries made by hand, and checks of the kinds of claims on them."""

import math

import pytest

from plasticity_jax.run import checked

SEM, SEEDS = 0.3, 4
"""With three degrees of freedom a mean is clearly above 0 by t from 0.95 on; two standard errors would be 0.6."""


def row(claims, id, summary):
    """A claim, measured on a summary."""
    (measured_claim,) = checked([claim for claim in claims if claim.id == id], summary)
    return measured_claim


def paired(values, seeds=SEEDS):
    """A summary of means over so many seeds, by name."""
    summary = dict(values)
    for name in values:
        summary[f"{name}_sem"] = SEM if seeds > 1 else math.nan
        summary[f"{name}_n"] = seeds
    return summary


def is_put(summary, name, values):
    """Checks that a summary has the mean, standard error and number of these values under this name."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    assert summary[name] == pytest.approx(mean), name
    assert summary[f"{name}_sem"] == pytest.approx((spread / len(values)) ** 0.5), name
    assert summary[f"{name}_n"] == len(values), name


def is_gap(claims, id, *names):
    """Checks that a claim holds if and only if each of these differences is above 0 by Student's t."""
    values = {name: 1.0 + k for k, name in enumerate(names)}
    measured_claim = row(claims, id, paired(values))
    assert measured_claim["holds"] is True
    assert measured_claim["measured"] == 1.0
    for name in names:
        measured_claim = row(claims, id, paired({**values, name: 0.9}))
        assert measured_claim["holds"] is False, name
        assert measured_claim["measured"] == 0.9
        assert row(claims, id, paired({other: values[other] for other in names if other != name}))["holds"] is None
    assert row(claims, id, paired(values, seeds=1))["holds"] is None


def is_not_above(claims, id, *names):
    """Checks that a claim holds if no difference exceeds its standard error, and fails if one is above 0 by t."""
    values = {name: 0.29 - k for k, name in enumerate(names)}
    measured_claim = row(claims, id, paired(values))
    assert measured_claim["holds"] is True
    assert measured_claim["measured"] == 0.29
    for name in names:
        assert row(claims, id, paired({**values, name: 0.9}))["holds"] is None, name
        measured_claim = row(claims, id, paired({**values, name: 1.0}))
        assert measured_claim["holds"] is False, name
        assert measured_claim["measured"] == 1.0
        assert row(claims, id, paired({**values, name: math.nan}))["holds"] is False, name
        assert row(claims, id, paired({other: values[other] for other in names if other != name}))["holds"] is None
    assert row(claims, id, paired(values, seeds=1))["holds"] is None


def is_told(claims, id, summary, changes, measured):
    """Checks that a claim holds on a summary and measures that number, but not on any of its changes."""
    measured_claim = row(claims, id, summary)
    assert measured_claim["holds"] is True
    assert math.isclose(measured_claim["measured"], measured, rel_tol=1e-12)
    for change in changes:
        assert row(claims, id, {**summary, **change})["holds"] is False, change


def is_trivial(claims, id, summary, change):
    """Checks that a trivial baseline meets a claim on a summary, and does not after a change."""
    assert row(claims, id, summary)["trivial"] is True
    assert row(claims, id, {**summary, **change})["trivial"] is False
