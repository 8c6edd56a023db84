"""Histories: some users and the tokens of their events, and checks of what is read into them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.tokens import check_tokens
from croloss_serving.recommend.unread import unread_sentence
from lightning_croloss.errors import DataError


@dataclass
class Histories:
    """Some users and the tokens of their events, oldest first.

    Attributes:
        users: what names each user in the input.
        tokens: the history of each.
        named: whether the input names each of the users, who are numbered otherwise.
        times: the times of the events of each; None for a model that does not read them.
        event_features: for each feature of events that the model reads the values of the events of each.
        user_type: the pyarrow type of a column of all users, of this batch and others; None if not known.
    """

    users: list[Any] = field(default_factory=list)
    tokens: list[Sequence[Any]] = field(default_factory=list)
    user_type: Any = None
    named: bool = True
    times: list[Sequence[Any]] | None = None
    event_features: dict[str, list[Sequence[Any]]] = field(default_factory=dict)

    @property
    def of_events(self) -> dict[str, Any]:
        """The arguments ``times`` and ``event_features`` of the recommender, those that the model reads."""
        features = {"event_features": self.event_features} if self.event_features else {}
        return features if self.times is None else {"times": self.times, **features}

    @classmethod
    def reading(cls, events: EventInputs) -> Histories:
        """Return a batch without users, to be filled for a model that reads this of events."""
        times: list[Sequence[Any]] | None = [] if events.times is not None else None
        return cls(times=times, event_features={name: [] for name in events.names})

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.users)


class Unread:
    """Says of each thing in the input that the model does not read that it is left out, once.

    Args:
        say: is told each sentence.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: set[str] = set()

    def note(self, where: str, names: Collection[str], whose: str, known: Collection[str]) -> None:
        """Note names that were found somewhere.

        Args:
            where: file and line, or the file.
            names: what the model does not read; nothing is said of none.
            whose: "events" or "users".
            known: what the model reads.
        """
        if new := [name for name in names if name not in self._told]:
            self._told.update(new)
            self._say(f"{where}: {unread_sentence('the model', new, whose, known)}")


def check_events(batch: Histories, inputs: EventInputs, locations: Sequence[str]) -> None:
    """Refuse times or features of events that are not what they were in training.

    Raises:
        DataError: naming where the first such history stands.
    """

    def check(rows: slice) -> None:
        times = None if batch.times is None else batch.times[rows]
        features = {name: values[rows] for name, values in batch.event_features.items()}
        inputs.encode([len(tokens) for tokens in batch.tokens[rows]], times, features, "the model")

    try:
        check(slice(None))
    except ValueError:
        for number, location in enumerate(locations):
            try:
                check(slice(number, number + 1))
            except ValueError as error:
                raise DataError(f"{location}: {error}") from None


def checked_history(history: Any, location: str) -> Sequence[Any]:
    """Return a history that is a list of tokens.

    Raises:
        DataError: it is not; the message begins with ``location``.
    """
    if not isinstance(history, list):
        raise DataError(f"{location}: a history must be a list of tokens, got {history!r}")
    try:
        check_tokens("the history", history)
    except TypeError as error:
        raise DataError(f"{location}: {error}") from None
    return history
