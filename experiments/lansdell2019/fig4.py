"""Figure 4 of Lansdell, Prakash & Kording (2019): feedback through time, learned by node perturbation, on delayed XOR.

"short" is the authors' task and network: stimuli two and three steps before the answer, 50 tanh units, windows of 7
steps, 200 streams, SGD. There a network learns without any credit through time (B = 0), so that the figure alone shows
nothing of the feedback. "long" has stimuli eight and ten steps before the answer, windows of 18 steps, 50 streams, and
Adam for the forward weights of all methods alike; there B = 0 fails. The authors' rule, whose cost grows with the
square of the window, is left to the short task.

How "long" was found (50 units, 50 streams, Adam at 5e-4, 1e-3 or 2e-3, 4,500 to 12,000 windows, one or two seeds each):

    stimuli to cue   window   B = 0, best      B at W's scale, fixed   B learned      BPTT
    3 and 5          14       94 %, declines   -                       -              ceiling
    5 and 7          14       74 %             96 %                    97 %           ceiling
    6 and 8          16       80 %             94 %                    97 %           -
    7 and 9          18       73 %, declines   86 %                    88 to 96 %     ceiling               taken
    8 and 11         20       69 %             69 %                    91 %           ceiling

B was learned by SGD at the authors' rate. Adam on B, ridge with forgetting, and noise of 0.1 in place of 0.5 were only
tried while the forward Adam still averaged the zeros of the warm-up, which it no longer sees; all but Adam at 5 and 7
then stayed at chance.

The loss is the mean over the batch of the sum over a window, for all methods. The authors descend sums over 200
streams, so their rates of 5e-6 (forward) and 5e-5 (B) are 1e-3 and 1e-2 here. The default preset takes ten times that
forward rate for all methods, so that its 5,000 windows go as far as 50,000, 70 of the authors' 200 epochs. Losses are
printed in their units, a step's sum over 200 streams: 5.0 for silence. Not as in their code: backpropagation had a rate
7 times smaller than the others; learned B started at N(0, 1), 7 times the scale of W (here only "fa_unfair" does: at
ten times the rate, forward learning begins before B has come down); activity was reset each epoch. As in their code:
in the short task the readout's rate is a seventh of the others', and B's updates are clipped.

What may not hold: that feedback alignment does not converge. From B at the scale of W it does. From B of standard
deviation 1 it does not at the authors' rate (two seeds, 16,000 windows: loss 5.05 and 5.2), but at ten times that rate
most seeds learn in part. And node perturbation is slower than backpropagation once both have the same rate, which the
authors' did not.
"""

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lansdell2019.authors import own_step_perturbation
from experiments.lansdell2019.common import COLOURS as FAMILY_COLOURS
from experiments.lansdell2019.windows import glorot_params, vanilla
from plasticity_jax.base import Info, Learner, LearnerState, LearningRule, learner
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.diagnostics.recurrent_alignment import angles_by_lag
from plasticity_jax.ops.norms import cosine
from plasticity_jax.rules import feedback, online
from plasticity_jax.run import Claim, Experiment, Program, mean_sem, online_training, put
from plasticity_jax.run.program import TrainingState
from plasticity_jax.tasks.delayed_xor import check_delays, delayed_xor, delayed_xor_bounds, responses
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.tasks.windows import windows
from plasticity_jax.typing import Array, Example, Key, PyTree

METHODS = ("bp", "np", "legacy", "fa", "fa_unfair", "none", "readout")
TASKS = {"short": METHODS, "long": tuple(method for method in METHODS if method != "legacy")}
WITH_B = ("np", "legacy", "fa", "fa_unfair")
LABELS = {
    "bp": "BPTT",
    "np": "node perturbation, corrected",
    "legacy": "node perturbation, authors'",
    "fa": "feedback alignment, Glorot B",
    "fa_unfair": "feedback alignment, B ~ N(0, 1)",
    "none": "B = 0 (one step)",
    "readout": "readout alone",
}
COLOURS = {
    **{name: FAMILY_COLOURS[name] for name in ("bp", "np", "fa")},
    "legacy": "#cc79a7",
    "fa_unfair": "#f2a65a",
    "none": "#009e73",
    "readout": "#7f7f7f",
}
LAGS = 6
STREAMS = 200  # in the authors' units a loss is the sum over so many


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings. `short_` is the authors' task, `long_` the one with longer delays.

    Attributes:
      seeds: networks and data, shared by all methods.
      n: recurrent units.
      cue_rate: probability of a go cue at a step.
      answer: steps from the cue to the answer.
      sigma: standard deviation of the noise, where there is some.
      p: probability that a unit is perturbed at a step.
      clip: bound of an entry of B's updates, summed over the batch.
      feedback_rate: of SGD on B.
      readout_share: rate of the readout, over that of the recurrent weights, in the short task; the authors' is 1/7.
      short_stimuli: steps from the stimuli to the cue.
      short_window: steps of truncation, S.
      short_batch: streams.
      short_rate: of SGD on the forward weights.
      short_windows: windows in all.
      short_warm_up: windows at the start in which node perturbation learns B only.
      long_stimuli: as above.
      long_window: as above.
      long_batch: as above.
      long_rate: of Adam on the forward weights.
      long_windows: as above.
      long_warm_up: as above.
      points: points of each curve, between which a run can be saved.
    """

    seeds: int = 4
    n: int = 50
    cue_rate: float = 0.05
    answer: int = 1
    sigma: float = 0.5
    p: float = 0.1
    clip: float = 10.0
    feedback_rate: float = 1e-2
    readout_share: float = 1 / 7
    short_stimuli: tuple[int, int] = (1, 2)
    short_window: int = 7
    short_batch: int = 200
    short_rate: float = 1e-2
    short_windows: int = 5000
    short_warm_up: int = 1000
    long_stimuli: tuple[int, int] = (7, 9)
    long_window: int = 18
    long_batch: int = 50
    long_rate: float = 1e-3
    long_windows: int = 10_000
    long_warm_up: int = 1200
    points: int = 20

    def __post_init__(self) -> None:
        if min(self.seeds, self.n, self.short_batch, self.long_batch, self.points) < 1:
            raise ValueError("seeds, n, short_batch, long_batch and points must be at least 1")
        if min(self.short_window, self.long_window) <= LAGS:
            raise ValueError(f"short_window and long_window must be above {LAGS}, the lags that angles are taken at")
        for task in TASKS:
            check_delays(getattr(self, f"{task}_stimuli"), self.answer)
            if getattr(self, f"{task}_windows") % self.points:
                raise ValueError(f"{task}_windows must be a multiple of points={self.points}")


PRESETS = {
    "smoke": Config(
        seeds=2,
        n=10,
        long_window=7,
        short_batch=10,
        long_batch=10,
        short_windows=40,
        short_warm_up=10,
        long_windows=40,
        long_warm_up=10,
        points=4,
    ),
    "default": Config(),
    "paper": Config(
        seeds=10, short_rate=1e-3, short_windows=142_800, short_warm_up=2856, long_windows=40_000, points=200
    ),
}


class Setting(NamedTuple):
    """A task and how it is learned; fields as in `Config`."""

    stimuli: tuple[int, int]
    window: int
    batch: int
    rate: float
    windows: int
    warm_up: int


def setting(config: Config, task: str) -> Setting:
    """The fields of `Config` that belong to a task."""
    return Setting(*(getattr(config, f"{task}_{field}") for field in Setting._fields))


def network(config: Config) -> Neurons:
    """Its inputs are the cue and the stimuli; it has one output."""
    return vanilla(2, config.n, 1)


def build_rule(config: Config, at: Setting, method: str) -> LearningRule:
    """One of `METHODS`."""
    cell = network(config)
    if method in ("np", "legacy"):
        rule = own_step_perturbation if method == "legacy" else feedback.recurrent_node_perturbation
        return rule(cell, sigma=config.sigma, p=config.p, clip=config.clip / at.batch, warm_up=at.warm_up)
    if method in ("fa", "fa_unfair"):
        return feedback.recurrent_feedback_alignment(cell)
    return online.bptt(cell, window=None) if method == "bp" else feedback.truncated_to_one_step(cell)


def optimiser(config: Config, task: str, at: Setting, method: str) -> optax.GradientTransformation:
    """SGD (short) or Adam (long) on the forward weights, SGD on B."""
    if task == "short":
        recurrent, readout = optax.sgd(at.rate), optax.sgd(at.rate * config.readout_share)
    else:
        recurrent, readout = optax.adam(at.rate), optax.adam(at.rate)
    groups: dict[Hashable, optax.GradientTransformation] = {
        "recurrent": optax.set_to_zero() if method == "readout" else recurrent,
        "readout": readout,
        "b": optax.sgd(config.feedback_rate),
    }
    names = {"forward": {"w": "recurrent", "w_out": "readout"}, "feedback": {"w_back": "b"}}
    return optax.partition(groups, names)


def part(config: Config, task: str, method: str) -> Program:
    """One method on one task; angles are taken at the end of each point."""
    at, cell = setting(config, task), network(config)
    stream = windows(delayed_xor(at.stimuli, config.answer, config.cue_rate, at.batch), at.window)

    def build(lane: Key) -> tuple[Learner, Stream]:
        return learner(build_rule(config, at, method), optimiser(config, task, at, method)), stream

    def init(lane: Key, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_fb, key_stream, key_run = jax.random.split(lane, 4)
        params = glorot_params(key_weights, cell)
        if method == "fa_unfair":
            params["feedback"]["w_back"] = jax.random.normal(key_fb, (1, config.n, config.n))
        example = Example(jnp.zeros((at.batch, at.window, 2)), jnp.zeros((at.batch, at.window, 1)))
        return learn.init(params, key_run, example), stream.init(key_stream)

    def measure(info: Info, batch: Example) -> Mapping[str, Array]:
        right, due = responses(info.aux["output"], batch.y)
        return {"loss": STREAMS * info.loss / at.window, "right": right, "due": due}

    program = online_training(
        build,
        init,
        steps=at.windows,
        every=at.windows // config.points,
        chunks=config.points,
        measure=measure,
    )

    def chunk(state: TrainingState) -> tuple[TrainingState, Mapping[str, Array]]:
        state, metrics = program.chunk(state)
        params, s = state.learner.params, state.learner.traces.state
        probe = jax.tree.map(lambda leaf: leaf[0], stream.take(state.stream, 1)[1])  # the next window, not yet learned
        angles = angles_by_lag(cell, params, s, probe)[:LAGS]
        of_matrices = cosine(params["forward"]["w"][:, :, : config.n], params["feedback"]["w_back"])
        return state, {**metrics, "angles": angles[None], "cosine": of_matrices[None]}

    return program._replace(chunk=chunk) if method in WITH_B else program


def make_parts(config: Config) -> dict[str, Program]:
    """Every method on both tasks, by the name "task.method"."""
    return {f"{task}.{method}": part(config, task, method) for task in TASKS for method in TASKS[task]}


def tail(curve: np.ndarray) -> np.ndarray:
    """The last tenth of a curve, (seeds, points)."""
    return curve[:, -max(1, curve.shape[1] // 10) :]


def accuracy(metrics: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """Share of right signs at response times, (seeds, points)."""
    return metrics[f"{where}/right"] / np.maximum(metrics[f"{where}/due"], 1e-9)


def time_to_learn(curve: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Fraction of training after which a curve (seeds, points) first reaches a level, (seeds,); 1 if it never does."""
    reached = curve >= level
    return np.where(reached.any(1), reached.argmax(1) + 1, curve.shape[1]) / curve.shape[1]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Over the last tenth of training: losses, accuracies, angles by lag; best accuracies; differences between methods.

    The name of a number is "task/method/what", of a difference "task/one-other/what". Bounds are of the authors' task;
    they hold for the other one too, though its least loss may not be within reach.
    """
    bounds = delayed_xor_bounds()
    summary = {
        "bounds/accuracy": bounds.accuracy,
        "bounds/loss": STREAMS * bounds.loss,
        "bounds/silent": STREAMS * bounds.silent,
    }
    for task, methods in TASKS.items():
        best = {method: accuracy(metrics, f"{task}.{method}").max(1) for method in methods}
        for method in methods:
            where = f"{task}.{method}"
            put(summary, f"{task}/{method}/accuracy", tail(accuracy(metrics, where)).mean(1))
            put(summary, f"{task}/{method}/best_accuracy", best[method])
            put(summary, f"{task}/{method}/time", time_to_learn(accuracy(metrics, where)))
            put(summary, f"{task}/{method}/loss", tail(metrics[f"{where}/loss"]).mean(1))
            if method in WITH_B:
                put(summary, f"{task}/{method}/cosine", tail(metrics[f"{where}/cosine"]).mean(1))
                for lag in range(LAGS):
                    angles = metrics[f"{where}/angles"][:, :, lag]
                    put(summary, f"{task}/{method}/angle_{lag + 1}", tail(angles).mean(1))
                put(summary, f"{task}/{method}/angle", tail(metrics[f"{where}/angles"].mean(2)).mean(1))
        for other in methods:
            if other != "np":
                put(summary, f"{task}/np-{other}/best_accuracy", best["np"] - best[other])
    return summary


def _at_least(task: str, method: str, bound: float, statement: str, paper: str | None = None) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        value = summary[f"{task}/{method}/accuracy"]
        return value, value >= bound

    return Claim(f"{task}-{method}-learns", statement, paper, measure)


def _fails(task: str, method: str, bound: float, statement: str) -> Claim:
    """Below the bound at every point of training, on average over seeds."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        value = summary[f"{task}/{method}/best_accuracy"]
        return value, value < bound

    return Claim(f"{task}-{method}-fails", statement, None, measure)


def _ahead(task: str, other: str, statement: str) -> Claim:
    """By the best point of each run, for methods that decline again."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        gap, sem = (summary[f"{task}/np-{other}/best_accuracy{end}"] for end in ("", "_sem"))
        return gap, gap > 0.02 and gap > 2 * sem

    return Claim(f"{task}-np-above-{other}", statement, None, measure)


def _angle(task: str, method: str, what: str, low: float, high: float, statement: str, paper: str | None) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        value = summary[f"{task}/{method}/{what}"]
        return value, low <= value <= high

    return Claim(f"{task}-{method}-{what.replace('_', '-')}", statement, paper, measure)


def _comparable(what: str, statement: str, paper: str) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        ratio = summary[f"short/np/{what}"] / summary[f"short/bp/{what}"]
        return ratio, ratio <= 2

    return Claim(f"short-np-like-bptt-{what}", f"Node perturbation is comparable to BPTT: {statement}", paper, measure)


def _stuck(method: str, start: str) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        value = summary[f"short/{method}/loss"]
        return value, value >= 4

    statement = f"Feedback alignment from {start} does not converge: its loss stays above 4, silence has 5"
    return Claim(f"short-{method}-stuck", statement, "about 5", measure)


def _claims() -> list[Claim]:
    learned = "With node perturbation (corrected rule) the network learns the task: at least 95 % right, ceiling 97.5 %"
    return [
        _at_least("short", "np", 0.95, learned, "is able to learn"),
        _at_least("short", "legacy", 0.9, "The authors' rule learns the task: at least 90 % right", "is able to learn"),
        _comparable("time", "time to 95 % right, that of B alone included (ratio, at most 2)", "comparable"),
        _comparable("loss", "loss at the end (ratio, at most 2)", "1.25 / 0.7"),
        _stuck("fa_unfair", "B ~ N(0, 1)"),
        _stuck("fa", "B at the scale of W"),
        _at_least("short", "none", 0.9, "B = 0 learns it too, at least 90 % right: the task needs no such feedback"),
        _angle("short", "fa_unfair", "angle", 75, 105, "Feedback alignment: mean angle is near 90", "near ninety"),
        _angle("short", "legacy", "angle", 75, 105, "Authors' rule: mean angle over lags is near 90", "near ninety"),
        _angle("short", "legacy", "angle_1", 75, 105, "Authors' rule: the angle at lag 1 is near 90", "about 85"),
        _angle("short", "np", "angle_1", 0, 60, "Corrected rule: the angle at lag 1 is well below 90", None),
        _at_least("long", "bp", 0.95, "Longer delays: BPTT reaches 95 %"),
        _at_least("long", "np", 0.95, "Longer delays: the corrected rule reaches 95 %"),
        _fails("long", "none", 0.9, "Longer delays: B = 0 stays below 90 % at all times"),
        _fails("long", "readout", 0.9, "Longer delays: the readout alone stays below 90 % at all times"),
        _ahead("long", "none", "Longer delays: the corrected rule is above B = 0 (gap of the best)"),
        _ahead("long", "fa", "Longer delays: the corrected rule is above fair feedback alignment (gap of the best)"),
        _angle("long", "np", "angle_1", 0, 60, "Longer delays, corrected rule: angle at lag 1 well below 90", None),
        _angle("long", "np", "angle", 0, 75, "Longer delays, corrected rule: mean angle over lags below 75", None),
    ]


CLAIMS = _claims()


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Final losses, accuracies and angles in Markdown."""
    summary = summarise(metrics)
    head = ("task", "method", "loss", "right (%)", "best (%)", *(f"angle, lag {lag}" for lag in range(1, LAGS + 1)))
    rows = [head, ("---",) * len(head)]
    for task, methods in TASKS.items():
        for method in methods:
            name = f"{task}/{method}"
            cells = [f"{summary[f'{name}/loss']:.2f} ± {summary[f'{name}/loss_sem']:.2f}"]
            for what in ("accuracy", "best_accuracy"):
                cells.append(f"{100 * summary[f'{name}/{what}']:.1f} ± {100 * summary[f'{name}/{what}_sem']:.1f}")
            for lag in range(1, LAGS + 1):
                cells.append(f"{summary[f'{name}/angle_{lag}']:.0f}" if method in WITH_B else "-")
            rows.append((task, LABELS[method], *cells))
    floor = f"No loss is below {summary['bounds/loss']:.2f}, silence has {summary['bounds/silent']:.2f}; "
    ceiling = f"most that can be right {100 * summary['bounds/accuracy']:.1f} %."
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", floor + ceiling])


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Loss and accuracy in the course of training, and final angles by lag, on both tasks."""
    import matplotlib.pyplot as plt

    bounds = delayed_xor_bounds()
    figure, axes = plt.subplots(2, 3, figsize=(13.5, 7.6), constrained_layout=True)
    titles = {"short": "delays of the paper", "long": "longer delays"}
    for row, task in zip(axes, TASKS, strict=True):
        for method in TASKS[task]:
            where, style = f"{task}.{method}", "--" if method in ("fa_unfair", "legacy", "readout") else "-"
            curves = (metrics[f"{where}/loss"], 100 * accuracy(metrics, where))
            for axis, curve in zip(row, curves, strict=False):
                mean, error = np.array([mean_sem(column) for column in curve.T]).T
                x = (np.arange(len(mean)) + 0.5) / len(mean)
                axis.plot(x, mean, style, color=COLOURS[method], lw=1.6, label=LABELS[method])
                axis.fill_between(x, mean - error, mean + error, color=COLOURS[method], alpha=0.2, lw=0)
            if method in WITH_B:
                ends = tail(metrics[f"{where}/angles"]).mean(1)
                mean, error = np.array([mean_sem(column) for column in ends.T]).T
                row[2].errorbar(
                    np.arange(LAGS) + 1, mean, error, fmt=f"o{style}", color=COLOURS[method], ms=4, lw=1.6, capsize=2
                )
        losses = {"bound": STREAMS * bounds.loss, "silence": STREAMS * bounds.silent}
        for axis, levels in ((row[0], losses), (row[1], {"chance": 50, "ceiling": 100 * bounds.accuracy})):
            for name, level in levels.items():
                axis.axhline(level, color="0.5", ls=":", lw=1)
                axis.annotate(name, (0.995, level), color="0.4", fontsize=8, ha="right", va="bottom")
            axis.set(xlim=(0, 1), xlabel="fraction of training")
        row[0].set(yscale="log", ylabel="loss (sum over 200 streams, per step)", title=f"Loss, {titles[task]}")
        row[0].set_ylim(0.2, 40)
        row[1].set(ylim=(45, 100), ylabel="right at response times (%)", title=f"Accuracy, {titles[task]}")
        row[2].axhline(90, color="0.5", ls=":", lw=1)
        row[2].set(ylim=(0, 120), xlabel="steps that credit was carried back", ylabel="angle to true credit (degrees)")
        row[2].set_title(f"Angles at the end, {titles[task]}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    seeds = next(iter(metrics.values())).shape[0]
    about = f"mean and standard error over {seeds} seeds; node perturbation begins with B alone"
    figure.suptitle(f"Lansdell, Prakash & Kording (2019), Figure 4: {about}")
    return figure


experiment = Experiment(
    title="Figure 4: learned feedback through time on delayed XOR, where it is not needed and where it is",
    cost={
        "smoke": "about half a minute, most of it compilation",
        "default": "4 seeds, five minutes on two cores",
        "paper": "10 seeds x 200 epochs: hours on two cores, in resumable pieces",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
