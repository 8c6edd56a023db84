"""What the config of a stranger's model may have read, and that nothing is written where it says."""

import pytest

from lightning_croloss import TableDataModule
from lightning_croloss.errors import PretrainedError
from lightning_croloss.zoo.sources import AbsentDataError, data_of, foreign_data_of


def config(class_path="TableDataModule", **arguments):
    return {"data": {"class_path": class_path, "init_args": arguments}}


@pytest.mark.parametrize(
    ("class_path", "arguments"),
    [
        ("TableDataModule", {"interactions": "/etc/passwd"}),
        ("TableDataModule", {"interactions": "../../secret.csv"}),
        ("TableDataModule", {"interactions": "~/secret.csv"}),
        ("TableDataModule", {"interactions": "https://example.org/x.parquet"}),
        ("TableDataModule", {"interactions": ["shop.csv", "/etc/passwd"]}),
        ("TableDataModule", {"interactions": "shop.csv", "items": "/etc/passwd"}),
        ("TableDataModule", {"interactions": "shop.csv", "users": "a/../../b.csv"}),
        (
            "TableDataModule",
            {
                "interactions": "shop",
                "split": {"class_path": "PredefinedSplit", "init_args": {"train": "../../secret"}},
            },
        ),
        ("RecBoleDataModule", {"data_path": "/etc"}),
        ("RecBoleDataModule", {"config_files": ["/etc/passwd"]}),
        ("RecBoleDataModule", {"config": {"data_path": "/etc"}}),
        ("RecBoleDataModule", {"config_files": ["settings.yaml"]}),
    ],
)
def test_no_file_elsewhere_is_read(class_path, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("data_path: /etc\n")
    with pytest.raises(PretrainedError, match="is not below the working directory: name the folder"):
        foreign_data_of(config(class_path, **arguments))


@pytest.mark.parametrize(
    "dataset",
    ["../secret", "/etc", "a/../../secret", "..", ".", "", "a\\b", "a\0b", 5, "a" * 5000],
    ids=["above", "root", "inside", "parent", "itself", "empty", "backslash", "NUL", "number", "long"],
)
def test_a_dataset_is_a_name(dataset, tmp_path, monkeypatch):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "secret.inter").write_text("user_id:token\titem_id:token\na\tb\n")
    (tmp_path / "secret.inter").write_text("user_id:token\titem_id:token\na\tb\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(PretrainedError, match="dataset must be one name, without folders, got"):
        foreign_data_of(config("RecBoleDataModule", dataset=dataset, data_path="."))


@pytest.mark.parametrize("dataset", ["ml-100k", "Amazon_Books", "yoochoose-clicks", "kg_url", "shop 1.2"])
def test_the_names_of_datasets_stay(dataset, tmp_path, monkeypatch):
    pytest.importorskip("recbole", reason="needs the extra [recbole]")
    monkeypatch.chdir(tmp_path)
    (tmp_path / dataset).mkdir()
    (tmp_path / dataset / f"{dataset}.inter").write_text("user_id:token\titem_id:token\na\tb\n")
    assert foreign_data_of(config("RecBoleDataModule", dataset=dataset, data_path=".")).dataset == dataset


def test_the_last_folder_of_a_path_does_not_lead_out(tmp_path, monkeypatch):
    (tmp_path / "here" / "data").mkdir(parents=True)
    (tmp_path / "here" / "secret.csv").write_text("user_id,item_id,timestamp\n1,2,3\n")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(PretrainedError, match="below the working directory"):
        foreign_data_of(config(interactions="shop/.."), tmp_path / "here" / "data")


def test_a_folder_that_is_named_holds_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.csv").write_text("user_id,item_id,timestamp\n1,2,3\n")
    for given in ("/elsewhere/shop.csv", "../shop.csv"):
        data = foreign_data_of(config(interactions=given), tmp_path)
        assert data.files["interactions"] == str(tmp_path / "shop.csv")
    assert isinstance(foreign_data_of(config(interactions="shop.csv")), TableDataModule)
    with pytest.raises(AbsentDataError):
        foreign_data_of(config(interactions="other.csv"))
    with pytest.raises(PretrainedError, match="below the working directory"):
        foreign_data_of(config(interactions=["/elsewhere/shop.csv"]), tmp_path)


def test_nothing_is_written_where_the_config_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"1,{n},{n}\n" for n in range(9))
    )
    data = foreign_data_of(config(interactions="shop.csv", cache_dir=str(tmp_path / "mark")))
    data.setup("fit")
    assert data.num_items == 9
    assert [path.name for path in tmp_path.iterdir()] == ["shop.csv"]


def test_a_config_without_data():
    for given in ({}, {"data": [1]}, {"data": {"class_path": "TableDataModule", "init_args": [1]}}):
        with pytest.raises(PretrainedError, match="says nothing of the data"):
            foreign_data_of(given)


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "shop.csv").write_text("user_id,item_id,timestamp\n1,2,3\n")
    assert isinstance(data_of(config(interactions="~/shop.csv")), TableDataModule)
    assert data_of(config(interactions="shop.csv"), "~").files["interactions"] == str(tmp_path / "shop.csv")
    with pytest.raises(AbsentDataError):
        data_of(config(interactions="~/other.csv"))
