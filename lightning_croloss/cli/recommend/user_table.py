"""The users of ``croloss recommend``: what is passed of them to the model, and a table of their features."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.recommend.unread import unread_sentence
from lightning_croloss.cli.recommend.event_table import (
    column_of,
    first_that_reads,
    missing_values,
    tokens_of,
)
from lightning_croloss.cli.recommend.history_input import Histories
from lightning_croloss.cli.recommend.options import USER_COLUMN
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.errors import DataError, suggest
from lightning_croloss.recommend.protocol import Retriever

if TYPE_CHECKING:
    from lightning_croloss.data.table.reading import Table


class Users:
    """What the model is told of the users of each batch.

    Args:
        model: the model.
        given: the options of the command; ``users`` is a table of users with their features, or None.
        trained: how the model's training read its events; None if that is not known.

    Attributes:
        notes: sentences for the user.

    Raises:
        ValueError: features are given that the model uses and cannot read.
        DataError: the table or a column is missing, or cannot be used.
    """

    def __init__(
        self, model: Retriever, given: argparse.Namespace, trained: Mapping[str, Any] | None
    ) -> None:
        self._model = model
        self._uses_users = model.knows_users and model.metadata.user_vocabulary is not None
        self.notes: list[str] = []
        if model.knows_users and not self._uses_users:
            self.notes.append(
                f"the file of this {type(model).__name__} does not hold the tokens of its users (it was "
                "written without them, or by an earlier release): every user counts as unknown"
            )
        self._table = given.users
        self._rows = Vocabulary([])
        self._features: dict[str, list[Any]] = {}
        if given.users is not None and not model.reads_user_features:
            self.notes.append(
                f"--users {given.users}: this {type(model).__name__} reads no features of users: they are "
                "left out"
            )
        elif given.users is not None:
            encodings = model.metadata.user_encodings
            if not encodings:
                raise ValueError(
                    f"--users {given.users}: the file of this {type(model).__name__} does not hold how to "
                    "read the features of users: leave --users out"
                )
            names = [encoding.name for encoding in encodings]
            self._rows, self._features, unread = _read(given, trained, encodings)
            if unread:
                self.notes.append(unread_sentence("the model", unread, "users", names))

    def of(self, batch: Histories) -> dict[str, Any]:
        """Return the arguments ``users`` and ``user_features`` of the recommender for a batch.

        Raises:
            ValueError: the model needs users, or features of them are given, and the input names none.
        """
        arguments: dict[str, Any] = {}
        if self._model.needs_known_users and not batch.named:
            raise ValueError(
                f"a {type(self._model).__name__} recommends to users that it was trained with: --histories "
                'must name them, in a column of users, or as "user" in JSON lines'
            )
        if self._uses_users and batch.named:
            arguments["users"] = batch.users
        if self._features:
            if not batch.named:  # the running numbers of the input are nobody's names
                raise ValueError(
                    f"--users {self._table} has features of users, and the input names none: --histories "
                    'must name them, in a column of users, or as "user" in JSON lines, or leave --users out'
                )
            rows = self._rows.encode(batch.users)
            arguments["user_features"] = {
                name: [values[row - 1] if row else None for row in rows]
                for name, values in self._features.items()
            }
        return arguments


def _read(
    given: argparse.Namespace, trained: Mapping[str, Any] | None, encodings: Sequence[FeatureEncoding]
) -> tuple[Vocabulary, dict[str, list[Any]], list[str]]:
    """Return the users of the table ``--users``, for each feature that it has the values, other columns."""
    known = trained or {}

    def read(options: ReadingOptions) -> tuple[Table, str]:
        from lightning_croloss.data.table.reading import read_table
        from lightning_croloss.data.table.sources import find_files

        files = find_files("--users", given.users, ".user", options)
        user = column_of(given.user_column, known.get("user_column"), USER_COLUMN, files)
        names = [encoding.name for encoding in encodings]
        present = [name for name in names if name in files[0].columns]
        if not present:
            raise DataError(
                f"{files[0].path.name} has no feature of the model's users: it needs columns of "
                f"{', '.join(names)}{suggest(names[0], files[0].columns)}"
            )
        columns = {f"feature {name!r}": name for name in present}
        return read_table(files, {"the user column of --users": user, **columns}), user

    # what a table holds is checked when it is read: no other way of reading it would be a remedy
    table, user = first_that_reads(given, trained, read)
    from lightning_croloss.data.table.reading import with_missing  # whose polars reading has seen to be there

    _, missing = missing_values(given, trained)
    table.frame = with_missing(table.frame, missing, user)
    users = _checked_users(table, user)
    values = {
        encoding.name: _checked_values(table, encoding)
        for encoding in encodings
        if encoding.name in table.frame.columns
    }
    others = [name for name in table.files[0].columns if name != user and name not in values]
    return Vocabulary(users), values, others


def _checked_users(table: Table, column: str) -> list[Any]:
    """Return the users of a table, each of whom it must name once."""
    from lightning_croloss.data.table.feature_tables import refuse_repeated

    users = tokens_of(table, column)
    if users.null_count():
        row = int(users.is_null().arg_max() or 0)
        raise DataError(f"{table.location(row)}: column {column!r} has no value: every row needs a user")
    refuse_repeated(table, column, users)
    return list(users.to_list())


def _checked_values(table: Table, encoding: FeatureEncoding) -> list[Any]:
    """Return the values of a feature, which the model must be able to read."""
    from lightning_croloss.data.table.feature_tables import texts_of

    values = list(texts_of(table, table.frame[encoding.name], encoding.kind, encoding.separator))
    if encoding.kind == "numeric":  # any text is a token
        try:
            encoding.encode(values)
        except ValueError:
            for row, value in enumerate(values):
                try:
                    encoding.encode([value])
                except ValueError as error:
                    raise DataError(f"{table.location(row)}: {error}") from None
    return values
