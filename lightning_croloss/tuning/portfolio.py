"""The portfolio: settings of the loss that are worth trying for an N, the most promising ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lightning_croloss.tuning.candidate import Candidate

#: How many settings a search tries unless told otherwise.
SIZE = 7
#: Up to which N the order is that of the head, and from which on that of the tail.
HEAD, TAIL = 35, 150


class Setting(NamedTuple):
    """One setting, and its position in the orders for small, middling and large N; 0 = not tried."""

    class_path: str
    arguments: dict[str, Any]
    head: int
    middle: int
    tail: int


def _croloss(kernel: str, alpha: float, temperature: float, **more: Any) -> dict[str, Any]:
    return {"kernel": kernel, "alpha": alpha, "temperature": temperature, **more}


# Cosine scores are meant. With exp an α above 1 learns the head fast and is ahead early, at every N, but
# where N is large not at the end: the tail has none. Nor is a high temperature ahead before the half there,
# so the tail has four settings, which the budget of 2.5 fits lets judge at the half. The other orders have an
# α only as large as is still good there at the end. benchmarks/losses has the tables.
SETTINGS = (
    Setting("CROLoss", _croloss("exp", 1.2, 0.14), head=1, middle=1, tail=0),
    Setting("CROLoss", _croloss("softplus", 1.0, 0.075), head=2, middle=2, tail=4),
    Setting("CROLoss", _croloss("exp", 1.2, 0.1), head=3, middle=3, tail=0),
    Setting("CROLoss", _croloss("exp", 1.4, 0.1), head=4, middle=0, tail=0),
    Setting("CROLoss", _croloss("softplus", 1.0, 0.1), head=5, middle=4, tail=1),
    Setting("CROLoss", _croloss("softplus", 1.0, 0.075, lambda_weight=1.0), head=0, middle=5, tail=0),
    Setting("CROLoss", _croloss("softplus", 1.0, 0.055), head=6, middle=6, tail=0),
    Setting("SoftmaxLoss", {"temperature": 0.14}, head=7, middle=7, tail=0),
    Setting("CROLoss", _croloss("softplus", 1.0, 0.14), head=0, middle=0, tail=2),
    Setting("CROLoss", _croloss("softplus", 1.0, 0.1, lambda_weight=1.0), head=0, middle=0, tail=3),
)

# Where each user has a vector of their own, what counts is to hold back positives that could only be learned
# by heart, from the first epochs on: benchmarks/matrix_factorisation. One order for every N so far.
SETTINGS_OF_KNOWN_USERS = tuple(
    Setting(class_path, arguments, position, position, position)
    for position, (class_path, arguments) in enumerate(
        (
            ("CROLoss", _croloss("softplus", 1.0, 0.14, positive_scale=0.8)),
            ("CROLoss", _croloss("exp", 1.2, 0.2, positive_scale=0.8)),
            ("CROLoss", _croloss("exp", 1.2, 0.14, positive_scale=0.9)),
            ("CROLoss", _croloss("exp", 1.2, 0.2)),
            ("CROLoss", _croloss("exp", 1.2, 0.2, positive_scale=0.85)),
            ("CROLoss", _croloss("exp", 1.2, 0.1)),
            ("SoftmaxLoss", {"temperature": 0.2}),
        ),
        start=1,
    )
)


def portfolio(
    ns: Sequence[int], num_items: int | None = None, size: int = SIZE, *, known_users: bool = False
) -> tuple[Candidate, ...]:
    """Return the settings that are worth trying for these N, the most promising ones first.

    For several N the orders of each are merged, the best of each in turn.

    Args:
        ns: the N that will be deployed.
        num_items: size of the catalogue, if it is known; the order does not depend on it so far.
        size: how many are returned at most.
        known_users: whether users have vectors of their own in place of histories, as those of
            ``MatrixFactorization``, ``LightGCN`` and ``NGCF`` (``needs_known_users``).

    Raises:
        ValueError: there is no N, or one is below 1.
    """
    if not ns or min(ns) < 1:
        raise ValueError(f"n must be at least 1, got {list(ns)}")
    settings = SETTINGS_OF_KNOWN_USERS if known_users else SETTINGS
    orders = [_ordered(settings, n) for n in dict.fromkeys(ns)]
    merged = dict.fromkeys(number for turn in zip(*orders, strict=False) for number in turn)
    merged |= dict.fromkeys(number for order in orders for number in order)
    chosen = [settings[number] for number in [*merged][:size]]
    return tuple(
        Candidate(_name(each), {"class_path": each.class_path, "init_args": dict(each.arguments)})
        for each in chosen
    )


def _ordered(settings: Sequence[Setting], n: int) -> list[int]:
    """Return the numbers of the settings in their order for an N."""
    band = "head" if n <= HEAD else "tail" if n >= TAIL else "middle"
    positions = {number: getattr(each, band) for number, each in enumerate(settings)}
    return sorted((number for number, position in positions.items() if position), key=positions.__getitem__)


def _name(setting: Setting) -> str:
    given = dict(setting.arguments)
    begin = given.pop("kernel", setting.class_path.removesuffix("Loss").lower())
    return ", ".join([begin, *(f"{name.replace('_', ' ')} {value:g}" for name, value in given.items())])
