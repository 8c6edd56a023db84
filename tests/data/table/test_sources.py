"""Finding files and their columns; a mistake is one sentence that names the file."""

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lightning_croloss.data import Predefined, TableDataModule
from lightning_croloss.errors import DataError
from tests.data.table.tables import GOOD, refusal
from tests.data_for_tests import token_sequences


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.tsv", "folder/x.parquet", "folder/x.csv"])
def test_every_format_gives_the_same(make, name):
    module = make(name=name)
    assert token_sequences(module) == {"u": ["a", "b", "b", "b"], "v": ["a", "c"], "w": ["a"]}
    assert module.interactions.times.dtype == torch.int64
    assert module.interactions.times.tolist() == [1, 2, 3, 6, 4, 5, 9]
    assert (module.num_users, module.num_items) == (3, 3)


def test_atomic_files_of_recbole(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n1\t20\t881250950\n1\t3\t881250949\n2\t3\t881250949.5\n"
    )
    (folder / "shop.item").write_text("item_id:token\tprice:float\n3\t1\n20\t2\n")
    for source in (folder, folder / "shop.inter"):
        module = TableDataModule(str(source), min_user_interactions=1)
        assert token_sequences(module) == {1: [3, 20], 2: [3]}
        assert module.interactions.times.dtype == torch.float64


def test_compressed_text(tmp_path):
    import gzip

    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,item_id,timestamp\nu,a,1\nu,b,0\n"))
    assert token_sequences(TableDataModule(str(path), min_user_interactions=1)) == {"u": ["b", "a"]}


def test_separators(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id;item_id;timestamp\nu;a,b;1\n")
    assert token_sequences(TableDataModule(str(path), min_user_interactions=1, separator=";")) == {
        "u": ["a,b"]
    }


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_parts_in_files(make, tmp_path, suffix):
    make(
        {"user_id": [1, 1, 2, 1], "item_id": [5, 6, 6, 9], "timestamp": [8, 9, 0, 7]}, f"shop/train.{suffix}"
    )
    make({"user_id": [1], "item_id": [7], "timestamp": [3]}, f"shop/dev.{suffix}")
    make({"user_id": [2, 1], "item_id": [7, 8], "timestamp": [1, 0]}, f"shop/held-out.{suffix}")
    for names in (("train", "dev", "held-out"), (f"t*.{suffix}", f"dev.{suffix}", "held-out")):
        module = TableDataModule(str(tmp_path / "shop"), split=Predefined(*names), min_user_interactions=2)
        assert token_sequences(module) == {1: [9, 5, 6, 7, 8], 2: [6, 7]}
        assert module.interactions.parts.tolist() == [0, 0, 0, 1, 2, 0, 2]
        assert len(module.rows.test) == 2
    module = TableDataModule(
        str(tmp_path / "shop"), split=Predefined("train", 0.4, "held-out"), min_user_interactions=1
    )
    assert module.interactions.parts.tolist() == [0, 0, 1, 2, 0, 2]
    assert token_sequences(module)[1][-1] == 8


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("trian", "dev", "test"), "has no file 'trian' for the split; did you mean 'train'?"),
        (("train", "dev", "test"), "has several files 'dev': write one of dev.csv, dev.parquet"),
        (("train", "dev.csv", "d*.tsv"), "matches no file"),
    ],
)
def test_parts_that_are_not_there(make, tmp_path, names, message):
    for name in ("train.parquet", "dev.parquet", "dev.csv"):
        make(name=f"shop/{name}")
    with pytest.raises(DataError) as caught:
        TableDataModule(str(tmp_path / "shop"), split=Predefined(*names)).load()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "names", [("t*", "dev", "test"), ("train", "link", "test"), ("train", 0.2, "./train.csv")]
)
def test_a_file_is_of_one_part_only(make, tmp_path, names):
    for name in ("train.csv", "dev.csv", "test.csv"):
        make(name=f"shop/{name}")
    (tmp_path / "shop" / "link.csv").symlink_to(tmp_path / "shop" / "test.csv")
    with pytest.raises(DataError) as caught:
        TableDataModule(str(tmp_path / "shop"), split=Predefined(*names)).load()
    both = [repr(name) for name in names if isinstance(name, str) and name != "dev"]
    said = str(caught.value)
    assert said.startswith("split: ")
    assert f"is in two parts, that of {both[-2]} and that of {both[-1]}: what is held out" in said


def test_parts_in_files_need_a_folder(make):
    with pytest.raises(DataError, match="is not a folder, but the split takes its parts from files"):
        make(split=Predefined()).load()


def test_a_missing_file(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "events.parquet")
    assert refusal(tmp_path / "event.parquet").endswith("; did you mean 'events.parquet'?")
    assert "there is no file" in refusal(tmp_path / "no" / "x.csv")
    assert "nor the folder" in refusal(tmp_path / "no" / "x.csv")
    assert "matches no file" in refusal(tmp_path / "*.csv")


def test_a_folder_without_tables(tmp_path):
    (tmp_path / "notes.docx").write_text("x")
    assert "has no file with an extension .parquet" in refusal(tmp_path)
    assert "notes.docx has no extension that can be read" in refusal(tmp_path / "notes.docx")


def test_a_folder_of_several_kinds(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(GOOD).write_csv(tmp_path / "b.csv")
    assert "holds files of different kinds (.csv, .parquet): name one" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.inter"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path / name) == f"{name} is empty"


@pytest.mark.parametrize("kept", [4, 20, 0.5, -1])
def test_a_truncated_parquet_file(tmp_path, kept):
    path = tmp_path / "x.parquet"
    pl.DataFrame(GOOD).write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    assert refusal(path).startswith("x.parquet is damaged or cut off: ")


@pytest.mark.parametrize("name", ["item_id", "unused"])
def test_two_columns_of_one_name(tmp_path, name):
    columns = [("user_id", ["u"]), ("item_id", ["a"]), ("timestamp", [1]), (name, [2]), ("unused", [3])]
    table = pa.Table.from_arrays(
        [pa.array(values) for _, values in columns], names=[key for key, _ in columns]
    )
    pq.write_table(table, tmp_path / "x.parquet")
    said = refusal(tmp_path / "x.parquet")
    assert said.startswith("x.parquet has two columns of one name")
    assert repr(name) in said


def test_a_damaged_parquet_file(tmp_path):
    path = tmp_path / "x.parquet"
    pl.DataFrame({**GOOD, "timestamp": [1, 2, 3]}).write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    assert refusal(path).startswith("x.parquet cannot be read: ")


def test_a_truncated_text_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,timestamp\nu,a,1\nu,b")
    assert refusal(path).startswith("x.csv, line 3: column 'timestamp' has no value (1 such rows)")


def test_a_file_that_is_not_what_its_extension_says(tmp_path):
    (tmp_path / "x.parquet").write_text("user_id,item_id,timestamp\nu,a,1\n")
    assert refusal(tmp_path / "x.parquet") == "x.parquet is not a Parquet file, whatever its extension says"
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.csv")
    assert refusal(tmp_path / "x.csv") == "x.csv is not a text file, whatever its extension says"
    (tmp_path / "y.csv").write_bytes("user_id,item_id\nu,a\n".encode("utf-16"))
    assert refusal(tmp_path / "y.csv") == "y.csv is not UTF-8 text but UTF-16: set encoding to utf-16"
    (tmp_path / "y.csv").write_bytes(b"user_id,item_id\nu,a\n\x00\x07")
    assert refusal(tmp_path / "y.csv") == "y.csv is not a text file, whatever its extension says"
    (tmp_path / "y.csv").write_text("user_id:item_id:timestamp\nu:a:1\n")
    assert refusal(tmp_path / "y.csv").endswith(
        "the header has one column only: is the separator really ','?"
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "user_id:token\titem_id\ttimestamp:float",
            "the header of x.inter has 'item_id': write name and type",
        ),
        ("user_id:token\titem_id:token\titem_id:float", "x.inter has two columns 'item_id' in its header"),
    ],
)
def test_a_malformed_header(tmp_path, header, message):
    (tmp_path / "x.inter").write_text(header + "\nu\ta\t1\n")
    assert refusal(tmp_path / "x.inter").startswith(message)
