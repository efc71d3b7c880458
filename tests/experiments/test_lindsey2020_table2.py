"""Table 2's own pieces: one program for both orders, the multiplier of alpha, and who can tell the orders apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lindsey2020 import table2
from experiments.lindsey2020.common import flp_theta, layers
from plasticity_jax.meta import flp_life
from plasticity_jax.meta.lifetime import birth, live
from plasticity_jax.tasks.few_shot import few_shot
from plasticity_jax.typing import Episode, Example
from tests.laws.common import compiled

SIZES, WAYS, SHOTS = (6, 6, 3), 3, 2


@pytest.mark.parametrize("which", [0, 1])
def test_either_stream_is_the_one_that_its_state_names(which):
    streams = [few_shot(8, 12, order=order) for order in table2.ORDERS]
    both, key = table2.either(streams, which), jax.random.key(3)
    state, taken = compiled(lambda state: both.take(state, 2))(both.init(key))
    wanted_state, wanted = compiled(lambda state: streams[which].take(state, 2))(streams[which].init(key))
    jax.tree.map(np.testing.assert_array_equal, taken, wanted)
    assert state[0] == which
    assert state[1].step == wanted_state.step == 2


BY_CLASS, MIXED = [0, 1, 2, 3, 4, 5], [4, 0, 2, 1, 5, 3]
"""Two images of each of three classes: those of a class are in the same order in both."""


def at_the_end(plastic, order, alpha, factor=1.0):
    """The weights that a life of such an order ends in."""
    cut = layers(SIZES[-plastic - 1 :], plastic, "softmax")
    life = table2.multiplied(flp_life(cut.net, signal="target", output="clamped"), factor)
    theta = flp_theta(jax.random.key(1), cut, alpha, beta=1.0)
    images = jax.random.normal(jax.random.key(2), (WAYS * SHOTS, 1, SIZES[0]))
    y = jnp.eye(WAYS)[jnp.repeat(jnp.arange(WAYS), SHOTS)][:, None]
    one = Episode(Example(images[jnp.array(order)], y[jnp.array(order)]), Example(images[:, 0], y[:, 0]))

    def life_of(theta):
        return live(life, theta, birth(life, theta, jax.random.key(0), one), one)[1][1].params["forward"]["w"]

    return jax.tree.map(np.asarray, compiled(life_of)(theta))


def test_feature_reuse_cannot_tell_the_orders_apart():
    # A clamped output changes the row of the image's own class alone, and the products are the same ones.
    (sorted_,), (mixed,) = (at_the_end(1, order, 0.3) for order in (BY_CLASS, MIXED))
    np.testing.assert_array_equal(sorted_, mixed)
    assert np.abs(sorted_ - at_the_end(1, BY_CLASS, 0.0)[0]).min() > 0


def test_flp_can():
    sorted_, mixed = (at_the_end(2, order, 0.3) for order in (BY_CLASS, MIXED))
    for a, b in zip(sorted_, mixed, strict=True):
        assert np.abs(a - b).max() > 1e-3


def test_the_multiplier_is_of_alpha_below_the_readout():
    multiplied, plain = at_the_end(2, MIXED, [0.01, 0.3], factor=8.0), at_the_end(2, MIXED, [0.08, 0.3])
    for a, b in zip(multiplied, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # a rounding of alpha, through six steps
