"""The header of a text table: which line it is, and what separates its fields."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_croloss.data.table.content import Content
from lightning_croloss.data.table.records import lines_of
from lightning_croloss.errors import DataError

#: What may separate the fields of a header that is not separated as its extension says.
GUESSES = (",", ";", "\t", "|")
#: What a line begins with that may be a comment without anybody saying so.
COMMENT = "#"


def find_header(
    path: Path, content: Content, comment: str | None, separator: str | None, usual: str
) -> tuple[int, bytes]:
    """Return where the header begins, and its line.

    Without an option, a line that begins with "#" is a comment unless it has as many fields as the first that
    does not.
    """
    begins = (comment or COMMENT).encode()
    last: tuple[int, bytes] | None = None
    for start, line in lines_of(content):
        if line.strip() and not line.startswith(begins):
            if last is not None and comment is None:
                split = separator_of(last[1].decode(errors="replace"), separator, usual).encode()
                if split in line and last[1].count(split) == line.count(split):
                    return last
            return start, line
        last = (start, line) if line.strip() else last
    if last is not None and comment is None:
        return last
    raise DataError(f"{path.name} has no header: it holds nothing but blank lines and comments")


def separator_of(header: str, given: str | None, usual: str) -> str:
    """Return what was given, else the only separator that the header has, else the usual one."""
    plain = re.sub(r'"[^"]*"', "", header)
    present = [separator for separator in GUESSES if separator in plain]
    return given or (present[0] if len(present) == 1 else usual)
