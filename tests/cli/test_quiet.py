"""What other packages say is left out where a user can do nothing with it."""

from __future__ import annotations

import logging
import warnings

import pytest

from lightning_croloss.cli.quiet import LOGGER, be_quiet
from tests.data_for_tests import quiet_trainer


@pytest.fixture(autouse=True)
def as_it_was() -> None:
    logging.getLogger(LOGGER).filters.clear()


def test_a_trainer_recommends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    be_quiet()
    be_quiet()
    assert len(logging.getLogger(LOGGER).filters) == 1
    with caplog.at_level(logging.INFO, logger=LOGGER):
        quiet_trainer()
        logging.getLogger(LOGGER).info("`Trainer.fit` stopped: `max_epochs=2` reached.")
    assert [
        record.getMessage()[:13] for record in caplog.records if "available" not in record.getMessage()
    ] == ["`Trainer.fit`"]
    assert "TPU" not in caplog.text


@pytest.mark.parametrize(("rank", "told"), [("", 1), ("0", 1), ("1", 0)])
def test_the_other_processes_repeat_no_warning(rank: str, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        be_quiet()
        warnings.warn("more negatives than items", stacklevel=1)
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated", FutureWarning, stacklevel=1)
    assert len(caught) == told
