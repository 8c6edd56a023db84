"""push_to_hub: share a pretrained model."""

from __future__ import annotations

import os
from pathlib import Path

from croloss_serving.common.switches import check_switches
from lightning_croloss.pretrained.hub import parse_address, upload
from lightning_croloss.pretrained.layout import CARD, MANIFEST, OPTIONAL, REQUIRED, read_card, read_manifest
from lightning_croloss.pretrained.registry import find_pretrained


def push_to_hub(
    model: str | Path,
    address: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "A retrieval model of lightning-croloss",
) -> str:
    """Upload a pretrained model.

    Args:
        model: a folder that ``save_pretrained`` wrote, or a name of the zoo.
        address: ``"hf://owner/name"`` or ``"hf://owner/name/some/folder"``; the repository is made if it
            does not exist.
        private: whether a repository that is made is private.
        token: access token; None takes the one that ``hf auth login`` keeps.
        message: message of the commit.

    Returns:
        The address, for :func:`load_pretrained`.

    Raises:
        PretrainedError: the model is incomplete, its card is a link to another folder, or the Hub refuses it.
        MissingExtraError: huggingface_hub is not installed.
    """
    check_switches(private=private)
    parse_address(address)  # refused before anything is read
    folder = find_pretrained(model)
    listed = read_manifest(folder)["files"]
    names = [MANIFEST, *REQUIRED, *(name for name in OPTIONAL if name in listed)]  # no other was checked
    if os.path.lexists(folder / CARD):
        read_card(folder)  # one that leads out of the folder would make public what lies there
        names.append(CARD)
    upload(folder, names, address, private, token, message)
    return address
