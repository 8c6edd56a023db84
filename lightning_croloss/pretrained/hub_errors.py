"""What goes wrong with the Hugging Face Hub, in a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning_croloss.common.system_errors import FULL

#: Names of the client's classes, whose modules differ from release to release.
_UNREACHABLE = {
    "OfflineModeIsEnabled",
    "LocalEntryNotFoundError",
    "IncompleteSnapshotError",
    "ConnectionError",
    "ConnectError",
    "NetworkError",
    "ProxyError",
    "gaierror",
}
_SLOW = {"TimeoutException", "Timeout", "TimeoutError", "ReadTimeout", "ConnectTimeout"}
_LOGIN = "log in with 'hf auth login', or set HF_TOKEN"


def explain(error: BaseException, repository: str, revision: str | None, writes: bool = False) -> str:
    """Return why the Hub's client failed, and what helps.

    Args:
        error: what the client raised.
        repository: owner and name.
        revision: the branch, tag or commit that was asked for, None for the main branch.
        writes: whether something was to be written.
    """
    chain = list(_chain(error))
    names = {cls.__name__ for link in chain for cls in type(link).__mro__}
    status = next((code for link in chain if (code := _status(link))), None)
    if any(isinstance(link, OSError) and link.errno in FULL for link in chain):
        return (
            f"no space is left in the cache {_cache()}: free some, or set HF_HOME to a folder of another disk"
        )
    if denied := next((link for link in chain if isinstance(link, PermissionError)), None):
        place = denied.filename or _cache()
        return f"{place} cannot be written: set HF_HOME to a folder that you may write to"
    if "GatedRepoError" in names:
        return f"its owner gives access on request: ask at https://huggingface.co/{repository}, then {_LOGIN}"
    if "RevisionNotFoundError" in names:
        return f"it has no revision {revision!r}: name a branch, a tag or a whole commit"
    if "RepositoryNotFoundError" in names or status in (401, 404):
        return f"there is no such repository, or it is private: check the name {repository!r}, or {_LOGIN}"
    if status == 403:
        return f"you have no permission{' to write there' if writes else ''}: {_LOGIN}, with a token that may"
    if status == 429:
        return "the Hub refuses so many requests: wait a while"
    if status is not None and status >= 500:
        return f"the Hub answers with an error of its own ({status}): try again later"
    if "LocalTokenNotFoundError" in names:
        return f"no token was found: {_LOGIN}"
    if names & _SLOW:
        return (
            "the Hub took too long to answer: try again, with a larger HF_HUB_DOWNLOAD_TIMEOUT (seconds) if "
            "the connection is slow"
        )
    if names & _UNREACHABLE:
        held = "" if writes else f", and it is not in the cache {_cache()}"
        return (
            f"the Hub cannot be reached{held}: check the connection, and that neither HF_HUB_OFFLINE nor "
            "HF_ENDPOINT stands in the way"
        )
    if "CorruptedCacheException" in names or isinstance(error, NotADirectoryError):
        return f"the cache {_cache()} is damaged: remove the repository's folder in it and try again"
    return _first_line(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    code = getattr(response, "status_code", None)
    return code if isinstance(code, int) else None


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
