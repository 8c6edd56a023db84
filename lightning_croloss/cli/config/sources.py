"""Where a command's config comes from: files and options, in their order, as plain values."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from jsonargparse import get_loader

from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.config import yaml_mistakes
from lightning_croloss.cli.config.class_fields import nearest
from lightning_croloss.common.former_names import translated

Keys = tuple[str | int, ...]


class ConfigMistakeError(ValueError):
    """A mistake in a config, in one sentence.

    Args:
        problem: what is wrong and what to do.
        keys: the field or class that the sentence begins with, by the names that lead to it.
        at: what the line is told of, ``keys`` if it is None.
    """

    def __init__(self, problem: str, keys: Keys = (), at: Keys | None = None) -> None:
        super().__init__(f"{dotted(keys)}: {problem}" if keys else problem)
        self.at = keys if at is None else at


@dataclass
class Source:
    """A config file, or one option of the command line.

    Attributes:
        tree: its fields.
        file: the name of the file, empty for an option.
        node: what the file's YAML consists of.
        option: the option, empty for a file.
        bare: whether the option has no value.
    """

    tree: dict[Any, Any]
    file: str = ""
    node: Any = None
    option: str = ""
    bare: bool = False

    def where(self, keys: Keys) -> str:
        """Return the file and the line of a field, for the end of a sentence; nothing for an option."""
        if not self.file:
            return ""
        line = _line(self.node, keys)
        return f" ({self.file}, line {line})" if line else f" ({self.file})"


def dotted(keys: Keys) -> str:
    """Return how the keys that lead to a field are written: ``trainer.callbacks[1].init_args.n``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def read_sources(
    words: Sequence[str], flags: Collection[str], commands: Collection[str] = ()
) -> Iterator[Source]:
    """Yield what a command line sets, one file or option after the other.

    Args:
        words: the words after the program's name.
        flags: the options that take no value.
        commands: the names of the commands, one of which may stand among the words.

    Raises:
        ConfigMistakeError: a file cannot be read.
    """
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-") or word == "--":
            continue
        option, mark, value = word.partition("=")
        if option in ("--config", "-c") or (word.startswith("-c") and not word.startswith("--")):
            if not mark and word.startswith("-c") and len(word) > 2:
                value = word[2:]
            elif not mark:
                value = waiting.pop(0) if waiting else ""
            yield read_config(value)
            continue
        if option in flags or not word.startswith("--") or option.endswith(".help"):
            continue
        bare = not mark and (not waiting or waiting[0].startswith("--"))
        if not mark:
            value = "null" if bare else waiting.pop(0)
        tree: Any = plain_value(value)
        for name in reversed(option.removeprefix("--").split(".")):
            tree = {name: tree}
        yield Source(tree, option=option, bare=bare)


def read_config(value: str) -> Source:
    """Read the value of ``--config``: a file, or YAML itself.

    Raises:
        ConfigMistakeError: it cannot be read, or does not consist of fields.
    """
    path = expanded(value)
    try:
        if path.is_file():
            return _source(path.read_bytes(), str(path.name))
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise ConfigMistakeError(f"--config {value} cannot be read: {error.strerror}") from None
    if not value.strip():
        raise ConfigMistakeError("--config needs the name of a file: --config file.yaml")
    if "\n" in value or value.lstrip().startswith("{"):
        return _source(value.encode(), "the text of --config")
    if path.is_dir():
        inside = sorted(found.name for found in path.glob("*.y*ml"))
        example = f", such as {path / inside[0]}" if inside else ""
        raise ConfigMistakeError(f"--config {value} is a folder: name a file in it{example}")
    beside = [found.name for found in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    near = nearest(path.name, beside, 0.8)
    advice = f"; did you mean {path.parent / near}?" if near else ""
    raise ConfigMistakeError(f"there is no config file {value}{advice}")


def plain_value(text: str) -> Any:
    """Return what the parser makes of a value: YAML, or the text itself."""
    if not text.strip():
        return text
    try:
        value = get_loader("yaml")(text)
    except yaml.YAMLError:
        return text
    return translated(text if isinstance(value, str) else value)


def _source(content: bytes, name: str) -> Source:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigMistakeError(
            f"{name} is not UTF-8 text: see line {line}, and save the file in the encoding UTF-8"
        ) from None
    try:
        yaml_mistakes.refuse_hidden_mistakes(text)
        tree = get_loader("yaml")(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise ConfigMistakeError(f"{name} nests its values too deeply") from None
        said = yaml_mistakes.explained(text, error)
        raise ConfigMistakeError(f"{name} is not valid YAML: {said}") from None
    sections = "it must consist of fields such as 'data:', 'model:' and 'trainer:'"
    if tree is None or tree == {}:
        raise ConfigMistakeError(f"{name} is empty: {sections}")
    if isinstance(tree, list):
        raise ConfigMistakeError(f"{name} holds a list, whose entries begin with '- ': {sections}")
    if not isinstance(tree, dict):
        raise ConfigMistakeError(f"{name} holds one value: {sections}")
    return Source(translated(tree), name, node)


def _line(node: Any, keys: Keys) -> int | None:
    """Return the line of a field, or of the nearest that holds it."""
    found = None
    for key in keys:
        if isinstance(key, int) and isinstance(node, yaml.SequenceNode) and key < len(node.value):
            node = node.value[key]
            found = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if isinstance(name, yaml.ScalarNode) and name.value.rstrip("+") == str(key):
                    found, node = name.start_mark.line + 1, value
                    break
    return found


__all__ = ["ConfigMistakeError", "Keys", "Source", "dotted", "plain_value", "read_config", "read_sources"]
