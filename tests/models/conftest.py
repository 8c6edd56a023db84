"""The checkpoint of a small model."""

import pytest

from lightning_croloss import CROLoss, FullCatalogNegatives, TargetNImportance
from tests.data_for_tests import small_model
from tests.models.small_models import saved


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    loss = CROLoss("softplus", TargetNImportance(10), temperature=0.2, lambda_weight=0.5)
    return path, saved(path, small_model(loss=loss, negatives=FullCatalogNegatives(True), pooling="max"))
