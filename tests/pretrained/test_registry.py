"""Finding a pretrained model: by its name, in a folder, or not at all."""

import pytest
import torch

import lightning_croloss.pretrained.registry as places
from lightning_croloss import YouTubeDNN, list_pretrained, load_pretrained, save_pretrained
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.fine_tuning import load_matching
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.pretrained.cases import refused


def test_a_name_is_found_and_a_wrong_one_suggests_the_nearest(saved, monkeypatch):
    zoo = saved.parents[1]
    monkeypatch.setattr(places, "zoo_folders", lambda: [zoo])
    assert list_pretrained() == ["clusters/dnn"]
    assert isinstance(load_pretrained("clusters/dnn"), YouTubeDNN)
    assert refused("clusters/dmn") == (
        "there is no pretrained model 'clusters/dmn'; did you mean 'clusters/dnn'?"
    )
    assert "did you mean 'clusters/dnn'?" in refused("cluster/dnn")
    assert refused("beauty/dnn") == (
        "there is no pretrained model 'beauty/dnn': this installation has models of clusters; the "
        "repository's folder zoo has others, of which give the path"
    )
    monkeypatch.setattr(places, "zoo_folders", list)
    assert "the zoo of this installation is empty" in refused("clusters/dnn")


def test_the_models_of_any_folder_are_listed(saved):
    assert list_pretrained(saved.parents[1]) == [str(saved)]
    with pytest.raises(PretrainedError, match="there is no folder 'nowhere'"):
        list_pretrained("nowhere")


def test_the_home_folder(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.yaml").write_text("trainer: {max_epochs: 3}")
    assert save_pretrained(trained, "~/mine", config="~/run.yaml") == tmp_path / "mine"
    assert isinstance(load_pretrained("~/mine"), YouTubeDNN)
    assert list_pretrained("~") == [str(tmp_path / "mine")]
    assert load_matching(small_model(), "~/mine", ClusteredData()).num_items == 40
    assert refused("~/yours") == "there is no pretrained model at '~/yours'"
    fit(small_model(), limit_train_batches=1).save_checkpoint(tmp_path / "m.ckpt")
    assert isinstance(load_pretrained("~/m.ckpt"), YouTubeDNN)
    assert isinstance(YouTubeDNN.load_from_checkpoint("~/m.ckpt"), YouTubeDNN)


def test_a_folder_or_file_that_is_no_checkpoint(tmp_path):
    assert refused(tmp_path) == f"{tmp_path} is not a pretrained model: it has no manifest.json"
    assert "there is no pretrained model at" in refused(tmp_path / "nothing")
    assert "there is no pretrained model at" in refused("best.ckpt")
    (tmp_path / "manifest.json").write_text('{"format": "something else"}')
    assert "is not a pretrained model: its manifest.json describes something else" in refused(tmp_path)
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint")
    assert "is not a checkpoint of plain types, or is damaged" in refused(tmp_path / "bad.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    assert "is not a checkpoint of plain types, or is damaged" in refused(tmp_path / "foreign.ckpt")
