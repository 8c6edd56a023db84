"""The users of ``croloss recommend``: what is passed of them to the model, and a table of their features."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.recommend.unread import unread_sentence
from lightning_croloss.cli.recommend.event_table import column_of, first_that_reads, tokens_of
from lightning_croloss.cli.recommend.history_input import Histories
from lightning_croloss.cli.recommend.options import USER_COLUMN
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.errors import DataError, suggest
from lightning_croloss.recommend.protocol import Retriever


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
            kinds = {encoding.name: encoding.kind for encoding in encodings}
            separators = {encoding.name: encoding.separator for encoding in encodings}
            self._rows, self._features, unread = _read(given, trained, kinds, separators)
            if unread:
                self.notes.append(unread_sentence("the model", unread, "users", kinds))

    def of(self, batch: Histories) -> dict[str, Any]:
        """Return the arguments ``users`` and ``user_features`` of the recommender for a batch.

        Raises:
            ValueError: the model needs users, and the input does not name them.
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
            rows = self._rows.encode(batch.users)
            arguments["user_features"] = {
                name: [values[row - 1] if row else None for row in rows]
                for name, values in self._features.items()
            }
        return arguments


def _read(
    given: argparse.Namespace,
    trained: Mapping[str, Any] | None,
    kinds: Mapping[str, str],
    separators: Mapping[str, str],
) -> tuple[Vocabulary, dict[str, list[Any]], list[str]]:
    """Return the users of the table ``--users``, for each feature that it has the values, other columns."""

    def read(options: ReadingOptions) -> tuple[Vocabulary, dict[str, list[Any]], list[str]]:
        import polars as pl

        from lightning_croloss.data.table.feature_tables import texts_of
        from lightning_croloss.data.table.reading import read_table
        from lightning_croloss.data.table.sources import find_files

        known = trained or {}
        files = find_files("--users", given.users, ".user", options)
        user = column_of(given.user_column, known.get("user_column"), USER_COLUMN, files)
        present = [name for name in kinds if name in files[0].columns]
        if not present:
            raise DataError(
                f"{files[0].path.name} has no feature of the model's users: it needs columns of "
                f"{', '.join(kinds)}{suggest(next(iter(kinds)), files[0].columns)}"
            )
        columns = {f"feature {name!r}": name for name in present}
        table = read_table(files, {"the user column of --users": user, **columns})
        missing = given.missing_values if given.missing_values is not None else known.get("missing_values")
        if missing:
            table.frame = table.frame.with_columns(pl.col(pl.String).replace(list(missing), None))
        users = tokens_of(table, user)
        if users.null_count():
            row = int(users.is_null().arg_max() or 0)
            raise DataError(f"{table.location(row)}: column {user!r} has no value: every row needs a user")
        values = {name: texts_of(table, table.frame[name], kinds[name], separators[name]) for name in present}
        others = [name for name in files[0].columns if name not in (user, *kinds)]
        return Vocabulary(users.to_list()), {name: list(column) for name, column in values.items()}, others

    return first_that_reads(given, trained, read)
