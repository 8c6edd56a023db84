"""Vectors are refused as features, sets and tokens are not."""

import polars as pl
import pytest

from lightning_croloss.data import TableDataModule
from tests.data.table.tables import GOOD, refusal


def tables(tmp_path, values, name="i.parquet"):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.parquet")
    frame = pl.DataFrame({"item_id": ["a", "b"], "f": values})
    (frame.write_csv if name.endswith("csv") else frame.write_parquet)(tmp_path / name)
    return tmp_path / "x.parquet", str(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "entry"),
    [
        ([[0.1, 0.2], [0.3, 0.4]], "f"),
        ([[1.0], [2.0, 3.0]], "f"),
        ([[1.0, 2.0], None], "f:multi"),
        (pl.Series([[0.1, 0.2], [0.3, 0.4]], dtype=pl.Array(pl.Float32, 2)), "f"),
        (pl.Series([[1, 2], [3, 4]], dtype=pl.List(pl.Decimal(10, 2))), "f"),
        ([[[0.1], [0.2]], [[0.3]]], "f"),
        (["[0.1, 0.2]", "[3e-2, nan]"], "f"),
        (["[0.1 0.2]", "(1, 2.5)"], "f:categorical"),
        (["[0.1,0.2]", "[1,2]"], "f:multi"),
        (["0.1 0.2 0.3", "0.4 0.5 0.6"], "f:multi"),
        (["0.1 0.2 0.3", "0.4 0.5 0.6"], "f"),
        (["0.1, 0.2", "0.3, -4e-1"], "f"),
        (["0.1|0.2", "0.3|0.4"], "f:categorical"),
        (["[0.1, 0.2]", "[]"], "f"),
        (["[0.1, 0.2]", "null"], "f"),
        (["{0.1,0.2}", "{0.3,1}"], "f"),
        (["[[0.1, 0.2], [1, 2]]", "[[0.3, inf]]"], "f"),
        (["array([0.1, 0.2], dtype=float32)", "array([1., 2.])"], "f"),
        (["np.array([0.1,\n 0.2])", "tensor([0.3, 4])"], "f"),
    ],
)
def test_vectors_are_refused(tmp_path, values, entry):
    source, items = tables(tmp_path, values)
    said = refusal_of_features(source, items, entry)
    assert said.startswith("i.parquet: column 'f' holds vectors of numbers, which is not a feature")


def refusal_of_features(source, items, entry):
    return refusal(source, items=items, item_features=[entry])


@pytest.mark.parametrize(
    ("values", "entry", "kind"),
    [
        ([[1, 2], [3, 4]], "f", "multi"),
        (pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)), "f", "multi"),
        ([["0.1", "0.2"], ["0.3"]], "f", "multi"),
        ([["x"], ["y", "z"]], "f", "multi"),
        (["[1, 2]", "[3]"], "f", "categorical"),
        (["1.5 1.6", "1.5"], "f:multi", "multi"),
        (["1 2", "3 4"], "f:multi", "multi"),
        (["1.5 l, red", "2.5 l, blue"], "f", "categorical"),
        (["1.5 2", "2.5"], "f", "categorical"),
        (["null", "nan"], "f", "categorical"),
        (["null", "[]"], "f", "categorical"),
        (["[a] 0.1", "[b] 0.2"], "f", "categorical"),
        ([0.5, 1.5], "f", "numeric"),
    ],
)
def test_sets_and_tokens_are_not(tmp_path, values, entry, kind):
    source, items = tables(tmp_path, values)
    module = TableDataModule(str(source), items=items, item_features=[entry], min_user_interactions=1)
    assert module.features[0][0].kind == kind


def test_lists_of_lists_are_refused(tmp_path):
    source, items = tables(tmp_path, [[[1]], [[2]]])
    assert "holds List(List(Int64)), which is not a feature" in refusal_of_features(source, items, "f")
