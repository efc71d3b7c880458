"""Summary of Section 4's experiment and the claims on it."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.benjamin2021.predictions_scores import (
    COMPARED,
    FOLLOWERS,
    KINDS,
    NOVEL,
    PARTS,
    PHASES,
    SCORES,
    first_apart,
)
from experiments.shared.claims import all_within, clear
from plasticity_jax.run import Claim, gap, put, within

SWITCHING = COMPARED[:3]
OVERLAP = ("js_sleep", "js_floor", "js_shuffled", "js_unpaired", "kl_sleep", "index_shuffled", "index_unpaired")
LEARNED = ("learned", "deviates_more")
"""Differences from the untrained network, which is no baseline for them."""


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers at the end of training, and of the untrained network; differences are paired within a seed.

    ``auroc/state/kind/score`` and ``apart/...``, ``told/state/kind`` (AUROC of D, w against o),
    ``polarity/state/which/compared``, ``overlap/state/what``, ``silencing/part/what``; the differences that claims are
    about are under their names, those of the untrained network under ``untrained/...``.
    """
    summary: dict[str, float] = {}
    trained, untrained = ({name: v[:, -1] for name, v in whole(metrics, p).items()} for p in ("training", "untrained"))
    for state, measures in (("trained", trained), ("untrained", untrained)):
        for i, kind in enumerate(KINDS):
            for j, score in enumerate(SCORES):
                put(summary, f"auroc/{state}/{kind}/{score}", measures["auroc"][:, i, j])
                put(summary, f"apart/{state}/{kind}/{score}", measures["apart"][:, i, j])
        for i, kind in enumerate(("familiar", *KINDS)):
            put(summary, f"told/{state}/{kind}", measures["told"][:, i])
        for which in ("critic", "network"):
            for i, name in enumerate(COMPARED):
                put(summary, f"polarity/{state}/{which}/{name}", measures[which][:, i])
        for name in OVERLAP:
            put(summary, f"overlap/{state}/{name}", measures[name])
        put(summary, f"overlap/{state}/excess", measures["js_sleep"] - measures["js_floor"])
    for prefix, measures in (("", trained), ("untrained/", untrained)):
        for name, values in {**_novelty(measures), **_polarity(measures), **_alignment(measures)}.items():
            put(summary, f"{prefix}{name}", values)
    for name, values in _learned(trained, untrained).items():
        put(summary, name, values)
    for part, followers in FOLLOWERS.items():
        _silencing(summary, metrics, part, followers)
    return summary


def whole(metrics: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The metrics of one part, by their own names."""
    return {name.removeprefix(f"{part}/"): values for name, values in metrics.items() if name.startswith(f"{part}/")}


def _novelty(measures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Surprise of a network, and its discriminators' response, by kind of stimulus."""
    differences = {"alike": 0.1 - np.abs(measures["told"][:, 0] - 0.5)}
    of = {kind: dict(zip(SCORES, measures["auroc"][:, i].T, strict=True)) for i, kind in enumerate(KINDS)}
    for i, (kind, auroc) in enumerate(of.items()):
        for score in ("critic", "features"):
            differences[f"surprise/{kind}/{score}"] = auroc[score] - 0.5
            differences[f"beyond_ink/{kind}/{score}"] = auroc[score] - 0.5 - np.abs(auroc["ink"] - 0.5)
            differences[f"beyond_pixels/{kind}/{score}"] = auroc[score] - auroc["pixels"]
        for score in ("image_critic", "code_critic"):
            differences[f"rises/{kind}/{score}"] = auroc[score] - 0.5
            differences[f"deviates/{kind}/{score}"] = np.abs(auroc[score] - 0.5) - np.abs(of["again"][score] - 0.5)
        differences[f"told_more/{kind}"] = measures["told"][:, 1 + i] - measures["told"][:, 0]
    return differences


def _polarity(measures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cosines of plasticity with their signs turned, and the control's less these."""
    differences = {}
    for which in ("critic", "network"):
        cosine: dict[str, np.ndarray] = dict(zip(COMPARED, measures[which].T, strict=True))
        for name in SWITCHING:
            differences[f"switches/{which}/{name}"] = -cosine[name]
            differences[f"switches_own/{which}/{name}"] = cosine[_control(name)] - cosine[name]
    return differences


def _alignment(measures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sleep's divergence from wake, below those of the controls."""
    return {
        "align/pairs": measures["js_unpaired"] - measures["js_sleep"],
        "align/units": measures["js_shuffled"] - measures["js_sleep"],
    }


def _learned(trained: Mapping[str, np.ndarray], untrained: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Differences from the untrained network."""
    floors = [measures["js_sleep"] - measures["js_floor"] for measures in (untrained, trained)]
    differences = {"align/js": floors[0] - floors[1], "align/kl": untrained["kl_sleep"] - trained["kl_sleep"]}
    for i, kind in enumerate(KINDS):
        now, before = (dict(zip(SCORES, measures["auroc"][:, i].T, strict=True)) for measures in (trained, untrained))
        for score in ("critic", "features"):
            differences[f"learned/{kind}/{score}"] = now[score] - before[score]
        for score in ("image_critic", "code_critic"):
            differences[f"deviates_more/{kind}/{score}"] = np.abs(now[score] - 0.5) - np.abs(before[score] - 0.5)
    for which in ("critic", "network"):
        for i, name in enumerate(SWITCHING):
            differences[f"switches_more/{which}/{name}"] = untrained[which][:, i] - trained[which][:, i]
    return differences


def _control(name: str) -> str:
    """The control of one of `SWITCHING`."""
    return "code_control" if name == "code" else "image_control"


def _silencing(
    summary: dict[str, float], metrics: Mapping[str, np.ndarray], part: str, followers: tuple[tuple[int, int], ...]
) -> None:
    """Adds the variance of silenced units in the other phases, over that of the network with nothing silenced."""
    at, onset = PARTS.index(part), first_apart(metrics)
    variance, critic_gap = metrics["training/variance"], metrics["training/wake_sleep"]
    for phase, layer in followers:
        share = variance[:, :, at, phase, layer] / variance[:, :, 0, phase, layer]
        name = f"silencing/{part}/{PHASES[phase]}"
        put(summary, f"{name}/early", share[:, onset, 0])
        put(summary, f"{name}/silenced", share[:, -1, 0])
        put(summary, f"{name}/others", share[:, -1, 1])
        put(summary, f"{name}/falls", 0.5 - share[:, -1, 0])
        put(summary, f"{name}/goes_on", share[:, onset, 0] - share[:, -1, 0])
        put(summary, f"{name}/alone", share[:, -1, 1] - share[:, -1, 0])
    layer = followers[0][1]
    put(summary, f"silencing/{part}/gap_opens", critic_gap[:, onset, at, layer] - critic_gap[:, onset, 0, layer])
    put(summary, f"silencing/{part}/gap_stays", critic_gap[:, -1, at, layer] - critic_gap[:, -1, 0, layer])
    put(summary, f"silencing/{part}/gap_closes", critic_gap[:, onset, at, layer] - critic_gap[:, -1, at, layer])


def _of_novel(
    id: str, statement: str, paper: str | None, difference: str, score: str, kinds: Sequence[str] = NOVEL
) -> Claim:
    """Claim that a difference is above 0 for every kind; it is our own if the paper does not state it."""
    names = [f"{difference}/{kind}/{score}" for kind in kinds]
    trivial = None if difference in LEARNED else clear(*(f"untrained/{name}" for name in names))
    return gap(id, statement, paper, *names, own=paper is None, trivial=trivial)


def _switching(id: str, statement: str, which: str) -> Claim:
    return all_within(
        id,
        statement,
        "switch polarity",
        0.95,
        1.001,
        *(f"switches/{which}/{name}" for name in SWITCHING),
        trivial=lambda s: all(0.95 <= s[f"untrained/switches/{which}/{name}"] <= 1.001 for name in SWITCHING),
    )


SURPRISE = [
    _of_novel(
        "surprise",
        "Oscillations are stronger for novel stimuli: |f(w) - f(o)| tells each kind from test digits (AUROC - 0.5)",
        "stronger oscillations",
        "surprise",
        "features",
    ),
    _of_novel("surprise-critic", "So does |D(w) - D(o)| (AUROC - 0.5)", None, "surprise", "critic"),
    _of_novel(
        "surprise-learned",
        "That is learned: AUROC of |f(w) - f(o)|, beyond the untrained network's",
        None,
        "learned",
        "features",
    ),
    _of_novel(
        "surprise-beyond-ink",
        "It is not the ink: |f(w) - f(o)| tells better, of kinds that have the ink of digits",
        None,
        "beyond_ink",
        "features",
        ("omniglot", "upside_down", "shuffled"),
    ),
    _of_novel(
        "surprise-beyond-pixels",
        "It needs a discriminator: |f(w) - f(o)| tells Omniglot better than the error in pixels does",
        None,
        "beyond_pixels",
        "features",
        ("omniglot",),
    ),
    gap(
        "expected-alike",
        "For expected stimuli the top-down signal is indistinguishable: D tells w from o by less than 0.1 from chance",
        "indistinguishable",
        "alike",
        trivial=clear("untrained/alike"),
    ),
    gap(
        "expected-less-told",
        "D tells w from o of test digits less well than of novel stimuli (AUROC, difference)",
        None,
        *(f"told_more/{kind}" for kind in NOVEL),
        own=True,
        trivial=clear(*(f"untrained/told_more/{kind}" for kind in NOVEL)),
    ),
]

NOVELTY = [
    _of_novel(
        "novelty",
        "After convergence D of novel stimuli deviates, image (distance of AUROC from 0.5, beyond other test digits')",
        "a pattern unlike any seen",
        "deviates",
        "image_critic",
    ),
    _of_novel("novelty-code", "So does D of the code", "a pattern unlike any seen", "deviates", "code_critic"),
    _of_novel(
        "novelty-rises",
        "A good discriminator increases its activity: D of novel images is higher (AUROC - 0.5)",
        "increase",
        "rises",
        "image_critic",
    ),
    _of_novel("novelty-rises-code", "So is D of their codes", "increase", "rises", "code_critic"),
    _of_novel(
        "novelty-learned",
        "Surprise is signalled only after learning: D deviates more than in the untrained network, image",
        "only after some period",
        "deviates_more",
        "image_critic",
    ),
    _of_novel("novelty-learned-code", "So it is of the code", "only after some period", "deviates_more", "code_critic"),
]

POLARITY = [
    _switching(
        "polarity-critic",
        "Plasticity onto discriminators switches polarity: cosine of wake's and the other phases' part below -0.95",
        "critic",
    ),
    _switching(
        "polarity-network",
        "So does what their activity does to plasticity around them: cosine of the mean errors they send, below -0.95",
        "network",
    ),
    gap(
        "polarity-learned",
        "The cosines onto discriminators are nearer -1 than in the untrained network (difference)",
        None,
        *(f"switches_more/critic/{name}" for name in SWITCHING),
        own=True,
    ),
    gap(
        "polarity-own",
        "And nearer -1 than with novel stimuli, shuffled digits, in place of the other phase (difference)",
        None,
        *(f"switches_own/critic/{name}" for name in SWITCHING),
        own=True,
        trivial=clear(*(f"untrained/switches_own/critic/{name}" for name in SWITCHING)),
    ),
]

DEVELOPMENT = [
    gap(
        "align",
        "Distributions align over development: JS of wake and sleep above its floor falls (bits)",
        "should align",
        "align/js",
    ),
    gap("align-kl", "So does KL, Berkes's measure (bits)", "should align", "align/kl"),
    gap(
        "align-pairs",
        "Sleep is nearer to wake than wake is with x and z of different images (JS, difference, bits)",
        None,
        "align/pairs",
        own=True,
        trivial=clear("untrained/align/pairs"),
    ),
    gap(
        "align-units",
        "And than wake is with all units independent",
        None,
        "align/units",
        own=True,
        trivial=clear("untrained/align/units"),
    ),
]

SILENCING = [
    gap(
        "silence-sleep",
        "Code units silenced asleep: their variance awake falls below half of what it is with nothing silenced",
        "to match",
        "silencing/sleep_code/wake/falls",
    ),
    gap(
        "silence-sleep-alone",
        "Only theirs does: the others' variance awake, less theirs, in units of the network without silencing",
        None,
        "silencing/sleep_code/wake/alone",
        own=True,
    ),
    gap(
        "silence-sleep-gap",
        "As they follow, D of the code is fooled again: its gap closes from the first evaluation on",
        None,
        "silencing/sleep_code/gap_closes",
        own=True,
    ),
    gap(
        "silence-wake-image",
        "Pixels silenced awake: their variance asleep and in the oscillation falls below half",
        "to match",
        "silencing/wake_image/sleep/falls",
        "silencing/wake_image/oscillation/falls",
    ),
    gap(
        "silence-wake-image-alone",
        "Only theirs does (difference from the other pixels)",
        None,
        "silencing/wake_image/sleep/alone",
        "silencing/wake_image/oscillation/alone",
        own=True,
    ),
    within(
        "silence-wake-code",
        "Code units silenced awake: asleep they cannot follow, for the prior does not learn (variance, relative)",
        None,
        "silencing/wake_code/sleep/silenced",
        0.99,
        1.01,
        own=True,
    ),
    gap(
        "silence-wake-code-gap",
        "So that D of the code keeps telling them: its gap stays above that with nothing silenced",
        None,
        "silencing/wake_code/gap_stays",
        own=True,
    ),
]

CLAIMS = [*SURPRISE, *NOVELTY, *POLARITY, *DEVELOPMENT, *SILENCING]
