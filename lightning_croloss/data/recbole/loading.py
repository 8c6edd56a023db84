"""The part that touches RecBole: imported only when a RecBole dataset is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import yaml
from numpy.typing import NDArray
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.utils.enum_type import FeatureSource, FeatureType, InputType, ModelType

from lightning_croloss.data.event_columns import EventColumn
from lightning_croloss.data.event_feature_names import check_event_features, split_event_feature
from lightning_croloss.data.history_filters import DUPLICATES, RANGE, TEXTS, HistoryFilter, window_of
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.recbole.atomic import refuse_repeated
from lightning_croloss.data.recbole.column_checks import check_columns
from lightning_croloss.data.recbole.columns import Columns
from lightning_croloss.data.recbole.settings import COUNT_FILTERS, LOADING, check_names
from lightning_croloss.data.recbole.values import exact_times, token_lists, tokens
from lightning_croloss.data.table.event_features import event_columns, numbers_or_missing
from lightning_croloss.errors import DataError, suggest


class _NoModel:
    """Stands for the model that RecBole's configuration insists on."""

    type = ModelType.GENERAL
    input_type = InputType.POINTWISE


class LoadingConfig(Config):
    """RecBole's configuration without its side effects on the process."""

    parameters: dict[str, list[str]]

    def __init__(self, dataset: str, folder: Path, given: dict[str, Any]) -> None:
        self._given = given
        super().__init__(model=_NoModel, dataset=dataset)
        # RecBole itself sends every ml-100k to its bundled copy
        self.final_config_dict["data_path"] = str(folder)

    def compatibility_settings(self) -> None:
        """Do nothing: the original adds aliases to numpy, which numpy 2 refuses."""

    def _init_parameters_category(self) -> None:
        super()._init_parameters_category()
        # RecBole appends to these lists, which are global
        self.parameters = {category: list(names) for category, names in self.parameters.items()}

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        # the original changes yaml.FullLoader for the whole process
        return yaml.SafeLoader

    def _load_variable_config_dict(self, config_dict: object) -> dict[str, Any]:
        # the original evaluates strings as Python
        return {name: value for name, value in self._given.items() if name in LOADING}

    def _load_cmd_line(self) -> dict[str, Any]:
        # the command line is not RecBole's
        return {}

    def _init_device(self) -> None:
        # the original sets CUDA_VISIBLE_DEVICES
        self.final_config_dict.update(device="cpu", single_spec=True, local_rank=0)


class FilteredDataset(Dataset):
    """RecBole's dataset up to its filters and its token mapping, of files that we read.

    What RecBole does next (filling of missing values, normalisation, labels) would change the times, and
    ml-100k is normalised by default.
    """

    inter_feat: pd.DataFrame
    file_order: NDArray[np.int64]

    def __init__(self, config: LoadingConfig, columns: Columns, time_field: str | None) -> None:
        self._columns = columns
        self._ordered_by = time_field
        self.has_dates = False
        super().__init__(config)

    def _load_feat(self, filepath: str, source: FeatureSource) -> pd.DataFrame | None:
        """Read what is used of a file; the original has pandas guess at missing values and row names."""
        extension = source.value
        used = self._columns.used(extension)
        if not used:
            return None
        needed = self._columns.ids(extension)
        if extension == "inter" and self._ordered_by is not None:
            needed.append(self._ordered_by)
        file = self._columns.files[extension]
        table = file.read(used, needed)
        if extension != "inter":
            refuse_repeated(file.name, table, needed[0])
        values: dict[str, Any] = {}
        for name in used:
            self.field2type[name] = kind = FeatureType(file.types[name])
            self.field2source[name] = source
            if extension == "inter" and name == self._ordered_by:
                values[name], self.has_dates = exact_times(table, name)
                if self.has_dates and name in (self.config["val_interval"] or {}):
                    raise DataError(
                        f"{file.name}: column {name!r} holds dates, which val_interval cannot bound"
                    )
            elif kind == FeatureType.FLOAT:
                values[name] = numbers_or_missing(table, name)
            elif kind == FeatureType.TOKEN:
                values[name] = tokens(table, name)
            else:
                length = (self.config["seq_len"] or {}).get(name)
                values[name] = token_lists(table, name, self.config["seq_separator"] or " ", length)
        return pd.DataFrame(values, index=table.rows)

    def _remap(self, remap_list: list[tuple[pd.DataFrame, str, FeatureType]]) -> None:
        """Number the tokens in the order in which they come; the original pads all to the longest."""
        if not remap_list:
            return
        everything, ends = self._concat_remaped_tokens(remap_list)
        numbers, distinct = pd.factorize(everything)
        for (frame, field, kind), ids in zip(remap_list, np.split(numbers + 1, ends), strict=True):
            self.field2id_token[field] = ["[PAD]", *distinct]
            if kind == FeatureType.TOKEN:
                frame[field] = ids

    def _remove_duplication(self) -> None:
        # the original sorts by time, and not stably
        if self.config["rm_dup_inter"] is not None and self._ordered_by is not None:
            self.inter_feat = self.inter_feat.sort_values(self._ordered_by, kind="stable")
            self.inter_feat = self.inter_feat.drop_duplicates(
                [self.uid_field, self.iid_field], keep=self.config["rm_dup_inter"]
            )
        else:
            super()._remove_duplication()

    def _data_processing(self) -> None:
        self.feat_name_list = self._build_feat_name_list()
        self._data_filtering()
        for alias in self.alias.values():
            self._remap(self._get_remap_list(alias))

    def _reset_index(self) -> None:
        for name in self.feat_name_list:
            if getattr(self, name).empty:
                keys = ("val_interval", *COUNT_FILTERS)
                active = [f"{key}={self.config[key]!r}" for key in keys if self.config[key]]
                raise DataError(
                    f"nothing is left of {self.dataset_name}.{name.removesuffix('_feat')} after the filters "
                    f"({', '.join(active) or 'filter_inter_by_user_or_item'}): make them milder"
                )
        # rm_dup_inter sorts by time
        self.file_order = self.inter_feat.index.to_numpy().copy()
        super()._reset_index()


def load(
    dataset: str,
    folder: Path,
    given: dict[str, Any],
    ragged: str = "error",
    event_features: Sequence[str] = (),
    missing_values: Sequence[str] = (),
) -> tuple[Interactions, list[HistoryFilter]]:
    """Return the events of ``folder`` after RecBole's filters, with RecBole's ids.

    Args:
        dataset: name of the dataset.
        folder: folder with its atomic files.
        given: RecBole settings.
        ragged: as for :class:`RecBoleDataModule`.
        event_features: columns of the events that are features of these.
        missing_values: texts in these columns that mean "missing", besides the empty one.

    Returns:
        The events, and those of the filters that change the history of a user.

    Raises:
        ValueError: for an unusable setting.
        DataError: if a file cannot be read, columns, ids or times are missing, or nothing is left after the
            filters.
    """
    config = LoadingConfig(dataset, folder, given)
    final = config.final_config_dict
    known = {name for names in config.parameters.values() for name in names} | set(
        config.internal_config_dict
    )
    check_names(given, {*known, *LOADING, "dataset", "model"})
    for name in COUNT_FILTERS:
        # RecBole's default, '[0,inf)', counts everything and leaves out nothing
        final[name] = given.get(name)
    columns = Columns(folder, dataset, final, ragged)
    if "load_col" not in given:
        final["load_col"] = None if given.get("unload_col") else columns.default()
    check_columns(columns)
    time_field = columns.time_field(explicit="TIME_FIELD" in given)
    data = FilteredDataset(config, columns, time_field)
    frame = data.inter_feat.set_axis(data.file_order).sort_index()
    user, item = final["USER_ID_FIELD"], final["ITEM_ID_FIELD"]
    times = None if time_field is None else frame[time_field].to_numpy()
    if times is not None and data.has_dates:
        times = times.view("datetime64[ns]")
    check_event_features(event_features, user, item, time_field, columns=columns.files["inter"].types)
    interactions = Interactions.from_ids(
        frame[user].to_numpy(np.int64),
        frame[item].to_numpy(np.int64),
        Vocabulary(data.field2id_token[user][1:]),
        Vocabulary(data.field2id_token[item][1:]),
        times,
        columns=_event_columns(columns, event_features, missing_values, np.sort(data.file_order)),
    )
    return interactions, _history_filters(data, time_field)


def _history_filters(data: FilteredDataset, time_field: str | None) -> list[HistoryFilter]:
    """Return the filters that change the history of a user, in RecBole's order.

    Those of the items are not among them: a model knows no items but those that are left. Nor are those of
    the users, who all have a history.
    """
    keep, found = data.config["rm_dup_inter"], []
    if keep is not None:
        found.append(HistoryFilter(DUPLICATES, keep=keep))
    for name, value in (data.config["val_interval"] or {}).items():
        if name == time_field:
            found += window_of(name, str(value))
        elif name in (data.uid_field, data.iid_field) or data.field2source[name] != FeatureSource.INTERACTION:
            continue
        elif data.field2type[name] == FeatureType.FLOAT:
            found.append(HistoryFilter(RANGE, name, str(value)))
        else:
            found.append(HistoryFilter(TEXTS, name, list(value)))
    return found


def _event_columns(
    columns: Columns, wanted: Sequence[str], missing_values: Sequence[str], rows: NDArray[np.int64]
) -> tuple[EventColumn, ...]:
    """Read features of the events that stand in some rows of the file, in the order of these."""
    if not wanted:
        return ()
    file = columns.files["inter"]
    names = [split_event_feature(entry, file.types)[0] for entry in wanted]
    for name in names:
        if name not in file.types:
            raise DataError(
                f"event_features names {name!r}, which is not a column of {file.name}"
                f"{suggest(name, file.types)}"
            )
    table = file.read(names, columns.ids("inter"))
    if missing_values:
        table.frame = table.frame.with_columns(pl.col(names).replace(list(missing_values), None))
    kept = np.isin(table.rows, rows)
    table.keep(pl.Series(kept))
    return event_columns(table, wanted)
