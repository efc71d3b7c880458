"""Why claims on Bellec et al. (2020) do not hold in the committed records, as far as that is known."""

FIGS7 = {
    "random-near-eprop": "one network of four, which fires most, misses 13 %, the others 2.1 to 3.3 %",
    "random-behind": "one network of four misses 13 %: 1.3 standard errors, t asks for 3.2",
}
