"""A small model that has met its data."""

import pytest

from tests.data_for_tests import ClusteredData, fit, small_model


@pytest.fixture(scope="module")
def trained():
    model = small_model(dropout=0.5, history_dropout=0.5)
    fit(model, ClusteredData(max_history=4), max_epochs=1)
    return model
