"""In-batch negatives over two processes equal those of one process with the whole batch."""

import copy

import pytest
import torch
from torch import distributed

from lightning_croloss import CROLoss, InBatchNegatives, YouTubeDNN
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.negatives.in_batch import gather_ids
from tests.distributed import run_distributed

NUM_ITEMS = 15


def whole_batch():
    generator = torch.Generator().manual_seed(0)
    history = torch.randint(1, NUM_ITEMS + 1, (8, 4), generator=generator)
    targets = torch.tensor([[1], [2], [2], [3], [1], [4], [5], [9]])  # 1 and 2 twice
    return RetrievalBatch(history, targets, users=torch.arange(8))


def model_with(gather):
    torch.manual_seed(0)
    model = YouTubeDNN(
        NUM_ITEMS,
        embedding_dim=6,
        hidden_dims=(5,),
        loss=CROLoss("exp", temperature=0.3),
        negatives=InBatchNegatives(gather_across_devices=gather),
        ns=(5,),
    )
    counts = torch.arange(NUM_ITEMS + 1) + 1
    model.negatives.prepare(counts, counts)
    return model.double()


def gradients(model, batch):
    users, targets = model.encode_users(batch), batch.targets[:, 0]
    positives, candidates = model.encode_items(targets), model.negatives.sample(batch)
    loss = model.loss.from_embeddings(
        model.select_interest(users, positives),
        positives,
        model.encode_items(candidates.ids),
        target_ids=targets,
        candidate_ids=candidates.ids,
        candidate_log_prob=candidates.log_prob,
        num_sampled=candidates.num_sampled,
    )
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def averaged_gradients(rank, world_size):
    batch, rows = whole_batch(), slice(4 * rank, 4 * rank + 4)
    part = RetrievalBatch(batch.history[rows], batch.targets[rows], batch.users[rows])
    found = gradients(model_with(gather=True), part)
    for gradient in found:  # what DistributedDataParallel does
        distributed.all_reduce(gradient)
        gradient /= world_size
    return found


def test_gradients_equal_those_of_one_process():
    expected = gradients(model_with(gather=False), whole_batch())
    for found in run_distributed(averaged_gradients, 2):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    alone = whole_batch()
    half = RetrievalBatch(alone.history[:4], alone.targets[:4], alone.users[:4])
    assert not torch.allclose(gradients(model_with(gather=False), half)[0], expected[0])


def gathered_and_counted(rank, world_size):
    targets = torch.tensor([[3], [4], [5]][: 3 - rank])  # the second process has a row less
    batch = RetrievalBatch(targets, targets, users=targets[:, 0])
    sampler = copy.deepcopy(model_with(gather=True).negatives)
    candidates = sampler.sample(batch)
    return gather_ids(targets[:, 0]).tolist(), candidates.num_sampled, candidates.log_prob.tolist()


def test_batches_of_different_sizes():
    for ids, draws, log_prob in run_distributed(gathered_and_counted, 2):
        assert ids == [3, 4, 5, 3, 4, 0]
        assert draws == 4  # of five targets one is the row's own
        assert log_prob[-1] == float("-inf")
        assert log_prob[0] == pytest.approx(log_prob[3])
