"""Class paths that earlier releases wrote into checkpoints, configs and pretrained folders, and today's.

This release writes the shortest public path (see ``configurable.class_path``). Earlier ones named the module
that defined the class; such paths stay readable for good, wherever the class has moved.
"""

from __future__ import annotations

from typing import Any

#: Modules that were written into files, and the package that has their classes today. Entries are added when
#: a class moves, and never taken away.
FORMER_MODULES = {
    f"lightning_croloss.{former}": f"lightning_croloss.{package}"
    for package, modules in {
        "callbacks": ("croloss_callback", "prediction_writer", "recall_report", "schedules"),
        "data": ("datamodule", "recbole", "table"),
        "losses": ("base", "bpr", "croloss", "importance", "kernels", "pairwise", "softmax", "triplet"),
        "metrics": ("base", "hit_rate", "mrr", "ndcg", "recall"),
        "models": (
            "comirec",
            "gru4rec",
            "history_model",
            "matrix_factorization",
            "mind",
            "retrieval_model",
            "sasrec",
            "sequence_model",
            "two_tower",
            "youtube_dnn",
        ),
        "negatives": ("base", "counted", "full_catalog", "in_batch", "mixed", "popularity", "uniform"),
    }.items()
    for former in (f"{package}.{module}" for module in modules)
} | {
    **{
        f"lightning_croloss.data.splits.{split}": "lightning_croloss.data"
        for split in ("base", "global_time", "leave_one_out", "per_user_ratio", "predefined", "user_disjoint")
    },
    "lightning_croloss.models.lazy_adam": "lightning_croloss.training",
}

#: Schedulers of torch that a config cannot give what they need, and those that take it from a config.
CONFIGURED = {
    f"{module}{name}": f"lightning_croloss.training.{name}"
    for name in ("SequentialLR", "ChainedScheduler")
    for module in ("", "torch.optim.lr_scheduler.")
} | {"ReduceLROnPlateau": "lightning.pytorch.cli.ReduceLROnPlateau"}  # which can be told its metric


def today(path: str) -> str:
    """Return today's class path; a path that never changed, or is not known, stays as it is."""
    if path in CONFIGURED:
        return CONFIGURED[path]
    module, _, name = path.rpartition(".")
    return f"{FORMER_MODULES[module]}.{name}" if module in FORMER_MODULES else path


def translated(value: Any) -> Any:
    """Return plain values with every former class path in them replaced by today's.

    Args:
        value: what a file holds: strings, numbers, lists and dictionaries, nested at will.
    """
    if isinstance(value, str):
        return today(value)
    if isinstance(value, list):
        return [translated(entry) for entry in value]
    if isinstance(value, dict):
        return {key: translated(entry) for key, entry in value.items()}
    return value
