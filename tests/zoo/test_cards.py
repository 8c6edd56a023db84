"""The texts of cards."""

import pytest

from lightning_croloss.zoo.cards import described


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"class_path": "lightning_croloss.losses.CROLoss", "init_args": {"alpha": 0.5}},
            "CROLoss(alpha=0.5)",
        ),
        ({"class_path": "CROLoss", "init_args": {"alpha": 0.5, "kernel": None}}, "CROLoss(alpha=0.5)"),
        ({"class_path": "LeaveOneOut"}, "LeaveOneOut()"),
        # what torch would take anyway is not told
        (
            {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.02, "betas": [0.9, 0.999]}},
            "Adam(lr=0.02)",
        ),
        ([{"class_path": "LeaveOneOut", "init_args": {}}, 3], "[LeaveOneOut(), 3]"),
        (0.25, "0.25"),
    ],
)
def test_a_setting_is_written_as_a_call(value, text):
    assert described(value) == text
