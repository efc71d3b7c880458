"""Trials of the bias experiment, compared with the library's trajectory, loss and rule; summary and claims by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments.bredenberg2021.bias import PRESETS, Config, experiment
from experiments.bredenberg2021.bias_claims import cosines, norm, slope, summarise, values_of, windows_of
from experiments.bredenberg2021.bias_trials import Trial, onsets, patterns, sample, walk
from experiments.bredenberg2021.gradients import following, pairs
from plasticity_jax.diagnostics.bias_variance import updates_along
from plasticity_jax.networks.two_stream import init_params, trajectory, trajectory_loss, two_stream
from plasticity_jax.rules.generative import impression
from plasticity_jax.typing import Example
from tests.experiments.bredenberg2021_by_hand import are_between, are_sure, entries, is_summary
from tests.laws.common import compiled

NET = two_stream((4, 3), (0.5, 0.4), (0.6, 0.7))
PARAMS = jax.tree.map(lambda leaf: 2 * leaf, init_params(jax.random.key(0), NET))
Z = jax.random.normal(jax.random.key(1), (8, 1, 4))
KEY = jax.random.key(2)
PLAIN = jnp.ones(2)
SAMPLE = compiled(lambda *pattern: sample(NET, PARAMS, Trial(KEY, PLAIN, Z), *pattern))
WALK = compiled(lambda signs, wake, onset: walk(NET, PARAMS, Trial(KEY, signs, Z), wake, onset))
GRADIENT = compiled(jax.value_and_grad(lambda params, wake: jnp.sum(trajectory_loss(NET, params, KEY, Z, wake))))
UPDATES = compiled(
    lambda wake: updates_along(
        impression(NET, schedule=following(wake), precondition=False), PARAMS, KEY, Example(Z, Z)
    )
)


def test_onsets_by_hand():
    """Waking is an onset except at the first step, because the network counts as awake before it."""
    assert pairs(8, 2).tolist() == [[True, True, False, False] * 2, [False, False, True, True] * 2]
    assert [onsets(row).tolist() for row in pairs(8, 2)] == [
        [False, False, False, False, True, False, False, False],
        [False, False, True, False, False, False, True, False],
    ]
    for kind in ("held", "no_onset"):
        assert not any(jnp.any(k) for k in patterns(kind, 8)[1:])


@pytest.mark.parametrize("window", [0, 1])
def test_a_trial_is_the_librarys(window):
    """Walk, true gradient and IL, with onsets as printed, are those of trajectory, trajectory_loss and impression."""
    wake, onset, mirrored = (rows[window] for rows in patterns("onset", 8))
    now = WALK(PLAIN, wake, onset)
    expected = compiled(lambda: trajectory(NET, PARAMS, KEY, Z, wake))()
    for one, other in zip(jax.tree.leaves(now), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

    trial = SAMPLE(wake, onset, mirrored)
    gradient, updates = GRADIENT(PARAMS, wake)[1], UPDATES(wake)
    il = ravel_pytree(jax.tree.map(lambda leaf: jnp.sum(leaf, 0), updates))[0]
    np.testing.assert_allclose(trial["truth"], -ravel_pytree(gradient)[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(trial["il"], -2 * il, rtol=1e-4, atol=1e-3)


def test_the_remainder_is_taylors():
    """R is 2 (x - 1 - log x) with the ratio x of the whole window, from the library's loss."""
    wake, onset, mirrored = (rows[1] for rows in patterns("onset", 8))
    trial = SAMPLE(wake, onset, mirrored)
    log_x = -float(GRADIENT(PARAMS, wake)[0])
    expected = 2 * (np.exp(log_x) - 1 - log_x)
    np.testing.assert_allclose(trial["remainder_square"], expected**2, rtol=1e-4)


def test_relabelling_is_exact_without_onsets():
    """Both walks are the same without onsets, and differ with them."""
    for kind, zero in (("no_onset", True), ("onset", False)):
        wake, onset, mirrored = (rows[0] for rows in patterns(kind, 8))
        trial = SAMPLE(wake, onset, mirrored)
        assert bool(jnp.all(trial["relabel"] == 0)) is zero


def test_signs_turn_the_noise_over():
    """Awake, s - z changes sign with the first sign, and r - f(W s) at odd steps with the second."""
    wake, onset = jnp.ones(8, bool), jnp.zeros(8, bool)
    one = WALK(PLAIN, wake, onset)
    other = WALK(-PLAIN, wake, onset)
    np.testing.assert_allclose(other.x[0] - Z, Z - one.x[0], atol=1e-5)
    alternate = np.where(np.arange(8) % 2 == 1, -1, 1)[:, None, None]
    np.testing.assert_allclose(other.x[1] - other.inferred[1], alternate * (one.x[1] - one.inferred[1]), atol=1e-5)


SEEDS, EPS, LONGER, WEIGHTS = 3, (0.1, 0.2, 0.4), (16, 8), 18
KINDS = ("held", "no_onset", "onset")
VECTORS = ("il", "truth", "bias", "taylor", "relabel", "rest")


def metrics_by_hand():
    """Metrics of the path, of longer windows at the second eps, and of the paper's network."""
    metrics = {}
    shapes = {"path": (1, 3, 3)} | {f"window.{steps}": (1, 1, 1) for steps in LONGER}
    for part, shape in shapes.items():
        for name in VECTORS:
            metrics[f"{part}/{name}"] = entries(f"{part}/{name}", SEEDS, *shape, WEIGHTS, low=-1, high=1)
            metrics[f"{part}/{name}_error"] = entries(f"{part}/{name}_e", SEEDS, *shape, WEIGHTS, low=0.01, high=0.05)
        metrics[f"{part}/bound"] = entries(f"{part}/bound", SEEDS, *shape, WEIGHTS)
        for name in ("b", "score", "bound_3"):
            metrics[f"{part}/{name}"] = entries(f"{part}/{name}", SEEDS, *shape)
        steps = 4 if part == "path" else int(part[7:])
        metrics[f"{part}/steps"] = np.full((SEEDS, *shape), steps)
        metrics[f"{part}/eps"] = np.broadcast_to(np.array(EPS if part == "path" else 0.2), (SEEDS, *shape))
    metrics["path/rest_error"][0, 0, 1, 1, 3] = 0.0  # no variance at all
    metrics["path/rest"][0, 0, 1, 1, 3] = 1e-13
    metrics["path/relabel_error"][0, 0, 2, 0] = 1.0  # nothing but noise
    for name in ("taylor", "rest"):  # the largest values are negative
        metrics[f"path/{name}"][1, 0, :2, 1, 5] = -60.0
    for name in VECTORS:
        metrics[f"own/{name}"] = entries(f"own/{name}", SEEDS, 2, 8, low=-1, high=1)
        metrics[f"own/{name}_error"] = entries(f"own/{name}_e", SEEDS, 2, 8, low=0.01, high=0.05)
    metrics["own/steps"] = np.broadcast_to(np.array([0, 500]), (SEEDS, 2))
    return metrics


def length(vector, error=None):
    """Length of a vector, corrected for noise, but not below the noise itself."""
    square = sum(v * v for v in vector)
    noise = 0 if error is None else sum(e * e for e in error)
    return math.sqrt(max(square - noise, noise))


def lengths(metrics, part, name, *at):
    """Length of a metric at one place of a part, for each seed."""
    vectors = [np.asarray(metrics[f"{part}/{name}"])[(seed, *at)] for seed in range(SEEDS)]
    if vectors[0].ndim == 0:
        return np.array(vectors)
    errors = [metrics[f"{part}/{name}_error"][(seed, *at)] if name in VECTORS else None for seed in range(SEEDS)]
    return np.array([length(*pair) for pair in zip(vectors, errors, strict=True)])


def fitted(x, y):
    """Slope of log y against log x by least squares, (seeds,)."""
    u = np.log(np.array(x, float))
    u = u - u.mean()
    return np.array([sum(u * np.log(row)) / sum(u * u) for row in np.transpose(y)])


def test_summary_is_of_lengths_and_slopes_by_kind():
    metrics = metrics_by_hand()
    columns, numbers = {}, {}
    for k, kind in enumerate(KINDS):
        curves = {"gradient": [], "bias": [], "relative_bias": []}
        further = ("relabel", "relative_relabel") if kind == "onset" else ("bound", "relative_bound")
        curves |= {name: [] for name in further}
        for e in range(3):
            gradient = lengths(metrics, "path", "truth", 0, k, e)
            bias = lengths(metrics, "path", "bias" if kind == "onset" else "taylor", 0, k, e)
            other = lengths(metrics, "path", further[0], 0, k, e)
            now = dict(zip(curves, (gradient, bias, bias / gradient, other, other / gradient), strict=True))
            for name, value in now.items():
                curves[name].append(value)
                columns[f"{kind}/eps={EPS[e]:.3g}/{name}"] = value
        for name, curve in curves.items():
            columns[f"{kind}/slope/{name}"] = fitted(EPS, curve)
            columns[f"{kind}/{name}"] = curve[0]
        il, truth = (metrics[f"path/{name}"][:, 0, k, 2] for name in ("il", "truth"))
        columns[f"{kind}/cosine"] = [a @ b / (length(a) * length(b)) for a, b in zip(il, truth, strict=True)]
        if kind != "onset":
            beyond = beyond_3 = 0
            shares, leaves = [], []
            for at in np.ndindex(SEEDS, 3, WEIGHTS):
                place = (at[0], 0, k, *at[1:])
                now = {name: metrics[f"path/{name}"][place] for name in ("bias", "bias_error", "bound", "taylor")}
                beyond += abs(now["bias"]) - 5 * now["bias_error"] > now["bound"]
                if at[2] >= 10:
                    beyond_3 += abs(now["bias"]) - 5 * now["bias_error"] > metrics["path/bound_3"][place[:-1]]
                shares.append(abs(now["taylor"]) / now["bound"])
                leaves.append(abs(metrics["path/rest"][place]) / max(metrics["path/rest_error"][place], 1e-12))
            assert beyond_3
            numbers |= {f"{kind}/violations": beyond, f"{kind}/violations_3": beyond_3}
            numbers |= {f"{kind}/largest_share": max(shares), f"{kind}/rest_z": max(leaves)}
    curves = {}
    for name, metric in {"gradient": "truth", "score": "score", "b": "b", "bias": "taylor", "bound": "bound"}.items():
        shortest = lengths(metrics, "path", metric, 0, 1, 1)
        curves[name] = [shortest, *(lengths(metrics, f"window.{steps}", metric, 0, 0, 0) for steps in (8, 16))]
    for name in ("bias", "bound"):
        curves[f"relative_{name}"] = [a / b for a, b in zip(curves[name], curves["gradient"], strict=True)]
    for name, curve in curves.items():
        columns |= {f"windows/T={steps}/{name}": value for steps, value in zip((4, 8, 16), curve, strict=True)}
        columns[f"windows/slope/{name}"] = fitted((4, 8, 16), curve)
    for point, when in enumerate(("before", "after")):
        gradient, bias, relabel = (lengths(metrics, "own", name, point) for name in ("truth", "bias", "relabel"))
        columns[f"own/{when}/relative_bias"] = bias / gradient
        columns[f"own/{when}/relative_relabel"] = relabel / gradient
        columns[f"own/{when}/relabel_share"] = relabel / bias
    numbers["own/finite"] = 2 * 0.01**2 / 0.158**2
    is_summary(summarise(metrics), columns, numbers)


@pytest.mark.parametrize("name", ["bias", "bias_error"])
def test_what_is_not_a_number_violates_the_bounds(name):
    metrics = metrics_by_hand()
    before = summarise(metrics)
    at = tuple(np.argwhere(np.abs(metrics["path/bias"][:, :, 0]) - 5 * metrics["path/bias_error"][:, :, 0] < -0.2)[-1])
    place = (at[0], at[1], 0, *at[2:])
    metrics[f"path/{name}"][place] = math.nan
    after = summarise(metrics)
    assert after["held/violations"] == before["held/violations"] + 1


def test_curves_are_read_from_the_metrics():
    metrics = metrics_by_hand()
    np.testing.assert_array_equal(windows_of(metrics), [4, 8, 16])
    np.testing.assert_array_equal(values_of(metrics, "onset", "il"), metrics["path/il"][:, 0, 2])
    along = values_of(metrics, "windows", "il")
    expected = [metrics["path/il"][:, 0, 1, 1], *(metrics[f"window.{steps}/il"][:, 0, 0, 0] for steps in (8, 16))]
    np.testing.assert_array_equal(along, np.stack(expected, 1))
    assert norm(metrics, "onset", "relabel")[0, 0] == pytest.approx(18**0.5)
    turned = {"own/il": np.ones((1, 1, 2)), "own/truth": np.array([[[3.0, -4.0]]])}
    np.testing.assert_allclose(cosines(turned, "own"), [[-1 / (5 * 2**0.5)]])
    np.testing.assert_allclose(slope(np.array([1.0, 2.0, 4.0]), np.array([[3.0, 12.0, 48.0]])), [2])


INF = math.inf
SURE = {
    "sole-source-onset": (-INF, 0.01, "onset/relative_relabel"),
    "faster": (0, INF, "held/slope/relative_bias", "no_onset/slope/relative_bias"),
    "faster-bound": (0, INF, "held/slope/relative_bound", "no_onset/slope/relative_bound"),
    "faster-onset": (0.5, INF, "onset/slope/relative_bias"),
    "sqrt-T": (0.4, 0.6, "windows/slope/score"),
    "gradient-T": (0.8, 1.2, "windows/slope/gradient"),
    "relative-bound-T": (-INF, 0, "windows/slope/relative_bound"),
    "relative-bias-T": (-INF, 0.1, "windows/slope/relative_bias"),
    "relabel-minor": (-INF, 0.5, "own/before/relabel_share", "own/after/relabel_share"),
}
BETWEEN = {
    "bound": (-INF, 0.5, False, "held/violations", "no_onset/violations"),
    "bound-3": (-INF, 0.5, False, "held/violations_3", "no_onset/violations_3"),
    "sole-source": (-INF, 5, False, "held/rest_z", "no_onset/rest_z"),
    "finite": (1, INF, False, "own/finite"),
}


def test_claims_hold_as_stated():
    claims = experiment.claims
    assert {claim.id for claim in claims} == {*SURE, *BETWEEN}
    are_sure(claims, SURE)
    are_between(claims, BETWEEN)
    assert {claim.id for claim in claims if claim.own} == {"relative-bias-T", "relabel-minor"}


def test_invalid_settings_are_refused():
    for change, message in (
        ({"steps": 6}, "multiples of 4"),
        ({"windows": (8, 18)}, "multiples of 4"),
        ({"windows": (16, 8)}, "windows"),
        ({"windows": (4, 8)}, "windows"),
        ({"windows": ()}, "windows"),
        ({"eps": (0.2, 0.1)}, "eps"),
        ({"eps": ()}, "eps"),
        ({"eps": (0.0, 0.1)}, "eps"),
        ({"eps_windows": 0.11}, "eps_windows"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(**change)
    with pytest.raises(ValueError, match="groups"):
        experiment.check(Config(groups=1))
    for config in PRESETS.values():
        experiment.check(config)
