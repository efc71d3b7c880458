"""Claims on UORO and criterion ii of Marschall, Cho & Savin (2019).

The paper argues that with constants that "make one update equation smooth in time", "the other update becomes
unstable". Both halves are claims, for either factor. The claims on closed forms and on the estimate are ours.
"""

from experiments.shared.claims import INF, surely
from plasticity_jax.run import below

SMOOTH = "make one update equation smooth in time"
UNSTABLE = "the other update becomes unstable"

CLAIMS = [
    surely(
        "smooth-a-b-grows",
        "rho0 = 1 - eps, rho1 = eps: B's mean square grows over the second half, at all eps and alpha (decades; its "
        "closed form leaves it no choice)",
        UNSTABLE,
        0,
        INF,
        "alpha.*/smooth-a/*/grown",
    ),
    surely(
        "smooth-b-a-grows",
        "Inverses of these: A's mean square grows over the second half, at all eps and alpha (decades)",
        UNSTABLE,
        0,
        INF,
        "alpha.*/smooth-b/*/grown",
    ),
    *(
        surely(
            f"smooth-{factor}-is-smooth",
            f"The relative change of {factor.upper()}, the smooth factor, in a step falls to less than half from the "
            "largest eps to the least (least ratio)",
            SMOOTH,
            2,
            INF,
            f"alpha.*/smooth-{factor}/change-falls",
        )
        for factor in ("a", "b")
    ),
    surely(
        "estimate-fails",
        "With either factor smooth, the gradient's estimate ends with more than ten times the balanced one's error, at "
        "every eps and alpha (least ratio)",
        None,
        10,
        INF,
        "alpha.*/smooth-*/*/error-over-balanced",
        own=True,
    ),
    below(
        "closed-forms",
        "The factors' mean squares are what their closed forms say (RMS of z over settings and seeds, below 2)",
        None,
        "closed-forms/z_rms",
        2,
        own=True,
    ),
]
