"""The registry's entries for this wing: each rule with a tiny worked problem, and its own plausibility."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule, RuleCase
from plasticity_jax.cells import Neurons, init_params, leaky
from plasticity_jax.cells.dynamics import AnyCell
from plasticity_jax.rules import online
from plasticity_jax.rules.online.bptt import PLAUSIBILITY as BPTT
from plasticity_jax.rules.online.common import Plausibility
from plasticity_jax.rules.online.dni import PLAUSIBILITY as DNI
from plasticity_jax.rules.online.dni import PLAUSIBILITY_B as DNI_B
from plasticity_jax.rules.online.fixed_recurrent import PLAUSIBILITY as FIXED_RECURRENT
from plasticity_jax.rules.online.kernl import PLAUSIBILITY as KERNL
from plasticity_jax.rules.online.kf_rtrl import PLAUSIBILITY as KF_RTRL
from plasticity_jax.rules.online.reverse_kf_rtrl import PLAUSIBILITY as REVERSE_KF_RTRL
from plasticity_jax.rules.online.rflo import PLAUSIBILITY as RFLO
from plasticity_jax.rules.online.rtrl import PLAUSIBILITY as RTRL
from plasticity_jax.rules.online.snap import PLAUSIBILITY as SNAP
from plasticity_jax.rules.online.uoro import PLAUSIBILITY as UORO
from plasticity_jax.typing import Example, Key, Params

N_IN, N, N_OUT, STREAMS = 2, 5, 2, 2


def _batch(key: Key) -> Example:
    key_x, key_y = jax.random.split(key)
    x = jax.random.bernoulli(key_x, 0.5, (STREAMS, N_IN)).astype(jnp.zeros(()).dtype)
    return Example(x, jax.nn.softmax(jax.random.normal(key_y, (STREAMS, N_OUT))))


Cells = Callable[..., AnyCell]


def _leaky(alpha: float = 0.5) -> Neurons:
    return leaky(N_IN, N, N_OUT, alpha=alpha)


def _case(
    rule: Callable[..., LearningRule],
    kind: str,
    cell: Cells = _leaky,
    of_cell: dict[str, float] | None = None,
    **own: float,
) -> RuleCase:
    """A rule on a small cell; the coefficients of the cell and of the rule may both be meta-learned."""
    of_cell = {"alpha": 0.5} if of_cell is None else of_cell

    def make(**given: float) -> LearningRule:
        values = {**of_cell, **own, **given}
        return rule(cell(**{name: values.pop(name) for name in of_cell}), **values)

    def params(key: Key) -> Params:
        params = init_params(key, cell())
        params["forward"] = {**params["forward"], "w": 0.8 * params["forward"]["w"]}
        return params

    return RuleCase(make, params, _batch, kind, {**of_cell, **own})  # pyright: ignore


CASES = {
    "bptt": _case(lambda net, **c: online.bptt(net, window=4, **c), "exact"),
    "future_facing_bptt": _case(lambda net, **c: online.future_facing_bptt(net, window=4, **c), "exact"),
    "rtrl": _case(online.rtrl, "exact", decay=1.0),
    "uoro": _case(online.uoro, "unbiased"),
    "kf_rtrl": _case(online.kf_rtrl, "unbiased"),
    "reverse_kf_rtrl": _case(online.reverse_kf_rtrl, "unbiased"),
    "kernl": _case(online.kernl, "approximate", learning_rate=0.5, sigma=0.1, initial_leak=0.8),
    "rflo": _case(online.rflo, "approximate", leak=0.5),
    "dni": _case(online.dni, "approximate", learning_rate=0.05),
    "dni_b": _case(online.dni_b, "approximate", learning_rate=0.05, jacobian_learning_rate=0.05),
    "snap": _case(online.snap, "approximate"),
    "fixed_recurrent": _case(online.fixed_recurrent, "local"),
}

PLAUSIBILITY: dict[str, Plausibility] = {
    "bptt": BPTT,
    "future_facing_bptt": BPTT,
    "rtrl": RTRL,
    "uoro": UORO,
    "kf_rtrl": KF_RTRL,
    "reverse_kf_rtrl": REVERSE_KF_RTRL,
    "kernl": KERNL,
    "rflo": RFLO,
    "snap": SNAP,
    "dni": DNI,
    "dni_b": DNI_B,
    "fixed_recurrent": FIXED_RECURRENT,
}
