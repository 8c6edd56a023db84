"""The models that are committed and travel with the package."""

from pathlib import Path

import pytest

from lightning_croloss import list_pretrained, load_pretrained
from lightning_croloss.cli import main

ZOO = Path(__file__).parents[2] / "zoo"


def test_the_zoo_is_small_and_holds_no_title_of_ml_100k():
    def size(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert size(ZOO / "ml-100k") < 5e6  # it travels in the wheel
    assert size(ZOO) < 30e6
    for path in (ZOO / "ml-100k").rglob("*"):
        assert not path.is_file() or b"Toy Story" not in path.read_bytes()


@pytest.mark.slow
def test_a_committed_model_does_what_its_card_says(capsys):
    pytest.importorskip("scipy", reason="item kNN needs scipy")
    pytest.importorskip("recbole", reason="the data is the one that RecBole bundles")
    main(["zoo", "evaluate", "ml-100k/youtube_dnn", "--zoo", str(ZOO)])
    text = capsys.readouterr().out
    assert "figures agree" in text
    assert "differs" not in text


def test_a_committed_model_loads_by_its_name_with_titles():
    pytest.importorskip("recbole", reason="the titles are those of the data that RecBole bundles")
    assert "ml-100k/youtube_dnn" in list_pretrained()
    model = load_pretrained("ml-100k/youtube_dnn")
    assert model.metadata.item_titles[model.metadata.item_vocabulary.encode(["1"])[0] - 1] == "Toy Story"
    assert int(model.metadata.item_counts.sum()) == 98_114
