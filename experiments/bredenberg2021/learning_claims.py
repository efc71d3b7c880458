"""Claims on impression learning and its rivals on the artificial stimuli."""

import numpy as np

from experiments.shared.claims import INF, Summary, inside, named, surely
from plasticity_jax.run import Claim, above, gap, within
from plasticity_jax.run.summary import Mean, mean_in


def _widening(summary: Summary) -> tuple[float, bool | None]:
    """NVI*'s progress over impression learning's in the most dimensions, less that in the fewest; seeds are not paired.

    The degrees of freedom are those of the smaller sample, the fewest that Welch's test can have.
    """
    dims = sorted(named(summary, "d*/nvi/wake_progress_over_il"), key=lambda name: int(name.partition("/")[0][1:]))
    if len(dims) < 2:
        raise KeyError("a second dimension")
    few, many = (mean_in(summary, name) for name in (dims[0], dims[-1]))
    change = Mean(many.value - few.value, float(np.hypot(few.sem, many.sem)), min(few.seeds, many.seeds))
    return change.value, inside(change, -INF, 0)


def _frozen(summary: Summary) -> tuple[float, bool]:
    """Largest move of a mean transition at K = 1, compared with the smallest at K = 2."""
    frozen, moved = summary["K1/transition_most"], summary["K2/transition_moved"]
    return frozen, frozen < 1e-6 and moved > 0.1


def _falling(summary: Summary) -> tuple[float, bool | None]:
    """Smallest fall of the correlation to the next larger K, from K = 2 on."""
    steps = [name for name in named(summary, "gap/K*-K*/correlation") if not name.startswith("gap/K1-")]
    if not steps:
        raise KeyError("phases of 2 steps and more")
    return gap("", "", None, *steps).measure(summary)


CLAIMS = [
    surely(
        "il_learns",
        "Impression learning lowers its loss, with phases, by a factor above 2",
        "5.1 after 2M steps (authors' code)",
        2,
        INF,
        "standard/il/alternating_fall",
    ),
    surely(
        "il_reconstructs",
        "It reconstructs the stimuli with R2 above 0.95 (principal components: 1)",
        "0.991 (authors' code)",
        0.95,
        INF,
        "standard/il/r2",
        trivial=lambda summary: max(summary["pca/r2"], summary["standard/untrained/r2"]) > 0.95,
    ),
    surely(
        "il_at_bp_level",
        "It attains at least 95 % of what backpropagation gains in the loss awake, at equal steps",
        "close to BP",
        0.95,
        INF,
        "standard/il/wake_progress_over_bp",
    ),
    gap(
        "il_beats_bp_in_its_own_loss",
        "In the loss with phases, its own, it ends below backpropagation",
        None,
        "standard/bp-il/alternating",
        own=True,
    ),
    gap(
        "il_beats_wake_sleep_in_its_own_loss",
        "In the loss with phases of 2, its own, it ends below wake-sleep with phases of 32",
        None,
        "standard/ws-il/alternating",
        own=True,
    ),
    surely(
        "transition_found",
        "Its transitions come within 0.02 of the latents' 0.975",
        "0.973 (authors' code)",
        0.955,
        0.995,
        "standard/il/transition",
        own=True,
        trivial=lambda summary: 0.955 < summary["standard/untrained/transition"] < 0.995,
    ),
    gap(
        "decodes_above_untrained",
        "The latents are read out linearly from its neurons better than from an untrained network's",
        None,
        "standard/il-untrained/decoding",
        own=True,
        trivial=lambda summary: (
            summary["standard/untrained/decoding_noiseless"] > summary["standard/untrained/decoding"]
        ),
    ),
    gap(
        "decodes_above_untrained_noiseless",
        "Better even than from an untrained network without noise (a random, invertible map)",
        None,
        "standard/il-untrained/decoding_noiseless",
        own=True,
    ),
    surely(
        "dreams_as_slow",
        "Its dreams are as slow as the latents: autocorrelation at lag 20 within 0.1 of 0.975^20 = 0.603",
        "0.571 (authors' code)",
        0.503,
        0.703,
        "standard/il/acf_dream_20",
        trivial=lambda summary: 0.503 < summary["standard/untrained/acf_dream_20"] < 0.703,
    ),
    surely(
        "dreams_vary_alike",
        "Its dreams have the variance of the stimuli, within a factor of 2",
        "4.3 (authors' code)",
        0.5,
        2,
        "standard/il/dispersion",
        own=True,
        trivial=lambda summary: 0.5 < summary["standard/untrained/dispersion"] < 2,
    ),
    surely(
        "nvi_far_behind",
        "At equal steps NVI* makes less than half the progress of impression learning in the loss awake",
        None,
        -INF,
        0.5,
        "standard/nvi/wake_progress_over_il",
    ),
    surely(
        "gradient_lowers_transitions",
        "At the untrained weights the exact gradient of the loss with phases lowers the transitions, away from 0.975",
        None,
        0,
        INF,
        "standard/untrained/slope",
        own=True,
    ),
    surely(
        "nvi_follows_the_gradient",
        "NVI* moves its transitions as far as that gradient does, integrated along its path, within a factor of 2",
        None,
        0.5,
        2,
        "standard/nvi/transition_moved_over_gradient",
        own=True,
    ),
    surely(
        "published_nvi_stands_still",
        "At the authors' rate the published NVI* changes its loss by less than 1 %",
        None,
        -0.01,
        0.01,
        "standard/published/rise_at_authors_rate",
        own=True,
    ),
    surely(
        "published_nvi_climbs",
        "At a rate that moves weights, 1e-7, the published NVI* raises its loss",
        None,
        0,
        INF,
        "standard/published/rise_at_largest_rate",
        own=True,
    ),
    above(
        "rates_orders_apart",
        "The largest stable rate of impression learning is over 100 times that of NVI*",
        None,
        "rates/ratio",
        100,
    ),
    within(
        "alternating_wake_sleep_is_il",
        "Wake-sleep with alternating phases of 2 is impression learning: the weights are the same to the last bit",
        None,
        "identity/difference",
        0,
        0,
    ),
    surely(
        "il_near_bp_in_all_dimensions",
        "In all dimensions: at least 95 % of what backpropagation gains in the loss awake",
        None,
        0.95,
        INF,
        "d*/il/wake_progress_over_bp",
    ),
    surely(
        "nvi_far_behind_in_all_dimensions",
        "In all dimensions: NVI* makes less than half the progress of impression learning in the loss awake",
        None,
        -INF,
        0.5,
        "d*/nvi/wake_progress_over_il",
    ),
    Claim("gap_widens", "NVI*'s progress over impression learning's falls with dimension", None, _widening),
    Claim(
        "one_step_phases_freeze_the_transition",
        "With phases of one step the transition never learns; with two it does",
        None,
        _frozen,
        own=True,
    ),
    Claim(
        "correlation_falls_with_phases",
        "From K = 2 on, neurons follow the stimulus less through wake and sleep the longer the phases",
        None,
        _falling,
    ),
    gap(
        "short_phases_beat_wake_sleep",
        "Phases of 2 end with a lower loss awake than phases of 32 (wake-sleep)",
        None,
        "gap/K32-K2/wake",
    ),
]
