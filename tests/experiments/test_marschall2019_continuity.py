"""UORO with one smooth factor: closed forms, runs, and the summary and every claim on made-up numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.marschall2019 import continuity
from experiments.marschall2019.continuity_claims import CLAIMS
from plasticity_jax.cells import leaky
from plasticity_jax.rules import online
from tests.experiments.by_hand import is_told, paired, row
from tests.rules.helpers import close, problem

N, ALPHA = 6, 0.5
CELL = leaky(3, N, 2, alpha=ALPHA)


def test_scales_are_epsilon_s_and_their_inverses():
    config = continuity.Config(epsilons=(0.2, 0.1))
    close(continuity.scales(config, "a"), [[0.8, 0.9], [0.2, 0.1]])
    close(continuity.scales(config, "b"), [[1 / 0.8, 1 / 0.9], [5, 10]])
    for epsilons in ((0.1, 0.2), (0.1, 0.1), (1.0, 0.1), (0.1, 0.0)):
        with pytest.raises(ValueError, match="epsilons="):
            continuity.Config(epsilons=epsilons)


def test_a_trajectory_and_closed_forms_by_a_loop():
    params, examples = problem(1, steps=5)
    w, x = np.asarray(params["forward"]["w"][0]), np.asarray(examples.x[:, 0])
    moves = jax.jit(continuity.trajectory, static_argnums=2)(w, x, ALPHA)
    r, b_square = np.zeros(N), 1.0 * N * (N + 4)
    columns, closed = np.eye(N), jax.jit(continuity.closed_forms)(*moves, N * (N + 4), 0.7, 0.4)
    fresh = []
    for t in range(5):
        rhat = np.concatenate([r, x[t], [1]])
        phi = np.tanh(w @ rhat)
        r = 0.5 * r + 0.5 * phi
        j = 0.5 * np.eye(N) + 0.5 * (1 - phi**2)[:, None] * w[:, :N]
        size = sum((0.5 * (1 - p**2) * h) ** 2 for p in phi for h in rhat)
        close(moves[0][t], j)
        close(moves[1][t], size)
        # A is a sum of independent terms, each of which is propagated separately.
        columns, fresh = 0.7 * j @ columns, [0.7 * j @ one for one in fresh] + [0.4 * np.eye(N)]
        b_square = b_square / 0.49 + size / 0.16
        close(closed["a_closed"][t], np.sum(columns**2) + sum(np.sum(one**2) for one in fresh))
        close(closed["b_closed"][t], b_square)


def test_runs_by_a_loop():
    """Means, changes and errors over draws from the rule's traces, with a made-up exact gradient."""
    samples, steps = 2, 3
    params, examples = problem(2, steps=steps)
    exact = jnp.asarray(np.random.default_rng(0).standard_normal((steps, 1, N, N + 4)))
    keys = jax.random.split(jax.random.key(1), samples)
    rule = online.uoro(CELL, rho0=0.9, rho1=0.1)
    means = jax.jit(lambda keys: continuity.follow(rule, params, keys, examples, exact))(keys)
    init, update = jax.jit(rule.init), jax.jit(rule.update)
    batches = [jax.tree.map(lambda leaf, t=t: np.asarray(leaf)[t], examples) for t in range(steps)]
    rows = {name: np.zeros((samples, steps)) for name in ("a_square", "b_square", "a_change", "b_change", "error")}
    for k, key in enumerate(keys):
        traces = init(params, key, batches[0])
        for t, batch in enumerate(batches):
            old = traces.own
            updates, traces, _ = update(params, traces, jax.random.fold_in(key, t), batch)
            miss = np.linalg.norm(updates["forward"]["w"] - exact[t]) / np.linalg.norm(exact[t])
            rows["error"][k, t] = miss
            for factor, new, last in (("a", traces.own.a, old.a), ("b", traces.own.b["w"], old.b["w"])):
                rows[f"{factor}_square"][k, t] = np.sum(np.asarray(new) ** 2)
                rows[f"{factor}_change"][k, t] = np.linalg.norm(new - last) / np.linalg.norm(last)
    for name in ("a_square", "b_square", "a_change", "b_change"):
        close(means[name], rows[name].mean(0))
    close(means["error"], np.sqrt((rows["error"] ** 2).mean(0)))
    for name in ("a_square", "b_square"):
        close(means[f"{name}_sem"], rows[name].std(0, ddof=1) / math.sqrt(samples))


SEEDS, STEPS, EPSILONS = 3, 8, (0.1, 0.01)


def metrics_by_hand():
    rng, metrics = np.random.default_rng(0), {}
    for alpha in ("alpha.0.5", "alpha.0.05"):
        metrics[f"{alpha}/epsilons"] = np.array([[EPSILONS]] * SEEDS)
        for setting, axes in (("a", (2,)), ("b", (2,)), ("balanced", ())):
            for name in ("a_square", "b_square", "a_change", "b_change", "error", "a_square_sem", "b_square_sem"):
                metrics[f"{alpha}/{setting}/{name}"] = 0.1 + rng.random((SEEDS, 1, *axes, STEPS))
            for name in ("a_closed", "b_closed") if axes else ():
                metrics[f"{alpha}/{setting}/{name}"] = rng.random((SEEDS, 1, *axes, STEPS))
    return metrics


METRICS = metrics_by_hand()


def is_mean(summary, name, values):
    assert summary[name] == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert summary[f"{name}_n"] == SEEDS


def test_the_summary_by_hand():
    summary, seeds, scores = continuity.summarise(METRICS), range(SEEDS), []
    for alpha in ("alpha.0.5", "alpha.0.05"):
        curves = {
            name.removeprefix(f"{alpha}/"): v[:, 0] for name, v in METRICS.items() if name.startswith(f"{alpha}/")
        }
        balanced = [sum(curves["balanced/error"][s, 4:]) / 4 for s in seeds]
        is_mean(summary, f"{alpha}/balanced/error", balanced)
        for smooth, other in (("a", "b"), ("b", "a")):
            changes = []
            for k, epsilon in enumerate(EPSILONS):
                where = f"{alpha}/smooth-{smooth}/{epsilon}"
                square = curves[f"{smooth}/{other}_square"]
                is_mean(summary, f"{where}/grown", [math.log10(square[s, k, 7] / square[s, k, 3]) for s in seeds])
                is_mean(summary, f"{where}/gain", [4 * math.log10((1 - epsilon) ** -2)] * 3)
                changes.append([sum(curves[f"{smooth}/{smooth}_change"][s, k, 4:]) / 4 for s in seeds])
                is_mean(summary, f"{where}/change", changes[-1])
                errors = [curves[f"{smooth}/error"][s, k, 7] / balanced[s] for s in seeds]
                is_mean(summary, f"{where}/error-over-balanced", errors)
                for factor in ("a", "b"):
                    mean, sem, closed = (
                        curves[f"{smooth}/{factor}_{kind}"] for kind in ("square", "square_sem", "closed")
                    )
                    scores += [(mean[s, k, t] - closed[s, k, t]) / sem[s, k, t] for s in seeds for t in (3, 7)]
            falls = [changes[0][s] / changes[1][s] for s in seeds]
            is_mean(summary, f"{alpha}/smooth-{smooth}/change-falls", falls)
    assert len(scores) == 96
    expected = math.sqrt(sum(z**2 for z in scores) / len(scores))
    assert summary["closed-forms/z_rms"] == pytest.approx(expected, rel=1e-12)


def test_claims():
    for smooth, grows in (("a", "smooth-a-b-grows"), ("b", "smooth-b-a-grows")):
        names = [f"alpha.{alpha}/smooth-{smooth}/{eps}/grown" for alpha in (0.5, 0.05) for eps in EPSILONS]
        summary = paired({name: 1.0 + k for k, name in enumerate(names)})
        is_told(CLAIMS, grows, summary, [{name: 0.9} for name in names], 1.0)
        assert row(CLAIMS, grows, {name.replace("smooth-", "other-"): 1.0 for name in names})["holds"] is None
        names = [f"alpha.{alpha}/smooth-{smooth}/change-falls" for alpha in (0.5, 0.05)]
        summary = paired({name: 3.0 + k for k, name in enumerate(names)})
        is_told(CLAIMS, f"smooth-{smooth}-is-smooth", summary, [{name: 2.9} for name in names], 3.0)
    names = [f"alpha.{alpha}/smooth-{smooth}/0.1/error-over-balanced" for alpha in (0.5, 0.05) for smooth in "ab"]
    summary = paired({name: 11.0 + k for k, name in enumerate(names)})
    is_told(CLAIMS, "estimate-fails", summary, [{name: 10.9} for name in names], 11.0)
    is_told(CLAIMS, "closed-forms", {"closed-forms/z_rms": 1.9}, [{"closed-forms/z_rms": 2.1}], 1.9)
    assert {claim.id for claim in CLAIMS if claim.own} == {"estimate-fails", "closed-forms"}
    assert len(CLAIMS) == 6
