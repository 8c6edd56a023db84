"""Pretrained models in repositories of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from lightning_croloss.errors import MissingExtraError, PretrainedError
from lightning_croloss.pretrained.hub_errors import explain
from lightning_croloss.pretrained.layout import CARD, MANIFEST, OPTIONAL, REQUIRED, is_hidden

PREFIX = "hf://"


class Address(NamedTuple):
    """Where a model is on the Hub: ``hf://owner/name``, ``hf://owner/name@revision/some/folder``."""

    repository: str
    revision: str | None
    folder: str


def parse_address(text: str) -> Address:
    """Split an address into its parts.

    Raises:
        PretrainedError: it is not an address.
    """
    owner, _, rest = text.removeprefix(PREFIX).partition("/")
    name, _, folder = rest.partition("/")
    name, at, revision = name.partition("@")
    folder = folder.strip("/")
    parts = [owner, name, *([revision] if at else []), *(folder.split("/") if folder else [])]
    if not text.startswith(PREFIX) or any(part in ("", ".", "..") for part in parts):
        raise PretrainedError(f"{text!r} is not an address: write hf://owner/name or hf://owner/name/folder")
    return Address(f"{owner}/{name}", revision or None, folder)


def download(text: str) -> Path:
    """Download a model into the Hub's cache, unless it is there, and return its folder.

    Args:
        text: the address.

    Raises:
        PretrainedError: it cannot be read, or is not a pretrained model.
        MissingExtraError: huggingface_hub is not installed.
    """
    address = parse_address(text)
    beginning = f"{address.folder}/" if address.folder else ""
    files = [f"{beginning}{name}" for name in (MANIFEST, CARD, *REQUIRED, *OPTIONAL)]
    folder = _snapshot(address, files) / address.folder
    if not (folder / MANIFEST).is_file():
        within = f" in its folder {address.folder!r}" if address.folder else ""
        raise PretrainedError(
            f"the repository {address.repository} has no pretrained model{within}: "
            f"list_pretrained('{PREFIX}{address.repository}') lists what it has"
        )
    return folder


def downloaded_manifests(text: str) -> list[str]:
    """Return the addresses of the models in a repository."""
    address = parse_address(text)
    root = _snapshot(address, [f"*{MANIFEST}"])
    beginning = PREFIX + address.repository + (f"@{address.revision}" if address.revision else "")
    manifests = (path for path in root.rglob(MANIFEST) if not is_hidden(path, root))
    found = (path.parent.relative_to(root).as_posix() for path in manifests)
    return sorted(beginning if name == "." else f"{beginning}/{name}" for name in found)


def upload(
    folder: Path, names: Sequence[str], address: str, private: bool, token: str | None, message: str
) -> None:
    """Upload files of the folder of a pretrained model; the repository is made if it does not exist.

    Raises:
        PretrainedError: the Hub refuses it.
        MissingExtraError: huggingface_hub is not installed.
    """
    target = parse_address(address)
    hub = _hub()
    try:
        hub.create_repo(target.repository, private=private, token=token, exist_ok=True)
        hub.upload_folder(
            repo_id=target.repository,
            folder_path=folder,
            path_in_repo=target.folder or None,
            revision=target.revision,
            token=token,
            commit_message=message,
            allow_patterns=list(names),
        )
    except Exception as error:  # see _snapshot
        why = explain(error, target.repository, target.revision, writes=True)
        raise PretrainedError(f"{address} cannot be written: {why}") from error


def _snapshot(address: Address, patterns: list[str]) -> Path:
    hub = _hub()
    try:
        return Path(
            hub.snapshot_download(address.repository, revision=address.revision, allow_patterns=patterns)
        )
    # the client and the network below it have errors of a dozen unrelated classes, other ones in each release
    except Exception as error:
        at = f"@{address.revision}" if address.revision else ""
        why = explain(error, address.repository, address.revision)
        raise PretrainedError(
            f"{PREFIX}{address.repository}{at} cannot be read from the Hub or its cache: {why}"
        ) from error


def _hub() -> ModuleType:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtraError("the Hugging Face Hub", "hub") from error
    return huggingface_hub
