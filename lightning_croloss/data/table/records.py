"""The records of a text table: where they end, and their fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lightning_croloss.data.table.content import Content

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")


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

    def split(self, line: bytes) -> list[bytes]:
        """Split one line into its fields as they are written, quotes included."""
        fields = []
        position = 0
        while True:
            found = self.one.match(line, position)
            end = found.end() if found else _end(line, self.separator, position)
            fields.append(line[position:end])
            if end >= len(line):
                return fields
            position = end + 1

    def fields(self, record: bytes) -> list[bytes]:
        """Return the fields of a record, those in quotes without them."""
        return [
            text[1:-1].replace(b'""', b'"')
            if self.quoted and text.startswith(b'"') and self.one.fullmatch(text)
            else text
            for text in self.split(record)
        ]

    def count(self, record: bytes) -> int:
        """Return the number of fields of a record."""
        if not self.quoted or b'"' not in record:
            return record.count(self.separator) + 1
        return len(self.split(record))


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


def _end(record: bytes, separator: bytes, position: int) -> int:
    end = record.find(separator, position)
    return len(record) if end < 0 else end
