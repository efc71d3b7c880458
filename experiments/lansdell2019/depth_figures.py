"""Depth, after Lansdell, Prakash & Kording (2020): the table and the panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS, panels, whole_seeds
from experiments.lansdell2019.depth_claims import METHODS, depths_of, finals
from experiments.shared.curves import mean_and_error
from plasticity_jax.run import mean_sem

LABELS = {
    "bp": "backpropagation",
    "np_chain": "node perturbation, layer by layer",
    "np_direct": "node perturbation, direct",
    "fa": "feedback alignment",
    "dfa": "direct feedback alignment",
}
SHADES = {
    "bp": COLOURS["bp"],
    "np_chain": COLOURS["np"],
    "np_direct": COLOURS["np_forget"],
    "fa": COLOURS["fa"],
    "dfa": COLOURS["matching"],
}
STYLES = {"np_direct": "--", "dfa": "--"}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown."""
    columns = ["hidden layers", "method", "seeds", "test error (%)", "angle, lowest", "angle, top"]
    lines = [columns, ["---"] * len(columns)]
    for depth in depths(metrics):
        for method in METHODS:
            part = f"{method}.{depth}"
            if f"{part}/error" in metrics:
                final = finals(metrics, part)
                cells = [
                    "{:.1f} ± {:.1f}".format(*mean_sem(final[name])) if name in final else "-"
                    for name in ("error", "angle_1", f"angle_{depth}")
                ]
                lines.append([str(depth), LABELS[method], whole_seeds(metrics[f"{part}/loss"]), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def depths(metrics: Mapping[str, np.ndarray]) -> list[int]:
    """All depths that were run."""
    return sorted({depth for method in METHODS for depth in depths_of(metrics, method)})


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Angle by layer at the end, angle of the lowest layer over training, and test error, a column for each depth."""
    run_depths = depths(metrics)
    figure, axes, foot = panels(3, len(run_depths), (3.6 * len(run_depths) + 0.2, 9.5), 0.25)
    handles: dict[str, Any] = {}
    for column, depth in zip(axes.T, run_depths, strict=True):
        for method in [method for method in METHODS if f"{method}.{depth}/error" in metrics]:
            part, style = f"{method}.{depth}", {"color": SHADES[method], "ls": STYLES.get(method, "-"), "lw": 1.8}
            if f"{part}/angle" in metrics:
                angles = metrics[f"{part}/angle"]
                column[0].errorbar(
                    np.arange(depth) + 1, *mean_and_error(angles[:, -1]), marker="o", ms=4, capsize=2, **style
                )
                _curve(column[1], metrics[f"{part}/epoch"][0], angles[:, :, 0], style)
            handles[LABELS[method]] = _curve(column[2], metrics[f"{part}/epoch"][0], metrics[f"{part}/error"], style)
        column[0].set(title=f"{depth} hidden layers", xlabel="layer, from the lowest", xticks=np.arange(depth) + 1)
        for axis in column[:2]:
            axis.axhline(90, color="0.5", ls=":", lw=1)
            axis.set_ylim(0, 100)
        column[1].set_xlabel("epochs of 1,000 steps")
        column[2].set(xlabel="epochs of 1,000 steps", yscale="log")
        ticks = [5, 7, 10, 15, 20, 30, 50, 90]
        column[2].set_yticks(ticks, [str(tick) for tick in ticks])
        column[2].minorticks_off()
    axes[0, 0].set_ylabel("angle to the gradient\nat the end (degrees)")
    axes[1, 0].set_ylabel("angle of the lowest layer\n(degrees)")
    axes[2, 0].set_ylabel("test error (%)")
    foot.legend(handles.values(), handles.keys(), loc="center", ncols=2, frameon=False)
    epochs = next(values for key, values in metrics.items() if key.endswith("/epoch"))
    figure.suptitle(
        "Lansdell, Prakash & Kording (2020), discussion: distortion by depth on MNIST (no figure of the paper)\n"
        f"{1000 * epochs[0, -1]:,.0f} steps; mean and standard error over {len(epochs)} seeds; dotted: chance",
        fontsize=11,
    )
    return figure


def _curve(axis: Any, x: np.ndarray, values: np.ndarray, style: Mapping[str, Any]) -> Any:
    """Draws the mean over seeds with a band of its standard error."""
    mean, error = mean_and_error(values)
    (line,) = axis.plot(x, mean, **style)
    axis.fill_between(x, mean - error, mean + error, color=style["color"], alpha=0.15, lw=0)
    return line
