"""The registry's entries for this wing: each rule with a tiny worked problem, and its `Plausibility`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule, RuleCase
from plasticity_jax.cells import Neurons, alif, gru, init_params, leaky, lif
from plasticity_jax.cells.dynamics import AnyCell
from plasticity_jax.rules import online
from plasticity_jax.rules.online.bptt import PLAUSIBILITY as BPTT
from plasticity_jax.rules.online.common import Plausibility
from plasticity_jax.rules.online.dni import PLAUSIBILITY as DNI
from plasticity_jax.rules.online.dni import PLAUSIBILITY_B as DNI_B
from plasticity_jax.rules.online.fixed_recurrent import PLAUSIBILITY as FIXED_RECURRENT
from plasticity_jax.rules.online.kernl import PLAUSIBILITY as KERNL
from plasticity_jax.rules.online.kf_rtrl import PLAUSIBILITY as KF_RTRL
from plasticity_jax.rules.online.recurrent_three_factor import PLAUSIBILITY as RECURRENT_THREE_FACTOR
from plasticity_jax.rules.online.reverse_kf_rtrl import PLAUSIBILITY as REVERSE_KF_RTRL
from plasticity_jax.rules.online.rflo import PLAUSIBILITY as RFLO
from plasticity_jax.rules.online.rtrl import PLAUSIBILITY as RTRL
from plasticity_jax.rules.online.snap import PLAUSIBILITY as SNAP
from plasticity_jax.rules.online.uoro import PLAUSIBILITY as UORO
from plasticity_jax.typing import Array, Example, Key, Params

N_IN, N, N_OUT, STREAMS = 2, 5, 2, 2


def _batch(key: Key) -> Example:
    key_x, key_y = jax.random.split(key)
    x = jax.random.bernoulli(key_x, 0.5, (STREAMS, N_IN)).astype(jnp.zeros(()).dtype)
    return Example(x, jax.nn.softmax(jax.random.normal(key_y, (STREAMS, N_OUT))))


def _windows(key: Key) -> Example:
    """Windows of three steps, leaves (B, 3, ...)."""
    return jax.vmap(_batch, out_axes=1)(jax.random.split(key, 3))


Cells = Callable[..., AnyCell]


def _leaky(alpha: float = 0.5) -> Neurons:
    return leaky(N_IN, N, N_OUT, alpha=alpha)


def _gru() -> Neurons:
    return gru(N_IN, N, N_OUT)


def soft_spike(x: Array) -> Array:
    """A smooth spike: finite differences, which do not use a surrogate, can check gradients through it."""
    return jax.nn.sigmoid(2 * x)


def _alif(decay: float = 0.8, strength: float = 0.3) -> Neurons:
    """Neurons of two variables that learn two parameters of their own."""
    learn = ("threshold", "adaptation_decay")
    return alif(N_IN, N, N_OUT, decay=decay, strength=strength, spike=soft_spike, learn=learn)


def _alif_by_eprop(decay: float = 0.8, strength: float = 0.3) -> Neurons:
    return alif(N_IN, N, N_OUT, decay=decay, strength=strength, spike=soft_spike, reset_derivative=False)


def _lif_by_eprop(decay: float = 0.8) -> Neurons:
    return lif(N_IN, N, N_OUT, decay=decay, spike=soft_spike, reset_derivative=False)


@functools.cache  # one function for all rules on a cell, so that laws compile it once
def _params(cell: Cells) -> Callable[[Key], Params]:
    def params(key: Key) -> Params:
        params = init_params(key, cell())
        params["forward"] = {**params["forward"], "w": 0.8 * params["forward"]["w"]}
        return params

    return params


def _case(
    rule: Callable[..., LearningRule],
    kind: str,
    cell: Cells = _leaky,
    of_cell: dict[str, float] | None = None,
    **own: float,
) -> RuleCase:
    """The case of a rule on a small cell; coefficients of the cell and of the rule may both be meta-learned."""
    of_cell = {"alpha": 0.5} if of_cell is None else of_cell

    def make(**given: float) -> LearningRule:
        values = {**of_cell, **own, **given}
        return rule(cell(**{name: values.pop(name) for name in of_cell}), **values)

    return RuleCase(make, _params(cell), _batch, kind, {**of_cell, **own})  # pyright: ignore


def _bptt(cell: AnyCell) -> LearningRule:
    return online.bptt(cell, window=4)


def _bptt_windows(cell: AnyCell) -> LearningRule:
    return online.bptt(cell, window=None)


def _future_facing_bptt(cell: AnyCell) -> LearningRule:
    return online.future_facing_bptt(cell, window=4)


def _by_activity(cell: Neurons, **given: float) -> LearningRule:
    return online.recurrent_three_factor(cell, post="activity", **given)


KERNL_RATES = {"learning_rate": 0.5, "sigma": 0.1, "initial_leak": 0.8}
DNI_B_RATES = {"learning_rate": 0.05, "jacobian_learning_rate": 0.05}
ADAPTIVE = {"decay": 0.8, "strength": 0.3}

LEAKY = {
    "bptt": _case(_bptt, "exact"),
    "future_facing_bptt": _case(_future_facing_bptt, "exact"),
    "rtrl": _case(online.rtrl, "exact", _leaky, {"alpha": 0.5}, decay=1.0),
    "uoro": _case(online.uoro, "unbiased"),
    "kf_rtrl": _case(online.kf_rtrl, "unbiased"),
    "reverse_kf_rtrl": _case(online.reverse_kf_rtrl, "unbiased"),
    "kernl": _case(online.kernl, "approximate", _leaky, None, **KERNL_RATES),
    "rflo": _case(online.rflo, "approximate", leak=0.5),
    "dni": _case(online.dni, "approximate", learning_rate=0.05),
    "dni_b": _case(online.dni_b, "approximate", _leaky, None, **DNI_B_RATES),
    "snap": _case(online.snap, "approximate"),
    "fixed_recurrent": _case(online.fixed_recurrent, "local"),
}

GRU = {
    "bptt_gru": _case(_bptt, "exact", _gru, {}),
    "future_facing_bptt_gru": _case(_future_facing_bptt, "exact", _gru, {}),
    "rtrl_gru": _case(online.rtrl, "exact", _gru, {}),
    "uoro_gru": _case(online.uoro, "unbiased", _gru, {}),
    "kf_rtrl_gru": _case(online.kf_rtrl, "unbiased", _gru, {}),
    "reverse_kf_rtrl_gru": _case(online.reverse_kf_rtrl, "unbiased", _gru, {}),
    "kernl_gru": _case(online.kernl, "approximate", _gru, {}, **KERNL_RATES),
    "rflo_gru": _case(online.rflo, "approximate", _gru, {}),
    "dni_gru": _case(online.dni, "approximate", _gru, {}, learning_rate=0.05),
    "dni_b_gru": _case(online.dni_b, "approximate", _gru, {}, **DNI_B_RATES),
    "snap_gru": _case(online.snap, "approximate", _gru, {}),
    "fixed_recurrent_gru": _case(online.fixed_recurrent, "local", _gru, {}),
}

SPIKING = {
    "bptt_alif": _case(_bptt, "exact", _alif, ADAPTIVE),
    "rtrl_alif": _case(online.rtrl, "exact", _alif, ADAPTIVE),
    "uoro_alif": _case(online.uoro, "unbiased", _alif, ADAPTIVE),
    "kf_rtrl_alif": _case(online.kf_rtrl, "unbiased", _alif, ADAPTIVE),
    "reverse_kf_rtrl_alif": _case(online.reverse_kf_rtrl, "unbiased", _alif, ADAPTIVE),
    "snap_alif": _case(online.snap, "approximate", _alif, ADAPTIVE),
    "eprop": _case(online.eprop, "approximate", _alif_by_eprop, ADAPTIVE),
    "eprop_lif": _case(online.eprop, "approximate", _lif_by_eprop, {"decay": 0.8}),
}

WINDOWS = {
    "bptt_windows": _case(_bptt_windows, "exact")._replace(batch=_windows),
    "bptt_windows_gru": _case(_bptt_windows, "exact", _gru, {})._replace(batch=_windows),
}

REWARDED = {
    "recurrent_three_factor": _case(
        online.recurrent_three_factor, "local", _leaky, None, sigma=0.2, decay=0.7, baseline=0.1
    ),
    "recurrent_three_factor_alif": _case(
        online.recurrent_three_factor, "local", _alif, ADAPTIVE, sigma=0.2, baseline=0.1
    ),
    "recurrent_three_factor_activity_gru": _case(
        _by_activity, "local", _gru, {}, sigma=0.2, decay=0.7, baseline=0.1, average=0.2
    ),
}

WORKED = {**LEAKY, **GRU, **SPIKING, **WINDOWS, **REWARDED}

OF_RULE: dict[str, Plausibility] = {
    "bptt": BPTT,
    "bptt_windows": BPTT,
    "future_facing_bptt": BPTT,
    "rtrl": RTRL,
    "uoro": UORO,
    "kf_rtrl": KF_RTRL,
    "reverse_kf_rtrl": REVERSE_KF_RTRL,
    "kernl": KERNL,
    "eprop": RFLO,
    "rflo": RFLO,
    "snap": SNAP,
    "dni": DNI,
    "dni_b": DNI_B,
    "fixed_recurrent": FIXED_RECURRENT,
    "recurrent_three_factor": RECURRENT_THREE_FACTOR,
    "recurrent_three_factor_activity": RECURRENT_THREE_FACTOR,
}

PLAUSIBILITY: dict[str, Plausibility] = {
    name: OF_RULE[name.removesuffix("_gru").removesuffix("_alif").removesuffix("_lif")] for name in WORKED
}

CASES = {name: case._replace(stochastic=PLAUSIBILITY[name].stochastic) for name, case in WORKED.items()}
