"""What is wrong with YAML that cannot be read, or that hides a mistake: the line, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from lightning_croloss.common.plain_yaml import PlainYamlError, check_yaml

_LONGEST = 60
_FIELD = re.compile(r"\s*(?:- +)*(\w[\w.]*):( |$)")


class RefusedYAMLError(yaml.YAMLError):
    """YAML that could be read, but that cannot be meant so."""


def refuse_hidden_mistakes(text: str) -> None:
    """Refuse a field that is given twice, of which one would be lost, and aliases that unfold without end.

    Args:
        text: valid YAML.

    Raises:
        RefusedYAMLError: with the lines.
        PlainYamlError: it stands for too many values.
    """
    check_yaml(text)  # so that aliases of aliases, or brackets without end, are a mistake like any other
    if text.count(":") < 2:
        return
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:  # who reads it says so
        return
    if root is None:
        return
    for path, first, again in _twice(root):
        where = f" in {path}" if path else ""
        raise RefusedYAMLError(
            f"line {again.start_mark.line + 1} gives the field {again.value!r}{where} a second time, "
            f"after line {first.start_mark.line + 1}: keep one of them"
        )


def explained(text: str, error: yaml.YAMLError) -> str:
    """Say in one sentence, with the line, what makes ``text`` invalid YAML.

    Args:
        text: what was read.
        error: what a reader said of it.
    """
    if isinstance(error, (RefusedYAMLError, PlainYamlError)):
        return str(error)
    if isinstance(error, yaml.reader.ReaderError):
        line = text[: max(error.position, 0)].count("\n") + 1
        return f"line {line} holds an unprintable character: save the file as UTF-8 text"
    try:  # the reader in Python says more than the one in C
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as found:
        error = found
    except yaml.YAMLError:
        pass
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    return _explained(text.splitlines(), error)


def _explained(lines: list[str], error: yaml.MarkedYAMLError) -> str:
    problem, context = error.problem or "", error.context or ""
    mark = error.problem_mark or error.context_mark
    number = min(mark.line, max(len(lines) - 1, 0)) if mark else 0
    began = error.context_mark.line if error.context_mark else number
    line = lines[number] if lines else ""
    for at in dict.fromkeys((number, began, number - 1)):
        if 0 <= at < len(lines) and "\t" in lines[at][: len(lines[at]) - len(lines[at].lstrip())]:
            return f"line {at + 1} is indented by a tab: use spaces"
    if "single document" in context:
        return f"line {number + 1} begins a second document ('---'): keep one"
    if "quoted scalar" in context:
        return f"the quote that opens in line {began + 1} is not closed: {_cut(lines[began])}"
    if "flow sequence" in context or "flow mapping" in context or "flow node" in context:
        bracket = "[" if "sequence" in context else "{" if "mapping" in context else "[ or {"
        return (
            f"the bracket {bracket} of line {began + 1} is not closed, or a comma is missing: "
            f"{_cut(lines[min(began, len(lines) - 1)])}"
        )
    if "alias" in problem or "alias" in context:
        return f"line {number + 1}: text that begins with a '*' must stand in quotes: {_cut(line)}"
    if "tag" in problem or "tag" in context:
        return f"line {number + 1}: a word that begins with '!' is no value: put it in quotes: {_cut(line)}"
    if "cannot start any token" in problem or "percent" in problem:
        sign = line[mark.column] if mark and mark.column < len(line) else line[:1]
        return f"line {number + 1}: text that holds a {sign!r} here must stand in quotes: {_cut(line)}"
    if "unhashable" in problem or "acceptable" in problem:
        return f"line {number + 1}: the name of a field must be a word: {_cut(line)}"
    return _of_blocks(lines, number, began, problem)


def _of_blocks(lines: list[str], number: int, began: int, problem: str) -> str:
    """Explain what does not fit together in the lines: a colon, a dash, or the indentation."""
    line = lines[number] if lines else ""
    before = next((at for at in range(number - 1, -1, -1) if _content(lines[at])), None)
    if "mapping values are not allowed" in problem or "could not find expected ':'" in problem:
        for at in dict.fromkeys((before, began, number)):
            if at is not None and (advice := _without_colon(_content(lines[at]))):
                return f"line {at + 1}: {advice}"
        if len(re.findall(r": ", _content(line))) > 1:
            return f"line {number + 1} holds two colons: put the value in quotes: {_cut(line)}"
        if before is not None and _indent(line) > _indent(lines[before]):
            return (
                f"line {number + 1} is indented deeper than line {before + 1}, which has a value already: "
                f"{_cut(line)}"
            )
    for at in dict.fromkeys((number, before)):
        in_list = at is not None and _content(lines[at]).startswith("- ")
        if at is not None and not in_list and (advice := _without_colon(_content(lines[at]))):
            return f"line {at + 1}: {advice}"
    if _content(line).startswith("- ") or "'-'" in problem or "BlockEntry" in problem:
        return f"line {number + 1} begins a list ('- ') among fields: indent it below its field: {_cut(line)}"
    if before is not None and _content(lines[before]).startswith("- ") and _FIELD.match(line):
        return f"line {number + 1} is a field among the entries of a list ('- '): indent it: {_cut(line)}"
    return f"line {number + 1} is indented otherwise than the lines that it belongs to: {_cut(line)}"


def _without_colon(content: str) -> str:
    """Say what a line of a field that lacks its colon, or the space after it, should be."""
    content = content.removeprefix("- ").strip()
    if found := re.fullmatch(r"(\w+):([^\s:/].*)", content):
        return f"a space is missing after the colon: write '{found[1]}: {_cut(found[2])}'"
    if found := re.fullmatch(r"(\w+)\s*=\s*(.*)", content):
        return f"a field is written with a colon: write '{found[1]}: {_cut(found[2])}'"
    if found := re.fullmatch(r"(\w+) +([^:]+)", content):
        return f"a colon is missing: write '{found[1]}: {_cut(found[2])}'"
    if re.fullmatch(r"[A-Za-z_]\w*", content):
        return f"a colon is missing after '{content}'"
    return ""


def _content(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line).strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _cut(line: str) -> str:
    text = " ".join(line.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


def _twice(node: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that a mapping holds twice: where, and both its keys."""
    if isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            yield from _twice(entry, path)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if name in seen and name != "<<":
                yield path, seen[name], key
            seen.setdefault(name, key)
            yield from _twice(value, f"{path}.{name}" if path else name)


__all__ = ["RefusedYAMLError", "explained", "refuse_hidden_mistakes"]
