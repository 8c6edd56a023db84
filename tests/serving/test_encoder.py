"""The ONNX graph of every architecture against the model itself."""

import pytest
import torch

from lightning_croloss import (
    HSTU,
    MIND,
    BERT4Rec,
    BSARec,
    Caser,
    ComiRecDR,
    ComiRecSA,
    ESASRec,
    GRU4Rec,
    SASRec,
    TwoTower,
    YouTubeDNN,
)
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.data.batch import EventValues
from tests.data_for_tests import EventData, fit
from tests.models.cases import EVENT_FEATURES, FEATURES, ITEM_FEATURES

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [export]")
pytest.importorskip("onnxscript", reason="needs the extra [export]")
from lightning_croloss.serving.encoder import write_encoder  # noqa: E402

MODELS = [
    (YouTubeDNN, FEATURES),
    (YouTubeDNN, {"pooling": "max", "similarity": "dot"}),
    (TwoTower, {**FEATURES, "use_user_id": True}),
    (TwoTower, {**FEATURES, "use_user_id": True, "user_interactions": ["fm", "cross"]}),
    (TwoTower, {**FEATURES, "user_interactions": ["fm", "cross"], "separate_user_features": True}),
    (MIND, ITEM_FEATURES),
    (MIND, {"adaptive_interests": False, "routing_iterations": 1}),
    (ComiRecSA, {}),
    (ComiRecDR, {}),
    (ComiRecDR, {"use_positions": False, "routing_iterations": 1}),
    (GRU4Rec, {"hidden_dims": [16, 12]}),
    (SASRec, {"max_length": 12}),
    (SASRec, {"train_on": "all", "num_blocks": 1}),
    (YouTubeDNN, {**FEATURES, "item_graph_weight": 0.5}),
    (ESASRec, {"max_length": 12, "feedforward_multiplier": 1}),
    (HSTU, {"max_length": 12}),
    (HSTU, {**EVENT_FEATURES, "use_times": False, "num_blocks": 1}),
    (GRU4Rec, EVENT_FEATURES),
    (BERT4Rec, {"max_length": 12}),
    (BERT4Rec, EVENT_FEATURES),
    (BSARec, {"max_length": 12}),
    (Caser, {"num_events": 3}),
    (Caser, {"use_user_id": True, "num_users": 60}),
]


@pytest.mark.parametrize(("cls", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.slow
def test_the_graph_gives_what_the_model_gives(cls, arguments, tmp_path):
    torch.manual_seed(0)
    model = cls(num_items=40, embedding_dim=8, ns=(5,), **arguments)
    fit(model, EventData(), limit_train_batches=2)
    model.eval()
    write_encoder(model, tmp_path / "encoder.onnx")
    assert model.trainer is not None
    assert b".py" not in (tmp_path / "encoder.onnx").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"))
    knows_users = "users" in {entry.name for entry in session.get_inputs()}
    assert knows_users == ("num_users" in arguments)
    longest = model.max_length or 30
    for batch_size, length in [(1, 1), (1, 5), (4, 2), (3, 7), (2, min(30, longest))]:
        history = torch.randint(1, 41, (batch_size, length))
        for row in range(1, batch_size):
            history[row, : int(torch.randint(0, length + 1, ()))] = 0
        users = torch.randint(0, 61, (batch_size,))
        with torch.no_grad():
            events = values_of(model, history)
            expected = model.encode_users(RetrievalBatch(history, history[:, :1], users, events=events))
        inputs = {"history": history.numpy()} | ({"users": users.numpy()} if knows_users else {})
        if events is not None and events.times is not None:
            inputs["times"] = events.times.numpy()
        if events is not None:
            names = [f"event_features.{name}" for name in model.metadata.events.names]
            inputs |= {name: value.numpy() for name, value in zip(names, events.features, strict=True)}
        (found,) = session.run(["interests"], inputs)
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=2e-6, rtol=1e-5)


def values_of(model, history):
    """Random times and features of the events of histories, those that the model reads, blank at padding."""
    reads, real = model.metadata.events, history != 0
    if not reads:
        return None
    times = torch.exp(torch.rand(history.shape) * 30).long().cumsum(1).where(real, 0)
    features = [
        torch.where(real & (torch.rand(history.shape) < 0.8), torch.randn(history.shape), float("nan"))
        if encoding.kind == "numeric"
        else torch.randint(0, len(encoding.tokens) + 1, history.shape).where(real, 0)
        for encoding in reads.encodings
    ]
    return EventValues(None if reads.times is None else times, features)


@pytest.mark.parametrize(("cls", "max_length"), [(SASRec, 3), (BERT4Rec, 1), (BSARec, 4)])
def test_models_of_few_events_are_exported_too(cls, max_length, tmp_path):
    torch.manual_seed(0)
    model = cls(40, embedding_dim=8, num_blocks=1, ns=(5,), max_length=max_length).eval()
    write_encoder(model, tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"))
    for length in {1, max_length}:
        history = torch.tensor([[0] * length, [0] * (length - 1) + [7], [5] * length])
        with torch.no_grad():
            expected = model.encode_users(RetrievalBatch(history, history[:, :1], history[:, 0]))
        (found,) = session.run(["interests"], {"history": history.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=2e-6, rtol=1e-5)


def test_the_graph_holds_no_path_of_the_machine_that_exported_it(tmp_path):
    model = YouTubeDNN(num_items=40, embedding_dim=8, ns=(5,))
    write_encoder(model.eval(), tmp_path / "encoder.onnx")
    assert b".py" not in (tmp_path / "encoder.onnx").read_bytes()
