"""DataRequest: what a model needs from the data, besides histories and targets."""

from __future__ import annotations

from dataclasses import dataclass, field

from croloss_serving.recommend.event_inputs import EventInputs


@dataclass(frozen=True)
class DataRequest:
    """What the batches must hold, and which training events must be targets.

    Attributes:
        known_positives: whether training batches hold ``known_positives``.
        whole_history: whether evaluation batches hold ``whole_history``.
        first_events: whether the training events that are their user's first, which have an empty history,
            are targets too, for a model that needs no history.
        all_positions: whether training rows are windows with a target at each position.
        user_features: whether prediction batches hold the features of users that training left out.
        recounted: whether the model counts the batches of an epoch anew that it takes up in the middle, see
            ``BatchLoader``.
        known_users_only: whether prediction leaves out users that training left out.
        seed: seed of the training order of a run that is resumed; None = that of the data.
        events: what all batches hold of the histories' events besides their items.
    """

    known_positives: bool = False
    whole_history: bool = False
    first_events: bool = False
    all_positions: bool = False
    recounted: bool = False
    known_users_only: bool = False
    user_features: bool = False
    seed: int | None = None
    events: EventInputs = field(default_factory=EventInputs)
