"""Fixtures of the tests of `run`: each of their tiny programs is compiled once."""

import signal

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def _compile_once(tmp_path_factory):
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], str(tmp_path_factory.getbasetemp().parent / "compiled"))
    jax.config.update(names[1], 0.1)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def _sigint_as_in_a_terminal():
    """Restores the handler of SIGINT, which a shell ignores in background processes; the tests of Ctrl-C need it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
