"""RecBole's models with a loss of this package, on data small enough for a table of all models."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

pytest.importorskip("recbole")

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import BPR, LightGCN, NeuMF
from recbole.model.sequential_recommender import CORE, FPMC, HGN, BERT4Rec, Caser, GRU4Rec, SASRec
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed

from lightning_croloss import CROLoss
from lightning_croloss.integrations.recbole import RetrievalLossMixin, run_recbole
from tests.integrations.recbole_data import ITEMS, SETTINGS, working_recbole

# RecBole's own, by the dozen
pytestmark = pytest.mark.filterwarnings("ignore")

CROSS_ENTROPY = {"kernel": "exp", "alpha": 1.0, "temperature": 1.0}
CROLOSS = {"kernel": "exp", "alpha": 1.2, "temperature": 0.5}
#: Models whose loss is replaced; GRU4RecKG, KSR and S3Rec, of the same form, need more data than is here.
FIT = """
BERT4Rec Caser CORE FDSA FEARec FOSSIL GCSAN GRU4Rec GRU4RecF HGN HRM LightSANs NARM NextItNet NPE SASRec
SASRecF SHAN SINE SRGNN STAMP BPR DGCF LightGCN NGCF SpectralCF
"""
#: Models without such a loss.
UNFIT = (
    "DIN DIEN RepeatNet SASRecCPR TransRec CDAE ConvNCF DMF EASE LINE MultiVAE NAIS NeuMF NNCF SGL SimpleX"
)


class CROGRU4Rec(RetrievalLossMixin, GRU4Rec):
    pass


@pytest.fixture(scope="module", autouse=True)
def recbole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with working_recbole(tmp_path_factory.mktemp("recbole")):
        yield


def configuration(model: Any, **settings: Any) -> Config:
    name = model if isinstance(model, str) else model.__name__
    given = {
        **SETTINGS,
        "selected_features": ["class"],
        "MAX_ITEM_LIST_LENGTH": 8,
        "embedding_size": 16,
        "train_batch_size": 32,
        "transform": {"BERT4Rec": "mask_itemseq", "SHAN": "inverse_itemseq"}.get(name),
        "retrieval_loss": CROLOSS,
    }
    if get_model(name).__module__.startswith("recbole.model.sequential"):
        given |= {"loss_type": "CE", "train_neg_sample_args": None}
    return Config(model=name, dataset="mine", config_dict=given | settings)


def parts(model: Any, **settings: Any) -> tuple[Config, Any]:
    config = configuration(model, **settings)
    init_seed(1, True)
    training, validation, _ = data_preparation(config, create_dataset(config))
    return config, (training, validation)


def built(model: Any, **settings: Any) -> tuple[Any, Any]:
    """Return a model with the mixin, without dropout, and its first batch."""
    config, (training, _) = parts(model, **settings)
    mixed = type(model.__name__, (RetrievalLossMixin, model), {})(config, training._dataset)
    return mixed.eval(), next(iter(training))


BPR_PAIRS = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}


def vectors(model: Any, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
    users = model.forward(batch["item_id_list"], batch["item_length"])
    return users, model.item_embedding.weight, batch["item_id"]


def test_cross_entropy_is_that_of_the_model_without_padding() -> None:
    model, batch = built(GRU4Rec, retrieval_loss=CROSS_ENTROPY)
    users, items, ids = vectors(model, batch)
    expected = F.cross_entropy(users @ items[1:].T, ids - 1)
    assert torch.allclose(model.calculate_loss(batch), expected, rtol=1e-5)


@pytest.mark.parametrize("pairs", [{}, BPR_PAIRS])
@pytest.mark.parametrize("model", [GRU4Rec, SASRec])
def test_loss_is_the_direct_one(model: Any, pairs: dict[str, Any]) -> None:
    mixed, batch = built(model, **pairs)
    users, items, ids = vectors(mixed, batch)
    expected = CROLoss(**CROLOSS, num_items=ITEMS).from_embeddings(
        users, items[ids], items[1:], target_ids=ids, candidate_ids=torch.arange(1, ITEMS + 1)
    )
    found = mixed.calculate_loss(batch)
    assert torch.allclose(found, expected, rtol=1e-5)
    found.backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in mixed.parameters())
    assert not mixed.item_embedding.weight.grad[0].any()


def test_in_batch_is_the_direct_one_with_the_counts_of_training() -> None:
    config, (training, _) = parts(GRU4Rec, retrieval_loss={**CROLOSS, "in_batch": True})
    model = CROGRU4Rec(config, training.dataset).eval()
    batch = next(iter(training))
    users, items, ids = vectors(model, batch)
    counts = torch.zeros(ITEMS + 1, dtype=torch.long)
    for item in training._dataset.inter_feat["item_id"].tolist():
        counts[item] += 1
    direct = CROLoss(**CROLOSS, num_items=ITEMS)
    expected = direct.in_batch(users, items[ids], item_ids=ids, item_counts=counts)
    assert torch.allclose(model.calculate_loss(batch), expected, rtol=1e-5)
    assert not torch.allclose(direct.in_batch(users, items[ids], item_ids=ids), expected, rtol=1e-3)


@pytest.mark.parametrize("model", [GRU4Rec, BPR, LightGCN])
def test_cosine_is_what_is_trained_and_what_is_recommended(model: Any) -> None:
    mixed, batch = built(model, retrieval_loss={**CROLOSS, "cosine": True})
    with torch.no_grad():
        table = mixed.full_sort_predict(batch).view(len(batch), -1)
        if model is BPR:  # its users keep their length there, which changes no order
            table = table / mixed.get_user_embedding(batch["user_id"]).norm(dim=1, keepdim=True)
        assert float(table.abs().max()) <= 1 + 1e-5
        assert torch.allclose(
            table.gather(1, batch["item_id"][:, None])[:, 0], mixed.predict(batch), atol=1e-5
        )
        direct = CROLoss(**CROLOSS).from_logits(table[:, 1:], batch["item_id"] - 1)
        other = mixed.calculate_loss(batch) - direct
    assert abs(float(other)) < 1e-3  # LightGCN's regulariser
    plain = get_model(model.__name__)(*(lambda c, d: (c, d[0]._dataset))(*parts(model)))
    with pytest.raises(RuntimeError, match="parametrizations"):  # it would score by another rule
        plain.load_state_dict(mixed.state_dict())


def test_other_terms_of_a_model_stay() -> None:
    config, (training, _) = parts(Caser, reg_weight=0.1, retrieval_loss=CROSS_ENTROPY)
    batch = next(iter(training))
    init_seed(1, True)
    plain = Caser(config, training._dataset).eval()
    mixed = type("Caser", (RetrievalLossMixin, Caser), {})(config, training._dataset).eval()
    mixed.load_state_dict(plain.state_dict())  # names of parameters are the same
    scores = plain.full_sort_predict(batch)
    terms = plain.calculate_loss(batch) - F.cross_entropy(scores, batch["item_id"])
    assert float(terms) > 0.1
    expected = F.cross_entropy(scores[:, 1:], batch["item_id"] - 1) + terms
    assert torch.allclose(mixed.calculate_loss(batch), expected, rtol=1e-5)


def test_graph_models_take_their_own_tables_and_forget_stale_ones() -> None:
    mixed, batch = built(LightGCN, reg_weight=0.0)
    users, items = mixed.forward()
    expected = CROLoss(**CROLOSS).from_logits(users[batch["user_id"]] @ items[1:].T, batch["item_id"] - 1)
    assert torch.allclose(mixed.calculate_loss(batch), expected, rtol=1e-5)
    before = mixed.full_sort_predict(batch)
    with torch.no_grad():
        mixed.item_embedding.weight.mul_(2)
    mixed.calculate_loss(batch)
    assert not torch.equal(mixed.full_sort_predict(batch), before)


def test_bert4rec_learns_the_masked_positions() -> None:
    mixed, batch = built(BERT4Rec, retrieval_loss=CROSS_ENTROPY, mask_ratio=0.4)
    with torch.no_grad():
        mixed.output_bias.normal_()
    hidden = mixed.forward(batch["Mask_item_id_list"])
    losses = []
    for row in range(len(batch)):
        for index, item in zip(batch["MASK_INDEX"][row], batch["Pos_item_id"][row], strict=True):
            if index > 0:
                scores = mixed.item_embedding.weight[: ITEMS + 1] @ hidden[row, index] + mixed.output_bias
                losses.append(F.cross_entropy(scores[1:], item - 1))
    assert torch.allclose(mixed.calculate_loss(batch), torch.stack(losses).mean(), rtol=1e-5)


@pytest.mark.parametrize(("model", "cosine"), [(GRU4Rec, True), (SASRec, False), (BERT4Rec, False)])
def test_models_fit_in_half_precision_too(model: Any, cosine: bool) -> None:
    mixed, batch = built(model, retrieval_loss={**CROLOSS, "in_batch": True, "cosine": cosine})
    if not cosine:
        with torch.no_grad():
            mixed.item_embedding.weight.mul_(30)  # as in a training that goes on
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(mixed.calculate_loss(batch))


@pytest.mark.parametrize("last", [0.0, 1.0])
def test_bert4rec_counts_what_is_masked(last: float) -> None:
    given = {"mask_ratio": 0.4, "ft_ratio": last, "retrieval_loss": {**CROLOSS, "in_batch": True}}
    config, (training, _) = parts(BERT4Rec, **given)
    model = type("BERT4Rec", (RetrievalLossMixin, BERT4Rec), {})(config, training._dataset)
    seen = torch.zeros(ITEMS + 1)
    for _ in range(10):
        for batch in training:
            model.calculate_loss(batch)
            seen += torch.bincount(batch["Pos_item_id"][batch["MASK_INDEX"] > 0], minlength=ITEMS + 1)
    shares = model.retrieval_criterion.item_counts
    assert not seen[shares == 0].any()
    assert float(torch.corrcoef(torch.stack([shares, seen]))[0, 1]) > 0.95


def test_a_training_improves_and_its_model_can_be_copied() -> None:
    config, (training, validation) = parts(GRU4Rec, epochs=4, learning_rate=0.03)
    model = CROGRU4Rec(config, training.dataset)
    trainer = Trainer(config, model)
    before = trainer.evaluate(validation, load_best_model=False)["recall@10"]
    _, best = trainer.fit(training, validation, saved=False, show_progress=False)
    losses = list(trainer.train_loss_dict.values())
    assert losses[-1] < 0.8 * losses[0]
    assert best["recall@10"] > before + 0.2
    copy.deepcopy(model)


def test_settings_are_plain_and_a_schedule_reaches_the_loss() -> None:
    config, (training, _) = parts(GRU4Rec, retrieval_loss={**CROLOSS, "cosine": True, "in_batch": True})
    assert pickle.loads(pickle.dumps(config))["retrieval_loss"] == config["retrieval_loss"]
    model = CROGRU4Rec(config, training.dataset)
    assert set(model.retrieval_criterion.loss.schedulable()) >= {"temperature", "alpha"}
    assert model.retrieval_criterion is model.loss_fct
    assert config["retrieval_loss"] == {**CROLOSS, "cosine": True, "in_batch": True}  # not used up


def test_run_recbole_trains_by_the_setting() -> None:
    given = configuration(GRU4Rec, epochs=1).variable_config_dict
    result = run_recbole("GRU4Rec", "mine", config_dict=given, saved=False)
    assert 0 <= result["test_result"]["recall@10"] <= 1
    with pytest.raises(ValueError, match="sigmiod"):
        run_recbole(
            "GRU4Rec", "mine", config_dict=given | {"retrieval_loss": {"kernel": "sigmiod"}}, saved=False
        )


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (NeuMF, {}, "NeuMF has no CrossEntropyLoss or BPRLoss"),
        (FPMC, BPR_PAIRS, "FPMC does not score by dot products"),
        (FPMC, BPR_PAIRS | {"retrieval_loss": {"cosine": True}}, "FPMC does not score by dot products"),
        (HGN, BPR_PAIRS, "HGN does not score by dot products .* with loss_type: CE"),
        (CORE, {"retrieval_loss": {"cosine": True}}, "CORE does not score .* leave out in_batch and cosine"),
        (GRU4Rec, {"retrieval_loss": "CROLoss"}, "retrieval_loss must be a dictionary .* got 'CROLoss'"),
        (GRU4Rec, {"retrieval_loss": []}, r"retrieval_loss must be a dictionary .* got \[\]"),
        (GRU4Rec, {"retrieval_loss": {"temperature": -1.0}}, "temperature"),
        (GRU4Rec, {"retrieval_loss": {"cosines": True}}, "no setting 'cosines'.*cosine"),
        (GRU4Rec, {"retrieval_loss": {"in_batch": "yes"}}, "in_batch must be True or False, got 'yes'"),
        (GRU4Rec, {"retrieval_loss": {"reduction": "none"}}, "the trainer takes one number"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(model: Any, settings: dict[str, Any], message: str) -> None:
    def first_step() -> None:
        mixed, batch = built(model, **settings)
        mixed.calculate_loss(batch)

    with pytest.raises(ValueError, match=message):
        first_step()


def test_the_mixin_stands_first() -> None:
    with pytest.raises(
        TypeError, match="class CROGRU4Rec: RetrievalLossMixin must stand first, before GRU4Rec"
    ):
        type("CROGRU4Rec", (GRU4Rec, RetrievalLossMixin), {})
    type("Again", (CROGRU4Rec,), {})


def test_a_training_is_resumed_with_its_temperature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch, "load", partial(torch.load, weights_only=False)
    )  # as RecBole, with torch < 2.6
    given = {**CROLOSS, "learnable_temperature": True, "cosine": True}
    config, (training, validation) = parts(
        GRU4Rec, epochs=1, checkpoint_dir=str(tmp_path), retrieval_loss=given, learning_rate=0.1
    )
    first, second = (CROGRU4Rec(config, training.dataset) for _ in range(2))
    trainer = Trainer(config, first)
    trainer.fit(training, validation, saved=True, show_progress=False)
    resumed = Trainer(config, second)
    resumed.resume_checkpoint(trainer.saved_model_file)
    learned = [model.retrieval_criterion.loss.raw_temperature for model in (first, second)]
    assert float(learned[0]) != 0
    assert torch.equal(*learned)


def test_a_class_that_recbole_has_no_settings_of_gets_a_sentence() -> None:
    class CROBPR(RetrievalLossMixin, BPR):
        pass

    config = Config(model=CROBPR, dataset="mine", config_dict=configuration(BPR).variable_config_dict)
    with pytest.raises(ValueError, match=r"Config\(model='BPR'\) for CROBPR"):
        CROBPR(config, None)


def test_a_model_that_never_calls_its_criterion_gets_a_sentence() -> None:
    class Own(GRU4Rec):
        def calculate_loss(self, interaction: Any) -> Tensor:
            scores: Tensor = self.full_sort_predict(interaction)
            return F.cross_entropy(scores, interaction["item_id"])

    config, (training, _) = parts(GRU4Rec)
    model = type("CROOwn", (RetrievalLossMixin, Own), {})(config, training._dataset)
    with pytest.raises(ValueError, match=r"Own\.calculate_loss does not call the criterion"):
        model.calculate_loss(next(iter(training)))


def test_a_model_of_ones_own_may_ignore_labels_and_add_a_bias() -> None:
    class Own(GRU4Rec):
        def __init__(self, config: Config, dataset: Any) -> None:
            super().__init__(config, dataset)
            self.bias = torch.nn.Parameter(torch.zeros(self.n_items))
            self.loss_fct = torch.nn.CrossEntropyLoss(ignore_index=0)

        def calculate_loss(self, interaction: Any) -> Tensor:
            scores = self.full_sort_predict(interaction) + self.bias
            labels = interaction["item_id"].clone()
            labels[::2] = 0
            return self.loss_fct(scores, labels)

    config, (training, _) = parts(GRU4Rec, retrieval_loss=CROSS_ENTROPY)
    model = type("CROOwn", (RetrievalLossMixin, Own), {})(config, training._dataset).eval()
    batch = next(iter(training))
    loss = model.calculate_loss(batch)
    scores = model.full_sort_predict(batch)[1::2, 1:]
    assert torch.allclose(loss, F.cross_entropy(scores, batch["item_id"][1::2] - 1), rtol=1e-5)
    loss.backward()
    assert model.bias.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FIT.split())
def test_models_that_fit(name: str) -> None:
    model, batch = built(get_model(name), n_layers=2, n_factors=4)
    loss = model.calculate_loss(batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert model.item_embedding.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert model.full_sort_predict(batch).numel() == len(batch) * (ITEMS + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNFIT.split())
def test_models_that_do_not_fit(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no CrossEntropyLoss or BPRLoss"):
        built(get_model(name))
