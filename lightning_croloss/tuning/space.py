"""The space of a search: fields of a config with the values that they may have, and draws from it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_croloss.errors import suggest
from lightning_croloss.tuning.candidate import Candidate

#: How many candidates are drawn besides the portfolio where nobody says.
DRAWN = 13
_KEYS = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Choices:
    """Values of which one is taken.

    Args:
        values: plain values; a class is ``{"class_path": …, "init_args": …}``.
    """

    values: tuple[Any, ...]

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def draw(self, source: random.Random) -> Any:
        """Draw one."""
        return source.choice(self.values)


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Args:
        low: the lower end.
        high: the upper end.
        log: whether the logarithm is uniform.
        step: the distance of the numbers; None is 1 for integers, and any number else.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def integer(self) -> bool:
        """Whether the numbers are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)

    @property
    def size(self) -> float:
        """How many values there are."""
        step = self.step or (1 if self.integer else None)
        return math.inf if step is None else math.floor((self.high - self.low) / step + 1e-9) + 1

    def draw(self, source: random.Random) -> float:
        """Draw one."""
        if self.log:
            value = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        elif self.size < math.inf:
            return self.low + source.randrange(int(self.size)) * (self.step or 1)
        else:
            value = source.uniform(self.low, self.high)
        if self.integer:
            return min(max(round(value), self.low), self.high)
        return min(max(float(f"{value:.3g}"), self.low), self.high)


Dimension = Choices | Range


def read_space(section: Any) -> dict[str, Dimension]:
    """Read the section ``tune.space`` of a config.

    Args:
        section: dotted fields, each with a list of values or ``{low, high, log, step}``.

    Raises:
        ValueError: naming the field and what it may be.
    """
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise ValueError(f"tune.space must consist of dotted fields and their values, got {section!r}")
    return {str(name): _dimension(f"tune.space: {name}", entry) for name, entry in section.items()}


def _dimension(name: str, entry: Any) -> Dimension:
    what = "a list of values, or {low: …, high: …} with log or step if wanted"
    if isinstance(entry, list):
        if not entry:
            raise ValueError(f"{name} has no values: give {what}")
        return Choices(tuple(entry))
    if not isinstance(entry, Mapping):
        raise ValueError(f"{name} must be {what}, got {entry!r}")
    for key in entry:
        if key not in _KEYS:
            raise ValueError(f"{name}: there is no {key!r} of a range{suggest(str(key), _KEYS)}")
    if missing := [key for key in ("low", "high") if key not in entry]:
        raise ValueError(f"{name} has no {missing[0]}: give {what}")
    for key in ("low", "high", "step"):
        value = entry.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{name}: {key} must be a number, got {value!r}")
    low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
    if not isinstance(log, bool):
        raise ValueError(f"{name}: log must be true or false, got {log!r}")
    if not low < high:
        raise ValueError(f"{name}: low must be below high, got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"{name}: low must be above 0 with log, got {low}")
    if step is not None and (log or step <= 0):
        raise ValueError(f"{name}: step must be above 0 and without log, got {step}")
    return Range(low, high, log, step)


def drawn(
    losses: Sequence[Candidate], space: Mapping[str, Dimension], number: int, seed: int
) -> Iterator[Candidate]:
    """Yield candidates whose fields are drawn from a space, with one loss after the other.

    No candidate comes twice; there are fewer than ``number`` where the space is small.

    Args:
        losses: the candidates whose losses are taken in turn.
        space: the fields.
        number: how many at most.
        seed: of the draws.
    """
    source = random.Random(seed)
    possible = math.prod(dimension.size for dimension in space.values()) * len(losses)
    seen: set[str] = set()
    names: set[str] = {loss.name for loss in losses}
    position = 0
    while len(seen) < min(number, possible):
        loss = losses[position % len(losses)]
        position += 1
        for _ in range(1000):  # one loss may have had all of a small space
            fields = {name: dimension.draw(source) for name, dimension in space.items()}
            key = f"{loss.name}/{fields!r}"
            if key not in seen:
                seen.add(key)
                yield Candidate(unique(f"{loss.name}, {described(fields)}", names), loss.loss, fields)
                break


def described(fields: Mapping[str, Any]) -> str:
    """Return fields in few words: ``history_dropout 0.3, lr 0.001``."""
    return ", ".join(f"{name.rpartition('.')[2]} {_shown(value)}" for name, value in fields.items())


def unique(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    taken.add(found)
    return found


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "class_path" in value:
        inner = described(value.get("init_args") or {})
        name = str(value["class_path"]).rpartition(".")[2]
        return f"{name} ({inner})" if inner else name
    return f"{value:.4g}" if isinstance(value, float) else str(value).rpartition(".")[2] or str(value)


__all__ = ["DRAWN", "Choices", "Dimension", "Range", "described", "drawn", "read_space", "unique"]
