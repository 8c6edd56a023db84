"""Candidate: one of the settings among which a search chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_croloss.configurable import Configurable, to_config


@dataclass(frozen=True)
class Candidate:
    """One of the settings among which a search chooses; plain values only.

    Args:
        name: unique and short, for tables: "exp, alpha 1.2, temperature 0.14".
        loss: the loss as a config has it, ``{"class_path": "CROLoss", "init_args": {...}}``; None leaves the
            model's own.
        fields: further fields of a config with their values, by dotted name, such as
            ``{"model.init_args.history_dropout": 0.3}``.
    """

    name: str
    loss: Mapping[str, Any] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, loss: Configurable, name: str | None = None, **fields: Any) -> Candidate:
        """Return the candidate of a loss that is built already.

        Args:
            loss: the loss.
            name: its name; None is made of the loss and the fields.
            **fields: further arguments of the function that builds the model.

        Raises:
            TypeError: the loss has an argument that no file can hold.
        """
        told = [" ".join(repr(loss).split()), *(f"{key} {value}" for key, value in fields.items())]
        return cls(name or ", ".join(told), to_config(loss), fields)

    def to_plain(self) -> dict[str, Any]:
        """Return a dictionary of plain values, for files."""
        loss = None if self.loss is None else dict(self.loss)
        return {"name": self.name, "loss": loss, "fields": dict(self.fields)}


def check_candidates(candidates: Sequence[Candidate]) -> None:
    """Refuse a list of candidates that a search cannot tell apart.

    Raises:
        ValueError: there is none, or two have the same name.
    """
    if not candidates:
        raise ValueError("candidates is empty: give at least one")
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"candidates: two have the name {twice[0]!r}; give each a name of its own")
