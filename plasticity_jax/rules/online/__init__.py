"""Online credit assignment in recurrent networks (Marschall, Cho & Savin 2019), one rule per file."""

from plasticity_jax.rules.online.bptt import bptt, future_facing_bptt
from plasticity_jax.rules.online.common import Collected, Credit, Moment, Sizes, mean_over_streams, online_rule
from plasticity_jax.rules.online.dni import dni, dni_b
from plasticity_jax.rules.online.eprop import eprop
from plasticity_jax.rules.online.fixed_recurrent import fixed_recurrent
from plasticity_jax.rules.online.kernl import kernl
from plasticity_jax.rules.online.kf_rtrl import kf_rtrl
from plasticity_jax.rules.online.recurrent_three_factor import recurrent_three_factor
from plasticity_jax.rules.online.reverse_kf_rtrl import reverse_kf_rtrl
from plasticity_jax.rules.online.rflo import rflo
from plasticity_jax.rules.online.rtrl import rtrl
from plasticity_jax.rules.online.snap import snap
from plasticity_jax.rules.online.uoro import uoro

__all__ = [
    "Collected",
    "Credit",
    "Moment",
    "Sizes",
    "bptt",
    "dni",
    "dni_b",
    "eprop",
    "fixed_recurrent",
    "future_facing_bptt",
    "kernl",
    "kf_rtrl",
    "mean_over_streams",
    "online_rule",
    "recurrent_three_factor",
    "reverse_kf_rtrl",
    "rflo",
    "rtrl",
    "snap",
    "uoro",
]


def __dir__() -> list[str]:
    return list(__all__)
