"""Figure 2: alignment, bias, variance and signal-to-noise, against latents and through training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.drawing import letter, with_errors
from experiments.bredenberg2021.fig2_claims import sizes

LABELS = {
    "bp": "BP, same loss",
    "elbo": "BP of the ELBO",
    "il": "IL",
    "nvi": "NVI*",
    "nvi_baseline": "NVI*, with baseline",
    "published": "NVI*, published code",
}
COLOURS = {
    "bp": "#000000",
    "elbo": "#7f7f7f",
    "il": "#0072b2",
    "nvi": "#d55e00",
    "nvi_baseline": "#e69f00",
    "published": "#cc79a7",
}


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Against latents (top) and against training (bottom): alignment, length and bias, variance, signal-to-noise."""
    import matplotlib.pyplot as plt

    all_n = sizes(metrics)
    figure, axes = plt.subplots(2, 4, figsize=(19, 8.6), constrained_layout=True)

    def against_n(axis: Any, statistic: str, names: tuple[str, ...]) -> None:
        for index, style in ((0, "o-"), (-1, "s--")):
            for name in names:
                values = [np.asarray(metrics[f"n{n}/{name}.{statistic}"])[:, index] for n in all_n]
                label = LABELS[name] if index == 0 else None
                with_errors(axis, all_n, values, label=label, color=COLOURS[name], fmt=style)

    one, two, three, four = axes[0]
    against_n(one, "expected_cosine_10000", ("bp", "il", "nvi_baseline", "nvi"))
    against_n(one, "cosine", ("elbo",))
    one.axhline(0, color="black", lw=0.6)
    one.set(title="alignment of the mean of 10,000 trials", ylabel="cosine to the true gradient", ylim=(-0.1, 1.05))
    for trials, style in ((1, "o:"), (100, "^--"), (10_000, "s-")):
        for name in ("bp", "il", "nvi_baseline"):
            values = [np.asarray(metrics[f"n{n}/{name}.expected_cosine_{trials}"])[:, 0] for n in all_n]
            with_errors(two, all_n, values, label=f"{LABELS[name]}, {trials:,}", color=COLOURS[name], fmt=style)
    two.set(title="by number of trials (before training)", ylabel="cosine to the true gradient", yscale="log")
    against_n(three, "variance", ("nvi", "nvi_baseline", "bp", "il", "elbo"))
    three.set(title="variance of one trial", ylabel="summed variance / |gradient|^2", yscale="log")
    against_n(four, "snr", ("elbo", "bp", "il", "nvi_baseline", "nvi"))
    four.set(title="signal-to-noise of one trial", ylabel="|mean|^2 / summed variance", yscale="log")
    four.set_ylim(bottom=1e-11)
    for axis in axes[0]:
        axis.set(xscale="log", xlabel="latents (solid: before, dashed: after training)")
        axis.set_xticks(all_n, [str(n) for n in all_n])
        axis.minorticks_off()
    two.set_xlabel("latents")

    followed = [n for n in all_n if metrics[f"n{n}/steps"].shape[1] > 2] or all_n[:1]
    five, six, seven, eight = axes[1]
    for n, style in zip(followed, ("o-", "s--", "^:"), strict=False):

        def through(axis: Any, name: str, label: str, colour: str, n: int = n, style: str = style) -> None:
            values = np.asarray(metrics[f"n{n}/{name}"]).T
            with_errors(axis, metrics[f"n{n}/steps"][0] / 1000, values, label=label, color=colour, fmt=style)

        through(five, "il.cosine", f"IL, one stimulus, n = {n}", COLOURS["il"])
        through(five, "stimuli.cosine", f"IL, mean over stimuli, n = {n}", "#009e73")
        through(six, "il.norm_ratio", f"|IL| / |gradient|, n = {n}", COLOURS["il"])
        through(six, "il.bias", f"|IL - gradient| / |gradient|, n = {n}", "#56b4e9")
        through(six, "stimuli.bias", f"same, mean over stimuli, n = {n}", "#009e73")
        for name in ("bp", "il", "nvi_baseline", "nvi"):
            through(seven, f"{name}.snr", f"{LABELS[name]}, n = {n}", COLOURS[name])
            if name != "bp":
                through(eight, f"{name}.snr_step", f"{LABELS[name]}, n = {n}", COLOURS[name])
    five.axhline(0, color="black", lw=0.6)
    five.set(title="alignment of IL through its training", ylabel="cosine to the true gradient")
    six.set(title="length and bias of IL", ylabel="relative to the true gradient")
    seven.set(title="signal-to-noise of one trial", ylabel="|mean|^2 / summed variance", yscale="log")
    seven.set_ylim(bottom=1e-10)
    eight.set(title="per step, the authors' statistic", ylabel="mean over weights of mean^2 / variance", yscale="log")
    eight.set_ylim(bottom=1e-9)
    for axis in axes.flat:
        axis.legend(frameon=False, fontsize=7, ncols=2 if axis in (seven, eight) else 1)
    letter(axes.flat, 0.13)
    for axis in axes[1]:
        axis.set_xlabel("training by IL, thousands of steps")
    figure.suptitle(
        "Bredenberg et al. (2021), Figure 2: gradients of W on the same networks and windows of four steps. "
        "Mean and standard error over seeds"
    )
    return figure
