"""Config errors in one sentence: the field, what it got, what to do."""

from __future__ import annotations

import difflib
import errno
import inspect
import re
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import croloss_serving
from lightning_croloss.cli.config.class_fields import LIKE, SLIP, with_subclasses
from lightning_croloss.cli.config.sentences import MANY
from lightning_croloss.cli.lost_process import LostProcessError, explained_loss
from lightning_croloss.cli.memory import MemoryShortError, explained_memory
from lightning_croloss.cli.trainer_mistakes import named, raised_by_trainer
from lightning_croloss.common.system_errors import OF_FILES
from lightning_croloss.configurable import Configurable
from lightning_croloss.errors import (
    DataError,
    MissingExtraError,
    NonFiniteLossError,
    PretrainedError,
    suggest,
)

# Lines of the parser that tell how it searched, not what is wrong.
_SEARCH = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value type:|Given value:|Expected a <class 'NoneType'>"
    r"|Expected a path but|Problem with given class_path|Parser key \"[^\"]*\":$|$"
)
# What the parser says of each type that it tried.
_TRIED = re.compile(r"Does not validate|Expected an? |Not a valid|a dict with|Problem with|Parser key|Value ")
LOGGERS = (CSVLogger, TensorBoardLogger, WandbLogger)
OURS = (
    DataError,
    MissingExtraError,
    NonFiniteLossError,
    PretrainedError,
    MisconfigurationException,
    MemoryShortError,
    LostProcessError,
)

# Packages that Lightning's own classes need, and the extras that bring them.
EXTRA_OF = {"wandb": "wandb", "tensorboard": "tensorboard"}

# The types that a value was checked against.
_BASE = re.compile(r"[\w.]+\.(\w+)")

# A class that does not exist, by its short name or by its path.
_UNKNOWN_CLASS = re.compile(
    r"(?:Expected a dot import path string: |module '[\w.]+' has no attribute ')(\w+)(?:'|$)"
)

# The values that a field may have.
_CHOICES = re.compile(r"Expected a typing\.Literal\[(.*)\]")

# What the parser says of types, if nothing else is known of a mistake.
_OF_THE_PARSER = re.compile(
    r"implicit class_path|unhashable|not supported between|collections\.abc|is abstract|NoneType|typing\."
    r"|Subclass types|object is not|__init__\(\)|<class '|Expected an? |Not a valid subclass|has no attribute"
)

#: The folders of our packages: an error raised in one of them is meant for the user.
PACKAGES = (Path(__file__).parents[1], Path(croloss_serving.__file__).parent)
_OPTIMIZERS = Path(inspect.getfile(Optimizer)).parent
#: By which words the optimizers of torch call their arguments.
_ARGUMENTS = {
    "learning rate": "lr",
    "beta parameter": "betas",
    "epsilon": "eps",
    "weight_decay": "weight_decay",
    "momentum": "momentum",
}
SECTIONS = ("data", "model", "trainer")
OPTIONS = (
    "config",
    "ckpt_path",
    "seed_everything",
    "test_after_fit",
    "metrics_per_user",
    "overwrite",
    "weights_only",
    "print_config",
)
FOREIGN = (Callback, Optimizer, LRScheduler)  # with fields of their own that are seldom meant


def one_sentence(message: str) -> str:
    """Reduce a parser's nested error to its deepest cause, with the path of the field before it.

    Args:
        message: what jsonargparse reports, about one line for each type that it tried.
    """
    if message.startswith("Problems parsing config:"):
        problem = " ".join(message.partition(":")[2].replace('in "<unicode string>", ', "at ").split())
        return f"a config file is not valid YAML: {problem}"
    if message.startswith("Unexpected config:"):
        return "a config file is empty, or does not consist of fields such as 'trainer:' and 'model:'"
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    fields = [found for line in lines for found in re.findall(r'Parser key "([^"]*)"', line)]
    causes = [line for line in lines if not _SEARCH.match(line)]
    tried = next((line for line in reversed(lines) if line.startswith("Subtypes:")), "")
    bases = set(_BASE.findall(tried))
    given = next((line.partition(":")[2].strip() for line in lines if line.startswith("Given value:")), "")
    if "class_path" in given or given[:1].isupper():
        # a wrong class explains more than the types that it is not
        causes = [line for line in causes if _UNKNOWN_CLASS.search(line)] or causes
    if choices := [choice for line in causes for choice in _CHOICES.findall(line)]:
        names = dict.fromkeys(name.strip("' ") for choice in choices for name in choice.split(","))
        causes = [f"must be one of {', '.join(names)}; got {given!r}"]
    cause = _plain(causes[-1] if causes else message.strip(), given, bases)
    cause = re.sub(r'^Parser key "[^"]*": ', "", cause)
    if _OF_THE_PARSER.search(cause):
        cause = f"does not take the value {given[:60]!r}" if given else "does not take what was given"
    path = ".".join(dict.fromkeys(fields)) or "the config"
    return f"{path}: {cause}" if fields or cause.startswith("does not take") else cause


def root_cause(error: BaseException) -> BaseException:
    """Return the exception that explains ``error``: one of ours, or the original cause."""
    outermost = error
    while error.__cause__ is not None and not isinstance(error, OURS):
        error = error.__cause__
    if str(error).startswith("Expected a") and (told := _told_by_constructor(str(outermost))):
        return MisconfigurationException(told)
    return error


def _told_by_constructor(message: str) -> str:
    """Return what the constructor of a class said, which is only text once the parser tried other types."""
    for line in message.splitlines() if "Does not validate" in message else ():
        cause = line.strip()
        if cause.startswith("- ") and not _TRIED.match(cause := cause.removeprefix("- ")):
            return cause
    return ""


def explained(error: BaseException) -> BaseException:
    """Return what to tell of an error: the extra to install, the trainer's field, advice on memory."""
    if (short := explained_memory(error)) is not None:
        return short
    if (lost := explained_loss(error)) is not None:
        return lost
    if isinstance(error, OSError) and error.errno == errno.EIO and error.filename is None:
        return OSError(errno.EIO, f"{error.strerror}: the disk or network folder of one of the files fails")
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, MissingExtraError):
        for package, extra in EXTRA_OF.items():
            if package in str(error):
                return MissingExtraError(f"the package {package}", extra)
    if not isinstance(error, OURS) or isinstance(error, MisconfigurationException):
        if _raised_in(error, (_OPTIMIZERS,)) and _on_purpose(error):
            return MisconfigurationException(_of_optimizer(str(error)))
        return MisconfigurationException(named(error)) if raised_by_trainer(error) else error
    return error


def _on_purpose(error: BaseException) -> bool:
    """Tell a statement that raises from one that fails."""
    line = traceback.extract_tb(error.__traceback__)[-1].line or ""
    return isinstance(error, (ValueError, RuntimeError)) and line.startswith("raise ")


def _of_optimizer(message: str) -> str:
    """Return what an optimizer refuses, with the argument before it."""
    field = next((f".{name}" for words, name in _ARGUMENTS.items() if words in message), "")
    return f"optimizer{field}: {message}"


def meant_for_user(error: BaseException) -> bool:
    """Tell an error that is meant for the user from a failure inside the machinery."""
    if isinstance(error, OURS) or (isinstance(error, OSError) and _of_files(error)):
        return True
    if raised_by_trainer(error):
        return True
    if not isinstance(error, (ValueError, TypeError)):
        return False
    # an optimizer of torch, too, says which of its arguments is out of range
    return _raised_in(error, (*PACKAGES, _OPTIMIZERS) if isinstance(error, ValueError) else PACKAGES)


def _raised_in(error: BaseException, places: Iterable[Path]) -> bool:
    """Tell whether a statement in one of these folders raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(map(Path(frames[-1].filename).is_relative_to, places))


def _of_files(error: OSError) -> bool:
    """Tell a missing, existing or protected file, and what the system says of disks, from other failures."""
    kinds = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
    return isinstance(error, kinds) or error.errno in OF_FILES


def _plain(cause: str, given: str, bases: set[str]) -> str:
    if found := _UNKNOWN_CLASS.search(cause):
        names = {cls.__name__ for cls in _classes() if bases & {parent.__name__ for parent in cls.__mro__}}
        advice = suggest(found[1], names)
        return f"unknown class {found[1]!r}{advice if len(names) < MANY else _if_near(advice)}"
    if found := re.match(r"Expected a <class '([\w.]+)'>\.? ?(?:Got value: (.*))?", cause):
        got = found[2] or repr(given)
        # YAML makes a date of what looks like one
        quoted = "; put it in quotes" if found[1] == "str" and re.match(r"\d{4}-\d\d-\d\d", got) else ""
        return f"must be of type {found[1]}, got {got}{quoted}"
    if found := re.match(r"Option '([\w.]+)' is not accepted|.*Key '([\w.]+)' is not expected", cause):
        name = (found[1] or found[2]).removeprefix("init_args.").split(".")[0]
        return f"there is no field {name!r}{_nearest(name)}"
    if found := re.match(
        r"Subcommand '\w+' does not accept option '([\w.]+)'|unrecognized arguments: --([\w.]+)", cause
    ):
        return _no_such_option(found[1] or found[2])
    if found := re.match(r"unrecognized arguments: (\S+)", cause):
        is_config = found[1].endswith((".yaml", ".yml"))
        is_field = re.match(r"-{0,2}\w[\w.]*=|-[A-Za-z][\w.]*$", found[1])
        advice = f"did you mean --config {found[1]}?" if is_config else "fields are set by --name=value"
        if is_field and not is_config:
            advice = f"did you mean --{found[1].lstrip('-')}?"
        return f"unexpected argument {found[1]!r}; {advice}"
    if found := re.match(r"the following arguments are required: (.*)", cause):
        missing = [name.split(".")[-1] for name in found[1].split(", ")]
        options = " and ".join(f"--{name}" for name in missing)
        return f"no {' and '.join(missing)} given: name a config file with --config, or give {options}"
    return cause


def _no_such_option(option: str) -> str:
    section, *fields = option.split(".")
    if section in SECTIONS and fields:
        return f"{section}: there is no field {fields[0]!r}{_nearest(fields[0])}"
    if not fields and section in inspect.signature(Trainer).parameters:
        return f"there is no field {section!r}; did you mean 'trainer.{section}'?"
    return f"there is no field {section!r}{_if_near(suggest(section, (*SECTIONS, *OPTIONS)))}"


def _nearest(field: str) -> str:
    ours: list[type] = [Trainer, *(cls for cls in _classes(abstract=True) if not issubclass(cls, FOREIGN))]
    others = [cls for cls in _classes() if issubclass(cls, FOREIGN)]
    fields = [
        {name for cls in classes for name in inspect.signature(cls).parameters} | {"class_path", "init_args"}
        for classes in (ours, others)
    ]
    # foreign ones are seldom meant, unless it is a mere slip
    for known, likeness in ((fields[0], SLIP), (fields[1], SLIP), (fields[0], LIKE), (fields[1], LIKE)):
        # another class has the very field: that helps nobody
        if nearest := difflib.get_close_matches(field, known - {field}, n=1, cutoff=likeness):
            return f"; did you mean {nearest[0]!r}?"
    return ""


def _if_near(advice: str) -> str:
    return advice if "did you mean" in advice else ""


def _classes(abstract: bool = False) -> Iterator[type]:
    """Walk the classes that a config file can name, and on request their abstract bases."""
    yield from LOGGERS
    for base in (Configurable, *FOREIGN):
        for cls in with_subclasses(base):
            if cls is not base and (abstract or not inspect.isabstract(cls)):
                yield cls
