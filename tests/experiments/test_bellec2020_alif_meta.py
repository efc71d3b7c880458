"""Time constants and broadcast weights from an outer loop: lives, the grid, the summary and the claims, by hand."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.bellec2020 import alif_meta_parts as parts
from experiments.bellec2020.alif_meta import PRESETS, Config
from experiments.bellec2020.alif_meta_claims import ARMS, CLAIMS, PAIRS, summarise
from experiments.bellec2020.alif_meta_figures import text
from experiments.bellec2020.alif_meta_lives import cosine_with_readout, fixed_length_steps, lives
from experiments.bellec2020.alif_meta_parts import body_of, grid_of, mean_over_lives, seed_of, settings, task_of
from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.meta import Life
from plasticity_jax.typing import Episode
from tests.experiments.by_hand import is_gap, is_put, is_told, is_trivial, row
from tests.laws.common import compiled

SMALL = PRESETS["smoke"]
SEEDS, POINTS, LENGTHS, N = 4, 2, 3, 5


def metrics_by_hand():
    rng, metrics = np.random.default_rng(0), {}
    for part, points, count in (("start", 1, 2), ("meta", POINTS, len(ARMS))):
        for name in ("loss", "right", "rate", "aligned"):
            metrics[f"{part}/{name}"] = rng.random((SEEDS, points, count, LENGTHS))
        for method in ("eprop", "bptt", "frozen"):
            for name in ("loss", "right"):
                metrics[f"{part}/{method}_{name}"] = rng.random((SEEDS, points, count))
    for name in ("loss", "right", "rate"):
        metrics[f"grid/{name}"] = rng.random((SEEDS, 1, LENGTHS))
    return metrics


METRICS = metrics_by_hand()


def end(theta, name):
    if theta == "grid":
        return METRICS[f"grid/{name}"][:, 0]
    if theta.startswith("start"):
        return METRICS[f"start/{name}"][:, 0, int(theta.endswith("innate"))]
    return METRICS[f"meta/{name}"][:, POINTS - 1, ARMS.index(theta)]


def test_the_summary_by_hand():
    summary = summarise(METRICS)
    for theta in ("start", "start.innate", "grid", *ARMS):
        for k in range(LENGTHS):
            is_put(summary, f"{theta}/loss/{k + 1}", end(theta, "loss")[:, k])
            is_put(summary, f"{theta}/right/{k + 1}", end(theta, "right")[:, k])
        is_put(summary, f"{theta}/longer", end(theta, "loss")[:, 0] - end(theta, "loss")[:, 2])
        if theta != "grid":
            is_put(summary, f"{theta}/bptt/right", end(theta, "bptt_right"))
            is_put(summary, f"{theta}/aligned", end(theta, "aligned")[:, 0])
    for better, worse in PAIRS:
        pair = f"{better}-{worse}"
        is_put(summary, f"{pair}/loss", end(worse, "loss")[:, 0] - end(better, "loss")[:, 0])
        is_put(summary, f"{pair}/right", end(better, "right")[:, 0] - end(worse, "right")[:, 0])
        is_put(summary, f"{pair}/loss/longest", end(worse, "loss")[:, 2] - end(better, "loss")[:, 2])
        if "grid" not in (better, worse):
            is_put(summary, f"{pair}/eprop/loss", end(worse, "eprop_loss") - end(better, "eprop_loss"))
            is_put(summary, f"{pair}/random-eprop/loss", end(worse, "eprop_loss") - end(better, "loss")[:, 0])
            is_put(summary, f"{pair}/aligned", end(better, "aligned")[:, 0] - end(worse, "aligned")[:, 0])
    lines = text(METRICS).split("\n")
    assert f"| both learned | {100 * end('both', 'right')[:, 0].mean():.1f} ±" in lines[6]
    some = summarise({name: values for name, values in METRICS.items() if name.startswith("start")})
    assert some == {name: summary[name] for name in some}


GAPS = {
    "constants-pay": ("constants-start/loss",),
    "broadcast-pays": ("broadcast-start/loss",),
    "broadcast-adds": ("both-constants/loss",),
    "beats-grid": ("both-grid/loss",),
    "constants-beat-grid": ("constants-grid/loss",),
    "constants-serve-others": ("constants-start/eprop/loss", "constants-start/bptt/loss"),
    "both-beats-symmetric": ("both-start/random-eprop/loss",),
    "lead-lasts": ("both-start/loss/longest",),
    "innate-pays": ("innate-start.innate/loss",),
    "innate-aligns": ("innate-start.innate/aligned",),
    "new-readouts-align": ("broadcast-start/aligned",),
}


@pytest.mark.parametrize("id", GAPS)
def test_claims_on_differences(id):
    is_gap(CLAIMS, id, *GAPS[id])


def test_the_other_claims():
    def mean(name, value, n=4):
        return {name: value, f"{name}_sem": 0.01, f"{name}_n": n}  # t is 3.18 for four seeds

    learns, frozen = "both/right/1", "start/frozen/right"
    summary = mean(learns, 0.532) | mean(frozen, 0.54)
    is_told(CLAIMS, "both-learns", summary, [{learns: 0.531}, {learns: math.nan}], 0.532)
    is_trivial(CLAIMS, "both-learns", summary, {frozen: 0.53})
    is_trivial(CLAIMS, "constants-pay", mean("constants-start/loss", 0.1) | mean("grid-start/loss", 0.04),
               {"grid-start/loss": 0.03})  # fmt: skip
    id, longer = "longer-lives-learn-more", "both/longer"
    is_told(CLAIMS, id, mean(longer, 0.04), [{longer: -0.04}], 0.04)
    assert row(CLAIMS, id, mean(longer, 0.03))["holds"] is None
    assert row(CLAIMS, id, mean(longer, 0.04, 1))["holds"] is None
    assert {claim.id for claim in CLAIMS} == {*GAPS, "both-learns", id}
    assert all(claim.own for claim in CLAIMS)


def test_births_differ_and_innate_readouts_do_not():
    body, task, seed = body_of(SMALL), task_of(SMALL), seed_of(SMALL, jax.random.key(0))

    def births(innate):
        stream = lives(body, task, 3, 2, seed.readout, innate)
        start = stream.init(jax.random.key(1))
        after, first_two = stream.take(start, 2)
        return first_two, stream.take(after, 1)[1], stream.take(start, 3)[1]

    run = compiled(births)
    drawn, late, whole = run(jnp.asarray(False))
    innate = run(jnp.asarray(True))[0]
    w, w_out = (np.asarray(drawn.query.weights[name]).reshape(4, -1) for name in ("w", "w_out"))
    assert len(np.unique(w[:, 1])) == len(np.unique(w_out[:, 1])) == 4  # 0 is a synapse onto itself
    np.testing.assert_array_equal(innate.query.weights["w"].reshape(4, -1), w)
    np.testing.assert_array_equal(innate.query.weights["w_out"], np.broadcast_to(seed.readout, (2, 2, 2, SMALL.n + 1)))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[2]), late, whole)
    assert drawn.support.x.shape[:4] == (2, 2, 3, SMALL.batch)
    assert drawn.query.trials.x.shape[:3] == (2, 2, SMALL.query)


def test_a_life_is_judged_at_the_end_of_each_part():
    """A rule that counts trials in the readout's bias, and a loss that is the count."""
    body, task = body_of(SMALL), task_of(SMALL)

    def update(params, traces, key, batch):
        return {"b": jnp.full(1, -1.0)}, (), Info(jnp.zeros(()))

    rule = LearningRule(lambda *given: (), update)
    life = Life(
        lambda theta: learner(rule, optax.sgd(1.0)),
        lambda theta: {"b": theta},
        lambda theta, params, query: (params["b"][0], {"first": query.trials.x.sum()}),
    )
    means = compiled(lambda theta: mean_over_lives(theta, lives(body, task, 6), jax.random.key(0), 2, life, 3))(
        jnp.full(1, 0.5)
    )
    np.testing.assert_allclose(means["loss"], [2.5, 4.5, 6.5])
    assert len(np.unique(means["first"])) == 1


def test_updates_have_a_length():
    tree = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
    tx = fixed_length_steps(0.5)
    moved: Any = tx.update(tree, tx.init(tree))[0]
    np.testing.assert_allclose(moved["a"], [-0.3, 0], rtol=1e-6)
    np.testing.assert_allclose(moved["b"], [-0.4], rtol=1e-6)
    still = tx.update(jax.tree.map(jnp.zeros_like, tree), tx.init(tree))[0]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(still))

    def first(x) -> Any:
        updates: Any = tx.update({"a": x}, ())[0]
        return updates["a"][0]

    slope = jax.grad(first)(jnp.zeros(2))
    assert np.isfinite(slope).all()


def test_alignment_leaves_out_what_all_outputs_share():
    broadcast = jnp.array([[1.0, 2.0], [3.0, -2.0]])
    bias = jnp.zeros((2, 1))
    for w_out, cosine in (
        (broadcast, 1.0),
        (2 * broadcast + jnp.array([[7.0, 5.0]]), 1.0),
        (-broadcast, -1.0),
        (jnp.array([[4.0, 2.0], [0.0, 0.0]]), 0.0),
    ):
        assert float(cosine_with_readout(broadcast, jnp.concatenate([w_out, bias], 1))) == pytest.approx(
            cosine, abs=1e-12
        )


def test_settings():
    config = Config()
    by_arm = {name: np.asarray(values).tolist() for name, values in settings(config).items()}
    c, b = config.rate_constants, config.rate_broadcast
    assert by_arm == {"constants": [c, 0, c, 0], "broadcast": [0, b, b, b], "innate": [0, 0, 0, 1]}
    assert len(grid_of(config)) == 8
    assert grid_of(config)[1] == (20.0, 300.0, 1.0)
    for fields, words in (
        ({"points": 3}, "points=3 must divide meta_steps=32"),
        ({"delay": 70.0}, "delay=70 ms must be a multiple"),
        ({"lives": 1, "meta_steps": 4}, "fewer lives than the grid's 8"),
    ):
        with pytest.raises(ValueError, match=words):
            dataclasses.replace(config, **fields)


def test_the_grid_takes_the_best_and_judges_it_anew(monkeypatch):
    tries = []

    def mean_over_lives(theta, stream, key, count, life, parts):
        tries.append((count, parts))
        tau, tau_adaptation = (jnp.exp(theta["constants"][name][0]) for name in ("voltage", "adaptation"))
        loss = jnp.abs(tau - 20) + jnp.abs(tau_adaptation - 250) + jax.random.uniform(key)
        return {name: jnp.full(parts, loss) for name in ("loss", "right", "rate")}

    monkeypatch.setattr(parts, "mean_over_lives", mean_over_lives)
    config = dataclasses.replace(SMALL, grid_tau=(10.0, 20.0), grid_tau_adaptation=(100.0, 300.0, 900.0), meta_steps=12)
    metrics = compiled(parts.grid(config).train)(jax.random.key(0))
    np.testing.assert_allclose(metrics["best"], [[20, 300, 1]])
    seed = seed_of(config, jax.random.key(0))
    np.testing.assert_allclose(metrics["loss"] - jax.random.uniform(seed.held_out), [[50, 50]], rtol=1e-5)
    np.testing.assert_allclose(metrics["tried"][0, :3] - jax.random.uniform(seed.training), [160, 60, 660], rtol=1e-5)
    assert set(tries) == {(2, 1), (SMALL.held_out, SMALL.longer)}


def test_scores_are_of_lives_that_no_outer_loop_sees(monkeypatch):
    seed = seed_of(SMALL, jax.random.key(0))
    assert (jax.random.key_data(seed.training) != jax.random.key_data(seed.held_out)).any()

    def mean_over_lives(theta, stream, key, count, life, parts=1):
        mark = jnp.full(parts, jax.random.uniform(key))
        return dict.fromkeys(("loss", "right", "rate", "aligned"), mark)

    monkeypatch.setattr(parts, "mean_over_lives", mean_over_lives)
    metrics = parts.scores(SMALL, seed, seed.theta, jnp.asarray(False))
    losses = {name: value for name, value in metrics.items() if name.endswith("loss")}
    assert len(losses) == 4
    for value in losses.values():
        np.testing.assert_allclose(value, jax.random.uniform(seed.held_out), rtol=1e-6)


def test_a_life_is_judged_by_trials_that_it_did_not_learn_from():
    config = dataclasses.replace(SMALL, query=SMALL.batch)
    _, episodes = lives(body_of(config), task_of(config), 1).take((jax.random.key(0), jnp.zeros((), jnp.int32)), 1)
    learning, judging = jax.tree.map(lambda leaf: leaf[0, 0], (episodes.support.x, episodes.query.trials.x))
    assert learning[0].shape == judging.shape
    assert (learning[0] != judging).any()


def test_arms_move_what_they_learn_alone(monkeypatch):
    def meta_gradient(life, remat):
        def update(theta, traces, key, batch):
            innate = jnp.all(batch.query.weights["w_out"] == readout[None])
            return jax.tree.map(jnp.ones_like, theta), (), Info(innate * 1.0)

        return LearningRule(lambda *given: (), update)

    def scores(config, seed, theta, innate):
        moved = jax.tree.map(lambda a, b: jnp.mean(a - b), theta, seed.theta)
        return {"constants": moved["constants"]["adaptation"], "broadcast": moved["broadcast"], "innate": innate}

    monkeypatch.setattr(parts, "meta_gradient", meta_gradient)
    monkeypatch.setattr(parts, "scores", scores)
    config = dataclasses.replace(SMALL, meta_steps=6, points=2, lives=2, rate_constants=0.1, rate_broadcast=0.02)
    readout = parts.seed_of(config, jax.random.key(0)).readout
    metrics = compiled(parts.outer_loops(config).train)(jax.random.key(0))
    np.testing.assert_allclose(metrics["constants"][-1], [-0.6, 0, -0.6, 0], rtol=1e-5)  # Adam, of a constant gradient
    np.testing.assert_allclose(metrics["broadcast"][-1], [0, -0.12, -0.12, -0.12], rtol=1e-5)
    assert metrics["innate"][-1].tolist() == [False, False, False, True]
    np.testing.assert_allclose(metrics["training_loss"][-1], [0, 0, 0, 1])
    assert metrics["meta_step"][:, 0].tolist() == [3, 6]


def test_lives_one_by_one_are_the_mean_of_all():
    def update(theta, traces, key, batch):
        loss, updates = jax.value_and_grad(lambda theta: jnp.mean(jnp.sin(theta * batch.query)))(theta)
        return updates, traces, Info(loss)

    rule = LearningRule(lambda *given: (), update)
    batch = Episode((), jnp.arange(1.0, 5.0))
    together, one_by_one = (
        each.update(jnp.asarray(0.3), (), jax.random.key(0), batch) for each in (rule, parts.one_by_one(rule))
    )
    np.testing.assert_allclose(one_by_one[0], together[0], rtol=1e-12)
    np.testing.assert_allclose(one_by_one[2].loss, together[2].loss, rtol=1e-12)
