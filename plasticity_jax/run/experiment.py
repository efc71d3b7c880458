"""An experiment as a value, which the command line lists, runs, sweeps and draws."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from plasticity_jax.run.claims import Claim
from plasticity_jax.run.fields import check_fields
from plasticity_jax.run.program import Program
from plasticity_jax.run.summary import put, t_value

Config = Any
"""A frozen dataclass with a field ``seeds``."""
Arrays = Mapping[str, np.ndarray]
"""Metrics of all parts by "part/metric", (seeds, points, ...)."""
Figures = Any
"""A matplotlib figure, or figures and animations by name."""


OPTIONS = frozenset(
    ("check", "coordinator", "draw", "draws", "help", "host", "hosts", "id", "name", "out", "overwrite", "plan")
    + ("preset", "record", "redraw", "resume", "save_every", "show", "sub_batch", "traceback", "vary")
)
"""Options of the command line, which cannot be names of fields."""


def last_tenths(metrics: Arrays) -> dict[str, float]:
    """Mean and standard error over seeds of every curve, over the last tenth of its points.

    Args:
      metrics: arrays by "part/metric"; those of shape (seeds, points) count as curves, except "bad_step".

    Example:
      >>> summary = last_tenths({"walk/loss": np.array([[4.0, 1.0], [4.0, 3.0]])})
      >>> summary["walk/loss"], summary["walk/loss_sem"]
      (2.0, 1.0)
    """
    summary: dict[str, float] = {}
    for name, values in curves_of(metrics).items():
        put(summary, name, values[:, -max(1, values.shape[1] // 10) :].mean(1))
    return summary


def curves_of(metrics: Arrays) -> dict[str, np.ndarray]:
    """The metrics with one curve for each seed, (seeds, points), without the steps of divergence."""
    return {name: v for name, v in metrics.items() if np.ndim(v) == 2 and not name.endswith("bad_step")}


def curves_figure(metrics: Arrays) -> Figures:
    """A figure with a panel for each metric: the mean curve of each part, with its 95 % band over seeds."""
    from matplotlib.figure import Figure

    curves = curves_of(metrics)
    panels = sorted({name.rpartition("/")[2] for name in curves})
    figure = Figure(figsize=(5 * max(1, len(panels)), 3.6), constrained_layout=True)
    for axis, panel in zip(np.atleast_1d(figure.subplots(1, max(1, len(panels)))), panels, strict=False):
        for name in [name for name in curves if name.rpartition("/")[2] == panel]:
            finite = curves[name][np.isfinite(curves[name]).all(1)]
            if not len(finite):
                continue
            mean, points = finite.mean(0), np.arange(1, finite.shape[1] + 1)
            (line,) = axis.plot(points, mean, label=f"{name.rpartition('/')[0]} ({len(finite)} seeds)")
            if len(finite) > 1:
                half = t_value(len(finite)) * finite.std(0, ddof=1) / len(finite) ** 0.5
                axis.fill_between(points, mean - half, mean + half, color=line.get_color(), alpha=0.2, lw=0)
        axis.set(xlabel="point", ylabel=panel)
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle("mean and 95 % interval over seeds", fontsize=9)
    return figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A figure or table, or any other computation that is run over seeds and settings.

    The command line runs a file that assigns one to the name ``experiment``: ``plasticity run FILE``.

    Attributes:
      title: its subject, in a line; it must be a string literal, because the list is read without importing files.
      presets: Configs by name, instances of one frozen dataclass with a field ``seeds``; "default" is run by default.
      parts: ``config -> programs by name``, a pure function; each program is run over the same seeds. A sweep calls it
        with traced floats in the fields that vary, if these only enter arithmetic.
      cost: the cost of each preset, in words, by name; string literals.
      summarise: ``metrics -> numbers by name``, from arrays (seeds, points, ...) named "part/metric".
      claims: claims that are checked on the summary.
      plot: ``metrics -> figure``, or figures and animations by name; with a second parameter, ``metrics, config``.
      text: ``metrics -> Markdown``, a table that is printed and saved; with a second parameter, ``metrics, config``.
      measure: ``(config, whether to show progress) -> further metrics``, computed on the host after all parts have run.
      scale: for each preset, how its problem compares with the original; shown under every figure and on the page of
        results.
      tuned: what was tuned by hand beforehand, and on which seeds and data; shown on the page of results.
      selects: fields that only choose which parts are run, such as ``("methods",)``: with ``--resume``, parts that are
        finished are kept when others are added.

    Raises:
      TypeError: if the presets are not instances of one dataclass with a field ``seeds``; if a field is not an argument
        of the dataclass, or has the name of an option of the command line; or if ``scale`` names an unknown preset, or
        ``selects`` an unknown field.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> @dataclasses.dataclass(frozen=True)
      ... class Config:
      ...     seeds: int = 4
      ...     rate: float = 0.1
      >>> def walk(config):
      ...     def chunk(w):
      ...         return (1 - config.rate) * w, {"size": jnp.abs(w)[None]}
      ...     return {"walk": Program(jax.random.normal, chunk, chunks=20, steps=1, points=1)}
      >>> experiment = Experiment(title="A shrinking number", presets={"default": Config()}, parts=walk)
      >>> metrics = jax.vmap(experiment.train(Config(rate=0.2)))(jax.random.split(jax.random.key(0), 4))
      >>> bool(experiment.summarise(metrics)["walk/size"] < 0.03)
      True
    """

    title: str
    presets: Mapping[str, Config]
    parts: Callable[[Config], Mapping[str, Program]]
    cost: Mapping[str, str] = dataclasses.field(default_factory=dict)
    summarise: Callable[[Arrays], dict[str, float]] = last_tenths
    claims: Sequence[Claim] = ()
    plot: Callable[..., Figures] = curves_figure
    text: Callable[..., str] | None = None
    measure: Callable[[Config, bool], Arrays] | None = None
    scale: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tuned: str = ""
    selects: Sequence[str] = ()

    def __post_init__(self) -> None:
        """See the class."""
        kinds = {type(config) for config in self.presets.values()}
        if len(kinds) != 1 or not all(map(dataclasses.is_dataclass, kinds)):
            raise TypeError(f"presets must be instances of one dataclass, by name; got {self.presets!r}")
        fields = {field.name: field for field in dataclasses.fields(kinds.pop())}
        if "seeds" not in fields:
            raise TypeError("presets: the Config needs a field seeds, an int")
        for name, field in fields.items():
            if name in OPTIONS or not field.init:
                why = "the command line has an option of that name" if field.init else "every field must be given to it"
                raise TypeError(f"presets: the Config cannot have the field {name}: {why}")
        if unknown := sorted(self.scale.keys() - self.presets.keys()):
            raise TypeError(f"scale: there is no preset {', '.join(unknown)}")
        if unknown := sorted({*self.selects} - fields.keys()):
            raise TypeError(f"selects: the Config has no field {', '.join(unknown)}")

    def figures(self, metrics: Arrays, config: Config) -> Mapping[str, Any]:
        """Figures and animations by name; a single figure has the name ""."""
        figures = _result_of(self.plot, metrics, config)
        return figures if isinstance(figures, Mapping) else {"": figures}

    def table(self, metrics: Arrays, config: Config) -> str | None:
        """The table as Markdown, or None if the experiment has none."""
        return None if self.text is None else _result_of(self.text, metrics, config)

    def check(self, config: Config) -> None:
        """Refuses a Config with numbers out of range.

        Raises:
          ValueError: the message names the field (see `plasticity_jax.run.fields.check_fields`).
        """
        check_fields(config, self.presets.values())

    def train(self, config: Config) -> Callable[[Any], dict[str, Any]]:
        """All parts as one pure function: ``jit(vmap(experiment.train(config)))(keys)`` is the whole experiment.

        Returns:
          ``key -> metrics``, named "part/metric".
        """
        parts = self.parts(config)

        def train(key: Any) -> dict[str, Any]:
            return {
                f"{part}/{metric}": values
                for part, program in parts.items()
                for metric, values in program.train(key).items()
            }

        return train


def _result_of(function: Callable[..., Any], metrics: Arrays, config: Config) -> Any:
    """Result of a function of the metrics, or of the metrics and the Config if it takes two arguments."""
    parameters = inspect.signature(function).parameters.values()
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    return function(metrics, config) if len(required) > 1 else function(metrics)
