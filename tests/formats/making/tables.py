"""The tables that all sets are trained on: a catalogue small enough to keep every model of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

NUM_USERS, NUM_ITEMS, EVENTS = 48, 32, 8


def write_tables(event_features: bool) -> None:
    """Write events in four clusters, no user having an item twice, and tables of features.

    Args:
        event_features: whether events have a rating and a kind, here and there missing, and the times between
            them are of every order of size.
    """
    random = np.random.default_rng(0)
    clusters = np.arange(NUM_ITEMS).reshape(4, -1)
    rows = []
    for user in range(NUM_USERS):
        for place, item in enumerate(random.permutation(clusters[user % 4])[:EVENTS]):
            part = "train" if place < EVENTS - 2 else "valid" if place < EVENTS - 1 else "test"
            rows.append([f"u{user:02}", f"i{item:02}", 100 * place + user, 1 + user % 2, part])
    columns = ["user", "item", "time", "weight", "part"]
    if event_features:
        columns += ["rating", "kind"]
        for row in rows:
            row[2] = int(row[2] * np.exp(random.uniform(0, 4)))  # mixes the order of the events, too
            row += [random.integers(0, 6) or "", ("", "view", "buy")[random.integers(0, 3)]]
    _write("events.csv", columns, rows)
    clusters_of = [item // (NUM_ITEMS // 4) for item in range(NUM_ITEMS)]
    _write(
        "items.csv",
        ["item", "genre", "tags", "price", "name"],
        [
            [
                f"i{item:02}",
                f"genre{cluster}",
                f"about{cluster} new{item % 3}",
                10 * cluster + item % 3,
                f"Item {item}",
            ]
            for item, cluster in enumerate(clusters_of)
        ],
    )
    _write(
        "users.csv",
        ["user", "country", "age"],
        [[f"u{user:02}", f"country{user % 4}", 20 + user % 4] for user in range(NUM_USERS)],
    )


def _write(path: str, columns: list[str], rows: list[list[object]]) -> None:
    lines = [columns, *rows]
    Path(path).write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")
