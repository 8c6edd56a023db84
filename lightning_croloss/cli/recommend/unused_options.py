"""Options of ``croloss recommend`` that its histories have no use for."""

from __future__ import annotations

import argparse

#: How the text of a table is read, also one of ``--allow``, ``--deny`` and ``--users``.
TABLE = ("item_column", "separator", "encoding", "decimal", "comment", "ragged", "quotes")
#: What is asked of events alone.
EVENTS = ("time_column", "all_events", "missing_values", "drop_missing")
#: What each kind of histories is called, and the options that it has no use for.
KINDS = {
    "lines": ("JSON lines", ("user_column", "history_column", *EVENTS, *TABLE)),
    "lists": ("a table of lists", (*EVENTS, *TABLE)),
    "events": ("a table without such a column of lists", ("history_column",)),
}


def refuse_unused(given: argparse.Namespace, kind: str) -> None:
    """Refuse what was given to no effect.

    Args:
        given: the parsed options; those that were not given are None.
        kind: what the histories are, one of ``KINDS``.

    Raises:
        ValueError: an option has no effect.
    """
    name, unused = KINDS[kind]
    told = (
        f"--histories {given.histories} is {name}"
        if given.history is None
        else "--history is a list of tokens"
    )
    used = {*(TABLE if given.allow is not None or given.deny is not None else ())}
    if given.users is not None:
        used |= {*TABLE, "user_column", "missing_values"} - {"item_column"}
    for option in unused:
        if getattr(given, option) is not None and option not in used:
            raise ValueError(f"--{option.replace('_', '-')} has no effect: {told}; leave it out")
    if given.overwrite and given.output is None:
        raise ValueError("--overwrite has no effect without --output: leave it out")
