"""Exact Recall@{20, 50, 100, 200, 500}: 10,000 users, 100,000 items, D = 64, float32, 1 and 5 targets a user.

Ours counts how many items score at least as high as each target; nothing is sorted and nothing is kept.
Against

- faiss: ``IndexFlatIP`` finds the 500 best of each user, and Python sets count the targets among them;
- torchmetrics: a ``MetricCollection`` of ``RetrievalRecall`` for each N, which share what they keep, fed
  with scores, relevance and the user's number. It keeps every score, so it gets fewer users; times are
  those of a user.

The sides find the same Recall, or the benchmark stops. Where the time goes, on the machine of the results:
most of ours with one target is the matrix product itself (by oneDNN; with MKL's, on processors by AMD, it
takes twice as long, and the goal against faiss would be out of reach: the product alone takes half of what
faiss takes with its search), and each further target costs one more comparison with every score.
"""

from __future__ import annotations

import math
import statistics
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.retrieval import RetrievalRecall

from benchmarks.common.measuring import alternate, duration, missing, ratio
from benchmarks.common.tables import table
from benchmarks.speed.settings import Settings
from lightning_croloss.metrics import RecallAtN
from lightning_croloss.retrieval import target_ranks

PEERS = ("faiss-cpu",)
Row = dict[str, Any]
Recalls = list[float]
NS = (20, 50, 100, 200, 500)
USERS, ITEMS, DIM, TARGETS = 10_000, 100_000, 64, (1, 5)
USERS_OF_TORCHMETRICS = 50
GOALS = {("faiss", 1): 3.0, ("faiss", 5): 1.3, ("torchmetrics", 1): 60.0, ("torchmetrics", 5): 60.0}


def problem(users: int, items: int, targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return vectors of users (B, D) and items (N, D) and target ids (B, T), which lie near their user."""
    generator = torch.Generator().manual_seed(0)
    item_vectors = functional.normalize(torch.randn(items, DIM, generator=generator), dim=1)
    first = torch.randint(0, items, (users, 1), generator=generator)
    ids = (first + torch.arange(targets) * (items // targets)) % items + 1  # no item twice
    noise = torch.randn(users, DIM, generator=generator) * (2.0 / math.sqrt(DIM))
    user_vectors = functional.normalize(item_vectors[ids - 1].sum(1) + noise, dim=1)
    return user_vectors, item_vectors, ids


def ours(users: Tensor, items: Tensor, targets: Tensor, batch: int = 1024) -> Recalls:
    """Return Recall@N as RetrievalModel computes it, a batch of users at a time."""
    metric = RecallAtN(NS)
    for rows in torch.arange(len(users)).split(batch):
        metric.update(target_ranks(users[rows].unsqueeze(1), items, targets[rows]))
    return [float(value) for value in metric.compute().values()]


def faiss_and_sets(users: Tensor, index: Any, targets: Tensor) -> Recalls:
    """Return Recall@N from the best of an index and sets of ids."""
    _, found = index.search(users.numpy(), max(NS))
    sums = dict.fromkeys(NS, 0.0)
    for best, wanted in zip((found + 1).tolist(), targets.tolist(), strict=True):
        relevant = set(wanted)
        for n in NS:
            sums[n] += len(relevant.intersection(best[:n])) / len(relevant)
    return [total / len(users) for total in sums.values()]


def torchmetrics_recall(users: Tensor, items: Tensor, targets: Tensor) -> Recalls:
    """Return Recall@N by torchmetrics, whose metrics are fed with every score."""
    metrics = MetricCollection({str(n): RetrievalRecall(top_k=n) for n in NS})
    for row, (vector, wanted) in enumerate(zip(users, targets, strict=True)):
        scores = items @ vector
        relevant = torch.zeros(len(items), dtype=torch.bool)
        relevant[wanted - 1] = True
        metrics.update(scores, relevant, indexes=torch.full((len(items),), row))
    found = metrics.compute()
    return [float(found[str(n)]) for n in NS]


def compare(peer: str, targets: int, threads: int, settings: Settings, rounds: int) -> Row:
    """Compare with one peer.

    Raises:
        RuntimeError: the sides' Recall on the same users differs by more than rounding explains.
    """
    many, items = (200, 2_000) if settings.quick else (USERS, ITEMS)
    users, item_vectors, ids = problem(many, items, targets)
    theirs = many if peer == "faiss" else min(many, USERS_OF_TORCHMETRICS)
    torch.set_num_threads(threads)
    if peer == "faiss":
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatIP(DIM)
        index.add(item_vectors.numpy())

        def their_side() -> Recalls:
            return faiss_and_sets(users, index, ids)
    else:

        def their_side() -> Recalls:
            return torchmetrics_recall(users[:theirs], item_vectors, ids[:theirs])

    def our_side() -> Recalls:
        return ours(users, item_vectors, ids)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of its memory
        found, expected = ours(users[:theirs], item_vectors, ids[:theirs]), their_side()
        if any(abs(a - b) > 1e-3 for a, b in zip(found, expected, strict=True)):
            raise RuntimeError(f"Recall at {NS} is {found} by ours, {expected} by {peer}")
        our_side()
        seconds = alternate({"ours": our_side, "peer": their_side}, rounds, settings.clock, warm_up=False)
    torch.set_num_threads(1)
    return {
        "peer": peer,
        "users": many,
        "users of the peer": theirs,
        "items": items,
        "targets": targets,
        "threads": threads,
        "rounds": rounds,
        "ours s/user": statistics.median(seconds["ours"]) / many,
        "peer s/user": statistics.median(seconds["peer"]) / theirs,
        "peer / ours": ratio(seconds, "peer", "ours") * many / theirs,
        "goal": GOALS[peer, targets],
        **{f"recall@{n}": value for n, value in zip(NS, found, strict=True)},
    }


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    rows, notes = [], []
    for peer, packages in (("faiss", PEERS), ("torchmetrics", ())):
        message = missing(packages)
        if message is not None:
            notes.append(f"{peer} left out: {message}.")
            continue
        rounds = min(settings.repeats, 5 if peer == "faiss" else 3)
        rows += [
            compare(peer, targets, threads, settings, rounds)
            for threads in settings.threads
            for targets in TARGETS
        ]
    head = ["peer", "targets", "its users", "threads", "ours, a user", "peer, a user", "peer / ours", "goal"]
    cells = [
        [
            row["peer"],
            str(row["targets"]),
            f"{row['users of the peer']:,}",
            str(row["threads"]),
            duration(row["ours s/user"]),
            duration(row["peer s/user"]),
            f"{row['peer / ours']:.2f}",
            f"≥ {row['goal']:g}",
        ]
        for row in rows
    ]
    shape = f"{rows[0]['users']:,} users, {rows[0]['items']:,} items" if rows else ""
    what = f"# Exact Recall@{{{', '.join(map(str, NS))}}}: {shape}, D = {DIM}, float32"
    return rows, "\n\n".join([what, table(head, cells), *notes])
