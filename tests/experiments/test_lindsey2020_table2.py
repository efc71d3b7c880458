"""Table 2 of Lindsey & Litwin-Kumar: both orders in one program, images, the summary and every claim, by hand."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import banks, table2
from experiments.lindsey2020.common import ORDERS
from experiments.lindsey2020.networks import flp_theta, layers
from experiments.lindsey2020.orders import each_order, either
from experiments.lindsey2020.table2_claims import CLAIMS
from experiments.lindsey2020.table2_figures import text
from experiments.lindsey2020.table2_summary import PAPER, final, summarise
from plasticity_jax.base import LearnerState
from plasticity_jax.meta import flp_life
from plasticity_jax.meta.lifetime import birth, live
from plasticity_jax.run import Program
from plasticity_jax.run.program import TrainingState
from plasticity_jax.tasks.few_shot import few_shot
from plasticity_jax.typing import Episode, Example
from tests.experiments.by_hand import is_gap, is_not_above, is_told, is_trivial, paired, row
from tests.laws.common import compiled

SIZES, WAYS, SHOTS = (6, 6, 3), 3, 2


@pytest.mark.parametrize("which", [0, 1])
def test_either_stream_is_the_one_that_its_state_names(which):
    streams = [few_shot(8, 12, order=order) for order in ORDERS]
    both, key = either(streams, which), jax.random.key(3)
    state, taken = compiled(lambda state: both.take(state, 2))(both.init(key))
    expected_state, expected = compiled(lambda state: streams[which].take(state, 2))(streams[which].init(key))
    jax.tree.map(np.testing.assert_array_equal, taken, expected)
    assert state[0] == which
    assert state[1].step == expected_state.step == 2


BY_CLASS, MIXED = [0, 1, 2, 3, 4, 5], [4, 0, 2, 1, 5, 3]
"""Two images of each of three classes: those of a class are in the same order in both."""


def at_the_end(plastic, order, alpha, factor=1.0):
    """Weights at the end of a life of a given order."""
    cut = layers(SIZES[-plastic - 1 :], plastic, "softmax")
    life = table2.multiplied(flp_life(cut.net, signal="target", output="clamped"), factor)
    theta = flp_theta(jax.random.key(1), cut, alpha, beta=1.0)
    images = jax.random.normal(jax.random.key(2), (WAYS * SHOTS, 1, SIZES[0]))
    y = jnp.eye(WAYS)[jnp.repeat(jnp.arange(WAYS), SHOTS)][:, None]
    one = Episode(Example(images[jnp.array(order)], y[jnp.array(order)]), Example(images[:, 0], y[:, 0]))

    def life_of(theta):
        return live(life, theta, birth(life, theta, jax.random.key(0), one), one)[1][1].params["forward"]["w"]

    return jax.tree.map(np.asarray, compiled(life_of)(theta))


def test_feature_reuse_is_the_same_in_both_orders():
    # With a clamped output, an image changes only its own class's row, and the products are the same.
    (sorted_,), (mixed,) = (at_the_end(1, order, 0.3) for order in (BY_CLASS, MIXED))
    np.testing.assert_array_equal(sorted_, mixed)
    assert np.abs(sorted_ - at_the_end(1, BY_CLASS, 0.0)[0]).min() > 0


def test_flp_differs_between_the_orders():
    sorted_, mixed = (at_the_end(2, order, 0.3) for order in (BY_CLASS, MIXED))
    for a, b in zip(sorted_, mixed, strict=True):
        assert np.abs(a - b).max() > 1e-3


def test_the_multiplier_is_of_alpha_below_the_readout():
    multiplied, plain = at_the_end(2, MIXED, [0.01, 0.3], factor=8.0), at_the_end(2, MIXED, [0.08, 0.3])
    for a, b in zip(multiplied, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # a rounding of alpha, through six steps


def training_state(lane, order):
    return TrainingState(LearnerState(0.0, (), (), lane, jnp.zeros(())), (order, 7.0), lane, ())


def test_one_program_runs_each_order_in_turn():
    def chunk(state):
        order, inner = state.stream
        return state._replace(stream=(order, inner + 1)), {"at": (10.0 * order + inner)[None]}

    program = each_order(Program(lambda lane: training_state(lane, -1), chunk, 3, 1, 1))
    metrics = program.train(jnp.float64(2.0))
    assert metrics["at"].tolist() == [[7.0, 17.0], [8.0, 18.0], [9.0, 19.0]]


def test_images_by_class():
    train, test = banks.banks("prototypes", 5)
    assert (train.classes, train.per_class, test.classes, test.per_class) == (12, 12, 8, 12)
    assert train.images.shape == (144, 5, 5, 1)
    means = np.concatenate([np.asarray(bank.images, float).reshape(bank.classes, 12, -1) for bank in (train, test)])
    spread = means.std(1).mean()  # drawings of a class are nearer to each other than to another class
    assert spread < means.mean(1).std(0).mean()
    image = jnp.array([[0, 51, 255]], jnp.uint8)
    np.testing.assert_allclose(banks.network_input(image, "omniglot", False), [[0, 0.2, 1]], rtol=1e-6)
    np.testing.assert_allclose(banks.network_input(image, "omniglot", True), [[1, 0.8, 0]], rtol=1e-6)
    expected = (np.array([[0, 0.2, 1]]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(banks.network_input(image, "mini_imagenet", True), expected, rtol=1e-5)


def training_args(monkeypatch, method, config):
    """Arguments of a learner's meta-training and of its evaluation; images have the number of their bank."""
    args_given = {}

    def meta_training(rule, rates, theta, stream, evaluate, **options):
        args_given.update(rule=rule, rates=rates, theta=theta, stream=stream, options=options)
        return Program(None, lambda state: (state, {"loss": 1}), 5, 6, 1)

    def held_out(*args):
        args_given["held"] = args
        return lambda key, theta: theta * np.array([0.0, 1.0, 0.0, 1.0])

    monkeypatch.setattr(table2, "meta_training", meta_training)
    monkeypatch.setattr(table2, "held_out", held_out)
    monkeypatch.setattr(table2, "each_order", lambda program: program)
    monkeypatch.setattr(table2, "evaluated", lambda program, tried: args_given.update(program=program, tried=tried))
    monkeypatch.setattr(table2, "either", lambda streams, order: (streams, order))
    monkeypatch.setattr(table2, "few_shot", lambda *args, **options: (args, options))
    monkeypatch.setattr(table2, "features", lambda net, weights, images: images)
    monkeypatch.setattr(table2, "network_input", lambda images, data, inverted: images)
    monkeypatch.setattr(table2, "first_order", lambda net, prefix: ("first", prefix))
    monkeypatch.setattr(table2, "meta_gradient", lambda life, remat: life)
    monkeypatch.setattr(table2, "gradient_life", lambda net, prefix: ("second", prefix))
    monkeypatch.setattr(table2, "flp_life", lambda net, **options: ("flp", options))
    monkeypatch.setattr(table2, "multiplied", lambda life, factor: (*life, factor))
    cut = layers((4, 3, 2), table2.PLASTIC[method], "softmax")
    monkeypatch.setattr(table2, "layers", lambda *args: args_given.update(sizes=args) or cut._replace(front=None))

    train, test = (banks.Bank(np.full((2, 7, 7, 1), value), value, 10 + value) for value in (3, 4))
    table2.make_program(config, method, train, test)
    return args_given


CONFIG = table2.Config(
    seeds=1, episodes=6, lives=2, points=3, lifetimes=4, data="prototypes", side=7, inverted=True, channels=2,
    strides=(2,), width=4, outputs=9, rate=1.0, alpha=0.2, alpha_hidden=0.3, alpha_rate=5.0, multiplier=7.0,
    inner_rate=0.4, rate_rate=13.0, clip=17.0, rate_first=2.0, rate_oml=3.0, inner_rate_first=0.6, inner_rate_oml=0.7,
    remember=9,
)  # fmt: skip


@pytest.mark.parametrize("method", ["reuse", "flp2", "gradient_first", "gradient_second", "untrained"])
def test_every_learner_learns_from_one_bank_and_is_tried_on_the_other(monkeypatch, method):
    args_given = training_args(monkeypatch, method, CONFIG)
    rates = {"weights": 1.0, "feedback": 1.0, "alpha": 5.0, "beta": 0.0}
    if method.startswith("gradient"):
        rates = {"weights": 2.0 if method == "gradient_first" else 1.0, "rate": 13.0}
    assert args_given["rates"] == rates
    assert args_given["options"] == {"episodes": 6, "points": 3, "clip": 17.0}
    assert args_given["sizes"] == ((18, 4, 9), {"reuse": 1, "untrained": 1}.get(method, 2), "softmax")
    state = training_state(jax.random.key(0), 1)
    state = state._replace(learner=state.learner._replace(params=0.5))
    assert args_given["tried"](state) == {"test": 25.0, "median": 25.0}
    life, tried, lifetimes = args_given["held"]
    lives = {"train": (args_given["stream"], 0, 3, 2, args_given["rule"]), "test": (tried, 1, 4, 1, life)}
    for (streams, order), first, value, count, learner in lives.values():
        assert order == first
        for (bank, options), name in zip(streams, ORDERS, strict=True):
            assert bank == (value, 10 + value)
            assert options == {"ways": 5, "order": name, "outputs": 9, "episodes": count}
        kind, prefix, *rest = learner
        if not method.startswith("gradient"):
            assert (kind, rest) == ("flp", [7.0])
            assert (prefix.pop("signal"), prefix.pop("output")) == ("target", "clamped")
            prefix = prefix["prefix"]
        assert prefix({"dense": None, "conv": None}, np.array([1])).max() == value
    assert args_given["rule"][0] == {"gradient_first": "first", "gradient_second": "second"}.get(method, "flp")
    assert lifetimes == 4
    if method == "untrained":
        state, metrics = args_given["program"].chunk(state)
        assert (args_given["program"].chunks, args_given["program"].steps) == (1, 1)
        assert {name: value.tolist() for name, value in metrics.items()} == {"full_problem": [0], "mini_imagenet": [0]}
    else:
        assert args_given["program"].chunks == 5


def test_theta_at_birth(monkeypatch):
    monkeypatch.setattr(table2, "init_params", lambda key, net: ("conv", net.channels))
    monkeypatch.setattr(
        table2, "flp_theta", lambda key, cut, alpha, beta: {"prefix": cut.plastic, "flp": (alpha, beta)}
    )
    monkeypatch.setattr(table2, "gradient_theta", lambda key, cut, rate: {"prefix": cut.plastic, "rate": rate})
    key = jax.random.key(0)
    theta = training_args(monkeypatch, "flp2", CONFIG)["theta"](key)
    assert theta == {"prefix": {"conv": ("conv", 2), "dense": 2}, "flp": ([0.3, 0.2], 1.0)}
    assert training_args(monkeypatch, "reuse", CONFIG)["theta"](key)["flp"] == ([0.2], 1.0)
    assert training_args(monkeypatch, "gradient_first", CONFIG)["theta"](key)["rate"] == 0.6
    assert training_args(monkeypatch, "gradient_second", CONFIG)["theta"](key)["rate"] == 0.4


def test_a_full_problem_is_the_papers_at_any_rate():
    paper = table2.PRESETS["paper"]
    mini = table2.PRESETS["mini_imagenet"]
    assert table2.is_full(paper)
    assert table2.is_full(mini)
    changed = {
        "episodes": 400, "lives": 4, "data": "mini_imagenet", "side": 28, "inverted": True, "channels": 32,
        "strides": (2, 2, 2, 1, 1, 1), "width": 64, "outputs": 5,
    }  # fmt: skip
    for name, value in changed.items():
        assert not table2.is_full(SimpleNamespace(**{**vars(paper), name: value})), name
    for name, value in {"rate": 1.0, "seeds": 9, "points": 100, "lifetimes": 7, "alpha": 0.5}.items():
        assert table2.is_full(SimpleNamespace(**{**vars(paper), name: value})), name


METHODS = ("reuse", "flp2", "gradient_first", "gradient_second", "oml", "untrained")
RNG = np.random.default_rng(0)
METRICS = {f"{method}/test": 100 * RNG.random((3, 1 if method == "untrained" else 4, 2)) for method in METHODS}
METRICS |= {f"{method}/median": 100 * RNG.random((3, 4, 2)) for method in METHODS[:-1]}
METRICS |= {"untrained/full_problem": np.zeros((3, 1, 2)), "untrained/mini_imagenet": np.zeros((3, 1, 2))}


def last(order, method):
    values = METRICS[f"{method}/test"]
    return [values[seed, len(values[seed]) - 1, 0 if order == "iid" else 1] for seed in range(3)]


def mean_apart(worse, better):
    return sum(a - b for a, b in zip(worse, better, strict=True)) / 3


def test_the_summary_by_hand():
    summary = summarise(METRICS)
    for order in ORDERS:
        for method in METHODS:
            np.testing.assert_array_equal(final(METRICS, order, method), last(order, method))
            assert summary[f"{order}/{method}"] == pytest.approx(sum(last(order, method)) / 3, rel=1e-12)
        for worse in ("untrained", "reuse", "gradient_first", "gradient_second"):
            expected = mean_apart(last(order, worse), last(order, "flp2"))
            assert summary[f"gap/{order}/{worse}-flp2"] == pytest.approx(expected, rel=1e-9)
        expected = mean_apart(last(order, "gradient_first"), last(order, "gradient_second"))
        assert summary[f"gap/{order}/gradient_first-gradient_second"] == pytest.approx(expected, rel=1e-9)
        for worse, better in (("oml", "gradient_first"), ("oml", "reuse"), ("reuse", "oml")):
            expected = mean_apart(last(order, worse), last(order, better))
            assert summary[f"gap/{order}/{worse}-{better}"] == pytest.approx(expected, rel=1e-9)
        medians = METRICS["oml/median"][:, 3, ORDERS.index(order)]
        assert summary[f"{order}/oml/median"] == pytest.approx(sum(medians) / 3, rel=1e-12)
        expected = mean_apart([80.0] * 3, last(order, "flp2"))
        assert summary[f"gap/{order}/chance-flp2"] == pytest.approx(expected, rel=1e-9)
    for method in METHODS:
        expected = mean_apart(last("continual", method), last("iid", method))
        assert summary[f"gap/continual-iid/{method}"] == pytest.approx(expected, rel=1e-9)
    for name in ("full_problem", "mini_imagenet"):
        assert summary[name] == 0
        assert summarise({**METRICS, f"untrained/{name}": np.ones((3, 1, 2))})[name] == 1


@pytest.mark.parametrize("mini", [False, True])
def test_the_table_has_ours_beside_the_papers(mini):
    metrics = {
        **METRICS,
        "untrained/mini_imagenet": np.full((3, 1, 2), mini),
        "reuse/test": METRICS["reuse/test"].copy(),
    }
    metrics["reuse/test"][1, -1, 0] = np.nan
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text(metrics).splitlines()[2:8]]
    for cells, method in zip(rows, METHODS, strict=True):
        for k, column in enumerate(("iid", "continual", "mini_imagenet")):
            printed = PAPER[column].get(method)
            assert cells[3 + 3 * k] == ("" if printed is None else f"{printed:g}")
            if (column == "mini_imagenet") != mini:
                assert cells[1 + 3 * k] == "not reached yet"
                continue
            order = "iid" if mini else column
            assert cells[1 + 3 * k] == in_a_cell(final(metrics, order, method))
            if method != "untrained":
                medians = metrics[f"{method}/median"][:, 3, ORDERS.index(order)]
                assert cells[2 + 3 * k] == in_a_cell(medians)
    del metrics["oml/test"]
    assert "| original OML (2) | not " in text(metrics)


def in_a_cell(values):
    values = [each for each in values if np.isfinite(each)]
    sem = np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.1f} ({sem:.1f})" + (", 2 of 3 seeds" if len(values) == 2 else "")


def test_a_run_of_some_learners():
    some = {name: values for name, values in METRICS.items() if name.partition("/")[0] in ("reuse", "oml", "untrained")}
    summary = summarise(some)
    assert row(CLAIMS, "oml_beats_reuse_iid", summary)["holds"] is not None
    assert row(CLAIMS, "deep_plasticity_pays_iid", summary)["holds"] is None
    config = SimpleNamespace(**{**vars(CONFIG), "methods": ("reuse", "adam")})
    with pytest.raises(ValueError, match="adam"):
        table2.Config(**vars(config))


@pytest.mark.parametrize(("name", "pair"), [
    ("deep_plasticity_pays_iid", "iid/reuse-flp2"),
    ("deep_plasticity_pays_continual", "continual/reuse-flp2"),
    ("flp_beats_gradient_continual", "continual/gradient_first-flp2"),
    ("flp_beats_second_order_continual", "continual/gradient_second-flp2"),
    ("baseline_beats_oml_iid", "iid/oml-gradient_first"),
    ("baseline_beats_oml_continual", "continual/oml-gradient_first"),
    ("oml_beats_reuse_iid", "iid/reuse-oml"),
    ("reuse_beats_oml_continual", "continual/oml-reuse"),
])  # fmt: skip
def test_claims_that_one_learner_beats_another(name, pair):
    is_gap(CLAIMS, name, f"gap/{pair}")
    order, worse = pair.split("/")[0], pair.split("-")[0]
    summary = {**paired({f"gap/{pair}": 1.0}), worse: 20.0, f"{order}/untrained": 19.0}
    is_trivial(CLAIMS, name, summary, {f"{order}/untrained": 21.0})


def test_the_other_claims():
    names = [f"gap/{order}/{base}-flp2" for order in ORDERS for base in ("chance", "untrained")]
    is_gap(CLAIMS, "learns", *names)
    summary = {"iid/flp2": 12.4, "iid/gradient_first": 10.0}
    is_told(CLAIMS, "gradient_matches_iid", summary, [{"iid/flp2": 12.6}, {"iid/flp2": 7.9}], 1.24)
    is_trivial(CLAIMS, "gradient_matches_iid", {**summary, "iid/untrained": 12.4}, {"iid/untrained": 12.6})
    is_not_above(CLAIMS, "continual_is_free", "gap/continual-iid/flp2")
    names = [f"gap/continual-iid/{method}" for method in ("flp2", "untrained")]
    is_trivial(CLAIMS, "continual_is_free", paired(dict.fromkeys(names, 0.29)), {names[1]: 1.0})


@pytest.mark.parametrize("column", ["iid", "continual", "mini_imagenet"])
def test_claims_on_printed_errors(column):
    mini, order = column == "mini_imagenet", "continual" if column == "continual" else "iid"
    for method, paper in PAPER[column].items():
        name, at = f"printed_{column}_{method}", f"{order}/{method}"
        summary = {"full_problem": 1.0, "mini_imagenet": float(mini), at: 0.99 * paper, f"{order}/untrained": paper}
        is_told(CLAIMS, name, summary, [{at: 1.01 * paper}], 0.99 * paper)
        is_trivial(CLAIMS, name, summary, {f"{order}/untrained": 1.01 * paper})
        for change in ({"full_problem": 0.0}, {"mini_imagenet": float(not mini)}):
            assert row(CLAIMS, name, {**summary, **change})["holds"] is None
        assert row(CLAIMS, name, summary)["paper"] == paper


def test_the_papers_claims_and_ours():
    assert len(CLAIMS) == len({claim.id for claim in CLAIMS}) == 23
    assert {claim.id for claim in CLAIMS if claim.own} == {"learns", "flp_beats_second_order_continual"}
    assert PAPER["iid"] == {"reuse": 4.6, "flp2": 3.0, "gradient_first": 3.2, "oml": 3.5}
    assert PAPER["continual"] == {"reuse": 5.0, "flp2": 2.7, "gradient_first": 3.4, "oml": 7.0}
    assert PAPER["mini_imagenet"] == {"reuse": 48.2, "flp2": 42.5, "gradient_first": 42.5, "oml": 52.0}
