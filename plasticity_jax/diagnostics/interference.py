r"""Interference: the effect of learning the next task on the outputs for the earlier tasks.

    I_n = mean over the inputs x of tasks 1, ..., n - 1 of  |yhat_n(x) - yhat_{n-1}(x)|^2,   n = 2, ..., K

where yhat_n is the network's output after the n-th task. It is the change of the outputs, not of their error.
Source: Lindsey & Litwin-Kumar (2020), section 7 and figure 2B.
"""

import chex
import jax.numpy as jnp

from plasticity_jax.typing import Array


def interference(answers: Array) -> Array:
    """Mean squared change of the outputs for all earlier tasks, by the number of tasks learned.

    Args:
      answers: (K, K, q, n_out); answers[n, j] is the output for q inputs of task j after task n, counted from 0.

    Returns:
      Shape (K - 1,), from the second task.

    Example:
      >>> import jax.numpy as jnp
      >>> interference(jnp.array([[0.0, 0.0], [3.0, 9.0]])[..., None, None]).tolist()
      [9.0]
    """
    chex.assert_rank(answers, 4, custom_message="answers are (K, K, q, n_out): after a task, to a task's inputs")
    tasks = answers.shape[0]
    chex.assert_shape(answers, (tasks, tasks, ...), custom_message="answers must be to as many tasks as were learned")
    change = jnp.mean(jnp.sum((answers[1:] - answers[:-1]) ** 2, -1), -1)  # (K - 1, K)
    earlier = jnp.tril(jnp.ones_like(change))
    return jnp.sum(jnp.where(earlier > 0, change, 0), 1) / jnp.sum(earlier, 1)
