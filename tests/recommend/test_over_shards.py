"""A model whose items lie in shards is evaluated, predicts and recommends as in one process."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor

from lightning_croloss.callbacks import PredictionWriter, UserMetricsWriter
from lightning_croloss.models import TokenRecommender, YouTubeDNN
from lightning_croloss.recommend import token_recommender
from lightning_croloss.recommend.histories import batch_of_histories
from lightning_croloss.recommend.token_recommender import similar_items
from lightning_croloss.recommend.top_items import TopItems
from lightning_croloss.retrieval.sharded import ItemShards
from lightning_croloss.sharding.row_shards import RowShards
from tests.data_for_tests import FeaturedData, quiet_trainer, small_model
from tests.distributed import run_distributed

#: Histories for each of two processes: of another number.
HISTORIES = [[["item 1", "item 2"], ["item 30"], []], [["item 7", "nothing"]]]


class Whole(YouTubeDNN):
    """Asks with categories of its items."""

    def item_categories(self, name: str) -> Tensor:
        return torch.arange(self.num_items + 1).unsqueeze(1) % 3 + 1


class InShards(Whole):
    """Encodes its own items, as a model does whose table lies in shards."""

    @property
    def item_shards(self) -> RowShards | None:
        return RowShards.here(self.num_items + 1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        vectors = super().encode_items(ids)
        if ids is not None:
            return vectors
        shards = ItemShards.of(self.item_shards)
        return vectors[shards.before : shards.before + shards.num_own]


def small_data() -> FeaturedData:
    return FeaturedData(num_users=61, eval_batch_size=8)


def asked(model: Any, parts: list[list[list[str]]]) -> dict[str, Any]:
    """What a model says of users, a part of them after the other."""
    found: dict[str, Any] = {}
    for name, options in {"plain": {}, "some": {"allow": [f"item {i}" for i in range(0, 40, 3)]}}.items():
        recommender = TokenRecommender(model, 6, **options)
        found[name] = [[(user.tokens, user.scores) for user in recommender(part)] for part in parts]
    diverse = TopItems(model, 5, diversity=0.3, category="kind", allowed=torch.arange(2, 39))
    found["diverse"] = [diverse(batch_of(model, number + 2))[0].tolist() for number in range(len(parts))]
    found["ids"] = [model.recommend([[1, 2], [3]], 5)[0].tolist() for _ in parts]
    found["similar"] = [
        [user.tokens for user in similar_items(model, ["item 3", f"item {9 + len(part)}"], 4)]
        for part in parts
    ]
    return found


def batch_of(model: Any, users: int) -> Any:
    histories = [[user + 1, 2 * user + 1] for user in range(users)]
    device = torch.device("cpu")
    return batch_of_histories(histories, None, num_items=40, num_users=0, max_history=None, device=device)


def measured(model: Any, folder: str, **options: Any) -> dict[str, float]:
    """Metrics of the test, with those of each user and the predictions as files."""
    data = small_data()
    callbacks = [UserMetricsWriter(f"{folder}/each.parquet"), PredictionWriter(f"{folder}/lists.parquet")]
    trainer = quiet_trainer(callbacks=callbacks, **options)
    (found,) = trainer.test(model, data, verbose=False)
    model.predicts_n = 5
    trainer.predict(model, data, return_predictions=False)
    return found


def in_a_process(rank: int, processes: int, folder: str) -> tuple[dict[str, float], dict[str, Any]]:
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(processes)}
    model = small_model(InShards, exclude_history=True)
    found = measured(model, folder, strategy="ddp", devices=processes, use_distributed_sampler=True)
    writer = PredictionWriter(f"{folder}/others.parquet")
    trainer: Any = SimpleNamespace(world_size=processes, num_predict_batches=[1 + rank])
    attached: Any = SimpleNamespace(data=small_data())
    with pytest.raises(ValueError, match=r"batch by batch, but have \[\[1\], \[2\]\] batches"):
        writer.on_predict_start(trainer, attached)
    token_recommender.BATCH_SIZE = 1  # who has fewer batches of users takes part in those of the others
    return found, asked(model, HISTORIES[rank : rank + 1])


@pytest.mark.slow
def test_two_processes_say_what_one_says(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    model = small_model(Whole, exclude_history=True)
    expected = measured(model, str(tmp_path / "one"))
    said = asked(model, HISTORIES)
    processes = run_distributed(in_a_process, 2, str(tmp_path / "two"))
    assert 0 < expected["test/recall@5"] < 1
    for metrics, _ in processes:
        assert metrics == pytest.approx(expected, abs=1e-7)
    for rank, (_, found) in enumerate(processes):
        for name in ("plain", "some"):
            for user, wanted in zip(found[name][0], said[name][rank], strict=True):
                assert user[0] == wanted[0]
                assert user[1] == pytest.approx(wanted[1], abs=1e-6)
        assert found["diverse"][0] == said["diverse"][0]
        assert found["ids"] == said["ids"][:1]
        assert found["similar"][0] == said["similar"][rank]

    each, lists = (
        [pl.read_parquet(tmp_path / name / file) for name in ("one", "two")]
        for file in ("each.parquet", "lists.parquet")
    )
    assert each[0].equals(each[1])
    assert len(each[1]) == 61
    assert len(lists[1]) == len(lists[0]) == lists[1].select("user", "rank").n_unique()
    one, two = (frame.sort("user", "rank") for frame in lists)
    assert one.select("user", "rank", "item").equals(two.select("user", "rank", "item"))
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["each.parquet", "lists.parquet"]
