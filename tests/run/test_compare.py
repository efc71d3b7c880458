"""Comparison of rules: applicable rules, training by hand, tables of known numbers, and refusals."""

import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.diagnostics.comparison import Comparison, Names, comparison
from plasticity_jax.run.applicable import applicable_rules, chosen_rules, feedback_of
from plasticity_jax.run.compare import compare_command, compare_rules
from plasticity_jax.run.compare_report import ComparedRules, comparison_picture, comparison_summary, comparison_table
from plasticity_jax.run.record import plain

KEY = jax.random.key(0)
GRU = pj.cells.gru(2, 3, 2)
CHAIN = pj.networks.mlp((3, 4, 2), ("tanh", "identity"))
ON_GRU = {
    *("rtrl", "dni", "dni_b", "eprop", "future_facing_bptt", "kernl", "kf_rtrl", "reverse_kf_rtrl"),
    *("recurrent_three_factor", "rflo", "snap", "uoro"),
}
ON_CHAIN = {
    *("backprop", "bcm", "direct_feedback_alignment", "feedback_alignment", "flp", "hebb", "kolen_pollack", "matching"),
    *("node_perturbation", "oja", "plastic_feedback", "sign_symmetry", "three_factor", "weight_mirror"),
    *("spsa", "weight_perturbation"),
}


@pytest.mark.parametrize(("net", "expected"), [(GRU, ON_GRU), (CHAIN, ON_CHAIN)], ids=["gru", "chain"])
def test_every_rule_of_the_library_applies_or_has_a_reason(net, expected):
    applicable, refused = applicable_rules(net)
    assert set(applicable) == expected
    makers = {"feedback_rule", "local_rule", "online_rule", "windowed_rule"}
    every = {
        name
        for name in pj.rules.__all__
        if inspect.isfunction(factory := getattr(pj.rules, name))
        and factory.__annotations__.get("return") is LearningRule
    }
    assert every - makers == set(applicable) | set(refused)
    assert not set(applicable) & set(refused)
    assert all(reason and "\n" not in reason for reason in refused.values())


@pytest.mark.parametrize("net", [GRU, CHAIN], ids=["gru", "chain"])
def test_applicable_rules_take_a_step(net):
    params = pj.layers.init_params(KEY, net) if net is CHAIN else pj.cells.init_params(KEY, net)
    batch = pj.Example(jnp.ones((2, 3)), jnp.ones((2, 2))) if net is CHAIN else pj.Example(*[jnp.ones((2, 2))] * 2)
    for name, rule in applicable_rules(net).rules.items():
        own = {**params, "feedback": feedback_of(name, net, params, KEY)}

        def step(own, rule=rule):
            return rule.update(own, rule.init(own, KEY, batch), KEY, batch)[0]

        updates = jax.eval_shape(step, own)
        assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, own)


def test_reasons():
    alif = applicable_rules(pj.cells.alif(2, 3, 2)).refused
    assert "one variable" in alif["kernl"]
    assert "windows" in alif["recurrent_node_perturbation"]
    assert "chain of layers" in alif["backprop"]
    assert "future_facing_bptt" in alif["bptt"]
    one_layer = applicable_rules(pj.networks.mlp((3, 2), ("identity",))).refused
    assert "hidden layer" in one_layer["node_perturbation"]
    with pytest.raises(TypeError, match=r"net is a str: give a cell of pj\.cells or a chain"):
        applicable_rules("gru")


def test_training_is_that_of_a_learner_with_onlookers():
    """RTRL trains the network by Adam; DNI looks on, and keeps the synthetic gradients that it has learned."""
    cell, stream, rate = pj.cells.leaky(2, 4, 2), pj.tasks.add((1, 2), 1), 0.05
    dni = pj.rules.dni(cell, learning_rate=0.1)
    settings = {"points": (0, 9), "steps": 8, "burn_in": 3, "seeds": 2, "rate": rate, "progress": False}
    result = compare_rules(cell, stream, {"dni": dni}, **settings)
    assert result.names == ("rtrl", "dni")
    assert result.found.alignment.shape == (2, 2, 2, 2)

    def by_hand(key):
        key_w, _, key_run, key_look, key_x, key_noise = jax.random.split(key, 6)
        params = pj.cells.init_params(key_w, cell)
        rest, batches = stream.take(stream.init(key_x), 11)
        first = jax.tree.map(lambda leaf: leaf[0], batches)
        learn = learner(pj.rules.rtrl(cell), optax.adam(rate))
        state, traces = learn.init(params, key_run, first), dni.init(params, jax.random.fold_in(key_look, 0), first)

        def step(carry, batch):
            state, traces = carry
            _, traces, _ = dni.update(state.params, traces, KEY, batch)
            state, info = learn.step(state, batch)
            return (state, traces), info.loss

        (state, traces), loss = jax.lax.scan(step, (state, traces), stream.take(rest, 9)[1])

        def alignment(params, shared):
            with_shared = LearningRule(lambda *given: dni.init(*given)._replace(shared=shared), dni.update)
            rules = {"rtrl": pj.rules.rtrl(cell), "dni": with_shared}
            return comparison(rules, params, key_noise, batches, reference="rtrl", burn_in=3).alignment

        start = dni.init(params, jax.random.fold_in(key_look, 0), first).shared
        cases = [(params, start), (state.params, traces.shared), (state.params, start)]
        return jax.vmap(alignment)(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)), loss.mean()

    (before, after, unlearned), loss = jax.jit(by_hand)(jax.random.key(1))
    np.testing.assert_allclose(result.found.alignment[:, 1], [before, after], atol=1e-6)
    np.testing.assert_allclose(result.loss[1, 1], loss, rtol=1e-6)
    assert np.isnan(result.loss[0]).all()
    assert np.abs(before - after).max() > 0.01
    assert np.abs(unlearned - after).max() > 0.01


def made_by_hand(seeds=2):
    """Known numbers of two rules at two points; the second rule has no updates at the last point."""
    cosine = np.array([[[1.0, 0.5], [1.0, 0.7]], [[1.0, np.nan], [1.0, np.nan]]])[:, :seeds]
    alignment = np.stack(
        [np.stack([cosine[..., 0], cosine[..., 1]], -1), np.stack([cosine[..., 1], cosine[..., 0]], -1)], -1
    )
    snr = np.array([[[np.inf, 2.0], [np.inf, 4.0]], [[np.inf, np.nan], [np.inf, np.nan]]])[:, :seeds]
    rest = np.broadcast_to(np.array([0.0, 0.25]), cosine.shape)
    numbers = Comparison(
        Names(("rtrl", "uoro")), alignment, np.full(alignment.shape, 7), cosine, rest, rest, rest, rest, rest, snr
    )
    loss = np.array([[np.nan, np.nan], [0.5, 0.7]])[:, :seeds]
    return ComparedRules("gru", "add", "rtrl", (0, 30), 7, 3, seeds, 20, numbers, loss, {"b": "why", "c": "why"})


def test_the_table_and_the_summary_have_the_numbers():
    result = made_by_hand()
    text = comparison_table(result)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| uoro")
    ]
    assert rows[0] == ["uoro", "0.60 ± 0.10", *["0.25"] * 5, "3.00 ± 1.00"]
    assert rows[1] == ["uoro", "–", *["0.25"] * 5, "–"]
    assert rows[2] == ["uoro", "–", "1.00"]
    assert "gru on add: 2 rules, 7 steps, 2 seeds" in text
    assert "Loss of rtrl: 0.60 ± 0.10" in text
    assert "- b, c: why" in text
    assert next(line for line in text.splitlines() if line.startswith("| rtrl")).count("no noise") == 1
    summary = plain(comparison_summary(result))
    assert summary["rules"]["uoro"]["snr"][0] == {"mean": 3.0, "sem": pytest.approx(1.0)}
    assert summary["rules"]["rtrl"]["snr"][0]["mean"] is None
    assert summary["alignment"] == [[[1.0, 0.6], [0.6, 1.0]], [[1.0, None], [None, 1.0]]]
    assert (summary["points"], summary["refused"], summary["loss"]) == ([0, 30], {"b": "why", "c": "why"}, [None, 0.6])


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_picture_has_the_numbers_and_their_meaning(seeds):
    pytest.importorskip("matplotlib")
    result = made_by_hand(seeds)
    figure = comparison_picture(result)
    title = figure.get_suptitle()
    assert "gru on add: 2 rules, 7 steps" in title
    assert ("standard error over seeds" if seeds == 2 else "no error bars") in title
    matrix, training, cosine, bias, snr = figure.axes[:2] + figure.axes[-3:]
    assert [label.get_text() for label in matrix.get_xticklabels()] == ["rtrl", "uoro"]
    np.testing.assert_array_equal(matrix.images[0].get_array().filled(9), [[1, 9], [9, 1]])
    assert [text.get_text() for text in matrix.texts] == ["1.00", "–", "–", "1.00"]
    drawn = {line.get_label(): line.lines[0].get_ydata() for line in training.containers}
    np.testing.assert_allclose(drawn["uoro"], [0.5 if seeds == 1 else 0.6, np.nan])
    assert [bar.get_width() for bar in bias.patches] == [0.0, 0.25]
    assert [bar.get_width() for bar in cosine.patches] == [1.0]
    assert [text.get_text() for text in snr.texts] == ["no noise"]


TINY = {"steps": 6, "burn_in": 2, "seeds": 2, "samples": 10, "points": (0,), "progress": False}


@pytest.mark.parametrize(
    ("net", "rules", "settings"),
    [("gru", ["snap", "uoro"], {"n": 3}), ("3,4,2", ["flp", "direct_feedback_alignment"], {})],
    ids=["gru", "chain"],
)
def test_the_command_leaves_four_files(net, rules, settings, tmp_path):
    text = compare_command(net, rules, out=tmp_path / "there", **{**TINY, **settings})
    names = ["rtrl" if net == "gru" else "backprop", *rules]
    assert all(f"| {name}" in text for name in names)
    folder = tmp_path / "there"
    files = {path.name for path in folder.iterdir()}
    assert files == {f"comparison.{end}" for end in ("json", "md", "npz", "png")}
    assert (folder / "comparison.md").read_text() in f"{text}\n"
    summary = json.loads((folder / "comparison.json").read_text())
    with np.load(folder / "comparison.npz") as arrays:
        assert arrays["names"].tolist() == summary["names"] == names
        assert arrays["alignment"].shape == (1, 2, 3, 3)
        assert np.isfinite(arrays["bias"]).all()
        mean = summary["rules"][rules[0]]["cosine"][0]["mean"]
        assert mean == pytest.approx(arrays["alignment"][0, :, 0, 1].mean())
        assert -1 < mean < 1
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["grru"], {}, r"net 'grru' is not known, did you mean 'gru'\?; give a cell, alif, gru.* as in 20,30,10"),
        (["20"], {}, "net '20' is not known; give a cell"),
        (["3,0,2"], {}, "chain '3,0,2': sizes are whole numbers of at least 1"),
        (["3,,2"], {}, "chain '3,,2': sizes are whole numbers"),
        (
            ["gru", ["rflow"]],
            {},
            r"rule 'rflow' is not known, did you mean 'rflo'\?; those that apply to gru .* are dni, dni_b",
        ),
        (["gru", ["backprop"]], {}, r"rule 'backprop' does not apply to gru \(16 neurons\): it needs a chain"),
        (
            ["3,2", ["rflo"]],
            {},
            r"rule 'rflo' does not apply to Chain\(.*: it needs a recurrent cell; those that do are",
        ),
        (["alif", ["kernl"]], {}, "rule 'kernl' does not apply to alif .*: kernl perturbs one variable"),
        (["gru", [], "ad"], {}, r"task 'ad' is not known, did you mean 'add'\?; a cell takes add, delayed_xor, mimic"),
        (["gru", [], "ou_mixture"], {}, "task 'ou_mixture' is for chains; a cell takes add"),
        (["3,2", [], "add"], {}, "task 'add' is for cells; a chain takes ou_mixture"),
        (["gru"], {"n": 0}, "n=0 must be a whole number of at least 1"),
        (["gru"], {"batch": 0}, "batch=0 must be a whole number of at least 1"),
        (["gru"], {"steps": 0}, "steps=0 must be a whole number of at least 1"),
        (["gru"], {"burn_in": -1}, "burn_in=-1 must be a whole number of at least 0"),
        (["gru"], {"seeds": 0}, "seeds=0 must be a whole number of at least 1"),
        (["gru"], {"samples": 15}, "samples=15 must be a multiple of 10"),
        (["gru"], {"points": (3, 0)}, r"points=\(3, 0\) must be steps of training in rising order"),
        (["gru"], {"points": ()}, r"points=\(\) must be"),
        (["gru"], {"points": (-1,)}, "points=-1 must be a whole number of at least 0"),
        (["gru"], {"rate": float("nan")}, "rate=nan is outside"),
    ],
)
def test_bad_input_is_one_line(words, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message) as refusal:
        compare_command(*words, out=tmp_path / "never", progress=False, **settings)
    assert "\n" not in str(refusal.value)
    assert not Path(tmp_path / "never").exists()


def test_a_value_that_is_not_a_rule_is_refused():
    with pytest.raises(TypeError, match="rule 'mine' is <function rflo"):
        compare_rules(GRU, pj.tasks.add(), {"mine": pj.rules.rflo})


@pytest.mark.parametrize(
    ("chosen", "names", "refused"),
    [
        (None, ON_GRU, {"backprop", "bptt", "fixed_recurrent"}),
        (["rflo", "snap"], {"rtrl", "rflo", "snap"}, set()),
        ({"mine": pj.rules.rflo(GRU)}, {"rtrl", "mine"}, set()),
    ],
    ids=["all", "names", "mapping"],
)
def test_rules_that_do_not_apply_are_listed_only_if_none_were_chosen(chosen, names, refused):
    rules, reasons = chosen_rules(GRU, chosen, "rtrl")
    assert set(rules) == names
    assert next(iter(rules)) == "rtrl"
    assert refused <= set(reasons)
    assert bool(refused) == bool(reasons)


def test_the_table_of_own_rules_lists_no_other_rule():
    own = {"mine": pj.rules.rflo(GRU)}
    settings = {"steps": 4, "burn_in": 1, "seeds": 1, "samples": 10, "progress": False}
    result = compare_rules(GRU, pj.tasks.add(), own, **settings)
    assert result.refused == {}
    assert "do not apply" not in comparison_table(result)


def test_classes_are_those_of_the_largest_latent():
    from plasticity_jax.run.compare import CHAIN_TASKS

    net = pj.networks.mlp((6, 3), ("identity",), "softmax")
    drawn = [CHAIN_TASKS[name].make(net, 4) for name in ("ou_mixture", "ou_largest")]
    latents, classes = (stream.take(stream.init(KEY), 5)[1] for stream in drawn)
    np.testing.assert_array_equal(latents.x, classes.x)
    np.testing.assert_array_equal(np.argmax(latents.y, -1), np.argmax(classes.y, -1))
    assert classes.y.shape == (5, 4, 3)
    assert set(np.unique(classes.y)) == {0, 1}


def test_feedback_learns_while_it_looks_on():
    """Matching starts like feedback alignment, and changes its feedback by Adam with its own updates."""
    stream, rate = pj.tasks.ou_mixture(2, 3, batch=4), 0.1
    names = ["feedback_alignment", "matching"]
    measured = compare_rules(
        CHAIN, stream, names, points=(0, 5), steps=4, burn_in=1, seeds=1, samples=10, rate=rate, progress=False
    ).found
    np.testing.assert_allclose(measured.cosine[0, :, 1], measured.cosine[0, :, 2], rtol=1e-6)
    key_w, _, key_run, _, key_x, _ = jax.random.split(KEY, 6)
    params, tx = pj.layers.init_params(key_w, CHAIN), optax.adam(rate)
    matching, exact = pj.rules.matching(CHAIN), pj.rules.backprop(CHAIN)

    @jax.jit
    def by_hand(params):
        rest, batches = stream.take(stream.init(key_x), 5)
        own, opt_state = params["feedback"], tx.init(params["feedback"])
        state = learner(exact, tx).init(params, key_run, jax.tree.map(lambda leaf: leaf[0], batches))
        for _ in range(5):
            rest, batch = stream.take(rest, 1)
            batch = jax.tree.map(lambda leaf: leaf[0], batch)
            updates = matching.update({**state.params, "feedback": own}, (), KEY, batch)[0]
            change, opt_state = tx.update(updates["feedback"], opt_state)
            own = optax.apply_updates(own, change)
            state, _ = learner(exact, tx).step(state, batch)
        cosines = []
        for t in range(1, 5):
            batch = jax.tree.map(lambda leaf, t=t: leaf[t], batches)
            both = [
                rule.update({**state.params, "feedback": own}, (), KEY, batch)[0]["forward"]["w"][0]
                for rule in (exact, matching)
            ]
            cosines.append(jnp.vdot(*both) / jnp.linalg.norm(both[0]) / jnp.linalg.norm(both[1]))
        return jnp.mean(jnp.stack(cosines))

    np.testing.assert_allclose(measured.cosine[1, 0, 2], by_hand(params), atol=1e-6)
    assert abs(measured.cosine[1, 0, 1] - measured.cosine[1, 0, 2]) > 0.01
