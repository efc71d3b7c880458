"""OML on characters: its lives, the rows that are drawn anew, and its part in Table 2, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import table2
from experiments.lindsey2020.banks import Bank
from experiments.lindsey2020.oml_characters import drawing_rows, one_class, with_new_readout
from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.run import Program
from plasticity_jax.typing import Episode, Example

CLASSES, PER_CLASS = 6, 8


def test_a_life_has_one_class_of_the_second_half():
    stream = one_class(CLASSES, PER_CLASS, remember=30, outputs=9, episodes=12)
    _, (support, query) = stream.take(stream.init(jax.random.key(0)), 3)
    assert support.x.shape == (3, 12, 6, 1)
    assert query.x.shape == (3, 12, 2 + 30)
    learned = np.asarray(support.x).reshape(36, 6)
    queried = np.asarray(query.x).reshape(36, 32)
    classes = learned // PER_CLASS
    assert (classes == classes[:, :1]).all()
    assert set(classes[:, 0]) == {3, 4, 5}
    own = np.concatenate([learned, queried[:, :2]], 1)
    for row, label in zip(own, classes[:, 0], strict=True):
        assert sorted(row) == list(range(label * PER_CLASS, (label + 1) * PER_CLASS))  # none twice
    assert set(queried[:, 2:].ravel()) == set(range(CLASSES * PER_CLASS))
    for part, images in ((support, learned), (query, queried)):
        labels = np.asarray(part.y).reshape(36, -1, 9)
        np.testing.assert_array_equal(labels, np.eye(9)[images // PER_CLASS])


@pytest.mark.parametrize(("change", "words"), [({"per_class": 3}, "there are 3"), ({"outputs": 5}, "5 outputs")])
def test_too_few(change, words):
    given = {"per_class": PER_CLASS, "outputs": 9, **change}
    with pytest.raises(ValueError, match=words):
        one_class(CLASSES, given["per_class"], remember=1, outputs=given["outputs"])


def test_rows_of_the_lives_classes_are_drawn_anew():
    received = {}

    def update(params, traces, key, batch):
        received.update(params=params)
        return params, traces, Info(jnp.zeros(()), READY, {})

    rule = drawing_rows(LearningRule(lambda *args: (), update))
    w = (jnp.ones((2, 3)), jnp.full((50, 400), 7.0))
    params = {"prefix": 1, "forward": {"w": w, "bias": (jnp.ones(2), jnp.ones(50))}}
    labels = jnp.array([4, 11])
    support = Example(jnp.zeros((2, 3, 1)), jnp.broadcast_to(jnp.eye(50)[labels][:, None, None], (2, 3, 1, 50)))
    rule.update(params, (), jax.random.key(0), Episode(support, ()))
    rows = np.asarray(received["params"]["forward"]["w"][1])
    assert [k for k in range(50) if (rows[k] != 7).any()] == [4, 11]
    np.testing.assert_allclose(rows[[4, 11]].std(), (2 / 400) ** 0.5, rtol=0.1)
    assert abs(np.corrcoef(rows[4], rows[11])[0, 1]) < 0.2
    assert received["params"]["prefix"] == 1
    np.testing.assert_array_equal(received["params"]["forward"]["w"][0], w[0])
    np.testing.assert_array_equal(params["forward"]["w"][1], w[1])


def test_a_new_readout():
    theta = {
        "rate": 0.1,
        "forward": {"w": (jnp.ones((200, 3)), jnp.ones((50, 200))), "bias": (jnp.ones(200), jnp.ones(50))},
    }
    renewed = with_new_readout(jax.random.key(0), theta, 5)
    assert renewed["rate"] == 0.1
    np.testing.assert_array_equal(renewed["forward"]["w"][0], 1)
    np.testing.assert_array_equal(renewed["forward"]["bias"][0], 1)
    np.testing.assert_array_equal(renewed["forward"]["bias"][1], np.zeros(5))
    assert renewed["forward"]["w"][1].shape == (5, 200)
    np.testing.assert_allclose(np.std(renewed["forward"]["w"][1]), 0.1, rtol=0.1)


def test_its_part_in_the_table(monkeypatch):
    """OML's stream, rates and clip are its own; its inner rate is fixed, and its readout has a row for each class."""
    given, config = {}, table2.PRESETS["smoke"]
    monkeypatch.setattr(table2, "meta_training", lambda *args, **options: given.update(args=args, options=options))
    monkeypatch.setattr(table2, "one_class", lambda *args, **options: (args, options))
    monkeypatch.setattr(table2, "first_order", lambda net, prefix: LearningRule(lambda *args: (), net.loss))
    banks = [Bank(np.zeros((classes * 4, 7, 7, 1), np.uint8), classes, 4) for classes in (12, 8)]
    monkeypatch.setattr(table2, "for_both_orders", lambda program: program)
    monkeypatch.setattr(table2, "evaluated", lambda program, tried: given.update(tried=tried))
    table2.make_program(config, "oml", *banks)
    _, rates, theta, stream, _ = given["args"]
    assert rates == {"weights": config.rate_oml, "rate": 0.0}
    assert stream == ((12, 4), {"remember": 64, "outputs": 12, "episodes": 1})
    assert given["options"]["clip"] == config.clip == 1
    born = theta(jax.random.key(0))
    assert born["rate"].shape == ()
    assert float(born["rate"]) == pytest.approx(0.03)
    assert born["forward"]["w"][-1].shape == (12, config.width)
    table2.make_program(table2.dataclasses.replace(config, clip=0.0), "oml", *banks)
    assert given["options"]["clip"] == 5


def test_metrics_for_both_orders():
    def chunk(state):
        return state + 1, {"loss": jnp.full(1, state), "test": jnp.array([[1.0, 2.0]])}

    metrics = table2.for_both_orders(Program(lambda lane: lane, chunk, 2, 1, 1)).train(jnp.float64(5.0))
    assert metrics["loss"].tolist() == [[5, 5], [6, 6]]
    assert metrics["test"].tolist() == [[1, 2], [1, 2]]
