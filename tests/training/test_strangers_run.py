"""Resuming a stranger's checkpoint touches nothing outside of the folder of the run."""

import copy
import shutil

import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from lightning_croloss.training.best_models import keep_best_models
from lightning_croloss.training.resume import keep_checkpoints_together
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
