"""Table 1 of Marschall et al.: costs, bias, alignment, and the summary and every claim on made-up numbers."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.marschall2019 import costs, table1
from experiments.marschall2019.alignment import alignment, mean_cosines
from experiments.marschall2019.common import ALIGNED, RULES, STOCHASTIC
from experiments.marschall2019.table1_claims import CLAIMS
from experiments.marschall2019.table1_figures import text
from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.cells import init_params, leaky
from plasticity_jax.diagnostics.bias_variance import BiasVariance
from plasticity_jax.rules import online
from plasticity_jax.rules.online.cases import PLAUSIBILITY
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Example
from tests.experiments.by_hand import is_gap, is_told, row

SEEDS = 3
SIZES = np.array([8, 16, 32, 64, 128])


def metrics_by_hand():
    """Metrics of all parts, with distinct entries."""
    rng, metrics = np.random.default_rng(0), {"cost/sizes": SIZES}
    for power, rule in enumerate(RULES):
        for shift, metric in enumerate(("memory", "flops", "seconds")):
            exact = (2 + power + 0.25 * shift) * SIZES ** (1.0 + 0.3 * power + shift)
            exact[:3] *= 7  # the smaller half does not count
            metrics[f"cost/{rule}/{metric}"] = exact
    metrics["cost/fixed_recurrent/memory"] = 0.0 * SIZES
    for rule in STOCHASTIC:
        for metric in ("z_rms", "z_max", "cosine_of_mean", "noise"):
            metrics[f"bias.{rule}/{metric}"] = rng.random((SEEDS, 1))
    for setting in ("short", "long"):
        metrics[f"align.{setting}/cosines"] = rng.random((SEEDS, 6, 9, 9))
        metrics[f"align.{setting}/count"] = rng.integers(1, 9, (SEEDS, 6, 9, 9)).astype(float)
    return metrics


METRICS = metrics_by_hand()


def mean_cosine(seed, setting, one, other):
    """Mean cosine over the steps of the last half of the points, by a loop."""
    total, count = METRICS[f"align.{setting}/cosines"], METRICS[f"align.{setting}/count"]
    i, j = ALIGNED.index(one), ALIGNED.index(other)
    return sum(total[seed, p, i, j] for p in (3, 4, 5)) / sum(count[seed, p, i, j] for p in (3, 4, 5))


def test_the_summary_by_hand():
    summary = table1.summarise(METRICS)
    for power, rule in enumerate(RULES):
        for shift, metric in enumerate(("memory", "flops", "seconds")):
            assert summary[f"cost/{rule}/{metric}_at_128"] == METRICS[f"cost/{rule}/{metric}"][-1]
            if (rule, metric) == ("fixed_recurrent", "memory"):
                assert f"cost/{rule}/{metric}_exponent" not in summary
            else:
                assert summary[f"cost/{rule}/{metric}_exponent"] == pytest.approx(1.0 + 0.3 * power + shift, rel=1e-9)
        assert summary[f"plausibility/{rule}/failed"] == len(PLAUSIBILITY[rule].fails)
        assert summary[f"plausibility/{rule}/fails_iv"] == sum(name == "iv" for name in PLAUSIBILITY[rule].fails)
    for rule in STOCHASTIC:
        for metric in ("z_rms", "z_max", "cosine_of_mean", "noise"):
            values = [METRICS[f"bias.{rule}/{metric}"][seed, 0] for seed in range(SEEDS)]
            assert summary[f"bias/{rule}/{metric}"] == pytest.approx(sum(values) / 3, rel=1e-12)
        worst = max(METRICS[f"bias.{rule}/z_rms"][seed, 0] for seed in range(SEEDS))
        assert summary[f"bias/{rule}/z_rms_worst"] == worst
    pairs = [(one, other) for i, one in enumerate(ALIGNED) for other in ALIGNED[:i]]
    assert len(pairs) == 36
    for setting in ("short", "long"):
        for one, other in pairs:
            expected = sum(mean_cosine(seed, setting, one, other) for seed in range(SEEDS)) / 3
            assert summary[f"align/{setting}/{one}~{other}"] == pytest.approx(expected, rel=1e-12)
        leads = [(rule, "rtrl", "future_facing_bptt") for rule in ("rflo", "kernl", "kf_rtrl")]
        for rule, nearer, farther in (*leads, ("dni", "future_facing_bptt", "rtrl")):
            lead = [mean_cosine(s, setting, rule, nearer) - mean_cosine(s, setting, rule, farther) for s in range(3)]
            name = f"align/{setting}/{rule}~{nearer}-{farther}"
            assert summary[name] == pytest.approx(sum(lead) / 3, rel=1e-12)
            assert summary[f"{name}_n"] == 3
    assert sum("~" in name and "-" in name and not name.endswith(("_sem", "_n")) for name in summary) == 8


def test_steps_that_were_not_counted_have_no_cosine():
    metrics = {"align.short/cosines": np.zeros((1, 2, 1, 1)), "align.short/count": np.zeros((1, 2, 1, 1))}
    assert mean_cosines(metrics, "align.short") == [[[0.0]]]


def test_an_exponent_is_of_the_larger_half():
    assert costs.exponent(SIZES[:4], np.array([5.0, 1.0, 32.0**3, 64.0**3])) == pytest.approx(3.0)
    assert costs.exponent(SIZES[:2], 7 * np.array([64.0, 256.0])) == pytest.approx(2.0)


def test_costs_of_all_sizes_and_rules(monkeypatch):
    """Checks the columns of the measurements: memory, operations, seconds."""
    calls = []

    def cost(cell, learn, seconds):
        calls.append((cell.n, seconds))
        return len(calls), 1000 + len(calls), 2000 + len(calls)

    monkeypatch.setattr(costs, "cost", cost)
    metrics = table1.measure(table1.PRESETS["smoke"], False)
    assert metrics["cost/sizes"].tolist() == [8, 16]
    assert calls == [(8, 0.01), (16, 0.01)] * len(RULES)
    for k, rule in enumerate(RULES):
        for shift, metric in enumerate(("memory", "flops", "seconds")):
            assert metrics[f"cost/{rule}/{metric}"].tolist() == [1000 * shift + 2 * k + 1, 1000 * shift + 2 * k + 2]


def test_numbers_carried_by_count():
    n, m, key = 4, 7, jax.random.key(0)  # m = n + n_in + 1
    cell = leaky(2, n, 2, alpha=0.5)
    example = Example(np.ones((1, 2)), np.full((1, 2), 0.5))
    counts = {"rtrl": n * n * m, "uoro": n + n * m, "kf_rtrl": m + n * n, "reverse_kf_rtrl": n + n * m, "rflo": n * m}
    counts["kernl"] = n * m + n * n + 5 * n  # A is shared by all streams
    for name, count in counts.items():
        learn = learner(getattr(online, name)(cell), optax.sgd(0.1))
        state = jax.eval_shape(lambda learn=learn: learn.init(init_params(key, cell), key, example))
        assert costs.numbers_carried(state) == count, name


def test_a_cost_has_so_many_steps_as_its_seconds_hold(monkeypatch):
    cell, step_counts = leaky(2, 3, 2, alpha=0.5), []
    learn = SimpleNamespace(init=lambda *args: "state")
    monkeypatch.setattr(costs, "init_params", lambda *args: None)
    monkeypatch.setattr(costs, "numbers_carried", {"state": 18}.get)
    monkeypatch.setattr(costs, "wall_time", lambda *args: step_counts.append(args[-1]) or 0.5)
    for flops, seconds, steps in ((2e6, 0.11, 1000), (2e6, 1e-6, 3), (2e6, 10.0, 3000)):
        monkeypatch.setattr(costs, "operations", lambda *args, flops=flops: flops)
        assert costs.cost(cell, learn, seconds) == (18, flops, 0.5)
        assert step_counts.pop() == pytest.approx(steps, abs=1)


def test_wall_time_is_of_one_step_and_the_least(monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 8.0, 8.0, 13.0, 13.0, 19.0])  # the first run compiles
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(costs, "sweep", lambda f: jax.jit(jax.vmap(f)))
    ended = []
    monkeypatch.setattr(costs.jax, "block_until_ready", ended.append)
    learn = SimpleNamespace(step=lambda state, example: (state + example, None))
    assert costs.wall_time(learn, jnp.zeros(()), 2.0, 10) == 0.5
    assert [float(lanes[0]) for lanes in ended] == [20.0] * 4


def test_scores_of_a_bias():
    fields = dict.fromkeys(BiasVariance._fields, jnp.zeros(()))
    statistics = BiasVariance(**{**fields, "z": jnp.array([[1.0, -5.0], [3.0, 1.0]]), "cosine": 0.25, "rms_error": 6.0})
    scores = table1.bias_scores(statistics, jnp.array([3.0, 4.0]))
    assert {name: float(value) for name, value in scores.items()} == {
        "z_rms": 3.0, "z_max": 5.0, "cosine_of_mean": 0.25, "noise": 1.2,
    }  # fmt: skip


LAG, STEPS, RATE = 3, 12, 0.3


def scripted(gradients, lag):
    """A rule that emits given gradients, (steps, n, m), for any input."""

    def update(params, step, key, example):
        updates = jax.tree.map(jnp.zeros_like, params)
        updates["forward"]["w"] = gradients[step][None]
        return updates, step + 1, Info(jnp.zeros(()), jnp.ones((), bool), {})

    return LearningRule(lambda *args: jnp.zeros((), int), update, lag)


def test_alignment_is_of_gradients_that_credit_the_same_step():
    """Cosines by a loop over three rules' gradients; one rule has a lag, and the last one learns."""
    rng = np.random.default_rng(1)
    late, early, exact = gradients = rng.standard_normal((3, STEPS, 3, 6))
    early[5] = 0  # a zero gradient has no direction
    names = {"late": (late, LAG), "early": (early, 0), "rtrl": (exact, 0)}
    rules = {name: scripted(jnp.asarray(given), lag) for name, (given, lag) in names.items()}
    stream = Stream(lambda key: jnp.zeros(()), lambda state, steps: (state, Example(*np.zeros((2, steps, 1, 2)))))
    program = alignment(leaky(2, 3, 2, alpha=0.5), rules, stream, RATE, STEPS, 1)
    start = program.init(jax.random.key(0))
    end, metrics = jax.jit(program.chunk)(start)
    for half in (0, 1):
        total, count = np.zeros((3, 3)), np.zeros((3, 3))
        for t in range(6 * half, 6 * half + 6):
            if t < LAG:
                continue
            each = [late[t].ravel(), early[t - LAG].ravel(), exact[t - LAG].ravel()]
            for i in range(3):
                for j in range(3):
                    size = np.linalg.norm(each[i]) * np.linalg.norm(each[j])
                    if size > 0:
                        total[i, j] += each[i] @ each[j] / size
                        count[i, j] += 1
        np.testing.assert_allclose(metrics["cosines"][half], total, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(metrics["count"][half], count)
    assert count.min() == 5
    expected = start.params["forward"]["w"][0] - RATE * gradients[2].sum(0)
    np.testing.assert_allclose(end.params["forward"]["w"][0], expected, rtol=1e-12)
    assert end.step == program.steps == STEPS


@pytest.mark.parametrize(("metric", "power", "tolerance", "rules"), [
    ("memory", 3, 0.1, ["rtrl"]),
    ("memory", 2, 0.1, ["rflo", "kernl", "dni", "dni_b", "uoro", "kf_rtrl", "reverse_kf_rtrl"]),
    ("flops", 4, 0.2, ["rtrl"]),
    ("flops", 3, 0.2, ["kf_rtrl", "reverse_kf_rtrl"]),
    ("flops", 2, 0.2, ["rflo", "kernl", "dni", "dni_b", "uoro"]),
])  # fmt: skip
def test_claims_on_growth(metric, power, tolerance, rules):
    for rule in rules:
        name, off = f"cost/{rule}/{metric}_exponent", 1.1 * tolerance
        inside = power + 0.9 * tolerance
        is_told(CLAIMS, f"{rule}-{metric}", {name: inside}, [{name: power + off}, {name: power - off}], inside)
        assert row(CLAIMS, f"{rule}-{metric}", {name: power - 0.9 * tolerance})["holds"] is True


def test_claims_on_bias():
    for rule in STOCHASTIC:
        name = f"bias/{rule}/z_rms_worst"
        is_told(CLAIMS, f"{rule}-unbiased", {name: 1.9}, [{name: 2.1}, {name: math.nan}], 1.9)


def test_the_claim_on_matrix_products():
    slow = ("rtrl", "kf_rtrl", "reverse_kf_rtrl")
    summary = {f"cost/{rule}/flops_exponent": 2.6 if rule in slow else 2.4 for rule in ALIGNED}
    summary |= {f"plausibility/{rule}/fails_iv": float(rule in slow) for rule in ALIGNED}
    changes = [{f"plausibility/{rule}/fails_iv": float(rule not in slow)} for rule in ALIGNED]
    changes += [{f"cost/{rule}/flops_exponent": 2.4 if rule in slow else 2.6} for rule in ALIGNED]
    changes += [{f"cost/{rule}/flops_exponent": math.nan} for rule in ALIGNED]
    is_told(CLAIMS, "criterion-iv", summary, changes, 0.0)
    two = {**summary, "plausibility/rflo/fails_iv": 1.0, "plausibility/rtrl/fails_iv": 0.0}
    assert row(CLAIMS, "criterion-iv", two)["measured"] == 2


def test_claims_on_alignment():
    for setting in ("short", "long"):
        for rule in ("rflo", "kernl", "kf_rtrl"):
            is_gap(CLAIMS, f"align-{setting}-{rule}", f"align/{setting}/{rule}~rtrl-future_facing_bptt")
        is_gap(CLAIMS, f"align-{setting}-dni", f"align/{setting}/dni~future_facing_bptt-rtrl")
    short, long = "align/short/kernl~rflo", "align/long/kernl~rflo"
    is_told(CLAIMS, "kernl-like-rflo", {short: 0.91, long: 0.95}, [{short: 0.89}, {long: 0.89}], 0.91)
    short, long = "align/short/rtrl~uoro", "align/long/rtrl~uoro"
    is_told(CLAIMS, "uoro-unaligned", {short: 0.1, long: 0.14}, [{short: 0.16}, {long: 0.16}], 0.14)


def test_own_claims_are_marked():
    assert len(CLAIMS) == len({claim.id for claim in CLAIMS}) == 30
    own = {claim.id for claim in CLAIMS if claim.own}
    assert own == {claim.id for claim in CLAIMS if claim.id.startswith("align-")} | {
        "rtrl-flops", "kernl-flops", "criterion-iv", "kernl-like-rflo", "uoro-unaligned",
    }  # fmt: skip
    assert {claim.paper for claim in CLAIMS if claim.own} == {None}


def test_the_table_marks_what_a_rule_fails():
    lines = text({}).splitlines()
    columns = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    for line, rule in zip(lines[2:11], ALIGNED, strict=True):
        cells = dict(zip(columns, [cell.strip() for cell in line.split("|")[1:-1]], strict=True))
        failed = {name for name, cell in cells.items() if cell == "fails"}
        assert failed == set(PLAUSIBILITY[rule].fails)
        assert cells["stochastic"] == ("yes" if rule in (*STOCHASTIC, "kernl") else "no")
