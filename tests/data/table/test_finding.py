"""Which files an argument names, whatever their names and folders are called."""

import os

import polars as pl
import pytest

from lightning_croloss.data import Predefined, TableDataModule
from lightning_croloss.data.table.finding import find_paths
from lightning_croloss.errors import DataError
from tests.data.table.tables import GOOD, refusal

FOLDERS = ["plain", "data [2024]", "a {b} *c", "mit ü 空 ?q", "deep/er"]


def events(source, **arguments):
    return len(TableDataModule(source, min_user_interactions=1, **arguments).interactions)


@pytest.mark.parametrize("name", ["p[1].parquet", "p [x].csv"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_names_with_signs_of_a_glob(tmp_path, folder, name):
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True)
    (pl.DataFrame(GOOD).write_csv if path.suffix == ".csv" else pl.DataFrame(GOOD).write_parquet)(path)
    for source in (path, path.parent, path.parent / f"*{path.suffix}", tmp_path / "**" / f"p*{path.suffix}"):
        assert events(str(source)) == events(source) == 3
        assert events([str(source)]) == 3


def test_links_are_followed_and_each_file_is_read_once(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere" / ".hidden").mkdir(parents=True)
    for path in ("data/own.csv", "elsewhere/a.csv", "elsewhere/.hidden/b.csv"):
        pl.DataFrame(GOOD).write_csv(tmp_path / path)
    os.symlink("../elsewhere", tmp_path / "data" / "linked")
    os.symlink("../elsewhere/.hidden", tmp_path / "data" / "shown")
    os.symlink("own.csv", tmp_path / "data" / "latest.csv")
    os.symlink("..", tmp_path / "elsewhere" / "loop")
    assert events(str(tmp_path / "data")) == 9
    assert events(str(tmp_path / "data" / "*.csv")) == 3
    os.symlink("nowhere.csv", tmp_path / "elsewhere" / "gone.csv")
    for source in ("data", "data/linked/*.csv", "elsewhere/gone.csv"):
        assert "is a link that leads nowhere, to 'nowhere.csv'" in refusal(tmp_path / source)


def test_a_link_to_a_folder_that_is_not_there(tmp_path):
    pl.DataFrame(GOOD).write_csv(tmp_path / "a.csv")
    os.symlink("/unmounted/more", tmp_path / "more")
    assert "more is a link that leads nowhere, to '/unmounted/more'" in refusal(tmp_path)


def test_a_glob_of_folders(tmp_path):
    for name in ("day=1", "day=2"):
        (tmp_path / name).mkdir()
        pl.DataFrame(GOOD).write_parquet(tmp_path / name / "part.parquet")
    assert events(str(tmp_path / "day=*")) == 6


def test_a_list_of_files(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        pl.DataFrame(GOOD).write_parquet(tmp_path / name)
    files = [str(tmp_path / "a.parquet"), tmp_path / "b.parquet"]
    assert events(files) == events(tuple(files)) == 6
    with pytest.raises(DataError, match=r"interactions names a\.parquet twice"):
        events([files[0], str(tmp_path / "a.*")])
    with pytest.raises(DataError, match="the split takes its parts from files in a folder"):
        events(files, split=Predefined())


@pytest.mark.parametrize("argument", ["interactions", "items", "users"])
@pytest.mark.parametrize(
    ("package", "given"),
    [
        ("pandas", lambda frame: pytest.importorskip("pandas").DataFrame(GOOD)),
        ("polars", lambda frame: frame),
        ("polars", lambda frame: frame.lazy()),
        ("pyarrow", lambda frame: frame.to_arrow()),
    ],
)
def test_a_frame_in_place_of_a_path(argument, package, given):
    arguments = {"interactions": "x.parquet", argument: given(pl.DataFrame(GOOD))}
    with pytest.raises(
        TypeError, match=f"{argument} must name a file, .* of {package}: write it to a Parquet"
    ):
        TableDataModule(**arguments)


@pytest.mark.parametrize("given", [3, [], [3], ["x", None], {"x": 1}])
def test_what_is_no_path(given):
    with pytest.raises(TypeError, match=r"interactions .*name a file"):
        TableDataModule(given)


@pytest.mark.parametrize("argument", ["interactions", "items", "users"])
@pytest.mark.parametrize("given", ["", [""], [], [pl.DataFrame({"a": range(99)})], {"a": list(range(99))}, 7])
def test_what_names_no_file_is_refused_in_one_short_line(argument, given):
    features = {"items": "item_features", "users": "user_features"}
    others = {} if argument == "interactions" else {"interactions": "x.csv", features[argument]: ["a"]}
    with pytest.raises(TypeError, match=f"^{argument} .*name") as caught:
        TableDataModule(**{argument: given, **others})
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 200


@pytest.mark.parametrize("given", ["", ["x.csv", ""]])
def test_an_empty_text_is_not_the_current_folder(given):
    with pytest.raises(DataError, match=r"^--histories is an empty text: name a file"):
        find_paths("--histories", given, ".inter")


@pytest.mark.parametrize("given", ["https://example.com/events.parquet", "s3://bucket/*.csv"])
def test_an_address_is_no_file(given):
    assert (
        refusal(given) == f"interactions: {given!r} is an address, not a file: download it, and name the file"
    )


def test_links_in_a_circle_end_a_glob_not(tmp_path):
    (tmp_path / "a.csv").write_text("user_id,item_id,timestamp\nu,a,1\n")
    os.symlink(tmp_path, tmp_path / "round")
    module = TableDataModule(str(tmp_path / "**" / "*.csv"), min_user_interactions=1)
    assert len(module.interactions) == 1


def test_what_is_neither_a_file_nor_a_folder(tmp_path):
    os.mkfifo(tmp_path / "x.csv")
    assert "x.csv' is neither a file nor a folder" in refusal(tmp_path / "x.csv")
