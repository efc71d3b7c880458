"""L7 for the generative family: one step of each rule in plain NumPy, one synapse at a time.

Equations 42 to 48 of Bredenberg et al. (2021), with printing errors corrected: a synapse of layer l reads
its own layer's sigma and slope, and the transitions' presynaptic factor is r_{t-1}. Scores are times sigma^2.
"""

from types import SimpleNamespace

import jax
import numpy as np

from plasticity_jax.networks.two_stream import draw
from tests.oracles import generative as oracle


def network(coefficients, depth, **given):
    """The fixed properties; without coefficients every sigma is 0.3."""
    sigmas = {name: (coefficients.get(name, 0.3),) * (depth + 1) for name in ("sigma_inf", "sigma_gen")}
    options = {"activation": "tanh", "output": "identity", "noise": "gaussian", **given}
    net = SimpleNamespace(**sigmas, **options)
    net.noise_of = lambda layer: "gaussian" if layer == 0 else net.noise
    return net


def numbers(net, params, key, streams):
    """The step's random numbers, by layer; a Poisson layer has a function of its rates."""
    down = params["generation"]["w"]
    sizes = (down[0].shape[0], *(w.shape[1] for w in down))

    def counts(key):
        return lambda rate: np.asarray(jax.random.poisson(key, rate, rate.shape))

    drawn = draw(SimpleNamespace(**vars(net), sizes=sizes), key, streams, np.dtype(np.float64))
    return [
        counts(each) if jax.dtypes.issubdtype(each.dtype, jax.dtypes.prng_key) else np.asarray(each) for each in drawn
    ]


def alternate(period):
    def step(count, key):
        return count < period, np.int32((count + 1) % (2 * period))

    return step


def coin(period):
    """A fair coin at the start of each phase, from a 24-bit number of its own key."""

    def step(state, key):
        count, wake = state
        word = int(jax.random.bits(jax.random.fold_in(key, 1 << 16), (1,), np.uint32)[0])
        wake = (word >> 8) < (1 << 23) if count == 0 else bool(wake)
        return wake, (np.int32((count + 1) % period), np.asarray(wake))

    return step


def walk_on(net, params, walk, key, batch, schedule):
    wake, state = schedule(walk.schedule, key)
    onset = bool(wake and not walk.wake)
    now = oracle.step(net, params, wake, onset, walk.x[-1], batch.x, numbers(net, params, key, len(batch.x)))
    return now, bool(wake), onset, walk._replace(x=tuple(now.x), wake=np.asarray(wake), schedule=state)


def error(net, layer, x, mean):
    """sigma^2 times the derivative of one neuron's log density by its mean."""
    if net.noise_of(layer) == "gaussian":
        return x - mean
    return x / (mean + 0.01) - 1 if mean > 0 else 0.0


def log_q_slope(net, params, now, b):
    """dlog q / dW_l^{ij} and dlog q / da_l^i of one stream; generation gets zeros. Equations 42 to 44."""
    zeros = jax.tree.map(np.zeros_like, params)
    for layer, w in enumerate(zeros["inference"]["w"], 1):
        for i in range(w.shape[0]):
            x, mean = now.x[layer][b, i], now.inferred[layer][b, i]
            local = error(net, layer, x, mean) * now.inferred_slope[layer - 1][b, i]
            for j in range(w.shape[1]):
                w[i, j] = local * now.x[layer - 1][b, j]
            if layer < len(now.x) - 1:
                zeros["inference"]["bias"][layer - 1][i] = local
    return zeros


def log_p_slope(net, params, now, b, onset, top_tm1):
    """dlog p_m / dD_l^{ij}, db_l^i and dD^ii of one stream; inference gets zeros. Equations 45 to 48."""
    zeros = jax.tree.map(np.zeros_like, params)
    for layer, d in enumerate(zeros["generation"]["w"]):
        for i in range(d.shape[0]):
            x, mean = now.x[layer][b, i], now.generated[layer][b, i]
            local = error(net, layer, x, mean) * now.generated_slope[layer][b, i]
            for j in range(d.shape[1]):
                d[i, j] = local * now.x[layer + 1][b, j]
            if layer > 0:
                zeros["generation"]["bias"][layer - 1][i] = local
    top = len(now.x) - 1
    for i, r_tm1 in enumerate(top_tm1[b]):
        if not onset:
            r, predicted = now.x[top][b, i], params["generation"]["transition"][i] * r_tm1
            zeros["generation"]["transition"][i] = error(net, top, r, predicted) * r_tm1
    return zeros


def mean_of(trees):
    return jax.tree.map(lambda *leaves: np.mean(leaves, 0), *trees)


def stepped(params, changes):
    return jax.tree.map(np.add, params, changes)


def impression_changes(net, params, walk, key, batch, schedule):
    now, wake, onset, after = walk_on(net, params, walk, key, batch, schedule)
    each = [
        log_p_slope(net, params, now, b, onset, walk.x[-1]) if wake else log_q_slope(net, params, now, b)
        for b in range(len(batch.x))
    ]
    loss = np.mean(now.log_q - now.log_p) * (1 if wake else -1)
    return mean_of(each), after, loss


def impression(schedule, **given):
    def one_step(params, traces, key, batch, coefficients):
        net = network(coefficients, len(params["inference"]["w"]), **given)
        changes, walk, loss = impression_changes(net, params, traces.path, key, batch, schedule)
        return stepped(params, changes), traces._replace(path=walk), loss

    return one_step


def once_a_phase(period):
    def one_step(params, traces, key, batch, coefficients):
        net = network(coefficients, 1)
        changes, walk, loss = impression_changes(net, params, traces.stepwise.path, key, batch, alternate(period))
        total = jax.tree.map(lambda so_far, change: so_far - change, traces.total, changes)  # gradient-signed
        steps = traces.steps + 1
        if steps == period:
            params = jax.tree.map(lambda leaf, by: leaf - by / period, params, total)
            total, steps = jax.tree.map(np.zeros_like, total), 0
        stepwise = traces.stepwise._replace(path=walk)
        return params, traces._replace(stepwise=stepwise, total=total, steps=np.int32(steps)), loss

    return one_step


def neural_variational(params, traces, key, batch, coefficients):
    """Equations 6 to 8, with the baseline of the step before and a trial of four steps."""
    net = network(coefficients, 1)
    now, wake, onset, walk = walk_on(net, params, traces.path, key, batch, alternate(2))
    keep = 0.0 if traces.steps == 0 else coefficients["gamma_g"]
    each, eligibilities, baselines = [], [], []
    for b in range(len(batch.x)):
        q, p = log_q_slope(net, params, now, b), log_p_slope(net, params, now, b, onset, traces.path.x[-1])
        sampled, other = (q, p) if wake else (p, q)
        ratio = (now.log_p[b] - now.log_q[b]) * (1 if wake else -1)  # log p~ / q~
        g = jax.tree.map(lambda old, new, b=b: keep * old[b] + new, traces.eligibility, sampled)
        third = ratio - traces.baseline[b]
        each.append(jax.tree.map(lambda a, g, third=third: a + third * g, other, g))
        eligibilities.append(g)
        share = coefficients["gamma_baseline"]
        baselines.append(share * ratio + (1 - share) * traces.baseline[b])
    after = traces._replace(
        path=walk,
        eligibility=jax.tree.map(lambda *leaves: np.stack(leaves), *eligibilities),
        baseline=np.array(baselines),
        steps=np.int32((traces.steps + 1) % 4),
    )
    loss = np.mean(now.log_q - now.log_p) * (1 if wake else -1)
    return stepped(params, mean_of(each)), after, loss


def reparameterised(params, traces, key, batch, coefficients):
    """Equation 9 through this step and the last, weight by weight a complex step; times the weight's own sigma^2."""
    net = network(coefficients, len(params["inference"]["w"]))
    z_tm1, before, any_before = traces.last
    present = numbers(net, params, key, len(batch.x))

    def energy(params):
        top = traces.top
        if any_before:
            top = oracle.step(net, params, True, False, top, z_tm1, before).x[-1]
        return oracle.step(net, params, True, False, top, batch.x, present)

    def loss(params):
        now = energy(params)
        return np.mean(now.log_q - now.log_p)

    gradient, now = oracle.derivative(loss, params), energy(params)
    scale = {"inference": coefficients["sigma_inf"] ** 2, "generation": coefficients["sigma_gen"] ** 2}
    after = {
        group: jax.tree.map(lambda leaf, by, s=scale[group]: leaf - s * by, params[group], gradient[group])
        for group in params
    }
    last = (batch.x, tuple(present), np.asarray(True))
    return after, traces._replace(top=now.x[-1], last=last), np.mean(now.log_q - now.log_p)


TEXTBOOK = {
    "impression": impression(alternate(2)),
    "impression_deep": impression(alternate(3), output="tanh"),
    "impression_poisson": impression(alternate(2), noise="poisson", activation="sigmoid"),
    "wake_sleep": impression(coin(4)),
    "wake_sleep_coordinatewise": once_a_phase(2),
    "neural_variational": neural_variational,
    "reparameterised": reparameterised,
}
