"""What means "missing" in training's features does so in those that ``croloss recommend`` reads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss.cli.recommend.history_input import read_events
from lightning_croloss.cli.recommend.options import recommend_parser
from lightning_croloss.cli.recommend.user_table import Users
from lightning_croloss.data import RecBoleDataModule, RetrievalDataModule, TableDataModule

pytest.importorskip("polars", reason="needs the extra [tables]")

MISSING = ["-1", "?", "u1", "i2"]
USERS = [("u0", "nl", "20"), ("u1", "?", "31"), ("u2", "be", "-1"), ("u3", "nl", "40")]
EVENTS = [
    (
        f"u{user}",
        f"i{(user + time) % 5}",
        10 * user + time,
        ("view", "?", "buy")[time % 3],
        ("4", "-1", "2.5")[time % 3],
    )
    for user in range(4)
    for time in range(5)
]


def written(path: Path, header: str, rows: list[tuple[Any, ...]], separator: str) -> str:
    lines = [separator.join(map(str, row)) for row in rows]
    path.write_text("\n".join([header.replace(" ", separator), *lines]) + "\n")
    return str(path)


def table(folder: Path, ids_may_mean_missing: bool) -> RetrievalDataModule:
    events = [row for row in EVENTS if not ids_may_mean_missing or not {*row} & {"u1", "i2"}]
    return TableDataModule(
        written(folder / "events.csv", "user_id item_id timestamp kind rating", events, ","),
        users=written(folder / "users.csv", "user_id country age", USERS, ","),
        user_features=["country", "age"],
        event_features=["kind", "rating"],
        missing_values=MISSING if ids_may_mean_missing else MISSING[:2],
        min_user_interactions=1,
    )


def recbole(folder: Path) -> RetrievalDataModule:
    pytest.importorskip("recbole", reason="needs the extra [recbole]")
    shop = folder / "shop"
    shop.mkdir()
    header = "user_id:token item_id:token timestamp:float kind:token rating:float"
    written(shop / "shop.inter", header, EVENTS, "\t")
    written(shop / "shop.user", "user_id:token country:token age:float", USERS, "\t")
    return RecBoleDataModule(
        "shop",
        str(folder),
        user_features=["country", "age"],
        event_features=["kind", "rating"],
        missing_values=MISSING,
    )


@pytest.mark.parametrize("kind", ["table", "table of ids", "recbole"])
def test_features_are_missing_where_they_were_in_training(tmp_path: Path, kind: str) -> None:
    data = recbole(tmp_path) if kind == "recbole" else table(tmp_path, kind == "table of ids")
    folder = tmp_path / "shop" if kind == "recbole" else tmp_path
    events, users = (
        next(str(path) for ending in endings for path in folder.glob(f"*{ending}"))
        for endings in ((".inter", "events.csv"), (".user", "users.csv"))
    )
    given = recommend_parser().parse_args(["--model=m", f"--histories={events}", f"--users={users}"])
    columns = data.interactions.columns
    training = data.rows.training_events
    inputs = EventInputs(encodings=tuple(column.learn(training) for column in columns))
    (batch,) = read_events(given, data.reading, 100, events=inputs)
    assert batch.users == data.user_vocabulary.tokens
    lengths = list(map(len, batch.tokens))
    found = inputs.encode(lengths, None, batch.event_features, "the model")
    assert found is not None
    for column, encoding, values in zip(columns, inputs.encodings, found.features, strict=True):
        assert np.array_equal(values, column.encoded(encoding).numpy(), equal_nan=True)
        assert (np.isnan(values) if column.kind == "numeric" else values == 0).any()

    encodings = [feature.encoding for feature in data.features[1]]
    metadata = SimpleNamespace(user_vocabulary=data.user_vocabulary, user_encodings=encodings)
    model: Any = SimpleNamespace(
        knows_users=True, needs_known_users=False, reads_user_features=True, metadata=metadata
    )
    features = Users(model, given, data.reading).of(batch)["user_features"]
    for feature in data.features[1]:
        values = feature.encoding.encode(features[feature.name])
        assert np.array_equal(values, feature.values[1:].numpy(), equal_nan=True)
