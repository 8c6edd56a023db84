"""Where pretrained models are found, and under which names."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from croloss_serving.common.home_folder import expanded
from croloss_serving.common.terminal import shortened
from lightning_croloss.errors import PretrainedError, suggest
from lightning_croloss.pretrained.hub import PREFIX, download, downloaded_manifests
from lightning_croloss.pretrained.layout import MANIFEST, is_hidden

_PACKAGE = Path(__file__).parent


def zoo_folders() -> list[Path]:
    """Return the folders that hold the zoo: the checkout's and the installed package's."""
    folders = [_PACKAGE.parents[1] / "zoo", _PACKAGE / "models"]
    return [folder for folder in folders if folder.is_dir()]


def list_pretrained(folder: str | Path | None = None) -> list[str]:
    """Return the names of the pretrained models, for :func:`load_pretrained`.

    Args:
        folder: where to look instead: a folder, or ``"hf://owner/name"``; the names are then whole paths.
            None is the zoo of this package.

    Raises:
        PretrainedError: there is no such folder or repository.
    """
    if folder is None:
        return sorted({name for zoo in zoo_folders() for name in _models_in(zoo)})
    if str(folder).startswith(PREFIX):
        return downloaded_manifests(str(folder))
    where = expanded(folder)
    if not os.path.isdir(where):
        raise PretrainedError(f"there is no folder {shortened(str(folder))!r}")
    return [str(where / name) for name in _models_in(where)]


def find_pretrained(name: str | Path) -> Path:
    """Return the folder of a pretrained model.

    Args:
        name: as in :func:`load_pretrained`.

    Raises:
        PretrainedError: there is none; similar names are suggested.
    """
    text = str(name)
    if text.startswith(PREFIX):
        return download(text)
    where = expanded(name)
    if os.path.isdir(where):  # unlike Path's, of no name an error
        return where
    for zoo in zoo_folders():
        if os.path.isfile(zoo / text / MANIFEST):
            return zoo / text
    if where.is_absolute() or text.startswith(".") or text.endswith(".ckpt"):
        raise PretrainedError(f"there is no pretrained model at {shortened(text)!r}")
    raise PretrainedError(f"there is no pretrained model {shortened(text)!r}{_others(shortened(text))}")


def _others(text: str) -> str:
    """Return what to say of the models that there are, in place of one of this name."""
    names = list_pretrained()
    datasets = sorted({name.partition("/")[0] for name in names})
    dataset, slash, _ = text.partition("/")
    if slash and datasets and not get_close_matches(dataset, datasets):  # of other data no model is meant
        return (
            f": this installation has models of {', '.join(datasets)}; the repository's folder zoo has "
            "others, of which give the path"
        )
    return suggest(text, names) or "; the zoo of this installation is empty"


def _models_in(folder: Path) -> list[str]:
    return sorted(
        path.parent.relative_to(folder).as_posix()
        for path in folder.rglob(MANIFEST)
        if not is_hidden(path, folder) and path.is_file()
    )
