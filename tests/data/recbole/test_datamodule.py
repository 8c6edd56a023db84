import logging
import os
import sys
import warnings

import numpy as np
import pytest
import torch

from lightning_croloss.data import LeaveOneOut, RecBoleDataModule
from lightning_croloss.errors import DataError
from tests.data_for_tests import token_sequences

pytest.importorskip("recbole")

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROWS = [
    # two events of u1 closer than float32 can tell apart, and out of order
    ("u1", "a", 5, 881250949),
    ("u1", "c", 3, 881250951),
    ("u1", "b", 4, 881250950),
    ("u1", "d", 1, 881250999),
    ("u2", "b", 5, 881250949),
    ("u2", "a", 2, 881250949),
    ("u2", "d", 4, 881250949),
    ("u2", "a", 4, 881250990),
    ("u3", "e", 4, 5),
]


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = "".join("\t".join(map(str, row)) + "\n" for row in ROWS)
    (folder / "shop.inter").write_text(INTER + lines)
    (folder / "shop.item").write_text(
        "item_id:token\tkind:token\tvector:float_seq\na\tx\t1 2\nb\tx\t3 4\nd\ty\t\n"
    )
    return tmp_path


def make(shop, config=None, **arguments):
    return RecBoleDataModule("shop", str(shop), config=config, **arguments)


@pytest.fixture(scope="module")
def bundled():
    return RecBoleDataModule()


def test_order_is_exact_and_stable(shop):
    module = make(shop)
    assert token_sequences(module) == {"u1": list("abcd"), "u2": list("bada"), "u3": ["e"]}
    assert module.interactions.times.dtype == torch.float64
    assert module.interactions.times[:3].tolist() == [881250949, 881250950, 881250951]


def test_order_of_the_file_without_time(shop):
    assert token_sequences(make(shop, {"TIME_FIELD": None}))["u1"] == list("acbd")
    with pytest.warns(
        UserWarning, match=r"times in 'timestamp', which load_col.*add it to load_col\['inter'\]"
    ):
        assert token_sequences(make(shop, {"load_col": {"inter": ["user_id", "item_id"]}}))["u1"] == list(
            "acbd"
        )
    with pytest.raises(DataError, match=r"TIME_FIELD names 'time', which is not a column of shop\.inter"):
        make(shop, {"TIME_FIELD": "time"}).load()


def test_filters_are_recboles(shop):
    assert token_sequences(make(shop, {"val_interval": {"rating": "[4,inf)"}})) == {
        "u1": ["a", "b"],
        "u2": ["b", "d", "a"],
        "u3": ["e"],
    }
    assert set(token_sequences(make(shop, {"user_inter_num_interval": "[2,inf)"}))) == {"u1", "u2"}
    assert token_sequences(make(shop, {"item_inter_num_interval": "[2,inf)"}))["u1"] == ["a", "b", "d"]
    assert token_sequences(make(shop, {"rm_dup_inter": "first"}))["u2"] == ["b", "a", "d"]
    assert token_sequences(make(shop, {"rm_dup_inter": "last"}))["u2"] == ["b", "d", "a"]
    # a column of another file is loaded for its filter
    assert token_sequences(make(shop, {"val_interval": {"kind": ["x"]}})) == {
        "u1": ["a", "b"],
        "u2": ["b", "a", "a"],
    }


def test_other_files_load_too(shop):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = make(shop, {"load_col": None, "filter_inter_by_user_or_item": False})
        assert module.num_items == 5
    assert token_sequences(make(shop, {"unload_col": {"inter": ["rating"]}}))["u1"] == ["a", "b", "d"]


def test_order_of_the_file_where_the_time_is_a_feature(shop):
    module = make(shop, {"TIME_FIELD": None}, event_features=["timestamp"])
    assert module.time_feature is None
    assert token_sequences(module)["u1"] == list("acbd")
    assert [column.name for column in module.interactions.columns] == ["timestamp"]
    with (
        pytest.warns(UserWarning, match="events keep the order"),
        pytest.raises(DataError, match=r"have no times: load that column \(load_col\)"),
    ):
        make(shop, {"load_col": {"inter": ["user_id", "item_id"]}}, event_features=["timestamp"]).load()


def test_names_of_columns(shop):
    folder = shop / "shop"
    text = (folder / "shop.inter").read_text().replace("user_id:", "who:").replace("timestamp:", "when:")
    (folder / "shop.inter").write_text(text)
    module = make(shop, {"USER_ID_FIELD": "who", "TIME_FIELD": "when"})
    assert token_sequences(module)["u1"] == list("abcd")


def test_config_files_and_their_precedence(shop, tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("user_inter_num_interval: '[2,inf)'\nrm_dup_inter: first\nlearning_rate: 1e-3\n")
    two.write_text("rm_dup_inter: last\nmetrics: [Nonsense]\n")
    module = make(shop, config_files=[str(one), str(two)])
    assert token_sequences(module) == {"u1": list("abcd"), "u2": ["b", "d", "a"]}
    module = make(shop, {"rm_dup_inter": "first"}, config_files=[str(one), str(two)])
    assert token_sequences(module)["u2"] == ["b", "a", "d"]
    one.write_text(f"data_path: {shop}\ndataset: shop\n")
    assert RecBoleDataModule("shop", config_files=[str(one)]).num_users == 3
    with pytest.raises(ValueError, match="names dataset 'shop', but the argument dataset is 'ml-100k'"):
        RecBoleDataModule(config_files=[str(one)]).load()


def test_a_dataset_of_ones_own_named_like_the_bundled_one(shop):
    (shop / "shop" / "shop.inter").rename(shop / "shop" / "ml-100k.inter")
    (shop / "shop").rename(shop / "ml-100k")
    assert RecBoleDataModule("ml-100k", str(shop)).num_users == 3


def test_settings_without_effect_are_told(shop):
    with pytest.warns(UserWarning, match="eval_args has no effect here: the argument split"):
        make(shop, {"eval_args": {"split": {"RS": [8, 1, 1]}}}).load()


# ---- the process is left alone ---------------------------------------------------------------------------


def test_no_side_effects(shop, tmp_path, monkeypatch):
    import yaml
    from recbole.utils import dataset_arguments

    place = tmp_path / "cwd"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["train", "--rm_dup_inter=first", "--gpu_id=7"])

    def state():
        root = logging.getLogger()
        return (
            dict(os.environ),
            str(np.random.get_state()),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            (root.level, list(root.handlers)),
            str(yaml.FullLoader.yaml_implicit_resolvers),
            list(dataset_arguments),
            list(sys.path),
            sorted(vars(np)),
        )

    before = state()
    assert make(shop).num_users == 3
    RecBoleDataModule().load()
    assert state() == before
    assert list(place.iterdir()) == []
    assert token_sequences(make(shop))["u2"] == list("bada")  # --rm_dup_inter was not read


# ---- RecBole's own leave-one-out -------------------------------------------------------------------------


def recbole_pairs(module, folder):
    """(user, target) tokens of train, valid and test, split by RecBole itself.

    RecBole orders by float32, so the file it is given has the rank of each time instead of the time.
    """
    from recbole.data.dataset import SequentialDataset

    from lightning_croloss.data.recbole.loading import LoadingConfig

    data = module.interactions
    ranks = data.times.unique(return_inverse=True)[1].tolist()
    assert max(ranks) < 2**24
    users, items = data.user_vocabulary.decode(data.users), data.item_vocabulary.decode(data.items)
    shuffled = np.random.default_rng(0).permutation(len(ranks)).tolist()
    lines = "".join(f"{users[e]}\t{items[e]}\t{ranks[e]}\n" for e in shuffled)
    (folder / "ranked.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + lines)
    config = LoadingConfig("ranked", folder, {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}})
    config["eval_args"] = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = SequentialDataset(config)
        parts = dataset.build()
    return [
        list(
            zip(
                dataset.id2token("user_id", part.inter_feat["user_id"].numpy()).tolist(),
                dataset.id2token("item_id", part.inter_feat["item_id"].numpy()).tolist(),
                strict=True,
            )
        )
        for part in parts
    ]


@pytest.mark.slow
def test_leave_one_out_equals_recboles(bundled, tmp_path):
    data, rows = bundled.interactions, bundled.rows
    assert isinstance(bundled.split, LeaveOneOut)
    assert (bundled.num_items, bundled.num_users, len(data)) == (1682, 943, 100_000)
    # ties are broken arbitrarily by RecBole: of each part, compare the users whose times decide it
    decided = {"train": set(), "valid": set(), "test": set()}
    for number, token in enumerate(data.user_vocabulary.tokens, start=1):
        later = data.times[data.user_offsets[number] : data.user_offsets[number + 1]].diff() > 0
        decided["test"] |= {token} if later[-1] else set()
        decided["valid"] |= {token} if later[-2:].all() else set()
        decided["train"] |= {token} if later[0] and later[-2] else set()
    assert {part: len(users) for part, users in decided.items()} == {"train": 224, "valid": 344, "test": 528}
    theirs = recbole_pairs(bundled, tmp_path)
    for (part, users), their_pairs in zip(decided.items(), theirs, strict=True):
        events = getattr(rows, part).first
        our_pairs = list(
            zip(
                data.user_vocabulary.decode(data.users[events]),
                data.item_vocabulary.decode(data.items[events]),
                strict=True,
            )
        )
        assert len(our_pairs) == len(their_pairs)
        assert sorted(p for p in our_pairs if p[0] in users) == sorted(
            p for p in their_pairs if p[0] in users
        )


# ---- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (
            {"load_col": {"inter": ["user_id", "item_id", "ratin"]}},
            DataError,
            "'ratin', which is not a column of shop.inter; .* 'rating'",
        ),
        (
            {"load_col": {"inter": ["user_id"]}},
            ValueError,
            r"names 'item_id', which .* to load_col\['inter'\]",
        ),
        ({"load_col": ["user_id"]}, ValueError, "load_col=.* must be a dictionary of file extensions"),
        ({"val_interval": {"ratings": "[4,inf)"}}, DataError, "val_interval names 'ratings'.* mean 'rating'"),
        ({"val_interval": {"rating": "4"}}, ValueError, r"val_interval\['rating'\]='4' must be an interval"),
        ({"val_interval": {"kind": "x"}}, ValueError, r"val_interval\['kind'\]='x' must be a list"),
        (
            {"val_interval": {"rating": "[4,9]"}, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
            ValueError,
            "names 'rating', which load_col does not load",
        ),
        ({"user_inter_num_interval": "5"}, ValueError, "user_inter_num_interval='5' must be an interval"),
        ({"item_inter_num_interval": "[9,5]"}, ValueError, r"item_inter_num_interval='\[9,5\]' must be"),
        ({"item_inter_num_intervals": "[5,9]"}, ValueError, "did you mean 'item_inter_num_interval'"),
        ({"rm_dup_inter": True}, ValueError, "rm_dup_inter=True must be 'first' or 'last'"),
        (
            {"user_inter_num_interval": "[50,inf)"},
            DataError,
            r"nothing is left of shop\.inter .*user.*'\[50,inf\)'",
        ),
        ({"benchmark_filename": ["train"]}, ValueError, "benchmark_filename is not supported"),
        ({"USER_ID_FIELD": "user"}, DataError, "USER_ID_FIELD names 'user'.*did you mean 'user_id'"),
        ({"ITEM_ID_FIELD": "rating"}, DataError, "column 'rating' of shop.inter is of type 'float'"),
        ({"TIME_FIELD": "item_id"}, DataError, "the time must be of type 'float'"),
        ({"alias_of_item_id": ["item_list"]}, DataError, "alias_of_item_id names 'item_list'"),
        (
            {"load_col": None, "alias_of_user_id": ["rating"]},
            DataError,
            "alias_of_user_id names 'rating', .* 'float': it must be",
        ),
        (
            {"load_col": None, "alias_of_user_id": ["kind"], "alias_of_item_id": ["kind"]},
            ValueError,
            "column 'kind' is named as one of users .* and as one of items",
        ),
        ({"unload_col": {"inter": ["ratin"]}}, DataError, r"unload_col\['inter'\] names 'ratin'.* 'rating'"),
        ({"unload_col": {"inter": "my_timestamp"}}, ValueError, "unload_col=.* must be a dictionary of file"),
        (
            {"load_col": {"inter": ["user_id", "item_id"]}, "unload_col": {"inter": ["rating"]}},
            ValueError,
            "load_col and unload_col both name columns of 'inter'",
        ),
        (
            {"unload_col": {"inter": ["item_id"]}},
            ValueError,
            r"'item_id', which unload_col\['inter'\] leaves",
        ),
        ({"seq_len": {"kinds": 2}}, DataError, "seq_len names 'kinds', which is not a column .* 'kind'"),
        (
            {"seq_len": {"kind": 2}},
            DataError,
            "seq_len names 'kind', .*'token': it must be token_seq or float",
        ),
        (
            {"TIME_FIELD": "timestamp", "load_col": {"inter": ["user_id", "item_id"]}},
            ValueError,
            r"TIME_FIELD names 'timestamp', which load_col does not load: add it to load_col\['inter'\], or",
        ),
        (
            {"TIME_FIELD": "timestamp", "unload_col": {"inter": ["timestamp"]}},
            ValueError,
            r"TIME_FIELD names 'timestamp', which unload_col\['inter'\] leaves out: take it out there, or",
        ),
        ({"data_path": 5}, ValueError, "data_path=5 must be the folder"),
        ({5: "first"}, ValueError, "a RecBole setting is named 5"),
    ],
)
def test_one_clear_sentence(shop, config, error, message):
    with pytest.raises(error, match=message) as caught:
        RecBoleDataModule("shop", None if "data_path" in config else str(shop), config=config).load()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, DataError) == (error is DataError)


def test_places(shop, tmp_path):
    with pytest.raises(DataError, match=r"'ml-1m' is not bundled with RecBole \(bundled: ml-100k\)"):
        RecBoleDataModule("ml-1m").load()
    with pytest.raises(DataError, match="has no folder 'shap'; did you mean 'shop'"):
        RecBoleDataModule("shap", str(shop)).load()
    with pytest.raises(DataError, match="nowhere' is not a folder"):
        RecBoleDataModule("shop", str(tmp_path / "nowhere")).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no file empty\.inter"):
        RecBoleDataModule("empty", str(tmp_path)).load()
    with pytest.raises(ValueError, match=r"config_files names 'x\.yaml', which is not a file"):
        make(shop, config_files=["x.yaml"]).load()
    with pytest.raises(ValueError, match="must be a list"):
        make(shop, config_files="x.yaml")
    for content, message in (
        ("- 1\n", "must be a mapping"),
        ("a: [", "is not valid YAML"),
        ("a: 2024-13-45", "is not valid YAML: month"),
    ):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(ValueError, match=message):
            make(shop, config_files=[str(tmp_path / "bad.yaml")]).load()


def test_contents(shop):
    file = shop / "shop" / "shop.inter"
    file.write_text(INTER + "u1\ta\t1\t5\nu1\tb\t1\t\n")
    with pytest.raises(DataError, match=r"shop\.inter has no timestamp in line 3"):
        make(shop).load()
    file.write_text("user_id\titem_id:token\nu\ti\n")
    with pytest.raises(DataError, match=r"header of shop\.inter has 'user_id'"):
        make(shop).load()
