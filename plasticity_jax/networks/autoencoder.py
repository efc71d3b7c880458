r"""The recurrent stochastic autoencoder of Benjamin & Kording (2021), for flat images.

    conditional   [m | v] = U_2 phi(U_1 given + c_1) + c_2,   a = m + softplus(v) xi
    recurrence    [m | v] = R_2 phi(R_1 a + d_1) + d_2,       b = m + softplus(v) xi',   a <- (a + b) / 2
    layer i       given h_{i-1} in wake, h_{i+1} in sleep and oscillation; h_i = a after the recurrence
    critic        D = u . phi'(V_2 phi'(V_1 [h_i, ...] + e_1) + e_2) + e_3

The recurrence makes the neurons of a layer depend on one another, so that a layer's density has no closed form. The
prior of the top layer is N(0, I). phi is ReLU, phi' a leaky one.

Weights are ``{"inference": (layer_1, ..., layer_L), "generation": (layer_0, ..., layer_{L-1}), "discriminator": (site,
...)}``. A layer is ``{"forward": net, "recurrent": net}``, without "recurrent" if there is no recurrence. A net, and
a critic, is ``{"w": (n_out, n_in) each, "bias": (n_out,) each}``.

The paper leaves open, and we chose: standard deviations by softplus, as in its convolutional network; initial weights
and biases U(-1, 1) / sqrt(n_in), the default of the authors' framework; one step of recurrence; images not squashed.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.networks.hierarchy import (
    FREE,
    Judgement,
    Parents,
    Phases,
    check_images,
    check_weights,
    stacked_phases,
)
from plasticity_jax.ops.activations import Phi, activation_of, check_activation
from plasticity_jax.ops.checks import default_float, one_of
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.typing import Array, Key, Params

Output: TypeAlias = Literal["identity", "sigmoid"]


class Autoencoder(NamedTuple):
    """Constants of the network; build it with `autoencoder`.

    Attributes:
      sizes: n_0, ..., n_L.
      hidden: units of a conditional's hidden layer.
      critic_hidden: units of each of the two hidden layers of a critic.
      recurrence: number of recurrent steps.
      sites: for each discriminator, the layers that it reads.
      activation: of the conditionals, a name or any callable.
      critic_activation: of the critics.
      output: of the generated image, "identity" or "sigmoid".
    """

    sizes: tuple[int, ...]
    hidden: int
    critic_hidden: int
    recurrence: int
    sites: tuple[tuple[int, ...], ...]
    activation: Phi
    critic_activation: Phi
    output: Output

    @property
    def depth(self) -> int:
        """L."""
        return len(self.sizes) - 1

    def infer(self, params: Params, layer: int, below: Array, key: Key) -> Array:
        """A sample of layer 1 .. L given the one below, (N, n_layer); params are params["inference"]."""
        return self._sample(params[layer - 1], below, key)

    def generate(self, params: Params, layer: int, above: Array, key: Key) -> Array:
        """A sample of layer 0 .. L-1 given the one above, (N, n_layer); params are params["generation"]."""
        h = self._sample(params[layer], above, key)
        return activation_of(self.output).phi(h) if layer == 0 else h

    def prior(self, key: Key, count: int, dtype: jnp.dtype) -> Array:
        """Samples of the top layer, (count, n_L)."""
        return _normal(key, (count, self.sizes[-1]), dtype)

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        """See `plasticity_jax.networks.hierarchy.stacked_phases`."""
        return stacked_phases(self, params, x, key, parents, oscillate)

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        """A discriminator's judgement of its layers' activity, (N, n_i) each; params are its own."""
        phi = activation_of(self.critic_activation).phi
        h = jnp.concatenate(activity, -1)
        for w, bias in zip(params["w"][:-1], params["bias"][:-1], strict=True):
            h = phi(h @ w.T + bias[None, :])
        return Judgement(h @ params["w"][-1][0] + params["bias"][-1][0], h)

    def check(self, params: Params, x: Array) -> None:
        """Refuses images or weights that do not fit.

        Raises:
          ValueError: if the images are of another size, type or range.
          AssertionError: naming the array and the shape that it should have.
        """
        check_images(x, self.sizes[:1], 0, 1)
        wanted = jax.eval_shape(lambda key: init_params(key, self), jax.random.key(0))
        check_weights(params, wanted, f"a network of sizes {self.sizes}")

    def _sample(self, params: Params, given: Array, key: Key) -> Array:
        """A sample of a layer, (N, n)."""
        n = params["forward"]["bias"][-1].shape[0] // 2
        noise = _normal(key, (1 + self.recurrence, given.shape[0], n), given.dtype)
        a = self._gaussian(params["forward"], given, noise[0])
        for step in range(self.recurrence):
            a = (a + self._gaussian(params["recurrent"], a, noise[1 + step])) / 2
        return a

    def _gaussian(self, params: Params, given: Array, noise: Array) -> Array:
        (w_1, w_2), (bias_1, bias_2) = params["w"], params["bias"]
        h = activation_of(self.activation).phi(given @ w_1.T + bias_1[None, :])
        mean, spread = jnp.split(h @ w_2.T + bias_2[None, :], 2, -1)
        return mean + jax.nn.softplus(spread) * noise


def autoencoder(
    sizes: Sequence[int] = (784, 64),
    hidden: int = 512,
    critic_hidden: int = 512,
    recurrence: int = 1,
    discriminators: Literal["local", "global"] = "local",
    activation: Phi = "relu",
    critic_activation: Phi = "leaky_relu",
    output: Output = "identity",
) -> Autoencoder:
    """Checks and names a network's fixed properties; the defaults are the paper's.

    Args:
      sizes: pixels of an image, and the width of every layer of neurons above it.
      hidden: units of a conditional's hidden layer.
      critic_hidden: units of each of the two hidden layers of a critic.
      recurrence: number of recurrent steps; 0 makes the conditionals Gaussian.
      discriminators: "local", one for each layer, or "global", a single one that reads all layers.
      activation: of the conditionals.
      critic_activation: of the critics.
      output: of the generated image, "identity" or "sigmoid".

    Returns:
      An `Autoencoder`.

    Raises:
      ValueError: if a name is not known, or a number is too small.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> net = autoencoder(sizes=(9, 2), hidden=5, critic_hidden=5)
      >>> params = init_params(jax.random.key(0), net)
      >>> phases = net.phases(params, jnp.ones((3, 9)), jax.random.key(1))
      >>> [h.shape for h in phases.sleep]
      [(3, 9), (3, 2)]

    Reference:
      Benjamin & Kording, "Learning to infer in recurrent biological networks", arXiv:2006.10811v2, appendix A.1.3.
    """
    check_activation(activation)
    check_activation(critic_activation)
    one_of("output", output, get_args(Output))
    one_of("discriminators", discriminators, ("local", "global"))
    if len(sizes) < 2 or min(*sizes, hidden, critic_hidden) < 1 or recurrence < 0:
        raise ValueError(
            f"sizes={tuple(sizes)}, hidden={hidden}, critic_hidden={critic_hidden}, recurrence={recurrence}: an image "
            "and at least one layer of neurons, no width below 1, no recurrence below 0"
        )
    layers = tuple(range(len(sizes)))
    sites = tuple((layer,) for layer in layers) if discriminators == "local" else (layers,)
    return Autoencoder(tuple(sizes), hidden, critic_hidden, recurrence, sites, activation, critic_activation, output)


def init_params(key: Key, net: Autoencoder, *, dtype: Any = None) -> Params:
    """Weights and biases U(-1, 1) / sqrt(n_in).

    Args:
      key: split, one part for each net.
      net: fixed properties.
      dtype: JAX's default float if None.

    Returns:
      The weights, as in the module's docstring.
    """
    dtype = default_float() if dtype is None else dtype
    up, down, critics = jax.random.split(key, 3)

    def layer(key: Key, n_in: int, n: int) -> Params:
        forward, recurrent = jax.random.split(key)
        nets = {"forward": _net(forward, (n_in, net.hidden, 2 * n), dtype)}
        return nets | ({"recurrent": _net(recurrent, (n, net.hidden, 2 * n), dtype)} if net.recurrence else {})

    pairs = list(itertools.pairwise(net.sizes))
    widths = [sum(net.sizes[i] for i in site) for site in net.sites]
    return {
        "inference": tuple(layer(k, n, m) for k, (n, m) in zip(jax.random.split(up, net.depth), pairs, strict=True)),
        "generation": tuple(layer(k, m, n) for k, (n, m) in zip(jax.random.split(down, net.depth), pairs, strict=True)),
        "discriminator": tuple(
            _net(k, (n, net.critic_hidden, net.critic_hidden, 1), dtype)
            for k, n in zip(jax.random.split(critics, len(widths)), widths, strict=True)
        ),
    }


def _net(key: Key, sizes: Sequence[int], dtype: jnp.dtype) -> Params:
    keys = jax.random.split(key, (len(sizes) - 1, 2))

    def uniform(key: Key, shape: tuple[int, ...], n_in: int) -> Array:
        return jax.random.uniform(key, shape, dtype, -1, 1) / n_in**0.5

    maps = list(enumerate(itertools.pairwise(sizes)))
    return {
        "w": tuple(uniform(keys[i, 0], (n_out, n_in), n_in) for i, (n_in, n_out) in maps),
        "bias": tuple(uniform(keys[i, 1], (n_out,), n_in) for i, (n_in, n_out) in maps),
    }


def _normal(key: Key, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    size = 1
    for n in shape:
        size *= n
    return stored_noise(key, size, dtype, "gaussian").reshape(shape)
