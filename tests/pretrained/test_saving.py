"""save_pretrained: a complete folder or none, on request in half the bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.common.plain_yaml import read_yaml
from lightning_croloss.pretrained import load_matching
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.pretrained.cases import HISTORIES, refused


def test_half_the_bytes_nearly_the_same_scores(trained, saved, tmp_path):
    half = save_pretrained(trained, tmp_path / "half", dtype="float16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (half, saved)]
    assert sizes[0] < 0.7 * sizes[1]
    again = load_pretrained(half)
    assert next(again.parameters()).dtype == torch.float32
    scores, exact = again.recommend(HISTORIES, 40)[1], trained.recommend(HISTORIES, 40)[1]
    assert not torch.equal(scores, exact)
    torch.testing.assert_close(scores, exact, rtol=0, atol=2e-3)


def test_training_starts_from_half_precision_in_whole_precision(trained, tmp_path):
    half = save_pretrained(trained, tmp_path / "half", dtype="float16")
    model = small_model()
    data = ClusteredData()
    assert not load_matching(model, half, data).left
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    start = trained.item_embedding.weight.detach().half().float()
    assert torch.equal(model.item_embedding.weight, start)
    trainer = fit(model, data, limit_train_batches=2)
    assert not torch.equal(model.item_embedding.weight, start)
    (optimizer,) = trainer.optimizers
    moments = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    assert moments
    assert {value.dtype for value in moments} == {torch.float32}


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_half_written_file_is_refused(trained, tmp_path, kept):
    folder = save_pretrained(trained, tmp_path / "half", dtype="float16")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "model.safetensors" in refused(folder)


def test_a_folder_is_complete_or_absent(trained, tmp_path, monkeypatch):
    save_pretrained(trained, tmp_path / "model", metrics={"old": 1})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("croloss_serving.recommend.item_table.ItemTable.write", full)
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(trained, tmp_path / "other")
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(trained, tmp_path / "model", metrics={"new": 1}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert json.loads((tmp_path / "model" / "metrics.json").read_text()) == {"old": 1}
    load_pretrained(tmp_path / "model")


def test_every_file_can_be_read_by_whom_the_umask_lets(saved):
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1


def test_an_existing_folder_is_overwritten_on_request_only(trained, saved):
    with pytest.raises(FileExistsError, match="exists: choose another folder, or overwrite it"):
        save_pretrained(trained, saved)
    save_pretrained(trained, saved, metrics={"new": 1}, overwrite=True)
    assert json.loads((saved / "metrics.json").read_text()) == {"new": 1}
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_what_cannot_be_saved(trained, tmp_path):
    with pytest.raises(ValueError, match="has no vocabulary: fit or test it"):
        save_pretrained(small_model(), tmp_path / "model")
    with pytest.raises(ValueError, match="dtype must be one of float32, float16, bfloat16, got 'int8'"):
        save_pretrained(trained, tmp_path / "model", dtype="int8")
    large = small_model()
    fit(large, limit_train_batches=1)
    with torch.no_grad():
        large.item_embedding.weight[3, 3] = 1e6
    with pytest.raises(ValueError, match=r"weights item_embedding\.weight are not finite as float16"):
        save_pretrained(large, tmp_path / "model", dtype="float16")
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_written_is_told_before_the_weights_are(trained, tmp_path, monkeypatch):
    def written(*_, **__):
        raise AssertionError("the weights were written")

    monkeypatch.setattr("lightning_croloss.pretrained.saving.save_file", written)
    for given, error, said in (
        ({"metrics": {"recall": float("nan")}}, ValueError, r"metrics\['recall'\] is nan, which JSON has no"),
        ({"metrics": {"a": [object()]}}, TypeError, r"metrics\['a'\]\[0\] is a object, which is no plain"),
        ({"config": {"data": {"x": b"1"}}}, TypeError, r"config\['data'\]\['x'\] is a bytes"),
        ({"config": {"data": "\ud800"}}, ValueError, r"config\['data'\] holds half a letter"),
        ({"card": "a\ud800"}, ValueError, "card holds half a letter"),
        ({"card": 5}, TypeError, "card must be the text of the card, got a int"),
    ):
        with pytest.raises(error, match=said):
            save_pretrained(trained, tmp_path / "model", **given)
    assert not list(tmp_path.iterdir())


def test_numbers_of_torch_and_numpy_are_numbers(trained, tmp_path):
    folder = save_pretrained(
        trained,
        tmp_path / "model",
        metrics={"recall": torch.tensor(0.5), "ndcg": np.float32(0.25), "at": Path("a")},
        config={
            "seed_everything": np.int64(3),
            "notes": {"folder": Path("a/b"), "sizes": torch.tensor([1, 2])},
        },
    )
    assert json.loads((folder / "metrics.json").read_text()) == {"recall": 0.5, "ndcg": 0.25, "at": "a"}
    config = read_yaml(folder / "config.yaml")
    assert (config["seed_everything"], config["notes"]) == (3, {"folder": "a/b", "sizes": [1, 2]})
    load_pretrained(folder)
