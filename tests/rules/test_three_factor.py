"""Three-factor rules: NumPy loops with trials and padding, means by z-tests, rewards in the batch, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.cells import alif, init_params, leaky
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.ops.noise import noise_of_shapes
from plasticity_jax.rules import recurrent_three_factor, three_factor
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.rules import test_hebbian_chain as chains
from tests.rules.helpers import close, differ
from tests.rules.test_weight_perturbation import equal_on_average

KEY = jax.random.key(0)
STEPS, B = 8, 3
SIGMA, DECAY, BASELINE, AVERAGE, ALPHA = 0.3, 0.7, 0.2, 0.4, 0.05
START = np.zeros((STEPS, B), bool)
START[3, 0] = START[[2, 5], 1] = True
WEIGHT = np.ones((STEPS, B))
WEIGHT[:, 2] = [1, 0, 2, 0, 0, 1, 1, 0.5]
NET = mlp((3, 4, 2), ["tanh", "identity"])
CELL = leaky(2, 4, 2, alpha=0.4, loss="squared")


def half_square(z, y):
    return 0.5 * np.sum((z - y) ** 2)


class Average:
    """The weighted mean of past values, with fading weights."""

    def __init__(self, rate):
        self.rate, self.values, self.weights = rate, [], []

    def add(self, values, weights):
        """Adds the values of a step of all streams."""
        self.values.append(np.asarray(values))
        self.weights.append(np.asarray(weights) / len(weights))

    def __call__(self):
        if np.sum(self.weights) == 0:
            return None
        fading = (1 - self.rate) ** np.arange(len(self.weights))[::-1]
        weights = fading[:, None] * np.array(self.weights)
        return np.tensordot(weights, np.array(self.values), 2) / weights.sum()


def chain_given():
    rng = np.random.default_rng(1)
    w = rng.standard_normal((4, 3)), rng.standard_normal((2, 4))
    bias = rng.standard_normal(4) / 4, rng.standard_normal(2) / 4
    x, y = rng.standard_normal((STEPS, B, 3)), rng.standard_normal((STEPS, B, 2))
    return w, bias, Example(x, y, START, WEIGHT)


def chain_by_hand(post, start):
    """The weights after every step, one stream at a time, in plain NumPy."""
    w, bias, examples = chain_given()
    w, path = [np.array(each) for each in w], []
    e = [np.zeros((B, *each.shape)) for each in w]
    lost, usual = Average(BASELINE), [Average(AVERAGE), Average(AVERAGE)]
    for t in range(STEPS):
        drawn = noise_of_shapes(jax.random.fold_in(KEY, t), [(B, 4), (B, 2)], np.dtype(np.float64), "gaussian")
        xi = [np.asarray(each) for each in drawn]
        h = [
            [x, h1 := np.tanh(w[0] @ x + bias[0] + SIGMA * xi[0][b]), w[1] @ h1 + bias[1] + SIGMA * xi[1][b]]
            for b, x in enumerate(examples.x[t])
        ]
        loss = [half_square(h[b][2], examples.y[t, b]) for b in range(B)]
        third = [0 if lost() is None else WEIGHT[t, b] * (lost() - loss[b]) for b in range(B)]
        change = [np.zeros_like(each) for each in w]
        for i in range(2):
            for b in range(B):
                expected = usual[i]()
                beyond = 0 * h[b][i + 1] if expected is None else h[b][i + 1] - expected
                factor = xi[i][b] / SIGMA if post == "noise" else beyond
                e[i][b] = (0 if start[t, b] else DECAY) * e[i][b] + np.outer(factor, h[b][i])
                change[i] += third[b] * e[i][b] / B
        for i in range(2):
            w[i] = w[i] + ALPHA * change[i]
            usual[i].add([h[b][i + 1] for b in range(B)], WEIGHT[t])
        lost.add(loss, WEIGHT[t])
        path.append([*w])
    return [np.stack(each) for each in zip(*path, strict=True)]


def walk(rule, params, examples, tx=None):
    """The forward weights after every step of SGD at a rate of one, and the last traces."""
    tx = optax.sgd(1.0) if tx is None else tx

    def body(carry, at):
        params, traces = carry
        t, batch = at
        updates, traces, _ = rule.update(params, traces, jax.random.fold_in(KEY, t), batch)
        params = optax.apply_updates(params, tx.update(updates, tx.init(params))[0])
        return (params, traces), params["forward"]

    def run(params, examples):
        traces = rule.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], examples))
        (_, traces), forward = jax.lax.scan(body, (params, traces), (jnp.arange(len(examples.x)), examples))
        return forward, traces

    return compiled(run)(*jax.tree.map(jnp.asarray, (params, examples)))


@pytest.mark.parametrize("post", ["noise", "activity"])
def test_a_run_on_a_chain_equals_a_numpy_loop(post):
    w, bias, examples = chain_given()
    options = {"sigma": SIGMA, "decay": DECAY, "post": post, "baseline": BASELINE, "average": AVERAGE}
    path, _ = walk(three_factor(NET, alpha=ALPHA, **options), {"forward": {"w": w, "bias": bias}}, examples)
    expected, blind = chain_by_hand(post, START), chain_by_hand(post, 0 * START)
    for i in range(2):
        close(path["w"][i], expected[i], 1e-12)
        differ(expected[i] - w[i], blind[i] - w[i], 0.02)  # starts matter
    np.testing.assert_array_equal(path["bias"][0][-1], bias[0])


def cell_given():
    rng = np.random.default_rng(2)
    w = np.concatenate([0.8 * np.linalg.qr(rng.standard_normal((4, 4)))[0], rng.standard_normal((4, 3))], 1)
    x, y = rng.standard_normal((STEPS, B, 2)), rng.standard_normal((STEPS, B, 2))
    return {"forward": {"w": w[None], "w_out": rng.standard_normal((2, 5)) / 2}}, Example(x, y, START, WEIGHT)


def cell_by_hand(post):
    """The weights and the readout after every step of the leaky network and its rule, in plain NumPy."""
    params, examples = cell_given()
    w, w_out, path = params["forward"]["w"][0], params["forward"]["w_out"], []
    s, e, lost, usual = np.zeros((B, 4)), np.zeros((B, 4, 7)), Average(BASELINE), Average(AVERAGE)
    for t in range(STEPS):
        keys = jax.random.split(jax.random.fold_in(KEY, t), B)
        change, change_out, loss, expected, mean_activity = np.zeros_like(w), np.zeros_like(w_out), [], lost(), usual()
        for b in range(B):
            xi = np.asarray(jax.random.normal(jax.random.split(keys[b])[1], (4,), np.float64))
            before = 0 * s[b] if START[t, b] else s[b]
            rhat = np.concatenate([before, examples.x[t, b], [1.0]])
            s[b] = 0.6 * before + 0.4 * np.tanh(w @ rhat + SIGMA * xi)
            z = w_out @ np.append(s[b], 1.0)
            loss.append(half_square(z, examples.y[t, b]))
            factor = xi / SIGMA if post == "noise" else 0 * xi if mean_activity is None else s[b] - mean_activity
            e[b] = (0 if START[t, b] else DECAY) * e[b] + np.outer(factor, rhat)
            change += 0 if expected is None else WEIGHT[t, b] * (expected - loss[b]) * e[b] / B
            change_out -= WEIGHT[t, b] * np.outer(z - examples.y[t, b], np.append(s[b], 1.0)) / B
        lost.add(loss, WEIGHT[t])
        usual.add(s.copy(), WEIGHT[t])
        w, w_out = w + 0.1 * change, w_out + 0.1 * change_out
        path.append((w, w_out))
    return [np.stack(each) for each in zip(*path, strict=True)]


@pytest.mark.parametrize("post", ["noise", "activity"])
def test_a_run_on_a_cell_equals_a_numpy_loop(post):
    params, examples = cell_given()
    options = {"sigma": SIGMA, "decay": DECAY, "post": post, "baseline": BASELINE, "average": AVERAGE}
    rule = recurrent_three_factor(CELL, **options)
    path, _ = walk(rule, params, examples, optax.sgd(0.1))
    w, w_out = cell_by_hand(post)
    close(path["w"][:, 0], w, 1e-12)
    close(path["w_out"], w_out, 1e-12)
    differ(w[-1], params["forward"]["w"][0], 0.02)
    blind = walk(rule, params, examples._replace(start=None), optax.sgd(0.1))[0]
    differ(blind["w"][-1] - params["forward"]["w"], path["w"][-1] - params["forward"]["w"], 0.1)


# Means.


@pytest.mark.parametrize("streams", [1, 2])
def test_a_baseline_takes_credit_from_noise_that_is_eligible(streams):
    """The mean is 1 - (1/B) baseline decay / (1 - (1 - baseline) decay) of the gradient, if losses come at once."""
    left = 1 - BASELINE * DECAY / (1 - (1 - BASELINE) * DECAY) / streams
    net, x, y = mlp((2, 2), ["identity"]), np.array([0.8, -0.5]), np.array([0.4, -0.2])
    w = np.array([[0.3, -0.4], [0.6, 0.2]])
    params = {"forward": {"w": (jnp.asarray(w),), "bias": (jnp.zeros(2),)}}
    batch = Example(jnp.tile(x, (streams, 1)), jnp.tile(y, (streams, 1)))
    rule = three_factor(net, alpha=1.0, sigma=SIGMA, decay=DECAY, baseline=BASELINE)

    def last(key):
        def body(traces, key):
            updates, traces, _ = rule.update(params, traces, key, batch)
            return traces, updates["forward"]["w"][0]

        return jax.lax.scan(body, rule.init(params, key, batch), jax.random.split(key, 30))[1][-1]

    samples = compiled(jax.vmap(last))(jax.random.split(jax.random.key(5), 60_000))
    assert left < 0.85
    equal_on_average(samples, left * np.outer(w @ x - y, x))


def linear_loss(w, w_out, x, y, sigma, alpha):
    """E L^T of a linear leaky network with noise in its drive: its mean's loss, and the variance of its output."""
    n = len(w)
    move = (1 - alpha) * jnp.eye(n) + alpha * w[:, :n]
    mean, covariance = jnp.zeros(n), jnp.zeros((n, n))
    for x_t in x:
        mean = (1 - alpha) * mean + alpha * w @ jnp.concatenate([mean, x_t, jnp.ones(1)])
        covariance = move @ covariance @ move.T + (alpha * sigma) ** 2 * jnp.eye(n)
    plain = 0.5 * jnp.sum((w_out @ jnp.append(mean, 1.0) - y) ** 2)
    return plain + 0.5 * jnp.trace(w_out[:, :n] @ covariance @ w_out[:, :n].T)


def test_with_all_of_a_trial_eligible_it_is_the_gradient_through_time():
    """REINFORCE on a linear network with its expected loss in closed form: the loss of step 3 by all three steps.

    A rule without a trace has the last step's credit only, and fails the test.
    """
    alpha, n, x = 0.6, 2, np.array([[0.9, -0.4], [0.5, 0.7], [-0.6, 0.3]])
    y, rng = np.array([0.4, 1.1]), np.random.default_rng(4)
    w, w_out = 0.6 * rng.standard_normal((n, 5)), rng.standard_normal((2, 3))
    params = {"forward": {"w": jnp.asarray(w)[None], "w_out": jnp.asarray(w_out)}}
    cell = leaky(2, n, 2, alpha=alpha, loss="squared", activation=lambda v: v)

    def estimates(decay):
        rule = recurrent_three_factor(cell, sigma=SIGMA, decay=decay, baseline=None)

        def last(key):
            traces = rule.init(params, key, Example(x[:1], y[None]))
            for t, key_t in enumerate(jax.random.split(key, len(x))):
                updates, traces, _ = rule.update(params, traces, key_t, Example(x[t : t + 1], y[None]))
            return updates["forward"]["w"][0]

        return compiled(jax.vmap(last))(jax.random.split(jax.random.key(6), 100_000))

    expected = jax.grad(linear_loss)(jnp.asarray(w), w_out, jnp.asarray(x), y, SIGMA, alpha)
    equal_on_average(estimates(1.0), expected)
    with pytest.raises(AssertionError):
        equal_on_average(estimates(0.0), expected)


# Rewards in the batch.


def reward(output, given):
    return -given


def test_a_reward_of_the_batch_is_the_third_factor_on_a_chain():
    """The change without a baseline is the reward times the eligibility; without a reward there is none."""
    net = mlp((3, 4, 2), ["tanh", "identity"], loss=reward)
    w, bias, examples = chain_given()
    params, x = {"forward": {"w": w, "bias": bias}}, examples.x[0]
    rule = three_factor(net, alpha=1.0, decay=0.5, baseline=None)
    traces = rule.init(params, KEY, Example(x, np.zeros(B)))
    update = compiled(rule.update)
    for t in range(2):  # nothing comes
        updates, traces, info = update(params, traces, jax.random.fold_in(KEY, t), Example(x, np.zeros(B)))
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates))
    late = np.array([2.0, 0.0, -1.0])
    updates, after, info = update(params, traces, jax.random.fold_in(KEY, 2), Example(x, late))
    for i in range(2):
        close(-updates["forward"]["w"][i], np.tensordot(late, after.eligibility[i], 1) / B, 1e-13)
        differ(after.eligibility[i], after.eligibility[i] - 0.5 * traces.eligibility[i], 0.1)  # earlier losses count
    close(info.loss, -late.mean(), 1e-14)


def test_a_reward_of_the_batch_is_the_third_factor_on_spikes():
    """The error is unknown, so the readout and the neurons' own parameters do not move."""
    cell = alif(2, 5, 2, loss=reward, learn=("threshold",))
    params, rng = init_params(KEY, cell, jnp.float64), np.random.default_rng(3)
    rule = recurrent_three_factor(cell, baseline=None)
    x, late = rng.standard_normal((B, 2)), np.array([2.0, 0.0, -1.0])
    traces = rule.init(params, KEY, Example(x, late))
    update = compiled(rule.update)
    for t in range(3):
        updates, traces, _ = update(params, traces, jax.random.fold_in(KEY, t), Example(x, late))
    close(-updates["forward"]["w"], np.tensordot(late, traces.own.eligibility, 1) / B, 1e-13)
    assert np.abs(updates["forward"]["w"]).max() > 0.1
    assert not np.any(updates["forward"]["w_out"])
    assert not np.any(updates["forward"]["own"]["threshold"])


def test_a_chain_learns_from_reward_alone_after_a_delay():
    """A reward one step later teaches which of two inputs was on; without a trace nothing is learned."""

    def good(output, y):
        return -y[0]

    net = mlp((2, 2), ["identity"], loss=good)
    params = {"forward": {"w": (jnp.zeros((2, 2)),), "bias": (jnp.zeros(2),)}}

    def right(decay):
        rule = three_factor(net, alpha=0.2, sigma=0.5, decay=decay, baseline=0.05)
        which = jax.random.bernoulli(jax.random.key(7), 0.5, (400, 40)).astype(int)

        def trial(carry, at):
            params, traces = carry
            key, which = at
            x = jax.nn.one_hot(which, 2)
            stimulus = Example(x, jnp.zeros((40, 1)), jnp.ones(40, bool), jnp.zeros(40))
            _, traces, info = rule.update(params, traces, jax.random.fold_in(key, 0), stimulus)
            hit = jnp.argmax(info.aux["output"], 1) == which
            reward = Example(0 * x, hit[:, None] * 1.0, jnp.zeros(40, bool), jnp.ones(40))
            updates, traces, _ = rule.update(params, traces, jax.random.fold_in(key, 1), reward)
            return (optax.apply_updates(params, jax.tree.map(jnp.negative, updates)), traces), jnp.mean(hit)

        first = Example(jnp.zeros((40, 2)), jnp.zeros((40, 1)), jnp.ones(40, bool), jnp.ones(40))
        start = params, rule.init(params, KEY, first)
        return compiled(lambda: jax.lax.scan(trial, start, (jax.random.split(KEY, 400), which))[1])()

    hits, blind = right(0.9), right(0.0)
    assert hits[:3].mean() < 0.65
    assert hits[-50:].mean() > 0.95
    assert blind[-50:].mean() < 0.65  # by chance half


# Dense layers on images, frozen layers, refusals.


def test_dense_layers_on_images_learn_as_they_would_alone():
    params, batch = chains.given("squared")
    of = functools.partial(three_factor, alpha=0.05, baseline=0.5)
    changes, losses = chains.run(of(chains.images()), params, batch)
    expected, expected_losses = chains.run(of(mlp((8, 5, 2), ("relu", "identity"))), *chains.alone(params, batch))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)
    assert not np.any(changes["forward"]["w"][0])
    for actual, change in zip(changes["forward"]["w"][1:], expected["forward"]["w"], strict=True):
        np.testing.assert_allclose(actual, change, rtol=0, atol=1e-13)
        assert np.abs(change).max() > 1e-3


def test_frozen_layers_have_no_noise():
    """No layer has noise at sigma = 0 with activity as the factor."""
    w, bias, examples = chain_given()
    params, batch = {"forward": {"w": w, "bias": bias}}, jax.tree.map(lambda leaf: leaf[0], examples)
    clean = np.tanh(batch.x @ w[0].T + bias[0])
    for rule, quiet in (
        (three_factor(NET, plastic=[1], sigma=0.1), False),
        (three_factor(NET, post="activity", sigma=0.0), True),
    ):
        info = rule.update(params, rule.init(params, KEY, batch), KEY, batch)[2]
        off = info.aux["output"] - (clean @ w[1].T + bias[1])
        assert np.allclose(off, 0, atol=1e-14) == quiet
    rule = three_factor(NET, plastic=[1], sigma=0.1)
    xi = noise_of_shapes(KEY, [(B, 2)], np.dtype(np.float64), "gaussian")[0]
    info = rule.update(params, rule.init(params, KEY, batch), KEY, batch)[2]
    close(info.aux["output"], clean @ w[1].T + bias[1] + 0.1 * xi, 1e-13)


@pytest.mark.parametrize(
    "make", [functools.partial(three_factor, NET), functools.partial(recurrent_three_factor, CELL)]
)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"post": "spikes"}, "post='spikes' is not known; use one of noise, activity"),
        ({"sigma": 0.0}, r"sigma=0 is outside \(0, inf\)"),
        ({"sigma": -1.0, "post": "activity"}, r"sigma=-1 is outside \[0, inf\)"),
        ({"decay": 1.1}, r"decay=1.1 is outside \[0, 1\]"),
        ({"baseline": 0.0}, r"baseline=0 is outside \(0, 1\]"),
        ({"average": 0.0}, r"average=0 is outside \(0, 1\]"),
    ],
)
def test_bad_options_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_streams_and_starts_that_do_not_fit_are_refused():
    w, bias, examples = chain_given()
    params, batch = {"forward": {"w": w, "bias": bias}}, jax.tree.map(lambda leaf: leaf[0], examples)
    rule = three_factor(NET, decay=0.5)
    traces = rule.init(params, KEY, batch)
    with pytest.raises(ValueError, match="B=2 streams, but the traces were made for 3"):
        rule.update(params, traces, KEY, jax.tree.map(lambda leaf: leaf[:2], batch))
    with pytest.raises(AssertionError, match=r"batch\.start must be \(B,\) = \(3,\)"):
        rule.update(params, traces, KEY, batch._replace(start=np.zeros(2, bool)))
    with pytest.raises(ValueError, match="reduction='max'"):
        three_factor(NET, reduction="max")
