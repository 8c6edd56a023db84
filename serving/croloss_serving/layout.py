"""The files of an export."""

from __future__ import annotations

from croloss_serving.common.manifest import Format

ENCODER = "encoder.onnx"
VECTORS = "items.npy"
ITEMS = "items.parquet"
INDEX = "index.faiss"
#: Tokens of the users, if the model uses their ids or features.
USER_TABLE = "users.parquet"
#: Vectors of the users, of a model that recommends to users of known ids only: they take the encoder's place.
KNOWN_USERS = "users.npy"
#: The format version of exports whose encoder reads no more of events than items: earlier releases read it.
OF_ITEMS_ALONE = 1
FORMAT = Format("lightning-croloss export", 2, "an export of a model", ("model",), required=(VECTORS, ITEMS))

#: Vectors of the features of the users, and what makes those of new users; if the model uses features.
USER_VECTORS, USER_FEATURES = "user_features.npy", "user_features.npz"
#: Names of the encoder's inputs and output.
HISTORY, USERS, FEATURE_VECTORS, INTERESTS = "history", "users", "user_features", "interests"
#: The input of the times of the events, and what those of the features of events begin with.
TIMES, EVENT_FEATURE = "times", "event_features."
