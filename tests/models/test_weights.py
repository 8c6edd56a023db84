"""Weights of a file are those of the model, and numbers; whatever way they are loaded."""

import io
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_croloss import YouTubeDNN, load_pretrained, save_pretrained
from lightning_croloss.errors import PretrainedError
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model
from tests.models.test_checkpoint import rewritten
from tests.pretrained.cases import vouch_again

pytestmark = pytest.mark.filterwarnings("ignore")

TABLE = "item_embedding.weight"
#: What is wrong with a tensor, and what the refusal says.
WRONG = {
    "nan": (lambda tensor: tensor.index_fill(0, torch.tensor([3]), float("nan")), "NaN or infinite"),
    "infinite": (lambda tensor: tensor.index_fill(0, torch.tensor([3]), float("inf")), "NaN or infinite"),
    "half and infinite": (lambda tensor: (tensor * 1e9).half(), "NaN or infinite"),
    "integers": (lambda tensor: tensor.long(), "of the type int64 instead of float32"),
    "booleans": (lambda tensor: tensor > 0, "of the type bool instead of float32"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "of the type complex64 instead of float32"),
    "eight bits": (lambda tensor: tensor.to(torch.float8_e4m3fn), "of the type float8_e4m3fn"),
    "a row for all": (lambda tensor: tensor[:1].clone(), r"the shape \(1, 8\) instead of \(41, 8\)"),
    "transposed": (lambda tensor: tensor.T.contiguous(), r"the shape \(8, 41\)"),
    "a number": (lambda tensor: torch.tensor(1.0), r"the shape \(\)"),
    "sparse": (lambda tensor: tensor.to_sparse(), "is not a plain tensor"),
    "a text": (lambda tensor: "weights", "is not a plain tensor"),
    "missing": (lambda tensor: None, "it lacks"),
}


def changed(checkpoint, path, kind):
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    weights[TABLE] = WRONG[kind][0](weights[TABLE])
    kept = {name: value for name, value in weights.items() if value is not None}
    return rewritten(checkpoint, path, state_dict=kept)


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_weights_of_a_checkpoint_are_refused(checkpoint, tmp_path, kind):
    path = changed(checkpoint[0], tmp_path / "wrong.ckpt", kind)
    said = WRONG[kind][1]
    for load in (YouTubeDNN.load_from_checkpoint, load_pretrained):
        with pytest.raises(PretrainedError, match=said) as caught:
            load(path)
        assert "wrong.ckpt" in str(caught.value)
        assert TABLE in str(caught.value)
        assert "\n" not in str(caught.value)
    trainer = quiet_trainer()
    with pytest.raises(PretrainedError, match=said):
        trainer.validate(small_model(), ClusteredData(), ckpt_path=path, weights_only=True)


@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind not in ("sparse", "a text")])
def test_wrong_weights_of_a_folder_are_refused(checkpoint, tmp_path, kind):
    folder = save_pretrained(YouTubeDNN.load_from_checkpoint(checkpoint[0]), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights[TABLE] = WRONG[kind][0](weights[TABLE])
    kept = {name: value for name, value in weights.items() if value is not None}
    save_file(kept, folder / "model.safetensors")
    vouch_again(folder)
    with pytest.raises(PretrainedError, match=WRONG[kind][1]) as caught:
        load_pretrained(folder)
    assert TABLE in str(caught.value)
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_loaded(checkpoint, tmp_path, dtype):
    weights = torch.load(checkpoint[0], weights_only=True)["state_dict"]
    path = rewritten(
        checkpoint[0], tmp_path / "half.ckpt", state_dict={k: v.to(dtype) for k, v in weights.items()}
    )
    assert load_pretrained(path).item_embedding.weight.dtype == torch.float32


class Masked(YouTubeDNN):
    """Keeps a mask with infinite values among its weights, as a model may."""

    def __init__(self, num_items: int, **kwargs) -> None:
        super().__init__(num_items, **kwargs)
        self.register_buffer("mask", torch.full((3,), float("-inf")))


def test_what_a_model_itself_holds_may_be_infinite(checkpoint, tmp_path):
    content = torch.load(checkpoint[0], weights_only=True)
    content["hyper_parameters"]["_class_path"] = f"{__name__}.Masked"
    content["state_dict"]["mask"] = torch.full((3,), float("-inf"))
    path = rewritten(checkpoint[0], tmp_path / "masked.ckpt", **content)
    assert isinstance(Masked.load_from_checkpoint(path), Masked)


# ---------------------------------------------------------------------- damage


def test_flipped_bits_are_found(checkpoint, tmp_path):
    content = checkpoint[0].read_bytes()
    first = torch.load(checkpoint[0], weights_only=True)["state_dict"][TABLE]
    at = content.index(first.numpy().tobytes())
    path = tmp_path / "flipped.ckpt"
    for offset, bit in ((0, 1), (101, 64), (first.nbytes - 1, 128)):
        damaged = bytearray(content)
        damaged[at + offset] ^= bit
        path.write_bytes(damaged)
        loads = [YouTubeDNN.load_from_checkpoint, load_pretrained]
        loads += [lambda path: YouTubeDNN.load_from_checkpoint(io.BytesIO(path.read_bytes()))]
        for load in loads:
            with pytest.raises(PretrainedError, match="does not match its checksums"):
                load(path)
        for verb in ("fit", "test"):
            run = getattr(quiet_trainer(), verb)
            with pytest.raises(PretrainedError, match="does not match its checksums"):
                run(small_model(), ClusteredData(), ckpt_path=path, weights_only=True)


def test_a_file_is_checked_again_when_it_has_changed(checkpoint, tmp_path):
    path = tmp_path / "model.ckpt"
    shutil.copy(checkpoint[0], path)
    load_pretrained(path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + 150 + largest.file_size // 2] ^= 4  # records are padded to 64 bytes
    path.write_bytes(content)
    with pytest.raises(PretrainedError):
        load_pretrained(path)


def test_checkpoints_without_checksums_are_read(checkpoint, tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = rewritten(checkpoint[0], tmp_path / "unchecked.ckpt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_pretrained(path).num_items == 40
