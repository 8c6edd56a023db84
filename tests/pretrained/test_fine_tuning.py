"""Starting from a pretrained model on other data: what is taken, and what is not."""

import re
import warnings
from dataclasses import replace

import pytest
import torch

from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss import (
    HSTU,
    BSARec,
    Caser,
    ESASRec,
    GRU4Rec,
    MatrixFactorization,
    SASRec,
    TwoTower,
    YouTubeDNN,
    load_matching,
    save_pretrained,
)
from lightning_croloss.cli import main
from lightning_croloss.data import Interactions, Vocabulary
from lightning_croloss.errors import PretrainedError
from tests.data_for_tests import ClusteredData, EventData, FeaturedData, fit, small_model
from tests.models.cases import EVENT_FEATURES, FEATURES, ITEM_FEATURES


class Shuffled(ClusteredData):
    """The items in another order, those from 30 on with other names."""

    def load(self) -> Interactions:
        events = super().load()
        names = [f"item {39 - place}" if place >= 10 else f"new {place}" for place in range(40)]
        return Interactions.from_ids(
            events.users.numpy(), events.items.numpy(), events.user_vocabulary, Vocabulary(names)
        )


def pretrained_on(data, cls=YouTubeDNN, **arguments):
    torch.manual_seed(1)
    model = cls(**{"num_items": 40, "embedding_dim": 8, "ns": (5,), **arguments})
    fit(model, data, limit_train_batches=3)
    return model


def test_embeddings_of_features_of_events_are_taken_where_their_rows_mean_the_same():
    pretrained = pretrained_on(EventData(), GRU4Rec, **EVENT_FEATURES)
    data = EventData(num_users=30)  # whose numbers have another mean, and whose tokens are the same
    model = GRU4Rec(40, embedding_dim=8, ns=(5,), event_features=data.event_feature_specs)
    found = load_matching(model, pretrained, data)
    assert found.left == {"event_feature_embedding.embeddings.0.weight": "rating has other values"}
    theirs, ours = (each.event_feature_embedding.embeddings for each in (pretrained, model))
    assert [torch.equal(one.weight, other.weight) for one, other in zip(ours, theirs, strict=True)] == [
        False,
        True,
        True,
    ]


class Timed(EventData):
    """Its times are since 1970, in a unit of a given size, or dates."""

    per_second = 1
    are_dates = False

    def load(self) -> Interactions:
        data = super().load()
        times = (1_600_000_000 + data.times % 10**8) * self.per_second
        return replace(data, times=times, has_dates=self.are_dates)


class InMilliseconds(Timed):
    per_second = 1000


class Dated(Timed):
    per_second = 10**9
    are_dates = True


@pytest.mark.parametrize(
    ("cls", "arguments"), [(HSTU, {}), (HSTU, EVENT_FEATURES), (GRU4Rec, EVENT_FEATURES)]
)
@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (Timed, Timed, ""),
        (Timed, Dated, ""),  # whose times are seconds, too
        (Dated, Timed, ""),
        (Timed, InMilliseconds, "in seconds, the data's are in milliseconds"),
        (InMilliseconds, Dated, "in milliseconds, the data's are in seconds"),
        (EventData, Timed, "of about .*, the data's are in seconds"),
    ],
)
def test_what_is_learned_of_times_is_taken_if_they_are_in_the_same_unit(cls, arguments, before, now, said):
    pretrained = pretrained_on(before(), cls, **arguments)
    model = cls(40, embedding_dim=8, ns=(5,), **arguments)
    names = {name for name in model.state_dict() if "time_bias" in name}
    names |= {"event_feature_embedding.embeddings.2.weight"} if arguments else set()
    assert names == set(model.time_parameters())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load_matching(model, pretrained, now())
    told = [str(one.message) for one in caught if "times of events" in str(one.message)]
    if not said:
        assert not told
        assert not found.left
    else:
        assert found.left.keys() == names
        (sentence,) = told
        assert re.search(
            f"the pretrained model was trained with times of events {said}: what it has", sentence
        )
        assert all(re.search(said, why) for why in found.left.values())


def test_numbers_of_a_file_that_does_not_know_their_unit_are_no_dates():
    pretrained = pretrained_on(Timed(), HSTU)
    pretrained.metadata.events = EventInputs("numbers")  # as an earlier release wrote it
    for data, differ in ((InMilliseconds(), False), (Dated(), True)):
        model = HSTU(40, embedding_dim=8, ns=(5,))
        assert bool(load_matching(model, pretrained, data).left) == differ


@pytest.mark.parametrize("cls", [YouTubeDNN, TwoTower, GRU4Rec, SASRec, BSARec, Caser])
def test_items_follow_their_tokens(cls):
    pretrained, data = pretrained_on(ClusteredData(), cls), Shuffled()
    torch.manual_seed(2)
    model = cls(num_items=40, embedding_dim=8, ns=(5,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = load_matching(model, pretrained, data)
    assert (found.num_items, found.num_matched, found.num_pretrained) == (40, 30, 40)
    assert found.left == {}
    theirs = dict(zip(pretrained.metadata.item_vocabulary.tokens, range(1, 41), strict=True))
    table, source = model.item_embedding.weight, pretrained.item_embedding.weight
    for number, token in enumerate(data.item_vocabulary.tokens, start=1):
        expected = source[theirs[token]] if token in theirs else before["item_embedding.weight"][number]
        assert torch.equal(table[number], expected)
    assert not table[0].any()
    for name, value in model.state_dict().items():
        if name != "item_embedding.weight":
            assert torch.equal(value, pretrained.state_dict()[name]), name


@pytest.mark.parametrize("cls", [SASRec, ESASRec])
def test_positions_are_taken_if_they_count_from_the_same_end(cls):
    pretrained = pretrained_on(ClusteredData(), cls)
    for train_on, left in (("last", set()), ("all", {"place_embedding.weight"})):
        torch.manual_seed(2)
        model = cls(num_items=40, embedding_dim=8, ns=(5,), train_on=train_on)
        assert load_matching(model, pretrained, ClusteredData()).left.keys() == left
        same = torch.equal(model.place_embedding.weight, pretrained.place_embedding.weight)
        assert same == (train_on == "last")
        assert torch.equal(
            model.blocks[0].query_key_value.weight, pretrained.blocks[0].query_key_value.weight
        )


def test_weights_of_other_blocks_are_refused():
    with pytest.raises(PretrainedError, match="is a SASRec, the model to train a ESASRec: choose one of"):
        load_matching(
            ESASRec(40, embedding_dim=8, ns=(5,)), pretrained_on(ClusteredData(), SASRec), ClusteredData()
        )


def test_the_same_data_gives_the_same_model():
    arguments = {**FEATURES, "use_user_id": True}
    pretrained = pretrained_on(FeaturedData(), TwoTower, **arguments)
    torch.manual_seed(2)
    model = TwoTower(num_items=40, embedding_dim=8, ns=(5,), **arguments)
    found = load_matching(model, pretrained, FeaturedData())
    assert (found.num_matched, found.left) == (40, {})
    for name, value in model.state_dict().items():
        if ".table_" not in name and name != "seen_items":  # what the data says in setup
            assert torch.equal(value, pretrained.state_dict()[name]), name


class OtherGenres(FeaturedData):
    """The genres have other numbers, and the users other names."""

    def load(self) -> Interactions:
        events = super().load()
        names = [f"person {number}" for number in range(60)]
        return Interactions.from_ids(
            events.users.numpy(), events.items.numpy(), Vocabulary(names), events.item_vocabulary
        )

    def load_features(self):
        items, users = super().load_features()
        values = items[0].values
        items[0].values.copy_(torch.where(values > 0, values.max() + 1 - values, 0))
        return items, users


def test_features_with_other_values_and_other_users_keep_their_start():
    arguments = {**FEATURES, "use_user_id": True}
    pretrained = pretrained_on(FeaturedData(), TwoTower, **arguments)
    torch.manual_seed(2)
    model = TwoTower(num_items=40, embedding_dim=8, ns=(5,), **arguments)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = load_matching(model, pretrained, OtherGenres())
    kept = {name for name in before if torch.equal(before[name], model.state_dict()[name])}
    expected = {
        "user_embedding.weight",
        "item_feature_embedding.embeddings.0.weight",
        "user_feature_embedding.embeddings.0.weight",
        "user_feature_embedding.embeddings.1.weight",
    }
    assert set(found.left) == expected
    assert expected <= kept
    assert "item_feature_embedding.embeddings.1.weight" not in kept
    assert "genre has other values" in str(found)
    assert "other users" in str(found)


def test_what_the_pretrained_model_has_seen_counts_as_seen():
    pretrained = pretrained_on(FeaturedData(), **ITEM_FEATURES)
    data = FeaturedData(cold=True)
    plain, tuned = (small_model(**ITEM_FEATURES, hidden_dims=(128,)) for _ in range(2))
    load_matching(tuned, pretrained, data)
    for model in (plain, tuned):
        fit(model, data, limit_train_batches=1)
    cold = torch.tensor(data.cold_items).flatten()
    cold = cold[data.item_counts[cold] == 0]
    assert len(cold)
    assert not plain.seen_items[cold].any()
    assert tuned.seen_items[cold].all()


def test_users_of_matrix_factorization():
    pretrained = pretrained_on(ClusteredData(), MatrixFactorization, num_users=60)
    model = MatrixFactorization(num_items=40, num_users=60, embedding_dim=8, ns=(5,))
    assert load_matching(model, pretrained, ClusteredData()).left == {}
    assert torch.equal(model.user_embedding.weight, pretrained.user_embedding.weight)


def test_refuses():
    pretrained = pretrained_on(ClusteredData())
    for model, data, said in [
        (GRU4Rec(num_items=40, ns=(5,)), ClusteredData(), "is a YouTubeDNN, the model to train a GRU4Rec"),
        (YouTubeDNN(num_items=40, embedding_dim=16, ns=(5,)), ClusteredData(), "other widths"),
        (small_model(hidden_dims=(9,)), ClusteredData(), "other widths"),
        (small_model(), ClusteredData(item_prefix="thing "), "none of the data's 40 items is known"),
    ]:
        with pytest.raises(PretrainedError, match=said):
            load_matching(model, pretrained, data)
    with pytest.raises(PretrainedError, match="the pretrained model knows no tokens"):
        load_matching(small_model(), small_model(), ClusteredData())


FIT = [
    "fit",
    "--model=YouTubeDNN",
    "--model.init_args.embedding_dim=8",
    "--model.init_args.ns=[5]",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.limit_val_batches=2",
    "--trainer.limit_test_batches=2",
]


@pytest.mark.slow
def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_pretrained(pretrained_on(ClusteredData()), "model")
    data = "--data=tests.pretrained.test_fine_tuning.Shuffled"
    main([*FIT, data, "--pretrained=model", "--trainer.max_epochs=0", "--test_after_fit=false"])
    assert "30 of 40 items start from the pretrained model's 40" in capsys.readouterr().err

    whole = [*FIT, data, "--trainer.max_epochs=2", "--trainer.limit_train_batches=3"]
    main([*whole, "--pretrained=model"])
    main([*FIT, data, "--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--pretrained=model"])
    folder = sorted((tmp_path / "runs" / "croloss").iterdir(), key=lambda path: int(path.name.split("_")[1]))
    capsys.readouterr()
    (checkpoint,) = (folder[-1] / "checkpoints").glob("*.ckpt")
    main([*whole, f"--ckpt_path={checkpoint}", "--pretrained=model"])
    said = capsys.readouterr().err
    assert "items start from" not in said

    def weights(path):
        newest = max((path / "checkpoints").glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
        return torch.load(newest, weights_only=True)["state_dict"]

    interrupted, uninterrupted = weights(folder[-1]), weights(folder[-2])
    assert all(torch.equal(interrupted[name], uninterrupted[name]) for name in uninterrupted)

    with pytest.raises(SystemExit):
        main([*FIT, data, "--pretrained=modle"])
    assert "there is no pretrained model 'modle'" in capsys.readouterr().err
