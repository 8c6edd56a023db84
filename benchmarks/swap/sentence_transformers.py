"""sentence-transformers: a small bi-encoder, trained from scratch to find the title of the next film.

The query is the titles of the latest films, the document a title; both are the mean of their words' vectors.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.swap.data import Split
from lightning_croloss import CROLoss, PowerImportance, RetrievalLoss, SoftmaxLoss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FRAMEWORK = "sentence-transformers"
LOSSES = {"MultipleNegativesRankingLoss": 0, "SoftmaxLoss, logQ": 2, "CROLoss exp α 1.2, logQ": 2}
TEMPERATURES = (0.1, 0.2, 0.3, 0.5, 1.0)

DIM, LENGTH, SAMPLES, BATCH, LEARNING_RATE = 64, 5, 48_000, 256, 5e-2


def run(split: Split, loss: str, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from lightning_croloss.integrations.sentence_transformers import SentenceRetrievalLoss

    torch.manual_seed(seed)
    model = bi_encoder(split)
    _, histories, targets = split.samples(LENGTH)
    rows = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    data = Dataset.from_dict(
        {
            "query": [query(split, items) for items in histories[rows]],
            "title": [split.titles[item] for item in targets[rows].tolist()],
        }
    )
    if loss == "MultipleNegativesRankingLoss":
        criterion = MultipleNegativesRankingLoss(model, scale=1 / temperature)
    else:
        new = new_loss(loss, temperature)
        criterion = SentenceRetrievalLoss(model, new, item_counts=Counter(data["title"]))
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            seed=seed,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        )
        SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=criterion).train()
    catalogue = vectors(model, split.titles[1:])
    valid, test = (
        vectors(model, [query(split, items) for items in histories]) @ catalogue.T
        for histories in (split.train, split.test_histories)
    )
    return valid, test


def new_loss(name: str, temperature: float) -> RetrievalLoss:
    if name.startswith("SoftmaxLoss"):
        return SoftmaxLoss(temperature=temperature)
    return CROLoss(kernel="exp", importance=PowerImportance(alpha=1.2), temperature=temperature)


def query(split: Split, items: Tensor) -> str:
    """Return the titles of the latest films, the last one first."""
    latest = [item for item in items.tolist() if item][-LENGTH:]
    return " , ".join(split.titles[item] for item in reversed(latest))


def bi_encoder(split: Split) -> SentenceTransformer:
    """Return a model of the titles' words with random vectors."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(split.titles[1:], trainers.WordLevelTrainer(special_tokens=["[UNK]"]))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=DIM)], device="cpu")


def vectors(model: SentenceTransformer, texts: list[str]) -> Tensor:
    found = model.encode(texts, batch_size=512, normalize_embeddings=True, convert_to_tensor=True)
    assert isinstance(found, Tensor)
    return found
