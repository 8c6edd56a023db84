"""Latency of one request and Recall lost, exact and approximate search, one thread.

A request is one history of tokens; an answer its top 100 with tokens and scores: check of the input, encoder
on onnxruntime, search, merge of the interests, history left out. The item vectors are drawn in clusters, as
trained ones lie, and a history stays in one cluster. All ways answer the same requests in turn, so that
whatever else the machine does hits them alike. Recall is the share of the exact top 100 that a way finds.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from croloss_serving.common.vocabulary import Vocabulary
from lightning_croloss import ComiRecSA, Recommender, RetrievalModel, YouTubeDNN, export_model

DIM, CLUSTERS, LENGTH, TOP = 64, 500, 20, 100
WAYS: list[tuple[str, str | None, dict[str, int]]] = [
    ("exact, numpy", None, {}),
    ("exact, faiss Flat", "flat", {}),
    *((f"IVF, nprobe {n}", "ivf", {"nprobe": n}) for n in (1, 4, 16, 64)),
    *((f"HNSW, efSearch {n}", "hnsw", {"ef_search": n}) for n in (16, 64, 256)),
]


def models(items: int) -> dict[str, RetrievalModel]:
    """Build a model of one interest and one of four over the same clustered item vectors."""
    torch.manual_seed(0)
    centres = torch.randn(CLUSTERS, DIM)
    cluster = torch.arange(items) % CLUSTERS
    vectors = centres[cluster] + 0.7 * torch.randn(items, DIM)
    built: dict[str, RetrievalModel] = {
        "YouTubeDNN": YouTubeDNN(num_items=items, embedding_dim=DIM, hidden_dims=(), ns=(TOP,)),
        "ComiRecSA, 4 interests": ComiRecSA(num_items=items, embedding_dim=DIM, num_interests=4, ns=(TOP,)),
    }
    for model in built.values():
        with torch.no_grad():
            model.get_parameter("item_embedding.weight")[1:] = vectors
            for layer in model.modules():
                if isinstance(model, YouTubeDNN) and isinstance(layer, torch.nn.Linear):
                    layer.weight.copy_(torch.eye(DIM))  # the user stays where the history is
                    layer.bias.zero_()
        model.metadata.item_vocabulary = Vocabulary([f"item-{number}" for number in range(items)])
        model.metadata.item_counts = torch.ones(items + 1, dtype=torch.long)
        model.metadata.max_history = 50
    return built


def measure(name: str, model: RetrievalModel, items: int, requests: int) -> list[dict[str, Any]]:
    """Export the model with each index, and answer the same requests in every way."""
    random = np.random.default_rng(0)
    histories = []
    for _ in range(requests):
        places = random.integers(0, items // CLUSTERS, LENGTH) * CLUSTERS + random.integers(CLUSTERS)
        histories.append([f"item-{place}" for place in places])
    with tempfile.TemporaryDirectory() as folder:
        folders, seconds = {}, {}
        for index in (None, "flat", "ivf", "hnsw"):
            begin = time.perf_counter()
            folders[index] = export_model(model, Path(folder) / str(index), index=index)
            seconds[index] = time.perf_counter() - begin
        ways = {way: Recommender.from_export(folders[index], threads=1, **s) for way, index, s in WAYS}
        sizes = {
            way: sum(file.stat().st_size for file in folders[index].iterdir()) / 2**20
            for way, index, _ in WAYS
        }
    encoder = ways[WAYS[0][0]]
    times: dict[str, list[float]] = {way: [] for way in ways}
    shares: dict[str, list[float]] = {way: [] for way in ways}
    encoding = []
    users = np.zeros(1, dtype=np.int64)
    for number, history in enumerate(histories):
        ids = [encoder.vocabulary.encode(history).tolist()]
        begin = time.perf_counter()
        encoder.encode(ids, users)
        encoding.append(time.perf_counter() - begin)
        exact: set[Any] = set()
        names = list(ways)
        turn = number % len(names)
        found = {}
        for way in names[turn:] + names[:turn]:
            begin = time.perf_counter()
            (answer,) = ways[way].recommend([history], TOP)
            times[way].append(time.perf_counter() - begin)
            found[way] = set(answer.tokens)
        exact = found[WAYS[0][0]]
        for way, tokens in found.items():
            shares[way].append(len(tokens & exact) / TOP)
    base = np.median(times[WAYS[0][0]])
    return [
        {
            "model": name,
            "way": way,
            "p50_ms": 1000 * float(np.median(times[way])),
            "p95_ms": 1000 * float(np.quantile(times[way], 0.95)),
            "encoder_p50_ms": 1000 * float(np.median(encoding)),
            "speedup": float(base / np.median(times[way])),
            "recall": float(np.mean(shares[way])),
            "export_seconds": seconds[index],
            "export_mib": sizes[way],
        }
        for way, index, _ in WAYS
    ]
