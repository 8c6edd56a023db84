"""The options of the trainer's commands that a user sets, with what is said about them.

Building the real parsers takes the seconds of importing Lightning, so the help is made from this table. The
real parsers take their texts from it, and a test holds that they have these options.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

#: The commands of Lightning's trainer.
TRAINER_COMMANDS = {
    "fit": "Train a model, then test its best checkpoint.",
    "validate": "Measure a trained model on the validation part of the data.",
    "test": "Measure a trained model on the test part of the data.",
    "predict": "Write the best items for every user of the data into a table.",
}
MODELS = (
    "BERT4Rec",
    "BSARec",
    "Caser",
    "ComiRecDR",
    "ComiRecSA",
    "ESASRec",
    "GRU4Rec",
    "HSTU",
    "LightGCN",
    "MIND",
    "MatrixFactorization",
    "NGCF",
    "SASRec",
    "TwoTower",
    "YouTubeDNN",
)
DATA_MODULES = ("RecBoleDataModule", "TableDataModule")
_ALL = tuple(TRAINER_COMMANDS)
_FIT, _PREDICT = ("fit",), ("predict",)
_EVALUATING = ("validate", "test", "predict")


class Option(NamedTuple):
    """An option as the help shows it.

    Attributes:
        name: the option, without its dashes.
        value: what stands for its value.
        help: what it does.
        commands: the commands that show it.
        default: what holds without it, where that can be said.
    """

    name: str
    value: str
    help: str
    commands: tuple[str, ...] = _ALL
    default: str = ""


#: The options by what they are about, in the order in which a user sets them.
OPTIONS: dict[str, tuple[Option, ...]] = {
    "settings": (
        Option("config", "FILE", "YAML file of settings; of several, later ones win. Short: -c."),
        Option("print_config", "", "Print the complete configuration, and do nothing else."),
        Option("seed_everything", "SEED", "Seed of all random numbers; true draws one.", default="42"),
        Option(
            "seeds",
            "SEEDS",
            "Train and test several runs, and print mean and standard deviation of each test metric: a "
            "number of seeds from seed_everything on (3), or the seeds (1,2,3).",
            _FIT,
        ),
    ),
    "model and data": (
        Option("model", "NAME", f"{', '.join(MODELS)}, or the class path of your own."),
        Option("data", "NAME", f"{', '.join(DATA_MODULES)}, or the class path of your own."),
    ),
    "weights": (
        Option(
            "ckpt_path",
            "FILE",
            "Checkpoint of the run to go on with: a file, a URL, or last, the newest last.ckpt of earlier "
            "runs.",
            _FIT,
        ),
        Option(
            "ckpt_path",
            "FILE",
            "Checkpoint whose model is used: a file, a URL, or last, the newest last.ckpt of earlier runs.",
            _EVALUATING,
        ),
        Option(
            "pretrained",
            "MODEL",
            "Weights to start from: a zoo model, a folder, hf://owner/name or a .ckpt file. Items are "
            "matched by token. To go on with an interrupted run use --ckpt_path instead.",
            _FIT,
        ),
        Option(
            "pretrained",
            "MODEL",
            "Weights to use as they are: a zoo model, a folder, hf://owner/name or a .ckpt file.",
            _EVALUATING,
        ),
        Option(
            "weights_only",
            "true|false",
            "Whether a checkpoint may hold plain types alone. With false it can run code: only for files "
            "that you trust.",
            default="true",
        ),
        Option(
            "allow_classes",
            "CLASS",
            "Class of others that the files of a model may name, as package.module.Class; it is imported.",
        ),
    ),
    "result": (
        Option(
            "test_after_fit",
            "true|false",
            "Whether fit ends with a test of the best checkpoint.",
            _FIT,
            default="true",
        ),
        Option(
            "metrics_per_user",
            "FILE",
            "File to write with the metrics of each user in the test, or in validate: Parquet, .csv, .tsv or "
            ".jsonl.",
            ("fit", "validate", "test"),
        ),
        Option("overwrite", "", "Replace the file of metrics_per_user.", ("fit", "validate", "test")),
        Option(
            "verbose",
            "true|false",
            "Whether Lightning prints its own table too.",
            ("validate", "test"),
            default="false",
        ),
        Option(
            "output",
            "FILE",
            "File to write: Parquet, .csv, .tsv or .jsonl.",
            _PREDICT,
            default="predictions.parquet",
        ),
        Option("overwrite", "", "Replace the output if it exists.", _PREDICT),
        Option("n", "N", "Number of items for each user.", _PREDICT, default="100"),
        Option(
            "exclude_history",
            "true|false",
            "Leave out every item that the user had before; null is the model's own setting.",
            _PREDICT,
        ),
    ),
    "trainer": (
        Option("trainer.max_epochs", "N", "Number of epochs.", _FIT),
        Option("trainer.accelerator", "NAME", "cpu, gpu, mps or auto.", default="auto"),
        Option(
            "trainer.devices", "N", "Number of devices, a list of their numbers, or auto.", default="auto"
        ),
        Option("trainer.precision", "NAME", "32-true, 16-mixed or bf16-mixed.", default="32-true"),
        Option(
            "trainer.logger",
            "NAME",
            "CSVLogger, TensorBoardLogger, WandbLogger or false.",
            ("fit", "validate", "test"),
            default="CSVLogger",
        ),
        Option(
            "trainer.callbacks",
            "NAME",
            "EarlyStopping, ModelCheckpoint, CROLossCallback and others; --trainer.callbacks+=NAME adds one.",
        ),
        Option(
            "trainer.limit_train_batches",
            "N",
            "Number, or share, of the training batches of an epoch.",
            _FIT,
        ),
        Option(
            "trainer.limit_val_batches",
            "N",
            "Number, or share, of the validation batches.",
            ("fit", "validate"),
        ),
        Option("trainer.limit_test_batches", "N", "Number, or share, of the test batches.", ("fit", "test")),
        Option("trainer.limit_predict_batches", "N", "Number, or share, of the batches of users.", _PREDICT),
        Option(
            "trainer.check_val_every_n_epoch", "N", "Number of epochs between validations.", _FIT, default="1"
        ),
        Option(
            "trainer.accumulate_grad_batches",
            "N",
            "Number of batches for each optimizer step.",
            ("fit",),
            default="1",
        ),
        Option(
            "trainer.gradient_clip_val",
            "NORM",
            "Largest norm of the gradients; null does not clip.",
            _FIT,
        ),
        Option("trainer.fast_dev_run", "N", "Run N batches of everything: a rehearsal that keeps nothing."),
        Option("trainer.enable_progress_bar", "true|false", "Whether to show the progress.", default="true"),
    ),
}


def options_of(command: str) -> Iterator[Option]:
    """Yield the options of a command."""
    return (option for options in OPTIONS.values() for option in options if command in option.commands)


def help_of(name: str, command: str = "fit") -> str:
    """Return the sentences about an option of a command, "" if there are none."""
    return next((option.help for option in options_of(command) if option.name == name), "")


__all__ = ["DATA_MODULES", "MODELS", "OPTIONS", "TRAINER_COMMANDS", "Option", "help_of", "options_of"]
