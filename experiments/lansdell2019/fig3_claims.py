"""Figure 3 of Lansdell, Prakash & Kording (2020): results of the autoencoders, and the claims on them."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.lansdell2019.common import LABELS, unless_diverged
from experiments.shared.claims import Summary, beyond
from plasticity_jax.run import Claim, gap, put, t_value
from plasticity_jax.run.summary import mean_in

SUMMED = 32  # test images over which a printed loss is summed
METHODS = ("bp", "bp_tuned", "bp_noise", "bp_warm", "adam", "fa", "fa_tuned", "matching", "np")
BASELINES = ("blank", "mean_image")  # a picture that is the same for all images
FED_BACK = ("fa", "fa_tuned", "matching", "np")  # methods with feedback matrices of their own
GAPS = (
    *((worse, better) for worse in ("fa", "fa_tuned") for better in ("np", "adam", "bp", "bp_tuned")),
    *(("bp_tuned", better) for better in ("np", "bp_noise", "bp_warm")),
    ("bp", "np"),
    ("np", "bp_warm"),
)
"""Methods whose paired differences are put in the summary, as "worse-better"."""


def ran(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """The methods that were run, in order."""
    return [method for method in METHODS if f"{method}/test_loss" in metrics]


def dead(metrics: Mapping[str, np.ndarray], method: str) -> np.ndarray:
    """Returns whether a seed ends no better than a blank picture, with 95 % or more of its outputs silent, (seeds,)."""
    is_blank = metrics[f"{method}/test_loss"][:, -1] >= 0.99 * metrics["blank/loss"]
    return is_blank & (metrics[f"{method}/silent"][:, -1] >= 95)


def table(metrics: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Results of each method, (seeds,), by method."""
    rows = {}
    for method in ran(metrics):
        loss = metrics[f"{method}/test_loss"]
        with np.errstate(invalid="ignore"):
            row = {
                "loss": loss.min(1),
                "rise": 100 * (loss[:, -1] / loss.min(1) - 1),
                "separation": metrics[f"{method}/separation"][:, -1],
                "silent": metrics[f"{method}/silent"][:, -1],
            }
        if method in FED_BACK:
            row["angle"] = metrics[f"{method}/true_angle"][:, -1, 0]
        row["loss_live"] = np.where(dead(metrics, method), np.nan, row["loss"])
        rows[method] = {name: unless_diverged(values, loss) for name, values in row.items()}
    return rows


def per_pixel(loss: np.ndarray, pixels: int) -> np.ndarray:
    """The squared error per pixel, from half the squared error summed over `SUMMED` images."""
    return loss * 2 / (SUMMED * pixels)


def same_by_chance(digit: np.ndarray) -> float:
    """Per cent of pairs of different images with the same class, as in a random latent space; digit is (images,)."""
    counts, images = np.bincount(digit), len(digit)
    return float(100 * (counts * (counts - 1)).sum() / (images * (images - 1)))


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Least test loss and final values by "method/metric", and the differences that claims read."""
    summary: dict[str, float] = {}
    rows = table(metrics)
    first = next(iter(rows))
    pixels = metrics[f"{first}/image"].shape[-1]
    for method, row in rows.items():
        for metric, values in row.items():
            put(summary, f"{method}/{metric}", values)
        put(summary, f"{method}/squared_error_per_pixel", per_pixel(row["loss"], pixels))
        summary[f"{method}/dead"] = int(dead(metrics, method).sum())
    for worse, better in GAPS:
        if {worse, better} <= set(rows):
            for metric in ("loss", "loss_live", "silent"):
                put(summary, f"{worse}-{better}/{metric}", rows[worse][metric] - rows[better][metric])
            put(summary, f"{better}-{worse}/separation", rows[better]["separation"] - rows[worse]["separation"])
    for fixed in ("fa", "fa_tuned"):
        if {fixed, "np"} <= set(rows):
            put(summary, f"{fixed}-np/angle", rows[fixed]["angle"] - rows["np"]["angle"])
    for name in BASELINES:
        summary[f"{name}/loss"] = float(metrics[f"{name}/loss"][0])
    summary["chance/separation"] = same_by_chance(metrics[f"{first}/digit"][0, -1])
    return summary


def _near(
    id: str, statement: str, paper: float, one: str, other: str, bound: float, metric: str = "loss", own: bool = False
) -> Claim:
    """Claims that one loss is within `bound` per cent of the other; trivial if that of fixed feedback is, too."""

    def excess(summary: Summary, method: str) -> float:
        return 100 * (summary[f"{method}/{metric}"] / summary[f"{other}/{metric}"] - 1)

    def measure(summary: Summary) -> tuple[float, bool]:
        return excess(summary, one), abs(excess(summary, one)) <= bound

    return Claim(
        id, statement, paper, measure, trivial=lambda summary: abs(excess(summary, "fa_tuned")) <= bound, own=own
    )


def _overfits(summary: Summary) -> tuple[float, bool]:
    return summary["adam/rise"], summary["adam/rise"] > 1 > summary["np/rise"]


def _share_of_noise(metric: str) -> Callable[[Summary], tuple[float, bool | None]]:
    """Measures the share of noise in node perturbation's lead over backpropagation, if it has one."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        lead = mean_in(summary, f"bp_tuned-np/{metric}")
        share = summary[f"bp_tuned-bp_noise/{metric}"] / lead.value
        if lead.seeds < 2:
            return share, None
        return share, share > 0.5 and lead.value > t_value(lead.seeds) * lead.sem

    return measure


LIVE = "Seeds that live: "
CLAIMS = [
    gap(
        "fa-poor",
        "Feedback alignment's least test loss is above backpropagation's, both at tuned rates",
        149.4,
        "fa_tuned-bp_tuned/loss",
    ),
    gap(
        "fa-poor-same-rate",
        "Feedback alignment's least test loss is above backpropagation's, both at node perturbation's rate",
        None,
        "fa-bp/loss",
        own=True,
    ),
    gap(
        "fa-worse-than-np",
        "Feedback alignment's least test loss, at its tuned rate, is above node perturbation's",
        243.9,
        "fa_tuned-np/loss",
    ),
    gap(
        "fa-worse-than-np-same-rate",
        "Feedback alignment's least test loss is above node perturbation's, both at the latter's rate",
        None,
        "fa-np/loss",
        own=True,
    ),
    gap(
        "np-better-than-bp",
        "Node perturbation's least test loss is below backpropagation's at its tuned rate",
        94.5,
        "bp_tuned-np/loss",
    ),
    gap(
        "np-better-than-bp-same-rate",
        "Node perturbation's least test loss is below backpropagation's, both at the former's rate",
        None,
        "bp-np/loss",
        own=True,
    ),
    _near("np-near-adam", "Node perturbation is comparable to Adam (excess, within 5 %)", -4.3, "np", "adam", 5),
    _near(
        "matching-near-bp",
        "Matching performs similarly to backpropagation, both tuned (excess, within 10 %)",
        5.5,
        "matching",
        "bp_tuned",
        10,
    ),
    Claim(
        "adam-overfits", "Adam's test loss rises by 1 % over its minimum, node perturbation's does not", None, _overfits
    ),
    *(
        gap(
            f"separation-{method}",
            f"{LABELS[method]} separates the digits in the latent space better than feedback alignment does (points)",
            None,
            f"{method}-fa_tuned/separation",
            trivial=lambda summary: beyond(summary, -1, "fa_tuned/separation", summary["chance/separation"]),
        )
        for method in ("np", "bp_tuned", "adam")
    ),
    gap(
        "errors-pass-the-bottleneck",
        "Below the bottleneck node perturbation errs less in direction than feedback alignment, tuned or not (degrees)",
        None,
        "fa_tuned-np/angle",
        "fa-np/angle",
        trivial=lambda summary: all(beyond(summary, 1, f"{fixed}/angle", 90.0) for fixed in ("fa_tuned", "fa")),
    ),
    gap(
        "noise-helps-bp",
        "Noise on the activity lowers the loss of backpropagation (72.9 in the authors' repository)",
        None,
        "bp_tuned-bp_noise/loss",
        own=True,
    ),
    Claim(
        "noise-is-most-of-it",
        "Noise makes up more than half of node perturbation's lead over backpropagation (share; theirs 0.77)",
        None,
        _share_of_noise("loss"),
        own=True,
    ),
    gap(
        "outputs-fall-silent",
        "At the tuned rate backpropagation silences more outputs than if its rate rises slowly (per cent)",
        None,
        "bp_tuned-bp_warm/silent",
        own=True,
    ),
    gap(
        "warm-bp-beats-np",
        "Backpropagation whose rate rises over the first epoch reaches a lower loss than node perturbation",
        None,
        "np-bp_warm/loss",
        own=True,
    ),
    gap(
        "fa-poor-live",
        f"{LIVE}feedback alignment's least test loss is above backpropagation's, both at tuned rates",
        149.4,
        "fa_tuned-bp_tuned/loss_live",
        own=True,
    ),
    gap(
        "np-better-than-bp-live",
        f"{LIVE}node perturbation's least test loss is below backpropagation's at its tuned rate",
        94.5,
        "bp_tuned-np/loss_live",
        own=True,
    ),
    _near(
        "matching-near-bp-live",
        f"{LIVE}matching performs similarly to backpropagation, both tuned (excess, within 10 %)",
        5.5,
        "matching",
        "bp_tuned",
        10,
        "loss_live",
        own=True,
    ),
    gap(
        "noise-helps-bp-live",
        f"{LIVE}noise on the activity lowers the loss of backpropagation (72.9 in the authors' repository)",
        None,
        "bp_tuned-bp_noise/loss_live",
        own=True,
    ),
    Claim(
        "noise-is-most-of-it-live",
        f"{LIVE}noise makes up more than half of node perturbation's lead over backpropagation (share; theirs 0.77)",
        None,
        _share_of_noise("loss_live"),
        own=True,
    ),
]
