"""StateNames: what keeps metrics apart in torchmetrics' collections."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

# classes in the order in which they appeared, for those that share their name: the cell of a notebook that
# ran twice, or a function that makes classes
_numbers: WeakKeyDictionary[type, int] = WeakKeyDictionary()
_used: defaultdict[str, int] = defaultdict(int)
_NAME = re.compile(r"(total|count)_[0-9a-f]{16}")


@dataclass(frozen=True)
class StateNames:
    """Names of a metric's states that no metric of another kind or with other settings shares.

    ``MetricCollection`` merges metrics whose states have equal names, and equal values after the first batch:
    of two different metrics one would then take the other's values for good.

    Attributes:
        total: name of the sums.
        count: name of the number of users.
    """

    total: str
    count: str

    @staticmethod
    def of(cls: type, arguments: Mapping[str, Any]) -> StateNames:
        """Return the names for a class and the arguments of its constructor, the same in every process."""
        name = f"{cls.__module__}.{cls.__qualname__}"
        if cls not in _numbers:
            _numbers[cls] = _used[name]
            _used[name] += 1
        text = repr((name, _numbers[cls], sorted((key, repr(value)) for key, value in arguments.items())))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return StateNames(f"total_{digest}", f"count_{digest}")

    def refuse_others(self, attributes: Iterable[str]) -> None:
        """Refuse the states of another metric among a metric's attributes.

        A collection puts them there that was told to keep two such metrics in one group. It updates only the
        first of them.

        Raises:
            ValueError: there are some.
        """
        if any(_NAME.fullmatch(name) and name not in (self.total, self.count) for name in attributes):
            raise ValueError(
                "compute_groups of the MetricCollection puts metrics of ranks in one group that do not "
                "compute the same: leave it out, and the collection finds the groups itself"
            )
