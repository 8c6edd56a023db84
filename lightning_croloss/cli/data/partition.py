"""``croloss data partition``: a table divided by user, of which each process reads its own part."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.replaceable import check_path, refuse_existing
from lightning_croloss.data.partitions.dividing import Division, divide
from lightning_croloss.data.partitions.manifest import ITEMS, MANIFEST, PREPARED, USERS, part_name
from lightning_croloss.data.progress import Stages
from lightning_croloss.data.table.options import ReadingOptions


def partition(given: argparse.Namespace) -> None:
    """Run the command with its options."""
    output = expanded(given.output)
    check_output(output, given.overwrite)
    reading = ReadingOptions(
        given.separator, given.encoding, given.decimal, given.comment, given.ragged, given.quotes
    )
    division = Division(
        interactions=given.interactions,
        partitions=given.partitions,
        user_column=given.user_column,
        item_column=given.item_column,
        time_column=given.time_column,
        columns=given.columns,
        missing_values=given.missing_values,
        drop_missing=given.drop_missing,
        reading=reading,
    )
    with Stages(division.partitions + 2) as stages:
        manifest = divide(division, output, given.overwrite, stages.begin)
    sizes = [part.rows for part in manifest.partitions]
    print(
        f"{output}: {manifest.events:,} events of {manifest.users.rows:,} users and {manifest.items.rows:,} "
        f"items in {len(sizes)} partitions of {min(sizes):,} … {max(sizes):,} events"
    )
    for reason, count in manifest.left_out.items():
        print(f"left out: {count:,} rows ({reason})")


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse an output that may not be written or replaced, before any work.

    Raises:
        FileExistsError: it exists and may not be replaced, or holds what is not of partitions.
    """
    check_path(path, "--output")
    refuse_existing(path, overwrite, "--output")
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise FileExistsError(f"--output {path} is a file: choose another folder")
    held = sorted(found.name for found in path.iterdir())
    if held and MANIFEST not in held:  # files of others have such names, too
        raise FileExistsError(
            f"--output {path} is no folder of partitions, and --overwrite would delete all that it holds: "
            "choose another folder"
        )
    parts = [name for name in held if name.startswith("part-")]
    ours = {MANIFEST, ITEMS, USERS, PREPARED, *map(part_name, range(len(parts)))}
    if others := [name for name in held if name not in ours]:
        raise FileExistsError(
            f"--output {path} holds {others[0]} besides partitions, and --overwrite would delete it: move it "
            "away, or choose another folder"
        )
