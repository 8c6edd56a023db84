"""Partitions with an exported model: one output for each, whole or absent, restarted, of one export."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from croloss_serving import ItemTable, Recommender
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import DataError
from croloss_serving.partitions import Partition, find_partitions, recommend_partition

ITEMS = [f"i{number}" for number in range(30)]
USERS = [f"u{number}" for number in range(12)]


def recommender_of(checksum: str = "a") -> Recommender:
    """An export of a model that knows its users by their ids, without an encoder."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(30, 4)).astype(np.float32)
    model = {"class": "MatrixFactorization", "num_items": 30, "num_users": 12, "max_history": None}
    return Recommender(
        None,
        vectors,
        ItemTable(Vocabulary(ITEMS), np.arange(30)),
        {**model, "uses_history": False, "needs_users": False},
        users=Vocabulary(USERS),
        user_vectors=generator.normal(size=(12, 4)).astype(np.float32),
        checksum=checksum,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        users = [*USERS[4 * number : 4 * number + 4], f"new {number}"]
        histories = [["i1", "i2"], [], None, ["i9"], ["i3"]]
        path = tmp_path / "users" / f"part-{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        pl.DataFrame({"user_id": users, "history": histories}).write_parquet(path)
    return tmp_path


def test_each_partition_is_what_the_recommender_says(folder: Path) -> None:
    recommender = recommender_of()
    partitions = find_partitions(folder / "users", folder / "lists")
    assert [recommend_partition(recommender, each, 4, batch_size=2) for each in partitions] == [5, 5, 5]
    for partition in partitions:
        users = pl.read_parquet(partition.source)["user_id"].to_list()
        found = recommender.recommend([["i1", "i2"], [], [], ["i9"], ["i3"]], 4, users=users)
        rows = (
            pl.read_parquet(partition.output)
            .group_by("user", maintain_order=True)
            .agg("item", "score", "rank")
        )
        assert rows["user"].to_list() == users
        assert rows["item"].to_list() == [user.tokens for user in found]
        assert rows["score"].to_list() == [pytest.approx(user.scores) for user in found]
        assert rows["rank"].to_list() == [[1, 2, 3, 4]] * 5
    assert [recommend_partition(recommender, each, 4, batch_size=2) for each in partitions] == [0, 0, 0]


def test_a_failure_leaves_nothing_and_the_rest_is_done_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partitions = find_partitions(folder / "users", folder / "lists")
    recommender, calls = recommender_of(), []
    recommend = Recommender.recommend

    def failing(self: Recommender, *arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 5:  # the second batch of the second partition
            raise RuntimeError("out of luck")
        return recommend(self, *arguments, **options)

    monkeypatch.setattr(Recommender, "recommend", failing)
    assert recommend_partition(recommender, partitions[0], 4, batch_size=2) == 5
    with pytest.raises(RuntimeError, match="out of luck"):
        recommend_partition(recommender, partitions[1], 4, batch_size=2)
    assert [path.name for path in (folder / "lists").iterdir()] == ["part-0.parquet"]
    assert [recommend_partition(recommender, each, 4, batch_size=2) for each in partitions] == [0, 5, 5]
    assert len(list((folder / "lists").iterdir())) == 3


def test_other_settings_are_refused(folder: Path) -> None:
    (partition,) = find_partitions(folder / "users", folder / "lists", (3, 3))
    assert partition.source.name == "part-2.parquet"
    recommend_partition(recommender_of(), partition, 4, deny={"i5", "i4"})
    assert recommend_partition(recommender_of(), partition, 4, deny={"i4", "i5"}) == 0
    for checksum, n, deny, said in (
        ("b", 4, {"i4", "i5"}, "export = 'a', which is now 'b'"),
        ("a", 5, {"i4", "i5"}, "n = 4, which is now 5"),
        ("a", 4, {"i4"}, r"deny = \['i4', 'i5'\], which is now \['i4'\]"),
    ):
        with pytest.raises(DataError, match=said):
            recommend_partition(recommender_of(checksum), partition, n, deny=deny)
    with pytest.raises(DataError, match="has no column 'who'"):
        recommend_partition(
            recommender_of(), find_partitions(folder / "users", folder / "x")[0], user_column="who"
        )


class Encoder:
    """Stands in for a session of onnxruntime with these inputs, whose every user is the same."""

    def __init__(self, *inputs: str) -> None:
        self._inputs = inputs

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self._inputs]

    def run(self, outputs: list[str], given: dict[str, Any]) -> list[Any]:
        assert {*given} == {*self._inputs}
        return [np.ones((len(given["history"]), 1, 4), np.float32)]


@pytest.mark.parametrize("inputs", [("history",), ("history", "users")])
def test_a_model_whose_users_have_no_tokens_here(folder: Path, inputs: tuple[str, ...]) -> None:
    """It counts users without using them, in exports of earlier releases, or was saved without them."""
    model = {"class": "TwoTower", "num_items": 30, "num_users": 12, "max_history": None}
    items = ItemTable(Vocabulary(ITEMS), np.arange(30))
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    recommender = Recommender(Encoder(*inputs), vectors, items, model)
    assert not recommender.takes_users
    (partition, *_) = find_partitions(folder / "users", folder / "lists")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert recommend_partition(recommender, partition, 4, batch_size=2) == 5
    assert len(pl.read_parquet(partition.output)) == 20
    said = [str(warning.message) for warning in caught]
    assert len(said) == ("users" in inputs)  # once, though there are three batches
    assert all("its file does not hold their tokens: all count as unknown" in each for each in said)
    unknown = recommender.recommend([["i1"]], 4).num_unknown_users
    assert unknown == ("users" in inputs)


@pytest.mark.parametrize("name", ["table.parquet", "lines.jsonl"])
def test_a_table_of_other_content_is_refused(tmp_path: Path, name: str) -> None:
    def write(item: str) -> int:
        frame = pl.DataFrame({"user": ["a", "b"], "history": [["i3", item], []]})
        if name == "table.parquet":
            frame.write_parquet(tmp_path / name, compression="uncompressed")
        else:
            frame.write_ndjson(tmp_path / name)
        return (tmp_path / name).stat().st_size

    partition = Partition(tmp_path / name, tmp_path / "out.parquet")
    size = write("i1")
    schema = pa.schema([("user", pa.string())], partition.metadata({"n": 4}))
    parquet.write_table(schema.empty_table(), partition.output)
    assert partition.is_complete({"n": 4})
    assert write("i7") == size
    with pytest.raises(DataError, match="was written with checksum of the table = '"):
        partition.is_complete({"n": 4})


def test_an_output_of_an_earlier_release_has_no_checksum(folder: Path) -> None:
    (partition, *_) = find_partitions(folder / "users", folder / "lists")
    size = partition.source.stat().st_size
    earlier = {b"croloss": json.dumps({"n": 4, "bytes of the table": size}).encode()}
    partition.output.parent.mkdir()
    parquet.write_table(pa.schema([("user", pa.string())], earlier).empty_table(), partition.output)
    assert partition.is_complete({"n": 4})
    with pytest.raises(DataError, match="n = 4, which is now 5"):
        partition.is_complete({"n": 5})


@pytest.mark.parametrize(
    "given",
    [
        {"deny": np.array(["i4", "i5"])},
        {"deny": pl.Series(["i4", "i5"])},
        {"deny": ("i4", "i5")},
        {"deny": {"i5": 1, "i4": 2}.keys()},
        {"deny": [np.str_("i4"), "i5"]},
        {"deny": {"i4", "i5"}, "n": np.int64(4)},
        {"deny": frozenset({"i4", "i5"}), "settings": {"seed": np.uint8(1), "of": [np.float32(0.5)]}},
        {"deny": ["i4", "i5"], "exclude_history": np.True_},
    ],
    ids=lambda given: ", ".join(f"{name} {type(value).__name__}" for name, value in given.items()),
)
def test_what_recommend_takes_is_compared_as_plain_values(folder: Path, given: dict[str, Any]) -> None:
    (partition, *_) = find_partitions(folder / "users", folder / "lists")
    n = given.pop("n", 4)
    assert recommend_partition(recommender_of(), partition, n, **given) == 5
    assert recommend_partition(recommender_of(), partition, n, **given) == 0
    assert not pl.read_parquet(partition.output)["item"].is_in(["i4", "i5"]).any()
    plain = {**given, "deny": ["i4", "i5"]}
    assert recommend_partition(recommender_of(), partition, 4, **plain) == 0
    with pytest.raises(DataError, match=r"deny = \['i4', 'i5'\], which is now \['i5'\]"):
        recommend_partition(recommender_of(), partition, 4, **{**given, "deny": ["i5"]})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deny": [b"i4"]}, "deny holds b'i4': tokens must be text or integers"),
        ({"allow": {"i4": 1}}, "allow must be a list of tokens"),
        ({"settings": {"day": object}}, "day must be a number, a text or a list of them"),
    ],
)
def test_what_is_not_plain(folder: Path, given: dict[str, Any], said: str) -> None:
    (partition, *_) = find_partitions(folder / "users", folder / "lists")
    with pytest.raises(TypeError, match=said):
        recommend_partition(recommender_of(), partition, 4, **given)
    assert not (folder / "lists").exists()


def numbered() -> Recommender:
    """An export whose items and users are integers."""
    recommender = recommender_of()
    return Recommender(
        None,
        recommender._vectors,
        ItemTable(Vocabulary(range(30)), np.arange(30)),
        recommender.model,
        users=Vocabulary(range(12)),
        user_vectors=recommender._user_vectors,
    )


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.int32(), 2)]
)
def test_whole_numbers_as_floats_are_tokens(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "users" / "a.parquet"
    path.parent.mkdir()
    parquet.write_table(pa.table({"user_id": [3, 4], "history": pa.array([[7, 9], [8, 2]], kind)}), path)
    (partition,) = find_partitions(path.parent, tmp_path / "lists")
    assert recommend_partition(numbered(), partition, 28, exclude_history=True) == 2
    rows = pl.read_parquet(partition.output).group_by("user", maintain_order=True).agg("item")
    left = [set(range(30)) - {*items} for items in rows["item"].to_list()]
    assert left == [{7, 9}, {8, 2}]


@pytest.mark.parametrize(
    ("users", "written"),
    [
        *([(pa.array(["u1", "u2"], pa.string_view()), pa.string())] if hasattr(pa, "string_view") else []),
        (pa.array(["u1", "u2"]).dictionary_encode(), pa.string()),
        (pa.array(["u1", "u2"], pa.large_string()), pa.large_string()),
        (pa.array([1, 2], pa.int32()), pa.int32()),
        (pa.array([1.0, 2.0]), pa.int64()),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_users_stay_what_they_are(tmp_path: Path, users: Any, written: Any) -> None:
    path = tmp_path / "users" / "a.parquet"
    path.parent.mkdir()
    parquet.write_table(pa.table({"user_id": users, "history": [[], []]}), path)
    (partition,) = find_partitions(path.parent, tmp_path / "lists")
    recommender = recommender_of() if users[0].as_py() == "u1" else numbered()
    assert recommend_partition(recommender, partition, 2) == 2
    found = parquet.read_table(partition.output)["user"]
    assert found.type == written
    assert found.to_pylist() == [user for user in users.to_pylist() for _ in range(2)]


def test_settings_take_the_place_of_nothing(folder: Path) -> None:
    (partition, *_) = find_partitions(folder / "users", folder / "lists")
    for name in ("n", "export", "columns", "deny", "bytes of the table", "checksum of the table"):
        with pytest.raises(ValueError, match=f"settings names '{name}', which is compared anyway"):
            recommend_partition(recommender_of(), partition, 4, settings={name: 1})
    with pytest.raises(TypeError, match="names of settings are text"):
        recommend_partition(recommender_of(), partition, 4, settings={1: 1})  # type: ignore[dict-item]
    assert not (folder / "lists").exists()


def test_nan_is_itself(folder: Path) -> None:
    (partition, *_) = find_partitions(folder / "users", folder / "lists")
    settings = {"temperature": float("nan")}
    assert recommend_partition(recommender_of(), partition, 4, settings=settings) == 5
    assert recommend_partition(recommender_of(), partition, 4, settings=settings) == 0
    with pytest.raises(DataError, match=r"temperature = nan, which is now 0\.5"):
        recommend_partition(recommender_of(), partition, 4, settings={"temperature": 0.5})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"", r"a\.parquet cannot be read as Parquet: "),
        (b"PAR1 or not", r"a\.parquet cannot be read as Parquet: "),
        ({"user_id": ["a"], "history": ["i1 i2"]}, r"a\.parquet: column 'history' holds .*string.* lists of"),
        (
            {"user_id": ["a"] * 3, "history": [["i1"], [], ["i2", None]]},
            r"a\.parquet, row 3: the history holds",
        ),
        (
            {"user_id": ["a"], "history": [[1.5]]},
            r"a\.parquet, row 1: the history holds 1\.5: tokens",
        ),
        (
            {"user_id": ["a", "b", None], "history": [["i1"]] * 3},
            r"row 3: column 'user_id' names no user: leave",
        ),
        ({"user_id": ["a"]}, r"a\.parquet has no column 'history'"),
        ({"user_id": [["a"]], "history": [["i1"]]}, r"column 'user_id' holds list<.*: users must be text or"),
        ({"user_id": [b"a"], "history": [["i1"]]}, r"column 'user_id' holds binary: users must be text or"),
        ({"user_id": [1.5], "history": [["i1"]]}, r"row 1: column 'user_id' holds 1\.5: users must be"),
        (
            pa.Table.from_arrays(
                [pa.array(["a"]), pa.array(["b"]), pa.array([["i1"]])], ["user_id", "user_id", "history"]
            ),
            r"a\.parquet has 2 columns 'user_id': name each differently",
        ),
    ],
    ids=[
        "empty",
        "damaged",
        "text",
        "no token",
        "half a number",
        "no user",
        "no histories",
        "lists of users",
        "bytes",
        "half a user",
        "twice",
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, table: Any, said: str) -> None:
    path = tmp_path / "users" / "a.parquet"
    path.parent.mkdir()
    if isinstance(table, bytes):
        path.write_bytes(table)
    else:
        parquet.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)
    (partition,) = find_partitions(path.parent, tmp_path / "lists")
    with pytest.raises(DataError, match=said):
        recommend_partition(recommender_of(), partition, 4, batch_size=2)
    assert not list((tmp_path / "lists").iterdir())


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_a_shard_that_is_none(folder: Path, shard: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be i/of with i in 1 … of"):
        find_partitions(folder / "users", folder / "lists", shard)
