"""Retrieval architectures: each says how users and items are encoded, RetrievalModel does the rest."""

import lightning_croloss.training.sharded.strategy  # noqa: F401  (registers the strategy croloss_sharded)
from lightning_croloss.models.bert4rec import BERT4Rec
from lightning_croloss.models.bsarec import BSARec
from lightning_croloss.models.caser import Caser
from lightning_croloss.models.comirec_dr import ComiRecDR
from lightning_croloss.models.comirec_sa import ComiRecSA
from lightning_croloss.models.esasrec import ESASRec
from lightning_croloss.models.gathering import gather_checkpoint
from lightning_croloss.models.gru4rec import GRU4Rec
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.hstu import HSTU
from lightning_croloss.models.lightgcn import LightGCN
from lightning_croloss.models.matrix_factorization import MatrixFactorization
from lightning_croloss.models.mind import MIND
from lightning_croloss.models.ngcf import NGCF
from lightning_croloss.models.retrieval_model import RetrievalModel
from lightning_croloss.models.sasrec import SASRec
from lightning_croloss.models.sequence_model import SequenceModel
from lightning_croloss.models.two_tower import TwoTower
from lightning_croloss.models.youtube_dnn import YouTubeDNN
from lightning_croloss.recommend.token_recommender import TokenRecommender

__all__ = [
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
    "TokenRecommender",
    "TwoTower",
    "YouTubeDNN",
    "gather_checkpoint",
]
