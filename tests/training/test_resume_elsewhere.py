"""A run resumed with other batches or in another folder."""

import shutil
from itertools import chain
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.training.resume import keep_checkpoints_together
from tests.data_for_tests import quiet_trainer
from tests.training.resume_runs import BATCH, RECALL, built, data, run


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("size", [16, 50, 128, 300])
def test_another_batch_size_sees_each_row_once(tmp_path, size, accumulate):
    whole = run(tmp_path / "whole", "plateau", None, max_epochs=2)
    trainer, _, watch = run(
        tmp_path / "resumed",
        "plateau",
        None,
        str(tmp_path / "whole" / "step-3.ckpt"),
        batch_size=size,
        max_epochs=2,
        accumulate_grad_batches=accumulate,
    )
    assert trainer.current_epoch == 2
    before = [target for number in range(3) for target in whole[2].seen["batch", number][3]]
    after = [entry[3] for (what, _), entry in watch.seen.items() if what == "batch"]
    rest = -(-(300 - 3 * BATCH) // size)
    first, second = (list(chain(*batches)) for batches in (after[:rest], after[rest:]))
    everything = [target for number in range(5) for target in whole[2].seen["batch", number][3]]
    assert before + first == everything
    assert len(second) == 300
    assert watch.counts["validations"] == watch.counts["epochs"] == 2


def test_a_limit_of_batches_counts_rows_too(tmp_path):
    options = {"limit_train_batches": 4, "max_epochs": 2}
    run(tmp_path, "adam", None, **options)
    _, _, watch = run(tmp_path / "b", "adam", None, str(tmp_path / "step-3.ckpt"), batch_size=32, **options)
    sizes = [len(entry[3]) for (what, _), entry in watch.seen.items() if what == "batch"]
    assert sizes == [32, 32, 32, 32], (
        "none is left of the first epoch's 4 x 32 rows, of which 3 x 64 were seen"
    )


@pytest.mark.parametrize("moved", [False, True])
def test_the_best_model_is_kept_in_another_folder(tmp_path, moved):
    first = tmp_path / "first"
    trainer, _, _ = run(first, "adam", None, max_epochs=2)
    best = next(c for c in trainer.checkpoint_callbacks if c.monitor == RECALL)
    if moved:
        first = first.rename(tmp_path / "moved")
    resumed, _, _ = run(tmp_path / "second", "adam", None, str(first / "last.ckpt"), max_epochs=2)
    again = next(c for c in resumed.checkpoint_callbacks if c.monitor == RECALL)
    assert again.best_model_score == best.best_model_score
    assert Path(again.best_model_path) == first / "best.ckpt"


def test_a_best_model_that_is_gone_is_forgotten(tmp_path):
    run(tmp_path / "first", "adam", None, max_epochs=2)
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "first" / "last.ckpt").read_bytes())
    shutil.rmtree(tmp_path / "first")
    with pytest.warns(UserWarning, match=r"best.ckpt, or another of the best, is neither there nor"):
        resumed, _, _ = run(tmp_path / "second", "adam", None, str(tmp_path / "last.ckpt"))
    again = next(c for c in resumed.checkpoint_callbacks if c.monitor == RECALL)
    assert Path(again.best_model_path) == tmp_path / "second" / "best.ckpt"
    assert again.best_model_score == resumed.callback_metrics[RECALL]


NAMES = {
    "{epoch}-{val/recall@5:.4f}": {},
    "by epoch/{epoch}": {},
    "{epoch}/{val/recall@5:.2f}": {"auto_insert_metric_name": False},
    "{epoch}": {},
}


@pytest.mark.filterwarnings("error:.*its score is forgotten", "error:The dirpath has changed")
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("filename", NAMES)
def test_file_names_may_make_folders(tmp_path, filename, moved):
    def go(checkpoint=None, folder=None, epochs=2):
        kept = ModelCheckpoint(folder, filename, monitor=RECALL, mode="max", save_top_k=-1, **NAMES[filename])
        trainer = quiet_trainer(
            callbacks=[kept], enable_checkpointing=True, max_epochs=epochs, default_root_dir=tmp_path / "root"
        )
        keep_checkpoints_together(trainer, checkpoint)
        trainer.fit(built("adam"), data(), ckpt_path=checkpoint, weights_only=True)
        return kept

    first = tmp_path / "first"
    whole = go(folder=first)
    names = [str(Path(path).relative_to(first)) for path in whole.best_k_models]
    assert len(names) == 2
    if moved:
        first = first.rename(tmp_path / "moved")
    again = go(str(first / names[-1]), epochs=3)
    assert moved or Path(again.dirpath) == first
    assert moved == (tmp_path / "root").exists()
    assert {str(first / name) for name in names} < again.best_k_models.keys()
    assert len(again.best_k_models) == 3
    assert again.best_model_score == max(again.best_k_models.values())
    assert Path(again.best_model_path).is_file()
