"""Whom Trainer.predict serves: every user of the data, by the whole history, against a walk over the rows."""

import numpy as np
import polars as pl
import pytest
import torch

from lightning_croloss import MatrixFactorization, TwoTower, YouTubeDNN
from lightning_croloss.callbacks import PredictionWriter
from lightning_croloss.data import (
    DataRequest,
    GlobalTime,
    LeaveOneOut,
    PerUserRatio,
    TableDataModule,
    UserDisjoint,
)
from tests.data_for_tests import quiet_trainer

parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [tables]")

#: How many of the first 20 items each user has, in an order of its own; "rare" items have one event.
LENGTHS = [1, 2, 3, 10, 10, 10]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    random = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{item}", time * 100 - user)
        for user in range(60)
        for time, item in enumerate(random.permutation(20)[: LENGTHS[user % 6]])
    ]
    rows += [("only rare", "rare 1", 7), ("u3", "rare 2", 5_000)]
    path = tmp_path_factory.mktemp("table") / "events.parquet"
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    frame.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(path)
    return path


def histories(table):
    events = pl.read_parquet(table).sort("timestamp")
    return {
        user: [item for item in items if "rare" not in item]
        for user, items in events.group_by("user_id").agg("item_id").iter_rows()
    }


def data_of(table, split=None, **arguments):
    return TableDataModule(
        str(table),
        split=split,
        min_user_interactions=5,
        min_item_interactions=2,
        eval_batch_size=16,
        **arguments,
    )


@pytest.mark.parametrize("split", [LeaveOneOut(), PerUserRatio(), UserDisjoint(), GlobalTime(0.2, 0.2)])
def test_every_user_with_its_whole_history(table, split):
    data = data_of(table, split, max_history=4)
    data.prepare_for(DataRequest(whole_history=True))
    recipients = data.recipients
    assert (len(recipients), recipients.num_known, recipients.num_left_out) == (61, 30, 0)
    assert recipients.vocabulary.tokens[:30] == data.user_vocabulary.tokens
    expected, found = histories(table), {}
    for batch in data.predict_dataloader():
        assert not batch.targets.any()
        for number, user, whole, seen in zip(
            batch.recipients.tolist(), batch.users.tolist(), batch.items_before, batch.history, strict=True
        ):
            token = recipients.vocabulary.tokens[number - 1]
            assert user == (number if number <= 30 else 0)
            found[token] = data.item_vocabulary.decode(whole[whole != 0])
            assert data.item_vocabulary.decode(seen[seen != 0]) == found[token][-4:]
    assert found == expected


def test_models_of_known_users_have_no_others(table):
    data = data_of(table)
    data.prepare_for(DataRequest(known_users_only=True))
    assert (len(data.recipients), data.recipients.num_left_out) == (30, 31)


def test_the_test_rows_on_request(table):
    data = data_of(table, predict_users="test")
    assert data.recipients is None
    batches = list(data.predict_dataloader())
    assert torch.cat([batch.users for batch in batches]).tolist() == list(range(1, 31))
    assert all(batch.recipients is None and batch.targets.any() for batch in batches)
    with pytest.raises(ValueError, match="predict_users"):
        data_of(table, predict_users="everyone")


def test_without_filters_nothing_is_read_twice(table, monkeypatch):
    data = TableDataModule(str(table), min_user_interactions=1)
    assert data.load_unfiltered() is None
    assert len(data.recipients) == data.num_users == 61


def test_filters_that_left_nothing_out_read_nothing_again(tmp_path):
    path = tmp_path / "events.parquet"
    frame = pl.DataFrame({"user_id": [1, 2] * 4, "item_id": [1, 1, 2, 2, 3, 3, 4, 4], "timestamp": range(8)})
    frame.write_parquet(path)
    data = TableDataModule(str(path), min_user_interactions=3, min_item_interactions=2)
    data.rows  # noqa: B018
    path.unlink()
    assert len(data.recipients) == 2
    assert len(next(iter(data.predict_dataloader())).users) == 2


@pytest.mark.parametrize(
    ("cls", "arguments", "served", "said"),
    [
        (
            YouTubeDNN,
            {},
            61,
            "(61 users, 1 of them without anything that the model knows, who got the most pop",
        ),
        (TwoTower, {"use_user_id": True}, 61, "(61 users, 1 of them without"),
        (
            MatrixFactorization,
            {},
            30,
            "(30 users; 31 users left out, whom the filters of the data kept from tr",
        ),
    ],
)
@pytest.mark.parametrize("exclude_history", [True, False])
def test_what_is_written(table, tmp_path, capsys, cls, arguments, served, said, exclude_history):
    data = data_of(table)
    users = {} if cls is YouTubeDNN else {"num_users": data.num_users}
    torch.manual_seed(0)
    model = cls(num_items=data.num_items, embedding_dim=8, ns=(5,), **users, **arguments)
    model.predicts_n, model.predicts_unseen_only = 3, exclude_history
    output = tmp_path / "all.parquet"
    trainer = quiet_trainer(callbacks=[PredictionWriter(str(output))])
    trainer.predict(model, data, return_predictions=False)
    assert said in capsys.readouterr().out
    written = pl.read_parquet(output)
    assert written["user"].n_unique() == served
    expected = histories(table)
    for (user,), rows in written.group_by("user"):
        assert rows["rank"].to_list() == [1, 2, 3]
        known = model.knows_users and user in data.user_vocabulary.tokens
        ids = {"users": data.user_vocabulary.encode([user])} if known else {}
        history = data.item_vocabulary.encode(expected[user]).tolist()
        if not (known or history):  # the most popular items of training
            counts = data.item_counts[1:]
            best = counts.argsort(descending=True, stable=True)[:3]
            assert rows["item"].to_list() == data.item_vocabulary.decode(best + 1)
            assert rows["score"].to_list() == counts[best].tolist()
        else:
            given = {name: torch.from_numpy(value) for name, value in ids.items()}
            best, scores = model.recommend([history], 3, exclude_history=exclude_history, **given)
            assert rows["item"].to_list() == data.item_vocabulary.decode(best[0])
            assert rows["score"].to_list() == pytest.approx(scores[0].tolist(), abs=1e-6)


@pytest.mark.parametrize("source", ["table", "recbole"])
def test_users_that_training_left_out_are_known_by_their_features(tmp_path, monkeypatch, source):
    # user 7 has too few events, and the features and events of user 3 but the last ones
    rows = [(user, (user * 3 + time) % 20, time) for user in range(7) for time in range(6)]
    rows += [(7, item, time) for user, item, time in rows if user == 3 and time < 2]
    users = [(user, f"c{user % 4}", 20 + user % 3) for user in range(7)] + [(7, "c3", 20)]
    if source == "table":
        events = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
        events.write_parquet(tmp_path / "e.parquet")
        table = pl.DataFrame(users, schema=["user_id", "country", "age"], orient="row")
        table.write_csv(tmp_path / "u.csv")
        features = {"users": str(tmp_path / "u.csv"), "user_features": ["country", "age"]}
        data = TableDataModule(str(tmp_path / "e.parquet"), **features)
    else:
        pytest.importorskip("recbole", reason="needs the extra [recbole]")
        from lightning_croloss import RecBoleDataModule

        folder = tmp_path / "small"
        folder.mkdir()
        for name, header, lines in (
            ("inter", "user_id:token\titem_id:token\ttimestamp:float", rows),
            ("user", "user_id:token\tcountry:token\tage:float", users),
        ):
            text = "\n".join([header, *("\t".join(map(str, line)) for line in lines)])
            (folder / f"small.{name}").write_text(text + "\n")
        data = RecBoleDataModule(
            "small",
            str(tmp_path),
            config={"user_inter_num_interval": "[5,inf)"},
            user_features=["country", "age"],
        )
    assert data.num_users == 7
    torch.manual_seed(0)
    model = TwoTower(
        data.num_items,
        data.num_users,
        data.user_feature_specs,
        embedding_dim=8,
        ns=(3,),
        use_history=False,
        exclude_history=False,
    )
    model.predicts_n = 5
    # testing does not fill the features: that is what a fit does
    trainer = quiet_trainer(max_steps=1, limit_val_batches=0)
    trainer.fit(model, data)
    monkeypatch.chdir(tmp_path)
    quiet_trainer(callbacks=[PredictionWriter("all.parquet")]).predict(model, data, return_predictions=False)
    written = pl.read_parquet("all.parquet")
    lists = {int(user): part["item"].to_list() for (user,), part in written.group_by("user")}
    assert len(lists) == 8
    assert lists[7] == lists[3]
    assert lists[7] != lists[1]


def test_users_who_had_everything_are_counted(tmp_path, capsys):
    rows = [(user, item, item) for user in range(9) for item in range(6 if user == 4 else 5)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_parquet(
        tmp_path / "e.parquet"
    )
    data = TableDataModule(str(tmp_path / "e.parquet"))
    trainer = quiet_trainer(callbacks=[PredictionWriter(str(tmp_path / "all.parquet"), overwrite=True)])
    model = YouTubeDNN(num_items=6, embedding_dim=4, ns=(2,), exclude_history=True)
    for _ in range(2):  # each time anew
        trainer.predict(model, data, return_predictions=False)
        assert "(8 users; 1 users for whom no item is left have no rows)" in capsys.readouterr().out


def test_recbole_serves_those_that_its_filters_leave_out():
    pytest.importorskip("recbole", reason="needs the extra [recbole]")
    from lightning_croloss import RecBoleDataModule

    data = RecBoleDataModule(config={"user_inter_num_interval": "[300,inf)"})
    assert 0 < data.num_users < 100
    assert (len(data.recipients), data.recipients.num_known) == (943, data.num_users)
    assert RecBoleDataModule().load_unfiltered() is None


@pytest.mark.parametrize(
    ("arguments", "served", "said"),
    [
        ({"time_from": 41}, 50, "11 users left out, of whom the data leaves out all events (timestamp not"),
        ({"predict_users": "test"}, 30, "31 users left out, who have no row in the test part"),
        ({"predict_users": "test", "split": PerUserRatio(), "min_user_interactions": 1}, 50, "11 users left"),
        ({}, 61, None),
    ],
)
def test_users_that_are_not_served_are_counted(table, tmp_path, capsys, arguments, served, said):
    settings = {"min_user_interactions": 5, "min_item_interactions": 2} | arguments
    data = TableDataModule(str(table), **settings)
    model = YouTubeDNN(num_items=data.num_items, embedding_dim=4, ns=(2,))
    model.predicts_n = 3
    output = tmp_path / "out.parquet"
    trainer = quiet_trainer(callbacks=[PredictionWriter(str(output))])
    trainer.predict(model, data, return_predictions=False)
    summary = capsys.readouterr().out
    assert len(pl.read_parquet(output)["user"].unique()) == served
    assert (said in summary) if said else ("left out" not in summary)
