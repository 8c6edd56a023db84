"""Exports of models that know their users by ids alone: a table of user vectors instead of an encoder."""

import json
import sys

import numpy as np
import pytest
import torch

from lightning_croloss import NGCF, LightGCN, MatrixFactorization, load_pretrained, save_pretrained
from lightning_croloss.errors import PretrainedError
from tests.data_for_tests import ClusteredData, fit, quiet_trainer

for package in ("faiss", "pyarrow"):
    pytest.importorskip(package, reason="needs the extra [export]")
from croloss_serving.layout import FORMAT  # noqa: E402
from lightning_croloss.serving import Recommender  # noqa: E402
from lightning_croloss.serving.export import export_model  # noqa: E402

USERS = ["user 41", "user 3", "nobody", "user 59", "user 3"]
HISTORIES = [["item 1", "item 9"], ["item 30", "nothing"], ["item 12"], [], ["item 2"]]
MODELS = [MatrixFactorization, LightGCN, NGCF]


@pytest.fixture(scope="module", params=MODELS, ids=lambda cls: cls.__name__)
def trained(request, tmp_path_factory):
    torch.manual_seed(0)
    model = request.param(num_items=40, num_users=60, embedding_dim=8, ns=(5,), exclude_history=True)
    fit(model, limit_train_batches=4)
    model.metadata.item_titles = [f"Title {position}" for position in range(40)]
    return model, export_model(model, tmp_path_factory.mktemp("exports") / "served")


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.tokens, ours.titles) == (theirs.tokens, theirs.titles)
        assert ours.scores == pytest.approx(theirs.scores, abs=2e-6)
        assert (ours.unknown, ours.fallback) == (theirs.unknown, theirs.fallback)
        assert ours.unknown_user == theirs.unknown_user


@pytest.mark.parametrize("exclude_history", [None, False])
def test_the_lists_are_those_of_the_model(trained, exclude_history):
    model, folder = trained
    recommender = Recommender.from_export(folder)
    arguments = {"n": 7, "users": USERS, "exclude_history": exclude_history}
    found = recommender.recommend(HISTORIES, **arguments)
    assert_same(found, model.recommend_tokens(HISTORIES, **arguments))
    assert [user.fallback for user in found] == [False, False, True, False, False]
    assert found[0].tokens != found[1].tokens
    chosen = {"n": 5, "users": USERS, "allow": [f"item {n}" for n in range(9)], "deny": ["item 3"]}
    assert_same(recommender.recommend(**chosen), model.recommend_tokens(**chosen))


def test_prediction_gives_the_same_lists(trained):
    model, folder = trained
    data = ClusteredData(eval_batch_size=60)
    ((ids, scores),) = quiet_trainer().predict(model, data)
    events = data.interactions
    histories = [
        [f"item {item - 1}" for item in events.items[events.users == user].tolist()] for user in range(1, 61)
    ]
    users = [f"user {number}" for number in range(60)]
    found = Recommender.from_export(folder).recommend(histories, 9, users=users)
    for row, user in enumerate(found):
        assert user.tokens == [f"item {item - 1}" for item in ids[row, :9].tolist()]
        assert user.scores == pytest.approx(scores[row, :9].tolist(), abs=2e-6)


def test_what_the_folder_holds(trained):
    model, folder = trained
    assert {path.name for path in folder.iterdir()} == {
        "users.npy",
        "users.parquet",
        "items.npy",
        "items.parquet",
        "manifest.json",
    }
    users, items = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    assert users.dtype == np.float32
    assert users.shape == (60, items.shape[1])
    ids, scores = model.recommend(n=40, users=torch.tensor([17]))
    np.testing.assert_allclose(items[ids[0].numpy() - 1] @ users[16], scores[0].numpy(), atol=2e-6)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format_version"] == FORMAT.version == 2
    assert manifest["model"]["needs_users"] is True
    assert manifest["model"]["uses_history"] is False


def test_users_must_be_given(trained):
    model, folder = trained
    recommender = Recommender.from_export(folder)
    for each in (recommender.recommend, model.recommend_tokens):
        with pytest.raises(ValueError, match="recommends to users whose ids it was trained with"):
            each(HISTORIES, 5)
    assert len(recommender.recommend([], 5, users=[])) == 0


def test_neither_onnx_nor_its_runtime_is_needed(trained, tmp_path, monkeypatch):
    model, folder = trained
    for package in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    again = export_model(model, tmp_path / "again", index="flat")
    expected = Recommender.from_export(folder).recommend(HISTORIES, 6, users=USERS)
    assert_same(Recommender.from_export(again).recommend(HISTORIES, 6, users=USERS), expected)


def test_from_a_file_and_in_half_precision(trained, tmp_path):
    model, _ = trained
    save_pretrained(model, tmp_path / "model", dtype="float16")
    again = load_pretrained(tmp_path / "model")
    recommender = Recommender.from_export(export_model(again, tmp_path / "served"))
    assert_same(
        recommender.recommend(HISTORIES, 7, users=USERS), again.recommend_tokens(HISTORIES, 7, users=USERS)
    )
    save_pretrained(model, tmp_path / "nameless", users=False)
    with pytest.raises(
        ValueError, match="is served by the tokens of its users, which its file does not hold"
    ):
        export_model(load_pretrained(tmp_path / "nameless"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda files, model: files.pop("users.npy"), r"must list either encoder\.onnx or users\.npy"),
        (
            lambda files, model: files.update({"encoder.onnx": {}}),
            r"must list either encoder\.onnx or users\.npy",
        ),
        (lambda files, model: files.pop("users.parquet"), r"lists users\.npy, but names no users"),
        (lambda files, model: model.update(num_users=0), r"lists users\.npy, but names no users"),
        (lambda files, model: model.update(num_users=61), r"users\.npy cannot be read|users\.parquet"),
        (lambda files, model: model.update(dim=9), "cannot be read: it has the shape"),
        (lambda files, model: model.update(needs_users=1), "describes no model: it says needs_users=1"),
    ],
    ids=range(7),
)
def test_a_manifest_that_does_not_fit_is_refused(trained, tmp_path, change, said):
    model, _ = trained
    folder = export_model(model, tmp_path / "served")
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["files"], manifest["model"])
    (folder / "encoder.onnx").write_bytes(b"")
    FORMAT.write(folder, {"model": manifest["model"]}, manifest["files"])
    with pytest.raises(PretrainedError, match=said):
        Recommender.from_export(folder)


@pytest.mark.parametrize("damage", ["cut", "not finite", "missing"])
def test_a_damaged_table_is_refused(trained, tmp_path, damage):
    model, _ = trained
    path = export_model(model, tmp_path / "served") / "users.npy"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        table = np.load(path)
        table[3, 1] = np.nan
        np.save(path, table)
    with pytest.raises(PretrainedError, match=r"users\.npy"):
        Recommender.from_export(path.parent)
