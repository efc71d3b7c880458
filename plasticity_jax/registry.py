"""Every rule of the library by name, each with a tiny worked case; the law suite runs over all of them."""

from collections.abc import Mapping
from types import MappingProxyType

from plasticity_jax.base import RuleCase
from plasticity_jax.meta.cases import CASES as META
from plasticity_jax.rules.feedback.cases import CASES as FEEDBACK
from plasticity_jax.rules.generative.cases import CASES as GENERATIVE
from plasticity_jax.rules.hebbian.cases import CASES as HEBBIAN
from plasticity_jax.rules.online.cases import CASES as ONLINE

RULES: Mapping[str, RuleCase] = MappingProxyType({**ONLINE, **FEEDBACK, **HEBBIAN, **GENERATIVE, **META})
