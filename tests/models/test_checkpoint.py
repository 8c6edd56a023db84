"""Reading checkpoints: plain types only, from any place, of no newer format."""

import io
import os
import signal

import pytest
import torch

from lightning_croloss import SoftmaxLoss, YouTubeDNN, load_pretrained
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import (
    FORMAT_VERSION,
    KEY,
    built_model,
    check_version,
    described_model,
    read_checkpoint,
)
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model


def test_a_checkpoint_holds_plain_types_only(checkpoint):
    content = torch.load(checkpoint[0], weights_only=True)
    assert content["hyper_parameters"]["loss"]["init_args"]["importance"] == {
        "class_path": "lightning_croloss.TargetNImportance",
        "init_args": {"n": 10, "sharpness": 1.0},
    }
    assert not any("loss" in name for name in content["state_dict"])


def rewritten(source, path, **changes):
    """Write a checkpoint anew with other content; None takes an entry away."""
    content = {**torch.load(source, weights_only=True), **changes}
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


@pytest.fixture
def in_memory(checkpoint):
    """Return the address of the checkpoint in fsspec's memory."""
    fsspec = pytest.importorskip("fsspec")
    address = "memory://checkpoints/model.ckpt"
    with fsspec.open(address, "wb") as file:
        file.write(checkpoint[0].read_bytes())
    yield address
    fsspec.filesystem("memory").rm("/checkpoints", recursive=True)


def test_a_path_a_text_a_file_and_an_address_hold_the_same(checkpoint, in_memory):
    expected = torch.load(checkpoint[0], weights_only=True)
    with checkpoint[0].open("rb") as file:
        for source in (checkpoint[0], str(checkpoint[0]), file, in_memory):
            found = read_checkpoint(source)
            assert found.keys() == expected.keys()
            assert found["hyper_parameters"] == expected["hyper_parameters"]
            for name, value in expected["state_dict"].items():
                assert torch.equal(found["state_dict"][name], value)


def test_the_tensors_go_where_they_are_wanted(checkpoint, in_memory):
    for source in (checkpoint[0], in_memory):
        found = read_checkpoint(source, map_location="meta")
        assert {value.device.type for value in found["state_dict"].values()} == {"meta"}


def test_the_tensors_may_stay_on_the_disk(checkpoint):
    expected = torch.load(checkpoint[0], weights_only=True)["state_dict"]
    found = read_checkpoint(checkpoint[0], mmap=True)["state_dict"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_former_class_paths_become_todays(checkpoint, tmp_path):
    former = "lightning_croloss.losses.croloss.CROLoss"
    hyperparameters = {"_class_path": "lightning_croloss.models.mind.MIND", "loss": {"class_path": former}}
    path = rewritten(checkpoint[0], tmp_path / "old.ckpt", hyper_parameters=hyperparameters)
    assert read_checkpoint(path)["hyper_parameters"] == {
        "_class_path": "lightning_croloss.models.MIND",
        "loss": {"class_path": "lightning_croloss.losses.CROLoss"},
    }


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_a_file_that_is_not_a_checkpoint(tmp_path, content):
    path = tmp_path / "bad.ckpt"
    path.write_bytes(content)
    with pytest.raises(
        PretrainedError, match=r"bad\.ckpt' is not a checkpoint of plain types, or is damaged"
    ):
        read_checkpoint(path)
    with path.open("rb") as file, pytest.raises(PretrainedError, match=r"bad\.ckpt' is not a checkpoint"):
        read_checkpoint(file)
    with pytest.raises(PretrainedError, match="the file is not a checkpoint"):
        read_checkpoint(io.BytesIO(content))


@pytest.mark.parametrize("left", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("mmap", [False, True])
def test_a_checkpoint_that_is_cut_off(checkpoint, tmp_path, left, mmap):
    path, content = tmp_path / "cut.ckpt", checkpoint[0].read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    with pytest.raises(
        PretrainedError, match=r"cut\.ckpt' is not a checkpoint of plain types, or is damaged"
    ):
        read_checkpoint(path, mmap=mmap)


def test_a_file_that_cannot_be_read_is_told_as_it_is(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_checkpoint(tmp_path)


def test_a_file_of_something_else(tmp_path):
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(PretrainedError, match=r"list\.ckpt' is not a checkpoint: it holds a list"):
        read_checkpoint(tmp_path / "list.ckpt")
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "nothing.ckpt")
    with pytest.raises(FileNotFoundError):
        read_checkpoint("memory://checkpoints/nothing.ckpt")


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, "1", None])
def test_a_checkpoint_of_another_format_version(checkpoint, tmp_path, version):
    content = torch.load(checkpoint[0], weights_only=True)[KEY]
    path = rewritten(checkpoint[0], tmp_path / "new.ckpt", **{KEY: {**content, "format_version": version}})
    with pytest.raises(PretrainedError, match=rf"new\.ckpt is of format version {version!r}, .* reads up to"):
        read_checkpoint(path)


def test_a_checkpoint_without_a_format_version_is_of_the_first(checkpoint, tmp_path):
    content = torch.load(checkpoint[0], weights_only=True)[KEY]
    del content["format_version"]
    path = rewritten(checkpoint[0], tmp_path / "old.ckpt", **{KEY: content})
    assert read_checkpoint(path)[KEY]["items"] == content["items"]
    check_version({}, "a checkpoint of another program")


class Foreign:
    """What only a pickle can hold."""


def test_pickles_are_opened_on_request_only(checkpoint, tmp_path):
    path = rewritten(checkpoint[0], tmp_path / "pickle.ckpt", foreign=Foreign())
    with pytest.raises(PretrainedError, match="is not a checkpoint of plain types"):
        read_checkpoint(path)
    assert isinstance(read_checkpoint(path, weights_only=False)["foreign"], Foreign)


def test_a_model_is_described_as_a_config_writes_it():
    hyperparameters = {"_class_path": "lightning_croloss.MIND", "_instantiator": "x", "num_items": 3}
    assert described_model({"hyper_parameters": hyperparameters}) == {
        "class_path": "lightning_croloss.MIND",
        "init_args": {"num_items": 3},
    }
    assert described_model({}) == {"class_path": None, "init_args": {}}


def test_a_model_is_built_with_what_replaces_its_arguments(checkpoint):
    content = read_checkpoint(checkpoint[0])
    built = built_model(YouTubeDNN, content, "model.ckpt", TrustedClasses(), {"loss": SoftmaxLoss(0.3)})
    assert type(built) is YouTubeDNN
    assert isinstance(built.loss, SoftmaxLoss)
    del content["hyper_parameters"]["_class_path"]
    assert type(built_model(YouTubeDNN, content, "model.ckpt", TrustedClasses(), {})) is YouTubeDNN
    with pytest.raises(PretrainedError, match=r"model\.ckpt: YouTubeDNN cannot be built"):
        built_model(YouTubeDNN, content, "model.ckpt", TrustedClasses(), {"unheard_of": 1})


SHAPE = (10**9, 64)
#: Where a stranger may declare values that the file does not hold.
DECLARED = {
    "weights": lambda content: content["state_dict"].update(
        {"item_embedding.weight": torch.empty(SHAPE, device="meta")}
    ),
    "counts": lambda content: content[KEY].update(
        counts=torch.empty(SHAPE, dtype=torch.int64, device="meta")
    ),
    "a state": lambda content: content["optimizer_states"].append(
        [{"x": (torch.empty(SHAPE, device="meta"),)}]
    ),
}


@pytest.mark.parametrize("kind", DECLARED)
@pytest.mark.parametrize("load", [YouTubeDNN.load_from_checkpoint, load_pretrained, read_checkpoint])
def test_tensors_without_values_are_refused(checkpoint, tmp_path, kind, load):
    content = torch.load(checkpoint[0], weights_only=True)
    DECLARED[kind](content)
    content["hyper_parameters"]["num_items"] = SHAPE[0]
    path = tmp_path / "evil.ckpt"
    torch.save(content, path)
    with pytest.raises(PretrainedError, match=r"evil\.ckpt is damaged: it declares a tensor of the shape"):
        load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_history", 0),
        ("max_history", -(10**18)),
        ("max_history", 10**30),
        ("seed", 10**30),
        ("learning_rate", 2**63),
        ("counts", lambda counts: -counts),
        ("counts", lambda counts: counts > 0),
        ("counts", lambda counts: counts.to_sparse()),
        ("counts", lambda counts: counts.to(torch.complex64)),
    ],
)
def test_metadata_that_counts_nothing_is_refused(checkpoint, tmp_path, name, value):
    content = torch.load(checkpoint[0], weights_only=True)
    content[KEY][name] = value(content[KEY][name]) if callable(value) else value
    path = tmp_path / "evil.ckpt"
    torch.save(content, path)
    for load in (YouTubeDNN.load_from_checkpoint, load_pretrained):
        with pytest.raises(PretrainedError, match=f"evil.ckpt: the checkpoint is damaged: its {name}"):
            load(path)


@pytest.fixture
def pipe(tmp_path):
    """Return a pipe that nobody writes to; reading it ends the test after some seconds, not never."""
    path = tmp_path / "pipe.ckpt"
    os.mkfifo(path)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(10)
    yield path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_pipe_or_a_device_is_not_opened(pipe):
    for path in (pipe, str(pipe), "/dev/zero", "/dev/null"):
        with pytest.raises(PretrainedError, match="it is a pipe or a device, not a regular file"):
            YouTubeDNN.load_from_checkpoint(path)
    trainer = quiet_trainer()
    with pytest.raises(PretrainedError, match=r"pipe\.ckpt. is not a checkpoint: it is not a regular file"):
        trainer.fit(small_model(), ClusteredData(), ckpt_path=pipe)
