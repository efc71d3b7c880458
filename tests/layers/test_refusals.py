"""Layers and networks that do not fit are refused in one line, with the remedy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from plasticity_jax import rules
from plasticity_jax.layers import chain, conv, dense, flatten, from_flax, init_params, layer, pool


def matrix(key, shape, dtype):
    return jax.random.normal(key, (*shape, 3), dtype)


def own(linear, init=matrix, phi="identity"):
    return layer(linear, init, phi, name="mine")


def largest(v):
    return nn.max_pool(v, (2, 2), (2, 2))


BIAS = "leave out its bias (use_bias=False), which the chain adds, and put a nonlinearity into phi"
PRODUCT = "leave out its bias (use_bias=False), which the chain adds; a product of weights is two layers"
IMAGE, TAIL = (4, 4, 1), [flatten(), dense(2)]
REFUSED = {
    # Layers that are not linear on random weights and activity.
    "bias": (lambda: chain(IMAGE, [nn.Conv(2, (3, 3)), *TAIL]), "layers[0]=Conv is not linear in its activity", BIAS),
    "bias of rows": (
        lambda: chain((4,), [dense(3), nn.Dense(2)]),
        "layers[1]=Dense is not linear in its activity",
        BIAS,
    ),
    "tanh inside": (lambda: chain((4,), [own(lambda w, h: jnp.tanh(h @ w))]), "layers[0]=mine is not linear", BIAS),
    "tanh of h": (lambda: chain((4,), [own(lambda w, h: jnp.tanh(h) @ w)]), "mine is not linear in its activity", BIAS),
    "tanh of w": (
        lambda: chain((4,), [own(lambda w, h: h @ jnp.tanh(w))]),
        "mine is not linear in its weights",
        PRODUCT,
    ),
    "two matrices": (
        lambda: chain((4,), [nn.Sequential([nn.Dense(3, use_bias=False), nn.Dense(2, use_bias=False)])]),
        "layers[0]=Sequential is not linear in its weights",
        PRODUCT,
    ),
    "maximum": (
        lambda: chain(IMAGE, [layer(lambda w, h: largest(h), None, name="largest"), *TAIL]),
        "layers[0]=largest is not linear in its activity",
        "put a nonlinearity into phi",
    ),
    "norm": (
        lambda: chain((4,), [nn.LayerNorm(use_bias=False), dense(2)]),
        "LayerNorm is not linear in its activity",
        BIAS,
    ),
    "mean of a batch": (
        lambda: chain((4,), [own(lambda w, h: (h - jnp.mean(h, 0)) @ w)]),
        "layers[0]=mine mixes the examples of a batch",
        "v of one may read its activity alone",
    ),
    # Modules that are more than weights.
    "batch norm": (
        lambda: chain(IMAGE, [nn.BatchNorm(use_running_average=True), *TAIL]),
        "layers[0]=BatchNorm does not take activity (B, 4, 4, 1): BatchNorm carries batch_stats",
        "a layer has weights ('params') and nothing else",
    ),
    "dropout": (lambda: chain((4,), [nn.Dropout(0.5), dense(2)]), "layers[0]=Dropout does not take", "deterministic"),
    "no weights": (
        lambda: chain((4,), [own(lambda w, h: h, lambda *_: ())]),
        "layers[0]=mine draws no weights",
        "give init=None to a layer without",
    ),
    "a class": (
        lambda: chain((4,), [nn.Dense]),
        "layers[0] is Dense, not a layer",
        "call dense, conv, pool, flatten, layer or a flax.linen module",
    ),
    "not called": (
        lambda: chain(IMAGE, [conv(2, 3), flatten, dense(2)]),
        "layers[1] is flatten, not a layer",
        "call dense, conv, pool, flatten",
    ),
    "tanh as a layer": (
        lambda: chain((4,), [dense(2), jnp.tanh]),
        "layers[1] is tanh, not a layer",
        "a nonlinearity is the phi of the layer before it",
    ),
    "a number": (lambda: chain((4,), [dense(2), 3]), "layers[1] is int, not a layer", "call dense, conv, pool"),
    "a function": (lambda: from_flax(jnp.tanh), "from_flax takes a flax.linen module", "nn.Dense(10, use_bias=False)"),
    # Shapes that do not chain.
    "rows of an image": (
        lambda: chain(IMAGE, [conv(2, 3), dense(2)]),
        "layers[1]=dense(2) does not take activity (B, 4, 4, 2)",
        "put flatten() before it",
    ),
    "an image of rows": (
        lambda: chain((16,), [conv(2, 3), *TAIL]),
        "layers[0]=conv(2, 3) does not take activity (B, 16)",
        "give the chain an in_shape (H, W, C)",
    ),
    "small image": (
        lambda: chain((4, 2, 1), [conv(2, (2, 3), padding="VALID"), *TAIL]),
        "conv(2, (2, 3)) gets images of 4 x 2, smaller than its kernel",
        "use padding='SAME', a smaller kernel or larger images",
    ),
    "small image of flax": (
        lambda: chain((2, 2, 1), [nn.Conv(2, (3, 3), padding="VALID", use_bias=False), *TAIL]),
        "layers[0]=Conv: nothing is left after linear, (0, 0, 2)",
        "its window is too large",
    ),
    "pool of rows": (
        lambda: chain((4,), [pool(2), dense(2)]),
        "layers[0]=pool(2) does not take activity (B, 4)",
        "takes images (B, H, W, C) of at least 2 x 2",
    ),
    "large pool": (lambda: chain(IMAGE, [pool(5), *TAIL]), "layers[0]=pool(5)", "of at least 5 x 5, not (2, 4, 4, 1)"),
    "other weights": (
        lambda: chain((4,), [own(lambda w, h: h @ w, lambda key, shape, dtype: jnp.zeros((3, 2), dtype))]),
        "layers[0]=mine does not take activity (B, 4)",
        "got (4,) and (3,)",
    ),
    "branches": (
        lambda: chain((4,), [own(lambda w, h: h @ w if h[0, 0] > 0 else h)]),
        "layers[0]=mine does not take activity (B, 4)",
        "boolean conversion of traced array",
    ),
    "sum over the batch": (
        lambda: chain((4,), [own(lambda w, h: jnp.sum(h @ w, 0))]),
        "layers[0]=mine: linear returns (3,) for a batch of 2",
        "keep the batch's axis first",
    ),
    "phi without the batch": (
        lambda: chain((4,), [dense(3, jnp.sum)]),
        "layers[0]=dense(3): phi returns () for a batch of 2",
        "keep the batch's axis first",
    ),
    "nothing to learn": (
        lambda: chain(IMAGE, [flatten()]),
        "layers holds none with weights",
        "give at least one dense or conv",
    ),
    "phi of no weights": (
        lambda: layer(lambda w, h: h, None, "tanh", name="mine"),
        "mine has no weights, so it takes no nonlinearity",
        "give phi to the layer before it",
    ),
    # Losses.
    "an image for the loss": (
        lambda: chain(IMAGE, [conv(2, 3)]),
        "loss='squared' takes an output (n,), and the last layer's is (4, 4, 2)",
        "put flatten() after it",
    ),
    "softmax of one output": (
        lambda: chain((4,), [dense(1)], "softmax"),
        "loss='softmax' of one output is constant",
        "give it two, or use loss='squared'",
    ),
    "softmax of tanh": (
        lambda: chain((4,), [dense(2, "tanh")], "softmax"),
        "takes the last phi 'identity'",
        "not 'tanh'",
    ),
    "loss": (
        lambda: chain((4,), [dense(2)], "hinge"),
        "loss='hinge' is not known",
        "use one of softmax, squared, or a callable",
    ),
    # Arguments of a layer, one by one.
    "in_shape": (lambda: chain((), [dense(2)]), "in_shape=() must be the shape of one input", "(28, 28, 1)"),
    "in_shape, none": (lambda: chain(None, [dense(2)]), "in_shape=None must be the shape", "as in (3,)"),
    "in_shape, 0": (lambda: chain((4, 0, 1), [*TAIL]), "in_shape=0", "a whole number of at least 1"),
    "in_shape, 4.5": (lambda: chain((4.5,), [dense(2)]), "in_shape=4.5", "a whole number of at least 1"),
    "n": (lambda: dense(0), "n=0", "a whole number of at least 1 neuron"),
    "n, true": (lambda: dense(True), "n=True", "a whole number of at least 1 neuron"),
    "channels": (lambda: conv(2.0, 3), "channels=2.0", "a whole number of at least 1 channel"),
    "kernel": (lambda: conv(2, (3, 3, 1)), "kernel=(3, 3, 1)", "must be one whole number, or two"),
    "kernel, 0": (lambda: conv(2, (3, 0)), "kernel=0", "a whole number of at least 1 pixel"),
    "stride": (lambda: conv(2, 3, stride=0), "stride=0", "a whole number of at least 1 pixel"),
    "padding": (lambda: conv(2, 3, padding="FULL"), "padding='FULL' is not known", "use one of SAME, VALID"),
    "size": (lambda: pool((2, 2)), "size=(2, 2)", "a whole number of at least 1 pixel"),
    "phi": (lambda: conv(2, 3, "swish"), "'swish' is not known", "use one of tanh, relu"),
    "phi of rows": (lambda: dense(2, "swish"), "'swish' is not known", "or a callable"),
    "phi of flax": (lambda: from_flax(nn.Dense(2), "swish"), "'swish' is not known", "or a callable"),
    "pathway": (
        lambda: init_params(jax.random.key(0), chain((4,), [dense(2)]), pathway="straight"),
        "pathway='straight'",
        "chain, direct",
    ),
    # Networks for rules.
    "sizes": (
        lambda: init_params(jax.random.key(0), (3, 4)),
        "net is tuple, not a network of layers",
        "layers.chain or networks.mlp",
    ),
    "sizes for a rule": (
        lambda: rules.feedback_alignment((3, 4)),
        "net is tuple, not a network of layers",
        "make one by layers.chain or networks.mlp",
    ),
    "no network": (
        lambda: rules.weight_mirror(None),
        "net is NoneType, not a network of layers",
        "make one by layers.chain or networks.mlp",
    ),
    "no network either": (
        lambda: rules.node_perturbation(3),
        "net is int, not a network of layers",
        "make one by layers.chain or networks.mlp",
    ),
    "no loss": (
        lambda: rules.weight_perturbation(3),
        "net=3 is neither a chain of layers",
        "nor a function (params, batch)",
    ),
    "no hidden layer": (
        lambda: rules.node_perturbation(chain((4,), [dense(2)])),
        "node perturbation needs a hidden layer to perturb",
        "give the network two layers with weights",
    ),
    "mirror of maxima": (
        lambda: rules.weight_mirror(chain(IMAGE, [conv(2, 3), conv(2, 3, largest), *TAIL])),
        "layers[1]=conv(2, 3): its phi changes the shape",
        "use pool after a phi that keeps it",
    ),
    "ridge on images": (
        lambda: rules.node_perturbation(chain(IMAGE, [conv(2, 3), conv(2, 3), *TAIL]), estimator="ridge"),
        "estimator='ridge' solves for matrices between dense layers, and conv(2, 3) is in their way",
        "use 'sgd', or pathway='direct'",
    ),
    "ridge behind a pool": (
        lambda: rules.node_perturbation(chain(IMAGE, [conv(2, 3), pool(2), *TAIL]), estimator="ridge"),
        "and pool(2) is in their way",
        "use 'sgd', or pathway='direct'",
    ),
    "offline on images": (
        lambda: rules.node_perturbation(
            chain(IMAGE, [conv(2, 3, "identity"), conv(2, 3, "identity"), *TAIL]), estimator="offline"
        ),
        "estimator='offline' solves for matrices between dense layers, and conv(2, 3) is in their way",
        "use 'sgd'",
    ),
}


def one_line(call, problem, remedy, errors=(ValueError, TypeError)):
    with pytest.raises(errors) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message, message
    assert problem in message
    assert remedy in message


@pytest.mark.parametrize("name", REFUSED)
def test_bad_networks_are_refused(name):
    make, problem, remedy = REFUSED[name]
    one_line(make, problem, remedy)


def test_borderline_networks_are_taken():
    linear = nn.Sequential([nn.Conv(2, (3, 3), use_bias=False), lambda h: h[:, ::-1]])
    first_maximum = chain(IMAGE, [conv(2, 3, largest), *TAIL])
    assert chain(IMAGE, [linear, layer(lambda w, h: -h, None), *TAIL]).h_shapes[-1] == (2,)
    rules.weight_mirror(first_maximum)  # the first layer is not mirrored
    rules.node_perturbation(chain(IMAGE, [conv(2, 3), *TAIL]), estimator="ridge")  # only a matrix to solve for
    chain(IMAGE, [conv(2, 5), *TAIL])  # larger than the image, with zeros around it
