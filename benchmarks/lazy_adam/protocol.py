"""Whether Recall suffers from sparse gradients: LazyAdam against AdamW.

    python -m benchmarks.lazy_adam --data FOLDER     # what has no row yet, then the table
    python -m benchmarks.lazy_adam --report          # the table again, from the rows

Everything equal but ``sparse_gradients``: MovieLens-100k (1,682 items, where they would not be chosen by
themselves) and Ciao (105,114 items, where they would). YouTubeDNN, CROLoss, uniform negatives, AdamW with
decoupled weight decay, leave-one-out; test Recall of the epoch that is best on validation Recall@50.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import BestEpoch, Row, Settings, execute, quiet_trainer, rows_of, start_run
from benchmarks.tables import mean_and_spread, table
from lightning_croloss import (
    CROLoss,
    LeaveOneOut,
    RecBoleDataModule,
    RetrievalDataModule,
    TableDataModule,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.files import write_atomically

RESULTS = Path(__file__).parent / "lazy-adam"
SEEDS = (1, 2, 3)
DATA = {"ml-100k": 12, "ciao": 8}  # epochs
NS = (20, 50, 100, 500)


def build_data(name: str, folder: str, seed: int) -> RetrievalDataModule:
    """Build one of the two datasets."""
    if name == "ml-100k":
        return RecBoleDataModule(dataset=name, batch_size=512, max_history=50, seed=seed)
    return TableDataModule(
        str(Path(folder) / f"{name}.parquet"),
        duplicates="first",
        min_user_interactions=5,
        split=LeaveOneOut(),
        batch_size=1024,
        max_history=50,
        seed=seed,
    )


def work(settings: Settings, folder: str) -> Row:
    """Train once."""
    start_run(settings["seed"])
    data = build_data(settings["data"], folder, settings["seed"])
    model = YouTubeDNN(
        num_items=data.num_items,
        embedding_dim=32,
        hidden_dims=(),
        history_dropout=0.3,
        loss=CROLoss(temperature=0.1),
        negatives=UniformNegatives(1024),
        ns=NS,
        exclude_history=True,
        optimizer=partial(torch.optim.AdamW, lr=0.003, weight_decay=0.01),
        sparse_gradients=settings["sparse"],
    )
    best = BestEpoch()
    options = {"enable_checkpointing": False, "num_sanity_val_steps": 0}
    begin = time.process_time()
    trainer = quiet_trainer(DATA[settings["data"]], [best], **options)
    trainer.fit(model, data)
    seconds = time.process_time() - begin
    model.load_state_dict(best.weights)
    (measured,) = trainer.test(model, data, verbose=False)
    return {"fit_seconds": seconds, **{f"recall@{n}": measured[f"test/recall@{n}"] for n in NS}}


def report(rows: dict[str, Row]) -> str:
    """Write the table."""
    lines = []
    for data in DATA:
        for sparse in (False, True):
            found = [
                row
                for row in rows.values()
                if (row["settings"]["data"], row["settings"]["sparse"]) == (data, sparse)
            ]
            cells = [mean_and_spread([row[f"recall@{n}"] for row in found]) for n in NS]
            seconds = f"{np.mean([row['fit_seconds'] for row in found]):.0f} s" if found else ""
            lines.append([data, "LazyAdam, sparse" if sparse else "AdamW, dense", *cells, seconds])
    head = ["data", "optimizer", *(f"Recall@{n}" for n in NS), "CPU seconds of fit"]
    return (
        "# Sparse gradients and Recall\n\nWritten by `python -m benchmarks.lazy_adam`; the protocol is in "
        f"lazy_adam.py. Test values in percent, mean ± deviation over {len(SEEDS)} seeds.\n\n"
        f"{table(head, lines)}\n"
    )


def main() -> None:
    """Run what is missing; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data", help="folder that holds ciao.parquet")
    parser.add_argument("--report", action="store_true", help="only write the table, from the rows")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    if not given.report:
        runs: list[Settings] = [
            {"data": data, "sparse": sparse, "seed": seed}
            for data in DATA
            for seed in SEEDS
            for sparse in (True, False)
        ]
        execute(runs, partial(work, folder=given.data), path, given.processes)
    text = report(rows_of(path))
    write_atomically(RESULTS / "results.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
