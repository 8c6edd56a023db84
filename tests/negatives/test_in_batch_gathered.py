"""In-batch negatives over two processes equal those of one process with the whole batch."""

import functools
import math
import os

import pytest
import torch
from torch import distributed

from lightning_croloss import CROLoss, InBatchNegatives, MixedNegatives, UniformNegatives, YouTubeDNN
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.negatives.in_batch import gather_ids
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.distributed import run_distributed

NUM_ITEMS = 15
COUNTS = torch.arange(NUM_ITEMS + 1)
#: Rows of each process.
SPLITS = [(4, 4), (5, 3), (1, 7)]


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
    model.negatives.prepare(COUNTS, COUNTS)
    return model.double()


def gradients(model, batch):
    model.loss_of(batch).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def rows_of(rank, sizes):
    """Return the part of the whole batch that process ``rank`` holds of parts with these sizes."""
    batch, begin = whole_batch(), sum(sizes[:rank])
    rows = slice(begin, begin + sizes[rank])
    return RetrievalBatch(batch.history[rows], batch.targets[rows], batch.users[rows])


def summed_gradients(rank):
    results = []
    for sizes in SPLITS:
        found = gradients(model_with(gather=True), rows_of(rank, sizes))
        for gradient in found:
            # of equal sizes this is what DistributedDataParallel does: the mean over the processes
            gradient *= sizes[rank] / sum(sizes)
            distributed.all_reduce(gradient)
        results.append([gradient.numpy() for gradient in found])
    return results


def gathered_and_counted(rank):
    targets = torch.tensor([[3], [4], [5]][: 3 - rank])  # the second process has a row less
    batch = RetrievalBatch(targets, targets, users=targets[:, 0])
    sampler = model_with(gather=True).negatives
    mixture = MixedNegatives([InBatchNegatives(gather_across_devices=True), UniformNegatives(6)])
    mixture.set_num_items(NUM_ITEMS)
    mixture.prepare(COUNTS, COUNTS)
    candidates, mixed = sampler.sample(batch), mixture.sample(batch)
    ids, rows = gather_ids(targets[:, 0])
    return (
        (ids.tolist(), rows),
        (candidates.ids.tolist(), candidates.num_sampled, candidates.log_prob.tolist()),
        (mixed.ids.tolist(), mixed.num_sampled, mixed.log_prob.tolist()),
    )


def trained_weights(batch_size, sampler, **kwargs):
    sgd = functools.partial(torch.optim.SGD, lr=0.5)
    model = small_model(negatives=sampler, optimizer=sgd)
    data = ClusteredData(num_users=60, batch_size=batch_size)
    fit(model, data, precision="64-true", limit_val_batches=0, **kwargs)
    return {name: value.numpy() for name, value in model.state_dict().items()}


def in_one_of_two_processes(rank, world_size):
    results = {"gradients": summed_gradients(rank), "counts": gathered_and_counted(rank)}
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world_size)}
    for gather in (True, False):
        results["weights", gather] = trained_weights(
            10, InBatchNegatives(gather), strategy="ddp", devices=world_size
        )
    return results


@pytest.fixture(scope="module")
def two_processes():
    return run_distributed(in_one_of_two_processes, 2)


@pytest.mark.slow
def test_gradients_equal_those_of_one_process(two_processes):
    expected = gradients(model_with(gather=False), whole_batch())
    for results in two_processes:
        assert len(results["gradients"]) == len(SPLITS)
        for found in results["gradients"]:
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(torch.from_numpy(one), other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_training_in_two_processes_equals_training_in_one_with_twice_the_batch(two_processes):
    expected = trained_weights(20, InBatchNegatives())
    for results in two_processes:
        for name, value in expected.items():
            assert results["weights", True][name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        apart = results["weights", False]["item_embedding.weight"]
        assert apart != pytest.approx(expected["item_embedding.weight"], rel=1e-3)


@pytest.mark.slow
def test_a_process_that_does_not_gather_sees_its_own_rows_only():
    expected = gradients(model_with(gather=False), whole_batch())
    halves = [gradients(model_with(gather=False), rows_of(rank, (4, 4))) for rank in (0, 1)]
    assert not torch.allclose((halves[0][0] + halves[1][0]) / 2, expected[0])
    # alone, gathering changes nothing
    for one, other in zip(gradients(model_with(gather=True), whole_batch()), expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_batches_of_different_sizes(two_processes):
    for results in two_processes:
        gathered, (ids, draws, log_prob), (mixed, all_draws, density) = results["counts"]
        assert gathered == ([3, 4, 5, 3, 4, 0], 5)
        assert ids == gathered[0]
        assert draws == 4  # of five targets one is the row's own
        assert log_prob[-1] == -math.inf
        assert log_prob[0] == log_prob[3]
        assert mixed[:6] == ids
        assert all_draws == 4 + 6
        assert density[5] == -math.inf
        for item, value in zip(mixed, density, strict=True):
            if item:
                share = float(COUNTS[item]) / float(COUNTS[1:].sum())
                assert value == pytest.approx(math.log(0.4 * share + 0.6 / NUM_ITEMS), rel=1e-5)
