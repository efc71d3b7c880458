"""Figure 2 of Lansdell, Prakash & Kording (2020): its table and its panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS, LABELS, panels, whole_seeds
from experiments.lansdell2019.fig2_claims import LAYERS, MIDDLE, NP, RANK_TOLERANCE, finals
from experiments.shared.curves import mean_and_error
from plasticity_jax.run import mean_sem

UNITS = {
    "relative_error": "relative error |W - B| / |W|",
    "sign_congruence": "sign congruence",
    "local_angle": "local angle (degrees)",
    "true_angle": "angle to the gradient\n(degrees)",
}
PAPER = {"FA": 4.28, "NP": 3.64, "BP": 2.65}
"""Test errors after 2,000 epochs, of node perturbation at c = 0.01, from the authors' notebooks."""
STYLES: dict[str, dict[str, Any]] = dict(
    zip(NP, ({"lw": 5.0}, {"lw": 3.2}, {"lw": 1.6}, {"lw": 1.6, "ls": (0, (2, 2))}), strict=True)
)
STYLES["bp"] = {"lw": 1.5, "ls": (0, (4, 3)), "zorder": 4}  # on node perturbation's curves, which it nearly equals
SHADES = dict(zip(NP, ("#a6cee3", "#5aa2d0", COLOURS["np"], "#08306b"), strict=True))


def label(method: str) -> str:
    """Name in figure and table."""
    if not method.startswith("np_c"):
        return LABELS[method]
    return f"{LABELS['np']}, c = {float(method.removeprefix('np_c')):g}"


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown, and a warning for each layer whose regression lacks directions."""
    final = finals(metrics)
    columns = ["error", "noisy_error", *(f"{metric}_{layer}" for metric in UNITS for layer in LAYERS)]
    lines = [["method", "seeds", *(column.replace("_", " ") for column in columns)], ["---"] * (len(columns) + 2)]
    for method, by_metric in final.items():
        cells = [
            "{:.3g} ± {:.1g}".format(*mean_sem(by_metric[column])) if column in by_metric else "-" for column in columns
        ]
        lines.append([label(method), whole_seeds(metrics[f"{method}/loss"]), *cells])
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + [""] + shortages(metrics))


def shortages(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """One warning for each layer in which the ridge without forgetting lacks directions."""
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
    """Curves over training, mean and standard error over seeds, and the test error on the clean and the noisy pass."""
    figure, axes, foot = panels(3, 3, (11, 10.5), 0.35)
    places = [("relative_error", 0), ("relative_error", 1), ("error", None), ("sign_congruence", 0)]
    places += [("sign_congruence", 1), ("readings", None), ("true_angle", 0), ("local_angle", 0), ("true_angle", 1)]
    handles: dict[str, Any] = {}
    for axis, (metric, layer) in zip(axes.flat, places, strict=True):
        if metric == "readings":
            _two_readings(axis, metrics)
            continue
        handles |= _curves(axis, metrics, metric, layer)
        if layer is not None:
            axis.set(
                title=LAYERS[layer], ylabel=UNITS[metric], ylim=(0, 1) if metric == "sign_congruence" else (0, None)
            )
    axes[2, 2].set_title("W3, where both angles are one")
    _test_error(axes[0, 2])
    foot.legend(handles.values(), handles.keys(), loc="center", ncols=3, frameon=False)
    epochs = next(values for key, values in metrics.items() if key.endswith("/epoch"))
    figure.suptitle(
        f"Lansdell, Prakash & Kording (2020), Figure 2: MNIST, {epochs[0, -1]:g} of the paper's 2,000 epochs\n"
        f"mean and standard error over {len(epochs)} seeds",
        fontsize=11,
    )
    return figure


def _test_error(axis: Any) -> None:
    """Draws the printed test errors, and labels the axis."""
    for name, level in PAPER.items():
        axis.axhline(level, color="0.4", ls="--", lw=0.9)
        place = {"xycoords": ("axes fraction", "data"), "va": "bottom" if name == "FA" else "center"}
        axis.annotate(f"{name} {level:g}", (1.01, level), fontsize=8, annotation_clip=False, **place)
    axis.set(title="test error, clean pass; dashed: printed", ylabel="test error (%)", yscale="log")
    low, high = axis.get_ylim()
    ticks = [tick for tick in (2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80) if low <= tick <= high]
    axis.set_yticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()


def _curves(axis: Any, metrics: Mapping[str, np.ndarray], metric: str, layer: int | None = None) -> dict[str, Any]:
    """Draws a metric of all methods that have it, and returns the lines by label; widths keep equal lines visible."""
    handles = {}
    for name in dict.fromkeys(key.split("/")[0] for key in metrics):
        if f"{name}/{metric}" in metrics:
            values = metrics[f"{name}/{metric}"]
            mean, error = mean_and_error(values if layer is None else values[:, :, layer])
            epochs, colour = metrics[f"{name}/epoch"][0], SHADES.get(name) or COLOURS.get(name, COLOURS["np"])
            style: dict[str, Any] = STYLES.get(name, {"lw": 1.5})
            (handles[label(name)],) = axis.plot(epochs, mean, color=colour, **style)
            axis.fill_between(epochs, mean - error, mean + error, color=colour, alpha=0.15, lw=0)
    axis.set_xlabel("epochs of 1,000 steps")
    return handles


def _two_readings(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Draws the final test errors by noise level, on the clean and on the perturbed forward pass."""
    levels = [name for name in dict.fromkeys(key.split("/")[0] for key in metrics) if name.startswith("np_c")]
    if not levels:
        axis.set_axis_off()
        return
    for shift, metric, hatch, label in ((-0.2, "error", "", "clean"), (0.2, "noisy_error", "///", "with the noise on")):
        mean, error = zip(*(mean_sem(metrics[f"{name}/{metric}"][:, -1]) for name in levels), strict=True)
        axis.bar(
            np.arange(len(levels)) + shift,
            mean,
            0.38,
            yerr=error,
            hatch=hatch,
            label=label,
            capsize=3,
            color=[SHADES.get(name, COLOURS["np"]) for name in levels],
            edgecolor="white",
        )
    axis.set_xticks(range(len(levels)), [f"{float(name.removeprefix('np_c')):g}" for name in levels])
    axis.set(title="node perturbation: final error", xlabel="noise level c", ylabel="test error (%)")
    axis.legend(frameon=False)
