"""The toy of appendix C, Bredenberg et al. (2021): estimators of one gradient, with means and variances in closed form.

The learned parameter is mu_q, the mean of n independent normal variables; the target mean is mu_p, D = mu_p - mu_q, and
both have variance s2 = sigma^2. `experiments.bredenberg2021.appendix_c` lists the errors in the printed equations.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from plasticity_jax.typing import Array, Scalar

DRAWN = ("global", "iid", "alternating")
"""Ways to draw lambda: once for all steps, at each step, or 1, 0, 1, 0, ..."""

SCALES = (1, 2, 4)
"""Values of c for NVI*."""

# The estimators: eta (n,), lam (n,) of 0 and 1 -> ().


def bp(eta: Array, lam: Array, s2: Scalar, gap: Scalar) -> Array:
    """Reparameterised gradient of sum_t (2 lam_t - 1)(log p - log q): r_t moves with the mean of its density."""
    return jnp.sum(gap + (1 - 2 * lam) * eta) / s2


def il_marginal(eta: Array, s2: Scalar, gap: Scalar) -> Array:
    """IL by Eq. 23: every r_t is drawn from p, and lambda is averaged out."""
    return jnp.sum(gap + eta) / s2


def il_online(eta: Array, lam: Array, s2: Scalar, gap: Scalar) -> Array:
    """IL by the first line of Eq. 22, on a sample of q~."""
    return 2 * jnp.sum((1 - lam) * (eta + gap)) / s2


def nvi(
    eta: Array, lam: Array, s2: Scalar, gap: Scalar, c: Scalar, *, full: bool = False, baseline: bool = True
) -> Array:
    """NVI* on a sample of q~.

    Args:
      eta: (n,), noise of variance s2.
      lam: (n,), 1 where r_t is drawn from q, 0 where it is from p.
      s2: sigma^2.
      gap: D = mu_p - mu_q.
      c: divisor of the score term; 1 is right, 2 is Eq. 27.
      full: whether to include the losses of the steps with lambda_t = 0.
      baseline: whether to subtract the mean loss.
    """
    losses = (2 * lam - 1) * gap * eta / s2 - (0 if baseline else gap**2 / (2 * s2))
    scores = jnp.cumsum(lam * eta / s2)
    return jnp.sum((1 - lam) * (eta + gap)) / s2 + jnp.sum((losses if full else lam * losses) * scores) / c


# Their means and variances.


def alternating(n: int) -> np.ndarray:
    """Alternating lambda, 1, 0, 1, 0, ..., which starts awake."""
    return 1.0 - np.arange(n) % 2


def gradient(n: int, s2: float, gap: float) -> float:
    """-dL/dmu_q: the mean of BP, of IL, and of NVI* at c = 1."""
    return n * gap / s2


def loss(n: int, s2: float, gap: float) -> float:
    """L = KL(q || p) of n steps."""
    return n * gap**2 / (2 * s2)


def variance_il_online(drawn: str, n: int, s2: float, gap: float) -> float:
    """2 n / s2, because half of the steps are used and doubled, plus a term from the variance of their number."""
    spread = {"alternating": 0, "iid": n, "global": n**2}[drawn]
    return 2 * n / s2 + spread * (gap / s2) ** 2


def mean_nvi(n: int, s2: float, gap: float, c: float) -> float:
    """Half the gradient from the direct term plus half over c from the scores, for any way to draw lambda (n even)."""
    return gradient(n, s2, gap) * (1 + 1 / c) / 2


def variance_nvi(drawn: str, n: int, s2: float, gap: float, c: float, full: bool = False) -> float:
    """Variance of NVI*: n / (2 s2) from the noise of the direct term, plus a multiple of D^2 / s2^2.

    With S = sum_t sum_{t' <= t} eta_t eta_t': E S = n s2 and E S^2 = 3/2 n (n + 1) s2^2.
    """
    half = n / 2
    if drawn == "global":
        spread = n**2 / 2 + 3 * n * (n + 1) / (4 * c**2) - n**2 * (1 + 1 / c) ** 2 / 4
    elif drawn == "iid":
        spread = n / 4 + (5 * n / 4 + n * (n - 1) / 8) / c**2 - n / (2 * c)
        spread += full * n * (n - 1) / (8 * c**2)
    else:
        lam = alternating(n)
        pairs = sum(lam[:t].sum() for t in range(n) if not lam[t])  # t' < t with lambda_t' = 1, lambda_t = 0
        spread = ((half**2 + 3 * half) / 2 + full * pairs) / c**2
    return half / s2 + spread * (gap / s2) ** 2


def variance_no_baseline(n: int, s2: float, gap: float) -> float:
    """Variance of NVI* with c = 1, a global lambda, and no control variate: Eq. 26 with the right 1 / (2 sigma^4)."""
    return variance_nvi("global", n, s2, gap, 1) + gap**4 * n * (n + 1) * (2 * n + 1) / (48 * s2**3)


def printed_17(steps: int, s2: float, gap: float) -> float:
    """Eq. 17: T / sigma^2 at any gap; right for BP and the marginal IL at T = n."""
    return steps / s2


def printed_18(steps: int, s2: float, gap: float) -> float:
    """Eq. 18 and 32: T / (2 sigma^2) + L (3 T + 5) / (8 sigma^2), where L also has T terms."""
    return steps / (2 * s2) + loss(steps, s2, gap) * (3 * steps + 5) / (8 * s2)


def mse_printed(n: int, s2: float, gap: float) -> float:
    """Mean squared error about the gradient of NVI* as printed in Eq. 27: c = 2, a global lambda."""
    return n / (2 * s2) + 3 * loss(n, s2, gap) * (n + 1) / (8 * s2)


Moment = Callable[[int, float, float], float]
"""``(n, s2, D) -> number``."""


class Method(NamedTuple):
    """An estimator and its closed forms.

    Attributes:
      draw: ``(eta (n,), lambda (n,) by name in `DRAWN`, s2, D) -> ()``, a sample.
      mean: its mean.
      variance: its variance.
    """

    draw: Callable[[Array, Mapping[str, Array], Scalar, Scalar], Array]
    mean: Moment
    variance: Moment


def methods(n: int) -> dict[str, Method]:
    """All estimators by name; an odd n has no alternating ones, which need as many steps of each kind."""
    estimators = {
        "bp": Method(lambda eta, lam, s2, gap: bp(eta, lam["iid"], s2, gap), gradient, printed_17),
        "il_marginal": Method(lambda eta, lam, s2, gap: il_marginal(eta, s2, gap), gradient, printed_17),
        "nvi_no_baseline": Method(
            lambda eta, lam, s2, gap: nvi(eta, lam["global"], s2, gap, 1, baseline=False),
            gradient,
            variance_no_baseline,
        ),
    }
    for drawn in DRAWN[: 2 if n % 2 else 3]:
        estimators[f"il_{drawn}"] = _online(drawn)
        for c in SCALES:
            for full in (False,) if drawn == "global" else (False, True):
                estimators[f"nvi_{drawn}{'_full' if full else ''}_c{c}"] = _scored(drawn, c, full)
    return estimators


def _online(drawn: str) -> Method:
    return Method(
        lambda eta, lam, s2, gap: il_online(eta, lam[drawn], s2, gap),
        gradient,
        lambda n, s2, gap: variance_il_online(drawn, n, s2, gap),
    )


def _scored(drawn: str, c: int, full: bool) -> Method:
    return Method(
        lambda eta, lam, s2, gap: nvi(eta, lam[drawn], s2, gap, c, full=full),
        lambda n, s2, gap: mean_nvi(n, s2, gap, c),
        lambda n, s2, gap: variance_nvi(drawn, n, s2, gap, c, full),
    )
