"""load_pretrained: the same model, or one clear error."""

import pytest
import torch

from lightning_croloss import (
    HSTU,
    MIND,
    NGCF,
    BERT4Rec,
    BSARec,
    Caser,
    ComiRecDR,
    ComiRecSA,
    ESASRec,
    GRU4Rec,
    LightGCN,
    MatrixFactorization,
    RetrievalModel,
    SASRec,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.models.layers import FeatureEmbedding
from tests.data_for_tests import ClusteredData, EventData, events_of, fit, small_model
from tests.models.cases import EVENT_FEATURES, FEATURES
from tests.pretrained.cases import HISTORIES, refused, rewrite_config, vouch_again

MODELS = [
    (YouTubeDNN, {}),
    (YouTubeDNN, FEATURES),
    (TwoTower, {**FEATURES, "use_user_id": True}),
    (TwoTower, {**FEATURES, "user_interactions": ["fm", "cross"]}),
    (TwoTower, {**FEATURES, "user_interactions": ["cross"], "separate_user_features": True}),
    (TwoTower, {**FEATURES, "item_interactions": ["fm", "cross"]}),
    (MIND, {}),
    (ComiRecSA, {}),
    (ComiRecDR, {}),
    (GRU4Rec, {}),
    (SASRec, {}),
    (ESASRec, {}),
    (HSTU, {}),
    (HSTU, EVENT_FEATURES),
    (BERT4Rec, {}),
    (BSARec, {}),
    (Caser, {}),
    (Caser, {"num_users": 60, "use_user_id": True}),
    (MatrixFactorization, {"num_users": 60}),
    (LightGCN, {"num_users": 60}),
    (NGCF, {"num_users": 60}),
]


@pytest.mark.parametrize(("cls", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_architecture_comes_back_bit_for_bit(cls, arguments, tmp_path):
    torch.manual_seed(0)
    model = cls(
        **{"num_items": 40, "embedding_dim": 8, "ns": (5, 10), "negatives": UniformNegatives(30), **arguments}
    )
    fit(model, EventData(), limit_train_batches=2)
    again = load_pretrained(save_pretrained(model, tmp_path / "model"))
    assert type(again) is cls
    assert again.metadata.events == model.metadata.events
    assert not again.training
    assert dict(again.hparams) == {name: dict(model.hparams)[name] for name in again.hparams}
    assert again.state_dict().keys() == model.state_dict().keys()
    given = {"users": torch.tensor([1, 2]), **events_of(model, HISTORIES)}
    for got, expected in zip(
        again.recommend(HISTORIES, 9, **given), model.recommend(HISTORIES, 9, **given), strict=True
    ):
        assert torch.equal(got, expected)
    # in half the space: what is no weight stays, and weights are read as float32 again
    half = load_pretrained(save_pretrained(model, tmp_path / "half", dtype="float16")).state_dict()
    for name, value in model.state_dict().items():
        is_weight = value.is_floating_point() and not FeatureEmbedding.is_table(name)
        torch.testing.assert_close(
            half[name], value.half().float() if is_weight else value, rtol=0, atol=0, equal_nan=True
        )


def test_the_facts_come_back(trained, saved):
    again = load_pretrained(saved)
    data = ClusteredData()
    assert again.metadata.item_vocabulary == data.item_vocabulary
    assert torch.equal(again.metadata.item_counts, data.item_counts)
    assert again.metadata.max_history == 5
    assert again.metadata.item_titles is None
    assert again.metadata.seed == trained.metadata.seed


@pytest.mark.parametrize("tokens", [list(range(100, 140)), [2**63 + n for n in range(40)], list("abcdé") * 8])
def test_tokens_keep_their_type(tokens, tmp_path):
    class Tokens(ClusteredData):
        def load(self):
            from lightning_croloss.data import Interactions, Vocabulary

            data = super().load()
            distinct = tokens if isinstance(tokens[0], int) else [f"{t}{n}" for n, t in enumerate(tokens)]
            return Interactions.from_ids(
                data.users.numpy(), data.items.numpy(), data.user_vocabulary, Vocabulary(distinct)
            )

    model = small_model()
    fit(model, Tokens(), limit_train_batches=1)
    again = load_pretrained(save_pretrained(model, tmp_path / "model"))
    assert again.metadata.item_vocabulary == model.metadata.item_vocabulary
    assert again.metadata.item_vocabulary.fingerprint() == model.metadata.item_vocabulary.fingerprint()


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_pretrained(saved)
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_of_a_run_loads_too(tmp_path):
    model = small_model(pooling="max")
    fit(model, limit_train_batches=2).save_checkpoint(tmp_path / "best.ckpt")
    again = load_pretrained(tmp_path / "best.ckpt")
    assert torch.equal(again.recommend(HISTORIES, 9)[1], model.recommend(HISTORIES, 9)[1])
    assert again.metadata.item_vocabulary == model.metadata.item_vocabulary


def test_a_model_can_be_trained_on_after_loading(saved):
    again = load_pretrained(saved)
    again.train()
    optimizer = again.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert list(optimizer.param_groups[0]["betas"]) == [0.8, 0.9]
    before = again.item_embedding.weight.clone()
    fit(again, limit_train_batches=1)
    assert not torch.equal(again.item_embedding.weight, before)


def test_weights_of_another_catalogue_or_architecture(saved, tmp_path):
    weights = saved / "model.safetensors"
    for name, model in {
        "catalogue": small_model(num_items=44),
        "architecture": GRU4Rec(num_items=40, embedding_dim=8, ns=(5,)),
    }.items():
        fit(model, ClusteredData(num_items=model.num_items), limit_train_batches=1)
        other = save_pretrained(model, tmp_path / name)
        weights.write_bytes((other / "model.safetensors").read_bytes())
        vouch_again(saved)
        sentence = refused(saved)
        assert f"is of another {name}" in sentence
        assert "YouTubeDNN" in sentence
    weights.write_bytes(b"\0" * 100)
    vouch_again(saved)
    assert "is not a safetensors file" in refused(saved)


def test_a_vocabulary_of_another_catalogue(saved, tmp_path):
    model = small_model(num_items=44)
    fit(model, ClusteredData(num_items=44), limit_train_batches=1)
    other = save_pretrained(model, tmp_path / "other")
    (saved / "vocabulary.parquet").write_bytes((other / "vocabulary.parquet").read_bytes())
    vouch_again(saved)
    assert "has 44 items, but the weights are for a catalogue of 40" in refused(saved)
    (saved / "vocabulary.parquet").write_bytes(b"PAR1")
    vouch_again(saved)
    assert "is not a table with the columns token and count" in refused(saved)


def test_a_config_that_is_none(saved):
    for text in ("- 1\n", "model: 3\n", "a: [\n", "!!python/object/apply:os.getcwd []\n"):
        (saved / "config.yaml").write_text(text)
        vouch_again(saved)
        assert "is not plain YAML with the section 'model'" in refused(saved)


def test_text_that_looks_like_a_config_stays_text(saved):
    def text(config):
        config["model"]["init_args"]["loss"] = '{"class_path": "os.system"}'

    rewrite_config(saved, text)
    assert "YouTubeDNN cannot be built" in refused(saved)


def test_a_config_of_another_release(saved):
    def unknown(config):
        config["model"]["init_args"]["not_yet_invented"] = 1

    rewrite_config(saved, unknown)
    assert "YouTubeDNN cannot be built" in refused(saved)

    def no_model(config):
        config["model"] = {"class_path": "lightning_croloss.losses.croloss.CROLoss"}

    rewrite_config(saved, no_model)
    vouch_again(saved, from_data={})
    assert "is not a RetrievalModel" in refused(saved)


def test_loading_needs_no_lightning_cli_instantiation(saved, monkeypatch):
    """The parser of the command line imports what it is told to: it must not see a stranger's config."""

    def spy(*args, **kwargs):
        raise AssertionError("the parser was used")

    monkeypatch.setattr("lightning.pytorch.cli.instantiate_module", spy)
    assert isinstance(load_pretrained(saved), RetrievalModel)
