"""SECURITY.md names tests and options that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/.]+)`", PAGE))))
def test_the_tests_are_there(path):
    assert (ROOT / path).exists()


def test_the_command_is_there():
    assert "`make fuzz`" in PAGE
    assert re.search(
        r"^fuzz: .*\n.*pytest tests/fuzz --fuzz \$\(FUZZ\)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
