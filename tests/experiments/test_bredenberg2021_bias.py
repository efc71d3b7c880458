"""The trials of the bias experiment against the library's own trajectory, loss and rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments.bredenberg2021.gradients import following, pairs
from experiments.bredenberg2021.bias import Trial, onsets, patterns, sample, walk
from plasticity_jax.diagnostics.bias_variance import updates_along
from plasticity_jax.networks.two_stream import init_params, trajectory, trajectory_loss, two_stream
from plasticity_jax.rules.generative import impression
from plasticity_jax.typing import Example
from tests.laws.common import compiled

NET = two_stream((4, 3), (0.5, 0.4), (0.6, 0.7))
PARAMS = jax.tree.map(lambda leaf: 2 * leaf, init_params(jax.random.key(0), NET))
Z = jax.random.normal(jax.random.key(1), (8, 1, 4))
KEY = jax.random.key(2)
PLAIN = jnp.ones(2)
SAMPLE = compiled(lambda *pattern: sample(NET, PARAMS, Trial(KEY, PLAIN, Z), *pattern))
WALK = compiled(lambda signs, wake, onset: walk(NET, PARAMS, Trial(KEY, signs, Z), wake, onset))
GRADIENT = compiled(jax.value_and_grad(lambda params, wake: jnp.sum(trajectory_loss(NET, params, KEY, Z, wake))))
UPDATES = compiled(
    lambda wake: updates_along(
        impression(NET, schedule=following(wake), precondition=False), PARAMS, KEY, Example(Z, Z)
    )
)


def test_onsets_by_hand():
    """Waking is an onset but for the first step, before which the network counts as awake."""
    assert pairs(8, 2).tolist() == [[True, True, False, False] * 2, [False, False, True, True] * 2]
    assert [onsets(row).tolist() for row in pairs(8, 2)] == [
        [False, False, False, False, True, False, False, False],
        [False, False, True, False, False, False, True, False],
    ]
    for kind in ("held", "no_onset"):
        assert not any(jnp.any(k) for k in patterns(kind, 8)[1:])


@pytest.mark.parametrize("window", [0, 1])
def test_a_trial_is_the_librarys(window):
    """With onsets as printed, walk, true gradient and IL are those of trajectory, trajectory_loss and impression."""
    wake, onset, mirrored = (rows[window] for rows in patterns("onset", 8))
    now = WALK(PLAIN, wake, onset)
    expected = compiled(lambda: trajectory(NET, PARAMS, KEY, Z, wake))()
    for one, other in zip(jax.tree.leaves(now), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

    found = SAMPLE(wake, onset, mirrored)
    gradient, updates = GRADIENT(PARAMS, wake)[1], UPDATES(wake)
    il = ravel_pytree(jax.tree.map(lambda leaf: jnp.sum(leaf, 0), updates))[0]
    np.testing.assert_allclose(found["truth"], -ravel_pytree(gradient)[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["il"], -2 * il, rtol=1e-4, atol=1e-3)


def test_the_remainder_is_taylors():
    """R is 2 (x - 1 - log x) of the whole window's ratio x, by the loss of the library."""
    wake, onset, mirrored = (rows[1] for rows in patterns("onset", 8))
    found = SAMPLE(wake, onset, mirrored)
    log_x = -float(GRADIENT(PARAMS, wake)[0])
    expected = 2 * (np.exp(log_x) - 1 - log_x)
    np.testing.assert_allclose(found["remainder_square"], expected**2, rtol=1e-4)


def test_relabelling_is_exact_without_onsets():
    """Both walks are then the same one; with onsets they differ."""
    for kind, zero in (("no_onset", True), ("onset", False)):
        wake, onset, mirrored = (rows[0] for rows in patterns(kind, 8))
        found = SAMPLE(wake, onset, mirrored)
        assert bool(jnp.all(found["relabel"] == 0)) is zero


def test_signs_turn_the_noise_over():
    """Awake from fixed weights, s - z changes sign with the first, r - f(W s) at odd steps with the second."""
    wake, onset = jnp.ones(8, bool), jnp.zeros(8, bool)
    one = WALK(PLAIN, wake, onset)
    other = WALK(-PLAIN, wake, onset)
    np.testing.assert_allclose(other.x[0] - Z, Z - one.x[0], atol=1e-5)
    alternate = np.where(np.arange(8) % 2 == 1, -1, 1)[:, None, None]
    np.testing.assert_allclose(other.x[1] - other.inferred[1], alternate * (one.x[1] - one.inferred[1]), atol=1e-5)
