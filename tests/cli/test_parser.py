"""The parsers: class paths of earlier releases are read wherever they stand, and one section alone."""

import json

import pytest

from lightning_croloss import (
    ComiRecDR,
    MixedNegatives,
    PopularityNegatives,
    RetrievalModel,
    UniformNegatives,
)
from lightning_croloss.cli.parser import TRACEBACK, CROLossParser, SectionParser
from lightning_croloss.configurable import to_config
from lightning_croloss.negatives import Negatives
from lightning_croloss.schedules import Schedule

FORMER = "lightning_croloss.negatives.uniform.UniformNegatives"
TODAY = "lightning_croloss.negatives.UniformNegatives"
MIXED = """\
negatives:
  class_path: lightning_croloss.negatives.mixed.MixedNegatives
  init_args:
    parts:
      - class_path: lightning_croloss.negatives.uniform.UniformNegatives
        init_args: {num_negatives: 7}
      - class_path: PopularityNegatives
"""


def parser():
    made = CROLossParser(exit_on_error=True)
    made.add_argument("--config", action="config")
    made.add_argument("--negatives", type=Negatives | None)
    return made


def built(arguments):
    made = parser()
    return made.instantiate_classes(made.parse_args(arguments)).negatives


def test_former_class_paths_in_a_config(tmp_path):
    (tmp_path / "run.yaml").write_text(MIXED)
    found = built([f"--config={tmp_path / 'run.yaml'}"])
    assert isinstance(found, MixedNegatives)
    assert [type(part) for part in found.parts] == [UniformNegatives, PopularityNegatives]
    assert found.parts[0].num_negatives == 7


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--negatives={FORMER}", "--negatives.num_negatives=9"],
        [f"--negatives.class_path={FORMER}", "--negatives.init_args.num_negatives=9"],
        ["--negatives", json.dumps({"class_path": FORMER, "init_args": {"num_negatives": 9}})],
    ],
    ids=["name", "class_path", "whole"],
)
def test_former_class_paths_in_an_override(arguments, tmp_path):
    (tmp_path / "run.yaml").write_text(MIXED)
    found = built([f"--config={tmp_path / 'run.yaml'}", *arguments])
    assert type(found) is UniformNegatives
    assert found.num_negatives == 9


GONE = "lightning_croloss.models.comirec.ComiRecDR"


@pytest.mark.parametrize(
    "arguments",
    [[f"--model={GONE}"], ["--model", GONE], [f"--model.class_path={GONE}"], ["--model.class_path", GONE]],
    ids=lambda arguments: " ".join(arguments).replace(GONE, "…"),
)
def test_an_override_may_name_a_module_that_is_gone(arguments):
    made = CROLossParser(exit_on_error=True)
    made.add_argument("--model", type=RetrievalModel)
    parsed = made.parse_args([*arguments, "--model.num_items=600"])
    assert type(made.instantiate_classes(parsed).model) is ComiRecDR


def test_former_class_paths_in_the_hyperparameters_of_a_checkpoint():
    made = parser()
    plain = {"negatives": {"class_path": FORMER, "init_args": {"num_negatives": 4}}}
    parsed = made.parse_object(plain)
    assert parsed.negatives.class_path in (TODAY, "lightning_croloss.UniformNegatives")
    assert made.instantiate_classes(parsed).negatives.num_negatives == 4
    assert plain["negatives"]["class_path"] == FORMER
    assert made.parse_object(parsed).negatives == parsed.negatives


def test_a_mistake_is_one_sentence(capsys, monkeypatch):
    monkeypatch.delenv(TRACEBACK, raising=False)
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["--negatives=UniformNegative"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "croloss: error: negatives: unknown class 'UniformNegative'; did you mean 'UniformNegatives'?\n"
    )


def test_a_traceback_on_request(capsys, monkeypatch):
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(SystemExit):
        parser().parse_args(["--negatives=UniformNegative"])
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert said.splitlines()[-1].startswith("croloss: error: ")


def section_parser():
    made = SectionParser(exit_on_error=False, section="data")
    made.add_argument("--config", action="config")
    made.add_argument("--data.name", type=str)
    made.add_argument("--data.when", type=str)
    return made


def read(path, text):
    path.write_text(text)
    return section_parser().parse_args([f"--config={path}"])


def test_one_section_is_read_and_the_others_are_left_aside(tmp_path):
    text = (
        "model: {class_path: nowhere.Nothing}\ndata:\n  name: '1e-3'\n  when: 2024-01-01\ntrainer: [broken]\n"
    )
    found = read(tmp_path / "run.yaml", text).data
    assert (found.name, found.when) == ("1e-3", "2024-01-01")


@pytest.mark.parametrize("text", ["", "# nothing\n", "model: 1\n"])
def test_a_file_without_the_section_sets_nothing(tmp_path, text):
    found = read(tmp_path / "run.yaml", text).data
    assert (found.name, found.when) == (None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [("data: [", r"run\.yaml is not valid YAML"), ("- data\n", r"run\.yaml is not a config")],
)
def test_a_file_that_is_not_a_config_is_named(tmp_path, text, said):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        section_parser().parse_path(tmp_path / "run.yaml")


@pytest.mark.parametrize("package", ["", "lightning_croloss.callbacks.", "lightning_croloss.schedules."])
def test_a_config_names_schedules_as_earlier_releases_do(package):
    made = CROLossParser(exit_on_error=True)
    made.add_argument("--schedule", type=Schedule)
    text = made.dump(
        made.parse_args([f"--schedule={package}Linear", "--schedule.start=2", "--schedule.end=1"])
    )
    assert "class_path: lightning_croloss.callbacks.Linear\n" in text
    again = made.instantiate_classes(made.parse_string(text)).schedule
    assert to_config(again)["class_path"] == "lightning_croloss.callbacks.Linear"
