"""Tokens as columns of pyarrow."""

import pytest

from croloss_serving.common.arrow_tokens import token_array, token_type
from croloss_serving.errors import DataError


@pytest.mark.parametrize(
    ("tokens", "kind"),
    [
        (["a", "b"], "string"),
        ([None, "a"], "string"),
        ([1, -(2**63)], "int64"),
        ([None, 1, 2**63 - 1], "int64"),
        ([1, 2**63], "uint64"),
        ([None, 2**64 - 1], "uint64"),
        ([], "string"),
        ([None], "string"),
    ],
)
def test_every_token_survives(tokens, kind):
    assert str(token_type(tokens)) == kind
    assert token_array(tokens).to_pylist() == tokens


@pytest.mark.parametrize("tokens", [[-1, 2**63], [2**64]])
def test_what_no_column_holds(tokens):
    with pytest.raises(DataError, match=r"the integers .* do not fit a column of uint64: give them as text"):
        token_array(tokens)
