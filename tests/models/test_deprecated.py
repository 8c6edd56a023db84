"""Names of earlier releases work for one minor version, and say what to use."""

import pytest

from tests.data_for_tests import small_model


def test_facts_is_metadata():
    model = small_model()
    with pytest.warns(FutureWarning, match=r"RetrievalModel\.facts is deprecated .* use metadata") as seen:
        assert model.facts is model.metadata
    assert seen[0].filename == __file__
