"""The records of a text table: where they end, their fields, and quotes that are not what they seem.

A field that begins with a quote and ends with one before the next separator is quoted, as RFC 4180 has it;
any other quote, such as the inch mark in ``27" monitor``, is a character like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.data.table.content import Content

_CHUNK = 1 << 24
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_QUOTE, _NEWLINE, _RETURN = 34, 10, 13
#: Lines that one quoted field may run over at most, where the file holds other quotes besides.
_MANY_LINES = 10_000


class QuoteError(ValueError):
    """A quote can be read in two ways, or in none.

    Attributes:
        start: where the line begins.
        field: the number of the field that begins with the quote, from 0.
        problem: the rest of a sentence whose subject is the field.
    """

    def __init__(self, start: int, field: int, problem: str) -> None:
        super().__init__(problem)
        self.start = start
        self.field = field
        self.problem = problem


@dataclass(frozen=True)
class Grammar:
    """What separates fields, and what quotes mean.

    Attributes:
        separator: one byte.
        quoted: whether fields may be quoted.
    """

    separator: bytes
    quoted: bool = True

    @cached_property
    def _separator(self) -> bytes:
        return re.escape(self.separator)

    @cached_property
    def _one(self) -> bytes:
        """A pattern of a field that is in order."""
        plain = rb"[^%s\r\n]*" % self._separator
        if not self.quoted:
            return plain
        closed = rb'"[^"]*(?:""[^"]*)*"(?=%s|\r|\n|\Z)' % self._separator
        return rb'(?:%s|(?!")%s)' % (closed, plain)

    @cached_property
    def one(self) -> re.Pattern[bytes]:
        """A field that is in order."""
        return re.compile(self._one)

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """A record, with the end of its line."""
        return re.compile(rb"%s(?:%s%s)*(?:\r\n|\n|\r|\Z)" % (self._one, self._separator, self._one))

    @cached_property
    def quotes(self) -> re.Pattern[bytes]:
        """A quoted field within a line."""
        return re.compile(
            rb'(?:^|%s)"[^"\r\n]*(?:""[^"\r\n]*)*"(?=%s|\r|\n|\Z)' % ((self._separator,) * 2), re.MULTILINE
        )

    @cached_property
    def opened(self) -> re.Pattern[bytes]:
        """A line, without its end, whose last field opens a quote that it does not close."""
        return re.compile(rb'(?:%s%s)*"[^"]*(?:""[^"]*)*\Z' % (self._one, self._separator))

    @cached_property
    def closing(self) -> re.Pattern[bytes]:
        """The beginning of a line that closes the quoted field of the line before."""
        return re.compile(rb'[^"]*(?:""[^"]*)*"(?=%s|\Z)' % self._separator)

    def fields(self, record: bytes) -> list[bytes]:
        """Split a record; quotes that are no field's stay where they are, those of a field go."""
        fields = []
        position = 0
        while True:
            found = self.one.match(record, position)
            end = found.end() if found else _end(record, self.separator, position)
            text = record[position:end]
            if self.quoted and found and text.startswith(b'"'):
                text = text[1:-1].replace(b'""', b'"')
            fields.append(text)
            if end >= len(record):
                return fields
            position = end + 1

    def count(self, record: bytes) -> int:
        """Return the number of fields of a record."""
        if not self.quoted or b'"' not in record:
            return record.count(self.separator) + 1
        return len(self.fields(record))


def lines_of(content: Content, position: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield from a position on where each line begins, and the line without its end."""
    for match in _LINE.finditer(content, position):
        if match.start() == match.end():
            return  # the end of the content
        yield match.start(), match[0].rstrip(b"\r\n")


def records_of(content: Content, grammar: Grammar, position: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield where each record begins, and the record, of a content whose quotes are in order."""
    end = len(content)
    while position < end:
        found = grammar.record.match(content, position)
        assert found is not None, "quotes are in order"
        yield position, found[0].rstrip(b"\r\n")
        position = found.end()


def quotes_in(content: Content, grammar: Grammar, position: int) -> str:
    """Tell what quotes a content has from a position on: "none" that opens a field, "good" or "odd" ones.

    With good ones each quoted field ends in its line.
    """
    if content.find(b'"', position) < 0:
        return "none"
    answer = "none"
    while position < len(content):
        end = content.rfind(b"\n", position, position + _CHUNK) + 1
        if end <= position:  # a very long line
            end = content.find(b"\n", position + _CHUNK) + 1 or len(content)
        kind = _quotes_in_lines(np.frombuffer(content[position:end], np.uint8), grammar.separator[0])
        if kind == "odd":
            return kind
        answer = kind if kind == "good" else answer
        position = end
    return answer


def put_in_order(
    content: Content, grammar: Grammar, position: int, num_columns: int, comment: bytes, strict: bool
) -> bytes:
    """Return a content from a position on with its odd quotes quoted, and its comments made blank lines.

    Each line stays where it is.

    Args:
        content: the whole content.
        grammar: how fields are separated and quoted.
        position: where the first record begins.
        num_columns: number of fields that a record should have.
        comment: what a line begins with that is no record, or nothing.
        strict: whether a quote that begins a field must be that of a quoted one.

    Raises:
        QuoteError: naming the line.
    """
    parts: list[bytes] = []
    kept = position  # up to here it is in parts
    until = position  # up to here a quoted field runs over lines
    for start, line in lines_of(content, position):
        if start < until:
            continue
        if comment and line.startswith(comment):
            replacement = b""
        elif b'"' not in line or grammar.record.match(line):
            continue
        else:
            end = _end_of_field(content, grammar, start, line, num_columns, strict)
            if end is not None:
                until = end
                continue
            if strict:
                raise QuoteError(
                    start,
                    _odd_field(line, grammar),
                    "begins with a quote that does not end it: correct it, or set quotes to 'text' if quotes "
                    "are characters like any other",
                )
            replacement = _quoted(line, grammar)
        parts += [content[kept:start], replacement]
        kept = start + len(line)
    parts.append(content[kept:])
    return b"".join(parts)


def _end_of_field(
    content: Content, grammar: Grammar, start: int, line: bytes, num_columns: int, strict: bool
) -> int | None:
    """Return where the record of a line ends that opens a quote, None if the quote is no field's."""
    if not grammar.opened.match(line):
        return None
    physical = []
    for number, (begin, text) in enumerate(lines_of(content, start)):
        physical.append(text)
        rest = text
        if number:
            closed = grammar.closing.match(text)
            if closed is None:
                if number < _MANY_LINES or strict:
                    continue
                return None
            rest = b'""' + text[closed.end() :]
            if grammar.record.match(rest):
                return _accepted(content, grammar, start, begin, physical, num_columns, strict)
            if not grammar.opened.match(rest):
                return None
    return None


def _accepted(
    content: Content,
    grammar: Grammar,
    start: int,
    last: int,
    physical: list[bytes],
    num_columns: int,
    strict: bool,
) -> int | None:
    end = last + len(physical[-1])
    if strict:
        return end
    if all(len(_literal(line, grammar)) == num_columns for line in physical):
        if grammar.separator == b"\t" and not grammar.quotes.search(content):
            return None  # nothing else is quoted, as usual between tabs: each line is a row
        raise QuoteError(
            start,
            _odd_field(physical[0], grammar),
            f"begins a quoted text of {len(physical)} lines, each of which could be a row: set quotes to "
            "'fields' if it is one text, or to 'text' if quotes are characters like any other",
        )
    return end if grammar.count(b"\n".join(physical)) == num_columns else None


def _literal(line: bytes, grammar: Grammar) -> list[bytes]:
    """Split one line into its fields as they are written."""
    fields = []
    position = 0
    while True:
        found = grammar.one.match(line, position)
        end = found.end() if found else _end(line, grammar.separator, position)
        fields.append(line[position:end])
        if end >= len(line):
            return fields
        position = end + 1


def _odd_field(line: bytes, grammar: Grammar) -> int:
    """Return the number of the first field of a line that is not in order."""
    number = position = 0
    while found := grammar.one.match(line, position):
        number += 1
        position = found.end() + 1
    return number


def _quoted(line: bytes, grammar: Grammar) -> bytes:
    """Return a line in which each field that begins with a quote is quoted."""
    fields = [
        text if grammar.one.fullmatch(text) else b'"%s"' % text.replace(b'"', b'""')
        for text in _literal(line, grammar)
    ]
    return grammar.separator.join(fields)


def _quotes_in_lines(content: NDArray[np.uint8], separator: int) -> str:
    """Tell of whole lines what :func:`quotes_in` tells."""
    quotes = np.flatnonzero(content == _QUOTE)
    if not len(quotes):
        return "none"
    padded = np.concatenate([[_NEWLINE], content, [_NEWLINE]]).astype(np.uint8)
    before, after = padded[quotes], padded[quotes + 2]
    ends = (separator, _NEWLINE, _RETURN)
    if not np.isin(before, ends).any():
        return "none"
    if len(quotes) % 2:
        return "odd"
    opening, closing = np.isin(before[::2], (*ends, _QUOTE)), np.isin(after[1::2], (*ends, _QUOTE))
    newlines = np.flatnonzero((content == _NEWLINE) | (content == _RETURN))
    lines = np.searchsorted(newlines, quotes)
    within = lines[::2] == lines[1::2]
    return "good" if bool(opening.all() and closing.all() and within.all()) else "odd"


def _end(record: bytes, separator: bytes, position: int) -> int:
    end = record.find(separator, position)
    return len(record) if end < 0 else end
