"""Rules of the authors' code, compared with a NumPy transcription step by step, and their effect on the loss."""

from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bredenberg2021.authors import (
    OTHER_STREAM,
    impression_at_rest_on_waking,
    impression_with_slow_layer,
    published_nvi,
)
from plasticity_jax.networks.two_stream import draw
from plasticity_jax.rules import generative
from tests.laws import classes_generative as laws
from tests.rules.test_generative import close, variances


def test_hidden_weights_rest_on_waking():
    """D_1 and b rest like the transition, or learn at a share of the rate; all other weights learn as usual."""
    w = laws.world(2)
    rules = (impression_at_rest_on_waking, generative.impression, lambda net: impression_with_slow_layer(net, 0.3))
    at_rest, all_learn, slow = (laws.hold(rule(w.net), w)[0] for rule in rules)
    onset = np.array([t % 4 == 0 and t > 0 for t in range(laws.STEPS)])
    expected = jax.tree.map(np.array, all_learn)
    assert all(np.abs(expected["generation"][name][-1][onset]).max() > 1e-3 for name in ("w", "bias"))
    for name in ("w", "bias"):
        expected["generation"][name][-1][onset] = 0
    jax.tree.map(np.testing.assert_array_equal, at_rest, expected)
    expected = jax.tree.map(np.array, all_learn)
    for name in ("w", "bias"):
        expected["generation"][name][-1][...] *= 0.3
    close(slow, expected)


def published_by_hand(w, gamma_g, gamma_l):
    """Changes of the weights in the authors' code at each step, over its rate, by loops over streams and steps."""
    (w1, w2), (a,) = w.params["inference"]["w"], w.params["inference"]["bias"]
    (d0, d1), (b,) = w.params["generation"]["w"], w.params["generation"]["bias"]
    w1, w2, a, d0, d1, b, d2 = map(np.asarray, (w1, w2, a, d0, d1, b, w.params["generation"]["transition"]))
    (q0, q1, q2), (p0, p1, p2) = w.net.sigma_inf, w.net.sigma_gen
    z, dtype = np.asarray(w.z), jnp.dtype(jnp.float64)
    others = [
        draw(w.net, jax.random.fold_in(laws.key(t), OTHER_STREAM), laws.STREAMS, dtype) for t in range(laws.STEPS)
    ]
    changes_by_stream = []
    for i in range(laws.STREAMS):
        r1, r2, average, before = np.zeros(len(w1)), np.zeros(len(w2)), 0.0, True
        trace = dict.fromkeys(("w1", "w2", "a", "d0", "d1", "b", "d2"), 0.0)
        changes = []
        for t, awake in enumerate(laws.HALF):
            xi, eta1, eta2 = (np.asarray(noise)[i] for noise in w.innovations[t])
            waking, r1_before, r2_before = awake and not before, r1, r2
            if awake:
                s = z[t, i] + q0 * xi
                r1_inferred = r1 = np.tanh(w1 @ s + a) + q1 * eta1
                r2_inferred = r2 = np.tanh(w2 @ r1) + q2 * eta2
            else:
                r2 = d2 * r2_before + p2 * eta2
                r1 = np.tanh(d1 @ r2 + b) + p1 * eta1
                s = d0 @ r1 + p0 * xi
                noise = [np.asarray(each)[i] for each in others[t]]
                r1_inferred = np.tanh(w1 @ (z[t, i] + q0 * noise[0]) + a) + q1 * noise[1]
                r2_inferred = np.tanh(w2 @ r1_inferred) + q2 * noise[2]
            f1, f2, g1 = np.tanh(w1 @ s + a), np.tanh(w2 @ r1), np.tanh(d1 @ r2 + b)
            hidden_mean = np.tanh(d1 @ r2_inferred + b)
            rest = 0.0 if waking else 1.0
            score = {
                "w1": np.outer((r1 - f1) * (1 - f1**2), s),
                "a": (r1 - f1) * (1 - f1**2),
                "w2": np.outer((r2 - f2) * (1 - f2**2), r1),
                "d0": np.outer(z[t, i] - d0 @ r1_inferred, r1_inferred),
                "d1": rest * np.outer((r1_inferred - hidden_mean) * (1 - hidden_mean**2), r2_inferred),
                "b": rest * (r1_inferred - hidden_mean) * (1 - hidden_mean**2),
                "d2": rest * (r2 - d2 * r2_before) * r2_before,
            }
            if awake:
                loss = ((s - d0 @ r1) ** 2).sum() / p0**2 - ((s - z[t, i]) ** 2).sum() / q0**2
                loss += ((r1 - (r1_before if waking else g1)) ** 2).sum() / p1**2 - (r1 - f1).sum() / q1**2
                loss += ((r2 - (r2_before if waking else d2 * r2_before)) ** 2).sum() / p2**2
                loss -= (r2 - f2).sum() / q2**2
            else:
                loss = ((s - z[t, i]) ** 2).sum() / q0**2 - ((s - d0 @ r1) ** 2).sum() / p0**2
                loss += ((r1 - f1) ** 2).sum() / q1**2 - ((r1 - g1) ** 2).sum() / p1**2
                loss += ((r2 - f2) ** 2).sum() / q2**2 - ((r2 - d2 * r2_before) ** 2).sum() / p2**2
            average = (1 - gamma_l) * average + gamma_l * loss
            step = {}
            for name, value in score.items():
                sampled = awake if name in ("w1", "w2", "a") else not awake
                trace[name] = gamma_g * trace[name] + (value if sampled else 0)
                step[name] = (0 if sampled else value) + (loss - average) * trace[name]
            changes.append(step)
            before = awake
        changes_by_stream.append(changes)
    mean = {
        name: np.array([np.mean([changes[t][name] for changes in changes_by_stream], 0) for t in range(laws.STEPS)])
        for name in changes_by_stream[0][0]
    }
    return {
        "inference": {"w": (mean["w1"], mean["w2"]), "bias": (mean["a"],)},
        "generation": {"w": (mean["d0"], mean["d1"]), "bias": (mean["b"],), "transition": mean["d2"]},
    }


def test_the_published_code_is_transcribed():
    """Checks the sign, the losses and averages, learning of generation asleep, and rest at onsets."""
    w = laws.world(2)
    updates = laws.hold(published_nvi(w.net, gamma_g=0.8, gamma_baseline=0.1), w)[0]
    added = published_by_hand(w, 0.8, 0.1)
    close(updates, jax.tree.map(np.negative, added))


def test_the_published_second_term_climbs():
    """Inner product with the true term by quadrature, for W and the transition, which the code scores by the sample.

    The mean inner product is negative, at z < -5 (a false alarm rate of 3e-7).
    """
    first = laws.trials(generative.impression(laws.ONE_NET, precondition=False))
    published = laws.trials(published_nvi(laws.ONE_NET, gamma_g=1.0, gamma_baseline=0.0))
    published = jax.tree.map(lambda leaf, variance: leaf / variance, published, variances(laws.ONE_NET))
    true = laws.one_neuron_gradient(laws.ONE_NET, laws.numpy_of(laws.one_neuron()), laws.ONE_Z)
    second = jax.tree.map(lambda all_of_it, a: all_of_it - np.mean(a, 0), true, first)

    def scored(tree):
        return [tree["inference"]["w"][0], tree["generation"]["transition"]]

    products = sum(
        np.sum(np.asarray(p - a) * s, axis=tuple(range(1, p.ndim)))
        for p, a, s in zip(*map(scored, (published, first, second)), strict=True)
    )
    z = products.mean() / (products.std() / len(products) ** 0.5)
    assert z < NormalDist().inv_cdf(3e-7)
