"""Text of files on its way to a terminal, which some characters would command."""

from __future__ import annotations

import re

#: Control characters, marks that turn the direction of writing or are not seen, tags, halves of surrogates,
#: and ends of lines other than "\n". The joiners U+200C and U+200D are none of them: scripts and emoji need
#: them, and they change no other text.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f]"
)


def shortened(text: str, most: int = 200) -> str:
    """Return text of which the middle is left out if it is long: a file may hold a name of a million letters.

    Args:
        text: any text.
        most: how many characters it may have.
    """
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 3]} … {text[len(text) - end :]}"


def printable(text: str, kept: str = "") -> str:
    r"""Return text with every character that a terminal could obey written out, ``\x1b`` or ``\u202e``.

    Such are escape sequences, a carriage return that hides the line before it, and marks that turn the
    direction of writing. Letters and signs of every script stay as they are.

    Args:
        text: any text.
        kept: characters that stay: ``"\n"`` in a text of several lines.
    """

    def written(match: re.Match[str]) -> str:
        return match[0] if match[0] in kept else match[0].encode("unicode_escape").decode("ascii")

    return _UNSAFE.sub(written, text)


def printable_json(text: str) -> str:
    r"""Return JSON in which every character that a terminal could obey is written as ``\uXXXX``.

    A reader gets the same values. JSON itself escapes the characters below the space alone.
    """

    def written(match: re.Match[str]) -> str:
        if match[0] in "\n\r\t":  # between values
            return match[0]
        units = match[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))

    return _UNSAFE.sub(written, text)
