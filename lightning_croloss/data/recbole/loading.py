"""The part that touches RecBole: imported only when a RecBole dataset is loaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.utils.enum_type import InputType, ModelType

from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.recbole.columns import Columns
from lightning_croloss.data.recbole.settings import COUNT_FILTERS, LOADING, check_filters, check_names
from lightning_croloss.errors import DataError


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
    """RecBole's dataset up to its filters and its token mapping.

    What RecBole does next (filling of missing values, normalisation, labels) would change the times, and
    ml-100k is normalised by default.
    """

    file_order: NDArray[np.int64]

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
                    f"({', '.join(active) or 'rows without user or item'}): make them milder"
                )
        # rm_dup_inter sorts by time, and not stably
        self.file_order = self.inter_feat.index.to_numpy().copy()
        super()._reset_index()


def load(dataset: str, folder: Path, given: dict[str, Any]) -> Interactions:
    """Return the events of ``folder`` after RecBole's filters, with RecBole's ids.

    Args:
        dataset: name of the dataset.
        folder: folder with its atomic files.
        given: RecBole settings.

    Raises:
        ValueError: for an unusable setting.
        DataError: if columns or times are missing, or nothing is left after the filters.
    """
    config = LoadingConfig(dataset, folder, given)
    final = config.final_config_dict
    known = {name for names in config.parameters.values() for name in names} | set(
        config.internal_config_dict
    )
    check_names(given, {*known, *LOADING, "dataset", "model"})
    check_filters({name: given.get(name) for name in LOADING})
    columns = Columns(folder, dataset, final)
    if "load_col" not in given:
        final["load_col"] = None if given.get("unload_col") else columns.default()
    columns.check()
    time_field = columns.time_field(explicit="TIME_FIELD" in given)
    with warnings.catch_warnings():
        # RecBole fills missing values in a way that pandas is about to drop
        warnings.filterwarnings("ignore", "A value is trying to be set on a copy", FutureWarning)
        data = FilteredDataset(config)
    frame = data.inter_feat.set_axis(data.file_order).sort_index()
    user, item = final["USER_ID_FIELD"], final["ITEM_ID_FIELD"]
    times = None
    if time_field is not None:
        times = frame[time_field].to_numpy(np.float64)
        missing = np.flatnonzero(np.isnan(times))
        if len(missing):
            line = frame.index[missing[0]] + 2  # the header is line 1
            raise DataError(f"{dataset}.inter has no {time_field} in line {line}: fill it or remove the line")
    return Interactions.from_ids(
        frame[user].to_numpy(np.int64),
        frame[item].to_numpy(np.int64),
        Vocabulary(data.field2id_token[user][1:]),
        Vocabulary(data.field2id_token[item][1:]),
        times,
    )
