"""L16: primitives and functions that keep a rule from accelerators, and those that are allowed."""

import jax
import numpy as np
import pytest
from jax.core import Tracer
from jax.experimental import io_callback

from plasticity_jax.testing import check_rule
from tests.testing.rules import GOOD


def foreign(w):
    return jax.ffi.ffi_call("my_kernel", jax.ShapeDtypeStruct(w.shape, w.dtype))(w)


def printed(w):
    jax.debug.print("{}", w)
    return w


def called_in_a_loop(w):
    shape = jax.ShapeDtypeStruct(w.shape, w.dtype)
    body = lambda i, w: jax.lax.cond(i > 0, lambda w: io_callback(np.asarray, shape, w), lambda w: w, w)  # noqa: E731
    return jax.lax.fori_loop(0, 3, body, w)


def refuses(w):
    if isinstance(w, Tracer):
        raise RuntimeError("no tracers")
    return w


def changed_by(change):
    rule = GOOD.make()

    def update(params, traces, key, batch):
        updates, after, info = rule.update(params, traces, key, batch)
        return {"w": change(updates["w"])}, after, info

    return GOOD._replace(make=lambda leak=0.5: rule._replace(update=update))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (foreign, "not for CUDA and TPU: it calls my_kernel, foreign functions that JAX does not guarantee there"),
        (printed, "not for CUDA and TPU: it calls back to Python (debug_print), which cannot be exported"),
        (called_in_a_loop, "not for CUDA and TPU: it calls back to Python (io_callback), which cannot be exported"),
        (
            lambda w: jax.scipy.linalg.schur(w @ w.T)[0] @ w,
            "not for CUDA and TPU: the primitive schur has no lowering for cuda, tpu",
        ),
        (refuses, "RuntimeError: no tracers"),
    ],
)
def test_l16_names_the_operation_that_accelerators_lack(change, reason):
    report = check_rule(changed_by(change), laws=["L16"], raises=False)
    assert report.verdicts[0].reason == reason


def test_l16_allows_a_cpu_its_own_implementation():
    def change(w):
        return jax.lax.platform_dependent(w, cpu=foreign, default=lambda w: w)

    assert check_rule(changed_by(change), laws=["L16"]).ok


def test_l16_checks_init_too():
    rule = GOOD.make()
    start = rule._replace(init=lambda params, key, batch: {"smooth": foreign(params["w"])})
    report = check_rule(GOOD._replace(make=lambda leak=0.5: start), laws=["L16"], raises=False)
    assert "it calls my_kernel" in report.verdicts[0].reason
