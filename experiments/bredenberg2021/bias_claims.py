"""Summary of the bias of impression learning, and the claims on it and its bounds."""

from collections.abc import Mapping

import numpy as np

from experiments.bredenberg2021.bias_trials import KINDS, PAPER, VECTORS, W
from experiments.shared.claims import INF, every, surely
from plasticity_jax.run import above, put

FAR = 5.0
"""Standard errors with 99 degrees of freedom; any of 900 exceeds this by chance with a probability of 0.002."""
FREE = ("held", "no_onset")
"""The `KINDS` without onsets."""


def values_of(metrics: Mapping[str, np.ndarray], curve: str, name: str) -> np.ndarray:
    """A metric along a curve, (seeds, points, ...): a kind of pattern against eps, "windows" against T, or "own"."""
    if curve == "own":
        return np.asarray(metrics[f"own/{name}"], float)
    if curve in KINDS:
        return np.asarray(metrics[f"path/{name}"], float)[:, 0, KINDS.index(curve)]
    eps = metrics[f"window.{windows_of(metrics)[1]}/eps"][0, 0, 0, 0]
    column = int(np.flatnonzero(metrics["path/eps"][0, 0, 0] == eps)[0])
    shortest = values_of(metrics, "no_onset", name)[:, column : column + 1]
    longer = [np.asarray(metrics[f"window.{steps}/{name}"], float)[:, 0, 0] for steps in windows_of(metrics)[1:]]
    return np.concatenate([shortest, *longer], 1)


def windows_of(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """All window lengths T, ascending."""
    longer = {int(name.partition("/")[0].partition(".")[2]) for name in metrics if name.startswith("window.")}
    return np.array([int(metrics["path/steps"][0, 0, 0, 0]), *sorted(longer)])


def norm(metrics: Mapping[str, np.ndarray], curve: str, name: str) -> np.ndarray:
    """Length over all weights, (seeds, points); of a mean, less the contribution of noise but not below it."""
    values = values_of(metrics, curve, name)
    if values.ndim == 2:
        return values
    if name not in VECTORS:
        return np.linalg.norm(values, axis=-1)
    noise = (values_of(metrics, curve, f"{name}_error") ** 2).sum(-1)
    return np.sqrt(np.maximum((values**2).sum(-1) - noise, noise))


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slope of log y against log x, for each seed; y is (seeds, points)."""
    return np.polyfit(np.log(x), np.log(y).T, 1)[0]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Lengths over all weights, named "kind/eps=../...", slopes of logarithms, and the worst weights."""
    summary: dict[str, float] = {}
    eps = metrics["path/eps"][0, 0, 0]
    for kind in KINDS:
        gradient, bound = norm(metrics, kind, "truth"), norm(metrics, kind, "bound")
        # Without onsets the Taylor step is the whole bias, measured with far less noise; with onsets B is infinite.
        bias = norm(metrics, kind, "bias" if kind == "onset" else "taylor")
        curves = {"gradient": gradient, "bias": bias, "relative_bias": bias / gradient}
        if kind == "onset":
            curves["relabel"] = norm(metrics, kind, "relabel")
            curves["relative_relabel"] = curves["relabel"] / gradient
        else:
            curves |= {"bound": bound, "relative_bound": bound / gradient}
        for name, curve in curves.items():
            for value, column in zip(eps, curve.T, strict=True):
                put(summary, f"{kind}/eps={value:.3g}/{name}", column)
            put(summary, f"{kind}/slope/{name}", slope(eps, curve))
            put(summary, f"{kind}/{name}", curve[:, 0])
        put(summary, f"{kind}/cosine", cosines(metrics, kind)[:, -1])
        if kind != "onset":
            values, error, weight_bound, bound_3, rest, rest_error = (
                values_of(metrics, kind, name)
                for name in ("bias", "bias_error", "bound", "bound_3", "rest", "rest_error")
            )
            beyond = np.abs(values) - FAR * error
            summary[f"{kind}/violations"] = float((~(beyond <= weight_bound)).sum())
            summary[f"{kind}/violations_3"] = float((~(beyond[..., W] <= bound_3[..., None])).sum())
            shares = np.abs(values_of(metrics, kind, "taylor")) / weight_bound
            summary[f"{kind}/largest_share"] = float(shares.max())
            summary[f"{kind}/rest_z"] = float((np.abs(rest) / np.maximum(rest_error, 1e-12)).max())
    windows = windows_of(metrics)
    names = {"gradient": "truth", "score": "score", "b": "b", "bias": "taylor", "bound": "bound"}
    curves = {name: norm(metrics, "windows", metric) for name, metric in names.items()}
    curves |= {f"relative_{name}": curves[name] / curves["gradient"] for name in ("bias", "bound")}
    for name, curve in curves.items():
        for steps, column in zip(windows, curve.T, strict=True):
            put(summary, f"windows/T={steps}/{name}", column)
        put(summary, f"windows/slope/{name}", slope(windows, curve))
    gradient, bias, relabel = (norm(metrics, "own", name) for name in ("truth", "bias", "relabel"))
    for index, when in enumerate(("before", "after")):
        put(summary, f"own/{when}/relative_bias", (bias / gradient)[:, index])
        put(summary, f"own/{when}/relative_relabel", (relabel / gradient)[:, index])
        put(summary, f"own/{when}/relabel_share", (relabel / bias)[:, index])
    summary["own/finite"] = 2 * PAPER.sigma_inf[-1] ** 2 / PAPER.sigma_gen[-1] ** 2  # pyright: ignore
    return summary


def cosines(metrics: Mapping[str, np.ndarray], curve: str) -> np.ndarray:
    """Cosine between IL's mean update and the gradient over all weights, (seeds, points)."""
    il, truth = (values_of(metrics, curve, name) for name in ("il", "truth"))
    return (il * truth).sum(-1) / (np.linalg.norm(il, axis=-1) * np.linalg.norm(truth, axis=-1))


FASTER = "as p~ approaches q~ the bias of IL shrinks faster than the gradient (slope of log ratio on log eps, above 0)"
CLAIMS = [
    every(
        "bound",
        "Equation 2 bounds the bias of every weight, k = 0 (weights beyond it by 5 s.e.)",
        "0",
        -INF,
        0.5,
        *(f"{kind}/violations" for kind in FREE),
    ),
    every(
        "bound-3",
        "Equation 3, with E s^2 for S, bounds the bias of every W_ij, k = 0 (weights beyond it by 5 s.e.)",
        "0",
        -INF,
        0.5,
        *(f"{kind}/violations_3" for kind in FREE),
    ),
    every(
        "sole-source",
        "k = 0: the Taylor step is the sole source of the bias (largest |z| of what it leaves, below 5)",
        "sole source",
        -INF,
        FAR,
        *(f"{kind}/rest_z" for kind in FREE),
    ),
    surely(
        "sole-source-onset",
        "k as printed: it is still the sole source (share of relabelling in the gradient at the least eps, below 1 %)",
        "sole source",
        -INF,
        0.01,
        "onset/relative_relabel",
    ),
    surely("faster", f"k = 0: {FASTER}", None, 0, INF, *(f"{kind}/slope/relative_bias" for kind in FREE)),
    surely("faster-bound", "k = 0: so does its bound", None, 0, INF, *(f"{k}/slope/relative_bound" for k in FREE)),
    surely(
        "faster-onset",
        "k as printed: it still does, as fast as a power 0.5 of eps",
        None,
        0.5,
        INF,
        "onset/slope/relative_bias",
    ),
    surely(
        "sqrt-T",
        "The scores' root mean square grows as sqrt(T), slope 0.4 to 0.6",
        "0.5",
        0.4,
        0.6,
        "windows/slope/score",
    ),
    surely("gradient-T", "The gradient grows as T, slope 0.8 to 1.2", "1", 0.8, 1.2, "windows/slope/gradient"),
    surely(
        "relative-bound-T",
        "So the bound relative to the gradient falls with T (slope below 0); B is taken for a constant",
        "-0.5",
        -INF,
        0,
        "windows/slope/relative_bound",
    ),
    surely(
        "relative-bias-T",
        "The bias itself, relative to the gradient, does not grow with T (slope below 0.1)",
        None,
        -INF,
        0.1,
        "windows/slope/relative_bias",
        own=True,
    ),
    above(
        "finite",
        "B is finite at the paper's own noise (2 sigma_inf^2 / sigma_gen^2 above 1)",
        "assumed",
        "own/finite",
        1,
    ),
    surely(
        "relabel-minor",
        "In the paper's network, before and after learning, relabelling is the lesser part of W's bias (below half)",
        None,
        -INF,
        0.5,
        *(f"own/{when}/relabel_share" for when in ("before", "after")),
        own=True,
    ),
]
