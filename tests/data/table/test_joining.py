"""Files of one table whose columns have different types: nothing is lost, and what is refused stays so."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pl = pytest.importorskip("polars", reason="needs the extra [tables]")

from lightning_croloss.data import TableDataModule  # noqa: E402
from lightning_croloss.data.partitions.dividing import Division, divide  # noqa: E402
from lightning_croloss.data.table.dates import beyond_calendar, shown  # noqa: E402
from lightning_croloss.data.table.joining import common_type, with_type  # noqa: E402
from tests.data.table.tables import refusal  # noqa: E402

UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000}
# pandas writes the one that keeps 100 ns apart, other programs the others
NS = pl.Series([400, 300, 200, 100]).cast(pl.Datetime("ns"))


def write(folder: Path, name: str, **columns: Any) -> None:
    """Write a file of events of one user, by default of items a … d."""
    number = len(next(iter(columns.values())))
    usual = {
        "user_id": [1] * number,
        "item_id": ["a", "b", "c", "d"][:number],
        "timestamp": list(range(number)),
    }
    pl.DataFrame(usual | columns).write_parquet(folder / f"{name}.parquet")


@pytest.mark.parametrize(
    "other",
    [
        pl.Series([5]).cast(pl.Datetime("us")),
        pl.Series([5]).cast(pl.Datetime("ms")),
        pl.Series([5], dtype=pl.Int32).cast(pl.Date),
    ],
    ids=["us", "ms", "date"],
)
@pytest.mark.parametrize("partitioned", [False, True], ids=["whole", "partitioned"])
def test_the_finest_unit_of_the_times_stays(tmp_path: Path, other: Any, partitioned: bool) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write(source, "a", timestamp=NS)
    write(source, "b", user_id=[2], timestamp=other)
    given = {"interactions": str(source), "min_user_interactions": 1}
    if partitioned:
        divide(Division(str(source), partitions=1), tmp_path / "out")
        given |= {"interactions": str(tmp_path / "out"), "partitioned_by_user": True}
    events = TableDataModule(**given).interactions
    first = events.users == 1
    assert events.item_vocabulary.decode(events.items[first]) == ["d", "c", "b", "a"]
    assert events.times is not None
    assert events.times[first].tolist() == [100, 200, 300, 400]


def test_a_time_that_the_finest_unit_cannot_hold(tmp_path: Path) -> None:
    write(tmp_path, "a", timestamp=NS)
    write(tmp_path, "b", timestamp=[datetime(2024, 1, 1), datetime(9999, 12, 31)])
    said = refusal(tmp_path)
    assert said.startswith("b.parquet, row 2: column 'timestamp' holds 9999-12-31 00:00:00, which Datetime(")


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        (
            "user_id",
            pl.Series([2.0**24, 1.0], dtype=pl.Float32),
            "x.parquet, row 1: column 'user_id' holds 16777216.0: users and items must be integers or text",
        ),
        ("user_id", [Decimal(1), Decimal(2)], "x.parquet: column 'user_id' holds Decimal"),
        (
            "item_id",
            pl.Series([2, 1], dtype=pl.Int128),
            "x.parquet: column 'item_id' holds Int128",
        ),
        (
            "timestamp",
            pl.Series([1.5, 2.5], dtype=pl.Float32),
            "x.parquet: column 'timestamp' holds Float32, which is too coarse to order events",
        ),
        ("timestamp", pl.Series([2, 1], dtype=pl.Int128), "x.parquet: column 'timestamp' holds Int128"),
    ],
)
def test_what_a_file_may_not_hold_it_may_not_hold_beside_another(
    tmp_path: Path, alone: bool, column: str, values: Any, sentence: str
) -> None:
    usual = {"user_id": [5.0, 6.0], "item_id": [7.0, 8.0], "timestamp": [1.0, 2.0]}
    if not alone:
        write(tmp_path, "a", **usual)
    write(tmp_path, "x", **(usual | {column: values}))
    assert refusal(tmp_path).startswith(sentence)


def test_numbers_that_floats_of_another_file_cannot_hold(tmp_path: Path) -> None:
    write(tmp_path, "a", timestamp=[1.0, 2.0])
    write(tmp_path, "b", timestamp=[Decimal("12345678901234567.125"), Decimal("1.000")])
    assert "holds Decimal(precision=38, scale=3) of many digits in b.parquet" in refusal(tmp_path)


def test_signed_and_unsigned_integers_are_integers(tmp_path: Path) -> None:
    for large, least in ((2**63 - 1, -1), (2**64 - 1, 0)):
        write(tmp_path, "a", user_id=[least, 7])
        write(tmp_path, "b", user_id=pl.Series([large, 7], dtype=pl.UInt64))
        events = TableDataModule(str(tmp_path), min_user_interactions=1).interactions
        assert events.user_vocabulary.tokens == [least, 7, large]
    write(tmp_path, "a", user_id=[-1, 7])
    assert "column 'user_id' holds Int128: users and items must be integers or text" in refusal(tmp_path)


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)))
def test_a_time_is_kept_or_told(ticks: int, unit: str, other: str) -> None:
    kind = common_type([pl.Datetime(unit), pl.Datetime(other)])
    assert isinstance(kind, pl.Datetime)
    cast, lost = with_type(pl.Series([ticks]).cast(pl.Datetime(unit)), kind)
    if not lost[0]:
        assert cast.to_physical()[0] * UNITS[kind.time_unit] == ticks * UNITS[unit]
    else:
        assert abs(ticks) * UNITS[unit] > 2**62


@given(
    st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from(sorted(UNITS)), st.none() | st.just("Asia/Tokyo")
)
def test_every_date_time_can_be_shown(ticks: int, unit: str, zone: str | None) -> None:
    series = pl.Series([ticks]).cast(pl.Datetime(unit, zone))
    beyond = beyond_calendar(series)[0]
    assert shown(series, 0).endswith("since 1970") == beyond
    if not beyond:
        assert series.dt.year()[0] in range(1, 10_001)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        (pl.Series([2**53, 5]).cast(pl.Datetime("ms", "UTC")), "9007199254740992 milliseconds since 1970"),
        (pl.Series([2**62, 5]).cast(pl.Datetime("us")), "4611686018427387904 microseconds since 1970"),
        (pl.Series([2**30, 5], dtype=pl.Int32).cast(pl.Date), "1073741824 days since 1970"),
    ],
    ids=["ms", "us", "days"],
)
def test_dates_that_no_calendar_has(tmp_path: Path, values: Any, held: str) -> None:
    write(tmp_path, "x", timestamp=values)
    source = tmp_path / "x.parquet"
    assert refusal(source).startswith(f"x.parquet, row 1: column 'timestamp' holds {held}, which is before")
    given = {"event_features": ["when:categorical"]}
    write(tmp_path, "x", when=values)
    assert refusal(source, **given) == f"x.parquet: column 'when' holds {held}, which no calendar has"
    given = {"items": str(tmp_path / "items.parquet"), "item_features": ["when:categorical"]}
    pl.DataFrame({"item_id": ["a", "b"], "when": values}).write_parquet(tmp_path / "items.parquet")
    assert refusal(source, **given) == f"items.parquet: column 'when' holds {held}, which no calendar has"
    write(tmp_path, "x", timestamp=values, item_id=[None, "a"])  # a row is looked through for what is missing
    assert "x.parquet, row 1: column 'item_id' has no value" in refusal(source)
