"""Which users and events of a table are trained on where nobody says, and what that leaves.

Everything else is decided by what is left: a filter of users takes items, events and features along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lightning_croloss.errors import DataError
from lightning_croloss.tuning.table_statistics import Statistics

#: Users with which anything can be measured at all.
FEWEST_USERS = 20
#: Share of the users that a minimum of events must keep.
KEPT = 0.6
#: Share of consecutive repeats from which on they are noise.
RELOADED = 0.02


@dataclass(frozen=True)
class Filters:
    """Which users and events are trained on.

    Args:
        before: what the table is like without them.
        data: arguments of ``TableDataModule``.
        reasons: why, by the dotted name of the field in the config.
    """

    before: Statistics
    data: Mapping[str, Any]
    reasons: Mapping[str, str] = field(default_factory=dict)

    def left(self, found: Statistics) -> Statistics:
        """Return what they leave, which is still of the kind that the whole table is.

        Args:
            found: what is left.
        """
        before = self.before
        same: dict[str, Any] = {
            "typical": before.typical,
            "consecutive": before.consecutive,
            "times": before.times,
        }
        return replace(found, **same, later=found.later if before.times == "real" else None)


def choose_filters(found: Statistics, given: Mapping[str, Any], no_more: str = "") -> Filters:
    """Choose the filters for a table.

    Args:
        found: what the table is like with users of two events and more.
        given: arguments of ``TableDataModule`` that the user has set, which stay.
        no_more: why no further users are filtered; "" if they may be.

    Raises:
        DataError: there is only one item.
    """
    if found.items < 2:
        raise DataError(
            "the table has one item, so that there is nothing to choose from: is the column of the items the "
            "right one?"
        )
    data: dict[str, Any] = {}
    reasons: dict[str, str] = {}

    def choose(name: str, value: Any, reason: str) -> None:
        data[name] = given.get(name, value)
        reasons[f"data.init_args.{name}"] = "as you asked" if name in given else reason

    if found.consecutive >= RELOADED and found.at_least_apart[2] >= FEWEST_USERS:
        choose(
            "consecutive_repeats",
            False,
            f"{found.consecutive:.1%} of the events repeat the user's event before, as a page that was "
            "loaded again does",
        )
    # such repeats are left out before events are counted
    at_least = found.at_least if data.get("consecutive_repeats", True) else found.at_least_apart
    fewest, reason = (2, no_more) if no_more else _minimum(at_least)
    choose("min_user_interactions", fewest, reason)
    return Filters(found, data, reasons)


def _minimum(at_least: Mapping[int, int]) -> tuple[int, str]:
    base = max(1, at_least[2])
    for number in (5, 3):
        share = at_least[number] / base
        if share >= KEPT and at_least[number] >= FEWEST_USERS:
            return number, f"{share:.0%} of the users with several events have {number} or more"
    return (
        2,
        f"short histories: only {at_least[5] / base:.0%} of the users with several events have 5 or more",
    )


__all__ = ["FEWEST_USERS", "RELOADED", "Filters", "choose_filters"]
