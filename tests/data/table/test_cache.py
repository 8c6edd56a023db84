"""The cache of TableDataModule: never stale, never half-written, never in the way."""

import ast
import importlib
import inspect
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

pl = pytest.importorskip("polars", reason="tables are read with polars")

from lightning_croloss.configurable import class_path  # noqa: E402
from lightning_croloss.data import GlobalTime, Predefined, TableDataModule  # noqa: E402
from lightning_croloss.data.table import cache as table_cache  # noqa: E402
from lightning_croloss.data.table import preparation as table_preparation  # noqa: E402
from lightning_croloss.data.table.cache import CODE, FILES, WITHOUT_EFFECT, TableCache, code_files  # noqa: E402
from lightning_croloss.data.table.spec import TableSpec  # noqa: E402

EVENTS = {
    "user_id": ["u", "u", "ü", "u", "ü", "w", "u", "w"],
    "item_id": [3, 1, 2, 3, 1, 1, 2**63 + 5, 2],
    "timestamp": [3, 1, 5, 2, 4, 9, 6, 7],
    "when": [f"2024-01-0{day}" for day in range(1, 9)],
    "rating": [5.0, 2.0, 4.0, 4.0, 1.0, 3.0, 5.0, 2.0],
    "fold": ["train", "train", "train", "test", "valid", "train", "test", "test"],
}
ITEMS = {"item_id": [1, 2, 3, 9], "price": [1.5, 2.5, None, 1.0], "tags": [["a"], ["a", "b"], [], ["c"]]}
USERS = {"user_id": ["u", "ü", "w"], "age": [20, 30, 40]}
TABLES = {"items": "items.parquet", "item_features": ["price", "tags"]}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(EVENTS, schema_overrides={"item_id": pl.UInt64}).write_parquet("x.parquet")
    pl.DataFrame(ITEMS, schema_overrides={"item_id": pl.UInt64}).write_parquet("items.parquet")
    pl.DataFrame(USERS).write_parquet("users.parquet")


def make(interactions="x.parquet", cls=TableDataModule, **arguments):
    return cls(interactions, **{"min_user_interactions": 1, "cache_dir": "cache", **arguments})


def key(*args, **arguments):
    module = make(*args, **arguments)
    return TableCache(module.spec, "cache", class_path(type(module))).key


def entries():
    return sorted(os.listdir("cache")) if os.path.exists("cache") else []


def assert_same(one, other):
    """Events, features and reports of two modules are equal in every bit."""
    for name in one.interactions.__dataclass_fields__:
        mine, theirs = (getattr(module.interactions, name) for module in (one, other))
        if isinstance(mine, torch.Tensor):
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine, theirs)
        else:
            assert mine == theirs
            assert type(mine) is type(theirs)
    for vocabulary in ("item_vocabulary", "user_vocabulary"):
        tokens = [getattr(module, vocabulary).tokens for module in (one, other)]
        assert tokens[0] == tokens[1]
        assert [type(token) for token in tokens[0]] == [type(token) for token in tokens[1]]
    for mine, theirs in zip(one.features, other.features, strict=True):
        for feature, again in zip(mine, theirs, strict=True):
            assert feature.spec == again.spec
            assert feature.num_missing == again.num_missing
            assert torch.equal(feature.values.nan_to_num(-9), again.values.nan_to_num(-9))
    assert one.report == other.report


SETTINGS = [
    {},
    TABLES,
    {"time_column": "when", "weight_column": "rating", "min_user_interactions": 2},
    {"time_column": None, "users": "users.parquet", "user_features": ["age"]},
    {"split": Predefined(column="fold"), "user_column": "item_id", "item_column": "user_id"},
]


@pytest.mark.parametrize("arguments", SETTINGS)
def test_the_second_time_nothing_is_prepared(arguments, monkeypatch):
    plain = make(**{**arguments, "cache_dir": None})
    plain.features  # noqa: B018
    assert entries() == []
    first = make(**arguments)
    assert_same(first, plain)
    assert len(entries()) == 1 + bool(first.features[0] or first.features[1])
    monkeypatch.setattr(table_preparation, "prepare", None)
    monkeypatch.setattr("lightning_croloss.data.table.feature_tables.load_features", None)
    assert_same(make(**arguments), plain)
    # and in the other order
    second = make(**arguments)
    second.features  # noqa: B018
    assert_same(second, plain)


def test_features_that_were_not_asked_for_are_made_later(monkeypatch):
    make(**TABLES).interactions  # noqa: B018
    assert len(entries()) == 1
    monkeypatch.setattr(table_preparation, "prepare", None)
    assert_same(make(**TABLES), make(**TABLES))
    assert len(entries()) == 2


# Each argument with a value that is not its default.
OTHER = {
    "user_column": {"user_column": "fold"},
    "item_column": {"item_column": "fold"},
    "time_column": {"time_column": "when"},
    "weight_column": {"weight_column": "rating"},
    "value_column": {"value_column": "rating", "min_value": 2.0},
    "min_value": {"value_column": "rating", "min_value": 3.0},
    "max_value": {"value_column": "rating", "min_value": 2.0, "max_value": 4.0},
    "time_from": {"time_from": 2},
    "time_until": {"time_until": 9},
    "drop_missing": {"drop_missing": True},
    "duplicates": {"duplicates": "first"},
    "consecutive_repeats": {"consecutive_repeats": False},
    "min_user_interactions": {"min_user_interactions": 3},
    "min_item_interactions": {"min_item_interactions": 2},
    "k_core": {"min_item_interactions": 2, "k_core": True},
    "items": TABLES,
    "item_features": {**TABLES, "item_features": ["price:categorical", "tags"]},
    "items_id_column": {**TABLES, "items_id_column": "tags"},
    "users": {"users": "users.parquet", "user_features": ["age"]},
    "user_features": {"users": "users.parquet", "user_features": ["age:categorical"]},
    "users_id_column": {"users": "users.parquet", "user_features": ["age"], "users_id_column": "age"},
    "separator": {"separator": ";"},
    "multi_separator": {"multi_separator": "|"},
    "missing_values": {"missing_values": ["?"]},
    "encoding": {"encoding": "latin-1"},
    "decimal": {"decimal": ","},
    "comment": {"comment": "#"},
    "ragged": {"ragged": "drop"},
    "quotes": {"quotes": "text"},
    "event_features": {"event_features": ["rating"]},
}
SAME = {
    "split": GlobalTime(3, 6),
    "batch_size": 7,
    "eval_batch_size": 7,
    "max_history": 7,
    "seed": 7,
    "title_column": "price",
    "cache_dir": "elsewhere",
    "predict_users": "test",
    "group_by_length": True,
    "target_window": 7,
    "targets_per_history": 2,
    "max_eval_users": 7,
    "partitioned_by_user": True,
    "events_on_device": True,
}


def test_each_setting_gives_another_key():
    arguments = set(inspect.signature(TableDataModule.__init__).parameters) - {"self", "interactions"}
    assert arguments == OTHER.keys() | SAME.keys()
    fields = set(TableSpec.__dataclass_fields__)
    assert fields == OTHER.keys() | set(WITHOUT_EFFECT) | {"interactions", "split"}
    assert set(SAME) & fields == set(WITHOUT_EFFECT) | {"split"}  # of the splits, a predefined one counts
    assert set(FILES) <= OTHER.keys() | {"interactions"}
    keys = [key(), *(key(**case) for case in OTHER.values())]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", SAME)
def test_what_changes_nothing_keeps_the_key(name):
    needed = {"target_window": 2} if name == "targets_per_history" else {}
    assert key(**{**TABLES, **needed, name: SAME[name]}) == key(**TABLES)


def test_a_predefined_split_is_part_of_the_key():
    os.mkdir("parts")
    for name in ("a", "b", "c"):
        pl.DataFrame({"user_id": [name], "item_id": [1], "timestamp": [1]}).write_parquet(
            f"parts/{name}.parquet"
        )
    keys = [
        key(),
        key(split=Predefined(column="fold")),
        key(split=Predefined(column="fold", valid="test", test="valid")),
        key(split=Predefined(column="when")),
        key("parts", split=Predefined("a", "b", "c")),
        key("parts", split=Predefined("a", "c", "b")),
        key("parts", split=Predefined("a", 0.5, "b")),
        key("parts"),
    ]
    assert len(set(keys)) == len(keys)


class OwnParts(Predefined):
    def __init__(self, parts, seed=0):
        self.parts = parts
        super().__init__(column="fold")

    @property
    def names(self):
        return self.parts(super().names)


def test_a_split_of_ones_own_may_have_any_arguments(monkeypatch):
    def swapped(names):
        return {0: names[0], 1: names[2], 2: names[1]}

    splits = [OwnParts(lambda names: names), OwnParts(swapped), OwnParts(swapped, seed=object())]
    assert len({key(split=split) for split in splits}) == 2  # by what the split makes of them
    assert key(split=splits[0]) == key(split=Predefined(column="fold"))
    for split in splits:
        assert_same(make(split=split), make(split=split, cache_dir=None))
    monkeypatch.setattr(table_preparation, "prepare", None)
    assert_same(make(split=splits[1]), make(split=splits[2]))


@pytest.mark.parametrize("name", ["x", "items", "users"])
def test_each_file_counts_by_its_content(name):
    arguments = {**TABLES, "users": "users.parquet", "user_features": ["age"]}
    before, path = key(**arguments), f"{name}.parquet"
    state = os.stat(path)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content)
    assert key(**arguments) == before  # written anew
    frame = pl.read_parquet(path)
    frame.reverse().write_parquet(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert key(**arguments) != before
    Path(path).write_bytes(content)
    assert key(**arguments) == before


def test_files_of_a_folder_count_by_name_order_and_number(tmp_path):
    def write(folder, *names):
        (tmp_path / folder).mkdir()
        for name, item in names:
            frame = pl.DataFrame({"user_id": ["u"], "item_id": [item], "timestamp": [1]})
            frame.write_parquet(tmp_path / folder / f"{name}.parquet")
        return key(folder)

    one = write("one", ("a", 1), ("b", 2))
    assert write("two", ("a", 1), ("b", 2)) == one  # wherever it lies
    assert (
        len(
            {
                one,
                write("three", ("a", 2), ("b", 1)),
                write("four", ("a", 1)),
                write("five", ("c", 1), ("b", 2)),
            }
        )
        == 4
    )
    assert key("one/*.parquet") == one


def test_the_code_and_the_class_count(monkeypatch):
    class Other(TableDataModule):
        pass

    before = key()
    assert key(cls=Other) != before
    monkeypatch.setattr(table_cache, "code_hash", lambda: "of another version")
    assert key() != before


def imported_by(path):
    """Return the files of both packages that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {name.replace(".", "/") for name in names if name.split(".")[0] in CODE}
    return found


def test_all_code_that_prepares_counts():
    """What is imported counts too, but for errors, which say something and prepare nothing."""
    files = code_files()
    errors = {"lightning_croloss/errors.py", "croloss_serving/errors.py"}
    roots = {top: Path(importlib.import_module(top).__file__).parents[1] for top in CODE}
    used = {f"{name}.py" for path in files.values() for name in imported_by(path)}
    used = {name for name in used if (roots[name.split("/")[0]] / name).is_file()}
    assert "croloss_serving/common/feature_encoding.py" in used
    assert used <= files.keys() | errors


def test_a_change_of_the_data_is_seen():
    first = make()
    assert len(first.interactions) == 8
    pl.DataFrame(EVENTS, schema_overrides={"item_id": pl.UInt64}).head(5).write_parquet("x.parquet")
    assert len(make().interactions) == 5
    assert len(entries()) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.slow
def test_a_damaged_entry_is_never_read():
    whole = make(**TABLES)
    whole.features  # noqa: B018
    rng = np.random.default_rng(0)
    for name in entries():
        path = f"cache/{name}"
        content = Path(path).read_bytes()
        damaged = [content[:size] for size in (0, 5, 54, 55, 200, len(content) // 2, len(content) - 1)]
        damaged += [content + b"\0", b"something else", *_flipped(content, rng.integers(0, len(content), 30))]
        for wrong in damaged:
            Path(path).write_bytes(wrong)
            module = make(**TABLES)
            with pytest.warns(UserWarning, match=f"{name} is damaged: the data is prepared anew"):
                module.features  # noqa: B018
            assert_same(module, whole)
            assert_same(make(**TABLES), whole)  # written anew, so without a warning


def _flipped(content, positions):
    for position in positions:
        wrong = bytearray(content)
        wrong[position] ^= 1
        yield bytes(wrong)


def test_a_failure_while_writing_leaves_nothing(monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.warns(
            UserWarning, match=r"cannot be written \(No space left on device\): going on without"
        ):
            assert len(make().interactions) == 8
    assert entries() == []


@pytest.mark.filterwarnings("ignore:cache_dir")
def test_a_folder_that_cannot_be_used():
    Path("file").touch()
    with pytest.raises(ValueError, match="cache_dir='file' is a file: name a folder"):
        make(cache_dir="file")
    assert len(make(cache_dir="file/below").interactions) == 8


def test_what_was_read_while_a_file_changed_is_not_kept(monkeypatch):
    prepare = table_preparation.prepare

    def meanwhile(spec):
        result = prepare(spec)
        pl.DataFrame(EVENTS, schema_overrides={"item_id": pl.UInt64}).head(3).write_parquet("x.parquet")
        return result

    monkeypatch.setattr(table_preparation, "prepare", meanwhile)
    with pytest.warns(UserWarning, match="the files changed while they were read"):
        make().interactions  # noqa: B018
    assert entries() == []


@pytest.mark.filterwarnings("error")
def test_several_at_once():
    plain = make(**{**TABLES, "cache_dir": None})
    plain.features  # noqa: B018
    barrier, modules = threading.Barrier(4), [make(**TABLES) for _ in range(4)]
    failures = []

    def load(module):
        try:
            barrier.wait()
            for _ in range(5):
                again = make(**TABLES)
                again.features  # noqa: B018
            module.features  # noqa: B018
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(module,)) for module in modules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for module in modules:
        assert_same(module, plain)
    assert len(entries()) == 2  # no temporary file is left


def test_nothing_is_written_beside_the_data(tmp_path):
    before = sorted(os.listdir())
    make(cache_dir=str(tmp_path / "cache" / "below")).interactions  # noqa: B018
    make(cache_dir=None).interactions  # noqa: B018
    assert sorted(os.listdir()) == sorted([*before, "cache"])


def test_the_folder_of_the_user_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    make(cache_dir="~/.cache/prepared").interactions  # noqa: B018
    assert len(os.listdir(tmp_path / "home" / ".cache" / "prepared")) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(make(cache_dir="~/.cache/prepared").interactions) == 8


def test_a_path_names_the_files_and_the_folder_as_a_text_does():
    texts = make(**TABLES)
    texts.report  # noqa: B018
    tables = {**TABLES, "items": Path("items.parquet")}
    paths = make(Path("x.parquet"), cache_dir=Path("cache"), **tables)
    assert_same(texts, paths)
    assert len(entries()) == 2
