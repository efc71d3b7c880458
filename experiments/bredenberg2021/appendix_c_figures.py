"""Figure and table of appendix C: measurements on the toy, closed forms, and the printed equations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.appendix_c_cells import Cells, cells, error_about_gradient, lengths, settings
from experiments.bredenberg2021.drawing import letter
from experiments.bredenberg2021.toy import gradient, methods, mse_printed, printed_17, printed_18

CURVES = {  # method: label, colour, marker
    "bp": ("BP", "black", "o"),
    "il_marginal": (r"IL, $\lambda$ marginalised", "#56b4e9", "x"),
    "il_alternating": (r"IL, $\lambda$ alternating", "#0072b2", "s"),
    "il_global": (r"IL, $\lambda$ global", "#009e73", "^"),
    "nvi_alternating_full_c1": (r"NVI*, $\lambda$ alternating", "#e69f00", "s"),
    "nvi_global_c1": (r"NVI*, $\lambda$ global", "#d55e00", "^"),
    "nvi_no_baseline": (r"NVI*, $\lambda$ global, no baseline", "#cc79a7", "v"),
}


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Variance against n and D, means, and the printed variances; points are measured, lines are closed forms."""
    import matplotlib.pyplot as plt

    ns, pairs = lengths(metrics), settings(metrics)
    sigma, gap = pairs[0]
    s2, middle = sigma**2, ns[len(ns) // 2]
    steps = np.unique([ns[0], *range(ns[1], ns[-1] + 1, 2)])
    figure, axes = plt.subplots(2, 2, figsize=(13, 9.4), constrained_layout=True)
    (by_n, by_gap), (means, prints) = axes

    def draw(axis: Any, x: np.ndarray, measured: Cells, chosen: np.ndarray, scale: Any, **style: Any) -> None:
        axis.errorbar(
            x, measured.value[chosen] / scale, 2 * measured.error[chosen] / scale, ls="none", ms=5, mfc="none", **style
        )

    for name, (label, colour, marker) in CURVES.items():
        measured, closed = cells(metrics, name, "variance"), methods(ns[-1])[name].variance
        style = {"color": colour, "marker": marker}
        first = (measured.s2 == s2) & (measured.gap == gap)
        own = steps[steps >= measured.n.min()]
        draw(by_n, measured.n[first], measured, first, 1, label=label, **style)
        by_n.plot(own, [closed(int(n), s2, gap) for n in own], color=colour, lw=1)
        swept = measured.n == middle
        ratio = measured.gap / np.sqrt(measured.s2)
        draw(by_gap, ratio[swept], measured, swept, 1 / measured.s2[swept], **style)
        ratios = np.linspace(0, ratio.max(), 101)
        by_gap.plot(ratios, [closed(middle, 1, float(one)) for one in ratios], color=colour, lw=1)
    by_n.set(
        xscale="log", yscale="log", xlabel="n, number of steps", ylabel=r"variance of one estimate of $-dL/d\mu_q$"
    )
    by_n.set_title(rf"Variance against length ($\sigma$ = {sigma:g}, D = {gap:g})")
    by_gap.set(yscale="log", xlabel=r"gap over noise, D / $\sigma$", ylabel=r"variance times $\sigma^2$")
    sigmas = ", ".join(f"{one:g}" for one in sorted({one for one, _ in pairs}))
    by_gap.set_title(rf"Variance against the gap (n = {middle}, $\sigma$ = {sigmas})")

    for name, label, colour, marker, aside in (
        ("bp", "BP", "black", "o", 0.92),
        ("il_alternating", r"IL, $\lambda$ alternating", "#0072b2", "s", 0.97),
        ("nvi_global_c1", "NVI*, c = 1, corrected", "#d55e00", "^", 1.03),
        ("nvi_global_c2", "NVI*, c = 2, Eq. 27 as printed", "#999999", "D", 1.0),
        ("nvi_global_c4", "NVI*, c = 4, the factor of Eq. 26", "#666666", "v", 1.0),
    ):
        measured = cells(metrics, name, "mean")
        first = (measured.s2 == s2) & (measured.gap == gap)
        scale = measured.at(gradient)[first]
        draw(means, measured.n[first] * aside, measured, first, scale, label=label, color=colour, marker=marker)
        level = methods(ns[-1])[name].mean(1, s2, gap) / gradient(1, s2, gap)
        means.axhline(level, color=colour, lw=1, zorder=0)
    means.set(xscale="log", ylim=(0.5, 1.1), xlabel="n, number of steps", ylabel="mean over true gradient")
    means.set_title(rf"Bias ($\sigma$ = {sigma:g}, D = {gap:g})")

    one, two = cells(metrics, "nvi_global_c1", "variance"), cells(metrics, "nvi_global_c2", "variance")
    for measured, closed, label, colour, marker in (
        (one, methods(1)["nvi_global_c1"].variance, "variance, c = 1 (unbiased)", "#d55e00", "^"),
        (error_about_gradient(metrics, "nvi_global_c2"), mse_printed, "mean squared error, c = 2", "#009e73", "o"),
        (two, methods(1)["nvi_global_c2"].variance, "variance, c = 2 (as printed)", "#999999", "D"),
    ):
        first = (measured.s2 == s2) & (measured.gap == gap)
        draw(prints, measured.n[first], measured, first, measured.n[first], label=label, color=colour, marker=marker)
        prints.plot(steps, [closed(int(n), s2, gap) / n for n in steps], color=colour, lw=1)
    for less, dashes in ((0, "--"), (1, ":")):
        whole = np.arange(1 + less, ns[-1] + 1)
        printed = [printed_18(int(n) - less, s2, gap) / n for n in whole]
        prints.plot(whole, printed, dashes, color="black", lw=1.4, label=f"Eq. 18, T = n{' - 1' if less else ''}")
    prints.set(xscale="log", yscale="log", xlabel="n, number of steps", ylabel="variance / n")
    prints.set_title(rf"NVI*, global $\lambda$: Eq. 18 and what it may mean ($\sigma$ = {sigma:g}, D = {gap:g})")
    for axis in axes.flat:
        if axis is not by_gap:
            axis.legend(frameon=False, fontsize=8, **({"loc": (0.02, 0.58)} if axis is means else {}))
            axis.set_xticks(ns, [str(n) for n in ns])
            axis.minorticks_off()
    letter(axes.flat, 0.1)
    seeds = next(iter(metrics.values())).shape[0]
    figure.suptitle(
        "Bredenberg et al. (2021), appendix C: points are Monte Carlo "
        f"(mean of {seeds} seeds, bars two standard errors), lines closed forms"
    )
    return figure


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Every method at the second and the last n, first setting: measured and in closed form, in Markdown."""
    sigma, gap = settings(metrics)[0]
    lines = [f"sigma = {sigma:g}, D = {gap:g}; measured +- standard error.", ""]
    lines += [
        "| n | method | mean | closed form | gradient | variance | closed form | Eq. 17 or 18, T = n |",
        "|---" * 8 + "|",
    ]
    for n in (lengths(metrics)[1], lengths(metrics)[-1]):
        for name, method in methods(n).items():
            columns = []
            for moment, closed in (("mean", method.mean), ("variance", method.variance)):
                measured = cells(metrics, name, moment)
                i = int(np.flatnonzero(measured.n == n)[0])
                columns.append(
                    (f"{measured.value[i]:.4g} +- {measured.error[i]:.1g}", f"{closed(n, sigma**2, gap):.5g}")
                )
            printed = printed_18(n, sigma**2, gap) if name.startswith("nvi") else printed_17(n, sigma**2, gap)
            row = (str(n), name, *columns[0], f"{gradient(n, sigma**2, gap):.5g}", *columns[1], f"{printed:.5g}")
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)
