"""The errors that a user of this library can meet, besides plain ``ValueError`` and ``TypeError``."""

from croloss_serving.errors import DataError, MissingExtraError, PretrainedError, suggest

__all__ = ["DataError", "MissingExtraError", "NonFiniteLossError", "PretrainedError", "suggest"]


class NonFiniteLossError(RuntimeError):
    """The training loss became NaN or infinite: the message holds the step and the state of the loss."""
