"""YouTubeDNN over a catalogue in shards of TorchRec, for tables that want its fused optimizers on many GPUs.

Run: torchrun --standalone --nproc-per-node=2 examples/torchrec_tables.py
and for a large table, on each of its machines: torchrun --nnodes=… --nproc-per-node=8 --rdzv-backend=c10d
--rdzv-endpoint=… examples/torchrec_tables.py --items 100_000_000 --dim 64 --rows 4096 --negatives 8192

TorchRec's planner places the rows, its look-ups exchange them, and its fused row-wise Adagrad updates them in
the backward pass: there is neither a gradient of the table nor a state but one number a row. The loss takes
what was looked up; Recall is exact, each process ranks among its own rows. How to install: docs/scale.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize
from torchrec import EmbeddingCollection, EmbeddingConfig, KeyedJaggedTensor
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints, Topology
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.optim import RowWiseAdagrad
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter

from lightning_croloss import CROLoss, RecallAtN
from lightning_croloss.models.layers import mlp, pool_history
from lightning_croloss.retrieval.sharded import ItemShards, target_ranks

TOPICS, LENGTH = 50, 8


class YouTubeDNN(nn.Module):
    """The mean of the history through dense layers; one table for history, targets and negatives."""

    def __init__(self, num_items: int, dim: int, device: torch.device) -> None:
        super().__init__()
        table = EmbeddingConfig(
            name="item",  # "items" would be a method of the dictionary in which TorchRec keeps it
            feature_names=["id"],
            num_embeddings=num_items + 1,  # row 0 is padding
            embedding_dim=dim,
            init_fn=lambda rows: nn.init.normal_(rows, std=dim**-0.5),
        )
        # without memory, until it is known which rows are here
        self.tables = EmbeddingCollection([table], device=torch.device("meta"))
        self.user_layers = mlp(dim, [2 * dim], dim, dropout=0.0).to(device)

    def look_up(self, ids: Tensor) -> Tensor:
        """Return the rows (n, D) of ids (n,), n ≥ 1, from where they are; every process must call it."""
        distinct, position = torch.unique(ids, return_inverse=True)
        keyed = KeyedJaggedTensor(keys=["id"], values=distinct, lengths=torch.ones_like(distinct))
        rows: Tensor = self.tables(keyed)["id"].values()
        return rows[position]

    def users(self, history: Tensor, rows: Tensor) -> Tensor:
        """Return (B, D) unit vectors of histories (B, L), whose rows are (B · L, D)."""
        pooled = pool_history(rows.view(*history.shape, -1), history != 0, "mean")
        return normalize(self.user_layers(pooled), dim=-1)

    def forward(self, history: Tensor, targets: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return unit vectors of users (B, D), targets (B, D) and negatives (M, D), by one look-up."""
        parts = [history.numel(), len(targets), len(drawn)]
        rows = self.look_up(torch.cat([history.flatten(), targets, drawn])).split(parts)
        return self.users(history, rows[0]), normalize(rows[1], dim=-1), normalize(rows[2], dim=-1)


def sharded(
    model: YouTubeDNN, device: torch.device, lr: float, looked_up: int
) -> tuple[DistributedModelParallel, CombinedOptimizer]:
    """Return the model with its table in shards and its dense layers under DDP, and its optimizers.

    Args:
        model: its table is on "meta" still.
        device: of this process.
        lr: learning rate of the table.
        looked_up: ids that a process looks up in a step, for the planner's reckoning of memory.
    """
    apply_optimizer_in_backward(RowWiseAdagrad, model.tables.parameters(), {"lr": lr})
    world = distributed.get_world_size()
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    topology = Topology(
        world, device.type, hbm_cap=memory, local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", world))
    )
    # by rows, since a column or the whole of such a table fits nowhere, and Recall is counted by rows
    by_rows = {"item": ParameterConstraints(sharding_types=["row_wise"])}
    sharders = [EmbeddingCollectionSharder()]
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=looked_up,
        storage_reservation=FixedPercentageStorageReservation(percentage=0.2),
        constraints=by_rows,
    )
    plan = planner.collective_plan(model, sharders, distributed.group.WORLD)
    parallel = DistributedModelParallel(model, device=device, plan=plan, sharders=sharders)
    dense = dict(in_backward_optimizer_filter(parallel.named_parameters()))
    adam = KeyedOptimizerWrapper(dense, lambda parameters: torch.optim.Adam(parameters, lr=0.003))
    return parallel, CombinedOptimizer([("table", parallel.fused_optimizer), ("dense", adam)])


def own_items(model: DistributedModelParallel) -> tuple[Tensor, ItemShards]:
    """Return the rows of this process's items, without that of padding, and which items are whose."""
    table = model.state_dict()["tables.embeddings.item.weight"]
    first, *others = (shard.shard_sizes[0] for shard in table.metadata().shards_metadata)
    rank = distributed.get_rank()
    return table.local_shards()[0].tensor[int(rank == 0) :], ItemShards((first - 1, *others), rank)


@torch.no_grad()
def ranks(model: DistributedModelParallel, history: Tensor, targets: Tensor) -> Tensor:
    """Return (B, 1) the exact ranks of targets (B,) among all items; every process must call it."""
    rows, shards = own_items(model)
    users = model.module.users(history, model.module.look_up(history.flatten()))
    return target_ranks(users.unsqueeze(1), normalize(rows, dim=-1), targets.unsqueeze(1), shards)


def sessions(users: int, num_items: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return histories and next items: a user stays with the items of one topic, four times out of five."""
    size = (users, LENGTH + 1)
    topics = torch.randint(TOPICS, (users, 1), device=device)
    topical = topics + TOPICS * torch.randint(num_items // TOPICS, size, device=device)
    strays = torch.randint(num_items, size, device=device)
    items = torch.where(torch.rand(size, device=device) < 0.8, topical, strays) + 1
    return items[:, :-1], items[:, -1]


def batches(data: tuple[Tensor, Tensor], rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield whole batches in a new order."""
    order = torch.randperm(len(data[0]), device=data[0].device)
    for start in range(0, len(order) - rows + 1, rows):
        chosen = order[start : start + rows]
        yield data[0][chosen], data[1][chosen]


def main() -> None:
    """Train on the sessions of this process's own users; print Recall@20 of all before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000, help="Number of items, a multiple of 50.")
    parser.add_argument("--dim", type=int, default=32, help="Width of the vectors.")
    parser.add_argument("--users", type=int, default=4_000, help="Users of each process.")
    parser.add_argument("--rows", type=int, default=100, help="Rows of a batch in each process.")
    parser.add_argument("--negatives", type=int, default=500, help="Negatives that each process draws.")
    parser.add_argument("--epochs", type=int, default=6, help="Passes through the users.")
    chosen = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    rank = distributed.get_rank()
    torch.manual_seed(rank)  # each process has users and draws of its own; DDP takes the layers of the first
    looked_up = chosen.rows * (LENGTH + 1) + chosen.negatives
    model, optimizer = sharded(YouTubeDNN(chosen.items, chosen.dim, device), device, 0.1, looked_up)
    train, valid = (sessions(users, chosen.items, device) for users in (chosen.users, 500))
    loss = CROLoss(n=20, temperature=0.1, num_items=chosen.items)

    def recall() -> float:
        metric = RecallAtN(ns=(20,)).to(device)
        metric.update(ranks(model, *valid))
        return float(metric.compute()["recall@20"])

    def say(words: str) -> None:
        if rank == 0:
            print(words, flush=True)

    say(f"before: recall@20 {recall():.3f}")
    for epoch in range(1, chosen.epochs + 1):
        values = []
        for history, targets in batches(train, chosen.rows):
            drawn = torch.randint(1, chosen.items + 1, (chosen.negatives,), device=device)
            vectors = model(history, targets, drawn)
            value = loss.from_embeddings(*vectors, target_ids=targets, candidate_ids=drawn)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            values.append(value.detach())
        mean = torch.stack(values).mean()
        distributed.all_reduce(mean)
        say(f"epoch {epoch}: loss {mean / distributed.get_world_size():.3f}")
    say(f"after: recall@20 {recall():.3f}")
    distributed.barrier()  # nobody leaves while another still listens
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
