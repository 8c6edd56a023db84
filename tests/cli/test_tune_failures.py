"""What went wrong in a process of a search, as the command would say it."""

from __future__ import annotations

import pytest

from lightning_croloss import CROLoss
from lightning_croloss.cli.tune.failures import sentence_about
from lightning_croloss.tuning.length import measure_length
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model


def raised(call: object) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever it is)
        call()  # type: ignore[operator]
    return caught.value


@pytest.mark.filterwarnings("ignore")
def test_what_this_package_refuses_is_told_without_the_name_of_a_class() -> None:
    trainer = quiet_trainer(max_epochs=0)
    error = raised(lambda: measure_length(trainer, small_model(), ClusteredData(), []))
    assert sentence_about(error).startswith("the fit ends before its first step: is limit_train_batches")
    assert sentence_about(raised(lambda: CROLoss(temperature=-1))).startswith("temperature must be")


def test_what_fails_keeps_it() -> None:
    assert sentence_about(raised(lambda: {}["a"])) == "KeyError: 'a'"
    assert sentence_about(raised(lambda: int("a"))).startswith("ValueError: invalid literal")
