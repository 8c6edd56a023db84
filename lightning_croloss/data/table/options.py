"""ReadingOptions: how the text of a table is read, whichever table it is."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from lightning_croloss.common.text_choices import QUOTES, RAGGED


@dataclass(frozen=True)
class ReadingOptions:
    """How text files are read; Parquet says all this itself.

    Attributes:
        separator: what stands between two fields, one character; None is guessed from the header where that
            is certain, else goes by the extension.
        encoding: name of the encoding, such as "latin-1" or "utf-16"; None is UTF-8. A byte-order mark of
            UTF-8 wins.
        decimal: what stands before the decimals of a number, "." or ",".
        comment: what a line begins with that is not a row; None leaves out those lines beginning with "#"
            that have another number of fields than the header.
        ragged: what to do with rows of another number of fields than the header: "error", or "drop" to leave
            them out and count them.
        quotes: "fields" if a field may stand in quotes (as RFC 4180 has it), "text" if a quote is a character
            like any other, "auto" to see for each field.

    Raises:
        ValueError: an option is unusable.
    """

    separator: str | None = None
    encoding: str | None = None
    decimal: str = "."
    comment: str | None = None
    ragged: str = "error"
    quotes: str = "auto"

    def __post_init__(self) -> None:
        if self.separator == "\\t":  # as a shell hands it over
            object.__setattr__(self, "separator", "\t")
        separator = self.separator
        if separator is not None and (len(separator.encode()) != 1 or separator in '"\r\n'):
            raise ValueError(f"separator={separator!r} must be one character, and neither quote nor newline")
        if self.encoding is not None and not _is_text_encoding(self.encoding):
            raise ValueError(f"encoding={self.encoding!r} is unknown: write utf-16, latin-1 or cp1252, say")
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal={self.decimal!r} must be '.' or ','")
        if self.decimal == separator:
            raise ValueError(f"decimal and separator are both {separator!r}: give the separator of the file")
        if self.comment is not None and (not self.comment.strip() or set(self.comment) & set('"\r\n')):
            raise ValueError(f"comment={self.comment!r} must be the beginning of a line, such as '#'")
        for name, known in (("ragged", RAGGED), ("quotes", QUOTES)):
            if getattr(self, name) not in known:
                allowed = " or ".join(map(repr, known))
                raise ValueError(f"{name}={getattr(self, name)!r} must be {allowed}")


def _is_text_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False
