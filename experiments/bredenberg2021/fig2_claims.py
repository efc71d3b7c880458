"""Summary of the gradients in Figure 2, and the claims on them."""

from collections.abc import Mapping

import numpy as np

from experiments.shared.claims import INF, Summary, every, inside, named, surely, worst
from plasticity_jax.run import Claim, above, below, gap, put
from plasticity_jax.run.summary import mean_in

POINTS = ("before", "after")
KEPT = {
    "bp": ("cosine_100", "expected_cosine_1", "expected_cosine_100", "expected_cosine_10000", "variance", "snr"),
    "elbo": ("cosine", "norm_ratio", "bias", "variance", "snr"),
    "il": (
        "cosine",
        "cosine_100",
        "window_cosine",
        "norm_ratio",
        "bias",
        "absolute_bias",
        "variance",
        "snr",
        "snr_step",
        "norm",
    ),
    "nvi": ("cosine", "expected_cosine_10000", "variance", "snr", "snr_step"),
    "nvi_baseline": ("cosine", "cosine_100", "expected_cosine_1", "expected_cosine_100", "expected_cosine_10000")
    + ("variance", "snr", "snr_step", "norm", "cosine_il"),
    "published": ("cosine", "norm_ratio", "z_rms"),
    "stimuli": ("cosine", "norm_ratio", "bias", "absolute_bias", "norm"),
    "truth": ("norm",),
    "test": ("alternating", "wake"),
}


def sizes(metrics: Mapping[str, np.ndarray]) -> list[int]:
    """Numbers of latents, ascending."""
    return sorted(int(name.partition("/")[0][1:]) for name in metrics if name.endswith("/il.cosine"))


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Statistics before and after training, named "n2/before/il/cosine", and the numbers that the claims read.

    "last" and "first" are the most and the fewest latents, if they differ; "worst/..." is over all networks.
    """
    summary: dict[str, float] = {}
    all_n = sizes(metrics)
    first, last = all_n[0], all_n[-1]

    def metric(n: int, name: str) -> np.ndarray:
        return np.asarray(metrics[f"n{n}/{name}"], float)  # (seeds, points)

    for n in all_n:
        for index, when in zip((0, -1), POINTS, strict=True):
            for name, statistics in KEPT.items():
                for statistic in statistics:
                    put(summary, f"n{n}/{when}/{name}/{statistic}", metric(n, f"{name}.{statistic}")[:, index])
            variances = [metric(n, f"{name}.variance")[:, index] for name in ("il", "bp", "nvi", "nvi_baseline")]
            put(summary, f"n{n}/{when}/log10_variance/il-bp", np.log10(variances[0] / variances[1]))
            put(summary, f"n{n}/{when}/log10_variance/nvi_baseline-bp", np.log10(variances[3] / variances[1]))
            put(summary, f"n{n}/{when}/log10_variance/nvi-nvi_baseline", np.log10(variances[2] / variances[3]))
        for name in ("test.alternating", "stimuli.norm"):
            ends = metric(n, name)
            put(summary, f"n{n}/log10_fall/{name}", np.log10(ends[:, 0] / ends[:, -1]))
        for name in ("il", "stimuli"):
            bias, absolute = metric(n, f"{name}.bias"), metric(n, f"{name}.absolute_bias")
            put(summary, f"n{n}/bias_falls/{name}/relative", bias[:, 0] - bias[:, -1])
            put(summary, f"n{n}/bias_falls/{name}/absolute", 1 - absolute[:, -1] / absolute[:, 0])
    for when, index in zip(POINTS, (0, -1), strict=True):
        for name, statistic in (("il", "cosine"), ("nvi_baseline", "expected_cosine_10000"), ("stimuli", "cosine")):
            if first != last:
                ends = [metric(n, f"{name}.{statistic}")[:, index] for n in (first, last)]
                put(summary, f"{when}/{name}/last-first", ends[1] - ends[0])
                put(summary, f"{when}/{name}/first-last", ends[0] - ends[1])
        both = [metric(last, name)[:, index] for name in ("il.cosine", "nvi_baseline.expected_cosine_10000")]
        put(summary, f"{when}/il-nvi_at_last", both[0] - both[1])
        if first != last:
            ratios = [
                metric(n, "nvi_baseline.variance")[:, index] / metric(n, "bp.variance")[:, index] for n in (first, last)
            ]
            put(summary, f"{when}/variance_gap_grows", np.log10(ratios[1] / ratios[0]))
    for name in ("il.cosine", "stimuli.cosine"):
        summary[f"worst/{name}"] = float(np.min([metric(n, name).min() for n in all_n]))
        summary[f"worst_mean/{name}"] = float(np.min([metric(n, name).mean(0).min() for n in all_n]))
        summary[f"worst_before/{name}"] = float(np.min([metric(n, name)[:, 0].min() for n in all_n]))
    summary["first/worst_mean/nvi_baseline.cosine_il"] = float(metric(first, "nvi_baseline.cosine_il").mean(0).min())
    for statistic in ("snr", "snr_step"):
        for rival in ("nvi", "nvi_baseline"):
            ratios = [metric(n, f"il.{statistic}").mean(0) / metric(n, f"{rival}.{statistic}").mean(0) for n in all_n]
            summary[f"least_ratio/{statistic}/{rival}"] = float(np.min([ratio.min() for ratio in ratios]))
    squares = [metric(n, f"{name}.z_rms") ** 2 for n in all_n for name in ("nvi", "nvi_baseline")]
    summary["nvi_z_rms"] = float(np.sqrt(np.mean([square.mean() for square in squares])))
    deviations = [metric(n, "nvi_baseline.cosine_100") - metric(n, "nvi_baseline.expected_cosine_100") for n in all_n]
    summary["expected_cosine_off"] = float(np.max([np.abs(each.mean(0)).max() for each in deviations]))
    return summary


def _equal_variance(when: str) -> Claim:
    def measure(summary: Summary) -> tuple[float, bool]:
        bound = float(np.log10(1.5))
        measured = worst((summary[name] for name in named(summary, f"n*/{when}/log10_variance/il-bp")), -bound, bound)
        return 10**measured, abs(measured) < bound

    statement = f"IL and BP have equal variance, {when} training (worst geometric mean of ratios, within a factor 1.5)"
    return Claim(f"equal-variance-{when}", statement, "1", measure, own=True)


def _at_fewest_latents(id: str, statement: str, tail: str, low: float, high: float) -> Claim:
    """Claim that a mean lies between two bounds, at 95 %, at the smallest number of latents."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        name = min(named(summary, f"n*/{tail}"), key=lambda name: int(name.partition("/")[0][1:]))
        return summary[name], inside(mean_in(summary, name), low, high)

    return Claim(id, statement, None, measure, own=True)


CLAIMS = [
    surely(
        "test-loss",
        "The test loss with phases falls as IL learns (every network; log10 of before over after)",
        None,
        0,
        INF,
        "n*/log10_fall/test.alternating",
        own=True,
    ),
    surely(
        "norm-falls",
        "The gradient, averaged over stimuli, shrinks as IL learns (every network; log10 of before over after)",
        None,
        0,
        INF,
        "n*/log10_fall/stimuli.norm",
        own=True,
    ),
    above(
        "aligned-nvi",
        "The mean of IL's trials is aligned with that of NVI*'s, with baseline, all through training of the fewest "
        "latents (least of means over seeds)",
        None,
        "first/worst_mean/nvi_baseline.cosine_il",
        0,
    ),
    above(
        "positive", "IL's alignment with the true gradient is positive everywhere (least)", None, "worst/il.cosine", 0
    ),
    above(
        "positive-before",
        "... before training, at every number of latents and seed (least)",
        None,
        "worst_before/il.cosine",
        0,
        own=True,
    ),
    above("positive-mean", "... of means over seeds, throughout training (least)", None, "worst_mean/il.cosine", 0),
    above(
        "positive-stimuli",
        "IL's alignment is positive everywhere for gradients averaged over stimuli (least)",
        None,
        "worst/stimuli.cosine",
        0,
        own=True,
    ),
    above(
        "positive-stimuli-mean",
        "... of means over seeds, throughout training (least)",
        None,
        "worst_mean/stimuli.cosine",
        0,
        own=True,
    ),
    every(
        "near-bp",
        "IL's cosine to the true gradient is near BP's, 1 (least of means over seeds, above 0.9)",
        None,
        0.9,
        INF,
        *(f"n*/{when}/il/cosine" for when in POINTS),
        own=True,
    ),
    *(
        every(
            id,
            f"{what} falls by less than 0.1 from the fewest latents to the most (before, after)",
            None,
            -0.1,
            INF,
            *(f"{when}/{kind}/last-first" for when in POINTS),
            own=True,
        )
        for id, what, kind in (
            ("il-keeps", "IL's cosine", "il"),
            ("il-keeps-stimuli", "IL's cosine for gradients averaged over stimuli", "stimuli"),
        )
    ),
    gap(
        "nvi-collapses",
        "The cosine of a mean of 10^4 NVI* estimates, with baseline, falls with latents (before training)",
        None,
        "before/nvi_baseline/first-last",
    ),
    gap(
        "il-beats-nvi",
        "At the most latents 10^4 trials of IL are better aligned than of NVI* with baseline (before, after)",
        None,
        *(f"{when}/il-nvi_at_last" for when in POINTS),
    ),
    gap(
        "variance-grows",
        "NVI*'s variance grows faster with latents than BP's (log10 of ratios, before and after)",
        None,
        *(f"{when}/variance_gap_grows" for when in POINTS),
    ),
    every(
        "snr",
        "IL's signal-to-noise exceeds NVI*'s, with and without baseline, 50 times: a window's total (least ratio)",
        None,
        50,
        INF,
        *("least_ratio/snr/nvi", "least_ratio/snr/nvi_baseline"),
        own=True,
    ),
    every(
        "snr-step",
        "... and per step, the authors' statistic (least ratio)",
        None,
        50,
        INF,
        *("least_ratio/snr_step/nvi", "least_ratio/snr_step/nvi_baseline"),
    ),
    surely(
        "bias-shrinks",
        "IL's bias relative to the gradient shrinks as the model fits (every network)",
        None,
        0,
        INF,
        "n*/bias_falls/il/relative",
    ),
    surely(
        "bias-shrinks-absolute",
        "IL's bias shrinks as the model fits, in absolute terms (every network; least fraction lost)",
        None,
        0,
        INF,
        "n*/bias_falls/il/absolute",
    ),
    surely(
        "bias-shrinks-stimuli-all",
        "IL's bias shrinks as the model fits, absolute, averaged over stimuli (every network; least fraction lost)",
        None,
        0,
        INF,
        "n*/bias_falls/stimuli/absolute",
        own=True,
    ),
    _at_fewest_latents(
        "bias-shrinks-stimuli",
        "IL's bias shrinks as the model fits, absolute, averaged over stimuli, fewest latents (fraction lost)",
        "bias_falls/stimuli/absolute",
        0,
        INF,
    ),
    _equal_variance("before"),
    _equal_variance("after"),
    below(
        "nvi-unbiased",
        "NVI* with gamma_g = 1 is unbiased (root mean square of z over all, below 1.2)",
        "unbiased",
        "nvi_z_rms",
        1.2,
    ),
    surely(
        "baseline-pays",
        "The baseline takes variance off NVI* (log10 of ratios)",
        None,
        0,
        INF,
        "n*/log10_variance/nvi-nvi_baseline",
    ),
    _at_fewest_latents(
        "published-climbs",
        "The published NVI* climbs: its mean is opposed to the gradient (cosine, fewest latents, before training)",
        "before/published/cosine",
        -INF,
        0,
    ),
]
