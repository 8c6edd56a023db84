"""RecBoleDataModule: datasets and configuration of the RecBole library."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.checks import check_choice, check_lists, check_plain_name
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.event_feature_names import check_event_features
from lightning_croloss.data.features import Feature
from lightning_croloss.data.history_filters import (
    FILTERS,
    MISSING_IN_FEATURES,
    HistoryFilter,
    plain_filters,
)
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.recbole.settings import COUNT_FILTERS, read_settings
from lightning_croloss.data.splits import Split
from lightning_croloss.data.table.finding import ATOMIC
from lightning_croloss.errors import DataError, MissingExtraError, suggest


class RecBoleDataModule(RetrievalDataModule):
    """Interactions from RecBole's atomic files, filtered by RecBole with its configuration.

    The files are read as :class:`TableDataModule` reads them: every text is an id, ``NA`` and ``null`` too,
    blank lines are left out, and lines that lack a user, an item or a time, or have other fields than the
    header, are refused.
    Everything of RecBole's configuration that loads and filters has its effect: ``load_col``,
    ``val_interval``, ``user_inter_num_interval``, ``item_inter_num_interval``, ``rm_dup_inter``,
    ``USER_ID_FIELD`` and so on; ``seq_len`` shortens aliases and features, but no titles. A value of another
    kind than its setting has is refused. Ids are RecBole's. What RecBole does for training and evaluation has
    no effect.
    Events are ordered by the exact values of ``TIME_FIELD``, ties in the order of the file; without such a
    column the order of the file counts.

    Args:
        dataset: name of the dataset, the folder that holds ``<dataset>.inter``; a name, not a path.
        data_path: folder that contains the folder ``<dataset>``; None is the data bundled with RecBole, which
            is ml-100k.
        config_files: RecBole configuration files (YAML); later ones win.
        config: RecBole configuration, stronger than the files; its texts are evaluated as RecBole evaluates
            them ("True" is true), but for paths. Without ``load_col`` the user, the item, the time and the
            columns named in ``val_interval`` are loaded.
        split: which events are targets of training, validation and test; None is :class:`LeaveOneOut`.
        batch_size: rows of a training batch, in each process.
        eval_batch_size: rows of a validation, test or prediction batch, in each process.
        max_history: the most events of a history: the last ones before the target.
        seed: seed of the training order; None is the seed given to ``seed_everything``, else 0.
        item_features: columns of ``<dataset>.item`` that are features of the items, for models that take
            them. A ``token`` is categorical, a ``token_seq`` multi-valued, a ``float`` numeric; write
            ``"release_year:numeric"`` where the file's type says otherwise.
        user_features: the same of ``<dataset>.user``.
        missing_values: texts in the feature files that mean "missing", besides the empty one.
        title_field: column of ``<dataset>.item`` that says what a person calls an item; None = no titles.
        ragged: what to do with lines of another number of fields than the header: "error", or "drop" to leave
            them out, which is told.
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
        event_features: columns of ``<dataset>.inter`` that models read of each event of a history besides its
            item. A ``token`` is categorical, a ``float`` numeric; write ``"rating:categorical"`` where that
            is not what you mean. A value may be missing. The column of the times stands for the time since
            the event before.
        max_eval_users: how many rows validation and test each measure at most, spread evenly over all of the
            part, since the first users of a file can be unlike the others; None = all.
        events_on_device: whether the events of training lie on the accelerator that trains, where histories
            are then gathered, instead of being gathered by the processor and copied in each step.
            The batches are the same. It takes 8 bytes of the accelerator's memory an event, and as many for
            each feature of the events that the model reads; without an accelerator it does nothing.

    Raises:
        ValueError: for an unusable argument or setting.
        DataError: if files or columns are missing, or nothing is left after the filters.
        MissingExtraError: if RecBole is not installed.
    """

    def __init__(
        self,
        dataset: str = "ml-100k",
        data_path: str | None = None,
        config_files: Sequence[str] = (),
        config: dict[str, Any] | None = None,
        split: Split | None = None,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        max_history: int = 50,
        seed: int | None = None,
        item_features: Sequence[str] = (),
        user_features: Sequence[str] = (),
        missing_values: Sequence[str] = (),
        title_field: str | None = None,
        ragged: str = "error",
        predict_users: Literal["all", "test"] = "all",
        group_by_length: bool = False,
        target_window: int = 1,
        targets_per_history: int = 1,
        event_features: Sequence[str] = (),
        max_eval_users: int | None = None,
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
        check_lists(
            config_files=config_files,
            item_features=item_features,
            user_features=user_features,
            missing_values=missing_values,
            event_features=event_features,
        )
        self.event_feature_names = list(event_features)
        check_plain_name("dataset", dataset)
        self.dataset = dataset
        self.data_path = data_path
        self.config_files = list(config_files)
        self.config = dict(config or {})
        self.item_feature_names = list(item_features)
        self.user_feature_names = list(user_features)
        self.missing_values = list(missing_values)
        self.title_field = title_field
        check_choice("ragged", ragged, ("error", "drop"))
        self.ragged = ragged
        self._history_filters: list[HistoryFilter] = []

    def load(self) -> Interactions:
        """Let RecBole load and filter, then take over its events.

        Raises:
            ValueError: for an unusable setting.
            DataError: if files or columns are missing, or nothing is left after the filters.
            MissingExtraError: if RecBole is not installed.
        """
        return self._load(self._settings())

    def load_unfiltered(self) -> Interactions | None:
        """Let RecBole load again without ``user_inter_num_interval`` and ``item_inter_num_interval``.

        Returns:
            The events; None if neither is set.
        """
        given = self._settings()
        if not any(given.get(name) for name in COUNT_FILTERS):
            return None
        return self._load({name: value for name, value in given.items() if name not in COUNT_FILTERS})

    def _load(self, given: dict[str, Any]) -> Interactions:
        try:
            import pandas  # noqa: F401
            import recbole  # noqa: F401

            from lightning_croloss.data.recbole.loading import load
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("recbole", "pandas", "polars", "pyarrow"):
                raise
            raise MissingExtraError("RecBoleDataModule", "recbole") from error
        columns = self._columns_of(given)
        check_event_features(self.event_feature_names, *columns)
        wanted = [entry for entry in self.event_feature_names if entry != columns[2]]
        interactions, self._history_filters = load(
            self.dataset, self._folder(given), given, self.ragged, wanted, self.missing_values
        )
        if self.time_feature is not None and interactions.times is None:
            raise DataError(
                f"event_features names {self.time_feature!r}, but the events have no times: load that column "
                "(load_col), or set TIME_FIELD to another (null to read it as a number)"
            )
        return interactions

    @property
    def time_feature(self) -> str | None:
        """The column of the times if ``event_features`` names it, else None."""
        time = self._columns_of(self._settings())[2]
        return time if time is not None and time in self.event_feature_names else None

    @staticmethod
    def _columns_of(given: dict[str, Any]) -> tuple[str, str, str | None]:
        """Return the columns of the users, the items and the times; TIME_FIELD may be null."""
        usual = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp"}
        user, item, time = (given.get(key, name) for key, name in usual.items())
        return user, item, time

    @property
    def reading(self) -> dict[str, Any]:
        """The columns of the events and which events were left out, for whoever reads more of them.

        RecBole's separators are its own.
        """
        user, item, time = self._columns_of(self._settings())
        timed = self.interactions.times is not None
        return {
            "user_column": user,
            "item_column": item,
            "time_column": time if timed else None,
            "ragged": self.ragged,
            MISSING_IN_FEATURES: list(map(str, self.missing_values)),
            FILTERS: plain_filters(self._history_filters),
        }

    def load_features(self) -> tuple[list[Feature], list[Feature]]:
        """Read the features of the items and users that have interactions.

        Raises:
            DataError: a file or column is missing, or cannot be used.
        """
        names = self.item_feature_names, self.user_feature_names
        if not any(names):
            return [], []
        vocabularies = self.item_vocabulary, self.user_vocabulary
        items, users = (
            self._read_features(extension, wanted, vocabulary)
            for extension, wanted, vocabulary in zip(("item", "user"), names, vocabularies, strict=True)
        )
        return items, users

    def load_user_features(self, users: Vocabulary) -> list[Feature]:
        """Read the features of other users, as those of the data's users are read.

        Raises:
            DataError: a value cannot be read.
        """
        encodings = [feature.encoding for feature in self.features[1]]
        return self._read_features("user", self.user_feature_names, users, encodings)

    def _read_features(
        self,
        extension: str,
        names: Sequence[str],
        vocabulary: Vocabulary,
        encodings: Sequence[FeatureEncoding] = (),
    ) -> list[Feature]:
        if not names:
            return []
        from lightning_croloss.data.recbole.feature_files import load_features

        given = self._settings()
        return load_features(
            self._folder(given) / f"{self.dataset}.{extension}",
            names,
            given.get(f"{extension.upper()}_ID_FIELD", f"{extension}_id"),
            vocabulary,
            given,
            self.missing_values,
            self.ragged,
            encodings,
        )

    def check_files(self) -> None:
        """See that the files are there, without reading them.

        Raises:
            DataError: a folder or the file of the interactions is missing.
        """
        self._folder(self._settings())

    def source_files(self) -> list[Path]:
        """Return the atomic files of the dataset, and the files of RecBole's settings.

        Raises:
            DataError: a folder or the file of the interactions is missing.
            MissingExtraError: if RecBole, whose own copy is named, is not installed.
        """
        try:
            folder = self._folder(self._settings())
        except ModuleNotFoundError as error:
            raise MissingExtraError("RecBoleDataModule", "recbole") from error
        atomic = (folder / f"{self.dataset}{extension}" for extension in ATOMIC)
        return [*(path for path in atomic if path.is_file()), *map(expanded, self.config_files)]

    def load_titles(self, vocabulary: Vocabulary) -> list[str] | None:
        """Read the titles of the items of a vocabulary, "" where there is none.

        Raises:
            DataError: the file or the column is missing.
        """
        if self.title_field is None:
            return None
        from lightning_croloss.data.recbole.feature_files import load_titles

        given = self._settings()
        return load_titles(
            self._folder(given) / f"{self.dataset}.item",
            self.title_field,
            given.get("ITEM_ID_FIELD", "item_id"),
            vocabulary,
            given,
            self.missing_values,
            self.ragged,
        )

    def _settings(self) -> dict[str, Any]:
        given = read_settings(self.config_files, self.config)
        named = given.get("dataset", self.dataset)
        if named != self.dataset:
            raise ValueError(
                f"the RecBole configuration names dataset {named!r}, but the argument dataset is "
                f"{self.dataset!r}: give the same name to both"
            )
        return given

    def _folder(self, given: dict[str, Any]) -> Path:
        """Return the folder that holds the atomic files."""
        name = self.dataset
        data_path = self.data_path if self.data_path is not None else given.get("data_path")
        if data_path is None:
            import recbole

            bundled = Path(recbole.__file__).parent / "dataset_example"
            known = sorted(entry.name for entry in bundled.iterdir() if entry.is_dir())
            if name not in known:
                raise DataError(
                    f"dataset {name!r} is not bundled with RecBole (bundled: {', '.join(known)}): "
                    f"set data_path to the folder that contains {name}/"
                )
            return bundled / name
        if not isinstance(data_path, (str, PathLike)):
            raise ValueError(f"data_path={data_path!r} must be the folder that contains {name}/")
        parent = expanded(data_path)
        if not parent.is_dir():
            raise DataError(f"data_path {data_path!r} is not a folder: it must contain the folder {name}/")
        folder = parent / name
        if not folder.is_dir():
            present = [entry.name for entry in parent.iterdir() if entry.is_dir()]
            raise DataError(f"data_path {data_path!r} has no folder {name!r}{suggest(name, present)}")
        if not (folder / f"{name}.inter").is_file():
            raise DataError(f"{folder} has no file {name}.inter, which RecBole's format needs")
        return folder
