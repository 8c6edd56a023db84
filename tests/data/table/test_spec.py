import re

import pytest

from lightning_croloss.data import Predefined, TableDataModule


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"duplicates": "some"}, "duplicates='some' must be 'all', 'first' or 'last'"),
        ({"min_user_interactions": 0}, "min_user_interactions=0 must be at least 1"),
        ({"min_item_interactions": 0}, "min_item_interactions=0 must be at least 1"),
        ({"user_column": "item_id"}, "user_column and item_column are both 'item_id'"),
        ({"separator": ", "}, "separator=', ' must be one character"),
        ({"multi_separator": ""}, "multi_separator='' must be"),
        ({"min_value": 3}, "value_column goes with min_value or max_value"),
        ({"value_column": "rating"}, "value_column goes with min_value or max_value"),
        ({"value_column": "r", "min_value": 3, "max_value": 2}, "min_value=3 is beyond the other end, 2"),
        ({"time_from": 3, "time_until": 2}, "time_from=3 is beyond the other end, 2"),
        ({"time_column": None, "time_from": 3}, "time_from and time_until need a time_column"),
        ({"items": "i.csv"}, "items and item_features go together"),
        ({"title_column": "name"}, "title_column needs items: name the file"),
        ({"user_features": ["age"]}, "users and user_features go together"),
        ({"item_features": "kind", "items": "i.csv"}, "item_features='kind' must be a list"),
        ({"missing_values": "NA"}, "missing_values='NA' must be a list"),
        ({"event_features": "rating"}, "event_features='rating' must be a list"),
        (
            {"event_features": ["item_id"]},
            "event_features names 'item_id', which is the item, which every model",
        ),
        (
            {"event_features": ["fold"], "split": Predefined(column="fold")},
            "event_features names 'fold', which is what an event is held out for, and nothing of the event",
        ),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TableDataModule("x.parquet", **arguments)
