"""The order of the leaderboard."""

import json

from lightning_croloss.pretrained.layout import MANIFEST, METRICS
from lightning_croloss.zoo.leaderboard import leaderboard


def test_the_leaderboard_orders_data_sets_and_models(tmp_path):
    def add(name, recall):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("{}")
        measured = {"test": {"recall@5": 0.1}, "valid": 0.1, "setting": {}}
        knn = {"test": {"recall@5": 0.2}, "valid": 0.2, "setting": {"neighbours": 20, "recent": 10}}
        metrics = {
            "test": {"recall@5": recall},
            "choose_by": 5,
            "parameters": 1234,
            "training": {"seconds": 60.0},
            "data": {"test_users": 10, "items": 20},
            "baselines": {"popularity": measured, "item_knn": knn},
        }
        (folder / METRICS).write_text(json.dumps(metrics))

    add("a_shop/mind", 0.3)
    add("video/mind", 0.3)
    add("ml-100k/mind", 0.3)
    add("ml-100k/sasrec", 0.4)
    lines = leaderboard(tmp_path).splitlines()
    assert [line for line in lines if line.startswith("## ")] == ["## ml-100k", "## video", "## a_shop"]
    board = lines[lines.index("## ml-100k") : lines.index("## video")]
    assert [line for line in board if line.startswith("| ")][2:] == [
        "| [sasrec](ml-100k/sasrec/README.md) | 0.4000 | 1,234 | 60 s |",
        "| [mind](ml-100k/mind/README.md) | 0.3000 | 1,234 | 60 s |",
        "| item kNN (20 neighbours of the last 10) | 0.2000 |  |  |",
        "| popularity | 0.1000 |  |  |",
    ]
