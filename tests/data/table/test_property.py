"""Whatever a small table holds: it trains and is evaluated, or it is refused with a DataError."""

import tempfile
import warnings
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_croloss import UniformNegatives, YouTubeDNN
from lightning_croloss.data import (
    GlobalTime,
    LeaveOneOut,
    PerUserRatio,
    Predefined,
    TableDataModule,
    UserDisjoint,
)
from lightning_croloss.errors import DataError
from lightning_croloss.retrieval import target_ranks

TEXT = st.text(st.sampled_from("ab07 ,\"'\n\t|-é"), max_size=3)
DATES = st.datetimes(datetime(1600, 1, 1), datetime(2300, 1, 1))
IDS = [
    st.integers(0, 5),
    st.sampled_from("abcde"),
    TEXT,
    TEXT | st.just("\0"),
    st.integers(-(2**63), 2**63 - 1),
]
TIMES = [
    st.integers(0, 9),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(0, 9),
    st.floats(),
    DATES,
    st.dates(),
    DATES.map(lambda when: when.isoformat()),
    st.sampled_from(["2024-01-01", "2024-01-02T10:00:00Z", "2024-13-01", "5"]),
]
NUMBERS = [st.floats(0, 5), st.integers(0, 5), st.floats(), TEXT, st.integers(-1, 1)]
SPLITS = [
    LeaveOneOut,
    lambda: UserDisjoint(0.5, 0.25, 0.25),
    lambda: PerUserRatio(0.5, 0.25, 0.25),
    lambda: GlobalTime(0.3, 0.3),
    lambda: Predefined("train", "valid", "test", column="part"),
    lambda: Predefined("train", 0.3, "test", column="kind"),
]


@st.composite
def tables(draw):
    """Draw the columns of a table, mostly without missing values."""
    rows = draw(st.integers(0, 30) | st.integers(15, 30))

    def column(kinds):
        # three of four are of the first kind, which can be used
        values = draw(st.sampled_from(kinds)) if draw(st.integers(0, 3)) == 0 else kinds[0]
        if draw(st.integers(0, 14)) == 0:
            values = st.none() | values
        return draw(st.lists(values, min_size=rows, max_size=rows))

    columns = {
        "user_id": column([st.integers(0, 3), *IDS]),
        "item_id": column(IDS),
        "timestamp": column(TIMES),
        "number": column(NUMBERS),
        "part": column([st.sampled_from(["train", "valid", "test"]), st.sampled_from(["train", "x"])]),
        "kind": column([st.sampled_from(["train", "test"])]),
    }
    if draw(st.integers(0, 39)) == 0:
        del columns[draw(st.sampled_from(list(columns)))]
    return columns


@st.composite
def arguments(draw):
    """Draw arguments, mostly mild ones."""
    chosen = {
        "split": draw(st.sampled_from(SPLITS))(),
        "min_user_interactions": draw(st.sampled_from([1, 1, 2, 3])),
        "min_item_interactions": draw(st.sampled_from([1, 1, 1, 2])),
        "k_core": draw(st.booleans()),
        "duplicates": draw(st.sampled_from(["all", "all", "first", "last"])),
        "consecutive_repeats": draw(st.booleans()),
        "drop_missing": draw(st.booleans()),
        "max_history": draw(st.integers(1, 4)),
        "batch_size": draw(st.integers(1, 40)),
        "time_column": draw(st.sampled_from(["timestamp", "timestamp", "timestamp", None])),
    }
    extra = draw(
        st.sampled_from([{}, {}, {"weight_column": "number"}, {"value_column": "number", "min_value": 1}])
    )
    return {**chosen, **extra}


def train_and_evaluate(data):
    """Make one step on the first batch, and rank the targets of validation and test."""
    model = YouTubeDNN(data.num_items, embedding_dim=4, negatives=UniformNegatives(3), ns=(1,))
    model.negatives.prepare(data.item_counts, data.target_counts)
    loss = model.loss_of(next(iter(data.train_dataloader())))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    model.eval()
    with torch.no_grad():
        for loader in (data.val_dataloader(), data.test_dataloader()):
            for batch in loader:
                ranks = target_ranks(model.encode_users(batch), model.encode_items(None), batch.targets)
                real = ranks[batch.targets != 0]
                assert len(real)
                assert (real >= 1).all()
                assert (real <= data.num_items).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_any_small_table_trains_or_is_refused():
    outcomes = {"trained": 0, "refused": 0}

    @settings(max_examples=200, suppress_health_check=list(HealthCheck), database=None)
    @given(tables(), arguments(), st.sampled_from(["x.parquet", "x.csv", "x.tsv"]))
    def check(columns, given_arguments, name):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / name
            frame = pl.DataFrame(columns)
            if name == "x.parquet":
                frame.write_parquet(path)
            else:
                frame.write_csv(path, separator="," if name == "x.csv" else "\t")
            try:
                data = TableDataModule(str(path), **given_arguments)
                data.report  # noqa: B018
                data.rows  # noqa: B018
            except DataError:
                outcomes["refused"] += 1
                return
            train_and_evaluate(data)
            outcomes["trained"] += 1

    check()
    assert outcomes["trained"] > 10
    assert outcomes["refused"] > 10
