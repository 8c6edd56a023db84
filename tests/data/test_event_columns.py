"""Times and features of events: what batches hold of them is what the events have, column by column."""

import functools
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.time_units import unit_of
from lightning_croloss import (
    HSTU,
    BERT4Rec,
    FullCatalogNegatives,
    GRU4Rec,
    SASRec,
    SoftmaxLoss,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.data import DataRequest, Interactions, Predefined, RecBoleDataModule, Vocabulary
from lightning_croloss.data.batch import EventValues, RetrievalBatch
from lightning_croloss.data.event_columns import EventColumn, EventTable
from lightning_croloss.data.sequences import SequenceDataset
from lightning_croloss.data.splits import LeaveOneOut
from lightning_croloss.errors import DataError, PretrainedError
from tests.data_for_tests import ClusteredData, EventData, fit, quiet_trainer
from tests.models.cases import EVENT_FEATURES


def interactions(lengths, seed, **kwargs):
    """Events in any order whose time, rating and kind tell their item."""
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.repeat(np.arange(1, len(lengths) + 1), lengths))
    items = rng.permutation(len(users)) + 1
    columns = (
        EventColumn.of_numbers("rating", items * 0.5),
        EventColumn.of_texts("kind", [f"kind {item % 3}" if item % 4 else "" for item in items]),
    )
    return Interactions.from_ids(
        users,
        items,
        Vocabulary([f"user {number}" for number in range(len(lengths))]),
        Vocabulary([f"item {number}" for number in range(len(users))]),
        times=items * 10,
        columns=columns,
        **kwargs,
    )


def assert_tells_the_history(batch, inputs):
    """Fail unless the times and features at each position are those of its item."""
    rating, kind = inputs.encodings
    assert batch.events.width == batch.history.shape[1]
    for row, history in enumerate(batch.history.tolist()):
        for place, item in enumerate(history):
            time, (rated, token) = batch.events.times[row, place], batch.events.features
            assert int(time) == 10 * item
            expected = rating.encode([item * 0.5 if item else None])[0, 0]
            assert float(rated[row, place]) == pytest.approx(expected, nan_ok=True)
            known = kind.tokens.encode([f"kind {item % 3}"])[0] if item and item % 4 else 0
            assert int(token[row, place]) == known


@settings(max_examples=20)
@given(
    st.lists(st.integers(2, 7), min_size=2, max_size=5),
    st.integers(0, 1000),
    st.integers(1, 8),
    st.booleans(),
)
def test_each_position_has_the_values_of_its_event(lengths, seed, max_history, all_positions):
    data = interactions(lengths, seed)
    everything = torch.ones(len(data), dtype=torch.bool)
    inputs = EventInputs("numbers", tuple(column.learn(everything) for column in data.columns))
    rows = LeaveOneOut().assign(data)
    table = EventTable.of(data.columns, data.whole_times, inputs)
    dataset = SequenceDataset(
        data, rows.train, max_history, False, rows.training_events, False, all_positions, events=table
    )
    batch = dataset.__getitems__(torch.arange(len(dataset)))
    assert_tells_the_history(batch, inputs)
    assert_tells_the_history(batch.last_events(2), inputs)
    assert_tells_the_history(batch.select(torch.arange(len(dataset)).flip(0)), inputs)
    assert_tells_the_history(batch[0:1].to("cpu"), inputs)


class Written(ClusteredData):
    def load(self):
        return interactions([8] * 30, 3, parts=np.arange(240) % 3 if self.parts else None)

    parts = False


def test_all_loaders_hold_what_the_model_reads_and_no_more():
    data = Written()
    for inputs in (data.event_inputs, EventInputs(), EventInputs("numbers")):
        data.prepare_for(DataRequest(events=inputs))
        for loader in (
            data.train_dataloader,
            data.val_dataloader,
            data.test_dataloader,
            data.predict_dataloader,
        ):
            batch = next(iter(loader()))
            if inputs.encodings:
                assert_tells_the_history(batch, inputs)
            else:
                assert (batch.events is None) == (not inputs)
                assert batch.events is None or (not batch.events.features and batch.events.times.any())


def test_a_validation_part_that_is_drawn_takes_the_columns_along():
    data = Written(split=Predefined(valid=0.3))
    data.parts = True
    whole = data.load()
    chosen = np.flatnonzero((whole.parts != 1).numpy())
    data.load = lambda: Interactions.from_ids(
        whole.users[chosen].numpy(),
        whole.items[chosen].numpy(),
        whole.user_vocabulary,
        whole.item_vocabulary,
        whole.times[chosen].numpy(),
        parts=whole.parts[chosen].numpy(),
        columns=[column[chosen] for column in whole.columns],
    )
    assert (data.interactions.parts == 1).any()
    data.prepare_for(DataRequest(events=data.event_inputs))
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
        assert_tells_the_history(next(iter(loader())), data.event_inputs)


def test_columns_are_learned_from_the_training_events():
    column = EventColumn.of_texts("kind", ["a", "b", "new", "", "a"])
    training = torch.tensor([True, True, False, True, True])
    encoding = column.learn(training)
    assert encoding.tokens.tokens == ["a", "b"]
    assert column.encoded(encoding).tolist() == [1, 2, 0, 0, 1]  # unknown as missing
    numbers = EventColumn.of_numbers("rating", [1.0, 3.0, 900.0, np.nan, 1.0])
    learned = numbers.learn(training)
    assert learned.standardisation.center == pytest.approx(5 / 3)
    assert numbers.encoded(learned).isnan().tolist() == [False, False, False, True, False]
    for useless in (
        EventColumn.of_texts("kind", ["a", "a", "b", "", "a"]),
        EventColumn.of_numbers("kind", [2] * 5),
    ):
        with pytest.raises(DataError, match="column 'kind' is the same everywhere in the training events"):
            useless.learn(training)
    with pytest.raises(DataError, match="column 'kind' is missing everywhere"):
        EventColumn.of_texts("kind", ["", "", "b", "", None]).learn(training)


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(DataError, match="column 'rating' has 2 rows, but users has 3"):
        Interactions.from_columns(
            ["u"] * 3, ["a", "b", "c"], columns=[EventColumn.of_numbers("rating", [1.0, 2.0])]
        )


def test_a_recbole_dataset_has_its_columns():
    data = RecBoleDataModule(
        event_features=["rating:categorical", "timestamp"], config={"item_inter_num_interval": "[50,inf)"}
    )
    assert data.event_feature_specs == [
        {"name": "rating", "kind": "categorical", "size": 6, "width": 1},
        {"name": "timestamp", "kind": "time", "size": 0, "width": 1},
    ]
    whole = RecBoleDataModule(event_features=["rating:categorical"]).interactions
    of_whole, of_some = (
        {
            (data.user_vocabulary.tokens[user - 1], data.item_vocabulary.tokens[item - 1]): (time, rating)
            for user, item, time, rating in zip(
                data.users.tolist(),
                data.items.tolist(),
                data.times.tolist(),
                [data.columns[0].tokens[number - 1] for number in data.columns[0].values.tolist()],
                strict=True,
            )
        }
        for data in (whole, data.interactions)
    )
    assert len(of_some) < len(of_whole)
    assert all(of_whole[pair] == values for pair, values in of_some.items())
    assert of_whole["196", "242"] == (881250949.0, "3.0") or of_whole["196", "242"] == (881250949.0, "3")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ["ratin"],
            "event_features names 'ratin', which is not a column of ml-100k.inter; did you mean 'rating'",
        ),
        (
            ["item_id"],
            "event_features names 'item_id', which is the item, which every model reads; take it out",
        ),
        (
            ["user_id"],
            "event_features names 'user_id', which is the user, who is the same in all of a history",
        ),
        (
            ["timestamp:numeric"],
            "'timestamp' holds the times, which are read as times: write 'timestamp' alone",
        ),
        (["rating:multi"], "event_features names 'rating:multi': a feature of events is one value an event"),
        (["rating:number"], "event_features names 'rating:number': a feature of events is one value"),
        (["user_id:number"], "event_features names 'user_id', which is the user"),
        (["rating", "rating:categorical"], "event_features names 'rating' twice: take one out"),
    ],
)
def test_columns_that_are_no_features_of_events(wanted, message):
    with pytest.raises(ValueError, match=message):
        RecBoleDataModule(event_features=wanted).interactions  # noqa: B018


def test_features_teach_what_items_do_not():
    """The kind of the last event says which of two items comes next."""

    class Told(ClusteredData):
        def load(self):
            rng = np.random.default_rng(0)
            kinds = rng.integers(0, 2, (200, 6))
            items = np.concatenate([np.ones((200, 1), dtype=int), 1 + kinds[:, :-1]], axis=1)
            return Interactions.from_ids(
                np.repeat(np.arange(1, 201), 6),
                items.reshape(-1),
                Vocabulary([f"u{number}" for number in range(200)]),
                Vocabulary([f"i{number}" for number in range(2)]),
                columns=[EventColumn.of_texts("kind", [("x", "y")[kind] for kind in kinds.reshape(-1)])],
            )

    found = {}
    for features in (Told().event_feature_specs, ()):
        torch.manual_seed(0)
        optimizer = functools.partial(torch.optim.Adam, lr=0.03)
        arguments = {
            "embedding_dim": 8,
            "ns": (1,),
            "negatives": FullCatalogNegatives(),
            "optimizer": optimizer,
        }
        model = GRU4Rec(2, loss=SoftmaxLoss(), hidden_dims=(16,), event_features=features, **arguments)
        trainer = fit(model, Told(seed=0), max_epochs=8)
        found[bool(features)] = float(trainer.callback_metrics["val/recall@1"])
    assert found[True] > 0.95
    assert found[False] < 0.75


def test_masks_have_no_features_and_tell_nothing_of_their_events():
    torch.manual_seed(0)
    model = BERT4Rec(40, embedding_dim=8, num_blocks=1, ns=(5,), **EVENT_FEATURES).eval()
    model.metadata.events = EventData().event_inputs
    window = torch.randint(1, 41, (2, 7))
    masked = torch.zeros(2, 6, dtype=torch.bool)
    masked[:, 2] = True  # the event at position 3 of the window
    model._choose = lambda targets: (masked, torch.ones_like(masked))
    users = []
    for changed in (None, 3, 1):
        ratings, kinds = torch.arange(12.0).view(2, 6), torch.ones(2, 6, dtype=torch.long)
        times = torch.arange(12).view(2, 6) * 1000
        if changed is not None:
            ratings[:, changed], kinds[:, changed], times[:, changed] = 99, 2, times[:, changed] + 400
        batch = RetrievalBatch(
            window[:, :-1], window[:, 1:], torch.ones(2).long(), events=EventValues(times, [ratings, kinds])
        )
        users.append(model.training_users(batch)[0])
    assert torch.equal(users[1], users[0])
    assert not torch.equal(users[2], users[0])


def test_a_model_of_other_columns_is_refused():
    features = EVENT_FEATURES["event_features"][:2]  # without the times, which are refused before
    model = SASRec(40, embedding_dim=8, ns=(5,), event_features=features)
    with pytest.raises(
        ValueError, match=r"built for other features of events .*: give the model data.event_fe"
    ):
        fit(model, ClusteredData())
    fit(model, EventData(), limit_train_batches=1)
    with pytest.raises(
        DataError, match=r"reads 'rating' of events \(numeric\), but has no such column: name it"
    ):
        quiet_trainer().validate(model, ClusteredData(), verbose=False)


def test_a_model_without_features_ignores_those_of_the_data():
    model = SASRec(40, embedding_dim=8, ns=(5,))
    fit(model, EventData(), limit_train_batches=1)
    assert not model.metadata.events
    assert model.recommend([[1, 2]], 5)[0].shape == (1, 5)


def test_another_split_is_read_as_training_was(tmp_path):
    model = SASRec(40, embedding_dim=8, ns=(5,), **EVENT_FEATURES)
    trainer = fit(model, EventData(), limit_train_batches=1)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = SASRec.load_from_checkpoint(tmp_path / "model.ckpt")
    assert again.metadata.events == model.metadata.events
    data = EventData(num_users=30)
    assert data.event_inputs != model.metadata.events
    quiet_trainer().validate(again, data, verbose=False)
    assert data.request.events == model.metadata.events


def test_a_column_of_events_in_another_spelling_is_the_same():
    floats = EventColumn.of_texts("x", ["5.0", "2.0", None, "5.0"])
    whole = EventColumn.of_texts("x", ["2", "5", "9", None])
    everything = torch.ones(4, dtype=torch.bool)
    for trained, other in ((floats, whole), (whole, floats)):
        encoding = trained.learn(everything)
        ids = dict(zip(map(float, encoding.tokens.tokens), (1, 2, 3), strict=False))
        for column in (trained, other):
            texts = ["", *column.tokens]
            expected = [ids.get(float(texts[value] or "nan"), 0) for value in column.values]
            assert column.encoded(encoding).tolist() == expected


class Timed(EventData):
    """Its times are since 1970, in a unit of a given size."""

    per_second = 1

    def load(self):
        data = super().load()
        return replace(data, times=(1_600_000_000 + data.times % 10**8) * self.per_second)


class InMilliseconds(Timed):
    per_second = 1000


def timed_model(cls=HSTU, **arguments):
    torch.manual_seed(0)
    return cls(40, embedding_dim=8, num_blocks=1, max_length=10, ns=(5,), **arguments)


@pytest.mark.parametrize(("cls", "arguments"), [(HSTU, {}), (SASRec, EVENT_FEATURES)])
def test_data_in_another_unit_of_time_is_refused_by_what_was_trained(tmp_path, cls, arguments):
    model = timed_model(cls, **arguments)
    trainer = fit(model, Timed(), limit_train_batches=1)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    save_pretrained(model, tmp_path / "model")
    message = "trained with times of events in seconds, the data's are in milliseconds: give them in seconds"
    for again in (
        model,
        cls.load_from_checkpoint(tmp_path / "model.ckpt"),
        load_pretrained(tmp_path / "model"),
    ):
        with pytest.raises(ValueError, match=message):
            quiet_trainer().validate(again, InMilliseconds(), verbose=False)
        quiet_trainer().validate(again, Timed(num_users=30), verbose=False)
    with pytest.raises(ValueError, match=message):
        quiet_trainer(max_epochs=2).fit(
            timed_model(cls, **arguments), InMilliseconds(), ckpt_path=tmp_path / "model.ckpt"
        )


def test_times_of_no_known_unit_and_of_another_size_are_told(tmp_path):
    model = timed_model()
    fit(model, EventData(), limit_train_batches=1)
    assert unit_of(model.metadata.events.typical_time) is None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*times of events")
        quiet_trainer().validate(model, EventData(num_users=30), verbose=False)
    with pytest.warns(UserWarning, match=r"times of events of about .*, the data's are in milliseconds: are"):
        quiet_trainer().validate(model, InMilliseconds(), verbose=False)


def test_a_checkpoint_that_does_not_know_its_unit_learns_it_from_its_next_training(tmp_path):
    fit(timed_model(), Timed(), limit_train_batches=1).save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    del content["lightning_croloss"]["events"]["typical_time"]  # as an earlier release wrote it
    torch.save(content, tmp_path / "old.ckpt")
    model = HSTU.load_from_checkpoint(tmp_path / "old.ckpt")
    quiet_trainer().validate(model, InMilliseconds(), verbose=False)
    assert model.metadata.events.typical_time is None
    fit(model, Timed(), limit_train_batches=1)
    assert unit_of(model.metadata.events.typical_time) == "seconds"
    resumed = timed_model()
    quiet_trainer(max_epochs=2, limit_train_batches=1).fit(resumed, Timed(), ckpt_path=tmp_path / "old.ckpt")
    assert unit_of(resumed.metadata.events.typical_time) == "seconds"


def test_resume_on_other_values_is_refused(tmp_path):
    fit(
        SASRec(40, embedding_dim=8, ns=(5,), **EVENT_FEATURES), EventData(), limit_train_batches=1
    ).save_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="trained with other times or features of events than the data's"):
        fit(
            SASRec(40, embedding_dim=8, ns=(5,), **EVENT_FEATURES),
            EventData(num_users=30),
            ckpt_path=tmp_path / "model.ckpt",
        )


def another_kind(events):
    return {**events, "features": events["features"][::-1]}


def another_token(events):
    number, text = events["features"]
    return {**events, "features": [number, {**text, "tokens": [*text["tokens"], "sell"]}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda events: None, "other features of events than the weights are for"),
        (another_kind, "other features of events than the weights are for"),
        (another_token, "other features of events than the weights are for"),
        (lambda events: {**events, "times": None}, "does not say what the times of events are"),
    ],
)
def test_a_checkpoint_that_reads_events_in_another_way_is_refused(tmp_path, change, message):
    model = SASRec(40, embedding_dim=8, ns=(5,), **EVENT_FEATURES)
    fit(model, EventData(), limit_train_batches=1).save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    content["lightning_croloss"]["events"] = change(content["lightning_croloss"]["events"])
    torch.save(content, tmp_path / "model.ckpt")
    with pytest.raises(PretrainedError, match=message):
        load_pretrained(tmp_path / "model.ckpt")
    with pytest.raises(PretrainedError, match=message):
        SASRec.load_from_checkpoint(tmp_path / "model.ckpt")


def test_events_keep_their_values_wherever_padding_stands():
    model = SASRec(40, embedding_dim=8, ns=(5,), **EVENT_FEATURES)
    fit(model, EventData(), limit_train_batches=1)
    expected = model.recommend(
        [[1, 2]], 5, times=[[10, 9000]], event_features={"rating": [[1, 5]], "kind": [["buy", "view"]]}
    )
    for row in ([0, 1, 2], [1, 0, 2], [1, 2, 0]):
        places = [row.index(1), row.index(2)]

        def spread(first, last, nothing, places=places):
            values = [nothing] * 3
            values[places[0]], values[places[1]] = first, last
            return [values]

        given = {
            "times": spread(10, 9000, 500),
            "event_features": {"rating": spread(1, 5, 3), "kind": spread("buy", "view", "cart")},
        }
        for histories in ([row], torch.tensor([row])):
            for found, wanted in zip(model.recommend(histories, 5, **given), expected, strict=True):
                assert torch.equal(found, wanted)
    with pytest.raises(ValueError, match=r"histories must have the shape \(B, L\)"):
        model.recommend(torch.tensor([1, 2]), 5, **given)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([{"name": "kind", "kind": "categorical"}], "must say the size of 'kind', at least 1, got None"),
        ([{"name": "kind", "kind": "categorical", "size": -1}], "size of 'kind', at least 1, got -1"),
        ([{"name": "a", "kind": "numeric"}] * 2, "name each feature once, and the times last"),
        (
            [{"name": "when", "kind": "time"}, {"name": "a", "kind": "numeric"}],
            "name each feature once, and the times last",
        ),
    ],
)
def test_specifications_that_no_data_gives(specs, message):
    with pytest.raises(ValueError, match=message):
        SASRec(40, embedding_dim=8, event_features=specs)
