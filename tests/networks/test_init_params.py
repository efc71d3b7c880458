"""`networks.init_params` draws the same weights as each network's own function, in any floating dtype."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import networks

NETS = {
    "autoencoder": networks.autoencoder((4, 2), 3, 3),
    "dcgan": networks.dcgan((4, 4, 1), 2, 2, 2),
    "conv_lstm": networks.conv_lstm(8, 2, 2, 3, 1, 1, 2),
    "convnet": networks.convnet((5, 5, 1), 2, (2,)),
    "mlp": networks.mlp((4, 3, 2), ("tanh", "identity")),
    "two_stream": networks.two_stream((4, 3, 2), (0.1,) * 3, (0.1,) * 3),
}


@pytest.mark.parametrize("name", NETS)
def test_the_weights_are_those_of_the_networks_own_function(name):
    own = importlib.import_module("plasticity_jax.layers" if name == "mlp" else f"plasticity_jax.networks.{name}")
    weights, expected = (draw(jax.random.key(0), NETS[name]) for draw in (networks.init_params, own.init_params))
    jax.tree.map(np.testing.assert_array_equal, weights, expected)
    other = networks.init_params(jax.random.key(1), NETS[name])
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(weights), jax.tree.leaves(other), strict=True))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", NETS)
def test_weights_are_drawn_in_any_dtype(name, dtype):
    leaves = jax.tree.leaves(networks.init_params(jax.random.key(0), NETS[name], dtype=dtype))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
    assert any(np.any(leaf != 0) for leaf in leaves)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match=r"not a network of this room \(Autoencoder, .*ConvNet, Dcgan"):
        networks.init_params(jax.random.key(0), "convnet")


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda **phi: networks.autoencoder((4, 2), 3, 3, **phi), (3, 4)),
        (lambda **phi: networks.dcgan((4, 4, 1), 2, 2, 2, **phi), (3, 4, 4, 1)),
        (lambda **phi: networks.conv_lstm(8, 2, 2, 3, 1, 1, 2, **phi), (3, 2, 8, 8, 1)),
    ],
    ids=["autoencoder", "dcgan", "conv_lstm"],
)
def test_a_nonlinearity_is_a_name_or_any_function(make, x):
    def outputs(phi):
        net = make(activation=phi, critic_activation=phi)
        params, key = networks.init_params(jax.random.key(0), net), jax.random.key(1)
        phases = net.phases(params, jax.random.uniform(key, x), key)
        site = tuple(phases.wake[layer] for layer in net.sites[0])
        return (*phases.sleep, net.judge(params["discriminator"][0], 0, site).score)

    named, given, other = outputs("sigmoid"), outputs(jax.nn.sigmoid), outputs(jnp.sin)
    jax.tree.map(np.testing.assert_array_equal, named, given)
    assert any(np.any(a != b) for a, b in zip(named, other, strict=True))
