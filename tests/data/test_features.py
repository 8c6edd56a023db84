import numpy as np
import pytest
import torch

from lightning_croloss.data import build_feature
from lightning_croloss.data.feature_alignment import align_features
from lightning_croloss.errors import DataError


def test_rows_are_named_where_there_are_no_lines():
    with pytest.raises(DataError, match="table: column 'price' is numeric, but holds 'x' in row 2"):
        build_feature("price", "numeric", ["1", "x", "2"], "table")
    with pytest.raises(ValueError, match="feature 'price' has kind 'number': it must be one of"):
        build_feature("price", "number", ["1", "2"], "table")


@pytest.mark.parametrize("sentinel", ["-1.7976931348623157e308", "1e30", "-999"])
def test_a_sentinel_does_not_erase_a_number(sentinel):
    texts = [str(20 + row % 40) for row in range(200)]
    plain = build_feature("age", "numeric", texts[1:], "users")
    spoilt = build_feature("age", "numeric", [sentinel, *texts[1:]], "users")
    assert (plain.num_absurd, spoilt.num_absurd) == (0, 1)
    assert torch.equal(spoilt.values[2:], plain.values[1:])
    assert spoilt.spec == plain.spec
    assert torch.isfinite(spoilt.values[1:]).all()


def test_absurd_numbers_are_reported():
    texts = [str(20 + row % 40) for row in range(50)]
    _, notes = align_features(
        "users.csv",
        ["age"],
        {"age": "float"},
        lambda name, kind: "numeric",
        np.arange(1, 51),
        lambda name, kind: ["1e30", "-999", *texts[2:]],
        50,
    )
    assert len(notes) == 1
    assert notes[0].startswith("age has 2 numbers far from all others, which count as the farthest of these")
