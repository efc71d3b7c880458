"""Dense and convolutional networks on CIFAR-10 and MNIST: do convolutions cause feedback alignment's deficit?

The known result is that fixed random feedback teaches dense networks nearly as well as backpropagation does, and
convolutional ones badly (Bartunov et al. 2018; Moskovitz, Litwin-Kumar & Abbott 2018; for direct feedback Launay, Poli
& Krzakala 2019; cited from memory, without their numbers). `cifar.py` has the convolutional half on CIFAR-10. Here its
network is compared with a dense one of the same depth, nonlinearity, loss, optimiser and batches. Its four hidden
layers share the largest width with which it has no more weights: 50 on CIFAR-10 and 136 on MNIST. In both networks the
three lower layers are those that "frozen" leaves at their initial weights; in the convolutional one they are
convolutions.

The dense network performs worse, and so has fewer points to lose. Two numbers are therefore compared: points below
backpropagation, and those points as a share of what backpropagation gains over "frozen". With networks matched in this
way, feedback alignment is far behind in CIFAR-10's dense network, too; but there it ends above "frozen", which it does
not in the convolutional network. Much wider dense networks, in which fixed feedback is known to do well, were not run;
they have many times the weights.

On MNIST the convolutional network is trained by all ten methods of `cifar.py`. The claims of `cifar.py` are made on it,
too, except those with a margin in points: MNIST has too few errors for it.

The rates of all methods were searched alike, before any test image was used: 1,000 steps of one network that is not
reported, evaluated on 5,000 held-out training images (``--held 5000 --seeds 1 --points 1`` and ``--factor``). The
feedback's own settings are those found on CIFAR-10's convolutional network, except Kolen-Pollack's decay, which was
searched again. In dense networks 1e-2 was tried, too, where 3e-3 was best, and 1e-4 for backpropagation on CIFAR-10,
with 38.6. Per cent correct; columns are Adam's rates. Those of CIFAR-10's convolutional network are in `cifar.py`:

                 CIFAR-10, dense            MNIST, convolutional       MNIST, dense
                 3e-4   1e-3   3e-3   1e-2  3e-4   1e-3   3e-3   1e-2  3e-4   1e-3   3e-3   1e-2
    bp           39.9   37.6   35.6         96.6   97.7   96.9         95.0   95.4   92.9
    sign                                    96.1   97.5   97.0
    kp           28.9   33.7   32.5         94.4   96.4   95.5         94.0   95.4   93.3
    mirror                                  96.3   97.1   96.7
    np_chain                                93.6   95.2   94.2
    np_direct    38.8   38.0   36.0         93.6   95.6   94.9         93.4   94.9   94.0
    fa           29.1   32.5   32.5   28.4  91.9   94.8   94.2         91.2   93.6   92.1
    dfa          32.8   36.2   34.6         93.0   95.3   95.1         91.8   95.0   94.4
    frozen       25.2   28.1   28.8   29.1  93.4   95.3   95.5         81.6   86.6   89.6   89.4
    readout             25.2   26.9   27.4         81.5   85.3   86.7         76.5   81.0   82.2

Kolen-Pollack's decay at 1e-3, in that order: 1e-4 31.6, 1e-3 33.4, 3e-3 33.6, 0.01 33.7; 1e-3 96.8, 0.01 96.4, 0.1
86.7; 1e-4 95.1, 1e-3 94.9, 3e-3 95.2, 0.01 95.4.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping

from experiments.lansdell2019 import cifar
from experiments.lansdell2019.cifar_claims import METHODS
from experiments.lansdell2019.cifar_images import pictures
from experiments.lansdell2019.common import Positive, check_schedule
from experiments.lansdell2019.dense_conv_claims import CLAIMS, COMPARED, FURTHER, NETWORKS, SETS, WHY, summarise
from experiments.lansdell2019.dense_conv_figures import plot, text
from experiments.shared.checks import check_names
from experiments.shared.claims import explained
from plasticity_jax.layers import Chain, chain, dense, flatten
from plasticity_jax.run import Experiment, Program

SETTINGS: Mapping[str, Mapping[str, float]] = {
    "cifar10.dense": {
        "bp_rate": 3e-4,
        "np_direct_rate": 3e-4,
        "fa_rate": 3e-3,
        "frozen_rate": 1e-2,
        "readout_rate": 1e-2,
    },
    "mnist.conv": {"kp_decay": 1e-3, "frozen_rate": 3e-3, "readout_rate": 1e-2},
    "mnist.dense": {"frozen_rate": 3e-3, "readout_rate": 1e-2},
}
"""Settings from the search by "set.network", where they differ from the defaults of `cifar.Config`."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; all others are those of `cifar.Config`.

    Attributes:
      seeds: networks and batches, shared by all methods.
      sets: "cifar10", "mnist", or "prototypes" (random, no files).
      networks: "conv", "dense"; claims that need both are not judged if only one is run.
      held: number of training images, the last ones, that are held out and evaluated in place of the test images, for
        the choice of rates. Networks and batches then differ from the reported ones.
      channels: of the convolutions.
      kernels: sides of their windows.
      width: of the dense layer above them.
      batch: examples in a step.
      epochs: of 1,000 steps.
      points: evaluations, evenly spaced, each at the end of a chunk.
      factor: by which all rates are multiplied, for the search.
      examples: training images on which angles are taken.
      methods: those that are run in both networks; claims that need the others are not judged.
      further: additional methods for the convolutional network, on data sets other than CIFAR-10.
    """

    seeds: int = 4
    sets: tuple[str, ...] = tuple(SETS)
    networks: tuple[str, ...] = tuple(NETWORKS)
    held: int = 0
    channels: tuple[int, ...] = (16, 32, 64)
    kernels: tuple[int, ...] = (5, 5, 3)
    width: int = 128
    batch: int = 64
    epochs: int = 1
    points: int = 4
    factor: Positive = 1.0
    examples: int = 500
    methods: tuple[str, ...] = COMPARED
    further: tuple[str, ...] = FURTHER

    def __post_init__(self) -> None:
        """Refuses unevenly spaced evaluations, unknown names, and kernels without channels."""
        check_schedule(self.epochs, self.points)
        check_names("methods", self.methods, METHODS)
        check_names("further", self.further, METHODS)
        check_names("networks", self.networks, tuple(NETWORKS))
        check_names("sets", self.sets, (*SETS, "prototypes"))
        if len(self.channels) != len(self.kernels):
            raise ValueError(f"kernels={self.kernels} must be as many as channels={self.channels}")


PRESETS = {
    "smoke": Config(
        seeds=2, sets=("prototypes",), channels=(3, 4), kernels=(3, 3), width=8, batch=8, points=2, examples=50,
        methods=("bp", "fa", "frozen"), further=("sign",),
    ),
    "default": Config(),
    "long": Config(epochs=10, points=10),
}  # fmt: skip


def problem(config: Config, data: str, network: str) -> cifar.Config:
    """The settings of one network on one data set, as a Config of `cifar.py`."""
    settings = cifar.Config(
        data=data,
        held=config.held,
        channels=config.channels,
        kernels=config.kernels,
        widths=(config.width,),
        batch=config.batch,
        epochs=config.epochs,
        points=config.points,
        examples=config.examples,
        **SETTINGS.get(f"{data}.{network}", {}),  # pyright: ignore[reportArgumentType]
    )
    rates = {f"{method}_rate": config.factor * getattr(settings, f"{method}_rate") for method in METHODS}
    return dataclasses.replace(settings, **rates)


def dense_network(conv: Chain) -> Chain:
    """A dense network as deep as the convolutional one, with the largest width that needs no more weights."""
    hidden, pixels, outputs = len(conv.layers) - 1, math.prod(conv.h_shapes[0]), math.prod(conv.h_shapes[-1])
    most = weights(conv)
    width = next(n for n in itertools.count(1) if (pixels + (hidden - 1) * (n + 1) + outputs) * (n + 1) > most)
    layers = [dense(width, "tanh") for _ in range(hidden)]
    return chain(conv.h_shapes[0], [flatten(), *layers, dense(outputs)], loss="softmax")


def weights(net: Chain) -> int:
    """The number of a network's weights, without biases."""
    return sum(math.prod(shape) for _, shapes in net.w_forms for shape in shapes)


def make_parts(config: Config) -> dict[str, Program]:
    """Every method in every network, by the name "set.network.method"."""
    parts = {}
    for data in config.sets:
        images = pictures(data, config.held)
        conv = cifar.network(problem(config, data, "conv"), images.train.shape[1:])
        nets = {"conv": conv, "dense": dense_network(conv)}
        for network in config.networks:
            settings = problem(config, data, network)
            further = config.further if network == "conv" and data != "cifar10" else ()
            for method in [method for method in METHODS if method in (*config.methods, *further)]:
                parts[f"{data}.{network}.{method}"] = cifar.part(settings, nets[network], images, method)
    return parts


experiment = Experiment(
    title="Beside the published version: what fixed and learned feedback lose in convolutional and in dense networks",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "4 seeds x 1,000 steps x 31 networks: twelve minutes on one core; needs CIFAR-10 and MNIST",
        "long": "4 seeds x 10,000 steps x 31 networks: two hours on one core; not tried",
    },
    scale={
        "default": "CIFAR-10 by the network of lansdell2019_cifar for a third of its steps, 1,000 of 64 images; dense "
        "layers of 50 units on CIFAR-10 and 136 on MNIST; the paper has no such figure",
        "long": "10,000 steps; the paper has no such figure",
    },
    tuned="rates of all methods on one grid, and Kolen-Pollack's decay, on 5,000 training images held out, in 1,000 "
    "steps of a network that is not reported",
    selects=("sets", "networks", "methods", "further"),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, WHY),
    plot=plot,
    text=text,
)
