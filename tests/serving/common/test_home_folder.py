"""``~`` in a path, as a shell reads it."""

from pathlib import Path

import pytest

from croloss_serving import Recommender
from croloss_serving.common.home_folder import expanded
from croloss_serving.errors import PretrainedError
from croloss_serving.partitions import find_partitions


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def test_only_at_the_beginning_and_of_a_user_that_is_known(home: Path) -> None:
    assert expanded("~") == home
    assert expanded(Path("~/a/~")) == home / "a" / "~"
    for path in ("a/~/b", "~nobody-of-this-name/a", "./~"):
        assert expanded(path) == Path(path)


def test_what_serving_is_given(home: Path) -> None:
    (home / "served").mkdir()
    with pytest.raises(PretrainedError, match=f"^{home}/served is not an export of a model"):
        Recommender.from_export("~/served")
    (home / "served" / "a.parquet").touch()
    (partition,) = find_partitions("~/served", "~/lists")
    assert (partition.source, partition.output) == (home / "served/a.parquet", home / "lists/a.parquet")
