"""What cannot be trained in shards is refused in one sentence, before anything begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, OnExceptionCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.strategies import SingleDeviceXLAStrategy, StrategyRegistry, XLAStrategy
from torch import nn

from lightning_croloss import (
    NGCF,
    FullCatalogNegatives,
    LightGCN,
    SoftmaxLoss,
    UniformNegatives,
    YouTubeDNN,
)
from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.sharded.refusals import (
    refuse_model,
    refuse_optimizers,
    refuse_strategy,
    refuse_trainer,
)
from lightning_croloss.training.sharded.strategy import NAME, ShardedStrategy
from lightning_croloss.training.sharded.tables import refuse_more_processes, shard_tables
from tests.data_for_tests import ClusteredData, FeaturedData, quiet_trainer, small_model


class Several(SoftmaxLoss):
    """Takes more of its negatives than sums."""

    def row_losses(self, batch: Any) -> torch.Tensor:
        """Return the losses as before."""
        return super().row_losses(batch)


class Tied(YouTubeDNN):
    """Has the table of items a second time."""

    def __init__(self, num_items: int, **kwargs: Any) -> None:
        super().__init__(num_items, **kwargs)
        self.head = nn.Linear(self.embedding_dim, num_items + 1, bias=False)
        self.head.weight = self.item_embedding.weight


class Own(YouTubeDNN):
    """Has a table of another kind."""

    def __init__(self, num_items: int, **kwargs: Any) -> None:
        super().__init__(num_items, **kwargs)
        self.item_embedding = nn.EmbeddingBag(num_items + 1, self.embedding_dim)


def renormalised() -> Any:
    model = small_model()
    model.item_embedding.max_norm = 1.0
    return model


MODELS: dict[str, tuple[Any, str]] = {
    "another module": (LightningModule, "trains a RetrievalModel of this package, not a LightningModule"),
    "LightGCN": (lambda: LightGCN(40, 60), "LightGCN cannot lie in shards, as its every"),
    "NGCF": (lambda: NGCF(40, 60), "NGCF cannot lie in shards"),
    "a graph of items": (lambda: small_model(item_graph_weight=1.0), "YouTubeDNN cannot lie in shards"),
    "features alone": (
        lambda: small_model(item_features=FeaturedData().item_feature_specs, use_item_id=False),
        "has no table of the items' ids",
    ),
    "tied": (lambda: small_model(Tied), "is also head.weight"),
    "another kind": (lambda: small_model(Own), "a plain nn.Embedding without max_norm, got EmbeddingBag"),
    "max_norm": (renormalised, "a plain nn.Embedding without max_norm"),
    "a loss": (
        lambda: small_model(loss=Several(), negatives=FullCatalogNegatives()),
        "Several cannot be computed over a whole catalogue in shards",
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_models(kind: str) -> None:
    build, sentence = MODELS[kind]
    with pytest.raises(ValueError, match=r"^trainer\.strategy: croloss_sharded") as caught:
        refuse_model(build())
    assert sentence in str(caught.value)


def test_what_a_loss_cannot_it_can_with_sampled_negatives() -> None:
    refuse_model(small_model(loss=Several(), negatives=UniformNegatives(9)))


TRAINERS: dict[str, tuple[dict[str, Any], str]] = {
    "averages": ({"callbacks": [EMAWeightAveraging()]}, "cannot average weights: leave EMAWeightAveraging"),
    "on an error": (
        {"callbacks": [OnExceptionCheckpoint("folder")], "enable_checkpointing": True},
        "leave OnExceptionCheckpoint out of trainer.callbacks",
    ),
    "the last on an error": (
        {"callbacks": [ModelCheckpoint("folder", save_on_exception=True)], "enable_checkpointing": True},
        "leave save_on_exception of ModelCheckpoint out of trainer.callbacks",
    ),
    "another machine": (
        {"callbacks": [ModelCheckpoint("memory://shop/runs")], "enable_checkpointing": True},
        "keeps checkpoints in a folder that all processes share, not at memory://shop/runs",
    ),
    "a writer": ({"plugins": [AsyncCheckpointIO()]}, "leave AsyncCheckpointIO out of trainer.plugins"),
}


@pytest.mark.parametrize("kind", TRAINERS)
def test_trainers(kind: str) -> None:
    options, sentence = TRAINERS[kind]
    with pytest.raises(ValueError, match=r"^trainer\.strategy: croloss_sharded") as caught:
        refuse_trainer(quiet_trainer(**options), small_model())
    assert sentence in str(caught.value)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_that_give_back_the_weights_of_the_first(method: Any) -> None:
    with pytest.raises(ValueError, match=f"cannot start its processes by '{method}', which brings back"):
        quiet_trainer(devices=2, strategy=ShardedStrategy(start_method=method))


def test_scaled_gradients_and_compiled_models() -> None:
    trainer: Any = SimpleNamespace(precision="16-mixed")
    with pytest.raises(ValueError, match=r"set trainer\.precision to bf16-mixed"):
        refuse_trainer(trainer, small_model())
    model = small_model()
    model._compiler_ctx = {}
    with pytest.raises(ValueError, match="cannot train a compiled model"):
        refuse_trainer(trainer, model)


def test_optimizers() -> None:
    parameters = [nn.Parameter(torch.ones(2, 2))]
    refuse_optimizers([torch.optim.AdamW(parameters), torch.optim.SGD(parameters, lr=1)])
    with pytest.raises(ValueError, match="such as Adam, AdamW or SGD, got Adafactor"):
        refuse_optimizers([torch.optim.Adafactor(parameters)])


def test_more_processes_than_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowShards, "here", classmethod(lambda cls, rows: cls(rows, 50)))
    with pytest.raises(
        ValueError, match="cannot spread the table of 40 items over more processes than it has"
    ):
        shard_tables(small_model())


def test_more_processes_than_rows_before_they_have_met() -> None:
    refuse_more_processes(small_model(), 41)  # 40 items and padding
    with pytest.raises(ValueError, match="table of 40 items over more processes than it has rows, 41: give"):
        refuse_more_processes(small_model(), 42)


def test_the_name_is_known_to_every_trainer() -> None:
    assert NAME in StrategyRegistry.available_strategies()
    assert isinstance(quiet_trainer(strategy=NAME).strategy, ShardedStrategy)


def test_a_model_for_shards_under_another_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    with quiet_trainer(strategy=NAME).init_module():
        waiting = small_model()
    for use in (quiet_trainer().fit, quiet_trainer().test):
        with pytest.raises(ValueError, match="item_embedding has no memory yet, as the model was built in"):
            use(waiting, ClusteredData())
    monkeypatch.setattr(RowShards, "here", classmethod(lambda cls, rows: cls(rows, 2)))
    spread = small_model()
    shard_tables(spread)
    with pytest.raises(
        ValueError, match="has its tables in shards, of which SingleDeviceStrategy would keep"
    ):
        quiet_trainer().fit(spread, ClusteredData())


@pytest.mark.parametrize("cls", [LightGCN, NGCF])
def test_a_model_without_memory_is_refused_in_the_same_sentence(cls: Any) -> None:
    """What Lightning does afterwards, it moves the model to the CPU, does not hide it."""
    trainer = quiet_trainer(strategy=NAME)
    with trainer.init_module():
        model = cls(40, 60)
    with pytest.raises(ValueError, match=f"croloss_sharded: {cls.__name__} cannot lie in shards"):
        trainer.fit(model, ClusteredData())


@pytest.mark.parametrize("kind", [XLAStrategy, SingleDeviceXLAStrategy])
def test_strategies_for_tpus(kind: Any) -> None:
    strategy = kind.__new__(kind)  # what it is built with needs torch_xla
    with pytest.raises(ValueError, match=rf"trainer\.strategy: {kind.__name__} runs on TPUs, which You"):
        refuse_strategy(small_model(), strategy)


def test_one_process_trains_as_without() -> None:
    """With deferred tables, too: the weights are those that one process would have drawn."""
    torch.manual_seed(0)
    trainer = quiet_trainer(strategy=NAME)
    with trainer.init_module():
        model = small_model()
    whole = small_model()
    assert model.item_embedding.weight.is_meta
    shard_tables(model)
    for name, value in whole.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
