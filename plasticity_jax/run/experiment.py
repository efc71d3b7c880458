"""An experiment as a value: what the command line lists, runs, sweeps and draws."""

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
"""Words of the command line that are no fields."""


def last_tenths(metrics: Arrays) -> dict[str, float]:
    """Mean and standard error over seeds of every curve, over the last tenth of its points.

    Args:
      metrics: by "part/metric"; those of the shape (seeds, points) are taken, but for "bad_step".

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
    """The metrics that are one curve a seed, (seeds, points), but for the steps of divergence."""
    return {name: v for name, v in metrics.items() if np.ndim(v) == 2 and not name.endswith("bad_step")}


def curves_figure(metrics: Arrays) -> Figures:
    """One panel for each metric's name, with the mean curve of each part in its 95 % band over seeds."""
    from matplotlib.figure import Figure

    curves = curves_of(metrics)
    panels = sorted({name.rpartition("/")[2] for name in curves})
    figure = Figure(figsize=(5 * max(1, len(panels)), 3.6), constrained_layout=True)
    for axis, panel in zip(np.atleast_1d(figure.subplots(1, max(1, len(panels)))), panels, strict=False):
        for name in [name for name in curves if name.rpartition("/")[2] == panel]:
            whole = curves[name][np.isfinite(curves[name]).all(1)]
            if not len(whole):
                continue
            mean, points = whole.mean(0), np.arange(1, whole.shape[1] + 1)
            (line,) = axis.plot(points, mean, label=f"{name.rpartition('/')[0]} ({len(whole)} seeds)")
            if len(whole) > 1:
                half = t_value(len(whole)) * whole.std(0, ddof=1) / len(whole) ** 0.5
                axis.fill_between(points, mean - half, mean + half, color=line.get_color(), alpha=0.2, lw=0)
        axis.set(xlabel="point", ylabel=panel)
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle("mean and 95 % interval over seeds", fontsize=9)
    return figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A figure or table, or whatever one wants to run over seeds and over settings.

    A file that assigns one to the name ``experiment`` is found by the command line: ``plasticity run FILE``.

    Attributes:
      title: what it shows, in a line; a literal text, for the list is read without an import.
      presets: Configs by name, instances of one frozen dataclass with a field ``seeds``; "default" is run by default.
      parts: ``config -> programs by name``, a pure function; each program is run over the same seeds. A sweep calls it
        with traced floats in the fields that are varied, where it can: they are for arithmetic.
      cost: what a preset costs, in words, by name; literal texts.
      summarise: ``metrics -> numbers by name``, from arrays (seeds, points, ...) named "part/metric".
      claims: what is checked of the summary.
      plot: ``metrics -> figure``, or figures and animations by name; with a second parameter, ``metrics, config``.
      text: ``metrics -> Markdown``, a table to print and to keep; with a second parameter, ``metrics, config``.
      measure: ``(config, whether to show progress) -> further metrics``, computed on the host when all parts have run.
      scale: how a preset's problem compares with the one that it reproduces, by name: it stands under every figure and
        on the page of results.
      tuned: what was searched by hand before, and on which seeds and data; it stands on the page of results.

    Raises:
      TypeError: if the presets are not dataclasses of one type with a field ``seeds``, whose fields are all given to it
        and have no name of an option of the command line; or if there is no preset of a name in ``scale``.

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

    def figures(self, metrics: Arrays, config: Config) -> Mapping[str, Any]:
        """Figures and animations by name; of one without a name, the name is ""."""
        figures = _given(self.plot, metrics, config)
        return figures if isinstance(figures, Mapping) else {"": figures}

    def table(self, metrics: Arrays, config: Config) -> str | None:
        """The table, if there is one."""
        return None if self.text is None else _given(self.text, metrics, config)

    def check(self, config: Config) -> None:
        """Refuses a Config whose numbers cannot be meant.

        Raises:
          ValueError: naming the field (see `plasticity_jax.run.fields.check_fields`).
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


def _given(function: Callable[..., Any], metrics: Arrays, config: Config) -> Any:
    """The function of the metrics, and of the Config if it asks for two."""
    asked = [one for one in inspect.signature(function).parameters.values() if one.default is one.empty]
    return function(metrics, config) if len(asked) > 1 else function(metrics)
