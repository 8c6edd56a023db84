"""The metrics are those of one loader: several are refused in one sentence, before any step."""

import pytest

from tests.data_for_tests import ClusteredData, quiet_trainer, small_model
from tests.models.small_models import BreakingLoss


def loaders(number):
    data = ClusteredData()
    data.setup("fit")
    return data.train_dataloader(), [data.val_dataloader() for _ in range(number)]


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_two_loaders_are_refused(verb):
    train, two = loaders(2)
    model = small_model(loss=BreakingLoss(after=0))  # would fail at the first step
    stage = "test" if verb == "test" else "val"
    with pytest.raises(
        ValueError, match=f"2 loaders of {stage} data were given, and the metrics are those of one"
    ):
        getattr(quiet_trainer(), verb)(model, *([train] if verb == "fit" else []), two)


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_a_list_of_one_is_one(verb):
    _, one = loaders(1)
    (listed,) = getattr(quiet_trainer(), verb)(small_model(), one, verbose=False)
    (alone,) = getattr(quiet_trainer(), verb)(small_model(), one[0], verbose=False)
    assert listed == alone
