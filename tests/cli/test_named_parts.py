"""Kernels and importances by name, on the command line and in configs."""

import pytest
import yaml

from lightning_croloss.cli import main
from lightning_croloss.cli.config.named_parts import with_classes, words_with_classes
from tests.cli.small import DATA, NO_PLOT, fit

POWER = {"class_path": "lightning_croloss.PowerImportance", "init_args": {"alpha": 0.7}}
TARGET = {"class_path": "lightning_croloss.TargetNImportance", "init_args": {"n": 50.0, "sharpness": 1.0}}
BY_NAME = "--model.loss.importance={name: target_n, n: 50}"


def loss_of(capsys, *arguments):
    """Return the loss that a command line means."""
    with pytest.raises(SystemExit) as ended:
        main(["fit", DATA, "--model=YouTubeDNN", "--model.loss=CROLoss", *arguments, "--print_config"])
    assert ended.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["loss"]["init_args"]


@pytest.fixture
def overlay(tmp_path):
    path = tmp_path / "overlay.yaml"
    loss = {"class_path": "CROLoss", "init_args": {"importance": POWER}}
    path.write_text(yaml.safe_dump({"model": {"class_path": "YouTubeDNN", "init_args": {"loss": loss}}}))
    return f"--config={path}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model.loss.alpha=1.2"], {"alpha": 1.2, "importance": None}),
        ([BY_NAME], {"importance": TARGET}),
        (BY_NAME.split("=", 1), {"importance": TARGET}),
        (
            [BY_NAME, "--model.loss.importance.sharpness=2"],
            {"importance": {**TARGET, "init_args": {"n": 50.0, "sharpness": 2.0}}},
        ),
        (["--model.loss.importance=power", "--model.loss.importance.alpha=0.7"], {"importance": POWER}),
        (
            ["--model.loss.importance=PowerImportance", "--model.loss.importance.alpha=0.7"],
            {"importance": POWER},
        ),
        (
            ["--model.loss.kernel={name: hinge, margin: 1.0}"],
            {"kernel": {"class_path": "lightning_croloss.losses.HingeKernel", "init_args": {"margin": 1.0}}},
        ),
        (["--model.loss.kernel=hinge"], {"kernel": "hinge"}),
        (["--model.loss.fused=null"], {"fused": None}),
    ],
)
def test_options(arguments, expected, capsys):
    found = loss_of(capsys, *arguments)
    assert {name: found[name] for name in expected} == expected


def test_an_option_takes_the_place_of_what_a_config_says(overlay, capsys):
    assert loss_of(capsys, overlay)["importance"] == POWER
    assert loss_of(capsys, overlay, BY_NAME)["importance"] == TARGET
    found = loss_of(capsys, overlay, "--model.loss.importance=null", "--model.loss.alpha=1.2")
    assert (found["importance"], found["alpha"]) == (None, 1.2)


def test_what_is_no_part_of_a_loss_stays_as_it_is():
    logger = {"logger": {"init_args": {"name": "power"}}, "importance": {"name": "other"}, "kernel": "hinge"}
    assert with_classes(logger) == logger
    words = ["--trainer.logger.name=power", "--model.loss.kernel=hinge", "--x.importance={", "--x.importance"]
    assert words_with_classes(words) == words


@NO_PLOT
def test_a_fit_with_primitives_alone_reloads(monkeypatch, tmp_path):
    from lightning_croloss import YouTubeDNN

    monkeypatch.chdir(tmp_path)
    path = fit(
        "--model.loss=CROLoss",
        "--model.loss.kernel={name: hinge, margin: 1.0}",
        BY_NAME.replace("50", "5"),
        "--model.loss.learnable_temperature=true",
    )
    loss = YouTubeDNN.load_from_checkpoint(path).loss
    assert repr(loss) == (
        "CROLoss(kernel=HingeKernel(margin=1.0), importance=TargetNImportance(n=5.0), temperature=0.1, "
        "num_items=40, learnable_temperature=True)"
    )
    assert loss.raw_temperature != 0.0


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        (
            "--model.loss.importance={name: target, n: 5}",
            "unknown importance 'target'; did you mean 'target_n'?",
        ),
        ("--model.loss.importance={class_path: os.system}", "os.system"),
        (
            "--model.loss.importance={name: power, alpah: 1}",
            "there is no field 'alpah'; did you mean 'alpha'?",
        ),
        ("--model.loss.importance=target_n", "needs the field 'n'"),
        ("--model.loss.kernel={name: sofplus}", "unknown kernel 'sofplus'; did you mean 'softplus'?"),
    ],
)
def test_mistakes(argument, sentence, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        fit("--model.loss=CROLoss", argument)
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("croloss: error: ")]
    assert sentence in line


def test_help_describes_the_new_arguments(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--model=YouTubeDNN", "--model.loss.help=CROLoss"])
    text = capsys.readouterr().out
    assert "alpha" in text
    assert "learnable_temperature" in text
