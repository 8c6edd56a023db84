"""What the rule chose for a loss that was told only its N, as checkpoints and configs keep it.

A loss of ``CROLoss(n=100)`` is written with the kernel, the importance and the temperature that were found.
Beside them stands a record: which question the rule was asked, and what it answered. It tells a value that
the rule chose from one that the user gave, and it is the reason why a file means the same for good: asked the
same question again, a loss takes the answer of the record, whatever the rule would say by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lightning_croloss.common.argument_types import fits
from lightning_croloss.configurable import to_config
from lightning_croloss.losses import rule
from lightning_croloss.losses.importance import Importance, PowerImportance
from lightning_croloss.losses.kernels import KERNELS, Kernel


@dataclass(frozen=True)
class ByRule:
    """The question that the rule was asked, and those of its answers that the loss has.

    Attributes:
        n: the N that will be deployed.
        num_items: size of the catalogue, None if it was not known.
        expected_recall: the Recall@n that the user expects, None if nothing was said.
        kernel: the kernel that the rule chose; None = the user gave one.
        alpha: its α; None = the user gave an importance.
        temperature: its temperature; None = the user gave one.
    """

    n: float
    num_items: int | None
    expected_recall: float | None
    kernel: str | None
    alpha: float | None
    temperature: float | None

    @classmethod
    def read(cls, given: object) -> ByRule:
        """Return the record that a file holds.

        Raises:
            ValueError: it is not one.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(given, Mapping) or set(given) != set(names):
            raise ValueError(_no_record(given, f"it has {', '.join(names)}"))
        for name, value in given.items():
            if value is None and name != "n":
                continue
            kind: type = {"num_items": int, "kernel": str}.get(name, float)
            known = name != "kernel" or (value in KERNELS and KERNELS[value].differentiable)
            if not (fits(value, kind) and known):
                raise ValueError(_no_record(given, f"its {name} is {value!r:.40}"))
        rule.check_n(given["n"], given["num_items"])
        rule.check_expected_recall(given["expected_recall"])
        return cls(**given)

    def plain(self) -> dict[str, Any]:
        """Return the record as a file holds it."""
        return asdict(self)

    def answers(self, n: float, num_items: int | None, expected_recall: float | None) -> bool:
        """Tell whether the rule was asked this; a size that is not known yet may well be the record's."""
        return (
            n == self.n
            and expected_recall == self.expected_recall
            and (num_items is None or num_items == self.num_items)
        )

    def chose_kernel(self, kernel: Kernel) -> bool:
        """Tell whether a kernel is what the rule chose."""
        return self.kernel is not None and to_config(kernel) == to_config(KERNELS[self.kernel]())

    def chose_importance(self, importance: Importance) -> bool:
        """Tell whether an importance is what the rule chose."""
        return type(importance) is PowerImportance and float(importance.alpha) == self.alpha

    def asked_again(self, num_items: int, kernel: Kernel) -> ByRule:
        """Return what the rule says now that the size of the catalogue is known.

        Args:
            num_items: the size.
            kernel: the kernel of the loss, which stays if the rule did not choose it.

        Raises:
            ValueError: n is above it.
        """
        if num_items == self.num_items:
            return self
        stays = name_of(kernel) if self.kernel is None else None
        return self.with_answer(rule.choose(self.n, num_items, self.expected_recall, kernel=stays), num_items)

    def with_answer(self, choice: rule.RuleChoice, num_items: int | None) -> ByRule:
        """Return the record with another answer, in what is not the user's."""
        return replace(
            self,
            num_items=num_items,
            kernel=None if self.kernel is None else choice.kernel,
            alpha=None if self.alpha is None else choice.alpha,
            temperature=None if self.temperature is None else choice.temperature,
        )

    def values_at(self, n: float, num_items: int | None, kernel: Kernel) -> dict[str, float]:
        """Return the rule's α and temperature at a scheduled n, without what is the user's.

        Args:
            n: the n of now.
            num_items: size of the catalogue, None if it is not known.
            kernel: the kernel of the loss, which stays.

        Raises:
            ValueError: n is no rank of the catalogue.
        """
        choice = rule.choose(n, num_items, self.expected_recall, kernel=name_of(kernel))
        found = {"alpha": (self.alpha, choice.alpha), "temperature": (self.temperature, choice.temperature)}
        same = n == self.n  # that answer stands in the record
        return {name: ours if same else now for name, (ours, now) in found.items() if ours is not None}


def name_of(kernel: Kernel) -> str:
    """Return the name of a kernel; one of somebody's own may have none."""
    return getattr(kernel, "name", "")


def _no_record(given: object, why: str) -> str:
    return (
        "by_rule is the record that a checkpoint or config holds of what the rule chose for n, and "
        f"{given!r:.80} is none ({why}): leave it out"
    )
