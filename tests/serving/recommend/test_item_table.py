"""The table of items is read as it was written."""

import sys

import numpy as np
import pytest

from croloss_serving import ItemTable
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import SERVING, MissingExtraError, NeededBy, PretrainedError

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [tables]")
NEEDED_BY = NeededBy("reading items", "tables")


@pytest.mark.parametrize("tokens", [["a", "b", "ü"], [7, -3, 2**40], [1, 2**63, 2**64 - 1]])
@pytest.mark.parametrize("counts", [None, [0, 5, 2**40]])
@pytest.mark.parametrize("titles", [None, ["A", "", "Ü"]])
def test_there_and_back(tokens, counts, titles, tmp_path):
    items = ItemTable(Vocabulary(tokens), None if counts is None else np.array(counts), titles)
    items.write(tmp_path / "items.parquet", NEEDED_BY)
    found = ItemTable.read(tmp_path / "items.parquet", NEEDED_BY)
    assert found.vocabulary == items.vocabulary
    assert (None if found.counts is None else found.counts.tolist()) == counts
    assert found.titles == titles
    assert len(found) == 3


def test_the_columns_of_the_file(tmp_path):
    ItemTable(Vocabulary(["a", "b"]), np.array([3, 4]), ["A", "B"]).write(tmp_path / "i.parquet", NEEDED_BY)
    assert parquet.read_table(tmp_path / "i.parquet").to_pydict() == {
        "token": ["a", "b"],
        "count": [3, 4],
        "title": ["A", "B"],
    }


def test_refuses_other_files(tmp_path):
    import pyarrow

    path = tmp_path / "items.parquet"
    parquet.write_table(pyarrow.table({"token": ["a"]}), path)
    for content in (path.read_bytes(), b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(PretrainedError, match=r"items\.parquet is not a table with the columns token"):
            ItemTable.read(path, NEEDED_BY)


def test_names_the_extra_that_fits(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"serving needs .* 'lightning-croloss-serving\[serve\]'"):
        ItemTable.read(tmp_path / "items.parquet", NeededBy("serving", "serve", SERVING))
    with pytest.raises(MissingExtraError, match=r"a model needs .* 'lightning-croloss\[tables\]'"):
        ItemTable(Vocabulary(["a"])).write(tmp_path / "items.parquet", NeededBy("a model", "tables"))
    assert not list(tmp_path.iterdir())
