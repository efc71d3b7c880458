"""The recurrent stochastic autoencoder: samples against NumPy and closed forms, critics, sizes, weights, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks.autoencoder import autoencoder, init_params
from plasticity_jax.networks.hierarchy import Parents, reconstruct
from tests.laws.common import compiled
from tests.laws.textbook_adversarial import numbers
from tests.oracles import adversarial as oracle

KEY = jax.random.key(3)
SAMPLES = jax.random.fold_in(KEY, 0)  # as the rule draws them; `numbers` does the same


@functools.cache
def given(sizes=(5, 4, 3), count=3, **options):
    net = autoencoder(sizes, **{"hidden": 6, "critic_hidden": 5, **options})
    params = jax.tree.map(lambda leaf: 1.5 * leaf, init_params(jax.random.key(1), net))
    return net, params, jax.random.uniform(jax.random.key(2), (count, sizes[0]))


def host(tree):
    return jax.tree.map(np.asarray, tree)


def close(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), actual, expected)


@pytest.mark.parametrize(
    ("sizes", "recurrence", "activation", "output"),
    [((5, 4), 1, "relu", "identity"), ((5, 4, 3), 0, "tanh", "sigmoid"), ((5, 4, 3), 2, "relu", "identity")],
)
def test_phases_equal_the_numpy_composition(sizes, recurrence, activation, output):
    net, params, x = given(sizes, recurrence=recurrence, activation=activation, output=output)
    phases = compiled(lambda: net.phases(params, x, SAMPLES))()
    expected = oracle.activity(net, host(params), np.asarray(x), numbers(net, KEY, 3)[0])
    assert [len(phase) for phase in phases] == [len(sizes), len(sizes), len(sizes) - 1]
    for phase, by_hand in zip(phases, expected, strict=True):
        assert [h.shape for h in phase] == [(3, n) for n in sizes[: len(phase)]]
        close(phase, tuple(by_hand))
    assert net.phases(params, x, SAMPLES, oscillate=False).oscillation == ()


@pytest.mark.parametrize("top", [1, 2])
def test_reconstructions_are_driven_by_the_reconstruction_above(top):
    net, params, x = given()
    noise, h, expected = numbers(net, KEY, 3)[0], np.asarray(x), []
    for i in range(1, top + 1):
        h = oracle.infer(net, host(params), i, h, noise)
    for i in reversed(range(top)):
        h = oracle.generate(net, host(params), i, h, noise, "oscillation")
        expected.insert(0, h)
    close(compiled(lambda: reconstruct(net, params, x, SAMPLES, top))(), tuple(expected))


def still(part, n):
    """Weights with the same mean, and a standard deviation that does not depend on the parents."""
    return {**part, "w": (part["w"][0], part["w"][1].at[n:].set(0))}


def linear(part, n):
    """[m | v] = M given + c of a net without nonlinearity; v must not depend on the parents."""
    (w_1, w_2), (bias_1, bias_2) = part["w"], part["bias"]
    m, c = w_2 @ w_1, w_2 @ bias_1 + bias_2
    assert not m[n:].any()
    return m[:n], c[:n], np.log1p(np.exp(c[n:]))


@pytest.mark.parametrize("recurrence", [0, 1, 2])
def test_linear_conditionals_have_their_moments(recurrence):
    """a <- (a + R a + c + s xi) / 2: mean and covariance, 20,000 samples for one stimulus, five standard errors.

    The standard error of products of Gaussians is sqrt((v_a v_b + c^2) / n); 14 tests, a false alarm of 3e-5 in all.
    """
    n, count = {"inference": 2, "generation": 3}, 20_000
    net, params, _ = given((3, 2), activation="identity", recurrence=recurrence)
    params = {
        group: ({name: still(part, width) for name, part in params[group][0].items()},) for group, width in n.items()
    }
    x, z = np.array([0.3, 1.0, 0.6]), np.array([-0.8, 1.2])

    @compiled
    def sample():
        return (
            net.infer(params["inference"], 1, jnp.broadcast_to(x, (count, 3)), jax.random.key(4)),
            net.generate(params["generation"], 0, jnp.broadcast_to(z, (count, 2)), jax.random.key(5)),
        )

    for group, drive, samples in zip(n, (x, z), host(sample()), strict=True):
        layer = host(params[group][0])
        m, c, s = linear(layer["forward"], n[group])
        mean, covariance = m @ drive + c, np.diag(s**2)
        for _ in range(recurrence):
            r, c, s = linear(layer["recurrent"], n[group])
            half = (np.eye(n[group]) + r) / 2
            mean, covariance = half @ mean + c / 2, half @ covariance @ half.T + np.diag(s**2) / 4
        v = np.diag(covariance)
        off = samples - mean
        assert np.all(np.abs(off.mean(0)) < 5 * np.sqrt(v / count))
        error = np.sqrt((np.outer(v, v) + covariance**2) / count)
        assert np.all(np.abs(off.T @ off / count - covariance) < 5 * error)
        shared = np.abs(covariance / np.sqrt(np.outer(v, v)) - np.eye(n[group])).max()
        assert (shared > 0.05) == (recurrence > 0), "correlations come from the recurrence, and from nothing else"


def test_the_prior_is_of_independent_unit_normals():
    """The top layer asleep: 20,000 samples of 3 neurons, 9 tests at five standard errors, a false alarm of 6e-6."""
    net, params, _ = given()
    count = 20_000
    x = jnp.zeros((count, 5))
    top = np.asarray(compiled(lambda: net.phases(params, x, SAMPLES, oscillate=False).sleep[-1])())
    assert np.abs(top.mean(0)).max() < 5 / count**0.5
    assert np.all(np.abs(top.T @ top / count - np.eye(3)) < 5 * np.sqrt((1 + np.eye(3)) / count))


def test_sleep_does_not_depend_on_the_stimulus():
    net, params, x = given()
    one, other = (compiled(lambda x: net.phases(params, x, SAMPLES))(image) for image in (x, 1 - x))
    jax.tree.map(np.testing.assert_array_equal, one.sleep, other.sleep)
    for a, b in zip((*one.wake, *one.oscillation), (*other.wake, *other.oscillation), strict=True):
        assert np.abs(a - b).max() > 1e-3


@pytest.mark.parametrize(
    ("phase", "moved", "reader"),
    [("wake", ("inference", 0), 2), ("sleep", ("generation", 1), 0), ("oscillation", ("inference", 1), 1)],
)
def test_given_its_parents_a_layer_depends_only_on_its_own_weights(phase, moved, reader):
    """The weights that would drive its parents are changed."""
    net, params, x = given()
    group, index = moved
    layer = jax.tree.map(lambda leaf: leaf + 0.1, params[group][index])
    changed = {**params, group: tuple(layer if k == index else w for k, w in enumerate(params[group]))}
    run = compiled(lambda params, parents: net.phases(params, x, SAMPLES, parents))
    free = run(params, Parents())
    held = Parents(**{phase: free.sleep if phase == "sleep" else free.wake})
    before, after, without = (getattr(phases, phase) for phases in (free, run(changed, held), run(changed, Parents())))
    np.testing.assert_allclose(after[reader], before[reader], rtol=0, atol=1e-14)
    assert np.abs(without[reader] - before[reader]).max() > 1e-3


@pytest.mark.parametrize("discriminators", ["local", "global"])
def test_critics_read_their_layers(discriminators):
    net, params, x = given(discriminators=discriminators)
    assert net.sites == (((0,), (1,), (2,)) if discriminators == "local" else ((0, 1, 2),))
    wake = net.phases(params, x, SAMPLES).wake
    for site, layers in enumerate(net.sites):
        activity = tuple(wake[i] for i in layers)
        weights = params["discriminator"][site]
        score, features = oracle.critic(net, host(weights), host(activity))
        verdict = net.judge(weights, site, activity)
        close(tuple(verdict), (score, features))
        assert verdict.features.shape == (3, 5)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_papers_network_has_its_number_of_weights():
    params = jax.eval_shape(lambda key: init_params(key, autoencoder()), jax.random.key(0))
    joint = jax.eval_shape(lambda key: init_params(key, autoencoder(discriminators="global")), jax.random.key(0))
    assert (count(params["inference"]), count(params["generation"])) == (566_528, 2_043_968)
    assert [count(site) for site in params["discriminator"]] == [665_089, 296_449]
    assert [count(site) for site in joint["discriminator"]] == [697_857]
    assert "recurrent" not in init_params(jax.random.key(0), given(recurrence=0)[0])["inference"][0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_initial_weights_have_their_moments(dtype):
    """U(-1, 1) / sqrt(n_in): range, and variance within five standard errors; no two arrays share numbers."""
    net = autoencoder((60, 50, 40), 70, 80)
    params = init_params(jax.random.key(10), net, dtype=dtype)
    nets = [part for group in ("inference", "generation") for layer in params[group] for part in layer.values()]
    corners = []
    for part in (*nets, *params["discriminator"]):
        for w, bias in zip(part["w"], part["bias"], strict=True):
            assert w.dtype == bias.dtype == dtype
            assert bias.shape == w.shape[:1]
            for leaf in (w, bias):
                unit = np.asarray(leaf) * w.shape[1] ** 0.5
                assert np.abs(unit).max() <= 1 + 1e-6
                assert np.mean(unit**2) == pytest.approx(1 / 3, abs=5 * (4 / 45 / unit.size) ** 0.5)
                corners.append(round(float(unit.reshape(-1)[0]), 5))
    assert len(set(corners)) == len(corners) == 2 * (2 * 2 * 4 + 3 * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "gelu"}, "activation='gelu' is not known"),
        ({"critic_activation": "gelu"}, "activation='gelu' is not known"),
        ({"output": "tanh"}, "output='tanh' is not known; use one of identity, sigmoid"),
        ({"discriminators": "some"}, "discriminators='some' is not known; use one of local, global"),
        ({"sizes": (9,)}, r"sizes=\(9,\), hidden=512"),
        ({"sizes": (9, 0)}, "no width below 1"),
        ({"hidden": 0}, "hidden=0"),
        ({"critic_hidden": 0}, "critic_hidden=0"),
        ({"recurrence": -1}, "recurrence=-1"),
    ],
)
def test_networks_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        autoencoder(**options)


def test_images_and_weights_that_do_not_fit_are_refused():
    net, params, x = given()
    net.check(params, x)
    with pytest.raises(ValueError, match=r"images of shape \(4,\): the network takes 5"):
        net.check(params, x[:, :4])
    with pytest.raises(ValueError, match="images from 0 to 255: the network takes values from 0 to 1"):
        net.check(params, jnp.array([[0.0, 1.0, 2.0, 3.0, 255.0]]))
    critics = params["discriminator"]
    for broken in (
        {**params, "inference": params["inference"][:1]},
        {**params, "discriminator": (critics[1], critics[0], critics[2])},
    ):
        with pytest.raises(AssertionError, match=r"weights are not those of a network of sizes \(5, 4, 3\)"):
            net.check(broken, x)
