"""The registry's entries for this wing: each rule with a tiny worked problem, and its own plausibility."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule, RuleCase
from plasticity_jax.networks.leaky_rnn import LeakyRNN, init_params, leaky_rnn
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
from plasticity_jax.rules.online.uoro import PLAUSIBILITY as UORO
from plasticity_jax.typing import Example, Key, Params

N_IN, N, N_OUT, STREAMS = 2, 5, 2, 2


def _params(key: Key) -> Params:
    params = init_params(key, N_IN, N, N_OUT)
    params["forward"]["w"] = 0.8 * params["forward"]["w"]
    return params


def _batch(key: Key) -> Example:
    key_x, key_y = jax.random.split(key)
    x = jax.random.bernoulli(key_x, 0.5, (STREAMS, N_IN)).astype(jnp.zeros(()).dtype)
    return Example(x, jax.nn.softmax(jax.random.normal(key_y, (STREAMS, N_OUT))))


def _case(rule: Callable[..., LearningRule], kind: str, **coefficients: float) -> RuleCase:
    defaults = {"alpha": 0.5, **coefficients}

    def make(**given: float) -> LearningRule:
        values = {**defaults, **given}
        net: LeakyRNN = leaky_rnn(alpha=values.pop("alpha"))
        return rule(net, **values)

    return RuleCase(make, _params, _batch, kind, defaults)  # pyright: ignore


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
    "dni": DNI,
    "dni_b": DNI_B,
    "fixed_recurrent": FIXED_RECURRENT,
}
