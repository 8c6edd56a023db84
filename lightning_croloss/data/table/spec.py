"""TableSpec: which files a TableDataModule reads, which columns of them, and what it does with the events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.checks import check_lists, check_moments
from lightning_croloss.data.event_feature_names import check_event_features
from lightning_croloss.data.history_filters import (
    DUPLICATES,
    FROM,
    PRESENT,
    RANGE,
    REPEATS,
    UNTIL,
    HistoryFilter,
    range_of,
)
from lightning_croloss.data.splits import Predefined
from lightning_croloss.data.table.finding import paths_of
from lightning_croloss.data.table.options import ReadingOptions


@dataclass(frozen=True)
class TableSpec:
    """The arguments of :class:`TableDataModule` that decide about its events, features and titles.

    The fields are named and explained as these arguments, where errors send the user.

    Attributes:
        split: the split if it is predefined, whose parts come with the data; else None.

    Raises:
        ValueError: an argument is unusable, or does not go with another.
    """

    interactions: str | Sequence[str]
    items: str | Sequence[str] | None = None
    users: str | Sequence[str] | None = None
    user_column: str = "user_id"
    item_column: str = "item_id"
    time_column: str | None = "timestamp"
    weight_column: str | None = None
    value_column: str | None = None
    min_value: float | None = None
    max_value: float | None = None
    time_from: int | float | str | None = None
    time_until: int | float | str | None = None
    drop_missing: bool = False
    duplicates: str = "all"
    consecutive_repeats: bool = True
    min_user_interactions: int = 5
    min_item_interactions: int = 1
    k_core: bool = False
    split: Predefined | None = None
    item_features: Sequence[str] = ()
    user_features: Sequence[str] = ()
    items_id_column: str | None = None
    users_id_column: str | None = None
    separator: str | None = None
    multi_separator: str = " "
    missing_values: Sequence[str] = ()
    title_column: str | None = None
    cache_dir: str | None = None
    encoding: str | None = None
    decimal: str = "."
    comment: str | None = None
    ragged: str = "error"
    quotes: str = "auto"
    event_features: Sequence[str] = ()

    def __post_init__(self) -> None:
        for table, given in self.files.items():
            if given is not None or table == "interactions":
                paths = paths_of(table, given)
                object.__setattr__(self, table, paths[0] if len(paths) == 1 else paths)
        self._check_each()
        self._check_together()

    @property
    def files(self) -> dict[str, str | Sequence[str] | None]:
        """The files of each table: a file, a folder, a glob, or a list of these."""
        return {"interactions": self.interactions, "items": self.items, "users": self.users}

    @property
    def reading(self) -> ReadingOptions:
        """How text files are read."""
        return ReadingOptions(
            self.separator, self.encoding, self.decimal, self.comment, self.ragged, self.quotes
        )

    @property
    def columns(self) -> dict[str, str]:
        """For each argument that names a column of the interactions, this column."""
        columns = {
            "user_column": self.user_column,
            "item_column": self.item_column,
            "time_column": self.time_column,
            "value_column": self.value_column,
            "weight_column": self.weight_column,
        }
        return {argument: column for argument, column in columns.items() if column is not None}

    @property
    def history_filters(self) -> list[HistoryFilter]:
        """The filters that change the history of a user, in the order in which they are applied."""
        found = []
        if self.drop_missing:
            others = (self.weight_column, self.part_column)
            found += [HistoryFilter(PRESENT, column) for column in others if column is not None]
        if self.value_column is not None:
            interval = range_of(self.min_value, self.max_value)
            found.append(HistoryFilter(RANGE, self.value_column, interval, refuses_missing=True))
        for kind, bound in ((FROM, self.time_from), (UNTIL, self.time_until)):
            if bound is not None:
                found.append(HistoryFilter(kind, self.time_column, bound))
        if self.duplicates != "all":
            found.append(HistoryFilter(DUPLICATES, keep=self.duplicates))
        return found if self.consecutive_repeats else [*found, HistoryFilter(REPEATS)]

    @property
    def part_column(self) -> str | None:
        """The column that holds the part of each event, if a predefined split has one."""
        return None if self.split is None else self.split.column

    @property
    def feature_names(self) -> dict[str, Sequence[str]]:
        """The features of each table: names of columns, or ``"name:kind"``."""
        return {"items": self.item_features, "users": self.user_features}

    @property
    def id_columns(self) -> dict[str, str]:
        """The column of the ids in each table."""
        return {
            "items": self.items_id_column or self.item_column,
            "users": self.users_id_column or self.user_column,
        }

    def check_event_features(self, columns: Collection[str] = ()) -> None:
        """Refuse features of events that can be none; see the function of this name.

        Args:
            columns: the columns of the events, once they are known.
        """
        user, item, time, part = self.user_column, self.item_column, self.time_column, self.part_column
        check_event_features(self.event_features, user, item, time, part, columns)

    def _check_each(self) -> None:
        check_lists(
            item_features=self.item_features,
            user_features=self.user_features,
            missing_values=self.missing_values,
            event_features=self.event_features,
        )
        if self.cache_dir is not None and expanded(self.cache_dir).is_file():
            raise ValueError(f"cache_dir={self.cache_dir!r} is a file: name a folder")
        for name in ("min_user_interactions", "min_item_interactions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        check_moments(time_from=self.time_from, time_until=self.time_until)
        if self.duplicates not in ("all", "first", "last"):
            raise ValueError(f"duplicates={self.duplicates!r} must be 'all', 'first' or 'last'")
        if not self.multi_separator:
            raise ValueError("multi_separator='' must be a text: what stands between two tokens")
        self.reading  # noqa: B018

    def _check_together(self) -> None:
        if self.user_column == self.item_column:
            raise ValueError(f"user_column and item_column are both {self.item_column!r}: name two columns")
        bounded = self.min_value is not None or self.max_value is not None
        if bounded != (self.value_column is not None):
            raise ValueError("value_column goes with min_value or max_value: give both, or none of them")
        windowed = self.time_from is not None or self.time_until is not None
        if windowed and self.time_column is None:
            raise ValueError("time_from and time_until need a time_column")
        for name, low, high in (
            ("min_value", self.min_value, self.max_value),
            ("time_from", self.time_from, self.time_until),
        ):
            if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low > high:
                raise ValueError(f"{name}={low!r} is beyond the other end, {high!r}: nothing would be left")
        self.check_event_features()
        if self.title_column is not None and self.items is None:
            raise ValueError("title_column needs items: name the file that holds the titles")
        for table, names in self.feature_names.items():
            used = bool(names) or (table == "items" and self.title_column is not None)
            if used != (self.files[table] is not None):
                features = f"{table.removesuffix('s')}_features"
                raise ValueError(f"{table} and {features} go together: name the file and the columns of it")
