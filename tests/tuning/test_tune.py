"""``tune`` in Python: the winner, its weights, its files, and a search that is killed."""

import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader

from lightning_croloss import CROLoss, CROLossCallback, MatrixFactorization, SoftmaxLoss, tune
from lightning_croloss.callbacks import Linear
from lightning_croloss.errors import NonFiniteLossError
from lightning_croloss.tuning import Candidate, SearchFailedError, portfolio
from tests.data_for_tests import ClusteredData
from tests.tuning.cases import ITEMS, Plain, candidates, plain_data, plain_model, retrieval_model
from tests.tuning.kill_run import Killed, Moments, run, weights

CPU = {"accelerator": "cpu", "max_epochs": 4}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def whole_fit(folder, build, data, monitor, **options):
    """Fit as a user would, and return the best weights and their score."""
    seed_everything(42)
    module = build()
    best = ModelCheckpoint(folder, monitor=monitor, mode="max", save_on_train_epoch_end=False)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    given = {"callbacks": [], **CPU, **quiet, **options}
    trainer = Trainer(**{**given, "callbacks": [*given["callbacks"], best]})
    loaders = (None, None, data) if not isinstance(data, tuple) else (*data, None)
    trainer.fit(module, *loaders)
    return torch.load(best.best_model_path, weights_only=True)["state_dict"], float(best.best_model_score)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return run(tmp_path_factory.mktemp("tune") / "search")


def test_the_winner_is_trained_as_a_fit_would_train_it(searched, tmp_path):
    winner = searched.best
    best, score = whole_fit(tmp_path, lambda: retrieval_model(winner.loss), ClusteredData(), "val/recall@5")
    assert_equal(weights(searched), best)
    assert winner.value == score
    assert winner.candidate in candidates()
    assert len(searched.plan.rungs) > 1


def test_the_result_tells_how_it_was_found(searched):
    choice = searched.choice
    assert searched.cost <= searched.plan.cost <= 2.2
    assert searched.cost_in_seconds > 1.0
    assert searched.winner(5) is searched.best
    with pytest.raises(KeyError, match="n=7 was not looked for, only recall@5"):
        searched.winner(7)
    text = repr(searched)
    assert f"* {searched.best.candidate.name}" in text
    assert f"cost: {searched.cost:.2f} fits by steps" in text
    assert all(candidate.name in text for candidate in choice.candidates)
    assert type(searched.model(5)).__name__ == "YouTubeDNN"


def test_only_what_is_needed_is_kept(searched):
    kept = sorted(path.relative_to(searched.folder).as_posix() for path in searched.folder.rglob("*.ckpt"))
    finished = [number for number, each in searched.choice.outcomes[-1].items() if each.finished]
    assert kept == [f"candidates/{number:02d}/best_n5.ckpt" for number in finished]


def test_called_again_it_trains_nothing(searched, monkeypatch):
    def refuse(self, batch, batch_idx):
        raise AssertionError("trained")

    monkeypatch.setattr("lightning_croloss.models.sampled_training.SampledTraining.training_step", refuse)
    again = run(searched.folder)
    assert again.choice == searched.choice
    assert_equal(weights(again), weights(searched))


@pytest.mark.parametrize("content", ["{", "[]", '{"step": 3}', '{"candidate": 3}', "\0"])
def test_a_record_that_something_else_has_changed_is_told(searched, tmp_path, content):
    folder = tmp_path / "search"
    shutil.copytree(searched.folder, folder)
    path = next(folder.glob("candidates/00/step_*.json"))
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path.name} is damaged, or was changed since it was written"):
        run(folder)


def test_a_search_that_has_trained_nothing_may_be_another_one(tmp_path):
    given = [SoftmaxLoss(0.1), SoftmaxLoss(0.2)]
    model = retrieval_model(given[0])
    with pytest.raises(TypeError, match="the same module twice"):
        tune(lambda loss: model, ClusteredData(), 5, folder=tmp_path, candidates=given)
    assert (tmp_path / "search.json").exists()
    assert run(tmp_path, seed=8).winners
    with pytest.raises(ValueError, match="holds a search that differs in seed"):
        run(tmp_path)


def test_a_candidate_whose_checkpoint_is_gone_begins_anew(searched, tmp_path):
    folder = tmp_path / "search"
    shutil.copytree(searched.folder, folder)
    won = searched.choice.winners[0]
    latest = max(folder.glob(f"candidates/{won:02d}/step_*.json"), key=lambda path: path.stat().st_mtime_ns)
    latest.unlink()
    for path in folder.glob("**/step_*.ckpt"):
        path.unlink()
    assert_equal(weights(run(folder)), weights(searched))


def test_another_search_in_the_folder_is_refused(searched, tmp_path):
    for change, name in (
        ({"candidates": candidates()[:2]}, r"candidates, plan\.num_candidates"),
        ({"fits": 3.0}, r"plan\."),
        ({"seed": 7}, "seed"),
        ({"trainer": {**CPU, "gradient_clip_val": 0.5}}, r"trainer\.gradient_clip_val"),
        ({"metric": "ndcg"}, "objectives"),
    ):
        with pytest.raises(ValueError, match=rf"holds a search that differs in {name}.*: choose another"):
            run(searched.folder, **change)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="is not empty and holds no search"):
        run(tmp_path)


def test_overwriting_removes_the_search_alone(tmp_path):
    only = {"candidates": candidates()[:1], "trainer": {**CPU, "max_epochs": 1}}
    first = run(tmp_path / "search", **only)
    note = tmp_path / "search" / "note.txt"
    note.write_text("mine")
    second = run(tmp_path / "search", **{**only, "seed": 7}, overwrite=True)
    assert note.read_text() == "mine"
    assert not torch.equal(weights(first)["item_embedding.weight"], torch.zeros(1))
    assert second.choice != first.choice


@pytest.mark.slow
def test_killed_anywhere_it_ends_the_same(searched, tmp_path, monkeypatch):
    draw = random.Random(0)
    kills = 0
    while True:
        with monkeypatch.context() as patch:
            moments = Moments(draw.randrange(1, 60), lambda: (_ for _ in ()).throw(Killed))
            moments.watch(patch.setattr)
            try:
                result = run(tmp_path / "search")
                break
            except Killed:
                kills += 1
    assert kills > 2
    assert result.choice.winners == searched.choice.winners
    assert result.choice.kept == searched.choice.kept
    assert result.best.value == searched.best.value
    assert_equal(weights(result), weights(searched))


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_a_search_that_goes_on(searched, tmp_path):
    folder = tmp_path / "search"
    command = [sys.executable, "-m", "tests.tuning.kill_run", str(folder), "75"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (folder / "search.json").exists()
    assert list(folder.rglob("step_*.json"))
    result = run(folder)
    assert result.choice.winners == searched.choice.winners
    assert_equal(weights(result), weights(searched))
    assert not [path.name for path in folder.rglob("*") if path.name.endswith(".tmp")]


# ---------------------------------------------------------------------- modules of one's own


def test_a_plain_module_with_loaders(tmp_path):
    data, two_epochs = plain_data(), {**CPU, "max_epochs": 2}
    result = tune(
        plain_model,
        data,
        [5, 10],
        trainer=two_epochs,
        candidates=candidates(),
        fits=2.2,
        folder=tmp_path / "search",
    )
    assert [str(each.objective) for each in result.winners] == ["recall@5", "recall@10"]
    for winner in result.winners:
        [n] = winner.objective.weights
        build = functools.partial(plain_model, winner.loss)
        best, score = whole_fit(tmp_path / str(n), build, data, f"val/recall@{n}", **two_epochs)
        assert_equal(result.model(n).state_dict(), best)
        assert winner.value == score
    assert result.cost <= 3.2
    assert [rung.step for rung in result.plan.rungs] == [10, 20]


def test_a_metric_of_ones_own_and_fields_of_the_factory(tmp_path):
    def build(loss, rate=0.03):
        module = Plain(loss, "hits")
        module.name = "hits"
        module.configure_optimizers = lambda: torch.optim.Adam(module.parameters(), lr=rate)
        return module

    loss = {"class_path": "SoftmaxLoss", "init_args": {"temperature": 0.2}}
    slow_and_fast = [Candidate(f"rate {rate}", loss, {"rate": rate}) for rate in (1e-6, 0.03)]
    result = tune(
        build,
        plain_data,
        {5: 1.0, 10: 3.0},
        metric="hits@{n}",
        trainer=CPU,
        candidates=slow_and_fast,
        folder=tmp_path / "search",
    )
    assert result.best.candidate.name == "rate 0.03"
    best = max(
        (each.metrics["hits@5"] + 3 * each.metrics["hits@10"]) / 4
        for each in result.choice.latest(1).validations
    )
    assert result.best.value == pytest.approx(best)
    assert result.best.checkpoint.name == "best_n5_n10.ckpt"
    kept = torch.load(result.best.checkpoint, weights_only=True)
    at = [each for each in result.choice.latest(1).validations if each.step == kept["global_step"]]
    assert (at[0].metrics["hits@5"] + 3 * at[0].metrics["hits@10"]) / 4 == pytest.approx(best)
    with pytest.raises(ValueError, match=r"does not log 'val/recall@5', which candidates are judged by; it"):
        tune(build, plain_data, 5, trainer=CPU, candidates=slow_and_fast, folder=tmp_path / "other")


@pytest.mark.slow
def test_a_schedule_and_early_stopping_keep_the_length_of_the_fit(tmp_path):
    callbacks = [
        CROLossCallback(temperature=Linear(0.4, 0.1)),
        EarlyStopping("val/recall@5", mode="max", patience=0, check_on_train_epoch_end=False),
    ]
    options = {**CPU, "max_epochs": 6, "callbacks": callbacks, "val_check_interval": 5}
    result = run(tmp_path / "search", trainer=options)
    winner = result.best
    fresh = [CROLossCallback(temperature=Linear(0.4, 0.1))]
    fresh.append(EarlyStopping("val/recall@5", mode="max", patience=0, check_on_train_epoch_end=False))
    best, score = whole_fit(
        tmp_path / "whole",
        lambda: retrieval_model(winner.loss),
        ClusteredData(),
        "val/recall@5",
        **{**options, "callbacks": fresh},
    )
    assert_equal(weights(result), best)
    assert winner.value == score
    assert callbacks[0].total_steps is None  # the caller's own are not used


@pytest.mark.slow
def test_a_fit_that_never_validates_keeps_its_last_weights(tmp_path):
    options = {**CPU, "max_epochs": 3, "check_val_every_n_epoch": 5}
    result = run(tmp_path / "search", trainer=options)
    seed_everything(42)
    module = retrieval_model(result.best.loss)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    Trainer(**options, **quiet).fit(module, ClusteredData())
    assert_equal(weights(result), module.state_dict())
    assert result.cost <= 2.2


# ---------------------------------------------------------------------- what goes wrong


class Diverging(SoftmaxLoss):
    """Is infinite from the third step on."""

    calls = 0

    def row_losses(self, batch):
        type(self).calls += 1
        return super().row_losses(batch) * (float("inf") if self.calls > 2 else 1.0)


def test_what_fails_is_recorded_and_out(tmp_path):
    out_of_range = Candidate("cold", {"class_path": "SoftmaxLoss", "init_args": {"temperature": -1.0}})
    diverging = Candidate("diverging", {"class_path": "Diverging", "init_args": {"fused": False}})
    Diverging.calls = 0
    given = [out_of_range, diverging, *candidates()[:1]]
    result = run(tmp_path / "search", candidates=given)
    assert result.best.candidate.name == "softmax, temperature 0.2"
    assert "temperature" in result.choice.latest(0).error
    assert "the training loss is inf at step" in result.choice.latest(1).error
    assert "diverging failed: the training loss is inf" in repr(result)
    record = json.loads(next((tmp_path / "search" / "candidates" / "01").glob("*.json")).read_text())
    assert record["error"] == result.choice.latest(1).error
    with pytest.raises(SearchFailedError, match="the only candidate failed; 'diverging': the training loss"):
        run(tmp_path / "all", candidates=[diverging])
    assert issubclass(NonFiniteLossError, RuntimeError)


def test_a_mistake_of_the_program_is_no_failure_of_a_candidate(tmp_path):
    class Wrong(Plain):
        def training_step(self, batch, batch_idx):
            raise TypeError("a slip")

    with pytest.raises(TypeError, match="a slip"):
        tune(lambda loss: Wrong(loss), plain_data(), 5, trainer=CPU, folder=tmp_path / "search")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainer": {"accelerator": "cpu"}}, "trainer must say how long a fit is: give max_epochs or"),
        ({"trainer": {**CPU, "max_time": "00:01:00:00"}}, "max_time makes the outcome of a fit depend on"),
        ({"trainer": {**CPU, "max_epochs": -1}}, "the fit has no end, of which rungs are fractions"),
        ({"trainer": {**CPU, "limit_val_batches": 0}}, "the fit has no validation, by which candidates"),
        ({"trainer": {**CPU, "max_epochs": 0}}, "the fit ends before its first step"),
        ({"trainer": {**CPU, "fast_dev_run": True}}, "a dry run keeps no checkpoint to choose from"),
        ({"fits": 0.5}, "fits must be at least 1"),
        ({"candidates": []}, "candidates is empty"),
        ({"candidates": [Candidate("a")]}, "candidate 'a' has no loss, which model_factory needs"),
    ],
)
def test_a_mistake_gets_one_sentence(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "search", **change)
    assert not (tmp_path / "search" / "search.json").exists()


def test_n_is_checked(tmp_path):
    for n, message in (
        (0, "n must be at least 1, got 0"),
        ([5, 5], "n must be one N or several different ones"),
        ([], "n must be one N or several different ones"),
        ({}, "n is empty"),
        ({5: -1.0}, "the weight of n = 5 must be a number above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            tune(plain_model, plain_data(), n, trainer=CPU, folder=tmp_path / "search")
    with pytest.raises(ValueError, match="is the same for every n"):
        tune(plain_model, plain_data(), [5, 10], metric="val/hits", trainer=CPU, folder=tmp_path / "search")


def test_a_module_without_a_loss_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tune needs a module with one RetrievalLoss"):
        tune(lambda loss: LightningModule(), plain_data(), 5, trainer=CPU, folder=tmp_path / "search")


def test_a_loader_with_a_generator_of_its_own_is_refused(tmp_path):
    train, valid = plain_data()
    own = DataLoader(train.dataset, 16, shuffle=True, generator=torch.Generator())
    with pytest.raises(ValueError, match="draws from a generator of its own"):
        tune(plain_model, (own, valid), 5, trainer=CPU, folder=tmp_path / "search")


def test_data_is_what_a_trainer_takes(tmp_path):
    class WithLoaders(Plain):
        def train_dataloader(self):
            return plain_data()[0]

        def val_dataloader(self):
            return plain_data()[1]

    one_epoch = {**CPU, "max_epochs": 1}
    options = {"trainer": one_epoch, "candidates": [SoftmaxLoss(0.2)]}
    found = [
        tune(factory, data, 5, folder=tmp_path / str(number), **options)
        for number, (factory, data) in enumerate(
            [(plain_model, plain_data), (plain_model, list(plain_data())), (WithLoaders, None)]
        )
    ]
    for each in found[1:]:
        assert_equal(weights(each), weights(found[0]))
    with pytest.raises(
        TypeError, match="data must be a data module, the loaders of training and validation,"
    ):
        tune(plain_model, plain_data()[0], 5, folder=tmp_path / "one", **options)


def test_a_factory_that_builds_something_else_is_refused(tmp_path):
    one = plain_model(SoftmaxLoss(0.2))

    def shared(loss):
        one.loss = loss
        return one

    def tuned(factory):
        return tune(factory, plain_data(), 5, trainer=CPU, folder=tmp_path / "search")

    with pytest.raises(TypeError, match="returned the same module twice: build a new one in each call"):
        tuned(shared)
    with pytest.raises(TypeError, match="built a Plain without the loss that it was given"):
        tuned(lambda loss: plain_model(CROLoss(temperature=0.3)))
    with pytest.raises(TypeError, match="must return a LightningModule, got int"):
        tuned(lambda loss: 3)


def test_checkpoints_of_the_users_are_kept_besides(tmp_path):
    own = ModelCheckpoint(monitor="val/recall@5", mode="max", filename="mine")
    two_epochs = {**CPU, "max_epochs": 2, "callbacks": own}
    result = run(tmp_path / "search", candidates=candidates()[:1], trainer=two_epochs)
    mine = result.best.checkpoint.parent / "checkpoints" / "mine.ckpt"
    assert_equal(torch.load(mine, weights_only=True)["state_dict"], weights(result))


def test_losses_and_the_portfolio_are_candidates(tmp_path):
    given = [SoftmaxLoss(0.2), CROLoss(kernel="exp", alpha=1.2, temperature=0.14, num_items=ITEMS)]
    one_epoch = {**CPU, "max_epochs": 1}
    result = tune(
        plain_model, plain_data, 5, trainer=one_epoch, candidates=given, folder=tmp_path / "a", fits=2
    )
    assert [each.name for each in result.choice.candidates] == [repr(each) for each in given]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = tune(plain_model, plain_data, 5, trainer=one_epoch, folder=tmp_path / "b")
    told = [str(each.message) for each in caught]
    assert "fits=2.5 holds 2 of 7 candidates" in " ".join(told)
    assert len(result.choice.candidates) == 2


def test_the_portfolio_is_that_of_the_model(tmp_path):
    def factorization(loss):
        return MatrixFactorization(ITEMS, 60, embedding_dim=8, loss=loss, ns=(5,))

    result = tune(factorization, ClusteredData, 5, trainer=CPU, folder=tmp_path)
    assert result.choice.candidates[0] == portfolio([5], known_users=True)[0]


@pytest.mark.slow
def test_the_block_of_the_page_on_tuning(tmp_path, monkeypatch, capsys):
    """As it stands, but on a small catalogue."""
    monkeypatch.chdir(tmp_path)
    for stage in ("TRAIN", "VAL"):
        monkeypatch.setenv(f"PL_TRAINER_LIMIT_{stage}_BATCHES", "1")
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    block = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]
    assert "n=100" in block
    assert 'RecBoleDataModule("ml-100k")' in block
    block = block.replace('RecBoleDataModule("ml-100k")', "ClusteredData(num_items=120)")
    names = {"ClusteredData": ClusteredData}
    exec(compile(block, "tuning.md", "exec"), names)
    result = names["result"]
    assert result.cost <= 2.5
    assert "recall@100" in capsys.readouterr().out
    assert repr(names["loss"]) == repr(result.loss)
    assert "runs/tune" in result.checkpoint.as_posix()
    first = [row for row in result.rows if row["rung"] == 1]
    assert [row["candidate"] for row in first] == [each.name for each in result.choice.candidates]
    assert sum(row["went_on"] for row in first) == result.plan.rungs[0].keep
    assert result.rows[-1]["recall@100"] == result.best.value


def test_the_caller_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    torch.manual_seed(9)
    expected = torch.rand(())
    torch.manual_seed(9)
    run(tmp_path / "search", candidates=candidates()[:1], trainer={**CPU, "max_epochs": 1})
    assert torch.equal(torch.rand(()), expected)
    assert os.environ["PL_GLOBAL_SEED"] == "5"


def test_a_trainer_is_made_by_arguments_or_a_function(tmp_path):
    seen = []
    quiet = {**CPU, "max_epochs": 1, "logger": False, "enable_progress_bar": False}

    def arguments(folder):
        seen.append(folder)
        return quiet

    one = candidates()[:1]
    made = [
        run(tmp_path / str(number), candidates=one, trainer=trainer)
        for number, trainer in enumerate((quiet, arguments, lambda: Trainer(**quiet)))
    ]
    assert seen[-1] == tmp_path / "1" / "candidates" / "00" == made[1].checkpoint.parent
    for each in made[1:]:
        assert_equal(weights(each), weights(made[0]))
    used = Trainer(**quiet)
    with pytest.raises(TypeError, match=r"or a function that makes one for each piece of a fit, got"):
        run(tmp_path / "used", trainer=used)
    with pytest.raises(TypeError, match="returned a Trainer that has been used"):
        run(tmp_path / "used", trainer=lambda: used)
    with pytest.raises(TypeError, match="trainer must return a Trainer or the arguments of one, got"):
        run(tmp_path / "used", trainer=lambda: 3)


def test_a_fit_that_nobody_says_anything_of_has_ten_epochs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")
    result = tune(retrieval_model, ClusteredData(), n=5, candidates=[SoftmaxLoss(0.2)])
    assert result.length.steps == 10
    assert type(result.loss) is SoftmaxLoss


def test_a_candidate_of_a_loss():
    one = Candidate.of(SoftmaxLoss(0.2), width=32)
    assert one.name == f"{SoftmaxLoss(0.2)!r}, width 32"
    assert one.loss["init_args"]["temperature"] == 0.2
    assert one.fields == {"width": 32}
