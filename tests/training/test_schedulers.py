"""Schedulers made of others: the rates are torch's, from Python, a config and a checkpoint alike."""

import functools
import re
import warnings

import pytest
import torch
import yaml
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim import lr_scheduler as torchs

from lightning_croloss import RetrievalModel, load_pretrained, save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.common.former_names import translated
from lightning_croloss.training import ChainedScheduler, SequentialLR
from lightning_croloss.training.schedulers import composed
from tests.cli.small import FIT, SMALL
from tests.data_for_tests import fit, small_model
from tests.training.resume_runs import assert_same, run

WARM_UP = functools.partial(torchs.LinearLR, start_factor=0.25, total_iters=3)
COSINE = functools.partial(torchs.CosineAnnealingLR, T_max=6)
FALL = functools.partial(torchs.ExponentialLR, gamma=0.5)
LOW = functools.partial(torchs.ConstantLR, factor=0.5, total_iters=2)
CYCLES = functools.partial(torchs.CosineAnnealingWarmRestarts, T_0=4)


def sequence(*schedulers, milestones, cls=SequentialLR):
    return functools.partial(cls, schedulers=[*schedulers], milestones=[*milestones])


def chain(*schedulers, cls=ChainedScheduler):
    return functools.partial(cls, schedulers=[*schedulers])


def rates(build, steps=14):
    """Return the rates of as many steps, of two groups with rates of their own."""
    ones = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": ones[:1]}, {"params": ones[1:], "lr": 0.08}], lr=0.8)
    scheduler, seen = build(optimizer), []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        assert scheduler.get_last_lr() == seen[-1]
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(
    ("parts", "milestones"),
    [
        ([WARM_UP, COSINE], [3]),
        ([WARM_UP, FALL, CYCLES], [2, 7]),
        ([LOW, functools.partial(torchs.StepLR, step_size=2)], [1]),
        ([COSINE], []),
    ],
)
def test_a_sequence_has_the_rates_of_torch(parts, milestones):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = rates(sequence(*parts, milestones=milestones))
    assert ours == rates(
        lambda optimizer: torchs.SequentialLR(optimizer, [part(optimizer) for part in parts], milestones)
    )


def test_a_chain_has_the_rates_of_torch():
    ours = rates(chain(LOW, FALL))
    assert ours == rates(lambda optimizer: torchs.ChainedScheduler([LOW(optimizer), FALL(optimizer)]))


@pytest.mark.parametrize("begin", [2, 5])
def test_parts_that_are_made_of_others(begin):
    """A part begins as if it were alone, wherever it stands, which torch's own cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (chain(LOW, FALL), sequence(WARM_UP, FALL, milestones=[3])):
            alone = rates(part)
            later = rates(sequence(COSINE, part, milestones=[begin]))
            assert later == rates(COSINE, begin) + alone[: 14 - begin]
            first = rates(sequence(part, COSINE, milestones=[begin]))
            assert first[:begin] == alone[:begin]
            assert first[begin:] == rates(COSINE, 14 - begin)
    deep = sequence(sequence(chain(LOW, FALL), WARM_UP, milestones=[1]), COSINE, milestones=[begin])
    assert rates(deep) == rates(sequence(chain(LOW, FALL), WARM_UP, COSINE, milestones=[1, begin]))


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (sequence(WARM_UP, COSINE, milestones=[3, 9]), r"milestones must be one fewer than the 2 schedulers"),
        (sequence(WARM_UP, COSINE, FALL, milestones=[9, 3]), r"rising .* got \[9, 3\]"),
        (sequence(WARM_UP, COSINE, milestones=[0]), r"at least 1 .* got \[0\]"),
        (sequence(milestones=[]), "schedulers is empty"),
        (chain(), "schedulers is empty"),
        (chain(LOW, sequence(FALL, LOW, milestones=[1])), r"schedulers\[1\] is a SequentialLR"),
        (
            sequence(WARM_UP, chain("fall"), milestones=[3]),
            r"schedulers\[0\] must be what builds .* got 'fall'",
        ),
        (
            sequence(WARM_UP, functools.partial(ReduceLROnPlateau, monitor="val/recall@5"), milestones=[3]),
            r"schedulers\[1\] is a ReduceLROnPlateau",
        ),
        (functools.partial(torchs.OneCycleLR, max_lr=0.1), "OneCycleLR: total_steps is missing"),
        (sequence(WARM_UP, functools.partial(torchs.OneCycleLR, max_lr=1.0), milestones=[3]), "total_steps"),
    ],
)
@pytest.mark.parametrize("kind", ["ours", "torch"])
def test_a_mistake_is_said_before_training(scheduler, said, kind):
    if kind == "torch":
        scheduler = functools.partial(
            {SequentialLR: torchs.SequentialLR, ChainedScheduler: torchs.ChainedScheduler}.get(
                scheduler.func, scheduler.func
            ),
            **scheduler.keywords,
        )
    with pytest.raises(ValueError, match=said):
        composed(scheduler)


def test_schedulers_that_are_built_already_are_refused():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.8)
    with pytest.raises(ValueError, match=r"schedulers\[0\] must be what builds a scheduler"):
        SequentialLR(optimizer, [WARM_UP(optimizer), FALL(optimizer)], [3])


@pytest.mark.parametrize("cls", [SequentialLR, torchs.SequentialLR])
def test_a_model_made_in_python(cls, tmp_path):
    given = sequence(WARM_UP, chain(LOW, FALL), milestones=[3], cls=cls)
    optimizer = functools.partial(torch.optim.SGD, lr=0.8)
    model = small_model(optimizer=optimizer, lr_scheduler=given, lr_scheduler_interval="step")
    trainer = fit(model, max_epochs=1, limit_train_batches=4)
    expected = rates(sequence(WARM_UP, chain(LOW, FALL), milestones=[3]))
    assert trainer.optimizers[0].param_groups[0]["lr"] == expected[4][0]
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    torch.load(tmp_path / "model.ckpt", weights_only=True)  # plain types only
    save_pretrained(model, tmp_path / "folder")
    for again in (
        RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt"),
        load_pretrained(str(tmp_path / "folder")),
    ):
        assert again.hparams["lr_scheduler"] == translated(model.hparams["lr_scheduler"])
        built = again.configure_optimizers()
        assert type(built["lr_scheduler"]["scheduler"]) is SequentialLR
        assert rates(again._optimization.lr_scheduler) == expected


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_an_interrupted_run_goes_on_bit_for_bit(interval, tmp_path):
    kind = f"warm-up by {interval}"
    whole = run(tmp_path / "whole", kind, None, max_epochs=4)
    for step in (3, 9, 12):
        path = tmp_path / "whole" / f"step-{step}.ckpt"
        assert_same(whole, run(tmp_path / str(step), kind, None, str(path), max_epochs=4), path)
    assert len({str(seen) for key, (seen, *_) in whole[2].seen.items() if key[0] == "batch"}) >= 4


# ---------------------------------------------------------------------- on the command line

CONFIG = {
    "model": {
        "class_path": "YouTubeDNN",
        "init_args": {
            "ns": [5, 10],
            "embedding_dim": 8,
            "hidden_dims": [16],
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.8}},
            "lr_scheduler_interval": "step",
            "lr_scheduler": {
                "class_path": "SequentialLR",
                "init_args": {
                    "schedulers": [
                        {"class_path": "LinearLR", "init_args": {"start_factor": 0.25, "total_iters": 3}},
                        {
                            "class_path": "ChainedScheduler",
                            "init_args": {
                                "schedulers": [
                                    {
                                        "class_path": "torch.optim.lr_scheduler.ConstantLR",
                                        "init_args": {"factor": 0.5, "total_iters": 2},
                                    },
                                    {"class_path": "ExponentialLR", "init_args": {"gamma": 0.5}},
                                ]
                            },
                        },
                    ],
                    "milestones": [3],
                },
            },
        },
    },
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("prefix", ["", "torch.optim.lr_scheduler.", "lightning_croloss.training."])
def test_a_config(prefix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(CONFIG)
    text = re.sub("SequentialLR|ChainedScheduler", lambda found: prefix + found[0], text)
    (tmp_path / "mine.yaml").write_text(text)
    given = ["--config=mine.yaml", *SMALL[:1], *SMALL[2:], "--trainer.max_epochs=1", "--test_after_fit=false"]
    trainer, model = run_fit([*given, "--trainer.limit_train_batches=5"])
    expected = rates(sequence(WARM_UP, chain(LOW, FALL), milestones=[3]))
    assert trainer.optimizers[0].param_groups[0]["lr"] == expected[5][0]
    kept = model.hparams["lr_scheduler"]
    assert kept["class_path"] == "lightning_croloss.training.SequentialLR"
    assert kept["init_args"]["milestones"] == [3]
    # the resolved config of the run, and its checkpoint, say the same
    resolved = tmp_path / "runs" / "croloss" / "version_0" / "config.yaml"
    checkpoint = next(tmp_path.glob("runs/**/*.ckpt"))
    _, again = run_fit(
        [
            f"--config={resolved}",
            f"--ckpt_path={checkpoint}",
            "--trainer.max_epochs=2",
            "--test_after_fit=false",
        ]
    )
    assert again.hparams["lr_scheduler"] == kept


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["LambdaLR"], "need lr_lambda, a function of Python, which a config cannot hold"),
        (["MultiplicativeLR", "--model.lr_scheduler.lr_lambda=lambda e: 1"], "need lr_lambda"),
        (["OneCycleLR", "--model.lr_scheduler.max_lr=.1"], "OneCycleLR: total_steps is missing"),
        (["ReduceLROnPlateau"], "monitor"),
        (["SequentialLR", "--model.lr_scheduler.milestones=[1]"], "schedulers"),
    ],
)
def test_what_a_config_cannot_give(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scheduler, *others = given
    with pytest.raises(SystemExit) as left:
        main(["fit", *FIT, f"--model.lr_scheduler={scheduler}", *others])
    assert left.value.code != 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("croloss: error: "))
    assert said in line


@pytest.mark.filterwarnings("ignore")
def test_the_short_name_of_a_scheduler_that_waits_for_a_metric(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [
        "ReduceLROnPlateau",
        "--model.lr_scheduler.monitor=val/recall@5",
        "--model.lr_scheduler.mode=max",
    ]
    _, model = run_fit([*FIT, f"--model.lr_scheduler={given[0]}", *given[1:], "--test_after_fit=false"])
    assert model.hparams["lr_scheduler"]["class_path"] == "lightning.pytorch.cli.ReduceLROnPlateau"
