"""TableDataModule: the user's own tables."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from lightning_croloss.configurable import class_path, to_config
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.features import Feature
from lightning_croloss.data.history_filters import FILTERS, plain_filters
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.report import COUNTING, PreparationReport, first_of
from lightning_croloss.data.splits import Predefined, Split
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.errors import MissingExtraError

#: Settings besides the reading options that say how events are read and ordered.
READ_ALIKE = ("user_column", "item_column", "time_column", "missing_values", "drop_missing")

if TYPE_CHECKING:
    from lightning_croloss.data.partitions.table import PartitionedTable
    from lightning_croloss.data.table.cache import TableCache


class TableDataModule(RetrievalDataModule):
    """Your own interactions, and tables of item and user features if you have them.

    Reads Parquet, CSV, TSV (compressed with gzip or zstd, too) and RecBole's atomic files (``.inter``,
    ``.item``, ``.user``, with ``name:type`` in the header); of each only the columns that are named. Users
    and items may be integers or text, and come back as they are in predictions and checkpoints. Missing are
    nulls, NaN and empty texts.

    What the interactions go through, in this order; ``report`` counts what each step drops:

    1. rows without user, item, time, value or weight: refused, or dropped with ``drop_missing``;
    2. ``min_value`` and ``max_value``;
    3. ``time_from`` and ``time_until``;
    4. ``duplicates``;
    5. ``consecutive_repeats``;
    6. ``min_item_interactions``, then ``min_user_interactions``; over and over with ``k_core``.

    Args:
        interactions: the events: a file, a folder (searched to its depths, through links too), a glob such as
            ``"logs/2024-*.parquet"``, or a list of these. With the split :class:`Predefined` without a
            column, the folder of its files. A data frame is written to a Parquet file first.
        items: the table of the items, for ``item_features``: a file, folder, glob or list.
        users: the table of the users, for ``user_features``.
        user_column: column of the users.
        item_column: column of the items.
        time_column: column of the times: numbers, dates, or ISO dates and date-times as text; null if the
            order of the rows is the order of the events. Ties keep the order of the rows.
        weight_column: column of the events' weights in the loss (``sample_weight``): finite, not negative.
        value_column: column that ``min_value`` and ``max_value`` are about, for example ratings.
        min_value: drop events with a smaller value.
        max_value: drop events with a larger value.
        time_from: drop events before this time: a number, or an ISO date or date-time, as the column holds.
        time_until: drop events at or after this time.
        drop_missing: drop rows in which one of the named columns has no value, instead of refusing them.
        duplicates: what to keep of several events of a user with one item: all, the first or the last.
        consecutive_repeats: whether to keep an event whose item is also that of the user's event before it.
        min_user_interactions: drop users with fewer events than this.
        min_item_interactions: drop items with fewer events than this.
        k_core: apply both minimum counts until every user and item that is left has that many; otherwise each
            is applied once, items first.
        split: which events are targets of training, validation and test; None is :class:`LeaveOneOut`.
        batch_size: rows of a training batch, in each process.
        eval_batch_size: rows of a validation, test or prediction batch, in each process.
        max_history: the most events of a history: the last ones before the target.
        seed: seed of the training order; None is the seed given to ``seed_everything``, else 0.
        item_features: columns of ``items`` that are features, for models that take them. Numbers are numeric,
            text is categorical, lists are multi-valued; write ``"brand_code:categorical"``,
            ``"year:numeric"`` or ``"tags:multi"`` where that is not what you mean.
        user_features: the same of ``users``.
        items_id_column: column of the ids in ``items``; null is ``item_column``.
        users_id_column: column of the ids in ``users``; null is ``user_column``.
        separator: what stands between the fields of text files; null is a comma in ``.csv``, else a tab,
            unless the header has another one alone, as ``user_id;item_id;timestamp`` has.
        multi_separator: what stands between the tokens of a multi-valued text.
        missing_values: texts that mean "missing", besides the empty one.
        title_column: column of ``items`` that says what a person calls an item; null = no titles.
        cache_dir: a folder in which to keep what was prepared, for example ``~/.cache/lightning-croloss``;
            null keeps nothing. It pays for large text files and large feature tables only. Entries are found
            by the content of the files and the settings, so none is ever outdated; delete them at any time.
        encoding: encoding of text files, such as ``latin-1``, ``cp1252`` or ``utf-16``; null is UTF-8.
        decimal: what stands before the decimals of numbers in text files.
        comment: what lines of text files begin with that are no rows; null leaves out those lines beginning
            with ``#`` that have another number of fields than the header, and counts them.
        ragged: what to do with lines of another number of fields than the header: refuse them, or drop them
            and count them.
        quotes: whether fields of text files may stand in quotes: ``auto`` sees for each field, so that a
            quote in a field, such as an inch mark, is a character; with ``fields`` a quote that begins a
            field must end it; with ``text`` every quote is a character.
        predict_users: whom ``Trainer.predict`` serves: "all" is every user of the data with all of its
            events, also those that have too few for training; "test" is the rows of the test part, with the
            events before their targets.
        group_by_length: whether the rows of a training batch have histories of similar length, so that little
            of it is padding: an epoch takes less time where most histories are shorter than ``max_history``.
            Batches are then less random, which may cost Recall.
        target_window: among how many targets that a user has in training the target of a history is drawn in
            each epoch, the next one being the first; 1 is the next one itself. No event of validation or test
            is ever drawn.
        targets_per_history: number of different ones that are drawn, fewer where there are fewer.
        event_features: columns of ``interactions`` that models read of each event of a history besides its
            item. Numbers are numeric, text is categorical; write ``"rating:categorical"`` where that is not
            what you mean. A value may be missing. The column of the times stands for the time since the
            event before.
        max_eval_users: how many rows validation and test each measure at most, spread evenly over all of the
            part, since the first users of a file can be unlike the others; None = all.
        partitioned_by_user: whether ``interactions`` is a folder that ``croloss data partition`` has written.
            Each process then reads the events of some users alone; ids, counts, filters and splits are those
            of the whole table.
        events_on_device: whether the events of training lie on the accelerator that trains, where histories
            are then gathered, instead of being gathered by the processor and copied in each step.
            The batches are the same. It takes 8 bytes of the accelerator's memory an event, and as many for
            each feature of the events that the model reads; without an accelerator it does nothing.

    Attributes:
        spec: the arguments that decide about events, features and titles.
        report: the files, the numbers before and after each step, and what the feature tables lack.

    Raises:
        ValueError: for an unusable argument.
        DataError: if the files cannot be used, or nothing is left after the filters.
        MissingExtraError: if polars is not installed.
    """

    def __init__(
        self,
        interactions: str | list[str],
        items: str | list[str] | None = None,
        users: str | list[str] | None = None,
        user_column: str = "user_id",
        item_column: str = "item_id",
        time_column: str | None = "timestamp",
        weight_column: str | None = None,
        value_column: str | None = None,
        min_value: float | None = None,
        max_value: float | None = None,
        time_from: int | float | str | None = None,
        time_until: int | float | str | None = None,
        drop_missing: bool = False,
        duplicates: Literal["all", "first", "last"] = "all",
        consecutive_repeats: bool = True,
        min_user_interactions: int = 5,
        min_item_interactions: int = 1,
        k_core: bool = False,
        split: Split | None = None,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        max_history: int = 50,
        seed: int | None = None,
        item_features: Sequence[str] = (),
        user_features: Sequence[str] = (),
        items_id_column: str | None = None,
        users_id_column: str | None = None,
        separator: str | None = None,
        multi_separator: str = " ",
        missing_values: Sequence[str] = (),
        title_column: str | None = None,
        cache_dir: str | None = None,
        encoding: str | None = None,
        decimal: Literal[".", ","] = ".",
        comment: str | None = None,
        ragged: Literal["error", "drop"] = "error",
        quotes: Literal["auto", "fields", "text"] = "auto",
        predict_users: Literal["all", "test"] = "all",
        group_by_length: bool = False,
        target_window: int = 1,
        targets_per_history: int = 1,
        event_features: Sequence[str] = (),
        max_eval_users: int | None = None,
        partitioned_by_user: bool = False,
        events_on_device: bool = False,
    ) -> None:
        super().__init__(
            split,
            batch_size,
            eval_batch_size,
            max_history,
            seed,
            predict_users,
            group_by_length,
            target_window,
            targets_per_history,
            max_eval_users,
            events_on_device,
        )
        self.spec = TableSpec(
            interactions=interactions,
            items=items,
            users=users,
            user_column=user_column,
            item_column=item_column,
            time_column=time_column,
            weight_column=weight_column,
            value_column=value_column,
            min_value=min_value,
            max_value=max_value,
            time_from=time_from,
            time_until=time_until,
            drop_missing=drop_missing,
            duplicates=duplicates,
            consecutive_repeats=consecutive_repeats,
            min_user_interactions=min_user_interactions,
            min_item_interactions=min_item_interactions,
            k_core=k_core,
            split=self.split if isinstance(self.split, Predefined) else None,
            item_features=item_features,
            user_features=user_features,
            items_id_column=items_id_column,
            users_id_column=users_id_column,
            separator=separator,
            multi_separator=multi_separator,
            missing_values=missing_values,
            title_column=title_column,
            cache_dir=cache_dir,
            encoding=encoding,
            decimal=decimal,
            comment=comment,
            ragged=ragged,
            quotes=quotes,
            event_features=event_features,
        )
        self.partitioned_by_user = partitioned_by_user
        self._report: PreparationReport | None = None
        self._cache: TableCache | None = None
        self._loaded_by: tuple[int, int] | None = None

    @property
    def files(self) -> dict[str, str | Sequence[str] | None]:
        """The files of the tables "interactions", "items" and "users": a file, a folder, a glob or a list."""
        return self.spec.files

    def source_files(self) -> list[Path]:
        """Return the files of the three tables.

        For partitions their manifest stands, which holds the checksum of each.

        Raises:
            DataError: a table is not there.
            MissingExtraError: if polars is not installed.
        """
        _need_polars()
        from lightning_croloss.data.partitions.manifest import MANIFEST
        from lightning_croloss.data.table.sources import event_paths, feature_paths

        if self.partitions is not None:
            events = [self.partitions.reader.folder / MANIFEST]
        else:
            events, _ = event_paths(self.spec)
        tables = (feature_paths(table, self.files[table]) for table in ("items", "users"))
        return [*events, *(path for paths in tables for path in paths)]

    @cached_property
    def partitions(self) -> PartitionedTable | None:
        """What is the same in all processes, if each reads partitions of its own."""
        if not self.partitioned_by_user:
            return None
        _need_polars()
        from lightning_croloss.data.partitions.scanning import Wanted
        from lightning_croloss.data.partitions.table import PartitionedTable

        wanted = Wanted(self.split, self.target_window, self.targets_per_history)
        return PartitionedTable(self.spec, wanted)

    def setup(self, stage: str) -> None:
        """Forget what another process would read, or this one would without the trainer's others."""
        super().setup(stage)
        if self.partitions is not None and self._loaded_by not in (None, self._process):
            for name in ("interactions", "rows", "_everyone"):
                self.__dict__.pop(name, None)
            self._recipients.clear()

    @property
    def report(self) -> PreparationReport:
        """The record of the preparation; reads the data if that was not done."""
        self.features  # noqa: B018
        return self._prepared_report()

    def _prepared_report(self) -> PreparationReport:
        if self._report is None and self.partitions is not None:
            self._report = deepcopy(self.partitions.summary.report)
            rank_zero_info(f"{first_of(self._report.sources)}: {self._report}")
        if self._report is None:
            self.interactions  # noqa: B018
        assert self._report is not None
        return self._report

    @property
    def reading(self) -> dict[str, Any]:
        """How the events were read and which were left out of histories, for whoever reads more of them."""
        names = (*READ_ALIKE, *vars(self.spec.reading))
        read = {name: to_config(getattr(self.spec, name)) for name in names}
        return {**read, FILTERS: plain_filters(self.spec.history_filters)}

    @property
    def time_feature(self) -> str | None:
        """The column of the times if ``event_features`` names it, else None."""
        return self.spec.time_column if self.spec.time_column in self.spec.event_features else None

    def load(self) -> Interactions:
        """Read and filter the events.

        Raises:
            DataError: if the files cannot be used, or nothing is left after the filters.
            MissingExtraError: if polars is not installed.
        """
        if self.partitions is not None:
            self._prepared_report()
            self._loaded_by = self._process
            return self.partitions.interactions(*self._process)
        _need_polars()
        from lightning_croloss.data.table.preparation import prepare

        found = None
        if self.spec.cache_dir is not None:
            from lightning_croloss.data.table.cache import TableCache

            self._cache = TableCache(self.spec, self.spec.cache_dir, class_path(type(self)))
            found = self._cache.read_events()
        interactions, self._report = found or prepare(self.spec)
        if self._cache is not None and found is None:
            self._cache.write_events(interactions, self._report)
        cached = " (from the cache)" if found else ""
        rank_zero_info(f"{first_of(self._report.sources)}{cached}: {self._report}")
        return interactions

    def load_unfiltered(self) -> Interactions | None:
        """Read the events again without ``min_user_interactions`` and ``min_item_interactions``.

        Returns:
            The events; None if these filters have left nothing out.
        """
        counted = [step for step in self._prepared_report().steps if step.name == COUNTING]
        if not any(step.dropped.interactions for step in counted):
            return None
        if self.partitions is not None:
            return self.partitions.unfiltered(*self._process)
        spec = self.spec
        from lightning_croloss.data.table.preparation import prepare

        everyone, _ = prepare(replace(spec, min_user_interactions=1, min_item_interactions=1, k_core=False))
        return everyone

    def load_features(self) -> tuple[list[Feature], list[Feature]]:
        """Read the features of the items and users that have interactions.

        Raises:
            DataError: a file or column is missing, or cannot be used.
            MissingExtraError: if polars is not installed.
        """
        if not any(self.spec.feature_names.values()):
            return [], []
        report = self._prepared_report()
        found = self._cache.read_features() if self._cache is not None else None
        features, notes = found or self._read_features()
        if self._cache is not None and found is None:
            self._cache.write_features(features, notes)
        report.notes += notes
        for note in notes:
            rank_zero_info(note)
        return features["items"], features["users"]

    def load_user_features(self, users: Vocabulary) -> list[Feature]:
        """Read the features of other users, as those of the data's users are read.

        Raises:
            DataError: a value cannot be read.
        """
        if not self.features[1]:
            return []
        from lightning_croloss.data.table.feature_tables import load_features

        encodings = [feature.encoding for feature in self.features[1]]
        return load_features(self.spec, {"users": users}, encodings)[0]["users"]

    def load_titles(self, vocabulary: Vocabulary) -> list[str] | None:
        """Read the titles of the items of a vocabulary, "" where there is none.

        Raises:
            DataError: the file or a column is missing, or cannot be used.
        """
        if self.spec.title_column is None:
            return None
        _need_polars()
        from lightning_croloss.data.table.feature_tables import load_titles

        return load_titles(self.spec, self.spec.title_column, vocabulary)

    def _read_features(self) -> tuple[dict[str, list[Feature]], list[str]]:
        _need_polars()
        from lightning_croloss.data.table.feature_tables import load_features

        return load_features(self.spec, {"items": self.item_vocabulary, "users": self.user_vocabulary})


def _need_polars() -> None:
    try:
        import polars  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("TableDataModule", "tables") from error
