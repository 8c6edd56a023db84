"""What BERT4Rec is trained on, against RecBole's rule carried out: RecBole need not be installed."""

from __future__ import annotations

from types import SimpleNamespace as Model
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_croloss.integrations.recbole_counts import masked_shares, target_counts

SIZE, LENGTH = 12, 6


def rows() -> Tensor:
    """Return rows (R, LENGTH) of all lengths, late items others than early ones."""
    draw = np.random.default_rng(0)
    found = torch.zeros(40, LENGTH, dtype=torch.long)
    for row in range(40):
        filled = 1 + row % LENGTH
        found[row, :filled] = torch.as_tensor(
            draw.integers(1, 5, filled) + np.arange(filled) + (row % LENGTH) // 3
        )
    return found


def carried_out(sequences: Tensor, ratio: float, last: float) -> Tensor:
    """Return the shares of items among those that RecBole's transform masks in many epochs."""
    draw, most = np.random.default_rng(1), int(ratio * LENGTH)
    masked, final = np.zeros((2, SIZE))
    for items in sequences.tolist():
        items = [item for item in items if item]
        if len(items) > 1:
            final[items[-1]] += 1
        for picked in draw.random((3000, len(items))) < ratio:
            for index in np.flatnonzero(picked)[-most:]:
                masked[items[index]] += index > 0
    return torch.as_tensor((1 - last) * masked / masked.sum() + last * final / final.sum())


@pytest.mark.parametrize("ratio", [0.2, 0.5])
@pytest.mark.parametrize("last", [0.0, 0.5, 1.0])
def test_the_shares_are_those_of_the_masked(ratio: float, last: float) -> None:
    sequences = rows()
    shares = masked_shares(sequences, ratio, last, SIZE)
    assert shares.shape == (SIZE,)
    assert float(shares.sum()) == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(shares.double(), carried_out(sequences, ratio, last), rtol=0.05, atol=2e-3)


def test_all_of_a_row_is_masked_as_often_where_nothing_falls_out() -> None:
    counts = torch.bincount(rows()[:, 1:].flatten(), minlength=SIZE).double()
    counts[0] = 0
    torch.testing.assert_close(masked_shares(rows(), 1.0, 0.0, SIZE).double(), counts / counts.sum())


def test_other_models_are_trained_on_the_next_item() -> None:
    events: dict[str, Any] = {"item": torch.tensor([1, 3, 3]), "before": rows()}
    config: dict[str, Any] = {"mask_ratio": 0.5, "ft_ratio": None}
    model = Model(ITEM_ID="item", ITEM_SEQ="before", n_items=SIZE)
    assert target_counts(model, config, events).tolist() == [0, 1, 0, 2] + 8 * [0]
    model.MASK_INDEX = "MASK_INDEX"
    assert torch.equal(target_counts(model, config, events), masked_shares(rows(), 0.5, 0.0, SIZE))
    config["ft_ratio"] = 0.4
    assert torch.equal(target_counts(model, config, events), masked_shares(rows(), 0.5, 0.4, SIZE))
