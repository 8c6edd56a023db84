"""The help of the trainer's commands, and of the classes that a config names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from docstring_parser import parse

import lightning_croloss
from lightning_croloss import RetrievalDataModule, RetrievalModel
from lightning_croloss.cli import main
from lightning_croloss.cli.help_format import PlainHelp, in_words, without_markup
from lightning_croloss.cli.lightning_cli import CROLossCLI
from lightning_croloss.cli.parser import CROLossParser
from lightning_croloss.cli.trainer_help import trainer_help
from lightning_croloss.cli.trainer_options import DATA_MODULES, MODELS, TRAINER_COMMANDS, options_of
from lightning_croloss.data import Split
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.losses.importance import Importance
from lightning_croloss.negatives import Negatives
from lightning_croloss.schedules import Schedule

#: Words of Python's types that a user need not know, and marks of docstrings.
FOREIGN = re.compile(r"Union\[|Optional\[|Callable\[|Sequence\[|NoneType|``|:\w+:`|known subclasses")
#: Words that no sentence ends with.
DANGLING = ("a", "an", "and", "is", "of", "or", "the", "your")


class Reached(Exception):
    """The arguments would be parsed now."""


class Parsers(CROLossCLI):
    """The parsers of the trainer's commands alone."""

    def __init__(self, args: Any) -> None:
        with pytest.raises(Reached):
            super().__init__(args)

    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise Reached


@pytest.fixture(scope="module")
def parsers() -> dict[str, CROLossParser]:
    return dict(Parsers([])._subcommand_parsers)


def texts_of(parser: Any) -> dict[str, str]:
    """Return the help of each option, as it is shown."""
    formatter = PlainHelp("croloss")
    return {
        action.dest: formatter._get_help_string(action)
        for action in parser._actions
        if action.option_strings and action.help
    }


def is_whole(text: str) -> bool:
    """Tell whether a text ends as a sentence does, or with the notes on what a field takes."""
    bare = re.sub(r" \((required; )?[^()]*(\([^()]*\)[^()]*)*\)$", "", text).rstrip()
    return bare.endswith((".", ")")) and bare.rstrip(".)").rpartition(" ")[2] not in DANGLING


# ---------------------------------------------------------------------- the short help


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_the_short_help_says_the_truth(command: str, parsers: dict[str, CROLossParser]) -> None:
    options = {
        option.removeprefix("--")
        for action in parsers[command]._actions
        for option in action.option_strings
        if option.startswith("--") and not option.endswith(("help", "+"))
    }
    shown = [option.name for option in options_of(command)]
    assert len(shown) == len(set(shown))
    assert set(shown) <= options
    # of the trainer's many a few are shown; of all others none is left out but what the command refuses
    refused = set() if command == "fit" else {"test_after_fit"}
    refused |= {"metrics_per_user"} if command == "predict" else set()
    refused |= {"tune"}  # a section of configs, which is croloss tune's and idle here
    assert {name for name in options if not name.startswith("trainer")} - refused <= set(shown)
    defaults = parsers[command].get_defaults()
    for option in options_of(command):
        assert is_whole(option.help), option
        if option.default and option.name not in ("trainer.precision", "trainer.enable_progress_bar"):
            default = defaults[option.name]
            assert option.default.lower() in str(default).lower() or default is None, option


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_the_short_help_is_short_and_says_how_to_see_the_rest(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([command, "--help"], ["help", command], [command, "--config=none.yaml", "-h"]):
        main(words)
        assert capsys.readouterr().out == trainer_help(command) + "\n"
    lines = trainer_help(command).splitlines()
    assert len(lines) <= 90
    assert lines[0] == f"usage: croloss {command} --config FILE [--name=value ...]"
    begin = ("--config FILE", "--model NAME", "--data NAME", "--ckpt_path FILE", "--trainer.devices N")
    order = [line.strip().partition("  ")[0] for line in lines if line.strip().startswith(begin)]
    assert order == list(begin)
    assert f"croloss {command} --help=all" in lines[-5]


def test_the_short_help_names_our_models_and_data() -> None:
    public = [getattr(lightning_croloss, name) for name in lightning_croloss.__all__]
    classes = [value for value in public if inspect.isclass(value) and not inspect.isabstract(value)]
    for names, base in ((MODELS, RetrievalModel), (DATA_MODULES, RetrievalDataModule)):
        assert list(names) == sorted(cls.__name__ for cls in classes if issubclass(cls, base))


@pytest.mark.parametrize(
    ("given", "built"),
    [
        (["test", "--config=x"], ["test"]),
        ({"subcommand": "predict"}, ["predict"]),
        (["--config=x", "fit"], list(TRAINER_COMMANDS)),
        ({"fit": {}}, list(TRAINER_COMMANDS)),
    ],
    ids=["words", "python", "option first", "no command"],
)
def test_only_the_parser_that_is_asked_for_is_built(
    given: Any, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(built) > 1:
        monkeypatch.setattr(CROLossCLI, "_prepare_subcommand_parser", lambda *_, **__: CROLossParser())
    assert list(Parsers(given)._subcommand_parsers) == built


# ---------------------------------------------------------------------- the whole help


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_the_whole_help(command: str, parsers: dict[str, CROLossParser]) -> None:
    text = parsers[command].format_help()
    assert text.startswith(f"usage: croloss {command} --config FILE [--name=value ...]\n")
    assert not FOREIGN.search(text)
    assert text.index("--ckpt_path") < text.index("--trainer.accelerator")
    for title in re.findall(r"^(\w.*):$", text, re.MULTILINE):
        assert title.rpartition(" ")[2] not in DANGLING, title
    texts = texts_of(parsers[command])
    for option in options_of(command):
        if option.name != "print_config":
            assert texts[option.name].startswith(option.help), option.name


def test_the_whole_help_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--help=all"])
    assert ended.value.code == 0
    assert "--trainer.num_sanity_val_steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    "base",
    [RetrievalModel, RetrievalDataModule, RetrievalLoss, Importance, Negatives, Split, Schedule],
    ids=lambda base: base.__name__,
)
def test_the_help_of_a_field_is_its_whole_entry_in_the_docstring(base: type) -> None:
    waiting, classes = [base], []
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith("lightning_croloss.") and not inspect.isabstract(cls):
            classes.append(cls)
    assert classes
    for cls in classes:
        parser = CROLossParser()
        parser.add_class_arguments(cls, "it", fail_untyped=False)
        entries = {
            parameter.arg_name: " ".join((parameter.description or "").split())
            for parent in cls.__mro__[::-1]
            for parameter in parse(parent.__dict__.get("__doc__") or "").params
        }
        shown = {
            dest.removeprefix("it."): " ".join(text.split())
            for dest, text in texts_of(parser).items()
            if dest.startswith("it.") and not dest.endswith(".help")
        }
        assert shown.keys() >= inspect.signature(cls).parameters.keys() - {"kwargs"}
        for name, text in shown.items():
            assert text.startswith(without_markup(entries[name])), (cls, name)
            assert is_whole(text), (cls, name, text)
            assert not FOREIGN.search(text), (cls, name, text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.help=YouTubeDNN"], ["--model.embedding_dim", "(an integer; default: 64)"]),
        (["--model.help=YouTubeDNN", "--model.loss.help=CROLoss"], ["--model.loss.kernel", "psl_atan"]),
        (["--data.help=TableDataModule"], ["--data.user_column", "(required; text or a list of texts)"]),
        (["--trainer.callbacks.help=EarlyStopping"], ["--trainer.callbacks.patience"]),
    ],
)
def test_the_help_of_a_class(words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", *words])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("Help for --")
    assert not FOREIGN.search(text)
    for part in said:
        assert part in text


@pytest.mark.parametrize(
    ("typehint", "said"),
    [
        (int, "an integer"),
        (int | float | None, "a number or null"),
        (str | list[str] | None, "text, a list of texts or null"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Literal["a"] | Literal["a", "b"] | None, "a, b or null"),
        (Sequence[Mapping[str, Any]], "a list of mappings"),
        (Iterable[RetrievalLoss] | bool, "a list of these or true or false"),
        (dict[str, int], "a mapping"),
        (RetrievalLoss | None, "null"),
        (Path, "a path"),
        (Any, "anything"),
    ],
    ids=str,
)
def test_types_in_words(typehint: Any, said: str) -> None:
    assert in_words(typehint) == said


def test_markup_is_left_out() -> None:
    text = "``None`` is :class:`LeaveOneOut`, see :meth:`~package.module.Class.method` and :func:`package.f`."
    assert without_markup(text) == "null is LeaveOneOut, see method and package.f."
