"""Settings that must stand before the backend starts: double precision, two devices for meshes, quick compiles."""

import os

import jax

jax.config.update("jax_enable_x64", True)
os.environ.setdefault("NPROC", "4")  # a thread pool larger than the number of devices: see run/devices.py
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", True)  # many small programs, each run once
