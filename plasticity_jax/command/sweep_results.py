"""The table and the picture of a sweep: lines with error bands, heat maps, or points of random draws."""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plasticity_jax.command.catalog import CliError, pick
from plasticity_jax.command.sweep_plan import Plan
from plasticity_jax.command.tables import number
from plasticity_jax.run.summary import t_value

MOST = 4
"""Numbers of the summary that are shown if nothing else is asked for."""
ROWS = 40
"""Points in the table; of more, the best and the worst half."""
PANELS = 12


def shown_names(summary: Mapping[str, np.ndarray], wanted: Sequence[str]) -> tuple[list[str], str]:
    """The numbers of the summary to show: those that match the patterns, by default the first that vary.

    Args:
      summary: at all points.
      wanted: names or patterns, several joined by commas.

    Returns:
      ``(names, complaint)``; the complaint is about patterns that match nothing, or empty.
    """
    ends = ("_sem", "_n")
    known = [name for name in summary if not any(name.endswith(e) and name.removesuffix(e) in summary for e in ends)]
    known = [name for name in known if name not in ("seeds", "diverged")]
    found, complaint = [], ""
    for pattern in [word.strip() for words in wanted for word in words.split(",")]:
        try:
            found += fnmatch.filter(known, pattern) or [pick("number of the summary", pattern, known)]
        except CliError as error:
            complaint = str(error)
    varying = [name for name in known if np.isfinite(summary[name]).any() and np.ptp(_finite(summary[name])) > 0]
    return list(dict.fromkeys(found)) or (varying or known)[:MOST], complaint


def sweep_table(found: Plan, summary: Mapping[str, np.ndarray], names: Sequence[str]) -> str:
    """Markdown: a row for each point, with mean and standard error of every number, and the seeds that diverged."""
    fields = list(found.grid.fields)
    head = [*fields, *names, "diverged"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    flat = {name: values.ravel() for name, values in summary.items()}
    order = range(len(found.values))
    if len(order) > ROWS:
        order = np.argsort(np.nan_to_num(flat[names[0]], nan=np.inf), kind="stable") if names else np.arange(len(order))
        order = [*order[: ROWS // 2], *order[-ROWS // 2 :]]
    for i in order:
        cells = [_exact(found.values[i][field]) for field in fields]
        for name in names:
            sem = flat.get(f"{name}_sem", np.full(len(flat[name]), np.nan))[i]
            cells.append(number(flat[name][i].item()) + (f" ± {number(sem.item())}" if math.isfinite(sem) else ""))
        lost = flat["diverged"][i] if "diverged" in flat else math.nan
        lines.append(f"| {' | '.join([*cells, f'{lost:.0f} of {found.grid.seeds}' if lost == lost else '-'])} |")
    lines += ["", f"Mean ± standard error over {found.grid.seeds} seeds."]
    if len(found.values) > ROWS:
        which = f"those with the least and the greatest {names[0]}" if names else "the first and the last"
        lines += ["", f"{ROWS} of {len(found.values)} points: {which}."]
    return "\n".join(lines)


def sweep_figure(found: Plan, summary: Mapping[str, np.ndarray], names: Sequence[str], title: str) -> Any:
    """A matplotlib figure with a panel for each number: a line over one field, a heat map over two, more side by side.

    Random draws are points over each field.
    """
    from matplotlib.figure import Figure

    dims = list(found.grid.dims)
    is_drawn = dims == ["draw"]
    long = [dim for dim in dims if found.grid.dims[dim] > 1] or dims[:1]
    across = long[2:] if len(long) > 2 else []
    settings = list(np.ndindex(*(found.grid.dims[dim] for dim in across)))[:PANELS]
    columns: list[Any] = list(found.grid.fields) if is_drawn else settings
    panels = [(name, column) for name in names for column in columns]
    wide = len(columns) if len(columns) > 1 else min(3, len(names))
    tall = -(-len(panels) // wide)
    figure = Figure(figsize=(1.2 + 4.2 * wide, 0.8 + 3.4 * tall), constrained_layout=True)
    axes = figure.subplots(tall, wide, squeeze=False).flat
    for axis in axes[len(panels) :]:
        axis.axis("off")
    for axis, (name, column) in zip(axes, panels, strict=False):
        if is_drawn:
            _draw_points(axis, found, summary, name, column)
            continue
        at = {dim: 0 for dim in dims if dim not in long} | dict(zip(across, column, strict=True))
        cut = {key: values[tuple(at.get(dim, slice(None)) for dim in dims)] for key, values in summary.items()}
        label = ", ".join(
            f"{dim}={number(_values(found, dim)[i].item())}" for dim, i in zip(across, column, strict=True)
        )
        if len(long) == 1:
            _draw_line(axis, found, cut, name, long[0])
        else:
            _draw_heat(axis, figure, found, cut, name, (long[0], long[1]))
        axis.set_title(f"{name}\n{label}" if label else name, fontsize=9)
    band = "; band: 95 % over seeds" if len(long) == 1 and not is_drawn else ""
    figure.suptitle(f"{title}{band}", fontsize=10)
    return figure


def _draw_line(axis: Any, found: Plan, summary: Mapping[str, np.ndarray], name: str, dim: str) -> None:
    x, mean = _values(found, dim), summary[name]
    if x.dtype.kind not in "fi":
        axis.set_xticks(range(len(x)), [str(value) for value in x])
        x = np.arange(len(x))
    axis.plot(x, mean, marker="o", ms=4, lw=1.4)
    if f"{name}_sem" in summary:
        counts = summary.get(f"{name}_n", np.full(len(x), found.grid.seeds))
        half = np.array([t_value(int(count)) for count in counts]) * summary[f"{name}_sem"]
        axis.fill_between(x, mean - half, mean + half, alpha=0.2, lw=0)
    if _is_log(x):
        axis.set_xscale("log")
    axis.set(xlabel=dim, ylabel=name)


def _draw_heat(
    axis: Any, figure: Any, found: Plan, summary: Mapping[str, np.ndarray], name: str, dims: tuple[str, str]
) -> None:
    image = axis.imshow(summary[name], origin="lower", aspect="auto", cmap="viridis")
    figure.colorbar(image, ax=axis)
    for set_ticks, dim in ((axis.set_yticks, dims[0]), (axis.set_xticks, dims[1])):
        values = _values(found, dim)
        set_ticks(range(len(values)), [number(value.item()) for value in values], fontsize=8)
    axis.tick_params(axis="x", rotation=45 if len(_values(found, dims[1])) > 6 else 0)
    axis.set(ylabel=dims[0], xlabel=dims[1])
    if summary[name].size <= 100:
        middle = np.nanmean(_finite(summary[name])) if np.isfinite(summary[name]).any() else 0.0
        for (i, j), value in np.ndenumerate(summary[name]):
            colour = "white" if value < middle or not math.isfinite(value) else "black"
            axis.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=7, color=colour)


def _draw_points(axis: Any, found: Plan, summary: Mapping[str, np.ndarray], name: str, field: str) -> None:
    x = _values(found, field)
    sem = summary.get(f"{name}_sem")
    axis.errorbar(x, summary[name], sem, fmt="o", ms=4, lw=1, alpha=0.8)
    if _is_log(x):
        axis.set_xscale("log")
    axis.set(xlabel=field, ylabel=name)
    axis.set_title("bars: standard error over seeds" if sem is not None else "", fontsize=8)


def _exact(value: Any) -> str:
    """A field's value, with as many digits as tell it from others."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _values(found: Plan, name: str) -> np.ndarray:
    """The values of a field, or of the field along a dimension."""
    fields = found.grid.fields
    return fields[name][1] if name in fields else next(values for dim, values in fields.values() if dim == name)


def _is_log(x: np.ndarray) -> bool:
    """Returns whether positive values are spread more evenly in their logarithm."""
    return len(x) > 2 and x.min() > 0 and x.max() / x.min() > 20


def _finite(values: np.ndarray) -> np.ndarray:
    found = values[np.isfinite(values)]
    return found if found.size else np.zeros(1)
