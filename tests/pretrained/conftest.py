"""A small trained model, and the folder that it is saved in."""

import functools

import pytest
import torch

from lightning_croloss import CROLoss, FullCatalogNegatives, TargetNImportance, save_pretrained
from tests.data_for_tests import fit, small_model


@pytest.fixture(scope="module")
def trained():
    model = small_model(
        loss=CROLoss("softplus", TargetNImportance(10), temperature=0.2),
        negatives=FullCatalogNegatives(True),
        optimizer=functools.partial(torch.optim.AdamW, lr=0.01, betas=(0.8, 0.9)),
        lr_scheduler=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3),
    )
    fit(model, limit_train_batches=2)
    return model


@pytest.fixture
def saved(trained, tmp_path):
    return save_pretrained(trained, tmp_path / "zoo" / "clusters" / "dnn")
