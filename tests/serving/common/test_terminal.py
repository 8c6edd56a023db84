"""No character of a file commands a terminal."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from croloss_serving import Recommendations, UserRecommendations
from croloss_serving.common.terminal import printable, printable_json
from croloss_serving.errors import DataError, PretrainedError

#: Of format characters those that are seen (marks of Arabic, Syriac and Kaithi numbers) or needed (joiners).
HARMLESS = {0x200C, 0x200D, *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}


def test_every_character_that_is_not_seen_is_written_out():
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in HARMLESS:
            assert printable(chr(code)).isascii(), hex(code)
            assert printable(chr(code)).isprintable(), hex(code)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("safe\rEVIL", r"safe\rEVIL"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202egnp.exe\u202c", r"\u202egnp.exe\u202c"),
        ("\x9b31m", r"\x9b31m"),
        ("half \ud83d", r"half \ud83d"),
        ("tag \U000e0041", r"tag \U000e0041"),
    ],
)
def test_what_is_written(text, written):
    assert printable(text) == written
    assert printable(f"Ünï {text}") == f"Ünï {written}"


def test_what_stays():
    for text in ("plain", "Ünïcode", "日本語", "שלום", "می‌خواهم", "👩‍🚀", "a\\b", ""):  # joiners among them
        assert printable(text) == text
        assert printable_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)
    assert printable("a\n\x1bb", kept="\n") == "a\n\\x1bb"


@given(st.text(alphabet=st.characters(categories=("Cc", "Cf", "Cs", "Zl", "L"))))
def test_json_holds_the_same_values(text):
    line = printable_json(json.dumps({text: [text]}, ensure_ascii=False, indent=1))
    assert json.loads(line) == {text: [text]}
    assert printable(line, kept="\n") == line


def test_a_printed_list_of_items():
    user = UserRecommendations(["\x1b[31mred", 5], ["a\rb", "\u202eevil"], [1.0, 0.5], 0, False)
    found = str(Recommendations([user]))
    assert printable(found, kept="\n") == found
    assert [line.split()[1:] for line in found.splitlines()[1:]] == [
        [r"\x1b[31mred", r"a\rb"],
        ["5", r"\u202eevil"],
    ]


@pytest.mark.parametrize("cls", [DataError, PretrainedError])
def test_a_traceback_shows_errors_as_text(cls):
    found = str(cls("the file '\x1b[2J\r\u202e' has\n\ttwo lines"))
    assert found == "the file '\\x1b[2J\\r\\u202e' has\n\ttwo lines"
