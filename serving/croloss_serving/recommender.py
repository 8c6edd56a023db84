"""Recommender: serves an exported model on onnxruntime and numpy or faiss, without torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.blocks import blocks
from croloss_serving.common.home_folder import expanded
from croloss_serving.common.list_length import check_n
from croloss_serving.common.switches import check_switches
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import SERVING, MissingExtraError, NeededBy, PretrainedError
from croloss_serving.export_folder import ExportFolder
from croloss_serving.index import check_number
from croloss_serving.layout import (
    ENCODER,
    EVENT_FEATURE,
    FEATURE_VECTORS,
    HISTORY,
    INTERESTS,
    TIMES,
    USERS,
)
from croloss_serving.recommend.event_inputs import EncodedEvents, EventFeatures, EventInputs, Times
from croloss_serving.recommend.item_table import ItemTable
from croloss_serving.recommend.lists import UserLists
from croloss_serving.recommend.results import Recommendations, UserRecommendations
from croloss_serving.recommend.tokens import Token, all_ids_of_histories, allowed_ids, histories_of, known_ids
from croloss_serving.recommend.user_features import EncodedFeatures, UserFeatures, encode_user_features
from croloss_serving.recommend.users import UserKnowledge
from croloss_serving.search import Ids, Scores, exact_search, index_search
from croloss_serving.user_feature_vectors import UserFeatureVectors

NEEDED_BY = NeededBy("serving a model", "serve", SERVING)
#: Users that are encoded together.
BATCH_SIZE = 256


class Recommender:
    """Recommends to histories of tokens what the exported model would.

    Make it with :meth:`from_export`. Neither torch nor lightning is needed.

    Attributes:
        items: the tokens, training events and titles of the items.
        model: what the manifest says of the model: its class, ``num_items``, ``max_history`` and more.
        checksum: of the manifest, which has those of all files; None without a folder.
    """

    def __init__(
        self,
        session: Any | None,
        vectors: NDArray[np.float32],
        items: ItemTable,
        model: dict[str, Any],
        index: Any = None,
        users: Vocabulary | None = None,
        user_features: UserFeatureVectors | None = None,
        user_vectors: NDArray[np.float32] | None = None,
        events: EventInputs | None = None,
        checksum: str | None = None,
    ) -> None:
        self.items = items
        self.model = model
        self.checksum = checksum
        self._session = session
        self._vectors = vectors
        self._index = index
        self._user_features = user_features
        self._user_vectors = user_vectors
        self._inputs = set() if session is None else {entry.name for entry in session.get_inputs()}
        self._events = events or EventInputs()
        if user_features is not None:
            self._inputs.add(FEATURE_VECTORS)  # not among the inputs, since it has a default
        # an export of an earlier release does not say what it goes by, and may count users without using them
        reads_users = user_vectors is not None or not self._inputs.isdisjoint((USERS, FEATURE_VECTORS))
        self._knowledge = UserKnowledge(
            f"this export of a {model['class']}",
            model["num_users"] > 0 and reads_users,
            model.get("needs_users", False),
            model.get("uses_history", True),
            users,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the items."""
        return self.items.vocabulary

    @property
    def takes_users(self) -> bool:
        """Whether :meth:`recommend` takes users: the model uses them, and the export has their tokens."""
        return self._knowledge.uses_users and self._knowledge.vocabulary is not None

    @property
    def titles(self) -> list[str] | None:
        """What a person calls each item; None without titles."""
        return self.items.titles

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
            threads: threads of the encoder, if there is one; None or 0 leaves it to onnxruntime.
            nprobe: number of clusters that an IVF index searches, more where they hold fewer than n items;
                None is 16.
            ef_search: number of neighbours that an HNSW index keeps in mind, more where it reaches fewer than
                n items; None is 128.

        Raises:
            ValueError: threads is not a whole number, or nprobe or ef_search none from 1 on.
            PretrainedError: the folder is not an export, is of another version, a file is damaged, or another
                export comes into its place meanwhile.
            MissingExtraError: pyarrow, for an encoder onnxruntime, or for an index faiss is not installed.
        """
        check_number("threads", threads, least=0)
        check_number("nprobe", nprobe)
        check_number("ef_search", ef_search)
        export = ExportFolder.open(expanded(folder))
        made = cls(
            _session(export, threads),
            export.vectors(),
            export.items(NEEDED_BY),
            export.model,
            export.index(nprobe, ef_search),
            export.users(NEEDED_BY),
            export.user_features(),
            export.known_users(),
            export.events(),
            export.checksum,
        )
        export.check_same()
        return made

    def recommend(
        self,
        histories: Sequence[Sequence[Token]] | None = None,
        n: int = 10,
        exclude_history: bool | None = None,
        allow: Collection[Token] | None = None,
        deny: Collection[Token] | None = None,
        users: Sequence[Token] | None = None,
        user_features: UserFeatures | None = None,
        times: Times | None = None,
        event_features: EventFeatures | None = None,
    ) -> Recommendations:
        """Return the n best items for each history, as ``model.recommend_tokens`` does.

        A list is shorter than n only where no more items are left: an approximate index that finds too few
        for a user is searched more widely for this user, and at last all items are.

        With ``allow`` or ``deny`` the search is exact, whatever the index.

        Histories are taken as they are: what the filters of training left out of its own, such as low ratings
        or repeats, the caller leaves out.

        Args:
            histories: for each user the tokens of its events, oldest first; None = no events of any of the
                users.
            n: how many items.
            exclude_history: whether to leave out the items of the history; None is as the model was exported
                (exports that do not say leave them out).
            allow: tokens of the only items to recommend; None = all.
            deny: tokens of items never to recommend.
            users: the token of each user, for a model that uses ids or features of users; None = all unknown.
            user_features: for each feature of users that the model was trained with a value of each user, for
                those whom it does not know: a text or a number, for "multi" a text or a list; None or "" is
                missing.
            times: for each history the list of the times of its events, for a model that was trained with
                them: numbers, or dates and ISO texts, as in training.
            event_features: for each feature of events that the model was trained with, for each history the
                list of the values of its events; None or "" is missing.

        Raises:
            ValueError: n is outside 1 … num_items, neither histories nor users are given, or users, their
                features, or times or features of events do not fit the model or the histories.
            TypeError: tokens are neither text nor integers.
        """
        check_switches(exclude_history=exclude_history)
        if exclude_history is None:
            exclude_history = bool(self.model.get("exclude_history", True))
        check_n(n, len(self.items))
        found_ids = all_ids_of_histories(histories_of(histories, users), self.vocabulary)
        ids, unknown = known_ids(found_ids)
        events = self._events.encode(
            list(map(len, found_ids)), times, event_features, self._knowledge.who, [i > 0 for i in found_ids]
        )
        known_users = self._knowledge.ids(users, len(ids))
        encodings = [] if self._user_features is None else self._user_features.encodings
        features = encode_user_features(encodings, user_features, len(ids), self._knowledge.who)
        allowed = allowed_ids(self.vocabulary, allow, deny)
        denied = self._others(allowed)
        lists = UserLists(self.items, self._knowledge, n, exclude_history, allowed)
        found: list[UserRecommendations] = []
        # what a user excludes counts, too: all items but the allowed ones are a list of each user's
        sizes = (min(len(history), self._longest) + len(denied) for history in ids)
        for part in blocks(sizes, BATCH_SIZE):
            some = None if features is None else features.rows(part)
            of_part = None if events is None else events.rows(part)
            interests = self.encode(ids[part], known_users[part], some, of_part)
            excluded = [
                np.concatenate([np.unique(history) if exclude_history else [], denied]).astype(np.int64)
                for history in ids[part]
            ]
            if self._index is None or len(denied):
                best = exact_search(interests, self._vectors, n, excluded)
            else:
                best = index_search(interests, self._vectors, self._index, n, excluded)
            given = None if some is None else some.given.tolist()
            found += lists(ids[part], unknown[part], known_users[part].tolist(), best, given)
        return Recommendations(found)

    def encode(
        self,
        histories: Sequence[Sequence[int]],
        users: NDArray[np.int64],
        user_features: EncodedFeatures | None = None,
        events: EncodedEvents | None = None,
    ) -> Scores:
        """Return the interests (B, K, D) of histories of item ids.

        Where the export has vectors of its users they are these, and zeros for unknown users.

        Args:
            histories: for each user the ids of its events, oldest first; the last ``max_history`` count.
            users: (B,) user ids, 0 = unknown.
            user_features: features of the users, for those who are unknown.
            events: times and features of the events, for an encoder that reads them.
        """
        if self._user_vectors is not None:
            known = (users > 0)[:, np.newaxis, np.newaxis]
            return self._user_vectors[np.maximum(users - 1, 0), np.newaxis] * known
        cut = [history[-self._longest :] for history in histories]
        batch = np.zeros((len(cut), max(1, max(map(len, cut), default=1))), dtype=np.int64)
        for row, history in zip(batch, cut, strict=True):
            if history:
                row[-len(history) :] = history
        inputs: dict[str, NDArray[Any]] = {HISTORY: batch, USERS: users}
        if self._user_features is not None:
            inputs[FEATURE_VECTORS] = self._user_features.vectors(users, user_features)
        if events is not None:
            when, features = events.padded(batch.shape[1])
            inputs |= {} if when is None else {TIMES: when}
            names = [EVENT_FEATURE + name for name in self._events.names]
            inputs |= dict(zip(names, features, strict=True))
        given = {name: value for name, value in inputs.items() if name in self._inputs}
        try:
            assert self._session is not None
            found = self._session.run([INTERESTS], given)[0]
        except Exception as error:
            raise _of_encoder(error) from None
        return checked_interests(found, len(cut), self._vectors.shape[1])

    @property
    def _longest(self) -> int:
        """The number of events that the encoder reads at most."""
        return self.model["max_history"] or 2**62

    def _others(self, allowed: Ids | None) -> Ids:
        """Return the ids of all items but those allowed; of none if all are."""
        if allowed is None:
            return np.zeros(0, dtype=np.int64)
        return np.setdiff1d(np.arange(1, len(self.items) + 1), allowed, assume_unique=True)


def _session(export: ExportFolder, threads: int | None) -> Any | None:
    """Return the session of an export's encoder; None if it has none."""
    content = export.encoder()
    if content is None:
        return None
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns of an input that has a default
    if threads is not None:
        options.intra_op_num_threads = int(threads)
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _of_encoder(error, f"{export.folder / ENCODER}: ") from None
    inputs = {entry.name for entry in session.get_inputs()}
    events = export.events()
    of_events = {EVENT_FEATURE + name for name in events.names} | ({TIMES} if events.times else set())
    known = inputs - {HISTORY, USERS, FEATURE_VECTORS} == of_events
    if not known or INTERESTS not in {e.name for e in session.get_outputs()}:
        raise PretrainedError(f"{export.folder / ENCODER} is not the encoder of an export")
    return session


def checked_interests(found: Any, users: int, dim: int) -> Scores:
    """Return what an encoder gave, if it is vectors (B, K, D) of numbers.

    Args:
        found: what it gave.
        users: the number B of users.
        dim: the size D of the items' vectors.

    Raises:
        PretrainedError: it is something else.
    """
    if not isinstance(found, np.ndarray) or found.dtype != np.float32:
        kind = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
        raise PretrainedError(f"the encoder of this export gives {kind} instead of vectors of float32")
    if found.ndim != 3 or (len(found), found.shape[2]) != (users, dim) or found.shape[1] < 1:
        raise PretrainedError(
            f"the encoder of this export gives vectors of the shape {found.shape} for {users} users and "
            f"items of {dim} numbers: it does not belong to them"
        )
    if not np.isfinite(found).all():
        raise PretrainedError("the encoder of this export gives numbers that are not finite: it is damaged")
    return found


def _of_encoder(error: Exception, where: str = "") -> Exception:
    """Return what an error of onnxruntime means; its own have no common base, and others stay themselves."""
    # it fails to say in UTF-8 what is wrong with a name that is not
    if not type(error).__module__.startswith("onnxruntime.") and not isinstance(error, UnicodeDecodeError):
        return error
    first = str(error).partition("\n")[0]
    return PretrainedError(f"{where}the encoder of this export does not work: {first}")


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError(*NEEDED_BY) from error
    module: ModuleType = onnxruntime
    return module
