"""Latency of one request and Recall lost, exact and approximate search, one thread.

python -m benchmarks.serve [--items 100000] [--requests 300] [--quick]

A request is one history of tokens; an answer its top 100 with tokens and scores: check of the input, encoder
on onnxruntime, search, merge of the interests, history left out. The item vectors are drawn in clusters, as
trained ones lie, and a history stays in one cluster. All ways answer the same requests in turn, so that
whatever else the machine does hits them alike. Recall is the share of the exact top 100 that a way finds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.speed.measuring import machine
from benchmarks.tables import table
from lightning_croloss import ComiRecSA, Recommender, RetrievalModel, YouTubeDNN, export_model
from lightning_croloss.files import replacing, write_atomically
from lightning_croloss.serving.index import import_faiss
from lightning_croloss.vocabulary import Vocabulary

RESULTS = Path(__file__).parent / "results"
DIM, CLUSTERS, LENGTH, TOP = 64, 500, 20, 100
WAYS: list[tuple[str, str | None, dict[str, int]]] = [
    ("exact, numpy", None, {}),
    ("exact, faiss Flat", "flat", {}),
    *((f"IVF, nprobe {n}", "ivf", {"nprobe": n}) for n in (1, 4, 16, 64)),
    *((f"HNSW, efSearch {n}", "hnsw", {"ef_search": n}) for n in (16, 64, 256)),
]


def main() -> None:
    """Measure, print and write the table, its figures and the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the command")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    items, requests = (2000, 20) if given.quick else (given.items, given.requests)
    torch.set_num_threads(1)
    import_faiss("this benchmark").omp_set_num_threads(1)
    before = machine()
    rows = []
    for name, model in models(items).items():
        rows += measure(name, model, items, requests)
    facts = before | {"load at the end": machine()["load"]}
    text = written(rows, items, requests, facts)
    given.output.mkdir(parents=True, exist_ok=True)
    record = {"machine": facts, "items": items, "requests": requests, "rows": rows}
    write_atomically(given.output / "serve.json", (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(given.output / "serve.md", text.encode())
    plot(rows, given.output / "recall_against_latency.png")
    print(text)


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
        model.facts.item_vocabulary = Vocabulary([f"item-{number}" for number in range(items)])
        model.facts.item_counts = torch.ones(items + 1, dtype=torch.long)
        model.facts.max_history = 50
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


def written(rows: list[dict[str, Any]], items: int, requests: int, facts: dict[str, Any]) -> str:
    """Write the table."""
    head = ["model", "search", "p50", "p95", "times faster than numpy", "Recall@100 of exact", "size"]
    body = [
        [
            row["model"],
            row["way"],
            f"{row['p50_ms']:.2f} ms",
            f"{row['p95_ms']:.2f} ms",
            f"{row['speedup']:.1f}",
            f"{row['recall']:.3f}",
            f"{row['export_mib']:.0f} MiB",
        ]
        for row in rows
    ]
    encoders = {row["model"]: row["encoder_p50_ms"] for row in rows}
    encoding = ", ".join(f"{name} {value:.2f} ms" for name, value in encoders.items())
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    return (
        f"# One request at {items:,} items, one thread\n\nWritten by `python -m benchmarks.serve`. "
        f"D = {DIM}, histories of {LENGTH}, top {TOP}, {requests} requests.\n\n{table(head, body)}\n\n"
        f"Of this the encoder takes (p50): {encoding}.\n\n{described}.\n"
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw Recall against the median latency, one line a kind of index."""
    names = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure(figsize=(4.2 * len(names), 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        of_model = [row for row in rows if row["model"] == name]
        for kind in ("exact, numpy", "exact, faiss Flat", "IVF", "HNSW"):
            points = [row for row in of_model if row["way"].startswith(kind)]
            axes.plot([p["p50_ms"] for p in points], [p["recall"] for p in points], "o-", label=kind)
        axes.set_xscale("log")
        axes.set_xlabel("median latency of a request, ms")
        axes.set_ylabel("Recall@100 of the exact answer")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
