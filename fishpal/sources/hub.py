"""What every access to the hub has in common."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from fishpal.common.errors import SourceError, brief

REFUSED = (401, 403, 404)  # RFC 9110: for the asker to mend, not for time
BUSY = (429, 500, 502, 503, 504)  # what the hub's libraries have tried again by themselves
ASKED = re.compile("/resolve/([0-9a-f]{40})/")  # the commit in a file's address


@contextmanager
def hub_access(where: str, instead: str) -> Iterator[None]:
    """Let the block fetch from the hub; what fails is one `SourceError` that names another source.

    Left alone, the hub's libraries send each request six times, over 24 s, before they open their
    cache. So the hub is asked once here, and where it is silent they are told to be offline. For a
    listing they would wait for ever: here as long as for a file, `HF_HUB_DOWNLOAD_TIMEOUT`. They
    take a file of whatever commit the hub gives: here an answer from another one is an error.
    """
    from huggingface_hub import constants, get_session  # here: slow to import

    offline, reason, strays = constants.HF_HUB_OFFLINE, "", list[SourceError]()
    hooks = (session := get_session()).event_hooks
    hooks["request"].append(limit := partial(_limit_wait, constants.HF_HUB_DOWNLOAD_TIMEOUT))
    hooks["response"].append(check := partial(_check_commit, where, strays))
    try:
        if not offline:
            session.head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # of the HTTP library, which is another in each major version
        constants.HF_HUB_OFFLINE, reason = True, f"{type(error).__name__}: {error}"
    try:
        yield
        if strays:  # the libraries may go on without a file that they could not have
            raise strays[0]
    except SourceError:
        raise
    except Exception as error:  # the libraries leak dozens of types, down to those of parsers
        if strays:
            raise strays[0] from error
        cause, remedy = _cause(error)
        said = (reason or f"{type(cause).__name__}: {cause}").partition("\n")[0]
        allowed = f"{remedy}; or source.type {instead}"
        where += f": cannot be fetched ({brief(said, 160)})"
        raise SourceError(f"{where}; allowed: {allowed}") from error
    finally:
        constants.HF_HUB_OFFLINE = offline
        hooks["request"].remove(limit)
        hooks["response"].remove(check)


def _limit_wait(seconds: float, request: Any) -> None:
    """Give an HTTP request that would wait without an end that many seconds for each step."""
    limits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        step: seconds if limits.get(step) is None else limits[step]
        for step in ("connect", "read", "write", "pool")
    }


def _check_commit(where: str, strays: list[SourceError], response: Any) -> None:
    """Refuse an HTTP response that says that its file is of another commit than the one asked for.

    It is appended to `strays`, too, since whoever sent the request may swallow the error.
    """
    asked = ASKED.search(str(response.request.url))
    given = response.headers.get("X-Repo-Commit")
    if asked and given and given != asked[1]:
        error = f"{where}: the hub gave revision {brief(given)}; allowed: {asked[1]}"
        strays.append(SourceError(error))
        raise strays[-1]


def _cause(error: BaseException) -> tuple[BaseException, str]:
    """The hub's own refusal, which the libraries wrap in errors of theirs, and what helps there."""
    inner: BaseException | None = error
    while inner is not None:
        status = getattr(getattr(inner, "response", None), "status_code", None)
        if status is not None:
            return inner, _remedy(status)
        inner = inner.__cause__ or inner.__context__
    missing = type(error).__name__ == "DatasetNotFoundError"  # of `datasets`, raised from none
    return error, _remedy(404 if missing else None)


def _remedy(status: int | None) -> str:
    if status in REFUSED:
        return "a name and revision that the hub has, with HF_TOKEN where they are not public"
    cache = "a filled cache with HF_HUB_OFFLINE=1"
    return f"another try later, or {cache}" if status in BUSY else f"a network, or {cache}"
