"""ModelMetadata: what a checkpoint holds besides weights and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from croloss_serving.common.feature_encoding import FeatureEncoding, plain_encodings, read_encodings
from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.time_units import in_unit, other_size, other_unit, unit_of
from lightning_croloss.common.seeding import run_seed
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.data.training_record import TrainingRecord
from lightning_croloss.models.checkpoint import FORMAT_VERSION, KEY, check_version
from lightning_croloss.models.layers.event_features import EventFeatureEmbedding
from lightning_croloss.models.other_tokens import told_apart
from lightning_croloss.models.saved_metadata import check_saved


class ModelMetadata:
    """The vocabulary, the users, the length of histories and the seed of a model's training run.

    Attributes:
        item_vocabulary: the user's own item tokens, None until the model met its data.
        item_titles: what a person calls each item of 1 … num_items, "" where nothing is known; None without
            titles.
        item_counts: (num_items + 1,) int64 training events of each item, None until then.
        user_vocabulary: the tokens of the users, in a model that knows single users; None in others, until
            the model met its data, or if the file it came from does not hold them.
        user_encodings: how the features of users are read, to read those of new users; None as of
            ``user_vocabulary``, or if there are none.
        user_fingerprint: fingerprint of the user tokens, None in a model that does not know single users.
        events: what the model reads of the history's events besides their items, and how.
        max_history: number of events that the model was trained on at most, None until then.
        reading: how the events of training were read and which of them were left out of histories, in plain
            types; None if that is not known.
        trained_on: what decided the training data and what they came to; None if that is not known.
        seed: seed of the run, from which each step is seeded.
        started_from: the name of the pretrained model that the run started from; None if it started from
            random weights, or if that is not known.
    """

    def __init__(self) -> None:
        self.item_vocabulary: Vocabulary | None = None
        self.item_titles: list[str] | None = None
        self.item_counts: Tensor | None = None
        self.user_vocabulary: Vocabulary | None = None
        self.user_encodings: list[FeatureEncoding] | None = None
        self.user_fingerprint: str | None = None
        self.events = EventInputs()
        self.max_history: int | None = None
        self.reading: dict[str, Any] | None = None
        self.trained_on: TrainingRecord | None = None
        self.seed = run_seed()
        self.started_from: str | None = None

    def take_from(
        self, data: RetrievalDataModule, knows_users: bool, trains: bool = True, uses_features: bool = False
    ) -> None:
        """Take the metadata of the data that the model is attached to.

        Args:
            data: the data.
            knows_users: whether the model has embeddings or features of single users.
            trains: whether the model is about to be trained on them.
            uses_features: whether the model has embeddings of features of users.

        Raises:
            ValueError: the model was trained on another catalogue, or knows other users.
        """
        known = self.item_vocabulary
        if known is not None and known.fingerprint() != data.item_vocabulary.fingerprint():
            raise ValueError(_other_catalogue(known, data.item_vocabulary))
        if knows_users:
            users = data.user_vocabulary.fingerprint()
            if self.user_fingerprint not in (None, users):
                raise ValueError(_other_users(self.user_vocabulary, data.user_vocabulary))
            self.user_fingerprint = users
            self.user_vocabulary = data.user_vocabulary
            if uses_features:
                self.user_encodings = [feature.encoding for feature in data.features[1]]
        self.item_vocabulary = data.item_vocabulary
        self.item_titles = data.item_titles or self.item_titles
        if self.item_counts is None or trains:
            self.item_counts = data.item_counts.cpu()
            self.reading = data.reading
        if trains:
            self.trained_on = data.training_record
        if self.max_history is None or trains:
            self.max_history = data.max_history

    def take_events(
        self,
        data: RetrievalDataModule,
        reads_times: bool,
        features: EventFeatureEmbedding | None,
        learns: bool,
        trains: bool = True,
    ) -> None:
        """Take from the data how events are read; where training has said it, see that the data's are alike.

        Warns of times that are hardly in the unit of training's, if neither unit is known.

        Args:
            data: the data.
            reads_times: whether the model reads the times of events where there are any.
            features: the model's embedding of features of events; None without.
            learns: whether the model has met no data yet.
            trains: whether the model is about to be trained on them.

        Raises:
            ValueError: the data's events have other features than the model, or other times than in training,
                or times in another unit.
        """
        times = data.times_are
        needs_times = features is not None and features.reads_times
        if needs_times and times is None:
            raise ValueError("the model reads the times of events, but the data has none: name their column")
        if learns:
            encodings = () if features is None else data.event_inputs.encodings
            if features is not None and not features.fits(encodings):
                found = ", ".join(repr(encoding.name) for encoding in encodings) or "none"
                raise ValueError(
                    f"the model was built for other features of events ({', '.join(features.names)}) than "
                    f"the data's, {found}: give the model data.event_feature_specs"
                )
            reads = reads_times or needs_times
            typical = data.typical_time if reads else None
            self.events = EventInputs(times if reads else None, encodings, typical)
        elif self.events.times not in (None, times):
            raise ValueError(
                f"the model was trained with times of events that are {self.events.times}, the data's are "
                f"{times or 'missing'}: name the column that it was trained with"
            )
        elif self.events.times is not None:
            self._check_unit(data.typical_time, trains)

    def go_on_with(self, data: RetrievalDataModule) -> None:
        """Refuse to go on with a training on other data; warn of another order of the same.

        Raises:
            ValueError: naming what was trained on and what the data has.
        """
        now = data.training_record
        if self.trained_on is None:  # an earlier release wrote the checkpoint
            self.trained_on = now
        found = self.trained_on.other_training(now) or self._other_length(data)
        if found is not None:
            raise ValueError(
                f"the checkpoint was trained with {found}: go on with the data and the split it was trained "
                "with, or start a new run from its weights"
            )
        if self.trained_on.other_order(now):
            rank_zero_warn(
                "the checkpoint was trained on the events of the data in another order: the run goes on with "
                "them, but not as it would have"
            )

    def warning_of(self, data: RetrievalDataModule, measures: bool = True) -> str | None:
        """Return what is to be said of using the model on data, None if nothing is.

        Args:
            data: the data.
            measures: whether the model is measured on them, and not only asked for lists.
        """
        found = None
        if measures and self.trained_on is not None:
            found = self.trained_on.other_events(data.training_record)
        if found is not None:
            return f"the model was trained with {found}: the targets measured may have been trained on"
        found = self._other_length(data)
        if found is not None:
            return f"the model was trained with {found}: its lists are made of as many events as in training"
        return None

    def _other_length(self, data: RetrievalDataModule) -> str | None:
        """Tell how histories were of another length in training; None if they were not."""
        if self.max_history in (None, data.max_history):
            return None
        return f"max_history={self.max_history}, the data has max_history={data.max_history}"

    def _check_unit(self, size: float | None, trains: bool) -> None:
        """Compare the times of data with those of training by their size, see ``typical_time``."""
        ours = self.events.typical_time
        if ours is None and trains:
            self.events = replace(self.events, typical_time=size)
        found = f"the model was trained with times of events {in_unit(ours)}, the data's are {in_unit(size)}"
        if other_unit(ours, size):
            raise ValueError(f"{found}: give them in {unit_of(ours)}")
        if other_size(ours, size):
            rank_zero_warn(f"{found}: are they in the same unit? The model reads the time between events")

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write the metadata into a checkpoint, as plain types."""
        checkpoint[KEY] = {
            "format_version": FORMAT_VERSION,
            "items": None if self.item_vocabulary is None else list(self.item_vocabulary.tokens),
            "titles": self.item_titles,
            "counts": self.item_counts,
            "users": self.user_fingerprint,
            "user_tokens": None if self.user_vocabulary is None else list(self.user_vocabulary.tokens),
            "user_features": plain_encodings(self.user_encodings),
            "events": self.events.to_plain(),
            "max_history": self.max_history,
            "reading": self.reading,
            "trained_on": None if self.trained_on is None else self.trained_on.to_plain(),
            "seed": self.seed,
            "started_from": self.started_from,
        }

    def load(self, checkpoint: dict[str, Any], num_items: int) -> None:
        """Read the metadata of a checkpoint into a model of ``num_items`` items.

        Raises:
            ValueError: the checkpoint is of a newer format, of another catalogue or of other users.
        """
        check_version(checkpoint, "the checkpoint")
        kept = checkpoint.get(KEY)
        if kept is None:
            raise ValueError("this checkpoint was not made by a RetrievalModel of lightning-croloss")
        check_saved(kept, num_items)
        vocabulary = None if kept["items"] is None else Vocabulary(kept["items"])
        known = self.item_vocabulary
        if vocabulary is not None:
            if len(vocabulary) != num_items:
                raise ValueError(_other_catalogue(vocabulary, known or num_items))
            if known is not None and known.fingerprint() != vocabulary.fingerprint():
                raise ValueError(_other_catalogue(vocabulary, known))
        users = kept.get("users")
        if None not in (users, self.user_fingerprint) and users != self.user_fingerprint:
            theirs = _user_vocabulary(kept.get("user_tokens"), users)
            raise ValueError(_other_users(theirs, self.user_vocabulary))
        events = _events(kept.get("events"))
        size = self.events.typical_time
        if known is not None and other_unit(events.typical_time, size):
            raise ValueError(
                f"the checkpoint was trained with times of events {in_unit(events.typical_time)}, the data's "
                f"are {in_unit(size)}: give them in {unit_of(events.typical_time)}"
            )
        if known is not None and self.events != events:
            raise ValueError(
                "the checkpoint was trained with other times or features of events than the data's: use "
                "the data, the event_features and the split it was trained with"
            )
        self.events = events if events.typical_time is not None else replace(events, typical_time=size)
        self.item_vocabulary = vocabulary
        self.item_titles = kept.get("titles")
        self.item_counts = kept.get("counts")
        self.user_fingerprint = users
        self.user_vocabulary = _user_vocabulary(kept.get("user_tokens"), users)
        self.user_encodings = _encodings(kept.get("user_features"))
        self.max_history = kept["max_history"]
        self.reading = kept.get("reading")
        self.trained_on = TrainingRecord.from_plain(kept.get("trained_on"))
        self.seed = kept["seed"]
        self.started_from = kept.get("started_from")


def check_events(events: EventInputs, features: EventFeatureEmbedding | None, reads_times: bool) -> None:
    """Refuse what a file says of the reading of events if the model reads something else.

    Args:
        events: what the file says.
        features: the model's embedding of features of events; None without.
        reads_times: whether the model itself reads the times of events where there are any.

    Raises:
        ValueError: they do not belong together.
    """
    needs_times = features is not None and features.reads_times
    if not (features.fits(events.encodings) if features is not None else not events.encodings):
        raise ValueError("it describes other features of events than the weights are for")
    if needs_times and events.times is None:
        raise ValueError("it does not say what the times of events are, which its weights read")
    if events.times is not None and not (needs_times or reads_times):
        raise ValueError("it describes times of events, which its weights do not read")


def _events(plain: Any) -> EventInputs:
    try:
        return EventInputs.from_plain(plain)
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError("the checkpoint is damaged: it does not say how events are read") from None


def _encodings(plain: Any) -> list[FeatureEncoding] | None:
    try:
        return read_encodings(plain)
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError(
            "the checkpoint is damaged: it does not say how features of users are read"
        ) from None


def _user_vocabulary(tokens: list[Any] | None, fingerprint: str | None) -> Vocabulary | None:
    """Return the vocabulary of users that a checkpoint holds; None if an earlier release wrote it."""
    if tokens is None:
        return None
    vocabulary = Vocabulary(tokens)
    if vocabulary.fingerprint() != fingerprint:
        raise ValueError(
            "the checkpoint's users are not those that its model was trained with: it is damaged"
        )
    return vocabulary


def check_features(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of other features than the model's.

    Args:
        theirs: hyperparameters of the checkpoint.
        ours: hyperparameters of the model.

    Raises:
        ValueError: naming both.
    """
    for name in ("item_features", "user_features", "event_features"):
        kept, given = (list(each.get(name) or ()) for each in (theirs, ours))
        if not all(
            isinstance(spec, Mapping) and {"name", "kind"} <= spec.keys() and type(spec.get("size")) is int
            for spec in kept
        ):
            raise ValueError(f"the checkpoint is damaged: its {name} are not descriptions of features")
        if kept != given:
            raise ValueError(
                f"the checkpoint was trained with {name} {_described(kept)}, but the data has "
                f"{_described(given)}: give the data the features it was trained with"
            )


def _described(specs: Sequence[Mapping[str, Any]]) -> str:
    sizes = {spec["name"]: f", {spec['size'] - 1} values" if spec["size"] else "" for spec in specs}
    return ", ".join(f"{spec['name']} ({spec['kind']}{sizes[spec['name']]})" for spec in specs) or "none"


def _other_catalogue(theirs: Vocabulary, ours: Vocabulary | int) -> str:
    size = ours if isinstance(ours, int) else len(ours)
    apart = "" if isinstance(ours, int) else f"{told_apart(theirs, ours)}; "
    return (
        f"the checkpoint was trained on another catalogue ({len(theirs)} items) than the data's ({size} "
        f"items): {apart}use the data and the filters it was trained with"
    )


def _other_users(theirs: Vocabulary | None, ours: Vocabulary | None) -> str:
    apart = "" if theirs is None or ours is None else f"{told_apart(theirs, ours)}; "
    return (
        "the model knows other users, by id or by features, than the data's: "
        f"{apart}use the data and the filters it was trained with"
    )
