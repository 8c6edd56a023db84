"""torch-rechub: DSSM with negatives in the batch.

The user tower takes the mean of the latest films, the item tower the film; both are MLPs over embeddings, and
the scores are cosines. torch-rechub divides them by no temperature, which is τ = 1: the old side gets a
criterion that does, so that its temperature is tuned as well.
"""

from __future__ import annotations

import tempfile

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.swap.data import Split, padded
from lightning_croloss import CROLoss, SoftmaxLoss

FRAMEWORK = "torch-rechub, DSSM"
LOSSES = {"cross_entropy": 0, "SoftmaxLoss, logQ": 2, "CROLoss exp α 1.2, logQ": 2}
TEMPERATURES = (0.1, 0.3, 1.0)

DIM, LENGTH, BATCH, EPOCHS, LEARNING_RATE = 32, 20, 512, 3, 5e-3


def run(split: Split, loss: str, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    from torch_rechub import trainers
    from torch_rechub.basic.features import SequenceFeature, SparseFeature
    from torch_rechub.basic.initializers import RandomNormal
    from torch_rechub.models.matching import DSSM
    from torch_rechub.utils.data import MatchDataGenerator

    from lightning_croloss.integrations.torch_rechub import MatchTrainer

    torch.manual_seed(seed)
    table = {"vocab_size": split.num_items + 1, "embed_dim": DIM, "initializer": RandomNormal(0, 0.05)}
    history = SequenceFeature("history", pooling="mean", padding_idx=0, **table)
    item = SparseFeature("item", **table)
    tower = {"dims": [DIM], "activation": "prelu"}
    model = DSSM([history], [item], tower, tower)
    _, histories, targets = split.samples(LENGTH)
    columns = {"history": histories.numpy(), "item": targets.numpy()}
    few = {name: column[:1] for name, column in columns.items()}
    generator = MatchDataGenerator(columns, targets.new_zeros(len(targets)).numpy())
    loader = generator.generate_dataloader(few, few, batch_size=BATCH, num_workers=0)[0]
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "in_batch_neg": True,
            "optimizer_params": {"lr": LEARNING_RATE, "weight_decay": 0.0},
            "n_epoch": EPOCHS,
            "model_path": folder,
        }
        if loss == "cross_entropy":
            trainer = trainers.MatchTrainer(model, **options)
            trainer.criterion = lambda logits, labels: cross_entropy(logits / temperature, labels)
        else:
            new = (
                SoftmaxLoss(temperature=temperature)
                if loss.startswith("SoftmaxLoss")
                else CROLoss(kernel="exp", alpha=1.2, temperature=temperature)
            )
            counts = split.item_counts
            trainer = MatchTrainer(model, loss=new, item_id="item", item_counts=counts, **options)
        trainer.fit(loader)
    model.eval()
    with torch.no_grad():
        catalogue = model.item_tower({"item": torch.arange(1, split.num_items + 1)})
        valid, test = (
            model.user_tower({"history": padded(histories, LENGTH)}) @ catalogue.T
            for histories in (split.train, split.test_histories)
        )
    return valid, test
