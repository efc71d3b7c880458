"""Estimators compared with autodiff of the densities, and their closed forms with exact integrals.

A squared estimator is a polynomial of degree four or less in each eta_t, which Gauss-Hermite quadrature with three
nodes integrates exactly. All values of lambda are enumerated, so nothing is sampled.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm
from scipy import stats

from experiments.bredenberg2021 import toy
from experiments.bredenberg2021.appendix_c import PRESETS, Config, experiment, theory
from experiments.bredenberg2021.appendix_c_cells import cells, error_about_gradient, lengths, settings
from experiments.bredenberg2021.appendix_c_claims import summarise
from experiments.bredenberg2021.appendix_c_figures import text
from plasticity_jax.run import checked
from tests.experiments.bredenberg2021_by_hand import are_between, are_cases, entries, is_summary
from tests.laws.common import compiled

MU_Q, GAP, SIGMA = 0.3, 0.8, 0.7
S2 = SIGMA**2


def sample(n=5):
    key_eta, key_lam = jax.random.split(jax.random.key(0))
    lam = jax.random.bernoulli(key_lam, 0.5, (n,)).astype(float).at[:2].set(jnp.array([1.0, 0.0]))
    return SIGMA * jax.random.normal(key_eta, (n,)), lam


def log_density(mu):
    return lambda r: norm.logpdf(r, mu, SIGMA)


def test_bp_and_il_are_derivatives_of_the_densities():
    eta, lam = sample()
    r = eta + MU_Q + (1 - lam) * GAP

    def loss(mu_q):
        moved = eta + lam * mu_q + (1 - lam) * (MU_Q + GAP)
        return jnp.sum((2 * lam - 1) * (log_density(mu_q)(moved) - log_density(MU_Q + GAP)(moved)))

    def scores(mu_q, r, weight):
        return jnp.sum(weight * log_density(mu_q)(r))

    np.testing.assert_allclose(toy.bp(eta, lam, S2, GAP), -jax.grad(loss)(MU_Q), rtol=1e-12)
    online = jax.grad(scores)(MU_Q, r, 2 * (1 - lam))
    np.testing.assert_allclose(toy.il_online(eta, lam, S2, GAP), online, rtol=1e-12)
    marginal = jax.grad(scores)(MU_Q, eta + MU_Q + GAP, 1.0)
    np.testing.assert_allclose(toy.il_marginal(eta, S2, GAP), marginal, rtol=1e-12)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_nvi_is_equation_6(full, baseline):
    eta, lam = sample()
    r = eta + MU_Q + (1 - lam) * GAP

    def hybrids(mu_q):
        """log p~_t and log q~_t at the fixed sample."""
        log_q, log_p = log_density(mu_q)(r), log_density(MU_Q + GAP)(r)
        return lam * log_p + (1 - lam) * log_q, lam * log_q + (1 - lam) * log_p

    log_p, log_q = hybrids(MU_Q)
    grad_p, grad_q = jax.jacfwd(hybrids)(MU_Q)
    mean_loss = -(GAP**2) / (2 * S2) if baseline else 0.0
    expected = np.sum(grad_p)
    for t in range(len(eta)):
        if full or lam[t] == 1:
            expected += (log_p[t] - log_q[t] - mean_loss) * np.sum(grad_q[: t + 1])
    estimate = toy.nvi(eta, lam, S2, GAP, 1.0, full=full, baseline=baseline)
    np.testing.assert_allclose(estimate, expected, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_closed_forms_are_the_integrals(n):
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    grid = np.array(list(itertools.product(range(3), repeat=n)))
    normal, chance = nodes[grid], np.prod(weights[grid] / weights.sum(), 1)
    coins = np.array(list(itertools.product((0.0, 1.0), repeat=n)))

    def all_methods(normal, iid, sigma, gap):
        turns = jnp.arange(n) % 2 == 0
        lam = {"iid": iid, "global": jnp.full(n, iid[0]), "alternating": turns.astype(float)}
        return {name: one.draw(sigma * normal, lam, sigma**2, gap) for name, one in toy.methods(n).items()}

    over = jax.vmap(jax.vmap(all_methods, (0, None, None, None)), (None, 0, None, None))
    for sigma, gap in ((0.7, 0.8), (1.5, -2.0)):
        samples = compiled(over)(normal, coins, sigma, gap)
        s2 = sigma**2
        for name, method in toy.methods(n).items():
            values = np.asarray(samples[name])
            mean = np.mean(values @ chance)
            variance = np.mean((values - mean) ** 2 @ chance)
            np.testing.assert_allclose(method.mean(n, s2, gap), mean, rtol=1e-11, err_msg=name)
            np.testing.assert_allclose(method.variance(n, s2, gap), variance, rtol=1e-11, err_msg=name)
        squares = (np.asarray(samples["nvi_global_c2"]) - toy.gradient(n, s2, gap)) ** 2
        mse = np.mean(squares @ chance)
        np.testing.assert_allclose(toy.mse_printed(n, s2, gap), mse, rtol=1e-11)
        np.testing.assert_allclose(toy.printed_18(n, s2, gap), mse + n * gap**2 / (8 * s2**2), rtol=1e-11)
    assert len(toy.methods(n)) == (14 if n == 1 else 21)


def test_claims_judge_what_was_measured():
    """Tests claims on measurements equal to the closed forms, and with one moment shifted by ten standard errors."""
    config = Config(seeds=3)
    shape, metrics = (3, 1, len(config.settings)), {}
    for n in config.lengths:
        sigmas, gaps = np.array(config.settings, np.float32).T
        metrics |= {f"n={n}/sigma": np.broadcast_to(sigmas, shape), f"n={n}/gap": np.broadcast_to(gaps, shape)}
        for name, moments in theory(config.settings, n).items():
            for moment, value in zip(("mean", "variance"), moments, strict=True):
                metrics[f"n={n}/{name}/{moment}"] = np.broadcast_to(value, shape)
                metrics[f"n={n}/{name}/{moment}_error"] = np.full(shape, 1e-3)

    def rows_by_id(metrics):
        return {row["id"]: row for row in checked(experiment.claims, summarise(metrics))}

    rows = rows_by_id(metrics)
    wrong = {"eq17-count", "eq17-online", "eq27", "eq26", "eq18", "eq18-count", "eq18-printed", "eq32"}
    expected = wrong | {"il-below-nvi-global", "bound-printed"}
    assert {name for name, row in rows.items() if not row["holds"]} == expected
    assert rows["bound-printed"]["measured"] == 4  # (n, D / sigma) = (1, .8), (2, .8), (8, .5), (32, .25)
    assert rows["eq27"]["measured"] == pytest.approx(0.75)
    assert rows["nvi-grows"]["measured"] == pytest.approx(0.86, abs=0.01)
    for name, moment, claim in (("bp", "mean", "unbiased"), ("nvi_iid_full_c4", "variance", "nvi")):
        shifted = metrics[f"n=4/{name}/{moment}"] + np.eye(len(config.settings))[3] * 1e-2 / 3**0.5
        other = {**metrics, f"n=4/{name}/{moment}": shifted}
        assert {key for key, row in rows_by_id(other).items() if not row["holds"]} == expected | {claim}
        summary = summarise(other)
        assert summary[f"{claim}/z_max"] == pytest.approx(10)
        chance = math.erfc(summary[f"{claim}/z_limit"] / 2**0.5)  # of one two-sided comparison
        assert chance * summary[f"{claim}/comparisons"] == pytest.approx(1e-3)


PAIRS = ((0.8, 1.5), (2.0, 0.0), (0.5, 0.4))
NS = (1, 2, 8)
SEEDS, CHUNKS = 3, 2
BY_NAME = ("bp", "il_marginal", "nvi_no_baseline", "il_global", "il_iid", "il_alternating")
BY_NAME += tuple(f"nvi_{kind}_c{c}" for kind in ("global", "iid", "iid_full") for c in (1, 2, 4))
BY_NAME += tuple(f"nvi_{kind}_c{c}" for kind in ("alternating", "alternating_full") for c in (1, 2, 4))
ALL_N = tuple(name for name in BY_NAME if "alternating" not in name)


def metrics_by_hand():
    """Metrics of three lengths, not in order, and three settings, the second without a gap."""
    metrics = {}
    for n in (8, 1, 2):
        for name in BY_NAME if n > 1 else ALL_N:
            for moment in ("mean", "mean_error", "variance", "variance_error"):
                key = f"n={n}/{name}/{moment}"
                metrics[key] = entries(key, SEEDS, CHUNKS, len(PAIRS), low=1, high=9) * (0.1 if "error" in key else 1)
        for place, what in enumerate(("sigma", "gap")):
            values = np.float32([pair[place] for pair in PAIRS])
            metrics[f"n={n}/{what}"] = np.broadcast_to(values, (SEEDS, CHUNKS, len(PAIRS)))
    return metrics


def cell(metrics, n, name, moment, setting):
    """Value and standard error of one moment of one method at one length and setting."""
    values, errors = (metrics[f"n={n}/{name}/{moment}{of}"][..., setting].ravel() for of in ("", "_error"))
    return sum(values) / len(values), math.sqrt(sum(e * e for e in errors)) / len(errors)


def mean_of(name):
    """The closed form of a method's mean, ``(n, s2, D) -> number``."""
    c = int(name[-1]) if name[-1].isdigit() else 1
    return lambda n, s2, gap: n * gap / s2 * (1 + 1 / c) / 2


def variance_of(name):
    """The closed form of a method's variance, which is compared with integrals above."""
    return lambda n, s2, gap: toy.methods(n)[name].variance(n, s2, gap)


def printed_18(less):
    """Equation 18 with `less` fewer terms than n."""

    def form(n, s2, gap):
        t = n - less
        return t / (2 * s2) + t * gap**2 / (2 * s2) * (3 * t + 5) / (8 * s2)

    return form


NVI = tuple(name for name in BY_NAME if name.startswith("nvi") and name != "nvi_no_baseline")
EQUALITIES = {
    "unbiased": (
        "mean",
        ("bp", "il_marginal", "il_global", "il_iid", "il_alternating", "nvi_no_baseline")
        + tuple(name for name in NVI if name.endswith("c1")),
        None,
    ),
    "eq17": ("variance", ("bp", "il_marginal"), lambda n, s2, gap: n / s2),
    "eq17-count": ("variance", ("bp", "il_marginal"), lambda n, s2, gap: (n - 1) / s2),
    "eq17-online": ("variance", ("il_alternating",), lambda n, s2, gap: n / s2),
    "il": ("variance", ("il_global", "il_iid", "il_alternating"), None),
    "eq27": ("mean", ("nvi_global_c2",), lambda n, s2, gap: n * gap / s2),
    "eq26": ("mean", ("nvi_global_c4",), lambda n, s2, gap: n * gap / s2),
    "nvi-means": ("mean", tuple(name for name in NVI if not name.endswith("c1")), None),
    "eq18": ("variance", ("nvi_global_c1",), printed_18(0)),
    "eq18-count": ("variance", ("nvi_global_c1",), printed_18(1)),
    "eq18-printed": ("variance", ("nvi_global_c2",), printed_18(0)),
    "eq32": ("error", ("nvi_global_c2",), printed_18(0)),
    "eq32-corrected": (
        "error",
        ("nvi_global_c2",),
        lambda n, s2, gap: n / (2 * s2) + 3 * n * gap**2 / (2 * s2) * (n + 1) / (8 * s2),
    ),
    "nvi": ("variance", ("nvi_no_baseline", *NVI), None),
}


def measured_of(metrics, n, name, moment, setting):
    """`cell`, or the mean squared error about the gradient n D / s2."""
    if moment != "error":
        return cell(metrics, n, name, moment, setting)
    sigma, gap = PAIRS[setting]
    (mean, mean_error), (variance, error) = (cell(metrics, n, name, of, setting) for of in ("mean", "variance"))
    bias = mean - n * gap / sigma**2
    return variance + bias**2, error + 2 * abs(bias) * mean_error


def test_summary_holds_every_cell_against_its_closed_form():
    metrics = metrics_by_hand()
    columns, numbers = {}, {}
    for id, (moment, names, form) in EQUALITIES.items():
        z, first = [], []
        for name in names:
            closed = form or (mean_of(name) if moment == "mean" else variance_of(name))
            for n in NS if name in ALL_N else NS[1:]:
                for setting, (sigma, gap) in enumerate(PAIRS):
                    value, error = measured_of(metrics, n, name, moment, setting)
                    expected = closed(n, sigma**2, gap)
                    z.append(abs(value - expected) / error)
                    if n == 2 and setting == 0:
                        first.append(value / expected)
        numbers |= {f"{id}/z_max": max(z), f"{id}/comparisons": len(z)}
        numbers |= {f"{id}/ratio": first[0], f"{id}/z_limit": stats.norm.isf(1e-3 / len(z) / 2)}
    by_seed = {
        name: {n: metrics[f"n={n}/{name}/variance"].mean(1) for n in (NS if name in ALL_N else NS[1:])}
        for name in BY_NAME
    }
    for name, variances in by_seed.items():
        for n, values in variances.items():
            columns[f"{name}/variance,n={n},sigma=0.8,D=1.5"] = values[:, 0]
        rise = np.log(variances[8][:, 0]) - np.log(variances[2][:, 0])  # of the last two lengths
        columns[f"{name}/slope"] = rise / math.log(4)
    for drawn, il, rival in (
        ("marginal", "il_marginal", "nvi_global_c1"),
        ("alternating", "il_alternating", "nvi_alternating_full_c1"),
        ("iid", "il_iid", "nvi_iid_full_c1"),
        ("global", "il_global", "nvi_global_c1"),
    ):
        columns[f"nvi_over_il/{drawn}"] = by_seed[rival][8][:, 0] / by_seed[il][8][:, 0]
    no_gap = [by_seed["nvi_global_c1"][n][:, 1] / by_seed["il_marginal"][n][:, 1] for n in NS]
    columns["nvi_over_il/no_loss"] = np.max(no_gap, 0)
    for name, il, rival, ns, bound in (
        ("printed", "il_marginal", "nvi_global_c1", NS, lambda n: 4 * n / (3 * n + 5)),
        ("marginal", "il_marginal", "nvi_global_c1", NS, lambda n: n / (n + 3)),
        ("alternating", "il_alternating", "nvi_alternating_c1", NS[1:], lambda n: 6 * n / (n + 6)),
    ):
        mismatches = 0
        for n in ns:
            for setting, (sigma, gap) in enumerate(PAIRS):
                less = cell(metrics, n, rival, "variance", setting)[0] < cell(metrics, n, il, "variance", setting)[0]
                mismatches += less != (n * gap**2 / (2 * sigma**2) < bound(n))
        numbers[f"bound/{name}"] = mismatches
    is_summary(summarise(metrics), columns, numbers)


def test_cells_are_read_from_the_metrics():
    metrics = metrics_by_hand()
    assert lengths(metrics) == [1, 2, 8]
    assert settings(metrics) == PAIRS
    measured = cells(metrics, "il_alternating", "variance")
    np.testing.assert_array_equal(measured.n, [2, 2, 2, 8, 8, 8])
    np.testing.assert_allclose(measured.s2, [0.64, 4, 0.25] * 2)
    np.testing.assert_allclose(measured.gap, [1.5, 0, 0.4] * 2)
    for i, (n, setting) in enumerate(itertools.product((2, 8), range(3))):
        value, error = cell(metrics, n, "il_alternating", "variance", setting)
        np.testing.assert_allclose([measured.value[i], measured.error[i]], [value, error], rtol=1e-12)
    mixed = 100 * measured.n + 10 * measured.s2 + measured.gap
    np.testing.assert_allclose(measured.at(lambda n, s2, gap: 100 * n + 10 * s2 + gap), mixed)
    squares = error_about_gradient(metrics, "nvi_global_c2")
    expected = [measured_of(metrics, n, "nvi_global_c2", "error", k) for n in NS for k in range(3)]
    np.testing.assert_allclose(np.transpose([squares.value, squares.error]), expected, rtol=1e-12)


def test_table_has_the_second_and_the_last_length_beside_closed_forms():
    metrics = metrics_by_hand()
    rows = [line.split(" | ") for line in text(metrics).splitlines() if line.startswith(("| 1", "| 2", "| 8"))]
    assert [(row[0], row[1]) for row in rows] == [(f"| {n}", name) for n in (2, 8) for name in toy.methods(2)]
    row = next(row for row in rows if row[:2] == ["| 8", "nvi_global_c2"])
    numbers = ["{:.4g} +- {:.1g}".format(*cell(metrics, 8, row[1], moment, 0)) for moment in ("mean", "variance")]
    forms = (mean_of(row[1]), mean_of("bp"), variance_of(row[1]), printed_18(0))
    closed = [f"{form(8, 0.64, 1.5):.5g}" for form in forms]
    assert row[2:] == [numbers[0], closed[0], closed[1], numbers[1], closed[2], f"{closed[3]} |"]
    row = next(row for row in rows if row[:2] == ["| 2", "il_iid"])
    assert row[-1] == f"{2 / 0.64:.5g} |"


INF = math.inf
BETWEEN = {f"il-below-nvi-{drawn}": (1, INF, False, f"nvi_over_il/{drawn}") for drawn in ("marginal", *toy.DRAWN)}
BETWEEN |= {f"bound-{name}": (0, 0, True, f"bound/{name}") for name in ("printed", "marginal", "alternating")}
BETWEEN |= {"no-loss": (-INF, 1, False, "nvi_over_il/no_loss")}
CASES = {
    "nvi-grows": [
        ({"nvi_global_c1/slope": 1.8, "bp/slope": 1.2}, 0.6, True),
        ({"nvi_global_c1/slope": 1.8, "bp/slope": 1.4}, 0.4, False),
        ({"nvi_global_c1/slope": 1.4, "bp/slope": 2.4}, -1.0, False),
        ({"bp/slope": 1.0}, math.nan, None),
    ],
}
PRINTED = ("eq17", "eq17-count", "eq17-online", "eq27", "eq26", "eq18", "eq18-count", "eq18-printed", "eq32")
for id in EQUALITIES:
    at = [({f"{id}/z_max": z, f"{id}/z_limit": 3.5, f"{id}/ratio": 0.7}, z) for z in (3.4, 3.6)]
    CASES[id] = [(summary, 0.7 if id in PRINTED else z, z < 3.5) for summary, z in at]
    CASES[id].append(({f"{id}/ratio": 1.0}, math.nan, None))


def test_claims_hold_as_stated():
    claims = experiment.claims
    assert {claim.id for claim in claims} == {*BETWEEN, *CASES}
    are_between(claims, BETWEEN)
    are_cases(claims, CASES)
    own = {"eq17-online", "il", "nvi-means", "eq32-corrected", "nvi", "bound-printed", "bound-marginal"}
    own |= {"bound-alternating", "il-below-nvi-alternating", "il-below-nvi-iid", "il-below-nvi-global"}
    assert {claim.id for claim in claims if claim.own} == own


def test_invalid_settings_are_refused():
    for change, message in (
        ({"lengths": (4,)}, "lengths"),
        ({"lengths": (1, 3)}, "lengths"),
        ({"lengths": (4, 2)}, "lengths"),
        ({"settings": ((1.0, 0.0),)}, "D of the first"),
        ({"settings": ((1.0, 1.0), (0.0, 0.0))}, "no sigma"),
        ({"settings": ((1.0, 1.0),)}, "no loss"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**change)
    with pytest.raises(ValueError, match="groups"):
        experiment.check(Config(groups=1))
    for config in PRESETS.values():
        experiment.check(config)
