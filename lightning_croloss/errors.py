"""The errors that a user of this library can meet, besides plain ``ValueError`` and ``TypeError``."""

import errno

from croloss_serving.errors import LONGEST_MESSAGE, DataError, MissingExtraError, PretrainedError, suggest

__all__ = [
    "LONGEST_MESSAGE",
    "DataError",
    "MissingExtraError",
    "NonFiniteLossError",
    "NotEnoughSpaceError",
    "PretrainedError",
    "suggest",
]


class NonFiniteLossError(RuntimeError):
    """The training loss became NaN or infinite: the message holds the step and the state of the loss."""


class NotEnoughSpaceError(OSError):
    """A disk is full, or will be: the message says what takes how much, and where."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.ENOSPC
