"""The kernel, the importance and the temperature of ``CROLoss``: given, by rule, or default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_croloss.configurable import to_config
from lightning_croloss.losses import rule
from lightning_croloss.losses.by_rule import ByRule, name_of
from lightning_croloss.losses.importance import IMPORTANCES, Importance, PowerImportance
from lightning_croloss.losses.kernels import KERNELS, Kernel, SigmoidKernel
from lightning_croloss.losses.named import named_part

#: Without n.
DEFAULT_TEMPERATURE = 0.1


@dataclass(frozen=True)
class Settled:
    """The values that a loss works with, and the record of those that a rule chose."""

    kernel: Kernel
    importance: Importance
    temperature: float
    record: ByRule | None


def settled(
    kernel: str | Kernel | dict[str, Any] | None,
    importance: Importance | str | dict[str, Any] | None,
    temperature: float | None,
    alpha: float | None,
    n: float | None,
    num_items: int | None,
    expected_recall: float | None,
    by_rule: dict[str, Any] | None,
) -> Settled:
    """Return the values that were given, and what is chosen where none was.

    Args:
        kernel: as ``CROLoss`` takes it, and so are all others.
        importance: likewise.
        temperature: likewise.
        alpha: likewise.
        n: likewise.
        num_items: likewise.
        expected_recall: likewise.
        by_rule: likewise.

    Raises:
        ValueError: an argument is unknown or out of range, or excludes another.
        TypeError: one is of another type.
    """
    if alpha is not None and importance is not None:
        raise ValueError(
            f"alpha={alpha!r} is short for importance=PowerImportance(alpha={alpha!r}), and importance="
            f"{importance!r} is given too: leave one of them out"
        )
    if n is not None and (alpha is not None or (importance is not None and by_rule is None)):
        given = f"importance={importance!r}" if alpha is None else f"alpha={alpha!r}"
        raise ValueError(
            f"n={n!r} lets a rule choose the importance, and {given} is given too: leave one of them out"
        )
    for name, value in (("expected_recall", expected_recall), ("by_rule", by_rule)):
        if n is None and value is not None:
            raise ValueError(
                f"{name}={value!r:.80} is for the rule of CROLoss(n=…): give n too, or leave {name} out"
            )
    own_kernel = None if kernel is None else kernel_of(kernel, "kernel")
    own = None if importance is None else _importance(importance)
    if alpha is not None:
        own = PowerImportance(alpha)
    if n is not None:
        return _settled_by_rule(own_kernel, own, temperature, n, num_items, expected_recall, by_rule)
    return Settled(
        SigmoidKernel() if own_kernel is None else own_kernel,
        PowerImportance() if own is None else own,
        DEFAULT_TEMPERATURE if temperature is None else temperature,
        None,
    )


def kernel_of(value: str | Kernel | dict[str, Any], argument: str) -> Kernel:
    """Return the kernel that an argument means; the errors are those of ``named_part``."""
    return named_part(argument, value, Kernel, KERNELS, {"name": "hinge", "margin": 1.0})  # type: ignore[type-abstract]


def _settled_by_rule(
    kernel: Kernel | None,
    importance: Importance | None,
    temperature: float | None,
    n: float,
    num_items: int | None,
    expected_recall: float | None,
    by_rule: object,
) -> Settled:
    """Fill what was not given by the rule, or by the record of what it chose.

    With a record, values that are not what it says are the user's own, who has changed them in the file.

    Args:
        kernel: the kernel, None = the rule's choice; so are importance and temperature.
        importance: likewise; to be given with a record only.
        temperature: likewise.
        n: the N that will be deployed.
        num_items: size of the catalogue, None if it is not known.
        expected_recall: the Recall@n that the user expects, or None.
        by_rule: the record of a file, or None.

    Raises:
        ValueError: an argument is out of range, or the record is none.
        TypeError: one is of another type.
    """
    record = None if by_rule is None else ByRule.read(by_rule)
    own_kernel = kernel is not None and not (record and record.chose_kernel(kernel))
    own_importance = importance is not None and not (record and record.chose_importance(importance))
    own_temperature = temperature is not None and not (record and temperature == record.temperature)
    stays = name_of(kernel) if kernel is not None and own_kernel else None
    if record is not None and (
        record.answers(n, num_items, expected_recall) and (record.kernel is None) == own_kernel
    ):
        num_items = record.num_items
    else:
        record = None
    choice = rule.choose(n, num_items, expected_recall, kernel=stays)
    if record is not None:
        choice = rule.RuleChoice(
            choice.kernel if record.kernel is None else record.kernel,
            choice.alpha if record.alpha is None else record.alpha,
            choice.temperature if record.temperature is None else record.temperature,
        )
    return Settled(
        kernel if kernel is not None and own_kernel else KERNELS[choice.kernel](),
        importance if importance is not None and own_importance else choice.importance,
        temperature if temperature is not None and own_temperature else choice.temperature,
        ByRule(
            n=to_config(n),
            num_items=to_config(num_items),
            expected_recall=to_config(expected_recall),
            kernel=None if own_kernel else choice.kernel,
            alpha=None if own_importance else choice.alpha,
            temperature=None if own_temperature else choice.temperature,
        ),
    )


def _importance(value: Importance | str | dict[str, Any]) -> Importance:
    return named_part("importance", value, Importance, IMPORTANCES, {"name": "target_n", "n": 50})  # type: ignore[type-abstract]
