"""Settings that must stand before the backend starts: double precision, two devices for meshes, quick compiles."""

import os

import jax

from plasticity_jax.run.devices import compile_quickly

jax.config.update("jax_enable_x64", True)
os.environ.setdefault("NPROC", "4")  # a thread pool larger than the number of devices: see run/devices.py
jax.config.update("jax_num_cpu_devices", 2)
compile_quickly()  # many small programs, each run once
