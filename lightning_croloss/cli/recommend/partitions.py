"""``croloss recommend`` from a folder into a folder: its partitions, and what all runs must have the same."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from croloss_serving.common.hashing import sha256_of_file
from croloss_serving.common.home_folder import expanded
from croloss_serving.partitions import PARQUET, Partition, find_partitions
from croloss_serving.recommend.results import Recommendations
from lightning_croloss.cli.recommend.histories import Histories
from lightning_croloss.cli.recommend.json_histories import JSON_LINES
from lightning_croloss.common.replaceable import check_path
from lightning_croloss.data.history_filters import FILTERS
from lightning_croloss.data.table.finding import COMPRESSED, find_paths
from lightning_croloss.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_croloss.models import RetrievalModel

Write = Callable[[Histories, Recommendations], None]
_TEXT = (".csv", ".tsv", ".inter")
#: What names of partitions end in.
EXTENSIONS = (*PARQUET, *_TEXT, *(text + how for text in _TEXT for how in COMPRESSED), *JSON_LINES)
#: The options that say how a partition is read, which must be the same in all runs.
READING = (
    "user_column",
    "item_column",
    "time_column",
    "all_events",
    "history_column",
    "separator",
    "encoding",
    "decimal",
    "comment",
    "ragged",
    "quotes",
    "missing_values",
    "drop_missing",
)


def asked_partitions(given: argparse.Namespace) -> list[Partition] | None:
    """Return the partitions, if histories and output are folders; those of ``--shard`` alone.

    Args:
        given: the options of the command.

    Raises:
        DataError: the folder holds no tables, or the output lies in it.
        ValueError: the shard is not of the form i/of, or there are no partitions to share out.
        FileExistsError: the output is a link, or a folder that must stay.
    """
    output = given.output
    is_folder = output is not None and (output.is_dir() or not (output.suffix or output.is_file()))
    if not (is_folder and given.histories != "-" and expanded(given.histories).is_dir()):
        if given.shard is not None:
            raise ValueError(
                f"--shard {given.shard} has no effect unless --histories and --output are folders: leave it "
                "out"
            )
        return None
    if not output.is_dir():
        check_path(output, "--output")
    return find_partitions(given.histories, output, _shard(given.shard), EXTENSIONS)


def of_partition(given: argparse.Namespace, partition: Partition) -> argparse.Namespace:
    """Return the options with which a partition is read."""
    return argparse.Namespace(**{**vars(given), "histories": str(partition.source)})


def naming_users(write: Write, partition: Partition) -> Write:
    """Return ``write``, but for users whom the partition does not name.

    They would be numbered from 1 in each of them.
    """

    def checked(batch: Histories, found: Recommendations) -> None:
        if not batch.named:
            raise DataError(
                f"{partition.source.name} does not name its users: give partitions a column of users, or "
                '"user" in JSON lines'
            )
        write(batch, found)

    return checked


def settings_of_job(
    given: argparse.Namespace,
    model: RetrievalModel,
    weights: str,
    only: Collection[Any] | None,
    never: Collection[Any] | None,
) -> dict[str, Any]:
    """Return what must be the same in all runs that write a folder.

    Args:
        given: the options of the command.
        model: the model, which counts by its weights, wherever they were read.
        weights: see :func:`digest_of_weights`.
        only: tokens of the only items to recommend.
        never: tokens of items never to recommend.
    """
    excluded = model.exclude_history if given.exclude_history is None else given.exclude_history
    settings: dict[str, Any] = {"--n": given.n, "--exclude-history": excluded}
    for name, tokens in (("--allow", only), ("--deny", never)):
        settings[name] = None if tokens is None else _digest(sorted(map(repr, tokens)))
    reads_users = given.users is not None and model.reads_user_features
    settings["--users"] = f"a table of the checksum {_digest_of(given.users)}" if reads_users else None
    for name in READING:
        settings[f"--{name.replace('_', '-')}"] = getattr(given, name)
    if filters := (model.metadata.reading or {}).get(FILTERS):
        settings["filters of the model's training"] = filters
    settings["--model"] = f"{type(model).__name__} of {model.num_items} items, {weights}"
    return settings


def digest_of_weights(model: RetrievalModel) -> str:
    """Return a checksum of the weights, which are read once; over shards all processes call this together.

    It is that of one process, on the first; on the others it is of no use.
    """
    import torch

    from lightning_croloss.sharding.layout import blocks_of_table
    from lightning_croloss.training.sharded.tables import shards_of

    digest = hashlib.sha256()
    shards = {f"{name}.weight": each for name, each in shards_of(model).items()}
    for name, value in sorted(model.state_dict().items()):
        own = shards.get(name)
        shape = value.shape if own is None else (own.num_rows, *value.shape[1:])
        digest.update(f"{name} {value.dtype} {tuple(shape)}".encode())
        parts: Iterable[Tensor] = [value] if own is None else blocks_of_table(value, own)
        for part in parts:
            content = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(content.numpy().data)
    return digest.hexdigest()[:16]


def _shard(given: str | None) -> tuple[int, int]:
    if given is None:
        return 1, 1
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", given)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--shard must be i/of with i in 1 … of, such as 1/4, got {given!r}")
    return int(found[1]), int(found[2])


def _digest_of(users: str) -> str:
    """Return a checksum of what the files of ``--users`` hold, wherever they lie."""
    return _digest([sha256_of_file(path) for path in find_paths("--users", users, ".user")])


def _digest(texts: Collection[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
