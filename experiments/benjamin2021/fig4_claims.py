"""Summary of Figure 4, its table, and the claims on it."""

import math
from collections.abc import Mapping

import numpy as np

from experiments.benjamin2021.common import LABELS
from experiments.benjamin2021.fig4_scores import MEASURED
from experiments.benjamin2021.fig4_waves import WAVES
from experiments.benjamin2021.tables import cell, table
from experiments.shared.claims import clear
from plasticity_jax.run import gap, put, within

TRAINED = ("combined", "marginals")
PARTS = (*TRAINED, "untrained")
TITLES = {"combined": LABELS["combined"], "marginals": LABELS["marginals"], "untrained": "untrained"}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers at the end of each of `PARTS`, and "data/...".

    Names end in the layer: for `mse`, `nearer` and `kept` the one at which reconstructions turn; "top" is the topmost.
    "part/wake_sleep_h..." and "part/oscillation_h..." are the critics' gaps at the end, "part/growth" is the largest of
    them in the last third of training over the largest before, "part/lost" the share of lanes with a non-finite loss,
    "part/fall_..." untrained over trained, and "gap/..." are paired differences, positive where the paper expects it.
    """
    ends = {part: {k: metrics[f"{part}/{k}"][:, -1] for k in MEASURED} for part in PARTS}
    data = {k[5:]: v[:, 0] for k, v in metrics.items() if k.startswith("data/")}
    summary: dict[str, float] = {}
    for name, values in data.items():
        if values.ndim == 1:
            put(summary, f"data/{name}", values)
    for part, end in ends.items():
        for name, values in end.items():
            for place, column in _by_layer(name, values).items():
                put(summary, f"{part}/{name}{place}", column)
    for part in TRAINED:
        critics = {name: metrics[f"{part}/{name}"] for name in ("wake_sleep", "oscillation")}
        for name, values in critics.items():
            for i, column in enumerate(values[:, -1].T):
                put(summary, f"{part}/{name}_h{i}", column)
        put(summary, f"{part}/growth", growth(np.concatenate(list(critics.values()), 2)))
        summary[f"{part}/lost"] = float((metrics[f"{part}/bad_step"][:, -1] >= 0).mean())
        for name in ("frechet_dream", "frechet_reconstruction"):
            put(summary, f"{part}/fall_{name}", ends["untrained"][name] / ends[part][name])
    end, marginals, plain = (ends[part] for part in PARTS)
    for name, values in {**_gaps(end, marginals, data), **_gaps_to_untrained(end, plain)}.items():
        put(summary, f"gap/{name}", values)
    for name, values in _gaps(plain, marginals, data).items():
        put(summary, f"gap/untrained/{name}", values)
    for start, part in (("gap/", "combined"), ("gap/untrained/", "untrained")):
        for name, values in _leads_of_ascent(metrics, part).items():
            put(summary, f"{start}{name}", values)
    return summary


def _leads_of_ascent(metrics: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """Differences of the ascending wave from the others: "up_h1-standing" and so on, see `waves`."""
    leads = {}
    for way, first in (("up", 1), ("down", 0)):
        by_wave = dict(zip(WAVES, np.moveaxis(metrics[f"{part}/wave_{way}"][:, -1], 1, 0), strict=True))
        ascending = by_wave.pop("ascending")
        for other, values in by_wave.items():
            differences = (ascending - values).T
            leads |= {f"{way}_h{first + i}-{other}": column for i, column in enumerate(differences)}
    return leads


def _by_layer(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of a metric by the suffix of their names, which is empty for a metric (seeds,)."""
    if values.ndim == 1:
        return {"": values}
    first = 0 if name == "right" else 1
    return {f"_h{first + i}": column for i, column in enumerate(values.T)} | {"_top": values[:, -1]}


def growth(critics: np.ndarray) -> np.ndarray:
    """Largest magnitude in the last third of the points over the largest before, (seeds,), of (seeds, points, n)."""
    largest = np.abs(critics).max(2)
    late = max(1, largest.shape[1] // 3)
    before = max(1, largest.shape[1] - late)
    return largest[:, before - largest.shape[1] :].max(1) / largest[:, :before].max(1)


def _gaps(
    end: Mapping[str, np.ndarray], marginals: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Paired differences of a network from baselines without one, or from "marginals", by name."""
    return {
        "mse-other": data["mse_other"] - end["mse"][:, -1],
        "mse-mean": data["mse_mean"] - end["mse"][:, -1],
        "mse_h1-mean": data["mse_mean"] - end["mse"][:, 0],
        "mse_depth": end["mse"][:, -1] - end["mse"][:, 0],
        "nearer": end["nearer"][:, -1] - 0.5,
        "nearer-marginals": (end["nearer"] - marginals["nearer"])[:, -1],
        "kept": end["kept"][:, -1] - end["kept_chance"],
        "right_depth": end["right"][:, 1] - end["right"][:, -1],
        "right_top-pca": end["right"][:, -1] - data["right_pca"],
    }


def _gaps_to_untrained(end: Mapping[str, np.ndarray], plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Paired differences of a trained network from the untrained one; "right" is the least over layers."""
    layers = {f"right_h{i}": column for i, column in enumerate((end["right"] - plain["right"]).T) if i}
    return {
        "mse-untrained": plain["mse"][:, -1] - end["mse"][:, -1],
        "dream-untrained": plain["frechet_dream"] - end["frechet_dream"],
        **layers,
        "right": np.min(list(layers.values()), 0),
    }


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table by layer in Markdown: squared errors, own images, classes kept and read out."""
    summary, (seeds, _, depth) = summarise(metrics), metrics["combined/mse"].shape
    columns = {"error": "mse", "nearer": "nearer", "kept": "kept", "read": "right", "told": "told"}
    heads = ("layer", *(f"{TITLES[part]}: {what}" for part in PARTS for what in columns))
    rows = [
        [f"h{i}", *(cell(summary, f"{part}/{name}_h{i}", seeds) for part in PARTS for name in columns.values())]
        for i in range(depth + 1)
    ]
    levels = {
        "error of the mean image": "mse_mean",
        "of another image": "mse_other",
        "of principal components": "mse_pca",
        "Frechet distance of training images": "frechet_real",
        "of noise": "frechet_noise",
        "of Gaussian samples with the covariance of images": "frechet_gauss",
        "classes right by the judge": "accuracy",
        "by principal components": "right_pca",
    }
    foot = "; ".join(f"{label} {summary[f'data/{name}']:.3f}" for label, name in levels.items())
    distances = "; ".join(
        f"{TITLES[part]}: dreams {cell(summary, f'{part}/frechet_dream', seeds, 1)}, "
        f"recalled {cell(summary, f'{part}/frechet_reconstruction', seeds, 1)}, "
        f"entropy {cell(summary, f'{part}/entropy', seeds, 2)} bits"
        for part in PARTS
    )
    return f"{table(heads, rows)}\n\n{distances}.\n\n{foot}."


def _read_by_components(summary: Mapping[str, float]) -> bool:
    """Returns whether the class is read out better from principal components than from any untrained layer."""
    layers = [f"untrained/right_h{i}" for i in range(1, 100) if f"untrained/right_h{i}" in summary]
    return summary["data/right_pca"] > max(summary[layer] for layer in layers)


OTHER_WAVES = [name for name in WAVES if name != "ascending"]
ASCENDS = (
    "In an oscillation that ascends, h1 and h2, driven from below, go with what inference makes of the image more "
    "closely than in one that descends, h2 than in one that stands, too (share of variance, least difference)"
)
UP = ("gap/up_h1-descending", *(f"gap/up_h2-{other}" for other in OTHER_WAVES))
"""Gaps for `ASCENDS`; none for h1 and the standing wave, where h1, driven from below, reads the image itself, too."""
AND_DOWN = "And h0 and h1, driven from above, with what generation makes of the layer above"

CLAIMS = [
    gap(
        "reconstructs",
        "Turned at the top, reconstructions are nearer to their image than another is, as grey is too (squared error)",
        "as seen in pictures",
        "gap/mse-other",
        trivial=lambda s: s["data/mse_mean"] < s["data/mse_other"],
    ),
    gap(
        "reconstructs-mean",
        "And nearer than the mean image (gap in squared error)",
        None,
        "gap/mse-mean",
        own=True,
        trivial=lambda s: s["data/mse_pca"] < s["data/mse_mean"],
    ),
    gap(
        "reconstructs-h1",
        "Turned at layer 1, nearer than the mean image",
        None,
        "gap/mse_h1-mean",
        own=True,
        trivial=lambda s: s["data/mse_pca"] < s["data/mse_mean"],
    ),
    gap(
        "reconstructs-depth",
        "The higher the turn, the larger the error (top less h1)",
        None,
        "gap/mse_depth",
        own=True,
        trivial=clear("gap/untrained/mse_depth"),
    ),
    gap(
        "posterior",
        "A reconstruction from the top is nearer to its own image than to another (share above chance, 1/2)",
        "inference maps to the support of the generative posterior",
        "gap/nearer",
        trivial=clear("gap/untrained/nearer"),
    ),
    gap(
        "posterior-marginals",
        "And it is so more often than without the oscillation, gamma = 1 (share)",
        None,
        "gap/nearer-marginals",
        own=True,
        trivial=clear("gap/untrained/nearer-marginals"),
    ),
    gap(
        "class-kept",
        "It keeps the class that the judge finds (share above chance)",
        None,
        "gap/kept",
        own=True,
        trivial=lambda s: s["data/kept_pca"] > s["combined/kept_chance"],
    ),
    within(
        "dreams",
        "A purely adversarial approach is feasible: dreams' Frechet distance is at most half the untrained network's",
        "feasible for deeper networks",
        "combined/fall_frechet_dream",
        2,
        math.inf,
        trivial=lambda s: s["untrained/frechet_dream"] >= 2 * min(s["data/frechet_noise"], s["data/frechet_gauss"]),
    ),
    gap(
        "reads-out",
        "Every layer tells the class better than untrained (least gap)",
        None,
        "gap/right",
        own=True,
        trivial=_read_by_components,
    ),
    gap(
        "reads-out-depth",
        "What is read out falls with depth (h1 less the top)",
        None,
        "gap/right_depth",
        own=True,
        trivial=clear("gap/untrained/right_depth"),
    ),
    gap(
        "reads-out-pca",
        "The top tells it better than as many principal components",
        None,
        "gap/right_top-pca",
        own=True,
        trivial=lambda s: s["untrained/right_h0"] > s["data/right_pca"],
    ),
    within(
        "top-told",
        "The top is told the image: it explains at least 5 % of the top's variance",
        None,
        "combined/told_top",
        0.05,
        math.inf,
        own=True,
        trivial=lambda s: s["untrained/told_top"] >= 0.05,
    ),
    *(
        gap(
            f"ascends-{way}",
            statement,
            "oscillations should ascend up sensory hierarchies",
            *names,
            trivial=clear(*(name.replace("gap/", "gap/untrained/") for name in names)),
        )
        for way, statement, names in (
            ("up", ASCENDS, UP),
            ("down", AND_DOWN, [f"gap/down_h{i}-{other}" for i in (0, 1) for other in OTHER_WAVES]),
        )
    ),
    within(
        "stable",
        "Training is stable: no loss that is not finite (share of networks)",
        None,
        "combined/lost",
        0,
        0,
        own=True,
        trivial=lambda s: s["marginals/lost"] == 0,
    ),
    within(
        "stable-critics",
        "The largest gap of a critic in the last third of training is at most twice the largest before (ratio)",
        None,
        "combined/growth",
        -math.inf,
        2,
        own=True,
        trivial=lambda s: s["marginals/growth"] <= 2,
    ),
]
