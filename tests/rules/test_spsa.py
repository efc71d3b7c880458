"""SPSA: its mean by z-tests, its variance and its bias in closed form, its gain, weights of any form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.layers import chain, dense, init_params
from plasticity_jax.rules import spsa, weight_perturbation
from plasticity_jax.rules.feedback.spsa import SPSATraces
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.rules.test_weight_perturbation import equal_on_average


def draws(rule, params, batch, count, steps=0):
    """Independent updates after `steps` steps, and the info of each."""
    keys = jax.random.split(jax.random.key(9), count)
    traces = SPSATraces(jnp.int32(steps))
    updates, after, info = compiled(jax.vmap(lambda key: rule.update(params, traces, key, batch)))(keys)
    assert np.all(after.steps == steps + 1)
    return updates, info


@pytest.mark.parametrize("count", [1, 3])
def test_a_quadratic_loss_has_its_gradient_on_average(count):
    """The mean holds for a large c and a Hessian that is not diagonal."""
    rng = np.random.default_rng(0)
    a, b, w = rng.standard_normal((6, 4)), rng.standard_normal(6), rng.standard_normal(4)

    def loss(params, batch):
        return jnp.sum((batch @ params["w"] + params["offset"] - b) ** 2) / 2

    params = {"w": jnp.asarray(w), "offset": jnp.float64(0.7)}
    updates, _ = draws(spsa(loss, c=0.4, draws=count), params, jnp.asarray(a), 40_000)
    error = a @ w + 0.7 - b
    expected = np.append(a.T @ error, error.sum())
    equal_on_average(np.concatenate([updates["w"], updates["offset"][:, None]], 1), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_the_covariance_under_a_linear_loss_is_in_closed_form(count):
    """Var G_i = sum of a_j^2 over j other than i, and Cov(G_i, G_j) = a_i a_j, over the draws."""
    a = np.array([1.0, -2.0, 0.5, 1.5])
    updates, info = draws(spsa(lambda w, batch: w @ batch, c=0.3, draws=count), jnp.ones(4), jnp.asarray(a), 40_000)
    apart = np.asarray(updates) - a
    products = np.einsum("di,dj->dij", apart, apart)
    expected = (np.outer(a, a) + np.diag(a @ a - 2 * a**2)) / count
    equal_on_average(products, expected)
    assert np.diag(expected).min() > 3 / count  # the entry with the largest slope
    np.testing.assert_allclose(info.loss, a.sum(), rtol=1e-12)  # a line's mean over both signs


@pytest.mark.parametrize("gamma", [0.0, 0.101, 0.5])
def test_the_bias_on_a_cubic_is_the_square_of_the_gain(gamma):
    """L = w^3: each draw is L' + c_k^2, and the loss reported L + 3 w c_k^2."""
    rule = spsa(lambda w, batch: w**3, c=0.5, gamma=gamma)
    for k in (1, 2, 30):
        size = 0.5 / k**gamma
        updates, info = draws(rule, jnp.float64(0.8), (), 8, steps=k - 1)
        np.testing.assert_allclose(updates, np.full(8, 3 * 0.8**2 + size**2), rtol=1e-9)
        np.testing.assert_allclose(info.loss, np.full(8, 0.8**3 + 3 * 0.8 * size**2), rtol=1e-12)


def test_a_product_of_weights_has_its_slope_on_average():
    """L = w_0 w_1 w_2: each entry's mean is its slope; one draw adds c^2 times the other weights' signs."""
    w, c = np.array([0.5, -1.0, 2.0]), 0.6
    updates, _ = draws(spsa(lambda w, batch: jnp.prod(w), c=c), jnp.asarray(w), (), 40_000)
    slope = np.prod(w) / w
    equal_on_average(np.asarray(updates), slope)
    signs = np.array([[1, i, j] for i in (1, -1) for j in (1, -1)])  # Delta and -Delta give one G
    each = [(s @ slope + c**2 * np.prod(s)) * s for s in signs]
    distinct = np.unique(np.round(updates, 9), axis=0)
    np.testing.assert_allclose(distinct, np.unique(np.round(each, 9), axis=0), atol=1e-8)


def of_any_params():
    params = {
        "list": [jnp.ones((2, 3), jnp.float32), jnp.full((), 0.5, jnp.float64)],
        "tuple": (jnp.ones(4, jnp.bfloat16), {"index": jnp.array([2, 0], jnp.int32), "on": jnp.array(True)}),
    }

    def loss(params, batch):
        leaves = jax.tree.leaves((params["list"], params["tuple"][0]))
        return sum(jnp.sum(jnp.sin(leaf.astype(jnp.float64)) * batch) for leaf in leaves) ** 2

    return params, loss


def test_params_may_have_any_form_and_dtype():
    params, loss = of_any_params()
    updates, info = draws(spsa(loss, c=0.1), params, 0.3, 4)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert [leaf.dtype for leaf in jax.tree.leaves(updates)] == [leaf.dtype for leaf in jax.tree.leaves(params)]
    assert info.loss.dtype == jnp.float64
    assert not np.any(updates["tuple"][1]["index"])
    assert not np.any(updates["tuple"][1]["on"])
    moved = [*updates["list"], updates["tuple"][0]]
    sizes = np.concatenate([np.abs(np.asarray(leaf, float)).reshape(4, -1) for leaf in moved], 1)
    np.testing.assert_allclose(sizes, np.broadcast_to(sizes[:, :1], sizes.shape), rtol=0.005)  # bfloat16 has 8 bits
    assert sizes.min() > 0


def test_draws_are_averaged():
    """The mean of single draws, one for each number folded into the key."""
    params, loss = of_any_params()
    key, traces = jax.random.key(4), SPSATraces(jnp.int32(6))
    many, after, info = compiled(lambda: spsa(loss, gamma=0.2, draws=3).update(params, traces, key, 0.3))()
    one = compiled(lambda key: spsa(loss, gamma=0.2).update(params, traces, key, 0.3))
    each = [one(jax.random.fold_in(key, i)) for i in range(3)]
    assert int(after.steps) == 7
    np.testing.assert_allclose(info.loss, np.mean([i.loss for _, _, i in each]), rtol=1e-12)
    for path, leaf in jax.tree.leaves_with_path(many):
        parts = np.stack([dict(jax.tree.leaves_with_path(u))[path].astype(float) for u, _, _ in each])
        np.testing.assert_allclose(np.asarray(leaf, float), parts.mean(0), rtol=0.01, atol=0.01 * np.abs(parts).max())
    first = np.stack([u["list"][0] for u, _, _ in each])
    assert not np.array_equal(np.sign(first[0]), np.sign(first[1]))


def test_on_a_chain_it_is_antithetic_weight_perturbation_without_the_clean_pass():
    net = chain((3,), [dense(4, "tanh"), dense(2)])
    params = init_params(jax.random.key(0), net)
    x, y = jax.random.normal(jax.random.key(1), (5, 3)), jnp.ones((5, 2))
    padded = Example(x.at[3:].set(jnp.nan), y, weight=jnp.array([1.0, 2.0, 0.5, 0.0, 0.0]))
    other = weight_perturbation(net, sigma=0.2, noise="rademacher", antithetic=True)
    key = jax.random.key(2)
    updates, _, info = compiled(lambda: spsa(net, c=0.2).update(params, SPSATraces(jnp.int32(0)), key, padded))()
    expected, _, clean = compiled(lambda: other.update(params, (), key, padded))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), updates, expected)
    assert np.linalg.norm(updates["forward"]["w"][0]) > 1e-2
    assert not np.any(updates["feedback"]["w_fb"][0])
    assert info.aux["output"].shape == (5, 2)
    assert 1e-6 < abs(float(info.loss - clean.loss)) < 0.5 * float(clean.loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c": 0.0}, r"c=0 is outside \(0, inf\): it is the size of the perturbations, which divides"),
        ({"gamma": -1.0}, r"gamma=-1 is outside \[0, inf\): it is the power of the step"),
        ({"draws": 0}, "draws=0 must be a whole number of at least 1 draw"),
        ({"draws": 1.5}, "draws=1.5 must be a whole number"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        spsa(lambda params, batch: 0.0, **options)
    assert "\n" not in str(refusal.value)


def test_what_it_cannot_perturb_is_refused():
    with pytest.raises(TypeError, match="net=3 is neither a chain of layers nor a function"):
        spsa(3)
    with pytest.raises(ValueError, match="params have no floating leaf: there is nothing to learn"):
        spsa(lambda params, batch: 0.0).init({"steps": jnp.arange(3)}, jax.random.key(0), ())
    rule = spsa(lambda params, batch: params - batch)
    with pytest.raises(ValueError, match="return the batch's loss, one number"):
        rule.update(jnp.ones(3), SPSATraces(jnp.int32(0)), jax.random.key(0), jnp.ones(3))


def test_params_that_are_not_arrays_are_refused():
    rule = spsa(lambda params, batch: params["w"] ** 2)
    with pytest.raises(TypeError, match=r"params\['w'\] is 2.0: give an array, jnp.asarray\(2.0\)"):
        rule.init({"w": 2.0}, jax.random.key(0), None)
