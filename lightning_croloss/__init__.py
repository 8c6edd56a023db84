"""lightning-croloss: train the retrieval stage of a recommender on the Recall@N that will be deployed.

A public name is imported when it is first used. So the losses and metrics need no Lightning, and serving an
exported model needs neither torch nor Lightning.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_croloss.public import *  # noqa: F403

__version__ = "0.1.0"

#: The public names, by the package that has each.
_NAMES = {
    "callbacks": ("CROLossCallback", "RecallReport", "UserMetricsWriter"),
    "data": (
        "GlobalTime",
        "LeaveOneOut",
        "PerUserRatio",
        "Predefined",
        "RecBoleDataModule",
        "RetrievalDataModule",
        "TableDataModule",
        "UserDisjoint",
    ),
    "losses": (
        "BCELoss",
        "BPRLoss",
        "BSLLoss",
        "CROLoss",
        "GBCELoss",
        "PowerImportance",
        "RecallSurrogateLoss",
        "RetrievalLoss",
        "SLAtKLoss",
        "SoftmaxLoss",
        "TargetNImportance",
        "TripletLoss",
        "log_prob_from_counts",
    ),
    "metrics": ("HitRateAtN", "MRRAtN", "NDCGAtN", "RecallAtN"),
    "models": (
        "HSTU",
        "MIND",
        "NGCF",
        "BERT4Rec",
        "BSARec",
        "Caser",
        "ComiRecDR",
        "ComiRecSA",
        "ESASRec",
        "GRU4Rec",
        "HistoryModel",
        "LightGCN",
        "MatrixFactorization",
        "RetrievalModel",
        "SASRec",
        "SequenceModel",
        "TwoTower",
        "YouTubeDNN",
    ),
    "negatives": (
        "FullCatalogNegatives",
        "InBatchNegatives",
        "MixedNegatives",
        "PopularityNegatives",
        "UniformNegatives",
    ),
    "pretrained": (
        "list_pretrained",
        "load_matching",
        "load_pretrained",
        "push_to_hub",
        "save_pretrained",
    ),
    "recommend": ("Recommendations",),
    "schedules": ("LossScheduler",),
    "serving": ("Recommender",),
    "serving.export": ("export_model",),
    "tuning": ("Candidate", "TuneResult", "tune"),
}
_PACKAGE_OF = {name: package for package, names in _NAMES.items() for name in names}
#: Packages that are useful without Lightning and imported alone. With a name of any other, every class is
#: imported, so that config files can use all short names.
_ALONE = ("losses", "metrics", "recommend", "schedules", "serving")

__all__ = sorted(_PACKAGE_OF)


def __getattr__(name: str) -> Any:
    """Return a public name, or a subpackage."""
    if name in _PACKAGE_OF:
        package = _PACKAGE_OF[name]
        if package not in _ALONE:
            import_module("lightning_croloss.public")
        return getattr(import_module(f"lightning_croloss.{package}"), name)
    if not name.startswith("_") and find_spec(f"lightning_croloss.{name}") is not None:
        return import_module(f"lightning_croloss.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names too."""
    return sorted({*globals(), *__all__})
