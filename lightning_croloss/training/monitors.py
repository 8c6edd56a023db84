"""A check of what callbacks and schedulers monitor, before training starts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from lightning_croloss.common.called_later import read_called_later
from lightning_croloss.errors import suggest


def check_monitors(watchers: Iterable[object], names: Sequence[str]) -> None:
    """Refuse to monitor a metric @N that is not measured; Lightning would notice after the first epoch.

    A subclass of the model may log what it likes. So a name is refused only if it is one of ours with another
    N, or a slip of the pen for one: letters in another order or case, another separator, or one letter too
    few, too many or wrong in a long word.

    Args:
        watchers: what has a ``monitor``: callbacks, or the ``functools.partial`` of a scheduler.
        names: what will be logged, such as ``val/recall@20``.

    Raises:
        ValueError: naming the watcher and the nearest metric.
    """
    kinds = {_kind(name) for name in names}
    for watcher in watchers:
        cls, monitor = _class_and_monitor(watcher)
        if not isinstance(monitor, str) or monitor in names:
            continue
        kind = _kind(monitor)
        if kind in kinds or any(_slip(kind, known) for known in kinds):
            raise ValueError(
                f"{cls.__name__} monitors {monitor!r}, which is not measured{suggest(monitor, names)} "
                "(ns are the model's)"
            )


def _class_and_monitor(watcher: object) -> tuple[type, object]:
    if isinstance(watcher, (type, functools.partial)) and (scheduler := read_called_later(watcher)):
        return scheduler.cls or type(watcher), scheduler.keywords.get("monitor")
    return type(watcher), getattr(watcher, "monitor", None)


def _kind(name: str) -> str:
    return name.split("@")[0]


def _slip(given: str, known: str) -> bool:
    """Tell whether ``given``, such as ``val/recal``, is meant to be ``known``, such as ``val/recall``."""
    letters = (sorted(filter(str.isalnum, name.lower())) for name in (given, known))
    if next(letters) == next(letters):
        return True
    (stage, _, word), (known_stage, _, known_word) = given.partition("/"), known.partition("/")
    # a short word is near too many others (dcg is a metric too), and recall_of_new holds recall on purpose
    return (
        stage == known_stage
        and len(known_word) >= 6
        and known_word not in word
        and _one_letter_apart(word, known_word)
    )


def _one_letter_apart(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) == len(longer):
        return sum(left != right for left, right in zip(one, other, strict=True)) == 1
    return any(shorter == longer[:index] + longer[index + 1 :] for index in range(len(longer)))
