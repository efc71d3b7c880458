"""The correlation against `jax.lax`'s own: values, both modes, two orders, batches of kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.ops.convolution import correlate
from tests.laws.common import compiled

SHAPES = [((2, 7, 8, 3), (3, 3, 3, 4), 1), ((2, 8, 7, 3), (3, 3, 3, 4), 2), ((1, 9, 9, 2), (2, 2, 2, 5), 3)]


def reference(images, kernel, stride):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (stride, stride), "VALID", dimension_numbers=layout)


def loss_of(function, stride):
    return lambda args: jnp.sum(jnp.sin(function(*args, stride)))


def given(images, kernel):
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, shape) for key, shape in zip(keys, (images, kernel) * 2, strict=True)]


@pytest.mark.parametrize(("images", "kernel", "stride"), SHAPES)
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_values_and_derivatives(monkeypatch, backend, images, kernel, stride):
    """Forward, reverse, and reverse over forward, in float64: sums of some tens of terms of order one, to 1e-11."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # each form is right wherever it runs
    x, k, dx, dk = given(images, kernel)

    def everything(function):
        loss = loss_of(function, stride)

        def slope(args):
            return jax.jvp(loss, (args,), ((dx, dk),))[1]

        return compiled(
            lambda args: (function(*args, stride), slope(args), jax.grad(loss)(args), jax.grad(slope)(args))
        )

    got, wanted = everything(correlate)((x, k)), everything(reference)((x, k))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), got, wanted)


def test_many_kernels_at_once():
    (images, kernel, stride) = SHAPES[1]
    x, k, *_ = given(images, (5, *kernel))
    gradient = jax.grad(lambda k: loss_of(correlate, stride)((x, k)))
    many = compiled(jax.vmap(gradient))(k)
    for i in range(5):
        np.testing.assert_allclose(many[i], compiled(gradient)(k[i]), rtol=1e-11, atol=1e-11)
