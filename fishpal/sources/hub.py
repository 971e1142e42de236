"""What every access to the hub has in common."""

from collections.abc import Iterator
from contextlib import contextmanager

from fishpal.common.errors import SourceError, brief


@contextmanager
def hub_access(where: str, instead: str) -> Iterator[None]:
    """Let the block fetch from the hub; what fails is one `SourceError` that names another source.

    Left alone, the hub's libraries send each request six times, over 24 s, before they open their
    cache. So the hub is asked once here, and where it is silent they are told to be offline.
    """
    from huggingface_hub import constants, get_session  # here: slow to import

    offline, reason = constants.HF_HUB_OFFLINE, ""
    try:
        if not offline:
            get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # of the HTTP library, which is another in each major version
        constants.HF_HUB_OFFLINE, reason = True, f"{type(error).__name__}: {error}"
    try:
        yield
    except Exception as error:  # the libraries leak dozens of types, down to those of parsers
        said = (reason or f"{type(error).__name__}: {error}").partition("\n")[0]
        allowed = f"a network, or a filled cache with HF_HUB_OFFLINE=1; or source.type {instead}"
        where += f": cannot be fetched ({brief(said, 160)})"
        raise SourceError(f"{where}; allowed: {allowed}") from error
    finally:
        constants.HF_HUB_OFFLINE = offline
