"""Checks of the models that know single users by their ids."""

from __future__ import annotations

from torch import Tensor

from lightning_croloss.data.datamodule import RetrievalDataModule


def refuse_unseen_users(data: RetrievalDataModule | None, who: str, remedy: str) -> None:
    """Raise ``ValueError`` if the data evaluates users whose ids training never sees.

    Args:
        data: the data, if it is one of this package's.
        who: what needs them, for the message.
        remedy: what to do, for the message.
    """
    if data is not None and data.rows.unseen_users:
        raise ValueError(
            f"{who} needs users that training has seen, but {type(data.split).__name__} evaluates others: "
            f"{remedy}"
        )


def refuse_unknown_users(users: Tensor | None, who: str) -> None:
    """Raise ``ValueError`` if users (B,) are not given or one of them is 0, which stands for unknown.

    Args:
        users: the users that are recommended to.
        who: what needs them, for the message.
    """
    if users is None or bool((users == 0).any()):
        raise ValueError(f"{who} knows users by their ids alone: give users, the id of a known user for each")
