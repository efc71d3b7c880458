"""Figure 2 of Lansdell, Prakash & Kording (2020): its table and its panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS, LABELS, whole_seeds
from experiments.lansdell2019.fig2_claims import LAYERS, MIDDLE, NP, RANK_TOLERANCE, finals
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

UNITS = {
    "relative_error": "relative error |W - B| / |W|",
    "sign_congruence": "sign congruence",
    "local_angle": "local angle (degrees)",
    "true_angle": "angle to the gradient (degrees)",
}
SHADES = dict(zip(NP, ("#a6cee3", "#5aa2d0", COLOURS["np"], "#08306b"), strict=True))


def label(method: str) -> str:
    """Name in figure and table."""
    if not method.startswith("np_c"):
        return LABELS[method]
    return f"{LABELS['np']}, c = {float(method.removeprefix('np_c')):g}"


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown, and a warning for each layer whose regression lacks directions."""
    ended = finals(metrics)
    columns = ["error", "noisy_error", *(f"{metric}_{layer}" for metric in UNITS for layer in LAYERS)]
    lines = [["method", "seeds", *(column.replace("_", " ") for column in columns)], ["---"] * (len(columns) + 2)]
    for method, found in ended.items():
        cells = ["{:.3g} ± {:.1g}".format(*mean_sem(found[column])) if column in found else "-" for column in columns]
        lines.append([label(method), whole_seeds(metrics[f"{method}/loss"]), *cells])
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + [""] + shortages(metrics))


def shortages(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """One warning for each layer in which the ridge that does not forget lacks directions."""
    warnings = []
    for i, layer in enumerate(LAYERS):
        ranks = metrics[f"{MIDDLE}/rank"][:, -1, i] if f"{MIDDLE}/rank" in metrics else np.zeros(0)
        full = metrics[f"{MIDDLE}/rank_full"][0, -1, i] if len(ranks) else 0
        if np.any(ranks < full):
            warnings.append(
                f"warning: {layer}: the errors that its feedback is regressed on have taken {ranks.min()} of {full} "
                f"directions (above {RANK_TOLERANCE:g} of the strongest's power); B hardly learns in the others (A3)"
            )
    return warnings


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Curves over training, mean and standard error over seeds, and the two readings of the test error."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(19, 7.2), constrained_layout=True)
    handles = {}
    for row, layer in enumerate(LAYERS):
        for axis, (metric, unit) in zip(axes[row], UNITS.items(), strict=False):
            handles |= _curves(axis, metrics, metric, row)
            same = metric == "true_angle" and layer == LAYERS[-1]
            axis.set(title=f"{layer} (as the local angle, at the top)" if same else layer, ylabel=unit)
            axis.set_ylim(*((0.4, 1) if metric == "sign_congruence" else (0, None)))
    handles |= _curves(axes[0, 4], metrics, "error")
    axes[0, 4].set(title="test error, clean forward pass", ylabel="test error (%)", yscale="log")
    low, high = axes[0, 4].get_ylim()
    ticks = [tick for tick in (3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80) if low <= tick <= high]
    axes[0, 4].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[0, 4].minorticks_off()
    _two_readings(axes[1, 4], metrics)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
    seeds = metrics["bp/error"].shape[0]
    figure.suptitle(f"Lansdell, Prakash & Kording (2020), Figure 2: mean and standard error over {seeds} seeds")
    return figure


def _curves(axis: Any, metrics: Mapping[str, np.ndarray], metric: str, layer: int | None = None) -> dict[str, Any]:
    """Draws a metric of all methods that have it; returns the lines by label."""
    handles = {}
    for name in dict.fromkeys(key.split("/")[0] for key in metrics):
        if f"{name}/{metric}" in metrics:
            values = metrics[f"{name}/{metric}"]
            values = values if layer is None else values[:, :, layer]
            colour = SHADES.get(name) or COLOURS.get(name, COLOURS["np"])
            handles[label(name)] = draw(axis, metrics[f"{name}/epoch"][0], values, color=colour)
    axis.set_xlabel("epochs of 1,000 steps")
    return handles


def _two_readings(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Draws the final test errors by noise level, on the clean and on the perturbed forward pass."""
    levels = [name for name in dict.fromkeys(key.split("/")[0] for key in metrics) if name.startswith("np_c")]
    for shift, metric, hatch, what in ((-0.2, "error", "", "clean"), (0.2, "noisy_error", "///", "with the noise on")):
        mean, error = zip(*(mean_sem(metrics[f"{name}/{metric}"][:, -1]) for name in levels), strict=True)
        axis.bar(
            np.arange(len(levels)) + shift,
            mean,
            0.38,
            yerr=error,
            hatch=hatch,
            label=what,
            capsize=3,
            color=[SHADES.get(name, COLOURS["np"]) for name in levels],
            edgecolor="white",
        )
    axis.set_xticks(range(len(levels)), [f"{float(name.removeprefix('np_c')):g}" for name in levels])
    axis.set(title="node perturbation: final test error", xlabel="noise level c", ylabel="test error (%)")
    axis.legend(frameon=False)
