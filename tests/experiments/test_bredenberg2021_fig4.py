"""Figure 4 from metrics to claims: summary, table and claims on made-up numbers."""

import math

import numpy as np
import pytest

from experiments.bredenberg2021.fig4 import PRESETS, Config, experiment
from experiments.bredenberg2021.fig4_claims import summarise
from experiments.bredenberg2021.fig4_figures import text
from tests.experiments.bredenberg2021_by_hand import are_between, are_sure, are_trivial, entries, is_summary, means

SEEDS, EPOCHS = 3, 4
TAKEN = ("alternating", "alternating_nats", "wake", "wake_nats", "r2_r1", "r2_r2", "mse_r1", "transition", "bin_mean")
TAKEN += ("variance", "variance_by_bin", "pearson", "pearson_all", "cosine", "cosine_all")
DIGITS = ("r1", "r1_noiseless", "r2", "r2_noiseless")
DIGITS = tuple(f"digits_{layer}{z}" for layer in DIGITS for z in ("", "_z"))
FRAMES = tuple(f"digits_{feature}{z}" for feature in ("raw", "pca_r1", "pca_r2") for z in ("", "_z"))
TRIED = (1e-10, 2e-9, 3e-8)


def metrics_by_hand():
    """Metrics of a run in which one seed diverged at the highest rate of NVI*, and another at all rates."""
    metrics = {}
    for name in (*TAKEN, *DIGITS, "loss"):
        metrics[f"il/{name}"] = entries(f"il/{name}", SEEDS, EPOCHS)
    metrics["il/bad_step"] = np.full((SEEDS, EPOCHS), -1)
    metrics |= {f"il/{name}": entries(f"il/{name}", SEEDS, EPOCHS, 41) for name in ("acf_wake", "acf_dream")}
    for method in ("il_authors", "il_slow", "nvi", "published"):
        for name in (*TAKEN[:4], "variance"):
            metrics[f"{method}/{name}"] = entries(f"{method}/{name}", SEEDS, EPOCHS)
    metrics["published/wake"][1, -1] = np.nan
    for loss in ("alternating", "wake"):
        values = entries(f"rates/{loss}", SEEDS, 2, 3)
        values[0, -1, 2], values[2, -1] = np.nan, np.nan
        metrics[f"rates/{loss}"] = values
    metrics["data/rates"] = np.broadcast_to(np.array(TRIED), (SEEDS, 1, 3))
    metrics["data/sizes"] = np.broadcast_to(np.array([3, 2]), (SEEDS, 1, 2))
    metrics["data/pca"] = np.broadcast_to(np.array([0.2, 0.4, 0.6, 0.8]), (SEEDS, 1, 4))
    metrics["data/pca_own"] = np.broadcast_to(np.array([0.65, 0.45]), (SEEDS, 1, 2))
    for name in ("scale", "floor", "cosine", "cosine_all", *FRAMES):
        metrics[f"data/{name}"] = np.broadcast_to(entries(f"data/{name}", 1), (SEEDS, 1))
    return metrics


def test_summary_is_of_the_ends_and_paired():
    metrics = metrics_by_hand()
    columns = {}
    first, last = ({name[3:]: v[:, at] for name, v in metrics.items() if name.startswith("il/")} for at in (0, -1))
    for stage, now in (("untrained", first), ("il", last)):
        columns |= {f"{stage}/{name}": now[name] for name in (*TAKEN, *DIGITS)}
        columns[f"{stage}/rmse_r1"] = [float(metrics["data/scale"][0, 0]) * math.sqrt(v) for v in now["mse_r1"]]
    for stage, now in (("", last), ("_untrained", first)):
        columns[f"gap/acf{stage}"] = now["acf_dream"][:, 5] - now["acf_wake"][:, 5]
    columns |= {f"il/{name}_5": last[name][:, 5] for name in ("acf_wake", "acf_dream")}
    for loss in ("alternating", "wake"):
        columns[f"fall/{loss}"] = first[loss] / last[loss]
        for method in ("il_authors", "il_slow", "nvi", "published"):
            curve = metrics[f"{method}/{loss}"]
            columns[f"{method}/{loss}"] = curve[:, 3]
            columns[f"{method}/{loss}_nats"] = metrics[f"{method}/{loss}_nats"][:, 3]
            columns[f"{method}/{loss}_moved"] = curve[:, 3] / curve[:, 0]
            columns[f"{method}/{loss}_behind"] = curve[:, 3] / last[loss]
        moved = metrics[f"rates/{loss}"][:, 1] / metrics[f"rates/{loss}"][:, 0]
        best = [min((v for v in row if math.isfinite(v)), default=math.inf) for row in moved]
        columns[f"rates/{loss}_best"] = best
        columns |= {f"rates/{rate:.3g}/{loss}": moved[:, place] for place, rate in enumerate(TRIED)}
    columns["il_authors/variance"] = metrics["il_authors/variance"][:, 3]
    columns["gap/published"] = np.log(metrics["published/alternating"][:, 3]) - np.log(last["alternating"])
    ends = {
        name: [math.log(value) for value in metrics[name][:, 3]]
        for method in ("il", "il_authors", "il_slow")
        for name in (f"{method}/alternating", f"{method}/wake", f"{method}/variance")
    }
    for name, one, other in (
        ("onset", "il_authors/alternating", "il/alternating"),
        ("onset_wake", "il_authors/wake", "il/wake"),
        ("onset_variance", "il/variance", "il_authors/variance"),
        ("rate", "il_slow/alternating", "il_authors/alternating"),
    ):
        columns[f"gap/{name}"] = np.subtract(ends[one], ends[other])
    for name in ("scale", "floor", "cosine", "cosine_all", *FRAMES):
        columns[f"data/{name}"] = metrics[f"data/{name}"][:, 0]
    for layer, share, own in (("r1", 0.6, 0.65), ("r2", 0.4, 0.45)):
        columns[f"data/pca_{layer}"], columns[f"data/pca_own_{layer}"] = [share] * 3, [own] * 3
        columns[f"gap/r2_r1-pca_{layer}"] = last["r2_r1"] - share
        lower = [sum(c < value for c in (0.2, 0.4, 0.6, 0.8)) for value in last[f"r2_{layer}"]]
        columns[f"il/components_{layer}"] = lower
    for name in ("pearson", "pearson_all", *DIGITS):
        columns[f"gap/{name}"] = last[name] - first[name]
    summary = summarise(metrics)
    early = {name: value for name, value in metrics.items() if not name.startswith("il_slow/")}
    assert summary.keys() - summarise(early).keys() == {
        name for name in summary if "il_slow" in name or "gap/rate" in name
    }
    columns_of_one, summary_of_one = ({k: d.pop(k) for k in list(d) if "rates/3e-08" in k} for d in (columns, summary))
    is_summary(summary, columns)
    for loss in ("alternating", "wake"):  # the mean is of one seed
        assert summary_of_one[f"rates/3e-08/{loss}_n"] == 1
        assert summary_of_one[f"rates/3e-08/{loss}"] == pytest.approx(columns_of_one[f"rates/3e-08/{loss}"][1])


def test_table_counts_what_diverged():
    metrics = metrics_by_hand()
    rows = [line.strip("| ").split(" | ") for line in text(metrics).splitlines() if line.startswith("| ")]
    loss_rows, digit_rows = rows[2:8], rows[10:]
    assert [row[0] for row in loss_rows] == [
        "untrained",
        "impression learning",
        "the same, hidden weights rest on waking",
        "the same, hidden weights at half the rate",
        "NVI*, corrected",
        "NVI*, as published",
    ]

    def cell(values, form):
        mean = means({"x": values})
        return f"{mean['x']:{form}} ± {mean['x_sem']:{form}}"

    loss_names = ("alternating", "wake", "alternating_nats", "wake_nats")
    parts = (("il", 0), ("il", -1), ("il_authors", -1), ("il_slow", -1))
    for row, (part, at) in zip(loss_rows[:4], parts, strict=True):
        assert row[1:] == [cell(metrics[f"{part}/{name}"][:, at], ".3e") for name in loss_names]
    wake = metrics["published/wake"][:, -1]
    assert loss_rows[5][2] == cell(wake, ".3e") + ", 1 of 3 seeds diverged"
    assert loss_rows[5][1] == cell(metrics["published/alternating"][:, -1], ".3e")
    assert [row[0] for row in digit_rows] == [
        "frames",
        "PCA, as layer 1",
        "PCA, as layer 2",
        "layer 1",
        "layer 1, noiseless",
        "layer 2",
        "layer 2, noiseless",
    ]
    raw = (f"{metrics[f'data/digits_pca_r1{z}'][0, 0]:.3f}" for z in ("", "_z"))
    assert digit_rows[1][1:] == [part for value in raw for part in ("-", value)]
    pairs = [metrics[f"il/digits_r2_noiseless{z}"][:, at] for z in ("", "_z") for at in (0, -1)]
    assert digit_rows[6][1:] == [cell(values, ".3f") for values in pairs]


INF = math.inf
SURE = {
    "loss-onset": (0, INF, "gap/onset"),
    "loss-onset-awake": (0, INF, "gap/onset_wake"),
    "dreams-onset": (0, INF, "gap/onset_variance"),
    "published-behind": (0, INF, "gap/published"),
    "onset-is-rate": (-0.02, 0.02, "gap/rate"),
    "reconstructs-as-40": (0, INF, "gap/r2_r1-pca_r2"),
    "reconstructs-as-100": (0, INF, "gap/r2_r1-pca_r1"),
    "dreams-untrained": (0, INF, "gap/pearson"),
    "digits-r2": (0, INF, "gap/digits_r2"),
    "digits-r2-z": (0, INF, "gap/digits_r2_z"),
    "digits-r2-noiseless-z": (0, INF, "gap/digits_r2_noiseless_z"),
    "digits-r1": (0, INF, "gap/digits_r1"),
    "digits-r1-z": (0, INF, "gap/digits_r1_z"),
}
BETWEEN = {
    "learns": (10, INF, False, "fall/alternating"),
    "learns-awake": (10, INF, False, "fall/wake"),
    "loss": (0.85 * 1.973e5, 1.15 * 1.973e5, True, "il_authors/alternating"),
    "loss-awake": (0.85 * 16634, 1.15 * 16634, True, "il_authors/wake"),
    "reconstructs": (0.9, INF, False, "il/r2_r1"),
    "reconstructs-deep": (0.7, INF, False, "il/r2_r2"),
    "dreams": (0.9, INF, False, "il/pearson"),
    "dreams-mean": (0.95, INF, False, "il/bin_mean"),
    "dreams-variance": (0.75, 1.25, True, "il/variance"),
    "dreams-variance-authors": (0.75, 1.25, True, "il_authors/variance"),
    "dreams-time": (-0.1, 0.1, True, "gap/acf"),
    "cosine": (0.95, INF, False, "data/cosine"),
    "nvi-behind": (5, INF, False, "nvi/alternating_behind"),
    "nvi-stalls": (0.95, INF, False, "rates/alternating_best"),
    "published-climbs": (1, INF, False, "published/alternating_moved"),
}


def digits_by_hand(layer, z):
    """Summaries in each of which one baseline is better than an untrained layer, and a summary in which none is."""
    names = [f"data/digits_{feature}{z}" for feature in ("raw", "pca_r1", "pca_r2")]
    worse = {f"untrained/digits_{layer}": 0.5, **dict.fromkeys(names, 0.4)}
    return [{**worse, name: 0.6} for name in names], worse


TRIVIAL = {
    "reconstructs": (
        {"data/pca_r1": 0.95, "data/pca_r2": 0.85, "untrained/r2_r1": 0.0},
        {"data/pca_r1": 0.89},
    ),
    "reconstructs-deep": ({"data/pca_r2": 0.71, "untrained/r2_r2": 0.0}, {"data/pca_r2": 0.69}),
    "dreams": ({"untrained/pearson": 0.91}, {"untrained/pearson": 0.89}),
    "dreams-mean": ({"untrained/bin_mean": 0.96}, {"untrained/bin_mean": 0.94}),
    "nvi-behind": ({"untrained/alternating": 5.1, "il/alternating": 1.0}, {"untrained/alternating": 4.9}),
    "published-behind": ({"untrained/alternating": 1.1, "il/alternating": 1.0}, {"untrained/alternating": 0.9}),
    "dreams-time": ({"gap/acf_untrained": -0.1}, {"gap/acf_untrained": -0.2}, {"gap/acf_untrained": 0.2}),
}
for id in ("dreams-variance", "dreams-variance-authors"):
    TRIVIAL[id] = ({"untrained/variance": 1.2}, {"untrained/variance": 0.7}, {"untrained/variance": 1.3})
for layer in ("r2", "r2_z", "r2_noiseless_z", "r1", "r1_z"):
    met, unmet = digits_by_hand(layer, "_z" if layer.endswith("z") else "")
    TRIVIAL[f"digits-{layer}".replace("_", "-")] = (met[0], unmet)


def test_claims_hold_as_stated():
    claims = experiment.claims
    assert {claim.id for claim in claims} == {*SURE, *BETWEEN}
    are_sure(claims, SURE)
    are_between(claims, BETWEEN)
    intervals = SURE | {id: (low, high, *names) for id, (low, high, _, *names) in BETWEEN.items()}
    are_trivial(claims, TRIVIAL, intervals)
    others = {id: each for id, each in TRIVIAL.items() if not id.startswith("digits")}
    for place in (1, 2):
        digits = {
            f"digits-{layer}".replace("_", "-"): (digits_by_hand(layer, z)[0][place],)
            for layer, z in (("r2", ""), ("r2_z", "_z"), ("r2_noiseless_z", "_z"), ("r1", ""), ("r1_z", "_z"))
        }
        are_trivial(claims, others | digits, intervals)
    paper = {"learns", "loss", "reconstructs", "dreams", "dreams-time", "nvi-behind", "published-behind"}
    assert {claim.id for claim in claims if not claim.own} == paper


def test_invalid_settings_are_refused():
    for change in ({"sizes": (129, 3)}, {"sizes": (3, 0)}, {"epochs": 0}, {"rate_il": -1.0}, {"rates": ()}):
        with pytest.raises(ValueError, match=next(iter(change))):
            experiment.check(Config(**change))
    for config in PRESETS.values():
        experiment.check(config)
