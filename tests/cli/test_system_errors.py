"""What the system answers of files, told in one sentence by every command."""

from __future__ import annotations

import ast
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import lightning_croloss
from lightning_croloss import save_pretrained
from lightning_croloss.cli.tune.failures import is_of_the_machine
from lightning_croloss.common.space import telling_if_full
from lightning_croloss.common.system_errors import CANNOT_WRITE, OF_FILES, OF_THE_MACHINE
from lightning_croloss.errors import NotEnoughSpaceError
from tests.cli.cases import error_of
from tests.cli.small import FIT, NO_PLOT
from tests.data_for_tests import fit, small_model

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

EVENTS = "user_id,item_id\n" + "".join(
    f"{user},item {(user * 7 + at) % 40}\n" for user in range(60) for at in range(6)
)
COMMANDS = {
    "recommend": ["--model=model", "--histories=events.csv", "--n=9", "--output=out.jsonl"],
    "recommend parquet": ["--model=model", "--histories=events.csv", "--n=9", "--output=out.parquet"],
    "export": ["--model=model", "--output=out"],
    "predict": [*FIT[:5], "--pretrained=model", "--n=9", "--output=out.parquet"],
    "test": [*FIT[:5], "--pretrained=model", "--trainer.logger=false", "--metrics_per_user=out.jsonl"],
    "fit": [*FIT, "--trainer.logger=false", "--trainer.default_root_dir=out"],
    "data partition": ["--interactions=events.csv", "--output=out", "--partitions=2"],
}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes, as ``ulimit -f`` does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_may_not_grow(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polars", reason="needs the extra [tables]")
    if command == "export":
        pytest.importorskip("onnx", reason="needs the extra [export]")
    Path("events.csv").write_text(EVENTS)
    model = small_model(ns=(5,))
    fit(model, limit_train_batches=1)
    save_pretrained(model, "model")
    words = command.removesuffix(" parquet").split()
    with files_of_at_most(4000 if command == "test" else 700):  # which keeps its config, too
        said = error_of(capsys, *words, *COMMANDS[command])
    assert said.startswith(("File too large: out", f"File too large: {Path('out').absolute()}"))
    assert "could not be written and stays as it was; raise the limit on the size of files" in said
    left = [path for path in Path().rglob("*") if path.is_file()]
    assert not [path for path in left if path.name.startswith(".") or path.parts[0].startswith("out")]


@pytest.mark.parametrize("number", OF_FILES, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("cause", [False, True], ids=["itself", "behind another"])
def test_each_answer_is_a_sentence(
    number: int, cause: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object) -> None:
        error = OSError(number, os.strerror(number))
        if cause:
            raise RuntimeError("a library says it") from error
        raise error

    monkeypatch.setattr("lightning_croloss.cli.gather.main", fail)
    assert os.strerror(number) in error_of(capsys, "gather", "--checkpoint=last.ckpt", "--output=one.ckpt")


@pytest.mark.parametrize("number", OF_THE_MACHINE, ids=lambda number: errno.errorcode[number])
def test_what_any_setting_of_a_search_would_meet(number: int) -> None:
    assert is_of_the_machine(OSError(number, os.strerror(number)))
    assert not is_of_the_machine(OSError(errno.ENOENT, os.strerror(errno.ENOENT)))


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EFBIG, "Error writing bytes to file"), errno.EFBIG),
        (RuntimeError("I/O error: File too large (os error 27)"), errno.EFBIG),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), errno.ENOSPC),
        (RuntimeError("write error: No space left on device"), errno.ENOSPC),
    ],
)
def test_what_cannot_be_written_is_named(error: Exception, number: int) -> None:
    said = r"lists\.csv could not be written and stays as it was"
    with pytest.raises(OSError, match=said) as raised, telling_if_full(Path("lists.csv")):
        raise error
    assert raised.value.errno == number
    assert isinstance(raised.value, NotEnoughSpaceError) == (number == errno.ENOSPC)


def test_the_lists_are_in_one_place() -> None:
    """A list of its own somewhere else would lack what is added here."""
    names = {errno.errorcode[number] for number in CANNOT_WRITE}
    root = Path(lightning_croloss.__file__).parent
    for path in root.rglob("*.py"):
        lists = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Tuple)]
        for found in lists:
            held = {each.attr for each in found.elts if isinstance(each, ast.Attribute)} & names
            assert not held or path.name == "system_errors.py", (path, held)
