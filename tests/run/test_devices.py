"""Settings of the compiler."""

import os

from plasticity_jax.run.devices import compile_quickly


def test_quick_compiling_respects_what_is_chosen(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=1")
    compile_quickly()
    once = os.environ["XLA_FLAGS"]
    compile_quickly()
    assert os.environ["XLA_FLAGS"] == once
    assert once.split()[:2] == ["--xla_backend_optimization_level=1", "--xla_llvm_disable_expensive_passes=true"]
    assert once.count("optimization_level") == 1
