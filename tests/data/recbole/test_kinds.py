"""Values of RecBole's settings: each is honoured as RecBole honours it, or refused in one sentence."""

import warnings

import pytest

from lightning_croloss.data import RecBoleDataModule
from lightning_croloss.data.recbole.kinds import KINDS, evaluated
from lightning_croloss.data.recbole.settings import read_settings

pytest.importorskip("recbole")

#: What somebody may write where something else is meant.
VALUES = [
    *(None, True, False, 0, 1, 5, -1, 1.5, "", "x", "first", "rating", "[2,inf)", "None", "True", "false"),
    *([], ["x"], ["rating"], [3], [None], [["x"]], (), ("x",), {}, {"x": 1}, {"rating": "[2,inf)"}),
    *(
        {"rating": 5},
        {"rating": None},
        {"kind": "x"},
        {"kind": ["x"]},
        {"kind": [1]},
        {"kind": -1},
        {3: ["x"]},
    ),
    *(
        {"inter": "rating"},
        {"inter": ["rating"]},
        {"inter": [3]},
        {"inter": None},
        {"inter": "*"},
        {"item": []},
    ),
    *(b"x", object()),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    folder = root / "shop"
    folder.mkdir()
    rows = "".join(f"u{user}\ti{user + step}\t{step}\t{step}\n" for user in range(3) for step in range(4))
    (folder / "shop.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + rows)
    (folder / "shop.item").write_text("item_id:token\tkind:token\ni0\tx\ni1\ty\n")
    return root


def said_of(shop, config):
    """Return the sentence that refuses a configuration, or one that says that it is taken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            RecBoleDataModule("shop", str(shop), config=config).load()
        except ValueError as error:  # DataError is one
            return str(error)
    return f"{list(config)} is taken"


@pytest.mark.parametrize("name", KINDS)
def test_no_value_of_any_setting_fails_from_inside(shop, name):
    for value in VALUES:
        sentence = said_of(shop, {name: value})
        # it names the setting, or the file whose column cannot be what the setting says
        assert name in sentence or "shop." in sentence, (value, sentence)
        assert "\n" not in sentence


@pytest.mark.parametrize("name", KINDS)
def test_texts_are_evaluated_as_recboles(name):
    from recbole.config import Config

    texts = [value for value in VALUES if isinstance(value, str)]
    texts += ["TRUE", "'rating'", "[5,10]", "(5,10]", "['rating']", "{'rating': '[2,inf)'}", "{'inter': '*'}"]
    for text in texts:
        theirs = Config._convert_config_dict(None, {name: text})[name]
        ours = evaluated({name: text})[name]
        fitting = theirs is None or KINDS[name].fits(theirs)
        assert (type(ours), ours) == ((type(theirs), theirs) if fitting else (str, text))


def test_texts_of_files_and_paths_are_not_evaluated(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("filter_inter_by_user_or_item: 'True'\n")
    with pytest.raises(
        ValueError, match="filter_inter_by_user_or_item='True' must be true or false, or null"
    ):
        read_settings([str(file)], {})
    given = {"data_path": "'/somewhere'", "dataset": "5", "rm_dup_inter": "__import__('os').getcwd()"}
    assert evaluated(given) == given  # a path is checked as it is written, and nothing is ever called


def test_a_filter_that_is_switched_on_by_a_text_filters(shop):
    config = {"load_col": {"inter": ["user_id", "item_id"], "item": ["item_id"]}, "TIME_FIELD": None}
    counts = [
        len(
            RecBoleDataModule("shop", str(shop), config={**config, "filter_inter_by_user_or_item": on}).load()
        )
        for on in (True, "True", "true", False, "false")
    ]
    assert counts == [3, 3, 3, 12, 12]
