"""A config of the user's own that would never end: one sentence, soon."""

import pytest

from croloss_serving.common.terminal import printable
from lightning_croloss.cli import main
from tests.fuzz.folders import soon
from tests.fuzz.test_configs import LAUGHS

CONFIG = """
data: {class_path: TableDataModule, init_args: {interactions: shop.csv}}
model: {class_path: YouTubeDNN}
"""
ENDLESS = {
    "aliases of aliases": (LAUGHS, "stands for more than"),
    "an alias to itself": ("trainer: &x {callbacks: [*x]}", "an alias refers to what it stands in"),
    "brackets": ("trainer: " + "[" * 5000 + "]" * 5000, "is nested more than"),
}


@pytest.mark.parametrize("command", [["fit"], ["data", "inspect"], ["zoo", "build", "--name", "a/b"]])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_config_without_end(tmp_path, capsys, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    text, fault = ENDLESS[name]
    (tmp_path / "endless.yaml").write_text(CONFIG + text)
    with soon(60), pytest.raises(SystemExit) as ended:
        main([*command, "--config", "endless.yaml"])
    assert ended.value.code in (1, 2)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("croloss: error: ")]
    assert len(said) == 1
    assert fault in said[0]


@pytest.mark.parametrize("command", [["fit"], ["data", "inspect"]])
def test_an_error_does_not_command_a_terminal(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.yaml").write_text(CONFIG.replace("shop.csv", '"\\e[2J\\u202e.csv"'), "utf-8")
    with pytest.raises(SystemExit):
        main([*command, "--config", "evil.yaml"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert printable(error) == error
    assert r"\x1b[2J\u202e.csv" in error
