"""The parsers of the command line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from croloss_serving.common.terminal import printable
from lightning_croloss.cli.config.diagnosis import find_mistake, refuse_overlooked
from lightning_croloss.cli.config.named_parts import with_classes, words_with_classes
from lightning_croloss.cli.config.sources import ConfigMistakeError
from lightning_croloss.cli.config.whole_numbers import whole_numbers_first
from lightning_croloss.cli.config.yaml_mistakes import explained, refuse_hidden_mistakes
from lightning_croloss.cli.errors import one_sentence
from lightning_croloss.cli.help_format import PlainHelp
from lightning_croloss.cli.plain_parser import TRACEBACK, single_dashed
from lightning_croloss.common.former_names import today, translated
from lightning_croloss.configurable import NAMED_BY

#: What is said of torch's schedulers that a config cannot describe.
NEEDS_FUNCTION = (
    "lr_scheduler: LambdaLR and MultiplicativeLR need lr_lambda, a function of Python, which a config cannot "
    "hold: choose another, such as SequentialLR with a LinearLR and then a CosineAnnealingLR"
)

#: Options of true or false that need no value: every other command has them as flags.
SWITCHES = ("--overwrite",)

#: YAML in which class paths of earlier releases are replaced by today's.
PARSER_MODE = "croloss"


#: The outermost parser that is reading a command line, and the words that it reads.
_reading: ContextVar[tuple[CROLossParser, list[str]] | None] = ContextVar("reading", default=None)


def _load(text: str) -> Any:
    refuse_hidden_mistakes(text)
    return with_classes(translated(get_loader("yaml")(text)))


set_loader(PARSER_MODE, _load, exceptions=(yaml.YAMLError,))


class CROLossParser(LightningArgumentParser):
    """A parser whose errors are one sentence, and that knows the class paths of earlier releases.

    Args:
        *args: arguments of ``LightningArgumentParser``.
        **kwargs: likewise.
    """

    #: The one section of config files that is read; every one if empty.
    section = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"parser_mode": PARSER_MODE, "formatter_class": PlainHelp, **kwargs})

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        """Add the arguments of a class; those that take whole numbers and shares keep them apart."""
        # not in add_argument, which jsonargparse compiles once more into a class that cannot be pickled
        added: list[str] = super().add_class_arguments(*args, **kwargs)
        whole_numbers_first(self)
        return added

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *others: Any, **kwargs: Any
    ) -> Namespace:
        """Parse arguments of the command line, None being those of the program."""
        words = words_with_classes(_with_values(sys.argv[1:] if args is None else args))
        given = [_of_today(entry) for entry in words]
        if _reading.get() is not None:  # a command's own parser, called by the whole's
            if "namespace" in kwargs and len(given) == 1 and given[0].endswith("=None"):
                # a null of an object within an object, which jsonargparse passes on as Python's text of it
                given = [given[0].removesuffix("None") + "null"]
            parsed: Namespace = super().parse_args(given, *others, **kwargs)
            return parsed
        token = _reading.set((self, given))
        try:
            if (name := single_dashed(given, self._known_options())) is not None:
                raise ConfigMistakeError(f"unexpected argument {name!r}; did you mean -{name}?")
            parsed = super().parse_args(given, *others, **kwargs)
            refuse_overlooked(parsed, self, given)
        except ConfigMistakeError as mistake:
            self.error(str(mistake), mistake)
        except Exception as error:
            # the parser stumbles over what it does not expect, as keys that are lists
            if find_mistake(self, given, self.section) is None:
                raise
            self.error(str(error), error)
        finally:
            _reading.reset(token)
        return parsed

    def _known_options(self) -> set[str]:
        """Return the options of this parser, and of its commands if it has some."""
        commands = getattr(self, "_subcommands_action", None)
        parsers = [self, *({} if commands is None else commands.choices).values()]
        return {option for parser in parsers for option in parser._option_string_actions}

    def parse_object(self, cfg_obj: Any, *args: Any, **kwargs: Any) -> Namespace:
        """Parse a config of plain values, such as the hyperparameters of a checkpoint."""
        plain = cfg_obj if isinstance(cfg_obj, Namespace) else translated(cfg_obj)
        parsed: Namespace = super().parse_object(plain, *args, **kwargs)
        return parsed

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """Return a config as text, in which classes have the names that files give them."""
        text = str(super().dump(*args, **kwargs))
        for package, named in NAMED_BY.items():
            text = text.replace(f"class_path: {package}.", f"class_path: {named}.")
        return text

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print the deepest cause of a config error and exit with status 2."""
        if os.environ.get(TRACEBACK) and ex is not None:
            traceback.print_exception(ex)
        self.exit(2, f"croloss: error: {printable(self._sentence(message, ex))}\n")

    def _sentence(self, message: str, ex: Exception | None) -> str:
        if isinstance(ex, ConfigMistakeError):
            return str(ex)
        if "lr_lambda" in message:
            return NEEDS_FUNCTION
        if (reading := _reading.get()) is not None:
            parser, words = reading
            if (found := find_mistake(parser, words, parser.section)) is not None:
                return found
        return one_sentence(message)


def _with_values(words: Sequence[str]) -> list[str]:
    """Return a command line in which an option of ``SWITCHES`` alone says true, as it does elsewhere."""
    found = list(words)
    for at, word in enumerate(words):
        if word in SWITCHES and (at + 1 == len(words) or words[at + 1].startswith("-")):
            found[at] = f"{word}=true"
    return found


def _of_today(argument: str) -> str:
    """Return an argument, ``--name=value`` or a part of it, with a former class path replaced by today's."""
    name, mark, value = argument.partition("=")
    return f"{name}={today(value)}" if mark else today(argument)


class SectionParser(CROLossParser):
    """A parser that takes one section of a config file, and ignores the others.

    Args:
        section: name of the section.
        **kwargs: arguments of :class:`CROLossParser`.
    """

    def __init__(self, *args: Any, section: str = "data", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Namespace:
        """Parse the section of a config file; a file without it, such as an overlay, sets nothing.

        Raises:
            ValueError: if the file is not YAML, or does not consist of sections.
        """
        parsed: Namespace = self.parse_string(self._section_of(Path(str(cfg_path))), *args, **kwargs)
        return parsed

    def _section_of(self, path: Path) -> str:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{path.name} is not UTF-8 text: save it in that encoding") from None
        # nodes instead of values: what is written 1e-3 or 2024-01-01 stays as it is for the real parser
        try:
            refuse_hidden_mistakes(text)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise ValueError(f"{path.name} is not valid YAML: {explained(text, error)}") from None
        if node is None:
            return "{}"
        if not isinstance(node, yaml.MappingNode):
            raise ValueError(f"{path.name} is not a config file: it must consist of sections such as 'data:'")
        node.value = [(key, value) for key, value in node.value if key.value == self.section]
        return str(yaml.serialize(node, Dumper=yaml.SafeDumper))
