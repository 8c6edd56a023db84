"""The public names. Importing this module registers every model, loss, sampler and data module.

Config files can then use their short names, and checkpoints can be loaded.
"""

from lightning_croloss.callbacks import CROLossCallback, RecallReport, UserMetricsWriter
from lightning_croloss.data import (
    GlobalTime,
    LeaveOneOut,
    PerUserRatio,
    Predefined,
    RecBoleDataModule,
    RetrievalDataModule,
    TableDataModule,
    UserDisjoint,
)
from lightning_croloss.losses import (
    BCELoss,
    BPRLoss,
    BSLLoss,
    CROLoss,
    GBCELoss,
    PowerImportance,
    RecallSurrogateLoss,
    RetrievalLoss,
    SLAtKLoss,
    SoftmaxLoss,
    TargetNImportance,
    TripletLoss,
    log_prob_from_counts,
)
from lightning_croloss.metrics import HitRateAtN, MRRAtN, NDCGAtN, RecallAtN
from lightning_croloss.models import (
    HSTU,
    MIND,
    BERT4Rec,
    ComiRecDR,
    ComiRecSA,
    ESASRec,
    GRU4Rec,
    HistoryModel,
    MatrixFactorization,
    RetrievalModel,
    SASRec,
    SequenceModel,
    TwoTower,
    YouTubeDNN,
)
from lightning_croloss.negatives import (
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    UniformNegatives,
)
from lightning_croloss.pretrained import (
    list_pretrained,
    load_matching,
    load_pretrained,
    push_to_hub,
    save_pretrained,
)
from lightning_croloss.recommend import Recommendations
from lightning_croloss.schedules import LossScheduler
from lightning_croloss.serving import Recommender
from lightning_croloss.serving.export import export_model
from lightning_croloss.tuning import Candidate, TuneResult, tune

__all__ = [
    "HSTU",
    "MIND",
    "BCELoss",
    "BERT4Rec",
    "BPRLoss",
    "BSLLoss",
    "CROLoss",
    "CROLossCallback",
    "Candidate",
    "ComiRecDR",
    "ComiRecSA",
    "ESASRec",
    "FullCatalogNegatives",
    "GBCELoss",
    "GRU4Rec",
    "GlobalTime",
    "HistoryModel",
    "HitRateAtN",
    "InBatchNegatives",
    "LeaveOneOut",
    "LossScheduler",
    "MRRAtN",
    "MatrixFactorization",
    "MixedNegatives",
    "NDCGAtN",
    "PerUserRatio",
    "PopularityNegatives",
    "PowerImportance",
    "Predefined",
    "RecBoleDataModule",
    "RecallAtN",
    "RecallReport",
    "RecallSurrogateLoss",
    "Recommendations",
    "Recommender",
    "RetrievalDataModule",
    "RetrievalLoss",
    "RetrievalModel",
    "SASRec",
    "SLAtKLoss",
    "SequenceModel",
    "SoftmaxLoss",
    "TableDataModule",
    "TargetNImportance",
    "TripletLoss",
    "TuneResult",
    "TwoTower",
    "UniformNegatives",
    "UserDisjoint",
    "UserMetricsWriter",
    "YouTubeDNN",
    "export_model",
    "list_pretrained",
    "load_matching",
    "load_pretrained",
    "log_prob_from_counts",
    "push_to_hub",
    "save_pretrained",
    "tune",
]
