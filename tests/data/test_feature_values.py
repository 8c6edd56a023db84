"""Values of new users are read as the table of the known ones was, whatever types they come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from croloss_serving.common.feature_encoding import FeatureEncoding
from lightning_croloss.data import TableDataModule

COUNT = 12
COLUMNS = {
    "bool": [number % 2 == 0 for number in range(COUNT)],
    "bool with gaps": [None if number % 3 == 0 else number % 2 == 0 for number in range(COUNT)],
    "integer": [number % 4 for number in range(COUNT)],
    "whole float": [float(number % 3) if number % 5 else None for number in range(COUNT)],
    "float": [number % 3 + 0.5 for number in range(COUNT)],
    "small float": [1e-7 * (1 + number % 3) for number in range(COUNT)],
    "large float": [1e17 + 1e3 * (number % 3) for number in range(COUNT)],
    "date": [date(2020, 1, 1 + number % 3) for number in range(COUNT)],
    "time": [datetime(2020, 1, 1, 3) + timedelta(hours=number % 3) for number in range(COUNT)],
    "decimal": [Decimal("1.50") if number % 2 else Decimal("2.00") for number in range(COUNT)],
    "text": ["yes" if number % 2 else "no way" for number in range(COUNT)],
    "texts": [["a b", "c"][: number % 3] for number in range(COUNT)],
    "integers": [[1, 2][: number % 3] for number in range(COUNT)],
    "bools": [[True, False][: number % 3] for number in range(COUNT)],
}


def learned(column, kind, tmp_path):
    """Return the values that the data module reads of the users, and how it reads them."""
    users = np.repeat(np.arange(COUNT), 5)
    events = {"user_id": users, "item_id": np.arange(len(users)) % 7, "timestamp": np.arange(len(users))}
    pl.DataFrame(events).write_parquet(tmp_path / "events.parquet")
    pl.DataFrame({"user_id": range(COUNT), "x": column}).write_parquet(tmp_path / "users.parquet")
    data = TableDataModule(
        str(tmp_path / "events.parquet"), users=str(tmp_path / "users.parquet"), user_features=[f"x:{kind}"]
    )
    (feature,) = data.features[1]
    return feature.values[1:].numpy(), feature.encoding


@pytest.mark.parametrize("name", COLUMNS)
def test_values_are_read_alike_in_every_type(name, tmp_path):
    column = COLUMNS[name]
    kinds = ["multi"] if isinstance(column[1], list) else ["categorical", "multi"]
    for kind in kinds:
        wanted, encoding = learned(column, kind, tmp_path)
        series = pl.Series(column)
        ways = {"python": column, "polars": series, "numpy": list(series.to_numpy())}
        if kind == "categorical":
            ways["pandas"] = pd.Series(column)
        for way, values in ways.items():
            found = encoding.encode(values)
            assert (found > 0).any()
            assert np.array_equal(found, wanted[:, : found.shape[1]]), (kind, way)
            assert not wanted[:, found.shape[1] :].any()


@pytest.mark.parametrize("kind", ["categorical", "multi"])
@pytest.mark.parametrize("written", ["{}", "{}.0", "{}.00"])
def test_a_whole_number_is_one_token_however_it_is_written(written, kind):
    numbers = [5, 0, -3, 12]
    encoding = FeatureEncoding.of_tokens("x", kind, [[written.format(number)] for number in numbers], " ")
    assert len(encoding.tokens) == 4
    again = FeatureEncoding.from_plain(encoding.to_plain())
    for number in numbers:
        (expected,) = encoding.tokens.encode([written.format(number)])
        assert expected
        ways = [number, float(number), str(number), f"{number}.0", np.int32(number), np.float32(number)]
        for way in ways:
            assert again.encode([way])[:, 0].tolist() == [expected], way
            assert again.encode([way, f"{number}1"])[:, 0].tolist() == [expected, 0], way
        assert encoding.ids([[f"{number}.0"], [str(number), f"{number}.0"]])[:, 0].tolist() == [expected] * 2
    if kind == "multi":
        assert (encoding.encode(["5 0.0 12"])[0] > 0).sum() == 3


def test_codes_versions_and_what_training_tells_apart_stay_what_they_are():
    tokens = ["05", "1.1", "1.10", "5", "5.0", "7.", "8.5", "x"]
    encoding = FeatureEncoding.of_tokens("x", "categorical", [[token] for token in tokens], " ")
    assert encoding.encode(tokens)[:, 0].tolist() == list(range(1, 9))
    unknown = ["005", "5.1", "7", "7.0", "1.100", "1", "x.0", ".0", "-5", "true", "5.0.0", "9" * 5_000]
    assert not encoding.encode(unknown).any()
    assert encoding.encode(["5.00"])[0, 0] == 4  # the first that it may be


def test_truth_values_are_one_token_however_they_are_written():
    for tokens in (["true", "false"], ["True", "False"], ["TRUE", "FALSE"]):
        encoding = FeatureEncoding.of_tokens("x", "categorical", [[token] for token in tokens], " ")
        no, yes = encoding.encode([False, True])[:, 0].tolist()
        assert {no, yes} == {1, 2}
        assert encoding.encode(["false", "False", "FALSE", np.bool_(False)])[:, 0].tolist() == [no] * 4
        assert encoding.encode(["true", "True", "TRUE", 1])[:, 0].tolist() == [yes] * 3 + [0]


@pytest.mark.parametrize("missing", [None, "", float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_every_missing_value_is_missing(missing):
    number = FeatureEncoding.of_numbers("age", np.array([1.0, 2.0, 3.0]))
    assert np.isnan(number.encode([missing, 2])[:, 0]).tolist() == [True, False]
    for kind in ("categorical", "multi"):
        token = FeatureEncoding.of_tokens("job", kind, [["nan"], ["<NA>"], ["None"], ["NaT"], ["a"]], " ")
        assert token.encode([missing, "a"])[:, 0].tolist() == [0, 4]
    assert token.encode([["a", missing]])[0].tolist() == [4]


@pytest.mark.parametrize("absurd", [1e300, -1e300, 1.7e308, np.float64(-1.7e308), 10**300])
def test_an_absurd_number_stays_finite(absurd):
    encoding = FeatureEncoding.of_numbers("age", np.array([1.0, 2.0, 3.0]))
    found = encoding.encode([absurd, 2])[:, 0]
    assert np.isfinite(found).all()
    assert np.isfinite(found * np.float32(1e6)).all()
    assert np.sign(found[0]) == np.sign(absurd)
    assert found[1] == 0


@pytest.mark.parametrize("kind", ["numeric", "categorical", "multi"])
def test_a_damaged_length_is_refused(kind):
    if kind == "numeric":
        whole = FeatureEncoding.of_numbers("x", np.array([1.0, 2.0]))
    else:
        whole = FeatureEncoding.of_tokens("x", kind, [["a"], ["b"]], " ")
    plain = replace(whole, length=2).to_plain()
    assert FeatureEncoding.from_plain(plain).length == 2
    for wrong in ({"length": -1}, {"length": True}, {"length": 2.0}, {"length": "2"}, {"separator": ""}):
        with pytest.raises(ValueError, match=r"'x' does not say how many of its tokens are read"):
            FeatureEncoding.from_plain(plain | wrong)
    with pytest.raises(ValueError, match="'x' does not say what separates its tokens"):
        FeatureEncoding.from_plain(plain | {"separator": 3})
