"""Numbers for the claims on Figure 2 of Lindsey & Litwin-Kumar (2020), from its metrics."""

from collections.abc import Mapping

import numpy as np

from plasticity_jax.run import put, t_value
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning

PARTS = (
    *("iid/reuse", "iid/control", "iid/readout", "iid/flp2", "iid/flp3", "iid/gradient"),
    *("continual/flp3", "continual/gradient"),
)
"""Meta-trainings; those of feature reuse, the control, the readout and FLP (3) have two halves."""
HALVES = {
    "iid/reuse": ("iid/reuse", 0),
    "iid/reuse_longer": ("iid/reuse", 1),
    "iid/upstream": ("iid/control", 1),
    "iid/readout": ("iid/readout", 1),
    "iid/flp3": ("iid/flp3", 0),
    "iid/gradient_warm": ("iid/flp3", 1),
    "continual/flp3": ("continual/flp3", 0),
    "continual/gradient_warm": ("continual/flp3", 1),
}
"""Networks that are half of a part: the part, and the index of the half."""
DEPTHS = {1: "iid/reuse", 2: "iid/flp2", 3: "iid/flp3"}
NETWORKS = (*HALVES, "iid/flp2", "iid/gradient", "continual/gradient")

GRADIENT = ("gradient_warm", "gradient")
"""The paper's gradient-based learner, of first order from FLP's weights, and ours, of second order from scratch."""
LAYERS = ("third_from_end", "penultimate", "readout")
WEAK = 0.5
"""A cosine below it is called weak: an angle of more than 60 degrees."""


def final(metrics: Mapping[str, np.ndarray], name: str, metric: str) -> np.ndarray:
    """A metric at the end of a network's meta-training, (seeds, ...)."""
    part, half = HALVES.get(name, (name, 1))
    values = np.asarray(metrics[f"{part}/{metric}"], float)
    return values[:, -1 if half else values.shape[1] // 2 - 1]


def ran(metrics: Mapping[str, np.ndarray], *names: str) -> bool:
    """Returns whether all of these networks were run."""
    return all(f"{HALVES.get(name, (name, 1))[0]}/error" in metrics for name in names)


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Errors, gaps in powers of ten, and measures of cosines and norms; over seeds, of the networks that were run."""
    summary: dict[str, float] = {"no_lifetime_learning": no_lifetime_learning()}
    for name in [name for name in NETWORKS if ran(metrics, name)]:
        for what in ("error", "frozen") if name in DEPTHS.values() else ("error",):
            put(summary, f"{what}/{name}", final(metrics, name, what))
            put(summary, f"{what}/{name}/mean", final(metrics, name, f"{what}_mean"))

    def put_ratio(key: str, metric: str, worse: str, better: str) -> None:
        """Adds a difference of logarithms, which is a mean over blocks or layers if there are any."""
        if ran(metrics, worse, better):
            ratio = np.log10(final(metrics, worse, metric)) - np.log10(final(metrics, better, metric))
            put(summary, key, ratio.reshape(len(ratio), -1).mean(1))

    for less, more in ((1, 2), (2, 3)):
        put_ratio(f"gap/frozen/{more}-{less}", "frozen", DEPTHS[more], DEPTHS[less])
        put_ratio(f"gap/error/{less}-{more}", "error", DEPTHS[less], DEPTHS[more])
    for other in ("reuse", "reuse_longer", "readout"):
        put_ratio(f"gap/error/{other}-upstream", "error", f"iid/{other}", "iid/upstream")
    put_ratio("gap/error/upstream-flp3", "error", "iid/upstream", "iid/flp3")
    for other in GRADIENT:
        put_ratio(f"gap/interference/{other}-flp3", "interference", f"continual/{other}", "continual/flp3")
        put_ratio(f"gap/error/{other}-flp3", "error", f"continual/{other}", "continual/flp3")
    for name in [f"continual/{name}" for name in ("flp3", *GRADIENT)]:
        if ran(metrics, name):
            for k, values in enumerate(final(metrics, name, "interference").T):
                put(summary, f"interference/{name}/{k + 2}", values)
    for order in ("iid", "continual"):
        if ran(metrics, f"{order}/flp3"):
            summary |= alignment(metrics, order)
    if ran(metrics, "continual/flp3"):
        put(summary, "periodicity", periodicity(metrics).mean(1))
    for other in GRADIENT:
        if ran(metrics, "iid/flp3", f"iid/{other}"):
            summary |= sizes(metrics, other)
    return summary


def sizes(metrics: Mapping[str, np.ndarray], other: str) -> dict[str, float]:
    """Norms of FLP's updates in i.i.d. lives over those of a gradient-based learner, in powers of ten, by layer."""
    ratios: dict[str, float] = {}
    for metric in ("norm", "relative"):
        ours, theirs = (final(metrics, f"iid/{name}", metric).mean(1) for name in ("flp3", other))
        for k, ratio in enumerate(np.log10(ours / theirs).T):
            put(ratios, f"{metric}/{other}/{LAYERS[k]}", ratio)
            put(ratios, f"-{metric}/{other}/{LAYERS[k]}", -ratio)
    return ratios


def alignment(metrics: Mapping[str, np.ndarray], order: str) -> dict[str, float]:
    """Cosines in one order: the share that are weak, their spread over layers, and the shares of signs and trends.

    A layer of a network is negative, rising or falling if its mean over lifetimes is, at 95 % by Student's t.
    """
    measures: dict[str, float] = {}
    steps, lives, rises = (
        final(metrics, f"{order}/flp3", metric) for metric in ("cosine", "cosine_of_lives", "rise_of_lives")
    )  # (seeds, T, P), (seeds, lifetimes, P) twice
    measures[f"weak/{order}"] = float((np.abs(steps) < WEAK).mean())
    for k, values in enumerate(lives.mean(1).T):
        put(measures, f"cosine/{order}/{LAYERS[k]}", values)
        put(measures, f"rise/{order}/{LAYERS[k]}", rises.mean(1)[:, k])
    put(measures, f"rise/{order}/mean", rises.mean((1, 2)))
    # The highest and the lowest layer are chosen on one half of the lifetimes and compared on the other.
    chosen, held = lives[:, ::2].mean(1), lives[:, 1::2].mean(1)
    seeds = np.arange(len(held))
    put(measures, f"spread/{order}", held[seeds, chosen.argmax(1)] - held[seeds, chosen.argmin(1)])
    for kind, values in (("negative", -lives), ("rising", rises), ("falling", -rises)):
        error = values.std(1, ddof=1) / values.shape[1] ** 0.5
        measures[f"{kind}/{order}"] = float((values.mean(1) > t_value(values.shape[1]) * error).mean())
    return measures


def periodicity(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """Autocorrelation of a continual life's cosines at a block's length, less that half a block away on both sides.

    Returns:
      (seeds, P).
    """
    series = final(metrics, "continual/flp3", "cosine")
    series = series - series.mean(1, keepdims=True)
    steps = series.shape[1]
    block = steps // (final(metrics, "continual/flp3", "interference").shape[1] + 1)
    half = block // 2

    def at(lag: int) -> np.ndarray:
        variance = np.maximum((series**2).mean(1), 1e-12)
        return (series[:, lag:] * series[:, : steps - lag]).mean(1) / variance

    return at(block) - (at(block - half) + at(block + half)) / 2
