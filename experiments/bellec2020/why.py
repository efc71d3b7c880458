"""Reasons, as far as known, why claims on Bellec et al. (2020) do not hold in the committed records."""

FIGS7 = {
    "random-near-eprop": "one network of four, which fires most, misses 13 %, the others 0.7 to 3.3 %",
    "random-behind": "one network of four misses 13 %: 1.3 standard errors, 3.2 are needed for 95 %",
}

SPOKEN_DIGITS = {
    "beats-whole": "the GRU is level with it, at 94.5 %; two of four spiking networks have 86 and 88 % by e-prop",
    "beats-readout": "three of four leads do; the GRU's over its best readout, 4.0 ± 1.8 %, is 2.3 standard errors",
    "beats-readout-of-stranger": "the GRU's leads do, at 24 and 19 %; the spiking network's are 1 ± 3 and 1 ± 5 %",
    "random-behind": "on the GRU it is ahead, by 2.5 ± 0.8 %; on the spiking network behind, by 2.1 ± 2.1 %",
    "snap-adds-little": "1.8 ± 1.5 % and -0.4 ± 1.2 %: small, but four seeds cannot tell it from 3 %",
    "uoro-beats-readout": "its noise moves the recurrent weights more than it teaches them: 10 and 24 % behind",
    "slow-trace-matters": "-1.1 ± 1.0 %, each at its own rate: words last 0.4 s, less than Figure 3's delay",
    "gru-ahead": "by 2.6 ± 0.9 and 3.4 ± 3.0 %: 2.9 and 1.1 standard errors, 3.2 are needed for 95 %",
    "strangers-are-harder": "the spiking network's are; for the GRU one of four speakers costs 54 %, others 7 to 19 %",
}

ALIF_META = {
    "broadcast-pays": "at the start's time constants no method learns in so short a life: 0.5 standard errors",
    "broadcast-adds": "0.0 standard errors at the end of a life; of four lives' length by 0.033, 4.8 errors",
    "beats-grid": "long constants for all, the grid's best, are ahead by 0.055, 1.2 standard errors; 32 outer steps",
    "constants-beat-grid": "long constants for all, the grid's best, are ahead by 0.055; 32 outer steps of 2 lives",
    "innate-pays": "at the start's time constants no method learns in so short a life: -0.5 standard errors",
    "innate-aligns": "2.7 standard errors of four seeds, 3.2 are needed for 95 %",
    "new-readouts-align": "1.3 standard errors of four seeds, 3.2 are needed for 95 %",
}
