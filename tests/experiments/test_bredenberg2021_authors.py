"""The rules of the authors' code: transcribed in NumPy, step by step, and what they do to the loss."""

from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bredenberg2021.authors import impression_at_rest_on_waking, published_nvi
from plasticity_jax.rules import generative
from tests.laws import classes_generative as laws
from tests.oracles import generative as oracle
from tests.rules.test_generative import close, variances


def test_hidden_weights_rest_on_waking():
    """D_1 and b beside the transition; the output's weights, and all others, learn as ever."""
    w = laws.world(2)
    got, all_learn = (laws.hold(rule(w.net), w)[0] for rule in (impression_at_rest_on_waking, generative.impression))
    onset = np.array([t % 4 == 0 and t > 0 for t in range(laws.STEPS)])
    want = jax.tree.map(np.array, all_learn)
    assert all(np.abs(want["generation"][name][-1][onset]).max() > 1e-3 for name in ("w", "bias"))
    for name in ("w", "bias"):
        want["generation"][name][-1][onset] = 0
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_the_published_code_is_transcribed():
    """+(loss - average) trace, of a loss -2 log p~/q~; awake, of neurons, sum (r - f) for sum (r - f)^2."""
    w = laws.world(2, "tanh")
    gamma_g, gamma_l = 0.8, 0.1
    got = laws.hold(published_nvi(w.net, gamma_g=gamma_g, gamma_baseline=gamma_l), w)[0]
    steps = oracle.walk(w.net, laws.numpy_of(w.params), np.asarray(w.z), laws.HALF, w.innovations)
    average, logged = np.zeros(laws.STREAMS), []
    for awake, now in zip(laws.HALF, steps, strict=True):
        loss = np.zeros(laws.STREAMS)
        for layer, x in enumerate(now.x):
            from_q = x - now.inferred[layer]
            from_q = from_q if awake and layer > 0 else from_q**2
            of_p, of_q = (
                (x - now.generated[layer]) ** 2 / w.net.sigma_gen[layer] ** 2,
                from_q / w.net.sigma_inf[layer] ** 2,
            )
            loss += np.sum(of_p - of_q, 1) if awake else np.sum(of_q - of_p, 1)
        average = gamma_l * loss + (1 - gamma_l) * average
        logged.append(loss - average)
    streams = []
    for b in range(laws.STREAMS):
        x = tuple(jnp.array([now.x[layer][b : b + 1] for now in steps]) for layer in range(3))
        top_tm1 = jnp.concatenate([jnp.zeros_like(x[-1][:1]), x[-1][:-1]])
        other, sampled = (laws.scored_at(w, laws.HALF, x, top_tm1, swap=swap) for swap in (False, True))
        trace, changes = jax.tree.map(lambda leaf: np.zeros_like(leaf[0]), sampled), []
        for t in range(laws.STEPS):
            trace = jax.tree.map(lambda g, minus, t=t: gamma_g * g - minus[t], trace, sampled)
            changes.append(jax.tree.map(lambda a, g, t=t, b=b: a[t] - logged[t][b] * g, other, trace))
        streams.append(jax.tree.map(lambda *leaves: np.stack(leaves), *changes))
    means = jax.tree.map(lambda *leaves: np.mean(leaves, 0), *streams)
    close(got, jax.tree.map(lambda leaf, variance: variance * leaf, means, variances(w.net)))


def test_the_published_second_term_climbs():
    """Against the true one, by quadrature: the mean inner product is negative, at z < -5 (a false alarm of 3e-7)."""
    first = laws.trials(generative.impression(laws.ONE_NET, precondition=False))
    published = laws.trials(published_nvi(laws.ONE_NET, gamma_g=1.0, gamma_baseline=0.0))
    published = jax.tree.map(lambda leaf, variance: leaf / variance, published, variances(laws.ONE_NET))
    true = laws.one_neuron_gradient(laws.ONE_NET, laws.numpy_of(laws.one_neuron()), laws.ONE_Z)
    second = jax.tree.map(lambda all_of_it, a: all_of_it - np.mean(a, 0), true, first)
    products = sum(
        np.sum(np.asarray(p - a) * s, axis=tuple(range(1, p.ndim)))
        for p, a, s in zip(*map(jax.tree.leaves, (published, first, second)), strict=True)
    )
    z = products.mean() / (products.std() / len(products) ** 0.5)
    assert z < NormalDist().inv_cdf(3e-7)
