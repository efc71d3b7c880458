"""Settings that must stand before the backend starts: double precision, two devices for meshes, quick compiles."""

import contextlib
import functools
import gc
import os

import jax

from plasticity_jax.run.devices import compile_quickly

jax.config.update("jax_enable_x64", True)
os.environ.setdefault("NPROC", "4")  # a thread pool larger than the number of devices: see run/devices.py
jax.config.update("jax_num_cpu_devices", 2)
compile_quickly()  # many small programs, each run once
gc.set_threshold(100_000)  # tracing makes many short-lived objects: the collector took 5 to 10 % of the time

# JAX makes an MLIR context for every program that it lowers, and keeps the last 2048 of them: 10 to 20 ms and 1.5 MB
# each, more than the lowering itself. The tests lower some 50,000 programs; one context serves them all, except those
# that are lowered on the way, inside another.
with contextlib.suppress(ImportError, AttributeError):  # internal to JAX: where it has moved, the tests are slower
    from jax._src.interpreters import mlir
    from jax._src.lib.mlir import ir

    make, shared = mlir.make_ir_context, functools.cache(mlir.make_ir_context)
    mlir.make_ir_context = lambda: shared() if ir.Context.current is None else make()
