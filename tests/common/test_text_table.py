"""Tables as text."""

import pytest

from lightning_croloss.common.text_table import aligned, markdown


def test_columns_are_aligned():
    assert aligned([["a", "1"], ["bcd", "234"]], "<>") == "a      1\nbcd  234"


def test_the_gap_between_columns():
    assert aligned([["a", "1"], ["bcd", ""]], "<<", gap=4) == "a      1\nbcd"


def test_refuses_rows_of_unequal_length():
    with pytest.raises(ValueError, match="shorter"):
        aligned([["a", "1"], ["bcd"]], "<>")


def test_markdown():
    assert markdown(["model", "Recall"], [["MIND", "0.1"], ["SASRec", "0.2"]]).splitlines() == [
        "| model | Recall |",
        "| --- | ---: |",
        "| MIND | 0.1 |",
        "| SASRec | 0.2 |",
    ]
