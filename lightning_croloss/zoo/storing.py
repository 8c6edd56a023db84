"""Whether weights are stored in half the space: only where Recall stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.models import RetrievalModel
from lightning_croloss.pretrained.layout import STORED
from lightning_croloss.pretrained.saving import not_finite_as, stored_weights
from lightning_croloss.zoo.markdown import ns_of
from lightning_croloss.zoo.measuring import Tested, tested

WHOLE = STORED[0]
#: The share of its Recall at any N that a model may lose.
MOST_LOST = 0.005
#: What may be lost anyway, in users: the next item of a list may have nearly the same score.
MOST_USERS = 1.5


@dataclass(frozen=True)
class Stored:
    """How the weights of a model are stored, and why.

    Attributes:
        dtype: how they are stored.
        record: what was asked for and measured, plain values for ``metrics.json``; None if nothing but
            float32 was asked for.
        tested: what the test measured of the weights as they are stored; None if it was not needed.
    """

    dtype: str
    record: dict[str, Any] | None
    tested: Tested | None = None


def store(model: RetrievalModel, data: RetrievalDataModule, dtype: str) -> Stored:
    """Give a model the weights that are stored, in a smaller type only if Recall stays.

    The test rows are measured with the weights in float32, then with what a file would hold. If Recall at
    any N falls by more than :data:`MOST_LOST` of itself, and by more than what :data:`MOST_USERS` users
    count, or a weight is beyond the range of the type, float32 is kept. What is not a floating-point number,
    the edges of a graph for example, is stored as it is in any case.

    Args:
        model: the model, which afterwards has the weights that are stored, as they are read again.
        data: its data.
        dtype: what is asked for, one of ``STORED``.

    Raises:
        ValueError: the dtype is unknown, or a weight is not finite.
    """
    whole = stored_weights(model, WHOLE)
    if dtype == WHOLE:
        model.load_state_dict(whole)
        return Stored(WHOLE, None)
    measured = tested(model, data)
    before = _recall(measured)
    if (name := not_finite_as(model, dtype)) is not None:
        kept = f"{WHOLE} is kept, since {name} has values beyond the range of {dtype}"
        return Stored(WHOLE, _record(dtype, before, None, kept), measured)
    model.load_state_dict(stored_weights(model, dtype))
    measured_again = tested(model, data)
    after = _recall(measured_again)
    fault = lost_too_much(before, after, len(data.measured_rows("test")))
    if fault is None:
        return Stored(dtype, _record(dtype, before, after, None), measured_again)
    model.load_state_dict(whole)
    kept = f"{WHOLE} is kept, since with {dtype} {fault}"
    return Stored(WHOLE, _record(dtype, before, after, kept), measured)


def lost_too_much(before: Mapping[str, float], after: Mapping[str, float], num_users: int) -> str | None:
    """Return what is lost in one clause if it is more than may be, else None.

    Args:
        before: Recall at each N with the weights in float32.
        after: the same with the weights in the smaller type.
        num_users: number of the users who are measured.
    """
    falls = {
        name: value - after[name]
        for name, value in before.items()
        if value - after[name] > max(MOST_LOST * value, MOST_USERS / num_users)
    }
    if not falls:
        return None
    worst = max(falls, key=lambda name: falls[name] / before[name])
    return (
        f"{worst.replace('recall', 'Recall')} would fall from {before[worst]:.4f} to {after[worst]:.4f}, by "
        f"more than {MOST_LOST:.1%}"
    )


def _recall(measured: Tested) -> dict[str, float]:
    test, _ = measured
    return {f"recall@{n}": test[f"recall@{n}"] for n in ns_of(test)}


def _record(
    asked: str, before: dict[str, float], after: dict[str, float] | None, kept: str | None
) -> dict[str, Any]:
    return {"asked": asked, "most_lost": MOST_LOST, WHOLE: before, asked: after, "kept": kept}


__all__ = ["MOST_LOST", "MOST_USERS", "Stored", "lost_too_much", "store"]
