"""Events, and how tests ask a table what it refuses."""

import pytest

from lightning_croloss.data import TableDataModule
from lightning_croloss.errors import DataError

EVENTS = {
    "user_id": ["u", "u", "v", "u", "v", "w", "u"],
    "item_id": ["b", "a", "c", "b", "a", "a", "b"],
    "timestamp": [3, 1, 5, 2, 4, 9, 6],
    "rating": [5.0, 2.0, 4.0, 4.0, 1.0, 3.0, 5.0],
}
GOOD = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "timestamp": [1, 2, 3]}


def dropped(module):
    return {step.name: step.dropped.interactions for step in module.report.steps}


def refusal(source, **arguments):
    with pytest.raises(DataError) as caught:
        TableDataModule(str(source), **{"min_user_interactions": 1, **arguments}).report  # noqa: B018
    said = str(caught.value)
    assert "\n" not in said
    return said


def refused(frame, tmp_path, **arguments):
    import polars as pl  # not above: some tests of this folder are skipped without it

    path = tmp_path / "x.parquet"
    pl.DataFrame({**GOOD, **frame}).write_parquet(path)
    return refusal(path, **arguments)
