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
SECONDS = 30.0  # to reach a scheduler, and for its first worker to be there


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
    tls: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    gpus: bool = False
    losses: int = 3


@contextmanager
def connect(options: Options) -> Iterator[Any]:
    """A client; `FishpalError` where there is no such scheduler, or none of its workers fits."""
    try:
        import dask
        from distributed import Client, LocalCluster, Security
    except ImportError as error:
        raise FishpalError(f"{error.name}: missing; pip install 'fishpal[grid]'") from error
    logging.getLogger("distributed").setLevel(logging.ERROR)
    settings = {
        "distributed.scheduler.allowed-failures": options.losses,
        "distributed.scheduler.worker-saturation": 1.0,  # a lost worker takes one cell with it
    }
    if options.scheduler:
        with _reach(options, Client, Security) as client:
            yield client
        return
    # Whoever reaches a scheduler can run commands as its user: TLS keeps other users away.
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, memory_limit=None,
            resources={GPU: 1} if options.gpus else None, security=Security.temporary(),
            dashboard_address=None, silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


@contextmanager
def _reach(options: Options, client: Any, security: Any) -> Iterator[Any]:
    address = options.scheduler
    authority, certificate, key = options.tls
    given = security(
        tls_ca_file=_text(authority), tls_client_cert=_text(certificate), tls_client_key=_text(key),
        require_encryption=authority is not None,
    )  # fmt: skip
    try:
        found = client(address, security=given, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        said = str(error).splitlines()[0]
        allowed = "a scheduler that can be reached, as tcp://host:port, tls:// with the TLS files"
        raise FishpalError(f"--scheduler is '{address}': {said}; allowed: {allowed}") from error
    with found:
        try:
            found.wait_for_workers(1, timeout=SECONDS)
        except TimeoutError as error:
            raise FishpalError(f"{address}: no workers; allowed: one or more") from error
        workers = found.scheduler_info(n_workers=-1)["workers"].values()
        if options.gpus and not any(GPU in worker["resources"] for worker in workers):
            allowed = f"one that does (dask worker {address} --resources {GPU}=1)"
            raise FishpalError(
                f"{address}: no worker offers the resource {GPU}; allowed: {allowed}"
            )
        yield found


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
