"""Networks, chains of layers among them: factories, types, and one `init_params` for all.

A network for `plasticity_jax.rules.adversarial` is an `AdversarialNet`. If your own network is a `Stack` of layers,
`stacked_phases` and `reconstruct` do the rest.
"""

from typing import TYPE_CHECKING, Any

from plasticity_jax.layers import Chain
from plasticity_jax.layers import init_params as _init_chain
from plasticity_jax.networks.autoencoder import Autoencoder, autoencoder
from plasticity_jax.networks.autoencoder import init_params as _init_autoencoder
from plasticity_jax.networks.conv_lstm import ConvLstm, conv_lstm, predict
from plasticity_jax.networks.conv_lstm import init_params as _init_conv_lstm
from plasticity_jax.networks.convnet import ConvNet, convnet, features
from plasticity_jax.networks.convnet import init_params as _init_convnet
from plasticity_jax.networks.dcgan import Dcgan, dcgan
from plasticity_jax.networks.dcgan import init_params as _init_dcgan
from plasticity_jax.networks.hierarchy import (
    FREE,
    AdversarialNet,
    Judgement,
    Parents,
    Phases,
    Stack,
    reconstruct,
    stacked_phases,
)
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.networks.two_stream import TwoStream, trajectory, trajectory_loss, two_stream
from plasticity_jax.networks.two_stream import init_params as _init_two_stream
from plasticity_jax.ops.rooms import suggesting
from plasticity_jax.typing import Key, Params

__all__ = [
    "FREE",
    "AdversarialNet",
    "Autoencoder",
    "ConvLstm",
    "ConvNet",
    "Dcgan",
    "Judgement",
    "Parents",
    "Phases",
    "Stack",
    "TwoStream",
    "autoencoder",
    "conv_lstm",
    "convnet",
    "dcgan",
    "features",
    "init_params",
    "mlp",
    "predict",
    "reconstruct",
    "stacked_phases",
    "trajectory",
    "trajectory_loss",
    "two_stream",
]

_INITS: dict[type, Any] = {
    Autoencoder: _init_autoencoder,
    Chain: _init_chain,
    ConvLstm: _init_conv_lstm,
    ConvNet: _init_convnet,
    Dcgan: _init_dcgan,
    TwoStream: _init_two_stream,
}


def init_params(
    key: Key, net: Autoencoder | Chain | ConvLstm | ConvNet | Dcgan | TwoStream, *, dtype: Any = None
) -> Params:
    """Initial weights of any network of this room.

    Args:
      key: shape (), consumed.
      net: of one of the room's factories.
      dtype: of the weights; JAX's default float if None.

    Returns:
      The weights, in the form that the network's module describes.

    Raises:
      TypeError: if the network is not of this room.

    Example:
      >>> import jax
      >>> params = init_params(jax.random.key(0), convnet((9, 9, 1), channels=4, strides=(2, 1)))
      >>> params["Conv_1"]["kernel"].shape
      (3, 3, 4, 4)
    """
    if type(net) not in _INITS:
        known = ", ".join(sorted(kind.__name__ for kind in _INITS))
        raise TypeError(f"net={net!r} is not a network of this room ({known}); for a cell, cells.init_params")
    return _INITS[type(net)](key, net, dtype=dtype)


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)
