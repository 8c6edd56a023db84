"""The folder of a search: what lies there, and when a search may take the place of another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_croloss.cli.own_inputs import refuse_inputs_of_run
from lightning_croloss.cli.tune.sources import sources_of
from lightning_croloss.common.replaceable import check_path
from lightning_croloss.tuning import records
from lightning_croloss.tuning.records import SEARCH, VERSION, Records, read_record, write_record

#: How the models of a search by the clock stand.
STATE = "state.json"
#: The files that it reads, and what they were.
SOURCES = "sources.json"
#: What a search leaves in its folder.
OWN = (
    *("candidates", "seeds", "logs", "best_*.yaml", "best_*.ckpt", "seeds_*.*", "rungs*.*"),
    *("optuna.db*", "length.json", "plan.json", "speed.json", SOURCES),
    *(STATE, "spent.json", "baselines.json", "designs.csv", "test.json", "cache"),
)
#: By which options the settings of a search are given; the others are fields of its config.
OPTIONS = {
    "objectives": "what is looked for (--n, --weights, --objective)",
    **{name: f"--{name}" for name in ("fits", "minutes", "trials", "sampler")},
}


def check_output(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse what cannot be the folder of a search.

    Args:
        folder: the folder.
        config: what the search reads, as a config of a fit whose field "config" names its files.

    Raises:
        FileExistsError: it is a file, or something that must stay as it is.
        PermissionError: nothing can be written there.
        ValueError: what the search reads lies where it would be replaced.
    """
    check_path(folder, "--output")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"--output {folder} is a file: choose another folder")
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    for each in (there, folder.absolute().parent):  # beside the folder lies its lock
        if each.exists() and not os.access(each, os.W_OK | os.X_OK):
            raise PermissionError(f"--output {folder}: {each} cannot be written to: choose another folder")
    refuse_inputs_of_run(_own_files(folder), config, "--output")


def open_records(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> Records:
    """Return the records of a search, which takes the place of one that has trained nothing.

    Args:
        folder: its folder.
        settings: what its outcome depends on.
        overwrite: whether it takes the place of any other.

    Raises:
        ValueError: the folder holds another search, or something else; or the data cannot be found.
    """
    sources = sources_of(settings["config"])  # what is not there is told before anything is replaced
    if overwrite:
        _replace(folder, settings)
    try:
        found = Records(folder, settings, called=OPTIONS)
        _check_sources(folder, sources)
    except ValueError as error:
        if not (folder / SEARCH).exists() or has_trained(folder):
            raise ValueError(f"--output: {error}") from None
        _replace(folder, settings)  # as after a mistake in the options
        found = Records(folder, settings, called=OPTIONS)
    if not (folder / SOURCES).exists():
        write_record(folder / SOURCES, sources)
    return found


def _check_sources(folder: Path, sources: Mapping[str, str]) -> None:
    """Refuse to go on with a search whose data have changed.

    Raises:
        ValueError: naming the file.
    """
    if not (folder / SOURCES).exists():  # a new search, or one of an early release
        return
    before = read_record(folder / SOURCES, dict)
    if not before:  # nothing is known of its files
        return
    for path in sorted({*before, *sources}):
        if before.get(path) != sources.get(path):
            what = "is gone" if path not in sources else "has changed" if path in before else "has come"
            raise ValueError(
                f"{folder} holds a search that began with other data, as {path} {what} since: choose another "
                "folder, or overwrite it"
            )


def has_trained(folder: Path) -> bool:
    """Return whether a search, from a config or from a table, has come to anything yet."""
    return (folder / STATE).exists() or records.has_trained(folder)


def _replace(folder: Path, settings: Mapping[str, Any]) -> None:
    """Let another search take the place of one in a folder, and of nothing else that lies there."""
    if not (folder / SEARCH).exists():
        return
    write_record(folder / SEARCH, {"version": VERSION, **settings})
    for path in _own(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _own(folder: Path) -> Iterator[Path]:
    """Yield what a search has left in its folder."""
    for pattern in OWN:
        yield from folder.glob(pattern)


def _own_files(folder: Path) -> Iterator[Path]:
    """Yield each file of it."""
    for path in _own(folder):
        yield from path.rglob("*") if path.is_dir() else (path,)


__all__ = ["STATE", "check_output", "has_trained", "open_records"]
