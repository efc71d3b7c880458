r"""The video network of Benjamin & Kording (2021): a stochastic convolutional LSTM up, another one down.

    encoder    z_t     = LSTM_phi(f(S x_t), z_{t-1})               S: of frames in blocks of 2 x 2
    decoder    h_t     = LSTM_theta(z_t, h_{t-1}),     x_{t+1} = g(O f(U h_t))      O: of blocks of 2 x 2
    LSTM       [i, f, o, c~] = K input + R state_{t-1} + b,     cell_t = sig(f) cell_{t-1} + sig(i) tanh(c~)
               [mu, rho] = P (sig(o) tanh(cell_t)) + p,         state_t = mu + softplus(rho) xi_t,  xi_t ~ N(0, I)

Capitals are convolutions. The output of an LSTM parameterises a diagonal Gaussian over its hidden state, which is
sampled at every update; its cell is deterministic. The latent z is the encoder's hidden state. All states begin at 0.

    wake           x_1 .. x_c are watched, then n frames predicted:  w = (true x_t, z_{t-1}),  t = c + 1 .. c + n.
                   The encoder reads the predictions (closed loop), or with teacher forcing the true frames.
    oscillation    o = (predicted x_t,), in the order of w_0
    sleep          z_0 ~ N(0, I), bounced n times between decoder and encoder:  s = (x_t, z_{t-1}),  t = 1 .. n
    critics        D_x, D_z: two 4 x 4 convolutions of stride 2, each with a leaky ReLU and divisive normalisation;
                   then a linear readout

Credit flows back through all steps, including the watched frames. Source: section 5.3 and appendix A.1.5; n = 10 in
wake and in sleep. The paper leaves open, and we chose: no peepholes; states at half the frames' side, one place for
each block of pixels; mean and standard deviation read from the output by a 1 x 1 convolution P and softplus; cells and
the decoder's state 0 when sleep begins; closed loop; initial weights N(0, 1 / fan_in), biases 0 except 1 for f, so that
cells remember. Departure: the authors' critics use batch normalisation, which makes a sample's score depend on the
other samples; a gradient penalty on each sample does not allow that.

Weights are ``{"inference": {"stem": S, "lstm"}, "generation": {"lstm", "wide": U, "out": O}, "discriminator": (D_x,
D_z)}``. A convolution is ``{"kernel": (k, k, in, out), "bias": (out,)}``, an LSTM ``{"input": K, "state": R, "bias": b,
"moments": P}``, a critic ``{"first", "second", "linear": {"kernel": (n,), "bias": ()}}``.
"""

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.networks.conv_lstm_steps import by_channel, draw, dreamt_frames, predicted_frames
from plasticity_jax.networks.hierarchy import FREE, SLEEP, WAKE, Judgement, Parents, Phases, check_images, check_weights
from plasticity_jax.ops.activations import Phi, activation_of, check_activation
from plasticity_jax.ops.checks import default_float, one_of
from plasticity_jax.ops.convolution import convolve
from plasticity_jax.ops.normalisation import divisive
from plasticity_jax.typing import Array, Key, Params

Output: TypeAlias = Literal["identity", "sigmoid"]


class ConvLstm(NamedTuple):
    """Constants of the network; build it with `conv_lstm`.

    Attributes:
      size: side of a frame.
      hidden: channels of each LSTM.
      decoder_hidden: channels of S and U, between frames and states.
      kernel: side of the kernels of S, K, R, U and O.
      context: c, watched frames.
      horizon: n, predicted frames, and frames of sleep.
      critic_width: channels of a critic.
      teacher_forcing: whether the encoder reads true frames all along.
      activation: f, a name or any callable.
      critic_activation: of the critics.
      output: g, "identity" or "sigmoid".
    """

    size: int
    hidden: int
    decoder_hidden: int
    kernel: int
    context: int
    horizon: int
    critic_width: int
    teacher_forcing: bool
    activation: Phi
    critic_activation: Phi
    output: Output

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """D_x sees frames, D_z latents."""
        return (0,), (1,)

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        """Samples of all phases, B n rows each: the n frames of the first video, then those of the next.

        Args:
          params: the weights.
          x: (B, c + n, size, size, 1).
          key: consumed.
          parents: must be empty, as credit for a frame flows back through all frames before it.
          oscillate: whether to return the predictions.

        Returns:
          `Phases` of frames (B n, size, size, 1) and latents (B n, size / 2, size / 2, hidden).

        Raises:
          ValueError: if parents are given.
        """
        if any(given is not None for given in parents):
            raise ValueError(
                "conv_lstm learns through time and takes no activity as given: gradients by layer, and an oscillation "
                "that gives inference no credit, are for stacks of layers"
            )
        videos, dtype = x.shape[0], _dtype(params)
        awake = draw(self, key, WAKE, self.context - 1 + self.horizon, videos, dtype)
        predicted, latents = predicted_frames(self, params, x, awake, self.teacher_forcing)
        dreamt, bounced = dreamt_frames(self, params, draw(self, key, SLEEP, self.horizon, videos, dtype))
        true = x[:, self.context :].reshape(-1, *x.shape[2:])
        oscillation = (_rows(predicted),) if oscillate else ()
        return Phases((true, _rows(latents)), (_rows(dreamt), _rows(bounced)), oscillation)

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        """A discriminator's judgement of N frames (site 0) or latents (site 1); params are its own."""
        (h,) = activity
        for layer in ("first", "second"):
            h = divisive(
                activation_of(self.critic_activation).phi(
                    convolve(h, params[layer]["kernel"], 2, 1) + by_channel(params[layer]["bias"])
                )
            )
        features = h.reshape(h.shape[0], -1)
        return Judgement(features @ params["linear"]["kernel"] + params["linear"]["bias"], features)

    def check(self, params: Params, x: Array) -> None:
        """Refuses videos or weights that do not fit.

        Raises:
          ValueError: if the videos are of another size, length, type or range.
          AssertionError: naming the array and the shape that it should have.
        """
        check_images(x, (self.context + self.horizon, self.size, self.size, 1), 0, 1)
        wanted = jax.eval_shape(lambda key: init_params(key, self), jax.random.key(0))
        check_weights(params, wanted, str(self))


def conv_lstm(
    size: int = 64,
    hidden: int = 32,
    decoder_hidden: int = 16,
    kernel: int = 5,
    context: int = 10,
    horizon: int = 10,
    critic_width: int = 64,
    teacher_forcing: bool = False,
    activation: Phi = "relu",
    critic_activation: Phi = "leaky_relu",
    output: Output = "identity",
) -> ConvLstm:
    """Checks and names a network's fixed properties; the defaults are the paper's, where it prints them.

    Args:
      size: side of a frame, a multiple of 8.
      hidden: channels of each LSTM.
      decoder_hidden: channels of the layers between states and frames.
      kernel: side of the kernels of LSTMs and of the layers between states and frames, odd.
      context: watched frames.
      horizon: predicted frames, and frames of sleep.
      critic_width: channels of a critic.
      teacher_forcing: whether the encoder reads true frames all along, rather than predictions.
      activation: of the layers between states and frames.
      critic_activation: of the critics.
      output: of a frame, "identity" or "sigmoid".

    Returns:
      A `ConvLstm`.

    Raises:
      ValueError: if a name is not known, or a number is out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> net = conv_lstm(size=8, hidden=3, kernel=3, context=2, horizon=4)
      >>> params = init_params(jax.random.key(0), net)
      >>> phases = net.phases(params, jnp.ones((5, 6, 8, 8, 1)), jax.random.key(1))
      >>> [h.shape for h in phases.sleep]
      [(20, 8, 8, 1), (20, 4, 4, 3)]

    Reference:
      Benjamin & Kording, "Learning to infer in recurrent biological networks", arXiv:2006.10811v2, appendix A.1.5.
    """
    check_activation(activation)
    check_activation(critic_activation)
    one_of("output", output, get_args(Output))
    if size < 8 or size % 8:
        raise ValueError(f"size={size}: states halve a frame, and critics halve it twice again; use a multiple of 8")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} must be odd, so that a state keeps its place")
    if min(hidden, decoder_hidden, critic_width, context, horizon) < 1:
        raise ValueError(
            f"hidden={hidden}, decoder_hidden={decoder_hidden}, critic_width={critic_width}, context={context}, "
            f"horizon={horizon}: nothing below 1"
        )
    return ConvLstm(
        size,
        hidden,
        decoder_hidden,
        kernel,
        context,
        horizon,
        critic_width,
        teacher_forcing,
        activation,
        critic_activation,
        output,
    )


def init_params(key: Key, net: ConvLstm, *, dtype: Any = None) -> Params:
    """Kernels N(0, 1 / fan_in), fan_in the number of inputs to an output; biases 0, but 1 for the forget gates.

    Args:
      key: split, one part for each kernel.
      net: fixed properties.
      dtype: JAX's default float if None.

    Returns:
      The weights, as in the module's docstring.
    """
    dtype = default_float() if dtype is None else dtype
    n, m, k = net.hidden, net.decoder_hidden, net.kernel
    keys = iter(jax.random.split(key, 15))

    def normal(shape: tuple[int, ...], fan_in: int) -> Array:
        return jax.random.normal(next(keys), shape, dtype) / fan_in**0.5

    def layer(side: int, n_in: int, n_out: int) -> Params:
        return {"kernel": normal((side, side, n_in, n_out), side * side * n_in), "bias": jnp.zeros((n_out,), dtype)}

    def lstm(n_in: int) -> Params:
        fan_in = k * k * (n_in + n)
        return {
            "input": normal((k, k, n_in, 4 * n), fan_in),
            "state": normal((k, k, n, 4 * n), fan_in),
            "bias": jnp.zeros((4, n), dtype).at[1].set(1).reshape(-1),
            "moments": layer(1, n, 2 * n),
        }

    def critic(n_in: int, side: int) -> Params:
        features = (side // 4) ** 2 * net.critic_width
        return {
            "first": layer(4, n_in, net.critic_width),
            "second": layer(4, net.critic_width, net.critic_width),
            "linear": {"kernel": normal((features,), features), "bias": jnp.zeros((), dtype)},
        }

    return {
        "inference": {"stem": layer(k, 4, m), "lstm": lstm(m)},
        "generation": {"lstm": lstm(n), "wide": layer(k, n, m), "out": layer(k, m, 4)},
        "discriminator": (critic(1, net.size), critic(n, net.size // 2)),
    }


def predict(net: ConvLstm, params: Params, frames: Array, key: Key, horizon: int) -> Array:
    """Watches a video, then predicts the next frames in closed loop.

    Args:
      net: fixed properties.
      params: its weights; "discriminator" is not read.
      frames: (B, c, size, size, 1), for any c.
      key: consumed; with the key of `ConvLstm.phases` and its horizon, the predictions are its oscillation.
      horizon: frames to predict.

    Returns:
      Shape (B, horizon, size, size, 1).

    Raises:
      ValueError: if the frames are of another size, type or range, or there is nothing to watch or to predict.
    """
    if min(frames.shape[1], horizon) < 1:
        raise ValueError(f"{frames.shape[1]} frames to watch and {horizon} to predict: at least one of each")
    check_images(frames, (frames.shape[1], net.size, net.size, 1), 0, 1)
    videos, context = frames.shape[:2]
    noise = draw(net, key, WAKE, context - 1 + horizon, videos, _dtype(params))
    predicted, _ = predicted_frames(net._replace(context=context), params, frames, noise, teacher_forcing=False)
    return jnp.swapaxes(predicted, 0, 1)


def _dtype(params: Params) -> jnp.dtype:
    return params["inference"]["stem"]["bias"].dtype


def _rows(h: Array) -> Array:
    """Samples (T, B, ...) as rows, video by video: (B T, ...)."""
    return jnp.swapaxes(h, 0, 1).reshape(-1, *h.shape[2:])
