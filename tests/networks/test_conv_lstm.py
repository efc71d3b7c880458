"""The video network: a NumPy loop of every phase and critic, causality, gradients through time, samples, refusals."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks.conv_lstm import conv_lstm, draw, init_params, predict
from plasticity_jax.networks.hierarchy import SLEEP, WAKE, Parents
from tests.laws.common import compiled

VIDEOS = 2
KEY = jax.random.key(3)


@functools.cache
def initial(net, dtype):
    return compiled(lambda key: init_params(key, net, dtype=dtype))(jax.random.key(0))


def given(dtype=jnp.float64, **options):
    """A smooth and tiny network without zero biases, its params, and videos."""
    sizes = {"size": 8, "hidden": 2, "decoder_hidden": 3, "kernel": 3, "context": 3, "horizon": 3, "critic_width": 4}
    net = conv_lstm(**{**sizes, "activation": "tanh", "output": "sigmoid", **options})
    params = initial(net._replace(context=1, horizon=1, teacher_forcing=False, critic_activation="tanh"), dtype)
    leaves, tree = jax.tree.flatten(params)
    moved = [
        leaf + 0.2 * jnp.cos(i + jnp.arange(leaf.size, dtype=dtype)).reshape(leaf.shape)
        for i, leaf in enumerate(leaves)
    ]
    return net, tree.unflatten(moved), video(net, 1)


def video(net, seed):
    shape = (VIDEOS, net.context + net.horizon, net.size, net.size, 1)
    return jax.random.uniform(jax.random.key(seed), shape)


def phases_of(net, **options):
    return compiled(lambda params, x, key=KEY: net.phases(params, x, key, **options))


def convolved(image, weights, stride, pad):
    """One image: every output is a sum over its window, with zeros outside of the image."""
    kernel, k = weights["kernel"], len(weights["kernel"])
    rows, columns = ((side + 2 * pad - k) // stride + 1 for side in image.shape[:2])
    out = np.zeros((rows, columns, kernel.shape[-1]))
    for r, c, u, v in itertools.product(range(rows), range(columns), range(k), range(k)):
        y, x = r * stride + u - pad, c * stride + v - pad
        if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
            out[r, c] += image[y, x] @ kernel[u, v]
    return out + weights["bias"]


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def lstm(weights, read, state, cell, noise):
    """Hidden state and cell after an update, and the hidden state's mean and standard deviation."""
    pad = len(weights["input"]) // 2
    gates = convolved(read, {"kernel": weights["input"], "bias": weights["bias"]}, 1, pad)
    gates = gates + convolved(state, {"kernel": weights["state"], "bias": 0}, 1, pad)
    n = state.shape[-1]
    i, f, o, candidate = (gates[..., j * n : (j + 1) * n] for j in range(4))
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(candidate)
    moments = convolved(sigmoid(o) * np.tanh(cell), weights["moments"], 1, 0)
    mean, std = moments[..., :n], np.log1p(np.exp(moments[..., n:]))
    return mean + std * noise, cell, mean, std


def encoded(params, x, z, cell, noise):
    half = len(x) // 2
    blocks = np.zeros((half, half, 4))
    for r, c, a, b in itertools.product(range(half), range(half), range(2), range(2)):
        blocks[r, c, 2 * a + b] = x[2 * r + a, 2 * c + b, 0]
    stem = params["stem"]
    return lstm(params["lstm"], np.tanh(convolved(blocks, stem, 1, len(stem["kernel"]) // 2)), z, cell, noise)


def decoded(params, z, h, cell, noise):
    """Frame, hidden state, cell."""
    h, cell, *_ = lstm(params["lstm"], z, h, cell, noise)
    pad = len(params["out"]["kernel"]) // 2
    blocks = convolved(np.tanh(convolved(h, params["wide"], 1, pad)), params["out"], 1, pad)
    frame = np.zeros((2 * len(h), 2 * len(h), 1))
    for r, c, a, b in itertools.product(range(len(h)), range(len(h)), range(2), range(2)):
        frame[2 * r + a, 2 * c + b, 0] = sigmoid(blocks[r, c, 2 * a + b])
    return frame, h, cell


def by_hand(net, params, video, awake, asleep):
    """One video, noise (steps, 2, ...): the phases as lists over time."""
    up, down = params["inference"], params["generation"]
    z = cell_z = h = cell_h = np.zeros(awake.shape[2:])
    latents, predicted = [], []
    for t in range(net.context + net.horizon - 1):
        read = video[t] if t < net.context or net.teacher_forcing else predicted[-1]
        z, cell_z, *_ = encoded(up, read, z, cell_z, awake[t, 0])
        frame, h, cell_h = decoded(down, z, h, cell_h, awake[t, 1])
        if t >= net.context - 1:
            latents.append(z)
            predicted.append(frame)
    z, cell_z, h, cell_h = asleep[0, 0], *(np.zeros_like(h),) * 3
    bounced, dreamt = [], []
    for t in range(net.horizon):
        if t > 0:
            z, cell_z, *_ = encoded(up, dreamt[-1], z, cell_z, asleep[t, 0])
        frame, h, cell_h = decoded(down, z, h, cell_h, asleep[t, 1])
        bounced.append(z)
        dreamt.append(frame)
    return (video[net.context :], latents), (dreamt, bounced), (predicted,)


@pytest.mark.parametrize("options", [{}, {"teacher_forcing": True}, {"kernel": 1, "context": 1, "horizon": 1}])
def test_phases_equal_those_by_hand(options):
    """Every frame and latent agrees, row by row: the frames of the first video, then those of the second."""
    net, params, x = given(**options)
    phases = phases_of(net)(params, x)
    steps = {WAKE: net.context + net.horizon - 1, SLEEP: net.horizon}
    noise = [np.asarray(draw(net, KEY, phase, n, VIDEOS, jnp.dtype(jnp.float64))) for phase, n in steps.items()]
    host = jax.tree.map(np.asarray, params)
    each = [by_hand(net, host, np.asarray(x[b]), *(draws[:, :, b] for draws in noise)) for b in range(VIDEOS)]
    for phase, rows in zip(phases, zip(*each, strict=True), strict=True):
        for layer, videos in zip(phase, zip(*rows, strict=True), strict=True):
            np.testing.assert_allclose(layer, np.concatenate([np.asarray(v) for v in videos]), rtol=0, atol=1e-12)


def test_critics_equal_those_by_hand():
    """Twice 4 x 4 with stride 2, a leaky ReLU of slope 0.2, y_c = x_c / sqrt(mean of x^2 + 1e-4); then linear."""
    net, params, x = given()
    phases = phases_of(net)(params, x)
    for site, activity in enumerate(phases.wake):
        critic = params["discriminator"][site]
        verdict = compiled(lambda critic, h, site=site: net.judge(critic, site, (h,)))(critic, activity)
        host = jax.tree.map(np.asarray, critic)
        for row in (0, -1):
            h = np.asarray(activity[row])
            for layer in ("first", "second"):
                v = convolved(h, host[layer], 2, 1)
                v = np.where(v > 0, v, 0.2 * v)
                h = v / np.sqrt(np.mean(v**2, -1, keepdims=True) + 1e-4)
            np.testing.assert_allclose(verdict.features[row], h.ravel(), rtol=0, atol=1e-12)
            score = h.ravel() @ host["linear"]["kernel"] + host["linear"]["bias"]
            assert verdict.score[row] == pytest.approx(score, abs=1e-12)


def test_on_an_accelerator_it_is_a_convolution(monkeypatch):
    net, params, x = given()

    def run():
        return compiled(lambda params, x: net.judge(params["discriminator"][1], 1, net.phases(params, x, KEY).wake[1:]))

    products = run()(params, x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    text = (convolution := run()).lower(params, x).as_text()
    assert "stablehlo.convolution" in text
    assert "dot_general" not in text.split("stablehlo.convolution")[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), products, convolution(params, x))


def test_predictions_depend_only_on_past_frames():
    """No true frame after the context acts on them in closed loop; with teacher forcing those before a frame do."""
    net, params, x = given()
    for forced in (False, True):
        run = phases_of(net._replace(teacher_forcing=forced))
        base = run(params, x)
        predicted, latents = (
            np.asarray(h).reshape(VIDEOS, net.horizon, -1) for h in (base.oscillation[0], base.wake[1])
        )
        for t in range(net.context + net.horizon):
            moved = run(params, x.at[:, t].set(1 - x[:, t]))
            jax.tree.map(np.testing.assert_array_equal, moved.sleep, base.sleep)
            first = max(t + 1 - net.context, 0) if forced or t < net.context else net.horizon
            for now, before in ((moved.oscillation[0], predicted), (moved.wake[1], latents)):
                changed = np.any(np.asarray(now).reshape(before.shape) != before, -1)
                assert not changed[:, :first].any()
                assert changed[:, first:].all()
            frames = np.asarray(moved.wake[0]).reshape(VIDEOS, net.horizon, -1)
            same = np.all(frames == np.asarray(base.wake[0]).reshape(frames.shape), -1)
            assert np.array_equal(~same[0], np.arange(net.horizon) == t - net.context)


def test_credit_goes_back_to_the_first_frame():
    """The gradient of one pixel of the last prediction by those of x_1 equals differences of fourth order."""
    net, params, x = given()

    def last(first):
        frames = net.phases(params, x.at[:, 0].set(first), KEY).oscillation[0]
        return frames[net.horizon - 1, 3, 4, 0]

    slope, value = compiled(jax.grad(last))(x[:, 0]), compiled(last)
    assert np.all(np.asarray(slope[1]) == 0)  # of the other video
    largest = np.unravel_index(np.argmax(np.abs(slope)), slope.shape)
    assert abs(slope[largest]) > 1e-6  # a thousand times the tolerance
    pixels = {tuple(map(int, largest)), (0, 3, 4, 0), (0, 5, 2, 0)}
    for pixel in pixels:
        change = jnp.zeros_like(slope).at[pixel].set(1e-3)
        near = value(x[:, 0] + change) - value(x[:, 0] - change)
        far = value(x[:, 0] + 2 * change) - value(x[:, 0] - 2 * change)
        assert slope[pixel] == pytest.approx(float((8 * near - far) / 12e-3), abs=1e-9)


def test_gradients_are_finite_differences():
    """Derivatives of all phases and both critics by every weight, along a random direction.

    90 cosines of rounding 1e-14 in all, over a step of 3e-5, come to 1e-9; the fourth-order error is below that.
    """
    net, params, x = given(critic_activation="tanh")

    def loss(params):
        phases = net.phases(params, x, KEY)
        judged = [
            net.judge(params["discriminator"][site], site, (layers[site],)).score
            for layers in phases
            for site in range(len(layers))
        ]
        return sum(jnp.sum(jnp.cos(score)) for score in judged)

    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    way = tree.unflatten([jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)])
    value = compiled(lambda h: loss(jax.tree.map(lambda leaf, v: leaf + h * v, params, way)))
    difference = (8 * (value(3e-5) - value(-3e-5)) - (value(6e-5) - value(-6e-5))) / 36e-5
    gradient = compiled(jax.grad(loss))(params)
    along = sum(jnp.vdot(g, v) for g, v in zip(jax.tree.leaves(gradient), jax.tree.leaves(way), strict=True))
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient))
    assert along == pytest.approx(float(difference), abs=1e-8)
    assert abs(along) > 1e-3


def test_samples_have_their_moments():
    """z_1 ~ N(mu, softplus(rho)^2) given x_1, z_0 of sleep ~ N(0, I), independent of one another and across videos.

    6,000 keys, five standard errors: of 128 means, 128 variances and 8,128 products, a false alarm below 5e-3 over
    seeds; the seed is fixed.
    """
    net, params, x = given(context=1, horizon=1)
    n = 6000
    draws = jax.random.split(jax.random.key(7), n)
    run = compiled(jax.vmap(lambda key: (lambda p: (p.wake[1], p.sleep[1]))(net.phases(params, x, key))))
    awake, asleep = (np.asarray(h).reshape(n, -1) for h in run(draws))
    host, still = jax.tree.map(np.asarray, params), np.zeros((4, 4, 2))
    moments = [encoded(host["inference"], np.asarray(x[b, 0]), still, still, still)[2:] for b in range(VIDEOS)]
    mean, std = (np.concatenate([np.ravel(moment[j]) for moment in moments]) for j in range(2))
    unit = np.concatenate([(awake - mean) / std, asleep], 1)
    assert np.abs(unit.mean(0)).max() < 5 / n**0.5
    products = unit.T @ unit / n
    assert np.abs(np.diag(products) - 1).max() < 5 * (2 / n) ** 0.5
    assert np.abs(products - np.diag(np.diag(products))).max() < 5 / n**0.5


def test_predict_gives_the_oscillation():
    """The key and horizon are those of phases; any number of frames will do, not only the training's."""
    net, params, x = given()
    phases = phases_of(net)(params, x)
    run = compiled(lambda frames, horizon: predict(net, params, frames, KEY, horizon), static_argnums=1)
    predicted = run(x[:, : net.context], net.horizon)
    np.testing.assert_allclose(predicted.reshape(-1, 8, 8, 1), phases.oscillation[0], rtol=0, atol=1e-13)
    assert run(x[:, :1], 5).shape == (VIDEOS, 5, 8, 8, 1)
    assert run(x, 1).shape == (VIDEOS, 1, 8, 8, 1)


def test_wake_and_sleep_do_not_need_the_oscillation():
    net, params, x = given()
    with_one, without = phases_of(net)(params, x), phases_of(net, oscillate=False)(params, x)
    assert without.oscillation == ()
    jax.tree.map(np.testing.assert_array_equal, without[:2], with_one[:2])


def test_the_network_has_the_papers_sizes():
    """64 x 64, 20 frames, 32 units in each LSTM, 16 channels to the frames."""
    net = conv_lstm()
    params = jax.eval_shape(lambda key: init_params(key, net), KEY)
    x = jax.ShapeDtypeStruct((3, 20, 64, 64, 1), jnp.float32)
    phases = jax.eval_shape(lambda params, x: net.phases(params, x, KEY), params, x)
    frames, latents = (30, 64, 64, 1), (30, 32, 32, 32)
    shapes = jax.tree.map(lambda h: h.shape, phases, is_leaf=lambda h: hasattr(h, "shape"))
    assert shapes == ((frames, latents), (frames, latents), (frames,))
    assert net.sites == ((0,), (1,))
    for site, features in ((0, 64 * 16 * 16), (1, 64 * 8 * 8)):
        judged = jax.eval_shape(
            lambda p, h, s=site: net.judge(p, s, (h,)), params["discriminator"][site], phases.wake[site]
        )
        assert (judged.score.shape, judged.features.shape) == ((30,), (30, features))
    count = {group: sum(leaf.size for leaf in jax.tree.leaves(tree)) for group, tree in params.items()}
    gates, moments = (25 * (16 + 32) + 1) * 128, (32 + 1) * 64
    assert count["inference"] == (25 * 4 + 1) * 16 + gates + moments
    assert count["generation"] == (25 * 64 + 1) * 128 + moments + (25 * 32 + 1) * 16 + (25 * 16 + 1) * 4


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_phases_keep_the_dtype_of_the_weights(dtype):
    net, params, x = given(dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    phases = jax.eval_shape(lambda params, x: net.phases(params, x, KEY), params, x.astype(dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(phases)} == {jnp.dtype(dtype)}


def test_initial_weights_have_their_moments():
    """Kernels N(0, 1 / fan_in), biases 0 but 1 of forget gates; five standard errors, 8 tests; the seed is fixed."""
    net = conv_lstm(size=8, hidden=6, decoder_hidden=5, kernel=3)
    params = compiled(lambda key: init_params(key, net))(jax.random.key(0))
    up, down = params["inference"], params["generation"]
    wide = [
        (up["stem"], 9 * 4),
        (down["wide"], 9 * 6),
        (down["out"], 9 * 5),
        (params["discriminator"][0]["second"], 16 * 64),
    ]
    kernels = [(layer["kernel"], fan_in) for layer, fan_in in wide]
    kernels += [(up["lstm"]["input"], 9 * 11), (up["lstm"]["state"], 9 * 11), (down["lstm"]["state"], 9 * 12)]
    kernels.append((params["discriminator"][0]["linear"]["kernel"], 64 * 2 * 2))
    for kernel, fan_in in kernels:
        squares = np.asarray(kernel).ravel() ** 2 * fan_in
        assert abs(squares.mean() - 1) < 5 * (2 / squares.size) ** 0.5
    for lstm_weights in (up["lstm"], down["lstm"]):
        np.testing.assert_array_equal(lstm_weights["bias"], np.repeat([0, 1, 0, 0], 6))
    assert not np.any(up["stem"]["bias"])
    assert not np.array_equal(up["lstm"]["state"], down["lstm"]["state"])


def test_input_that_does_not_fit_is_refused():
    net, params, x = given()
    net.check(params, x)
    for wrong, message in (
        (x[:, :-1], r"\(5, 8, 8, 1\): the network takes 6 x 8 x 8 x 1"),
        (jnp.zeros((2, 6, 16, 16, 1)), "the network takes 6 x 8 x 8 x 1"),
        (jnp.zeros(x.shape, jnp.uint8), "of type uint8: scale them to floats from 0 to 1"),
        (255 * x, "values from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            net.check(params, wrong)
    with pytest.raises(AssertionError, match="see init_params"):
        net._replace(hidden=4).check(params, x)
    for parents in (Parents(oscillation=(x,)), Parents(wake=(x,))):
        with pytest.raises(ValueError, match="learns through time"):
            net.phases(params, x, KEY, parents)
    for frames, horizon in ((x[:, :0], 1), (x, 0)):
        with pytest.raises(ValueError, match="at least one of each"):
            predict(net, params, frames, KEY, horizon)
    with pytest.raises(ValueError, match="of type uint8"):
        predict(net, params, jnp.zeros(x.shape, jnp.uint8), KEY, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 28}, "size=28: .* multiple of 8"),
        ({"kernel": 4}, "kernel=4 must be odd"),
        ({"context": 0}, "context=0, .* nothing below 1"),
        ({"output": "tanh"}, "output='tanh' is not known; use one of identity, sigmoid"),
        ({"activation": "rely"}, "activation='rely' is not known"),
        ({"critic_activation": "rely"}, "activation='rely' is not known"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        conv_lstm(**options)
