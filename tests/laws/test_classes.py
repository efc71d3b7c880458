"""L10: the obligations of each rule's kind. The tables, one for each family, hold oracles and special cases."""

import math
from statistics import NormalDist

import jax
import numpy as np
import pytest

from plasticity_jax.registry import RULES
from tests.laws import (
    classes_adversarial,
    classes_feedback,
    classes_feedback_layers,
    classes_feedback_perturbation,
    classes_feedback_recurrent,
    classes_generative,
    classes_hebbian,
    classes_meta,
    classes_online,
    classes_three_factor,
)
from tests.laws.classes import Approximate, Exact, Local, Match, Unbiased
from tests.laws.common import assert_close, distance, names_of_kind

TABLES = {
    "classes_online.py": classes_online.CLASSES,
    "classes_meta.py": classes_meta.CLASSES,
    "classes_feedback.py": classes_feedback.CLASSES,
    "classes_feedback_layers.py": classes_feedback_layers.CLASSES,
    "classes_feedback_perturbation.py": classes_feedback_perturbation.CLASSES,
    "classes_feedback_recurrent.py": classes_feedback_recurrent.CLASSES,
    "classes_hebbian.py": classes_hebbian.CLASSES,
    "classes_generative.py": classes_generative.CLASSES,
    "classes_adversarial.py": classes_adversarial.CLASSES,
    "classes_three_factor.py": classes_three_factor.CLASSES,
}
CLASSES = {name: entry for table in TABLES.values() for name, entry in table.items()}

DIFFERENT = 0.1
"""Relative distance from which on two gradients count as different."""

FALSE_ALARM = 1e-4
"""Probability that an unbiased rule fails, all entries together."""


def entry(name, kind):
    if name not in CLASSES:
        pytest.fail(
            f"{name} is registered as {RULES[name].kind!r} and has no entry that shows it: add a "
            f"tests.laws.classes.{kind.__name__} under its name to CLASSES in tests/laws/classes_<family>.py, "
            "and a new file to TABLES in tests/laws/test_classes.py"
        )
    assert isinstance(CLASSES[name], kind), f"{name} is {RULES[name].kind!r}: its entry has to be a {kind.__name__}"
    return CLASSES[name]


def not_vacuous(match: Match):
    for expected in jax.tree.leaves(match.expected):
        size = np.abs(expected).max()
        assert np.isfinite(size)
    assert sum(np.linalg.norm(expected) for expected in jax.tree.leaves(match.expected)) > 1e-2, (
        "nothing to equal: no gradient"
    )
    activity = np.asarray(match.activity)
    assert np.mean(np.std(activity.reshape(len(activity), -1), 0)) > 0.03, "the network is dead"
    assert distance(match.unlike, match.expected) > DIFFERENT, "the equality would hold without what it is about"


def holds(match: Match, label: str):
    not_vacuous(match)
    assert_close(match.actual, match.expected, message=label)


@pytest.mark.parametrize("name", names_of_kind("exact"), scope="session")
def test_l10_exact_rules_equal_the_oracle(name):
    windows = entry(name, Exact).windows()
    assert windows
    for label, match in windows.items():
        holds(match, label)


@pytest.mark.parametrize("name", names_of_kind("unbiased"), scope="session")
def test_l10_unbiased_rules_are_right_on_average(name):
    """The largest |z| of the entries' means stays below its Bonferroni bound, which holds however entries depend.

    A bias escapes it only if every entry's is below some five standard errors, and those are small: together
    (in norm) below a tenth of the gradient.
    """
    match = entry(name, Unbiased).estimates()
    not_vacuous(match)
    tests = sum(np.size(expected) for expected in jax.tree.leaves(match.expected))
    critical = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * tests))
    noisy = False
    for leaf, expected in zip(jax.tree.leaves(match.actual), jax.tree.leaves(match.expected), strict=True):
        samples, expected = np.asarray(leaf), np.asarray(expected)
        assert len(samples) >= 5000
        mean, deviation = samples.mean(0), samples.std(0)
        still = deviation <= 1e-9 * max(np.abs(expected).max(), 1e-300)
        np.testing.assert_allclose(mean[still], expected[still], rtol=0, atol=1e-9 * np.abs(expected).max())
        error = deviation / math.sqrt(len(samples))
        if not still.all():
            noisy = True
            assert np.linalg.norm(error) < 0.1 * np.linalg.norm(expected), "too few samples to see a bias"
            z = np.abs(mean - expected)[~still] / error[~still]
            assert z.max() < critical, f"max |z| = {z.max():.1f}, above {critical:.1f}: biased"
    assert noisy, "an unbiased rule that is not random is exact: register it as such"


@pytest.mark.parametrize("name", names_of_kind("approximate"), scope="session")
def test_l10_approximate_rules_reduce_to_an_exact_case(name):
    reductions = entry(name, Approximate).reductions
    assert reductions
    for label, reduction in reductions.items():
        holds(reduction(), label)


@pytest.mark.parametrize("name", names_of_kind("approximate"), scope="session")
def test_l10_approximate_rules_differ_elsewhere(name):
    updates, gradient = entry(name, Approximate).elsewhere()
    assert all(np.linalg.norm(leaf) > 1e-2 for leaf in jax.tree.leaves(gradient))
    assert math.isfinite(distance(updates, gradient))
    assert distance(updates, gradient) > DIFFERENT, "equals the oracle: is it exact?"


@pytest.mark.parametrize("name", names_of_kind("approximate"), scope="session")
def test_l10_approximate_rules_descend(name):
    before, after = entry(name, Approximate).descent()
    assert after < 0.9 * before, f"the excess loss went from {before:.4f} to {after:.4f}"


@pytest.mark.parametrize("name", [n for n in names_of_kind("local") if n in CLASSES], scope="session")
def test_l10_local_rules_keep_their_own_claims(name):
    for label, claim in entry(name, Local).claims.items():
        holds(claim(), label)


def test_l10_the_tables_name_registered_rules():
    assert set(CLASSES) <= set(RULES)
    assert len(CLASSES) == sum(map(len, TABLES.values())), "two tables claim one rule"
