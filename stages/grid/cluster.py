"""Workers of dask.distributed: processes of this machine, or whatever a scheduler has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fishpal.common.errors import FishpalError

GPU = "GPU"  # dask's usual name of the resource
SECONDS = 10.0  # to reach a scheduler
SETTINGS = {"distributed.scheduler.worker-saturation": 1.0}  # a lost worker takes one cell with it


@dataclass(frozen=True)
class Options:
    """Where cells are computed.

    Attributes:
        workers: processes of this machine, where there is no `scheduler`.
        scheduler: an address, `tcp://host:port` or `tls://host:port`.
        tls: files of the authority, the certificate and the key; none or all three.
        gpus: a cell takes one resource `GPU` of a worker.
        losses: workers that a cell may lose before it counts as failed (of this machine's; a
            scheduler has a setting of its own).
    """

    workers: int
    scheduler: str | None = None
    tls: tuple[Path, ...] = ()
    gpus: bool = False
    losses: int = 3


@contextmanager
def connect(options: Options) -> Iterator[Any]:
    """A client of dask's; `FishpalError` where there is no such scheduler."""
    try:
        import dask
        from distributed import Client, LocalCluster, Security
    except ImportError as error:
        raise FishpalError(f"{error.name}: missing; pip install 'fishpal[grid]'") from error
    logging.disable(logging.ERROR)  # dask tells of a lost worker or scheduler in tracebacks
    try:
        if options.scheduler:
            with _reach(options, Client, Security) as client:
                yield client
        else:
            with (
                dask.config.set(
                    SETTINGS | {"distributed.scheduler.allowed-failures": options.losses}
                ),
                _start(options, LocalCluster, Security) as cluster,
                Client(cluster) as client,
            ):
                yield client
    finally:
        logging.disable(logging.NOTSET)


def _start(options: Options, local_cluster: Any, security: Any) -> Any:
    """A cluster of this machine; TLS keeps other users away, who could run commands as this one."""
    return local_cluster(
        n_workers=options.workers, threads_per_worker=1, memory_limit=None,
        resources={GPU: 1} if options.gpus else None, security=security.temporary(),
        dashboard_address=None, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.CRITICAL,
    )  # fmt: skip


@contextmanager
def _reach(options: Options, client: Any, security: Any) -> Iterator[Any]:
    address, given = options.scheduler, security()
    if options.tls:
        names = ("tls_ca_file", "tls_client_cert", "tls_client_key")
        files = dict(zip(names, map(str, options.tls), strict=True))
        given = security(require_encryption=True, **files)
    try:
        found = client(address, security=given, timeout=SECONDS)
    except (OSError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        # dask asserts, without a word, that the thread of its event loop started within 10 s
        said = (str(error) or "dask's event loop did not start, on a busy machine").splitlines()[0]
        allowed = "a scheduler that can be reached, as tcp://host:port, tls:// with the TLS files"
        raise FishpalError(f"--scheduler is '{address}': {said}; allowed: {allowed}") from error
    with found:
        yield found
