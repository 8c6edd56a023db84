"""What the folder ``release_0_1`` is written from: later families and losses, and what 0.1.0 keeps."""

from __future__ import annotations

from typing import Any

from tests.formats.making.describing import OF_ITEMS, Config, described, whole_config

EVENT_FEATURES = True
#: The exports, and the index of each: of users' vectors, and of times and features of events.
EXPORTS: dict[str, str | None] = {"lightgcn": None, "hstu": None}
#: The fit whose tables lie in shards, with two processes.
IN_SHARDS = "in_shards"

_LOSSES = "lightning_croloss.losses"
_SCHEDULES = "lightning_croloss.callbacks"


def configs() -> dict[str, Config]:
    """Return a config for each family; each is kept in the middle of an epoch."""
    made = {}
    for name, model in _MODELS.items():
        on_all_positions = name in _ON_ALL_POSITIONS
        made[name] = whole_config(
            name,
            model,
            keeps={"filename": "middle", "every_n_train_steps": 5 if on_all_positions else 10},
            data={"batch_size": 16 if on_all_positions else 32, **_DATA.get(name, {})},
            callbacks=_CALLBACKS.get(name),
            trainer={"max_epochs": 3 if on_all_positions else 2, **_TRAINER.get(name, {})},
        )
    return made


def _cro(kernel: str | None = None, **arguments: Any) -> Config:
    if kernel is not None:
        arguments["kernel"] = described(f"{_LOSSES}.{kernel}")
    return described("CROLoss", **arguments)


def _uniform(**arguments: Any) -> Config:
    return described("UniformNegatives", num_negatives=20, **arguments)


_FULL = described("FullCatalogNegatives")
_TRANSFORMER: Config = {"num_blocks": 1, "num_heads": 1, "max_length": 8}
_ON_ALL_POSITIONS = ("esasrec", "hstu", "bert4rec")
_WARM_UP = described(
    "lightning_croloss.training.SequentialLR",
    schedulers=[
        described("LinearLR", start_factor=0.5, total_iters=3),
        described("CosineAnnealingLR", T_max=6),
    ],
    milestones=[3],
)
_MODELS: dict[str, Config] = {
    # a loss that was told its n, and a table that is smoothed along a graph
    "youtube_dnn": described(
        "YouTubeDNN",
        hidden_dims=[12],
        item_graph_weight=1.0,
        loss=_cro(n=5, expected_recall=0.5),
        negatives=_uniform(),
    ),
    # the state of LazyAdam
    "caser": described(
        "Caser",
        num_horizontal=2,
        num_vertical=2,
        num_events=3,
        use_user_id=True,
        loss=_cro("PSLReluKernel"),
        negatives=_uniform(exclude_known_positives=True),
        optimizer=described("LazyAdam", lr=0.01),
        sparse_gradients=True,
    ),
    "esasrec": described(
        "ESASRec",
        **_TRANSFORMER,
        feedforward_multiplier=1,
        train_on="all",
        loss=described("RecallSurrogateLoss", ks=[1, 2, 4], learnable_temperature=True),
        negatives=_FULL,
        lr_scheduler=_WARM_UP,
        lr_scheduler_interval="step",
    ),
    # times, and features of events
    "hstu": described("HSTU", **_TRANSFORMER, train_on="all", loss=described("BCELoss"), negatives=_FULL),
    "bert4rec": described(
        "BERT4Rec", **_TRANSFORMER, feedforward_dim=16, loss=described("GBCELoss"), negatives=_FULL
    ),
    "bsarec": described(
        "BSARec",
        **_TRANSFORMER,
        feedforward_dim=16,
        loss=described("BSLLoss", positive_temperature=0.15),
        negatives=_FULL,
    ),
    "matrix_factorization": described(
        "MatrixFactorization",
        # each user's threshold is kept until the third epoch
        loss=described("SLAtKLoss", k=5, refresh_epochs=2),
        negatives=_uniform(),
    ),
    "lightgcn": described(
        "LightGCN", num_layers=2, edge_dropout=0.1, loss=_cro(positive_scale=0.8), negatives=_uniform()
    ),
    "ngcf": described(
        "NGCF",
        hidden_dims=[8],
        loss=_cro("ExponentialKernel", rank_scaling="unbiased"),
        negatives=_uniform(shared=False),
    ),
    # it draws nothing, so that any number of processes trains alike
    IN_SHARDS: described("MatrixFactorization", loss=_cro("PSLAtanKernel"), negatives=_FULL),
}
_DATA: dict[str, Config] = {
    "youtube_dnn": OF_ITEMS,
    # steps of two batches
    "caser": {"batch_size": 16},
    "hstu": {"event_features": ["rating", "kind", "time"]},
    # of each process
    IN_SHARDS: {"batch_size": 16},
}
_CALLBACKS: dict[str, list[Config]] = {
    "youtube_dnn": [described("EMAWeightAveraging", decay=0.8)],
    "hstu": [described("CROLossCallback", temperature=described(f"{_SCHEDULES}.Constant", value=0.15))],
}
_TRAINER: dict[str, Config] = {
    "caser": {"accumulate_grad_batches": 2, "gradient_clip_val": 1.0},
    IN_SHARDS: {"strategy": "croloss_sharded", "devices": 2},
}
