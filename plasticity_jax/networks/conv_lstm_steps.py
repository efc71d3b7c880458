"""The LSTMs of `plasticity_jax.networks.conv_lstm` in time: frames predicted from watched frames, or dreamt."""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.convolution import blocks, convolve, pixels
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.ops.prng import fold_in
from plasticity_jax.typing import Array, Key, Params

if TYPE_CHECKING:  # it imports this file
    from plasticity_jax.networks.conv_lstm import ConvLstm


class State(NamedTuple):
    """State of an LSTM: hidden and cell, (B, size / 2, size / 2, channels) each."""

    hidden: Array
    cell: Array


def draw(net: "ConvLstm", key: Key, phase: int, steps: int, videos: int, dtype: jnp.dtype) -> Array:
    """Standard normal numbers from which a phase's samples are made.

    Args:
      net: fixed properties.
      key: of all phases; consumed.
      phase: `WAKE` or `SLEEP` of `plasticity_jax.networks.hierarchy`.
      steps: updates of each LSTM; asleep, z_0 counts as the encoder's first.
      videos: B.
      dtype: of the samples.

    Returns:
      Normals (steps, 2, B, size / 2, size / 2, hidden), of the encoder and of the decoder.
    """
    shape = (steps, 2, videos, net.size // 2, net.size // 2, net.hidden)
    return stored_noise(fold_in(key, jnp.uint32(phase)), math.prod(shape), dtype, "gaussian").reshape(shape)


def predicted_frames(
    net: "ConvLstm", params: Params, frames: Array, noise: Array, teacher_forcing: bool
) -> tuple[Array, Array]:
    """The frames that follow the `net.context` watched ones, and the latents that they were generated from.

    Args:
      net: fixed properties.
      params: its weights.
      frames: (B, T, ...), T at least `net.context`; with teacher forcing also the true frames up to the last but one.
      noise: (net.context - 1 + n, 2, B, ...), of the encoder and of the decoder.
      teacher_forcing: whether the encoder reads true frames all along, rather than predictions.

    Returns:
      ``(frames, latents)``, (n, B, ...) each.
    """
    up, down, last = params["inference"], params["generation"], net.context - 1
    still = _still(noise)
    read = noise.shape[0] if teacher_forcing else net.context
    true = jnp.swapaxes(frames[:, :read], 0, 1).astype(noise.dtype)
    drive = _over_time(lambda x: _drive(up["lstm"], _stem(net, up, x)), true)
    encoder, z = _follow(up["lstm"], drive, still, noise[:read, 0])
    driven = read if teacher_forcing else last
    drive = _over_time(lambda z: _drive(down["lstm"], z), z[:driven])
    decoder, h = _follow(down["lstm"], drive, still, noise[:driven, 1])
    if teacher_forcing:
        return _over_time(lambda h: _frame(net, down, h), h[last:]), z[last:]
    return _bounce(net, params, encoder, decoder, noise[last:])


def dreamt_frames(net: "ConvLstm", params: Params, noise: Array) -> tuple[Array, Array]:
    """Frames of sleep, starting from a latent of white noise, and the latents that they were generated from.

    Args:
      net: fixed properties.
      params: its weights.
      noise: (n, 2, B, ...), of the encoder and of the decoder; the encoder's first is the latent z_0.

    Returns:
      ``(frames, latents)``, (n, B, ...) each.
    """
    still = _still(noise)
    return _bounce(net, params, State(noise[0, 0], still.cell), still, noise)


def _bounce(net: "ConvLstm", params: Params, encoder: State, decoder: State, noise: Array) -> tuple[Array, Array]:
    """Alternates between decoder and encoder, starting from a latent: frames and latents, (steps, B, ...) each.

    noise: (steps, 2, B, ...), of the encoder and the decoder; the encoder's first has been used already.
    """
    up, down = params["inference"], params["generation"]

    def generate(z: Array, decoder: State, noise: Array) -> tuple[State, Array]:
        decoder = _update(down["lstm"], _drive(down["lstm"], z), decoder, noise)
        return decoder, _frame(net, down, decoder.hidden)

    def step(carry: tuple[State, State, Array], noise: Array) -> tuple[tuple[State, State, Array], tuple[Array, Array]]:
        encoder, decoder, x = carry
        encoder = _update(up["lstm"], _drive(up["lstm"], _stem(net, up, x)), encoder, noise[0])
        decoder, x = generate(encoder.hidden, decoder, noise[1])
        return (encoder, decoder, x), (x, encoder.hidden)

    decoder, x = generate(encoder.hidden, decoder, noise[0, 1])
    _, (frames, latents) = jax.lax.scan(step, (encoder, decoder, x), noise[1:])
    return jnp.concatenate([x[None], frames]), jnp.concatenate([encoder.hidden[None], latents])


def _follow(weights: Params, drive: Array, state: State, noise: Array) -> tuple[State, Array]:
    """The last state of an LSTM whose inputs are known, and its hidden states at all steps."""

    def step(state: State, inputs: tuple[Array, Array]) -> tuple[State, Array]:
        state = _update(weights, inputs[0], state, inputs[1])
        return state, state.hidden

    return jax.lax.scan(step, state, (drive, noise))


def _drive(weights: Params, inputs: Array) -> Array:
    """The input's part of the gates' sums, (N, side, side, 4 hidden)."""
    return _same(inputs, weights["input"]) + by_channel(weights["bias"])


def _update(weights: Params, drive: Array, state: State, noise: Array) -> State:
    """The state after a step of an LSTM."""
    i, f, o, candidate = jnp.split(drive + _same(state.hidden, weights["state"]), 4, -1)
    cell = jax.nn.sigmoid(f) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(candidate)
    mean, spread = jnp.split(_layer(weights["moments"], jax.nn.sigmoid(o) * jnp.tanh(cell)), 2, -1)
    return State(mean + jax.nn.softplus(spread) * noise, cell)


def _stem(net: "ConvLstm", params: Params, x: Array) -> Array:
    """The encoder's first features of frames (N, size, size, 1)."""
    return activation_of(net.activation).phi(_layer(params["stem"], blocks(x, 2)))


def _frame(net: "ConvLstm", params: Params, h: Array) -> Array:
    """Frames (N, size, size, 1) of the decoder's hidden states."""
    wide = activation_of(net.activation).phi(_layer(params["wide"], h))
    return activation_of(net.output).phi(pixels(_layer(params["out"], wide), 2))


def _still(noise: Array) -> State:
    """The state in which every LSTM begins."""
    return State(jnp.zeros_like(noise[0, 0]), jnp.zeros_like(noise[0, 0]))


def _over_time(function: Callable[[Array], Array], h: Array) -> Array:
    """Applies a function of samples (N, ...) to (T, B, ...), all steps at once."""
    rows = function(h.reshape(-1, *h.shape[2:]))
    return rows.reshape(*h.shape[:2], *rows.shape[1:])


def _layer(weights: Params, x: Array) -> Array:
    return _same(x, weights["kernel"]) + by_channel(weights["bias"])


def by_channel(bias: Array) -> Array:
    """(C,) as (1, 1, 1, C)."""
    return bias[None, None, None, :]


def _same(x: Array, kernel: Array) -> Array:
    """A convolution that keeps height and width; its derivatives store only x, not the windows."""
    return jax.checkpoint(functools.partial(convolve, stride=1, padding=kernel.shape[0] // 2))(x, kernel)
