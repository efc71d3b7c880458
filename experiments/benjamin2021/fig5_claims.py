"""Summary of Figure 5 and the claims on it."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.benjamin2021.fig5_scores import BASELINES, LATENT, MEASURES, METHODS
from experiments.shared.claims import clear
from plasticity_jax.run import Claim, gap, put, within

Summary = Mapping[str, float]

TRIVIAL = tuple(name for name in BASELINES if name != "previous")  # "previous" cheats


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers at the end of training: "method/measure" over all horizons, "_1" at the first, "_end" at the last.

    "data/measure_baseline" likewise; "gap/..." are paired differences, above 0 where a claim holds.
    """
    summary: dict[str, float] = {}
    last = {name: values[:, -1] for name, values in metrics.items() if values.ndim > 1}

    def horizons(name: str, values: np.ndarray) -> None:
        for suffix, value in (("", values.mean(1)), ("_1", values[:, 0]), ("_end", values[:, -1])):
            put(summary, f"{name}{suffix}", value)

    for baseline in ("true", *BASELINES):
        for what in MEASURES:
            horizons(f"data/{what}_{baseline}", last[f"data/{what}_{baseline}"])
    for method in ("untrained", *METHODS):
        for what in (*MEASURES, *(f"{what}_{kind}" for what in ("error", "ssim") for kind in ("mean", "best"))):
            horizons(f"{method}/{what}", last[f"{method}/{what}"])
        for what in (f"{what}_{phase}" for what in LATENT for phase in ("wake", "sleep")):
            put(summary, f"{method}/{what}", last[f"{method}/{what}"])
        for what in ("ink", "brightness"):
            share = last[f"{method}/dream_{what}"] / last[f"data/{what}_true"]
            put(summary, f"{method}/dream_{what}_ratio", share.mean(1))
    mean, copied = last["data/error_mean"], last["data/error_last"]
    errors = {name: last[f"data/error_{name}"] for name in TRIVIAL} | {m: last[f"{m}/error"] for m in METHODS}
    for name, error in errors.items():
        for at, lead in enumerate((copied - error).T):
            put(summary, f"gap/{name}/last_{at + 1}", lead)
    for method in METHODS:
        error = errors[method]
        put(summary, f"gap/{method}/first", (mean - error)[:, 0])
        for kind in ("mean", "best"):
            put(summary, f"gap/{method}/{kind}", (mean - last[f"{method}/error_{kind}"])[:, -1])
        put(summary, f"gap/{method}/grows", error[:, -1] - error[:, 0])
        put(summary, f"gap/{method}/untrained", (last["untrained/error"] - error).mean(1))
        for what in ("ink", "brightness"):
            share = last[f"{method}/{what}"] / last[f"data/{what}_true"]
            put(summary, f"{method}/{what}_ratio", share.mean(1))
        for rival in ("last", "mean"):
            off = last[f"data/centroid_{rival}"] - last[f"{method}/centroid"]
            put(summary, f"gap/{method}/centroid_{rival}", off.mean(1))
        if method != "squared":
            put(summary, f"{method}/d_x_gap", last[f"{method}/d_x_wake"] - last[f"{method}/d_x_oscillation"])
            put(summary, f"{method}/d_x_sleep_gap", last[f"{method}/d_x_wake"] - last[f"{method}/d_x_sleep"])
    put(summary, "combined/d_z_gap", last["combined/d_z_wake"] - last["combined/d_z_sleep"])
    put(summary, "gap/z_apart", last["predicting/z_apart_wake"] - last["combined/z_apart_wake"])
    put(summary, "gap/untrained/z_apart", last["predicting/z_apart_wake"] - last["untrained/z_apart_wake"])
    put(summary, "cost", (errors["combined"] / errors["predicting"]).mean(1))
    put(summary, "gap/squared/combined", (errors["combined"] - errors["squared"]).mean(1))
    bright = {method: last[f"{method}/brightness"][:, -1] for method in METHODS}
    put(summary, "gap/brightness", bright["combined"] - bright["squared"])
    return summary


def _by_baseline(meets: Callable[[Summary, str], bool]) -> Callable[[Summary], bool]:
    """Returns a test of summaries: whether any baseline meets a claim, the one that cheats excepted."""
    return lambda summary: any(meets(summary, name) for name in TRIVIAL)


def _many(method: str, title: str) -> Claim:
    gaps = [gap("", "", None, f"gap/{method}/{kind}") for kind in ("mean", "best")]

    def measure(summary: Summary) -> tuple[float, bool | None]:
        measures = [each.measure(summary) for each in gaps]
        verdict = None if any(holds is None for _, holds in measures) else any(holds for _, holds in measures)
        return max(measured for measured, _ in measures), verdict

    return Claim(
        f"{method}-many",
        f"{title}: the last frame's, of the mean or the best of all samples, too (larger gap)",
        None,
        measure,
        own=True,
        trivial=_by_baseline(lambda s, name: s[f"data/error_{name}_end"] < s["data/error_mean_end"]),
    )


def _leads(summary: Summary, name: str) -> list[str]:
    """Names of the gaps between the last frame and a method or baseline, one for each horizon that was run."""
    names = [f"gap/{name}/last_1"]
    while (following := f"gap/{name}/last_{len(names) + 1}") in summary:
        names.append(following)
    return names


def _copying(method: str, title: str) -> Claim:
    def measure(summary: Summary) -> tuple[float, bool | None]:
        return gap("", "", None, *_leads(summary, method)).measure(summary)

    return Claim(
        f"{method}-copying",
        f"{title}: at every horizon a sample has a lower error than the last frame (least gap)",
        None,
        measure,
        own=True,
        trivial=_by_baseline(lambda s, name: all(s[lead] > 0 for lead in _leads(s, name))),
    )


def _as_in_truth(method: str, title: str, what: str, how: str) -> Claim:
    return within(
        f"{method}-{'bright' if what == 'brightness' else what}",
        f"{title}: plausible digits: {how} as in truth, within a fifth (ratio)",
        "plausible digits",
        f"{method}/{what}_ratio",
        0.8,
        1.2,
        trivial=_by_baseline(lambda s, name: 0.8 <= s[f"data/{what}_{name}"] / s[f"data/{what}_true"] <= 1.2),
    )


def _of_method(method: str, title: str) -> list[Claim]:
    start = f"gap/{method}/"
    return [
        gap(
            f"{method}-learns",
            f'{title}: "worked well": errors are below the untrained network\'s (gap of squared errors)',
            "worked well",
            f"{start}untrained",
            trivial=_by_baseline(lambda s, name: s[f"data/error_{name}"] < s["untrained/error"]),
        ),
        gap(
            f"{method}-first",
            f"{title}: a sampled next frame has a lower error than the mean frame (gap)",
            None,
            f"{start}first",
            own=True,
            trivial=_by_baseline(lambda s, name: s[f"data/error_{name}_1"] < s["data/error_mean_1"]),
        ),
        _many(method, title),
        _copying(method, title),
        gap(
            f"{method}-grows",
            f"{title}: the error grows with the horizon (last - first)",
            None,
            f"{start}grows",
            own=True,
            trivial=_by_baseline(lambda s, name: s[f"data/error_{name}_end"] > s[f"data/error_{name}_1"]),
        ),
        _as_in_truth(method, title, "ink", "as much ink"),
        _as_in_truth(method, title, "brightness", "ink as bright"),
        gap(
            f"{method}-trajectories",
            f"{title}: plausible trajectories: centroids are nearer than the last frame's and the mean's (px)",
            "plausible trajectories",
            f"{start}centroid_last",
            f"{start}centroid_mean",
            trivial=_by_baseline(
                lambda s, name: s[f"data/centroid_{name}"] < min(s["data/centroid_last"], s["data/centroid_mean"])
            ),
        ),
    ]


CLAIMS = [
    *_of_method("combined", "Combined"),
    *_of_method("predicting", "Prediction alone"),
    gap(
        "sleep-prior",
        "Sleep brings latents nearer to N(0, 1) than prediction alone (gap of divergences by unit, nats)",
        "matches a prior",
        "gap/z_apart",
        trivial=clear("gap/untrained/z_apart"),
    ),
    *(
        within(
            f"dream-{'bright' if what == 'brightness' else what}",
            f"{start} {how} as in truth, within a fifth (ratio)",
            None,
            f"combined/dream_{what}_ratio",
            0.8,
            1.2,
            own=True,
            trivial=lambda s, what=what: 0.8 <= s[f"untrained/dream_{what}_ratio"] <= 1.2,
        )
        for start, what, how in (
            ("Asleep, the combined objective's frames have", "ink", "as much ink"),
            ("And", "brightness", "ink as bright"),
        )
    ),
    within(
        "sleep-matches",
        "With sleep they match it: below 0.05 nats by unit",
        "matches a prior",
        "combined/z_apart_wake",
        0,
        0.05,
        trivial=lambda s: s["untrained/z_apart_wake"] <= 0.05,
    ),
    within(
        "sleep-cheap",
        "Sleep costs little: errors at most a tenth higher than without (ratio)",
        None,
        "cost",
        0,
        1.1,
        own=True,
        trivial=_by_baseline(lambda s, name: s[f"data/error_{name}"] <= 1.1 * s["predicting/error"]),
    ),
    gap(
        "squared-lower",
        "Descending it, the network comes to a lower squared error than by the combined objective (gap)",
        None,
        "gap/squared/combined",
        own=True,
        trivial=_by_baseline(lambda s, name: s[f"data/error_{name}"] < s["combined/error"]),
    ),
    gap(
        "squared-blurs",
        "But what it last predicts is blurred: the combined objective's ink is brighter (gap)",
        None,
        "gap/brightness",
        own=True,
        trivial=_by_baseline(lambda s, name: s[f"data/brightness_{name}_end"] > s["squared/brightness_end"]),
    ),
]
