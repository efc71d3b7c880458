"""Several hosts, each with a share of the lanes; they communicate only to start and to gather the results."""

import itertools
import os
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.run.record import RunError
from plasticity_jax.typing import PyTree

_PATIENCE_MS = 7 * 24 * 3600 * 1000


def join_hosts(hosts: int | None = None, host: int | None = None, coordinator: str | None = None) -> None:
    """Makes this process one of several. Call it before anything is computed.

    Under SLURM, with several tasks, the arguments are not needed. Elsewhere every process gets the same `hosts` and
    `coordinator`, and its own `host`. Otherwise nothing happens.

    Args:
      hosts: number of processes.
      host: index of this process, from 0.
      coordinator: "address:port" at which host 0 listens.

    Raises:
      RunError: if only some of the arguments are given, or the other hosts cannot be reached.
    """
    given = [hosts is not None, host is not None, coordinator is not None]
    if not any(given):
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
            jax.distributed.initialize()
            gathered({"joined": np.zeros(1)}, jax.process_count())
        return
    if not all(given):
        raise RunError("several hosts need all of --hosts N, --host I and --coordinator ADDRESS:PORT")
    assert hosts is not None
    assert host is not None
    if not 0 <= host < hosts:
        raise RunError(f"--host {host} must be from 0 to {hosts - 1}, one for each of --hosts {hosts}")
    try:
        jax.distributed.initialize(coordinator, hosts, host)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"host {host} cannot join the others at {coordinator}: {str(error).splitlines()[0]}") from error
    gathered({"joined": np.zeros(1)}, hosts)  # sets up the communication while all hosts are present


def share(lanes: PyTree) -> PyTree:
    """This host's lanes. Every host has as many; if the lanes do not divide, the last one is repeated.

    Args:
      lanes: all lanes, leaves (lanes, ...), the same on every host.
    """
    hosts, here = jax.process_count(), jax.process_index()
    if hosts == 1:
        return lanes
    total = len(jax.tree.leaves(lanes)[0])
    each = -(-total // hosts)
    index = jnp.minimum(here * each + jnp.arange(each), total - 1)
    return jax.tree.map(lambda leaf: leaf[index], lanes)


def gathered(results: Mapping[str, np.ndarray], lanes: int) -> dict[str, np.ndarray]:
    """The results of all hosts' lanes, on every host.

    Args:
      results: arrays by name for this host's `share`, (its lanes, ...) each.
      lanes: number of lanes on all hosts.

    Raises:
      RunError: if another host has stopped.
    """
    if jax.process_count() == 1:
        return dict(results)
    from jax.experimental import multihost_utils

    try:
        _wait_for_all()
        every = {name: multihost_utils.process_allgather(values) for name, values in results.items()}
    except jax.errors.JaxRuntimeError as error:
        message = str(error).splitlines()[0][:120]
        raise RunError(f"another host is gone ({message}): start all hosts again, with --resume") from error
    return {name: np.asarray(values).reshape(-1, *values.shape[2:])[:lanes] for name, values in every.items()}


_calls = itertools.count()


def _wait_for_all() -> None:
    """Waits for every host: a collective times out after half a minute, and shares do not take equally long."""
    from jax._src import distributed  # JAX has no public barrier without a collective

    client = distributed.global_state.client
    if client is not None:
        client.wait_at_barrier(f"plasticity_jax_{next(_calls)}", timeout_in_ms=_PATIENCE_MS)
