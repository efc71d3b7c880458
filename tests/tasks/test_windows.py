"""Windows carry all of an example along."""

import jax.numpy as jnp
import numpy as np

from plasticity_jax.tasks.stream import Stream
from plasticity_jax.tasks.windows import windows
from plasticity_jax.typing import Example


def numbered(with_edges):
    """Step t of stream b holds 10 t + b in every leaf."""

    def take(state, steps):
        number = 10 * (state + jnp.arange(steps))[:, None] + jnp.arange(2)[None]
        edges = (number % 3 == 0, number / 7) if with_edges else (None, None)
        return state + steps, Example(number[..., None], -number[..., None], *edges)

    return Stream(lambda key: jnp.zeros((), jnp.int32), take)


def test_starts_and_weights_stay_with_their_steps():
    stream = windows(numbered(True), 4)
    state, example = stream.take(stream.init(None), 3)
    number = np.asarray(example.x)[..., 0]
    assert int(state) == 12
    np.testing.assert_array_equal(number[1, 1], [41, 51, 61, 71])
    np.testing.assert_array_equal(example.start, number % 3 == 0)
    np.testing.assert_allclose(example.weight, number / 7)
    assert example.start.any()


def test_a_window_lacks_the_fields_that_its_stream_lacks():
    _, example = windows(numbered(False), 4).take(jnp.zeros((), jnp.int32), 1)
    assert example.start is None
    assert example.weight is None
