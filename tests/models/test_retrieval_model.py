"""RetrievalModel: its arguments, its checkpoints, and what it says of itself."""

import sys

import pytest
import torch

from lightning_croloss import (
    CROLossCallback,
    MatrixFactorization,
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
    TwoTower,
    YouTubeDNN,
    load_pretrained,
)
from lightning_croloss.configurable import class_path
from lightning_croloss.errors import PretrainedError
from tests.data_for_tests import fit, small_model
from tests.models.cases import FEATURES
from tests.models.small_models import HISTORIES, saved


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_items": 0}, "num_items must be at least 1, got 0"),
        ({"embedding_dim": 0}, "embedding_dim must be at least 1, got 0"),
        ({"similarity": "cosin"}, "unknown similarity 'cosin'; did you mean 'cosine'"),
        ({"lr_scheduler_interval": "batch"}, "lr_scheduler_interval must be"),
        ({"ns": ()}, "ns"),
        ({"ns": (5, 5)}, "ns"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


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


def test_facts_is_metadata():
    model = small_model()
    with pytest.warns(FutureWarning, match=r"RetrievalModel\.facts is deprecated .* use metadata") as seen:
        assert model.facts is model.metadata
    assert seen[0].filename == __file__


@pytest.mark.parametrize(
    ("build", "ids", "num_users", "max_length", "knows_users"),
    [
        (lambda: YouTubeDNN(num_items=40, ns=(5,)), 1, 0, None, False),
        (lambda: SASRec(num_items=40, ns=(5,), max_length=7), 1, 0, 7, False),
        (lambda: MatrixFactorization(num_items=40, num_users=9, ns=(5,)), 2, 9, None, True),
        (lambda: TwoTower(num_items=40, num_users=9, ns=(5,), use_user_id=True), 2, 9, None, True),
        (lambda: TwoTower(num_items=40, ns=(5,), **FEATURES), 1, 60, None, True),
        (lambda: YouTubeDNN(num_items=40, ns=(5,), use_item_id=False, **FEATURES), 0, 60, None, True),
    ],
)
def test_every_model_says_what_it_has(build, ids, num_users, max_length, knows_users):
    model = build()
    assert len(model.id_embeddings()) == ids
    assert (model.num_users, model.max_length, model.knows_users) == (num_users, max_length, knows_users)
    for name in ("item_embedding", "user_embedding", "item_feature_embedding", "user_feature_embedding"):
        assert (getattr(model, name) is not None) == (name in dict(model.named_children()))


class Mine(YouTubeDNN):
    """A model that the package does not know, with an argument of its own."""

    def __init__(self, num_items: int, mark: int = 1, **kwargs) -> None:
        super().__init__(num_items, **kwargs)
        self.mark = mark


def test_a_checkpoint_of_another_class_is_refused(checkpoint):
    with pytest.raises(PretrainedError, match="holds a YouTubeDNN, not a SASRec") as caught:
        SASRec.load_from_checkpoint(checkpoint[0])
    assert str(caught.value).endswith("load it with YouTubeDNN.load_from_checkpoint")
    with pytest.raises(PretrainedError, match="holds a YouTubeDNN, not a Mine"):
        Mine.load_from_checkpoint(checkpoint[0])


def test_a_subclass_of_the_users_that_is_imported_needs_no_permission(tmp_path):
    model = saved(tmp_path / "mine.ckpt", small_model(Mine, mark=7))
    for cls in (RetrievalModel, YouTubeDNN, Mine):
        again = cls.load_from_checkpoint(tmp_path / "mine.ckpt")
        assert type(again) is Mine
        assert again.mark == 7
        assert torch.equal(again.recommend(HISTORIES, 9)[1], model.recommend(HISTORIES, 9)[1])


def test_a_class_that_is_not_imported_must_be_allowed(tmp_path, monkeypatch):
    (tmp_path / "model_of_a_stranger.py").write_text(
        "from lightning_croloss import YouTubeDNN\n\n\nclass Stranger(YouTubeDNN):\n    pass\n"
    )
    path, name = tmp_path / "model.ckpt", "model_of_a_stranger.Stranger"
    saved(path)
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["_class_path"] = name
    torch.save(content, path)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        with pytest.raises(PretrainedError, match=f"names the class '{name}', .*if you trust it: allow="):
            RetrievalModel.load_from_checkpoint(path)
        assert "model_of_a_stranger" not in sys.modules
        again = RetrievalModel.load_from_checkpoint(path, allow=[name])
        assert f"{type(again).__module__}.{type(again).__name__}" == name
    finally:
        sys.modules.pop("model_of_a_stranger", None)


def test_weights_that_do_not_fit_are_left_out_on_request_only(checkpoint, tmp_path):
    content = torch.load(checkpoint[0], weights_only=True)
    kept = content["state_dict"].pop("item_embedding.weight")
    content["state_dict"]["of_another_release"] = torch.zeros(2)
    torch.save(content, tmp_path / "partial.ckpt")
    with pytest.raises(PretrainedError, match=r"lacks 'item_embedding\.weight' and has 'of_another_release'"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "partial.ckpt")
    with pytest.warns(UserWarning, match=r"do not share item_embedding\.weight, of_another_release"):
        again = YouTubeDNN.load_from_checkpoint(tmp_path / "partial.ckpt", strict=False)
    assert not torch.equal(again.item_embedding.weight, kept)
    for name, value in content["state_dict"].items():
        if name != "of_another_release":
            assert torch.equal(again.state_dict()[name], value)


def test_arguments_replace_those_of_the_checkpoint(checkpoint):
    path, model = checkpoint
    again = YouTubeDNN.load_from_checkpoint(path, ns=(3,), exclude_history=True, dropout=0.5)
    assert (again.metric_names("val")[0], again.exclude_history) == ("val/recall@3", True)
    assert (again.hparams["ns"], again.hparams["dropout"]) == ([3], 0.5)
    assert again.pooling == model.pooling == "max"
    with pytest.raises(PretrainedError, match=r"YouTubeDNN cannot be built: .*unheard_of"):
        YouTubeDNN.load_from_checkpoint(path, unheard_of=1)


def test_a_checkpoint_goes_where_it_is_wanted(checkpoint):
    again = YouTubeDNN.load_from_checkpoint(checkpoint[0])
    assert again.device.type == "cpu"
    with checkpoint[0].open("rb") as file:
        from_file = YouTubeDNN.load_from_checkpoint(file, map_location=torch.device("cpu"))
    assert torch.equal(from_file.item_embedding.weight, again.item_embedding.weight)


def test_a_file_of_hyperparameters_is_refused(checkpoint):
    with pytest.raises(ValueError, match="hparams_file is not supported"):
        YouTubeDNN.load_from_checkpoint(checkpoint[0], hparams_file="hparams.yaml")


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
    with pytest.raises(PretrainedError, match=r"it lacks 'late\.weight'"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "lenient.ckpt", strict=True)
