"""The files of an export. Imports no torch."""

from __future__ import annotations

from lightning_croloss.common.manifest import Format

ENCODER = "encoder.onnx"
VECTORS = "items.npy"
ITEMS = "items.parquet"
INDEX = "index.faiss"
#: Tokens of the users, if the model uses their ids or features.
USER_TABLE = "users.parquet"
FORMAT = Format("lightning-croloss export", 1, "an export of a model", ("model",))

#: Names of the encoder's inputs and output.
HISTORY, USERS, INTERESTS = "history", "users", "interests"
