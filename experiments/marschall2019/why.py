"""Reasons why claims on Marschall, Cho & Savin (2019) do not hold in the records, as far as known."""

from experiments.shared.claims import throughout

PAPER = "; it holds at the paper's scale"
ADD = f"default: 100,000 steps at a rate of 1e-3, not 1,000,000 at 1e-4{PAPER}"
MIMIC = f"default: 20,000 steps at a rate of 3e-3, not 1,000,000 at 1e-4{PAPER}"
DNI = (
    "at the paper's scale DNI ends .0002 (2.2 and 3.1 standard errors) below them where alpha is in every rule; as "
    "run, where the exact rules lack it and learn at twice the rate, they lead"
)

FIG1 = {
    "add-written-fixed_recurrent-worse-than-dni_b": "1.5 standard errors over 20 seeds, 2.1 are needed for 95 %; "
    f"{ADD}",
    "add-run-dni_b-worse-than-dni": f"0.5 standard errors over 20 seeds, 2.1 are needed for 95 %; {ADD}",
    "add-written-uoro-near-rtrl": f"the bound is ours, and missed by less than a standard error; {ADD}",
    "add-written-exact-best": throughout(
        "at the paper's scale KF-RTRL ends 1e-5 from RTRL, and BPTT (window 10) .0004 above"
    ),
    **{
        f"mimic-{reading}-{claim}": MIMIC
        for reading in ("written", "run")
        for claim in ("rtrl-equals-bptt", "exact-best", "rflo-worse-than-rtrl-future_facing_bptt")
    },
    "mimic-written-exact-best": throughout(DNI),
    "mimic-written-dni-worse-than-rtrl-future_facing_bptt": throughout(DNI),
    "mimic-uoro": throughout(
        "so at the default's rate, 30 times the paper's; at the paper's UORO ends .015 below fixed W"
    ),
}

TABLE1 = {"align-short-dni": "0.7 standard errors over five seeds; in the long setting it holds"}

RATE = "default: ten times the paper's rate, so that the Jacobian has a tenth of the steps for as much learning"
JACOBIAN = {
    "dni_b-beats-fixed": f"1.5 standard errors, as in Figure 1's default run, whose paper preset has .062; {RATE}",
    "text-beats-fixed": f"{RATE}; the learned Jacobian alone ends .045 above fixed W, the tanh takes some of that back",
    "tanh-costs": {
        "default": "the other way round: with the exact Jacobian it costs .000 to .010, with the learned one, whose "
        "products it bounds, it gains .030 to .059",
        "paper": "the other way round: with the exact Jacobian it costs .000 to .004, with the learned one, whose "
        "products it bounds, it gains .087 to .109",
    },
    "random-costs": {
        "default": "the other way round: without the learned Jacobian random feedback gains .018 to .028",
        "paper": "between a gain of .005 with neither of the other two changes and a cost of .011 with the learned "
        "Jacobian alone; with all three a gain of .011",
    },
    "nearer-than-zero": {
        "default": f"a relative error of 1.08, and falling; {RATE}",
        "paper": "its relative error falls to .99 by half of the steps, and rises with the network's weights to 1.05",
    },
    "nearer-than-mean": throughout(
        "J stays within .31 of its own mean; the learned one is taught to predict rates, which (we think) vary along "
        "few directions, and says nothing of the others"
    ),
    "passes-credit-on": "J's cosine with the identity is .83 at alpha .5, so that leaving credit as it is does better",
}

CONTINUITY = {
    "smooth-b-a-grows": "A grows only where the network contracts by less than eps a step: at alpha .5 it contracts by "
    "more than .1, and A stays, as its closed form says",
    "smooth-a-is-smooth": "A's recursion has J A in it, and J is not near the identity: at alpha .5 A changes by .9 of "
    "itself in a step at every eps, more than with balanced rhos",
    "estimate-fails": "with B smooth, alpha .5 and eps .1 nothing grows, and the error is 1.05 of the balanced one's",
}
