"""Dense and convolutional networks: the tables and the panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.cifar_claims import CHANCE, METHODS, finals, layers_of, ran
from experiments.lansdell2019.cifar_claims import LABELS as METHOD_LABELS
from experiments.lansdell2019.cifar_figures import SHADES
from experiments.lansdell2019.common import EPOCH, panels, whole_seeds
from experiments.lansdell2019.dense_conv_claims import NETWORKS, SETS, metrics_of, places
from experiments.shared.curves import draw, mean_and_error
from plasticity_jax.run import mean_sem

LABELS = METHOD_LABELS | {"frozen": "three lower layers frozen"}
CURVES = ("bp", "kp", "fa", "dfa", "frozen")
"""Methods whose errors are drawn through training."""
ANGLES = ("kp", "np_direct", "fa", "dfa")
"""Methods whose angles are drawn."""
TICKS = [1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 55, 60, 65, 70, 80]
STYLES = {"conv": "-", "dense": "--"}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown: accuracies, and angles."""
    by_network = {where: metrics_of(metrics, where) for where in places(metrics)}
    final = {where: {method: finals(each, method) for method in ran(each)} for where, each in by_network.items()}
    methods = [method for method in METHODS if any(method in each for each in final.values())]

    def right(where: str, method: str) -> str:
        if method not in final[where]:
            return "-"
        seeds = whole_seeds(by_network[where][f"{method}/loss"])
        whole = "" if len(set(seeds.split(" of "))) == 1 else f" ({seeds} seeds)"
        return "{:.1f} ± {:.1f}".format(*mean_sem(final[where][method]["accuracy"])) + whole

    def angles(where: str, method: str) -> str:
        each = final[where].get(method, {})
        return ", ".join(f"{mean_sem(each[name])[0]:.0f}" for name in layers_of(each)) or "-"

    names = [_name(where) for where in by_network]
    right_rows = [[LABELS[method], *(right(where, method) for where in by_network)] for method in methods]
    angle_rows = [[LABELS[method], *(angles(where, method) for where in by_network)] for method in methods]
    angle_rows = [row for row in angle_rows if set(row[1:]) != {"-"}]
    return (
        _table(["right (%)", *names], [*right_rows, ["chance", *[f"{CHANCE:g}"] * len(names)]])
        + "\n\n"
        + _table(["angle to the gradient, from the lowest layer", *names], angle_rows)
        + "\n\nMean and standard error over seeds; angles are means, in degrees; chance has 90."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def _name(where: str) -> str:
    """A network on a set, in words."""
    data, _, network = where.rpartition(".")
    return f"{SETS.get(data, data)}, {NETWORKS[network]}"


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors through training, points below backpropagation at its end, and angles by layer, a column for each set."""
    from matplotlib.lines import Line2D

    data_sets = list(dict.fromkeys(where.rpartition(".")[0] for where in places(metrics)))
    figure, axes, foot = panels(3, len(data_sets), (max(9.0, 5.2 * len(data_sets)), 13), 0.2)
    for column, data in zip(axes.T, data_sets, strict=True):
        by_network = {
            each: metrics_of(metrics, f"{data}.{each}") for each in NETWORKS if f"{data}.{each}" in places(metrics)
        }
        for network, each in by_network.items():
            _draw_network(column[0], column[2], each, STYLES[network])
        _losses(column[1], by_network)
        column[0].set(title=SETS.get(data, data), xlabel="steps", ylabel="test images wrong (%)", yscale="log")
        limits = column[0].get_ylim()
        column[0].set_yticks(TICKS, [str(tick) for tick in TICKS])
        column[0].set_ylim(limits)
        column[0].minorticks_off()
        column[1].set(xlabel="points below backpropagation", title="hatched: dense; numbers: right (%)")
        column[2].axhline(90, color="0.5", ls=":", lw=1)
        column[2].set(
            ylim=(0, 100),
            xlabel="hidden layer, from the lowest",
            ylabel="credit to the gradient (degrees)",
            title="at the end",
        )
    methods = [method for method in METHODS if method in {*CURVES, *ANGLES}]
    handles = [Line2D([], [], color=SHADES[method], lw=2, label=LABELS[method]) for method in methods]
    handles += [Line2D([], [], color="0.3", ls=STYLES[each], label=f"{NETWORKS[each]} network") for each in NETWORKS]
    foot.legend(handles=handles, loc="center", ncols=3, frameon=False, fontsize=10)
    epochs = next(values for name, values in metrics.items() if name.endswith("/epoch"))
    figure.suptitle(
        "Beside Lansdell, Prakash & Kording (2020), published version: feedback in convolutional and dense networks\n"
        f"of as many weights; {EPOCH * epochs[0, -1]:,.0f} steps; mean and standard error over {len(epochs)} seeds; "
        "dotted: chance",
        fontsize=11,
    )
    return figure


def _draw_network(curves: Any, credit: Any, metrics: Mapping[str, np.ndarray], line: str) -> None:
    """Draws one network's errors through training, and its angles at the end."""
    for method in ran(metrics):
        if method in CURVES:
            steps = EPOCH * metrics[f"{method}/epoch"][0]
            draw(curves, steps, 100 - metrics[f"{method}/accuracy"], color=SHADES[method], ls=line)
        if method in ANGLES:
            mean, error = mean_and_error(metrics[f"{method}/angle"][:, -1])
            layer = np.arange(len(mean)) + 1
            credit.errorbar(layer, mean, error, color=SHADES[method], ls=line, marker="o", ms=4, capsize=2, lw=1.6)
            credit.set_xticks(layer)


def _losses(axis: Any, by_network: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Draws how far each method ends below backpropagation in each network, and writes its accuracy next to the bar."""
    methods = [method for method in METHODS[::-1] if any(method in ran(each) for each in by_network.values())]
    for network, offset in (("conv", 0.2), ("dense", -0.2)):
        each = by_network.get(network, {})
        for row, method in enumerate(methods):
            if not {method, "bp"} <= set(ran(each)):
                continue
            right, best = (finals(each, one)["accuracy"] for one in (method, "bp"))
            mean, error = mean_and_error(best - right)
            hatched = {"color": "white", "edgecolor": SHADES[method], "hatch": "//"}
            style = hatched if network == "dense" else {"color": SHADES[method]}
            axis.barh(row + offset, mean, 0.36, xerr=error, capsize=2, lw=1.5, **style)
            axis.text(max(mean, 0) + error, row + offset, f"  {mean_sem(right)[0]:.1f}", va="center", fontsize=8)
    axis.set_yticks(range(len(methods)), [LABELS[method] for method in methods], fontsize=8)
    axis.margins(x=0.15)
