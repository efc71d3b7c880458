"""Why claims on Lindsey & Litwin-Kumar (2020) do not hold in the committed records, as far as that is known."""

FIG2_SMALL = "default: 1,600 meta-steps on lives of 30 steps, not 20,000 on 400"
LONGER = "the control gets twice the meta-steps, in which the readout's feedback, alpha and beta go on learning"
OTHER = "the paper's gradient-based learner is of first order, from FLP's weights; ours of second order, from scratch"

FIG2 = {
    "frozen_features_get_worse": f"those of two plastic layers are best; {FIG2_SMALL}",
    "three_layers_adapt_better": f"1.5 standard errors of four seeds, t asks for 3.2; {FIG2_SMALL}",
    "upstream_does_not_help_reuse": LONGER,
    "control_misses_flp": LONGER,
    "less_interference": f"{OTHER}, and with a tenth of FLP's error",
    "some_negative": FIG2_SMALL,
    "smaller_updates_of_readout": OTHER,
    "smaller_relative_of_readout": OTHER,
}

TABLE1_SMALL = "errors still fall; default: 2,000 meta-steps on lives of 30 steps, not 20,000 on 400"
SLOW = "first order has a tenth of FLP's meta-rate, and its errors still fall"

TABLE1 = {
    "three_beat_two_iid": f"no difference to tell, 0.6 standard errors; {TABLE1_SMALL}",
    "two_beat_three_continual": f"no difference to tell, 0.6 standard errors; {TABLE1_SMALL}",
    "gradient_matches_iid": SLOW,
    "flp_beats_second_order_continual": "a real difference: second order, which the paper lacked, is better than FLP",
    "warm_start_helps": f"2.2 and 0.9 standard errors of four seeds, t asks for 3.2; {SLOW}",
    "baseline_beats_oml": f"continual: 1.4 standard errors of four seeds, t asks for 3.2; {SLOW}",
}

LIVES = "errors still fall, and the second layer costs more than it brings; default: 1,600 of the paper's 40,000 lives"

TABLE2 = {
    "deep_plasticity_pays_iid": LIVES,
    "deep_plasticity_pays_continual": LIVES,
    "gradient_matches_iid": "FLP is ahead: it was tried at seven settings, the gradient-based learner at one",
}

UNIVERSALITY = {
    "as_printed": "equation 6 copies discr x in every G, not in G_0 alone, and a matrix is missing: G_N is I",
}

ABLATIONS: dict[str, str] = {}

BEYOND = "lives diverge beyond the 20 steps of meta-training, in which nothing asks for stability"

OUTER = {
    "plastic_feedback_pays": "it is worse; its rate of plasticity was not looked for, FLP's was",
    "pes_beats_es": "ahead, but four seeds cannot tell",
    "flp_keeps_in_longer_lives": BEYOND,
    "plastic_feedback_keeps_in_longer_lives": BEYOND,
    "taylor_keeps_in_longer_lives": BEYOND,
}
