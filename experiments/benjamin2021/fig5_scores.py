"""Measures of predicted videos and of the phases that predict them: errors, centroids, ink, latents; and baselines."""

import jax
import jax.numpy as jnp

from plasticity_jax.diagnostics.video import squared_error, ssim
from plasticity_jax.networks.conv_lstm import ConvLstm, predict
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Params

METHODS = ("combined", "predicting", "squared")
BASELINES = ("blank", "mean", "watched", "last", "previous", "other")
MEASURES = ("error", "ssim", "ink", "centroid", "brightness")
LATENT = ("z_mean", "z_variance", "z_apart")

SHOWN, DREAMS = 4, 2
"""Numbers of test videos and of dreams to keep pictures of."""

PREDICTIONS = 51
"""Key of the predictions of test videos."""


def centroid(frames: Array) -> Array:
    """Row and column of the ink's centre, (..., 2), of frames (..., H, W, 1); of the top left corner if it is blank."""
    ink = jnp.clip(frames[..., 0], 0, 1)
    total = jnp.maximum(jnp.sum(ink, (-2, -1)), 1e-6)
    row = jnp.sum(ink, -1) @ jnp.arange(ink.shape[-2], dtype=ink.dtype)
    column = jnp.sum(ink, -2) @ jnp.arange(ink.shape[-1], dtype=ink.dtype)
    return jnp.stack([row, column], -1) / total[..., None]


def brightness(frames: Array) -> Array:
    """Mean value of a pixel drawn in proportion to its ink, by horizon, of frames (B, T, H, W, 1); blur lowers it."""
    ink = jnp.clip(frames, 0, 1)
    return jnp.sum(ink**2, (0, 2, 3, 4)) / jnp.maximum(jnp.sum(ink, (0, 2, 3, 4)), 1e-6)


def compared(predicted: Array, true: Array) -> Metrics:
    """Measures by horizon: error, ssim, ink (the sum of a frame), centroid (its error in pixels) and brightness."""
    return {
        "error": squared_error(predicted, true),
        "ssim": ssim(predicted, true),
        "ink": jnp.mean(jnp.sum(predicted, (2, 3, 4)), 0),
        "centroid": jnp.mean(jnp.linalg.norm(centroid(predicted) - centroid(true), axis=-1), 0),
        "brightness": brightness(predicted),
    }


def picture(frames: Array) -> Array:
    """The first videos as bytes (SHOWN, T, H, W)."""
    return jnp.round(255 * jnp.clip(frames[:SHOWN, ..., 0], 0, 1)).astype(jnp.uint8)


def baselines(x: Array, context: int) -> Metrics:
    """Measures by `compared` of each of `BASELINES` and of the truth, and pictures of some videos.

    Args:
      x: (B, T, H, W, 1), test videos.
      context: frames that are watched.
    """
    watched, true = x[:, :context], x[:, context:]
    predicted = {
        "true": true,
        "blank": jnp.zeros_like(true),
        "mean": jnp.broadcast_to(jnp.mean(x, (0, 1)), true.shape),
        "watched": jnp.broadcast_to(jnp.mean(watched, 1, keepdims=True), true.shape),
        "last": jnp.broadcast_to(watched[:, -1:], true.shape),
        "previous": x[:, context - 1 : -1],
        "other": jnp.roll(true, 1, 0),
    }
    measures = {f"{what}_{name}": v for name, each in predicted.items() for what, v in compared(each, true).items()}
    return {**measures, "video": picture(x)}


def tested(net: ConvLstm, params: Params, x: Array, samples: int) -> Metrics:
    """Scores of a network's predictions of test videos, and of its phases and their critics.

    Args:
      net: the network.
      params: its weights.
      x: (B, c + n, H, W, 1), test videos.
      samples: K, predictions of each.

    Returns:
      Measures by `compared` of one sample, of the mean of K ("_mean") and of the best of K ("_best", by the error over
      all horizons); scores "d_x_wake" and so on; for latents, unit by unit, the root mean square of their means, their
      mean variance, and the divergence from N(0, 1) of Gaussians with these moments, in nats; ``dream_ink`` and
      ``dream_brightness`` of frames asleep, by bounce; pictures.
    """
    watched, true = x[:, : net.context], x[:, net.context :]
    keys = jax.random.split(jax.random.key(PREDICTIONS), samples)
    drawn = jax.lax.map(lambda key: predict(net, params, watched, key, net.horizon), keys)
    best = jnp.argmin(jnp.sum((drawn - true) ** 2, (2, 3, 4, 5)), 0)
    chosen = drawn[best, jnp.arange(len(x))]
    metrics = {}
    for name, predicted in {"": drawn[0], "_mean": jnp.mean(drawn, 0), "_best": chosen}.items():
        metrics |= {f"{what}{name}": value for what, value in compared(predicted, true).items()}
    phases = net.phases(params, x, keys[0])
    for phase, activity in phases._asdict().items():
        for site, (name, h) in enumerate(zip("xz", activity, strict=False)):
            metrics[f"d_{name}_{phase}"] = jnp.mean(net.judge(params["discriminator"][site], site, (h,)).score)
    for phase, z in (("wake", phases.wake[1]), ("sleep", phases.sleep[1])):
        mean, variance = jnp.mean(z, 0), jnp.var(z, 0)
        metrics[f"z_mean_{phase}"] = jnp.sqrt(jnp.mean(mean**2))
        metrics[f"z_variance_{phase}"] = jnp.mean(variance)
        metrics[f"z_apart_{phase}"] = jnp.mean(mean**2 + variance - 1 - jnp.log(variance)) / 2
    dreams = phases.sleep[0].reshape(len(x), net.horizon, *x.shape[2:])
    metrics |= {"dream_ink": jnp.mean(jnp.sum(dreams, (2, 3, 4)), 0), "dream_brightness": brightness(dreams)}
    return {**metrics, "picture": picture(drawn[0]), "dream": picture(dreams)[:DREAMS]}
