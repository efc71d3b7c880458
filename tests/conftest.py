"""Settings that must stand before the backend starts: double precision, and two devices for the sweeps' mesh."""

import os

import jax

jax.config.update("jax_enable_x64", True)
os.environ.setdefault("NPROC", "4")  # a thread pool larger than the number of devices: see run/devices.py
jax.config.update("jax_num_cpu_devices", 2)
