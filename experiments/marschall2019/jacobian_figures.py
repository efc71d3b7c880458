"""Figures on DNI(b) of Marschall, Cho & Savin (2019), taken apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.marschall2019.common import running_mean
from experiments.shared.curves import draw, mean_and_error
from plasticity_jax.tasks.add import add_entropy_floors

WORDS = {
    "fixed": "fixed W",
    "dni": "DNI",
    "jacobian": "learned J",
    "tanh": "tanh",
    "random": "random feedback",
    "jacobian+tanh": "learned J, tanh:\nDNI(b) of the text",
    "jacobian+random": "learned J,\nrandom feedback",
    "tanh+random": "tanh,\nrandom feedback",
    "jacobian+tanh+random": "all three:\nDNI(b) of the code",
}
NAMES = {
    "learned": "learned Jacobian",
    "mean": "mean of J in the past",
    "start": "the learned one's start",
    "identity": "identity",
}
LINES = {"learned": "-", "mean": "--", "start": ":", "identity": "-."}


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Figure of final losses of all combinations, and of the distances of the guesses from J during learning."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 9), constrained_layout=True)
    losses(axes[0, 0], metrics)
    steps = (np.arange(config.points) + 0.5) * config.steps / config.points / 1000
    panels = (
        ("error", "b) relative error of guesses at J\n(no Jacobian has 1; lines as in c)", "|guess - J| / |J|"),
        ("pull", "c) credit passed through guesses at J\nand through J", "cosine"),
    )
    for axis, (kind, title, label) in zip((axes[0, 1], axes[1, 0]), panels, strict=True):
        for index, (guess, words) in enumerate(NAMES.items()):
            line = draw(axis, steps, running_mean(metrics[f"watched/{guess}_{kind}"]), color=f"C{index}")
            line.set(linestyle=LINES[guess], label=words)
        axis.set_title(title, fontsize=11)
        axis.set_ylabel(label, fontsize=10)
    axes[0, 1].axhline(1, color="0.4", ls=":", lw=1)
    axes[0, 1].set_ylim(0, None)
    missed = running_mean(metrics["watched/miss"]) / running_mean(metrics["watched/still"])
    draw(axes[1, 1], steps, missed, color="C0").set_label("learned Jacobian")
    axes[1, 1].axhline(1, color="C3", ls="-.", lw=1.6, label="the last rates")
    axes[1, 1].set_ylim(0, None)
    axes[1, 1].set_title("d) what it is taught: squared error of\nthe predicted next rates", fontsize=11)
    axes[1, 1].set_ylabel("over that of the last rates", fontsize=10)
    for axis in (axes[0, 1], axes[1, 0], axes[1, 1]):
        axis.set_xlabel("thousand steps", fontsize=10)
        axis.tick_params(labelsize=10)
    for axis in (axes[1, 0], axes[1, 1]):
        axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    seeds = metrics["fixed/loss"].shape[0]
    figure.suptitle(
        f"Marschall, Cho & Savin (2019), DNI(b) taken apart on Add: lags {config.lags[0]} and {config.lags[1]}, "
        f"{config.steps:,} steps at a rate of {config.rate:g}\n"
        f"(the authors' script: 1,000,000 at 0.0001); mean of {seeds} seeds and its standard error",
        fontsize=11,
    )
    return figure


def losses(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Draws final losses of the combinations that were run, the floor, and the levels of DNI and fixed W."""
    names = [name for name in WORDS if f"{name}/loss" in metrics]
    final = np.stack([last_tenth(metrics[f"{name}/loss"]) for name in names], 1)
    mean, error = mean_and_error(final)
    at = np.arange(len(names))[::-1]
    axis.errorbar(mean, at, xerr=error, fmt="o", color="black", capsize=3)
    for name, style in (("dni", "C0"), ("fixed", "C3")):
        if name in names:
            axis.axvline(mean[names.index(name)], color=style, ls="--", lw=1)
    axis.axvline(add_entropy_floors()["nothing"], color="0.4", ls=":", lw=1.2)
    axis.text(add_entropy_floors()["nothing"], 1.01, "knows nothing", fontsize=9, ha="center", color="0.3",
              transform=axis.get_xaxis_transform())  # fmt: skip
    axis.set_yticks(at, [WORDS[name] for name in names], fontsize=9)
    axis.set_title("a) final loss of DNI with some of DNI(b)'s changes\n", fontsize=11)
    axis.set_xlabel("cross-entropy (nats)", fontsize=10)


def last_tenth(curves: np.ndarray) -> np.ndarray:
    """Mean over the last tenth of the points, (seeds,)."""
    return curves[:, -max(1, curves.shape[1] // 10) :].mean(1)
