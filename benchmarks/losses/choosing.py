"""Which settings are run next, and which one is chosen, by the whole grid or by successive halving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.losses.datasets import NS, PARTS
from benchmarks.losses.sides import TRIALS
from benchmarks.losses.tuned import MissingTrialError, tuned

SEEDS = (1, 2, 3)
#: Successive halving: after so many of the eight parts, that share of the trials goes on.
RUNGS = ((2, 1 / 3),)


def trial(
    data: str, side: str, setting: Settings, architecture: str = "YouTubeDNN", parts: int = PARTS
) -> Settings:
    """Return the settings of a trial, which has seed 0."""
    run = {
        "purpose": "tuning",
        "data": data,
        "architecture": architecture,
        "side": side,
        "setting": setting,
        "seed": 0,
    }
    return run if parts == PARTS else {**run, "parts": parts}


def grid(data: str, side: str, architecture: str = "YouTubeDNN") -> list[Settings]:
    """Return every trial of a side, at full length."""
    return [trial(data, side, setting, architecture) for setting in TRIALS[side]]


def first_parts(data: str, side: str, architecture: str = "YouTubeDNN") -> list[Settings]:
    """Return the beginning of every trial of a side."""
    return [trial(data, side, setting, architecture, RUNGS[0][0]) for setting in TRIALS[side]]


def promising(
    rows: Mapping[str, Row], data: str, side: str, architecture: str = "YouTubeDNN"
) -> list[Settings]:
    """Return the trials that go on after their first parts: the best for each N, four of twelve at most.

    The first of each N come before the second of any.
    """
    parts, _ = RUNGS[0]
    settings = TRIALS[side]
    begun = {
        index: rows[identity(trial(data, side, setting, architecture, parts))]
        for index, setting in enumerate(settings)
        if identity(trial(data, side, setting, architecture, parts)) in rows
    }
    return [trial(data, side, settings[index], architecture) for index in survivors(begun, len(settings))]


def survivors(begun: Mapping[int, Row], of: int) -> list[int]:
    """Return the numbers of the trials that successive halving lets go on, for all N together.

    Args:
        begun: number of each trial -> its row, of which only the first parts are looked at.
        of: how many trials the side has; a third of them go on.
    """
    parts, share = RUNGS[0]
    orders = [sorted(begun, key=lambda index: -best(begun[index], n, parts)) for n in NS]
    going_on: list[int] = []
    for place in range(len(begun)):
        for order in orders:
            if order[place] not in going_on and len(going_on) < round(share * of):
                going_on.append(order[place])
    return going_on


def best(row: Row, n: int, parts: int = PARTS) -> float:
    """Return the best validation Recall@n of a run in its first parts."""
    return max(row["valid"][str(n)][:parts])


def chosen(
    rows: Iterable[Row], data: str, side: str, n: int, architecture: str = "YouTubeDNN"
) -> Settings | None:
    """Return the setting of a side that is best on validation for an N; None: nothing has run."""
    values = {
        identity(row["settings"]["setting"]): (best(row, n), row["settings"]["setting"])
        for row in rows
        if is_trial(row, data, side, architecture)
    }
    return max(values.values(), key=lambda pair: pair[0])[1] if values else None


def is_trial(row: Row, data: str, side: str, architecture: str = "YouTubeDNN") -> bool:
    """Tell whether a row is a whole trial of a side that still belongs to its grid."""
    given = row["settings"]
    return (
        given["purpose"] == "tuning"
        and "parts" not in given
        and (given["data"], given["side"], given["architecture"]) == (data, side, architecture)
        and given["setting"] in TRIALS[side]
    )


def finals(
    rows: Mapping[str, Row], data: str, sides: Iterable[str], architecture: str = "YouTubeDNN"
) -> list[Settings]:
    """Return each winner with each seed, seed after seed, so that what is there can always be compared.

    What ``tune`` chooses for an N is among them, once its portfolio has been run.
    """
    winners = {(side, n): chosen(rows.values(), data, side, n, architecture) for side in sides for n in NS}
    pairs = [(side, setting) for (side, _), setting in winners.items() if setting is not None]
    for n in NS:
        with suppress(MissingTrialError):
            pairs.append(tuned(rows.values(), n, architecture=architecture)[:2])
    runs: list[Settings] = []
    for seed in SEEDS:
        for side, setting in pairs:
            run = {
                "purpose": "final",
                "data": data,
                "architecture": architecture,
                "side": side,
                "setting": setting,
                "seed": seed,
            }
            if run not in runs:
                runs.append(run)
    return runs
