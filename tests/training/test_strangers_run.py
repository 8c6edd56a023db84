"""Resuming a stranger's checkpoint touches nothing outside of the folder of the run."""

import copy
import os
import shutil

import pytest
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, EMAWeightAveraging, ModelCheckpoint

from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import KEY
from lightning_croloss.training.best_models import keep_best_models
from lightning_croloss.training.resume import keep_checkpoints_together
from lightning_croloss.training.whole_checkpoints import WholeCheckpointIO
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

pytestmark = pytest.mark.filterwarnings("ignore")

RECALL = "val/recall@5"
FURTHER = {"enable_checkpointing": True, "max_epochs": 2, "limit_train_batches": 2}


class OwnCheckpoint(ModelCheckpoint):
    """One of a user's own."""


class Keeper(Checkpoint):
    """Keeps a path, as others than ``ModelCheckpoint`` may."""

    path = ""

    def state_dict(self):
        return {"path": self.path}

    def load_state_dict(self, state):
        self.path = state["path"]


def callbacks(folder=None):
    return [
        ModelCheckpoint(folder, "best", monitor=RECALL, mode="max", save_last=True, save_top_k=1),
        OwnCheckpoint(folder, "own-{step}", every_n_epochs=1, save_top_k=1),
        Keeper(),
    ]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("honest") / "run"
    fit(small_model(), enable_checkpointing=True, callbacks=callbacks(folder), limit_train_batches=2)
    return folder


def spoilt(run, change):
    """Rewrite the last checkpoint of a run."""
    path = run / "last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


VICTIMS = {
    "absolute": "{other}/precious.ckpt",
    "text": "{other}/precious.txt",
    "upwards": "{run}/../other/precious.ckpt",
    "relative": "../other/precious.ckpt",
    "linked": "{run}/away/precious.ckpt",
    "link": "{run}/out.ckpt",
    "address": "file://{other}/precious.ckpt",
    "home": "~/other/precious.ckpt",
    "folder": "{other}",
}


@pytest.mark.parametrize("kind", VICTIMS)
def test_files_of_others_stay(honest, tmp_path, monkeypatch, kind):
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(honest, run)
    other.mkdir()
    (other / "precious.ckpt").write_text("precious")
    (other / "precious.txt").write_text("precious")
    (run / "away").symlink_to(other)
    (run / "out.ckpt").symlink_to(other / "precious.ckpt")
    monkeypatch.chdir(run)
    monkeypatch.setenv("HOME", str(tmp_path))
    victim = VICTIMS[kind].format(run=run, other=other)

    def name_it(content):
        for key, state in content["callbacks"].items():
            if "Keeper" in key:
                state["path"] = victim
                continue
            score = torch.tensor(-1.0)
            state.update(dict.fromkeys(("best_model_path", "last_model_path", "kth_best_model_path"), victim))
            state.update(best_k_models={victim: score}, kth_value=score, best_model_score=score)

    before = files(other)
    path = spoilt(run, name_it)
    given = callbacks(run)
    trainer = fit(small_model(), callbacks=given, ckpt_path=path, **FURTHER)
    assert files(other) == before
    assert {entry.read_text() for entry in other.iterdir()} == {"precious"}
    assert (run / "out.ckpt").is_symlink()
    for callback in trainer.checkpoint_callbacks[:2]:
        known = [callback.best_model_path, callback.last_model_path, *callback.best_k_models]
        assert all(each == "" or each.startswith(str(run)) for each in known)
    assert given[2].path == ""


def test_files_beside_that_are_no_checkpoints_stay(honest, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(honest, run)
    (run / "notes.txt").write_text("mine")
    path = spoilt(
        run,
        lambda content: [
            state.update(last_model_path=str(run / "notes.txt"), best_model_path=str(run / "notes.txt"))
            for state in content["callbacks"].values()
        ],
    )
    fit(small_model(), callbacks=callbacks(run), ckpt_path=path, **FURTHER)
    assert (run / "notes.txt").read_text() == "mine"


ODD = [None, 5, True, b"x", [], {}, "\0", float("nan"), torch.zeros(2), {"a": {}}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_states_of_any_type_are_forgotten(honest, tmp_path, odd):
    content = torch.load(honest / "last.ckpt", weights_only=True)
    names = [
        "best_k_models",
        "best_model_path",
        "best_model_score",
        "current_score",
        "dirpath",
        "kth_best_model_path",
        "kth_value",
        "last_model_path",
    ]
    for name in [*names, None]:
        changed = copy.deepcopy(content)
        for key, state in changed["callbacks"].items():
            if name is None:
                changed["callbacks"][key] = odd
            elif "Keeper" not in key:
                state[name] = {str(honest / "best.ckpt"): odd} if name == "best_k_models" else odd
        trainer = quiet_trainer(enable_checkpointing=True, callbacks=callbacks(tmp_path))
        trainer.ckpt_path = honest / "last.ckpt"
        keep_best_models(trainer, changed)
        for callback in trainer.checkpoint_callbacks[:2]:
            state = changed["callbacks"].get(callback.state_key)
            if state is not None:
                callback.load_state_dict(state)
                assert all(isinstance(score, torch.Tensor) for score in callback.best_k_models.values())
                assert isinstance(callback.best_model_path, str)
                assert isinstance(callback.last_model_path, str)
                assert callback.dirpath == str(tmp_path)


def test_measuring_changes_nothing_of_what_a_trainer_knows(honest, tmp_path):
    trainer = quiet_trainer(enable_checkpointing=True, callbacks=callbacks(tmp_path))
    path = tmp_path / "theirs.ckpt"
    content = torch.load(honest / "last.ckpt", weights_only=True)
    for key, state in list(content["callbacks"].items()):
        state.update(best_model_path="/etc/passwd", last_model_path="/etc/passwd", path="/etc/passwd")
        content["callbacks"][key] = state
    torch.save(content, path)
    trainer.test(small_model(), ClusteredData(), ckpt_path=path, weights_only=True)
    assert [each.best_model_path for each in trainer.checkpoint_callbacks[:2]] == ["", ""]
    assert [each.last_model_path for each in trainer.checkpoint_callbacks[:2]] == ["", ""]
    assert trainer.checkpoint_callbacks[2].path == ""


@pytest.mark.parametrize("dirpath", [".", "/proc/self/cwd", "\0", 5, None, "elsewhere"])
def test_a_run_goes_on_in_the_folder_of_its_checkpoint_alone(honest, tmp_path, monkeypatch, dirpath):
    run = tmp_path / "run"
    shutil.copytree(honest, run)
    path = spoilt(
        run, lambda content: [state.update(dirpath=dirpath) for state in content["callbacks"].values()]
    )
    monkeypatch.chdir(run)
    trainer = quiet_trainer(enable_checkpointing=True, callbacks=[ModelCheckpoint()])
    keep_checkpoints_together(trainer, path)
    here = dirpath in (".", "/proc/self/cwd")
    assert trainer.checkpoint_callback.dirpath == (str(run) if here else None)


def endless():
    """Return a list that stands for more lists than there is time for; it takes a few bytes in a file."""
    value = ["x"]
    for _ in range(60):
        value = [value, value]
    return value


#: Where a checkpoint may hold what is looked through.
PLACES = {
    "a callback": lambda content: next(iter(content["callbacks"].values())).update(more=endless()),
    "hyperparameters": lambda content: content["hyper_parameters"].update(hidden_dims=endless()),
    "how it was read": lambda content: content[KEY].update(reading={"columns": endless()}),
    "an optimizer": lambda content: content["optimizer_states"][0].update(more=endless()),
    "a loop": lambda content: content["loops"]["fit_loop"].update(more=endless()),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_trainer_in_python_looks_through_nothing_without_end(honest, tmp_path, place):
    run = tmp_path / "run"
    shutil.copytree(honest, run)
    path = spoilt(run, PLACES[place])
    with pytest.raises(PretrainedError, match="or was made to exhaust memory"):
        fit(small_model(), callbacks=callbacks(run), ckpt_path=path, **FURTHER)


@pytest.mark.parametrize("where", ["current_model_state", "position"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_beside_averages_must_be_finite(tmp_path, where, number):
    run = tmp_path / "run"

    def averaging():
        return [*callbacks(run), EMAWeightAveraging(decay=0.9)]

    fit(small_model(), enable_checkpointing=True, callbacks=averaging(), limit_train_batches=2)
    fit(small_model(), callbacks=averaging(), ckpt_path=run / "last.ckpt", **FURTHER)

    def spoil(content):
        weights = content[where] if where in content else content[KEY]["position"]["weights"]
        weights["item_embedding.weight"][3, 1] = number

    path = spoilt(run, spoil)
    with pytest.raises(ValueError, match=r"NaN or infinite weights|position\.weights is damaged"):
        fit(small_model(), callbacks=averaging(), ckpt_path=path, **{**FURTHER, "max_epochs": 3})


def test_what_a_trainer_says_commands_no_terminal(honest, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(honest, run)
    escape = "\x1b[2J\r\u202e"

    def name_it(content):
        for state in content["callbacks"].values():
            if "best_model_path" in state:
                state["best_model_path"] = f"/away{escape}.ckpt"

    path = spoilt(run, name_it)
    with pytest.warns(UserWarning, match=r"/away\\x1b\[2J\\r\\u202e\.ckpt") as told:
        fit(small_model(), callbacks=callbacks(run), ckpt_path=path, **FURTHER)
    assert not any("\x1b" in str(warning.message) for warning in told)
    path = spoilt(
        run, lambda content: content["loops"]["fit_loop"]["epoch_progress"]["current"].update({escape: -1})
    )
    with pytest.raises(ValueError, match="is damaged") as found:
        fit(small_model(), callbacks=callbacks(run), ckpt_path=path, **FURTHER)
    assert "\x1b" not in str(found.value)


class Runs:
    """Runs a function when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


VERSION = {"pytorch-lightning_version": "2.6.0"}
WHOLES = {
    "tensor": torch.zeros(3),
    "list": [1],
    "number": 5,
    "no version": {},
    "list as version": {"pytorch-lightning_version": ["2.6.0"]},
    "version of another package": {"pytorch-lightning_version": "1.9.5"},
}


@pytest.mark.parametrize("stage", ["fit", "test"])
@pytest.mark.parametrize("kind", WHOLES)
def test_a_trainer_in_python_says_in_a_sentence_what_lightning_cannot_read(honest, tmp_path, kind, stage):
    content = WHOLES[kind]
    if isinstance(content, dict):
        content = torch.load(honest / "last.ckpt", weights_only=True) | {"pytorch-lightning_version": None}
        content |= WHOLES[kind]
    torch.save(content, tmp_path / "evil.ckpt")
    call = getattr(quiet_trainer(), stage)
    with pytest.raises(PretrainedError, match=r"evil\.ckpt' is (not a checkpoint of plain types|damaged)"):
        call(small_model(), ClusteredData(), ckpt_path=tmp_path / "evil.ckpt")


@pytest.mark.parametrize("kind", ["code", "cut off", "empty", "text"])
def test_a_trainer_in_python_says_in_a_sentence_what_is_no_checkpoint(honest, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.ckpt"
    if kind == "code":
        torch.save({"state_dict": {}, "x": Runs()}, path)
    else:
        whole = (honest / "last.ckpt").read_bytes()
        path.write_bytes({"cut off": whole[: len(whole) // 2], "empty": b"", "text": b"a text"}[kind])
    with pytest.raises(PretrainedError, match=r"evil\.ckpt' is not a checkpoint of plain types") as found:
        fit(small_model(), ckpt_path=path)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "ran").exists()


def test_what_comes_from_an_address_is_not_unpickled(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        TorchCheckpointIO,
        "load_checkpoint",
        lambda self, path, place, plain: asked.append(plain) or dict(VERSION),
    )
    for given in (None, True, False):
        WholeCheckpointIO().load_checkpoint("https://example.org/a.ckpt", weights_only=given)
    assert asked == [True, True, False]
