"""Adversarial learning: each player's gain, the penalty in closed form, options against NumPy, refusals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from plasticity_jax.networks.autoencoder import autoencoder, init_params
from plasticity_jax.networks.hierarchy import FREE, Judgement, Phases
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.typing import Example
from tests.laws import classes_adversarial as laws
from tests.laws import textbook_adversarial as textbook
from tests.laws.common import compiled, distance, seed
from tests.oracles import adversarial as oracle
from tests.oracles.generative import derivative

SMALL = 1e-4
"""Rate of a step at which curvature, of order one, is below a tenth of its effect."""


def close(actual, expected, tolerance=1e-11):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max(initial=0))),
        actual,
        expected,
    )


def host(tree):
    return jax.tree.map(np.asarray, tree)


def moved(params, updates, *groups):
    """The named groups by a small step of descent, in NumPy."""
    return {
        group: jax.tree.map(lambda w, g: w - SMALL * g, host(params[group]), host(updates[group]))
        if group in groups
        else host(params[group])
        for group in params
    }


def activity(w, params):
    return oracle.activity(w.net, params, np.asarray(w.x), w.noise)


@pytest.mark.parametrize(("gamma", "discriminators"), [(1.0, "global"), (1.0, "local"), (0.0, "local")])
def test_an_update_lowers_each_players_loss(gamma, discriminators):
    """Critics widen the gap between their scores and the model closes it, at both of its ends, on the same samples.

    The change is as the first order predicts, the square of a gradient's norm, within a tenth.
    """
    w = laws.world(discriminators)
    updates = laws.updates(w, gamma, penalty=0.0, reconstruction=0.0)
    sites = range(len(w.net.sites))

    def scores(params, which):
        acts, false = activity(w, params), 0.0
        for site in sites:
            other = acts.oscillation if gamma == 0 and oracle.has_waves(w.net, site) else acts.sleep
            layers = oracle.layers_of(w.net, site, acts.wake if which == "wake" else other)
            false = false + np.mean(oracle.critic(w.net, params["discriminator"][site], layers)[0])
        return false

    def gap(params):
        return scores(params, "wake") - scores(params, "other")

    def gain(*groups):
        return SMALL * sum(np.sum(np.square(leaf)) for group in groups for leaf in jax.tree.leaves(updates[group]))

    before = host(w.params)
    critics, both, up, down = (
        moved(w.params, updates, *groups)
        for groups in (("discriminator",), laws.MODEL, ("inference",), ("generation",))
    )
    assert gap(critics) - gap(before) == pytest.approx(gain("discriminator"), rel=0.1)
    assert gap(both) - gap(before) == pytest.approx(-gain(*laws.MODEL), rel=0.1)
    assert gap(up) - gap(before) == pytest.approx(-gain("inference"), rel=0.1)
    assert scores(down, "other") - scores(before, "other") == pytest.approx(gain("generation"), rel=0.1)
    assert scores(down, "wake") == scores(before, "wake")
    if gamma == 1:
        assert scores(up, "wake") - scores(before, "wake") == pytest.approx(-gain("inference"), rel=0.1)


class Given(NamedTuple):
    """Samples as they are, two layers; a critic that is linear, u . h, or the square |h|^2 / 2."""

    activity: Phases
    sites: tuple[tuple[int, ...], ...]
    linear: bool = True

    def phases(self, params, x, key, parents=FREE, oscillate=True):
        return self.activity

    def judge(self, params, site, activity):
        h = jnp.concatenate(activity, -1)
        return Judgement(h @ params if self.linear else jnp.sum(h * h, -1) / 2 + 0 * params[0], h)

    def check(self, params, x):
        pass


GLOBAL, LOCAL = ((0, 1),), ((0,), (1,))


def samples(count=7):
    draw = [jax.random.normal(seed(190 + i), (count, 3 if i % 2 == 0 else 2)) for i in range(5)]
    return Phases((draw[0], draw[1]), (draw[2], draw[3]), (2 * draw[4],))


KEY = 196


def taught(net, critics, gamma=1.0, **options):
    params = {"inference": (jnp.ones(1),), "generation": (), "discriminator": critics}
    x = net.activity.wake[0]
    rule = adversarial(net, gamma, **{"reduction": "mean", **options})
    return compiled(lambda: rule.update(params, (), seed(KEY), Example(x, x)))()


@pytest.mark.parametrize("scale", [1.0, 0.4, 2.5])
def test_the_penalty_of_a_linear_critic_is_in_closed_form(scale):
    """(|u| - 1)^2 at all points, over the whole input of a critic."""
    u = jnp.array([1.0, -2.0, 3.0, 0.5, -1.0])
    for sites, critics, gamma in ((GLOBAL, (u,), 1.0), (LOCAL, (u[:3], u[3:]), 0.3)):
        critics = tuple(scale * each / jnp.linalg.norm(each) for each in critics)
        with_it, without = (
            taught(Given(samples(), sites), critics, gamma, penalty=strength) for strength in (0.7, 0.0)
        )
        close(with_it[2].aux["penalty"], np.full(len(sites), (scale - 1) ** 2))
        for site, each in enumerate(critics):
            change = with_it[0]["discriminator"][site] - without[0]["discriminator"][site]
            close(change, 0.7 * 2 * (scale - 1) * np.asarray(each) / scale)
        close(with_it[2].aux["critic"] - without[2].aux["critic"], 0.7 * len(sites) * (scale - 1) ** 2)


def test_the_penalty_of_a_quadratic_critic_is_in_closed_form():
    """D = |h|^2 / 2: E (|h| - 1)^2 between two phases, weighted by gamma; all layers have one share."""
    acts, gamma = host(samples()), 0.3
    draws = [jax.random.fold_in(jax.random.fold_in(seed(KEY), 1), site) for site in range(2)]
    shares = [np.asarray(jax.random.uniform(draw, (7, 1))) for draw in draws]

    def penalty(site, true, false):
        between = shares[site] * np.concatenate(true, 1) + (1 - shares[site]) * np.concatenate(false, 1)
        return np.mean((np.linalg.norm(between, axis=1) - 1) ** 2)

    (w_0, w_1), (s_0, s_1), (o_0,) = acts
    u = (jnp.zeros(5),)
    joint = taught(Given(acts, GLOBAL, False), u)[2].aux["penalty"]
    close(joint, [penalty(0, (w_0, w_1), (s_0, s_1))])
    local = taught(Given(acts, LOCAL, False), u * 2, gamma)[2].aux["penalty"]
    dreams = gamma * penalty(0, (w_0,), (s_0,)) + (1 - gamma) * penalty(0, (w_0,), (o_0,))
    close(local, [dreams, penalty(1, (w_1,), (s_1,))])


def test_a_linear_critics_gradient_is_the_difference_of_means_and_none_where_phases_coincide():
    acts = samples()
    joint = taught(Given(acts, GLOBAL), (jnp.ones(5),), penalty=0.0)[0]["discriminator"][0]
    means = [np.concatenate([np.mean(h, 0) for h in phase]) for phase in acts[:2]]
    close(joint, means[1] - means[0])
    alike = Phases(acts.wake, acts.wake, acts.wake[:1])
    updates, _, info = taught(Given(alike, LOCAL), (jnp.ones(3), jnp.ones(2)), 0.3, penalty=0.0)
    for leaf in (*updates["discriminator"], info.loss, info.aux["wake_sleep"], info.aux["oscillation"]):
        np.testing.assert_allclose(leaf, 0, atol=1e-15)


def test_an_oscillations_credit_stays_out_of_inference_on_request():
    """The derivative with the input of o held constant; that of generation does not change."""
    w = laws.world()
    still = oracle.activity(w.net, w.host, np.asarray(w.x), w.noise).wake

    def loss(model):
        acts = oracle.activity(w.net, model, np.asarray(w.x), w.noise, oscillate_from=still)
        return oracle.model_loss(w.net, w.host["discriminator"], acts, laws.GAMMA, laws.RHO)

    updates, free = (laws.updates(w, oscillation_to_inference=flag) for flag in (False, True))
    close(laws.model(updates), derivative(loss, laws.model(w.host)))
    close(updates["generation"], free["generation"])
    assert distance(updates["inference"], free["inference"]) > 0.1


def test_the_target_of_a_reconstruction_is_held_on_request():
    w = laws.world()
    still = oracle.activity(w.net, w.host, np.asarray(w.x), w.noise).wake

    def loss(model):
        acts = oracle.activity(w.net, model, np.asarray(w.x), w.noise)
        return oracle.model_loss(w.net, w.host["discriminator"], acts, laws.GAMMA, laws.RHO, target=still)

    updates, free = (laws.updates(w, target_moves=flag) for flag in (False, True))
    close(laws.model(updates), derivative(loss, laws.model(w.host)))
    close(updates["discriminator"], free["discriminator"])
    assert distance(updates["inference"], free["inference"]) > 0.01


def test_the_info_reports_the_terms_of_the_loss():
    w = laws.world()
    x, critics, sites = np.asarray(w.x), w.host["discriminator"], range(3)
    acts = oracle.activity(w.net, w.host, x, w.noise)
    terms = [oracle.terms(w.net, critics, site, acts) for site in sites]
    expected = dict(zip(("wake_sleep", "oscillation", "reconstruction"), np.array(terms).T, strict=True))
    expected["penalty"] = [oracle.penalty(w.net, critics, site, acts, laws.GAMMA, w.eps[site]) for site in sites]
    given = (critics, acts, laws.GAMMA)
    expected["critic"] = sum(oracle.critic_loss(w.net, critics, i, *given[1:], laws.PENALTY, w.eps[i]) for i in sites)
    info = laws.report(w)
    close({name: info.aux[name] for name in expected}, expected)
    close(info.loss, oracle.model_loss(w.net, *given, laws.RHO))


def test_a_sum_over_features_is_their_number_times_the_mean():
    w = laws.world()
    close(laws.updates(w, reduction="sum", reconstruction=0.5), laws.updates(w, reconstruction=2.0))  # four features
    assert distance(laws.updates(w, reconstruction=0.5), laws.updates(w, reconstruction=2.0)) > 0.1


def test_gamma_of_one_gives_the_gradient_of_wake_and_sleep_at_every_site():
    w = laws.world()

    def loss(model):
        acts = oracle.activity(w.net, model, np.asarray(w.x), w.noise)
        return sum(oracle.terms(w.net, w.host["discriminator"], site, acts)[0] for site in range(3))

    updates = laws.updates(w, 1.0)
    close(laws.model(updates), derivative(loss, laws.model(w.host)))
    close(laws.updates(w, jnp.asarray(1.0)), updates)  # the rule cannot read a tracer's value
    assert distance(laws.updates(w, 0.9), updates) > 1e-3


def test_layer_by_layer_gradients_of_kinked_networks_are_the_textbooks():
    """The paper's ReLU, leaky in its critics; complex steps meet no kink."""
    smooth, net = laws.world(), autoencoder((4, 3, 2), 4, 4)
    w = smooth._replace(net=net)
    x = np.asarray(w.x)
    expected = textbook.layer_by_layer(net, w.host, x, w.noise, laws.GAMMA, laws.RHO)
    expected["discriminator"] = textbook.discriminators(net, w.host, x, w.noise, w.eps, laws.GAMMA, laws.PENALTY)
    updates = laws.updates(w, per_layer=True)
    close(updates, expected)
    assert distance(updates, laws.updates(smooth, per_layer=True)) > 0.1


LOCAL_NET, GLOBAL_NET = (autoencoder((4, 3), 2, 2, discriminators=kind) for kind in ("local", "global"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: adversarial(LOCAL_NET, -0.1), r"gamma=-0.1 must lie in \[0, 1\]"),
        (lambda: adversarial(LOCAL_NET, 1.1), r"gamma=1.1 must lie in \[0, 1\]"),
        (lambda: adversarial(LOCAL_NET, float("nan")), "gamma=nan must lie"),
        (lambda: adversarial(LOCAL_NET, penalty=-1.0), r"penalty=-1 is outside \[0, inf\)"),
        (lambda: adversarial(LOCAL_NET, reconstruction=-0.5), r"reconstruction=-0\.5 is outside"),
        (lambda: adversarial(LOCAL_NET, reduction="max"), "reduction='max' is not known; use one of sum, mean"),
        (lambda: adversarial(GLOBAL_NET, 0.5), "gamma=0.5: discriminators of several layers .* use gamma=1, or local"),
        (lambda: adversarial(GLOBAL_NET), "gamma=0.1: discriminators of several layers"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_images_that_do_not_fit_are_refused_before_anything_is_computed():
    rule, params = adversarial(LOCAL_NET), init_params(seed(197), LOCAL_NET)
    for x, message in ((jnp.zeros((2, 5)), "the network takes 4"), (jnp.full((2, 4), 7.0), "from 7 to 7")):
        with pytest.raises(ValueError, match=message):
            rule.init(params, seed(0), Example(x, x))
        with pytest.raises(ValueError, match=message):
            rule.update(params, (), seed(0), Example(x, x))


def test_phases_of_different_sizes_are_refused():
    short = samples()._replace(sleep=(jnp.zeros((6, 3)), jnp.zeros((6, 2))))
    with pytest.raises(AssertionError, match=r"every phase must have as many samples, found \[7, 7, 6, 6, 7\]"):
        taught(Given(short, GLOBAL), (jnp.ones(5),))


def test_unusable_batches_and_params_are_named_in_one_line():
    rule, params = adversarial(LOCAL_NET), init_params(seed(197), LOCAL_NET)
    x = jnp.full((2, 4), 0.5)
    without = {group: weights for group, weights in params.items() if group != "discriminator"}
    for given, batch, error, message in (
        (params, Example(x[:0], x), ValueError, r"batch\.x has no examples"),
        (params, (x, x), TypeError, "batch is a tuple: give an Example"),
        (params, {"x": x}, TypeError, "batch is a dict"),
        (params, Example(x, x, weight=jnp.ones(2)), ValueError, r"batch\.weight is given, but"),
        (without, Example(x, x), ValueError, r'params\["discriminator"\] is missing'),
    ):
        for call in (lambda p, b: rule.init(p, seed(0), b), lambda p, b: rule.update(p, (), seed(0), b)):
            with pytest.raises(error, match=message) as refusal:
                call(given, batch)
            assert "\n" not in str(refusal.value)


def test_updates_have_the_containers_of_the_params():
    rule, params = adversarial(LOCAL_NET), init_params(seed(197), LOCAL_NET)
    x = np.full((2, 4), 0.5)
    lists = FrozenDict({group: list(weights) for group, weights in params.items()})
    updates, expected = (compiled(lambda p: rule.update(p, (), seed(0), Example(x, x))[0])(p) for p in (lists, params))
    assert jax.tree.structure(updates) == jax.tree.structure(lists)
    close(jax.tree.leaves(updates), jax.tree.leaves(expected))
