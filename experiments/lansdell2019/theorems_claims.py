"""The theorems of Lansdell, Prakash & Kording (2020): final errors over networks, and the claims on them."""

from collections.abc import Mapping

import numpy as np

from experiments.shared.claims import INF, Summary, every
from plasticity_jax.run import Claim, put

ANGLES = ("true_angle", "cosine", "angle", "angle_own")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final errors over networks by "part/Wk", or "bias.readout/c=..".

    Each comes with its 95th percentile, maximum, slope of log error against log samples, and ratio to the predicted
    error (of root mean squares).
    """
    summary: dict[str, float] = {}
    for name in [name for name in metrics if name.endswith("/relative_error")]:
        part = name.partition("/")[0]
        samples, sigmas = metrics[f"{part}/samples"][0, :, 0], metrics[f"{part}/sigma"][0, 0]
        theory = metrics.get(f"{part}/expected")
        for sigma in np.unique(sigmas):
            columns = np.flatnonzero(sigmas == sigma)
            for k in range(metrics[name].shape[3]):
                where = f"{part}/c={sigma:.3g}" if part.startswith("bias") else f"{part}/W{k + 2}"
                errors = networks(metrics[name], columns, k)
                put(summary, where, errors[:, -1])
                summary[f"{where}_p95"] = float(np.quantile(errors[:, -1], 0.95))
                summary[f"{where}_max"] = float(errors[:, -1].max())
                curve = root_mean_square(errors)
                summary[f"{where}_slope"] = float(np.polyfit(np.log(samples), np.log(curve), 1)[0])
                if theory is not None:
                    ratio = curve / root_mean_square(networks(theory, columns, k))
                    summary[f"{where}_ratio"] = float(ratio[-1])
        for metric in ANGLES:
            if f"{part}/{metric}" in metrics and part.startswith(("rank", "recurrent")):
                for k in range(metrics[name].shape[3]):
                    values = networks(metrics[f"{part}/{metric}"], np.arange(len(sigmas)), k)
                    put(summary, f"{part}/W{k + 2}_{metric}", values[:, -1])
    for name in ("z2", "variance_ratio"):
        if f"baseline/{name}" in metrics:
            put(summary, f"baseline/{name}", metrics[f"baseline/{name}"])
    for part in [name.removesuffix(".gaussian/samples") for name in metrics if name.endswith(".gaussian/samples")]:
        _, hidden, out = map(int, part.partition(".")[2].split("-"))
        count = metrics[f"{part}.gaussian/samples"][0, -1, 0]
        for noise, one in (("gaussian", 1), ("rademacher", -1)):
            isotropic = ((out + 2) * (hidden + one) / count) ** 0.5
            summary[f"{part}.{noise}/isotropic_ratio"] = summary[f"{part}.{noise}/W2"] / isotropic
    return summary


def networks(values: np.ndarray, columns: np.ndarray, layer: int) -> np.ndarray:
    """A metric (seeds, points, settings, layers) at some settings: (seeds * settings, points)."""
    chosen = values[:, :, columns, layer]
    return chosen.swapaxes(1, 2).reshape(-1, values.shape[1])


def root_mean_square(values: np.ndarray) -> np.ndarray:
    """Root mean square over networks, (networks, points)."""
    return np.sqrt((np.asarray(values, float) ** 2).mean(0))


def _signs(summary: Summary) -> tuple[float, bool]:
    ratio = summary["theorem1.8-5-3.rademacher/W2"] / summary["theorem1.8-5-3.gaussian/W2"]
    return ratio, ratio < 0.9


FALLS = "error falls as 1/sqrt(samples), slope within (-0.65, -0.4)"
RATE = (-0.65, -0.4)
MATCHES = "rms error is what theory expects, ratio within (0.9, 1.1)"
NEAR = (0.9, 1.1)
CLAIMS = [
    every(
        "theorem1",
        "Theorem 1, tanh 8-5-3: B becomes W, largest error below 0.05",
        None,
        *(-INF, 0.05),
        "theorem1.8-5-3.*/W2_max",
    ),
    every("theorem1-rate", f"Theorem 1: {FALLS}", None, *RATE, "theorem1.*/W2_slope", own=True),
    every("theorem1-expected", f"Theorem 1: {MATCHES}", None, *NEAR, "theorem1.*/W2_ratio", own=True),
    every(
        "theorem1-isotropic",
        "Theorem 1: error over sqrt((m+2)(n+-1)/T), that for isotropic errors, within (0.8, 1.2)",
        None,
        *(0.8, 1.2),
        "theorem1.*/isotropic_ratio",
        own=True,
    ),
    every(
        "theorem2-offline",
        "Theorem 2, offline: largest error below 0.05",
        None,
        *(-INF, 0.05),
        "theorem2.offline/W?_max",
    ),
    every(
        "theorem2-online", "Theorem 2, online: largest error below 0.05", None, *(-INF, 0.05), "theorem2.ridge/W?_max"
    ),
    every("theorem2-rate", f"Theorem 2: {FALLS}", None, *RATE, "theorem2.*/W?_slope", own=True),
    every("theorem2-expected", f"Theorem 2: {MATCHES}", None, *NEAR, "theorem2.*/W?_ratio", own=True),
    every(
        "bias",
        "Sigmoid readout: biased at c = 1, error above 0.1",
        None,
        *(0.1, INF),
        "bias.sigmoid/c=1",
        own=True,
    ),
    every(
        "bias-stays",
        "Sigmoid readout, c = 1: samples do not mend it, slope above -0.15",
        None,
        *(-0.15, INF),
        "bias.sigmoid/c=1_slope",
        own=True,
    ),
    every(
        "bias-limit",
        "Sigmoid readout: bias vanishes with c, error below 0.02 at 0.01",
        None,
        *(-INF, 0.02),
        "bias.sigmoid/c=0.01",
    ),
    every(
        "linear-no-bias",
        f"Linear readout, c = 1: no bias; {FALLS}",
        None,
        *RATE,
        "bias.linear/c=1_slope",
        own=True,
    ),
    every(
        "linear-expected",
        f"Linear readout, c = 1: {MATCHES}",
        None,
        *NEAR,
        "bias.linear/c=1_ratio",
        own=True,
    ),
    every(
        "antithetic-expected",
        f"Antithetic, c = 1, no term in c^2: {MATCHES}",
        None,
        *NEAR,
        "bias.antithetic/c=1_ratio",
        own=True,
    ),
    every(
        "rank",
        "A3 violated (linear 8-6-4-3): B2 does not become W2, error above 0.3",
        None,
        *(0.3, INF),
        "rank.*/W2",
        own=True,
    ),
    every(
        "rank-expected",
        "A3 violated, offline: B2 misses one dimension of 4, error 0.5 +- 0.02",
        None,
        *(0.48, 0.52),
        "rank.offline/W2",
        own=True,
    ),
    every(
        "rank-top",
        "A3 violated: B3 becomes W3, largest error below 0.05",
        None,
        *(-INF, 0.05),
        "rank.*/W3_max",
        own=True,
    ),
    every(
        "rank-angle",
        "A3 violated: angle of W2's credit to the gradient below 5 degrees",
        None,
        *(-INF, 5),
        "rank.*/W2_true_angle",
        own=True,
    ),
    every(
        "deep",
        "Deep and tanh, staged: largest error below 0.05",
        None,
        *(-INF, 0.05),
        "deep.staged/W?_max",
        own=True,
    ),
    every("deep-expected", f"Deep and tanh: {MATCHES}", None, *NEAR, "deep.*/W?_ratio", own=True),
    every("deep-rate", f"Deep and tanh: {FALLS}", None, *RATE, "deep.*/W?_slope", own=True),
    every(
        "recurrent",
        "Recurrent: B becomes W, error below 0.15",
        None,
        *(-INF, 0.15),
        "recurrent.corrected/W2",
        own=True,
    ),
    every(
        "recurrent-angle",
        "Recurrent: angle one step back below 10 degrees",
        None,
        *(-INF, 10),
        "recurrent.corrected/W2_angle",
        own=True,
    ),
    every(
        "legacy",
        "Recurrent, authors' code: B is unrelated to W, cosine within 0.2 of 0",
        None,
        *(-0.2, 0.2),
        "recurrent.legacy/W2_cosine",
        own=True,
    ),
    every(
        "legacy-angle",
        "Recurrent, authors' code: 80 to 100 degrees one step back",
        None,
        *(80, 100),
        "recurrent.legacy/W2_angle",
        own=True,
    ),
    every(
        "legacy-own",
        "Recurrent, authors' code: B learns the step's own credit (angle)",
        None,
        *(-INF, 45),
        "recurrent.legacy/W2_angle_own",
        own=True,
    ),
    Claim("signs", "Theorem 1, 8-5-3: signs err less than normal noise (ratio, below 0.9)", None, _signs, own=True),
    every(
        "baseline-mean",
        "The loss of the clean pass can be left out without changing the mean of the estimate (mean of z^2 over "
        "entries, 1 by chance, within 4 standard errors of 1,600 of them)",
        None,
        *(0.86, 1.14),
        "baseline/z2",
    ),
    every(
        "baseline-variance",
        "The loss of the clean pass reduces the variance of the estimate (variance without over that with, c = 0.01)",
        None,
        *(1, INF),
        "baseline/variance_ratio",
    ),
]
