"""The commands of Lightning's trainer: ``croloss fit|validate|test|predict --config file.yaml``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

import lightning_croloss.public  # noqa: F401  (registers every class under its short name)
from croloss_serving.common.home_folder import expanded
from lightning_croloss.callbacks import PredictionWriter, RecallReport, UserMetricsWriter
from lightning_croloss.cli.config.overlays import refuse_twice, replaced_lists
from lightning_croloss.cli.config.overrides import chosen_arguments, idle_text, plain, refuse_from_data
from lightning_croloss.cli.config.saved import SaveResolvedConfig
from lightning_croloss.cli.folders import check_folders
from lightning_croloss.cli.going_on import telling_how_to_go_on, telling_how_to_test
from lightning_croloss.cli.help_format import arrange
from lightning_croloss.cli.interruption import current
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.own_inputs import refuse_inputs_of_run
from lightning_croloss.cli.parser import CROLossParser
from lightning_croloss.cli.progress import ClosingProgressBar
from lightning_croloss.cli.quiet import is_first_process
from lightning_croloss.cli.run_note import leave_note
from lightning_croloss.cli.save_when_interrupted import OwnSignals, SaveWhenInterrupted
from lightning_croloss.cli.seeds_option import ONE_RUN, SeedsOption, asks_for_seeds, refuse_in_config
from lightning_croloss.cli.started_processes import ending_together
from lightning_croloss.cli.trainer_mistakes import (
    check_share_of_test,
    check_trainer_section,
    construction,
    training,
)
from lightning_croloss.cli.trainer_options import TRAINER_COMMANDS, help_of
from lightning_croloss.cli.trust import trusted_by_user
from lightning_croloss.cli.weights import find_weights, refuse_idle, telling_checkpoint
from lightning_croloss.common.files import output_file
from lightning_croloss.common.replaceable import refuse_existing
from lightning_croloss.configurable import class_path
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.models import RetrievalModel
from lightning_croloss.pretrained import load_for_evaluation, load_matching, load_pretrained
from lightning_croloss.sharding.deferred import deferred_tables
from lightning_croloss.training.averaged_checkpoint import AveragedCheckpoint, averages_of
from lightning_croloss.training.best_checkpoint import best_checkpoint
from lightning_croloss.training.resume import keep_checkpoints_together
from lightning_croloss.training.run_versions import own_versions
from lightning_croloss.training.sharded.strategy import NAME, ShardedStrategy
from lightning_croloss.training.steps_taken import LIMITS, why_unmeasured, why_untrained


class CROLossCLI(LightningCLI):
    """LightningCLI for any ``RetrievalModel`` and ``RetrievalDataModule``, by class path or short name.

    The size of the catalogue is taken from the data; ``fit`` ends with a test of the best checkpoint.
    """

    _pretrained: RetrievalModel | None = None

    def __init__(self, args: ArgsType = None, run: bool = True) -> None:
        with ExitStack() as self._outputs:  # what no other job may write until this one ends
            self._run_command(args, run)

    def _run_command(self, args: ArgsType, run: bool) -> None:
        self._asked = _command_of(sys.argv[1:] if args is None else args)
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
                "description": "Train, validate and test retrieval models on the Recall@N to be deployed.",
            },
            trainer_defaults={
                "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "croloss"}},
            },
            args=args,
            run=run,
            load_from_checkpoint_support=False,  # Configurable does it, for models made in Python too
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the commands, and which arguments of the trainer's methods are no options of theirs."""
        commands = LightningCLI.subcommands()
        commands["predict"].add("return_predictions")  # they are written instead
        return commands

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the model know its data."""
        parser.link_arguments("data.num_items", "model.init_args.num_items", apply_on="instantiate")
        for source, target in (
            ("num_users", "num_users"),
            ("item_feature_specs", "item_features"),
            ("user_feature_specs", "user_features"),
            ("event_feature_specs", "event_features"),
        ):  # for the models that take them
            parser.link_arguments(f"data.{source}", f"model.init_args.{target}", apply_on="instantiate")
        # for every command, so that the others can read the config that a fit keeps
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help=help_of("test_after_fit"),
        )
        parser.add_argument("--pretrained", type=str | None, help=help_of("pretrained"))
        parser.add_argument("--metrics_per_user", type=str | None, help=help_of("metrics_per_user"))
        parser.add_argument("--overwrite", type=bool, default=False, help=help_of("overwrite"))
        parser.add_argument("--allow_classes", type=str | list[str] | None, help=help_of("allow_classes"))
        parser.add_argument(
            "--tune", type=dict | None, help="What croloss tune searches over; of no effect here."
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments, and keep apart what the user gave of it."""
        super().parse_arguments(parser, args)
        command = self.config.get("subcommand")
        if not command:
            return
        refuse_in_config(self.config[command])
        self._leave_out_tune(self.config[command])
        seed = self.config[command].get("seed_everything")
        if type(seed) is int and not 0 <= seed < 2**32:
            raise ValueError(f"seed_everything must be 0 … {2**32 - 1}, got {seed}")
        # the only default that options of its own may override in part
        logger = self._default_logger = self._parser(command).get_defaults()["trainer.logger"]
        base = Namespace({command: Namespace(trainer=Namespace(logger=logger))})
        if isinstance(args, (dict, Namespace)):
            self._words: list[str] = []
            self._given = parser.parse_object(args, base, defaults=False)
        else:
            self._words = list(sys.argv[1:] if args is None else args)
            self._given = parser.parse_args(args, base, defaults=False)
            for line in replaced_lists(self._words, command):
                say(line)

    def _leave_out_tune(self, section: Namespace) -> None:
        """Take out what is no part of a run, and say whose it is."""
        if section.pop("tune", None) is not None:
            say("the section 'tune' is for croloss tune, which searches over it: without effect here")

    def _parse_ckpt_path(self) -> None:
        """Find the weights that the command needs; their model replaces the config's, but never silently."""
        command = self.config.get("subcommand")
        if not command:
            return
        section, given = self.config[command], plain(self._given[command])
        refuse_from_data(given.get("model") or {})
        refuse_idle(command, section, self._words)
        weights = find_weights(command, section, given, self._words)
        self._pretrained = weights.model
        if weights.described is not None:
            self._take_hyperparameters(command, weights.described, given.get("model") or {}, weights.source)

    def _take_hyperparameters(
        self, command: str, described: dict[str, Any], given: dict[str, Any], source: str
    ) -> None:
        """Let the model beside the weights replace the config's, except for what the user gave."""
        trusted = trusted_by_user(self.config[command].get("allow_classes"), imported=True)
        used, idle = chosen_arguments(
            given, described, source, command == "fit", lambda part: trusted.build(part, source)
        )
        if idle:
            say(idle_text(idle, source))
        if command == "predict" and "ns" in used:
            say("model.ns has no effect on predict: --n is the number of items that it writes")
        model = {"class_path": described["class_path"], "dict_kwargs": described["init_args"] | used}
        others = self.config.clone()
        others[command]["model"] = None  # else what only the config says of a part would stay
        try:
            self.config = self.parser.parse_object({command: {"model": model}}, others)
        except SystemExit:
            say(f"the model of {source} cannot be built from its hyperparameters")
            raise

    def instantiate_classes(self) -> None:
        """Build data, model and trainer; the tables of a model only in its processes, if these share them."""
        strategy = (self._get(self.config, "trainer") or {}).get("strategy") if self.subcommand else None
        path = strategy if isinstance(strategy, str) else getattr(strategy, "class_path", "")
        deferred = path in (NAME, class_path(ShardedStrategy)) and self._pretrained is None
        with deferred_tables() if deferred else nullcontext():
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what the user has not given: a report, and a progress bar that writes rarely into files."""
        config = self._get(self.config_init, "trainer")
        callbacks = config.get("callbacks") or []
        config["callbacks"] = callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
        refuse_twice(callbacks)
        if not any(isinstance(callback, RecallReport) for callback in callbacks):
            callbacks.append(RecallReport())
        wanted = config.get("enable_progress_bar") is not False and not config.get("barebones")
        if wanted and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            rate = 1 if sys.stderr.isatty() else 200
            # first, so that it has closed its line when the report prints its table
            config["callbacks"] = [ClosingProgressBar(refresh_rate=rate), *callbacks]
        with construction():
            trainer: Trainer = super().instantiate_trainer(**kwargs)
        if current() is not None:  # a command, not a part of a program that has its own answer to signals
            trainer._signal_connector = OwnSignals(trainer)
        return trainer

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        """Add the command that is asked for, or all if that is not known: each takes a tenth of a second."""
        self._subcommand_parsers: dict[str, LightningArgumentParser] = {}
        commands = parser.add_subcommands()
        for name in [self._asked] if self._asked else TRAINER_COMMANDS:
            text = TRAINER_COMMANDS[name]
            made = self._prepare_subcommand_parser(Trainer, name, description=text, **kwargs.get(name, {}))
            self._subcommand_parsers[name] = made
            commands.add_subcommand(name, made, help=text)

    def _prepare_subcommand_parser(
        self, klass: type[Trainer], subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser: LightningArgumentParser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_argument("--seeds", action=SeedsOption, help=help_of("seeds"))
        if subcommand in ("validate", "test"):
            parser.set_defaults(verbose=False)  # the report prints the results
        if subcommand == "predict":
            parser.add_argument("--output", type=str, default="predictions.parquet")
            parser.add_argument("--n", type=int, default=100)
            parser.add_argument("--exclude_history", type=bool | None, default=None)
        for action in parser._actions:
            if action.dest != "print_config":  # which has flags besides
                action.help = help_of(action.dest, subcommand) or action.help
        arrange(parser)
        return parser

    def before_instantiate_classes(self) -> None:
        """Before any data is loaded: load what a fit starts from, refuse what ``predict`` cannot do.

        ``predict`` writes nothing but its output.
        """
        trainer = self._get(self.config, "trainer")
        if isinstance(trainer.get("callbacks"), Namespace):
            trainer["callbacks"] = [trainer["callbacks"]]  # its errors are then its own, not those of a list
        check_trainer_section(trainer)
        if self.subcommand in LIMITS and (why := why_unmeasured(self.subcommand, trainer)) is not None:
            raise ValueError(f"{self.subcommand} would do nothing, since {why}: leave it out")
        if trainer.get("barebones") and trainer.get("logger") == self._default_logger:
            trainer["logger"] = None  # which it cannot have, and nobody has asked for
        name = self._get(self.config, "pretrained")
        if self.subcommand == "fit" and name and not self._get(self.config, "ckpt_path"):
            allow = self._get(self.config, "allow_classes")
            self._pretrained = load_pretrained(name, allow=trusted_by_user(allow, imported=True))
        self._user_metrics: list[Callback] = []
        output, overwrite = (self._get(self.config, name) for name in ("metrics_per_user", "overwrite"))
        if self.subcommand != "predict" and output is not None:
            if self.subcommand == "fit" and not self._get(self.config, "test_after_fit"):
                raise ValueError(
                    "metrics_per_user is of the test that ends a fit: set test_after_fit to true"
                )
            if self.subcommand == "fit" and (why := why_unmeasured("test", trainer)) is not None:
                raise ValueError(f"metrics_per_user is of the test that ends a fit: {why}")
            _refuse_file(output, overwrite, "--metrics_per_user")
            self._refuse_inputs(output, "--metrics_per_user")
            try:
                self._user_metrics = [UserMetricsWriter(output, overwrite)]
            except ValueError as error:
                raise ValueError(f"{error} (metrics_per_user)") from None
        if self.subcommand == "predict":
            self.save_config_callback = None
            self._get(self.config, "trainer").logger = False
            output = self._get(self.config, "output")
            _refuse_file(output, overwrite, "--output")
            self._refuse_inputs(output, "--output")
            self._writer = PredictionWriter(output, overwrite)
            if is_first_process():  # another one is about to be told that predict needs one alone
                self._outputs.enter_context(output_file(expanded(output), overwrite, "--output"))

    def _refuse_inputs(self, output: str, option: str) -> None:
        """Refuse to replace what the command reads."""
        section = plain(self.config[self.subcommand])
        files = [*(self.config.get("config") or ()), *(section.get("config") or ())]
        refuse_inputs_of_run([expanded(output)], section | {"config": files}, option)

    def before_fit(self) -> None:
        """Give the model the pretrained weights."""
        if self._pretrained is not None:
            say(str(load_matching(self.model, self._pretrained, self.datamodule)))
            self.model.metadata.started_from = self._get(self.config, "pretrained")
            self._pretrained = None

    def _before_evaluation(self) -> None:
        """Give the model the weights of ``--pretrained``, if they are not a checkpoint's."""
        if self._pretrained is not None:
            name = f"--pretrained {self._get(self.config, 'pretrained')}"
            load_for_evaluation(self.model, self._pretrained, self.datamodule, name)
            say(f"the weights are those of {name}")
            self._pretrained = None

    before_validate = before_test = before_predict = _before_evaluation

    def predict(self, **kwargs: Any) -> None:
        """Run ``Trainer.predict`` and write what it finds to ``--output``."""
        n = self._get(self.config, "n")
        if not 1 <= n <= self.model.num_items:
            raise ValueError(f"n must be 1 … {self.model.num_items}, the size of the catalogue, got {n}")
        self.model.predicts_n = n
        self.model.predicts_unseen_only = self._get(self.config, "exclude_history")
        self.trainer.callbacks.append(self._writer)  # type: ignore[attr-defined]
        with ending_together(self.trainer.strategy.launcher), telling_checkpoint(self.trainer):
            self.trainer.predict(**_trusting_nothing(kwargs) | {"return_predictions": False})

    def fit(self, **kwargs: Any) -> None:
        """Run ``Trainer.fit``; if interrupted, say how to go on."""
        if self._get(self.config, "test_after_fit") and isinstance(self.datamodule, RetrievalDataModule):
            check_share_of_test(self.trainer, self.datamodule)
        keep_checkpoints_together(self.trainer, kwargs.get("ckpt_path"))
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            for callback in self.trainer.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint):
                    callback.save_last = None  # Lightning (2.6) writes last.ckpt after a dry run too
        elif self.trainer.checkpoint_callbacks:
            more: list[Callback] = [AveragedCheckpoint()] if averages_of(self.trainer) else []
            more += [SaveWhenInterrupted()] if current() is not None else []
            self.trainer.callbacks.extend(more)  # type: ignore[attr-defined]
        check_folders(self.trainer)
        telling = telling_how_to_go_on(self.trainer, kwargs.get("ckpt_path"))
        with (
            own_versions(self.trainer, kwargs.get("ckpt_path") is not None),
            telling,
            ending_together(self.trainer.strategy.launcher),
            telling_checkpoint(self.trainer),
            training(self.trainer),
        ):
            self.trainer.fit(**_trusting_nothing(kwargs))
        if (why := why_untrained(self.trainer)) is not None:
            pretrained = self._get(self.config, "pretrained")
            weights = "random weights" if pretrained is None else f"the weights of --pretrained {pretrained}"
            say(f"nothing was trained, since {why}: the model has {weights}")

    def validate(self, **kwargs: Any) -> None:
        """Run ``Trainer.validate``."""
        check_folders(self.trainer)
        self.trainer.callbacks.extend(self._user_metrics)  # type: ignore[attr-defined]
        versions = own_versions(self.trainer, kwargs.get("ckpt_path") is not None)
        with ending_together(self.trainer.strategy.launcher), versions, telling_checkpoint(self.trainer):
            self.trainer.validate(**_trusting_nothing(kwargs))

    def test(self, **kwargs: Any) -> None:
        """Run ``Trainer.test``."""
        check_folders(self.trainer)
        self.trainer.callbacks.extend(self._user_metrics)  # type: ignore[attr-defined]
        versions = own_versions(self.trainer, kwargs.get("ckpt_path") is not None)
        with ending_together(self.trainer.strategy.launcher), versions, telling_checkpoint(self.trainer):
            self.trainer.test(**_trusting_nothing(kwargs))

    def after_fit(self) -> None:
        """Test the best checkpoint, or the last weights if none was kept."""
        best = best_checkpoint(self.trainer)
        why = why_unmeasured("test", self._get(self.config, "trainer"))
        if why is not None or not self._get(self.config, "test_after_fit"):
            if why is not None and self._get(self.config, "test_after_fit"):
                say(f"nothing was tested, since {why}")
            if best and is_first_process():
                print(f"checkpoint: {best}")
            return
        self.trainer.callbacks.extend(self._user_metrics)  # type: ignore[attr-defined]
        with telling_how_to_test(self.trainer), ending_together(self.trainer.strategy.launcher):
            self.trainer.test(
                self.model, self.datamodule, ckpt_path=best or None, verbose=False, weights_only=True
            )
        leave_note(self.trainer)


def _trusting_nothing(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Open checkpoints without running code from them, unless the user asks for it."""
    return {"weights_only": True} | {name: value for name, value in kwargs.items() if value is not None}


def _refuse_file(name: str, overwrite: bool, option: str) -> None:
    """Refuse a file that is there, unless it may be replaced; what is no file the writers refuse."""
    path = expanded(name)
    if path.is_file():
        refuse_existing(path, overwrite, option, folder=False)


def _command_of(args: Any) -> str | None:
    """Return the trainer's command that arguments begin with, as words or as a dictionary, if they do."""
    first = args[:1] if isinstance(args, (list, tuple)) else [args.get("subcommand")] if args else []
    return next((name for name in first if name in TRAINER_COMMANDS), None)


def run_fit(arguments: Sequence[str]) -> tuple[Trainer, RetrievalModel]:
    """Run ``croloss fit`` with the arguments after ``fit``.

    Returns:
        The trainer, and the model after the last step.

    Raises:
        ValueError: several runs are asked for.
    """
    if asks_for_seeds(["fit", *arguments]):
        raise ValueError(ONE_RUN)
    cli = CROLossCLI(["fit", *arguments])
    return cli.trainer, cli.model
