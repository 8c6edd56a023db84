"""Which runs are made, in which order, and which setting is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.matrix_factorisation.sides import TRIALS

#: The trials have the first; the winners all.
SEEDS = (0, 1, 2)


def run_of(data: str, side: str, setting: Settings, seed: int = SEEDS[0]) -> Settings:
    """Return the settings of a run."""
    return {"data": data, "side": side, "setting": setting, "seed": seed}


def trials(data: str, sides: Iterable[str]) -> list[Settings]:
    """Return every trial, the first of each side before the second of any."""
    return [
        run_of(data, side, setting) for group in zip(*_pairs(sides), strict=True) for side, setting in group
    ]


def _pairs(sides: Iterable[str]) -> list[list[tuple[str, Settings]]]:
    return [[(side, setting) for setting in TRIALS[side]] for side in sides]


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
