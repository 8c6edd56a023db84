import pytest

from lightning_croloss.data import build_feature
from lightning_croloss.errors import DataError


def test_rows_are_named_where_there_are_no_lines():
    with pytest.raises(DataError, match="table: column 'price' is numeric, but holds 'x' in row 2"):
        build_feature("price", "numeric", ["1", "x", "2"], "table")
    with pytest.raises(ValueError, match="feature 'price' has kind 'number': it must be one of"):
        build_feature("price", "number", ["1", "2"], "table")
