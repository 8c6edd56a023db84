"""Every ``croloss`` command of the README and the docs is read by the parsers; the extras are pyproject's."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_croloss.cli import export, gather, zoo
from lightning_croloss.cli.data import inspect as data_command
from lightning_croloss.cli.data.partition_options import partition_parser
from lightning_croloss.cli.front_door import left_to_run
from lightning_croloss.cli.recommend.options import recommend_parser
from lightning_croloss.cli.seeds import ParsedCLI, seeds_of, without_seeds
from lightning_croloss.cli.seeds_option import OPTION, asks_for_seeds
from lightning_croloss.cli.tune.base import read_base
from lightning_croloss.cli.tune.options import parse_words
from lightning_croloss.cli.tune.table.options import table_base

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no reader of TOML")

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "zoo" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text()

#: What a page begins without: a config that the reader has, here that of the README.
MINE = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Yield each command of a block, and of running text, with its page."""
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"```(?:console|bash)\n(.*?)```", text, flags=re.DOTALL)
        lines = [
            line.removeprefix("$ ").partition("  #")[0].partition(" # ")[0]
            for block in blocks
            for line in block.splitlines()
        ]
        inline = [" ".join(code.split()) for code in re.findall(r"`(croloss [^`]*)`", text)]
        for line in (*lines, *inline):
            line = re.sub(r"^CROLOSS_TRACEBACK=1 ", "", line)
            # what only names a command, or leaves a part open, is no whole command
            if re.match(r"croloss \w+ .*-", line) and "…" not in line:
                yield page.name, line.strip()


COMMANDS = sorted(set(commands()))


@pytest.fixture
def a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which a reader tries the commands."""
    assert MINE is not None
    for name in ("configs", "zoo"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("my_shop.yaml", "mine.yaml"):
        (tmp_path / name).write_text(MINE[1])
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("a_clone")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_is_one_that_the_parsers_take(page: str, command: str) -> None:
    _, name, *words = shlex.split(command)
    if any(word.startswith("--help") for word in words):
        assert left_to_run([name, *words]) in (None, [name, "--help"])
        return
    prints = any(word == "--print_config" or ".help=" in word for word in words)
    try:
        if name in ("fit", "validate", "test", "predict"):
            given = [name, *words]
            if asks_for_seeds(given):
                text, given = without_seeds(given)
                assert len(seeds_of(text)) > 1
            ParsedCLI(given)
        elif name == "data" and words[0] == "partition":
            partition_parser().parse_args(words[1:])
        elif name == "data":
            data_command._parser().parse_args(words[1:])
        elif name == "zoo":
            zoo._parser().parse_args(words)
        elif name == "recommend":
            recommend_parser().parse_args(words)
        elif name == "tune":
            own, others = parse_words(words)
            if own.interactions is None:
                read_base(others)
            else:
                table_base(own.interactions, others)
        elif name == "gather":
            gather._parser().parse_args(words)
        else:
            assert name == "export"
            export._parser().parse_args(words)
    except SystemExit as left:
        if left.code or not prints:
            pytest.fail(f"{page}: {command}")


def test_there_are_commands() -> None:
    pages = {page for page, _ in COMMANDS}
    assert {"README.md", "training.md", "pretrained.md", "serving.md", "troubleshooting.md"} <= pages
    assert len(COMMANDS) > 20
    assert any(OPTION in command for _, command in COMMANDS)


def test_the_extras_are_those_of_the_project() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    versions = (ROOT / "docs" / "versions.md").read_text()
    assert set(re.findall(r"^\| `\[(\w+)\]` \|", versions, flags=re.MULTILINE)) == extras
    sentence = re.search(r"and extras the rest:(.*?)\)\),", README, flags=re.DOTALL)
    assert sentence is not None
    assert set(re.findall(r"`\[(\w+)\]`", sentence[1])) == extras - {"dev", "docs", "peers"}
