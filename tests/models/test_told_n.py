"""A model whose loss was told only its n: what its checkpoints hold and mean under a later rule."""

import copy
import re
from pathlib import Path

import pytest
import torch

from lightning_croloss import CROLoss, RetrievalModel, YouTubeDNN, load_pretrained, save_pretrained
from lightning_croloss.configurable import to_config
from lightning_croloss.errors import PretrainedError
from lightning_croloss.losses import rule
from lightning_croloss.losses.rule import RuleChoice, choose
from lightning_croloss.models.checkpoint import KEY
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.losses.test_told_n import values
from tests.models.small_models import saved

LATER = RuleChoice("exp", 1.7, 0.3)


@pytest.fixture
def later(monkeypatch):
    """Return a function that puts another rule in the place of today's, as a later release would."""
    return lambda: monkeypatch.setattr(rule, "choose", lambda *question, **more: LATER)


class ToldBySize(YouTubeDNN):
    """A model that makes its loss itself."""

    def __init__(self, n, **kwargs):
        super().__init__(40, embedding_dim=8, ns=(5, 10), loss=CROLoss(n=n), **kwargs)


def test_the_hyperparameters_hold_what_was_found():
    choice = choose(20, 40)
    model = small_model(loss=CROLoss(n=20))
    kept = model.hparams["loss"]["init_args"]
    assert kept["kernel"] == choice.kernel
    assert kept["importance"] == to_config(choice.importance)
    assert kept["temperature"] == choice.temperature
    assert (kept["n"], kept["num_items"]) == (20, None)
    assert kept["by_rule"] == model.loss.by_rule
    assert kept["by_rule"]["num_items"] == 40
    assert model.hparams_initial["loss"] == model.hparams["loss"]


def test_a_loss_that_was_told_nothing_is_kept_as_ever():
    assert "n" not in small_model(loss=CROLoss()).hparams["loss"]["init_args"]
    assert small_model().hparams["loss"] is None


@pytest.mark.parametrize(
    "load",
    [
        RetrievalModel.load_from_checkpoint,
        YouTubeDNN.load_from_checkpoint,
        load_pretrained,
        lambda path: copy.deepcopy(RetrievalModel.load_from_checkpoint(path)),
    ],
)
@pytest.mark.parametrize("given", [{}, {"temperature": 0.33}, {"kernel": "exp", "expected_recall": 0.5}])
def test_a_checkpoint_means_the_same_under_a_later_rule(load, given, later, tmp_path):
    model = saved(tmp_path / "model.ckpt", small_model(loss=CROLoss(n=20, **given)))
    later()
    again = load(tmp_path / "model.ckpt")
    assert values(again.loss) == values(model.loss)
    assert again.hparams["loss"] == model.hparams["loss"]
    assert values(small_model(loss=CROLoss(n=20, **given)).loss) != values(model.loss)


def test_a_folder_means_the_same_under_a_later_rule(later, tmp_path):
    model = saved(tmp_path / "model.ckpt", small_model(loss=CROLoss(n=20)))
    save_pretrained(model, tmp_path / "folder")
    later()
    assert values(load_pretrained(tmp_path / "folder").loss) == values(model.loss)


@pytest.mark.parametrize("make", [lambda: small_model(loss=CROLoss(n=20)), lambda: ToldBySize(20)])
def test_a_training_goes_on_with_what_it_began_with(make, later, tmp_path):
    model = make()
    fit(model, ClusteredData(seed=0), limit_train_batches=2).save_checkpoint(tmp_path / "model.ckpt")
    found, kept = values(model.loss), dict(model.hparams)
    later()
    other = make()  # by the same script, under another release
    assert values(other.loss) == ("exp", 1.7, 0.3)
    trainer = fit(other, ckpt_path=tmp_path / "model.ckpt", max_epochs=2, limit_train_batches=2)
    assert values(other.loss) == found
    assert dict(other.hparams) == kept
    trainer.save_checkpoint(tmp_path / "again.ckpt")
    again = torch.load(tmp_path / "again.ckpt", weights_only=True)
    assert again[KEY]["by_rule"] == model.loss.by_rule
    reloaded = type(other).load_from_checkpoint(tmp_path / "again.ckpt")
    assert values(reloaded.loss) == found


@pytest.mark.parametrize(
    "question", [{"n": 10}, {"expected_recall": 0.3}, {"temperature": 0.2}, {"kernel": "exp"}]
)
def test_another_question_is_answered_for_itself(question, later, tmp_path):
    saved(tmp_path / "model.ckpt", small_model(loss=CROLoss(n=20)))
    later()
    model = small_model(loss=CROLoss(**{"n": 20} | question))
    before = values(model.loss)
    fit(model, ckpt_path=tmp_path / "model.ckpt", max_epochs=2, limit_train_batches=2)
    assert values(model.loss) == before


@pytest.mark.parametrize("record", [3, {}, {"alpha": -1.0}, {"temperature": 0.0}, {"kernel": "heaviside"}])
def test_a_damaged_record_is_told(record, tmp_path):
    model = saved(tmp_path / "model.ckpt", small_model(loss=CROLoss(n=20)))
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    content[KEY]["by_rule"] = model.loss.by_rule | record if isinstance(record, dict) and record else record
    torch.save(content, tmp_path / "damaged.ckpt")
    with pytest.raises(PretrainedError, match="is damaged"):
        RetrievalModel.load_from_checkpoint(tmp_path / "damaged.ckpt")


def test_the_example_of_the_page_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "loss.md").read_text()
    (block,) = (
        block for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "n=100)" in block
    )
    names = {}
    exec(compile(block, "docs/loss.md", "exec"), names)
    assert capsys.readouterr().out == f"{names['model'].loss!r}\n"
    assert values(names["model"].loss) == values(CROLoss(n=100, num_items=20_000))
