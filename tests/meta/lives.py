"""Lives shared by the tests of the rules over theta."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import plasticity_jax as pj
from plasticity_jax.meta import Life


def of_case(name, *coefficients, rate=0.1):
    """A life of a registered rule under SGD; theta holds some of its coefficients, and the query is another batch.

    The query's loss is the rule's at the end of the life, from initial traces.
    """
    case = pj.RULES[name]
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), case.params(jax.random.key(1)))

    def make(theta):
        return case.make(**theta)

    def loss(theta, params, query):
        rule = make(theta)
        info = rule.update(params, rule.init(params, jax.random.key(2), query), jax.random.key(3), query)[2]
        return info.loss, {}

    life = Life(lambda theta: pj.learner(make(theta), optax.sgd(rate)), lambda theta: params, loss)
    return life, {each: jnp.float64(case.coefficients[each]) for each in coefficients}


def episodes_of_case(name, steps, episodes=1):
    """Episodes with leaves (B, T, ...) of the support and (B, ...) of the query."""
    case = pj.RULES[name]
    keys = jax.random.split(jax.random.key(4), (episodes, steps + 1))
    batches = jax.vmap(jax.vmap(case.batch))(keys)
    batches = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), batches)
    return pj.Episode(*(jax.tree.map(lambda leaf, part=part: leaf[:, part], batches) for part in (slice(steps), steps)))


def slope(f, x, h):
    """Central difference of fourth order."""
    f = {k: float(f(x + k * h)) for k in (-2, -1, 1, 2)}
    return (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)


def first(episodes):
    return jax.tree.map(lambda leaf: leaf[0], episodes)


def host(tree):
    return jax.tree.map(np.asarray, tree)
