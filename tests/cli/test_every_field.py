"""Every field of every public class, broken in four ways: each mistake is told in a sentence that helps."""

from __future__ import annotations

import functools
import inspect
import json
import os
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from lightning_croloss.cli import main
from lightning_croloss.cli.config.class_fields import NOTHING, Field, fields_of, find_class
from lightning_croloss.cli.config.diagnosis import find_mistake
from lightning_croloss.cli.config.field_types import class_kinds, entry_hint, fits, takes_null
from lightning_croloss.cli.lightning_cli import CROLossCLI
from lightning_croloss.cli.parser import CROLossParser
from lightning_croloss.configurable import Configurable
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.data.splits import Split
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.losses.importance import Importance
from lightning_croloss.losses.kernels import Kernel
from lightning_croloss.models import RetrievalModel
from lightning_croloss.negatives import Negatives
from lightning_croloss.schedules import Schedule

#: Words of the parser and of Python, which say nothing to a user.
JARGON = re.compile(
    r"Traceback|implicit class_path|unhashable|not supported between|collections\.abc|is abstract|NoneType|"
    r"Parser key|Problem with given|Subclass types|object is not|__init__\(\)|Does not validate|typing\.|"
    r"<class '"
    r"|Expected an? |is not accepted|Not a valid subclass|import path|Namespace\("
)
#: Run each of them through the command line, which takes a quarter of an hour.
ALL = bool(os.environ.get("CROLOSS_EVERY_SENTENCE"))
SAMPLE = 12

DATA: dict[str, Any] = {"class_path": "TableDataModule", "init_args": {"interactions": "t.csv"}}
MODEL: dict[str, Any] = {"class_path": "YouTubeDNN", "init_args": {"embedding_dim": 8}}
LOSS: dict[str, Any] = {"class_path": "CROLoss", "init_args": {"temperature": 0.5}}
#: Where a class of each base stands: the keys that lead to it, and the class around it.
PLACES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (RetrievalModel, ("model",)),
    (RetrievalDataModule, ("data",)),
    (RetrievalLoss, ("model", "init_args", "loss")),
    (Importance, ("model", "init_args", "loss", "init_args", "importance")),
    (Kernel, ("model", "init_args", "loss", "init_args", "kernel")),
    (Negatives, ("model", "init_args", "negatives")),
    (Split, ("data", "init_args", "split")),
    (Schedule, ("trainer", "callbacks", "init_args", "n")),
)
WRONG: tuple[Any, ...] = ([["a b"]], {"a b": {"c": 1}}, "a b", 1.5, True)


class Broken(NamedTuple):
    """A config with one mistake.

    Attributes:
        name: class, field, and what is wrong.
        field: what the sentence must name.
        given: what the sentence must not suggest.
        config: the config.
    """

    name: str
    field: str
    given: str
    config: dict[str, Any]


def public_classes() -> list[tuple[type, tuple[str, ...]]]:
    """Return the classes of this package that a config can name, and where each stands."""
    found = {}
    waiting: list[type] = [Configurable]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            ours = cls.__module__.startswith("lightning_croloss.")
            if ours and not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
                where = next((keys for base, keys in PLACES if issubclass(cls, base)), None)
                if where is not None and fields_of(cls):
                    found[cls.__name__] = (cls, where)
    return [found[name] for name in sorted(found)]


def config_with(cls: type, keys: tuple[str, ...], part: dict[str, Any]) -> dict[str, Any]:
    """Return a config in which ``part`` describes a class."""
    config: dict[str, Any] = {
        "data": json.loads(json.dumps(DATA)),
        "model": json.loads(json.dumps(MODEL)),
        "trainer": {"callbacks": {"class_path": "CROLossCallback", "init_args": {"alpha": 1.0}}},
    }
    if "loss" in keys:
        config["model"]["init_args"]["loss"] = json.loads(json.dumps(LOSS))
    into = config
    for key in keys[:-1]:
        into = into[key]
    if cls.__name__ == "TableDataModule" and "interactions" not in part.get("init_args", {"interactions": 0}):
        part["init_args"]["interactions"] = "t.csv"
    into[keys[-1]] = part
    return config


def wrong_value(field: Field) -> Any:
    """Return a value that the field's type hint does not take, NOTHING if it takes every one."""
    if field.hint is NOTHING:
        return NOTHING
    for value in WRONG:
        if class_kinds(field.hint) or class_kinds(entry_hint(field.hint)):
            return [["a b"]]
        if not fits(field.hint, value):
            return value
    return NOTHING


def misspelled(name: str, fields: dict[str, Field]) -> str:
    """Return a name that is a slip for ``name``, and no field itself."""
    for slip in (name[:-1], name + name[-1], name + "s"):
        if len(slip) > 2 and slip not in fields:
            return slip
    return name + "_x"


def _part(cls: type, **init_args: Any) -> dict[str, Any]:
    return {"class_path": cls.__name__, "init_args": init_args}


def _broken(
    cls: type, keys: tuple[str, ...], name: str, what: str, field: str, given: str, described: dict[str, Any]
) -> Broken:
    return Broken(f"{cls.__name__}.{name}: {what}", field, given, config_with(cls, keys, described))


def broken() -> Iterator[Broken]:
    """Yield every mistake."""
    for cls, keys in public_classes():
        fields = fields_of(cls)
        for name, field in fields.items():
            part = functools.partial(_part, cls)
            made = functools.partial(_broken, cls, keys, name)
            value = wrong_value(field)
            if value is not NOTHING:
                yield made("wrong type", name, name, part(**{name: value}))
            if not takes_null(field.hint, field.default):
                yield made("null", name, name, part(**{name: None}))
            slip = misspelled(name, fields)
            yield made("misspelled", slip, slip, part(**{slip: 1}))
            beside = {**part(), name: 1}
            beside.pop("init_args")
            yield made("beside class_path", name, name, beside)
            if len(keys) > 1:
                config = config_with(cls, keys, part())
                around: Any = config
                for key in keys[:-1]:
                    around = around[key]
                taken = fields_of_around(config, keys)
                if name not in taken:
                    around[name] = 1
                    yield Broken(f"{cls.__name__}.{name}: one level too high", name, name, config)


def fields_of_around(config: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Field]:
    """Return the fields of the class around the one at ``keys``."""
    around: Any = config
    for key in keys[:-2]:
        around = around[key]
    cls = find_class(around["class_path"])
    return fields_of(cls) if cls is not None else {}


def faults(case: Broken, said: str | None) -> list[str]:
    """Return what is wrong with a sentence."""
    if said is None:
        return ["nothing is said"]
    found = []
    if case.field not in said:
        found.append("the field is not named")
    if jargon := JARGON.search(said):
        found.append(f"holds {jargon.group()!r}")
    if len(said) > 300 or "\n" in said:
        found.append(f"takes {len(said)} letters")
    if re.search(rf"did you mean '?{re.escape(case.given)}'?\?", said):
        found.append("suggests what was given")
    return [f"{case.name}: {fault}: {said}" for fault in found]


class _OnlyParser(CROLossCLI):
    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise _Parser(parser)


class _Parser(Exception):
    pass


@pytest.fixture(scope="module")
def parser() -> CROLossParser:
    with pytest.raises(_Parser) as caught:
        _OnlyParser(["fit"])
    found = caught.value.args[0]
    assert isinstance(found, CROLossParser)
    return found


CASES = list(broken())


def test_there_is_a_mistake_of_every_kind_for_every_class() -> None:
    kinds = {case.name.partition(": ")[2] for case in CASES}
    assert kinds == {"wrong type", "null", "misspelled", "beside class_path", "one level too high"}
    assert {case.name.partition(".")[0] for case in CASES} == {cls.__name__ for cls, _ in public_classes()}
    assert len(CASES) > 800
    assert len({case.name for case in CASES}) == len(CASES)


def test_each_mistake_has_a_sentence_that_helps(parser: CROLossParser) -> None:
    bad = []
    for case in CASES:
        bad += faults(case, find_mistake(parser, ["fit", f"--config={json.dumps(case.config)}"]))
    assert not bad, "\n".join(bad)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", CASES if ALL else random.Random(15).sample(CASES, SAMPLE), ids=lambda case: case.name
)
@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*was deprecated in v4.49")
def test_the_command_says_it(case: Broken, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps(case.config))
    with pytest.raises(SystemExit) as caught:
        main(["fit", f"--config={tmp_path / 'c.yaml'}"])
    assert caught.value.code != 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("croloss: error: ")]
    assert len(said) == 1
    assert not faults(case, said[0].removeprefix("croloss: error: "))


def test_the_whole_config_without_a_mistake_has_none(parser: CROLossParser) -> None:
    for cls, keys in public_classes():
        config = config_with(cls, keys, {"class_path": cls.__name__})
        if find_mistake(parser, ["fit", f"--config={json.dumps(config)}"]) is not None:
            needed = {name for name, field in fields_of(cls).items() if field.default is NOTHING}
            assert needed, cls
