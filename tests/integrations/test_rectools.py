"""RecTools' transformers trained by CROLoss: what the loss is of, configs and files, and mistakes."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_croloss import CROLoss

pytest.importorskip("rectools", reason="RecTools is not installed; pip install rectools[torch]")
pd = pytest.importorskip("pandas", reason="RecTools needs pandas")
import pytorch_lightning  # noqa: E402
from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import BERT4RecModel, HSTUModel, SASRecModel, load_model, model_from_config  # noqa: E402
from rectools.models.nn.transformers.negative_sampler import TransformerNegativeSamplerBase  # noqa: E402
from rectools.models.nn.transformers.similarity import DistanceSimilarityModule  # noqa: E402

from lightning_croloss.integrations.rectools import RetrievalLossModule  # noqa: E402

EXP: dict[str, Any] = {"kernel": "exp", "temperature": 0.5}
NUM_ITEMS = 12
MODELS = (SASRecModel, BERT4RecModel, HSTUModel)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@pytest.fixture
def dataset() -> Any:
    """Return 10 users of 2 … 11 events, whose item follows from the item before."""
    rows = [
        (f"user {user}", f"item {(3 * user + at) % NUM_ITEMS}", 1.0, pd.Timestamp(at, unit="s"))
        for user in range(10)
        for at in range(user + 2)
    ]
    return Dataset.construct(
        pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime])
    )


class OwnSimilarity(DistanceSimilarityModule):
    """A similarity that the module does not know, with the scores of the one that it does."""


def last_event(interactions: Any) -> Any:
    """Say which events are for validation: the last of each user with more than four."""
    at = interactions.groupby(Columns.User)[Columns.Datetime].rank(ascending=False)
    many = interactions.groupby(Columns.User)[Columns.Item].transform("size") > 4
    return ((at == 1) & many).to_numpy()


def model_of(kind: type, arguments: dict[str, Any] | None = None, **changed: Any) -> Any:
    pytorch_lightning.seed_everything(0, verbose=False)
    if kind is BERT4RecModel:
        changed.setdefault("mask_prob", 0.5)
    module = {"retrieval_loss": EXP if arguments is None else arguments, **changed.pop("module", {})}
    settings = {
        "n_factors": 8,
        "n_blocks": 1,
        "n_heads": 1,
        "dropout_rate": 0.0,
        "session_max_len": 6,
        "batch_size": 4,
        "epochs": 1,
        "lightning_module_type": RetrievalLossModule,
        "lightning_module_kwargs": module,
        **changed,
    }
    return kind(**settings)


def batch_of(model: Any, dataset: Any) -> dict[str, Tensor]:
    """Build the model's network for the data, and return a training batch."""
    pytorch_lightning.seed_everything(1, verbose=False)
    model._build_model_from_dataset(dataset)
    model.lightning_model._xavier_normal_init()
    batch: dict[str, Tensor] = next(iter(model.data_preparator.get_dataloader_train()))
    return batch


def rows_of(model: Any, batch: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield score of the positive, scores of its negatives and weight, position by position, naively."""
    module = model.lightning_model
    network = module.torch_model
    extra = len(model.data_preparator.item_extra_tokens)
    every = network.item_model.get_all_embeddings()
    sessions = network.encode_sessions(batch, every)
    for row, column in (batch["y"] >= extra).nonzero().tolist():
        target = int(batch["y"][row, column])
        if "negatives" in batch:
            others = [token for token in batch["negatives"][row, column].tolist() if token != target]
        else:
            others = [token for token in range(extra, len(every)) if token != target]
        vectors = every[torch.tensor([target, *others])]
        user = sessions[row, column]
        if network.similarity_module.distance.value == "cosine":
            vectors, user = vectors / vectors.norm(dim=1, keepdim=True), user / user.norm()
        scores = vectors @ user / module.logits_t
        yield scores[0], scores[1:], float(batch["yw"][row, column])


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
@pytest.mark.parametrize("similarity", [DistanceSimilarityModule, OwnSimilarity])
@pytest.mark.parametrize(("distance", "logits_t"), [("dot", 1.0), ("cosine", 0.3)])
def test_it_is_cross_entropy_over_the_items_alone(
    dataset: Any, kind: type, loss: str, similarity: type, distance: str, logits_t: float
) -> None:
    """Neither PAD nor MASK is a negative, padded positions are left out, a drawn target is none either."""
    model = model_of(
        kind,
        EXP,
        loss=loss,
        n_negatives=20,
        similarity_module_type=similarity,
        similarity_module_kwargs={"distance": distance},
        module={"logits_t": logits_t},
    )
    batch = batch_of(model, dataset)
    expected = [
        torch.logsumexp(torch.cat([positive[None], negatives]) / 0.5, 0) - positive / 0.5
        for positive, negatives, _ in rows_of(model, batch)
    ]
    constant = math.log(NUM_ITEMS / 20) if loss == "sampled_softmax" else 0.0
    assert len(expected) < batch["y"].numel()
    assert kind is BERT4RecModel or len(expected) > 6
    value = model.lightning_model._calc_custom_loss(batch, 0)
    torch.testing.assert_close(value, torch.stack(expected).mean() + constant)


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
@pytest.mark.parametrize("similarity", [DistanceSimilarityModule, OwnSimilarity])
def test_the_catalogue_and_the_weights_are_those_of_the_data(
    dataset: Any, loss: str, similarity: type
) -> None:
    arguments = {"kernel": "sigmoid", "alpha": 1.4, "temperature": 0.2}
    model = model_of(SASRecModel, arguments, loss=loss, n_negatives=5, similarity_module_type=similarity)
    batch = batch_of(model, dataset)
    batch["yw"] = batch["yw"] * torch.arange(1, 1 + batch["yw"].numel()).view(batch["yw"].shape)
    assert model.lightning_model.retrieval_loss.num_items == NUM_ITEMS
    direct = CROLoss(**arguments, num_items=NUM_ITEMS)
    draws = 5 if loss == "sampled_softmax" else NUM_ITEMS
    weighted, weights = torch.zeros(()), 0.0
    for positive, negatives, weight in rows_of(model, batch):
        value = direct(positive[None], negatives[None], num_sampled=draws)
        weighted, weights = weighted + weight * value, weights + weight
    torch.testing.assert_close(model.lightning_model._calc_custom_loss(batch, 0), weighted / weights)


class PopularSampler(TransformerNegativeSamplerBase):
    """Draws the later items more often, and says so."""

    def get_negatives(self, batch_dict: dict[str, Tensor], **given: Any) -> Tensor:
        weights = torch.arange(1.0, NUM_ITEMS + 1)
        shape = (*batch_dict["y"].shape, self.n_negatives)
        drawn = torch.multinomial(weights, batch_dict["y"].numel() * self.n_negatives, replacement=True)
        batch_dict["negative_log_prob"] = (weights / weights.sum()).log()[drawn].view(shape)
        return (drawn + given["lowest_id"]).view(shape)


@pytest.mark.parametrize("kind", [SASRecModel, BERT4RecModel])
@pytest.mark.parametrize("similarity", [DistanceSimilarityModule, OwnSimilarity])
def test_a_sampler_may_give_its_probabilities(dataset: Any, kind: type, similarity: type) -> None:
    """Expected is cross-entropy with each negative's score less log (N q)."""
    given = {"loss": "sampled_softmax", "n_negatives": 5, "similarity_module_type": similarity}
    model = model_of(kind, **given, negative_sampler_type=PopularSampler)
    batch = batch_of(model, dataset)
    expected = []
    rows = (batch["y"] != 0).nonzero().tolist()
    for (row, column), (positive, negatives, _) in zip(rows, rows_of(model, batch), strict=True):
        kept = batch["negatives"][row, column] != batch["y"][row, column]
        log_nq = batch["negative_log_prob"][row, column][kept] + math.log(NUM_ITEMS)
        scores = torch.cat([positive[None] / 0.5, negatives / 0.5 - log_nq])
        expected.append(scores.logsumexp(0) - scores[0] + math.log(NUM_ITEMS / 5))
    value = model.lightning_model._calc_custom_loss(batch, 0)
    torch.testing.assert_close(value, torch.stack(expected).mean())


@pytest.mark.parametrize("similarity", [DistanceSimilarityModule, OwnSimilarity])
def test_both_ways_to_the_scores_have_the_same_gradient(dataset: Any, similarity: type) -> None:
    gradients = []
    for chosen in (DistanceSimilarityModule, similarity):
        model = model_of(BERT4RecModel, {"alpha": 1.2}, similarity_module_type=chosen)
        batch_of(model, dataset)
        batch = {
            "x": torch.tensor([[0, 0, 2, 1, 4, 5]]),
            "y": torch.tensor([[0, 0, 0, 3, 0, 6]]),
            "yw": torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]),
        }
        model.lightning_model._calc_custom_loss(batch, 0).backward()
        gradients.append([weight.grad for weight in model.torch_model.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_a_batch_without_targets_has_loss_0(dataset: Any, loss: str) -> None:
    """BERT4Rec masks at random, and may mask nothing."""
    model = model_of(BERT4RecModel, loss=loss, n_negatives=3)
    batch = batch_of(model, dataset)
    batch["y"] = torch.zeros_like(batch["y"])
    value = model.lightning_model._calc_custom_loss(batch, 0)
    value.backward()
    assert float(value) == 0.0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.torch_model.parameters())


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_it_learns_and_validates(dataset: Any, kind: type, loss: str) -> None:
    model = model_of(kind, loss=loss, n_negatives=4, lr=0.02, get_val_mask_func=last_event)
    metrics = []
    for epochs in (1, 12):
        model.fit_partial(dataset, min_epochs=epochs, max_epochs=epochs)
        metrics.append({name: float(value) for name, value in model.fit_trainer.callback_metrics.items()})
    assert metrics[1]["train_loss"] < metrics[0]["train_loss"]
    assert math.isfinite(metrics[1]["val_loss"])
    if kind is HSTUModel:
        return  # which recommends only for a given time
    recommended = model.recommend(["user 5", "user 9"], dataset, k=3, filter_viewed=False)
    assert set(recommended[Columns.Item]) <= {f"item {number}" for number in range(NUM_ITEMS)}


@pytest.mark.parametrize(("loss", "name"), [("softmax", "logits"), ("sampled_softmax", "pos_neg_logits")])
def test_validation_gives_the_scores_that_callbacks_of_rectools_read(
    dataset: Any, loss: str, name: str
) -> None:
    model = model_of(SASRecModel, loss=loss, n_negatives=3, get_val_mask_func=last_event)
    model._build_model_from_dataset(dataset)
    batch = next(iter(model.data_preparator.get_dataloader_val()))
    outputs = model.lightning_model._calc_custom_loss_outputs(batch, 0)
    scores = model.lightning_model.get_batch_logits(batch)[:, -1]
    torch.testing.assert_close(outputs[name], scores)
    if loss == "softmax":
        expected = torch.nn.functional.cross_entropy(scores[:, 1:] / 0.5, batch["y"][:, 0] - 1)
        torch.testing.assert_close(outputs["loss"], expected)


@pytest.mark.parametrize(
    "changed", [{"alpha": 1.5}, {"kernel": "softplus"}, {"temperature": 1.0}, {"lambda_weight": 1.0}]
)
def test_the_arguments_reach_the_loss(dataset: Any, changed: dict[str, Any]) -> None:
    fitted = []
    for arguments in (EXP, {**EXP, **changed}):
        model = model_of(SASRecModel, arguments)
        pytorch_lightning.seed_everything(3, verbose=False)
        model.fit(dataset)
        fitted.append(model.torch_model.item_model.get_all_embeddings())
    assert not torch.equal(*fitted)


def test_a_config_holds_the_loss(dataset: Any) -> None:
    arguments = {"kernel": "exp", "importance": {"name": "target_n", "n": 5}, "temperature": 0.3}
    model = model_of(SASRecModel, arguments)
    config = json.loads(json.dumps(model.get_config(simple_types=True)))
    assert config["lightning_module_kwargs"] == {"retrieval_loss": arguments}
    assert config["lightning_module_type"] == "lightning_croloss.integrations.rectools.RetrievalLossModule"
    again = model_from_config(config)
    values = []
    for built in (model, again):
        pytorch_lightning.seed_everything(3, verbose=False)
        built.fit(dataset)
        values.append(built.torch_model.item_model.get_all_embeddings())
    assert torch.equal(*values)
    assert again.lightning_model.retrieval_loss.importance.n == 5


def test_a_model_is_saved_and_loaded_with_its_loss(dataset: Any, tmp_path: Path) -> None:
    if tuple(map(int, pytorch_lightning.__version__.split(".")[:2])) > (2, 5):
        pytest.skip("RecTools itself loads no model it has saved with pytorch-lightning 2.6 (it pins 2.5.2)")
    model = model_of(SASRecModel, {**EXP, "learnable_temperature": True}, lr=0.1, epochs=2)
    model.fit(dataset)
    model.save(tmp_path / "model.pkl")
    loaded = load_model(tmp_path / "model.pkl")
    old, new = (each.recommend(["user 3"], dataset, k=5, filter_viewed=False) for each in (model, loaded))
    assert old.equals(new)
    states = [each.lightning_model.retrieval_loss.state_dict() for each in (model, loaded)]
    assert states[0]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
    loaded.fit_partial(dataset, min_epochs=1, max_epochs=1)


def test_a_learnable_temperature_is_learned(dataset: Any) -> None:
    model = model_of(SASRecModel, {**EXP, "learnable_temperature": True}, lr=0.1)
    model.fit(dataset)
    (own,) = model.lightning_model.retrieval_loss.parameters()
    fresh = CROLoss(**EXP, learnable_temperature=True)
    assert float(own) != float(next(fresh.parameters()))
    optimizer = model.lightning_model.configure_optimizers()
    assert sum(parameter is own for group in optimizer.param_groups for parameter in group["params"]) == 1


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"loss": "sampled_sofmax"}, ValueError, "loss='sampled_sofmax': take 'softmax'"),
        ({"module": {"retrievel_loss": {}}}, TypeError, "unknown 'retrievel_loss'.*retrieval_loss"),
        ({"module": {"retrieval_loss": "CROLoss"}}, TypeError, "must be a dictionary.*'CROLoss'"),
        ({"module": {"retrieval_loss": {"reduction": "none"}}}, ValueError, "no reduction='none'"),
        ({"module": {"retrieval_loss": {"temperature": -1.0}}}, ValueError, "temperature"),
        ({"module": {"retrieval_loss": {"kernel": "sigmoyd"}}}, ValueError, "kernel.*sigmoid"),
        ({"module": {"retrieval_loss": {"tempreature": 0.1}}}, TypeError, "tempreature"),
    ],
)
def test_mistakes_are_said_in_one_sentence(
    dataset: Any, changed: dict[str, Any], error: type[Exception], said: str
) -> None:
    model = model_of(SASRecModel, **changed)
    with pytest.raises(error, match=said) as caught:
        model.fit(dataset)
    assert "\n" not in str(caught.value)
