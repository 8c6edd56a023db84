"""Titles of items: in the folder, or read where the data is installed."""

import pytest

from lightning_croloss import RecBoleDataModule, load_pretrained, save_pretrained
from tests.data_for_tests import fit, small_model


def test_titles_travel_unless_they_may_not(trained, tmp_path):
    titles = [f"Ünïcode title {number}" for number in range(40)]
    trained.metadata.item_titles = titles
    try:
        shown = save_pretrained(trained, tmp_path / "shown")
        hidden = save_pretrained(trained, tmp_path / "hidden", titles=False)
    finally:
        trained.metadata.item_titles = None
    assert load_pretrained(shown).metadata.item_titles == titles
    assert load_pretrained(hidden).metadata.item_titles is None


def test_titles_of_ml_100k_are_read_where_recbole_is_installed(tmp_path, monkeypatch):
    pytest.importorskip("recbole", reason="the titles are those of the data that RecBole bundles")
    data = RecBoleDataModule("ml-100k", title_field="movie_title")
    model = small_model(num_items=data.num_items)
    fit(model, data, limit_train_batches=1, limit_val_batches=1)
    assert "Toy Story" in model.metadata.item_titles
    config = {"data": {"class_path": "RecBoleDataModule", "init_args": {"title_field": "movie_title"}}}
    folder = save_pretrained(model, tmp_path / "model", config=config, titles=False)
    assert b"Toy Story" not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert load_pretrained(folder).metadata.item_titles == model.metadata.item_titles
    monkeypatch.setattr("lightning_croloss.pretrained.titles.find_spec", lambda name: None)
    assert load_pretrained(folder).metadata.item_titles is None


@pytest.mark.parametrize(
    "setting", [{"data_path": "/etc"}, {"config_files": ["/etc/passwd"]}, {"config": {"a": 1}}]
)
def test_no_other_file_is_opened_for_titles(trained, tmp_path, setting):
    init_args = {"dataset": "ml-100k", "title_field": "movie_title", **setting}
    config = {"data": {"class_path": "RecBoleDataModule", "init_args": init_args}}
    folder = save_pretrained(trained, tmp_path / "model", config=config, titles=False)
    assert load_pretrained(folder).metadata.item_titles is None
