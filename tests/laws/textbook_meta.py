"""L7 for the rules over theta: lives in plain NumPy, one episode at a time, derivatives by complex steps."""

import jax
import numpy as np

from tests.oracles.meta import derivative, live, loss_of

FRONT, NET, LINEAR = ("tanh",), ("tanh", "identity"), ("identity",)
WINDOWS, PAIRS = 2, 2


def at(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def features(theta, x):
    return np.tanh(x @ theta["prefix"]["w"][0].T + theta["prefix"]["bias"][0])


def lived(theta, episode, weights):
    """The weights at the end of the episode's support, and the sum of the gradients on the way."""
    batches = [(features(theta, x), y) for x, y in zip(*episode.support[:2], strict=True)]
    return live(weights, theta["rate"], batches, NET)[:2]


def judged(theta, episode, weights):
    return loss_of(weights, features(theta, episode.query.x), episode.query.y, NET)


def descended(theta, f):
    return jax.tree.map(np.subtract, theta, derivative(f, theta)), f(theta)


def over_episodes(one):
    """``theta -> mean over episodes of one(theta, episode, index)``."""

    def mean(theta, batch):
        count = len(batch.query.x)
        return sum(one(theta, at(batch, b), b) for b in range(count)) / count

    return mean


def meta_gradient(theta, traces, key, batch, coefficients):
    whole = over_episodes(lambda th, episode, _: judged(th, episode, lived(th, episode, th["forward"])[0]))
    return descended(theta, lambda th: whole(th, batch))[:1] + (traces, whole(theta, batch))


def first_order(theta, traces, key, batch, coefficients):
    held = [lived(theta, at(batch, b), theta["forward"])[1] for b in range(len(batch.query.x))]

    def one(th, episode, b):
        return judged(th, episode, jax.tree.map(lambda w, r, g: w - r * g, th["forward"], th["rate"], held[b]))

    mean = over_episodes(one)
    after, loss = descended(theta, lambda th: mean(th, batch))
    return after, traces, loss


def truncated(theta, traces, key, batch, coefficients):
    def entering(th, b):
        born = traces.lived % WINDOWS == 0
        return th["forward"] if born else at(traces.inner.params["forward"], b)

    mean = over_episodes(lambda th, episode, b: judged(th, episode, lived(th, episode, entering(th, b))[0]))
    after, loss = descended(theta, lambda th: mean(th, batch))
    ends = [lived(theta, at(batch, b), entering(theta, b))[0] for b in range(len(batch.query.x))]
    steps = len(batch.support.x[0])
    inner = traces.inner._replace(
        params={**traces.inner.params, "forward": jax.tree.map(lambda *leaves: np.stack(leaves), *ends)},
        step=(np.zeros_like(traces.inner.step) if traces.lived % WINDOWS == 0 else traces.inner.step) + np.int32(steps),
    )
    return after, traces._replace(inner=inner, lived=traces.lived + np.int32(1)), loss


def quadratic(theta, episode, weights, rate):
    """Loss and final weights of a life of the linear unit, targets shifted."""
    batches = [(x, y - theta["offset"]) for x, y in zip(*episode.support[:2], strict=True)]
    weights = live(weights, jax.tree.map(lambda _: rate, weights), batches, LINEAR)[0]
    return loss_of(weights, episode.query.x, episode.query.y - theta["offset"], LINEAR), weights


def drawn(key, theta):
    """The pairs' normals: a key for each leaf."""
    leaves, treedef = jax.tree.flatten(theta)
    keys = jax.random.split(jax.random.split(key)[0], len(leaves))
    units = [jax.random.normal(k, (PAIRS, *leaf.shape), leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return [jax.tree.unflatten(treedef, [np.asarray(unit[p]) for unit in units]) for p in range(PAIRS)]


def estimated(theta, losses, noise, sigma):
    """theta after a step against the estimate."""
    for p in range(PAIRS):
        slope = (losses[p, 0] - losses[p, 1]) / (2 * sigma)
        theta = jax.tree.map(lambda leaf, u, slope=slope: leaf - slope * u / PAIRS, theta, noise[p])
    return theta


def perturbed(theta, unit, sigma):
    return [jax.tree.map(lambda leaf, u, s=s: leaf + s * sigma * u, theta, unit) for s in (1, -1)]


def es(theta, traces, key, batch, c):
    units = drawn(key, theta)
    mean = over_episodes(lambda th, episode, _: quadratic(th, episode, th["forward"], c["rate"])[0])
    losses = np.array([[mean(th, batch) for th in perturbed(theta, unit, c["sigma"])] for unit in units])
    return estimated(theta, losses, units, c["sigma"]), traces, losses.mean()


def pes(theta, traces, key, batch, c):
    units = drawn(key, theta)
    born = traces.lived % WINDOWS == 0
    episodes = len(batch.query.x)
    losses = np.zeros((PAIRS, 2))
    ends = jax.tree.map(np.array, traces.inner.params["forward"])
    for p in range(PAIRS):
        for s, th in enumerate(perturbed(theta, units[p], c["sigma"])):
            for b in range(episodes):
                entering = th["forward"] if born else at(traces.inner.params["forward"], (p, s, b))
                loss, end = quadratic(th, at(batch, b), entering, c["rate"])
                losses[p, s] += loss / episodes
                jax.tree.map(lambda all_of, one, where=(p, s, b): all_of.__setitem__(where, one), ends, end)
    new = jax.tree.map(lambda *leaves: np.stack(leaves), *units)
    total = new if born else jax.tree.map(np.add, traces.total, new)
    steps = (0 * traces.inner.step if born else traces.inner.step) + np.int32(len(batch.support.x[0]))
    inner = traces.inner._replace(params={**traces.inner.params, "forward": ends}, step=steps)
    after = estimated(theta, losses, [at(total, p) for p in range(PAIRS)], c["sigma"])
    return after, traces._replace(inner=inner, total=total, lived=traces.lived + np.int32(1)), losses.mean()


TEXTBOOK = {
    "meta_gradient": meta_gradient,
    "first_order": first_order,
    "truncated": truncated,
    "es": es,
    "pes": pes,
}
