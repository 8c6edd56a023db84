"""Reading YAML that a stranger may have written, and keeping the user's own from running away.

An alias stands for all that its anchor holds: nine lines can say what no memory holds. So what a text stands
for is counted while it is read, and only then are values made of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from croloss_serving.common.plain_values import DEEPEST
from croloss_serving.common.regular_files import read_regular

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_LONGEST_NUMBER = 400  # characters; a number of thousands takes minutes to read
_FAILURES = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError)


class PlainYamlError(yaml.YAMLError, ValueError):
    """A text is not plain YAML: the message says where and why, in one sentence."""


class Limits(NamedTuple):
    """How much a text may say.

    Attributes:
        most_bytes: how large it may be.
        most_values: how many values it may stand for, those behind an alias counted each time.
    """

    most_bytes: int
    most_values: int


#: Of files that a stranger may have written, and of the user's own.
OF_STRANGERS, OF_USERS = Limits(2**20, 50_000), Limits(64 * 2**20, 500_000)


def read_yaml(path: Path, limits: Limits = OF_STRANGERS) -> Any:
    """Return the plain values that a YAML file holds.

    Raises:
        PlainYamlError: it is not plain YAML, or says too much.
        OSError: it cannot be read.
    """
    try:
        content = read_regular(path, limits.most_bytes)
    except ValueError as error:
        raise PlainYamlError(str(error)) from None
    return parse_yaml(content, limits)


def parse_yaml(content: bytes | str, limits: Limits = OF_STRANGERS) -> Any:
    """Return the plain values that YAML says.

    Keys must be text or whole numbers, each given once; the only tags are those that YAML finds by itself.

    Raises:
        PlainYamlError: it is not plain YAML, or says too much.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        check_yaml(text, limits, tags=False)
        return yaml.load(text, Loader=_PlainLoader)
    except PlainYamlError:
        raise
    except _FAILURES as error:
        raise PlainYamlError(" ".join(str(error).split())) from None


def dump_yaml(value: Any) -> str:
    """Return plain values as YAML, without aliases: what stands in two places is written twice."""
    text: str = yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def check_yaml(text: str, limits: Limits = OF_USERS, tags: bool = True) -> None:
    """Refuse YAML that stands for too many values or is nested too deeply; a fault of grammar is passed over.

    Args:
        text: the YAML.
        limits: how much it may say.
        tags: whether values may name their type, as in ``!!binary``.

    Raises:
        PlainYamlError: naming the line.
    """
    counter = _Counter(limits.most_values, tags)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            counter.take(event)
    except PlainYamlError:
        raise
    except yaml.YAMLError as error:
        if "nesting" in str(error):  # which libyaml finds before it tells of it
            raise PlainYamlError(f"it is nested more than {DEEPEST} levels deep") from None
        return  # whoever makes values of it says what is wrong


class _Counter:
    """Counts what the events of a text stand for."""

    def __init__(self, most: int, tags: bool) -> None:
        self._most = most
        self._tags = tags
        self._events = 0
        #: The lists and dictionaries that are open: the anchor, the number of values so far, the levels.
        self._open: list[list[Any]] = [[None, 0, 0]]
        self._anchored: dict[str, tuple[int, int]] = {}

    def take(self, event: yaml.Event) -> None:
        """Count an event."""
        self._events += 1
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _, _ in self._open):
                self._refuse(event, "an alias refers to what it stands in")
            self._add(event, *self._anchored.get(str(event.anchor), (1, 0)))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._check_tag(event)
            self._open.append([event.anchor, 1, 0])
            if len(self._open) - 1 > DEEPEST:
                self._refuse(event, f"it is nested more than {DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size, levels = self._open.pop()
            self._close(event, anchor, size, levels + 1)
        elif isinstance(event, yaml.ScalarEvent):
            self._check_tag(event)
            self._close(event, event.anchor, 1, 0)

    def _close(self, event: yaml.Event, anchor: str | None, size: int, levels: int) -> None:
        if anchor is not None:
            self._anchored[anchor] = size, levels
        self._add(event, size, levels)

    def _add(self, event: yaml.Event, size: int, levels: int) -> None:
        outer = self._open[-1]
        outer[1] += size
        outer[2] = max(outer[2], levels)
        if outer[1] > self._most or self._events > self._most:
            self._refuse(event, f"it stands for more than {self._most:,} values")
        if len(self._open) - 1 + levels > DEEPEST:
            self._refuse(event, f"it is nested more than {DEEPEST} levels deep")

    def _check_tag(self, event: Any) -> None:
        if not self._tags and event.tag not in (None, "!", f"{_TAG}str"):
            self._refuse(event, f"the tag {event.tag!r} is not allowed here")

    def _refuse(self, event: Any, fault: str) -> None:
        raise PlainYamlError(f"line {event.start_mark.line + 1}: {fault}")


class _PlainLoader(_LOADER):  # type: ignore[misc]
    """Makes values of text that :func:`check_yaml` has let pass."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a dictionary, unless a key is no text or comes twice."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}int"):
                raise PlainYamlError(f"line {key.start_mark.line + 1}: a key must be text or a whole number")
            name = self.construct_object(key)
            if name in seen:
                raise PlainYamlError(f"line {key.start_mark.line + 1}: the key {name!r} is given twice")
            seen.add(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found

    def construct_number(self, node: Any) -> Any:
        """Return a number, unless it is absurdly long."""
        if len(node.value) > _LONGEST_NUMBER:
            raise PlainYamlError(f"line {node.start_mark.line + 1}: a number is too long")
        of_kind = {"int": yaml.SafeLoader.construct_yaml_int, "float": yaml.SafeLoader.construct_yaml_float}
        return of_kind[node.tag.removeprefix(_TAG)](self, node)


class _PlainDumper(yaml.SafeDumper):
    """Writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Tell that nothing is written as an alias."""
        return True


for _kind in ("int", "float"):
    _PlainLoader.add_constructor(_TAG + _kind, _PlainLoader.construct_number)
