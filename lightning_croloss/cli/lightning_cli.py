"""The commands of Lightning's trainer: ``croloss fit|validate|test|predict --config file.yaml``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

import lightning_croloss.public  # noqa: F401  (registers every class under its short name)
from lightning_croloss.callbacks import PredictionWriter, RecallReport
from lightning_croloss.cli.parser import CROLossParser
from lightning_croloss.common.files import write_atomically
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models import RetrievalModel
from lightning_croloss.models.checkpoint import described_model, read_checkpoint
from lightning_croloss.pretrained import load_matching, load_pretrained
from lightning_croloss.pretrained.saving import FROM_DATA
from lightning_croloss.training.resume import keep_checkpoints_together
from lightning_croloss.training.run_folder import run_folder
from lightning_croloss.training.trackers import log_config

FIT_HELP = (
    "Train a model. '--model=YouTubeDNN --help' does not list the model's own fields: use "
    "'--model.help=YouTubeDNN' (and '--data.help=RecBoleDataModule') for those; '--print_config' shows the "
    "complete configuration. Fields can be overridden: '--trainer.max_epochs=3'."
)


class SaveResolvedConfig(SaveConfigCallback):
    """Keep the resolved config in the run's own folder, whatever the logger, and tell the trackers."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml`` and log its content."""
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.config_filename
        text = self.parser.dump(self.config, skip_none=False)
        write_atomically(path, text.encode())
        for logger in trainer.loggers:
            log_config(logger, text)


class CROLossCLI(LightningCLI):
    """LightningCLI for any ``RetrievalModel`` and ``RetrievalDataModule``, by class path or short name.

    The size of the catalogue is taken from the data; ``fit`` ends with a test of the best checkpoint.
    """

    _pretrained: RetrievalModel | None = None

    def __init__(self, args: ArgsType = None, run: bool = True) -> None:
        super().__init__(
            RetrievalModel,
            RetrievalDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            parser_class=CROLossParser,
            save_config_callback=SaveResolvedConfig,
            save_config_kwargs={"save_to_log_dir": False},
            parser_kwargs={
                "prog": "croloss",
                "description": "Train, validate and test retrieval models on the Recall@N to be deployed. "
                "Other commands: 'croloss data inspect' shows what a config reads, filters and splits; "
                "'croloss zoo', 'croloss recommend' and 'croloss export' use pretrained models. "
                "'croloss --version' prints the versions to name in a report.",
                "fit": {"description": FIT_HELP},
            },
            trainer_defaults={
                "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "croloss"}},
                "callbacks": [RecallReport()],
            },
            args=args,
            run=run,
            load_from_checkpoint_support=False,  # Configurable does it, for models made in Python too
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the model know its data."""
        parser.link_arguments("data.num_items", "model.init_args.num_items", apply_on="instantiate")
        for source, target in (
            ("num_users", "num_users"),
            ("item_feature_specs", "item_features"),
            ("user_feature_specs", "user_features"),
        ):  # for the models that take them
            parser.link_arguments(f"data.{source}", f"model.init_args.{target}", apply_on="instantiate")
        # for every command, so that the others can read the config that a fit keeps
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Whether fit ends with a test of the best checkpoint.",
        )
        parser.add_argument(
            "--pretrained",
            type=str | None,
            help="Weights that fit starts from: a zoo model, a folder, hf://owner/name or a .ckpt file. "
            "Items are matched by token. To go on with an interrupted run use --ckpt_path instead.",
        )

    def _parse_ckpt_path(self) -> None:
        """Let the checkpoint's hyperparameters replace the config's, as Lightning does, but not silently."""
        command = str(self.config.get("subcommand"))
        path = str(self.config.get(command, {}).get("ckpt_path") or "")
        if path == "best" or (path == "last" and command != "fit"):
            raise ValueError(f"ckpt_path: {path!r} is known only within a run: give the file")
        if path and path not in ("last", "hpc") and "://" not in path and not Path(path).is_file():
            raise ValueError(f"ckpt_path: there is no file {path!r}")
        before = self._model_fields()
        if path and Path(path).is_file():
            self._take_hyperparameters(command, path)
        after = self._model_fields()
        for field in sorted(before.keys() & after.keys()):
            theirs, ours = (_comparable(fields[field], field) for fields in (after, before))
            if theirs != ours and not field.endswith(FROM_DATA):
                say(
                    f"--ckpt_path sets model.{field} to the checkpoint's {theirs!r} "
                    f"(the config says {ours!r})"
                )

    def _take_hyperparameters(self, command: str, path: str) -> None:
        """Let a checkpoint's model, which may name trusted and imported classes only, replace the config's.

        Unlike Lightning's own way, this imports nothing because the file names it.
        """
        try:
            content = read_checkpoint(path, mmap=True)
        except PretrainedError as error:
            raise ValueError(f"ckpt_path: {error}") from None
        described = described_model(content)
        if described["class_path"] is None:
            return
        advice = "name {} in a config, which imports it, or load the model in Python"
        TrustedClasses(imported=True, advice=advice).check({"model": described}, path)
        taken = {
            command: {"model": {"class_path": described["class_path"], "dict_kwargs": described["init_args"]}}
        }
        try:
            self.config = self.parser.parse_object(taken, self.config)
        except SystemExit:
            say(f"the model of --ckpt_path {path} cannot be built from its hyperparameters")
            raise

    def _model_fields(self) -> dict[str, Any]:
        model = self.config.get(str(self.config.get("subcommand")), {}).get("model")
        return dict(model.items()) if isinstance(model, Namespace) else {}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add a progress bar that writes rarely where nobody watches it: into a file or a pipe."""
        config = self._get(self.config_init, "trainer")
        callbacks = config.get("callbacks") or []
        if config.get("enable_progress_bar") is not False and not any(
            isinstance(callback, ProgressBar) for callback in callbacks
        ):
            rate = 1 if sys.stderr.isatty() else 200
            # first, so that it has closed its line when the report prints its table
            config["callbacks"] = [TQDMProgressBar(refresh_rate=rate), *callbacks]
        return super().instantiate_trainer(**kwargs)

    def _prepare_subcommand_parser(
        self, klass: type[Trainer], subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser: LightningArgumentParser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.add_argument(
                "--output",
                type=str,
                default="predictions.parquet",
                help="File to write: Parquet, .csv, .tsv or .jsonl.",
            )
            parser.add_argument("--overwrite", type=bool, default=False, help="Whether it may exist.")
            parser.add_argument("--n", type=int, default=100, help="Number of items for each user.")
            parser.add_argument(
                "--exclude_history",
                type=bool | None,
                default=None,
                help="Leave out every item that the user had before; null is the model's own setting.",
            )
        return parser

    def before_instantiate_classes(self) -> None:
        """Before any data is loaded: load what a fit starts from, refuse what ``predict`` cannot do.

        ``predict`` writes nothing but its output.
        """
        if self.subcommand == "fit" and (name := self._get(self.config, "pretrained")):
            if self._get(self.config, "ckpt_path"):
                say(f"--ckpt_path goes on with a run: --pretrained {name}, meant for new runs, is ignored")
            else:
                self._pretrained = load_pretrained(name)
        if self.subcommand == "predict":
            self.save_config_callback = None
            self._get(self.config, "trainer").logger = False
            if not self._get(self.config, "ckpt_path"):
                raise ValueError("predict needs --ckpt_path: without it the weights would be random")
            self._writer = PredictionWriter(
                self._get(self.config, "output"), self._get(self.config, "overwrite")
            )

    def before_fit(self) -> None:
        """Give the model the pretrained weights."""
        if self._pretrained is not None:
            say(str(load_matching(self.model, self._pretrained, self.datamodule)))
            self._pretrained = None

    def predict(self, **kwargs: Any) -> None:
        """Run ``Trainer.predict`` and write what it finds to ``--output``."""
        n = self._get(self.config, "n")
        if not 1 <= n <= self.model.num_items:
            raise ValueError(f"n must be 1 … {self.model.num_items}, the size of the catalogue, got {n}")
        self.model.predicts_n = n
        self.model.predicts_unseen_only = self._get(self.config, "exclude_history")
        self.trainer.callbacks.append(self._writer)  # type: ignore[attr-defined]
        self.trainer.predict(**_trusting_nothing(kwargs) | {"return_predictions": False})

    def fit(self, **kwargs: Any) -> None:
        """Run ``Trainer.fit``; if interrupted, say how to go on."""
        keep_checkpoints_together(self.trainer, kwargs.get("ckpt_path"))
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            for callback in self.trainer.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint):
                    callback.save_last = None  # Lightning (2.6) writes last.ckpt after a dry run too
        try:
            self.trainer.fit(**_trusting_nothing(kwargs))
        except SystemExit:  # Lightning's answer to Ctrl-C
            last = getattr(self.trainer.checkpoint_callback, "last_model_path", "")
            if last:
                say(f"interrupted; go on with: --ckpt_path {last}")
            raise

    def validate(self, **kwargs: Any) -> None:
        """Run ``Trainer.validate``."""
        self.trainer.validate(**_trusting_nothing(kwargs))

    def test(self, **kwargs: Any) -> None:
        """Run ``Trainer.test``."""
        self.trainer.test(**_trusting_nothing(kwargs))

    def after_fit(self) -> None:
        """Test the best checkpoint, or the last weights if none was kept."""
        if not self._get(self.config, "test_after_fit"):
            return
        checkpoint = self.trainer.checkpoint_callback
        best = getattr(checkpoint, "best_model_path", "")
        self.trainer.test(
            self.model, self.datamodule, ckpt_path=best or None, verbose=False, weights_only=True
        )


def _comparable(value: Any, field: str) -> Any:
    """Return the value of a field with class paths shortened to names: they may be written short or long."""
    if isinstance(value, Namespace):
        return {name: _comparable(entry, name) for name, entry in vars(value).items()}
    if isinstance(value, list):
        return [_comparable(entry, "") for entry in value]
    return value.rpartition(".")[2] if field.endswith("class_path") and isinstance(value, str) else value


def _trusting_nothing(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Open checkpoints without running code from them, unless the user asks for it; print results once."""
    given = {name: value for name, value in kwargs.items() if value is not None}
    defaults = {"weights_only": True} | ({"verbose": False} if "verbose" in kwargs else {})
    return kwargs | defaults | {name: value for name, value in given.items() if name != "verbose"}


@rank_zero_only
def say(message: str) -> None:
    """Tell the user something besides the results, which alone go to standard output."""
    print(f"croloss: {message}", file=sys.stderr)


def run_fit(arguments: Sequence[str]) -> tuple[Trainer, RetrievalModel]:
    """Run ``croloss fit`` with the arguments after ``fit``.

    Returns:
        The trainer, and the model after the last step.
    """
    cli = CROLossCLI(["fit", *arguments])
    return cli.trainer, cli.model
