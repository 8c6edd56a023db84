"""Names of features of events, as the user gives them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lightning_croloss.data.event_columns import KINDS


def split_event_feature(entry: str, columns: Collection[str] = ()) -> tuple[str, str]:
    """Return the column that ``"name"`` or ``"name:kind"`` names, and the kind or "".

    Args:
        entry: what the user wrote; a name may hold colons itself.
        columns: the columns that there are.
    """
    name, _, kind = entry.rpartition(":")
    named = entry not in columns and (name in columns or kind in (*KINDS, "multi"))
    return (name, kind) if named else (entry, "")


def check_event_features(
    wanted: Sequence[str],
    user: str,
    item: str,
    time: str | None,
    part: str | None = None,
    columns: Collection[str] = (),
) -> None:
    """Refuse features of events that can be none, before any file is read, and once its columns are known.

    Args:
        wanted: what the user wrote.
        user: the column of the users.
        item: the column of the items.
        time: the column of the times, or None.
        part: the column of the parts of a split, or None.
        columns: the columns that there are, if they are known.

    Raises:
        ValueError: naming the column.
    """
    names = []
    for entry in wanted:
        name, kind = split_event_feature(entry, columns)
        reasons = {
            user: "the user, who is the same in all of a history: features of users are user_features",
            item: "the item, which every model reads",
            part: "what an event is held out for, and nothing of the event",
        }
        if name in reasons:
            raise ValueError(f"event_features names {name!r}, which is {reasons[name]}; take it out")
        if name == time and kind:
            raise ValueError(
                f"event_features names {entry!r}, but {name!r} holds the times, which are read as times: "
                f"write {name!r} alone"
            )
        if kind and kind not in KINDS:
            raise ValueError(
                f"event_features names {entry!r}: a feature of events is one value an event, of the kind "
                f"{' or '.join(KINDS)}"
            )
        if name in names:
            raise ValueError(f"event_features names {name!r} twice: take one out")
        names.append(name)
