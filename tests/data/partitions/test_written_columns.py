"""Columns of text files that hold numbers, or nearly: told alike by a table and by its partitions."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pl = pytest.importorskip("polars")

from croloss_serving.common.feature_encoding import FeatureEncoding  # noqa: E402
from croloss_serving.common.vocabulary import Vocabulary  # noqa: E402
from croloss_serving.recommend.event_inputs import EventInputs  # noqa: E402
from lightning_croloss.cli.recommend.event_table import read_event_table  # noqa: E402
from lightning_croloss.cli.recommend.options import recommend_parser  # noqa: E402
from lightning_croloss.data import TableDataModule  # noqa: E402
from lightning_croloss.data.partitions import dividing  # noqa: E402
from lightning_croloss.data.partitions.dividing import Division, divide  # noqa: E402
from lightning_croloss.errors import DataError  # noqa: E402

SPELLINGS = [
    ["1", "1.0", "1.10", "1.1"],
    ["1", "2", "2.5", ""],
    ["05", "5", "-0", "1e3", "1000"],
    ["1", "2", "3", ""],
    ["1,5", "2", "3,250", ""],
    ["1", "2.5", "x", "", "1,5"],
]
EVENTS = 30
SEQUENCES = ("token_seq", "float_seq")


def told(data: TableDataModule) -> tuple[Any, list[Any]]:
    """Return how features are read, and for each event by user and time their values."""
    events = data.interactions
    values: list[Any] = []
    for column in events.columns:
        tokens = ("", *column.tokens)
        whole = column.values.tolist()
        values.append([str(v) if column.kind == "numeric" else tokens[v] for v in whole])
    return data.event_inputs, [events.users.tolist(), events.items.tolist(), *values]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("decimal", [".", ","])
def test_numbers_as_texts(decimal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dividing, "CHUNK", 8)  # what is a number is known only when all chunks were seen
    outcomes = {"same": 0, "refused": 0, "beside": 0}
    features = st.sampled_from(["x", "x:categorical", "x:numeric"])

    @example(SPELLINGS[0] if decimal == "." else SPELLINGS[4], random.Random(0), "x:categorical", "csv")
    @example(SPELLINGS[5], random.Random(0), "x:numeric", "csv")
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(SPELLINGS), st.randoms(), features, st.sampled_from(["csv", "csv", "parquet"]))
    def check(spellings: list[str], drawn: random.Random, feature: str, kind: str) -> None:
        some = drawn.sample(spellings, drawn.randint(2, len(spellings)))
        numbers, written = range(EVENTS), drawn.choices(some, k=EVENTS)
        columns = {"user_id": [n % 6 for n in numbers], "item_id": [n % 7 for n in numbers]}
        frame = pl.DataFrame({**columns, "timestamp": [*numbers], "x": written})
        options: dict[str, Any] = {"event_features": [feature], "min_user_interactions": 1}
        options["decimal"] = decimal if kind == "csv" else "."
        with tempfile.TemporaryDirectory() as folder:
            source, divided = Path(folder, f"x.{kind}"), str(Path(folder, "divided"))
            if kind == "csv":
                frame.write_csv(source, separator=";")
            else:
                frame.write_parquet(source)
            reading = dividing.ReadingOptions(decimal=options["decimal"])
            manifest = divide(Division(str(source), 3, reading=reading), Path(divided))
            plain = TableDataModule(str(source), **options)
            data = TableDataModule(divided, partitioned_by_user=True, **options)
            try:
                expected = told(plain)
            except DataError:
                with pytest.raises(DataError):
                    told(data)
                outcomes["refused"] += 1
                return
            assert told(data) == expected
        outcomes["same"] += 1
        outcomes["beside"] += "x (as written)" in manifest.columns

    check()
    assert min(outcomes.values()) > 0, outcomes


def test_a_split_by_numbers_as_texts(tmp_path: Path) -> None:
    parts = ["1.10", "1.10", "1.1", "2"] * 5
    frame = pl.DataFrame({"user_id": [0, 1] * 10, "item_id": [*range(5)] * 4, "timestamp": [*range(20)]})
    frame.with_columns(part=pl.Series(parts)).write_csv(tmp_path / "x.csv")
    divide(Division(str(tmp_path / "x.csv"), 2), tmp_path / "divided")
    from lightning_croloss import Predefined

    def split() -> Predefined:
        return Predefined(train="1.10", valid="1.1", test="2", column="part")

    options: dict[str, Any] = {"min_user_interactions": 1}
    plain = TableDataModule(str(tmp_path / "x.csv"), split=split(), **options)
    data = TableDataModule(str(tmp_path / "divided"), split=split(), partitioned_by_user=True, **options)
    assert data.interactions.parts.tolist() == plain.interactions.parts.tolist()  # type: ignore[union-attr]


def test_a_column_of_the_name_of_the_texts(tmp_path: Path) -> None:
    columns = {"user_id": [0, 1], "item_id": [0, 1], "x": ["1", "2.50"], "x (as written)": ["a", "b"]}
    pl.DataFrame(columns).write_csv(tmp_path / "x.csv")
    with pytest.raises(
        DataError, match=r"^column 'x \(as written\)' has the name .* 'x' are written: rename"
    ):
        divide(Division(str(tmp_path / "x.csv"), 1), tmp_path / "divided")
    divide(Division(str(tmp_path / "x.csv"), 1, columns=["x"]), tmp_path / "other")


@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
@pytest.mark.parametrize("column", ["", "a.b"], ids=["empty", "dotted"])
def test_names_of_columns(tmp_path: Path, name: str, column: str) -> None:
    frame = pl.DataFrame({column: [*"aabb"] * 5, "user_id": [1, 2, 3, 4] * 5, "item_id": [*range(10)] * 2})
    frame = frame.with_columns(timestamp=pl.int_range(20))
    (frame.write_csv if name == "x.csv" else frame.write_parquet)(tmp_path / name)
    manifest = divide(Division(str(tmp_path / name), 2), tmp_path / "divided")
    called = column if column or name == "x.parquet" else "unnamed column 1"
    assert [*manifest.columns] == [called, "user_id", "item_id", "timestamp"]
    options: dict[str, Any] = {"event_features": [f"{called}:categorical"], "min_user_interactions": 1}
    plain = TableDataModule(str(tmp_path / name), **options)
    data = TableDataModule(str(tmp_path / "divided"), partitioned_by_user=True, **options)
    found, expected = data.partitions.interactions(0, 1), plain.interactions  # type: ignore[union-attr]
    assert found.items.tolist() == expected.items.tolist()
    for one, other in zip(found.columns, expected.columns, strict=True):
        assert [one.tokens[v - 1] for v in one.values] == [other.tokens[v - 1] for v in other.values]


WIDE = {
    "large": pl.Series([2**63, 2**63 + 1, 2**64 - 1] * 5, dtype=pl.UInt64),
    "small": pl.Series([1, 2, 3] * 5, dtype=pl.UInt64),
}


@pytest.mark.parametrize("which", [*WIDE])
def test_integers_of_64_bits_without_sign(tmp_path: Path, which: str) -> None:
    frame = pl.DataFrame(
        {"user_id": WIDE[which], "item_id": WIDE[which].reverse(), "timestamp": [*range(15)]}
    )
    frame.write_parquet(tmp_path / "x.parquet")
    divide(Division(str(tmp_path / "x.parquet"), 2), tmp_path / "divided")
    plain = TableDataModule(str(tmp_path / "x.parquet"), min_user_interactions=1)
    data = TableDataModule(str(tmp_path / "divided"), partitioned_by_user=True, min_user_interactions=1)
    found, expected = data.partitions.interactions(0, 1), plain.interactions  # type: ignore[union-attr]
    for name in ("user_vocabulary", "item_vocabulary"):
        assert getattr(found, name).tokens == getattr(expected, name).tokens == sorted({*WIDE[which]})
    assert found.items.tolist() == expected.items.tolist()


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp", "x"])
@pytest.mark.parametrize("kind", [pl.Int128, pl.Decimal(38, 0)], ids=["Int128", "Decimal"])
def test_types_of_more_than_64_bits(tmp_path: Path, kind: Any, column: str) -> None:
    columns = {"user_id": [1, 2] * 10, "item_id": [1, 2, 3, 4] * 5, "x": [1, 2, 3, 4, 5] * 4}
    frame = pl.DataFrame({**columns, "timestamp": [*range(20)]}).with_columns(pl.col(column).cast(kind))
    frame.write_parquet(tmp_path / "x.parquet")
    options: dict[str, Any] = {"event_features": ["x"], "min_user_interactions": 1}
    plain = TableDataModule(str(tmp_path / "x.parquet"), **options)
    works = kind != pl.Int128 and column in ("timestamp", "x")
    if not works and column != "x":
        with pytest.raises(DataError, match=rf"^x\.parquet: column {column!r} holds (Int128|Decimal)"):
            plain.interactions  # noqa: B018
    if not works:
        with pytest.raises(DataError, match=rf"^x\.parquet: column {column!r} holds (Int128|Decimal)[^:]*: "):
            divide(Division(str(tmp_path / "x.parquet"), 2), tmp_path / "divided")
        assert not (tmp_path / "divided").exists()
        return
    divide(Division(str(tmp_path / "x.parquet"), 2), tmp_path / "divided")
    data = TableDataModule(str(tmp_path / "divided"), partitioned_by_user=True, **options)
    assert told(data) == told(plain)


KINDS = {
    "Int8": pl.Int8,
    "Int64": pl.Int64,
    "UInt32": pl.UInt32,
    "UInt64": pl.UInt64,
    "Float32": pl.Float32,
    "Float64": pl.Float64,
    "Decimal": pl.Decimal(20, 2),
}


@pytest.mark.parametrize("column", ["timestamp", "x"])
@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("kind", ["Int64", "UInt64", "Float32", "Float64"])
def test_numbers_of_other_types_in_other_files(tmp_path: Path, kind: str, other: str, column: str) -> None:
    """Partitions take what the table takes, in types that anybody can read."""
    (tmp_path / "table").mkdir()
    for number, name in enumerate((kind, other)):
        rows = [*range(10 * number, 10 * number + 10)]
        frame = pl.DataFrame({"user_id": [1, 2] * 5, "item_id": [1, 2, 3, 4, 5] * 2, "x": rows})
        frame = frame.with_columns(timestamp=pl.Series(rows)).with_columns(pl.col(column).cast(KINDS[name]))
        frame.write_parquet(tmp_path / "table" / f"{number}.parquet")
    options: dict[str, Any] = {"event_features": ["x"], "min_user_interactions": 1}
    plain = TableDataModule(str(tmp_path / "table"), **options)
    if column == "timestamp" and "Float32" in (kind, other):
        coarse = rf"^{int(kind != 'Float32')}\.parquet: column 'timestamp' holds Float32, which is too coarse"
        with pytest.raises(DataError, match=coarse):
            plain.interactions  # noqa: B018
        with pytest.raises(DataError, match=coarse):
            divide(Division(str(tmp_path / "table"), 2), tmp_path / "divided")
        return
    divide(Division(str(tmp_path / "table"), 2), tmp_path / "divided")
    held = pq.read_schema(tmp_path / "divided" / "part-00000.parquet").field(column).type
    assert held.bit_width <= 64 or "Decimal" in (kind, other)
    data = TableDataModule(str(tmp_path / "divided"), partitioned_by_user=True, **options)
    assert told(data) == told(plain)
    assert data.interactions.times.tolist() == plain.interactions.times.tolist()  # type: ignore[union-attr]


def test_integers_beyond_any_type_of_64_bits(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    for number, (value, kind) in enumerate([(-1, pl.Int64), (2**64 - 1, pl.UInt64)]):
        frame = pl.DataFrame({"user_id": [1], "item_id": [1], "x": pl.Series([value], dtype=kind)})
        frame.write_parquet(tmp_path / "table" / f"{number}.parquet")
    with pytest.raises(
        DataError, match=r"^column 'x' holds integers below 0 and others beyond 2\^63, .*text"
    ):
        divide(Division(str(tmp_path / "table"), 2), tmp_path / "divided")
    divide(Division(str(tmp_path / "table"), 2, columns=[]), tmp_path / "divided")


@pytest.mark.parametrize("value", ["n/a", "inf", "1,5"])
def test_columns_that_are_numbers_by_their_header(tmp_path: Path, value: str) -> None:
    ratings = ["1", "", value, "2", "2.5", "0", "3", "4"]
    rows = [f"{number % 2}\t{number}\t{rating}" for number, rating in enumerate(ratings)]
    text = "\n".join(["user_id:token\titem_id:token\trating:float", *rows, ""])
    (tmp_path / "x.inter").write_text(text)
    options: dict[str, Any] = {"event_features": ["rating"], "time_column": None, "min_user_interactions": 1}
    said = rf"^x\.inter, line 4: column 'rating' holds '{value}', which is not a finite number"
    with pytest.raises(DataError, match=said):
        TableDataModule(str(tmp_path / "x.inter"), **options).interactions  # noqa: B018
    source, folder = str(tmp_path / "x.inter"), tmp_path / "divided"
    with pytest.raises(DataError, match=rf"{said}.*: say by --missing-values"):
        divide(Division(source, 2), folder)
    divide(Division(source, 2, missing_values=[value]), folder)
    data = TableDataModule(str(folder), partitioned_by_user=True, **options)
    assert [column.kind for column in data.interactions.columns] == ["numeric"]
    divide(Division(source, 2, columns=[]), folder, overwrite=True)


HELD = {
    "integers": ["1", "2", "3"],
    "numbers": ["1", "2.5", "3.10"],
    "lists of integers": ["1 2", "3", "2 1"],
    "lists of texts": ["a b", "c", "b a"],
}


@pytest.mark.parametrize("kind", ["", ":categorical", ":numeric", ":multi"])
@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("declared", ["token", "float", *SEQUENCES])
def test_a_column_is_what_its_header_says(tmp_path: Path, declared: str, held: str, kind: str) -> None:
    rows = [f"{number % 2}\t{number}\t{HELD[held][number % 3]}" for number in range(8)]
    (tmp_path / "x.inter").write_text("\n".join([f"user_id:token\titem_id:token\tx:{declared}", *rows, ""]))
    options: dict[str, Any] = {"event_features": [f"x{kind}"], "time_column": None}
    if declared == "float" and "lists" in held:
        with pytest.raises(DataError, match=r"'x' holds '(1 2|a b)', which is not a finite number"):
            divide(Division(str(tmp_path / "x.inter"), 2), tmp_path / "divided")
        return
    divide(Division(str(tmp_path / "x.inter"), 2), tmp_path / "divided")
    outcomes: list[Any] = []
    for name, divided in (("x.inter", False), ("divided", True)):
        try:
            data = TableDataModule(
                str(tmp_path / name), partitioned_by_user=divided, min_user_interactions=1, **options
            )
            outcomes.append(told(data))
        except (DataError, ValueError) as error:
            outcomes.append((type(error), str(error).partition(": ")[2]))
    if isinstance(outcomes[0][0], type) and kind == ":numeric":  # of the first such value that is read
        outcomes = [outcome[0] for outcome in outcomes]
    assert outcomes[0] == outcomes[1]
    if declared in SEQUENCES and not kind:
        assert f"holds {declared}, but a feature of events is one" in outcomes[0][1]


def test_recommend_reads_what_was_written(tmp_path: Path) -> None:
    written = ["1.10", "1.1", "2", "1.10"]
    frame = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 1, 2], "x": written, "y": [1, 2, 3, 4]})
    frame.write_csv(tmp_path / "x.csv")
    divide(Division(str(tmp_path / "x.csv"), 1, time_column=""), tmp_path / "divided")
    given = recommend_parser().parse_args(["--model=m", f"--histories={tmp_path / 'divided'}"])
    inputs = EventInputs(encodings=(FeatureEncoding("x", "categorical", Vocabulary(["1.1", "1.10", "2"])),))
    table = read_event_table(given, None, inputs)
    assert table.frame["feature 0"].to_list() == written
    assert "as written" not in " ".join(table.notes)
    assert "'y'" in " ".join(table.notes)
