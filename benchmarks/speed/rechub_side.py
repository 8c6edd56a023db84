"""torch-rechub's YouTubeDNN as its tutorial trains it. Needs the peer to import."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import YoutubeDNN
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import MatchDataGenerator


def trainer(num_items: int, dim: int, hidden: int, temperature: float, folder: Path) -> MatchTrainer:
    """Return a trainer of one epoch, with softmax over the target and the negatives of the row.

    Args:
        num_items: size of the catalogue.
        dim: width of the embeddings.
        hidden: width of the hidden layer.
        temperature: of the softmax.
        folder: where it may write.
    """
    sizes = {"vocab_size": num_items + 1, "embed_dim": dim}
    history = SequenceFeature("history", pooling="mean", shared_with="item", padding_idx=0, **sizes)
    item = SparseFeature("item", **sizes)
    negatives = SequenceFeature("negatives", pooling="concat", shared_with="item", **sizes)
    model = YoutubeDNN([history], [item], [negatives], {"dims": [hidden, dim]}, temperature=temperature)
    adam = {"lr": 1e-3, "weight_decay": 0.0}
    return MatchTrainer(model, mode=2, optimizer_params=adam, n_epoch=1, model_path=str(folder))


def loader(histories: Tensor, targets: Tensor, negatives: Tensor, batch_size: int) -> object:
    """Return the training loader of rows: histories (n, L), targets (n,), negatives (n, k)."""
    columns = {"history": histories.numpy(), "item": targets.numpy(), "negatives": negatives.numpy()}
    few = {name: column[:1] for name, column in columns.items()}
    data = MatchDataGenerator(columns, targets.new_zeros(len(targets)).numpy())
    return data.generate_dataloader(few, few, batch_size=batch_size, num_workers=0)[0]
