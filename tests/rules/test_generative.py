"""The generative wing: updates against autodiff of the log densities; IL, NVI* and BP against NumPy; refusals."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import FrozenDict

from plasticity_jax.base import learner
from plasticity_jax.networks.two_stream import draw, init_params, trajectory_loss, two_stream
from plasticity_jax.rules import generative
from plasticity_jax.rules.generative import alternating
from plasticity_jax.typing import Example
from tests.laws import classes_generative as laws
from tests.laws.common import compiled, seed
from tests.oracles import generative as oracle

NET = two_stream((3, 2))


def close(actual, expected, tolerance=1e-12):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max(initial=0))),
        actual,
        expected,
    )


def variances(net):
    """sigma^2 of the density that each weight belongs to."""
    up, down = ([sigma**2 for sigma in sigmas] for sigmas in (net.sigma_inf, net.sigma_gen))
    return {
        "inference": {"w": tuple(up[1:]), "bias": tuple(up[1:-1])},
        "generation": {"w": tuple(down[:-1]), "bias": tuple(down[1:-1]), "transition": down[-1]},
    }


@pytest.mark.parametrize("precondition", [False, True], ids=["gradient", "precondition"])
@pytest.mark.parametrize(("depth", "output"), [(1, "tanh"), (2, "identity"), (2, "tanh")])
def test_updates_are_the_scores_of_the_other_stream(depth, output, precondition):
    """The scores are those of fixed samples, with and without an onset; every sigma differs."""
    w = laws.world(depth, output)
    updates, info = laws.hold(generative.impression(w.net, precondition=precondition), w)
    expected, _ = laws.scored(w, laws.HALF)
    if precondition:
        expected = jax.tree.map(lambda leaf, variance: variance * leaf, expected, variances(w.net))
    close(updates, expected)
    host = laws.numpy_of(w.params)
    losses = oracle.losses(w.net, host, np.asarray(w.z), laws.HALF, w.innovations).mean(1)
    np.testing.assert_allclose(info.loss, losses, rtol=1e-12)
    np.testing.assert_allclose(info.aux["free_energy"], np.where(laws.HALF, losses, -losses), rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [generative.neural_variational, functools.partial(generative.reparameterised, truncation=2)],
    ids=["neural_variational", "reparameterised"],
)
def test_precondition_multiplies_by_the_variance(make):
    """An eligibility trace, linear in the scores, is multiplied too."""
    w = laws.world(2, "tanh")
    raw, scaled = (laws.hold(make(w.net, precondition=on), w)[0] for on in (False, True))
    close(scaled, jax.tree.map(lambda leaf, variance: variance * leaf, raw, variances(w.net)))


@pytest.mark.parametrize("name", ["impression", "neural_variational", "reparameterised"])
def test_streams_are_the_mean_of_single_ones(name, monkeypatch):
    """The random numbers of each stream are given."""
    w = laws.world(2)
    rule = getattr(generative, name)(w.net, precondition=False)
    numbers = [jnp.asarray(np.stack(layer)) for layer in zip(*w.innovations, strict=True)]

    def walk(which):
        def body(traces, at):
            z, given = at
            for module in ("common", "reparameterised"):
                of_rules = sys.modules[f"plasticity_jax.rules.generative.{module}"]
                monkeypatch.setattr(of_rules, "draw", lambda *_: given)
            updates, traces, info = rule.update(w.params, traces, seed(0), Example(z, z))
            return traces, (updates, info.loss)

        z = w.z[:, which]
        traces = rule.init(w.params, seed(0), Example(z[0], z[0]))
        return compiled(lambda: jax.lax.scan(body, traces, (z, tuple(a[:, which] for a in numbers))))()[1]

    both, first, second = (walk(which) for which in (slice(0, 2), slice(0, 1), slice(1, 2)))
    close(both, jax.tree.map(lambda a, b: (a + b) / 2, first, second))


def test_one_step_of_wake_teaches_no_transition():
    """Every step of wake is an onset if it lasts one step, and not if it lasts two."""
    w = laws.world()
    one, two = (laws.hold(generative.impression(w.net, schedule=alternating(k)), w)[0] for k in (1, 2))
    np.testing.assert_array_equal(one["generation"]["transition"], 0)
    assert np.abs(one["generation"]["w"][0]).max() > 0.1
    taught = np.abs(np.asarray(two["generation"]["transition"])).max(1) > 0
    np.testing.assert_array_equal(taught, [t % 4 == 1 for t in range(laws.STEPS)])  # r is 0 before the first


@pytest.mark.parametrize("name", ["impression", "neural_variational"])
def test_learning_equals_the_numpy_loop(name):
    """Fifty steps of SGD with phases of two steps, sigmas that all differ, and a baseline that moves."""
    steps, sizes = 50, (6, 4)
    sigma_inf, sigma_gen, lr = (0.2, 0.3), (0.25, 0.5), 0.05 if name == "impression" else 0.005
    net = two_stream(sizes, sigma_inf, sigma_gen)
    params = init_params(seed(162), net)
    options = {} if name == "impression" else {"gamma_g": 0.8, "gamma_baseline": 0.1}
    z = 0.5 * jax.random.normal(seed(163), (steps, 1, 6))
    learn = learner(getattr(generative, name)(net, **options), optax.sgd(lr))
    start = learn.init(params, seed(164), Example(z[0], z[0]))
    end, info = compiled(lambda: jax.lax.scan(lambda s, x: learn.step(s, Example(x, x)), start, z))()
    keys = jax.vmap(jax.random.fold_in, (None, 0))(start.key, jnp.arange(steps))
    drawn = compiled(jax.vmap(lambda key: draw(net, key, 1, jnp.dtype(jnp.float64))))(keys)
    noise = tuple(np.asarray(each)[:, 0] for each in drawn)
    host, wake = laws.numpy_of(params), [t % 4 < 2 for t in range(steps)]
    weights = host["inference"]["w"][0], host["generation"]["w"][0], host["generation"]["transition"]
    given = {"sigma_inf": sigma_inf, "sigma_gen": sigma_gen, "lr": lr, "noise": noise, **options}
    expected = getattr(oracle, name)(*weights, np.asarray(z[:, 0]), wake, **given)
    weights_at_end = (
        end.params["inference"]["w"][0],
        end.params["generation"]["w"][0],
        end.params["generation"]["transition"],
    )
    close(weights_at_end, (expected["w"], expected["d_s"], expected["d"]), 1e-10)
    assert all(np.abs(a - b).max() > 1e-2 for a, b in zip(weights_at_end, weights, strict=True))
    constant = 0.0 if options else sum(n * np.log(g / i) for n, g, i in zip(sizes, sigma_gen, sigma_inf, strict=True))
    close(info.loss, expected["losses"] + np.where(wake, constant, -constant), 1e-10)


def test_trials_of_one_step_have_no_memory():
    w = laws.world()
    one, none, long = (
        laws.hold(generative.neural_variational(w.net, **options), w)[0]
        for options in ({"gamma_g": 1.0, "trial": 1}, {"gamma_g": 0.0}, {"gamma_g": 1.0})
    )
    close(one, none)
    assert np.abs(one["inference"]["w"][0] - long["inference"]["w"][0]).max() > 0.1


@pytest.mark.parametrize("depth", [1, 2])
def test_truncation_to_one_step_takes_the_last_state_as_given(depth):
    """The updates are the derivative of each step's loss with r_{t-1} held, by complex steps."""
    w = laws.world(depth, "tanh")
    updates = laws.hold(generative.reparameterised(w.net, precondition=False), w)[0]
    host, z = laws.numpy_of(w.params), np.asarray(w.z)
    tops = [np.zeros_like(z[0, :, :1]), *(s.x[-1] for s in oracle.walk(w.net, host, z, laws.AWAKE, w.innovations))]

    def energies(params):
        steps = [oracle.step(w.net, params, True, False, tops[t], z[t], w.innovations[t]) for t in range(laws.STEPS)]
        return np.array([np.mean(now.log_q - now.log_p) for now in steps])

    close(updates, oracle.derivative(energies, host))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: generative.wake_sleep(NET, phase=0), "period=0 must be"),
        (lambda: generative.wake_sleep(NET, order="sideways"), "order='sideways' is not known"),
        (lambda: generative.neural_variational(NET, trial=0), "trial=0 must be a positive whole number"),
        (lambda: generative.neural_variational(NET, trial=2.0), "trial=2.0 must be a positive whole number"),
        (lambda: generative.reparameterised(NET, truncation=3), "truncation=3 must be 1, or 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_poisson_noise_is_refused_where_it_cannot_be():
    net = two_stream((3, 2), (0.3, 0.3), (0.3, 0.3), "sigmoid", noise="poisson")
    with pytest.raises(ValueError, match="samples of 'poisson' noise have no derivative by their mean; use impression"):
        generative.reparameterised(net)


def test_another_number_of_streams_is_refused():
    w = laws.world()
    for make in (generative.impression, generative.neural_variational, generative.reparameterised):
        rule = make(w.net)
        traces = rule.init(w.params, seed(0), Example(w.z[0], w.z[0]))
        one = Example(w.z[0, :1], w.z[0, :1])
        with pytest.raises(AssertionError, match=r"batch\.x has another B .* the traces are not of 1 streams"):
            rule.update(w.params, traces, seed(0), one)


@pytest.mark.parametrize("make", [generative.wake_sleep, generative.neural_variational, generative.impression])
def test_poisson_neurons_learn_by_the_rules_without_derivatives_of_samples(make):
    """Losses are finite and every weight moves; the loss awake falls, except for NVI*, whose steps are too small."""
    net = two_stream((6, 4, 3), (0.3, 0.2, 0.2), (0.3, 0.2, 0.2), activation="sigmoid", noise="poisson")
    params, rule = init_params(seed(171), net), make(net)
    z = 0.5 + 0.3 * jax.random.normal(seed(172), (400, 1, 6))
    rate = 1e-6 if make is generative.neural_variational else 1e-2
    learn = learner(rule, optax.sgd(rate))
    start = learn.init(params, seed(173), Example(z[0], z[0]))
    end, info = compiled(lambda: jax.lax.scan(lambda s, x: learn.step(s, Example(x, x)), start, z))()
    assert np.isfinite(info.loss).all()
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), end.params, params)
    assert min(jax.tree.leaves(moved)) > 0
    if make is not generative.neural_variational:
        awake = jnp.ones(100, bool)
        before, after = (
            float(jnp.mean(compiled(trajectory_loss, static_argnums=0)(net, p, seed(174), z[:100], awake)))
            for p in (params, end.params)
        )
        assert after < before


MAKERS = {
    "impression": generative.impression,
    "wake_sleep": lambda net: generative.wake_sleep(net, phase=2, coordinatewise=True),
    "neural_variational": generative.neural_variational,
    "reparameterised": lambda net: generative.reparameterised(net, truncation=2),
}


def small(dtype=None):
    net = two_stream((3, 4, 2), (0.1,) * 3, (0.1,) * 3)
    params = init_params(jax.random.key(5), net, dtype=dtype)
    return net, params, Example(jnp.ones((2, 3)), jnp.ones((2, 3)))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p, b: (p, Example(b.x[:0], b.y)), ValueError, r"batch\.x has no examples"),
        (lambda p, b: (p, (b.x, b.y)), TypeError, "batch is a tuple: give an Example"),
        (lambda p, b: (p, {"x": b.x}), TypeError, "batch is a dict"),
        (lambda p, b: ({"inference": p["inference"]}, b), ValueError, r'params\["generation"\] is missing'),
        (lambda p, b: (p, b._replace(start=jnp.zeros(2, bool))), ValueError, r"batch\.start is given, but"),
        (lambda p, b: (p, b._replace(weight=jnp.ones(2))), ValueError, r"batch\.weight is given, but"),
        (lambda p, b: (p, b._replace(x=b.x[:, :2])), AssertionError, r"batch\.x, the stimulus must be \(B, 3\)"),
    ],
    ids=["empty", "tuple", "dict", "no generation", "start", "weight", "width"],
)
def test_unusable_batches_are_named_in_one_line(name, change, error, message):
    net, params, batch = small()
    rule = MAKERS[name](net)
    traces, key = rule.init(params, seed(0), batch), seed(1)
    changed, given = change(params, batch)
    for call in (lambda: rule.init(changed, key, given), lambda: rule.update(changed, traces, key, given)):
        with pytest.raises(error, match=message) as refusal:
            call()
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", MAKERS)
def test_updates_have_the_containers_of_the_params_and_zeros_for_other_groups(name):
    net, params, batch = small()
    rule = MAKERS[name](net)
    lists = {
        group: {name: list(w) if name != "transition" else w for name, w in of.items()} for group, of in params.items()
    }
    other = FrozenDict({**lists, "readout": jnp.ones(3)})
    (updates, after, _), (expected, _, _) = (
        compiled(lambda p: rule.update(p, rule.init(p, seed(0), batch), seed(1), batch))(p) for p in (other, params)
    )
    assert jax.tree.structure(updates) == jax.tree.structure(other)
    assert jax.tree.structure(after) == jax.tree.structure(rule.init(other, seed(0), batch))
    assert not np.any(updates["readout"])
    close(
        [jax.tree.leaves(updates[group]) for group in sorted(expected)],
        [jax.tree.leaves(expected[group]) for group in sorted(expected)],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma_g": 1.5}, r"gamma_g=1\.5 is outside \[0, 1\]"),
        ({"gamma_g": jnp.float32(-1)}, r"gamma_g=-1 is outside"),
        ({"gamma_baseline": np.nan}, r"gamma_baseline=nan is outside \[0, 1\]"),
    ],
)
def test_coefficients_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        generative.neural_variational(NET, **options)
