import functools
import inspect

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau

from lightning_croloss import (
    MIND,
    CROLoss,
    CROLossCallback,
    FullCatalogNegatives,
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
    TargetNImportance,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
    load_pretrained,
)
from lightning_croloss.configurable import class_path
from lightning_croloss.errors import PretrainedError
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

HISTORIES = [[1, 2, 3, 4, 5, 6], [11, 12]]


def saved(path, model=None, data=None):
    """Train for a moment and save; return the model."""
    model = small_model() if model is None else model
    fit(model, data, limit_train_batches=2).save_checkpoint(path)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    loss = CROLoss("softplus", TargetNImportance(10), temperature=0.2, lambda_weight=0.5)
    return path, saved(path, small_model(loss=loss, negatives=FullCatalogNegatives(True), pooling="max"))


def test_a_checkpoint_holds_plain_types_only(checkpoint):
    content = torch.load(checkpoint[0], weights_only=True)
    assert content["hyper_parameters"]["loss"]["init_args"]["importance"] == {
        "class_path": "lightning_croloss.TargetNImportance",
        "init_args": {"n": 10, "sharpness": 1.0},
    }
    assert not any("loss" in name for name in content["state_dict"])


@pytest.mark.parametrize("cls", [YouTubeDNN, RetrievalModel])
def test_a_checkpoint_is_enough_to_build_the_model_again(checkpoint, cls):
    path, model = checkpoint
    again = cls.load_from_checkpoint(path, weights_only=True)
    assert type(again) is YouTubeDNN
    assert again.hparams == {**again.hparams, **model.hparams}
    assert again.pooling == "max"
    assert again.negatives.exclude_known_positives
    assert {name: float(value) for name, value in again.loss.schedulable().items()} == {
        "temperature": 0.2,
        "lambda_weight": 0.5,
        "n": 10.0,
        "sharpness": 1.0,
    }
    for got, expected in zip(again.recommend(HISTORIES, 9), model.recommend(HISTORIES, 9), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("cls", [YouTubeDNN, TwoTower, MIND, SASRec])
def test_the_hyperparameters_hold_every_default(cls):
    model = cls(num_items=1000)
    expected = {
        name: parameter.default
        for base in reversed(cls.__mro__)
        if issubclass(base, RetrievalModel)
        for name, parameter in inspect.signature(base).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    kept = {name: value for name, value in model.hparams.items() if not name.startswith("_")}
    assert kept == {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in (expected | {"num_items": 1000}).items()
    }


def test_a_checkpoint_that_lacks_the_defaults_loads(tmp_path):
    model = YouTubeDNN(num_items=40, ns=(5, 10), negatives=UniformNegatives(30))
    saved(tmp_path / "model.ckpt", model)
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    for name in ("embedding_dim", "similarity", "loss", "optimizer", "tile_elements", "exclude_history"):
        del content["hyper_parameters"][name]  # as checkpoints of Python-built models were
    torch.save(content, tmp_path / "old.ckpt")
    again = RetrievalModel.load_from_checkpoint(tmp_path / "old.ckpt", weights_only=True)
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])
    assert again.hparams["embedding_dim"] == 64


def test_the_vocabulary_and_the_length_of_histories_travel(checkpoint):
    again = RetrievalModel.load_from_checkpoint(checkpoint[0], weights_only=True)
    assert again.metadata.item_vocabulary == ClusteredData().item_vocabulary
    assert again.metadata.max_history == 5
    assert again.metadata.item_counts is not None
    assert torch.equal(again.metadata.item_counts, ClusteredData().item_counts)


def test_a_checkpoint_loads_with_another_loss(checkpoint, tmp_path):
    path, model = checkpoint
    again = YouTubeDNN.load_from_checkpoint(path, weights_only=True, loss=SoftmaxLoss(0.3))
    assert isinstance(again.loss, SoftmaxLoss)
    assert again.loss.num_items == 40
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])
    saved(tmp_path / "next.ckpt", again)
    third = RetrievalModel.load_from_checkpoint(tmp_path / "next.ckpt", weights_only=True)
    assert float(third.loss.temperature) == 0.3


def test_what_a_schedule_set_does_not_travel(tmp_path):
    model = small_model()
    fit(model, callbacks=[CROLossCallback(temperature=0.7)]).save_checkpoint(tmp_path / "model.ckpt")
    assert float(model.loss.temperature) == 0.7
    again = YouTubeDNN.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert float(again.loss.temperature) == 0.1


def test_numpy_numbers_and_partials_in_hyperparameters(tmp_path):
    model = small_model(
        embedding_dim=np.int64(6),
        dropout=np.float64(0.25),
        ns=np.array([5, 10]).tolist(),
        hidden_dims=[np.int32(4)],
        loss=CROLoss(temperature=np.float32(0.25), importance=TargetNImportance(np.int64(9))),
        optimizer=functools.partial(torch.optim.AdamW, lr=np.float64(0.01), betas=(np.float64(0.8), 0.9)),
        lr_scheduler=functools.partial(ReduceLROnPlateau, monitor="val/recall@5", patience=3),
    )
    saved(tmp_path / "model.ckpt", model)
    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    optimizer = again.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert tuple(optimizer.param_groups[0]["betas"]) == (0.8, 0.9)
    assert again.configure_optimizers()["lr_scheduler"]["scheduler"].patience == 3
    assert again.configure_optimizers()["lr_scheduler"]["monitor"] == "val/recall@5"
    assert torch.equal(again.recommend(HISTORIES, 9)[0], model.recommend(HISTORIES, 9)[0])


@pytest.mark.parametrize("argument", ["optimizer", "lr_scheduler"])
def test_a_function_is_refused_before_training(argument):
    with pytest.raises(TypeError, match=r"cannot be kept in a checkpoint: .* functools.partial of a class"):
        small_model(**{argument: lambda parameters: torch.optim.Adam(parameters)})


# ---------------------------------------------------------------------- other catalogues


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (ClusteredData(num_items=44), r"\(40 items\) than the data's \(44 items\)"),
        (ClusteredData(item_prefix="thing "), r"\(40 items\) than the data's \(40 items\)"),
    ],
    ids=["other size", "other tokens"],
)
@pytest.mark.parametrize("verb", ["fit", "validate", "test", "loaded"])
def test_another_catalogue_is_refused_in_one_sentence(checkpoint, data, sizes, verb):
    if verb == "loaded":
        model = YouTubeDNN.load_from_checkpoint(checkpoint[0], weights_only=True)
        meet = functools.partial(quiet_trainer().test, model, data)
    else:
        model = small_model(num_items=data.num_items)
        meet = getattr(quiet_trainer(), verb)
        meet = functools.partial(meet, model, data, ckpt_path=checkpoint[0], weights_only=True)
    with pytest.raises(ValueError, match=f"another catalogue {sizes}") as caught:
        meet()
    assert "\n" not in str(caught.value)


def test_the_same_catalogue_is_welcome(checkpoint):
    model = small_model(pooling="max")
    quiet_trainer().test(model, ClusteredData(), ckpt_path=checkpoint[0], weights_only=True, verbose=False)
    assert torch.equal(model.recommend(HISTORIES, 9)[0], checkpoint[1].recommend(HISTORIES, 9)[0])


def test_a_checkpoint_of_something_else_is_refused(checkpoint, tmp_path):
    content = torch.load(checkpoint[0], weights_only=True)
    del content["lightning_croloss"]
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="not made by a RetrievalModel"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "foreign.ckpt", weights_only=True)


def test_loading_on_a_model_is_refused(checkpoint):
    path, model = checkpoint
    with pytest.raises(TypeError, match=r"YouTubeDNN\.load_from_checkpoint returns a new object"):
        model.load_from_checkpoint(path)


def test_a_device_that_is_not_there_is_not_called_a_damaged_file(checkpoint):
    if torch.cuda.is_available():
        pytest.skip("there is such a device")
    with pytest.raises((RuntimeError, AssertionError), match=r"CUDA|NVIDIA"):
        YouTubeDNN.load_from_checkpoint(checkpoint[0], map_location="cuda")


@pytest.mark.parametrize(
    ("part", "value", "fault"),
    [
        ("hyper_parameters", None, "its hyperparameters are a NoneType"),
        ("hyper_parameters", [1], "its hyperparameters are a list"),
        ("state_dict", None, "it holds no weights"),
    ],
)
def test_a_checkpoint_that_lacks_a_part_is_refused(checkpoint, tmp_path, part, value, fault):
    torch.save(torch.load(checkpoint[0], weights_only=True) | {part: value}, tmp_path / "other.ckpt")
    with pytest.raises(PretrainedError, match=f"other.ckpt is not a checkpoint.*: {fault}"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(PretrainedError, match=r"other.ckpt is not a checkpoint"):
        load_pretrained(tmp_path / "other.ckpt")


class Lenient(YouTubeDNN):
    """Does not load what it configures late."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.strict_loading = False

    def configure_model(self):
        self.late = torch.nn.Linear(1, 1, bias=False)


def test_the_hooks_of_loading_are_those_of_lightning(checkpoint, tmp_path):
    content = torch.load(checkpoint[0], weights_only=True)
    content["hyper_parameters"]["_class_path"] = class_path(Lenient)
    torch.save(content, tmp_path / "lenient.ckpt")
    with pytest.warns(UserWarning, match=r"and the Lenient do not share late\.weight"):
        model = Lenient.load_from_checkpoint(tmp_path / "lenient.ckpt")
    assert torch.equal(model.item_embedding.weight, content["state_dict"]["item_embedding.weight"])
    with pytest.raises(RuntimeError, match=r"Missing key.*late\.weight"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "lenient.ckpt", strict=True)
