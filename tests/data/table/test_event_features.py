"""Features of events in tables: kinds, missing values, filters and the cache."""

import numpy as np
import pytest

from lightning_croloss.errors import DataError
from tests.data.table.tables import EVENTS

pl = pytest.importorskip("polars", reason="needs the extra [tables]")

COLUMNS = {**EVENTS, "kind": ["x", None, "y", "x", "y", "x", "?"], "level": [1, 2, None, 4, 5, 6, 7]}


def values(module):
    """For each event, user and item and the values of its columns."""
    data = module.interactions
    users, items = (
        vocabulary.decode(ids.numpy())
        for vocabulary, ids in ((data.user_vocabulary, data.users), (data.item_vocabulary, data.items))
    )
    columns = [
        column.values.tolist()
        if column.kind == "numeric"
        else [None if number == 0 else column.tokens[number - 1] for number in column.values.tolist()]
        for column in data.columns
    ]
    return [*zip(users, items, data.times.tolist(), *columns, strict=True)]


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.tsv"])
def test_columns_follow_their_events(make, name):
    module = make(COLUMNS, name, event_features=["rating", "kind"], missing_values=["?"])
    rows = zip(
        *(COLUMNS[column] for column in ("user_id", "item_id", "timestamp", "rating", "kind")), strict=True
    )
    expected = {(*row[:4], None if row[4] == "?" else row[4]) for row in rows}
    assert {*values(module)} == expected
    assert [(column.name, column.kind) for column in module.interactions.columns] == [
        ("rating", "numeric"),
        ("kind", "categorical"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"duplicates": "last"},
        {"consecutive_repeats": False},
        {"min_user_interactions": 2, "min_item_interactions": 2, "k_core": True},
        {"value_column": "rating", "min_value": 3},
        {"time_from": 3},
    ],
)
def test_filters_take_whole_events(make, arguments):
    everything = {*values(make(COLUMNS, event_features=["rating:categorical", "kind"]))}
    found = {*values(make(COLUMNS, event_features=["rating:categorical", "kind"], **arguments))}
    assert found < everything
    assert len({row[3] for row in found}) > 1


def test_a_missing_value_is_no_reason_to_refuse_or_drop_an_event(make):
    for arguments in ({}, {"drop_missing": True}):
        module = make(COLUMNS, event_features=["level", "kind"], **arguments)
        assert len(module.interactions) == 7
        assert int(module.interactions.columns[0].values.isnan().sum()) == 1


def test_what_is_kept_in_a_cache_comes_back(make, tmp_path):
    arguments = {"event_features": ["level", "kind", "timestamp"], "cache_dir": str(tmp_path / "cache")}
    first, again = make(COLUMNS, **arguments), make(COLUMNS, **arguments)
    np.testing.assert_equal(values(first), values(again))
    assert first.event_feature_specs == again.event_feature_specs
    assert first.event_feature_specs[-1] == {"name": "timestamp", "kind": "time", "size": 0, "width": 1}


def test_columns_that_are_not_there_or_are_no_features(make):
    with pytest.raises(
        DataError, match=r"names 'ratin', which is not a column of x.parquet; did you mean 'rating'"
    ):
        make(COLUMNS, event_features=["ratin"]).interactions  # noqa: B018
    lists = {**COLUMNS, "tags": [["a"]] * 7}
    with pytest.raises(
        DataError, match=r"column 'tags' holds List.* a feature of events is one text or number"
    ):
        make(lists, event_features=["tags"]).interactions  # noqa: B018
    with pytest.raises(
        DataError, match=r"column 'tags' holds List.* a feature of events is one text or number"
    ):
        make(lists, event_features=["tags:categorical"]).interactions  # noqa: B018
    for entry, message in (
        (
            "level:categoricl",
            "names 'level:categoricl': a feature of events is one value an event, of the kind",
        ),
        ("user_id:categoricl", "names 'user_id', which is the user"),
    ):
        with pytest.raises(ValueError, match=message):
            make(COLUMNS, event_features=[entry]).interactions  # noqa: B018
    with pytest.raises(DataError, match=r"column 'kind' holds 'x', which is not a finite number"):
        make(COLUMNS, event_features=["kind:numeric"]).interactions  # noqa: B018


def test_dates_are_read_as_seconds(make):
    dates = pl.Series(COLUMNS["timestamp"]).cast(pl.Datetime("ms")).dt.offset_by("1d").to_list()
    module = make({**COLUMNS, "timestamp": dates})
    assert module.times_are == "dates"
    assert set(module.interactions.whole_times.tolist()) == {86_400}
