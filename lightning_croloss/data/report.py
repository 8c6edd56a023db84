"""PreparationReport: what was read, what each filter dropped, and what else was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from croloss_serving.common.terminal import printable

#: Name of the step that leaves out users and items with few events.
COUNTING = "min_interactions"


@dataclass(frozen=True)
class Counts:
    """Numbers of interactions, users and items."""

    interactions: int
    users: int
    items: int

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.interactions - other.interactions, self.users - other.users, self.items - other.items
        )

    def __str__(self) -> str:
        return f"{self.interactions:,} interactions, {self.users:,} users, {self.items:,} items"


@dataclass(frozen=True)
class PreparationStep:
    """One step of the preparation.

    Attributes:
        name: name of the step, the argument that asked for it where there is one.
        reason: what the dropped interactions have in common.
        before: numbers before the step.
        after: numbers after it.
    """

    name: str
    reason: str
    before: Counts
    after: Counts

    @property
    def dropped(self) -> Counts:
        """What the step took away."""
        return self.before - self.after

    def __str__(self) -> str:
        return f"{self.reason}: dropped {self.dropped}"


@dataclass
class PreparationReport:
    """The record of how data was prepared; plain numbers and texts only.

    Attributes:
        sources: the files that were read.
        read: numbers in the files.
        steps: the filters that were asked for, in the order in which they ran, also those that dropped
            nothing.
        notes: what else was left out or is missing, of the feature tables for example.
    """

    sources: list[str]
    read: Counts
    steps: list[PreparationStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def left(self) -> Counts:
        """Numbers after the last step."""
        return self.steps[-1].after if self.steps else self.read

    def add(self, name: str, reason: str, after: Counts) -> None:
        """Append a step."""
        self.steps.append(PreparationStep(name, reason, self.left, after))

    def __str__(self) -> str:
        dropped = [str(step) for step in self.steps if step.dropped.interactions]
        return "; ".join([f"read {self.read}", *dropped, *([f"left {self.left}"] if dropped else [])])

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PreparationReport:
        """Build the record from what :meth:`to_dict` returned."""
        return cls(
            list(plain["sources"]),
            Counts(**plain["read"]),
            [
                PreparationStep(
                    step["name"], step["reason"], Counts(**step["before"]), Counts(**step["after"])
                )
                for step in plain["steps"]
            ],
            list(plain["notes"]),
        )


def first_of(names: Sequence[str]) -> str:
    """Return the only name, or the first one and how many more there are, fit for a terminal."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{printable(names[0])}{more}"
