"""Quotes of a text table that are not what they seem.

A field that begins with a quote and ends with one before the next separator is quoted, as RFC 4180 has it;
any other quote, such as the inch mark in ``27" monitor``, is a character like any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.data.table.content import Content
from lightning_croloss.data.table.records import Grammar, lines_of

_CHUNK = 1 << 24
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
    if all(len(grammar.split(line)) == num_columns for line in physical):
        if grammar.separator == b"\t" and not grammar.quotes.search(content):
            return None  # nothing else is quoted, as usual between tabs: each line is a row
        raise QuoteError(
            start,
            _odd_field(physical[0], grammar),
            f"begins a quoted text of {len(physical)} lines, each of which could be a row: set quotes to "
            "'fields' if it is one text, or to 'text' if quotes are characters like any other",
        )
    return end if grammar.count(b"\n".join(physical)) == num_columns else None


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
        for text in grammar.split(line)
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
