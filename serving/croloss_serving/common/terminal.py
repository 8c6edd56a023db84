"""Text of files on its way to a terminal, which some characters would command."""

from __future__ import annotations

import re
import unicodedata

#: Joiners that scripts and emoji need: they change no other text.
_JOINERS = "\u200c\u200d"
#: Control characters, marks of direction, tags, halves of surrogates, and ends of lines other than "\n".
_UNSAFE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
_SUSPECT = re.compile(r"[^ -~]")


def printable(text: str, kept: str = "") -> str:
    r"""Return text with every character that a terminal could obey written out, ``\x1b`` or ``\u202e``.

    Such are escape sequences, a carriage return that hides the line before it, and marks that turn the
    direction of writing. Letters and signs of every script stay as they are.

    Args:
        text: any text.
        kept: characters that stay: ``"\n"`` in a text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text

    def written(match: re.Match[str]) -> str:
        letter = match[0]
        if letter in kept or letter in _JOINERS or unicodedata.category(letter) not in _UNSAFE_CATEGORIES:
            return letter
        return letter.encode("unicode_escape").decode("ascii")

    return _SUSPECT.sub(written, text)


def printable_json(text: str) -> str:
    r"""Return JSON in which every character that a terminal could obey is written as ``\uXXXX``.

    A reader gets the same values. JSON itself escapes the characters below the space alone.
    """
    if text.isascii() and "\x7f" not in text:
        return text

    def written(match: re.Match[str]) -> str:
        letter = match[0]
        if letter in "\n\r\t" or letter in _JOINERS:
            return letter
        if unicodedata.category(letter) not in _UNSAFE_CATEGORIES:
            return letter
        units = letter.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))

    return _SUSPECT.sub(written, text)
