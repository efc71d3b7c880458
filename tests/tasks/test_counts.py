"""Counts of steps, channels, cues and the like are whole numbers; others are refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import cells, tasks
from plasticity_jax.tasks.moving_mnist import Scene

CELL = cells.leaky(2, 3, 2)
SCENE = Scene(jnp.zeros((1, 2), int), jnp.zeros((1, 2, 2)), jnp.zeros((1, 2)))
DIGITS = jnp.zeros((3, 4, 4))


def few_shot(**options):
    return tasks.few_shot(**{"classes": 10, "per_class": 20, **options})


def moving_mnist(**options):
    return tasks.moving_mnist(**{"bank": 10, **options})


def render(**options):
    return jax.eval_shape(lambda digits: tasks.render(digits, SCENE, **{"size": 8, "frames": 2, **options}), DIGITS)


def windows(**options):
    return tasks.windows(tasks.add(), **options)


COUNTS = {
    tasks.add: {"tau": 2, "batch": 1},
    tasks.delayed_xor: {"answer": 1, "batch": 1},
    tasks.evidence_accumulation: dict.fromkeys(("cues", "cue", "gap", "delay", "recall", "channels", "batch"), 3),
    few_shot: {"classes": 10, "per_class": 20, "ways": 5, "shots": 5, "queries": 5, "outputs": 5, "episodes": 1},
    tasks.incremental_sines: {"functions": 3, "batches": 2, "batch": 4, "query": 4, "pool": 19, "episodes": 1},
    lambda **options: tasks.mimic(CELL, **options): {"tau": 2, "batch": 1},
    moving_mnist: {"bank": 10, "count": 2, "batch": 3},
    render: {"size": 8, "frames": 2},
    tasks.ou_mixture: {"latents": 2, "stimuli": 4, "batch": 1},
    tasks.pattern_generation: {"trial": 100, "n_in": 10, "n_out": 1, "batch": 1},
    lambda **options: tasks.spoken_digits([0, 2], [2, 3], **options): {"batch": 1},
    windows: {"length": 7},
}


@pytest.mark.parametrize(
    ("task", "name", "count"), [(task, *pair) for task, counts in COUNTS.items() for pair in counts.items()]
)
def test_a_count_that_is_not_whole_is_refused(task, name, count):
    for wrong in (count + 0.5, float(count), True):
        with pytest.raises(ValueError, match=rf"^{name}={wrong!r} must be a whole number"):
            task(**{name: wrong})
    task(**{name: np.int64(count)})


def test_delays_and_lags_that_are_not_whole_are_refused():
    for wrong in ((1.5, 3), (1, 2.5)):
        with pytest.raises(ValueError, match=r"stimuli=[12].5 must be a whole number"):
            tasks.delayed_xor(wrong)
        with pytest.raises(ValueError, match=r"lags=.* must be whole numbers of symbols"):
            tasks.add(wrong)
    jax.eval_shape(lambda lag: tasks.add((lag, 5)).init(jax.random.key(0)), 3)  # may be traced
