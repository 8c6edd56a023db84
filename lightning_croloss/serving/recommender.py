"""Recommender: serves an exported model on onnxruntime and numpy or faiss, without torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.common.vocabulary import Vocabulary
from lightning_croloss.errors import MissingExtraError
from lightning_croloss.recommend.results import (
    Recommendations,
    Token,
    UserRecommendations,
    check_tokens,
    encode_tokens,
    ids_of_histories,
)
from lightning_croloss.serving.index import read_index
from lightning_croloss.serving.layout import ENCODER, FORMAT, HISTORY, INDEX, INTERESTS, ITEMS, USERS, VECTORS
from lightning_croloss.serving.search import Ids, Scores, exact_search, index_search

#: Users that are encoded together.
BATCH_SIZE = 256


class Recommender:
    """Recommends to histories of tokens what the exported model would.

    Make it with :meth:`from_export`. Neither torch nor lightning is imported.

    Attributes:
        vocabulary: the tokens of the items.
        titles: their titles, or None.
        model: what the manifest says of the model: its class, ``num_items``, ``max_history`` and more.
    """

    def __init__(
        self,
        session: Any,
        vectors: NDArray[np.float32],
        vocabulary: Vocabulary,
        titles: list[str] | None,
        counts: NDArray[np.int64] | None,
        model: dict[str, Any],
        index: Any = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.titles = titles
        self.model = model
        self._session = session
        self._vectors = vectors
        self._counts = counts
        self._index = index
        self._inputs = {entry.name for entry in session.get_inputs()}

    @classmethod
    def from_export(
        cls,
        folder: str | Path,
        *,
        threads: int | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
    ) -> Recommender:
        """Load what ``croloss export`` wrote, after checking every file against its checksum.

        Args:
            folder: the folder.
            threads: threads of the encoder; None leaves it to onnxruntime.
            nprobe: number of clusters that an IVF index searches; None is 16.
            ef_search: number of neighbours that an HNSW index keeps in mind; None is 128.

        Raises:
            PretrainedError: the folder is no export, is of another version, or a file is damaged.
            MissingExtraError: onnxruntime, pyarrow, or, for an index, faiss is not installed.
        """
        path = Path(folder)
        manifest = FORMAT.read(path)
        runtime, parquet = _serving_packages()
        options = runtime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        session = runtime.InferenceSession(str(path / ENCODER), options, providers=["CPUExecutionProvider"])
        items = parquet.read_table(path / ITEMS)
        counts = items["count"].to_pylist()
        has_index = INDEX in manifest["files"]
        return cls(
            session,
            np.load(path / VECTORS),
            Vocabulary(items["token"].to_pylist()),
            items["title"].to_pylist() if "title" in items.column_names else None,
            None if None in counts else np.array(counts, dtype=np.int64),
            manifest["model"],
            read_index(path / INDEX, nprobe, ef_search) if has_index else None,
        )

    def recommend(
        self,
        histories: Sequence[Sequence[Token]],
        n: int = 10,
        exclude_history: bool = True,
        allow: Collection[Token] | None = None,
        deny: Collection[Token] | None = None,
        users: Sequence[int] | None = None,
    ) -> Recommendations:
        """Return the n best items for each history, as ``model.recommend_tokens`` does.

        With ``allow`` or ``deny`` the search is exact, whatever the index.

        Args:
            histories: for each user the tokens of its events, oldest first.
            n: how many items.
            exclude_history: leave out the items of the history.
            allow: tokens of the only items to recommend; None = all.
            deny: tokens of items never to recommend.
            users: the user id of each history, 0 = unknown, for a model that knows users; None = all unknown.

        Raises:
            ValueError: n is outside 1 … num_items, or users do not fit.
            TypeError: tokens are neither text nor integers.
        """
        num_items = len(self.vocabulary)
        if not 1 <= n <= num_items:
            raise ValueError(f"n must be in 1 … {num_items}, the number of items, got {n}")
        ids, unknown = ids_of_histories(histories, self.vocabulary)
        known_users = self._users(users, len(ids))
        denied = self._denied(allow, deny)
        popular = self._popular(n, denied)
        found: list[UserRecommendations] = []
        for first in range(0, len(ids), BATCH_SIZE):
            part = slice(first, first + BATCH_SIZE)
            interests = self.encode(ids[part], known_users[part])
            excluded = [
                np.concatenate([np.unique(history) if exclude_history else [], denied]).astype(np.int64)
                for history in ids[part]
            ]
            if self._index is None or len(denied):
                best = exact_search(interests, self._vectors, n, excluded)
            else:
                best = index_search(interests, self._index, n, excluded)
            for history, number, (items, scores) in zip(ids[part], unknown[part], best, strict=True):
                if not history:
                    items, scores = popular
                found.append(self._entry(items, scores, number, fallback=not history))
        return Recommendations(found)

    def encode(self, histories: Sequence[Sequence[int]], users: NDArray[np.int64]) -> Scores:
        """Return the interests (B, K, D) of histories of item ids.

        Args:
            histories: for each user the ids of its events, oldest first; the last ``max_history`` count.
            users: (B,) user ids, 0 = unknown.
        """
        longest = self.model["max_history"] or max(map(len, histories), default=1)
        cut = [history[-longest:] for history in histories]
        batch = np.zeros((len(cut), max(1, max(map(len, cut), default=1))), dtype=np.int64)
        for row, history in zip(batch, cut, strict=True):
            if history:
                row[-len(history) :] = history
        inputs = {HISTORY: batch, USERS: users}
        given = {name: value for name, value in inputs.items() if name in self._inputs}
        interests: Scores = self._session.run([INTERESTS], given)[0]
        return interests

    def _users(self, users: Sequence[int] | None, count: int) -> NDArray[np.int64]:
        if users is None:
            return np.zeros(count, dtype=np.int64)
        given = np.asarray(users, dtype=np.int64)
        largest = self.model["num_users"]
        if given.shape != (count,) or (count and not 0 <= given.min() <= given.max() <= largest):
            raise ValueError(
                f"users must hold an id of 0 … {largest} for each of the {count} histories, got {users!r}"
            )
        return given

    def _denied(self, allow: Collection[Token] | None, deny: Collection[Token] | None) -> Ids:
        """Return the ids that must not be recommended."""
        denied = np.zeros(len(self.vocabulary) + 1, dtype=np.bool_)
        if allow is not None:
            denied[:] = True
            denied[encode_tokens(check_tokens("allow", allow), self.vocabulary)] = False
        if deny is not None:
            denied[encode_tokens(check_tokens("deny", deny), self.vocabulary)] = True
        denied[0] = False
        return np.flatnonzero(denied)

    def _popular(self, n: int, denied: Ids) -> tuple[Ids, Scores]:
        if self._counts is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        order = np.argsort(-self._counts, kind="stable") + 1
        best = order[~np.isin(order, denied)][:n]
        return best, self._counts[best - 1].astype(np.float32)

    def _entry(self, ids: Ids, scores: Scores, unknown: int, fallback: bool) -> UserRecommendations:
        titles = None if self.titles is None else [self.titles[i - 1] for i in ids.tolist()]
        return UserRecommendations(self.vocabulary.decode(ids), titles, scores.tolist(), unknown, fallback)


def _serving_packages() -> tuple[ModuleType, ModuleType]:
    try:
        import onnxruntime
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("serving a model", "serve") from error
    return onnxruntime, pyarrow.parquet
