"""What ``croloss`` answers before torch is imported: help, versions, and words that are no command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.cli import main
from lightning_croloss.cli.commands import COMMANDS, SUBCOMMANDS
from lightning_croloss.cli.front_door import left_to_run
from lightning_croloss.cli.trainer_options import TRAINER_COMMANDS
from tests.cli.cases import environment, error_of

#: What takes long to import, or stands for it.
HEAVY = ["torch", "lightning", "jsonargparse", "numpy", "pandas", "polars", "pyarrow", "scipy"]
#: What is answered at once.
QUICK = [
    *([], ["--help"], ["-h"], ["help"], ["--version"], ["-V"], ["version"]),
    *(["fitt"], ["recomend"], ["--epochs=3"], ["run.yaml"]),
    *([name, "--help"] for name in COMMANDS),
    *(["help", name] for name in COMMANDS),
    *([name] for name in ("data", "export", "recommend", "zoo")),
    *(["zoo", "list"], ["zoo", "lst"], ["zoo", "list", "--help"], ["data", "inspct"]),
    *(["zoo", "show", "ml-100k/mnd"], ["zoo", "list", "--zoo=nowhere"]),
    *(
        ["zoo", "evaluate"],
        ["zoo", "list", "--al"],
        ["recommend", "--modl=x"],
        ["export", "--model=x", "--n=1"],
    ),
]


def test_nothing_heavy_is_imported_for_what_is_answered_at_once() -> None:
    code = (
        "import json, sys\nfrom lightning_croloss.cli import main\nfound = {}\n"
        f"for words in {QUICK!r}:\n"
        "    try:\n        main(words)\n        status = 0\n"
        "    except SystemExit as end:\n        status = end.code\n"
        f"    found[' '.join(words)] = status, sorted({set(HEAVY)!r} & set(sys.modules))\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == len(QUICK)
    assert {words: imported for words, (_, imported) in found.items() if imported} == {}
    wrong = {"fitt", "recomend", "--epochs=3", "run.yaml", "zoo lst", "data inspct", "data", "export"}
    wrong |= {
        "recommend",
        "zoo",
        "zoo evaluate",
        "zoo list --al",
        "recommend --modl=x",
        "export --model=x --n=1",
    }
    absent = {"zoo show ml-100k/mnd", "zoo list --zoo=nowhere"}
    statuses = {words: status for words, (status, _) in found.items() if status}
    assert statuses == {**dict.fromkeys(wrong, 2), **dict.fromkeys(absent, 1)}
    said = [line for line in done.stderr.splitlines() if line.startswith("croloss: error: ")]
    assert len(said) == len(statuses)
    assert any("'ml-100k/mnd'; did you mean 'ml-100k/mind'?" in line for line in said)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["help", "--help"]], ids=" ".join)
def test_the_overview_has_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    lines = capsys.readouterr().out.splitlines()
    for name, text in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, text] for line in lines), name
        assert text.endswith(".")


@st.composite
def slips(draw: st.DrawFn) -> tuple[str, str]:
    """A command, and the same with a letter twice, left out, or in the other case."""
    name = draw(st.sampled_from(sorted(set(COMMANDS) - {"fit"})))
    position = draw(st.integers(0, len(name) - 1))
    slip = draw(
        st.sampled_from(
            [
                name[:position] + name[position] + name[position:],
                name[:position] + name[position + 1 :],
                name[:position] + name[position].upper() + name[position + 1 :],
            ]
        )
    )
    return name, slip


@settings(max_examples=30)
@given(slips())
def test_a_slip_in_a_command(slip: tuple[str, str]) -> None:
    name, given_word = slip
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("lightning_croloss.cli.front_door.usage_error", said.append)
        left_to_run([given_word])
    assert said == [
        f"there is no command {given_word!r}; did you mean {name!r}? The commands: {', '.join(COMMANDS)}"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fitt"], "there is no command 'fitt'; did you mean 'fit'? The commands: fit, validate, test, "),
        (["train"], "there is no command 'train'; did you mean 'fit'?"),
        (["help", "fitt"], "there is no command 'fitt'; did you mean 'fit'?"),
        (["quux"], "there is no command 'quux'. The commands: "),
        ([""], "there is no command ''. The commands: "),
        (["a\x1b[2J"], r"there is no command 'a\x1b[2J'. The commands: "),
        (["my run.yaml"], "there is no command 'my run.yaml'; did you mean 'fit --config my run.yaml'?"),
        (
            ["--trainer.max_epochs=3"],
            "options stand after a command, as in croloss fit --trainer.max_epochs=3",
        ),
        (
            ["zoo"],
            "croloss zoo takes one of the words list, show, build, evaluate; croloss zoo --help explains",
        ),
        (
            ["zoo", "lst"],
            "there is no command 'zoo lst'; did you mean 'list'? croloss zoo takes one of the words",
        ),
        (["zoo", "x"], "there is no command 'zoo x'. croloss zoo takes one of the words list, show, build"),
        (["data", "INSPECT"], "there is no command 'data INSPECT'; did you mean 'inspect'?"),
        (["zoo", "list", "--zo", "x"], "unrecognized arguments: --zo x; did you mean '--zoo'?"),
        (
            ["zoo", "evaluate"],
            "croloss zoo evaluate needs name or --all: croloss zoo evaluate --help explains",
        ),
        (["export", "--model=x"], "croloss export needs --output: croloss export --help explains it"),
        (["export", "--output=x", "--modle=y"], "unrecognized arguments: --modle; did you mean '--model'?"),
        *(  # an option is written in full: 50 is no name of a column
            ([*command, option, "50"], f"unrecognized arguments: {option} 50; did you mean '{meant}'?")
            for command, option, meant in (
                (["recommend", "--model=x"], "--histor", "--history"),
                (["recommend", "--model=x"], "--item", "--item-column"),
                (["export", "--model=x", "--output=y"], "--mode", "--model"),
                (["data", "partition", "--interactions=x", "--output=y"], "--user-col", "--user-column"),
                (["gather", "--checkpoint=x", "--output=y"], "--over", "--overwrite"),
            )
        ),
        (["export", "--model=x", "--output"], "--output: a value is missing (expected one argument)"),
        *(
            ([*command, "--output="], "--output: must name what to write, got ''")
            for command in (
                ["export", "--model=x"],
                ["recommend", "--model=x"],
                ["data", "partition", "--interactions=x"],
                ["gather", "--checkpoint=x"],
                ["tune", "--config=x", "--n=5"],
            )
        ),
        (["recommend", "--model=x", "--n=many"], "--n: must be an integer, got 'many'"),
        (
            ["recommend", "--model=x", "--ragged=dorp"],
            "--ragged: must be one of error, drop; got 'dorp'; did you",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_are_no_command(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith(f"croloss: error: {said}")


def test_words_that_are_left_to_run() -> None:
    for name in TRAINER_COMMANDS:
        assert left_to_run([name, "--config=x"]) == [name, "--config=x"]
        for word in ("--help=all", "--help-all", "--help_all"):
            assert left_to_run([name, word]) == [name, "--help"]
    for words in (
        ["-c", "x.yaml", "fit"],
        ["--config=x.yaml", "fit"],
        ["recommend", "--model=x"],
        ["zoo", "-h"],
    ):
        assert left_to_run(words) == words
    assert left_to_run(["help", "zoo", "list"]) == ["zoo", "list", "--help"]
    for command, known in SUBCOMMANDS.items():
        for word in known:
            assert left_to_run([command, word, "x"]) == [command, word, "x"]


def test_a_config_before_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.yaml" in error_of(capsys, "--config", "missing.yaml", "fit")
