import csv
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from croloss_serving.common.feature_encoding import FeatureEncoding
from lightning_croloss.data import RecBoleDataModule
from lightning_croloss.errors import DataError
from tests.data_for_tests import ClusteredData

recbole = pytest.importorskip("recbole")

EVENTS = "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(
    f"u{user}\t{item}\t{time}\n" for user in range(3) for time, item in enumerate("abcd")
)
HEADER = "item_id:token\tkind:token\tprice:float\ttags:token_seq\tvector:float_seq\n"
ITEMS = "d\t\t\tr p p\t\ne\tz\t9\tq\t\na\tx\t1\tp q\t\nb\ty\t2\tq\t\nc\tx\t6\t\t\n"


@pytest.fixture
def shop(tmp_path):
    """Make a data module of four items, a to d, from the text of its item file."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text(EVENTS)

    def make(*features, items=HEADER + ITEMS, **arguments):
        (folder / "shop.item").write_text(items)
        return RecBoleDataModule("shop", str(tmp_path), item_features=features, **arguments)

    return make


# ---------------------------------------------------------------------- values


def test_values_are_aligned_with_the_vocabulary(shop):
    module = shop("kind", "price", "tags")
    assert module.item_vocabulary.tokens == list("abcd")
    kind, price, tags = module.features[0]
    assert kind.values.tolist() == [[0], [1], [2], [1], [0]]  # x is 1, y is 2; z belongs to nobody
    assert tags.values.tolist() == [[0, 0], [1, 2], [2, 0], [0, 0], [1, 3]]  # p, q, r; the second p is none
    assert price.values.dtype == torch.float32
    assert torch.isnan(price.values[[0, 4], 0]).all()
    deviation = math.sqrt(14 / 3)  # of 1, 2, 6, whose mean is 3
    assert price.values[1:4, 0].tolist() == pytest.approx([-2 / deviation, -1 / deviation, 3 / deviation])


def test_specifications_are_plain(shop):
    module = shop("kind", "price", "tags")
    assert module.item_feature_specs == [
        {"name": "kind", "kind": "categorical", "size": 3, "width": 1},
        {"name": "price", "kind": "numeric", "size": 0, "width": 1},
        {"name": "tags", "kind": "multi", "size": 4, "width": 2},
    ]
    assert module.user_feature_specs == []
    assert {type(value) for spec in module.item_feature_specs for value in spec.values()} == {str, int}


def test_without_features_no_file_is_read(shop):
    module = shop()
    assert module.features == ([], [])
    assert "interactions" not in vars(module)
    assert ClusteredData().item_feature_specs == ClusteredData().user_feature_specs == []


def test_the_user_may_choose_the_kind(shop):
    assert shop("tags:categorical").features[0][0].size == 4  # "p q", "q", "r p p"
    assert shop("price:categorical").features[0][0].values.tolist() == [[0], [1], [2], [3], [0]]
    assert shop("kind:multi").features[0][0].kind == "multi"


@pytest.mark.parametrize("name", ["og:brand", "a:b:c", "kind:numeric", ":x", "x:", "token"])
def test_a_name_may_hold_colons(shop, tmp_path, name):
    rows = "a\tx\t1\nb\ty\t2\nc\tx\t3\nd\ty\t4\n"
    header = "item_id:token\tkind:token\tkind2:token\n"
    expected = shop("kind", "kind2:numeric", items=header + rows).features[0]
    items = f"item_id:token\t{name}:token\tn{name}:token\n{rows}"
    for asked in (name, f"{name}:categorical"):
        module = shop(asked, f"n{name}:numeric", items=items, title_field=name)
        for feature, plain in zip(module.features[0], expected, strict=True):
            assert torch.equal(feature.values[1:], plain.values[1:])
        assert [feature.name for feature in module.features[0]] == [name, f"n{name}"]
        assert module.item_titles == list("xyxy")
    (tmp_path / "shop" / "shop.inter").write_text(
        EVENTS.replace("user_id:", f"u{name}:").replace("timestamp:", f"t{name}:")
    )
    settings = {
        "USER_ID_FIELD": f"u{name}",
        "TIME_FIELD": f"t{name}",
        "val_interval": {f"t{name}": "[1,inf)"},
    }
    assert shop(items=items, config=settings).interactions.times.tolist() == [1, 2, 3] * 3


def test_the_separator_is_that_of_the_settings(shop):
    expected = shop("tags").features[0][0].values
    module = shop("tags", items=(HEADER + ITEMS).replace(" ", "|"), config={"seq_separator": "|"})
    assert torch.equal(module.features[0][0].values, expected)


def test_seq_len_shortens_features_and_no_titles(shop):
    items = HEADER + "a\t\t\tq p\t\nb\t\t\t p  q\t\nc\t\t\t\t\nd\t\t\tr q p\t\n"
    module = shop("tags", items=items, config={"seq_len": {"tags": 1}}, title_field="tags")
    (tags,) = module.features[0]
    assert tags.encoding.tokens.tokens == list("pqr")  # as RecBole has it: the first ones in the file
    assert tags.values.tolist() == [[0], [2], [1], [0], [3]]
    assert module.item_titles == ["q p", " p  q", "", "r q p"]
    (tags,) = shop("tags:categorical", items=items, config={"seq_len": {"tags": 2}}).features[0]
    assert tags.encoding.tokens.tokens == ["p q", "q p", "r q"]
    (vector,) = shop(
        "vector:numeric",
        items=items.replace("\t\n", "\t1 2\n").replace("1 2\nd", "3 2\nd"),
        config={"seq_len": {"vector": 1}},
    ).features[0]
    assert vector.num_missing == 0


LONG = [("q p", "x y", "3 2"), ("p r q", "x z y", "1"), ("", "", ""), (" r  q p", "y", " 2 1 5")]


@pytest.mark.parametrize("separator", [" ", "|"])
@pytest.mark.parametrize("name", ["tags:multi", "words:categorical", "numbers:numeric"])
def test_what_seq_len_shortens_is_shortened_of_new_users_too(shop, tmp_path, name, separator):
    lengths = {"tags": 2, "words": 2, "numbers": 1}
    rows = [f"u{user}\t" + "\t".join(values) for user, values in enumerate(LONG)]
    users = "user_id:token\ttags:token_seq\twords:token_seq\tnumbers:float_seq\n" + "\n".join(rows) + "\n"
    (tmp_path / "shop" / "shop.user").write_text(users.replace(" ", separator))
    (tmp_path / "shop" / "shop.inter").write_text(EVENTS + "u3\ta\t0\nu3\tb\t1\n")
    config = {"seq_len": lengths, "seq_separator": separator}
    module = RecBoleDataModule("shop", str(tmp_path), user_features=[name], config=config)
    (feature,) = module.features[1]
    trained = feature.values[1:].numpy()
    place = list(lengths).index(feature.name)
    given = [LONG[user][place].replace(" ", separator) for user in range(4)]
    assert module.user_vocabulary.tokens == ["u0", "u1", "u2", "u3"]
    for encoding in (feature.encoding, FeatureEncoding.from_plain(feature.encoding.to_plain())):
        assert np.array_equal(encoding.encode(given), trained, equal_nan=True)  # croloss recommend, serving
        if feature.kind == "multi":
            lists = [[None, *text.split(separator), ""] for text in given]
            assert np.array_equal(encoding.encode(lists), trained)
            with pytest.raises(ValueError, match="of feature 'tags' the first 2 tokens are read, and a set"):
                encoding.encode([{"p", "q"}])
    (again,) = module.load_user_features(module.user_vocabulary)  # croloss predict
    assert np.array_equal(again.values[1:].numpy(), trained, equal_nan=True)


def test_ids_are_those_left_by_the_filters(shop):
    module = shop("kind", config={"val_interval": {"price": "[2,inf)"}})
    # RecBole counts an item that only the item file knows once that file is loaded
    assert module.item_vocabulary.tokens == ["b", "c", "e"]
    assert module.features[0][0].values.tolist() == [[0], [2], [1], [3]]


def test_missing_values_have_names(shop):
    items = HEADER + "a\tx\t1\tp\t\nb\ty\t2\t?\t\nc\t?\tnone\tp q\t\nd\tx\t4\tq\t\n"
    kind, price, tags = shop("kind", "price", "tags", items=items, missing_values=["?", "none"]).features[0]
    assert kind.values.tolist() == [[0], [1], [2], [0], [1]]
    assert torch.isnan(price.values[3, 0])
    assert tags.values[2].tolist() == [0, 0]
    assert [feature.num_missing for feature in (kind, price, tags)] == [1, 1, 1]
    # what pandas would take for a missing value is a token like any other
    assert shop("kind", items=HEADER + "a\tNA\t\t\t\nb\tnull\t\t\t\n").features[0][0].size == 3


def test_what_is_missing_is_reported_once(shop, caplog):
    module = shop("kind", "tags", items=HEADER + "a\tx\t\t\t\nb\ty\t\tp\t\nc\t\t\tq\t\nz\tx\t\t\t\n")
    with caplog.at_level(logging.INFO):
        module.features  # noqa: B018
        module.item_feature_specs  # noqa: B018
    assert caplog.messages == [
        "shop.item: 1 rows of ids without interactions are left out; 1 of 4 ids have no row; "
        "kind is missing for 2 of 4; tags is missing for 2 of 4"
    ]


def test_nothing_missing_nothing_reported(shop, caplog):
    with caplog.at_level(logging.INFO):
        shop("kind", items=HEADER + "".join(f"{item}\t{item}\t\t\t\n" for item in "abcd")).features  # noqa: B018
    assert caplog.messages == []


def test_ml_100k_as_in_the_files():
    module = RecBoleDataModule(
        item_features=["class", "release_year:numeric"],
        user_features=["age:numeric", "gender", "occupation"],
        missing_values=["V", "unkonwn"],
    )
    folder = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"

    def rows(ending):
        with (folder / f"ml-100k.{ending}").open(encoding="utf-8") as file:
            return {row[0]: row[1:] for row in list(csv.reader(file, delimiter="\t"))[1:]}

    items, users = rows("item"), rows("user")
    (genres, year), (age, gender, occupation) = module.features
    assert (genres.num_missing, year.num_missing) == (0, 2)
    assert (genres.size, gender.size, occupation.size) == (20, 3, 22)  # 19 genres, 2 genders, 21 occupations

    names = sorted({name for row in items.values() for name in row[2].split(" ")})
    years = [float(row[1]) for row in items.values() if row[1].isdigit()]
    mean = sum(years) / len(years)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in years) / len(years))
    tokens = module.item_vocabulary.tokens
    for number, token in enumerate(tokens, start=1):
        row = items[token]
        assert {names[value - 1] for value in genres.values[number].tolist() if value} == set(row[2].split())
        if row[1].isdigit():
            assert float(year.values[number]) == pytest.approx((float(row[1]) - mean) / deviation, abs=1e-4)
        else:
            assert token in ("267", "1412")
            assert math.isnan(float(year.values[number]))

    jobs = sorted({row[2] for row in users.values()})
    ages = torch.tensor([float(row[0]) for row in users.values()])
    for number, token in enumerate(module.user_vocabulary.tokens, start=1):
        row = users[token]
        assert jobs[int(occupation.values[number]) - 1] == row[2]
        assert "FM"[int(gender.values[number]) - 1] == row[1]
        expected = (float(row[0]) - ages.mean()) / ages.std(correction=0)
        assert float(age.values[number]) == pytest.approx(float(expected), abs=1e-4)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("rows", "features", "message"),
    [
        (
            "c\tx\t5\t\t\nb\ty\tcheap\t\t\na\tx\tdear\t\t\n",
            ["price"],
            "shop.item: column 'price' is numeric, but holds 'cheap' in line 3: correct it, name it in "
            "missing_values, or make the feature categorical",
        ),
        ("a\tx\tinf\t\t\nb\ty\t2\t\t\n", ["price"], "is numeric, but holds 'inf' in line 2"),
        ("a\tx\tnan\t\t\nb\ty\t2\t\t\n", ["price"], "is numeric, but holds 'nan' in line 2"),
        ("a\tx\t1\tp q\t\nb\ty\t2\t\t\n", ["tags:numeric"], "'tags' is numeric, but holds 'p q' in line 2"),
        (
            "a\tx\t1\t\t\nb\tx\t2\t\t\n",
            ["kind"],
            "shop.item: column 'kind' is the same everywhere: take it out",
        ),
        ("a\tx\t1\t\t\nb\tx\t1.0\t\t\n", ["price"], "column 'price' is the same everywhere: take it out"),
        ("a\tx\t1\tp q\t\nb\tx\t1\tq p\t\n", ["tags"], "column 'tags' is the same everywhere: take it out"),
        ("a\tx\t\t\t\nb\tx\t\t\t\n", ["price"], "column 'price' is missing everywhere: take it out"),
        ("y\tx\t1\t\t\nz\ty\t2\t\t\n", ["kind"], "column 'kind' is missing everywhere: take it out"),
        ("a\tx\t1\t\t\na\ty\t2\t\t\n", ["kind"], "shop.item holds item_id 'a' again in line 3: keep one"),
        (
            "a\tx\t1\t\t\nb\ty\t2\t\t\t7\n",
            ["kind"],
            "shop.item cannot be read: found more fields.* line [23]",
        ),
        (
            "a\tx\t1\t\t\t7\nb\ty\t2\t\t\t7\n",
            ["kind"],
            "shop.item cannot be read: found more fields.* line [23]",
        ),
        ("a\tx\t1\t\t\n", ["prise"], "shop.item has no feature 'prise'; did you mean 'price'"),
        ("a\tx\t1\t\t\n", ["item_id"], "shop.item has no feature 'item_id'"),
        ("a\tx\t1\t\t\n", ["kind:numerical"], "feature 'kind:numerical' of type 'token' must be one of"),
        (
            "a\tx\t1\t\t\n",
            ["vector"],
            "'vector' of type 'float_seq' must be one of categorical, multi, numeric",
        ),
        ("a\tx\t1\t\t\nb\ty\t2\t\t\n", ["kind", "kind"], "feature 'kind' is wanted twice: name it once"),
    ],
)
def test_bad_input_is_one_sentence(shop, rows, features, message):
    with pytest.raises(DataError, match=message) as caught:
        shop(*features, items=HEADER + rows).features  # noqa: B018
    assert "\n" not in str(caught.value)


def test_a_column_that_stands_twice(shop):
    items = "item_id:token\tkind:token\tkind:float\na\tx\t1\nb\ty\t2\n"
    with pytest.raises(DataError, match=r"shop\.item has two columns 'kind'"):
        shop("kind", items=items).features  # noqa: B018


def test_a_file_that_is_not_there(shop, tmp_path):
    module = shop("kind")
    (tmp_path / "shop" / "shop.item").unlink()
    with pytest.raises(DataError, match=r"features \['kind'\] need the file shop.item, which is not in"):
        module.features  # noqa: B018
    with pytest.raises(DataError, match=r"need the file shop\.user"):
        shop(user_features=["age"]).features  # noqa: B018


@pytest.mark.parametrize("name", ["item_features", "user_features", "missing_values"])
def test_lists_are_lists(name):
    with pytest.raises(ValueError, match=rf"{name}='age' must be a list: write \['age'\]"):
        RecBoleDataModule(**{name: "age"})


def test_titles_are_aligned_with_the_vocabulary(shop):
    items = "item_id:token\tname:token_seq\nd\tDé of two words\ne\tnobody's\nb\tBee\nc\t?\n"
    module = shop(items=items, title_field="name", missing_values=["?"])
    assert module.item_vocabulary.tokens == list("abcd")
    assert module.item_titles == ["", "Bee", "", "Dé of two words"]
    assert shop(items=items).item_titles is None
    with pytest.raises(DataError, match=r"shop\.item has no column 'nome'; did you mean 'name'"):
        shop(items=items, title_field="nome").item_titles  # noqa: B018


def test_titles_need_the_file(shop, tmp_path):
    module = shop(title_field="name")
    (tmp_path / "shop" / "shop.item").unlink()
    with pytest.raises(DataError, match=r"title_field='name' needs the file shop\.item"):
        module.item_titles  # noqa: B018
