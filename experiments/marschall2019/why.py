"""Why claims on Marschall, Cho & Savin (2019) do not hold in the committed records, as far as that is known."""

ADD = "default: 100,000 steps at a rate of 1e-3, not 1,000,000 at 1e-4"
MIMIC = "default: 20,000 steps at a rate of 3e-3, not 1,000,000 at 1e-4"

FIG1 = {
    "add-written-fixed_recurrent-worse-than-dni_b": f"1.5 standard errors over 20 seeds, t asks for 2.1; {ADD}",
    "add-run-dni_b-worse-than-dni": f"1.8 standard errors over 20 seeds, t asks for 2.1; {ADD}",
    "add-written-uoro-near-rtrl": f"the bound is ours, and missed by less than a standard error; {ADD}",
    **{
        f"mimic-{reading}-{claim}": MIMIC
        for reading in ("written", "run")
        for claim in ("rtrl-equals-bptt", "exact-best", "rflo-worse-than-rtrl-future_facing_bptt")
    },
}
