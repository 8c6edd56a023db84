"""Class paths of earlier releases become today's, wherever they stand."""

import importlib

import pytest

from lightning_croloss.common.former_names import FORMER_MODULES, today, translated


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("lightning_croloss.losses.croloss.CROLoss", "lightning_croloss.losses.CROLoss"),
        ("lightning_croloss.models.lazy_adam.LazyAdam", "lightning_croloss.training.LazyAdam"),
        ("lightning_croloss.data.splits.leave_one_out.LeaveOneOut", "lightning_croloss.data.LeaveOneOut"),
        ("lightning_croloss.CROLoss", "lightning_croloss.CROLoss"),
        ("torch.optim.AdamW", "torch.optim.AdamW"),
        ("losses.croloss.CROLoss", "losses.croloss.CROLoss"),
        ("CROLoss", "CROLoss"),
        ("", ""),
    ],
)
def test_todays_path(former, now):
    assert today(former) == now
    assert today(now) == now
    module, _, name = now.rpartition(".")
    if module.startswith("lightning_croloss"):
        assert isinstance(getattr(importlib.import_module(module), name), type)


def test_no_package_of_today_is_a_former_module():
    """Else a path would have to be translated twice."""
    assert not FORMER_MODULES.keys() & set(FORMER_MODULES.values())
    for package in set(FORMER_MODULES.values()):
        importlib.import_module(package)


def test_every_text_of_nested_values_is_translated_and_nothing_else():
    former, now = "lightning_croloss.models.mind.MIND", "lightning_croloss.models.MIND"
    given = {"class_path": former, "init_args": {"parts": [{"class_path": former}, former]}, former: 1}
    kept = {"numbers": [1, 2.5, True, None], "text": "models.mind.MIND"}
    assert translated({**given, **kept}) == {
        "class_path": now,
        "init_args": {"parts": [{"class_path": now}, now]},
        former: 1,
        **kept,
    }
    assert given["class_path"] == former
