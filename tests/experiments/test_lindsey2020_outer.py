"""Section 8 of Lindsey & Litwin-Kumar: rules, windows, costs, summary and claims, by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import outer
from experiments.lindsey2020.outer_claims import CLAIMS
from experiments.lindsey2020.outer_figures import text
from experiments.lindsey2020.outer_summary import LOOPS, RULES, TERMS, flp_nearest, name_of, summarise
from plasticity_jax.rules.hebbian.taylor import flp_terms
from plasticity_jax.run.program import Program
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Episode, Example
from tests.experiments.by_hand import is_gap, is_told, is_trivial, row

SMALL = outer.PRESETS["smoke"]


def a_step(rule):
    """Weights before and after a step of a life, and theta at the start."""
    life, theta = outer.life_of(SMALL, rule), outer.theta_of(SMALL, rule, jax.random.key(0))
    key = jax.random.key(1)
    batch = Example(jax.random.normal(key, (3, 4)), jax.random.normal(key, (3, 1)))
    learn = life.learner(theta)
    state, _ = learn.step(learn.init(life.params(theta), key, batch), batch)
    return life.params(theta), state.params, theta


def test_every_rule_starts_as_flps():
    initial, expected, _ = a_step("flp")
    assert np.abs(expected["forward"]["w"][0] - initial["forward"]["w"][0]).max() > 1e-4
    for rule in RULES[1:]:
        _, params, theta = a_step(rule)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), params, expected)
        shapes = {np.shape(leaf) for leaf in jax.tree.leaves(theta["alpha"])}
        assert shapes == {()}, "one number for each layer"


def test_feedback_is_plastic_where_its_rate_is_not_zero():
    life, theta = outer.life_of(SMALL, "plastic_feedback"), outer.theta_of(SMALL, "plastic_feedback", jax.random.key(0))
    batch = Example(jnp.ones((3, 4)), jnp.ones((3, 1)))
    for rate in (0.0, 0.1):
        learn = life.learner({**theta, "alpha_fb": (jnp.asarray(rate),) * 2})
        state, _ = learn.step(learn.init(life.params(theta), jax.random.key(0), batch), batch)
        moved = np.abs(state.params["feedback"]["w_fb"][0] - theta["feedback"]["w_fb"][0]).max()
        assert (moved > 0) == (rate > 0)


def test_a_life_in_windows_by_hand():
    support = jnp.arange(2 * 3 * 6 * 2.0).reshape(2, 3, 6, 2)  # episodes, lives, steps, points
    query = jnp.arange(6.0).reshape(2, 3)

    def take(state, steps):
        return state + steps, Episode({"x": support[:steps]}, {"x": query[:steps]})

    stream = outer.in_windows(Stream(lambda key: 0, take), 3)
    state, (parts, queries) = stream.take(0, 6)
    assert state == 2
    assert parts["x"].shape == (6, 3, 2, 2)
    for k in range(6):
        for life in range(3):
            np.testing.assert_array_equal(parts["x"][k, life], support[k // 3, life, 2 * (k % 3) : 2 * (k % 3) + 2])
            assert queries["x"][k, life] == query[k // 3, life]
    assert stream.take(0, 1)[1].support["x"].shape == (1, 3, 2, 2)


def test_outer_steps_and_what_they_cost(monkeypatch):
    given = {}
    for name in ("meta_gradient", "es", "pes", "truncated"):
        monkeypatch.setattr(outer, name, lambda life, name=name, **options: given.update({name: options}) or name)
    loops = {loop: outer.outer_loop(outer.PRESETS["default"], None, loop) for loop in ("exact", *LOOPS)}
    assert {loop: (each.rule, each.windows, each.inner, each.es) for loop, each in loops.items()} == {
        "exact": ("meta_gradient", 1, 3 * 80, False),
        "es": ("es", 1, 2 * 8 * 80, True),
        "pes": ("pes", 4, 2 * 8 * 20, True),
        "truncated": ("truncated", 4, 3 * 20, False),
    }
    assert given["pes"]["windows"] == given["truncated"]["windows"] == 4
    assert given["es"]["sigma"]["alpha"] == 3e-4
    assert given["es"]["sigma"]["prefix"] == given["pes"]["sigma"]["beta"] == 0.03


def test_rates_and_steps(monkeypatch):
    calls = []

    def meta_training(*args, **options):
        calls.append((args, options))
        return Program(None, None, chunks=1, steps=1, points=1)

    monkeypatch.setattr(outer, "meta_training", meta_training)
    monkeypatch.setattr(outer, "held_out", lambda *args: None)
    config = outer.dataclasses.replace(SMALL, rate=1.0, rate_rule=2.0, rate_es=3.0, rate_rule_es=4.0)
    for loop, weights, own, episodes in (("exact", 1.0, 2.0, 4), ("es", 3.0, 4.0, 4), ("truncated", 1.0, 2.0, 8)):
        assert outer.make_program(config, "flp", loop).may_diverge
        (_, rates, *_), options = calls[-1]
        groups = {"weights": weights, "feedback": weights, "beta": weights, "alpha": own, "alpha_fb": own}
        assert rates == groups
        assert options["episodes"] == episodes


def test_the_nearest_point_of_flp():
    terms = flp_terms(0.02, 0.3)
    of_flp = np.array([terms.get(term, 0.0) for term in TERMS])
    assert flp_nearest(of_flp) == pytest.approx(1.0, abs=1e-5)
    off = of_flp.copy()
    off[6] = np.linalg.norm(of_flp)
    assert flp_nearest(off) == pytest.approx(0.5, abs=1e-5)
    assert flp_nearest(np.eye(len(TERMS))[7]) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(flp_nearest(np.stack([of_flp, off])), [1.0, 0.5], atol=1e-5)


SEEDS, POINTS, LENGTHS = 3, 2, 3


def metrics_by_hand():
    rng, metrics = np.random.default_rng(0), {}
    for part in (*(f"rule/{name}" for name in RULES), *(f"loop/{name}" for name in LOOPS)):
        metrics[f"{part}/median"] = 0.5 + rng.random((SEEDS, POINTS, LENGTHS))
        metrics[f"{part}/length"] = np.broadcast_to([1.0, 2.0, 8.0], (SEEDS, POINTS, LENGTHS))
        metrics[f"{part}/episode"] = np.full((SEEDS, POINTS), 10.0)
    metrics["rule/taylor/coefficients"] = rng.normal(size=(SEEDS, POINTS, len(TERMS), 2))
    metrics["rule/plastic_feedback/alpha_fb"] = rng.normal(size=(SEEDS, POINTS, 2))
    return {**metrics, **{f"seconds/{loop}": np.array(k + 1.0) for k, loop in enumerate(("exact", *LOOPS))}}


METRICS = metrics_by_hand()


def end(name, length=0):
    part = f"rule/{name}" if name in RULES else f"loop/{name}"
    return [METRICS[f"{part}/median"][seed, 1, length] for seed in range(SEEDS)]


def log_gap(a, b):
    return sum(math.log10(x / y) for x, y in zip(a, b, strict=True)) / SEEDS


def test_the_summary_by_hand():
    summary = summarise(METRICS)
    for name in (*RULES, *LOOPS):
        for k in range(LENGTHS):
            assert summary[f"{name}/{k}"] == pytest.approx(sum(end(name, k)) / SEEDS)
        assert summary[f"gap/{name}/longer-shorter"] == pytest.approx(log_gap(end(name, 2), end(name)))
        nothing = [summary["no_lifetime_learning"]] * SEEDS
        assert summary[f"gap/nothing-{name}"] == pytest.approx(log_gap(nothing, end(name)))
        if name != "flp":
            assert summary[f"gap/flp-{name}"] == pytest.approx(log_gap(end("flp"), end(name)))
            assert summary[f"gap/{name}-flp"] == pytest.approx(-summary[f"gap/flp-{name}"])
    lost = {**METRICS, "loop/es/median": METRICS["loop/es/median"].copy()}
    lost["loop/es/median"][1, 1, 2] = np.inf
    assert (summary["es/diverged"], summarise(lost)["es/diverged"]) == (0, pytest.approx(1 / 3))
    assert summary["gap/es-pes"] == pytest.approx(log_gap(end("es"), end("pes")))
    assert summary["no_lifetime_learning"] == pytest.approx(3.13, abs=0.01)
    assert (summary["seconds/exact"], summary["seconds/truncated"]) == (1, 4)
    expected = METRICS["rule/taylor/coefficients"][:, 1, 2, 1].mean()
    assert summary[f"taylor/readout/{name_of(TERMS[2])}"] == pytest.approx(expected)
    expected = flp_nearest(METRICS["rule/taylor/coefficients"][:, 1, :, 0]).mean()
    assert summary["taylor/hidden/flp"] == pytest.approx(expected)
    expected = METRICS["rule/plastic_feedback/alpha_fb"][:, 1, 0].mean()
    assert summary["plastic_feedback/hidden/alpha_fb"] == pytest.approx(expected)
    assert f"| {TERMS[5]} (not FLP's) |" in text(METRICS)
    assert "| lives 8 times as long |" in text(METRICS)


def test_what_was_not_run():
    some = {name: values for name, values in METRICS.items() if name.startswith("rule/flp")}
    summary = summarise(some)
    assert row(CLAIMS, "flp_learns", summary)["holds"] is not None
    assert row(CLAIMS, "meta_learned_rule_pays", summary)["holds"] is None
    assert row(CLAIMS, "es_learns", summary)["holds"] is None


@pytest.mark.parametrize(("name", "gap", "worse"), [
    ("flp_learns", "nothing-flp", None),
    ("plastic_feedback_learns", "nothing-plastic_feedback", None),
    ("es_learns", "nothing-es", None),
    ("pes_learns", "nothing-pes", None),
    ("truncated_learns", "nothing-truncated", None),
    ("meta_learned_rule_pays", "flp-taylor", "flp"),
    ("plastic_feedback_pays", "flp-plastic_feedback", "flp"),
    ("exact_beats_es", "es-flp", "es"),
    ("exact_beats_truncated", "truncated-flp", "truncated"),
    ("pes_beats_es", "es-pes", "es"),
])  # fmt: skip
def test_claims_on_differences(name, gap, worse):
    is_gap(CLAIMS, name, f"gap/{gap}")
    if worse:
        summary = {f"gap/{gap}": 1.0, f"gap/{gap}_sem": 0.1, f"gap/{gap}_n": 4, f"{worse}/0": 3.2}
        is_trivial(CLAIMS, name, {**summary, "no_lifetime_learning": 3.1}, {"no_lifetime_learning": 3.3})


def test_the_other_claims():
    for rule in RULES:
        id, gap = f"{rule}_keeps_in_longer_lives", f"gap/{rule}/longer-shorter"
        summary = {gap: 0.29, f"{gap}_sem": 0.3, f"{gap}_n": 4, f"{rule}/diverged": 0.0}
        is_told(CLAIMS, id, summary, [{gap: 1.0}, {f"{rule}/diverged": 0.25}], 0.29)
        assert row(CLAIMS, id, {**summary, gap: 0.9})["holds"] is None
        assert row(CLAIMS, id, {**summary, f"{gap}_n": 1})["holds"] is None
    assert len(CLAIMS) == 13
    assert [claim.id for claim in CLAIMS if not claim.own] == ["meta_learned_rule_pays"]


def test_settings_that_cannot_be():
    for change, words in (
        ({"windows": 3}, "windows=3"),
        ({"loops": ("a",)}, "not known"),
        ({"longer": (2,)}, "longer"),
    ):
        with pytest.raises(ValueError, match=words):
            outer.Config(**change)
