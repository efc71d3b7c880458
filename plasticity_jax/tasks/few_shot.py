"""Few-shot classification: each lifetime learns from a few images of a few classes to recognise other images of them.

Source: Lindsey & Litwin-Kumar (2020), section 6. The authors draw support and query of a lifetime independently from
the same images, so that a quarter of their Omniglot queries were also support; here the two are disjoint, unless
`overlap` is set.
"""

import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import check_counts
from plasticity_jax.tasks.episodes import Order, check_order, episode_stream
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Example, Key


def few_shot(
    classes: int,
    per_class: int,
    *,
    ways: int = 5,
    shots: int = 5,
    queries: int = 5,
    order: Order = "iid",
    outputs: int | None = None,
    overlap: bool = False,
    episodes: int = 1,
) -> Stream:
    """Lifetimes of few-shot classification as a stream: one step is one step of a meta-learner.

    Images are large and their indices are not, so the stream holds indices, as `plasticity_jax.data.minibatches` does.
    They are indices into an array of (classes, per_class, ...) images on the device, flattened to rows:

        data = pj.data.load("omniglot")
        images = pj.data.by_class(pj.data.resize(data["image"], 84), data["label"])  # (classes, per_class, 84, 84, 1)
        stream = pj.tasks.few_shot(*images.shape[:2])
        bank = jnp.asarray(images).reshape(-1, *images.shape[2:])  # bank[index] / 255

    An episode is a function of the key and its step alone, so a stream can be cut anywhere. Classes, their images and
    the labels 0 to ways - 1 are drawn anew for each. Index i is image i % per_class of class i // per_class.

    Args:
      classes: to draw from.
      per_class: images of each.
      ways: classes in a lifetime.
      shots: images of each class to learn from, one per inner step; a lifetime has T = ways * shots steps.
      queries: images of each class to test on.
      order: "iid" shuffles the images of a lifetime; "continual" shows them class by class, with random labels.
      outputs: columns of y, at least ways; None: ways. The authors have 1,000.
      overlap: whether the queries are drawn independently of the support, as the authors do.
      episodes: B, lifetimes in a meta-step.

    Returns:
      A `Stream` of `Episode`: support with x (steps, B, T, 1) int32 indices and y (steps, B, T, 1, outputs) one-hot,
      query, class by class, with x (steps, B, ways * queries) and y (steps, B, ways * queries, outputs).

    Raises:
      ValueError: if a count is below 1 or not whole, the order is not known, or there are too few classes, images or
        outputs.

    Example:
      >>> import jax
      >>> stream = few_shot(964, 20, ways=5, shots=5, queries=5)
      >>> _, episode = stream.take(stream.init(jax.random.key(0)), 2)
      >>> episode.support.x.shape, episode.support.y.shape, episode.query.x.shape
      ((2, 1, 25, 1), (2, 1, 25, 1, 5), (2, 1, 25))

    Reference:
      Lindsey & Litwin-Kumar, "Learning to learn with feedback and local plasticity", arXiv:2006.09549.
    """
    outputs = ways if outputs is None else outputs
    check_order(order)
    check_counts(classes=classes, per_class=per_class, ways=ways, shots=shots, queries=queries, episodes=episodes)
    check_counts(outputs=outputs)
    if ways > classes:
        raise ValueError(f"ways={ways} is more than the {classes} classes that the data has")
    if overlap and max(shots, queries) > per_class:
        raise ValueError(f"shots={shots} and queries={queries} must not exceed the {per_class} images of a class")
    if not overlap and shots + queries > per_class:
        raise ValueError(
            f"shots={shots} and queries={queries} make {shots + queries}, but a class has {per_class} images: ask for "
            "fewer, or let the two share images with overlap=True"
        )
    if outputs < ways:
        raise ValueError(f"outputs={outputs} cannot tell ways={ways} classes apart: use at least as many")

    def shuffled_images(key: Key, chosen: Array) -> Array:
        """Indices of the chosen classes' images, shuffled within each class: (ways, per_class)."""
        keys = jax.random.split(key, ways)
        return chosen[:, None] * per_class + jax.vmap(lambda key: jax.random.permutation(key, per_class))(keys)

    def draw(_: Key, key: Key) -> Episode:
        key_classes, key_labels, key_images, key_queries, key_order = jax.random.split(key, 5)
        chosen = jax.random.permutation(key_classes, classes)[:ways]
        labels = jax.random.permutation(key_labels, ways)
        shuffled = shuffled_images(key_images, chosen)
        tested = shuffled_images(key_queries, chosen)[:, :queries] if overlap else shuffled[:, shots : shots + queries]
        support, label = shuffled[:, :shots].reshape(-1), jnp.repeat(labels, shots)
        if order == "iid":
            places = jax.random.permutation(key_order, ways * shots)
            support, label = support[places], label[places]
        return Episode(
            Example(support[:, None].astype(jnp.int32), one_hot(label)[:, None]),
            Example(tested.reshape(-1).astype(jnp.int32), one_hot(jnp.repeat(labels, queries))),
        )

    def one_hot(label: Array) -> Array:
        return jax.nn.one_hot(label, outputs, dtype=jnp.zeros(()).dtype)

    return episode_stream(draw, episodes)
