"""Checkpoints in shards that need no second process."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.sharded.folder import KEY, REST, ROWS
from lightning_croloss.training.sharded.loading import described_rows
from lightning_croloss.training.sharded.rows import take_rows

TABLE = "item_embedding"


def in_shards(file: Path, folder: Path, spoilt: int | None = None) -> None:
    """Write an ordinary checkpoint as several processes would, its table as one piece.

    Args:
        file: the checkpoint, of 40 items.
        folder: what is written.
        spoilt: an item whose vector is no number.
    """
    content = torch.load(file, weights_only=True)
    if spoilt is not None:
        content["state_dict"][f"{TABLE}.weight"][spoilt] = torch.nan
    shards = {TABLE: RowShards(41)}
    rows = take_rows(content, shards, [{0: TABLE}])
    folder.mkdir()
    writer = FileSystemWriter(folder / ROWS)
    save({name: values for name, (_, values) in rows.items()}, storage_writer=writer, no_dist=True)
    torch.save({**content, KEY: described_rows(rows, shards)}, folder / REST)
