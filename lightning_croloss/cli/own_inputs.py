"""Outputs of the trainer's commands that are among what they read, and those of ``croloss tune``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.data.files import files_of_data
from lightning_croloss.cli.model_files import files_of_model
from lightning_croloss.common.own_inputs import refuse_own_inputs
from lightning_croloss.data.partitions.manifest import with_parts
from lightning_croloss.errors import DataError, MissingExtraError


def refuse_inputs_of_run(outputs: Iterable[Path], config: Mapping[str, Any], option: str) -> None:
    """Refuse to replace the config, the weights or a file of the data of a run, before any of it is loaded.

    Args:
        outputs: the files to write or to remove.
        config: the config of the command, as plain values; its field "config" names its files.
        option: the option that names the outputs.

    Raises:
        ValueError: one of them is read, by whatever path.
    """
    refuse_own_inputs(outputs, _inputs(config), option)


def _inputs(config: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for path in config.get("config") or ():
        yield "--config", expanded(str(path))  # or text in place of one, which is nowhere
    for name in ("ckpt_path", "pretrained"):
        for path in files_of_model(str(config.get(name) or "")):
            yield f"--{name}", path
    with suppress(DataError, MissingExtraError):  # it is told where the data are read
        for path in with_parts(files_of_data(config.get("data") or {})):
            yield "the data", path


__all__ = ["refuse_inputs_of_run"]
