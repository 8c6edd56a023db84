import logging
import math
from datetime import date

import polars as pl
import pytest
import torch

from lightning_croloss.data import RecBoleDataModule, TableDataModule
from lightning_croloss.errors import DataError
from tests.data.table.tables import GOOD, refusal

EVENTS = {"user_id": [1, 1, 2, 2], "item_id": list("abcd"), "timestamp": range(4)}


ITEMS = {
    "item_id": ["d", "e", "a", "b", "c"],
    "kind": [None, "z", "x", "y", "x"],
    "price": [None, 9.0, 1.0, 2.0, 6.0],
    "tags": [["r", "p", "p"], ["q"], ["p", "q"], ["q", None], None],
    "sold_out": [True, True, False, True, False],
}


@pytest.fixture
def make(tmp_path):
    pl.DataFrame(EVENTS).write_parquet(tmp_path / "x.parquet")

    def build(*wanted, items=ITEMS, name="i.parquet", **arguments):
        frame, path = pl.DataFrame(items), tmp_path / name
        if path.suffix == ".csv":
            lists = [column for column in frame.columns if frame[column].dtype == pl.List]
            frame.with_columns(pl.col(lists).list.join("|", ignore_nulls=True)).write_csv(path)
        else:
            frame.write_parquet(path)
        return TableDataModule(
            str(tmp_path / "x.parquet"),
            items=str(path),
            item_features=wanted,
            min_user_interactions=1,
            multi_separator="|",
            **arguments,
        )

    return build


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("i.parquet", ["kind", "price", "tags", "sold_out"]),
        ("i.csv", ["kind", "price", "tags:multi", "sold_out"]),
    ],
)
def test_values_are_aligned_with_the_vocabulary(make, name, wanted):
    module = make(*wanted, name=name)
    kind, price, tags, sold_out = module.features[0]
    assert kind.values.tolist() == [[0], [1], [2], [1], [0]]  # x is 1, y is 2; z belongs to nobody
    assert tags.values.tolist() == [[0, 0], [1, 2], [2, 0], [0, 0], [1, 3]]  # p, q, r; the second p is none
    assert sold_out.values.tolist() == [[0], [1], [2], [1], [2]]
    assert torch.isnan(price.values[[0, 4], 0]).all()
    deviation = math.sqrt(14 / 3)  # of 1, 2, 6, whose mean is 3
    assert price.values[1:4, 0].tolist() == pytest.approx([-2 / deviation, -1 / deviation, 3 / deviation])
    assert [spec["kind"] for spec in module.item_feature_specs] == [
        "categorical",
        "numeric",
        "multi",
        "categorical",
    ]
    assert module.user_feature_specs == []


def test_the_user_may_choose_the_kind(make):
    assert make("price:categorical").features[0][0].size == 4
    assert make("kind:multi").features[0][0].kind == "multi"
    numbers = {"item_id": list("abcd"), "year": ["1", "2", "-", "4"]}
    feature = make("year:numeric", items=numbers, missing_values=["-"]).features[0][0]
    assert feature.num_missing == 1


def test_lists_of_numbers(make):
    items = {"item_id": list("abcd"), "attributes": [[3, 20], [3], [], [20]]}
    feature = make("attributes", items=items).features[0][0]
    assert feature.values.tolist() == [[0, 0], [1, 2], [2, 0], [0, 0], [1, 0]]  # the texts 20, 3


def test_what_is_missing_is_reported(make, caplog):
    module = make("kind", "tags")
    with caplog.at_level(logging.INFO):
        notes = module.report.notes
        module.features  # noqa: B018
        module.item_feature_specs  # noqa: B018
    expected = [
        "i.parquet: 1 rows of ids without interactions are left out",
        "i.parquet: kind is missing for 1 of 4",
        "i.parquet: tags is missing for 1 of 4",
    ]
    assert notes == expected
    assert caplog.messages[1:] == expected


@pytest.mark.parametrize("kind", [pl.Int32, pl.Float64, pl.String])
def test_the_ids_may_be_of_another_type(tmp_path, kind):
    pl.DataFrame(EVENTS).write_parquet(tmp_path / "x.parquet")
    users = pl.DataFrame({"id": pl.Series([2, 1, 3]).cast(pl.Int32).cast(kind), "age": [30, 40, 50]})
    users.write_parquet(tmp_path / "u.parquet")
    module = TableDataModule(
        str(tmp_path / "x.parquet"),
        users=str(tmp_path / "u.parquet"),
        user_features=["age"],
        users_id_column="id",
        min_user_interactions=1,
    )
    if kind == pl.String:
        assert pl.read_parquet(tmp_path / "u.parquet")["id"].to_list() == ["2", "1", "3"]
    assert module.features[1][0].values[1:, 0].tolist() == [1, -1]
    assert module.user_feature_specs == [{"name": "age", "kind": "numeric", "size": 0, "width": 1}]


def test_the_same_as_recbole(tmp_path):
    pytest.importorskip("recbole")
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n"
        + "".join(f"{user}\ti{item}\t{item}\n" for user in range(3) for item in range(4))
    )
    (folder / "shop.item").write_text(
        "item_id:token\tkind:token\tprice:float\ttags:token_seq\n"
        "i3\t7\t1\tp q\ni0\t8\t\tq\ni9\t7\t5\tq\ni1\t7\t2.5\t\ni2\t\t4\tr p\n"
    )
    wanted = ["kind", "price", "tags"]
    theirs = RecBoleDataModule("shop", str(tmp_path), item_features=wanted)
    ours = TableDataModule(str(folder), items=str(folder), item_features=wanted, min_user_interactions=1)
    assert ours.item_vocabulary == theirs.item_vocabulary
    assert torch.equal(ours.interactions.items, theirs.interactions.items)
    for mine, other in zip(ours.features[0], theirs.features[0], strict=True):
        assert mine.spec == other.spec
        assert torch.equal(mine.values.nan_to_num(-9), other.values.nan_to_num(-9))


@pytest.mark.parametrize("declared", ["token", "token_seq", "float", "float_seq"])
@pytest.mark.parametrize("kind", ["", ":categorical", ":multi", ":numeric"])
def test_a_type_is_the_same_kind_as_of_recbole(tmp_path, declared, kind):
    pytest.importorskip("recbole")
    folder = tmp_path / "shop"
    folder.mkdir()
    events = "".join(f"{user}\ti{item}\n" for user in range(3) for item in range(4))
    (folder / "shop.inter").write_text(f"user_id:token\titem_id:token\n{events}")
    (folder / "shop.item").write_text(f"item_id:token\tx:{declared}\ni0\t7\ni1\t8\ni2\t\ni3\t7\n")
    options = {"time_column": None, "min_user_interactions": 1}
    outcomes = []
    for make in (
        lambda: RecBoleDataModule("shop", str(tmp_path), item_features=[f"x{kind}"]),
        lambda: TableDataModule(str(folder), items=str(folder), item_features=[f"x{kind}"], **options),
    ):
        try:
            outcomes.append([feature.spec for feature in make().features[0]])
        except DataError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0], str) == (declared == "float_seq" and not kind)


@pytest.mark.parametrize("name", ["i.parquet", "i.csv"])
def test_titles_are_aligned_with_the_vocabulary(make, name):
    items = {**ITEMS, "name": ["Dé", "nobody's", None, "Bee", "?"]}
    module = make("kind", items=items, name=name, title_column="name", missing_values=["?"])
    assert module.item_vocabulary.tokens == list("abcd")
    assert module.item_titles == ["", "Bee", "", "Dé"]
    assert make("kind").item_titles is None


def test_titles_need_no_features(make):
    assert make(title_column="price").item_titles == ["1.0", "2.0", "6.0", ""]
    with pytest.raises(DataError, match=r"title_column names 'prise', .*did you mean 'price'"):
        make(title_column="prise").item_titles  # noqa: B018
    with pytest.raises(DataError, match=r"i.parquet: .* 'tags' holds List\(String\), which is not a title"):
        make(title_column="tags").item_titles  # noqa: B018


def features(tmp_path, frame, *wanted, name="i.parquet", **arguments):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.parquet")
    path = tmp_path / name
    if frame is not None:
        (pl.DataFrame(frame).write_csv if path.suffix == ".csv" else pl.DataFrame(frame).write_parquet)(path)
    return refusal(tmp_path / "x.parquet", items=str(path), item_features=wanted, **arguments)


#: The items of GOOD, and one of nobody.
SHELF = {"item_id": ["a", "b", "z"], "kind": ["x", "y", "x"], "price": [1, 2, 3]}


def test_feature_files_and_columns(tmp_path):
    assert features(tmp_path, None, "kind").startswith("items: there is no file ")
    assert features(tmp_path, SHELF, "prise") == "i.parquet has no feature 'prise'; did you mean 'price'?"
    assert "no feature 'item_id'" in features(tmp_path, SHELF, "item_id")
    assert features(tmp_path, SHELF, "kind", items_id_column="itm") == (
        "items_id_column names 'itm', which is not a column of i.parquet; did you mean 'item_id'?"
    )
    # a checkpoint would not tell them apart
    for twice in (("kind", "kind"), ("price", "price:categorical"), ("price:numeric", "price:categorical")):
        assert f"feature {twice[0].partition(':')[0]!r} is wanted twice" in features(tmp_path, SHELF, *twice)
    assert "of type 'String' must be one of categorical, multi" in features(tmp_path, SHELF, "kind:text")
    days = {**SHELF, "day": [date(2024, 1, 1)] * 3}
    assert "feature 'day' of type 'Date' must be one of" in features(tmp_path, days, "day")


@pytest.mark.parametrize(("name", "line"), [("i.parquet", "row {}"), ("i.csv", "line {}")])
def test_feature_rows(tmp_path, name, line):
    third = f"{name}, {line.format(3 if 'row' in line else 4)}"
    second = f"{name}, {line.format(2 if 'row' in line else 3)}"
    first = f"{name}, {line.format(1 if 'row' in line else 2)}"
    twice = {**SHELF, "item_id": ["a", "b", "a"]}
    assert features(tmp_path, twice, "kind", name=name) == (
        f"{third}: item_id 'a' stands again, after {first}: keep one"
    )
    nulls = {**SHELF, "item_id": ["a", None, "b"]}
    assert features(tmp_path, nulls, "kind", name=name) == (
        f"{second}: column 'item_id' has no value: every row needs an id"
    )
    others = {**SHELF, "item_id": ["7", "8", "9"]}
    assert features(tmp_path, others, "kind", name=name).startswith(
        f"{first}: column 'item_id' holds '7'; none"
    )


@pytest.mark.parametrize(
    ("column", "wanted", "message"),
    [
        (["1", "cheap", "2"], "f:numeric", "column 'f' is numeric, but holds 'cheap' in i.parquet, row 2"),
        ([1.0, float("inf"), 2.0], "f", "column 'f' is numeric, but holds 'inf' in i.parquet, row 2"),
        ([[1], [2], [3]], "f:numeric", "column 'f' holds lists: it can only be multi"),
        ([["p"], ["q"], ["r"]], "f:categorical", "column 'f' holds lists: it can only be multi"),
        (["x", "x", "y"], "f", "column 'f' is the same everywhere"),
        ([None, None, "y"], "f", "column 'f' is missing everywhere"),
        ([{"a": 1}] * 3, "f:categorical", "column 'f' holds Struct"),
    ],
)
def test_feature_values(tmp_path, column, wanted, message):
    assert features(tmp_path, {**SHELF, "f": column}, wanted).startswith(f"i.parquet: {message}")


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("og:brand", "categorical"),
        ("og:brand:multi", "multi"),
        ("og", "numeric"),
        ("og:categorical", "categorical"),
    ],
)
@pytest.mark.parametrize("name", ["i.parquet", "i.csv"])
def test_a_name_with_a_colon(make, name, entry, kind):
    items = {"item_id": list("abcd"), "og:brand": list("xyxy"), "og": [1, 2, 3, 4]}
    feature = make(entry, items=items, name=name).features[0][0]
    assert (feature.name, feature.kind) == (entry.removesuffix(f":{kind}"), kind)


def test_an_unknown_name_with_a_colon(tmp_path):
    items = {"item_id": ["a", "b"], "og:brand": ["x", "y"]}
    said = features(tmp_path, items, "og:brnd")
    assert said == "i.parquet has no feature 'og:brnd'; did you mean 'og:brand'?"


def test_decimal_commas_of_features(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.parquet")
    (tmp_path / "i.csv").write_text("item_id;price\na;1,5\n\nb;2,5\n# end\n")
    arguments = {"items": str(tmp_path / "i.csv"), "item_features": ["price"], "min_user_interactions": 1}
    module = TableDataModule(str(tmp_path / "x.parquet"), decimal=",", **arguments)
    assert module.features[0][0].values[1:, 0].tolist() == [-1, 1]
    module = TableDataModule(str(tmp_path / "x.parquet"), **arguments)
    assert module.features[0][0].kind == "categorical"
    assert (
        "i.csv: price is categorical, but looks like numbers with a decimal comma" in module.report.notes[-1]
    )


def test_a_float_is_the_integer_that_it_holds_and_a_text_is_not(tmp_path):
    events = {"user_id": [1, 1, 1], "item_id": ["1", "1.0", "2"], "timestamp": [1, 2, 3]}
    pl.DataFrame(events).write_parquet(tmp_path / "x.parquet")
    items = pl.DataFrame({"item_id": [1.0, 2.0], "title": ["one", "two"]})
    for values, titles in ((items["item_id"], ["one", "", "two"]), (["1.0", "2"], ["", "one", "two"])):
        items.with_columns(item_id=pl.Series(values)).write_parquet(tmp_path / "i.parquet")
        module = TableDataModule(
            str(tmp_path / "x.parquet"),
            items=str(tmp_path / "i.parquet"),
            title_column="title",
            min_user_interactions=1,
        )
        assert module.item_vocabulary.tokens == ["1", "1.0", "2"]
        assert module.item_titles == titles
    items.with_columns(item_id=pl.Series([1.0, 2.5])).write_parquet(tmp_path / "i.parquet")
    with pytest.raises(DataError, match=r"i\.parquet, row 2: column 'item_id' holds 2\.5"):
        module.load_titles(module.item_vocabulary)


def test_texts_that_mean_missing_mean_it_in_lists_too(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.parquet")
    kinds = {"lists": pl.List(pl.String), "arrays": pl.Array(pl.String, 2), "enums": pl.List(pl.Enum("xyN"))}
    tags = [["x", "N"], ["y", "x"], ["N", "N"]]
    columns = {name: pl.Series(tags, dtype=kind) for name, kind in kinds.items()}
    pl.DataFrame({"item_id": ["a", "b", "N"], **columns}).write_parquet(tmp_path / "i.parquet")
    module = TableDataModule(
        str(tmp_path / "x.parquet"),
        min_user_interactions=1,
        items=str(tmp_path / "i.parquet"),
        item_features=list(kinds),
        missing_values=["N"],
    )
    for feature in module.features[0]:
        assert feature.encoding.tokens.tokens == ["x", "y"]
        assert [sorted(row) for row in feature.values.tolist()] == [[0, 0], [0, 1], [1, 2]]


def test_a_line_without_an_id_is_no_blank_line(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.parquet")
    (tmp_path / "i.csv").write_text("item_id,kind,price\na,x,1\n\nb,y,2\n,,\n,,3\n")
    said = refusal(tmp_path / "x.parquet", items=str(tmp_path / "i.csv"), item_features=["kind"])
    assert said == "i.csv, line 6: column 'item_id' has no value: every row needs an id"
