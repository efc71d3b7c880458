"""Stacks of layers: phases and reconstructions of chains by hand, independent numbers, refused images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from plasticity_jax.networks.hierarchy import Parents, check_images, check_weights, reconstruct, stacked_phases
from tests.laws.common import compiled

UP, DOWN, TOP = (2.0, 3.0, 5.0), (7.0, 11.0, 13.0), 17.0
PARAMS = {"inference": UP, "generation": DOWN}
X = jnp.array([[1.0], [-2.0]])


class Chain(NamedTuple):
    """Layers that multiply by their weight: every path has its own product of primes."""

    depth: int

    def infer(self, params, layer, below, key):
        return params[layer - 1] * below

    def generate(self, params, layer, above, key):
        return params[layer] * above

    def prior(self, key, count, dtype):
        return jnp.full((count, 1), TOP, dtype)


class Noise(NamedTuple):
    """Layers of pure noise, without input."""

    depth: int

    def infer(self, params, layer, below, key):
        return jax.random.normal(key, below.shape)

    def generate(self, params, layer, above, key):
        return jax.random.normal(key, above.shape)

    def prior(self, key, count, dtype):
        return jax.random.normal(key, (count, 1), dtype)


def phases(net=Chain(3), parents=Parents(), oscillate=True, x=X):  # noqa: B008
    return stacked_phases(net, PARAMS, x, jax.random.key(0), parents, oscillate)


def factors(phase, of=X):
    """The factor of each layer's activity relative to `of`."""
    ratios = [np.unique(np.asarray(h / of)) for h in phase]
    assert all(len(each) == 1 for each in ratios)
    return [float(each[0]) for each in ratios]


def test_wake_goes_up_sleep_down_and_an_oscillation_one_layer_down():
    wake, sleep, oscillation = phases()
    assert factors(wake) == [1, 2, 6, 30]
    assert factors(sleep, jnp.ones_like(X)) == [7 * 11 * 13 * 17, 11 * 13 * 17, 13 * 17, 17]
    assert factors(oscillation) == [7 * 2, 11 * 6, 13 * 30]


def test_without_an_oscillation_there_is_none():
    wake, sleep, oscillation = phases(oscillate=False)
    assert oscillation == ()
    assert (len(wake), len(sleep)) == (4, 4)
    jax.tree.map(np.testing.assert_array_equal, (wake, sleep), phases()[:2])


@pytest.mark.parametrize("given", ["wake", "sleep", "oscillation"])
def test_only_the_phase_with_given_parents_reads_them(given):
    read = tuple(X * scale for scale in (100.0, 200.0, 300.0, 400.0))
    read_phases = phases(parents=Parents(**{given: read}))
    free = phases()
    expected = {
        "wake": [1, 2 * 100, 3 * 200, 5 * 300],
        "sleep": [7 * 200, 11 * 300, 13 * 400],
        "oscillation": [7 * 200, 11 * 300, 13 * 400],
    }[given]
    phase = getattr(read_phases, given)
    assert factors(phase[:-1] if given == "sleep" else phase) == expected
    if given == "sleep":
        np.testing.assert_array_equal(phase[-1], free.sleep[-1])
    for other in {"wake", "sleep"} - {given}:
        jax.tree.map(np.testing.assert_array_equal, getattr(read_phases, other), getattr(free, other))
    if given == "wake":  # an oscillation is driven by its own wake
        assert factors(read_phases.oscillation) == [7 * 2 * 100, 11 * 3 * 200, 13 * 5 * 300]


@pytest.mark.parametrize(
    ("top", "expected"), [(1, [7 * 2]), (2, [7 * 11 * 6, 11 * 6]), (3, [7 * 11 * 390, 11 * 390, 390])]
)
def test_a_reconstruction_turns_at_a_layer_and_goes_all_the_way_down(top, expected):
    assert factors(reconstruct(Chain(3), PARAMS, X, jax.random.key(0), top)) == expected
    if top == 3:
        assert factors(reconstruct(Chain(3), PARAMS, X, jax.random.key(0))) == expected


@pytest.mark.parametrize("top", [0, 4, -1])
def test_a_reconstruction_at_a_missing_layer_is_refused(top):
    with pytest.raises(ValueError, match=f"top={top}: the layers to turn at are 1 to 3"):
        reconstruct(Chain(3), PARAMS, X, jax.random.key(0), top)


def test_no_two_layers_of_any_phases_share_numbers():
    """Ten samples of 4,000 normals: all products within five standard errors; 45 tests, a false alarm below 3e-5."""
    n = 4000
    wake, sleep, oscillation = compiled(lambda: phases(Noise(3), x=jnp.zeros((n, 1))))()
    samples = np.concatenate([*wake[1:], *sleep, *oscillation], 1)
    assert samples.shape == (n, 10)
    assert np.abs(samples.T @ samples / n - np.eye(10))[~np.eye(10, dtype=bool)].max() < 5 / n**0.5


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (jnp.zeros((5, 2, 3)), r"images of shape \(2, 3\): the network takes 2 x 2, behind a leading axis of N"),
        (jnp.zeros((2, 2)), r"images of shape \(2,\): the network takes 2 x 2"),
        (jnp.zeros((5, 2, 2), jnp.uint8), "images of type uint8: scale them to floats from -1 to 1"),
        (jnp.full((5, 2, 2), 255.0), "images from 255 to 255: the network takes values from -1 to 1"),
        (jnp.full((5, 2, 2), -1.5), "images from -1.5 to -1.5"),
        (jnp.zeros((5, 2, 2)).at[3, 1, 0].set(jnp.nan), "images from nan to nan"),
        (jnp.zeros((5, 2, 2)).at[3, 1, 0].set(jnp.inf), "images from 0 to inf"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message):
    with pytest.raises(ValueError, match=message) as refusal:
        check_images(images, (2, 2), -1, 1)
    assert "\n" not in str(refusal.value)


def test_images_that_fit_and_traced_values_pass():
    check_images(jnp.array([[[-1.0, 1.0], [0.0, 0.5]]]), (2, 2), -1, 1)

    @jax.jit
    def inside(images):
        check_images(images, (2, 2), -1, 1)
        return images

    inside(jnp.full((1, 2, 2), 9.0))
    known = jnp.full((1, 2, 2), 9.0)
    with pytest.raises(ValueError, match="images from 9 to 9"):
        jax.jit(lambda: inside.__wrapped__(known))()
    with pytest.raises(ValueError, match="images of type int32"):
        inside(jnp.zeros((1, 2, 2), jnp.int32))


def test_weights_that_do_not_fit_are_named_in_any_container():
    expected = {"a": (jnp.zeros(2), jnp.zeros(3)), "b": {"w": jnp.zeros(())}}
    check_weights(FrozenDict({"a": [np.zeros(2), np.zeros(3)], "b": {"w": np.zeros(())}}), expected, "this network")
    for params, message in (
        ({**expected, "a": (jnp.zeros(2), jnp.zeros(4))}, r"params\['a'\]\[1\] has shape \(4,\), wanted \(3,\)"),
        ({**expected, "b": {}}, r"params\['b'\]\['w'\] has shape none, wanted \(\)"),
        ({**expected, "c": jnp.zeros(1)}, r"params\['c'\] has shape \(1,\), wanted none: .* not those of this network"),
    ):
        with pytest.raises(AssertionError, match=message) as refusal:
            check_weights(params, expected, "this network")
        assert "\n" not in str(refusal.value)
