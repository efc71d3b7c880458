"""DNI(b) taken apart: the watched rule, the variants, and the summary and every claim on made-up numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.marschall2019 import jacobian as experiment
from experiments.marschall2019.jacobian_claims import CLAIMS
from experiments.marschall2019.tracking import jacobian, watched
from plasticity_jax.cells import advance, leaky
from plasticity_jax.rules import online
from tests.experiments.by_hand import is_gap, is_trivial
from tests.rules.helpers import close, differ, problem

SEEDS, POINTS, ALPHA, AVERAGE = 3, 20, 0.5, 0.1
VARIANTS = (
    "dni", "jacobian", "tanh", "random", "jacobian+tanh", "jacobian+random", "tanh+random", "jacobian+tanh+random",
)  # fmt: skip
FULL, TEXT = "jacobian+tanh+random", "jacobian+tanh"
CELL = leaky(3, 6, 2, alpha=ALPHA)


def angle(x, y):
    return np.sum(x * y) / np.linalg.norm(x) / np.linalg.norm(y)


def test_the_jacobian_is_that_of_a_step():
    params, examples = problem(1, steps=1)
    w = params["forward"]["w"]
    r = jnp.linspace(-0.5, 0.7, 6)
    after = jax.jit(lambda s: advance(CELL, {"w": w}, s[None], examples.x[0, 0])[0])
    close(jacobian(w[0], r, after(r), ALPHA), jax.jacfwd(after)(r))


def test_what_is_watched_by_a_loop():
    """Errors, cosines and angles of all guesses are computed from the rule's traces; its learning does not change."""
    steps = 6
    params, examples = problem(2, steps=steps)
    rule = online.dni_b(CELL, jacobian_learning_rate=0.05)
    watched_rule = watched(rule, ALPHA, AVERAGE)
    key = jax.random.key(0)
    batches = [jax.tree.map(lambda leaf, t=t: np.asarray(leaf)[t], examples) for t in range(steps)]
    traces, plain = watched_rule.init(params, key, batches[0]), rule.init(params, key, batches[0])
    update, plain_update = jax.jit(watched_rule.update), jax.jit(rule.update)
    start, mean = np.asarray(traces.rule.shared.jacobian), None
    for batch in batches:
        before = jax.tree.map(np.asarray, traces.rule)
        updates, traces, info = update(params, traces, key, batch)
        expected, plain, _ = plain_update(params, plain, key, batch)
        close(updates["forward"]["w"], expected["forward"]["w"])
        w = np.asarray(params["forward"]["w"][0])
        r_tm1, r = before.state[0, 0], np.asarray(traces.rule.state[0, 0])
        slope = 1 - np.tanh(w @ np.concatenate([r_tm1, batch.x[0], [1]])) ** 2
        exact = (1 - ALPHA) * np.eye(6) + ALPHA * slope[:, None] * w[:, :6]
        forecast = np.tanh(before.shared.a_target @ np.concatenate([r, batch.y[0], [1]]))
        mean = exact if mean is None else mean
        guesses = {
            "learned": np.asarray(traces.rule.shared.jacobian), "mean": mean, "start": start, "identity": np.eye(6),
        }  # fmt: skip
        aux = info.aux["watch"]
        assert len(aux) == 2 + 3 * len(guesses)
        for name, guess in guesses.items():
            close(aux[f"{name}_error"], np.linalg.norm(guess - exact) / np.linalg.norm(exact))
            close(aux[f"{name}_cosine"], angle(guess, exact))
            close(aux[f"{name}_pull"], angle(forecast @ guess, forecast @ exact))
        close(aux["miss"], np.sum((before.shared.jacobian @ r_tm1 - r) ** 2))
        close(aux["still"], np.sum((r - r_tm1) ** 2))
        mean = mean + AVERAGE * (exact - mean)
        params = jax.tree.map(lambda p, g: np.asarray(p) - 0.2 * np.asarray(g), params, updates)
    differ(guesses["learned"], start)
    differ(mean, exact)


def test_variants_have_the_changes_of_their_names(monkeypatch):
    assert experiment.VARIANTS == VARIANTS
    options_of = {}
    monkeypatch.setattr(experiment.online, "dni", lambda cell, **options: options)
    for name in VARIANTS:
        options_of[name] = tuple(experiment.variant(name, CELL).values())
    plain, changed = ("exact", "identity", "readout"), ("learned", "tanh", "random")
    assert options_of["dni"] == plain
    assert options_of[FULL] == changed
    assert options_of[TEXT] == ("learned", "tanh", "readout")
    assert options_of["random"] == ("exact", "identity", "random")
    assert len(set(options_of.values())) == 8


def test_parts_and_what_is_refused():
    config = experiment.Config(seeds=1, n=4, steps=400, points=20, chunks=2, variants=("dni", "random"))
    assert list(experiment.make_parts(config)) == ["fixed", "dni", "random", "watched"]
    assert list(experiment.make_parts(experiment.PRESETS["smoke"])) == ["fixed", *VARIANTS, "watched"]
    with pytest.raises(ValueError, match="variants: sigmoid not known"):
        experiment.Config(variants=("sigmoid",))
    with pytest.raises(ValueError, match="multiple of points"):
        experiment.Config(steps=1_001)


def metrics_by_hand():
    rng = np.random.default_rng(0)
    metrics = {f"{name}/loss": rng.random((SEEDS, POINTS)) for name in ("fixed", *VARIANTS)}
    for guess in ("learned", "mean", "start", "identity"):
        for kind in ("error", "cosine", "pull"):
            metrics[f"watched/{guess}_{kind}"] = rng.random((SEEDS, POINTS))
    return metrics | {f"watched/{name}": 1 + rng.random((SEEDS, POINTS)) for name in ("miss", "still")}


METRICS = metrics_by_hand()


def ends(name):
    return np.array([(METRICS[name][seed, 18] + METRICS[name][seed, 19]) / 2 for seed in range(SEEDS)])


def is_mean(summary, name, values):
    assert summary[name] == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert summary[f"{name}_sem"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)), rel=1e-9)


def test_the_summary_by_hand():
    summary = experiment.summarise(METRICS)
    losses = {name: ends(f"{name}/loss") for name in ("fixed", *VARIANTS)}
    for name in VARIANTS:
        is_mean(summary, f"loss/{name}", losses[name])
        is_mean(summary, f"fixed-{name}", losses["fixed"] - losses[name])
        if name != "dni":
            is_mean(summary, f"{name}-dni", losses[name] - losses["dni"])
    pairs = [("dni", "tanh"), ("jacobian", TEXT), ("random", "tanh+random"), ("jacobian+random", FULL)]
    is_mean(summary, "effect/tanh", sum(losses[having] - losses[without] for without, having in pairs) / 4)
    pairs = [("dni", "random"), ("jacobian", "jacobian+random"), ("tanh", "tanh+random"), (TEXT, FULL)]
    is_mean(summary, "effect/random", sum(losses[having] - losses[without] for without, having in pairs) / 4)
    learned = ends("watched/learned_error")
    is_mean(summary, "watched/mean_cosine", ends("watched/mean_cosine"))
    is_mean(summary, "watched/lead-on-zero", 1 - learned)
    is_mean(summary, "watched/lead-on-start", ends("watched/start_error") - learned)
    is_mean(summary, "watched/lead-on-mean", ends("watched/mean_error") - learned)
    is_mean(summary, "watched/pull-lead-on-identity", ends("watched/learned_pull") - ends("watched/identity_pull"))
    is_mean(summary, "watched/lead-on-still", 1 - ends("watched/miss") / ends("watched/still"))
    some = {name: values for name, values in METRICS.items() if name.split("/")[0] in ("fixed", "random", "watched")}
    partial = experiment.summarise(some)
    assert "fixed-random" in partial
    assert not [name for name in partial if name.startswith("effect") or name.endswith("-dni")]


def test_claims():
    names = {
        "dni_b-worse-than-dni": f"{FULL}-dni", "dni_b-beats-fixed": f"fixed-{FULL}",
        "text-worse-than-dni": f"{TEXT}-dni", "text-beats-fixed": f"fixed-{TEXT}",
        "jacobian-costs": "effect/jacobian", "tanh-costs": "effect/tanh", "random-costs": "effect/random",
        "nearer-than-zero": "watched/lead-on-zero", "nearer-than-start": "watched/lead-on-start",
        "nearer-than-mean": "watched/lead-on-mean", "passes-credit-on": "watched/pull-lead-on-identity",
        "predicts": "watched/lead-on-still",
    }  # fmt: skip
    assert set(names) == {claim.id for claim in CLAIMS}
    for id, name in names.items():
        is_gap(CLAIMS, id, name)
    summary = {"watched/lead-on-zero": 1.0, "watched/lead-on-zero_sem": 0.1, "watched/lead-on-zero_n": 4}
    is_trivial(CLAIMS, "nearer-than-zero", {**summary, "watched/start_error": 0.9}, {"watched/start_error": 1.1})
    own = {claim.id for claim in CLAIMS if claim.own}
    assert own == {
        "jacobian-costs", "tanh-costs", "random-costs", "nearer-than-start", "nearer-than-mean", "passes-credit-on"
    }  # fmt: skip
    assert all((claim.paper is None) == claim.own for claim in CLAIMS)
