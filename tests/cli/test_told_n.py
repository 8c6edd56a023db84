"""A loss that is told only its n, from configs and options: what is written down, and what it means later."""

from pathlib import Path

import pytest
import torch
import yaml

from lightning_croloss.cli import main
from lightning_croloss.configurable import to_config
from lightning_croloss.losses import rule
from lightning_croloss.losses.rule import RuleChoice, choose
from tests.cli.cases import error_of
from tests.cli.small import DATA, FIT, LAST, fit, newest

LATER = RuleChoice("exp", 1.7, 0.3)
TOLD = ["--model.loss=CROLoss", "--model.loss.n=20"]
#: In the order of ``CROLoss``.
FOUND = ("kernel", "importance", "temperature", "n", "expected_recall", "by_rule")

pytestmark = pytest.mark.filterwarnings("ignore:.*FullCatalogNegatives")


@pytest.fixture
def later(monkeypatch):
    """Return a function that puts another rule in the place of today's, as a later release would."""
    return lambda: monkeypatch.setattr(rule, "choose", lambda *question, **more: LATER)


def loss_in(path):
    """Return what a resolved config, or a checkpoint, says of the loss."""
    if path.suffix == ".ckpt":
        arguments = torch.load(path, weights_only=True)["hyper_parameters"]["loss"]["init_args"]
    else:
        arguments = yaml.safe_load(path.read_text())["model"]["init_args"]["loss"]["init_args"]
    return {name: arguments[name] for name in FOUND}


def expected(choice, n=20.0, **given):
    """Return what is written of a choice for the 40 items of the data."""
    found = {"kernel": choice.kernel, "temperature": choice.temperature} | given
    record = {
        "n": n,
        "num_items": 40,
        "expected_recall": None,
        "kernel": None if "kernel" in given else choice.kernel,
        "alpha": choice.alpha,
        "temperature": None if "temperature" in given else choice.temperature,
    }
    importance = to_config(choice.importance)
    return {**found, "importance": importance, "n": n, "expected_recall": None, "by_rule": record}


def printed(capsys, *arguments):
    """Return the model of the config that ``--print_config`` prints."""
    with pytest.raises(SystemExit) as ended:
        main(["fit", *arguments, "--print_config"])
    assert ended.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)["model"]


def test_what_was_found_is_written_into_checkpoint_and_config():
    checkpoint = fit(*TOLD)
    assert loss_in(checkpoint) == loss_in(newest("**/config.yaml")) == expected(choose(20, 40))


def test_explicit_values_are_written_as_they_were_given():
    checkpoint = fit(*TOLD, "--model.loss.kernel=exp", "--model.loss.temperature=0.33")
    kept = expected(choose(20, 40, kernel="exp"), kernel="exp", temperature=0.33)
    assert loss_in(checkpoint) == loss_in(newest("**/config.yaml")) == kept


def test_a_config_of_class_path_and_init_args():
    loss = {"class_path": "CROLoss", "init_args": {"n": 20}}
    model = {"class_path": "YouTubeDNN", "init_args": {"loss": loss, "ns": [5], "embedding_dim": 8}}
    Path("mine.yaml").write_text(yaml.safe_dump({"model": model}))
    main(["fit", DATA, "--config=mine.yaml", "--trainer.accelerator=cpu", "--trainer.fast_dev_run=true"])
    fit("--config=mine.yaml")
    assert loss_in(newest("**/config.yaml")) == expected(choose(20, 40))


def test_without_n_the_config_says_what_the_defaults_were():
    fit("--model.loss=CROLoss")
    kept = yaml.safe_load(newest("**/config.yaml").read_text())["model"]["init_args"]["loss"]["init_args"]
    assert (kept["kernel"], kept["temperature"], kept["n"], kept["by_rule"]) == ("sigmoid", 0.1, None, None)
    assert kept["importance"]["init_args"] == {"alpha": 1.0}


def test_a_resolved_config_and_a_checkpoint_mean_the_same_under_a_later_rule(later):
    checkpoint = fit(*TOLD)
    kept = loss_in(checkpoint)
    Path("resolved.yaml").write_bytes(newest("**/config.yaml").read_bytes())
    later()
    again = ["fit", "--config=resolved.yaml", "--trainer.default_root_dir=again"]
    main(again)
    assert loss_in(newest("**/config*.yaml")) == loss_in(newest("**/last*.ckpt")) == kept
    main([*again, f"--ckpt_path={checkpoint}", "--trainer.max_epochs=2"])
    assert loss_in(newest("**/config*.yaml")) == loss_in(newest("**/last*.ckpt")) == kept


def test_a_training_goes_on_from_the_config_it_began_with(later, capsys):
    model = printed(capsys, *FIT, *LAST, *TOLD)
    loss = model["init_args"]["loss"]["init_args"]
    assert {name: loss[name] for name in FOUND} == {**dict.fromkeys(FOUND), "n": 20.0}
    Path("mine.yaml").write_text(yaml.safe_dump({"model": model}))
    checkpoint = fit("--config=mine.yaml")
    kept = loss_in(checkpoint)
    later()
    fit("--config=mine.yaml", f"--ckpt_path={checkpoint}", "--trainer.max_epochs=2")
    assert loss_in(newest("**/last*.ckpt")) == kept
    error = error_of(
        capsys, "fit", *FIT, "--config=mine.yaml", "--model.loss.n=10", f"--ckpt_path={checkpoint}"
    )
    assert error.startswith("model.loss.n was given as 10.0, but ")


def test_another_n_for_a_resolved_config_asks_the_rule_anew():
    fit(*TOLD, "--model.loss.temperature=0.33")
    Path("resolved.yaml").write_bytes(newest("**/config.yaml").read_bytes())
    main(["fit", "--config=resolved.yaml", "--model.loss.n=5"])
    assert loss_in(newest("**/config.yaml")) == expected(choose(5, 40), n=5.0, temperature=0.33)


def test_a_callback_schedules_n():
    callback = ["--trainer.callbacks+=CROLossCallback", "--trainer.callbacks.n=Linear"]
    values = [
        "--trainer.callbacks.n.start=30",
        "--trainer.callbacks.n.end=10",
        "--trainer.log_every_n_steps=1",
    ]
    fit(*TOLD, *callback, *values)
    header, *rows = [line.split(",") for line in newest("**/metrics.csv").read_text().splitlines()]
    seen = [row for row in (dict(zip(header, row, strict=True)) for row in rows) if row["croloss/n"]]
    assert [float(row["croloss/n"]) for row in seen] == pytest.approx(
        [30 - 20 / 3 * step for step in range(3)]
    )
    for row in seen:
        choice = choose(float(row["croloss/n"]), 40)
        assert float(row["croloss/temperature"]) == pytest.approx(choice.temperature, abs=1e-4)
        assert float(row["croloss/alpha"]) == pytest.approx(choice.alpha, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model.loss.n=0"], "n must be a number of at least 1, got 0.0"),
        (["--model.loss.n=41"], "n must be at most the size of the catalogue, 40 items, got 41"),
        (["--model.loss.n=many"], "model.init_args.loss.init_args.n: must be a number or null, got 'many'"),
        (["--model.loss.n=true"], "model.init_args.loss.init_args.n: must be a number or null, got true"),
        (
            ["--model.loss.n=20", "--model.loss.alpha=1.2"],
            "n=20.0 lets a rule choose the importance, and alpha",
        ),
        (["--model.loss.n=20", "--model.loss.importance=power"], "n=20.0 lets a rule choose the importance"),
        (["--model.loss.expected_recall=0.3"], "expected_recall=0.3 "),
        (["--model.loss.N=20"], "model.init_args.loss: there is no field 'N'; did you mean 'n'?"),
    ],
)
def test_mistakes_get_one_sentence(options, sentence, capsys):
    assert error_of(capsys, "fit", *FIT, "--model.loss=CROLoss", *options).startswith(sentence)


def test_an_overlay_that_names_an_importance_is_told_of_n(capsys):
    for name, arguments in (("base", {"n": 20}), ("overlay", {"importance": "power"})):
        loss = {"class_path": "CROLoss", "init_args": arguments}
        config = {"model": {"class_path": "YouTubeDNN", "init_args": {"loss": loss, "ns": [5]}}}
        Path(f"{name}.yaml").write_text(yaml.safe_dump(config))
    both = ["--config=base.yaml", "--config=overlay.yaml"]
    assert "leave one of them out" in error_of(capsys, "fit", DATA, *both)
    arguments = printed(capsys, DATA, *both, "--model.loss.n=null")["init_args"]["loss"]["init_args"]
    assert (arguments["n"], arguments["importance"]["init_args"]) == (None, {"alpha": 1.0})


def test_the_help_explains_it(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--model.help=YouTubeDNN", "--model.loss.help=CROLoss"])
    text = " ".join(capsys.readouterr().out.split())
    for told in (
        "the N of the Recall@N that will be deployed: whatever of kernel, importance and temperature",
        "(a number or null; default: null)",
        "never to be given by hand: the record that checkpoints and configs hold",
    ):
        assert told in text
