"""The search over the optimiser: settings, scores and summary against NumPy, claims on numbers made by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benjamin2021 import common as shared
from experiments.benjamin2021.search import PRESETS, experiment, scores, settings
from experiments.benjamin2021.search_claims import sides, summarise, text
from plasticity_jax.networks.hierarchy import FREE, reconstruct, stacked_phases
from tests.experiments.benjamin2021_by_hand import (
    are_bounded,
    are_gaps,
    are_trivial,
    decidable,
    entries,
    is_summary,
    row,
)
from tests.laws.common import compiled

SCORES = ("identity", "mse", "told", "sleep_frechet")
OTHERS = ("combined", "bare", "global_7", "global_14", "global_28", "local_7", "local_14", "local_28")


def made(seeds=3, draws=4):
    """Metrics of a run in which one setting of one seed diverged."""
    metrics = {f"search/{score}": entries(f"search/{score}", seeds, 1, draws) for score in SCORES}
    metrics |= {f"{part}/{score}": entries(f"{part}/{score}", seeds, 1, 1) for part in OTHERS for score in SCORES}
    metrics["search/bad_step"] = np.full((seeds, 1, draws), -1)
    metrics["search/bad_step"][1, 0, 2] = 5
    metrics["search/identity"][1, 0, 2] = np.nan
    return metrics


def test_the_first_setting_is_the_papers_and_the_others_are_spread():
    drawn = settings(400, 1e-3)
    assert [values[0] for values in drawn] == [1e-3, 4e-3, 2e-5, 0.5, 0.99]
    assert settings(3, 1e-3).b1[1] == drawn.b1[1]
    ranges = (
        (np.log10(drawn.model_rate), -4, np.log10(3e-3)),
        (np.log10(drawn.critic_rate / drawn.model_rate), 0, 1),
        (np.log10(drawn.weight_decay), -7, -2),
        (drawn.b1, 0, 0.9),
        (np.log10(1 - drawn.b2), -3, -1),
    )
    for values, low, high in ranges:
        share = (values[1:] - low) / (high - low)
        assert share.min() > -1e-9
        assert share.max() < 1 + 1e-9
        assert abs(share.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 399)


def test_summary_is_of_all_settings_and_of_the_best():
    metrics = made()
    columns = {}
    for score in SCORES:
        columns |= {f"search/{i}/{score}": metrics[f"search/{score}"][:, 0, i] for i in range(4)}
        columns |= {f"{part}/{score}": metrics[f"{part}/{score}"][:, 0, 0] for part in OTHERS}
    means = [metrics["search/identity"][:, 0, i].mean() for i in (0, 1, 3)]
    best = metrics["search/identity"][:, 0, (0, 1, 3)[int(np.argmax(means))]]
    columns["best/identity"] = best
    shares = metrics["search/told"][:, 0]
    columns["best/told"] = shares[:, int(np.argmax(shares.sum(0)))]
    for name in ("combined", "bare"):
        columns[f"gap/{name}"] = metrics[f"{name}/identity"][:, 0, 0] - best
    falls = {kind: metrics[f"{kind}_7/identity"][:, 0, 0] - metrics[f"{kind}_28/identity"][:, 0, 0]
             for kind in ("global", "local")}  # fmt: skip
    columns |= {f"falls/{kind}": values for kind, values in falls.items()}
    columns["gap/falls"] = falls["global"] - falls["local"]
    is_summary(summarise(metrics), columns, {"search/lost": 1})
    assert sides(metrics) == [7, 14, 28]
    lines = text(metrics).split("\n")
    assert len(lines) == 2 + 4 + 8
    assert lines[2 + 4].startswith(f"| combined, setting 0 | {columns['combined/identity'].mean():.3f} ± ")


GAPS = {
    "search-combined": ["gap/combined"],
    "search-bare": ["gap/bare"],
    "inputs": ["falls/global"],
    "inputs-local": ["gap/falls"],
}
BOUNDED = {"search-untold": (-math.inf, 0.05, "best/told")}
TRIVIAL = {
    "search": ({"combined/identity": 0.49, "bare/identity": 0.49}, {"combined/identity": 0.5}, {"bare/identity": 0.5}),
    "search-untold": ({"combined/told": 0.05, "bare/told": 0.05}, {"combined/told": 0.06}, {"bare/told": 0.06}),
}


def test_every_claim_reads_its_own_numbers():
    claims = experiment.claims
    assert {claim.id for claim in claims} == {"search", *GAPS, *BOUNDED}
    are_gaps(claims, GAPS)
    are_bounded(claims, BOUNDED)
    for worst, holds in ((0.49, True), (0.5, False)):
        result = row(claims, "search", {"search/0/identity": 0.1, "search/12/identity": worst, "best/identity": 0.9})
        assert (result["measured"], result["holds"]) == (worst, holds)
    assert row(claims, "search", {"best/identity": 0.1})["holds"] is None

    def summary_of(id):
        return {"search/0/identity": 0.1} if id == "search" else decidable(GAPS, BOUNDED)(id)

    are_trivial(claims, TRIVIAL, summary_of)
    assert {claim.id for claim in claims if claim.own} == {"search-bare", "search-untold", "inputs", "inputs-local"}
    assert all((claim.paper is None) == claim.own for claim in claims)


class Noisy:
    """A stack of one layer that holds the image under noise and hands it back reversed; it dreams noise."""

    depth, sites = 1, ((0,), (1,))

    def infer(self, params, layer, below, key):
        return below + 0.3 * jax.random.normal(key, below.shape, below.dtype)

    def generate(self, params, layer, above, key):
        return above[:, ::-1]

    def prior(self, key, count, dtype):
        return jax.random.uniform(key, (count, 49), dtype)

    def phases(self, params, x, key, parents=FREE, oscillate=True):
        return stacked_phases(self, params, x, key, parents, oscillate)


def test_scores_are_those_of_numpy():
    data, judge, net = shared.digits("prototypes", 7), shared.classifier("prototypes", 7), Noisy()
    params, key = {"inference": (), "generation": ()}, jax.random.key(0)
    metrics = compiled(lambda key: scores(net, params, key, data, judge, 100))(key)
    keys = jax.random.split(key, 3)
    x, label = np.asarray(data.test[:100]) / 255, np.asarray(data.test_label[:100])
    back = np.asarray(reconstruct(net, params, jnp.asarray(x), keys[0])[0])
    phases = net.phases(params, jnp.asarray(x), keys[1], oscillate=False)
    logits = np.asarray(shared.judged(judge.weights, jnp.asarray(back))[0])
    (_, real), (_, dreams) = (shared.judged(judge.weights, jnp.asarray(each)) for each in (x, phases.sleep[0]))
    np.testing.assert_allclose(metrics["identity"], np.mean(logits.argmax(1) == label))
    np.testing.assert_allclose(metrics["mse"], np.mean((back - x) ** 2), rtol=1e-5)
    np.testing.assert_allclose(metrics["sleep_frechet"], shared.frechet(dreams, real), rtol=1e-4)
    signal = x.var(0).mean()
    np.testing.assert_allclose(metrics["told"], signal / (signal + 0.09), atol=0.05)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="tries=1"):
        dataclasses.replace(PRESETS["smoke"], tries=1)
