"""Pattern overlap against NumPy's and SciPy's counts and divergences, closed forms, and known populations."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from plasticity_jax.diagnostics.pattern_overlap import divergence, pattern_counts, pattern_overlap
from tests.laws.common import compiled

KEY = jax.random.key(0)


@functools.cache
def program(**options):
    return compiled(lambda key, wake, sleep: pattern_overlap(key, wake, sleep, **options))


def overlap(wake, sleep, key=KEY, **options):
    result = program(**options)(key, *(tuple(map(jnp.asarray, phase)) for phase in (wake, sleep)))
    return jax.tree.map(np.asarray, result)


def histograms(*samples):
    """(samples, K) counts of the distinct patterns, in lexical order."""
    patterns, place = np.unique(np.concatenate(samples), axis=0, return_inverse=True)
    sample = np.repeat(np.arange(len(samples)), [len(rows) for rows in samples])
    counts = np.zeros((len(samples), len(patterns)), int)
    np.add.at(counts, (sample, place.ravel()), 1)
    return counts


@pytest.mark.parametrize(
    ("groups", "units", "bits"), [(1, 5, 1), (2, 31, 1), (2, 32, 1), (5, 40, 1), (5, 7, 4), (3, 8, 4), (5, 16, 4)]
)
def test_counts_equal_those_of_unique(groups, units, bits):
    """Patterns differ at the first unit, the last, or both: within one word, at its edge, over several."""
    rng = np.random.default_rng(units)
    count = compiled(lambda samples: pattern_counts(samples, bits))
    for ends in ([0], [-1], [0, -1]):
        samples = np.tile(rng.integers(0, 2**bits, units), (groups, 60, 1))
        samples[..., ends] = rng.integers(0, 2**bits, (groups, 60, len(ends)))
        expected = histograms(*samples)
        assert expected.shape[1] >= 2 ** len(ends)
        counts = np.asarray(count(samples))
        assert counts.shape == (groups, groups * 60)
        np.testing.assert_array_equal(counts[:, : expected.shape[1]], expected)
        np.testing.assert_array_equal(counts[:, expected.shape[1] :], 0)


def test_divergences_equal_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (2, 40))
    first[:3], second[:3] = 0, 0
    result = divergence(jnp.asarray(first), jnp.asarray(second))
    p, q = first / first.sum(), second / second.sum()
    np.testing.assert_allclose(result.js, jensenshannon(p, q, base=2) ** 2, rtol=1e-12)
    np.testing.assert_allclose(result.tv, np.abs(p - q).sum() / 2, rtol=1e-12)
    present = first + second > 0
    np.testing.assert_allclose(
        result.kl, stats.entropy(first[present] + 0.5, second[present] + 0.5, base=2), rtol=1e-12
    )


def test_divergences_of_equal_and_of_disjoint_counts_are_zero_and_one():
    counts = jnp.array([3, 0, 4, 1])
    np.testing.assert_array_equal(divergence(counts, 2 * counts)[0], 0)
    np.testing.assert_array_equal(divergence(counts, counts), 0)
    apart = divergence(counts, jnp.array([0, 7, 0, 0]))
    np.testing.assert_allclose([apart.js, apart.tv], 1, rtol=1e-12)


def normals(rows, seed=0, scale=1.0):
    """Correlated x and z."""
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal((rows, 3))
    return x, 0.7 * x[:, :2] + scale * rng.standard_normal((rows, 2))


@pytest.mark.parametrize(("quantise", "scale"), [("binary", 1.0), ("round", 0.6), ("round", 5.0)])
def test_the_overlap_equals_numpys(quantise, scale):
    """All units are in the patterns, so only the order of wake's rows is random; the test draws it from the key."""
    wake, sleep = normals(401, 1, scale), normals(250, 2, 1.3 * scale)
    result = overlap(wake, sleep, units=(3, 2), quantise=quantise, draws=2, top=5)
    order = np.asarray(jax.random.permutation(jax.random.split(KEY)[0], 401))

    def whole(x, z):
        if quantise == "binary":
            return np.concatenate([x > 0.5, z > 0], 1).astype(int)
        return np.clip(np.rint(np.concatenate([x, z], 1)), -8, 7).astype(int)

    awake, asleep = whole(*wake)[order], whole(*sleep)[:200]
    a, b = awake[:200], awake[200:400]
    unpaired = np.concatenate([b[np.arange(200) - 1, :3], b[:, 3:]], 1)
    if scale == 5:
        assert set(np.unique(awake)) == set(range(-8, 8))
    for other, part in ((asleep, result.sleep), (b, result.floor), (unpaired, result.unpaired)):
        counts = histograms(a, other)
        expected = jensenshannon(*counts / 200, base=2) ** 2
        np.testing.assert_allclose(part.js, expected, rtol=1e-10)
        np.testing.assert_allclose(part.tv, np.abs(counts[0] - counts[1]).sum() / 400, rtol=1e-10)
        np.testing.assert_allclose(part.kl, stats.entropy(*counts + 0.5, base=2), rtol=1e-10)
    for index, control in ((result.index_shuffled, result.shuffled), (result.index_unpaired, result.unpaired)):
        if control.js > result.floor.js:
            expected = (control.js - result.sleep.js) / (control.js - result.floor.js)
            np.testing.assert_allclose(index, expected, rtol=1e-10)
        else:  # round with scale 5 has every pattern once
            assert np.isnan(index)
    counts = histograms(a, asleep)
    for frequencies in result.frequencies:  # ties may fall either way: the sums are the largest, every row is a pattern
        np.testing.assert_allclose(frequencies.sum(1), np.sort(counts.sum(0))[::-1][:5] / 200, rtol=1e-6)
        rows = {tuple(row) for row in np.round(200 * frequencies).astype(int)}
        assert rows <= {tuple(column) for column in counts.T}


def test_the_floor_of_independent_bits_is_chi_squared():
    """4 n ln(2) JS of fair bits is chi-squared with K - 1 degrees of freedom, so that JS falls as 1 / n."""
    for n in (500, 8000):
        rng = np.random.default_rng(n)
        wake, sleep = ((rng.random((rows, 2)) < 0.5, rng.random((rows, 2)) < 0.5) for rows in (2 * n, n))
        result = overlap(wake, sleep, units=(2, 2), draws=1, top=16)
        low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], 15)  # false alarm 2e-5 over all eight
        for part in (result.sleep, result.floor, result.shuffled, result.unpaired):
            assert low < 4 * n * np.log(2) * part.js < high
        assert result.floor.js < 0.02 * 500 / n  # (K - 1) / (4 n ln 2) = 0.011 for 500


def population(kind):
    """Probabilities of the patterns of two x and two z, each a copy of a fair coin nine times in ten."""
    p = np.zeros(16)
    for i, bits in enumerate(itertools.product((0, 1), repeat=4)):
        copies = [
            np.prod([0.9 if bit == coin else 0.1 for bit in part]) for part in (bits[:2], bits[2:]) for coin in (0, 1)
        ]
        p[i] = {
            "same": (copies[0] * copies[2] + copies[1] * copies[3]) / 2,
            "unpaired": (copies[0] + copies[1]) * (copies[2] + copies[3]) / 4,
            "shuffled": 1 / 16,
        }[kind]
    return p


def sample(kind, rows, seed):
    p = population(kind)
    return np.random.default_rng(seed).choice(16, rows, p=p)[:, None] >> np.array([3, 2, 1, 0]) & 1


@pytest.mark.parametrize("kind", ["same", "unpaired", "shuffled"])
def test_a_known_population_has_its_divergences(kind):
    """Each divergence is its population's plus the bias of counts, to six standard errors: false alarm 1e-8 in all.

    Of a control the four units of a row come from one sample each and each sample is in four rows, so that the error
    of independent rows is doubled at most.
    """
    n = 6000
    wake, sleep = sample("same", 2 * n, 1), sample(kind, n, 2)
    result = overlap((wake[:, :2], wake[:, 2:]), (sleep[:, :2], sleep[:, 2:]), units=(2, 2), draws=1, top=16)
    js = {}
    for name, other in (("sleep", kind), ("floor", "same"), ("shuffled", "shuffled"), ("unpaired", "unpaired")):
        p, q = population("same"), population(other)
        js[name] = jensenshannon(p, q, base=2) ** 2
        spread = [np.log2(part * 2 / (p + q)) for part in (p, q)]
        variance = sum(part @ each**2 - (part @ each) ** 2 for part, each in zip((p, q), spread, strict=True)) / (4 * n)
        bias = 15 / (4 * n * np.log(2))
        assert abs(getattr(result, name).js - js[name] - bias) < 6 * 2 * variance**0.5 + 3 * bias, name
    assert js["shuffled"] > js["unpaired"] > 0.1
    # The index is off by about the error of its numerator: 0.01 bits of 0.15.
    assert abs(result.index_shuffled - (1 - js["sleep"] / js["shuffled"])) < 0.2
    assert abs(result.index_unpaired - (1 - js["sleep"] / js["unpaired"])) < 0.2


def test_units_are_drawn_uniformly_from_the_active_ones():
    """Sleep differs from wake in some units only, so the mean divergence is the share of draws with one of them.

    The share of 64 draws is tested to 5.5 sigma of a binomial: false alarm 4e-8 each.
    """

    def met(x_too, z_too, x, z):
        phases = (x, z), (x_too, z_too)
        return overlap(*(tuple(map(np.float64, phase)) for phase in phases), units=(1, 1), draws=64, top=2).sleep.tv

    def near(share, expected):
        return abs(share - expected) < 5.5 * (expected * (1 - expected) / 64) ** 0.5

    on, still, different = np.ones((80, 8)), np.zeros((80, 4)), np.arange(4) == 2
    assert near(met(on, still + different, on, still), 1 / 4)
    half = on * (np.arange(8) < 4)
    half[:4] = 1  # the others are active in exactly 0.05 of the rows, which is not more than that
    assert met(on, still, half, still) == 0
    half[:5] = 1
    assert near(
        met(on, still, half, still) / 0.9375, 1 / 2
    )  # half of wake has 0 to 5 of the 5 rows, 2.5 of 40 on average
    assert near(met(on * (np.arange(8) == 1), still, 0 * on, still), 1 / 8)  # too few: from the others


def test_patterns_of_x_alone_have_no_unpaired_index():
    x = np.random.default_rng(0).random((60, 3))
    result = overlap((x, x), (x, x), units=(3, 0), draws=1, top=3)
    assert result.unpaired.js == result.floor.js
    assert np.isnan(result.index_unpaired)


def test_a_vmap_over_keys_equals_single_keys():
    wake, sleep = normals(40, 3), normals(20, 4)  # NumPy arrays will do as well
    options = {"units": (2, 1), "draws": 3, "top": 4}
    keys = jax.random.split(KEY, 2)
    together = compiled(jax.vmap(lambda key: pattern_overlap(key, wake, sleep, **options)))(keys)
    apart = [overlap(wake, sleep, key, **options) for key in keys]
    assert apart[0].floor.js != apart[1].floor.js
    jax.tree.map(lambda t, *parts: np.testing.assert_allclose(t, np.stack(parts), rtol=1e-12), together, *apart)


@pytest.mark.parametrize(
    ("rows", "options", "match"),
    [
        ((40, 20), {"quantise": "ternary"}, "quantise='ternary' is not known; use one of binary, round"),
        ((40, 19), {}, "half of wake is 20 rows and sleep 19"),
        ((1, 19), {}, "half of wake is 0 rows"),
        ((40, 20), {"units": (4, 1)}, r"units=\(4, 1\) must be at least one in all, and at most the \(3, 2\)"),
        ((40, 20), {"units": (3, 3)}, r"at most the \(3, 2\)"),
        ((40, 20), {"units": (0, 0)}, "at least one in all"),
        ((40, 20), {"units": (3, -1)}, "at least one in all"),
        ((40, 20), {"draws": 0}, "draws=0 must be at least 1"),
        ((40, 20), {"top": 101}, "top=101 from 1 to 100"),
    ],
)
def test_bad_arguments_are_refused(rows, options, match):
    with pytest.raises(ValueError, match=match) as error:
        pattern_overlap(KEY, normals(rows[0]), normals(rows[1]), **{"units": (2, 1), "top": 4, **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wake", "sleep", "match"),
    [
        (((9, 3), (9,)), ((9, 3), (9, 2)), r"x \(N, n_x\) and z \(N, n_z\)"),
        (((9, 3), (8, 2)), ((9, 3), (9, 2)), "as many rows"),
        (((9, 3), (9, 2)), ((9, 4), (9, 2)), "the same units"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(wake, sleep, match):
    with pytest.raises(AssertionError, match=match):
        pattern_overlap(KEY, *(tuple(map(jnp.zeros, phase)) for phase in (wake, sleep)))
