"""Which runs are made, in which order, and which setting is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.matrix_factorisation.sides import AUTHORS, TRIALS

#: The trials have the first; the winners all.
SEEDS = (0, 1, 2)


def run_of(data: str, side: str, setting: Settings, seed: int = SEEDS[0]) -> Settings:
    """Return the settings of a run."""
    return {"data": data, "side": side, "setting": setting, "seed": seed}


def trials(data: str, sides: Iterable[str]) -> list[Settings]:
    """Return every trial, the first of each side before the second of any.

    The authors' setting for the data set comes first, then those with its learning rate.
    """
    groups = zip(*(_ordered(data, side) for side in sides), strict=True)
    return [run for group in groups for run in group]


def _ordered(data: str, side: str) -> list[Settings]:
    theirs = AUTHORS.get(data, {})
    first = theirs.get(side)
    rates = {setting["rate"] for setting in (theirs.values() if first is None else [first])}

    def key(setting: Settings) -> tuple[bool, bool]:
        return setting != first, setting["rate"] not in rates

    return [run_of(data, side, setting) for setting in sorted(TRIALS[side], key=key)]


def chosen(rows: Mapping[str, Row], data: str, side: str) -> Settings | None:
    """Return the setting of a side that is best on validation; None: nothing has run."""
    found = {}
    for setting in TRIALS[side]:
        row = rows.get(identity(run_of(data, side, setting)))
        if row is not None:
            found[max(row["valid"])] = setting
    return found[max(found)] if found else None


def finals(rows: Mapping[str, Row], data: str, sides: Iterable[str]) -> list[Settings]:
    """Return the winners with the further seeds, seed after seed."""
    settings = [(side, chosen(rows, data, side)) for side in sides]
    return [
        run_of(data, side, setting, seed)
        for seed in SEEDS[1:]
        for side, setting in settings
        if setting is not None
    ]
