"""Numbers that the claims on Figure 2 of Lindsey & Litwin-Kumar (2020) read, from its metrics."""

from collections.abc import Mapping

import numpy as np

from plasticity_jax.run import put, t_value
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning

HALVES = {"iid/reuse": ("iid/control", 0), "iid/upstream": ("iid/control", 1)}
"""Networks that are not a part of their own: the part, and the half of it."""
DEPTHS = {1: "iid/reuse", 2: "iid/flp2", 3: "iid/flp3"}
NETWORKS = (*DEPTHS.values(), "iid/upstream", "iid/gradient", "continual/flp3", "continual/gradient")

LAYERS = ("third_from_end", "penultimate", "readout")
WEAK = 0.5
"""A cosine below it is called weak: an angle of more than 60 degrees."""


def final(metrics: Mapping[str, np.ndarray], name: str, metric: str) -> np.ndarray:
    """A metric at the end of a network's meta-training, (seeds, ...)."""
    part, half = HALVES.get(name, (name, 1))
    values = np.asarray(metrics[f"{part}/{metric}"], float)
    return values[:, -1 if half else values.shape[1] // 2 - 1]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Errors, gaps in powers of ten, and measures of cosines and norms; over seeds."""
    summary: dict[str, float] = {"no_lifetime_learning": no_lifetime_learning()}
    for name in NETWORKS:
        put(summary, f"error/{name}", final(metrics, name, "error"))
    for name in DEPTHS.values():
        put(summary, f"frozen/{name}", final(metrics, name, "frozen"))

    def put_ratio(key: str, metric: str, worse: str, better: str) -> None:
        """Mean difference of logarithms, which takes in the blocks or the layers that there are."""
        ratio = np.log10(final(metrics, worse, metric)) - np.log10(final(metrics, better, metric))
        put(summary, key, ratio.reshape(len(ratio), -1).mean(1))

    for less, more in ((1, 2), (2, 3)):
        put_ratio(f"gap/frozen/{more}-{less}", "frozen", DEPTHS[more], DEPTHS[less])
        put_ratio(f"gap/error/{less}-{more}", "error", DEPTHS[less], DEPTHS[more])
    put_ratio("gap/error/reuse-upstream", "error", "iid/reuse", "iid/upstream")
    put_ratio("gap/error/upstream-flp3", "error", "iid/upstream", "iid/flp3")
    put_ratio("gap/interference/gradient-flp3", "interference", "continual/gradient", "continual/flp3")
    for name in ("continual/flp3", "continual/gradient"):
        for k, values in enumerate(final(metrics, name, "interference").T):
            put(summary, f"interference/{name}/{k + 2}", values)
    for order in ("iid", "continual"):
        summary |= alignment(metrics, order)
    put(summary, "periodicity", periodicity(metrics).mean(1))
    for metric in ("norm", "relative"):
        ours, theirs = (final(metrics, name, metric).mean(1) for name in ("iid/flp3", "iid/gradient"))
        for k, ratio in enumerate(np.log10(ours / theirs).T):
            put(summary, f"{metric}/{LAYERS[k]}", ratio)
            put(summary, f"-{metric}/{LAYERS[k]}", -ratio)
    return summary


def alignment(metrics: Mapping[str, np.ndarray], order: str) -> dict[str, float]:
    """Cosines in one order: how often weak, how different by layer, and where negative or rising.

    A layer of a network is negative, rising or falling if its lifetimes' mean is, at 95 % by Student's t.
    """
    found: dict[str, float] = {}
    steps, lives, rises = (
        final(metrics, f"{order}/flp3", metric) for metric in ("cosine", "cosine_of_lives", "rise_of_lives")
    )  # (seeds, T, P), (seeds, lifetimes, P) twice
    found[f"weak/{order}"] = float((np.abs(steps) < WEAK).mean())
    for k, values in enumerate(lives.mean(1).T):
        put(found, f"cosine/{order}/{LAYERS[k]}", values)
        put(found, f"rise/{order}/{LAYERS[k]}", rises.mean(1)[:, k])
    put(found, f"rise/{order}/mean", rises.mean((1, 2)))
    # The highest and the lowest layer are chosen on one half of the lifetimes and held apart on the other.
    chosen, held = lives[:, ::2].mean(1), lives[:, 1::2].mean(1)
    seeds = np.arange(len(held))
    put(found, f"spread/{order}", held[seeds, chosen.argmax(1)] - held[seeds, chosen.argmin(1)])
    for kind, values in (("negative", -lives), ("rising", rises), ("falling", -rises)):
        error = values.std(1, ddof=1) / values.shape[1] ** 0.5
        found[f"{kind}/{order}"] = float((values.mean(1) > t_value(values.shape[1]) * error).mean())
    return found


def periodicity(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """Autocorrelation of a continual life's cosines at a block's length, above that at half a block less and more.

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
