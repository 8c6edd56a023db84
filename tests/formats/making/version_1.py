"""What the folder ``version_1`` was written from: the first families, and what the first losses can be."""

from __future__ import annotations

from typing import Any

from tests.formats.making.describing import OF_ITEMS, OF_USERS, Config, described, whole_config

EVENT_FEATURES = False
#: The exports, and the index of each.
EXPORTS = {"youtube_dnn": "flat", "gru4rec": None}

_LOSSES = "lightning_croloss.losses"
_CALLBACKS = "lightning_croloss.callbacks"
_KEEPS = {"monitor": "val/recall@5", "mode": "max", "filename": "best", "save_last": True}


def configs() -> dict[str, Config]:
    """Return a config for each family; together they name most classes that a config can."""
    return {
        name: whole_config(
            name,
            model,
            keeps=_KEEPS,
            data=_data(name),
            callbacks=[described("CROLossCallback", **_SCHEDULES[name])] if name in _SCHEDULES else [],
        )
        for name, model in _MODELS.items()
    }


def _data(name: str) -> Config:
    data: dict[str, Any] = {"split": _SPLITS[name]} if name in _SPLITS else {}
    if name in ("youtube_dnn", "two_tower", "comirec_sa"):
        data |= OF_ITEMS
    if name in ("youtube_dnn", "two_tower"):
        data |= OF_USERS
    return data


_MODELS: dict[str, Config] = {
    "youtube_dnn": described(
        "YouTubeDNN",
        hidden_dims=[12],
        loss=described(
            "CROLoss",
            kernel=described(f"{_LOSSES}.SoftplusKernel"),
            importance=described("TargetNImportance", n=5),
            lambda_weight=0.5,
        ),
        negatives=described("UniformNegatives", num_negatives=20),
        lr_scheduler=described("lightning.pytorch.cli.ReduceLROnPlateau", monitor="val/recall@5"),
    ),
    "two_tower": described(
        "TwoTower",
        user_hidden_dims=[12],
        loss=described(
            "CROLoss",
            kernel=described(f"{_LOSSES}.HingeKernel", margin=0.4),
            importance=described("PowerImportance", alpha=1.2),
        ),
        negatives=described(
            "MixedNegatives",
            parts=[described("InBatchNegatives"), described("UniformNegatives", num_negatives=10)],
        ),
        use_user_id=True,
    ),
    "mind": described(
        "MIND",
        hidden_dims=[12],
        num_interests=2,
        loss=described(
            "CROLoss",
            kernel=described(f"{_LOSSES}.SigmoidKernel"),
            importance=described(f"{_LOSSES}.ExponentialImportance", rate=0.5),
        ),
        negatives=described("FullCatalogNegatives"),
    ),
    "comirec_sa": described(
        "ComiRecSA",
        num_interests=2,
        num_positions=6,
        loss=described("TripletLoss", margin=0.6),
        negatives=described("PopularityNegatives", num_negatives=20, exponent=0.5),
    ),
    "comirec_dr": described(
        "ComiRecDR",
        num_interests=2,
        num_positions=6,
        loss=described("BPRLoss", temperature=0.2),
        negatives=described("InBatchNegatives"),
    ),
    "gru4rec": described(
        "GRU4Rec",
        hidden_dims=[12],
        loss=described("SoftmaxLoss", temperature=0.14),
        negatives=described("UniformNegatives", num_negatives=20, exclude_known_positives=True),
        optimizer=described("LazyAdam", lr=0.01),
    ),
    "sasrec": described(
        "SASRec",
        num_heads=1,
        feedforward_dim=16,
        max_length=10,
        train_on="all",
        loss=described(
            "CROLoss",
            kernel=described(f"{_LOSSES}.PSLTanhKernel", score_temperature=1.5),
            importance=described(f"{_LOSSES}.GammaImportance", concentration=1.5),
        ),
        negatives=described("FullCatalogNegatives"),
    ),
    "matrix_factorization": described(
        "MatrixFactorization",
        loss=described(
            "CROLoss",
            kernel="exp",
            importance=described("PowerImportance", alpha=0.8),
            lambda_weight=1.0,
            lambda_kernel=described(f"{_LOSSES}.HeavisideKernel"),
        ),
        negatives=described("UniformNegatives", num_negatives=20),
    ),
}
_SCHEDULES: dict[str, Config] = {
    "youtube_dnn": {"n": described(f"{_CALLBACKS}.Geometric", start=20, end=5)},
    "two_tower": {"alpha": described(f"{_CALLBACKS}.Linear", start=1.0, end=1.4)},
    "mind": {"temperature": described(f"{_CALLBACKS}.Cosine", start=0.2, end=0.1)},
    "sasrec": {"temperature": described(f"{_CALLBACKS}.Steps", values=[0.2, 0.1], milestones=[0.5])},
}
_SPLITS: dict[str, Config] = {
    "youtube_dnn": described("Predefined", column="part"),
    "mind": described("UserDisjoint", train=0.6, valid=0.2, test=0.2, history=0.5),
    "comirec_sa": described("PerUserRatio", train=0.5, valid=0.25, test=0.25),
    "gru4rec": described("GlobalTime", valid=500, test=600),
    "sasrec": described("LeaveOneOut"),
}
