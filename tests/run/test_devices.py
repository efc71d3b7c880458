"""Settings of the compiler."""

import os

import pytest

from plasticity_jax.run.devices import compile_quickly


def test_quick_compiling_respects_what_is_chosen(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=1")
    compile_quickly()
    once = os.environ["XLA_FLAGS"]
    compile_quickly()
    assert os.environ["XLA_FLAGS"] == once
    assert once.split()[:2] == ["--xla_backend_optimization_level=1", "--xla_llvm_disable_expensive_passes=true"]
    assert once.count("optimization_level") == 1


@pytest.mark.parametrize(("given", "level"), [({}, 0), ({"level": 1}, 1)])
def test_quick_compiling_optimises_as_much_as_it_is_told(monkeypatch, given, level):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    compile_quickly(**given)
    assert f"--xla_backend_optimization_level={level}" in os.environ["XLA_FLAGS"].split()
