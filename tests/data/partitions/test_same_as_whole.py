"""A table read by partitions is the table read as a whole, whatever it holds and however it is filtered."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

pl = pytest.importorskip("polars")

from lightning_croloss.data import (  # noqa: E402
    GlobalTime,
    Interactions,
    LeaveOneOut,
    PerUserRatio,
    Predefined,
    SplitRows,
    TableDataModule,
    UserDisjoint,
)
from lightning_croloss.data.next_targets import NextTargets  # noqa: E402
from lightning_croloss.data.partitions.dividing import Division, divide  # noqa: E402
from lightning_croloss.errors import DataError  # noqa: E402

PARTS = ("train", "valid", "test")
SPLITS = [
    LeaveOneOut,
    lambda: UserDisjoint(0.5, 0.25, 0.25),
    lambda: PerUserRatio(0.5, 0.25, 0.25),
    lambda: GlobalTime(0.3, 0.3),
    lambda: Predefined(column="part"),
]
USERS = [
    st.integers(0, 9),
    st.integers(0, 9).map("user {}".format),
    st.integers(-3, 3),
    st.sampled_from("aéz\U0001f600"),
]
ITEMS = [st.integers(0, 6), st.sampled_from("abcdef"), st.integers(2**62, 2**62 + 5)]
TIMES = [st.integers(-5, 5), st.floats(-2, 2), st.datetimes().filter(lambda when: 1700 < when.year < 2200)]


@st.composite
def tables(draw: Any) -> dict[str, list[Any]]:
    """Draw the columns of a table."""
    rows = draw(st.integers(20, 60))

    def column(values: Any) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    return {
        "user_id": column(draw(st.sampled_from(USERS))),
        "item_id": column(draw(st.sampled_from(ITEMS))),
        "timestamp": column(draw(st.sampled_from(TIMES))),
        "weight": column(st.sampled_from([0.5, 1.0, 3.0])),
        "rating": column(st.floats(0, 5, width=16) | st.none()),
        "kind": column(st.sampled_from(["view", "buy", "like", None])),
        "part": column(st.sampled_from(["train", "train", "valid", "test"])),
    }


@st.composite
def arguments(draw: Any) -> dict[str, Any]:
    """Draw arguments of the data."""
    extra = st.sampled_from(
        [
            {},
            {},
            {"value_column": "weight", "min_value": 1},
            {"event_features": ["kind", "rating", "timestamp"]},
        ]
    )
    return {
        "split": draw(st.sampled_from(SPLITS))(),
        "min_user_interactions": draw(st.sampled_from([1, 1, 2, 3])),
        "min_item_interactions": draw(st.sampled_from([1, 1, 2, 3])),
        "k_core": draw(st.booleans()),
        "duplicates": draw(st.sampled_from(["all", "first", "last"])),
        "consecutive_repeats": draw(st.booleans()),
        "weight_column": draw(st.sampled_from([None, "weight"])),
        "target_window": draw(st.sampled_from([1, 3])),
        "max_eval_users": draw(st.sampled_from([None, 2])),
        **draw(extra),
    }


def written(columns: dict[str, list[Any]], folder: str, partitions: int) -> tuple[str, str]:
    """Write a table, and its partitions; return where they are."""
    whole, divided = Path(folder, "events.parquet"), Path(folder, "divided")
    pl.DataFrame(columns).write_parquet(whole)
    divide(Division(str(whole), partitions), divided)
    return str(whole), str(divided)


def of_rows(events: Interactions, rows: SplitRows, part: str) -> list[tuple[Any, ...]]:
    """Return user, history and targets of each row of a part."""
    found = []
    for first, stop in zip(
        getattr(rows, part).first.tolist(), getattr(rows, part).stop.tolist(), strict=True
    ):
        user = events.users[first]
        history = events.items[events.user_offsets[user] : first].tolist()
        found.append((int(events.known_users(user)), history, events.items[first:stop].tolist()))
    return sorted(found)


def draws(events: Interactions, rows: SplitRows) -> list[tuple[int, int, list[int]]]:
    """Return user and place of each training row, and the two of its next three targets that are drawn."""
    drawn = NextTargets(events, rows.train, 3, 2)
    drawn.begin_epoch(5, 2)
    found = drawn.draw(rows.train.first)
    targets = events.items[found.clamp(min=0)].where(found >= 0, 0).tolist()
    users = events.known_users(events.users[rows.train.first]).tolist()
    places = events.positions[rows.train.first].tolist()
    return sorted(zip(users, places, targets, strict=True))


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other is None or (one is not None and other is not None and torch.equal(one, other))


def check_one_process(plain: TableDataModule, data: TableDataModule) -> None:
    """Everything is equal."""
    events, found = plain.interactions, data.interactions
    for name in ("users", "items", "times", "weights", "user_offsets", "parts"):
        assert same(getattr(events, name), getattr(found, name)), name
    for column, other in zip(events.columns, found.columns, strict=True):
        assert column.name == other.name
    assert found.share is None
    assert events.user_vocabulary == found.user_vocabulary == data.user_vocabulary
    assert events.item_vocabulary == found.item_vocabulary == data.item_vocabulary
    for part in PARTS:
        for end in ("first", "stop"):
            assert torch.equal(
                getattr(getattr(plain.rows, part), end), getattr(getattr(data.rows, part), end)
            )
    for part in PARTS[1:]:
        assert torch.equal(plain.measured_rows(part).first, data.measured_rows(part).first)
    assert torch.equal(plain.rows.training_events, data.rows.training_events)
    assert plain.training_record == data.training_record
    assert (plain.num_users, plain.num_items) == (data.num_users, data.num_items)


def check_knowledge(plain: TableDataModule, data: TableDataModule) -> None:
    """What all processes know is what one knows that reads everything."""
    assert torch.equal(plain.item_counts, data.item_counts)
    torch.testing.assert_close(plain.target_counts, data.target_counts)
    assert plain.training_record.other_training(data.training_record) is None
    ours, theirs = (replace(each.training_record, order=None) for each in (plain, data))
    assert ours == replace(theirs, weights=ours.weights)
    whole = data.interactions.share is None or ours.weights == ""
    assert theirs.weights == (ours.weights if whole else None)
    assert plain.rows.unseen_users == data.rows.unseen_users
    assert plain.times_are == data.times_are
    assert plain.typical_time == data.typical_time
    assert plain.report.steps == data.report.steps
    assert plain.report.read == data.report.read


def check_shares(plain: TableDataModule, data: TableDataModule, processes: int) -> None:
    """The processes have all events between them, each user whole, and the rows of every part."""
    events, table = plain.interactions, data.partitions
    assert table is not None
    shares = [table.interactions(rank, processes) for rank in range(processes)]
    users = torch.cat([share.known_users(share.users) for share in shares])
    order = users.argsort(stable=True)
    assert torch.equal(users[order], events.users)
    assert torch.equal(torch.cat([share.items for share in shares])[order], events.items)
    of_each = [set(share.known_users(share.users).tolist()) for share in shares]
    assert sum(map(len, of_each)) == events.num_users
    splits = [data.split.split(share) for share in shares]
    pairs = list(zip(shares, splits, strict=True))
    for part in PARTS:
        rows = sorted(row for share, found in pairs for row in of_rows(share, found, part))
        assert rows == of_rows(events, plain.rows, part)
    for limits in ([3], [5, 2]):
        expected = plain.rows.test
        for limit in limits:
            expected = expected.spread(limit)
        kept = [
            share.known_users(share.users[table.spread(found.test, "test", share, limits).first])
            for share, found in pairs
        ]
        assert sorted(torch.cat(kept).tolist()) == sorted(events.users[expected.first].tolist())
    drawn = [draw for share, found in pairs for draw in draws(share, found)]
    assert sorted(drawn) == draws(events, plain.rows)
    for own, other in zip(plain.training_pairs, table.training_pairs(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.filterwarnings("ignore")
def test_any_table_is_the_same() -> None:
    outcomes = {"same": 0, "refused": 0, "shared": 0}

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(tables(), arguments(), st.integers(1, 6), st.integers(2, 3))
    def check(columns: Any, given_arguments: Any, partitions: int, processes: int) -> None:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole, divided = written(columns, folder, partitions)
            plain = TableDataModule(whole, **given_arguments)
            data = TableDataModule(divided, partitioned_by_user=True, **given_arguments)
            try:
                inputs = plain.rows and plain.event_inputs
            except DataError as error:
                with pytest.raises(DataError) as caught:
                    data.rows  # noqa: B018
                said = "leaves no" in str(error), "nothing is left" in str(error)
                assert ("leaves no" in str(caught.value), "nothing is left" in str(caught.value)) == said
                outcomes["refused"] += 1
                return
            check_one_process(plain, data)
            check_knowledge(plain, data)
            assert inputs == data.event_inputs
            outcomes["same"] += 1
            assert data.partitions is not None
            try:
                for rank in range(processes):
                    data.partitions.interactions(rank, processes)
            except DataError:  # too few partitions, or one of which nothing is left
                return
            check_shares(plain, data, processes)
            outcomes["shared"] += 1

    check()
    assert min(outcomes.values()) > 0, outcomes


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_a_text_file_keeps_its_meaning(tmp_path: Path, name: str) -> None:
    columns = {
        "user_id": ["2", "10"] * 5,
        "item_id": ["a", "b", "01", "a", "", "b", "a", "c", "b", "d"],
        "timestamp": ["2024-01-02", "2024-01-01T10:00:00", "2024-01-03", "2024-01-05", "", "2024-01-04"]
        + [f"2024-02-0{day}" for day in range(1, 5)],
        "rating": ["1", "2.5", "3", "", "", "4", "1", "1", "2", "5"],
        "code": ["01", "2", "3", "", "", "4", "7", "8", "9", "10"],
    }
    separator = "," if name == "x.csv" else "\t"
    pl.DataFrame(columns).write_csv(tmp_path / name, separator=separator)
    manifest = divide(Division(str(tmp_path / name), 2, drop_missing=True), tmp_path / "divided")
    assert manifest.columns == {
        "user_id": "Int64",
        "item_id": "String",
        "timestamp": "Datetime(time_unit='ns', time_zone=None)",
        "rating": "Float64",
        "rating (as written)": "String",
        "code": "Float64",
        "code (as written)": "String",
    }
    assert manifest.left_out == {"missing": 1}
    options = {"min_user_interactions": 1, "event_features": ["rating", "code:categorical"]}
    plain = TableDataModule(str(tmp_path / name), drop_missing=True, **options)  # type: ignore[arg-type]
    data = TableDataModule(str(tmp_path / "divided"), partitioned_by_user=True, **options)  # type: ignore[arg-type]
    loaded, found = plain.interactions, data.partitions.interactions(0, 1)  # type: ignore[union-attr]
    for attribute in ("users", "items", "times"):
        assert torch.equal(getattr(loaded, attribute), getattr(found, attribute))
    assert found.has_dates
    assert found.user_vocabulary.tokens == [2, 10]
    assert [column.kind for column in found.columns] == [column.kind for column in loaded.columns]
    assert "01" in found.columns[1].tokens


ZONES = [
    ("x.csv", ["2024-01-01T00:00:00", "2024-01-01T00:00:00+02:00"]),
    ("x.parquet", ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00"]),
    ("x.parquet", [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=timezone.utc)]),
]


@pytest.mark.parametrize(("name", "times"), ZONES, ids=["csv", "text", "dates"])
def test_times_with_and_without_a_zone(tmp_path: Path, name: str, times: list[Any]) -> None:
    for number, when in enumerate(times):
        frame = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "timestamp": [when] * 2})
        write = frame.write_csv if name == "x.csv" else frame.write_parquet
        write(tmp_path / f"{number}{name}")
    with pytest.raises(DataError, match=r"zone|do not fit"):
        TableDataModule(str(tmp_path)).interactions  # noqa: B018
    with pytest.raises(DataError, match=r"'timestamp' holds Datetime.* in others: give it one type"):
        divide(Division(str(tmp_path), 2), tmp_path.with_name(f"{tmp_path.name}, divided"))


def test_what_is_infinite_is_refused_as_a_number(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "rating": ["2.5", "inf"]})
    frame.write_csv(tmp_path / "x.csv")
    divide(Division(str(tmp_path / "x.csv"), 1), tmp_path / "divided")
    options: dict[str, Any] = {"time_column": None, "event_features": ["rating"]}
    plain = TableDataModule(str(tmp_path / "x.csv"), **options)
    data = TableDataModule(str(tmp_path / "divided"), partitioned_by_user=True, **options)
    for each in (plain, data):
        with pytest.raises(DataError, match=r"column 'rating' holds inf|'inf', which is not a finite number"):
            each.interactions  # noqa: B018


def test_the_folder_is_an_ordinary_one_too(tmp_path: Path) -> None:
    columns = {"user_id": [*"abcabcabc"], "item_id": [1, 2, 3, 3, 2, 1, 4, 4, 4], "timestamp": [*range(9)]}
    whole, divided = written(columns, str(tmp_path), 3)
    plain, ordinary = (TableDataModule(path, min_user_interactions=1) for path in (whole, divided))
    assert torch.equal(plain.interactions.items, ordinary.interactions.items)
    assert ordinary.partitions is None
