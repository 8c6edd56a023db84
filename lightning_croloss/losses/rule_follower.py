"""RuleFollower: what a loss does that was told only n, once it is built."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from lightning_croloss.common.checks import check_counts
from lightning_croloss.configurable import to_config
from lightning_croloss.losses.by_rule import ByRule
from lightning_croloss.losses.fused.loss import FusedLoss
from lightning_croloss.losses.importance import Importance, PowerImportance
from lightning_croloss.losses.kernels import KERNELS, Kernel


class RuleFollower(FusedLoss):
    """Base of ``CROLoss``: asks the rule again for a catalogue and for a scheduled n, and keeps its record.

    Attributes:
        kernel: the kernel.
        lambda_kernel: the kernel of the Lambda method.
        importance: the importance.
        temperature: () float64.
        lambda_weight: () float64.
    """

    kernel: Kernel
    lambda_kernel: Kernel
    importance: Importance
    temperature: Tensor
    lambda_weight: Tensor
    _same_kernels: bool
    _by_rule: ByRule | None

    @abstractmethod
    def _record_found(self, **found: Any) -> None:
        """Record what was found for arguments of the constructor that were left out."""

    @property
    def by_rule(self) -> dict[str, Any] | None:
        """What the rule was asked and what it chose, in plain types; None without ``n``."""
        return None if self._by_rule is None else self._by_rule.plain()

    def set_num_items(self, num_items: int) -> None:
        """Fill the size of the catalogue, and ask the rule for it if the loss was told only ``n``.

        Values that were set since stay.

        Raises:
            ValueError: it is no whole number of at least 1, or below ``n``.
        """
        check_counts(num_items=num_items)
        record = self._by_rule and self._by_rule.asked_again(num_items, self.kernel)
        super().set_num_items(num_items)  # not where the rule refuses it: the loss may be tried elsewhere
        if record is not None:
            self._follow(record)

    def take_by_rule(self, kept: object) -> bool:
        """Take what the rule chose when a checkpoint was written, if it was asked what it is asked here.

        Args:
            kept: :attr:`by_rule` of the loss in the checkpoint.

        Returns:
            Whether anything of the loss is another now.

        Raises:
            ValueError: it is no such record.
        """
        ours, record = self._by_rule, ByRule.read(kept)
        if ours is None or not record.answers(ours.n, ours.num_items, ours.expected_recall):
            return False
        names = ("kernel", "alpha", "temperature")
        if record == ours or any(
            (getattr(record, name) is None) != (getattr(ours, name) is None) for name in names
        ):
            return False
        self._follow(record)
        return True

    def _follow(self, record: ByRule) -> None:
        """Take what a rule chose in place of what it had chosen, but for what was set since."""
        before = self._by_rule
        assert before is not None
        if record == before:
            return
        self._by_rule = record
        found: dict[str, Any] = {"by_rule": record.plain()}
        if record.kernel is not None and record.kernel != before.kernel:
            self._take_kernel(KERNELS[record.kernel]())
            self.check_value("lambda_weight", float(self.lambda_weight))
            found["kernel"] = record.kernel
        if record.alpha is not None:
            self._set("alpha", record.alpha, before.alpha)
            found["importance"] = PowerImportance(record.alpha)
        if record.temperature is not None:
            self._set("temperature", record.temperature, before.temperature)
            found["temperature"] = record.temperature
        self._record_found(**found)

    def _set(self, name: str, value: float, before: float | None) -> None:
        self.check_value(name, value)
        kept = self.temperature if name == "temperature" else self.importance.schedulable()[name]
        if float(kept) == before:
            kept.fill_(value)

    def _take_kernel(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._same_kernels = to_config(self.kernel) == to_config(self.lambda_kernel)

    @property
    def follows_n(self) -> bool:
        """Whether a rule chose α or the temperature, so that they go with a scheduled n."""
        record = self._by_rule
        chosen = {} if record is None else {"alpha": record.alpha, "temperature": record.temperature}
        return any(value is not None and name in self.schedulable() for name, value in chosen.items())

    def values_at_n(self, n: float) -> dict[str, float]:
        """Return what the rule chooses for a scheduled n, by name: α and temperature, the kernel being kept.

        What the user gave, and a temperature that is learned, are not among them.

        Raises:
            ValueError: n is no rank of the catalogue.
        """
        if self._by_rule is None:
            return {}
        found = self._by_rule.values_at(n, self.num_items, self.kernel)
        return {name: value for name, value in found.items() if name in self.schedulable()}
