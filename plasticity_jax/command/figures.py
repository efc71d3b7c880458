"""Figures of a run: drawn with a caption, and the metrics that they read."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_jax.command.tables import changed
from plasticity_jax.run.experiment import Arrays, Experiment
from plasticity_jax.run.record import write_figures


def draw(experiment: Experiment, metrics: Arrays, config: Any, meta: Mapping[str, Any], folder: Path) -> None:
    """Draws an experiment's figures with captions, and writes them in place of the folder's earlier ones.

    Args:
      experiment: the experiment.
      metrics: arrays by name.
      config: its Config.
      meta: facts about the run, for the caption.
      folder: the folder of the files.
    """
    figures = _figures(experiment, metrics, config)
    for stale in [*folder.glob("*.png"), *folder.glob("*.gif")]:
        stale.unlink()
    for figure in figures.values():
        if hasattr(figure, "savefig"):
            caption(figure, meta)
    write_figures(folder, {name or meta["experiment"]: figure for name, figure in figures.items()})
    import matplotlib.pyplot as plt

    plt.close("all")


def metrics_shown(experiment: Experiment, metrics: Arrays, config: Any) -> dict[str, np.ndarray]:
    """The metrics that figures and table read, floats in single precision."""
    recorder = _ReadRecorder(metrics)
    _figures(experiment, recorder, config)
    experiment.table(recorder, config)
    arrays = {key: np.asarray(metrics[key]) for key in metrics if key in recorder.keys_read}
    return {key: values.astype(np.float32) if values.dtype == np.float64 else values for key, values in arrays.items()}


def caption(figure: Any, meta: Mapping[str, Any]) -> None:
    """Writes the run's name, seeds, scale and changed settings under a figure."""
    seeds = f"{meta['seeds']} seed{'s' if meta['seeds'] > 1 else ''}"
    words = [f"{meta['experiment']}, {meta['preset']}: {seeds}", meta["scale"], changed(meta)]
    width = int(15 * figure.get_figwidth())
    text = "\n".join(textwrap.wrap("; ".join(filter(None, words)), width))
    _fix_legends(figure)
    figure.text(0.5, -0.01, text, ha="center", va="top", fontsize=9, color="0.35")


class _ReadRecorder(Mapping[str, Any]):
    """A mapping that records the keys whose values were read."""

    def __init__(self, values: Arrays):
        self.values_, self.keys_read = values, set()

    def __getitem__(self, key: str) -> Any:
        value = self.values_[key]
        self.keys_read.add(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def __contains__(self, key: object) -> bool:
        return key in self.values_


def _figures(experiment: Experiment, metrics: Arrays, config: Any) -> Mapping[str, Any]:
    import matplotlib

    matplotlib.use("Agg")
    return experiment.figures(metrics, config)


def _fix_legends(figure: Any) -> None:
    """Lays the figure out and fixes its legends in place, or saving would move them over the caption."""
    loose = [legend for legend in figure.legends if legend.get_bbox_to_anchor() is figure.bbox]
    if loose:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    for legend in loose:
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
