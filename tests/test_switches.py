"""Arguments of public functions that switch something on or off, paths, and models in a wrapper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from croloss_serving import Recommender
from croloss_serving.common.switches import check_switches
from lightning_croloss import RetrievalModel, load_pretrained, save_pretrained
from lightning_croloss.integrations.transformers import TrainerLoss
from lightning_croloss.losses import SoftmaxLoss
from lightning_croloss.models import TokenRecommender
from lightning_croloss.pretrained.pushing import push_to_hub
from lightning_croloss.serving.export import export_model
from tests.data_for_tests import ClusteredData, fit, small_model

HISTORIES = [["item 1"]]


@pytest.fixture(scope="module")
def model() -> RetrievalModel:
    model: RetrievalModel = small_model()
    fit(model, ClusteredData(), limit_train_batches=1)
    return model


@pytest.fixture(scope="module")
def folder(model: RetrievalModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(model, tmp_path_factory.mktemp("saved") / "model")


Call = Callable[[Any, Path, dict[str, Any]], object]
CALLS: list[tuple[str, Call, tuple[str, ...]]] = [
    ("recommend", lambda model, folder, given: model.recommend([[1]], 3, **given), ("exclude_history",)),
    (
        "recommend_tokens",
        lambda model, folder, given: model.recommend_tokens(HISTORIES, 3, **given),
        ("exclude_history",),
    ),
    ("recommender", lambda model, folder, given: TokenRecommender(model, 3, **given), ("exclude_history",)),
    (
        "save_pretrained",
        lambda model, folder, given: save_pretrained(model, folder, **given),
        ("titles", "users", "overwrite"),
    ),
    (
        "export_model",
        lambda model, folder, given: export_model(model, folder, **given),
        ("overwrite", "exclude_history"),
    ),
    (
        "push_to_hub",
        lambda model, folder, given: push_to_hub(folder, "hf://owner/name", **given),
        ("private",),
    ),
    (
        "TrainerLoss",
        lambda model, folder, given: TrainerLoss(SoftmaxLoss(), **given),
        ("shift_labels", "symmetric", "gather_across_devices"),
    ),
]


@pytest.mark.parametrize("value", ["no", "False", "", 2, [], 0.0])
@pytest.mark.parametrize(
    ("call", "name"),
    [pytest.param(call, name, id=f"{of}-{name}") for of, call, names in CALLS for name in names],
)
def test_what_is_neither_true_nor_false_is_refused(
    model: RetrievalModel, folder: Path, call: Call, name: str, value: object
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError, match=f"{name} must be true or false, got "):
        call(model, folder, {name: value})
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_exported_model_refuses_it_too(model: RetrievalModel, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    recommender = Recommender.from_export(export_model(model, tmp_path / "export"))
    with pytest.raises(TypeError, match="exclude_history must be true or false, got 'no'"):
        recommender.recommend(HISTORIES, 3, exclude_history="no")  # type: ignore[arg-type]


def test_what_is_true_or_false_is_taken() -> None:
    check_switches(a=None, b=True, c=False, d=np.bool_(True), e=0, f=np.int64(1))


@pytest.mark.parametrize("path", [5, b"model", None, ["model"]])
def test_what_is_no_path_is_told(model: RetrievalModel, path: Any) -> None:
    for call in (load_pretrained, lambda path: save_pretrained(model, path), Recommender.from_export):
        with pytest.raises(TypeError, match=r"a path must be text or a pathlib\.Path, got"):
            call(path)


def test_a_model_in_a_wrapper_is_told(model: RetrievalModel, tmp_path: Path) -> None:
    wrapped: Any = nn.DataParallel(model)
    for call in (export_model, save_pretrained):
        with pytest.raises(
            TypeError, match=r"must be a RetrievalModel, got a DataParallel: give its \.module"
        ):
            call(wrapped, tmp_path / "folder")
        with pytest.raises(TypeError, match=r"must be a RetrievalModel, got a Linear$"):
            call(nn.Linear(1, 1), tmp_path / "folder")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"give its \.module"):
        TokenRecommender(wrapped, 3)
