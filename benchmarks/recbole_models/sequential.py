"""Models of histories: those that RecBole has too, by the same events, split, settings and epochs.

MovieLens-100k as RecBole bundles it. Of each user's targets, which are all events but the first, in their
order the last tenth is for test and the one before for validation: 943 users with one target each would tell
apart nothing within 10 %. A target's history is the 20 events before it. Events of one second keep their
order in the file: RecBole, which keeps times in single precision and sorts by them, gets each event's number
for its time. The whole catalogue is ranked, with what the user had before, as RecBole does for models of
sequences.
Cross-entropy of dot products over the whole catalogue (BERT4Rec: of the masked events), Adam, each target
with its history a row, no early stopping: the epoch that is best by validation Recall@10 is tested, each side
by its own evaluation.

BERT4Rec masks events of a row. RecBole's rows are a history for each target here, too, and ours are windows
that do not overlap, one for eighteen of RecBole's; so ours has eighteen times the epochs, of as many rows and
steps in all, and is validated as often. RecBole masks the last event alone in half of its rows, of which
there is one that ends with each event: ours then end with any of their events, too.

RecBole 1.2.1 has no HSTU, ESASRec or BSARec.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.attention import Attention
from benchmarks.recbole_models import our_side, recbole_side
from benchmarks.recbole_models.recbole_side import SEED, N
from lightning_croloss import (
    BERT4Rec,
    Caser,
    FullCatalogNegatives,
    GRU4Rec,
    RecBoleDataModule,
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
)
from lightning_croloss.data import DataRequest, Interactions, SplitRows, TargetRows
from lightning_croloss.data.splits import Split

DIM, LENGTH, BATCH, RATE, EPOCHS, DROPOUT = 64, 20, 256, 0.002, 8, 0.2
#: Not that of the data, for which RecBole would take its own file.
NAME = "events"
#: Of those that attend.
ATTENTION = Attention(DIM, LENGTH, dropout=DROPOUT)
OURS = ATTENTION.ours | {"embedding_dropout": DROPOUT}
#: Name -> our class, its arguments, and RecBole's.
MODELS: dict[str, tuple[Callable[..., RetrievalModel], dict[str, Any], dict[str, Any]]] = {
    "SASRec": (SASRec, OURS, ATTENTION.theirs),
    "GRU4Rec": (
        GRU4Rec,
        {"hidden_dims": (DIM,), "embedding_dropout": DROPOUT},
        {"hidden_size": DIM, "num_layers": 1, "dropout_prob": DROPOUT},
    ),
    "Caser": (
        Caser,
        {"num_events": 5, "num_horizontal": 16, "num_vertical": 4, "use_user_id": True, "dropout": 0.4},
        {"MAX_ITEM_LIST_LENGTH": 5, "nh": 16, "nv": 4, "dropout_prob": 0.4},
    ),
    "BERT4Rec": (
        BERT4Rec,
        OURS | {"mask_probability": 0.2, "mask_last_probability": 0.5, "random_ends": True},
        ATTENTION.theirs | {"mask_ratio": 0.2, "ft_ratio": 0.5},
    ),
}


class ByOrder(Split):
    """RecBole's split by ratio, in order: of a user's targets a tenth, or one, for each held-out part."""

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part, a target each, with the events before it."""
        tenth = ((interactions.lengths - 1) // 10).clamp(min=1)[interactions.users]
        from_end = interactions.lengths[interactions.users] - 1 - interactions.positions
        target = interactions.positions >= 1
        return SplitRows(
            train=TargetRows.single(target & (from_end >= 2 * tenth)),
            valid=TargetRows.single(target & (from_end >= tenth) & (from_end < 2 * tenth)),
            test=TargetRows.single(target & (from_end < tenth)),
            training_events=from_end >= 2 * tenth,
            unseen_users=False,
        )


def theirs(model: str) -> dict[str, float]:
    """Train and test RecBole's model."""
    with tempfile.TemporaryDirectory() as folder:
        write_events(Path(folder))
        return recbole_side.train_and_test(model, given(model, folder))


def given(model: str, folder: str) -> dict[str, Any]:
    """Return RecBole's settings of a model, whose data lies in a folder."""
    return {
        "dataset": NAME,
        "data_path": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"},
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "MAX_ITEM_LIST_LENGTH": LENGTH,
        "embedding_size": DIM,
        "epochs": EPOCHS,
        "eval_step": 1,
        "stopping_step": EPOCHS,
        "train_batch_size": BATCH,
        "learning_rate": RATE,
        **MODELS[model][2],
    }


def write_events(folder: Path) -> None:
    """Write the data as RecBole reads it, with each event's number among its user's as its time."""
    import polars as pl

    events = events_of().interactions
    table = pl.DataFrame(
        {
            "user_id:token": events.users.numpy(),
            "item_id:token": events.items.numpy(),
            "timestamp:float": events.positions.numpy(),
        }
    )
    (folder / NAME).mkdir()
    table.write_csv(folder / NAME / f"{NAME}.inter", separator="\t")


def events_of() -> RecBoleDataModule:
    """Build our data."""
    return RecBoleDataModule("ml-100k", split=ByOrder(), max_history=LENGTH, batch_size=BATCH, seed=SEED)


def ours(model: str) -> dict[str, float]:
    """Train and test our model."""
    data = events_of()
    cls, arguments, _ = MODELS[model]
    if model == "Caser":
        arguments = {**arguments, "num_users": data.num_users}
    built = cls(
        num_items=data.num_items,
        embedding_dim=DIM,
        loss=SoftmaxLoss(temperature=1.0),
        negatives=FullCatalogNegatives(),
        similarity="dot",
        ns=(N,),
        optimizer=partial(torch.optim.Adam, lr=RATE),
        **arguments,
    )
    longer = epochs_for_as_many_rows(data) if built.all_positions else 1
    return our_side.train_and_test(built, data, EPOCHS * longer, every=longer, counted=1)


def epochs_for_as_many_rows(data: RecBoleDataModule) -> int:
    """Return how many epochs of windows have about as many rows as one of a row for each target."""
    targets = len(data.train_rows)
    data.prepare_for(DataRequest(all_positions=True))
    return max(1, round(targets / len(data.train_dataloader().dataset)))
