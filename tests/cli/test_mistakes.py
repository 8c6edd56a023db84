"""Mistakes in a config file and on the command line: the sentence, and that what is right stays unsaid."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_croloss.cli.config.class_fields import with_subclasses
from lightning_croloss.cli.config.diagnosis import find_mistake
from lightning_croloss.cli.config.sources import ConfigMistakeError, plain_value, read_config
from lightning_croloss.cli.parser import CROLossParser
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.data.splits import Split
from lightning_croloss.losses import Importance, Kernel, RetrievalLoss
from lightning_croloss.models import RetrievalModel
from lightning_croloss.negatives import Negatives
from tests.cli.cases import CONFIG, ROOT, error_of
from tests.cli.test_every_field import JARGON, parser

__all__ = ["parser"]

TEXT = CONFIG.read_text()
LEVELS = {
    "lr": "model.init_args.optimizer.init_args.lr",
    "temperature": "model.init_args.loss.init_args.temperature",
    "max_epochs": "trainer.max_epochs",
    "batch_size": "data.init_args.batch_size",
    "kernel": "model.init_args.loss.init_args.kernel",
}


def edited(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def said_of(text: str | bytes) -> str:
    Path("c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigMistakeError) as caught:
        read_config("c.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (edited("    embedding_dim: 64", "\tembedding_dim: 64"), "line 17 is indented by a tab"),
        (
            edited("embedding_dim: 64", "embedding_dim 64"),
            "line 17: a colon is missing: write 'embedding_dim: 64'",
        ),
        (edited("embedding_dim: 64", "embedding_dim:64"), "line 17: a space is missing after the colon"),
        (edited("embedding_dim: 64", "embedding_dim = 64"), "line 17: a field is written with a colon"),
        (edited("kernel: sigmoid", "kernel: 'sigmoid"), "the quote that opens in line 27 is not closed"),
        (edited("[128]", "[128"), "the bracket [ of line 18 is not closed"),
        (edited("    loss:\n", "     loss:\n"), "line 24 is indented otherwise"),
        (edited("    loss:\n", "    - x\n    loss:\n"), "line 24 begins a list ('- ') among fields"),
        (edited("kernel: sigmoid", "kernel: @sigmoid"), "must stand in quotes: kernel: @sigmoid"),
        (edited("kernel: sigmoid", "kernel: *sigmoid"), "must stand in quotes: kernel: *sigmoid"),
        (edited("kernel: sigmoid", "kernel: !sigmoid"), "put it in quotes: kernel: !sigmoid"),
        (edited("filename: best", "filename: best: x"), "line 52 holds two colons"),
        (TEXT + "---\na: 1\n", "line 59 begins a second document"),
        (edited("    embedding_dim: 64\n", "    embedding_dim: 64\n    embedding_dim: 3\n"), "a second time"),
        (TEXT.encode() + "# Zoë\n".encode("latin-1"), "is not UTF-8 text: see line 59"),
        (TEXT.encode("utf-16"), "is not UTF-8 text"),
        ("", "c.yaml is empty: it must consist of fields such as 'data:', 'model:' and 'trainer:'"),
        ("- data\n", "c.yaml holds a list"),
        ("data\n", "c.yaml holds one value"),
        ("? [a, b]\n: 1\n", "the name of a field must be a word"),
        (
            "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(
                f"{k}: &{k} [{', '.join([f'*{was}'] * 10)}]\n"
                for was, k in zip("abcdefg", "bcdefgh", strict=True)
            ),
            "values",
        ),
    ],
)
def test_a_file_that_cannot_be_read(text: str | bytes, said: str) -> None:
    found = said_of(text)
    assert found.startswith("c.yaml ")
    assert said in found
    assert not JARGON.search(found)
    assert len(found) <= 300


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    Path("run.yaml").write_text(TEXT)
    with pytest.raises(
        ConfigMistakeError, match=r"there is no config file run\.yml; did you mean run\.yaml\?"
    ):
        read_config("run.yml")
    with pytest.raises(ConfigMistakeError, match=r"is a folder: name a file in it, such as .*run\.yaml"):
        read_config(str(tmp_path))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        *(
            (f"--{name}=1", f"there is no field {name!r}; did you mean {place!r}?")
            for name, place in LEVELS.items()
        ),
        *(
            (f"--model.{name}=1", f"model: there is no field {name!r}; it belongs at {place}")
            for name, place in LEVELS.items()
        ),
        ("--loss=CROLoss", "there is no field 'loss'; did you mean 'model.init_args.loss'?"),
        ("--data.batch-size=5", "data: there is no field 'batch-size'; did you mean 'batch_size'?"),
        (
            "--model.Embedding_Dim=5",
            "model: there is no field 'Embedding_Dim'; did you mean 'embedding_dim'?",
        ),
        ("--model.loss.importance.alpha=1", "in TargetNImportance, but PowerImportance has one"),
        (
            "--model.ns=10,20",
            "model.init_args.ns: must be a list of whole numbers such as [10, 20], got '10,20'",
        ),
        (
            "--model.ns=[10,",
            "no closing ']': put an option whose value holds spaces in quotes, '--model.ns=[10, …]'",
        ),
        ("--model.embedding_dim", "--model.embedding_dim needs a value: a whole number"),
        ("--model.embedding_dim=true", "model.init_args.embedding_dim: must be a whole number, got true"),
        ("--model.loss=croloss", "model.init_args.loss: unknown class 'croloss'; did you mean 'CROLoss'?"),
        ("--model.optimizer=CROLoss", "'CROLoss' is not an optimizer such as torch.optim.Adam"),
        (
            "--model.lr_scheduler=StepLR",
            "StepLR needs the field 'step_size', a whole number, which is not given",
        ),
        ("--model.negatives=uniform", "Write --model.init_args.negatives=UniformNegatives"),
        ("--model=lightning_crolos.MIND", "there is no module 'lightning_crolos'; did you mean 'MIND'?"),
        ("--trainer.logger=wandb", "did you mean 'WandbLogger'? Write --trainer.logger=WandbLogger"),
        ("--trainer.logger.project=x", "no field 'project' in CSVLogger, but WandbLogger has one"),
        ("--trainer=max_epochs=3", "trainer: must consist of fields such as max_epochs"),
        ("--data.predict_users=tset", "must be one of all, test; got 'tset'; did you mean 'test'?"),
    ],
)
def test_an_option(parser: CROLossParser, option: str, said: str) -> None:
    found = find_mistake(parser, ["fit", f"--config={CONFIG}", option])
    assert found is not None
    assert said in found
    assert not JARGON.search(found)
    assert len(found) <= 300


#: Where a config may name a class of a family, and the family's base.
FAMILIES = {
    "data": RetrievalDataModule,
    "data.split": Split,
    "model": RetrievalModel,
    "model.loss": RetrievalLoss,
    "model.loss.kernel.class_path": Kernel,
    "model.loss.importance.class_path": Importance,
    "model.negatives": Negatives,
    "model.optimizer": Optimizer,
    "model.lr_scheduler": LRScheduler,
}
ABSTRACT = [
    (section, cls)
    for section, base in FAMILIES.items()
    for cls in with_subclasses(base)
    if cls is base or (inspect.isabstract(cls) and cls.__module__.startswith("lightning_croloss."))
]


@pytest.mark.parametrize(("section", "cls"), ABSTRACT, ids=lambda value: getattr(value, "__name__", value))
def test_a_class_that_is_only_a_base(parser: CROLossParser, section: str, cls: type) -> None:
    found = find_mistake(parser, ["fit", f"--config={CONFIG}", f"--{section}={cls.__name__}"])
    assert found is not None
    assert f"{cls.__name__!r} is only the base of others; " in found


@pytest.mark.parametrize(
    "path",
    sorted(
        path for folder in ("configs", "zoo", "tests/formats") for path in (ROOT / folder).rglob("*.yaml")
    ),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_is_said_of_a_config_that_works(parser: CROLossParser, path: Path) -> None:
    configs = [
        f"--config={found}"
        for found in ((CONFIG, path) if path.parent.name in ("trackers", "overlays") else (path,))
    ]
    assert find_mistake(parser, ["fit", *configs]) is None


@pytest.mark.parametrize(
    "options",
    [
        ["--model.loss=SoftmaxLoss", "--model.loss.temperature=0.2"],
        ["--model.init_args.loss.init_args.temperature", "0.2"],
        ["--model={loss.temperature: 3}"],
        ["--trainer.callbacks+=ModelSummary", "--trainer.callbacks.max_depth=2"],
        ["--trainer.callbacks=[ModelSummary, {class_path: EarlyStopping, init_args: {monitor: x}}]"],
        ["--trainer.logger=false", "--trainer.max_epochs", "3", "--trainer.devices=[0]"],
        ["--model.optimizer=Adam", "--model.optimizer.lr=0.1", "--model.optimizer.betas=[0.8, 0.9]"],
        ["--data.config={load_col: {inter: [user_id]}}", "--data.config.threshold=1"],
        ["--model.loss=null", "--seed_everything=false", "--print_config"],
    ],
)
def test_nothing_is_said_of_options_that_work(parser: CROLossParser, options: list[str]) -> None:
    assert find_mistake(parser, ["fit", f"--config={CONFIG}", *options]) is None


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        (
            "model:\n  init_args:\n    embedding_dim: null\n",
            "model.init_args.embedding_dim: must be a whole number, got null: leave it out for the default, "
            "64 (c.yaml, line 3)",
        ),
        (
            "trainer: {strategy: null}\n",
            "trainer.strategy: must be text such as 'auto' or a strategy, got null",
        ),
        (
            "trainer:\n- max_epochs: 3\n",
            "trainer: must consist of fields, got [{max_epochs: 3}] (c.yaml, line 1)",
        ),
        (
            "model:\n  init_args:\n    ns: 5\n",
            "model.init_args.ns: must be a list of whole numbers such as [5]",
        ),
    ],
)
def test_what_the_parser_would_overlook(capsys: pytest.CaptureFixture[str], overlay: str, said: str) -> None:
    Path("c.yaml").write_text(overlay)
    assert error_of(capsys, "fit", "--config", str(CONFIG), "--config", "c.yaml").startswith(said)


def test_values_are_read_as_the_parser_reads_them() -> None:
    assert [plain_value(text) for text in ("1e-3", "[1, 2]", "null", "a", "", "'a'")] == [
        *(0.001, [1, 2], None, "a", "", "'a'")
    ]
