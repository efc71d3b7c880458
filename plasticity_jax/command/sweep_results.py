"""Table and picture of a sweep: lines with error bands, heat maps, or points of random draws."""

import fnmatch
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from plasticity_jax.command.catalog import pick
from plasticity_jax.command.errors import CliError
from plasticity_jax.command.sweep_plan import Plan
from plasticity_jax.command.tables import main_names, number
from plasticity_jax.run.summary import t_value

MOST = 4
"""Number of the summary's numbers that are shown by default."""
ROWS = 40
"""Most points in the table; of more points, those with the least and the greatest values are shown."""
PANELS = 12
"""Most settings of further fields that are drawn side by side."""


def shown_names(summary: Mapping[str, np.ndarray], wanted: Sequence[str]) -> tuple[list[str], str]:
    """The numbers of the summary to show: those that match the patterns, by default the first that vary.

    Args:
      summary: numbers at all points, by name.
      wanted: names or patterns; commas may join several.

    Returns:
      ``(names, complaint)``; the complaint names a pattern that matches nothing, or is empty.
    """
    known = [name for name in main_names(summary) if name != "diverged"]
    matches, complaint = [], ""
    for pattern in [word.strip() for words in wanted for word in words.split(",")]:
        try:
            matches += fnmatch.filter(known, pattern) or [pick("number of the summary", pattern, known)]
        except CliError as error:
            complaint = str(error)
    varying = [name for name in known if np.isfinite(summary[name]).any() and np.ptp(_finite(summary[name])) > 0]
    return list(dict.fromkeys(matches)) or (varying or known)[:MOST], complaint


def sweep_table(plan: Plan, summary: Mapping[str, np.ndarray], names: Sequence[str]) -> str:
    """Markdown: a row for each point, with mean and standard error of each number, and the count of diverged seeds."""
    fields = list(plan.grid.fields)
    head = [*fields, *names, "diverged"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    flat = {name: values.ravel() for name, values in summary.items()}
    order = range(len(plan.values))
    if len(order) > ROWS:
        order = np.argsort(np.nan_to_num(flat[names[0]], nan=np.inf), kind="stable") if names else np.arange(len(order))
        order = [*order[: ROWS // 2], *order[-ROWS // 2 :]]
    for i in order:
        cells = [_exact(plan.values[i][field]) for field in fields]
        for name in names:
            sem = flat.get(f"{name}_sem", np.full(len(flat[name]), np.nan))[i]
            cells.append(number(flat[name][i].item()) + (f" ± {number(sem.item())}" if math.isfinite(sem) else ""))
        lost = flat["diverged"][i] if "diverged" in flat else math.nan
        lines.append(f"| {' | '.join([*cells, f'{lost:.0f} of {plan.grid.seeds}' if lost == lost else '-'])} |")
    lines += ["", f"Mean ± standard error over {plan.grid.seeds} seeds."]
    if len(plan.values) > ROWS:
        which = f"those with the least and the greatest {names[0]}" if names else "the first and the last"
        lines += ["", f"{ROWS} of {len(plan.values)} points: {which}."]
    return "\n".join(lines)


def sweep_figure(
    plan: Plan, summary: Mapping[str, np.ndarray], names: Sequence[str], title: str, parts: Collection[str] = ()
) -> Any:
    """A matplotlib figure with a panel for each number: a line over one field, or a heat map over two.

    Settings of further fields are drawn side by side, and random draws as points over each field. Heat maps of the same
    quantity share their colour scale: those of one number at several settings, and those of the same metric of several
    parts, such as "rflo/loss" and "snap/loss".

    Args:
      plan: the plan of the sweep.
      summary: numbers at all points, by name.
      names: the numbers to draw.
      title: the figure's title.
      parts: names of the experiment's parts.
    """
    from matplotlib.figure import Figure

    dims = list(plan.grid.dims)
    is_drawn = dims == ["draw"]
    long = [dim for dim in dims if plan.grid.dims[dim] > 1] or dims[:1]
    across = long[2:] if len(long) > 2 else []
    settings = list(np.ndindex(*(plan.grid.dims[dim] for dim in across)))[:PANELS]
    columns: list[Any] = list(plan.grid.fields) if is_drawn else settings
    panels = [(name, column) for name in names for column in columns]
    wide = len(columns) if len(columns) > 1 else min(3, len(names))
    tall = -(-len(panels) // wide)
    figure = Figure(figsize=(1.2 + 4.2 * wide, 0.8 + 3.4 * tall), constrained_layout=True)
    axes = figure.subplots(tall, wide, squeeze=False).flat
    for axis in axes[len(panels) :]:
        axis.axis("off")
    limits = {name: _colour_limits(summary, names, name, parts) for name in names}
    for axis, (name, column) in zip(axes, panels, strict=False):
        if is_drawn:
            _draw_points(axis, plan, summary, name, column)
            continue
        at = {dim: 0 for dim in dims if dim not in long} | dict(zip(across, column, strict=True))
        cut = {key: values[tuple(at.get(dim, slice(None)) for dim in dims)] for key, values in summary.items()}
        label = ", ".join(
            f"{dim}={number(_values(plan, dim)[i].item())}" for dim, i in zip(across, column, strict=True)
        )
        if len(long) == 1:
            _draw_line(axis, plan, cut, name, long[0])
        else:
            _draw_heat(axis, figure, plan, cut, name, (long[0], long[1]), limits[name])
        axis.set_title(f"{name}\n{label}" if label else name, fontsize=9)
    band = "; band: 95 % over seeds" if len(long) == 1 and not is_drawn else ""
    figure.suptitle(f"{title}{band}", fontsize=10)
    return figure


def _draw_line(axis: Any, plan: Plan, summary: Mapping[str, np.ndarray], name: str, dim: str) -> None:
    x, mean = _values(plan, dim), summary[name]
    if x.dtype.kind not in "fi":
        axis.set_xticks(range(len(x)), [str(value) for value in x])
        x = np.arange(len(x))
    axis.plot(x, mean, marker="o", ms=4, lw=1.4)
    if f"{name}_sem" in summary:
        counts = summary.get(f"{name}_n", np.full(len(x), plan.grid.seeds))
        half = np.array([t_value(int(count)) for count in counts]) * summary[f"{name}_sem"]
        axis.fill_between(x, mean - half, mean + half, alpha=0.2, lw=0)
    if _is_log(x):
        axis.set_xscale("log")
    axis.set(xlabel=dim, ylabel=name)


def _colour_limits(
    summary: Mapping[str, np.ndarray], names: Sequence[str], name: str, parts: Collection[str]
) -> tuple[float, float]:
    """Ends of the colour scale of a number, which all numbers of the same quantity share."""
    same = [summary[other] for other in names if _quantity(other, parts) == _quantity(name, parts)]
    values = np.concatenate([values[np.isfinite(values)] for values in same])
    return (values.min(), values.max()) if values.size else (0.0, 1.0)


def _quantity(name: str, parts: Collection[str]) -> str:
    """The metric in a name "part/metric"; the whole name of a number that belongs to no part."""
    part, _, metric = name.rpartition("/")
    return metric if part in parts else name


def _draw_heat(
    axis: Any,
    figure: Any,
    plan: Plan,
    summary: Mapping[str, np.ndarray],
    name: str,
    dims: tuple[str, str],
    limits: tuple[float, float],
) -> None:
    low, high = limits
    image = axis.imshow(summary[name], origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high)
    figure.colorbar(image, ax=axis)
    for set_ticks, dim in ((axis.set_yticks, dims[0]), (axis.set_xticks, dims[1])):
        values = _values(plan, dim)
        set_ticks(range(len(values)), [number(value.item()) for value in values], fontsize=8)
    axis.tick_params(axis="x", rotation=45 if len(_values(plan, dims[1])) > 6 else 0)
    axis.set(ylabel=dims[0], xlabel=dims[1])
    if summary[name].size <= 100:
        for (i, j), value in np.ndenumerate(summary[name]):
            colour = "white" if value < (low + high) / 2 or not math.isfinite(value) else "black"
            axis.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=7, color=colour)


def _draw_points(axis: Any, plan: Plan, summary: Mapping[str, np.ndarray], name: str, field: str) -> None:
    x = _values(plan, field)
    sem = summary.get(f"{name}_sem")
    axis.errorbar(x, summary[name], sem, fmt="o", ms=4, lw=1, alpha=0.8)
    if _is_log(x):
        axis.set_xscale("log")
    axis.set(xlabel=field, ylabel=name)
    axis.set_title("bars: standard error over seeds" if sem is not None else "", fontsize=8)


def _exact(value: Any) -> str:
    """A field's value, with enough digits to tell it from others."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _values(plan: Plan, name: str) -> np.ndarray:
    """The values of a field, or of the field along a dimension."""
    fields = plan.grid.fields
    return fields[name][1] if name in fields else next(values for dim, values in fields.values() if dim == name)


def _is_log(x: np.ndarray) -> bool:
    """Returns whether values are positive and span more than a factor of 20, so that a logarithmic axis suits them."""
    return len(x) > 2 and x.min() > 0 and x.max() / x.min() > 20


def _finite(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    return finite if finite.size else np.zeros(1)
