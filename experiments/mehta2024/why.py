"""Reasons, as far as known, why claims on rules inferred from recordings (Mehta et al. 2024) do not hold."""

ONE_NEURON = (
    "it does but for one: reward, greatest noise, one neuron observed, where a gain of {} is {} standard errors of "
    "five networks; 2.8 are needed for 95 %"
)

INFERENCE = {
    "beats_no_plasticity": ONE_NEURON.format(".17", "2.6"),
    "beats_drift": ONE_NEURON.format(".18", "2.7"),
    "few_neurons_blur_rules": "not at the least noise for Oja's rule: a neuron tells nearly as much as eight; 1.9 "
    "standard errors",
}
