"""The loss behind pytorch-metric-learning's interface: miners, distances, reducers, memory and mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_croloss import BPRLoss, CROLoss, SoftmaxLoss, log_prob_from_counts

pytest.importorskip(
    "pytorch_metric_learning",
    reason="pytorch-metric-learning is not installed; pip install pytorch-metric-learning",
)
from pytorch_metric_learning import distances, losses, miners, reducers, samplers, trainers
from pytorch_metric_learning.regularizers import LpRegularizer

from lightning_croloss.integrations.pytorch_metric_learning import MetricLearningLoss

LABELS = torch.tensor([0, 3, 3, 7, 0, 3, -2, 7])
EXP: dict[str, Any] = {"kernel": "exp", "temperature": 0.07}


@pytest.fixture
def embeddings() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(8, 5, dtype=torch.float64, requires_grad=True)


def pairs(labels: Tensor, others: Tensor, same: bool) -> Iterator[tuple[int, list[int], list[int]]]:
    """Yield each anchor with its positives and its negatives; ``same``: both are the same embeddings."""
    for anchor in range(len(labels)):
        alike = [i for i in range(len(others)) if others[i] == labels[anchor] and not (same and i == anchor)]
        yield anchor, alike, [i for i in range(len(others)) if others[i] != labels[anchor]]


def naive(loss: CROLoss, scores: Tensor, labels: Tensor, others: Tensor, same: bool) -> Tensor:
    """Return the loss of each pair, one call each."""
    values = []
    for anchor, alike, unlike in pairs(labels, others, same):
        for positive in alike:
            draws = len(alike) + len(unlike) - 1
            values.append(loss(scores[anchor, [positive]], scores[anchor, unlike][None], num_sampled=draws))
    return torch.stack(values)


@pytest.mark.parametrize("arguments", [EXP, {"kernel": "sigmoid", "temperature": 0.3}, {"num_items": 50}])
@pytest.mark.parametrize("with_ref", [False, True])
def test_each_pair_is_compared_with_the_negatives_of_its_anchor(
    embeddings: Tensor, arguments: dict[str, Any], with_ref: bool
) -> None:
    ref: dict[str, Tensor] = {}
    others, other_labels = embeddings, LABELS
    if with_ref:
        others, other_labels = torch.randn(6, 5, dtype=torch.float64), torch.tensor([3, 0, 0, 9, 7, 3])
        ref = {"ref_emb": others, "ref_labels": other_labels}
    value = MetricLearningLoss(CROLoss(**arguments))(embeddings, LABELS, **ref)
    units = [torch.nn.functional.normalize(vectors, dim=1) for vectors in (embeddings, others)]
    expected = naive(CROLoss(**arguments), units[0] @ units[1].T, LABELS, other_labels, not with_ref).mean()
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, embeddings)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, embeddings)[0])


@pytest.mark.parametrize(
    "distance",
    [
        distances.CosineSimilarity(),
        distances.DotProductSimilarity(normalize_embeddings=False),
        distances.LpDistance(),
        distances.LpDistance(power=2, normalize_embeddings=False),
        distances.SNRDistance(),
    ],
    ids=lambda distance: type(distance).__name__,
)
@pytest.mark.parametrize("reducer", [None, reducers.SumReducer(), reducers.PerAnchorReducer()])
def test_with_the_exponential_kernel_it_is_ntxent(embeddings: Tensor, distance: Any, reducer: Any) -> None:
    """Distances that are small for what is alike are honoured as its own losses do."""
    settings = {"distance": distance, "reducer": reducer}
    ours = MetricLearningLoss(CROLoss(kernel="exp", temperature=0.5), **settings)
    theirs = losses.NTXentLoss(temperature=0.5, **settings)
    torch.testing.assert_close(ours(embeddings, LABELS), theirs(embeddings, LABELS))


def test_only_mined_pairs_count(embeddings: Tensor) -> None:
    mined = tuple(torch.tensor(part) for part in ([0, 1, 1], [4, 2, 5], [0, 0, 1], [1, 3, 6]))
    ours = MetricLearningLoss(CROLoss(**EXP))(embeddings, LABELS, mined)
    torch.testing.assert_close(ours, losses.NTXentLoss(0.07)(embeddings, LABELS, mined))
    everything = MetricLearningLoss(CROLoss(**EXP))(embeddings, LABELS)
    assert float(ours) != float(everything)
    # without labels, which the pairs replace
    torch.testing.assert_close(MetricLearningLoss(CROLoss(**EXP))(embeddings, indices_tuple=mined), ours)


def test_a_pair_in_several_triplets_counts_once(embeddings: Tensor) -> None:
    triplets = tuple(torch.tensor(part) for part in ([0, 0, 0], [4, 4, 4], [1, 2, 1]))
    value = MetricLearningLoss(CROLoss(**EXP))(embeddings, LABELS, triplets)
    units = torch.nn.functional.normalize(embeddings, dim=1)
    scores = units[0] @ units[[4, 1, 2]].T / 0.07
    torch.testing.assert_close(value, scores.logsumexp(0) - scores[0])


@pytest.mark.parametrize("miner", [miners.MultiSimilarityMiner(), miners.TripletMarginMiner(margin=5.0)])
def test_miners(embeddings: Tensor, miner: Any) -> None:
    value = MetricLearningLoss(CROLoss(**EXP))(embeddings, LABELS, miner(embeddings, LABELS))
    value.backward()
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("labels", [torch.arange(8), torch.zeros(8, dtype=torch.long)])
def test_without_a_pair_of_each_kind_the_loss_is_0(embeddings: Tensor, labels: Tensor) -> None:
    value = MetricLearningLoss()(embeddings, labels)
    value.backward()
    assert float(value) == 0.0
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


@pytest.mark.parametrize("loss", [CROLoss(alpha=1.4), SoftmaxLoss(), BPRLoss()])
def test_one_user_and_item_a_row_is_in_batch(embeddings: Tensor, loss: Any) -> None:
    ids, items = torch.tensor([4, 0, 9, 1, 2, 3, 5, 8]), torch.randn(8, 5, dtype=torch.float64)
    counts = torch.tensor([3, 1, 4, 1, 5, 9, 0, 2, 6, 5])
    users, vectors = (torch.nn.functional.normalize(part, dim=1) for part in (embeddings, items))
    expected = loss.in_batch(users, vectors, item_ids=ids, item_counts=counts)
    plain = loss.in_batch(users, vectors, item_ids=ids)
    for item_counts, direct in ((None, plain), (counts, expected)):
        ours = MetricLearningLoss(loss, item_counts=item_counts)
        torch.testing.assert_close(ours(embeddings, ids, ref_emb=items, ref_labels=ids), direct)
    assert float(plain) != float(expected)


def test_counts_correct_for_popularity_among_several_positives(embeddings: Tensor) -> None:
    labels, counts = LABELS + 2, torch.tensor([3, 0, 5, 0, 0, 7, 0, 0, 0, 2])
    ours = MetricLearningLoss(CROLoss(**EXP), item_counts=counts)(embeddings, labels)
    units = torch.nn.functional.normalize(embeddings, dim=1)
    scores, log_prob = units @ units.T, log_prob_from_counts(counts)[labels]
    direct, values = CROLoss(**EXP, num_items=4), []
    for anchor, alike, unlike in pairs(labels, labels, same=True):
        given = {"num_sampled": 7 - 0, "negative_log_prob": log_prob[unlike][None]}
        given["num_sampled"] = len(alike) + len(unlike) - 1
        values += [direct(scores[anchor, [i]], scores[anchor, unlike][None], **given) for i in alike]
    torch.testing.assert_close(ours, torch.stack(values).mean())


def test_memory_of_earlier_batches(embeddings: Tensor) -> None:
    """A batch is compared with the memory, but with itself in it alone no pair is positive."""
    ours, theirs = (
        losses.CrossBatchMemory(loss, 5, memory_size=32)
        for loss in (MetricLearningLoss(CROLoss(**EXP)), losses.NTXentLoss(0.07))
    )
    for _ in range(3):
        batch = torch.randn(8, 5)
        torch.testing.assert_close(ours(batch, LABELS), theirs(batch, LABELS))


def test_two_views(embeddings: Tensor) -> None:
    views = embeddings[:4], embeddings[4:]
    ours = losses.SelfSupervisedLoss(MetricLearningLoss(CROLoss(**EXP)))
    theirs = losses.SelfSupervisedLoss(losses.NTXentLoss(0.07))
    torch.testing.assert_close(ours(*views), theirs(*views))


def test_regularizers(embeddings: Tensor) -> None:
    plain = MetricLearningLoss(CROLoss(**EXP))(embeddings, LABELS)
    regularized = MetricLearningLoss(CROLoss(**EXP), embedding_regularizer=LpRegularizer())
    assert float(regularized(embeddings, LABELS)) > float(plain)


def test_its_sampler_and_trainer() -> None:
    torch.manual_seed(0)
    labels = torch.arange(6).repeat_interleave(8)
    data = torch.eye(6)[labels] + 0.5 * torch.randn(48, 6)
    model = torch.nn.Linear(6, 4)
    loss = MetricLearningLoss(CROLoss(kernel="exp", temperature=0.2, learnable_temperature=True))
    (temperature,) = loss.parameters()
    begin, at_first = float(loss(model(data), labels)), float(temperature)
    trainer = trainers.MetricLossOnly(
        models={"trunk": model},
        optimizers={
            "trunk_optimizer": torch.optim.Adam(model.parameters(), lr=0.05),
            "metric_loss_optimizer": torch.optim.Adam(loss.parameters(), lr=0.01),
        },
        batch_size=24,
        loss_funcs={"metric_loss": loss},
        dataset=list(zip(data, labels, strict=True)),
        mining_funcs={"tuple_miner": miners.MultiSimilarityMiner()},
        sampler=samplers.MPerClassSampler(labels, m=4, length_before_new_iter=48),
        dataloader_num_workers=0,
        data_device=torch.device("cpu"),
    )
    trainer.train(num_epochs=5)
    assert float(loss(model(data), labels)) < begin
    assert float(temperature) != at_first


def test_the_importance_reaches_it(embeddings: Tensor) -> None:
    values = [float(MetricLearningLoss(CROLoss(alpha=alpha))(embeddings, LABELS)) for alpha in (0.8, 1.2)]
    assert values[0] != values[1]


def test_mistakes_are_said_in_one_sentence(embeddings: Tensor) -> None:
    with pytest.raises(TypeError, match=r"loss must be a loss of lightning_croloss.*'CROLoss'"):
        MetricLearningLoss("CROLoss")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="counts"):
        MetricLearningLoss(item_counts=torch.tensor([-1, 2]))
    with pytest.raises(ValueError, match="labels are missing"):
        MetricLearningLoss()(embeddings)
    with pytest.raises(ValueError, match="counts no label -2"):
        MetricLearningLoss(item_counts=torch.ones(8))(embeddings, LABELS)
    with pytest.raises(ValueError, match="counts no label 7"):
        MetricLearningLoss(item_counts=torch.ones(5))(embeddings, LABELS.clamp(min=0))
